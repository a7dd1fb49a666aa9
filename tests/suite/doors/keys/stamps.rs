//! Backups of a time in which their key sealed nothing any more, or that has not come yet.

use std::fs;

use super::{STORES, Thief, ids_on_record, newer_key, open_with, rotate, signed, site};
use crate::clock::{off_by, with_clock};
use crate::support::{Site, key};

fn drop_catalog(site: &Site) {
    site.cluster.execute(&site.catalog, "DROP SCHEMA pgkeep CASCADE");
}

fn restored_id(site: &Site, code: i32, arguments: &[&str], words: &[&str]) -> String {
    let out = site.path("out.dump");
    drop(fs::remove_file(&out));
    let target = ["--output", out.to_str().unwrap()];
    let mut call = site.pgkeep([&["--json", "restore"], arguments, &target].concat()).code(code).any_stdout();
    for word in words {
        call = call.stderr_has(word);
    }
    let ran = if words.is_empty() { call.any_stderr() } else { call }.run();
    assert!(out.exists());
    ran.json()["id"].as_str().unwrap().to_owned()
}

/// A key that was rotated out, in other hands: what it signs now is named, and taken for a backup by who asks for it
/// alone.
#[test]
fn a_key_that_was_rotated_out_proves_nothing_younger() {
    let mut site = site();
    let old = site.backup();
    let thief = Thief::of(&site);
    let old_id = key::id(&site.key);
    rotate(&mut site, None);
    let new = site.backup();
    let forged = thief.forge(&site);
    assert!(forged > new);
    for store in STORES {
        let call = site.pgkeep(["--json", "list", "--from", store]).code(3).any_stdout();
        let listed = call.stderr_has(&forged).stderr_has(&old_id).stderr_has("rotated out").run().json();
        let all: Vec<(&str, &str)> = listed
            .as_array()
            .unwrap()
            .iter()
            .map(|row| (row["id"].as_str().unwrap(), row["status"].as_str().unwrap()))
            .collect();
        assert_eq!(all, [(&*forged, "degraded"), (&*new, "completed"), (&*old, "completed")], "{store}");
        let limited = site.pgkeep(["--json", "list", "--from", store, "--limit", "1"]).code(3);
        limited.any_stdout().stderr_has(&forged).run();
        assert_eq!(restored_id(&site, 3, &["latest", "--from", store], &[&forged, "rotated out"]), new);
        assert_eq!(restored_id(&site, 3, &[&forged, "--from", store], &[&forged, "rotated out"]), forged);
        assert_eq!(restored_id(&site, 0, &[&old, "--from", store], &[]), old);
        let call = site.pgkeep(["catalog", "rebuild", "--from", store]).code(3).any_stdout();
        call.stderr_has(&forged).stderr_has("--accept").run();
        assert_eq!(ids_on_record(&site), [old.clone(), new.clone()]);
        let told = site.pgkeep(["alert", "check"]).code(1).any_stderr().stdout_has("rotated out").run();
        assert!(told.stdout.contains(&forged), "{}", told.stdout);
    }
    // By the catalog nothing is known of it.
    assert_eq!(restored_id(&site, 0, &["latest"], &[]), new);
    for store in STORES {
        drop_catalog(&site);
        let call = site.pgkeep(["catalog", "rebuild", "--from", store]).code(3).any_stdout();
        call.stderr_has(&forged).run();
        assert_eq!(ids_on_record(&site), [old.clone(), new.clone()], "{store}");
        site.pgkeep(["verify", &old]).any_stdout().run();
    }
    let call = site.pgkeep(["catalog", "rebuild", "--from", "r2", "--accept", &forged]).code(3).any_stdout();
    call.stderr_has("rotated out").run();
    assert_eq!(ids_on_record(&site), [old, new, forged]);
}

