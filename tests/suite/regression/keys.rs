//! A key that is not at hand is no damage, and damage is no missing key.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use crate::support::{Site, key};

/// Lets the site's only key be one that opens nothing.
fn take_key_away(site: &mut Site) {
    let other = site.path("other.key");
    key::write_private(&other, &format!("{}\n", key::made_up(9)));
    site.config.set("encryption.key_file", other.to_str().unwrap());
}

fn states(site: &Site, id: &str) -> BTreeMap<String, Value> {
    site.copies(id).into_iter().map(|(store, copy)| (store, copy["state"].clone())).collect()
}

/// A host without the key once wrote `corrupt` on every good copy, for all other hosts to read.
#[test]
fn a_check_without_the_key_condemns_no_copy() {
    let mut site = Site::new();
    let id = site.backup();
    let before = states(&site, &id);
    assert!(before.len() == 3 && before.values().all(|state| state == "verified"), "{before:?}");
    take_key_away(&mut site);
    let call = site.pgkeep(["verify", &id, "--level", "content"]).code(3).any_stdout();
    call.stderr_has(&key::id(&site.key)).run();
    assert_eq!(states(&site, &id), before);
    site.config.set("encryption.key_file", site.path("pgkeep.key").to_str().unwrap());
    site.pgkeep(["verify", &id]).any_stdout().run();
    assert_eq!(states(&site, &id), before);
    assert_eq!(site.row(&id)["status"], "verified");
}

/// Damage in the header once ended with exit code 1, which scripts took for a fault that passes.
#[test]
fn a_damaged_header_is_damage() {
    let site = Site::new().local_only();
    let id = site.backup();
    let path = site.row(&id)["local_path"].as_str().unwrap().to_owned();
    let good = fs::read(&path).unwrap();
    let header = good.iter().position(|byte| *byte == b'{').expect("the header is JSON");
    for at in [0, header, header + 1, good.len() / 2] {
        let mut bytes = good.clone();
        bytes[at] ^= 4;
        fs::write(&path, &bytes).unwrap();
        let out = site.path("out.dump");
        let call = site.pgkeep(["restore", &id, "--output", out.to_str().unwrap()]);
        call.code(4).stderr_has("local").run();
        assert!(!out.exists(), "byte {at}: a file was left");
    }
}

/// And a key that is missing is told from it, with a word on where to put it.
#[test]
fn a_missing_key_comes_with_a_hint() {
    let mut site = Site::new().local_only();
    let id = site.backup();
    take_key_away(&mut site);
    let out = site.path("out.dump");
    let call = site.pgkeep(["restore", &id, "--output", out.to_str().unwrap()]);
    call.code(1).stderr_has(&key::id(&site.key)).stderr_has("open_with").run();
    assert!(!out.exists());
}
