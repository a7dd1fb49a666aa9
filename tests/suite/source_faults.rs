//! The source in trouble: each has its own clear error, and nothing is published. What passes by itself is tried
//! again, what does not is said at once.

mod silence;

use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::cluster::unique;
use crate::support::command::{Ran, Running};
use crate::support::tools::{as_postgres, files_under, finish, pg_bin};
use crate::support::{Cluster, FakeBin, Gate, Site, wait_until};

/// A site with its catalog elsewhere, whose source is reached by a role of its own that may read everything; the role
/// has no rights that nobody gave it.
fn site_with_reader() -> (Site, String) {
    let mut site = Site::new().with_own_catalog();
    let role = unique("reader");
    site.cluster.execute(
        &site.database,
        &format!("CREATE ROLE {role} LOGIN PASSWORD 'reader'; GRANT pg_read_all_data TO {role}"),
    );
    site.config.set("source.url", url_of(&site, &role, "reader"));
    site.config.set("catalog.url", site.cluster.url(&site.catalog));
    (site, role)
}

fn url_of(site: &Site, role: &str, password: &str) -> String {
    format!("postgresql://{role}:{password}@127.0.0.1:{}/{}", site.cluster.port, site.database)
}

/// The newest row says `failed` and why; no store holds anything of it.
fn assert_failed(site: &Site, words: &str) {
    site.assert_nothing_stored();
    let row = site.rows().pop().unwrap();
    assert_eq!(row["status"], "failed", "{row:#}");
    let error = row["error"].as_str().unwrap();
    assert!(error.contains(words), "no {words} in {error}");
    assert_eq!(error.matches(words).count(), 1, "said more than once: {error}");
}

/// What is done to the source (its role is READER), the words for it, and whether it may pass by itself.
const TROUBLES: [(&str, &str, bool); 8] = [
    ("ALTER ROLE READER PASSWORD 'changed'", "password authentication failed", false),
    ("ALTER ROLE READER NOLOGIN", "not permitted to log in", false),
    ("ALTER ROLE READER CONNECTION LIMIT 0", "too many connections for role", true),
    ("REVOKE CONNECT ON DATABASE DATABASE FROM public", "permission denied for database", false),
    ("REVOKE pg_read_all_data FROM READER", "permission denied for", false),
    (
        "ALTER TABLE invoice ENABLE ROW LEVEL SECURITY",
        "query would be affected by row-level security policy for table \"invoice\"",
        false,
    ),
    (
        "CREATE SCHEMA hidden; CREATE TABLE hidden.t (); REVOKE pg_read_all_data FROM READER; \
         GRANT SELECT ON ALL TABLES IN SCHEMA public TO READER; GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO READER",
        "permission denied for schema hidden",
        false,
    ),
    ("ALTER DATABASE DATABASE ALLOW_CONNECTIONS false", "not currently accepting connections", false),
];

#[test]
fn a_source_that_refuses() {
    for (statement, words, passes) in TROUBLES {
        let (mut site, role) = site_with_reader();
        site.config.set("retry.attempts", 1);
        site.config.set("retry.delay", "20ms");
        let statement = statement
            .replace("READER", &role)
            .replace("DATABASE DATABASE", &format!("DATABASE {}", site.database));
        let from = if statement.contains("ALLOW_CONNECTIONS") { "postgres" } else { &site.database };
        site.cluster.execute(from, &statement);
        let ran = site.pgkeep(["backup", "full"]).any_code().any_stdout().stderr_has(words).run();
        assert_eq!(ran.stderr.contains("next try"), passes, "{statement}: {}", ran.stderr);
        assert_eq!(ran.code, 1, "{statement}: {}", ran.stderr);
        assert_failed(&site, words);
        assert_eq!(site.rows().len(), if passes { 2 } else { 1 }, "{statement}");
    }
}

#[test]
fn a_database_that_does_not_exist_is_not_waited_for() {
    let mut site = Site::new().with_own_catalog();
    site.config.set("retry.attempts", 3);
    site.config.set("retry.delay", "1h");
    let call = site.pgkeep(["backup", "full", "--database", "nosuchdb"]).code(1);
    let ran = call.stderr_has("database \"nosuchdb\" does not exist").run();
    assert!(!ran.stderr.contains("next try"), "{}", ran.stderr);
    assert_failed(&site, "does not exist");
    // The others are backed up all the same.
    let call = site.pgkeep(["backup", "full", "--database", "nosuchdb", "--database", &site.database]);
    let id = call.code(1).any_stdout().stderr_has("nosuchdb").run().id();
    site.assert_copies(&id, &["local", "r2", "b2"]);
}

