//! What is printed, and what becomes of a run when nobody listens.

use rustix::process::Signal;

use crate::support::cluster::unique;
use crate::support::tools::{binary, free_port};
use crate::support::{FakeBin, Pgkeep, Site};

/// A call that a shell makes: `script` has the program and its arguments as `$@`.
fn through_shell(site: &Site, script: &str, arguments: &[&str]) -> Pgkeep {
    let config = site.path("config.toml");
    site.config.write(&config);
    let call = site.bare().program("/bin/sh").args(["-c", script, "sh"]).args([binary()]);
    call.args(["--config".as_ref(), config.as_os_str()]).args(arguments)
}

/// A second database of the site's cluster.
fn second_database(site: &Site) -> String {
    let name = unique("second");
    site.cluster.create_database(&name, "template0");
    name
}

/// When the id of the first could not be printed, the second database was not backed up at all.
#[test]
fn a_full_stdout_stops_no_backup() {
    let site = Site::new().local_only().with_own_catalog();
    let second = second_database(&site);
    let arguments = ["backup", "full", "--database", &site.database, "--database", &second];
    through_shell(&site, "exec \"$@\" >/dev/full", &arguments).any_code().any_stderr().run();
    let rows = site.rows();
    assert_eq!(rows.len(), 2, "{rows:#?}");
    assert!(rows.iter().all(|row| row["status"] == "verified"), "{rows:#?}");
    let mut made: Vec<&str> = rows.iter().map(|row| row["database"].as_str().unwrap()).collect();
    made.sort_unstable();
    let mut wanted = [site.database.as_str(), &second];
    wanted.sort_unstable();
    assert_eq!(made, wanted);
}

/// Under `--quiet` a store that was dead was either not named, or made the run speak on stdout.
#[test]
fn quiet_is_quiet_on_stdout_and_not_on_stderr() {
    let mut site = Site::new();
    site.set_endpoint("b2", &format!("127.0.0.1:{}", free_port()));
    site.pgkeep(["backup", "full", "--quiet"]).code(3).stdout("").stderr_has("`b2`").run();
    site.assert_copies(site.rows()[0]["id"].as_str().unwrap(), &["local", "r2"]);
}

/// A run under `nohup` once died with its terminal all the same: it took the signal that it was to ignore.
#[test]
fn a_hangup_that_is_ignored_stays_ignored() {
    let mut site = Site::new().local_only();
    let bin = FakeBin::held(&site.path(""));
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    let call = through_shell(&site, "trap '' HUP; exec \"$@\"", &["backup", "full"]);
    let running = call.any_stdout().start();
    bin.wait_for_start();
    running.signal(Signal::HUP);
    bin.release();
    let id = running.finish().id();
    assert_eq!(site.row(&id)["status"], "verified");
}

/// Text once got between the braces: each command prints one document, whatever became of it.
#[test]
fn json_is_one_document() {
    let mut site = Site::new().with_own_catalog();
    let second = second_database(&site);
    let one = site.pgkeep(["backup", "full", "--json"]).any_stdout().run().json();
    let id = one["id"].as_str().unwrap();
    assert_eq!(one["status"], "verified");
    let arguments = ["backup", "full", "--json", "--database", &site.database, "--database", &second];
    let two = site.pgkeep(arguments).any_stdout().run().json();
    assert_eq!(two.as_array().unwrap().len(), 2, "{two:#}");
    let good = site.pgkeep(["verify", "--json", id]).any_stdout().run().json();
    assert_eq!(good["id"], id);
    std::fs::write(one["local_path"].as_str().unwrap(), "no artifact").unwrap();
    let bad = site.pgkeep(["verify", "--json", id]).code(4).any_stdout().stderr_has("local").run().json();
    assert_eq!(bad["status"], "degraded");
    let bin = FakeBin::new(&site.path(""), "exit 1");
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    let failed = site.pgkeep(["backup", "full", "--json"]).code(1).any_stdout().any_stderr().run().json();
    assert!(failed.is_null(), "{failed:#}");
}
