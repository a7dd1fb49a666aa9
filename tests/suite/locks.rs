//! One run at a time for each source and database: who holds the lock is said, and no dead run holds it.

use std::fs;

use postgres::Client;
use rustix::process::Signal;

use crate::doors::locks::{LIVE, hold_as, name_of_run};
use crate::support::command::{Pgkeep, Running};
use crate::support::{FakeBin, Site, wait_until};

/// A site, and a run in it that waits for its `pg_dump`.
fn held() -> (Site, FakeBin, Running) {
    let mut site = Site::new().local_only().with_own_catalog();
    let bin = hold(&mut site);
    let running = site.pgkeep(["backup", "full"]).any_stdout().any_stderr().start();
    bin.wait_for_start();
    (site, bin, running)
}

/// From now on `pg_dump` waits until the folder's is released.
fn hold(site: &mut Site) -> FakeBin {
    let bin = FakeBin::held(&site.path(""));
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    bin
}

/// A call of another host: the same names, stores and catalog, a state of its own.
fn from_elsewhere(site: &Site) -> Pgkeep {
    let mut config = site.config.clone();
    config.set("state_dir", site.path("other-state").to_str().unwrap());
    let file = site.path("other.toml");
    config.write(&file);
    site.bare().args(["--config".as_ref(), file.as_os_str()]).args(["backup", "full"])
}

/// What is said of whoever holds the lock: its backup, host, process, and the time.
fn holder(site: &Site) -> String {
    let row = site.rows().pop().unwrap();
    let (id, metadata) = (row["id"].as_str().unwrap(), &row["metadata"]);
    let day = row["created_at"].as_str().unwrap().split('T').next().unwrap().to_owned();
    let host = metadata["host"].as_str().unwrap();
    format!("`{id}` on {host}, process {}, since {day}", metadata["pid"])
}

fn locks(client: &mut Client) -> i64 {
    let query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND database = \
        (SELECT oid FROM pg_database WHERE datname = current_database())";
    client.query_one(query, &[]).unwrap().get(0)
}

#[test]
fn the_second_run_says_who_holds_the_lock() {
    let (site, bin, first) = held();
    let holder = holder(&site);
    site.pgkeep(["backup", "full"]).code(6).stderr_has(&holder).stderr_has("hint").run();
    from_elsewhere(&site).code(6).stderr_has(&holder).stderr_has("pg_terminate_backend").run();
    assert_eq!(site.rows().len(), 1, "a run without a lock has no row");
    bin.release();
    let id = first.finish().id();
    assert_eq!(site.row(&id)["status"], "verified");
}

/// A process that was stopped may go on at any time.
#[test]
fn a_holder_that_is_stopped_still_holds() {
    let (site, bin, first) = held();
    let holder = holder(&site);
    first.signal(Signal::STOP);
    let age = "UPDATE pgkeep.backup SET heartbeat_at = heartbeat_at - interval '1 day'";
    site.cluster.execute(&site.catalog, age);
    site.pgkeep(["backup", "full"]).code(6).stderr_has(&holder).run();
    from_elsewhere(&site).code(6).stderr_has(&holder).run();
    first.signal(Signal::CONT);
    bin.release();
    first.finish().id();
}

/// The server may take a moment to see that whoever held the lock is gone.
#[test]
fn a_session_that_outlives_its_run_is_waited_for() {
    let (site, _bin, first) = held();
    first.signal(Signal::KILL);
    first.await_death();
    let mut session = site.cluster.connect(&site.catalog);
    let live = format!("SELECT count(*) FROM pgkeep.lock_holder h WHERE {LIVE}");
    wait_until("the lock is free", || session.query_one(&live, &[]).unwrap().get::<_, i64>(0) == 0);
    hold_as(&mut session, "run", &name_of_run(&site));
    let usual = FakeBin::new(&site.path(""), "exec \"$REAL\" \"$@\"");
    let mut site = site;
    site.config.set("source.pg_bin", usual.folder.to_str().unwrap());
    let mut watcher = site.cluster.connect(&site.catalog);
    let next = from_elsewhere(&site).any_stdout().start();
    let asked = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND \
        query LIKE '%pgkeep\".copy WHERE backup = ANY%' AND pid <> pg_backend_pid() AND application_name = 'pgkeep'";
    wait_until("it has asked", || watcher.query_one(asked, &[]).unwrap().get::<_, i64>(0) > 0);
    drop(session);
    let id = next.finish().id();
    let rows = site.rows();
    assert_eq!((rows[0]["status"].as_str(), rows[1]["id"].as_str()), (Some("failed"), Some(id.as_str())));
    assert!(rows[0]["error"].as_str().unwrap().contains("died"), "{:#}", rows[0]);
}

