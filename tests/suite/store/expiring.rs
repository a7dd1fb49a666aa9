//! Objects that go for good: with every version, or not at all where a lock or a missing right keeps them.

use super::scripted::{MISSING, Scripted, answer};
use super::*;

const KEY: &str = "some/prefix/source/base/one.pgk";

fn expired(store: &S3Store) -> Removal {
    store.delete(KEY).unwrap()
}

#[test]
fn an_object_goes_for_good_in_every_store_and_its_neighbours_stay() {
    each_store(|fixture| {
        let store = &*fixture.store;
        let path = store.path_of("source/base/one é+.pgk");
        assert_eq!(store.delete(&path).unwrap(), Removal::Gone);
        let names = ["source/base/one é+.pgk", "source/base/one é+.pgk.json", "source/other"];
        for name in names {
            store.put_small(&store.path_of(name), b"bytes").unwrap();
        }
        for _ in 0..2 {
            assert_eq!(store.delete(&path).unwrap(), Removal::Gone);
            assert_eq!(fixture.keys(), names[1..]);
        }
        failed(store.delete(&store.path_of("source/../source/other")));
        assert_eq!(fixture.keys(), names[1..]);
    });
}

#[test]
fn folders_that_became_empty_go_and_the_store_s_own_stays() {
    let home = TempDir::new().unwrap();
    let (root, elsewhere) = (home.path().join("root"), home.path().join("elsewhere"));
    let store = LocalStore::new("disk".to_owned(), root.clone());
    let names = ["a/b/2026/11/one", "a/b/2026/12/two", "link/2026/three"];
    std::fs::create_dir_all(elsewhere.join("2026")).unwrap();
    std::fs::create_dir_all(&root).unwrap();
    std::os::unix::fs::symlink(&elsewhere, root.join("link")).unwrap();
    for name in names {
        store.put_small(&store.path_of(name), b"x").unwrap();
    }
    store.delete(&store.path_of(names[0])).unwrap();
    assert!(!root.join("a/b/2026/11").exists() && root.join("a/b/2026/12/two").exists());
    store.delete(&store.path_of(names[1])).unwrap();
    assert!(!root.join("a").exists() && root.is_dir());
    store.delete(&store.path_of(names[2])).unwrap();
    assert!(!elsewhere.join("2026").exists() && elsewhere.is_dir(), "a link is no folder to remove");
    assert!(root.join("link").is_symlink());
    for outside in [elsewhere.join("x"), root.clone(), root.join("../elsewhere/x")] {
        failed(store.delete(outside.to_str().unwrap()));
    }
}

/// A folder that goes while an upload into it is begun is made again.
#[test]
fn an_upload_finds_its_folder_although_the_last_object_in_it_goes() {
    let folder = TempDir::new().unwrap();
    let store = LocalStore::new("disk".to_owned(), folder.path().to_owned());
    let path = |name: &str| store.path_of(&format!("a/b/{name}"));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..500 {
                store.put_small(&path("other"), b"x").unwrap();
                store.delete(&path("other")).unwrap_or_else(|error| panic!("{number}: {error:#}"));
            }
        });
        for number in 0..500 {
            let upload = store.begin(&path("one"), 1);
            upload.unwrap_or_else(|error| panic!("{number}: {error:#}")).abort().unwrap();
        }
    });
}

#[test]
fn every_version_and_every_mark_of_a_removal_goes() {
    let (store, bucket, fault) = s3(b2(), Manners::B2);
    bucket.put(KEY, b"from before");
    bucket.set_versions("Enabled");
    for bytes in [b"one", b"two"] {
        bucket.put(KEY, bytes);
    }
    bucket.delete(KEY);
    bucket.put(KEY, b"three");
    bucket.delete(KEY);
    let neighbour = format!("{KEY}.json");
    bucket.put(&neighbour, b"{}");
    let others = bucket.versions(&neighbour);
    assert_eq!(bucket.versions(KEY).len(), 6 + others.len());
    assert_eq!(expired(&store), Removal::Gone);
    assert_eq!(bucket.versions(KEY), others);
    assert_eq!(bucket.get(&neighbour), b"{}");
    // Each by its id, the oldest first: what is seen goes last.
    let requests = fault.requests();
    let deletes: Vec<_> = requests.iter().filter(|request| request.method == "DELETE").collect();
    assert_eq!(deletes.len(), 6);
    assert_eq!(deletes[0].raw_parameter("versionId"), Some("null"));
    assert!(deletes.iter().all(|request| request.raw_parameter("versionId").is_some()));
    assert_eq!(expired(&store), Removal::Gone);
    bucket.set_versions("Suspended");
    bucket.put(KEY, b"null again");
    assert_eq!(expired(&store), Removal::Gone);
    assert_eq!(bucket.versions(KEY), others);
}

