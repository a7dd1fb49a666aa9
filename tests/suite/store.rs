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
use pgkeep::store::{Part, Stale, Store, Upload, is_missing};
use tempfile::TempDir;
use zeroize::Zeroizing;

use crate::support::http::{Head, Request, Response, header, read_body, set_header};
use crate::support::rule::Action;
use crate::support::s3server::{Server, b2, r2};
use crate::support::sigv4::{Credentials, decode};
use crate::support::tools::hex;
use crate::support::{Bucket, FaultServer, Manners, Rule, wait_until};

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
    }
}

fn s3(server: &'static Server, manners: Manners) -> (S3Store, Bucket, FaultServer) {
    let (bucket, fault) = (server.bucket(), FaultServer::start(server, manners));
    let options = options(&fault.address, &bucket.name, &server.credentials);
    (S3Store::new(&options, Interrupt::new()).unwrap(), bucket, fault)
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
        store.remove(&path).unwrap();
        store.put_small(&path, b"a longer first version").unwrap();
        store.put_small(&path, b"second").unwrap();
        assert_eq!(store.get_small(&path, 6).unwrap().unwrap(), b"second");
        let error = failed(store.get_small(&path, 5)).to_string();
        assert!(error.contains("larger"), "{error}");
        assert_eq!(store.stat(&path).unwrap().unwrap().size_bytes, 6);
        assert_eq!(fixture.keys(), ["source/base/manifest.json"]);
        store.put_small(&path, b"").unwrap();
        assert_eq!(store.get_small(&path, 5).unwrap().unwrap(), b"");
        store.remove(&path).unwrap();
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
            store.remove(&path).unwrap();
            store.put_small(&path, b"manifest").unwrap();
            assert_eq!(store.get_small(&path, 100).unwrap().unwrap(), b"manifest");
            assert_eq!(fixture.keys(), [key]);
            store.remove(&path).unwrap();
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
        store.discard(&found[0]).unwrap();
        store.discard(&found[0]).unwrap();
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

#[test]
fn a_wrong_secret_is_named_once_and_never_shown() {
    let (bucket, fault) = (b2().bucket(), FaultServer::start(b2(), Manners::Plain));
    let mut options = options(&fault.address, &bucket.name, &b2().credentials);
    options.secret_access_key = Zeroizing::new("not/the+secret==".to_owned());
    let store = S3Store::new(&options, Interrupt::new()).unwrap();
    let errors = [
        failed(store.begin("key", 1)),
        failed(store.open("key")),
        failed(store.get_small("key", 1)),
        failed(store.put_small("key", b"x")),
        failed(store.remove("key")),
        failed(store.stale("")),
        failed(store.stat("key")),
    ];
    for error in &errors {
        let text = format!("{error:#} {error:?}");
        assert_eq!(s3_error(error).status, Some(403), "{text}");
        assert!(!text.contains("not/the") && !text.contains("X-Amz-"), "{text}");
    }
    let begin = s3_error(&errors[0]);
    assert_eq!(begin.code.as_deref(), Some("SignatureDoesNotMatch"));
    assert!(begin.to_string().contains("check access_key_id and secret_access_key"), "{begin}");
    assert_eq!(fault.requests().len(), errors.len());
    let shown = format!("{options:?} {store:?}");
    assert!(shown.contains(&bucket.name) && !shown.contains("not/the"), "{shown}");
}

#[test]
fn a_missing_bucket_is_not_a_missing_object() {
    let options = options(&b2().address, "no-such-bucket-here", &b2().credentials);
    let store = S3Store::new(&options, Interrupt::new()).unwrap();
    for error in [
        failed(store.begin("key", 1)),
        failed(store.open("key")),
        failed(store.get_small("key", 1)),
        failed(store.stat("key")),
        failed(store.put_small("key", b"")),
    ] {
        let text = error.to_string();
        assert!(text.contains("NoSuchBucket") && text.contains("no-such-bucket-here"), "{text}");
        assert!(!is_missing(&error));
    }
}

#[test]
fn a_dead_port_is_given_up_within_seconds() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let store = S3Store::new(&options(&address, "bucket", &b2().credentials), Interrupt::new()).unwrap();
    let start = Instant::now();
    let error = failed(store.begin("key", 1)).to_string();
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    assert!(error.contains(&address) && error.contains("refused"), "{error}");
    let nowhere = "no-such-host.invalid";
    let store = S3Store::new(&options(nowhere, "bucket", &b2().credentials), Interrupt::new()).unwrap();
    let start = Instant::now();
    let error = failed(store.begin("key", 1)).to_string();
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert!(error.contains("address") && error.contains(nowhere), "{error}");
}

