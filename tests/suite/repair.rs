//! `pgkeep verify --repair`: copies made again from one another.

use std::collections::BTreeMap;
use std::fs;

use crate::levels::copy_in;
use crate::support::tools::files_under;
use crate::support::{FaultServer, Manners, Rule, Site, key, wait_until};
use crate::verify::{bytes_of, site_with_backup, spoil};

mod versions;

const STORES: [&str; 3] = ["local", "r2", "b2"];

fn manifest_path(site: &Site, id: &str, store: &str) -> String {
    format!("{}.json", site.row(id)[format!("{store}_path")].as_str().unwrap())
}

fn manifest(site: &Site, id: &str, store: &str) -> Vec<u8> {
    let path = manifest_path(site, id, store);
    match store {
        "local" => fs::read(path).unwrap(),
        "r2" => site.r2.get(&path),
        _ => site.b2.get(&path),
    }
}

fn spoil_manifest(site: &Site, id: &str, store: &str, bytes: Option<&[u8]>) {
    let path = manifest_path(site, id, store);
    match (store, bytes) {
        ("local", Some(bytes)) => fs::write(path, bytes).unwrap(),
        ("local", None) => fs::remove_file(path).unwrap(),
        (store, bytes) => {
            let bucket = if store == "r2" { &site.r2 } else { &site.b2 };
            bytes.map_or_else(|| bucket.delete(&path), |bytes| bucket.put(&path, bytes));
        }
    }
}

/// All that the stores hold of a backup: artifacts and manifests.
fn state(site: &Site, id: &str) -> BTreeMap<&'static str, (Vec<u8>, Vec<u8>)> {
    STORES.iter().map(|store| (*store, (bytes_of(site, id, store), manifest(site, id, store)))).collect()
}

