//! `restore --globals`: nothing but what `pg_dumpall` writes is done, all of that is, and no password is put down on the way.

use std::fs;

use crate::support::cluster::{Cluster, unique};
use crate::support::tools::give_to_postgres;
use crate::support::{FakeBin, Site};

/// Everything that roles and tablespaces can be, with names that try to be something else.
const RICH: &str = r#"
CREATE ROLE staff; COMMENT ON ROLE staff IS E'it''s; a\\comment\n-- new line';
CREATE ROLE "odd ""; DROP ROLE staff; --" LOGIN PASSWORD 'pw' CONNECTION LIMIT 3;
CREATE ROLE "MiXed Ünïcode ß" SUPERUSER VALID UNTIL '2031-02-01 03:04:05+00';
CREATE ROLE "back\slash" CREATEDB NOINHERIT; CREATE ROLE "current_user"; CREATE ROLE "select" CREATEROLE;
CREATE ROLE "tab	bed" REPLICATION; CREATE ROLE "new
line" BYPASSRLS; CREATE ROLE "x$y$$"; CREATE ROLE forever VALID UNTIL 'infinity'; CREATE ROLE "012"; CREATE ROLE "E";
CREATE ROLE "it's 'q'"; CREATE ROLE deputy; CREATE ROLE md LOGIN PASSWORD 'md5aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa';
GRANT staff TO "odd ""; DROP ROLE staff; --" WITH ADMIN OPTION; GRANT staff TO deputy; GRANT pg_monitor TO staff;
ALTER ROLE staff SET work_mem TO '7MB'; ALTER ROLE staff SET search_path TO ''; ALTER ROLE staff SET datestyle TO 'SQL, DMY';
ALTER ROLE staff SET app.x TO E'a\\b''c\n--d'; ALTER ROLE staff SET timezone TO 'UTC';
ALTER ROLE deputy SET search_path TO '$user', 'a b', 'C"x', 'it''s', E'b\\s';
ALTER ROLE deputy SET temp_tablespaces TO ''; ALTER ROLE deputy SET random_page_cost TO 1.5;
"#;
/// The same of settings, which came with version 15.
const RICH_PARAMETERS: &str = "GRANT SET ON PARAMETER work_mem TO staff; \
    GRANT SET, ALTER SYSTEM ON PARAMETER log_statement TO deputy WITH GRANT OPTION; \
    GRANT ALTER SYSTEM ON PARAMETER app.z TO deputy; GRANT SET ON PARAMETER app.w TO PUBLIC; \
    SET SESSION AUTHORIZATION deputy; GRANT SET ON PARAMETER log_statement TO staff; RESET SESSION AUTHORIZATION";

fn globals(cluster: &Cluster) -> Vec<String> {
    let output = cluster.client_program("pg_dumpall", "postgres").arg("--globals-only").output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    // Newer ones have a word of their own in every dump, and the tests' role has a password of its own in each cluster.
    let is_same = |line: &&str| !line.contains("restrict") && !line.contains("ROLE keeper");
    text.lines().filter(is_same).map(str::to_owned).collect()
}

fn one<T: for<'a> postgres::types::FromSql<'a>>(cluster: &Cluster, query: &str) -> T {
    cluster.connect("postgres").query_one(query, &[]).unwrap().get(0)
}

