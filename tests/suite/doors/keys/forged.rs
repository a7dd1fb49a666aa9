//! Manifests of backups on record, forged without the key, or with one that was rotated out.

use pgkeep::manifest::Manifest;
use serde_json::Value;

use super::{NOBODYS, STORES, manifest, newer_key, plant, rotate, signed, site};
use crate::support::{Site, key};

/// What may be done to a manifest without the key.
fn forgeries(good: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let change = |change: &dyn Fn(&mut Value)| {
        let mut value: Value = serde_json::from_slice(good).unwrap();
        change(&mut value);
        value.to_string().into_bytes()
    };
    let nobodys = key::made_up(77);
    let signed_by_nobody = {
        let id = key::id(&nobodys);
        signed(good, &nobodys, |it| it.keys = vec![id])
    };
    vec![
        ("an unknown key", change(&|it| it["keys"] = vec![NOBODYS].into())),
        ("an unknown key, signed with it", signed_by_nobody),
        ("no key", change(&|it| it["keys"] = Vec::<String>::new().into())),
        (
            "an unknown key and another dump",
            change(&|it| {
                it["keys"] = vec![NOBODYS].into();
                it["dump_checksum"] = "00".into();
            }),
        ),
        ("no mac", change(&|it| drop(it.as_object_mut().unwrap().remove("mac")))),
        ("an unknown format, and key", {
            change(&|it| {
                it["format"] = 7.into();
                it["keys"] = vec![NOBODYS].into();
            })
        }),
    ]
}

/// Every command that looks at the manifest sees that it is damaged, and a repair makes it anew.
fn assert_damage(site: &Site, id: &str, store: &str, what: &str) {
    let call = site.pgkeep(["verify", id]).code(4).any_stdout();
    call.stderr_has(&format!("store {store}: corrupt: its manifest")).run();
    // What the verdict has put on record is another trouble: the check is to see it by itself.
    let mark = format!("UPDATE pgkeep.copy SET state = 'verified', error = NULL WHERE backup = '{id}'");
    site.cluster.execute(&site.catalog, &mark);
    let told = site.pgkeep(["--json", "alert", "check"]).any_code().any_stdout().any_stderr().run();
    assert_eq!(told.code, 2, "{what}: {}", told.stdout);
    assert!(told.stdout.contains("its manifest"), "{what}: {}", told.stdout);
    site.pgkeep(["list", "--from", store]).code(3).any_stdout().stderr_has("manifest").run();
    let call = site.pgkeep(["catalog", "rebuild", "--from", store]).code(3).any_stdout();
    call.stderr_has("manifest").run();
    let call = site.pgkeep(["verify", id, "--repair"]).any_stdout();
    call.stderr_has(&format!("store `{store}` was repaired")).run();
}

/// In what parts an artifact was sent no other copy knows; all the rest is as it was.
fn assert_healed(healed: &[u8], good: &[u8]) {
    let [healed, good] = [healed, good].map(|bytes| {
        let mut manifest = Manifest::read(bytes).unwrap();
        (manifest.mac, manifest.part_size_bytes) = (String::new(), None);
        manifest
    });
    assert_eq!(healed, good);
}

#[test]
fn a_manifest_that_does_not_name_the_key_on_record_is_damage() {
    let site = site();
    let id = site.backup();
    for store in STORES {
        let good = manifest(&site, &id, store);
        for (what, forged) in forgeries(&good) {
            plant(&site, &id, store, &forged);
            assert_damage(&site, &id, store, what);
            assert_healed(&manifest(&site, &id, store), &good);
        }
        site.pgkeep(["verify", &id, "--level", "content"]).any_stdout().run();
        site.pgkeep(["alert", "check"]).any_stdout().run();
    }
}