/// The tries come after a delay that doubles each time, with a little more by chance.
#[test]
fn a_server_that_refuses_at_first_is_tried_with_a_growing_delay() {
    let mut site = Site::new().with_own_catalog();
    let gate = Gate::open_to(site.cluster.port);
    gate.shut();
    site.config.set("source.url", site.cluster.url_through(gate.port, &site.database));
    site.config.set("catalog.url", site.cluster.url(&site.catalog));
    site.config.set("retry.attempts", 3);
    site.config.set("retry.delay", "400ms");
    let running = site.pgkeep(["backup", "full"]).any_stdout().any_stderr().start();
    wait_until("the last try is waited for", || running.stderr_so_far().matches("next try").count() == 3);
    gate.reopen();
    let ran = running.finish();
    site.assert_copies(&ran.id(), &["local", "r2", "b2"]);
    let told = ran.stderr.lines().filter_map(|line| line.rsplit_once("next try in ")).map(|(_, wait)| wait);
    let told: Vec<Duration> = told.map(read_duration).collect();
    for (wait, least) in told.iter().zip([400, 800, 1600]) {
        let least = Duration::from_millis(least);
        // As it is shown: rounded.
        assert!(
            *wait >= least.mul_f64(0.99) && *wait <= least.mul_f64(1.25),
            "{wait:?} of {least:?} in {told:?}"
        );
    }
    // Each of the first three tries may be of several connections, with TLS and without.
    let mut gaps: Vec<Duration> = gate.times().windows(2).map(|pair| pair[1] - pair[0]).collect();
    gaps.sort();
    let waits: Vec<Duration> = gaps.into_iter().rev().take(3).rev().collect();
    for (gap, least) in waits.iter().zip([400, 800, 1600]) {
        assert!(*gap >= Duration::from_millis(least), "{waits:?}");
    }
    let rows = site.rows();
    assert_eq!(rows.iter().filter(|row| row["status"] == "failed").count(), 3, "{rows:#?}");
}

fn read_duration(text: &str) -> Duration {
    let text = text.trim();
    let (number, unit) = text.split_at(text.find(|c: char| c.is_alphabetic()).unwrap());
    let number: f64 = number.parse().unwrap();
    match unit {
        "ms" => Duration::from_secs_f64(number / 1000.0),
        "s" => Duration::from_secs_f64(number),
        other => panic!("`{other}` in {text}"),
    }
}

/// A cluster of its own that may be stopped and started.
struct Own {
    site: Site,
    catalog_of: &'static Cluster,
}

impl Own {
    /// With a table that is too much for a pipe: the session of its dump is at work when the server goes.
    fn new() -> Self {
        let mut site = Site::alone();
        let fill =
            "CREATE TABLE wide AS SELECT n, gen_random_bytes(1024) AS bytes FROM generate_series(1, 10000) n";
        site.cluster.execute(&site.database, fill);
        let catalog_of = crate::support::cluster();
        site.catalog = catalog_of.fresh_database();
        site.config.set("catalog.url", catalog_of.url(&site.catalog));
        site.config.set("retry.attempts", 12);
        site.config.set("retry.delay", "200ms");
        Self { site, catalog_of }
    }

    /// Starts a backup whose first dump stands still after its first bytes.
    fn dumping(&mut self) -> (Running, FakeBin) {
        let script = "if mkdir \"$HERE/once\" 2>/dev/null; then \"$REAL\" \"$@\" | { head -c 2000000; \
            echo $$ >\"$HERE/draft\"; mv \"$HERE/draft\" \"$HERE/pid\"; read -r _ <\"$HERE/gate\"; cat; }; \
            exit \"${PIPESTATUS[0]}\"; fi; exec \"$REAL\" \"$@\"";
        let bin = FakeBin::new(&self.site.path(""), script);
        finish(std::process::Command::new("mkfifo").arg(bin.folder.join("gate")));
        self.site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
        let running = self.site.pgkeep(["backup", "full"]).any_stdout().any_stderr().start();
        bin.wait_for_start();
        (running, bin)
    }

