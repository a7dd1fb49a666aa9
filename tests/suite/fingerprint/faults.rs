//! What goes wrong with a fingerprint is told, and the backup is as good without.

use std::thread::JoinHandle;

use postgres::{CancelToken, Client, NoTls};
use rustix::process::Signal;
use serde_json::json;

use super::{TWO_TABLES, assert_no_session, fingerprint, of_restored, rows, site};
use crate::support::cluster::unique;
use crate::support::command::Running;
use crate::support::{FakeBin, Pgkeep, Site, wait_until};

/// An `ALTER` of the table `a` that is queued, and keeps all others from it.
struct Queued {
    reads: Client,
    alter: JoinHandle<()>,
    token: CancelToken,
}

impl Queued {
    fn on(site: &Site) -> Self {
        let mut reads = site.cluster.connect(&site.database);
        reads.batch_execute("BEGIN; SELECT * FROM a").unwrap();
        let mut alters = site.cluster.connect(&site.database);
        let token = alters.cancel_token();
        // It never gets the lock.
        let alter = std::thread::spawn(move || {
            alters.batch_execute("ALTER TABLE a ADD COLUMN more int").unwrap_err();
        });
        wait_until("the ALTER is queued", || waiting(site, "ALTER TABLE%").is_some());
        Self { reads, alter, token }
    }

    fn end(self) {
        self.token.cancel_query(NoTls).unwrap();
        self.alter.join().unwrap();
        drop(self.reads);
    }
}

/// The process at the site's database that runs a query like this and waits for a lock.
fn waiting(site: &Site, like: &str) -> Option<i32> {
    let query = format!(
        "SELECT pid FROM pg_stat_activity WHERE datname = '{}' AND wait_event_type = 'Lock' AND query LIKE '{like}'",
        site.database
    );
    site.cluster.connect("postgres").query_opt(&query, &[]).unwrap().map(|row| row.get(0))
}

/// The process of ours that shares its snapshot.
fn sharing(site: &Site) -> Option<i32> {
    let query = format!(
        "SELECT pid FROM pg_stat_activity WHERE datname = '{}' AND state = 'idle in transaction' \
         AND application_name = 'pgkeep'",
        site.database
    );
    site.cluster.connect("postgres").query_opt(&query, &[]).unwrap().map(|row| row.get(0))
}

fn terminate(site: &Site, pid: i32) {
    site.cluster.execute("postgres", &format!("SELECT pg_terminate_backend({pid})"));
}

/// Starts a backup whose counting waits behind an `ALTER`: the dump has read all that it needs by then. Gives
/// the process that counts too.
fn behind_an_alter(site: &mut Site, call: impl FnOnce(Pgkeep) -> Pgkeep) -> (Running, Queued, i32) {
    let bin = FakeBin::held_before_its_first_byte(&site.path(""));
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    let running = call(site.pgkeep(["-v", "backup", "full"]).any_stdout().any_stderr()).start();
    bin.wait_for_start();
    let queued = Queued::on(site);
    bin.release();
    let mut counts = None;
    wait_until("the count waits behind it", || {
        counts = waiting(site, "COPY %");
        counts.is_some()
    });
    (running, queued, counts.unwrap())
}

#[test]
fn a_locked_table_is_skipped_and_named_and_the_others_are_counted() {
    let mut site = site(TWO_TABLES);
    let (running, queued, _) =
        behind_an_alter(&mut site, |call| call.stderr_has("`public.a` is not counted"));
    let id = running.finish().id();
    queued.end();
    let found = fingerprint(&site, &id);
    assert_eq!(found["skipped"], json!({"public.a": "another session kept it locked for 2s"}));
    assert_eq!(rows(&found), json!({"public.b": 0}));
    assert_eq!(site.row(&id)["status"], "verified");
}

/// Once the dump has ended, the figures hold it up no longer than they may.
#[test]
fn a_table_that_takes_its_time_is_skipped_and_named() {
    let mut site = site(TWO_TABLES);
    site.config.set("verify.fingerprint_time", "1s");
    let (running, queued, _) =
        behind_an_alter(&mut site, |call| call.stderr_has("`public.a` is not counted"));
    let id = running.finish().id();
    queued.end();
    let found = fingerprint(&site, &id);
    let why = found["skipped"]["public.a"].as_str().unwrap();
    assert!(why.starts_with("it was not done within"), "{why}");
    assert_eq!(site.row(&id)["status"], "verified");
}

#[test]
fn a_session_that_is_killed_in_the_middle_costs_a_warning() {
    let mut site = site(TWO_TABLES);
    let told = |call: Pgkeep| call.stderr_has("not everything was counted");
    let (running, queued, counts) = behind_an_alter(&mut site, told);
    terminate(&site, counts);
    let id = running.finish().id();
    queued.end();
    let found = fingerprint(&site, &id);
    assert_eq!(
        found["skipped"],
        json!({"public.a": "the connection was lost", "public.b": "the connection was lost"})
    );
    assert_eq!(found["roles"], json!(["postgres"]));
    assert_eq!(site.row(&id)["status"], "verified");
}

