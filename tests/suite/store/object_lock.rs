//! S3 Object Lock: what is sent with what is written, what a bucket without it says, and what a lock holds.

use super::scripted::{Scripted, answer};
use super::*;

const KEY: &str = "some/prefix/source/base/one.pgk";

fn locking(bucket: &Bucket, fault: &FaultServer, mode: LockMode, most_parts: u32) -> S3Store {
    let object_lock = Some(ObjectLock { mode, days: 3 });
    let usual = options(&fault.address, &bucket.name, &bucket.server.credentials);
    S3Store::new(&S3Options { object_lock, most_parts, ..usual }, Interrupt::new()).unwrap()
}

fn three_days_on(until: &str) {
    let until: jiff::Timestamp = until.parse().unwrap();
    let days = jiff::SignedDuration::from_hours(72);
    assert_recent(until.checked_sub(days).ok());
}

#[test]
fn artifacts_and_manifests_are_locked_and_probes_are_not() {
    for (mode, word) in [(LockMode::Governance, "GOVERNANCE"), (LockMode::Compliance, "COMPLIANCE")] {
        let (bucket, fault) = (b2().locking_bucket(), FaultServer::start(b2(), Manners::B2));
        let store = locking(&bucket, &fault, mode, 10_000);
        let stored = publish(&store, "artifact", &content(PART + 1)).unwrap();
        store.put_small("manifest", b"{}").unwrap();
        store.replace_small("manifest", b"{ }").unwrap();
        let empty = publish(&store, "empty", b"").unwrap();
        for key in ["artifact", "manifest", "empty"] {
            let (shown, until) = bucket.lock(key).unwrap();
            assert_eq!(shown, word, "{key}");
            three_days_on(&until);
        }
        let until = bucket.lock("artifact").unwrap().1;
        assert_eq!(stored.locked_until, Some(until.parse().unwrap()));
        assert_eq!(empty.locked_until, Some(bucket.lock("empty").unwrap().1.parse().unwrap()));
        store.put_probe("probe", b"probe").unwrap();
        assert_eq!(bucket.lock("probe"), None);
        assert_eq!(store.delete("probe").unwrap(), Removal::Gone);
        for request in fault.requests() {
            let is_locking = header(&request.headers, "x-amz-object-lock-mode").is_some();
            let is_put = request.method == "PUT" && request.query().is_empty();
            // Amazon wants the MD5 of what is written with a lock.
            assert!(!is_locking || !is_put || header(&request.headers, "content-md5").is_some());
        }
    }
}

/// The object that is joined is locked; its further segments, which go again at once, are not.
#[test]
fn an_artifact_of_several_uploads_is_locked_when_it_is_joined() {
    let (bucket, fault) = (b2().locking_bucket(), FaultServer::start(b2(), Manners::Plain));
    let store = locking(&bucket, &fault, LockMode::Governance, 2);
    let bytes = content(3 * PART + 5);
    let stored = publish(&store, KEY, &bytes).unwrap();
    let until = bucket.lock(KEY).unwrap().1;
    assert_eq!(stored.locked_until, Some(until.parse().unwrap()));
    assert_equal(&bucket.get(KEY), &bytes);
    assert_eq!(bucket.keys(), [KEY]);
    // The first segment was begun as the artifact, and with its lock: it stays, hidden, and goes with the artifact.
    assert_eq!(bucket.versions(KEY).len(), 2);
    let of_segment = |request: &&Request| request.method == "POST" && request.path().contains("segment-2");
    let locked = |request: &Request| header(&request.headers, "x-amz-object-lock-mode").is_some();
    assert!(fault.requests().iter().filter(of_segment).all(|request| !locked(request)));
}

#[test]
fn what_a_lock_holds_stays_whole_and_goes_when_the_lock_is_gone() {
    let (bucket, fault) = (b2().locking_bucket(), FaultServer::start(b2(), Manners::B2));
    let usual = options(&fault.address, &bucket.name, &b2().credentials);
    let unlocked = S3Store::new(&usual, Interrupt::new()).unwrap();
    unlocked.put_small(KEY, b"an older one").unwrap();
    let store = locking(&bucket, &fault, LockMode::Governance, 10_000);
    publish(&store, KEY, b"artifact").unwrap();
    bucket.delete(KEY);
    let before = bucket.versions(KEY);
    assert_eq!(before.len(), 3);
    let Removal::Held(hold) = store.delete(KEY).unwrap() else { panic!("a lock holds it") };
    let until = hold.until.unwrap();
    three_days_on(&until.to_string());
    assert_eq!(hold.to_string(), format!("held until {until} by object lock (governance)"));
    assert_eq!(bucket.versions(KEY), before, "nothing of it is touched");
    assert_eq!(fault.count("DELETE", "versionId"), 0);
    bucket.force_version(KEY, &before[1]);
    assert_eq!(store.delete(KEY).unwrap(), Removal::Gone);
    assert_eq!(bucket.versions(KEY), [""; 0]);
}

