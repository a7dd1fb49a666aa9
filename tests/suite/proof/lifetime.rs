//! A scratch server ends with the run that started it, however that one ends.

use rustix::process::{Pid, Signal, kill_process};

use super::{
    FakeBin, HANGS, Site, assert_not_proven, assert_nothing_left, local_site, scratch, server_pid,
    servers_in, with_pg_restore,
};
use crate::support::wait_until;

/// Starts a backup and waits until its dump is being restored.
fn under_way(site: &mut Site) -> crate::support::command::Running {
    let bin = with_pg_restore(site, HANGS);
    let running = site.pgkeep(["backup", "full"]).any_stdout().any_stderr().any_code().start();
    bin.wait_for_start();
    assert!(!servers_in(&scratch(site)).is_empty(), "there is no server to be ended");
    running
}

fn assert_cleaned_up_after(signal: Signal, code: i32) {
    let mut site = local_site();
    let running = under_way(&mut site);
    running.signal(signal);
    let ran = running.finish();
    assert_eq!(ran.code, code, "{ran:?}");
    assert_nothing_left(&site);
    // The backup itself was whole by then.
    let row = &site.rows()[0];
    assert_eq!(row["status"], "degraded", "{row:#}");
    assert!(row["error"].as_str().unwrap().contains("interrupted"), "{row:#}");
}

#[test]
fn a_termination_ends_the_server() {
    assert_cleaned_up_after(Signal::TERM, 143);
}

#[test]
fn an_interruption_ends_the_server() {
    assert_cleaned_up_after(Signal::INT, 130);
}

/// A run that is killed takes its server along; the next test restore removes the folder it left.
#[test]
fn a_kill_ends_the_server_and_the_next_run_sweeps() {
    let mut site = local_site();
    let running = under_way(&mut site);
    running.signal(Signal::KILL);
    running.await_death();
    wait_until("the server is gone with its run", || servers_in(&scratch(&site)).is_empty());
    assert_eq!(std::fs::read_dir(scratch(&site)).unwrap().count(), 1);
    let bin = FakeBin::new(&site.path(""), "exec \"$REAL\" \"$@\"");
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    // The killed run's lock in the catalog goes with its session.
    wait_until("the lock is free", || {
        let held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = \
                    (SELECT oid FROM pg_database WHERE datname = current_database())";
        site.cluster.connect(&site.catalog).query_one(held, &[]).unwrap().get::<_, i64>(0) == 0
    });
    let id = site.backup();
    assert_eq!(site.row(&id)["status"], "verified");
    assert_nothing_left(&site);
}

/// It is ended while its files are being made, too.
#[test]
fn a_termination_during_initdb_leaves_nothing() {
    let mut site = local_site();
    let bin = FakeBin::of("initdb", &site.path(""), "sleep 600");
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    let running = site.pgkeep(["backup", "full"]).any_stdout().any_stderr().code(143).start();
    wait_until("initdb runs", || !servers_in(&scratch(&site)).is_empty());
    running.signal(Signal::TERM);
    running.finish();
    assert_nothing_left(&site);
}

#[test]
fn a_server_that_does_not_start_says_why() {
    let mut site = local_site();
    let bin = FakeBin::of("postgres", &site.path(""), "echo 'FATAL:  no legs today' >&2; exit 1");
    // initdb asks the `postgres` beside it, which is the true one.
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    let error = assert_not_proven(&site, "no legs today");
    assert!(error.contains("could not be made"), "{error}");
    assert_nothing_left(&site);
}

/// What is being restored belongs to a living run, however many others sweep.
#[test]
fn a_living_run_is_not_swept() {
    let mut site = local_site();
    let mut other = local_site();
    let running = under_way(&mut site);
    other.config.set("verify.scratch_dir", scratch(&site).to_str().unwrap());
    let id = other.backup();
    assert_eq!(other.row(&id)["status"], "verified");
    let left = std::fs::read_dir(scratch(&site)).unwrap().next().unwrap().unwrap().path();
    assert!(left.join("data/postmaster.pid").exists(), "the folder of a living run was swept");
    assert!(!servers_in(&scratch(&site)).is_empty());
    running.signal(Signal::TERM);
    running.finish();
    assert_nothing_left(&site);
}

/// A server that dies says nothing of the backup.
#[test]
fn a_server_that_dies_is_not_a_bad_backup() {
    let mut site = local_site();
    // The number in its own file may be one of a name space.
    let script = "cat >/dev/null; scratch=$(cd \"$HERE/../scratch\" && pwd -P); for process in /proc/[0-9]*; do \
                  if tr '\\0' ' ' 2>/dev/null <\"$process/cmdline\" | grep -q \"^[^ ]*/postgres -D $scratch/\"; then \
                  kill -QUIT \"${process#/proc/}\"; fi; done; exec \"$REAL\" \"$@\" </dev/null";
    with_pg_restore(&mut site, script);
    let error = assert_not_proven(&site, "could not be made");
    assert!(!error.contains("does not restore"), "{error}");
    assert_nothing_left(&site);
}

/// What it could do or read as root, it could do or read for whoever else is that user.
#[test]
fn the_server_has_no_rights_of_root_and_none_of_its_secrets() {
    let mut site = local_site();
    let running = under_way(&mut site);
    let pid = server_pid(&scratch(&site));
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let ids = |key: &str| {
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(ids("Uid:").iter().chain(&ids("Gid:")).all(|id| id != "0"), "{status}");
    assert!(!ids("Groups:").contains(&"0".to_owned()), "{status}");
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
    let environment = String::from_utf8_lossy(&environment);
    assert!(!environment.contains("R2_SECRET"), "{environment}");
    running.signal(Signal::TERM);
    running.finish();
    let gone = Pid::from_raw(pid).is_none_or(|pid| kill_process(pid, Signal::CONT).is_err());
    assert!(gone, "the server outlives its run");
}