/// Somebody holds it who has no row of a backup yet: what was said with the lock is told.
#[test]
fn a_holder_without_a_row_is_named_by_its_session() {
    let site = Site::new().local_only().with_own_catalog();
    site.backup();
    let mut session = site.cluster.connect(&site.catalog);
    hold_as(&mut session, "run", &name_of_run(&site));
    let pid: i32 = session.query_one("SELECT pg_backend_pid()", &[]).unwrap().get(0);
    let call =
        site.pgkeep(["backup", "full"]).code(6).stderr_has("a run without a row yet on elsewhere, process 7");
    call.stderr_has(&format!("pg_terminate_backend({pid})")).run();
}

/// A host that vanished without a word: its session, and the lock with it, would stay for hours by default.
#[test]
fn the_server_looks_whether_the_holder_is_there() {
    let (site, bin, first) = held();
    let mut watcher = site.cluster.connect(&site.catalog);
    let query = "SELECT client_port FROM pg_stat_activity JOIN pg_locks USING (pid) \
        WHERE locktype = 'advisory' AND datname = current_database()";
    let port: i32 = watcher.query_one(query, &[]).unwrap().get(0);
    let (server, client) = (format!(":{:04X}", site.cluster.port), format!(":{port:04X}"));
    // proc(5): the kind of timer that runs for a socket (2: keepalive), and hundredths of a second until it ends.
    let is_watched = || {
        let sockets = fs::read_to_string("/proc/net/tcp").unwrap();
        let fields: Vec<Vec<&str>> = sockets.lines().map(|line| line.split_whitespace().collect()).collect();
        let socket = fields.iter().find(|field| field[1].ends_with(&server) && field[2].ends_with(&client));
        let (kind, left) = socket.unwrap()[5].split_once(':').unwrap();
        kind == "02" && i64::from_str_radix(left, 16).unwrap() <= 6100
    };
    wait_until("the server's timer is a minute's", is_watched);
    bin.release();
    first.finish().id();
}

/// A catalog that was restarted, or a connection that was cut: the run takes its lock again.
#[test]
fn a_lock_that_was_lost_is_taken_again() {
    let (site, bin, first) = held();
    let mut watcher = site.cluster.connect(&site.catalog);
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    watcher.execute(cut, &[]).unwrap();
    wait_until("the lock is gone", || locks(&mut watcher) == 0);
    // On its own host a file holds it meanwhile.
    site.pgkeep(["backup", "full"]).code(6).stderr_has(&holder(&site)).run();
    wait_until("it is held again", || locks(&mut watcher) == 1);
    from_elsewhere(&site).code(6).stderr_has(&holder(&site)).run();
    bin.release();
    let id = first.finish().id();
    assert_eq!(site.row(&id)["status"], "verified");
}

#[test]
fn two_databases_at_once() {
    let (mut site, first_bin, first) = held();
    let other = site.cluster.fresh_database();
    let second_bin = hold(&mut site);
    let second = site.pgkeep(["backup", "full", "--database", &other]).any_stdout().start();
    second_bin.wait_for_start();
    first_bin.release();
    second_bin.release();
    for run in [first, second] {
        let id = run.finish().id();
        assert_eq!(site.row(&id)["status"], "verified");
    }
}

#[test]
fn databases_of_one_name_in_two_sources() {
    let (mut site, first_bin, first) = held();
    let second_bin = hold(&mut site);
    site.config.set("source.name", "db2");
    let second = site.pgkeep(["backup", "full"]).any_stdout().start();
    second_bin.wait_for_start();
    first_bin.release();
    second_bin.release();
    for (run, source) in [(first, "db1"), (second, "db2")] {
        let row = site.row(&run.finish().id());
        assert_eq!((&row["status"], &row["source"]), (&"verified".into(), &source.into()));
    }
}
