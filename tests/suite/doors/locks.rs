//! Locks that a role which may only log in can neither take nor keep.

use postgres::Client;
use rustix::process::Signal;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::support::cluster::unique;
use crate::support::{FakeBin, Site, wait_until};

/// Whether a row `h` of holders counts, as a test sees it.
pub(crate) const LIVE: &str = "EXISTS (SELECT FROM pg_locks l WHERE l.locktype = 'advisory' AND l.granted \
    AND l.pid = h.pid AND (l.classid::bigint << 32) | l.objid::bigint = h.key)";

/// What the lock of the site's runs is called.
pub(crate) fn name_of_run(site: &Site) -> String {
    format!("run db1/{}/", site.database)
}

/// Has a session that may write to the catalog hold a lock, as a pgkeep of another host does.
pub(crate) fn hold_as(session: &mut Client, kind: &str, name: &str) {
    let row = "INSERT INTO pgkeep.lock_holder (key, kind, name, is_shared, pid, role, host, process) \
        SELECT 42, $1, $2, false, pg_backend_pid(), oid, 'elsewhere', 7 FROM pg_roles WHERE rolname = session_user";
    session.execute("SELECT pg_advisory_lock(42)", &[]).unwrap();
    session.execute(row, &[&kind, &name]).unwrap();
}

/// A session of a role that may log in, and has been given nothing.
fn stranger(site: &Site) -> Client {
    let role = unique("stranger");
    site.cluster.execute("postgres", &format!("CREATE ROLE {role} LOGIN"));
    let mut config = postgres::Config::new();
    config.host_path(&site.cluster.socket_dir).port(site.cluster.port).user(&role).dbname(&site.catalog);
    config.connect(postgres::NoTls).unwrap()
}

fn take(session: &mut Client, key: i64) {
    session.execute("SELECT pg_advisory_lock($1)", &[&key]).unwrap();
}

fn open_rules(site: &Site) -> Vec<String> {
    let query = "SELECT to_jsonb(a) FROM pgkeep.alert a WHERE status <> 'resolved' ORDER BY rule";
    let rows = site.cluster.connect(&site.catalog).query(query, &[]).unwrap();
    rows.iter().map(|row| row.get::<_, Value>(0)["rule"].as_str().unwrap().to_owned()).collect()
}

/// Every number that pgkeep ever locked can be worked out by anybody.
#[test]
fn numbers_that_anybody_can_lock_stop_nothing() {
    let site = Site::new().local_only().with_own_catalog();
    let mut session = stranger(&site);
    take(&mut session, 0x7067_6b65_6570_0001);
    for name in [site.database.clone(), format!("{}\0prune", site.database)] {
        let digest = Sha256::digest(format!("pgkeep-run-lock\0db1\0{name}"));
        take(&mut session, i64::from_be_bytes(digest[..8].try_into().unwrap()));
    }
    let named = "SELECT pg_advisory_lock(hashtextextended($1, 0))";
    session.execute(named, &[&"pgkeep-alerts db1"]).unwrap();
    let id = site.backup();
    session.execute(named, &[&format!("pgkeep-repair {id}")]).unwrap();
    site.pgkeep(["verify", "--all"]).any_stdout().run();
    site.pgkeep(["verify", &id]).any_stdout().run();
    site.pgkeep(["prune"]).any_stdout().run();
    site.backup();
    site.pgkeep(["backup", "full", "--database", "gone"]).code(1).any_stderr().run();
    assert_eq!(open_rules(&site), ["backup_failed"]);
}

