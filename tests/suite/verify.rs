//! `pgkeep verify` as it is called without more: every copy against the catalog.

use std::fs;

use crate::support::cluster::unique;
use crate::support::{FaultServer, Manners, Rule, Site};

/// A site with one backup in all three stores.
pub(crate) fn site_with_backup() -> (Site, String) {
    let site = Site::new();
    let id = site.backup();
    (site, id)
}

pub(crate) fn bytes_of(site: &Site, id: &str, store: &str) -> Vec<u8> {
    site.copy_bytes(id).remove(store).unwrap()
}

/// Writes other bytes in the place of a copy, or removes it.
pub(crate) fn spoil(site: &Site, id: &str, store: &str, bytes: Option<&[u8]>) {
    let row = site.row(id);
    let path = row[format!("{store}_path")].as_str().unwrap();
    match (store, bytes) {
        ("local", Some(bytes)) => fs::write(path, bytes).unwrap(),
        ("local", None) => fs::remove_file(path).unwrap(),
        (store, bytes) => {
            let bucket = if store == "r2" { &site.r2 } else { &site.b2 };
            bytes.map_or_else(|| bucket.delete(path), |bytes| bucket.put(path, bytes));
        }
    }
}

#[test]
fn good_copies_are_good() {
    let (site, id) = site_with_backup();
    site.pgkeep(["verify", &id]).any_stdout().run();
    site.pgkeep(["verify", "latest"]).any_stdout().run();
    site.pgkeep(["verify", &id[..id.len() - 2]]).any_stdout().run();
    site.pgkeep(["--quiet", "verify", &id]).run();
    site.assert_no_secret();
}

#[test]
fn json_says_how_each_copy_fared() {
    let (site, id) = site_with_backup();
    spoil(&site, &id, "b2", None);
    let document = site.pgkeep(["--json", "verify", &id]).code(4).any_stdout().any_stderr().run().json();
    assert_eq!(document["id"], id.as_str());
    assert_eq!(document["copies"].as_array().unwrap().len(), 3);
    let b2 = document["copies"].as_array().unwrap().iter().find(|copy| copy["store"] == "b2").unwrap();
    assert!(b2["error"].is_string(), "{b2:#}");
}

fn assert_found(store: &str, change: impl Fn(Vec<u8>) -> Option<Vec<u8>>) {
    let (site, id) = site_with_backup();
    let changed = change(bytes_of(&site, &id, store));
    spoil(&site, &id, store, changed.as_deref());
    let ran = site.pgkeep(["verify", &id]).code(4).any_stdout().stderr_has(store).run();
    for other in ["local", "r2", "b2"].iter().filter(|other| **other != store) {
        let blamed =
            ran.stderr.lines().any(|line| line.contains(&format!("`{other}`")) && line.contains("corrupt"));
        assert!(!blamed, "{other} is blamed: {}", ran.stderr);
    }
    let copies = site.copies(&id);
    assert!(copies[store]["error"].is_string(), "{:#}", copies[store]);
    assert_ne!(site.row(&id)["status"], "verified");
}

#[test]
fn a_flipped_bit_is_found() {
    for store in ["local", "r2", "b2"] {
        assert_found(store, |mut bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            Some(bytes)
        });
    }
}

#[test]
fn a_copy_that_was_cut_short_is_found() {
    for store in ["local", "r2", "b2"] {
        assert_found(store, |bytes| Some(bytes[..bytes.len() - 1].to_vec()));
    }
}

#[test]
fn a_copy_that_grew_is_found() {
    for store in ["local", "r2"] {
        assert_found(store, |mut bytes| {
            bytes.push(0);
            Some(bytes)
        });
    }
}

#[test]
fn an_empty_copy_is_found() {
    assert_found("local", |_| Some(Vec::new()));
}

#[test]
fn a_copy_that_was_removed_is_found() {
    for store in ["local", "r2", "b2"] {
        assert_found(store, |_| None);
    }
}

/// A store that can't be asked is not a corrupt copy, and not a good one either.
#[test]
fn a_store_that_is_away_is_no_success() {
    let (mut site, id) = site_with_backup();
    let fault: FaultServer = site.fault("r2", Manners::Plain);
    fault.rule(Rule::on("", "").refuse(403, "AccessDenied"));
    let ran = site
        .pgkeep(["verify", &id])
        .any_code()
        .any_stdout()
        .stderr_has("r2")
        .stderr_has("AccessDenied")
        .run();
    assert!([1, 3, 4].contains(&ran.code), "{ran:?}");
}

#[test]
fn an_unknown_id_is_said_to_be_unknown() {
    let (site, id) = site_with_backup();
    site.pgkeep(["verify", "full-nothing-20200101T000000Z-0000"]).code(5).stderr_has("full-nothing").run();
    site.pgkeep(["verify", "latest", "--database", "nothing"]).code(5).stderr_has("nothing").run();
    site.pgkeep(["verify", &id[1..]]).code(5).stderr_has(&id[1..]).run();
}

/// Two backups share what stands before the time; a prefix of both names neither.
#[test]
fn a_prefix_of_two_ids_is_refused() {
    let site = Site::new().local_only();
    let ids = [site.backup(), site.backup()];
    let common = format!("full-{}-", site.database);
    assert!(ids.iter().all(|id| id.starts_with(&common)));
    let ran = site.pgkeep(["verify", &common]).any_code().stderr_has(&ids[0]).stderr_has(&ids[1]).run();
    assert!([2, 5].contains(&ran.code), "{ran:?}");
    site.pgkeep(["verify", "latest"]).any_stdout().run();
}

/// `latest` is the newest that can be used, not a run that failed after it; and it heeds the filters.
#[test]
fn latest_is_the_newest_usable_one() {
    let mut site = Site::new().local_only().with_own_catalog();
    let id = site.backup();
    let second = unique("second");
    site.cluster.create_database(&second, "template0");
    let other = site.pgkeep(["backup", "full", "--database", &second]).any_stdout().run().id();
    let bin = crate::support::FakeBin::new(&site.path(""), "exit 1");
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    site.pgkeep(["backup", "full"]).code(1).any_stderr().run();
    let document = site.pgkeep(["--json", "verify", "latest"]).any_stdout().run().json();
    assert_eq!(document["id"], other.as_str());
    let call = site.pgkeep(["--json", "verify", "latest", "--database", &site.database]);
    assert_eq!(call.any_stdout().run().json()["id"], id.as_str());
}

/// The catalog's checksum is what counts: two copies that agree with one another and not with it are wrong.
#[test]
fn copies_that_agree_but_not_with_the_catalog_are_wrong() {
    let (site, id) = site_with_backup();
    let mut bytes = bytes_of(&site, &id, "local");
    *bytes.last_mut().unwrap() ^= 1;
    for store in ["local", "r2", "b2"] {
        spoil(&site, &id, store, Some(&bytes));
    }
    let call = site.pgkeep(["verify", &id]).code(4).any_stdout();
    call.stderr_has("local").stderr_has("r2").stderr_has("b2").run();
}

/// What was wrong and is mended is verified again.
#[test]
fn a_mended_copy_is_good_again() {
    let (site, id) = site_with_backup();
    let bytes = bytes_of(&site, &id, "local");
    spoil(&site, &id, "r2", None);
    site.pgkeep(["verify", &id]).code(4).any_stdout().any_stderr().run();
    spoil(&site, &id, "r2", Some(&bytes));
    site.pgkeep(["verify", &id]).any_stdout().run();
    assert_eq!(site.row(&id)["status"], "verified");
}
