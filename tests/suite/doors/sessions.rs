//! Sessions of pgkeep's with databases whose owner, no superuser, has put functions, operators, types and relations of
//! the same names before the server's own, or set what else a database's sessions begin with.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use super::source::functions;
use super::sql::{Token, is_sql, texts, tokens};
use crate::support::command::Ran;
use crate::support::{Cluster, Site};

/// What `LIKE`, `IN` and the like are read as.
const OPERATORS: [&str; 13] = ["=", "<>", "<", ">", "<=", ">=", "~", "~~", "!~~", "||", "|", "&", "-"];

/// The names in our SQL that an owner may give to things of their own, as arrays of SQL: functions, operators,
/// relations.
fn names(cluster: &Cluster) -> [String; 3] {
    let statements: Vec<Vec<Token>> =
        texts().iter().map(|text| tokens(&text.body)).filter(|tokens| is_sql(tokens)).collect();
    let words: BTreeSet<String> =
        statements.iter().flatten().filter_map(|token| Some(token.word()?.to_lowercase())).collect();
    let mut operators: BTreeSet<String> = OPERATORS.map(str::to_owned).into();
    operators.extend(statements.iter().flatten().filter_map(|token| match token {
        Token::Operator(operator) if operator != "::" => Some(operator.clone()),
        _ => None,
    }));
    let query = "SELECT relname::text FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace";
    let relations: BTreeSet<String> =
        cluster.connect("postgres").query(query, &[]).unwrap().iter().map(|row| row.get(0)).collect();
    let array = |names: BTreeSet<String>| {
        let names: Vec<String> =
            names.into_iter().map(|name| format!("'{}'", name.replace('\'', "''"))).collect();
        format!("ARRAY[{}]", names.join(", "))
    };
    let functions: BTreeSet<String> = functions().intersection(&words).cloned().collect();
    for known in ["current_setting", "pg_database_size", "to_regclass", "count", "pg_try_advisory_lock"] {
        assert!(functions.contains(known), "{known} is not among {functions:?}");
    }
    [array(functions), array(operators), array(relations.intersection(&words).cloned().collect())]
}

/// Gives a database to `tenant`, who puts the shadows before the server's own names.
fn cast_shadows(cluster: &Cluster, database: &str, names: &[String; 3], with_rows: bool) {
    cluster.execute("postgres", &format!("ALTER DATABASE {database} OWNER TO tenant"));
    let [functions, operators, relations] = names;
    let shadows = include_str!("shadows.sql")
        .replace("{functions}", functions)
        .replace("{operators}", operators)
        .replace("{relations}", relations);
    cluster.execute(database, &shadows);
    if with_rows {
        cluster.execute(database, include_str!("owned.sql"));
    }
    let set = "SET SESSION AUTHORIZATION tenant; ALTER DATABASE {} SET search_path = evil, pg_catalog";
    cluster.execute("postgres", &set.replace("{}", database));
}

/// What the shadows said since the log was so long, and how long it is now.
fn marks(cluster: &Cluster, from: usize) -> (BTreeSet<String>, usize) {
    let log = fs::read_to_string(cluster.socket_dir.join("log")).unwrap();
    let mark = |line: &str| Some(line.split_once("LOG:  shadow: ")?.1.to_owned());
    (log[from..].lines().filter_map(mark).collect(), log.len())
}

/// The commands that the binary's help names, each to its last word.
fn commands(site: &Site, path: &str) -> BTreeSet<String> {
    let words = path.split_whitespace().chain(["--help"]);
    let help = site.bare().args(words).any_stdout().run().stdout;
    let listed =
        help.split("\nCommands:\n").nth(1).and_then(|rest| rest.split("\n\n").next()).unwrap_or_default();
    let named = listed.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let named: Vec<&str> = named.filter(|name| !name.is_empty()).collect();
    if named.is_empty() {
        return [path.trim().to_owned()].into();
    }
    named.iter().flat_map(|name| commands(site, &format!("{path} {name}"))).collect()
}

/// Calls one command after the other, and looks after each what the shadows said.
struct Walk<'a> {
    site: &'a Site,
    walked: BTreeSet<String>,
    seen: usize,
    faults: Vec<String>,
}

impl Walk<'_> {
    fn call(&mut self, command: &str, more: &[&str], codes: &[i32]) -> Ran {
        let arguments = command.split_whitespace().chain(more.iter().copied());
        let ran = self.site.pgkeep(arguments).any_code().any_stdout().any_stderr().run();
        self.walked.insert(command.to_owned());
        let (marks, seen) = marks(self.site.cluster, self.seen);
        self.seen = seen;
        if !marks.is_empty() {
            self.faults.push(format!("`{command} {}` ran {marks:?}", more.join(" ")));
        }
        if !codes.contains(&ran.code) {
            let said = format!("{}{}", ran.stdout, ran.stderr);
            self.faults.push(format!("`{command} {}` ended with {}: {said}", more.join(" "), ran.code));
        }
        ran
    }
}

