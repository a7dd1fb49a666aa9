//! The hash of a table's rows: the same for the same rows in any order and under any settings, another for
//! any change.

use std::collections::BTreeMap;

use pgkeep::fingerprint::{HASH_METHOD, Level};
use pgkeep::key::Key;
use serde_json::{Value, json};

use super::{figures, mac, site};

/// The hash of each table.
fn hashes(site: &crate::support::Site) -> BTreeMap<String, String> {
    let found = figures(site, &site.database, Level::Content);
    assert_eq!(found.skipped, BTreeMap::new());
    found.tables.into_iter().map(|(name, table)| (name, table.hash.unwrap())).collect()
}

/// A table, and what is done to it: its hash must change, and be the old one after the way back.
#[test]
fn any_change_changes_it_and_the_way_back_changes_it_back() {
    let site = site(
        "CREATE TABLE t (n int, s text, f float8, j jsonb);\n\
         INSERT INTO t SELECT n, 'row ' || n, n / 3.0, jsonb_build_object('k', n) FROM generate_series(1, 50) n;\n\
         INSERT INTO t VALUES (100, NULL, 0, NULL)",
    );
    let before = hashes(&site);
    for (change, back) in [
        ("UPDATE t SET s = 'row 7 ' WHERE n = 7", "UPDATE t SET s = 'row 7' WHERE n = 7"),
        ("UPDATE t SET s = '' WHERE n = 100", "UPDATE t SET s = NULL WHERE n = 100"),
        ("UPDATE t SET f = '-0' WHERE n = 100", "UPDATE t SET f = 0 WHERE n = 100"),
        ("UPDATE t SET f = f + 1e-15 WHERE n = 1", "UPDATE t SET f = 1 / 3.0 WHERE n = 1"),
        ("UPDATE t SET j = '{\"k\": \"9\"}' WHERE n = 9", "UPDATE t SET j = '{\"k\": 9}' WHERE n = 9"),
        (
            "INSERT INTO t SELECT * FROM t WHERE n = 3",
            "DELETE FROM t WHERE ctid = (SELECT max(ctid) FROM t WHERE n = 3)",
        ),
        (
            "INSERT INTO t SELECT * FROM t WHERE n = 4 UNION ALL SELECT * FROM t WHERE n = 4",
            "DELETE FROM t WHERE n = 4 AND ctid <> (SELECT min(ctid) FROM t WHERE n = 4)",
        ),
        (
            "UPDATE t SET s = CASE n WHEN 1 THEN 'row 2' ELSE 'row 1' END WHERE n IN (1, 2)",
            "UPDATE t SET s = 'row ' || n WHERE n IN (1, 2)",
        ),
        ("DELETE FROM t WHERE n = 50", "INSERT INTO t VALUES (50, 'row 50', 50 / 3.0, '{\"k\": 50}')"),
    ] {
        site.cluster.execute(&site.database, change);
        assert_ne!(hashes(&site), before, "{change}");
        site.cluster.execute(&site.database, back);
        assert_eq!(hashes(&site), before, "{back}");
    }
}

#[test]
fn the_order_of_rows_does_not_matter() {
    let site = site(
        "CREATE TABLE up AS SELECT n, md5(n::text) FROM generate_series(1, 3000) n;\n\
         CREATE TABLE down AS SELECT n, md5(n::text) FROM generate_series(3000, 1, -1) n",
    );
    let found = hashes(&site);
    assert_eq!(found["public.up"], found["public.down"]);
}

/// Two rows that changed places between tables leave every count as it was.
#[test]
fn rows_swapped_between_tables_are_seen_in_both() {
    let site = site(
        "CREATE TABLE a AS SELECT 1 AS n; CREATE TABLE b AS SELECT 2 AS n; CREATE TABLE c AS SELECT 3 AS n",
    );
    let before = figures(&site, &site.database, Level::Content);
    site.cluster.execute(&site.database, "UPDATE a SET n = 2; UPDATE b SET n = 1");
    let after = figures(&site, &site.database, Level::Content);
    let said = before.differences(&after);
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].contains("`public.a`: its rows differ") && said[1].contains("`public.b`"), "{said:?}");
    let counts = figures(&site, &site.database, Level::Counts);
    assert_eq!(before.differences(&counts), Vec::<String>::new());
}

