//! What a run has just made and does not want: it goes for good, in little time, and after an interrupt too.

use super::*;

const KEY: &str = "some/prefix/source/base/one.pgk";
const MANIFEST: &str = "some/prefix/source/base/one.pgk.json";

/// A bucket that keeps versions, with a copy in it.
fn with_copy(interrupt: &Interrupt) -> (S3Store, Bucket, FaultServer) {
    let (store, bucket, fault) = s3_of(b2(), Manners::B2, 10_000, interrupt);
    bucket.set_versions("Enabled");
    bucket.put(KEY, b"artifact");
    bucket.put(MANIFEST, b"{}");
    (store, bucket, fault)
}

#[test]
fn nothing_stays_hidden_and_an_interrupt_does_not_matter() {
    let interrupt = Interrupt::new();
    let (store, bucket, fault) = with_copy(&interrupt);
    interrupt.raise(15);
    // The interrupt is older than what any other request is given time for.
    let busy = Action::Delay(Duration::from_secs(3));
    fault.rule(Rule::on("GET", "versions").times(1).does(busy));
    assert_eq!(store.rollback(&[MANIFEST, KEY]).unwrap(), Removal::Gone);
    assert_eq!(bucket.versions(KEY), [""; 0]);
    let removed = fault.requests().into_iter().filter(|request| request.method == "DELETE");
    let removed: Vec<bool> = removed.map(|request| request.path().ends_with(".json")).collect();
    assert_eq!(removed, [true, false], "what makes it count goes first");
    // Of what is not there nothing is left either.
    assert_eq!(store.rollback(&[MANIFEST, KEY]).unwrap(), Removal::Gone);
    assert_eq!(bucket.versions(KEY), [""; 0]);
}

#[test]
fn a_server_that_hangs_is_given_up_soon() {
    let interrupt = Interrupt::new();
    let (bucket, fault) = (b2().bucket(), FaultServer::start(b2(), Manners::B2));
    let usual = options(&fault.address, &bucket.name, &b2().credentials);
    let patient = Duration::from_mins(10);
    let options = S3Options { stall_timeout: patient, request_timeout: patient, ..usual };
    let store = S3Store::new(&options, interrupt.clone()).unwrap();
    bucket.put(KEY, b"artifact");
    fault.rule(Rule::on("", "one.pgk").does(Action::Hang));
    let start = Instant::now();
    failed(store.rollback(&[MANIFEST, KEY]));
    assert!(start.elapsed() < Duration::from_mins(2), "{:?}", start.elapsed());
    interrupt.raise(15);
    failed(store.rollback(&[MANIFEST, KEY]));
    assert!(start.elapsed() < Duration::from_mins(2), "{:?}", start.elapsed());
    assert_eq!(bucket.keys(), [KEY]);
}

/// Without the right to versions it is taken out of sight at least, and only what is there.
#[test]
fn what_can_not_go_for_good_is_hidden() {
    for (method, part) in [("GET", "versions"), ("DELETE", "versionId")] {
        let (store, bucket, fault) = with_copy(&Interrupt::new());
        bucket.put(KEY, b"artifact again");
        fault.rule(Rule::on(method, part).refuse(403, "AccessDenied"));
        for _ in 0..2 {
            assert_eq!(store.rollback(&[MANIFEST, KEY]).unwrap(), Removal::Gone);
            assert_eq!(bucket.keys(), [""; 0], "{method}");
            assert_eq!(bucket.versions(KEY).len(), 5, "{method}: three versions and two marks");
        }
        fault.heal();
        assert_eq!(store.delete_versions(&[MANIFEST, KEY]).unwrap(), Removal::Gone);
        assert_eq!(bucket.versions(KEY), [""; 0]);
    }
    // Nor is what a lock holds removed, or hidden.
    let (bucket, fault) = (b2().locking_bucket(), FaultServer::start(b2(), Manners::B2));
    let store = S3Store::new(&options(&fault.address, &bucket.name, &b2().credentials), Interrupt::new());
    bucket.put(KEY, b"artifact");
    bucket.hold(KEY, "ON");
    assert!(matches!(store.unwrap().rollback(&[MANIFEST, KEY]).unwrap(), Removal::Held(_)));
    assert_eq!((bucket.keys(), bucket.versions(KEY).len()), (vec![KEY.to_owned()], 1));
    bucket.hold(KEY, "OFF");
}

/// Segments of an artifact that came to nothing do not stay hidden.
#[test]
fn segments_that_can_not_be_joined_go_with_every_version() {
    let (store, bucket, fault) = s3_of(b2(), Manners::B2, 2, &Interrupt::new());
    bucket.set_versions("Enabled");
    fault.rule(Rule::on_copy().refuse(403, "AccessDenied"));
    failed(publish(&store, KEY, &content(2 * PART + 1)));
    assert_eq!((bucket.versions(""), bucket.uploads().len()), (vec![], 0));
}