/// What another store or the catalog knows of the new key holds for a store where nothing of it is left.
#[test]
fn the_catalog_knows_since_when_a_key_seals() {
    let mut site = site();
    let old = site.backup();
    let thief = Thief::of(&site);
    rotate(&mut site, None);
    let new = site.backup();
    let forged = thief.forge(&site);
    for ending in ["", ".json"] {
        site.r2.delete(&format!("{}{ending}", super::path_in(&site, &new, "r2")));
    }
    let call = site.pgkeep(["catalog", "rebuild", "--from", "r2"]).code(3).any_stdout();
    call.stderr_has(&forged).stderr_has("rotated out").run();
    assert_eq!(ids_on_record(&site), [old.clone(), new.clone()]);
    let told = site.pgkeep(["--json", "alert", "check"]).any_code().any_stderr().any_stdout().run();
    assert!(told.stdout.contains("rotated out"), "{}", told.stdout);
    drop_catalog(&site);
    let call = site.pgkeep(["catalog", "rebuild", "--from", "r2", "--from", "local"]).code(3).any_stdout();
    call.stderr_has(&forged).stderr_has("rotated out").run();
    assert_eq!(ids_on_record(&site), [old, new]);
    // Without either, the configuration may.
    drop_catalog(&site);
    open_with(&mut site, Some("2020-01-01"));
    let call = site.pgkeep(["catalog", "rebuild", "--from", "r2"]).code(3).any_stdout();
    call.stderr_has(&forged).stderr_has("is good until 2020-01-01").run();
    assert_eq!(ids_on_record(&site), Vec::<String>::new());
}

/// Right after a key was changed there is no backup of the new one, and all of the old one's count.
#[test]
fn before_the_first_backup_of_the_new_key_all_is_as_it_was() {
    let mut site = site();
    let ids = [site.backup(), site.backup()];
    rotate(&mut site, None);
    for store in STORES {
        site.pgkeep(["list", "--from", store]).any_stdout().run();
        assert_eq!(restored_id(&site, 0, &["latest", "--from", store], &[]), ids[1]);
        drop_catalog(&site);
        let call = site.pgkeep(["catalog", "rebuild", "--from", store]);
        call.stdout_has("a key that was rotated out proves 2").run();
        assert_eq!(ids_on_record(&site), ids);
    }
    site.pgkeep(["alert", "check"]).any_stdout().run();
    // And after it too, whatever is asked first.
    let new = site.backup();
    for store in STORES {
        site.pgkeep(["list", "--from", store]).any_stdout().run();
        assert_eq!(restored_id(&site, 0, &["latest", "--from", store], &[]), new);
        site.pgkeep(["catalog", "rebuild", "--from", store]).any_stdout().run();
    }
    site.pgkeep(["alert", "check"]).any_stdout().run();
}

#[test]
fn a_date_in_the_configuration_goes_before() {
    let mut site = site();
    let old = site.backup();
    let thief = Thief::of(&site);
    rotate(&mut site, Some("2020-01-01T12:00:00Z"));
    let call = site.pgkeep(["list", "--from", "local"]).code(3).any_stdout();
    call.stderr_has(&old).stderr_has("is good until 2020-01-01 12:00:00 UTC").run();
    // Two hosts, say, of which one was late with its new key.
    let new = site.backup();
    let late = thief.forge(&site);
    open_with(&mut site, Some("2099-01-01"));
    site.pgkeep(["list", "--from", "local"]).any_stdout().run();
    assert_eq!(restored_id(&site, 0, &["latest", "--from", "r2"], &[]), late);
    site.pgkeep(["catalog", "rebuild", "--from", "r2"]).any_stdout().run();
    assert_eq!(ids_on_record(&site), [old, new, late]);
    for wrong in ["yesterday", "2026-13-01", "", "2026-01-01x"] {
        open_with(&mut site, Some(wrong));
        site.pgkeep(["list"]).code(2).stderr_has(": line ").stderr_has("until").run();
    }
}

