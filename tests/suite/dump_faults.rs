//! A dump that did not end well is never a backup: nothing is published, anywhere, and the row says `failed`.

use rustix::process::Signal;

use crate::support::tools::files_under;
use crate::support::{FakeBin, Site, wait_until};

/// Runs a backup in which `pg_dump` is `script`: it must fail, tell why, and leave nothing.
fn assert_nothing_is_made(site: &mut Site, script: &str, said: &str) {
    let bin = FakeBin::new(&site.path(""), script);
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    site.pgkeep(["backup", "full"]).code(1).stderr_has(said).run();
    assert_failed(site);
}

fn assert_failed(site: &Site) {
    site.assert_nothing_stored();
    let rows = site.rows();
    assert_eq!(rows.len(), 1, "{rows:#?}");
    assert_eq!(rows[0]["status"], "failed");
    assert!(rows[0]["error"].is_string(), "{:#}", rows[0]);
    for column in ["local_path", "r2_path", "b2_path", "verified_at"] {
        assert!(rows[0][column].is_null(), "{:#}", rows[0]);
    }
}

#[test]
fn pg_dump_that_ends_early_and_says_so() {
    let script = "\"$REAL\" \"$@\" | head -c 30000; echo 'pg_dump: error: the cat ate it' >&2; exit 1";
    assert_nothing_is_made(&mut Site::new(), script, "the cat ate it");
}

/// Parts are on their way to the stores already when it happens.
#[test]
fn pg_dump_that_is_killed_after_two_parts() {
    let mut site = Site::of_parts();
    let script = "\"$REAL\" \"$@\" | head -c 38000000; kill -KILL $$";
    assert_nothing_is_made(&mut site, script, "pg_dump");
}

#[test]
fn pg_dump_that_is_killed_before_its_first_byte() {
    assert_nothing_is_made(&mut Site::new(), "kill -SEGV $$", "pg_dump");
}

/// The bytes are all there, yet the exit code counts.
#[test]
fn pg_dump_that_fails_after_its_last_byte() {
    let script = "\"$REAL\" \"$@\"; echo 'pg_dump: error: at the very end' >&2; exit 1";
    assert_nothing_is_made(&mut Site::new(), script, "at the very end");
}

/// An exit code of 0 with nothing to show for it is no backup.
#[test]
fn pg_dump_that_prints_nothing_and_is_happy() {
    assert_nothing_is_made(&mut Site::new(), "exit 0", "pg_dump");
}

/// Half an archive with exit code 0: a wrapper somewhere swallowed the failure.
#[test]
fn pg_dump_that_prints_something_else() {
    assert_nothing_is_made(&mut Site::new(), "echo 'sorry, no dump today'; exit 0", "something else");
}

/// A table that is locked: the wait ends after `source.lock_wait_timeout`.
#[test]
fn a_lock_that_is_held_for_too_long() {
    let mut site = Site::new().with_own_catalog();
    site.config.set("source.lock_wait_timeout", "1s");
    let mut client = site.cluster.connect(&site.database);
    let mut lock = client.transaction().unwrap();
    lock.batch_execute("LOCK TABLE invoice IN ACCESS EXCLUSIVE MODE").unwrap();
    site.pgkeep(["backup", "full"]).code(1).stderr_has("lock").run();
    assert_failed(&site);
}

/// What `pg_dump` warns of, though it ends well, is not lost.
#[test]
fn a_table_without_rights_is_an_error_with_its_name() {
    let mut site = Site::new().with_own_catalog();
    let role = crate::support::cluster::unique("weak");
    site.cluster.execute("postgres", &format!("CREATE ROLE {role} LOGIN PASSWORD 'weak'"));
    let port = site.cluster.port;
    site.config.set("source.url", format!("postgresql://{role}:weak@127.0.0.1:{port}/{}", site.database));
    site.config.set("catalog.url", site.cluster.url(&site.catalog));
    site.pgkeep(["backup", "full"]).code(1).stderr_has("permission denied").run();
    assert_failed(&site);
}

