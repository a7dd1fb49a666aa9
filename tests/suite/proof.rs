//! The test restore: a good backup is found equal, a bad one is found, and nothing of a scratch server stays.

use std::path::PathBuf;

use crate::support::tools::files_under;
use crate::support::{FakeBin, Site};

mod database;
mod level;
mod lifetime;
mod objects;
mod surroundings;

/// A `pg_restore` that says that it runs, and waits for the end of the world.
const HANGS: &str =
    "cat >/dev/null & echo $$ >\"$HERE/draft\"; mv \"$HERE/draft\" \"$HERE/pid\"; wait; exec sleep 600";

/// Where a site's scratch servers are made.
fn scratch(site: &Site) -> PathBuf {
    site.path("scratch")
}

/// Lets a site's backups be restored once they are made, under a folder of its own.
fn proven(mut site: Site) -> Site {
    std::fs::create_dir(scratch(&site)).unwrap();
    site.config.set("verify.after_backup", "restore");
    site.config.set("verify.scratch_dir", scratch(&site).to_str().unwrap());
    site
}

fn local_site() -> Site {
    proven(Site::new().local_only())
}

/// Lets a site's `pg_restore` be a script.
fn with_pg_restore(site: &mut Site, script: &str) -> FakeBin {
    let bin = FakeBin::of("pg_restore", &site.path(""), script);
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    bin
}

/// Fails when anything of a scratch server is left: a folder, a file, a process.
fn assert_nothing_left(site: &Site) {
    assert_eq!(std::fs::read_dir(scratch(site)).unwrap().count(), 0, "{:?}", files_under(&scratch(site)));
    assert_eq!(servers_in(&scratch(site)), Vec::<String>::new());
}

/// The command lines of the processes that work in a folder.
fn servers_in(folder: &std::path::Path) -> Vec<String> {
    let folder = folder.to_str().unwrap();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(folder)).collect()
}

/// The number of the one server there, as this host has it.
fn server_pid(folder: &std::path::Path) -> i32 {
    let data = format!("/postgres\0-D\0{}/", folder.to_str().unwrap());
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let is_server = |process: &std::fs::DirEntry| {
        let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        line.find('\0').is_some_and(|end| line.find(&data).is_some_and(|at| at < end))
    };
    let mut found = processes.filter(is_server);
    found.next().expect("there is a server").file_name().to_str().unwrap().parse().unwrap()
}

/// Makes a backup whose test restore must find it bad, or fail to look at it; gives what the record says.
fn assert_not_proven(site: &Site, said: &str) -> String {
    let id = site.pgkeep(["backup", "full"]).code(3).any_stdout().stderr_has(said).run().id();
    let row = site.row(&id);
    assert_eq!(row["status"], "degraded", "{row:#}");
    for copy in site.copies(&id).values() {
        // Its bytes are those on record all the same.
        assert_eq!((&copy["state"], &copy["verified_level"]), (&"verified".into(), &"checksum".into()));
    }
    row["error"].as_str().unwrap().to_owned()
}

#[test]
fn a_good_backup_is_verified_by_a_restore_of_one_copy() {
    let site = proven(Site::new());
    let id = site.backup();
    assert_eq!(site.row(&id)["status"], "verified");
    assert_eq!(site.row(&id)["error"], serde_json::Value::Null);
    let copies = site.copies(&id);
    assert_eq!(copies.len(), 3);
    for copy in copies.values() {
        assert_eq!(copy["verified_level"], "restore", "{copy:#}");
        assert!(copy["verified_at"].is_string() && copy["error"].is_null(), "{copy:#}");
    }
    assert_nothing_left(&site);
    site.assert_no_secret();
}

#[test]
fn what_pg_restore_says_of_a_bad_dump_is_on_record() {
    let mut site = local_site();
    with_pg_restore(&mut site, "cat >/dev/null; echo 'pg_restore: error: no such luck' >&2; exit 1");
    let error = assert_not_proven(&site, "no such luck");
    assert!(error.contains("does not restore") && error.contains("no such luck"), "{error}");
    assert_nothing_left(&site);
}

/// It stops at the first error, and the rest of the dump is not read for it.
#[test]
fn a_pg_restore_that_ends_early_is_heard() {
    let mut site = proven(Site::of_parts().local_only());
    with_pg_restore(&mut site, "head -c 100000 >/dev/null; echo 'pg_restore: error: enough' >&2; exit 1");
    let error = assert_not_proven(&site, "enough");
    assert!(error.contains("does not restore"), "{error}");
    assert_nothing_left(&site);
}

#[test]
fn a_very_long_story_is_cut() {
    let mut site = local_site();
    let script = "cat >/dev/null; for n in {1..20}; do printf 'x%.0s' {1..1500} >&2; echo >&2; done; exit 1";
    with_pg_restore(&mut site, script);
    let error = assert_not_proven(&site, "[...]");
    assert!(error.len() < 1500, "{} bytes: {error}", error.len());
}

/// What is proven of the one whole copy is proven of those that are equal to it.
#[test]
fn without_a_local_copy_another_is_restored() {
    let site = proven(Site::new());
    std::fs::write(site.local(), "a file in the folder's place").unwrap();
    let id = site.pgkeep(["backup", "full"]).code(3).any_stdout().stderr_has("local").run().id();
    let copies = site.copies(&id);
    assert_eq!(copies["r2"]["verified_level"], "restore");
    assert_eq!(copies["b2"]["verified_level"], "restore");
    assert_eq!(copies["local"]["state"], "failed");
    assert_nothing_left(&site);
}

/// The local copy is whole; what is missing elsewhere is as bad as without a test restore.
#[test]
fn a_store_that_is_away_is_told_beside_a_good_restore() {
    let mut site = proven(Site::new());
    let gone = crate::support::tools::free_port();
    site.set_endpoint("r2", &format!("127.0.0.1:{gone}"));
    let id = site.pgkeep(["backup", "full"]).code(3).any_stdout().stderr_has("r2").run().id();
    let copies = site.copies(&id);
    assert_eq!(copies["local"]["verified_level"], "restore");
    assert_eq!(copies["b2"]["verified_level"], "restore");
    assert_eq!(copies["r2"]["state"], "failed");
    assert_nothing_left(&site);
}