/// What `pg_dumpall` writes of a rich cluster makes one like it.
#[test]
fn what_pg_dumpall_writes_comes_through_equal() {
    let site = Site::alone().local_only();
    let spaces = tempfile::Builder::new().prefix("pgkeep-spaces").tempdir().unwrap();
    let space = spaces.path().join("fa\"st");
    fs::create_dir(&space).unwrap();
    give_to_postgres(spaces.path());
    give_to_postgres(&space);
    site.cluster.execute("postgres", RICH);
    let has_parameters =
        one::<bool>(site.cluster, "SELECT current_setting('server_version_num')::int >= 150000");
    if has_parameters {
        site.cluster.execute("postgres", RICH_PARAMETERS);
    }
    let make = format!(
        "CREATE TABLESPACE \"t s'p\" OWNER staff LOCATION '{}' WITH (random_page_cost=1.1, effective_io_concurrency='7')",
        space.display()
    );
    site.cluster.execute("postgres", &make);
    site.cluster.execute(
        "postgres",
        "GRANT CREATE ON TABLESPACE \"t s'p\" TO deputy WITH GRANT OPTION; SET SESSION AUTHORIZATION deputy; \
         GRANT CREATE ON TABLESPACE \"t s'p\" TO md; RESET SESSION AUTHORIZATION; \
         REVOKE ALL ON TABLESPACE \"t s'p\" FROM staff; GRANT CREATE ON TABLESPACE \"t s'p\" TO PUBLIC; \
         COMMENT ON TABLESPACE \"t s'p\" IS E'it''s\\\\'",
    );
    // What pg_dumpall leaves out.
    site.cluster.execute(
        "postgres",
        "ALTER ROLE ALL SET work_mem TO '9MB'; ALTER ROLE ALL SET search_path TO '$user', 'a \"b'",
    );
    let id = site.pgkeep(["backup", "config"]).any_stdout().run().id();
    // The old cluster is gone, and its folder empty.
    let before = globals(site.cluster);
    fs::rename(&space, spaces.path().join("away")).unwrap();
    fs::create_dir(&space).unwrap();
    give_to_postgres(&space);
    let other = Cluster::start();
    // Where nothing can be written unless it is asked for, and a backslash in a string means otherwise.
    other.execute(
        "postgres",
        "ALTER ROLE keeper SET default_transaction_read_only = on; ALTER ROLE keeper SET standard_conforming_strings = off; \
         ALTER ROLE keeper SET search_path = ''",
    );
    site.pgkeep(["restore", &id, "--globals", "--into", &other.url("postgres")])
        .stdout_has("made 15 roles, 1 tablespace")
        .stderr_has("its roles and tablespaces, into")
        .run();
    other.execute("postgres", "ALTER ROLE keeper RESET ALL");
    let all = "SELECT setconfig::text FROM pg_db_role_setting WHERE setrole = 0";
    assert_eq!(one::<String>(&other, all), one::<String>(site.cluster, all));
    let after = globals(&other);
    // Nothing that is said is lost.
    assert_eq!(after, before);
    assert!(before.iter().any(|line| line.contains("SCRAM-SHA-256$")));
}