/// A snapshot that is gone before the dump shares it: the dump begins again without.
#[test]
fn a_session_that_is_killed_before_the_dump_costs_a_warning() {
    let mut site = site(TWO_TABLES);
    let bin = FakeBin::held(&site.path(""));
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    let call = site.pgkeep(["backup", "full"]).any_stdout().stderr_has("can't share a snapshot");
    let running = call.start();
    bin.wait_for_start();
    let mut shares = None;
    wait_until("a session shares its snapshot", || {
        shares = sharing(&site);
        shares.is_some()
    });
    terminate(&site, shares.unwrap());
    wait_until("the session is gone", || sharing(&site).is_none());
    bin.forget_start();
    bin.release();
    bin.wait_for_start();
    bin.release();
    let id = running.finish().id();
    let found = fingerprint(&site, &id);
    assert_eq!(found["level"], "off");
    assert_eq!(found["roles"], json!(["postgres"]));
    assert_eq!(site.row(&id)["status"], "verified");
}

#[test]
fn a_signal_ends_the_counting_and_leaves_no_session() {
    let mut site = site(TWO_TABLES);
    let (running, queued, _) = behind_an_alter(&mut site, |call| call.code(143));
    running.signal(Signal::TERM);
    let said = running.finish().stderr;
    assert!(!said.contains("is not counted"), "it went on: {said}");
    queued.end();
    assert_no_session(&site);
    site.assert_nothing_stored();
    assert_eq!(site.rows()[0]["status"], "failed");
}

/// A dump that fails leaves no session that goes on counting for nobody.
#[test]
fn a_dump_that_fails_ends_the_counting() {
    let mut site = site(TWO_TABLES);
    let bin = FakeBin::new(&site.path(""), "\"$REAL\" \"$@\"; echo 'pg_dump: error: at the end' >&2; exit 1");
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    site.pgkeep(["backup", "full"]).code(1).stderr_has("at the end").run();
    assert_no_session(&site);
}

/// A site whose source is reached as a role that owns its database and no more.
fn site_of_a_weak_role(limit: i32) -> (Site, String) {
    let mut site = site(TWO_TABLES);
    let role = unique("owner");
    let (port, database) = (site.cluster.port, site.database.clone());
    let make = format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'weak' CONNECTION LIMIT {limit};\n\
         ALTER TABLE a OWNER TO {role}; ALTER TABLE b OWNER TO {role}"
    );
    site.cluster.execute(&database, &make);
    site.config.set("source.url", format!("postgresql://{role}:weak@127.0.0.1:{port}/{database}"));
    (site, role)
}

#[test]
fn a_snapshot_that_is_refused_costs_a_warning() {
    let (site, role) = site_of_a_weak_role(-1);
    site.cluster.execute(&site.database, "REVOKE EXECUTE ON FUNCTION pg_export_snapshot() FROM PUBLIC");
    let call = site.pgkeep(["backup", "full"]).any_stdout();
    let id = call.stderr_has("the snapshot can't be shared").stderr_has("permission denied").run().id();
    let found = fingerprint(&site, &id);
    assert_eq!(found["level"], "off");
    assert_eq!(found["roles"], json!([role, "postgres"]));
    assert_eq!(site.row(&id)["status"], "verified");
}

/// A role that may have so many sessions only: the dump's own comes first.
#[test]
fn a_server_without_a_session_to_spare_costs_a_warning() {
    let (site, _) = site_of_a_weak_role(1);
    let id = site.pgkeep(["backup", "full"]).any_stdout().stderr_has("to compare a restore with").run().id();
    assert_eq!(site.row(&id)["status"], "verified");
}

/// What is rewritten after a snapshot was taken is empty in it: the look at the sequences once left minutes
/// for that, and both the dump and its figures had no row of the table.
#[test]
fn the_look_at_sequences_does_not_age_the_snapshot() {
    let site = site("CREATE TABLE a (x serial); CREATE TABLE b AS SELECT 1 AS y FROM generate_series(1, 5)");
    let mut holds = site.cluster.connect(&site.database);
    holds.batch_execute("BEGIN; TRUNCATE a RESTART IDENTITY").unwrap();
    let call = site.pgkeep(["-v", "backup", "full"]).any_stdout().any_stderr();
    let running = call.start();
    wait_until("the sequence is waited for", || waiting(&site, "%last_value%").is_some());
    site.cluster.execute(&site.database, "ALTER TABLE b ALTER y TYPE bigint; CREATE SEQUENCE young");
    holds.batch_execute("ROLLBACK").unwrap();
    let id = running.finish().id();
    let fingerprint = fingerprint(&site, &id);
    assert_eq!(rows(&fingerprint), json!({"public.a": 0, "public.b": 5}));
    assert_eq!(fingerprint["sequences"]["public.young"]["start"]["is_called"], false);
    let restored = of_restored(&site, &id);
    assert_eq!(rows(&restored), rows(&fingerprint));
}

/// Before version 18 a look at a sequence locks it until its transaction ends: that is not the one which
/// lasts as long as the dump.
#[test]
fn no_sequence_is_kept_locked_while_the_dump_runs() {
    let mut site = site("CREATE TABLE a (x serial); INSERT INTO a DEFAULT VALUES; CREATE TABLE b ()");
    let (running, queued, counts) = behind_an_alter(&mut site, |call| call);
    let query = "SELECT count(*) FROM pg_locks JOIN pg_class ON pg_class.oid = relation \
        WHERE pid = $1 AND relkind = 'S'";
    let locked: i64 = site.cluster.connect(&site.database).query_one(query, &[&counts]).unwrap().get(0);
    assert_eq!(locked, 0);
    site.cluster.execute(&site.database, "ALTER SEQUENCE a_x_seq RESTART WITH 50");
    let id = running.finish().id();
    queued.end();
    let found = &fingerprint(&site, &id)["sequences"]["public.a_x_seq"];
    assert_eq!([&found["start"], &found["end"]], [&json!({"value": 1, "is_called": true}); 2]);
}