#[test]
fn passing_faults_are_ridden_out() {
    let faults: [(&str, &str, Action); 8] = [
        ("POST", "uploads", Action::Refuse { status: 503, code: "SlowDown", retry_after: None }),
        ("PUT", "partNumber=1", Action::Refuse { status: 503, code: "SlowDown", retry_after: None }),
        ("PUT", "partNumber=2", Action::Refuse { status: 500, code: "InternalError", retry_after: None }),
        ("PUT", "partNumber=2", Action::CutRequest(1 << 20)),
        ("PUT", "partNumber=3", Action::Reset),
        ("PUT", "partNumber=1", Action::LoseAnswer),
        ("POST", "uploadId", Action::OkWithError { code: "InternalError" }),
        ("HEAD", "", Action::Refuse { status: 429, code: "", retry_after: None }),
    ];
    for (method, target, action) in faults {
        let (store, bucket, fault) = plain_s3();
        let bytes = content(2 * PART + 3);
        fault.rule(Rule::on(method, target).times(2).does(action.clone()));
        let stored = publish(&store, "key", &bytes).unwrap_or_else(|error| panic!("{action:?}: {error:#}"));
        assert_eq!(stored.size_bytes, bytes.len() as u64);
        assert_eq!(fault.count(method, target), 3, "{action:?}");
        assert_equal(&bucket.get("key"), &bytes);
        assert_eq!(bucket.uploads().len(), 0);
    }
}

#[test]
fn a_completion_whose_answer_was_lost_is_settled() {
    for times in [1, 2] {
        let (store, bucket, fault) = plain_s3();
        fault.rule(Rule::on("POST", "uploadId").times(times).does(Action::LoseAnswer));
        let bytes = content(PART + 3);
        let stored = publish(&store, "key", &bytes).unwrap();
        assert_eq!(stored.size_bytes, bytes.len() as u64);
        assert_eq!(stored.etag, store.stat("key").unwrap().unwrap().etag);
        assert_equal(&bucket.get("key"), &bytes);
        assert_eq!(fault.count("POST", "uploadId"), 1);
    }
}

/// An older object of the same size must not pass for the new one.
#[test]
fn a_completion_that_never_arrived_is_not_settled_by_an_older_object() {
    let (store, bucket, fault) = plain_s3();
    bucket.put("key", &content(PART + 4)[..PART + 3]);
    fault.rule(Rule::on("POST", "uploadId").does(Action::Reset));
    failed(publish(&store, "key", &content(PART + 3)));
    assert_eq!(bucket.uploads().len(), 0);
}

#[test]
fn a_refusal_is_not_repeated_and_leaves_nothing() {
    let cases = [
        ("PUT", "partNumber=1", Action::Refuse { status: 403, code: "AccessDenied", retry_after: None }),
        ("POST", "uploadId", Action::Refuse { status: 400, code: "InvalidPart", retry_after: None }),
        ("POST", "uploadId", Action::OkWithError { code: "AccessDenied" }),
    ];
    for (method, target, action) in cases {
        let (store, bucket, fault) = plain_s3();
        fault.rule(Rule::on(method, target).does(action.clone()));
        let error = failed(publish(&store, "key", &content(2 * PART)));
        let code = s3_error(&error).code.clone().unwrap();
        assert!(code == "AccessDenied" || code == "InvalidPart", "{error}");
        assert_eq!(fault.count(method, target), 1, "{action:?}");
        assert_eq!(bucket.keys(), Vec::<String>::new());
        assert_eq!(bucket.uploads().len(), 0);
    }
}

