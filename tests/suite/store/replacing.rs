//! One object in the place of another: what is there stays until the new one is whole, and no old version of
//! it stays hidden.

use super::*;

const KEY: &str = "some/prefix/source/base/one";

/// A bucket that keeps versions, as each of B2's does.
fn versioned() -> (S3Store, Bucket, FaultServer) {
    let (store, bucket, fault) = s3(b2(), Manners::B2);
    bucket.set_versions("Enabled");
    (store, bucket, fault)
}

#[test]
fn the_old_object_stays_until_the_new_one_is_whole() {
    each_store(|fixture| {
        let store = &*fixture.store;
        let path = store.path_of("source/base/one");
        for (old, new) in [(PART + 7, 2 * PART + 5), (2 * PART, 3), (5, 0), (0, PART)] {
            let (old, new) = (content(old), content(new));
            store.put_small(&path, &old).unwrap();
            let mut upload = store.replace(&path, PART as u64).unwrap();
            send(&mut upload, &new).unwrap();
            assert_equal(&read(store, &path).unwrap(), &old);
            let open = store.stale(&store.path_of("source/")).unwrap();
            assert_eq!(open.iter().map(|stale| &stale.path).collect::<Vec<_>>(), [&path]);
            let stored = upload.publish().unwrap();
            assert_eq!(stored.size_bytes, new.len() as u64);
            assert_eq!(store.stat(&path).unwrap().unwrap().etag, stored.etag);
            assert_equal(&read(store, &path).unwrap(), &new);
            assert_eq!(store.stale(&store.path_of("source/")).unwrap(), []);
            assert_eq!(fixture.keys(), ["source/base/one"]);
        }
    });
}

#[test]
fn a_replacement_that_is_given_up_changes_nothing() {
    each_store(|fixture| {
        let store = &*fixture.store;
        let path = store.path_of("source/base/one");
        store.put_small(&path, b"old").unwrap();
        for way in ["abort", "drop"] {
            let mut upload = store.replace(&path, PART as u64).unwrap();
            send(&mut upload, &content(PART + 1)).unwrap();
            if way == "abort" {
                upload.abort().unwrap();
            } else {
                drop(upload);
            }
            assert_equal(&read(store, &path).unwrap(), b"old");
            assert_eq!(store.stale(&store.path_of("source/")).unwrap(), []);
        }
        store.replace_small(&path, b"another").unwrap();
        assert_eq!(store.get_small(&path, 100).unwrap().unwrap(), b"another");
    });
}

#[test]
fn what_is_missing_can_be_replaced_too() {
    each_store(|fixture| {
        let store = &*fixture.store;
        let path = store.path_of("source/base/one");
        replace(store, &path, b"artifact").unwrap();
        store.replace_small(&format!("{path}.json"), b"manifest").unwrap();
        assert_equal(&read(store, &path).unwrap(), b"artifact");
        assert_eq!(fixture.keys(), ["source/base/one", "source/base/one.json"]);
    });
}

#[test]
fn no_replaced_version_stays_hidden() {
    let (store, bucket, _fault) = versioned();
    bucket.put(KEY, b"damaged");
    let old = bucket.versions(KEY);
    replace(&store, KEY, &content(PART + 3)).unwrap();
    let new = bucket.versions(KEY);
    assert_eq!((old.len(), new.len()), (1, 1), "{old:?} {new:?}");
    assert_ne!(old, new);
    assert_equal(&bucket.get(KEY), &content(PART + 3));
    store.replace_small(KEY, b"smaller").unwrap();
    assert_eq!(bucket.versions(KEY).len(), 1);
    assert_eq!(bucket.get(KEY), b"smaller");
}

/// Only what was there when it was replaced goes: an older version is another's business.
#[test]
fn older_versions_are_left_alone() {
    let (store, bucket, _fault) = versioned();
    bucket.put(KEY, b"first");
    let first = bucket.versions(KEY).remove(0);
    bucket.put(KEY, b"damaged");
    store.replace_small(KEY, b"whole").unwrap();
    let left = bucket.versions(KEY);
    assert!(left.len() == 2 && left.contains(&first), "{left:?}");
    // Nothing is there to be replaced: a mark of a removal is no object.
    bucket.delete(KEY);
    let before = bucket.versions(KEY).len();
    store.replace_small(KEY, b"again").unwrap();
    assert_eq!(bucket.versions(KEY).len(), before + 1);
}