/// A repair of what is locked: the damaged version can't go, and the new one is locked too.
#[test]
fn a_locked_object_is_replaced_and_its_damaged_version_stays() {
    let (bucket, fault) = (b2().locking_bucket(), FaultServer::start(b2(), Manners::B2));
    let store = locking(&bucket, &fault, LockMode::Governance, 10_000);
    publish(&store, KEY, b"damaged").unwrap();
    let damaged = bucket.versions(KEY).remove(0);
    let stored = replace(&store, KEY, b"whole").unwrap();
    assert_eq!(bucket.get(KEY), b"whole");
    assert_eq!(stored.locked_until, Some(bucket.lock(KEY).unwrap().1.parse().unwrap()));
    store.replace_small(KEY, b"whole too").unwrap();
    assert_eq!(bucket.get(KEY), b"whole too");
    let kept = bucket.versions(KEY);
    assert!(kept.len() == 3 && kept.contains(&damaged), "{kept:?}");
    assert_eq!(fault.count("DELETE", "versionId"), 0);
}

#[test]
fn a_lock_whose_time_is_over_holds_nothing() {
    let (bucket, fault) = (b2().locking_bucket(), FaultServer::start(b2(), Manners::B2));
    let store = locking(&bucket, &fault, LockMode::Compliance, 10_000);
    let until = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(4);
    let until = until.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let lock =
        [("x-amz-object-lock-mode", "COMPLIANCE"), ("x-amz-object-lock-retain-until-date", until.as_str())];
    let answer = bucket.send("PUT", "/key", &lock, b"bytes".to_vec());
    assert_eq!(answer.status, 200, "{answer:?}");
    wait_until("the lock is over", || store.delete("key").unwrap() == Removal::Gone);
    assert!(jiff::Timestamp::now() >= until.parse().unwrap());
    assert_eq!(bucket.versions("key"), [""; 0]);
}

#[test]
fn a_legal_hold_has_no_end() {
    let (bucket, fault) = (b2().locking_bucket(), FaultServer::start(b2(), Manners::B2));
    let store = locking(&bucket, &fault, LockMode::Governance, 10_000);
    store.put_probe(KEY, b"bytes").unwrap();
    bucket.hold(KEY, "ON");
    let hold = Hold { until: None, why: "a legal hold".to_owned() };
    assert_eq!(store.delete(KEY).unwrap(), Removal::Held(hold));
    assert_eq!(bucket.get(KEY), b"bytes");
    bucket.hold(KEY, "OFF");
    assert_eq!(store.delete(KEY).unwrap(), Removal::Gone);
}

/// The key may not see locks: the refusal of the removal tells of one, or that a right is missing.
#[test]
fn a_lock_that_only_the_refusal_tells_of_holds() {
    let list =
        "<ListVersionsResult><Version><Key>key</Key><VersionId>v1</VersionId></Version></ListVersionsResult>";
    let refusals = [
        (403, "AccessDenied", "Access Denied because object protected by object lock.", true),
        (400, "InvalidRequest", "Object is WORM protected and cannot be overwritten", true),
        (403, "AccessDenied", "Access Denied.", false),
        (500, "InternalError", "the lock server is locked up", false),
    ];
    for (status, code, message, is_held) in refusals {
        let server = Scripted::start(move |request, _| match request.method.as_str() {
            "GET" => answer(200, list, &[]),
            "HEAD" => answer(403, "", &[]),
            _ => answer(status, &crate::support::http::error_document(code, message), &[]),
        });
        match server.store().delete("key") {
            Ok(Removal::Held(hold)) => assert!(is_held && hold.why == "a lock", "{message}: {hold}"),
            Ok(Removal::Gone) => panic!("{message}: it is not gone"),
            Err(error) => assert!(!is_held && error.to_string().contains(code), "{message}: {error}"),
        }
    }
}