#[test]
fn a_server_may_ask_for_time() {
    let (store, _bucket, fault) = plain_s3();
    let action = Action::Refuse { status: 503, code: "SlowDown", retry_after: Some("2") };
    fault.rule(Rule::on("PUT", "key").times(1).does(action));
    let start = Instant::now();
    store.put_small("key", b"x").unwrap();
    assert!(start.elapsed() >= Duration::from_secs(2), "{:?}", start.elapsed());
}

#[test]
fn a_silent_server_ends_by_the_time_limit() {
    let (bucket, fault) = (b2().bucket(), FaultServer::start(b2(), Manners::Plain));
    fault.rule(Rule::on("", "").does(Action::Hang));
    let mut options = options(&fault.address, &bucket.name, &b2().credentials);
    options.stall_timeout = Duration::from_secs(1);
    let store = S3Store::new(&options, Interrupt::new()).unwrap();
    let start = Instant::now();
    let error = failed(store.begin("key", 1)).to_string();
    let taken = start.elapsed();
    assert!(taken >= Duration::from_secs(1) && taken < Duration::from_secs(5), "{taken:?}");
    assert!(error.contains("timed out") && error.contains(&fault.address), "{error}");
}

#[test]
fn a_read_that_breaks_goes_on_where_it_was() {
    let (store, bucket, fault) = plain_s3();
    let bytes = content(3 * PART);
    bucket.put("key", &bytes);
    fault.rule(Rule::on("GET", "key").times(1).does(Action::CutResponse(1_000_001)));
    fault.rule(Rule::on("GET", "key").times(1).does(Action::CutResponse(0)));
    fault.rule(Rule::on("GET", "key").times(1).refuse(503, "SlowDown"));
    assert_equal(&read(&store, "key").unwrap(), &bytes);
    let ranges: Vec<String> = fault
        .requests()
        .iter()
        .filter(|request| request.method == "GET")
        .map(|request| header(&request.headers, "range").unwrap().to_owned())
        .collect();
    assert_eq!(ranges.len(), 4);
    let end = bytes.len() - 1;
    assert_eq!(ranges[3], format!("bytes=1000001-{end}"));
}

#[test]
fn a_read_that_keeps_breaking_is_an_error() {
    let (store, bucket, fault) = plain_s3();
    bucket.put("key", &content(PART));
    fault.rule(Rule::on("GET", "key").times(1).does(Action::CutResponse(1_000_000)));
    fault.rule(Rule::on("GET", "key").does(Action::CutResponse(0)));
    let error = read(&store, "key").unwrap_err().to_string();
    assert!(error.contains("read of object"), "{error}");
}

#[test]
fn an_object_replaced_while_it_is_read_is_an_error() {
    let (store, bucket, fault) = plain_s3();
    bucket.put("key", &content(PART));
    fault.rule(Rule::on("GET", "key").times(1).does(Action::CutResponse(1_000_000)));
    let mut reader = store.open("key").unwrap();
    reader.read_exact(&mut [0; 1000]).unwrap();
    bucket.put("key", &content(PART + 1)[..PART]);
    let error = reader.read_to_end(&mut Vec::new()).unwrap_err().to_string();
    assert!(error.contains("replaced"), "{error}");
}

#[test]
fn a_large_object_is_read_in_windows() {
    let (store, bucket, fault) = plain_s3();
    let bytes = content((64 << 20) + 1);
    bucket.put("key", &bytes);
    assert_equal(&read(&store, "key").unwrap(), &bytes);
    assert_eq!(fault.count("GET", "key"), 3);
}

