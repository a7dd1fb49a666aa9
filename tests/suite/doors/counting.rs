//! What the owner of a database can have run while its rows are counted and its sequences are looked at:
//! nothing. Their functions leave a mark in the server's log where anybody else runs them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::support::cluster::unique;
use crate::support::{FakeBin, Site, wait_until};

/// A database that an ordinary role owns.
struct Owned {
    site: Site,
    owner: String,
    mark: String,
}

impl Owned {
    fn new() -> Self {
        let site = Site::of(unique("owned"), "template0").local_only().with_own_catalog();
        let (owner, mark) = (unique("owner"), format!("{};", unique("mark")));
        let database = &site.database;
        let make = format!("CREATE ROLE {owner}; ALTER DATABASE {database} OWNER TO {owner}");
        site.cluster.execute("postgres", &make);
        site.cluster.execute(
            database,
            &format!(
                "GRANT ALL ON SCHEMA public TO {owner}; CREATE FOREIGN DATA WRAPPER nothing;\n\
                 CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing; GRANT USAGE ON FOREIGN SERVER nowhere TO {owner}"
            ),
        );
        let owned = Self { site, owner, mark };
        owned.execute(&format!(
            "CREATE FUNCTION public.mark(what text) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN\n\
             IF current_user <> '{}' THEN RAISE WARNING '{} % by %', what, current_user; END IF;\n\
             RETURN 1; END $$",
            owned.owner, owned.mark
        ));
        owned
    }

    /// Runs statements as the owner.
    fn execute(&self, statements: &str) {
        let statements = format!("SET SESSION AUTHORIZATION {}; {statements}", self.owner);
        self.site.cluster.execute(&self.site.database, &statements);
    }

    /// What was marked.
    fn marks(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.site.cluster.socket_dir.join("log")).unwrap();
        log.lines()
            .filter_map(|line| line.split_once("WARNING:")?.1.split_once(&self.mark))
            .map(|(_, what)| what.trim().to_owned())
            .collect()
    }

    /// The source is read as a role that may read everything and is no superuser.
    fn as_reader(&mut self) {
        let role = unique("reader");
        let make = format!("CREATE ROLE {role} LOGIN PASSWORD 'reads' IN ROLE pg_read_all_data");
        self.site.cluster.execute("postgres", &make);
        let (port, database) = (self.site.cluster.port, &self.site.database);
        let url = format!("postgresql://{role}:reads@127.0.0.1:{port}/{database}");
        self.site.config.set("source.url", url);
    }

    /// The fingerprint of a backup.
    fn backup(&mut self, level: &str) -> Value {
        self.site.config.set("verify.fingerprint", level);
        let id = self.site.pgkeep(["backup", "full"]).any_stdout().run().id();
        self.site.row(&id)["metadata"]["fingerprint"].clone()
    }
}

/// Every place in which a table can hold an expression that somebody evaluates.
const EXPRESSIONS: &str = "\
    CREATE DOMAIN positive AS int CHECK (VALUE + public.mark('domain') > 0);\n\
    CREATE TYPE pair AS (a int, b positive);\n\
    CREATE FUNCTION words(pair) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT public.mark(''cast'')::text';\n\
    CREATE CAST (pair AS text) WITH FUNCTION words(pair) AS IMPLICIT;\n\
    CREATE TABLE t (n int DEFAULT public.mark('default') CHECK (n > 0 AND public.mark('check') = 1),\n\
      g int GENERATED ALWAYS AS (n + public.mark('generated')) STORED, d positive, p pair);\n\
    CREATE FUNCTION words(t) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT public.mark(''cast of a row'')::text';\n\
    CREATE CAST (t AS text) WITH FUNCTION words(t) AS IMPLICIT;\n\
    INSERT INTO t (n, d, p) SELECT n, n, ROW(n, n)::pair FROM generate_series(1, 7) n;\n\
    CREATE INDEX ON t ((n + public.mark('index')));\n\
    CREATE INDEX ON t (n) WHERE public.mark('predicate') = 1;\n\
    CREATE STATISTICS of_t ON (n + public.mark('statistics')), (n * 2) FROM t;\n\
    CREATE TABLE parent (n int) PARTITION BY RANGE ((n + public.mark('key')));\n\
    CREATE TABLE parts PARTITION OF parent FOR VALUES FROM (0) TO (public.mark('bound') + 100);\n\
    INSERT INTO parent VALUES (1), (2);\n\
    CREATE TABLE older (n int CHECK (public.mark('check of a parent') = 1));\n\
    CREATE TABLE younger (m int) INHERITS (older); CREATE INDEX ON younger ((n * public.mark('index of a child')));\n\
    CREATE SEQUENCE ids; SELECT setval('ids', 41)";