/// Stopped anywhere and done again, it ends in the same state; until then the object is what it was, or gone.
#[test]
fn a_removal_that_breaks_off_is_done_again() {
    for nth in 0..3 {
        let (store, bucket, fault) = s3(b2(), Manners::B2);
        bucket.set_versions("Enabled");
        for bytes in [b"one", b"two"] {
            bucket.put(KEY, bytes);
        }
        fault.rule(Rule::on("DELETE", "versionId").after(nth).refuse(403, "AccessDenied"));
        let outcome = store.delete(KEY);
        assert_eq!(outcome.is_err(), nth < 2, "{outcome:?}");
        assert_eq!(bucket.versions(KEY).len(), 2 - nth);
        if nth < 2 {
            assert_eq!(bucket.get(KEY), b"two", "the current version goes last");
        }
        fault.heal();
        assert_eq!(expired(&store), Removal::Gone);
        assert_eq!(bucket.versions(KEY), [""; 0]);
    }
}

/// R2 has no list of versions, and refuses what a bucket lock rule holds.
#[test]
fn a_bucket_lock_rule_holds_and_is_no_failure() {
    let (store, bucket, fault) = s3(r2(), Manners::r2());
    for status in [403, 409] {
        bucket.put(KEY, b"bytes");
        fault.rule(Rule::on("DELETE", "one.pgk").refuse(status, "ObjectLockedByBucketPolicy"));
        let hold = Hold { until: None, why: "a bucket lock rule".to_owned() };
        assert_eq!(hold.to_string(), "held by a bucket lock rule");
        assert_eq!(expired(&store), Removal::Held(hold));
        assert_eq!(bucket.get(KEY), b"bytes");
        fault.heal();
        assert_eq!(expired(&store), Removal::Gone);
        assert_eq!(bucket.keys(), [""; 0]);
    }
    fault.rule(Rule::on("PUT", "one.pgk").refuse(409, "ObjectLockedByBucketPolicy"));
    let text = failed(store.put_small(KEY, b"over")).to_string();
    assert!(text.contains("a bucket lock rule of bucket") && text.contains(&bucket.name), "{text}");
}

#[test]
fn an_object_that_is_still_there_is_told() {
    for manners in [Manners::r2(), Manners::B2] {
        let (store, bucket, fault) = s3(r2(), manners);
        bucket.put(KEY, b"bytes");
        fault.rule(Rule::on("DELETE", "one.pgk").does(Action::answer(204, "text/plain", &[], "")));
        let text = failed(store.delete(KEY)).to_string();
        assert!(text.contains("removal of object") && text.contains("still there"), "{text}");
        assert_eq!(bucket.get(KEY), b"bytes");
    }
}

/// Where the key may not list versions, a plain delete is right only where it does not hide.
#[test]
fn a_key_without_the_right_to_versions_hides_nothing() {
    let (store, bucket, fault) = plain_s3();
    bucket.put(KEY, b"bytes");
    fault.rule(Rule::on("GET", "versions").refuse(403, "AccessDenied"));
    assert_eq!(expired(&store), Removal::Gone);
    assert_eq!(bucket.keys(), [""; 0]);
    bucket.set_versions("Enabled");
    bucket.put(KEY, b"bytes");
    let text = failed(store.delete(KEY)).to_string();
    assert!(text.contains("list of versions: AccessDenied (403)"), "{text}");
    assert!(text.contains("listFiles, deleteFiles") && text.contains("s3:DeleteObjectVersion"), "{text}");
    assert_eq!(bucket.get(KEY), b"bytes");
    fault.heal();
    fault.rule(Rule::on("DELETE", "versionId").refuse(403, "AccessDenied"));
    let text = failed(store.delete(KEY)).to_string();
    assert!(text.contains("removal of object") && text.contains("listFiles, deleteFiles"), "{text}");
    assert_eq!(bucket.versions(KEY).len(), 1);
}

/// The right to delete by an id is of no use where there are no ids, and may be missing.
#[test]
fn a_bucket_without_versions_needs_no_right_to_them() {
    let (store, bucket, fault) = plain_s3();
    bucket.put(KEY, b"bytes");
    fault.rule(Rule::on("DELETE", "versionId").refuse(403, "AccessDenied"));
    assert_eq!(expired(&store), Removal::Gone);
    assert_eq!(bucket.keys(), [""; 0]);
}

const EMPTY: &str = "<ListVersionsResult><IsTruncated>false</IsTruncated></ListVersionsResult>";