#[test]
fn an_interrupt_ends_the_waiting_and_still_cleans_up() {
    let (bucket, fault) = (b2().bucket(), FaultServer::start(b2(), Manners::Plain));
    let interrupt = Interrupt::new();
    let options = options(&fault.address, &bucket.name, &b2().credentials);
    let store = S3Store::new(&options, interrupt.clone()).unwrap();
    let action = Action::Refuse { status: 503, code: "SlowDown", retry_after: Some("8") };
    fault.rule(Rule::on("PUT", "partNumber").does(action));
    let mut upload = store.begin("key", PART as u64).unwrap();
    upload.write(part(1, b"x")).unwrap();
    wait_until("the part was refused", || fault.count("PUT", "partNumber") == 1);
    let start = Instant::now();
    interrupt.raise(15);
    failed(upload.publish());
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    assert_eq!(fault.count("PUT", "partNumber"), 1);
    assert_eq!(bucket.uploads().len(), 0);
}

#[test]
fn an_abort_does_not_wait_for_a_part_that_hangs() {
    let (store, bucket, fault) = plain_s3();
    fault.rule(Rule::on("PUT", "partNumber").does(Action::Hang));
    let mut upload = store.begin("key", PART as u64).unwrap();
    upload.write(part(1, b"x")).unwrap();
    wait_until("the part hangs", || fault.count("PUT", "partNumber") == 1);
    let start = Instant::now();
    upload.abort().unwrap();
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    assert_eq!(bucket.uploads().len(), 0);
}

/// Nothing that R2 or B2 refuse is sent, the parts' MD5 is, and R2's upload ids are encoded once.
#[test]
fn requests_carry_what_they_must_and_nothing_else() {
    let (store, _bucket, fault) = s3(r2(), Manners::r2());
    publish(&store, "key", &content(PART + 1)).unwrap();
    store.put_small("manifest", b"{}").unwrap();
    let (mut parts, mut ids) = (0, 0);
    for request in fault.requests() {
        for (name, _) in &request.headers {
            let name = name.to_ascii_lowercase();
            let is_known = matches!(name.as_str(), "x-amz-content-sha256" | "x-amz-date");
            assert!(is_known || !name.starts_with("x-amz-"), "{name}");
            assert_ne!(name, "transfer-encoding");
        }
        if request.method == "PUT" {
            assert!(header(&request.headers, "content-md5").is_some(), "{}", request.target);
        }
        parts += usize::from(request.raw_parameter("partNumber").is_some());
        if let Some(id) = request.raw_parameter("uploadId") {
            assert!(id.starts_with("A%2B%2F") && id.ends_with("%2B%2F%3D%3D"), "{id}");
            assert_eq!(request.target.matches("uploadId=").count(), 1);
            ids += 1;
        }
    }
    assert_eq!((parts, ids), (2, 3));
}

/// A server that answers with what the test says, and does not wait for a body of a megabyte or more.
struct Scripted {
    address: String,
    log: Arc<Mutex<Vec<Request>>>,
}

impl Scripted {
    /// `answer` gets each request and how many came before it, and gives the bytes on the wire.
    fn start(answer: impl Fn(&Request, usize) -> Vec<u8> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let log = Arc::new(Mutex::new(Vec::new()));
        let for_thread = Arc::clone(&log);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                Self::serve(&stream, &for_thread, &answer).ok();
            }
        });
        Self { address, log }
    }

    fn serve(
        mut stream: &TcpStream,
        log: &Mutex<Vec<Request>>,
        answer: &impl Fn(&Request, usize) -> Vec<u8>,
    ) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream);
        let Some(head) = Head::read(&mut reader)? else { return Ok(()) };
        let is_hasty = header(&head.headers, "content-length").is_some_and(|size| size.len() > 6);
        let body = if is_hasty { Vec::new() } else { read_body(&mut reader, &head.headers, false)? };
        let request = Request::from_head(head, body)?;
        let mut log = log.lock().unwrap();
        let bytes = answer(&request, log.len());
        log.push(request);
        stream.write_all(&bytes)
    }

    fn store(&self) -> S3Store {
        let credentials = Credentials { access_key_id: "id".to_owned(), secret: "secret".to_owned() };
        S3Store::new(&options(&self.address, "bucket", &credentials), Interrupt::new()).unwrap()
    }
}