/// A backup that says it is of next month, made by a host whose clock is wrong.
fn of_next_month(site: &Site, thief: &Thief) -> String {
    let call = with_clock(thief.call(site), &off_by(site, "+30d"));
    let id = call.any_code().any_stdout().any_stderr().run().id();
    // A bucket refuses requests of such a clock; who writes to it has another.
    let local = crate::support::tools::files_under(&site.local());
    for path in local.iter().filter(|path| path.to_str().unwrap().contains(&id)) {
        let name = path.strip_prefix(site.local()).unwrap().to_str().unwrap();
        site.r2.put(&format!("pg/{name}"), &fs::read(path).unwrap());
    }
    id
}

#[test]
fn a_time_stamp_ahead_of_the_clock_is_named_and_is_not_the_latest() {
    let site = site();
    let id = site.backup();
    let ahead = of_next_month(&site, &Thief::of(&site));
    for store in STORES {
        let call = site.pgkeep(["list", "--from", store]).code(3).stdout_has(&ahead);
        call.stderr_has(&ahead).stderr_has("is ahead of this host's clock").run();
        assert_eq!(restored_id(&site, 3, &["latest", "--from", store], &[&ahead, "ahead of"]), id);
        let call = site.pgkeep(["catalog", "rebuild", "--from", store]).code(3).any_stdout();
        call.stderr_has(&ahead).stderr_has("ahead of").run();
        assert_eq!(ids_on_record(&site), std::slice::from_ref(&id));
    }
    site.pgkeep(["alert", "check"]).code(1).any_stderr().stdout_has("ahead of this host's clock").run();
    let call = site.pgkeep(["catalog", "rebuild", "--from", "r2", "--accept", &ahead]).code(3);
    call.any_stdout().any_stderr().run();
    assert_eq!(ids_on_record(&site), [id.clone(), ahead.clone()]);
    assert_eq!(restored_id(&site, 0, &["latest"], &[&ahead, "ahead of"]), id);
    assert_eq!(restored_id(&site, 0, &[&ahead], &[]), ahead);
}

/// A clock that was put back by an hour: the newest backup is the newest, and that its time has not come is said.
#[test]
fn a_clock_that_was_put_back_is_named_and_hides_no_backup() {
    let site = site();
    site.backup();
    let id = site.backup();
    let back = off_by(&site, "-1h");
    let call = |words: &[&str]| with_clock(site.pgkeep(words), &back);
    let said = "ahead of this host's clock";
    let out = site.path("out.dump");
    for from in [&[][..], &["--from", "local"]] {
        let words = [&["--json", "restore", "latest", "--output", out.to_str().unwrap()], from].concat();
        assert_eq!(call(&words).any_stdout().stderr_has(said).run().json()["id"], id.as_str());
        fs::remove_file(&out).unwrap();
    }
    call(&["list", "--from", "local"]).any_stdout().stderr_has(said).run();
    call(&["catalog", "rebuild", "--from", "local"]).any_stdout().stderr_has(said).run();
    let told = call(&["alert", "check"]).any_code().any_stdout().any_stderr().run();
    assert!(told.stdout.contains(said), "{}", told.stdout);
}

/// The time in a manifest and that in its id are one.
#[test]
fn a_manifest_that_begins_at_another_time_than_its_id_says_is_none() {
    let mut site = site();
    let old = site.backup();
    let old_key = site.key.clone();
    rotate(&mut site, None);
    let new = site.backup();
    let forged = super::manifest(&site, &old, "r2");
    let long_ago = "2020-01-01T00:00:00Z".parse().unwrap();
    super::plant(&site, &old, "r2", &signed(&forged, &old_key, |it| it.started_at = long_ago));
    let call = site.pgkeep(["list", "--from", "r2"]).code(3).stdout_has(&new);
    call.stderr_has("says that it began at 2020-01-01").run();
    assert_ne!(newer_key(), old_key);
}
