//! What of a backup is restored, how, and into what.

use crate::support::cluster::unique;
use crate::support::compare::{assert_same, contents, schema};
use crate::support::{Pgkeep, Site};

/// A site whose catalog is elsewhere: the database may go.
fn site_to_drop() -> (Site, String) {
    let site = Site::new().local_only().with_own_catalog();
    let id = site.backup();
    (site, id)
}

fn one(site: &Site, database: &str, query: &str) -> String {
    site.cluster.connect(database).query_one(query, &[]).unwrap().get(0)
}

fn restore(site: &Site, id: &str, url: &str, arguments: &[&str]) -> Pgkeep {
    site.pgkeep(["restore", id, "--into", url]).args(arguments)
}

#[test]
fn create_makes_the_database_of_the_dumps_name() {
    let site = Site::new().local_only().with_own_catalog();
    let odd = format!("{} \"odd\"", unique("made"));
    site.cluster.execute(
        "postgres",
        &format!(
            "CREATE DATABASE \"{}\" TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'",
            odd.replace('"', "\"\"")
        ),
    );
    site.cluster.execute(&odd, "CREATE TABLE t (x text); INSERT INTO t VALUES ('naïve')");
    let id = site.pgkeep(["backup", "full", "--database", &odd]).any_stdout().run().id();
    let kept = unique("kept");
    let quoted = odd.replace('"', "\"\"");
    site.cluster.execute("postgres", &format!("ALTER DATABASE \"{quoted}\" RENAME TO {kept}"));
    let url = site.cluster.url("postgres");
    restore(&site, &id, &url, &["--create"])
        .stdout(&format!("restored {id} from local\n"))
        .stderr_has(&format!("into a new database `{odd}`"))
        .run();
    assert_same(site.cluster, &kept, &odd);
    let about = "SELECT pg_encoding_to_char(encoding) || ' ' || datcollate FROM pg_database \
                 WHERE datname = current_database()";
    assert_eq!(one(&site, &odd, about), "LATIN1 C");
    // It is there now.
    site.cluster.execute(&odd, "INSERT INTO t VALUES ('more')");
    let before = contents(site.cluster, &odd);
    restore(&site, &id, &url, &["--create"]).code(1).stderr_has("already").stderr_has("--clean").run();
    assert_eq!(contents(site.cluster, &odd), before);
    restore(&site, &id, &url, &["--create", "--clean"])
        .any_stdout()
        .stderr_has("dropped if it is there")
        .run();
    assert_same(site.cluster, &kept, &odd);
}

/// `pg_restore --create --clean` by itself goes on into a database that it could not drop, and each row is there twice.
#[test]
fn a_database_in_use_is_not_dropped() {
    let (site, id) = site_to_drop();
    let mut somebody = site.cluster.connect(&site.database);
    let before = contents(site.cluster, &site.database);
    let url = site.cluster.url("postgres");
    restore(&site, &id, &url, &["--create", "--clean"]).code(1).stderr_has("is being accessed").run();
    somebody.batch_execute("SELECT 1").unwrap();
    assert_eq!(contents(site.cluster, &site.database), before);
}

/// The catalog is in the database that is dropped, as it is by default: no session of pgkeep's own is in the way.
#[test]
fn a_database_with_the_catalog_in_it_is_dropped() {
    let site = Site::new();
    let id = site.backup();
    let before = contents(site.cluster, &site.database);
    let url = site.cluster.url("postgres");
    restore(&site, &id, &url, &["--create", "--clean"]).any_stdout().any_stderr().run();
    assert_eq!(contents(site.cluster, &site.database), before);
}

#[test]
fn definitions_first_then_rows() {
    let (site, id) = site_to_drop();
    let (name, url) = site.target();
    restore(&site, &id, &url, &["--data-only"])
        .code(1)
        .stderr_has("customer")
        .stderr_has("--schema-only")
        .run();
    restore(&site, &id, &url, &["--schema-only"]).any_stdout().any_stderr().run();
    assert_eq!(schema(site.cluster, &name), schema(site.cluster, &site.database));
    assert!(contents(site.cluster, &name)["r public.customer"].starts_with("0 "));
    restore(&site, &id, &url, &["--data-only"]).any_stdout().any_stderr().run();
    assert_same(site.cluster, &site.database, &name);
    // Neither is emptied first: all or nothing comes in.
    let before = contents(site.cluster, &name);
    restore(&site, &id, &url, &["--data-only"]).code(1).stderr_has("as it was").run();
    assert_eq!(contents(site.cluster, &name), before);
    restore(&site, &id, &url, &["--schema-only"]).code(1).stderr_has("not empty").run();
}

