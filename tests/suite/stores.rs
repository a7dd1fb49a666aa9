//! A store that fails does not fail the backup: the others go on, the failed one is filled afterwards, or named.

use crate::support::rule::Action;
use crate::support::tools::{binary, files_under, free_port};
use crate::support::{Manners, Rule, Site};

fn assert_degraded(site: &Site, id: &str, missing: &str, good: &[&str]) {
    let row = site.row(id);
    assert_eq!(row["status"], "degraded", "{row:#}");
    assert!(row[format!("{missing}_path")].is_null(), "{row:#}");
    site.assert_copies(id, good);
    let copies = site.copies(id);
    assert!(copies[missing]["error"].is_string(), "{:#}", copies[missing]);
    assert!(copies[missing]["verified_at"].is_null(), "{:#}", copies[missing]);
    for store in good {
        assert!(copies[*store]["verified_at"].is_string(), "{:#}", copies[*store]);
    }
    site.assert_no_secret();
}

#[test]
fn a_store_that_is_not_there() {
    let mut site = Site::new();
    site.set_endpoint("b2", &format!("127.0.0.1:{}", free_port()));
    let id = site
        .pgkeep(["backup", "full"])
        .code(3)
        .any_stdout()
        .stderr_has("b2")
        .stderr_has("refused")
        .run()
        .id();
    assert_degraded(&site, &id, "b2", &["local", "r2"]);
}

#[test]
fn json_tells_of_a_store_that_is_not_there() {
    let mut site = Site::new();
    site.set_endpoint("b2", &format!("127.0.0.1:{}", free_port()));
    let document = site.pgkeep(["--json", "backup", "full"]).code(3).any_stdout().any_stderr().run().json();
    assert_eq!(document["status"], "degraded");
    let copies = document["copies"].as_array().unwrap();
    let b2 = copies.iter().find(|copy| copy["store"] == "b2").unwrap();
    assert!(b2["error"].as_str().unwrap().contains("refused"), "{b2:#}");
}

#[test]
fn a_wrong_secret() {
    let mut site = Site::new();
    site.config.store("r2").insert("secret_access_key".to_owned(), "not/the+secret".into());
    let call = site.pgkeep(["backup", "full"]).secrets(&["not/the+secret".to_owned()]);
    let id = call.code(3).any_stdout().stderr_has("r2").stderr_has("SignatureDoesNotMatch").run().id();
    assert_degraded(&site, &id, "r2", &["local", "b2"]);
}

#[test]
fn a_bucket_that_does_not_exist() {
    let mut site = Site::new();
    site.config.store("r2").insert("bucket".to_owned(), "nosuchbucket".into());
    let call = site.pgkeep(["backup", "full"]);
    let id = call.code(3).any_stdout().stderr_has("r2").stderr_has("NoSuchBucket").run().id();
    assert_degraded(&site, &id, "r2", &["local", "b2"]);
}

#[test]
fn all_stores_gone_is_a_failure() {
    let mut site = Site::new();
    site.set_endpoint("r2", &format!("127.0.0.1:{}", free_port()));
    site.set_endpoint("b2", &format!("127.0.0.1:{}", free_port()));
    std::fs::write(site.local(), "a file in the folder's place").unwrap();
    let call = site.pgkeep(["backup", "full"]);
    call.code(1).stderr_has("local").stderr_has("r2").stderr_has("b2").run();
    assert_eq!(site.rows()[0]["status"], "failed");
}

/// Down for a whole part of the upload and all its tries, then well again: it is filled from a whole copy.
#[test]
fn a_store_that_fails_midway_and_recovers_is_filled() {
    let mut site = Site::of_parts();
    let fault = site.fault("r2", Manners::Plain);
    // A refusal is never tried again, so one of them ends the first upload.
    fault.rule(Rule::on("PUT", "partNumber=2").times(1).refuse(403, "AccessDenied"));
    let id = site.pgkeep(["backup", "full"]).any_stdout().any_stderr().run().id();
    assert_eq!(site.row(&id)["status"], "verified");
    site.assert_copies(&id, &["local", "r2", "b2"]);
    assert_eq!(fault.count("POST", "uploads"), 2);
    site.assert_no_uploads();
}

