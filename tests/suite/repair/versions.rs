//! Repairs in buckets that keep versions, and in one that only names them.

use super::*;

/// Where the bucket keeps versions, as those of B2 do, nothing damaged stays hidden behind what was repaired.
#[test]
fn no_damaged_version_stays_hidden() {
    let mut site = Site::new();
    let _fault: FaultServer = site.fault("b2", Manners::B2);
    site.b2.set_versions("Enabled");
    let id = site.backup();
    let good = state(&site, &id);
    let path = site.row(&id)["b2_path"].as_str().unwrap().to_owned();
    let manifest = format!("{path}.json");
    for (what, damage) in DAMAGES {
        let Some(bytes) = damage(&good["b2"].0) else { continue };
        let before = site.b2.versions(&path);
        spoil(&site, &id, "b2", Some(&bytes));
        let damaged: Vec<String> =
            site.b2.versions(&path).into_iter().filter(|version| !before.contains(version)).collect();
        assert_eq!(damaged.len(), 1, "{what}");
        site.pgkeep(["verify", &id, "--repair"]).any_stdout().stderr_has("repaired").run();
        assert_eq!(state(&site, &id), good, "{what}");
        let left = site.b2.versions(&path);
        assert_eq!(left.len(), before.len() + 1, "{what}: {left:?}");
        assert!(!left.contains(&damaged[0]), "{what}: the damaged one is gone: {left:?}");
    }
    spoil_manifest(&site, &id, "b2", Some(b"{}"));
    let before = site.b2.versions(&manifest);
    site.pgkeep(["verify", &id, "--repair"]).any_stdout().stderr_has("repaired").run();
    let left = site.b2.versions(&manifest);
    let gone = before.iter().filter(|version| !left.contains(version)).count();
    assert_eq!((left.len(), gone), (before.len(), 1), "{before:?} {left:?}");
    site.pgkeep(["verify", &id, "--level", "content"]).any_stdout().run();
}

/// R2 gives ids of versions and keeps none: a repair must not remove what it has just written.
#[test]
fn a_store_that_only_names_versions_keeps_what_was_repaired() {
    let mut site = Site::new();
    let _fault: FaultServer = site.fault("r2", Manners::r2());
    let id = site.backup();
    let good = state(&site, &id);
    spoil(&site, &id, "r2", Some(b"damaged"));
    spoil_manifest(&site, &id, "r2", Some(b"{}"));
    site.pgkeep(["verify", &id, "--repair"]).any_stdout().stderr_has("repaired").run();
    assert_eq!(state(&site, &id)["r2"].0, good["r2"].0);
    site.pgkeep(["verify", &id, "--level", "content"]).any_stdout().run();
}
