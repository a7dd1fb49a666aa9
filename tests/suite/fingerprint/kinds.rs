//! Every kind of thing that a database can hold is counted as a dump brings it back, or left out as a dump
//! leaves it out.

use pgkeep::fingerprint::Level;
use serde_json::json;

use super::{figures, fingerprint, rows, site, taken};

/// Backs up, restores, and fails where the restored database differs from the source by a word.
fn assert_comes_back(make: &str) -> pgkeep::fingerprint::Fingerprint {
    let mut site = site(make);
    site.config.set("verify.fingerprint", "content");
    let id = site.backup();
    let source: pgkeep::fingerprint::Fingerprint = serde_json::from_value(fingerprint(&site, &id)).unwrap();
    let (name, url) = site.target();
    site.pgkeep(["restore", &id, "--into", &url]).any_stdout().any_stderr().run();
    let restored = figures(&site, &name, Level::Content);
    assert_eq!(source.differences(&restored), Vec::<String>::new());
    assert_eq!(source.tables, restored.tables);
    assert_eq!(source.skipped, restored.skipped);
    source
}

#[test]
fn odd_names() {
    let source = assert_comes_back(
        "CREATE SCHEMA \"o'clock\"; CREATE SCHEMA \"a.b\"; CREATE TABLE \"o'clock\".\"say \"\"hi\"\"; --\" AS SELECT 1 AS \"c\"\"; x\";\n\
         CREATE TABLE \"a.b\".c (n int); CREATE TABLE public.\"user\" AS SELECT 2 AS \"select\"; CREATE TABLE \"Caf\u{e9}\" (t text);\n\
         CREATE SEQUENCE \"a.b\".\"$1\"",
    );
    let names: Vec<&str> = source.tables.keys().map(String::as_str).collect();
    let wanted = ["\"a.b\".c", "\"o'clock\".\"say \"\"hi\"\"; --\"", "public.\"Caf\u{e9}\"", "public.user"];
    assert_eq!(names, wanted);
    assert!(source.sequences.contains_key("\"a.b\".\"$1\""), "{source:?}");
}

/// Each row is counted where it lies, and once.
#[test]
fn partitions_and_children() {
    let source = assert_comes_back(
        "CREATE TABLE p (n int PRIMARY KEY, t text) PARTITION BY RANGE (n);\n\
         CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);\n\
         CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (100) PARTITION BY LIST (n);\n\
         CREATE TABLE p2a PARTITION OF p2 DEFAULT; INSERT INTO p SELECT generate_series(5, 25), 'x';\n\
         CREATE TABLE points_to (n int REFERENCES p) PARTITION BY HASH (n);\n\
         CREATE TABLE points_to_0 PARTITION OF points_to FOR VALUES WITH (MODULUS 1, REMAINDER 0);\n\
         CREATE TABLE parent (a int CHECK (a > 0)); CREATE TABLE child (b int, z int) INHERITS (parent);\n\
         ALTER TABLE parent ADD COLUMN later text DEFAULT 'l';\n\
         INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2, 3, 4), (5, 6, 7)",
    );
    let rows: Vec<(&str, u64)> =
        source.tables.iter().map(|(name, table)| (name.as_str(), table.rows)).collect();
    let wanted = [
        ("public.child", 2),
        ("public.p1", 5),
        ("public.p2a", 16),
        ("public.parent", 1),
        ("public.points_to_0", 0),
    ];
    assert_eq!(rows, wanted);
}

/// What an extension brings is not dumped, and not counted; what users add is.
#[test]
fn extensions_and_what_is_theirs() {
    let before = assert_comes_back("CREATE TABLE mine (n int)");
    let source = assert_comes_back(
        "CREATE EXTENSION hstore; CREATE EXTENSION pg_trgm; CREATE EXTENSION pg_stat_statements;\n\
         CREATE TABLE mine (h hstore); INSERT INTO mine VALUES ('a=>1'), (NULL), ('b=>NULL,a=>2');\n\
         CREATE TABLE theirs (n int PRIMARY KEY CHECK (n > 0)); ALTER EXTENSION hstore ADD TABLE theirs",
    );
    assert_eq!(source.tables.keys().collect::<Vec<_>>(), ["public.mine"]);
    let names: Vec<&str> = source.extensions.keys().map(String::as_str).collect();
    assert_eq!(names, ["hstore", "pg_stat_statements", "pg_trgm", "plpgsql"]);
    for (what, counts) in [
        ("functions", [before.functions, source.functions]),
        ("views", [before.views, source.views]),
        ("indexes", [before.indexes, source.indexes]),
        ("constraints", [before.constraints, source.constraints]),
    ] {
        assert_eq!(counts, [0, 0], "{what}");
    }
}

