//! What is said and looked at before a restore begins.

use std::fs;

use super::{calls, noting_bin};
use crate::support::FakeBin;
use crate::support::Site;
use crate::support::compare::{assert_same, contents};
use crate::support::tools::{finish, is_root};

fn site_with_backup() -> (Site, String) {
    let site = Site::new().local_only();
    let id = site.backup();
    (site, id)
}

/// Changes what is on record of a backup.
fn set_on_record(site: &Site, key: &str, value: &str) {
    let update = format!("UPDATE pgkeep.backup SET metadata = jsonb_set(metadata, '{{{key}}}', '{value}')");
    site.cluster.execute(&site.catalog, &update);
}

#[test]
fn it_says_what_it_will_do() {
    let (site, id) = site_with_backup();
    let (name, url) = site.target();
    let ran = site.pgkeep(["restore", &id, "--into", &url, "--no-owner"]).any_stdout().any_stderr().run();
    let lines: Vec<&str> = ran.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{ran:?}");
    let from = format!("pgkeep: restoring `{id}` (`{}` of `db1`, 20", site.database);
    assert!(lines[0].starts_with(&from) && lines[0].ends_with(" from store `local`"), "{ran:?}");
    assert!(lines[0].contains(" UTC, PostgreSQL ") && lines[0].contains("KiB"), "{ran:?}");
    let into = format!("pgkeep: into {name} on 127.0.0.1:{} as keeper (PostgreSQL ", site.cluster.port);
    assert!(lines[1].starts_with(&into) && lines[1].ends_with(" --no-owner"), "{ran:?}");
    assert!(lines[1].contains(", by pg_restore "), "{ran:?}");
    let out = site.path("out.dump");
    let call = site.pgkeep(["restore", &id, "--output", out.to_str().unwrap()]);
    call.any_stdout().stderr_has("into the new file").stderr_has("out.dump").run();
}

#[test]
fn quiet_says_nothing_and_json_on_stdout_alone() {
    let (site, id) = site_with_backup();
    let (_, url) = site.target();
    site.pgkeep(["restore", &id, "--into", &url, "--quiet"]).run();
    let (_, url) = site.target();
    let ran = site.pgkeep(["restore", &id, "--into", &url, "--json"]).any_stdout().any_stderr().run();
    assert_eq!(ran.json()["id"], id.as_str());
    let ran = site.pgkeep(["restore", &id, "--into", &url, "--quiet"]).code(1).any_stderr().run();
    assert!(ran.stderr.contains("not empty"), "an error is no success: {ran:?}");
}

/// A dump would fail on any of these; what every database has, or an extension brought, is in no way.
#[test]
fn an_empty_database_holds_nothing_of_its_own() {
    let (site, id) = site_with_backup();
    for (made, told) in [
        ("CREATE VIEW v AS SELECT 1", "1 tables, views or sequences"),
        ("CREATE SEQUENCE s", "1 tables, views or sequences"),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "1 function"),
        ("CREATE TYPE customer AS (x int)", "1 type"),
        ("CREATE DOMAIN d AS int", "1 type"),
        ("CREATE TYPE mood AS ENUM ('good')", "1 type"),
        ("CREATE SCHEMA sales", "1 schema"),
        ("SELECT lo_create(4711)", "1 large object"),
        ("CREATE COLLATION c (locale = 'C')", "1 other object"),
    ] {
        let (name, url) = site.target();
        site.cluster.execute(&name, made);
        site.pgkeep(["restore", &id, "--into", &url])
            .code(1)
            .stderr_has("is not empty")
            .stderr_has(told)
            .stderr_has("--clean")
            .run();
        site.cluster.execute("postgres", &format!("DROP DATABASE {name}"));
    }
    for fine in [
        "CREATE EXTENSION pgcrypto",
        "CREATE TEMPORARY TABLE t (x int)",
        "DROP SCHEMA public; CREATE SCHEMA public",
        "COMMENT ON SCHEMA public IS 'mine'; CREATE TABLE t (x int); DROP TABLE t",
        "CREATE SCHEMA pgkeep; CREATE TABLE pgkeep.mine (x int)",
    ] {
        let (name, url) = site.target();
        site.cluster.execute(&name, fine);
        site.pgkeep(["restore", &id, "--into", &url]).any_stdout().any_stderr().run();
        assert!(contents(site.cluster, &name)["r public.invoice"].starts_with("3000 "), "{fine}");
    }
}