#[test]
fn the_local_store_is_filled_from_a_bucket() {
    let mut site = Site::of_parts();
    // No local store at first: its parent appears when the upload to the buckets is under way.
    let fault = site.fault("r2", Manners::Plain);
    fault.rule(Rule::on("PUT", "partNumber=1").times(1).refuse(403, "AccessDenied"));
    site.config.keep_stores(&["r2", "b2"]);
    let id = site.pgkeep(["backup", "full"]).any_stdout().any_stderr().run().id();
    assert_eq!(site.row(&id)["status"], "verified");
    site.assert_copies(&id, &["r2", "b2"]);
    assert_eq!(files_under(&site.local()).len(), 0);
}

/// It fails again when it is filled: then it is missing, and said to be.
#[test]
fn a_store_that_fails_midway_and_stays_away() {
    let mut site = Site::of_parts();
    let fault = site.fault("b2", Manners::Plain);
    fault.rule(Rule::on("PUT", "partNumber=2").refuse(403, "AccessDenied"));
    let id = site
        .pgkeep(["backup", "full"])
        .code(3)
        .any_stdout()
        .stderr_has("b2")
        .stderr_has("AccessDenied")
        .run()
        .id();
    assert_degraded(&site, &id, "b2", &["local", "r2"]);
    site.assert_no_uploads();
    assert_eq!(site.b2.keys(), Vec::<String>::new());
}

/// A store that takes no byte is dropped after `timeouts.stall`, and does not hold the others up for good.
#[test]
fn a_store_that_hangs_is_dropped() {
    let mut site = Site::of_parts();
    site.config.set("timeouts.stall", "2s");
    site.config.set("timeouts.request", "3s");
    let fault = site.fault("b2", Manners::Plain);
    fault.rule(Rule::on("PUT", "partNumber").does(Action::Hang));
    let id = site.pgkeep(["backup", "full"]).code(3).any_stdout().stderr_has("b2").run().id();
    assert_degraded(&site, &id, "b2", &["local", "r2"]);
}

/// A bit that flips on the way back is found when the copies are read after the backup.
#[test]
fn a_copy_that_reads_back_wrong_is_not_verified() {
    let mut site = Site::new();
    let fault = site.fault("r2", Manners::Plain);
    fault.rule(Rule::on("GET", ".pgk").does(Action::FlipBit(2000)));
    let id = site.pgkeep(["backup", "full"]).code(3).any_stdout().stderr_has("r2").run().id();
    let row = site.row(&id);
    assert_eq!(row["status"], "degraded");
    assert!(site.copies(&id)["r2"]["verified_at"].is_null());
}

/// An upload of a run that is on record as dead is swept; those of others, and of runs unknown here, are left alone.
#[test]
fn stale_uploads_are_swept_and_those_of_others_are_not() {
    let site = Site::new();
    site.backup();
    let dead = format!("full-{}-20260101T000000Z-0000", site.database);
    let unknown = format!("full-{}-20260101T000000Z-0001", site.database);
    let insert = format!(
        "INSERT INTO pgkeep.backup (id, backup_type, source, database, filename, status, created_at, heartbeat_at) \
         VALUES ('{dead}', 'full', 'db1', '{}', '{dead}.dump.gz.pgk', 'in_progress', now() - interval '1 day', \
         now() - interval '1 day')",
        site.database
    );
    site.cluster.execute(&site.catalog, &insert);
    let key = |id: &str| format!("pg/db1/{}/full/2026/01/{id}.dump.gz.pgk", site.database);
    let mut kept = vec![site.r2.begin_upload("somebody/else"), site.r2.begin_upload(&key(&unknown))];
    site.r2.begin_upload(&key(&dead));
    // Killed while it was joined out of segments.
    site.r2.begin_upload(&format!("{}.segment-2", key(&dead)));
    for id in [&dead, &unknown] {
        site.r2.put(&key(id), b"a part");
        site.r2.put(&format!("{}.segment-2", key(id)), b"another");
    }
    site.pgkeep(["backup", "full"]).any_stdout().any_stderr().run();
    let mut left: Vec<_> = site.r2.uploads().into_iter().map(|upload| upload.upload_id).collect();
    left.sort();
    kept.sort();
    assert_eq!(left, kept);
    let keys = site.r2.keys();
    assert!(!keys.iter().any(|found| found.contains(&dead)), "{keys:?}");
    assert_eq!(keys.iter().filter(|found| found.contains(&unknown)).count(), 2, "{keys:?}");
    assert_eq!(site.row(&dead)["status"], "failed");
}