#[test]
fn indexes_constraints_views_functions_and_large_objects() {
    let source = assert_comes_back(
        "CREATE TABLE a (n int PRIMARY KEY, m int UNIQUE CHECK (m > 0), r int4range, EXCLUDE USING gist (r WITH &&));\n\
         CREATE INDEX by_m ON a (m) WHERE m > 5; CREATE TABLE b (n int REFERENCES a, d text);\n\
         CREATE DOMAIN positive AS int CHECK (VALUE > 0) CHECK (VALUE < 99);\n\
         CREATE VIEW v AS SELECT * FROM a; CREATE MATERIALIZED VIEW mv AS SELECT n FROM a; CREATE INDEX by_mv ON mv (n);\n\
         CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT 1';\n\
         CREATE PROCEDURE p() LANGUAGE sql AS 'SELECT 1'; CREATE AGGREGATE agg (int) (SFUNC = int4pl, STYPE = int);\n\
         CREATE TYPE r AS RANGE (SUBTYPE = float8);\n\
         SELECT lo_from_bytea(0, 'one'), lo_from_bytea(0, 'two')",
    );
    assert_eq!(source.indexes, 5);
    assert_eq!(source.constraints, 7);
    assert_eq!(source.views, 2);
    assert_eq!(source.functions, 4);
    assert_eq!(source.large_objects, 2);
}

/// Row security hides nothing from the count: it is the dump's view of the table.
#[test]
fn row_security_unlogged_and_temporary_tables() {
    let source = assert_comes_back(
        "CREATE TABLE secret (n int); INSERT INTO secret VALUES (1), (2); ALTER TABLE secret ENABLE ROW LEVEL SECURITY;\n\
         ALTER TABLE secret FORCE ROW LEVEL SECURITY; CREATE POLICY none ON secret USING (false);\n\
         CREATE UNLOGGED TABLE fast AS SELECT 1 AS n; CREATE TABLE empty (); INSERT INTO empty DEFAULT VALUES;\n\
         CREATE TABLE wide (a int, b int, c int); ALTER TABLE wide DROP COLUMN b; INSERT INTO wide VALUES (1, 2)",
    );
    let rows: Vec<(&str, u64)> =
        source.tables.iter().map(|(name, table)| (name.as_str(), table.rows)).collect();
    let wanted = [("public.empty", 1), ("public.fast", 1), ("public.secret", 2), ("public.wide", 1)];
    assert_eq!(rows, wanted);
}

/// The catalog's own schema is not in the dump of the database it stands in.
#[test]
fn the_catalog_is_not_counted() {
    let site = crate::support::Site::of(crate::support::cluster::unique("figures"), "template0").local_only();
    site.cluster.execute(&site.database, super::TWO_TABLES);
    site.backup();
    let found = taken(&site);
    assert_eq!(rows(&found), json!({"public.a": 5, "public.b": 0}));
    assert_eq!([&found["indexes"], &found["constraints"]], [0, 0]);
}

/// All roles that a restore needs, by whatever the dump would name them.
#[test]
fn roles_that_the_dump_can_name() {
    let names: Vec<String> = ["owner", "reader", "giver", "policy", "default", "db_user", "idle"]
        .iter()
        .map(|stem| crate::support::cluster::unique(stem))
        .collect();
    let site = site("CREATE TABLE t (n int)");
    for name in &names {
        site.cluster.execute("postgres", &format!("CREATE ROLE \"{name}\""));
    }
    let [owner, reader, giver, policy, default, db_user, _idle] = &names[..] else { panic!("seven") };
    let database = &site.database;
    site.cluster.execute(
        database,
        &format!(
            "ALTER TABLE t OWNER TO {owner}; GRANT SELECT ON t TO {giver} WITH GRANT OPTION;\n\
             SET ROLE {giver}; GRANT SELECT ON t TO {reader}; RESET ROLE;\n\
             CREATE POLICY p ON t TO {policy}; ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {default};\n\
             GRANT CONNECT ON DATABASE {database} TO {db_user}; GRANT SELECT ON t TO pg_read_all_data"
        ),
    );
    let found = taken(&site);
    let mut wanted: Vec<&str> = names[..6].iter().map(String::as_str).chain(["postgres"]).collect();
    wanted.sort_unstable();
    assert_eq!(found["roles"], json!(wanted));
}
