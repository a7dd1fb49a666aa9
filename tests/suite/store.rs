//! One suite for every store: what the trait promises, and what an S3 store does when its server does
//! not behave. Nothing here knows of backups.

use std::io::{BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use md5::{Digest, Md5};
use pgkeep::interrupt::Interrupt;
use pgkeep::store::local::LocalStore;
use pgkeep::store::s3::{S3Error, S3Options, S3Store};
use pgkeep::store::{Handle, Hold, LockMode, ObjectLock, Part, Removal, Stale, Store, Upload, is_missing};
use tempfile::TempDir;
use zeroize::Zeroizing;

use crate::support::http::{Head, Request, Response, header, read_body, set_header};
use crate::support::rule::Action;
use crate::support::s3server::{Server, b2, r2};
use crate::support::sigv4::{Credentials, decode};
use crate::support::tools::hex;
use crate::support::{Bucket, FaultServer, Manners, Rule, wait_until};

mod expiring;
mod hostile;
mod listing;
mod object_lock;
mod replacing;
mod s3;
mod scripted;
mod segments;
mod segments_left;
mod taking_back;

/// The smallest part that S3 takes, and a size that no block divides.
const PART: usize = 5 << 20;
const BLOCK: usize = 300_007;

/// A store, and what has to live as long as it does.
struct Fixture {
    store: Box<dyn Store>,
    behind: Behind,
    _fault: Option<FaultServer>,
}

enum Behind {
    Folder(TempDir),
    Bucket(Bucket),
}

impl Fixture {
    /// The keys of all objects, without the store's prefix.
    fn keys(&self) -> Vec<String> {
        match &self.behind {
            Behind::Folder(folder) => {
                let files = crate::support::tools::files_under(folder.path());
                let names = files.iter().map(|file| file.strip_prefix(folder.path()).unwrap());
                names.map(|name| name.to_str().unwrap().to_owned()).collect()
            }
            Behind::Bucket(bucket) => {
                bucket.keys().iter().map(|key| key.strip_prefix("some/prefix/").unwrap().to_owned()).collect()
            }
        }
    }
}

fn options(endpoint: &str, bucket: &str, credentials: &Credentials) -> S3Options {
    S3Options {
        name: "offsite".to_owned(),
        endpoint: format!("http://{endpoint}"),
        region: "us-east-1".to_owned(),
        bucket: bucket.to_owned(),
        prefix: "some/prefix".to_owned(),
        access_key_id: credentials.access_key_id.clone(),
        secret_access_key: Zeroizing::new(credentials.secret.clone()),
        path_style: true,
        connect_timeout: Duration::from_secs(2),
        request_timeout: Duration::from_secs(30),
        stall_timeout: Duration::from_secs(10),
        parts_in_flight: 2,
        most_parts: 10_000,
        object_lock: None,
    }
}

fn s3(server: &'static Server, manners: Manners) -> (S3Store, Bucket, FaultServer) {
    s3_of(server, manners, 10_000, &Interrupt::new())
}

fn s3_of(
    server: &'static Server,
    manners: Manners,
    most_parts: u32,
    interrupt: &Interrupt,
) -> (S3Store, Bucket, FaultServer) {
    let (bucket, fault) = (server.bucket(), FaultServer::start(server, manners));
    let options = S3Options { most_parts, ..options(&fault.address, &bucket.name, &server.credentials) };
    (S3Store::new(&options, interrupt.clone()).unwrap(), bucket, fault)
}

fn plain_s3() -> (S3Store, Bucket, FaultServer) {
    s3(b2(), Manners::Plain)
}

/// Every kind of store: a folder, and buckets behind the manners of R2 and of B2.
fn each_store(check: impl Fn(&Fixture)) {
    let folder = TempDir::new().unwrap();
    let store = Box::new(LocalStore::new("disk".to_owned(), folder.path().to_owned()));
    check(&Fixture { store, behind: Behind::Folder(folder), _fault: None });
    for (server, manners) in [(r2(), Manners::r2()), (b2(), Manners::B2)] {
        let (store, bucket, fault) = s3(server, manners);
        check(&Fixture { store: Box::new(store), behind: Behind::Bucket(bucket), _fault: Some(fault) });
    }
}

fn content(size: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64 ^ size as u64;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

fn part(number: u32, bytes: &[u8]) -> Arc<Part> {
    Arc::new(Part {
        number,
        blocks: bytes.chunks(BLOCK).map(Bytes::copy_from_slice).collect(),
        size_bytes: bytes.len() as u64,
        md5: Md5::digest(bytes).into(),
    })
}

fn send(upload: &mut Box<dyn Upload>, bytes: &[u8]) -> anyhow::Result<()> {
    (1..).zip(bytes.chunks(PART)).try_for_each(|(number, bytes)| upload.write(part(number, bytes)))
}

fn publish(store: &dyn Store, path: &str, bytes: &[u8]) -> anyhow::Result<pgkeep::store::Stored> {
    let mut upload = store.begin(path, PART as u64)?;
    send(&mut upload, bytes)?;
    upload.publish()
}

fn replace(store: &dyn Store, path: &str, bytes: &[u8]) -> anyhow::Result<pgkeep::store::Stored> {
    let mut upload = store.replace(path, PART as u64)?;
    send(&mut upload, bytes)?;
    upload.publish()
}

fn read(store: &dyn Store, path: &str) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    store.open(path).unwrap().read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn assert_equal(found: &[u8], expected: &[u8]) {
    assert_eq!(found.len(), expected.len());
    assert!(found == expected, "the bytes differ");
}

fn s3_error(error: &anyhow::Error) -> &S3Error {
    error.downcast_ref().unwrap_or_else(|| panic!("not of S3: {error:?}"))
}

/// A time that a store gives to what was written in this test; its clock is this host's.
fn assert_recent(at: Option<jiff::Timestamp>) {
    let ago = jiff::Timestamp::now().duration_since(at.expect("a time"));
    assert!(ago.abs() < jiff::SignedDuration::from_mins(30), "{at:?}");
}

fn failed<T>(outcome: anyhow::Result<T>) -> anyhow::Error {
    outcome.err().expect("this had to fail")
}

#[test]
fn objects_of_every_size_arrive_whole() {
    each_store(|fixture| {
        for size in [0, 1, PART - 1, PART, PART + 1, 3 * PART + 17] {
            let store = &*fixture.store;
            let path = store.path_of(&format!("source/base/{size}"));
            let bytes = content(size);
            assert_eq!(store.stat(&path).unwrap(), None);
            let stored = publish(store, &path, &bytes).unwrap();
            assert_eq!(stored.size_bytes, size as u64);
            let stat = store.stat(&path).unwrap().unwrap();
            assert_eq!((stat.size_bytes, &stat.etag), (stored.size_bytes, &stored.etag));
            assert_equal(&read(store, &path).unwrap(), &bytes);
            assert!(store.stale(&store.path_of("")).unwrap().is_empty());
        }
    });
}

#[test]
fn nothing_is_visible_before_it_is_published_and_an_abort_leaves_nothing() {
    each_store(|fixture| {
        let store = &*fixture.store;
        let path = store.path_of("source/base/one");
        for way in ["abort", "drop"] {
            let mut upload = store.begin(&path, PART as u64).unwrap();
            send(&mut upload, &content(2 * PART + 5)).unwrap();
            assert_eq!(store.stat(&path).unwrap(), None);
            assert!(is_missing(&failed(store.open(&path))));
            let open = store.stale(&store.path_of("source/base/")).unwrap();
            assert_eq!(open.iter().map(|stale| &stale.path).collect::<Vec<_>>(), [&path]);
            if way == "abort" {
                upload.abort().unwrap();
            } else {
                drop(upload);
            }
            assert_eq!(store.stale(&store.path_of("source/")).unwrap(), []);
            assert_eq!(fixture.keys(), Vec::<String>::new());
        }
    });
}

#[test]
fn small_objects_are_written_replaced_read_and_removed() {
    each_store(|fixture| {
        let store = &*fixture.store;
        let path = store.path_of("source/base/manifest.json");
        assert_eq!(store.get_small(&path, 100).unwrap(), None);
        store.hide(&path).unwrap();
        store.put_small(&path, b"a longer first version").unwrap();
        store.put_small(&path, b"second").unwrap();
        assert_eq!(store.get_small(&path, 6).unwrap().unwrap(), b"second");
        let error = failed(store.get_small(&path, 5)).to_string();
        assert!(error.contains("larger"), "{error}");
        assert_eq!(store.stat(&path).unwrap().unwrap().size_bytes, 6);
        assert_eq!(fixture.keys(), ["source/base/manifest.json"]);
        store.put_small(&path, b"").unwrap();
        assert_eq!(store.get_small(&path, 5).unwrap().unwrap(), b"");
        store.hide(&path).unwrap();
        assert_eq!(store.stat(&path).unwrap(), None);
        assert!(is_missing(&failed(store.open(&path))));
        assert_eq!(fixture.keys(), Vec::<String>::new());
    });
}

#[test]
fn odd_keys_arrive_as_they_are() {
    each_store(|fixture| {
        let store = &*fixture.store;
        for key in ["a/my%22db%20%C3%A9/x", "a/100%/%2e%2E/%", "b c/é ü/+&=?#;'()*!~@$,:[]", "c/.../a..b/..c"]
        {
            let path = store.path_of(key);
            publish(store, &path, b"artifact").unwrap();
            assert_eq!(fixture.keys(), [key]);
            assert_equal(&read(store, &path).unwrap(), b"artifact");
            let mut upload = store.begin(&store.path_of(&format!("{key}2")), PART as u64).unwrap();
            send(&mut upload, b"more").unwrap();
            let open = store.stale(&path).unwrap();
            assert_eq!(open.len(), 1, "{open:?}");
            assert_eq!(open[0].path, format!("{path}2"));
            upload.abort().unwrap();
            store.hide(&path).unwrap();
            store.put_small(&path, b"manifest").unwrap();
            assert_eq!(store.get_small(&path, 100).unwrap().unwrap(), b"manifest");
            assert_eq!(fixture.keys(), [key]);
            store.hide(&path).unwrap();
        }
        assert!(store.begin(&store.path_of("a/../b"), 1).is_err());
    });
}

#[test]
fn what_a_dead_run_left_is_found_and_discarded() {
    each_store(|fixture| {
        let store = &*fixture.store;
        let mut upload = store.begin(&store.path_of("source/base/left"), PART as u64).unwrap();
        send(&mut upload, &content(2 * PART)).unwrap();
        std::mem::forget(upload);
        let other = store.begin(&store.path_of("source/other/running"), PART as u64).unwrap();
        assert_eq!(store.stale(&store.path_of("source/base/right")).unwrap(), []);
        assert_eq!(store.stale(&store.path_of("nowhere/at/all")).unwrap(), []);
        let found: Vec<Stale> = store.stale(&store.path_of("source/base/le")).unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].path, store.path_of("source/base/left"));
        assert_recent(found[0].begun_at);
        store.delete_stale_upload(&found[0]).unwrap();
        store.delete_stale_upload(&found[0]).unwrap();
        let left = store.stale(&store.path_of("source/")).unwrap();
        assert_eq!(left.len(), 1, "{left:?}");
        assert_eq!(left[0].path, store.path_of("source/other/running"));
        other.abort().unwrap();
    });
}