/// Whatever stands there that PostgreSQL reads otherwise than it looks: nothing of it is done, and nobody gains anything.
#[test]
fn nothing_gets_past_the_grammar() {
    let mut site = Site::alone().local_only();
    let (victim, boss, evil) = (unique("kvictim"), unique("boss"), unique("evil"));
    // Others, whose names look like that of the victim.
    let (spaced, folded) = (format!("\u{a0}{victim}"), format!("\u{212a}{evil}"));
    let (long, umlaut) = ("x".repeat(63), "Ünder".to_owned());
    for name in [&victim, &spaced, &folded, &long, &umlaut] {
        site.cluster.execute("postgres", &format!("CREATE ROLE \"{name}\""));
    }
    site.cluster
        .execute("postgres", &format!("CREATE ROLE {boss} SUPERUSER; CREATE TABLE marks (what text)"));
    let before = globals(site.cluster);
    let rise = format!("ALTER ROLE {victim} WITH SUPERUSER");
    let mark = "INSERT INTO public.marks VALUES ('x')";
    let script = site.path("hostile.sql");
    let bin = FakeBin::of("pg_dumpall", &site.path(""), &format!("cat '{}'", script.display()));
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    let into = site.cluster.url("postgres");
    for more in [
        format!("CREATE ROLE {evil} -- a comment\r; {rise}\n;\n"),
        format!("-- a comment\r{rise};\n"),
        format!("CREATE ROLE {evil};\nALTER ROLE {evil} SET search_path TO E'a'\n'\\', '; {rise}; --';\n"),
        format!(
            "CREATE ROLE {evil};\nALTER ROLE {evil} SET search_path TO E'a' -- x\r'\\', '; {rise}; --';\n"
        ),
        format!("CREATE ROLE {evil};\nGRANT {boss} TO {evil}, \u{a0}{victim};\n"),
        format!("CREATE ROLE {evil};\nGRANT {boss} TO {evil},\u{2003}{victim};\n"),
        format!("ALTER ROLE {folded} WITH SUPERUSER;\n"),
        "ALTER ROLE Ünder WITH SUPERUSER;\n".to_owned(),
        format!("ALTER ROLE {long}y WITH SUPERUSER;\n"),
        format!("ALTER ROLE \"{long}y\" WITH SUPERUSER;\n"),
        format!("CREATE ROLE {evil};\nGRANT {boss} TO PUBLIC;\n"),
        format!("CREATE ROLE {evil};\nGRANT {evil} TO \"public\";\n"),
        "ALTER ROLE \"none\" WITH SUPERUSER;\n".to_owned(),
        format!("GRANT SET ON PARAMETER \"app.mark\" TO public;\nCREATE ROLE {evil};\n"),
        format!("ALTER ROLE U&\"\\006b{}\" WITH SUPERUSER;\n", &victim[1..]),
        format!("CREATE ROLE {evil};\nALTER ROLE {evil} SET app.x TO $$a$$;\n"),
        format!("CREATE ROLE {evil};\nALTER ROLE {evil} WITH PASSWORD E'\\'; {mark}; --';\n"),
        format!("CREATE ROLE {evil};\nALTER ROLE {evil} WITH PASSWORD '\\'; {mark}; --';\n"),
        format!("CREATE ROLE {evil} /* a /* comment */ */;\n{mark};\n"),
        format!("/* {evil} */ {mark};\n"),
        "ALTER ROLE ALL SET work_mem TO '8MB';\n".to_owned(),
        "SET work_mem TO '1MB';\n".to_owned(),
        format!("CREATE ROLE {evil};\nALTER ROLE {evil} SET app.x TO 'a' SUPERUSER;\n"),
        format!("CREATE ROLE {evil};\nDO $$BEGIN {mark}; END$$;\n"),
        format!("\\! touch '{}'\n", site.path("touched").display()),
        format!("CREATE ROLE {evil};\n\\restrict x; {mark}\n"),
        format!("\\restrict x\r{mark};\n"),
        format!("CREATE ROLE {evil};\n{mark}"),
        format!("CREATE ROLE {evil};\nCOMMIT;\n"),
        format!("CREATE ROLE {evil};\nALTER ROLE {victim}x WITH SUPERUSER;\n"),
        format!("CREATE ROLE {evil};\r\n"),
        format!("create role {evil};\n"),
        "GRANT ALL ON TABLESPACE pg_default TO \"public\";\n".to_owned(),
        format!("SET client_encoding = 'SJIS';\nCREATE ROLE \"ü{evil}\";\n"),
    ] {
        fs::write(&script, format!("CREATE ROLE {boss};\n{more}")).unwrap();
        let id = site.pgkeep(["backup", "config"]).any_stdout().run().id();
        let call =
            site.pgkeep(["restore", &id, "--globals", "--into", &into]).any_code().any_stdout().any_stderr();
        let ran = call.run();
        assert_eq!(globals(site.cluster), before, "{more:?}: {}", ran.stderr);
        assert_eq!(one::<i64>(site.cluster, "SELECT count(*) FROM marks"), 0, "{more:?}");
        assert_eq!(one::<i64>(site.cluster, "SELECT count(*) FROM pg_db_role_setting"), 0, "{more:?}");
        assert!(!site.path("touched").exists(), "{more:?}");
        assert_eq!(ran.code, 4, "{more:?}: {}", ran.stderr);
        assert!(
            ran.stderr.contains("pg_dumpall does not write") && ran.stderr.contains("line "),
            "{}",
            ran.stderr
        );
    }
    // What it does write or we add to it, and what others would gain by: it is told, and left.
    site.cluster.execute("postgres", "ALTER ROLE ALL SET work_mem TO '9MB'");
    fs::write(
        &script,
        "GRANT SET ON PARAMETER \"app.mark\" TO PUBLIC;\nGRANT ALL ON TABLESPACE pg_default TO PUBLIC;\n",
    )
    .unwrap();
    let id = site.pgkeep(["backup", "config"]).any_stdout().run().id();
    let call = site.pgkeep(["restore", &id, "--globals", "--into", &into]).any_stderr();
    call.stdout_has(
        "not done, for it changes what is there or comes with a database: GRANT SET ON PARAMETER",
    )
    .run();
    assert_eq!(globals(site.cluster), before);
}

/// A cluster that writes down all that it can, and shows it.
fn talkative(track: &str) -> Cluster {
    let cluster = Cluster::start();
    for setting in [
        "shared_preload_libraries = 'pg_stat_statements'",
        "log_statement = 'all'",
        "log_min_duration_statement = 0",
        "log_error_verbosity = 'verbose'",
        "debug_print_parse = on",
    ] {
        cluster.execute("postgres", &format!("ALTER SYSTEM SET {setting}"));
    }
    // Its settings are known once it is loaded.
    cluster.restart();
    cluster.execute("postgres", &format!("ALTER SYSTEM SET \"pg_stat_statements.track\" = '{track}'"));
    cluster.restart();
    cluster.execute("postgres", "CREATE EXTENSION pg_stat_statements; SELECT pg_stat_statements_reset()");
    cluster
}