    fn rows(&self) -> Vec<(String, Option<String>)> {
        let query = "SELECT status, error FROM pgkeep.backup ORDER BY created_at";
        let rows = self.catalog_of.connect(&self.site.catalog).query(query, &[]).unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }

    /// The first try failed for that reason, the last one is whole, and nothing is left of any other.
    fn assert_second_wind(&self, ran: &Ran, words: &[&str]) {
        assert!(ran.stderr.contains("next try"), "{}", ran.stderr);
        let rows = self.rows();
        let (first, last) = (rows.first().unwrap(), rows.last().unwrap());
        assert_eq!((first.0.as_str(), last.0.as_str()), ("failed", "verified"), "{rows:#?}");
        let error = first.1.as_deref().unwrap();
        assert!(words.iter().any(|words| error.contains(words)), "{error}");
        assert_eq!(files_under(&self.site.local()).len(), 2, "{rows:#?}");
        for bucket in [&self.site.r2, &self.site.b2] {
            assert_eq!(bucket.keys().len(), 2, "{rows:#?}");
        }
        self.site.assert_no_uploads();
    }

    fn postmaster(&self) -> Option<Pid> {
        let text = fs::read_to_string(self.site.cluster.socket_dir.join("data/postmaster.pid")).ok()?;
        Pid::from_raw(text.lines().next()?.trim().parse().ok()?)
    }

    fn control(&self, words: &[&str]) {
        let folder = &self.site.cluster.socket_dir;
        let mut control = as_postgres(pg_bin().join("pg_ctl"));
        control.arg("-D").arg(folder.join("data")).arg("-l").arg(folder.join("log.again")).args(words);
        finish(control.stdout(std::process::Stdio::null()));
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // Who started it first has seen it end long ago.
        if let Some(process) = self.postmaster() {
            kill_process(process, Signal::QUIT).ok();
        }
    }
}

/// One backend that dies hard takes all others with it, and the server recovers by itself.
#[test]
fn a_server_that_crashes_during_the_dump() {
    let mut own = Own::new();
    let (running, bin) = own.dumping();
    let query = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'COPY %' AND application_name = 'pgkeep'";
    let backend: i32 = own.site.cluster.connect("shop").query_one(query, &[]).unwrap().get(0);
    kill_process(Pid::from_raw(backend).unwrap(), Signal::KILL).unwrap();
    bin.release();
    let ran = running.finish();
    own.assert_second_wind(&ran, &["server closed the connection unexpectedly"]);
}

/// An administrator restarts it, and takes a moment for it.
#[test]
fn a_server_that_is_restarted_during_the_dump() {
    let mut own = Own::new();
    for (signal, words) in [
        (Signal::INT, ["due to administrator command", "server closed the connection unexpectedly"]),
        (Signal::QUIT, ["due to unexpected postmaster exit", "immediate shutdown command"]),
    ] {
        own.catalog_of.execute(&own.site.catalog, "DROP SCHEMA IF EXISTS pgkeep CASCADE");
        let (running, bin) = own.dumping();
        let server = own.postmaster().unwrap();
        kill_process(server, signal).unwrap();
        wait_until("the server is gone", || kill_process(server, Signal::CONT).is_err());
        bin.release();
        running.wait_for_stderr("refused");
        own.control(&["-w", "start"]);
        let ran = running.finish();
        own.assert_second_wind(&ran, &[words[0], words[1], "server closed the connection unexpectedly"]);
        // Nothing is left for the next round to find.
        fs::remove_dir_all(own.site.local()).unwrap();
        for bucket in [&own.site.r2, &own.site.b2] {
            bucket.keys().iter().for_each(|key| bucket.delete(key));
        }
    }
}

/// A page that was zeroed out or scribbled over: the dump names the page, and no backup pretends to have it.
#[test]
fn a_table_that_is_damaged() {
    let own = Own::new();
    let mut client = own.site.cluster.connect("shop");
    client.batch_execute("CREATE TABLE torn AS SELECT generate_series(1, 10000) n").unwrap();
    let file: String = client.query_one("SELECT pg_relation_filepath('torn')", &[]).unwrap().get(0);
    drop(client);
    // What the server holds in memory is sound, and would be what it dumps.
    own.control(&["-w", "-m", "fast", "stop"]);
    let path = own.site.cluster.socket_dir.join("data").join(file);
    let mut bytes = fs::read(&path).unwrap();
    bytes[8192..8192 + 64].fill(0x55);
    fs::write(&path, bytes).unwrap();
    own.control(&["-w", "start"]);
    let site = &own.site;
    let ran = site.pgkeep(["backup", "full"]).code(1).stderr_has("invalid page in block 1").run();
    assert!(!ran.stderr.contains("next try"), "{}", ran.stderr);
    own.site.assert_nothing_stored();
    let rows = own.rows();
    assert_eq!((rows.len(), rows[0].0.as_str()), (1, "failed"), "{rows:#?}");
}