fn rows(fingerprint: &Value) -> Value {
    let tables = fingerprint["tables"].as_object().unwrap();
    tables.iter().map(|(name, table)| (name.clone(), table["rows"].clone())).collect()
}

/// Backs up at each level; everything is counted, and nothing is run.
fn assert_counted_without_running(mut owned: Owned, more: &[(&str, u64)]) {
    let mut wanted = json!({"public.t": 7, "public.parts": 2, "public.older": 0, "public.younger": 0});
    for (name, rows) in more {
        wanted[name] = json!(rows);
    }
    for level in ["counts", "content"] {
        let found = owned.backup(level);
        assert_eq!(owned.marks(), Vec::<String>::new(), "{level}");
        assert_eq!(rows(&found), wanted);
        assert_eq!(found["skipped"], json!({}));
        assert_eq!(found["sequences"]["public.ids"]["end"]["value"], 41);
    }
}

/// The planner evaluates index expressions, predicates and more while it makes a plan: no query of ours may
/// be planned over a table of theirs.
#[test]
fn no_expression_of_a_table_is_evaluated_by_a_superuser() {
    let owned = Owned::new();
    owned.execute(EXPRESSIONS);
    owned.execute(
        "CREATE TABLE secret AS SELECT 1 AS n; ALTER TABLE secret ENABLE ROW LEVEL SECURITY;\n\
         ALTER TABLE secret FORCE ROW LEVEL SECURITY; CREATE POLICY p ON secret USING (public.mark('policy') = 1)",
    );
    assert_counted_without_running(owned, &[("public.secret", 1)]);
}

#[test]
fn no_expression_of_a_table_is_evaluated_by_an_ordinary_role() {
    let mut owned = Owned::new();
    owned.execute(EXPRESSIONS);
    owned.as_reader();
    assert_counted_without_running(owned, &[]);
}

/// The mark is one: what this module finds shut stands open to a plain query.
#[test]
fn a_plain_query_would_run_it() {
    let owned = Owned::new();
    owned.execute(EXPRESSIONS);
    owned.site.cluster.execute(&owned.site.database, "SELECT count(*) FROM t; SELECT count(*) FROM younger");
    assert_eq!(
        owned.marks().iter().map(|mark| mark.split(" by ").next().unwrap()).collect::<Vec<_>>(),
        ["index", "predicate", "statistics", "index of a child"]
    );
}

const SWAPPED: &str = "\
    CREATE TABLE to_view AS SELECT 1 AS n; CREATE TABLE to_table AS SELECT 1 AS n;\n\
    CREATE TABLE to_foreign AS SELECT 1 AS n; CREATE TABLE to_partitioned AS SELECT 1 AS n;\n\
    CREATE TABLE to_ruled AS SELECT 1 AS n; CREATE TABLE stays AS SELECT 1 AS n;\n\
    CREATE SEQUENCE seq_to_view; CREATE SEQUENCE seq_to_table; CREATE SEQUENCE seq_stays;\n\
    SELECT nextval('seq_to_view'), nextval('seq_to_table'), nextval('seq_stays')";

const SWAP: &str = "\
    ALTER TABLE to_view RENAME TO was_a; CREATE VIEW to_view AS SELECT public.mark('view') AS n;\n\
    ALTER TABLE to_table RENAME TO was_b; CREATE TABLE to_table (n int); CREATE INDEX ON to_table ((public.mark('table')));\n\
    ALTER TABLE to_foreign RENAME TO was_c;\n\
    CREATE FOREIGN TABLE to_foreign (n int CHECK (public.mark('foreign') = 1)) SERVER nowhere;\n\
    ALTER TABLE to_partitioned RENAME TO was_d;\n\
    CREATE TABLE to_partitioned (n int) PARTITION BY LIST ((n + public.mark('key')));\n\
    CREATE TABLE of_it PARTITION OF to_partitioned DEFAULT; CREATE INDEX ON of_it ((public.mark('partition')));\n\
    ALTER TABLE to_ruled RENAME TO was_e; CREATE VIEW to_ruled AS SELECT n FROM stays WHERE public.mark('where') = n;\n\
    ALTER SEQUENCE seq_to_view RENAME TO was_s;\n\
    CREATE VIEW seq_to_view AS SELECT 1::bigint AS last_value, public.mark('sequence view') = 1 AS is_called;\n\
    ALTER SEQUENCE seq_to_table RENAME TO was_t; CREATE TABLE seq_to_table (last_value bigint, is_called bool);\n\
    CREATE INDEX ON seq_to_table ((public.mark('sequence table')))";