/// No hash of a password stands in the server's log, in what is shown of statements, or in what a session was asked last.
#[test]
fn passwords_are_put_down_nowhere() {
    let site = Site::alone().local_only();
    site.cluster.execute(
        "postgres",
        "CREATE ROLE app LOGIN PASSWORD 'one' CONNECTION LIMIT 7; \
         CREATE ROLE \"odd \\ \t name\" LOGIN PASSWORD 'md5aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'",
    );
    let id = site.pgkeep(["backup", "config"]).any_stdout().run().id();
    let hashes = "SELECT string_agg(rolname || rolpassword, ' ' ORDER BY 1) FROM pg_authid WHERE rolname IN ('app', E'odd \\\\ \\t name')";
    for (is_superuser, track, is_told) in [(true, "all", false), (false, "top", false), (false, "all", true)]
    {
        let other = talkative(track);
        let into = if is_superuser {
            other.url("postgres")
        } else {
            other.execute("postgres", "CREATE ROLE weak LOGIN CREATEROLE PASSWORD 'weak'");
            format!("postgresql://weak:weak@127.0.0.1:{}/postgres", other.port)
        };
        other.execute("postgres", "SELECT pg_stat_statements_reset()");
        let read = || {
            ["log", "log.again"]
                .map(|name| fs::read_to_string(other.socket_dir.join(name)).unwrap_or_default())
                .concat()
        };
        let before = read().len();
        let ran = site.pgkeep(["restore", &id, "--globals", "--into", &into]).any_stdout().any_stderr().run();
        assert_eq!(ran.stderr.contains("pg_stat_statements_reset()"), is_told, "{}", ran.stderr);
        assert_eq!(one::<String>(&other, hashes), one::<String>(site.cluster, hashes));
        let log = read();
        let log = &log[before..];
        assert!(log.contains("CREATE ROLE \"app\"") || is_superuser, "{log}");
        assert!(!log.contains("SCRAM-SHA") && !log.contains("md5aaa"), "{log}");
        let kept = "SELECT count(*) FROM pg_stat_statements WHERE query ~ 'SCRAM-SHA-256[$]|md5aaa'";
        assert_eq!(one::<i64>(&other, kept) > 0, is_told, "superuser: {is_superuser}, track: {track}");
    }
}

/// A database by way of which no password can go is named before anything is done, with what to do.
#[test]
fn a_database_that_takes_no_passwords_is_named() {
    let site = Site::alone().local_only();
    let app = unique("app");
    site.cluster.execute("postgres", &format!("CREATE ROLE {app} LOGIN PASSWORD 'one'"));
    let id = site.pgkeep(["backup", "config"]).any_stdout().run().id();
    let other = Cluster::start();
    other.execute("postgres", "CREATE ROLE weak LOGIN CREATEROLE PASSWORD 'weak'");
    let bare = other.fresh_database();
    let into = format!("postgresql://weak:weak@127.0.0.1:{}/{bare}", other.port);
    let is_made = format!("SELECT count(*) FROM pg_roles WHERE rolname = '{app}'");
    for (before, word) in [
        (format!("REVOKE TEMPORARY ON DATABASE {bare} FROM PUBLIC"), "TEMPORARY"),
        (
            format!(
                "GRANT TEMPORARY ON DATABASE {bare} TO PUBLIC; REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC"
            ),
            "plpgsql",
        ),
        ("DROP EXTENSION plpgsql".to_owned(), "plpgsql"),
    ] {
        other.execute(&bare, &before);
        let call = site.pgkeep(["restore", &id, "--globals", "--into", &into]).code(1).any_stdout();
        call.stderr_has(word).stderr_has("name another database of the cluster in --into (`postgres`)").run();
        assert_eq!(one::<i64>(&other, &is_made), 0, "{before}");
    }
    let into = format!("postgresql://weak:weak@127.0.0.1:{}/postgres", other.port);
    site.pgkeep(["restore", &id, "--globals", "--into", &into]).any_stdout().any_stderr().run();
    assert_eq!(one::<i64>(&other, &is_made), 1);
}
