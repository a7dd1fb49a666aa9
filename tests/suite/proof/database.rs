//! Scratch databases on a server that was named: made, and dropped again with all that was made for them.

use std::time::Duration;

use pgkeep::conninfo::{ConnInfo, Environment};
use pgkeep::fingerprint::DatabaseFigures;
use pgkeep::source::scratch::{Recipe, ScratchDatabase, ScratchServer};

use crate::support::Cluster;
use crate::support::cluster::unique;

/// A cluster of the test's own: what stands on it is looked at as a whole.
fn named_server() -> (Cluster, ScratchServer) {
    let cluster = Cluster::start();
    let server = named_server_of(&cluster);
    (cluster, server)
}

fn named_server_of(cluster: &Cluster) -> ScratchServer {
    let info = ConnInfo::parse(&cluster.url("postgres")).unwrap().resolve(&Environment::default()).unwrap();
    ScratchServer::at(info, Duration::from_secs(5))
}

/// Every database and every role of a cluster.
fn all_of(cluster: &Cluster) -> Vec<String> {
    let query = "SELECT 'database ' || datname AS it FROM pg_database \
                 UNION ALL SELECT 'role ' || rolname FROM pg_roles ORDER BY it";
    let rows = cluster.connect("postgres").query(query, &[]).unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

fn ask(cluster: &Cluster, database: &ScratchDatabase<'_>, query: &str) -> String {
    let name = database.connection().dbname().to_owned();
    cluster.connect(&name).query_one(query, &[]).unwrap().get(0)
}

fn like(encoding: &str, locale: &str) -> DatabaseFigures {
    DatabaseFigures {
        encoding: encoding.to_owned(),
        collate: locale.to_owned(),
        ctype: locale.to_owned(),
        provider: "libc".to_owned(),
        ..DatabaseFigures::default()
    }
}

#[test]
fn what_was_made_is_dropped_and_nothing_else() {
    let (cluster, mut server) = named_server();
    cluster.execute("postgres", "CREATE ROLE \"There Already\"");
    cluster.create_database("pgkeep_scratch_of_another", "template0");
    let before = all_of(&cluster);
    let roles = ["There Already", "weird \"role\"", "it's"].map(str::to_owned);
    let database = server.database(&Recipe { like: None, roles: &roles, superusers: None }).unwrap();
    let name = database.connection().dbname().to_owned();
    assert!(name.starts_with("pgkeep_scratch_"), "{name}");
    let made = all_of(&cluster);
    let more: Vec<&String> = made.iter().filter(|what| !before.contains(what)).collect();
    assert_eq!(more, [&format!("database {name}"), "role it's", "role weird \"role\""]);
    let rights = "SELECT bool_or(rolsuper OR rolcanlogin)::text FROM pg_roles WHERE rolname IN ('it''s', 'weird \"role\"')";
    assert_eq!(ask(&cluster, &database, rights), "false");
    // They own something, and a session is still open in it.
    let mut session = cluster.connect(&name);
    let owned = "CREATE TABLE x (y int); ALTER TABLE x OWNER TO \"weird \"\"role\"\"\"; \
                 GRANT SELECT ON x TO \"it's\"; ALTER DEFAULT PRIVILEGES FOR ROLE \"it's\" GRANT SELECT ON TABLES TO \"There Already\"";
    session.batch_execute(owned).unwrap();
    drop(database);
    assert_eq!(all_of(&cluster), before);
}

/// What a killed run left is known by its name, its comment, and that nobody is in it.
#[test]
fn what_a_killed_run_left_is_swept() {
    let (cluster, mut server) = named_server();
    let mut other = named_server_of(&cluster);
    let living = other.database(&Recipe::default()).unwrap();
    let living_name = living.connection().dbname().to_owned();
    let before = all_of(&cluster);
    cluster.create_database("pgkeep_scratch_0123456789abcdef", "template0");
    cluster.create_database("pgkeep_scratch_mine", "template0");
    cluster.create_database("pgkeepXscratchX1", "template0");
    let comment =
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()";
    let comment = ask(&cluster, &living, comment);
    for name in ["pgkeep_scratch_0123456789abcdef", "pgkeepXscratchX1"] {
        cluster.execute("postgres", &format!("COMMENT ON DATABASE \"{name}\" IS '{comment}'"));
    }
    drop(server.database(&Recipe::default()).unwrap());
    let mut wanted = before;
    wanted.extend(["database pgkeep_scratch_mine", "database pgkeepXscratchX1"].map(str::to_owned));
    wanted.sort();
    let mut there = all_of(&cluster);
    there.sort();
    assert_eq!(there, wanted);
    assert!(there.contains(&format!("database {living_name}")));
}

#[test]
fn a_database_is_made_like_another() {
    let (cluster, mut server) = named_server();
    let about = "SELECT pg_encoding_to_char(encoding) || ' ' || datcollate || ' ' || datctype FROM pg_database \
                 WHERE datname = current_database()";
    for (like, wanted, missing) in [
        (like("UTF8", "C.UTF-8"), "UTF8 C.UTF-8 C.UTF-8", None),
        (like("LATIN1", "C"), "LATIN1 C C", None),
        (like("SQL_ASCII", "C"), "SQL_ASCII C C", None),
        (like("UTF8", "xx_YY.UTF-8"), "UTF8 C C", Some("xx_YY.UTF-8")),
        (like("UTF8", "it's \\ odd"), "UTF8 C C", Some("it's \\ odd")),
    ] {
        let database = server.database(&Recipe { like: Some(&like), roles: &[], superusers: None }).unwrap();
        assert_eq!(ask(&cluster, &database, about), wanted);
        assert_eq!(database.missing_locale(), missing);
    }
}

#[test]
fn the_locales_of_icu_are_kept() {
    let (cluster, mut server) = named_server();
    let about = "SELECT datlocprovider::text || ' ' || daticulocale FROM pg_database WHERE datname = current_database()";
    let icu = DatabaseFigures {
        provider: "icu".to_owned(),
        locale: Some("de-u-kn-true".to_owned()),
        ..like("UTF8", "C.UTF-8")
    };
    let database = server.database(&Recipe { like: Some(&icu), roles: &[], superusers: None }).unwrap();
    assert_eq!(ask(&cluster, &database, about), "i de-u-kn-true");
    assert_eq!(database.missing_locale(), None);
}

#[test]
fn an_encoding_that_is_none_is_an_error_and_leaves_nothing() {
    let (cluster, mut server) = named_server();
    let before = all_of(&cluster);
    let roles = [unique("role")];
    let refused =
        server.database(&Recipe { like: Some(&like("KLINGON", "C")), roles: &roles, superusers: None });
    let error = refused.map(drop).unwrap_err();
    assert!(format!("{error:#}").contains("KLINGON"), "{error:#}");
    assert_eq!(all_of(&cluster), before);
}

#[test]
fn extensions_that_are_not_there_are_named() {
    let (_cluster, mut server) = named_server();
    let database = server.database(&Recipe::default()).unwrap();
    let wanted = ["plpgsql", "no_such_thing", "pgcrypto"].map(str::to_owned);
    assert_eq!(database.missing_extensions(wanted.iter()).unwrap(), ["no_such_thing"]);
}

/// Who may create databases and roles, and no more, can use a server too.
#[test]
fn no_superuser_is_needed() {
    let (cluster, _) = named_server();
    cluster.execute("postgres", "CREATE ROLE maker LOGIN CREATEDB CREATEROLE PASSWORD 'maker'");
    let before = all_of(&cluster);
    let url = format!("postgresql://maker:maker@127.0.0.1:{}/postgres", cluster.port);
    let info = ConnInfo::parse(&url).unwrap().resolve(&Environment::default()).unwrap();
    let mut server = ScratchServer::at(info, Duration::from_secs(5));
    let roles = ["owner".to_owned()];
    let database = server
        .database(&Recipe { like: Some(&like("UTF8", "C.UTF-8")), roles: &roles, superusers: None })
        .unwrap();
    let name = database.connection().dbname().to_owned();
    let mut config = postgres::Config::new();
    config.host("127.0.0.1").port(cluster.port).user("maker").password("maker").dbname(&name);
    let mut session = config.connect(postgres::NoTls).unwrap();
    session
        .batch_execute("CREATE SCHEMA s; CREATE TABLE s.x (y int); ALTER SCHEMA s OWNER TO owner")
        .unwrap();
    drop(database);
    assert_eq!(all_of(&cluster), before);
}