/// A store that went away in the middle, while the others took the backup: what it still holds of it goes with the
/// next run, and what other stores hold of the same backup stays.
#[test]
fn what_is_left_of_a_copy_that_was_never_whole_is_removed() {
    let mut site = Site::new();
    let gone = crate::support::tools::free_port();
    let address = site.config.store("b2")["endpoint"].clone();
    site.set_endpoint("b2", &format!("127.0.0.1:{gone}"));
    let id = site.pgkeep(["backup", "full"]).code(3).any_stdout().any_stderr().run().id();
    assert_degraded(&site, &id, "b2", &["local", "r2"]);
    site.config.store("b2").insert("endpoint".to_owned(), address);
    let row = site.row(&id);
    let key = row["r2_path"].as_str().unwrap();
    for bucket in [&site.b2, &site.r2] {
        bucket.begin_upload(key);
        bucket.put(&format!("{key}.segment-2"), b"another");
    }
    site.b2.put(key, b"a part");
    site.backup();
    assert!(!site.b2.keys().iter().any(|found| found.contains(&id)), "{:?}", site.b2.keys());
    assert!(site.b2.uploads().is_empty());
    // That copy is whole; nobody said that something of it was left.
    assert_eq!(site.r2.keys().iter().filter(|found| found.contains(&id)).count(), 3);
    site.assert_copies(&id, &["local", "r2"]);
}

/// The manifest is what makes a copy count, so it comes last; and the artifact is complete before it.
#[test]
fn the_manifest_is_written_last() {
    let mut site = Site::new();
    let fault = site.fault("r2", Manners::Plain);
    site.backup();
    let log = fault.requests();
    let at = |wanted: &dyn Fn(&crate::support::http::Request) -> bool| log.iter().position(wanted);
    let manifest = at(&|request| request.method == "PUT" && request.path().ends_with(".json")).unwrap();
    let completed = at(&|request| {
        request.path().ends_with(".pgk")
            && (request.method == "POST" && request.query().contains("uploadId=")
                || request.method == "PUT" && request.query().is_empty())
    });
    assert!(completed.unwrap() < manifest, "{log:#?}");
}

/// A disk that is full half-way: the local copy is dropped and leaves nothing, the others are whole.
#[test]
fn a_full_disk_is_a_store_that_fails() {
    let site = Site::of_parts();
    site.pgkeep(["list"]).any_stdout().any_stderr().run();
    std::fs::create_dir(site.local()).unwrap();
    // A mount of 8 MB that only this call sees, also where the tests are not root.
    let script = "mount -t tmpfs -o size=8m,mode=700 tmpfs \"$FOLDER\" || exit; \"$@\"; code=$?; \
        find \"$FOLDER\" -type f >\"$LISTING\"; exit $code";
    let words = ["--mount", "--map-root-user", "/bin/sh", "-c", script, "sh"];
    let call = site.bare().program("/usr/bin/unshare").args(words).args([binary()]);
    let call = call.args(["--config".into(), site.path("config.toml")]).args(["backup", "full"]);
    let call = call.env("FOLDER", site.local()).env("LISTING", site.path("listing"));
    let id = call.code(3).any_stdout().stderr_has("local").stderr_has("No space left").run().id();
    assert_degraded(&site, &id, "local", &["r2", "b2"]);
    let listing = std::fs::read_to_string(site.path("listing")).unwrap();
    assert_eq!(listing, "", "something was left on the full disk");
}