#[test]
fn parts_out_of_order_are_refused() {
    each_store(|fixture| {
        let path = fixture.store.path_of("a");
        let mut upload = fixture.store.begin(&path, PART as u64).unwrap();
        assert!(upload.write(part(2, b"x")).is_err());
        upload.write(part(1, b"x")).unwrap();
        assert!(upload.write(part(1, b"x")).is_err());
        let mut lying = Part::clone(&part(2, b"x"));
        lying.size_bytes = 2;
        assert!(upload.write(Arc::new(lying)).is_err());
    });
}

#[test]
fn a_local_store_never_overwrites_an_artifact_and_keeps_others_out() {
    use std::os::unix::fs::PermissionsExt;
    let folder = TempDir::new().unwrap();
    let store = LocalStore::new("disk".to_owned(), folder.path().join("root"));
    let path = store.path_of("source/base/one");
    let (first, second) = (store.begin(&path, 1).unwrap(), store.begin(&path, 1).unwrap());
    first.publish().unwrap();
    assert!(failed(second.publish()).to_string().contains(&path));
    assert!(failed(store.begin(&path, 1)).to_string().contains("already"));
    let mode = |path: &str| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(&store.path_of("source/base")), 0o700);
    assert_eq!(mode(&store.path_of("source")), 0o700);
    assert_eq!(store.stale(&store.path_of("")).unwrap(), []);
    std::fs::write(store.path_of("source/base/.other.part"), b"").unwrap();
    assert_eq!(store.stale(&store.path_of("")).unwrap(), []);
}

#[test]
fn a_file_cut_while_it_is_read_is_an_error() {
    let folder = TempDir::new().unwrap();
    let store = LocalStore::new("disk".to_owned(), folder.path().to_owned());
    let path = store.path_of("one");
    publish(&store, &path, &content(1000)).unwrap();
    let mut reader = store.open(&path).unwrap();
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(999).unwrap();
    let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
}
