//! What a scratch server needs of its host, and what it must not take from it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::{assert_not_proven, assert_nothing_left, local_site, scratch};
use crate::support::FakeBin;
use crate::support::tools::{binary, give_to_postgres, is_root};

/// A file system on which there is nothing free.
#[test]
fn without_room_nothing_is_started() {
    let mut site = local_site();
    site.config.set("verify.scratch_dir", "/proc");
    let error = assert_not_proven(&site, "scratch_dir");
    assert!(error.contains("could not be made") && error.contains("`/proc`"), "{error}");
    assert!(error.contains("free"), "{error}");
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let mut site = local_site();
    site.config.set("verify.scratch_dir", "/nonexistent/scratch");
    let error = assert_not_proven(&site, "could not be made");
    assert!(error.contains("/nonexistent/scratch"), "{error}");
}

/// Root can go everywhere; the user that the server runs as can't.
#[test]
fn a_folder_that_the_server_can_not_reach_is_named() {
    let site = local_site();
    let shut = scratch(&site).join("shut");
    fs::create_dir(&shut).unwrap();
    fs::set_permissions(&shut, fs::Permissions::from_mode(0o700)).unwrap();
    let mut site = site;
    site.config.set("verify.scratch_dir", shut.to_str().unwrap());
    if is_root() {
        let error = assert_not_proven(&site, "`postgres`, who must be able to reach");
        assert!(error.contains("Permission denied"), "{error}");
    } else {
        let id = site.backup();
        assert_eq!(site.row(&id)["status"], "verified");
    }
    assert_eq!(fs::read_dir(&shut).unwrap().count(), 0);
}

/// A socket's path has 107 bytes at most, and libpq splits the names of hosts at commas.
#[test]
fn a_folder_with_a_long_or_odd_name_will_do() {
    for name in ["deep/".repeat(30), "a,b 'c' \"d\" \u{e4}".to_owned()] {
        let mut site = local_site();
        let folder = scratch(&site).join(&name);
        fs::create_dir_all(&folder).unwrap();
        site.config.set("verify.scratch_dir", folder.to_str().unwrap());
        let id = site.backup();
        assert_eq!(site.row(&id)["status"], "verified", "{name}");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    }
}

/// What is set for the host's own servers and clients is not meant for a scratch server.
#[test]
fn the_hosts_settings_do_not_leak_in() {
    let mut site = local_site();
    // With options of their own these connections don't ask PGOPTIONS.
    let url = format!("{}?options=-c%20work_mem%3D4MB", site.cluster.url(&site.database));
    site.config.set("source.url", url);
    let call = site.pgkeep(["backup", "full"]).any_stdout();
    let call = call
        .env("PGOPTIONS", "-c default_transaction_read_only=on")
        .env("PGDATA", "/nonexistent")
        .env("PGSSLMODE", "require")
        .env("PGCLIENTENCODING", "LATIN1")
        .env("PGTZ", "Asia/Tokyo")
        .env("TZ", "Asia/Tokyo")
        .env("LC_ALL", "xx_XX.UTF-8");
    let url = format!("{}?options=-c%20work_mem%3D4MB&sslmode=disable", site.cluster.url(&site.database));
    let mut config = site.config.clone();
    config.set("source.url", url);
    config.write(&site.path("config.toml"));
    let id = call.run().id();
    assert_eq!(site.row(&id)["status"], "verified");
    assert_nothing_left(&site);
}

#[test]
fn two_at_once_do_not_meet() {
    let (one, mut other) = (local_site(), local_site());
    other.config.set("verify.scratch_dir", scratch(&one).to_str().unwrap());
    let running = [&one, &other].map(|site| site.pgkeep(["backup", "full"]).any_stdout().start());
    let ids = running.map(|running| running.finish().id());
    for (site, id) in [&one, &other].into_iter().zip(ids) {
        assert_eq!(site.row(&id)["status"], "verified");
    }
    assert_nothing_left(&one);
}

/// Without root's rights all of it runs as the one user.
#[test]
fn a_plain_user_needs_no_other() {
    let site = local_site();
    let call = site.pgkeep(["backup", "full"]);
    for path in ["", "scratch", "config.toml", "pgkeep.key"] {
        give_to_postgres(&site.path(path));
    }
    let id = call.by_postgres().any_stdout().run().id();
    assert_eq!(site.row(&id)["status"], "verified");
    assert_nothing_left(&site);
}

/// The binary, the links to PostgreSQL's programs and the folder it is called in may lie where nobody but root
/// can read them.
#[test]
fn the_servers_user_need_not_reach_what_root_can() {
    let mut site = local_site();
    let folder = site.path("private");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
    let program = folder.join("pgkeep");
    fs::hard_link(binary(), &program).or_else(|_| fs::copy(binary(), &program).map(drop)).unwrap();
    let bin = FakeBin::of("pg_restore", &folder, "exec \"$REAL\" \"$@\"");
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    let call = site.pgkeep(["backup", "full"]).program(&program).in_folder(&folder).any_stdout();
    let id = call.run().id();
    assert_eq!(site.row(&id)["status"], "verified");
    assert_nothing_left(&site);
}

#[test]
fn doctor_looks_for_the_servers_programs() {
    let mut site = local_site();
    site.pgkeep(["doctor"]).stdout_has("test restore").stdout_has("postgres").run();
    site.config.set("verify.scratch_dir", "/nonexistent");
    site.pgkeep(["doctor"]).code(1).any_stdout().stderr_has("/nonexistent").run();
    site.config.set("verify.after_backup", "checksum");
    let ran = site.pgkeep(["doctor"]).any_stdout().run();
    assert!(!ran.stdout.contains("test restore"), "{ran:?}");
}