/// A site with a catalog, a source, a target and a database that is only looked into, all of them `tenant`'s.
fn site() -> Site {
    let mut site = Site::alone().local_only();
    site.cluster.execute("postgres", "CREATE ROLE tenant LOGIN");
    let names = names(site.cluster);
    for database in ["book", "target", "visited"] {
        site.cluster.create_database(database, "template0");
    }
    for database in ["book", "shop", "target", "visited"] {
        cast_shadows(site.cluster, database, &names, database == "shop");
    }
    site.config.set("catalog.url", site.cluster.url("book"));
    site.config.set("source.databases", vec!["*".to_owned()]);
    site.config.set("verify.fingerprint", "content");
    site.config.set("config.with_full", true);
    site.config.channel("app", "kind = 'in_app'");
    site
}

#[test]
fn no_command_runs_what_the_owner_of_a_database_put_before_the_servers_own() {
    let site = site();
    let cluster = site.cluster;
    // The trap works: whoever looks for a name in such a database runs the owner's.
    let (_, seen) = marks(cluster, 0);
    cluster
        .execute("shop", "SELECT count(*), current_setting('port')::text FROM pg_class WHERE relname = 'x'");
    let (found, seen) = marks(cluster, seen);
    for kind in ["function current_setting", "operator =", "type text", "relation pg_class"] {
        assert!(found.iter().any(|mark| mark.starts_with(kind)), "{kind}: {found:?}");
    }
    let mut walk = Walk { site: &site, walked: BTreeSet::new(), seen, faults: Vec::new() };
    let (target, visited) = (cluster.url("target"), cluster.url("visited"));
    let path = |name: &str| site.path(name).to_str().unwrap().to_owned();
    walk.call("doctor", &[], &[0, 3]);
    walk.call("key new", &["--output", &path("new.key")], &[0]);
    walk.call("key show", &[&path("new.key")], &[0]);
    walk.call("backup config", &[], &[0]);
    walk.call("backup full", &[], &[0]);
    let ran = walk.call("list", &["--json", "--type", "full", "--database", "shop"], &[0]);
    let listed: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{:#?}", walk.faults));
    let id = listed[0]["id"].as_str().unwrap().to_owned();
    walk.call("list", &["--from", "local"], &[0]);
    walk.call("backup full", &["--database", "shop"], &[0]);
    walk.call("verify", &["latest", "--level", "content"], &[0]);
    walk.call("verify", &["--all", "--level", "stat"], &[0, 3]);
    walk.call("verify", &[&id, "--level", "restore"], &[0, 3]);
    walk.call("verify", &[&id, "--level", "restore", "--scratch", &visited], &[0, 3]);
    walk.call("diff", &["latest"], &[0]);
    walk.call("pin", &[&id], &[0]);
    walk.call("unpin", &[&id], &[0]);
    // Each restore begins with what the last one left.
    walk.call("restore", &[&id, "--output", &path("shop.dump")], &[0]);
    walk.call("restore", &[&id, "--into", &target], &[1]);
    walk.call("restore", &[&id, "--into", &target, "--schema", "public", "--schema-only"], &[0, 1]);
    walk.call("restore", &[&id, "--into", &target, "--data-only"], &[0, 1]);
    walk.call("restore", &[&id, "--into", &target, "--clean"], &[0]);
    walk.call("restore", &[&id, "--into", &target, "--clean", "--jobs", "2"], &[0]);
    walk.call("restore", &["latest", "--type", "config", "--list"], &[0]);
    walk.call("restore", &["latest", "--type", "config", "--output", &path("set")], &[0]);
    walk.call("restore", &["latest", "--globals", "--into", &target, "--dry-run"], &[0]);
    walk.call("restore", &["latest", "--globals", "--into", &target], &[0]);
    cluster.execute("postgres", "DROP DATABASE shop");
    walk.call("restore", &[&id, "--into", &target, "--create"], &[0]);
    walk.call("restore", &[&id, "--into", &target, "--create", "--clean"], &[0]);
    walk.call("alert check", &["--max-age", "1s"], &[0, 1, 2]);
    walk.call("alert", &[], &[0]);
    let ran = walk.call("alert list", &["--json"], &[0]);
    let open: Value = serde_json::from_str(&ran.stdout).unwrap();
    let alert = open[0]["id"].as_str().expect("an alert is open").to_owned();
    walk.call("alert ack", &[&alert, "--note", "seen"], &[0]);
    walk.call("alert resolve", &[&alert], &[0]);
    walk.call("alert send", &[], &[0]);
    walk.call("alert test", &[], &[0]);
    walk.call("prune", &["--dry-run"], &[0, 3]);
    walk.call("prune", &[], &[0, 3]);
    walk.call("catalog rebuild", &["--from", "local"], &[0, 3]);
    assert!(walk.faults.is_empty(), "\n{}", walk.faults.join("\n"));
    let left: Vec<String> = commands(&site, "").difference(&walk.walked).cloned().collect();
    assert!(left.is_empty(), "commands that no case walks: {left:?}");
}

/// The session of the catalog: not the owner's role, nor the owner's ways of reading and writing.
#[test]
fn what_an_owner_sets_for_a_database_changes_no_session_of_ours() {
    let mut site = Site::alone().local_only();
    site.cluster.create_database("book", "template0");
    site.cluster.execute("postgres", "CREATE ROLE tenant; ALTER DATABASE book OWNER TO tenant");
    for set in [
        "role = tenant",
        "standard_conforming_strings = off",
        "client_encoding = latin1",
        "transform_null_equals = on",
        "row_security = off",
        "default_transaction_isolation = serializable",
        "exit_on_error = on",
        "datestyle = 'German'",
        "intervalstyle = sql_standard",
        "bytea_output = escape",
        "extra_float_digits = -15",
        "client_min_messages = debug5",
    ] {
        let set = format!("SET SESSION AUTHORIZATION tenant; ALTER DATABASE book SET {set}");
        site.cluster.execute("postgres", &set);
    }
    site.config.set("catalog.url", site.cluster.url("book"));
    site.catalog = "book".to_owned();
    let id = site.backup();
    let row = |query: &str| -> String {
        let mut client = site.cluster.connect("book");
        client.batch_execute("RESET ROLE; SET ROLE none").unwrap();
        client.query_one(query, &[]).unwrap().get(0)
    };
    let owners = "SELECT string_agg(DISTINCT pg_get_userbyid(relowner), ',') FROM pg_class \
                  WHERE relnamespace = 'pgkeep'::regnamespace";
    assert_eq!(row(owners), "keeper");
    assert_eq!(row("SELECT status FROM pgkeep.backup"), "verified");
    site.pgkeep(["list"]).stdout_has(&id).run();
    // A role that pgkeep's own role, or its connection, is set to is meant: it may not read what is the other one's.
    let as_tenant = format!("{}?options=-c%20role%3Dtenant", site.cluster.url("book"));
    site.config.set("catalog.url", as_tenant);
    site.pgkeep(["list"]).any_code().any_stdout().stderr_has("permission denied").run();
    site.config.set("catalog.url", site.cluster.url("book"));
    site.cluster.execute("postgres", "ALTER ROLE keeper SET role = tenant");
    site.pgkeep(["list"]).any_code().any_stdout().stderr_has("permission denied").run();
}

/// What every session of ours sets hides nothing of what the server is configured with.
#[test]
fn a_config_backup_keeps_the_settings_that_our_sessions_pin() {
    let site = Site::alone().local_only();
    for set in [
        "search_path = 'public'",
        "idle_in_transaction_session_timeout = '7min'",
        "default_transaction_isolation = 'repeatable read'",
        "lock_timeout = '17min'",
    ] {
        site.cluster.execute("postgres", &format!("ALTER SYSTEM SET {set}"));
    }
    site.cluster.restart();
    let id = site.pgkeep(["backup", "config"]).any_stdout().run().id();
    let folder = site.path("set");
    site.pgkeep(["restore", &id, "--output", folder.to_str().unwrap()]).any_stdout().any_stderr().run();
    let settings: Value = serde_json::from_slice(&fs::read(folder.join("settings.json")).unwrap()).unwrap();
    let of = |name: &str| {
        let all = settings.as_array().unwrap();
        let found =
            all.iter().find(|it| it["name"] == name).map(|it| it["setting"].as_str().unwrap().to_owned());
        found.unwrap_or_else(|| panic!("no {name} in {settings:#}"))
    };
    assert_eq!(of("search_path"), "public");
    assert_eq!(of("idle_in_transaction_session_timeout"), "420000");
    assert_eq!(of("default_transaction_isolation"), "repeatable read");
    assert_eq!(of("lock_timeout"), "1020000");
    assert_eq!(of("DateStyle"), "ISO, MDY");
}