/// What was written before a bucket kept versions, or since it keeps none, has the id `null`.
#[test]
fn versions_called_null_go_only_where_they_are_hidden() {
    let (store, bucket, _fault) = plain_s3();
    bucket.put(KEY, b"from before");
    bucket.set_versions("Enabled");
    store.replace_small(KEY, b"second").unwrap();
    assert_eq!(bucket.get(KEY), b"second");
    let kept = bucket.versions(KEY);
    assert!(kept.len() == 1 && kept[0] != "null", "{kept:?}");
    bucket.set_versions("Suspended");
    for bytes in [&b"third"[..], b"fourth"] {
        store.replace_small(KEY, bytes).unwrap();
        assert_eq!(bucket.get(KEY), bytes);
        assert_eq!(bucket.versions(KEY), ["null"]);
    }
}

#[test]
fn a_version_that_can_t_be_removed_is_no_error() {
    let (store, bucket, fault) = versioned();
    bucket.put(KEY, b"damaged");
    fault.rule(Rule::on("DELETE", "versionId").refuse(403, "AccessDenied"));
    replace(&store, KEY, b"whole").unwrap();
    assert_eq!(bucket.get(KEY), b"whole");
    assert_eq!((bucket.versions(KEY).len(), fault.count("DELETE", "versionId")), (2, 1));
    fault.heal();
    fault.rule(Rule::on("HEAD", "versionId").refuse(403, "AccessDenied"));
    store.replace_small(KEY, b"whole too").unwrap();
    assert_eq!(bucket.get(KEY), b"whole too");
}

/// R2 gives ids of versions, and a delete by one would be a delete of the new object.
#[test]
fn a_store_that_only_names_versions_keeps_the_new_object() {
    let (store, bucket, fault) = s3(r2(), Manners::r2());
    bucket.put(KEY, b"damaged");
    replace(&store, KEY, &content(PART + 3)).unwrap();
    store.replace_small(KEY, b"whole").unwrap();
    assert_eq!(bucket.get(KEY), b"whole");
    assert!(fault.count("HEAD", "versionId") > 0);
    assert_eq!(fault.count("DELETE", ""), 0);
}

#[test]
fn a_replacement_takes_no_more_parts_than_one_upload() {
    let (store, bucket, fault) = s3_of(b2(), Manners::Plain, 3, &Interrupt::new());
    bucket.put(KEY, b"damaged");
    replace(&store, KEY, &content(3 * PART)).unwrap();
    assert_equal(&bucket.get(KEY), &content(3 * PART));
    let error = failed(replace(&store, KEY, &content(3 * PART + 1))).to_string();
    assert!(error.contains(KEY) && error.contains('3'), "{error}");
    assert_equal(&bucket.get(KEY), &content(3 * PART));
    assert_eq!((bucket.uploads().len(), bucket.keys().len()), (0, 1));
    assert_eq!(fault.count("POST", "segment"), 0);
}

#[test]
fn a_store_that_fails_on_the_way_keeps_the_old_object() {
    let (store, bucket, fault) = versioned();
    bucket.put(KEY, b"damaged");
    let before = bucket.versions(KEY);
    for rule in [
        Rule::on("PUT", "partNumber=2").refuse(403, "AccessDenied"),
        Rule::on("POST", "uploadId").refuse(403, "AccessDenied"),
        Rule::on("HEAD", "one").refuse(403, "AccessDenied"),
    ] {
        fault.rule(rule);
        failed(replace(&store, KEY, &content(PART + 1)));
        fault.heal();
        assert_eq!((bucket.get(KEY), bucket.versions(KEY)), (b"damaged".to_vec(), before.clone()));
        assert_eq!(bucket.uploads().len(), 0);
    }
}