fn answer(status: u16, body: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut response = Response::new(status, body);
    for (name, value) in headers {
        set_header(&mut response.headers, name, value);
    }
    response.to_bytes()
}

#[test]
fn the_list_of_unfinished_uploads_is_read_to_its_end() {
    let server = Scripted::start(|_, before| {
        let rest = if before == 0 {
            "<IsTruncated>true</IsTruncated><NextKeyMarker>a/1 é+</NextKeyMarker>\
             <NextUploadIdMarker>x+/=</NextUploadIdMarker>"
        } else {
            "<IsTruncated>false</IsTruncated><NextKeyMarker>a/9</NextKeyMarker>"
        };
        let body = format!(
            "<?xml version=\"1.0\"?>\n<ListMultipartUploadsResult \
             xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Bucket>b</Bucket>{rest}\
             <Upload><Key>a/{before}&amp;</Key><UploadId>id+{before}</UploadId><Owner><ID>o</ID></Owner></Upload>\
             <Upload><Key>elsewhere</Key><UploadId>other</UploadId></Upload>\
             </ListMultipartUploadsResult>"
        );
        answer(200, &body, &[])
    });
    let found = server.store().stale("a/").unwrap();
    let pairs: Vec<_> = found.iter().map(|stale| (stale.path.as_str(), stale.handle.as_str())).collect();
    assert_eq!(pairs, [("a/0&", "id+0"), ("a/1&", "id+1")]);
    let log = server.log.lock().unwrap();
    assert_eq!(log.len(), 2);
    assert_eq!(log[1].raw_parameter("key-marker").map(decode).unwrap(), "a/1 é+");
    assert_eq!(log[1].raw_parameter("upload-id-marker"), Some("x%2B%2F%3D"));
    assert!(!log[1].target.contains('+'), "{}", log[1].target);
}

#[test]
fn a_list_without_an_end_is_refused() {
    let server = Scripted::start(|_, before| {
        let body = format!(
            "<ListMultipartUploadsResult><IsTruncated>true</IsTruncated>\
             <NextKeyMarker>{before}</NextKeyMarker></ListMultipartUploadsResult>"
        );
        answer(200, &body, &[])
    });
    assert!(failed(server.store().stale("")).to_string().contains("no end"));
}

#[test]
fn an_answer_that_is_no_list_is_no_empty_list() {
    let server = Scripted::start(|_, _| answer(200, "<html><body>welcome</body></html>", &[]));
    assert!(failed(server.store().stale("")).to_string().contains("no such list"));
    assert!(failed(server.store().begin("a", 1)).to_string().contains("no upload id"));
}

#[test]
fn a_server_that_ignores_ranges_is_read_or_refused() {
    let body = "0123456789".repeat(1000);
    let (whole, cut) = (body.clone(), body.clone());
    let server = Scripted::start(move |_, _| answer(200, &whole, &[]));
    assert_equal(&read(&server.store(), "key").unwrap(), body.as_bytes());
    let server = Scripted::start(move |_, before| {
        let mut bytes = answer(200, &cut, &[]);
        bytes.truncate(if before == 0 { bytes.len() - 10 } else { bytes.len() });
        bytes
    });
    let error = read(&server.store(), "key").unwrap_err().to_string();
    assert!(error.contains("ignores ranges"), "{error}");
}