const ODD: &str = "CREATE SCHEMA sales; CREATE SCHEMA \"Odd s.x\"; \
    CREATE TABLE sales.orders AS SELECT n FROM generate_series(1, 10) n; \
    CREATE TABLE sales.returns AS SELECT n FROM generate_series(1, 3) n; \
    CREATE FUNCTION sales.double(int) RETURNS int LANGUAGE sql AS 'SELECT 2 * $1'; \
    CREATE TABLE \"Weird Name\" AS SELECT 1 AS n; CREATE TABLE \"do.t\"\"q'uo\\te\" AS SELECT 2 AS n; \
    CREATE TABLE \"Odd s.x\".\"-t b\" AS SELECT 3 AS n; CREATE TABLE \"*\" AS SELECT 4 AS n";

/// Names stand as they are: no quotes, no patterns, no schema before a dot.
#[test]
fn tables_by_their_names() {
    let (site, _) = site_to_drop();
    site.cluster.execute(&site.database, ODD);
    let id = site.backup();
    let source = contents(site.cluster, &site.database);
    let (name, url) = site.target();
    let picked = ["--table", "Weird Name", "--table", "do.t\"q'uo\\te", "--table", "*"];
    restore(&site, &id, &url, &picked).any_stdout().stderr_has("--table `Weird Name`").run();
    let found = contents(site.cluster, &name);
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found.iter().all(|(key, value)| source[key] == *value), "{found:?}");
    // Only what is picked must not be there.
    restore(&site, &id, &url, &["--table", "customer"]).any_stdout().any_stderr().run();
    let ran = restore(&site, &id, &url, &["--table", "Weird Name", "--table", "invoice"]).code(1);
    ran.stderr_has("`public Weird Name`").stderr_has("--clean").run();
    site.cluster.execute(&name, "UPDATE \"Weird Name\" SET n = 7");
    restore(&site, &id, &url, &["--table", "Weird Name", "--clean"]).any_stdout().any_stderr().run();
    let found = contents(site.cluster, &name);
    assert_eq!(found["r public.\"Weird Name\""], source["r public.\"Weird Name\""]);
    assert_eq!(found.len(), 4, "{found:?}");
    // Rows alone, into a table that is there.
    site.cluster.execute(&name, "DELETE FROM customer");
    restore(&site, &id, &url, &["--data-only", "--table", "customer"]).any_stdout().any_stderr().run();
    assert_eq!(contents(site.cluster, &name)["r public.customer"], source["r public.customer"]);
    for missing in ["weird name", "\"Weird Name\"", "sales.orders", "Weird*"] {
        let ran = restore(&site, &id, &url, &["--table", missing]).code(1);
        ran.stderr_has(missing).stderr_has("not found").stderr_has("without quotes").run();
    }
}