/// What shapes the text of a value is pinned: a database set up in another way hashes alike.
#[test]
fn settings_of_a_database_do_not_matter() {
    let make = "CREATE TYPE mood AS ENUM ('sad', 'glad'); CREATE DOMAIN pos AS int CHECK (VALUE > 0);\n\
        CREATE TYPE pair AS (a pos, b timestamptz); CREATE TABLE \"T t\" ();\n\
        CREATE TABLE all_kinds (ts timestamptz, i interval, b bytea, f float8, g float4, m money, x xml, p pair,\n\
          e mood[], c regclass, d date, n numeric, o oid, r tstzrange, same int GENERATED ALWAYS AS (1) STORED);\n\
        INSERT INTO all_kinds VALUES ('2026-11-22 02:00+01', '1 mon -3 days 04:05', '\\x00ff', 0.1, 0.1, 1234.5, '<a>\u{e9}</a>',\n\
          (3, '2001-02-03 04:05:06Z'), '{glad,NULL}', '\"T t\"', '2020-02-03', 1.50, 12, '[2020-01-01 0:0Z,)'),\n\
          ('infinity', NULL, '', 'NaN', '-0', -1, NULL, NULL, '{}', NULL, '-infinity', 'NaN', 0, 'empty')";
    let site = site(make);
    let before = hashes(&site);
    let settings = [
        "datestyle = 'German'",
        "intervalstyle = 'iso_8601'",
        "timezone = 'Asia/Tokyo'",
        "extra_float_digits = -5",
        "bytea_output = 'escape'",
        "search_path = public",
        "quote_all_identifiers = on",
        "standard_conforming_strings = off",
        "lc_monetary = 'C.UTF-8'",
        "xmlbinary = 'hex'",
        "idle_in_transaction_session_timeout = '1ms'",
        // Long enough for the one statement with which a session puts them out of force, on a busy host too.
        "statement_timeout = '30ms'",
        "lock_timeout = '1ms'",
    ];
    for setting in settings {
        let name = &site.database;
        site.cluster.execute("postgres", &format!("ALTER DATABASE {name} SET {setting}"));
    }
    assert_eq!(hashes(&site), before);
}

/// A value that has no text any more is no reason to fail.
#[test]
fn a_table_that_cannot_be_hashed_is_named() {
    let site = site(
        "CREATE TYPE mood AS ENUM ('sad', 'glad'); CREATE TABLE fine AS SELECT 'sad'::mood AS m;\n\
         CREATE TABLE lost AS SELECT 'glad'::mood AS m; DELETE FROM pg_enum WHERE enumlabel = 'glad'",
    );
    let found = figures(&site, &site.database, Level::Content);
    assert_eq!(found.tables.keys().collect::<Vec<_>>(), ["public.fine"]);
    let why = &found.skipped["public.lost"];
    assert!(why.starts_with("invalid internal value for enum"), "{why}");
}

/// Bytes are hashed as they are stored, be they letters of their encoding or of none.
#[test]
fn bytes_of_any_encoding_are_hashed() {
    let site = site("CREATE TABLE unused ()");
    let cluster = site.cluster;
    let make = |encoding: &str, byte: &str| {
        let name = crate::support::cluster::unique("encoded");
        let create = format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'");
        cluster.execute("postgres", &create);
        let fill = format!("SET client_encoding = SQL_ASCII; CREATE TABLE t AS SELECT E'{byte}'::text AS s");
        cluster.execute(&name, &fill);
        let found = figures(&site, &name, Level::Content);
        assert_eq!(found.skipped, BTreeMap::new(), "{encoding}");
        found.tables["public.t"].hash.clone().unwrap()
    };
    let latin = make("LATIN1", "\\xe9");
    assert_eq!(make("SQL_ASCII", "\\xe9"), latin);
    assert_ne!(make("SQL_ASCII", "\\xe8"), latin);
    assert_ne!(make("UTF8", "\\u00e9"), latin);
    make("EUC_JP", "\\xa4\\xa2");
}

/// A record whose hashes are the server's own, as builds before this one took them, tells no difference.
#[test]
fn a_record_with_hashes_of_an_older_version_is_compared_by_counts() {
    let mut site = site("CREATE TABLE t AS SELECT generate_series(1, 3) AS n");
    site.config.set("verify.fingerprint", "content");
    let id = site.backup();
    let row = site.row(&id);
    assert_eq!(row["metadata"]["fingerprint"]["hash_method"], HASH_METHOD);
    site.pgkeep(["-v", "verify", "--level", "restore", &id])
        .any_stdout()
        .stderr_has("equal in 1 tables\n")
        .run();
    let change = |rows: u64| {
        let old = |figures: &mut Value| {
            figures.as_object_mut().unwrap().remove("hash_method");
            figures["tables"] = json!({"public.t": {"rows": rows, "hash": "-13254789653214"}});
        };
        let path = format!("{}.json", row["local_path"].as_str().unwrap());
        let mut manifest: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        old(&mut manifest["fingerprint"]);
        manifest["mac"] = mac(&Key::parse(&site.key).unwrap(), &manifest);
        std::fs::write(&path, serde_json::to_vec_pretty(&manifest).unwrap()).unwrap();
        let change =
            "UPDATE pgkeep.backup SET metadata = jsonb_set(metadata, '{fingerprint}', $1) WHERE id = $2";
        site.cluster.connect(&site.catalog).execute(change, &[&manifest["fingerprint"], &id]).unwrap();
    };
    change(3);
    let said = "equal in 1 tables; rows were counted only: another version of pgkeep hashed those on record";
    site.pgkeep(["-v", "verify", "--level", "restore", &id]).any_stdout().stderr_has(said).run();
    change(4);
    let call = site.pgkeep(["verify", "--level", "restore", &id]).code(4).any_stdout();
    call.stderr_has("table `public.t` has 3 rows, not 4").run();
}