/// Between the list of tables and their locks one is gone: nothing of that try is kept, and the next one knows.
#[test]
fn a_table_that_is_dropped_under_the_dump() {
    let mut site = Site::new().with_own_catalog();
    site.config.set("verify.fingerprint", "off");
    site.config.set("retry.attempts", 1);
    site.config.set("retry.delay", "10ms");
    let mut client = site.cluster.connect(&site.database);
    client.batch_execute("CREATE TABLE lonely ()").unwrap();
    let mut drop = client.transaction().unwrap();
    drop.batch_execute("LOCK TABLE lonely IN ACCESS EXCLUSIVE MODE").unwrap();
    let running = site.pgkeep(["backup", "full"]).any_stdout().stderr_has("next try").start();
    let waits = "SELECT 1 FROM pg_stat_activity WHERE datname = $1 AND wait_event_type = 'Lock' \
         AND query LIKE 'LOCK TABLE%'";
    let mut other = site.cluster.connect("postgres");
    wait_until("pg_dump waits for the lock", || !other.query(waits, &[&site.database]).unwrap().is_empty());
    drop.batch_execute("DROP TABLE lonely").unwrap();
    drop.commit().unwrap();
    let id = running.finish().id();
    site.assert_copies(&id, &["local", "r2", "b2"]);
    let rows = site.rows();
    assert_eq!(rows.len(), 2, "{rows:#?}");
    assert!(rows[0]["error"].as_str().unwrap().contains("does not exist"), "{:#}", rows[0]);
    assert_eq!(files_under(&site.local()).len(), 2);
}

/// Limits of the role on idle sessions and long queries are none of a dump's that takes its time.
#[test]
fn limits_of_the_role_end_no_dump() {
    let (mut site, role) = site_with_reader();
    let limits =
        ["statement_timeout = '3s'", "idle_in_transaction_session_timeout = '300ms'", "lock_timeout = '3s'"];
    let set: Vec<String> = limits.iter().map(|limit| format!("ALTER ROLE {role} SET {limit}")).collect();
    site.cluster.execute("postgres", &set.join(";"));
    let bin = FakeBin::held(&site.path(""));
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    let running = site.pgkeep(["backup", "full"]).any_stdout().start();
    bin.wait_for_start();
    // Longer than the limit: the server has looked at its sessions by then.
    site.cluster.execute("postgres", "SELECT pg_sleep(1)");
    bin.release();
    let id = running.finish().id();
    site.assert_copies(&id, &["local", "r2", "b2"]);
}

/// What is wrong with `pg_dump`, and the words for it.
const PROGRAMS: [(&str, &str); 5] = [
    ("rm pg_dump", "there is none"),
    ("rm pg_dump; mkdir pg_dump", "there is none"),
    ("chmod 644 pg_dump", "Permission denied"),
    ("rm pg_dump; head -c 4096 /dev/zero >pg_dump; chmod 755 pg_dump", "tells no version"),
    (
        "rm pg_dump; printf '#!/bin/sh\\necho \"pg_dump (PostgreSQL) 9.6.24\"\\n' >pg_dump; chmod 755 pg_dump",
        "pg_dump is 9.6.24",
    ),
];

#[test]
fn a_pg_dump_that_is_no_use() {
    for (spoil, words) in PROGRAMS {
        let mut site = Site::new().with_own_catalog();
        site.config.set("retry.attempts", 2);
        site.config.set("retry.delay", "1h");
        let bin = FakeBin::new(&site.path(""), "exit 1");
        finish(std::process::Command::new("/bin/sh").args(["-c", spoil]).current_dir(&bin.folder));
        site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
        let call = site.pgkeep(["backup", "full"]).code(1).stderr_has(bin.folder.to_str().unwrap());
        let ran = call.stderr_has("no pg_dump of version").stderr_has(words).stderr_has("apt install").run();
        assert!(!ran.stderr.contains("next try"), "{}", ran.stderr);
        assert_failed(&site, words);
    }
}