/// Damage of every kind in every store in turn, as a function of the good bytes.
type Damage = (&'static str, fn(&[u8]) -> Option<Vec<u8>>);
const DAMAGES: [Damage; 6] = [
    ("a flipped bit", |good| {
        let mut bytes = good.to_vec();
        bytes[good.len() / 2] ^= 1;
        Some(bytes)
    }),
    ("cut", |good| Some(good[..good.len() - 1].to_vec())),
    ("appended", |good| Some([good, b"more"].concat())),
    ("empty", |_| Some(Vec::new())),
    ("gone", |_| None),
    ("another's", |_| Some(b"PGKEEP\0\x01 of somebody else".to_vec())),
];

#[test]
fn every_damage_in_every_store_is_healed_byte_for_byte() {
    let (site, id) = site_with_backup();
    let good = state(&site, &id);
    for store in STORES {
        for (what, damage) in DAMAGES {
            spoil(&site, &id, store, damage(&good[store].0).as_deref());
            let ran =
                site.pgkeep(["--json", "verify", &id, "--repair"]).any_stdout().stderr_has("repaired").run();
            let copy = copy_in(&ran.json(), store);
            assert_eq!(
                (&copy["verdict"], &copy["repaired"]),
                (&"ok".into(), &true.into()),
                "{what}: {copy:#}"
            );
            assert_eq!(state(&site, &id), good, "{what} in {store}");
            site.pgkeep(["verify", &id, "--level", "stat"]).any_stdout().run();
        }
    }
    site.pgkeep(["verify", &id, "--level", "content"]).any_stdout().run();
    assert_eq!(site.row(&id)["status"], "verified");
    site.assert_no_uploads();
    site.assert_no_secret();
}

#[test]
fn manifests_are_healed_without_a_look_at_the_artifact() {
    let (mut site, id) = site_with_backup();
    let good = state(&site, &id);
    let fault: FaultServer = site.fault("r2", Manners::Plain);
    for store in STORES {
        for bytes in [None, Some(&b"{}"[..]), Some(b"")] {
            spoil_manifest(&site, &id, store, bytes);
            site.pgkeep(["verify", &id, "--repair", "--level", "stat"])
                .any_code()
                .any_stdout()
                .any_stderr()
                .run();
            site.pgkeep(["verify", &id, "--repair"]).any_stdout().any_stderr().run();
            let healed = state(&site, &id);
            assert_eq!(healed[store].0, good[store].0);
            site.pgkeep(["verify", &id, "--level", "content"]).any_stdout().run();
        }
    }
    assert_eq!(fault.count("POST", "uploads"), 0, "no artifact was sent: {:?}", fault.requests());
    assert_eq!(state(&site, &id)["local"], good["local"]);
}

#[test]
fn two_of_three_are_healed_from_the_third() {
    let (site, id) = site_with_backup();
    let good = state(&site, &id);
    spoil(&site, &id, "local", None);
    spoil_manifest(&site, &id, "local", None);
    spoil(&site, &id, "b2", Some(b"nothing"));
    site.pgkeep(["verify", &id, "--repair"]).any_stdout().stderr_has("local").stderr_has("b2").run();
    assert_eq!(state(&site, &id), good);
}

#[test]
fn without_a_good_copy_nothing_is_touched() {
    let (site, id) = site_with_backup();
    for store in STORES {
        let mut bytes = bytes_of(&site, &id, store);
        bytes[70] ^= 1;
        spoil(&site, &id, store, Some(&bytes));
    }
    let before = state(&site, &id);
    site.pgkeep(["verify", &id, "--repair"]).code(4).any_stdout().stderr_has("no copy is whole").run();
    assert_eq!(state(&site, &id), before);
}

/// A good copy whose manifest is forged gives nothing on.
#[test]
fn a_copy_without_a_proven_manifest_repairs_no_other() {
    let site = Site::new();
    let id = site.backup();
    let good = state(&site, &id);
    spoil(&site, &id, "local", None);
    // A look from outside sees nothing wrong with a forged manifest; it is proven before it is copied on.
    for store in ["r2", "b2"] {
        let forged = String::from_utf8(good[store].1.clone()).unwrap();
        let forged = forged.replace("\"tenant\": null", "\"tenant\": \"x\"");
        spoil_manifest(&site, &id, store, Some(forged.as_bytes()));
    }
    let call = site.pgkeep(["verify", &id, "--repair", "--level", "stat"]).code(4).any_stdout();
    call.stderr_has("its mac differs").stderr_has("no copy is whole").run();
    for store in ["r2", "b2"] {
        spoil_manifest(&site, &id, store, Some(b"{}"));
    }
    site.pgkeep(["verify", &id, "--repair"]).code(4).any_stdout().stderr_has("no copy is whole").run();
    assert!(files_under(&site.local()).iter().all(|path| path.extension().is_some_and(|end| end == "json")));
}

/// What is damaged stays until what takes its place is whole, and what is healed is never half there.
#[test]
fn a_repair_that_fails_leaves_what_was_there() {
    let site = Site::of_parts();
    let id = site.backup();
    let mut site = site;
    let mut bytes = bytes_of(&site, &id, "r2");
    bytes[70] ^= 1;
    spoil(&site, &id, "r2", Some(&bytes));
    let fault: FaultServer = site.fault("r2", Manners::Plain);
    fault.rule(Rule::on("PUT", "partNumber=2").refuse(403, "AccessDenied"));
    let call = site.pgkeep(["verify", &id, "--repair"]).code(4).any_stdout();
    call.stderr_has("AccessDenied").stderr_has("not repaired").run();
    assert_eq!(bytes_of(&site, &id, "r2"), bytes);
    site.assert_no_uploads();
    fault.heal();
    site.pgkeep(["verify", &id, "--repair"]).any_stdout().any_stderr().run();
    assert_eq!(bytes_of(&site, &id, "r2"), bytes_of(&site, &id, "local"));
}

#[test]
fn a_signal_in_the_middle_of_a_repair_leaves_what_was_there() {
    let site = Site::of_parts();
    let id = site.backup();
    let mut site = site;
    spoil(&site, &id, "r2", Some(b"damaged"));
    let fault: FaultServer = site.fault("r2", Manners::Plain);
    fault.rule(Rule::on("PUT", "partNumber=2").does(crate::support::rule::Action::Hang));
    let running = site.pgkeep(["verify", &id, "--repair"]).code(143).any_stdout().any_stderr().start();
    wait_until("the second part is on its way", || fault.count("PUT", "partNumber=2") > 0);
    running.signal(rustix::process::Signal::TERM);
    running.finish();
    assert_eq!(bytes_of(&site, &id, "r2"), b"damaged");
    site.assert_no_uploads();
}

/// A store that was away while the backup ran gets its copy.
#[test]
fn a_copy_that_was_never_made_is_made() {
    let mut site = Site::new();
    let fault: FaultServer = site.fault("b2", Manners::Plain);
    fault.rule(Rule::on("", "").refuse(403, "AccessDenied"));
    let id = site.pgkeep(["backup", "full"]).code(3).any_stdout().any_stderr().run().id();
    site.pgkeep(["verify", &id]).code(3).any_stdout().any_stderr().run();
    fault.heal();
    site.pgkeep(["verify", &id, "--repair"]).any_stdout().stderr_has("b2").run();
    site.assert_copies(&id, &STORES);
    assert_eq!(site.row(&id)["status"], "verified");
    assert_ne!(site.copies(&id)["b2"]["expires_at"], "x");
    site.pgkeep(["verify", &id, "--level", "content"]).any_stdout().run();
}

/// The manifest of a backup that an older key sealed is signed by that key again.
#[test]
fn a_backup_of_a_key_that_was_rotated_out_is_healed() {
    let (mut site, id) = site_with_backup();
    let good = state(&site, &id);
    let newer = site.path("newer.key");
    key::write_private(&newer, &format!("{}\n", key::made_up(5)));
    let older = site.path("pgkeep.key");
    site.config.set("encryption.key_file", newer.to_str().unwrap());
    site.config.set("encryption.open_with", vec![older.to_str().unwrap().to_owned()]);
    for store in STORES {
        spoil(&site, &id, store, None);
        spoil_manifest(&site, &id, store, None);
        site.pgkeep(["verify", &id, "--repair"]).any_stdout().any_stderr().run();
        site.pgkeep(["verify", &id, "--level", "content"]).any_stdout().run();
        assert_eq!(state(&site, &id)[store].0, good[store].0);
    }
}

/// Where the key is not at hand no manifest can be signed: refused before anything is touched.
#[test]
fn a_repair_without_the_key_is_refused() {
    let (site, id) = site_with_backup();
    spoil(&site, &id, "local", None);
    fs::remove_file(site.path("pgkeep.key")).unwrap();
    site.pgkeep(["verify", &id, "--repair"]).code(2).stderr_has("pgkeep.key").run();
    assert_ne!(site.row(&id)["status"], "degraded");
}

/// Another artifact of the same key, whole and with its own manifest, in this one's place.
#[test]
fn what_was_swapped_is_healed() {
    let (site, one) = site_with_backup();
    let two = site.backup();
    let (good, other) = (state(&site, &one), state(&site, &two));
    for store in STORES {
        spoil(&site, &one, store, Some(&other[store].0));
        spoil_manifest(&site, &one, store, Some(&other[store].1));
        site.pgkeep(["verify", &one]).code(4).any_stdout().stderr_has(store).run();
        site.pgkeep(["verify", &one, "--repair"]).any_stdout().any_stderr().run();
        assert_eq!(state(&site, &one), good, "{store}");
        // A manifest alone.
        spoil_manifest(&site, &one, store, Some(&other[store].1));
        site.pgkeep(["verify", &one]).code(4).any_stdout().stderr_has(store).run();
        site.pgkeep(["verify", &one, "--repair"]).any_stdout().any_stderr().run();
        assert_eq!(state(&site, &one)[store].0, good[store].0, "{store}");
        site.pgkeep(["verify", &one, "--level", "content"]).any_stdout().run();
    }
    assert_eq!(state(&site, &two), other);
}

/// Bits flipped all over an artifact of some hundred chunks, and cuts at and beside their borders: each is
/// found, in its chunk, and healed.
#[test]
fn damage_all_over_a_large_artifact_is_found_in_its_place_and_healed() {
    const CHUNK: usize = 65536 + 17;
    let site = Site::of_parts();
    let id = site.backup();
    let good = bytes_of(&site, &id, "local");
    let header = 12 + u32::from_le_bytes(good[8..12].try_into().unwrap()) as usize;
    let chunk_of = |at: usize| header + (at - header) / CHUNK * CHUNK;
    let check = |bytes: &[u8], place: usize, what: &str| {
        spoil(&site, &id, "local", Some(bytes));
        let call = site.pgkeep(["--json", "verify", &id, "--store", "local"]).code(4);
        let copy = copy_in(&call.any_stdout().any_stderr().run().json(), "local");
        assert_eq!(copy["offset"], place, "{what}: {copy:#}");
    };
    for step in 0..12 {
        let at = header + (good.len() - header - 1) * step / 11;
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (step % 8);
        check(&bytes, chunk_of(at), &format!("bit {} of byte {at}", step % 8));
    }
    for border in [header, header + CHUNK, header + 100 * CHUNK] {
        for at in [border - 1, border, border + 1, border + 17] {
            let place = if at < header { at } else { chunk_of(at) };
            check(&good[..at], place, &format!("cut at {at}"));
        }
    }
    site.pgkeep(["verify", &id, "--store", "local", "--store", "r2", "--repair"])
        .any_stdout()
        .any_stderr()
        .run();
    assert!(bytes_of(&site, &id, "local") == good);
}

/// A look from outside proves no byte: before one copy is made from another, that is read, and its damage told.
#[test]
fn what_others_are_made_from_has_been_read() {
    let site = Site::new();
    let id = site.backup();
    let good = state(&site, &id);
    let mut rotten = good["local"].0.clone();
    rotten[700] ^= 1;
    spoil(&site, &id, "local", Some(&rotten));
    spoil(&site, &id, "r2", None);
    site.pgkeep(["verify", &id, "--level", "stat"]).code(4).any_stdout().stderr_has("r2").run();
    let call = site.pgkeep(["--json", "verify", &id, "--level", "stat", "--repair"]);
    let document =
        call.any_stdout().stderr_has("`local` was repaired").stderr_has("`r2` was repaired").run().json();
    assert_eq!(copy_in(&document, "b2")["verified_level"], "checksum");
    assert_eq!(state(&site, &id), good);
}
