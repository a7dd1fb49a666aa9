//! What a run takes back of what it has published, and what it leaves alone of what others did.

use serde_json::json;

use crate::support::rule::Action;
use crate::support::{Bucket, FaultServer, Manners, Rule, Site};

/// A site whose bucket `b2` keeps versions, behind a fault server.
fn with_versions() -> (Site, FaultServer) {
    let mut site = Site::new();
    site.b2.set_versions("Enabled");
    let fault = site.fault("b2", Manners::B2);
    (site, fault)
}

/// A site whose bucket `b2` locks what is written to it, behind a fault server.
fn with_locks() -> (Site, Bucket, FaultServer) {
    let mut site = Site::new();
    let locking = site.b2.server.locking_bucket();
    let fault = site.fault("b2", Manners::B2);
    let lock = toml::Value::try_from(json!({ "mode": "governance", "days": 3 })).unwrap();
    let store = site.config.store("b2");
    store.insert("bucket".to_owned(), locking.name.clone().into());
    store.insert("object_lock".to_owned(), lock);
    (site, locking, fault)
}

/// The artifact stood in its place already: in a bucket with versions a plain delete would keep it, hidden, for ever.
#[test]
fn an_artifact_whose_manifest_is_refused_leaves_no_version() {
    let (site, fault) = with_versions();
    fault.rule(Rule::on("PUT", ".pgk.json").refuse(403, "AccessDenied"));
    let id = site.pgkeep(["backup", "full"]).code(3).any_stdout().stderr_has("AccessDenied").run().id();
    site.assert_copies(&id, &["local", "r2"]);
    assert!(fault.count("PUT", "partNumber") > 0, "an artifact was sent");
    assert_eq!(site.b2.versions(""), [""; 0]);
    // The manifest may have arrived, and its answer be lost for good.
    fault.heal();
    fault.rule(Rule::on("PUT", ".pgk.json").does(Action::LoseAnswer));
    site.pgkeep(["backup", "full"]).code(3).any_stdout().stderr_has("b2").run();
    assert_eq!(site.b2.versions(""), [""; 0]);
}

/// What a lock holds is not hidden: it stays to be seen, and is said.
#[test]
fn a_locked_artifact_whose_manifest_is_refused_stays_in_sight() {
    let (site, locking, fault) = with_locks();
    fault.rule(Rule::on("PUT", ".pgk.json").refuse(403, "AccessDenied"));
    let call = site.pgkeep(["backup", "full"]).code(3).any_stdout();
    let id = call.stderr_has("which does not count, stays: held until").run().id();
    site.assert_copies(&id, &["local", "r2"]);
    let keys = locking.keys();
    assert!(keys.len() == 1 && keys[0].ends_with(".pgk"), "{keys:?}");
    // Every try to fill the store writes it again, and no mark hides any of them.
    for version in locking.versions("") {
        locking.force_version(&keys[0], &version);
    }
    assert_eq!(locking.keys(), [""; 0]);
}

/// A copy that is read back damaged is made again, and its damaged version stays nowhere it need not.
#[test]
fn a_copy_that_was_damaged_on_its_way_leaves_no_version() {
    let (site, fault) = with_versions();
    fault.rule(Rule::on("GET", ".dump.gz.pgk").times(1).does(Action::FlipBit(100)));
    let id = site.pgkeep(["backup", "full"]).any_code().any_stdout().any_stderr().run().id();
    site.assert_copies(&id, &["local", "r2", "b2"]);
    assert_eq!(fault.count("POST", "uploads"), 2, "it was made again");
    assert_eq!(site.b2.versions("").len(), 2, "the artifact and its manifest");

    let (site, locking, fault) = with_locks();
    fault.rule(Rule::on("GET", ".dump.gz.pgk").times(1).does(Action::FlipBit(100)));
    let call = site.pgkeep(["backup", "full"]).any_code().any_stdout();
    let id = call.stderr_has("the damaged version of").run().id();
    assert_eq!(site.copies(&id)["b2"]["state"], "verified");
    let path = site.copies(&id)["b2"]["path"].as_str().unwrap().to_owned();
    assert_eq!(locking.keys(), [path.clone(), format!("{path}.json")]);
    // The first manifest was hidden, so that the damaged copy did not look whole meanwhile.
    assert!(fault.count("DELETE", ".pgk.json") > 0);
    fault.heal();
    site.pgkeep(["verify", &id, "--quiet"]).run();
}

/// A copy that a record calls usable has lost its manifest, and a segment of some upload lies beside it: a backup
/// that sweeps up after the same run in another store does not touch it.
#[test]
fn an_artifact_on_record_is_no_leftover_of_a_backup() {
    let mut site = Site::new();
    site.config.set("retention.after_backup", false);
    let fault = site.fault("b2", Manners::B2);
    fault.rule(Rule::on("POST", "uploads").refuse(403, "AccessDenied"));
    let id = site.pgkeep(["backup", "full"]).code(3).any_stdout().any_stderr().run().id();
    fault.heal();
    let path = site.row(&id)["r2_path"].as_str().unwrap().to_owned();
    let segment = format!("{path}.segment-2");
    site.r2.put(&segment, b"stray");
    site.r2.delete(&format!("{path}.json"));
    // What was never made has a manifest that was taken away again, and is hidden.
    site.b2.set_versions("Enabled");
    site.b2.put(&path, b"half");
    site.b2.put(&format!("{path}.json"), b"{}");
    site.b2.delete(&format!("{path}.json"));
    site.backup();
    let left = site.r2.keys();
    assert!(left.contains(&path) && left.contains(&segment), "{left:?}");
    assert_eq!(site.b2.versions(&path), [""; 0]);
    assert_eq!(site.copies(&id)["r2"]["state"], "verified");
}
