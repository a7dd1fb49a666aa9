//! A catalog in trouble never stops a backup: the record waits, the run ends with exit code 3 and says why.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::{site_with_gate, waiting};
use crate::support::cluster::unique;
use crate::support::{FakeBin, Gate, Site};

/// A site whose catalog is reached by a role of its own, that may do everything in it.
fn site_with_role() -> (Site, String) {
    let mut site = Site::new().with_own_catalog();
    let role = unique("scribe");
    site.cluster.execute(
        &site.catalog,
        &format!(
            "CREATE ROLE {role} LOGIN PASSWORD 'scribe'; GRANT ALL ON DATABASE {} TO {role}; \
             CREATE SCHEMA pgkeep AUTHORIZATION {role}",
            site.catalog
        ),
    );
    site.config.set("catalog.url", url_of(&site, &role, site.cluster.port));
    (site, role)
}

fn url_of(site: &Site, role: &str, port: u16) -> String {
    format!("postgresql://{role}:scribe@127.0.0.1:{port}/{}", site.catalog)
}

/// What is done to the catalog (its role is SCRIBE), the words for it, and how it is put right.
const TROUBLES: [(&str, &str, &str); 9] = [
    (
        "INSERT INTO pgkeep.refinery_schema_history SELECT 9999, 'future', applied_on, checksum \
         FROM pgkeep.refinery_schema_history LIMIT 1",
        "newer than this pgkeep",
        "DELETE FROM pgkeep.refinery_schema_history WHERE version = 9999",
    ),
    (
        "ALTER ROLE SCRIBE SET default_transaction_read_only = on",
        "read-only transaction",
        "ALTER ROLE SCRIBE RESET default_transaction_read_only",
    ),
    (
        "REVOKE ALL ON ALL TABLES IN SCHEMA pgkeep FROM SCRIBE; ALTER TABLE pgkeep.backup OWNER TO postgres",
        "permission denied for table",
        "ALTER TABLE pgkeep.backup OWNER TO SCRIBE; GRANT ALL ON ALL TABLES IN SCHEMA pgkeep TO SCRIBE",
    ),
    (
        "ALTER SCHEMA pgkeep OWNER TO postgres",
        "permission denied for schema pgkeep",
        "ALTER SCHEMA pgkeep OWNER TO SCRIBE",
    ),
    (
        "ALTER ROLE SCRIBE CONNECTION LIMIT 0",
        "too many connections for role",
        "ALTER ROLE SCRIBE CONNECTION LIMIT -1",
    ),
    (
        "ALTER ROLE SCRIBE PASSWORD 'changed'",
        "password authentication failed",
        "ALTER ROLE SCRIBE PASSWORD 'scribe'",
    ),
    ("ALTER ROLE SCRIBE NOLOGIN", "not permitted to log in", "ALTER ROLE SCRIBE LOGIN"),
    (
        "ALTER TABLE pgkeep.backup RENAME TO gone",
        "`copy` has a foreign key from or to a table elsewhere",
        "ALTER TABLE pgkeep.gone RENAME TO backup",
    ),
    (
        "ALTER TABLE pgkeep.backup ADD CONSTRAINT odd CHECK (status = 'failed') NOT VALID",
        "violates check constraint \"odd\"",
        "ALTER TABLE pgkeep.backup DROP CONSTRAINT odd",
    ),
];

/// What it says is the cause, once, whichever way it is told; the next run finds everything in order.
#[test]
fn a_catalog_that_refuses() {
    let (site, role) = site_with_role();
    site.pgkeep(["list"]).any_stdout().run();
    for (statement, words, remedy) in TROUBLES {
        let execute = |text: &str| site.cluster.execute(&site.catalog, &text.replace("SCRIBE", &role));
        execute(statement);
        let call = site.pgkeep(["backup", "full"]).code(3).any_stdout().stderr_has("catalog");
        let ran = call.stderr_has(words).run();
        assert_eq!(waiting(&site), 1, "{statement}");
        execute(remedy);
        site.pgkeep(["list"]).stdout_has(&ran.id()).any_stderr().run();
        assert_eq!(waiting(&site), 0, "{remedy}");
        assert_eq!(site.row(&ran.id())["status"], "verified", "{statement}");
        site.assert_copies(&ran.id(), &["local", "r2", "b2"]);
    }
}