#[test]
fn schemas_by_their_names() {
    let (site, _) = site_to_drop();
    site.cluster.execute(&site.database, ODD);
    let id = site.backup();
    let source = contents(site.cluster, &site.database);
    let (name, url) = site.target();
    let sales = ["--schema", "sales"];
    restore(&site, &id, &url, &sales).code(1).stderr_has("CREATE SCHEMA \"sales\"").run();
    restore(&site, &id, &url, &["--table", "orders"]).code(1).stderr_has("CREATE SCHEMA").run();
    restore(&site, &id, &url, &["--schema", "nowhere"]).code(1).stderr_has("\"nowhere\" not found").run();
    site.cluster.execute(&name, "CREATE SCHEMA sales; CREATE SCHEMA \"Odd s.x\"; CREATE TABLE mine (x int)");
    let both = ["--schema", "sales", "--schema", "Odd s.x"];
    restore(&site, &id, &url, &both).any_stdout().stderr_has("--schema `Odd s.x`").run();
    let found = contents(site.cluster, &name);
    let names: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(names, ["r \"Odd s.x\".\"-t b\"", "r public.mine", "r sales.orders", "r sales.returns"]);
    assert_eq!(found["r sales.orders"], source["r sales.orders"]);
    assert_eq!(one(&site, &name, "SELECT sales.double(4)::text"), "8");
    restore(&site, &id, &url, &sales).code(1).stderr_has("sales").stderr_has("not empty").run();
    site.cluster.execute(&name, "DROP TABLE sales.orders, sales.returns");
    // A function is in the way as a table is.
    restore(&site, &id, &url, &sales).code(1).stderr_has("1 function").run();
    let picked = ["--schema", "sales", "--table", "orders"];
    restore(&site, &id, &url, &picked).any_stdout().any_stderr().run();
    restore(&site, &id, &url, &["--schema", "sales", "--table", "customer"])
        .code(1)
        .stderr_has("customer")
        .run();
    site.cluster.execute(&name, "INSERT INTO sales.orders VALUES (99)");
    restore(&site, &id, &url, &[sales.as_slice(), &["--clean"]].concat()).any_stdout().any_stderr().run();
    assert_eq!(contents(site.cluster, &name), found);
    // pg_restore makes no schema when it picks, so there it would fail on each table.
    let create = ["--create", "--clean", "--schema", "sales"];
    restore(&site, &id, &site.cluster.url("postgres"), &create).code(1).stderr_has("sales").run();
    assert_eq!(contents(site.cluster, &site.database), source);
}

#[test]
fn as_another_role() {
    let (site, id) = site_to_drop();
    let role = unique("Ro le");
    site.cluster.execute("postgres", &format!("CREATE ROLE \"{role}\" SUPERUSER"));
    let (name, url) = site.target();
    restore(&site, &id, &url, &["--role", &role, "--no-owner"]).any_stdout().stderr_has(&role).run();
    let owner = "SELECT tableowner::text FROM pg_tables WHERE tablename = 'customer'";
    assert_eq!(one(&site, &name, owner), role);
    assert_same_rows(&site, &name);
    let (name, url) = site.target();
    restore(&site, &id, &url, &["--role", "nobody here"]).code(1).stderr_has("nobody here").run();
    assert!(contents(site.cluster, &name).is_empty());
}

fn assert_same_rows(site: &Site, name: &str) {
    assert_eq!(contents(site.cluster, name), contents(site.cluster, &site.database));
}

/// Whoever reads the log of the server finds the restore by its name, and by the one that was asked for.
#[test]
fn the_sessions_have_a_name() {
    let (mut site, id) = site_to_drop();
    let bin = super::noting_bin(&mut site, "exec \"$REAL\" \"$@\"");
    for (parameter, name) in [("", "'pgkeep restore "), ("?application_name=night%20shift", " night shift'")]
    {
        let (_, url) = site.target();
        restore(&site, &id, &format!("{url}{parameter}"), &[]).any_stdout().any_stderr().run();
        let calls = super::calls(&bin);
        let call = calls.last().unwrap();
        assert!(call.contains("application_name='pgkeep restore ") && call.contains(name), "{call}");
    }
}

#[test]
fn what_does_not_go_together() {
    let (site, id) = site_to_drop();
    let (name, url) = site.target();
    let refused: [&[&str]; 13] = [
        &["--schema-only", "--data-only"],
        &["--data-only", "--clean"],
        &["--data-only", "--create"],
        &["--data-only", "--jobs", "2"],
        &["--jobs", "0"],
        &["--jobs", "many"],
        &["--table", ""],
        &["--schema", ""],
        &["--role", ""],
        &["--output", "x", "--create"],
        &["--output", "x", "--jobs", "2"],
        &["--output", "x", "--table", "t"],
        &["--output", "x"],
    ];
    for arguments in refused {
        restore(&site, &id, &url, arguments).code(2).any_stderr().run();
    }
    let needs_into: [&[&str]; 8] = [
        &["--create"],
        &["--clean"],
        &["--jobs", "2"],
        &["--table", "t"],
        &["--schema", "s"],
        &["--schema-only"],
        &["--data-only"],
        &["--role", "r"],
    ];
    for arguments in needs_into {
        let call = site.pgkeep(["restore", &id, "--output", "x"]).args(arguments);
        call.code(2).stderr_has(arguments[0]).run();
    }
    assert!(contents(site.cluster, &name).is_empty());
    assert!(!site.path("x").exists());
}