#[test]
fn an_answer_with_the_wrong_bytes_is_refused() {
    for range in ["bytes 1-10/100", "bytes 0-10/10", "bytes 5-4/100", "0-9/100", ""] {
        let server = Scripted::start(move |_, _| answer(206, "0123456789", &[("Content-Range", range)]));
        assert!(server.store().open("key").is_err(), "{range}");
    }
}

/// An answer may have fewer bytes than its own range says, in good order as far as HTTP goes.
#[test]
fn an_answer_that_ends_before_its_range_is_no_end_of_file() {
    let server = Scripted::start(|_, _| answer(206, "0123456789", &[("Content-Range", "bytes 0-99/100")]));
    assert!(read(&server.store(), "key").is_err());
}

#[test]
fn a_replaced_object_shows_where_the_server_ignores_conditions() {
    let server = Scripted::start(|_, before| {
        let (range, tag) = [("bytes 0-9/20", "\"one\""), ("bytes 10-19/20", "\"two\"")][before];
        answer(206, "0123456789", &[("Content-Range", range), ("ETag", tag)])
    });
    let error = read(&server.store(), "key").unwrap_err().to_string();
    assert!(error.contains("replaced"), "{error}");
    assert_eq!(header(&server.log.lock().unwrap()[1].headers, "if-match"), Some("\"one\""));
}

/// Plays an upload: the n-th part is answered with the n-th tag, the completion as the test says.
fn scripted_upload(tags: &'static [&'static str], completion: &'static str) -> Scripted {
    let parts = Mutex::new(0);
    Scripted::start(move |request, _| match request.method.as_str() {
        "POST" if request.query().starts_with("uploads") => {
            let body = "<r:InitiateMultipartUploadResult xmlns:r=\"x\"><r:UploadId>1</r:UploadId></r:InitiateMultipartUploadResult>";
            answer(200, body, &[])
        }
        "PUT" => {
            let mut parts = parts.lock().unwrap();
            *parts += 1;
            answer(200, "", &[("ETag", tags[*parts - 1])])
        }
        "POST" => answer(200, completion, &[]),
        "HEAD" => answer(200, "x", &[]),
        _ => answer(204, "", &[]),
    })
}

const COMPLETED: &str = "\n  \n <?xml version=\"1.0\"?>\n<CompleteMultipartUploadResult xmlns=\"y\"><ETag>&quot;abc-1&quot;</ETag></CompleteMultipartUploadResult>";

#[test]
fn a_part_that_arrived_otherwise_is_sent_again() {
    let right: &'static str = format!("\"{}\"", hex(&Md5::digest(b"x"))).leak();
    let tags: &'static [&'static str] = vec!["\"00000000000000000000000000000000\"", right].leak();
    let server = scripted_upload(tags, COMPLETED);
    let stored = publish(&server.store(), "key", b"x").unwrap();
    assert_eq!(stored.etag.as_deref(), Some("abc-1"));
    let log = server.log.lock().unwrap();
    assert_eq!(log.iter().filter(|request| request.method == "PUT").count(), 2);
    let completion = log.iter().rfind(|request| request.method == "POST").unwrap();
    let body = String::from_utf8_lossy(&completion.body);
    assert!(body.contains(&format!("<PartNumber>1</PartNumber><ETag>{right}</ETag>")), "{body}");
}

/// A refusal that comes while a part is sent breaks the connection; its cause must not be lost.
#[test]
fn an_early_refusal_of_a_part_is_told() {
    let server = Scripted::start(|request, _| match request.method.as_str() {
        "POST" => answer(
            200,
            "<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>",
            &[],
        ),
        "PUT" => answer(403, "<Error><Code>QuotaExceeded</Code><Message>cap</Message></Error>", &[]),
        _ => answer(204, "", &[]),
    });
    let text = failed(publish(&server.store(), "key", &content(PART))).to_string();
    assert!(text.contains("QuotaExceeded (403)") && text.contains("quota is used up"), "{text}");
}

const MISSING: &str = "<Error><Code>NoSuchKey</Code></Error>";