/// The same, done while the dump is under way: a connection that is there goes on where it can.
#[test]
fn a_catalog_that_changes_its_mind_in_the_middle() {
    let (mut site, role) = site_with_role();
    for (statement, count) in [
        // The run's own connection goes on; the prune after it has none.
        ("ALTER ROLE SCRIBE PASSWORD 'changed'", 0),
        (
            "REVOKE ALL ON ALL TABLES IN SCHEMA pgkeep FROM SCRIBE; ALTER TABLE pgkeep.backup OWNER TO postgres",
            1,
        ),
        ("ALTER TABLE pgkeep.backup OWNER TO SCRIBE; DROP SCHEMA pgkeep CASCADE", 1),
    ] {
        site.cluster.execute(&site.catalog, &format!("ALTER ROLE {role} PASSWORD 'scribe'"));
        let bin = FakeBin::held(&site.path(""));
        site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
        let running = site.pgkeep(["backup", "full"]).code(3).any_stdout().any_stderr().start();
        bin.wait_for_start();
        site.cluster.execute(&site.catalog, &statement.replace("SCRIBE", &role));
        bin.release();
        let id = running.finish().id();
        assert_eq!(waiting(&site), count, "{statement}");
        site.cluster.execute(
            &site.catalog,
            &format!(
                "ALTER ROLE {role} PASSWORD 'scribe'; CREATE SCHEMA IF NOT EXISTS pgkeep AUTHORIZATION {role}; \
                 DO $$ BEGIN ALTER TABLE pgkeep.backup OWNER TO {role}; EXCEPTION WHEN undefined_table THEN END $$; \
                 GRANT ALL ON ALL TABLES IN SCHEMA pgkeep TO {role}"
            ),
        );
        site.pgkeep(["list"]).stdout_has(&id).any_stderr().run();
        assert_eq!((waiting(&site), &site.row(&id)["status"]), (0, &"verified".into()), "{statement}");
    }
}

/// A firewall that forgets a connection tells neither end: what is sent is never answered. The record is written
/// over a new one, and nobody waits for the old.
#[test]
fn a_connection_that_went_silent_in_the_middle() {
    let (mut site, gate) = site_with_gate();
    site.config.set("timeouts.connect", "3s");
    let bin = FakeBin::held(&site.path(""));
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    let running = site.pgkeep(["backup", "full"]).any_stdout().any_stderr().start();
    bin.wait_for_start();
    gate.silence();
    bin.release();
    let id = running.finish().id();
    assert_eq!(site.row(&id)["status"], "verified");
    assert_eq!(waiting(&site), 0);
}

/// And one in which nothing is ever answered, new connections included.
#[test]
fn a_catalog_that_went_silent_for_good() {
    let (mut site, gate) = site_with_gate();
    site.config.set("timeouts.connect", "2s");
    let bin = FakeBin::held(&site.path(""));
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    let call = site.pgkeep(["backup", "full"]).code(3).any_stdout();
    let running = call.stderr_has("catalog").stderr_has("no answer within 2 s").start();
    bin.wait_for_start();
    gate.silence_all();
    bin.release();
    let id = running.finish().id();
    assert_eq!(waiting(&site), 1);
    gate.reopen();
    site.pgkeep(["list"]).stdout_has(&id).any_stderr().run();
    assert_eq!(waiting(&site), 0);
}

/// A catalog at the other end of the world: each answer takes its time, and nothing is amiss.
#[test]
fn a_slow_catalog_is_a_catalog() {
    let (site, gate) = site_with_gate();
    gate.slow_down(Duration::from_millis(100));
    let id = site.pgkeep(["backup", "full"]).any_stdout().run().id();
    assert_eq!(site.row(&id)["status"], "verified");
}