/// The number of a lock that is held is on show: who waits for it is given it when its holder dies, and holds nothing.
#[test]
fn who_inherits_the_number_of_a_dead_run_holds_nothing() {
    let mut site = Site::new().local_only().with_own_catalog();
    let bin = FakeBin::held(&site.path(""));
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    let first = site.pgkeep(["backup", "full"]).any_stdout().any_stderr().start();
    bin.wait_for_start();
    let mut watcher = site.cluster.connect(&site.catalog);
    let key: i64 = watcher.query_one("SELECT key FROM pgkeep.lock_holder", &[]).unwrap().get(0);
    let mut session = stranger(&site);
    let pid: i32 = session.query_one("SELECT pg_backend_pid()", &[]).unwrap().get(0);
    let waiting = std::thread::spawn(move || {
        take(&mut session, key);
        session
    });
    let waits = "SELECT count(*) FROM pg_locks WHERE pid = $1 AND locktype = 'advisory' AND NOT granted";
    wait_until("the stranger waits", || watcher.query_one(waits, &[&pid]).unwrap().get::<_, i64>(0) == 1);
    first.signal(Signal::KILL);
    first.await_death();
    let _session = waiting.join().unwrap();
    // Not even as the process that the holder was, whose number may be given out again.
    watcher.execute("UPDATE pgkeep.lock_holder SET pid = $1", &[&pid]).unwrap();
    let usual = FakeBin::new(&site.path(""), "exec \"$REAL\" \"$@\"");
    site.config.set("source.pg_bin", usual.folder.to_str().unwrap());
    site.backup();
    let left: i64 = watcher.query_one("SELECT count(*) FROM pgkeep.lock_holder", &[]).unwrap().get(0);
    assert_eq!(left, 1, "what the last one left is removed by the next");
}

/// A run that hangs keeps every other one away: after a day somebody is told.
#[test]
fn a_lock_that_is_held_for_more_than_a_day_is_an_alert() {
    let site = Site::new().local_only().with_own_catalog();
    site.backup();
    let mut session = site.cluster.connect(&site.catalog);
    hold_as(&mut session, "run", &name_of_run(&site));
    let refused = || site.pgkeep(["backup", "full"]).code(6).stderr_has("another run works on").run();
    refused();
    assert_eq!(open_rules(&site), Vec::<String>::new());
    session.execute("UPDATE pgkeep.lock_holder SET since = now() - interval '25 hours'", &[]).unwrap();
    refused();
    assert_eq!(open_rules(&site), ["backup_locked"]);
    drop(session);
    site.backup();
    assert_eq!(open_rules(&site), Vec::<String>::new());
}

/// So is a prune that hangs: copies past their rules stay.
#[test]
fn a_prune_that_is_kept_away_for_more_than_a_day_is_an_alert() {
    let mut site = Site::new().local_only().with_own_catalog();
    for _ in 0..4 {
        site.backup();
    }
    site.config.set("retention.min_keep", 1);
    let keep: toml::Table = "last = 1".parse().unwrap();
    site.config.store("local").insert("keep".to_owned(), keep.into());
    let mut session = site.cluster.connect(&site.catalog);
    hold_as(&mut session, "run", &name_of_run(&site).replacen("run", "prune", 1));
    let refused = || {
        let call = site.pgkeep(["prune", "--force"]).code(6).any_stdout();
        let ran = call.stderr_has("another run works on").run();
        assert!(!ran.stderr.contains("its lock is held since"), "{ran:?}");
    };
    refused();
    assert_eq!(open_rules(&site), Vec::<String>::new());
    session.execute("UPDATE pgkeep.lock_holder SET since = now() - interval '25 hours'", &[]).unwrap();
    refused();
    assert_eq!(open_rules(&site), ["retention_held"]);
    drop(session);
    site.pgkeep(["prune", "--force"]).any_stdout().any_stderr().run();
    assert_eq!(open_rules(&site), Vec::<String>::new());
}

/// What a sweep could not look at was not looked at.
#[test]
fn a_sweep_that_left_out_what_is_locked_says_so() {
    let site = Site::new().local_only().with_own_catalog();
    let (left, looked_at) = (site.backup(), site.backup());
    let mut session = site.cluster.connect(&site.catalog);
    hold_as(&mut session, "copies", &left);
    let call = site.pgkeep(["verify", "--all"]).code(3).stdout_has(&looked_at).stdout_has("1 left");
    call.stderr_has(&format!("a prune is removing copies of `{left}`")).run();
}
