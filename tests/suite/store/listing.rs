//! What a store says it holds.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use super::*;

fn paths(store: &dyn Store, key: &str) -> Vec<String> {
    let root = store.path_of("");
    let listed = store.list(&store.path_of(key)).unwrap();
    listed.iter().map(|object| object.path.strip_prefix(&root).unwrap().to_owned()).collect()
}

#[test]
fn published_objects_are_listed_in_the_order_of_their_paths() {
    each_store(|fixture| {
        let store = &*fixture.store;
        let keys = ["a/b/2", "a/b/1.json", "a/b/1", "a/b c/%22 \u{fc}", "a-/x", "b", "a/bc"];
        let begun = std::time::SystemTime::now() - Duration::from_mins(1);
        for (size, key) in keys.iter().enumerate() {
            store.put_small(&store.path_of(key), &content(size)).unwrap();
        }
        // What is on its way, or was left by a run that died, is not there.
        let mut upload = store.begin(&store.path_of("a/b/0"), PART as u64).unwrap();
        send(&mut upload, &content(2 * PART)).unwrap();
        let mut sorted = keys.to_vec();
        sorted.sort_unstable();
        assert_eq!(paths(store, ""), sorted);
        assert_eq!(paths(store, "a/b/"), ["a/b/1", "a/b/1.json", "a/b/2"]);
        assert_eq!(paths(store, "a/b/1"), ["a/b/1", "a/b/1.json"]);
        assert_eq!(paths(store, "a/b"), ["a/b c/%22 \u{fc}", "a/b/1", "a/b/1.json", "a/b/2", "a/bc"]);
        for nothing in ["a/b/3", "nowhere/at/all", "nowhere/", "a/b/1/", "A"] {
            assert_eq!(paths(store, nothing), [""; 0], "{nothing}");
        }
        upload.abort().unwrap();
        for object in store.list(&store.path_of("")).unwrap() {
            let key = object.path.strip_prefix(&store.path_of("")).unwrap();
            assert_eq!(keys[usize::try_from(object.size_bytes).unwrap()], key);
            let modified_at = std::time::SystemTime::from(object.modified_at.unwrap());
            assert!(
                modified_at > begun && modified_at < std::time::SystemTime::now() + Duration::from_mins(1)
            );
        }
    });
}

#[test]
fn a_list_stays_in_the_store_s_own_folder() {
    let home = TempDir::new().unwrap();
    let (root, other) = (home.path().join("root"), home.path().join("other"));
    let store = LocalStore::new("disk".to_owned(), root.clone());
    let error = failed(store.list(&store.path_of(""))).to_string();
    assert!(error.contains(root.to_str().unwrap()), "{error}");
    std::fs::create_dir_all(&other).unwrap();
    std::fs::write(other.join("secret"), b"x").unwrap();
    store.put_small(&store.path_of("a/one"), b"1").unwrap();
    symlink(&other, root.join("a/link")).unwrap();
    symlink(other.join("secret"), root.join("a/file")).unwrap();
    symlink(&root, root.join("a/loop")).unwrap();
    std::fs::write(root.join("stray"), b"").unwrap();
    assert_eq!(paths(&store, ""), ["a/one", "stray"]);
    assert_eq!(paths(&store, "a/link/"), [""; 0]);
    assert_eq!(paths(&store, "b/"), [""; 0]);
    for prefix in [other.to_str().unwrap(), "/", ""] {
        assert!(
            store.list(prefix).unwrap().iter().all(|object| object.path.starts_with(root.to_str().unwrap()))
        );
    }
    failed(store.list(&store.path_of("../other/")));
    // A name that is no text is none of ours.
    std::fs::write(root.join(std::ffi::OsStr::from_bytes(b"a/\xff")), b"").unwrap();
    assert_eq!(paths(&store, ""), ["a/one", "stray"]);
}

#[test]
fn segments_and_folders_of_a_bucket_are_no_objects() {
    let (store, bucket, _fault) = plain_s3();
    for key in ["a/1.pgk", "a/1.pgk.segment-2", "a/2.segment-x", "elsewhere"] {
        bucket.put(&format!("some/prefix/{key}"), b"x");
    }
    bucket.put("some/prefix-too/b", b"x");
    bucket.put("top", b"x");
    bucket.begin_upload("some/prefix/a/0");
    bucket.put("some/prefix/folder/", b"");
    assert_eq!(paths(&store, ""), ["a/1.pgk", "a/2.segment-x", "elsewhere"]);
}

#[test]
fn a_bucket_without_objects_has_an_empty_list_and_a_missing_one_none() {
    let (store, bucket, fault) = plain_s3();
    assert_eq!(store.list(&store.path_of("")).unwrap(), []);
    let options = options(&fault.address, "no-such-bucket-here", &b2().credentials);
    let store = S3Store::new(&options, Interrupt::new()).unwrap();
    assert!(failed(store.list("")).to_string().contains("NoSuchBucket"));
    assert_eq!(bucket.keys(), Vec::<String>::new());
}