/// What a role has set against long queries and idle sessions does not take a run's lock away, or its record.
#[test]
fn limits_of_the_role_end_no_run() {
    let (mut site, role) = site_with_role();
    site.cluster.execute(
        &site.catalog,
        &format!(
            "ALTER ROLE {role} SET statement_timeout = '5s'; ALTER ROLE {role} SET idle_session_timeout = '300ms'; \
             ALTER ROLE {role} SET idle_in_transaction_session_timeout = '300ms'"
        ),
    );
    let bin = FakeBin::held(&site.path(""));
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    let running = site.pgkeep(["backup", "full"]).any_stdout().start();
    bin.wait_for_start();
    // Longer than the limit: the server has looked at its sessions by then.
    let mut client = site.cluster.connect(&site.catalog);
    client.batch_execute("SELECT pg_sleep(1)").unwrap();
    let query = "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) \
         WHERE locktype = 'advisory' AND usename = $1";
    let held: i64 = client.query_one(query, &[&role]).unwrap().get(0);
    assert_eq!(held, 1, "the lock went with its idle session");
    bin.release();
    let id = running.finish().id();
    assert_eq!(site.row(&id)["status"], "verified");
}

/// A site whose catalog was away for one backup, and is back.
fn site_with_a_record_that_waits() -> (Site, Gate, String) {
    let (site, gate) = site_with_gate();
    gate.shut();
    let id = site.pgkeep(["backup", "full"]).code(3).any_stdout().any_stderr().run().id();
    gate.reopen();
    (site, gate, id)
}

/// What lies among the records that wait and is none is left there and named; the others are written.
#[test]
fn what_is_no_record_stops_no_other() {
    let (site, _gate, id) = site_with_a_record_that_waits();
    let folder = site.path("state/pending");
    let good = fs::read_to_string(folder.join(format!("{id}.json"))).unwrap();
    let mut odd: Vec<PathBuf> = Vec::new();
    for (name, text) in [
        ("a-half", &good[..good.len() / 2]),
        ("a-empty", ""),
        ("a-other", "{\"not\": \"ours\"}"),
        ("a-newer", &good.replace("\"verified\"", "\"transcended\"")),
        ("a-deep", &"[".repeat(100_000)),
    ] {
        odd.push(folder.join(format!("{name}.json")));
        fs::write(odd.last().unwrap(), text).unwrap();
    }
    odd.push(folder.join("a-huge.json"));
    fs::File::create(odd.last().unwrap()).unwrap().set_len(1 << 40).unwrap();
    odd.push(folder.join("a-folder.json"));
    fs::create_dir(odd.last().unwrap()).unwrap();
    odd.push(folder.join("a-pipe.json"));
    crate::support::tools::run("mkfifo", &[odd.last().unwrap().to_str().unwrap()]);
    odd.push(folder.join("a-nowhere.json"));
    std::os::unix::fs::symlink("/nowhere", odd.last().unwrap()).unwrap();
    let ran = site.pgkeep(["list"]).stdout_has(&id).any_stderr().run();
    for file in &odd {
        assert!(ran.stderr.contains(file.to_str().unwrap()), "{} in {}", file.display(), ran.stderr);
        assert!(file.symlink_metadata().is_ok(), "{} is gone", file.display());
    }
    assert!(!folder.join(format!("{id}.json")).exists());
    assert_eq!(site.row(&id)["status"], "verified");
}

/// A catalog that was away for long: everything that waited is written by one call.
#[test]
fn a_thousand_records_are_written_at_once() {
    let (site, _gate, id) = site_with_a_record_that_waits();
    let folder = site.path("state/pending");
    let good = fs::read_to_string(folder.join(format!("{id}.json"))).unwrap();
    let (stem, _) = id.rsplit_once('-').unwrap();
    for number in 0..1000 {
        let other = format!("{stem}-{:04x}", 0xf000 + number);
        fs::write(folder.join(format!("{other}.json")), good.replace(&id, &other)).unwrap();
    }
    site.pgkeep(["list"]).any_stdout().any_stderr().run();
    assert_eq!(waiting(&site), 0);
    assert!(site.rows().len() >= 1000);
}

/// A gate that stands for a firewall can be trusted to do what the tests above ask of it.
#[test]
fn a_gate_keeps_silent_without_closing() {
    let site = Site::new();
    let gate = Gate::open_to(site.cluster.port);
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", gate.port)).unwrap();
    crate::support::wait_until("the gate let it in", || gate.count() == 1);
    gate.silence();
    std::io::Write::write_all(&mut stream, &[0, 0, 0, 8, 4, 210, 22, 47]).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let error = std::io::Read::read(&mut stream, &mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
}
