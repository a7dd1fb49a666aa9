//! A signal in the middle of a restore: it ends soon, leaves no file, and says what the target holds.

use std::path::PathBuf;

use rustix::process::Signal;

use super::site_of_rows;
use crate::support::compare::contents;
use crate::support::rule::Action;
use crate::support::tools::files_under;
use crate::support::{FakeBin, FaultServer, Manners, Rule, Site, wait_until};

/// A site with no store but one behind a fault server.
fn site_behind_faults() -> (Site, String, FaultServer) {
    let mut site = site_of_rows();
    site.config.keep_stores(&["r2"]);
    let id = site.backup();
    let fault = site.fault("r2", Manners::Plain);
    (site, id, fault)
}

/// Sends SIGTERM once the store hangs in the middle of the artifact; gives what stood on stderr.
fn terminate(site: &Site, id: &str, fault: &FaultServer, arguments: &[&str]) -> String {
    let temporary = site.path("temporary");
    std::fs::create_dir_all(&temporary).unwrap();
    fault.heal();
    fault.rule(Rule::on("GET", ".pgk").times(1).does(Action::CutResponse(2_500_000)));
    fault.rule(Rule::on("GET", ".pgk").does(Action::Hang));
    let before = fault.count("GET", ".pgk");
    let call = site.pgkeep(["restore", id]).args(arguments).env("TMPDIR", &temporary);
    let running = call.code(143).any_stdout().stderr_has("interrupted by signal 15").start();
    wait_until("the store hangs", || fault.count("GET", ".pgk") > before + 1);
    running.wait_for_stderr("restoring");
    running.signal(Signal::TERM);
    let ran = running.finish();
    assert_eq!(files_under(&temporary), Vec::<PathBuf>::new());
    ran.stderr
}

#[test]
fn into_a_database() {
    let (site, id, fault) = site_behind_faults();
    let (_, url) = site.target();
    let said = terminate(&site, &id, &fault, &["--into", &url]);
    assert!(said.contains("may hold a part of it"), "{said}");
    fault.heal();
    // What it has begun is no obstacle for those who say so.
    site.pgkeep(["restore", &id, "--into", &url, "--clean"]).any_stdout().any_stderr().run();
}

#[test]
fn in_one_transaction() {
    let (site, id, fault) = site_behind_faults();
    let (name, url) = site.target();
    site.cluster.execute(&name, "CREATE TABLE precious (x int); INSERT INTO precious VALUES (42)");
    let before = contents(site.cluster, &name);
    let said = terminate(&site, &id, &fault, &["--into", &url, "--clean"]);
    assert!(said.contains("is as it was"), "{said}");
    assert_eq!(contents(site.cluster, &name), before);
    let said = terminate(&site, &id, &fault, &["--into", &url, "--jobs", "2", "--clean"]);
    assert!(!said.contains("may hold"), "nothing had begun: {said}");
    assert_eq!(contents(site.cluster, &name), before);
}

#[test]
fn into_a_file_and_stdout() {
    let (site, id, fault) = site_behind_faults();
    let folder = site.path("out");
    std::fs::create_dir(&folder).unwrap();
    let out = folder.join("out.dump");
    terminate(&site, &id, &fault, &["--output", out.to_str().unwrap()]);
    assert_eq!(files_under(&folder), Vec::<PathBuf>::new());
    terminate(&site, &id, &fault, &["--output", "-"]);
}

/// `pg_restore` is ended with all that it started.
#[test]
fn while_pg_restore_is_at_work() {
    let mut site = Site::new().local_only();
    let id = site.backup();
    let script = "case \"$*\" in *--list*) exec \"$REAL\" \"$@\" ;; esac; echo $$ >\"$HERE/draft\"; \
                  mv \"$HERE/draft\" \"$HERE/pid\"; cat >/dev/null; sleep 600";
    for arguments in [&["--no-owner"][..], &["--jobs", "2"]] {
        let bin = FakeBin::of("pg_restore", &site.path(""), script);
        site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
        let (_, url) = site.target();
        let call = site.pgkeep(["restore", &id, "--into", &url]).args(arguments);
        let running = call.code(143).stderr_has("may hold a part of it").start();
        let pid = bin.wait_for_start();
        running.signal(Signal::TERM);
        running.finish();
        assert!(!PathBuf::from(format!("/proc/{pid}")).exists());
    }
}