/// The key of before is good for what it sealed, and for nothing else.
#[test]
fn a_key_that_was_rotated_out_signs_no_backup_of_the_new_one() {
    let mut site = site();
    let old = site.backup();
    let old_key = site.key.clone();
    rotate(&mut site, None);
    let new = site.backup();
    let ids = [key::id(&old_key), key::id(&newer_key())];
    for store in STORES {
        let good = manifest(&site, &new, store);
        for keys in [vec![ids[0].clone()], vec![ids[1].clone(), ids[0].clone()]] {
            let forged = signed(&good, &old_key, |it| (it.keys, it.tables) = (keys, Some(1)));
            plant(&site, &new, store, &forged);
            let call = site.pgkeep(["alert", "check"]).code(2);
            call.stdout_has(store).any_stderr().run();
            let call = site.pgkeep(["verify", &new]).code(4).any_stdout();
            call.stderr_has(&format!("store {store}: corrupt")).stderr_has(&ids[0]).run();
            let call = site.pgkeep(["catalog", "rebuild", "--from", store]).code(3).any_stdout();
            call.stderr_has(&new).run();
            site.pgkeep(["verify", &new, "--repair"]).any_stdout().stderr_has("was repaired").run();
            assert_healed(&manifest(&site, &new, store), &good);
        }
        // What it sealed it proves, and a manifest of it that says something else is damage as ever.
        let good = manifest(&site, &old, store);
        plant(&site, &old, store, &signed(&good, &old_key, |it| it.dump_checksum = "00".repeat(32)));
        let call = site.pgkeep(["verify", &old]).code(4).any_stdout();
        call.stderr_has("the checksum of the dump").run();
        site.pgkeep(["verify", &old, "--repair"]).any_stdout().stderr_has("was repaired").run();
    }
    for id in [&old, &new] {
        site.pgkeep(["verify", id, "--level", "content"]).any_stdout().run();
    }
}

/// An older key that is not configured any more: nothing can be said, and that is what is said.
#[test]
fn what_no_key_at_hand_could_prove_is_not_called_ok() {
    let mut site = site();
    let id = site.backup();
    let old = key::id(&site.key);
    rotate(&mut site, None);
    site.config.set("encryption.open_with", Vec::<String>::new());
    let call = site.pgkeep(["verify", &id]).code(3).any_stdout();
    let ran = call.stderr_has("can't be checked").stderr_has(&old).run();
    assert!(!ran.stdout.contains("ok"), "{}", ran.stdout);
    site.pgkeep(["verify", &id, "--repair"]).code(3).any_stdout().stderr_has("can't be checked").run();
    for copy in site.copies(&id).values() {
        assert_eq!(copy["state"], "verified");
    }
    site.pgkeep(["--json", "alert", "check"]).any_code().stdout_has(&old).any_stderr().run();
    // What names yet another key was written by nobody who had it.
    let good = manifest(&site, &id, "r2");
    let forged = String::from_utf8(good.clone()).unwrap().replace(&old, NOBODYS);
    plant(&site, &id, "r2", forged.as_bytes());
    let call = site.pgkeep(["verify", &id]).code(4).any_stdout();
    call.stderr_has("store r2: corrupt").stderr_has("store local: not verified").run();
    plant(&site, &id, "r2", &good);
    super::open_with(&mut site, None);
    site.pgkeep(["verify", &id]).any_stdout().run();
    assert_eq!(site.row(&id)["status"], "verified");
}

/// Without any key the manifests are compared with the record, as far as that goes.
#[test]
fn without_a_key_the_record_is_what_a_manifest_is_held_against() {
    let mut site = site();
    let id = site.backup();
    site.config.set("encryption.key_file", site.path("none.key").to_str().unwrap());
    site.pgkeep(["verify", &id]).any_stdout().run();
    let good = manifest(&site, &id, "r2");
    let text = String::from_utf8(good.clone()).unwrap();
    let own = key::id(&site.key);
    for (from, to) in [
        (own.as_str(), NOBODYS),
        ("\"type\": \"full\"", "\"type\": \"config\""),
        ("\"source\": \"db1\"", "\"source\": \"db2\""),
        ("\"tenant\": null", "\"tenant\": \"x\""),
        ("\"compression\": \"gzip\"", "\"compression\": \"zstd\""),
    ] {
        assert!(text.contains(from), "{from}");
        plant(&site, &id, "r2", text.replace(from, to).as_bytes());
        site.pgkeep(["verify", &id]).code(4).any_stdout().stderr_has("store r2: corrupt").run();
    }
    plant(&site, &id, "r2", &good);
    site.pgkeep(["verify", &id]).any_stdout().run();
}