#[test]
fn a_404_that_is_not_of_s3_is_no_missing_object() {
    let server = Scripted::start(|request, _| {
        answer(404, if request.method == "HEAD" { "" } else { "<html>no such page</html>" }, &[])
    });
    let store = server.store();
    for error in [failed(store.stat("key")), failed(store.get_small("key", 1)), failed(store.open("key"))] {
        assert_eq!(s3_error(&error).status, Some(404));
        assert!(!is_missing(&error));
    }
    let server =
        Scripted::start(|request, _| answer(404, if request.method == "HEAD" { "" } else { MISSING }, &[]));
    assert_eq!(server.store().stat("key").unwrap(), None);
    assert!(is_missing(&failed(server.store().open("key"))));
}

/// Serves requests of one connection after the other, each of many requests, and counts connections.
#[test]
fn connections_are_used_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let connections = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&connections);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            *counted.lock().unwrap() += 1;
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            while let Ok(Some(head)) = Head::read(&mut reader) {
                read_body(&mut reader, &head.headers, false).unwrap();
                let is_missing = head.first_line.contains("missing");
                let (body, length) = match &head.first_line[..3] {
                    "HEA" => ("", 10),
                    "PUT" => ("", 0),
                    _ if is_missing => (MISSING, MISSING.len()),
                    _ => ("0123456789", 10),
                };
                let status = if is_missing { "404 No" } else { "206 Part" };
                let head =
                    format!("ETag: \"any\"\r\nContent-Range: bytes 0-9/10\r\nContent-Length: {length}");
                stream.write_all(format!("HTTP/1.1 {status}\r\n{head}\r\n\r\n{body}").as_bytes()).unwrap();
            }
        }
    });
    let credentials = Credentials { access_key_id: "id".to_owned(), secret: "secret".to_owned() };
    let store = S3Store::new(&options(&address, "bucket", &credentials), Interrupt::new()).unwrap();
    for _ in 0..3 {
        store.put_small("key", b"manifest").unwrap();
        assert_eq!(store.stat("key").unwrap().unwrap().size_bytes, 10);
        assert_eq!(store.get_small("key", 10).unwrap().unwrap().len(), 10);
        assert_eq!(store.get_small("missing", 10).unwrap(), None);
        assert_eq!(read(&store, "key").unwrap().len(), 10);
    }
    assert_eq!(*connections.lock().unwrap(), 1);
}

#[test]
fn a_completion_that_answers_nonsense_is_an_error() {
    let server = scripted_upload(&["\"any\""], "<html/>");
    assert!(failed(publish(&server.store(), "key", b"x")).to_string().contains("neither yes nor no"));
}

#[test]
fn a_message_of_the_server_is_bounded_and_without_signatures() {
    let server = Scripted::start(|_, _| {
        let filler = "long\n\u{1b}[31m ".repeat(4000);
        let body = format!("<Error><Code>Odd</Code><Message>{filler}</Message></Error>");
        answer(400, &body, &[])
    });
    let text = failed(server.store().put_small("key", b"")).to_string();
    assert!(text.starts_with("write of object: Odd (400): long"), "{text}");
    assert!(text.len() < 500 && !text.contains(['\n', '\u{1b}']), "{text}");
    let server = Scripted::start(|_, _| {
        let body = "<Error><Code>Odd</Code><Message>bad address /k?X-Amz-Signature=abcdef</Message></Error>";
        answer(400, body, &[])
    });
    let text = failed(server.store().put_small("key", b"")).to_string();
    assert!(text.contains("bad address") && !text.contains("abcdef"), "{text}");
}

#[test]
fn a_redirect_is_an_error_that_points_to_the_endpoint() {
    let server = Scripted::start(|_, _| answer(307, "", &[("Location", "http://127.0.0.1:9/elsewhere")]));
    let text = failed(server.store().begin("key", 1)).to_string();
    assert!(text.contains("307") && text.contains("check endpoint and region"), "{text}");
}