/// An empty list may come from a server that has no idea of versions, or hides what it has.
#[test]
fn a_delete_that_only_hides_is_an_error() {
    let server = Scripted::start(|request, _| match request.method.as_str() {
        "GET" => answer(200, EMPTY, &[]),
        "DELETE" => answer(204, "", &[("x-amz-delete-marker", "true")]),
        _ => answer(200, "x", &[("x-amz-version-id", "v1")]),
    });
    let text = failed(server.store().delete("key")).to_string();
    assert!(text.contains("only hid it") && text.contains("deleteFiles"), "{text}");
}

/// Two pages, entries of other keys, an id that must be encoded; and lists that have no end.
#[test]
fn the_list_of_versions_is_read_to_its_end() {
    let server = Scripted::start(|request, _| {
        if request.method != "GET" {
            return answer(if request.method == "HEAD" { 200 } else { 204 }, "", &[]);
        }
        let entry = |key: &str, id: &str| format!("<Key>{key}</Key><VersionId>{id}</VersionId>");
        let body = match request.raw_parameter("version-id-marker") {
            None => format!(
                "<Version>{}<Owner><ID>o</ID></Owner></Version><IsTruncated>true</IsTruncated>\
                 <NextKeyMarker>a/key</NextKeyMarker><NextVersionIdMarker>x +/=</NextVersionIdMarker>\
                 <DeleteMarker>{}</DeleteMarker><Version>{}</Version>",
                entry("a/key", "v +/=&amp;3"),
                entry("a/key", "m2"),
                entry("a/key.json", "j")
            ),
            Some(_) => format!(
                "<Version>{}</Version><Version>{}</Version><IsTruncated>false</IsTruncated>",
                entry("a/key", "v1"),
                entry("other", "o")
            ),
        };
        answer(200, &format!("<ListVersionsResult>{body}</ListVersionsResult>"), &[])
    });
    // Nothing goes on this server, so that the second look still sees all of it.
    let text = failed(server.store().delete("a/key")).to_string();
    assert!(text.contains("3 versions are still there"), "{text}");
    let log = server.log.lock().unwrap();
    assert_eq!(log[0].raw_parameter("prefix").map(decode).unwrap(), "a/key");
    assert_eq!(log[1].raw_parameter("key-marker").map(decode).unwrap(), "a/key");
    assert_eq!(log[1].raw_parameter("version-id-marker"), Some("x%20%2B%2F%3D"));
    let of = |method: &str| {
        let those = log.iter().filter(|request| request.method == method);
        those.map(|request| decode(request.raw_parameter("versionId").unwrap())).collect::<Vec<_>>()
    };
    // A mark has no lock to look at.
    assert_eq!(of("HEAD"), ["v +/=&3", "v1"]);
    assert_eq!(of("DELETE"), ["v1", "m2", "v +/=&3"]);
    for rest in ["", "<NextKeyMarker>same</NextKeyMarker>"] {
        let body = format!("<ListVersionsResult><IsTruncated>true</IsTruncated>{rest}</ListVersionsResult>");
        let server = Scripted::start(move |_, _| answer(200, &body, &[]));
        let text = failed(server.store().delete("key")).to_string();
        assert!(text.contains("does not come to its end"), "{text}");
        assert!(server.log.lock().unwrap().iter().all(|request| request.method == "GET"));
    }
}

/// What is said in the place of a list never makes an object go that a lock may hold, nor counts as gone.
#[test]
fn answers_that_are_no_list_of_versions() {
    for (status, body) in [(500, ""), (200, "<html/>"), (200, "<Error><Code>AccessDenied</Code></Error>")] {
        let server = Scripted::start(move |_, _| answer(status, body, &[]));
        assert!(failed(server.store().delete("key")).to_string().contains("list of versions"), "{body}");
        assert!(server.log.lock().unwrap().iter().all(|request| request.method == "GET"));
    }
    // A server that overlooks the query lists objects: it knows no versions.
    let is_gone = Mutex::new(false);
    let server = Scripted::start(move |request, _| {
        let mut is_gone = is_gone.lock().unwrap();
        *is_gone |= request.method == "DELETE";
        match request.method.as_str() {
            "GET" if request.query().contains("versions") => answer(200, "<ListBucketResult/>", &[]),
            "GET" => answer(404, MISSING, &[]),
            "DELETE" => answer(204, "", &[]),
            _ => answer(if *is_gone { 404 } else { 200 }, if *is_gone { "" } else { "x" }, &[]),
        }
    });
    assert_eq!(server.store().delete("key").unwrap(), Removal::Gone);
}
