//! The fingerprint of a backup: its figures are those of the dump's own snapshot, what could not be counted is
//! named, and nothing that goes wrong with it fails the backup.

use std::time::Duration;

use pgkeep::connect::ConnectOptions;
use pgkeep::conninfo::{ConnInfo, Environment};
use pgkeep::fingerprint::{Fingerprint, Level};
use pgkeep::interrupt::Interrupt;
use pgkeep::key::Key;
use pgkeep::source::fingerprint::{Wanted, figures_of};
use serde_json::{Value, json};

use crate::support::tools::pg_bin;
use crate::support::{FakeBin, Site, wait_until};

mod content;
mod faults;
mod kinds;

/// A site with one local store and an empty database that these statements fill.
fn site(statements: &str) -> Site {
    let site =
        Site::of(crate::support::cluster::unique("figures"), "template0").local_only().with_own_catalog();
    site.cluster.execute(&site.database, statements);
    site
}

/// The fingerprint on record of a backup: the manifest's, which must be the row's.
fn fingerprint(site: &Site, id: &str) -> Value {
    let row = site.row(id);
    let file = format!("{}.json", row["local_path"].as_str().unwrap());
    let manifest: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let fingerprint = manifest["fingerprint"].clone();
    assert_eq!(fingerprint, row["metadata"]["fingerprint"]);
    fingerprint
}

/// Backs up in silence; gives the fingerprint.
fn taken(site: &Site) -> Value {
    fingerprint(site, &site.backup())
}

/// Restores a backup into a fresh database and gives the fingerprint of that one's own backup.
fn of_restored(site: &Site, id: &str) -> Value {
    let (name, url) = site.target();
    site.pgkeep(["restore", id, "--into", &url]).any_stdout().any_stderr().run();
    let id = site.pgkeep(["backup", "full", "--database", &name]).any_stdout().run().id();
    fingerprint(site, &id)
}

/// The figures of a database as it is now.
fn figures(site: &Site, database: &str, level: Level) -> Fingerprint {
    let info =
        ConnInfo::parse(&site.cluster.url(database)).unwrap().resolve(&Environment::default()).unwrap();
    let options = ConnectOptions {
        connect_timeout: Duration::from_secs(10),
        answer_timeout: Duration::from_mins(1),
        application_name: "figures",
    };
    let row_key = pgkeep::key::Key::parse(&site.key).unwrap().row_key().unwrap();
    let wanted = Wanted { level, row_key, table_time: Duration::from_mins(1), without_schema: None };
    figures_of(&info, &options, wanted, Duration::from_mins(1), &Interrupt::new()).unwrap()
}

/// Rows by table.
fn rows(fingerprint: &Value) -> Value {
    let tables = fingerprint["tables"].as_object().unwrap();
    tables.iter().map(|(name, table)| (name.clone(), table["rows"].clone())).collect()
}

/// Holds the dump, lets `meanwhile` happen, lets the dump go on; gives the fingerprint.
fn with_meanwhile(mut site: Site, meanwhile: &str) -> (Site, String) {
    let bin = FakeBin::held(&site.path(""));
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    let running = site.pgkeep(["backup", "full"]).any_stdout().start();
    bin.wait_for_start();
    site.cluster.execute(&site.database, meanwhile);
    bin.release();
    let id = running.finish().id();
    site.config.set("source.pg_bin", pg_bin().to_str().unwrap());
    (site, id)
}

const TWO_TABLES: &str = "CREATE TABLE a AS SELECT n FROM generate_series(1, 5) n; CREATE TABLE b (n int)";

#[test]
fn the_manifest_and_the_row_hold_it() {
    let site = site(TWO_TABLES);
    let found = taken(&site);
    assert_eq!(found["level"], "counts");
    assert_eq!(found["tables"], json!({"public.a": {"rows": 5}, "public.b": {"rows": 0}}));
    assert_eq!(found["skipped"], json!({}));
    let database = &found["database"];
    assert_eq!(database["encoding"], "UTF8");
    assert_eq!(database["collate"], "C.UTF-8");
    assert_eq!(database["provider"], "libc");
    assert_eq!(found["roles"], json!(["postgres"]));
    assert!(found["extensions"]["plpgsql"].is_string(), "{found:#}");
}

/// Rows that come and go after the snapshot are in neither the dump nor the figures.
#[test]
fn the_figures_are_those_of_the_snapshot() {
    let meanwhile = "INSERT INTO a SELECT generate_series(1, 1000); DELETE FROM a WHERE n < 3; \
        INSERT INTO b VALUES (1); CREATE TABLE late AS SELECT 1; DROP TABLE IF EXISTS nothing";
    let (site, id) = with_meanwhile(site(TWO_TABLES), meanwhile);
    assert_eq!(rows(&fingerprint(&site, &id)), json!({"public.a": 5, "public.b": 0}));
    assert_eq!(rows(&of_restored(&site, &id)), json!({"public.a": 5, "public.b": 0}));
}

