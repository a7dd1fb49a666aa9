//! One store where a key that was rotated out signed what it did not seal: it speaks for itself alone.

use std::fs;

use jiff::{SignedDuration, Timestamp};
use pgkeep::manifest::Manifest;
use pgkeep::name::BackupId;

use super::{ids_on_record, manifest, open_with, path_in, plant, rotate, signed, site, write};
use crate::support::{Site, key};

fn drop_catalog(site: &Site) {
    site.cluster.execute(&site.catalog, "DROP SCHEMA pgkeep CASCADE");
}

/// The manifests of the new key's backups, signed anew in one store, take nothing from what another store has.
#[test]
fn a_poisoned_store_hides_nothing_that_another_one_has() {
    let mut site = site();
    let old_key = site.key.clone();
    rotate(&mut site, None);
    let ids = [site.backup(), site.backup()];
    for id in &ids {
        let forged = signed(&manifest(&site, id, "local"), &old_key, |it| it.keys = vec![key::id(&old_key)]);
        plant(&site, id, "local", &forged);
    }
    let is_as_it_was = |until: Option<&str>| {
        assert_eq!(ids_on_record(&site), ids, "{until:?}");
        for id in &ids {
            assert_eq!(site.copies(id).into_keys().collect::<Vec<_>>(), ["r2"], "{until:?}");
            site.pgkeep(["verify", id]).any_code().any_stderr().stdout_has("r2").run();
            assert_eq!(site.copies(id)["r2"]["state"], "verified");
        }
    };
    for order in [["local", "r2"], ["r2", "local"]] {
        drop_catalog(&site);
        let call = site.pgkeep(["catalog", "rebuild", "--from", order[0], "--from", order[1]]).code(3);
        call.stdout_has("2 backups found, 2 new").stderr_has("rotated out").stderr_has(&ids[0]).run();
        is_as_it_was(None);
    }
    // With a date nothing is in doubt, and what differs is believed to the sealing key.
    let good: Vec<Vec<u8>> = ids.iter().map(|id| manifest(&site, id, "r2")).collect();
    for (id, good) in ids.iter().zip(&good) {
        let forged = signed(good, &old_key, |it| {
            (it.keys, it.checksum) = (vec![key::id(&old_key)], "00".repeat(32));
        });
        let path = path_in(&site, id, "r2");
        let name = path.rsplit_once("/db1/").unwrap().1;
        fs::write(site.local().join(format!("db1/{name}.json")), forged).unwrap();
    }
    drop_catalog(&site);
    open_with(&mut site, Some("2099-01-01"));
    let call = site.pgkeep(["catalog", "rebuild", "--from", "local", "--from", "r2"]).code(3);
    call.stdout_has("2 backups found, 2 new").stderr_has(&key::id(&old_key)).run();
    assert_eq!(ids_on_record(&site), ids);
    assert_eq!(site.copies(&ids[1]).into_keys().collect::<Vec<_>>(), ["r2"]);
}

/// Pairs that begin a moment after the one there is, as many as that, signed by another key.
fn flood(site: &Site, id: &str, store: &str, by: &str, count: u16) {
    let good = manifest(site, id, store);
    let path = path_in(site, id, store);
    let artifact = super::read(site, store, &path);
    let begun = Manifest::read(&good).unwrap().started_at.as_second();
    let at = Timestamp::from_second(begun).unwrap() + SignedDuration::from_secs(1);
    for salt in 0..count {
        let forged = BackupId::new("full", &site.database, at, salt);
        let bytes = signed(&good, by, |it| {
            it.filename = it.filename.replace(id, forged.as_str());
            (it.id, it.started_at, it.keys) = (forged.clone(), at, vec![key::id(by)]);
        });
        let planted = path.replace(id, forged.as_str());
        write(site, store, &planted, &artifact);
        write(site, store, &format!("{planted}.json"), &bytes);
    }
}

/// However many a key that was rotated out signed: none is the newest backup, with and without the catalog.
#[test]
fn a_flood_of_an_older_key_is_not_believed_while_the_catalog_is_away() {
    let mut site = site();
    site.config.keep_stores(&["local"]);
    let old_key = site.key.clone();
    rotate(&mut site, None);
    let id = site.backup();
    let newest = |site: &Site| {
        let call = site.pgkeep(["--json", "alert", "check"]).any_code().any_stderr().any_stdout();
        let seen = call.run().json();
        assert!(seen["warnings"].to_string().contains("rotated out"), "{seen:#}");
        let databases = seen["databases"].as_array().unwrap();
        let of_it = databases.iter().find(|it| it["database"] == *site.database).unwrap();
        (seen["catalog"]["up"].as_bool().unwrap(), of_it["good"]["id"].as_str().map(str::to_owned))
    };
    flood(&site, &id, "local", &old_key, 8);
    let away = site.cluster.url("no_such_catalog");
    let there = site.config.clone();
    site.config.set("catalog.url", away.as_str());
    assert_eq!(newest(&site), (false, Some(id.clone())));
    let away = std::mem::replace(&mut site.config, there);
    flood(&site, &id, "local", &old_key, 40);
    assert_eq!(newest(&site), (true, Some(id)));
    // More than are read to find the newest: no backup is seen, and that is an alarm.
    site.config = away;
    assert_eq!(newest(&site), (false, None));
}