/// A transient fault is tried again where the configuration asks for it.
#[test]
fn a_second_try_makes_it() {
    let mut site = Site::new();
    let script = "if mkdir \"$HERE/once\" 2>/dev/null; then \
        echo 'pg_dump: error: connection to server failed: Connection refused' >&2; exit 1; fi; exec \"$REAL\" \"$@\"";
    let bin = FakeBin::new(&site.path(""), script);
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    site.config.set("retry.attempts", 1);
    site.config.set("retry.delay", "10ms");
    let id = site.pgkeep(["backup", "full"]).any_stdout().any_stderr().run().id();
    assert_eq!(site.row(&id)["status"], "verified");
    site.assert_copies(&id, &["local", "r2", "b2"]);
    assert_eq!(files_under(&site.local()).len(), 2);
}

/// A server that refuses may come back: the run waits for its next try, and a signal ends the wait.
#[test]
fn a_signal_ends_the_wait_for_the_next_try() {
    let mut site = Site::new().with_own_catalog();
    let port = crate::support::tools::free_port();
    site.config.set("source.url", site.cluster.url_through(port, &site.database));
    site.config.set("catalog.url", site.cluster.url(&site.catalog));
    site.config.set("retry.attempts", 3);
    site.config.set("retry.delay", "5m");
    let running = site.pgkeep(["backup", "full"]).code(143).stderr_has("refused").start();
    running.wait_for_stderr("next try");
    running.signal(Signal::TERM);
    running.finish();
    site.assert_nothing_stored();
}

fn assert_cleaned_up_after(signal: Signal, code: i32) {
    let mut site = Site::new();
    let script =
        "echo $$ >\"$HERE/pid.new\"; \"$REAL\" \"$@\"; mv \"$HERE/pid.new\" \"$HERE/pid\"; exec sleep 600";
    let bin = FakeBin::new(&site.path(""), script);
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    let running = site.pgkeep(["backup", "full"]).code(code).any_stderr().start();
    let pid = bin.wait_for_start();
    running.signal(signal);
    running.finish();
    let process = std::path::PathBuf::from(format!("/proc/{pid}"));
    wait_until("pg_dump is gone", || !process.exists());
    assert_failed(&site);
    // And the lock with it.
    let script = FakeBin::new(&site.path(""), "exec \"$REAL\" \"$@\"");
    site.config.set("source.pg_bin", script.folder.to_str().unwrap());
    site.backup();
}

#[test]
fn a_termination_cleans_up() {
    assert_cleaned_up_after(Signal::TERM, 143);
}

#[test]
fn an_interruption_cleans_up() {
    assert_cleaned_up_after(Signal::INT, 130);
}

/// A run that was killed leaves a row and a temporary file; the next run sees to both.
#[test]
fn the_next_run_clears_up_after_one_that_was_killed() {
    let mut site = Site::of_parts();
    let script =
        "echo $$ >\"$HERE/pid.new\"; \"$REAL\" \"$@\"; mv \"$HERE/pid.new\" \"$HERE/pid\"; exec sleep 600";
    let bin = FakeBin::new(&site.path(""), script);
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    let running = site.pgkeep(["backup", "full"]).start();
    let pid = bin.wait_for_start();
    running.signal(Signal::KILL);
    running.await_death();
    let pid: i32 = pid.parse().unwrap();
    // It may have died of the broken pipe already.
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), Signal::KILL).ok();
    assert_eq!(site.rows()[0]["status"], "in_progress");
    site.cluster.execute(
        &site.catalog,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE datname = current_database() AND pid <> pg_backend_pid()",
    );
    site.cluster.execute(&site.catalog, OLD_HEARTBEAT);
    let good = FakeBin::new(&site.path(""), "exec \"$REAL\" \"$@\"");
    site.config.set("source.pg_bin", good.folder.to_str().unwrap());
    let id = site.pgkeep(["backup", "full"]).any_stdout().any_stderr().run().id();
    let rows = site.rows();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0]["status"], "failed");
    assert_eq!(rows[1]["id"], id.as_str());
    assert_eq!(files_under(&site.local()).len(), 2, "{:?}", files_under(&site.local()));
    site.assert_no_uploads();
}

/// Lets every time of the row that was left be a day older, whatever the heartbeat's column is called.
const OLD_HEARTBEAT: &str = "DO $$ DECLARE c text; BEGIN \
    FOR c IN SELECT column_name FROM information_schema.columns WHERE table_schema = 'pgkeep' \
        AND table_name = 'backup' AND data_type = 'timestamp with time zone' LOOP \
        EXECUTE format('UPDATE pgkeep.backup SET %I = %I - interval ''1 day''', c, c); \
    END LOOP; END $$";
