//! What a run that was killed left of an artifact in segments: found, removed, and never taken for a
//! whole copy, nor a whole copy for it.

use super::*;

fn in_twos() -> (S3Store, Bucket, FaultServer) {
    s3_of(r2(), Manners::r2(), 2, &Interrupt::new())
}

fn object(path: &str, key: &str) -> Stale {
    Stale { path: path.to_owned(), handle: Handle::Object(key.to_owned()), begun_at: None }
}

/// What is unpublished; each of it was begun just now.
fn left_in(store: &S3Store, prefix: &str) -> Vec<Stale> {
    let mut found = store.stale(prefix).unwrap();
    for stale in &mut found {
        assert_recent(stale.begun_at.take());
    }
    found
}

fn discard_all(store: &S3Store, prefix: &str) {
    for stale in store.stale(prefix).unwrap() {
        store.delete_stale_upload(&stale).unwrap();
        store.delete_stale_upload(&stale).unwrap();
    }
    assert_eq!(store.stale(prefix).unwrap(), []);
}

#[test]
fn uploads_of_a_run_killed_while_it_sent_are_removed() {
    let (store, bucket, _fault) = in_twos();
    let mut upload = store.begin("a/key", PART as u64).unwrap();
    send(&mut upload, &content(4 * PART)).unwrap();
    std::mem::forget(upload);
    assert_eq!(store.stale("a/key.").unwrap(), []);
    let found = store.stale("a/").unwrap();
    let paths: Vec<&str> = found.iter().map(|stale| &*stale.path).collect();
    assert_eq!(paths, ["a/key", "a/key"]);
    let is_of_segment =
        |stale: &Stale| matches!(&stale.handle, Handle::Upload { key, .. } if key == "a/key.segment-2");
    assert_eq!(found.iter().filter(|stale| is_of_segment(stale)).count(), 1);
    discard_all(&store, "a/");
    assert_eq!(bucket.uploads().len(), 0);
}

/// Killed while it was joined, and the sweep killed after each of its steps.
#[test]
fn objects_of_a_run_killed_while_it_joined_are_removed_in_an_order_that_leaves_a_mark() {
    let (store, bucket, _fault) = in_twos();
    for key in ["a/key", "a/key.segment-2", "a/key.segment-3"] {
        bucket.put(key, b"a part of it");
    }
    bucket.begin_upload("a/key");
    for left in (1..=4).rev() {
        let found = left_in(&store, "a/k");
        assert_eq!(found.len(), left, "{found:?}");
        assert!(found.iter().all(|stale| stale.path == "a/key"));
        if left == 3 {
            let keys = ["a/key", "a/key.segment-2", "a/key.segment-3"];
            assert_eq!(found, keys.map(|key| object("a/key", key)));
        }
        store.delete_stale_upload(&found[0]).unwrap();
    }
    assert_eq!(store.stale("a/k").unwrap(), []);
    assert_eq!(bucket.keys(), Vec::<String>::new());
    assert_eq!(bucket.uploads().len(), 0);
}

/// Every point at which a run can be killed, told by its first so many requests.
#[test]
fn a_run_killed_anywhere_leaves_nothing_that_is_not_found() {
    for nth in 6.. {
        assert!(nth < 40, "it never succeeds");
        let (store, bucket, fault) = in_twos();
        // From the n-th request on the server is gone for this run, its clean-up included.
        fault.rule(Rule::on("", "").after(nth).refuse(403, "AccessDenied"));
        let outcome = publish(&store, "key", &content(2 * PART + 1));
        let count = fault.requests().len();
        fault.heal();
        // Whole, and no segment beside it that would show that its manifest was never written.
        let is_whole = outcome.is_ok() && bucket.keys() == ["key"];
        discard_all(&store, "key");
        let is_done = outcome.is_ok() && count <= nth;
        assert!(is_whole || !is_done);
        let expected: &[&str] = if is_whole { &["key"] } else { &[] };
        assert_eq!(bucket.keys(), expected, "request {nth}");
        assert_eq!(bucket.uploads().len(), 0, "request {nth}");
        if is_done {
            break;
        }
    }
}

#[test]
fn a_whole_copy_is_never_touched() {
    let (store, bucket, _fault) = in_twos();
    for key in ["a/key", "a/key.segment-2", "a/other", "a/other.json"] {
        bucket.put(key, b"bytes");
    }
    let unfinished = object("a/key", "a/key");
    assert_eq!(left_in(&store, "a/"), [unfinished.clone(), object("a/key", "a/key.segment-2")]);
    // It became whole after it was listed.
    bucket.put("a/key.json", b"{}");
    store.delete_stale_upload(&unfinished).unwrap();
    assert_eq!(bucket.keys().len(), 5);
    assert_eq!(left_in(&store, "a/"), [object("a/key", "a/key.segment-2")]);
    discard_all(&store, "a/");
    assert_eq!(bucket.keys(), ["a/key", "a/key.json", "a/other", "a/other.json"]);
}

#[test]
fn only_what_belongs_to_the_path_is_discarded() {
    let (store, bucket, _fault) = in_twos();
    bucket.put("a/key", b"bytes");
    bucket.put("a/key.json", b"{}");
    let id = bucket.begin_upload("a/key");
    let wrong = [
        object("a/other", "a/key"),
        object("a/key", "a/key.json"),
        object("a/key", "a/key.segment-1"),
        Stale { path: "a/key".to_owned(), handle: Handle::File("a/key".to_owned()), begun_at: None },
        Stale {
            path: "a/other".to_owned(),
            handle: Handle::Upload { key: "a/key".to_owned(), id },
            begun_at: None,
        },
    ];
    for stale in wrong {
        failed(store.delete_stale_upload(&stale));
    }
    let disk = TempDir::new().unwrap();
    let local = LocalStore::new("disk".to_owned(), disk.path().to_owned());
    failed(local.delete_stale_upload(&object("a/key", "a/key")));
    assert_eq!(bucket.keys(), ["a/key", "a/key.json"]);
    assert_eq!(bucket.uploads().len(), 1);
}