#[test]
fn a_pg_restore_that_is_missing_too_old_or_broken() {
    let (mut site, id) = site_with_backup();
    let (name, url) = site.target();
    let bin = FakeBin::new(&site.path(""), "exec \"$REAL\" \"$@\"");
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    let program = bin.folder.join("pg_restore");
    fs::remove_file(&program).unwrap();
    let call = || site.pgkeep(["restore", &id, "--into", &url]).code(1);
    call().stderr_has("no pg_restore").stderr_has("install").run();
    for script in ["#!/bin/sh\necho 'pg_restore (PostgreSQL) 12.4'\n", "#!/bin/sh\nexit 3\n"] {
        let draft = bin.folder.join("draft");
        fs::write(&draft, script).unwrap();
        finish(std::process::Command::new("chmod").arg("755").arg(&draft));
        fs::rename(&draft, &program).unwrap();
        call().stderr_has("no pg_restore of version").run();
    }
    assert!(contents(site.cluster, &name).is_empty());
    // A file needs none.
    let out = site.path("out.dump");
    site.pgkeep(["restore", &id, "--output", out.to_str().unwrap()]).any_stdout().any_stderr().run();
}

#[test]
fn a_server_older_than_the_backups() {
    let (site, id) = site_with_backup();
    let (name, url) = site.target();
    set_on_record(&site, "server_version", "\"99.1 (Debian 99.1-1)\"");
    site.pgkeep(["restore", &id, "--into", &url])
        .code(1)
        .stderr_has("older than 99")
        .stderr_has("PostgreSQL 99 or newer")
        .run();
    assert!(contents(site.cluster, &name).is_empty());
    // A newer target, and a newer pg_restore, are what a migration is made with.
    set_on_record(&site, "server_version", "\"9.6.24\"");
    set_on_record(&site, "pg_dump_version", "\"9.6.24\"");
    site.pgkeep(["restore", &id, "--into", &url]).any_stdout().stderr_has("PostgreSQL 9.6.24").run();
    assert_same(site.cluster, &site.database, &name);
}

#[test]
fn room_for_what_is_on_record() {
    let (mut site, id) = site_with_backup();
    let bin = noting_bin(&mut site, "exec \"$REAL\" \"$@\"");
    let (_, url) = site.target();
    set_on_record(&site, "dump_bytes", "4611686018427387904");
    let folder = site.path("temporary");
    fs::create_dir(&folder).unwrap();
    let call = |arguments: &[&str]| {
        let call = site.pgkeep(["restore", &id]).args(arguments).env("TMPDIR", &folder);
        call.code(1).stderr_has("4.00 EiB").stderr_has("are free")
    };
    call(&["--into", &url, "--jobs", "2"]).stderr_has("temporary`").stderr_has("TMPDIR").run();
    let out = site.path("out.dump");
    call(&["--output", out.to_str().unwrap()]).stderr_has("elsewhere").run();
    assert!(!out.exists() && calls(&bin).is_empty());
    // A stream needs none.
    site.pgkeep(["restore", &id, "--into", &url]).any_stdout().any_stderr().run();
}

/// A file system that fills up although there was room, as far as could be told.
#[test]
fn a_full_disk() {
    if !is_root() {
        // Only root can make one that small.
        return;
    }
    let site = super::site_of_rows().local_only();
    let id = site.backup();
    set_on_record(&site, "dump_bytes", "1000");
    let folder = site.path("small");
    fs::create_dir(&folder).unwrap();
    let mount = |program: &str, arguments: &[&str]| {
        finish(std::process::Command::new(program).args(arguments).arg(&folder));
    };
    mount("mount", &["-t", "tmpfs", "-o", "size=2m", "tmpfs"]);
    let (name, url) = site.target();
    let jobs = site.pgkeep(["restore", &id, "--into", &url, "--jobs", "2"]).env("TMPDIR", &folder);
    let jobs = jobs.any_code().any_stderr().run();
    let out = folder.join("out.dump");
    let file = site.pgkeep(["restore", &id, "--output", out.to_str().unwrap()]).any_code().any_stderr().run();
    let left = fs::read_dir(&folder).unwrap().count();
    mount("umount", &[]);
    for ran in [jobs, file] {
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.stderr.contains("small`") && ran.stderr.contains("No space left"), "{ran:?}");
    }
    assert_eq!(left, 0);
    assert!(contents(site.cluster, &name).is_empty());
}