/// The server's clock counts, not this host's.
#[test]
fn a_lock_ends_by_the_clock_of_the_server() {
    let list =
        "<ListVersionsResult><Version><Key>key</Key><VersionId>v1</VersionId></Version></ListVersionsResult>";
    let dates = [("Wed, 01 Jan 2031 00:00:00 GMT", false), ("Tue, 01 Jan 2019 00:00:00 GMT", true)];
    for (date, is_held) in dates {
        let is_gone = Mutex::new(false);
        let server = Scripted::start(move |request, _| {
            let mut is_gone = is_gone.lock().unwrap();
            *is_gone |= request.method == "DELETE";
            match request.method.as_str() {
                "GET" => answer(200, if *is_gone { "<ListVersionsResult/>" } else { list }, &[]),
                "DELETE" => answer(204, "", &[]),
                _ => {
                    let until = ("x-amz-object-lock-retain-until-date", "2030-01-01T00:00:00.000Z");
                    answer(200, "x", &[("Date", date), until, ("x-amz-object-lock-mode", "COMPLIANCE")])
                }
            }
        });
        let removal = server.store().delete("key").unwrap();
        let until = Some("2030-01-01T00:00:00Z".parse().unwrap());
        let hold = Hold { until, why: "object lock (compliance)".to_owned() };
        assert_eq!(removal, if is_held { Removal::Held(hold) } else { Removal::Gone }, "{date}");
    }
}

/// Every way of writing says what the configuration asks for that the bucket has not.
#[test]
fn a_bucket_without_object_lock_refuses_in_words() {
    for (server, manners, said) in
        [(b2(), Manners::B2, "InvalidRequest (400)"), (r2(), Manners::r2(), "NotImplemented (501)")]
    {
        let (bucket, fault) = (server.bucket(), FaultServer::start(server, manners));
        let store = locking(&bucket, &fault, LockMode::Governance, 10_000);
        let errors = [
            failed(publish(&store, KEY, b"artifact")),
            failed(store.put_small(KEY, b"{}")),
            failed(store.replace_small(KEY, b"{}")),
        ];
        for error in errors {
            let text = error.to_string();
            assert!(text.contains(said) && text.contains("take object_lock out of this store"), "{text}");
        }
        store.put_probe(KEY, b"probe").unwrap();
        assert_eq!(bucket.keys(), [KEY]);
        assert_eq!(bucket.uploads().len(), 0);
    }
    let (bucket, fault) = (b2().locking_bucket(), FaultServer::start(b2(), Manners::B2));
    let store = locking(&bucket, &fault, LockMode::Governance, 10_000);
    fault.rule(Rule::on("PUT", "one.pgk").refuse(403, "AccessDenied"));
    let text = failed(store.put_small(KEY, b"{}")).to_string();
    assert!(text.contains("s3:PutObjectRetention") && text.contains("writeFileRetentions"), "{text}");
}

/// What goes together stays together: a lock on the last keeps the first, and the other way round.
#[test]
fn a_lock_on_one_of_several_keeps_all_of_them() {
    let (manifest, free) = (format!("{KEY}.json"), "some/prefix/free");
    let in_a_bucket = || {
        let (bucket, fault) = (b2().locking_bucket(), FaultServer::start(b2(), Manners::B2));
        (locking(&bucket, &fault, LockMode::Governance, 10_000), bucket, fault)
    };
    for held in [KEY, &manifest] {
        let (store, bucket, fault) = in_a_bucket();
        for key in [&manifest, KEY, free] {
            store.put_probe(key, b"bytes").unwrap();
        }
        bucket.hold(held, "ON");
        let hold = Hold { until: None, why: "a legal hold".to_owned() };
        assert_eq!(store.delete_versions(&[&manifest, KEY, free]).unwrap(), Removal::Held(hold), "{held}");
        assert_eq!(fault.count("DELETE", ""), 0, "{held}");
        bucket.hold(held, "OFF");
        assert_eq!(store.delete_versions(&[&manifest, KEY, free]).unwrap(), Removal::Gone);
        assert_eq!(bucket.versions("some/"), [""; 0]);
    }
    let (store, bucket, _fault) = in_a_bucket();
    // Of two locks the one that holds longer is told.
    store.put_small(&manifest, b"{}").unwrap();
    publish(&store, KEY, b"artifact").unwrap();
    bucket.hold(&manifest, "ON");
    let Removal::Held(hold) = store.delete_versions(&[&manifest, KEY]).unwrap() else {
        panic!("two locks hold")
    };
    assert_eq!(hold.until, None);
    bucket.hold(&manifest, "OFF");
}