/// A dump that is not given the snapshot would have other rows than were counted.
#[test]
fn the_dump_is_given_the_snapshot() {
    let mut site = site(TWO_TABLES);
    let bin = FakeBin::new(&site.path(""), "echo \"$*\" >\"$HERE/arguments\"; exec \"$REAL\" \"$@\"");
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    site.backup();
    let arguments = || std::fs::read_to_string(bin.folder.join("arguments")).unwrap();
    assert!(arguments().contains("--snapshot="), "{}", arguments());
    site.config.set("verify.fingerprint", "off");
    site.backup();
    assert!(!arguments().contains("--snapshot"), "{}", arguments());
}

#[test]
fn a_sequence_that_moves_has_both_its_ends_on_record() {
    let make = "CREATE SEQUENCE moves; CREATE SEQUENCE rests; CREATE SEQUENCE fresh; \
        CREATE SEQUENCE turns INCREMENT -2 MAXVALUE 9 MINVALUE 1 START 9 CYCLE; \
        SELECT nextval('moves'), setval('rests', 41)";
    let meanwhile = "SELECT nextval('moves') FROM generate_series(1, 5); SELECT nextval('turns')";
    let (site, id) = with_meanwhile(site(make), meanwhile);
    let found = fingerprint(&site, &id);
    let says_all = says_where_fresh_sequences_stand(&site);
    let at = |value: i64, is_called: bool| {
        let known = json!({"value": value, "is_called": is_called});
        if is_called || says_all { known } else { json!({"is_called": false}) }
    };
    let figures = |start: Value, end: Value, increment: i64, is_cycle: bool| json!({"start": start, "end": end, "increment": increment, "is_cycle": is_cycle});
    let wanted = json!({
        "public.moves": figures(at(1, true), at(6, true), 1, false),
        "public.rests": figures(at(41, true), at(41, true), 1, false),
        "public.fresh": figures(at(1, false), at(1, false), 1, false),
        "public.turns": figures(at(9, false), at(9, true), -2, true),
    });
    assert_eq!(found["sequences"], wanted);
}

/// From version 18 on.
fn says_where_fresh_sequences_stand(site: &Site) -> bool {
    let query = "SELECT current_setting('server_version_num')::int >= 180000";
    site.cluster.connect("postgres").query_one(query, &[]).unwrap().get(0)
}

#[test]
fn off_takes_what_makes_an_equal_database_and_no_more() {
    let mut site = site(TWO_TABLES);
    site.config.set("verify.fingerprint", "off");
    let found = taken(&site);
    assert_eq!(found["level"], "off");
    assert_eq!(found["roles"], json!(["postgres"]));
    assert_eq!(found["database"]["encoding"], "UTF8");
    for name in ["tables", "sequences", "extensions", "skipped"] {
        assert_eq!(found[name], json!({}), "{name}");
    }
}

/// A backup of a version that took none is verified, listed and restored as before.
#[test]
fn a_record_without_a_fingerprint_still_reads() {
    let site = site(TWO_TABLES);
    let id = site.backup();
    let change = format!("UPDATE pgkeep.backup SET metadata = metadata - 'fingerprint' WHERE id = '{id}'");
    site.cluster.execute(&site.catalog, &change);
    let path = format!("{}.json", site.row(&id)["local_path"].as_str().unwrap());
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    manifest.as_object_mut().unwrap().remove("fingerprint");
    manifest["mac"] = mac(&Key::parse(&site.key).unwrap(), &manifest);
    std::fs::write(&path, serde_json::to_vec_pretty(&manifest).unwrap()).unwrap();
    site.pgkeep(["verify", &id]).any_stdout().run();
    site.pgkeep(["list"]).stdout_has(&id).run();
    let (name, url) = site.target();
    site.pgkeep(["restore", &id, "--into", &url]).any_stdout().any_stderr().run();
    let count: i64 = site.cluster.connect(&name).query_one("SELECT count(*) FROM a", &[]).unwrap().get(0);
    assert_eq!(count, 5);
}

/// The manifest's own signature, as the binary would write it.
fn mac(key: &Key, manifest: &Value) -> Value {
    let mut all = manifest.as_object().unwrap().clone();
    all.remove("mac");
    let canonical = serde_json::to_vec(&std::collections::BTreeMap::from_iter(all)).unwrap();
    key.mac(&canonical).unwrap().into()
}

/// No session of ours is left on the server.
fn assert_no_session(site: &Site) {
    let query = format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{}'", site.database);
    wait_until("no session is left", || {
        let count: i64 = site.cluster.connect("postgres").query_one(&query, &[]).unwrap().get(0);
        count == 0
    });
}