/// The dump is done, and gives its first byte once its tables are others: those that were listed are read
/// after that.
fn assert_swapped_without_running(mut owned: Owned, level: &str) {
    owned.execute(SWAPPED);
    owned.site.config.set("verify.fingerprint", level);
    let bin = FakeBin::held_before_its_first_byte(&owned.site.path(""));
    owned.site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    let running = owned.site.pgkeep(["backup", "full"]).any_stdout().any_stderr().start();
    bin.wait_for_start();
    let listed = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND state = 'idle in transaction' \
         AND query LIKE '%relpages%'",
        owned.site.database
    );
    wait_until("the tables are listed", || {
        owned.site.cluster.connect("postgres").query_one(&listed, &[]).unwrap().get::<_, i64>(0) == 1
    });
    owned.execute(SWAP);
    bin.release();
    let id = running.finish().id();
    assert_eq!(owned.marks(), Vec::<String>::new());
    let found = &owned.site.row(&id)["metadata"]["fingerprint"];
    assert_eq!(found["tables"]["public.stays"]["rows"], 1);
    for name in ["to_view", "to_foreign", "to_partitioned", "to_ruled"] {
        let why = found["skipped"][format!("public.{name}")].as_str();
        assert!(why.is_some_and(|why| why.contains("cannot copy from")), "{name}: {found:#}");
    }
    // By its number a sequence is what it was, whatever its name.
    for name in ["seq_to_view", "seq_to_table", "seq_stays"] {
        assert_eq!(
            found["sequences"][format!("public.{name}")]["end"],
            json!({"value": 1, "is_called": true})
        );
    }
}

#[test]
fn what_is_swapped_after_it_was_listed_is_not_run_by_a_superuser() {
    assert_swapped_without_running(Owned::new(), "counts");
}

#[test]
fn what_is_swapped_after_it_was_listed_is_not_run_by_an_ordinary_role() {
    let mut owned = Owned::new();
    owned.as_reader();
    assert_swapped_without_running(owned, "content");
}

/// A table that is a view at one moment and a table at the next, and a sequence too, while backups run.
#[test]
fn what_is_swapped_all_the_time_is_not_run() {
    let mut owned = Owned::new();
    owned.site.config.set("verify.fingerprint", "content");
    owned.execute(
        "CREATE TABLE a AS SELECT 1 AS n; CREATE VIEW a_view AS SELECT public.mark('view') AS n;\n\
         CREATE SEQUENCE s; CREATE VIEW s_view AS SELECT 1::bigint AS last_value, public.mark('sequence') = 1 AS is_called;\n\
         CREATE SCHEMA one; CREATE SCHEMA two; CREATE SEQUENCE one.s; CREATE TABLE one.t AS SELECT 1 AS n;\n\
         CREATE VIEW two.s AS SELECT * FROM s_view; CREATE VIEW two.t AS SELECT * FROM a_view",
    );
    let mut swaps = owned.site.cluster.connect(&owned.site.database);
    swaps
        .batch_execute(&format!("SET SESSION AUTHORIZATION {}; SET lock_timeout = '20ms'", owned.owner))
        .unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&is_over);
    let swapping = std::thread::spawn(move || {
        while !told.load(Ordering::Relaxed) {
            for (first, second) in [("TABLE a", "VIEW a_view"), ("SEQUENCE s", "VIEW s_view")] {
                let name = |of: &str| of.split(' ').nth(1).unwrap().to_owned();
                let kind = |of: &str| of.split(' ').next().unwrap().to_owned();
                let (one, other) = (name(first), name(second));
                let forth = format!(
                    "ALTER {first} RENAME TO aside; ALTER {second} RENAME TO {one}; SELECT pg_sleep(0.001)"
                );
                // A dump that reads it may be in the way.
                if swaps.batch_execute(&forth).is_err() {
                    continue;
                }
                let back = format!(
                    "ALTER {} {one} RENAME TO {other}; ALTER {} aside RENAME TO {one}; SELECT pg_sleep(0.001)",
                    kind(second),
                    kind(first)
                );
                while swaps.batch_execute(&back).is_err() {}
            }
            let round = "ALTER SCHEMA one RENAME TO three; ALTER SCHEMA two RENAME TO one; ALTER SCHEMA three RENAME TO two";
            swaps.batch_execute(round).unwrap();
        }
    });
    for _ in 0..4 {
        // What pg_dump makes of it is its own affair: it may find no such table, or a view.
        owned.site.pgkeep(["backup", "full"]).any_code().any_stdout().any_stderr().run();
    }
    is_over.store(true, Ordering::Relaxed);
    swapping.join().unwrap();
    assert_eq!(owned.marks(), Vec::<String>::new());
}
