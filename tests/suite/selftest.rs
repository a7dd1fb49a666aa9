//! The tests' own machinery, tried without the program under test.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use crate::support::cluster::{SAMPLE, cluster, unique};
use crate::support::compare::{assert_same, contents};
use crate::support::http::{Request, Response, set_header};
use crate::support::rule::{Action, Drip};
use crate::support::s3server::{b2, elements, r2};
use crate::support::sigv4::{encode, sign};
use crate::support::tools::finish;
use crate::support::{FaultServer, Manners, Rule, command, key};

#[test]
fn the_sample_is_there() {
    let found = contents(cluster(), SAMPLE);
    assert!(found["r public.customer"].starts_with("500 "), "{found:?}");
}

/// What the tests compare after a restore is the same after `PostgreSQL`'s own round trip, and differs after a change.
#[test]
fn two_equal_databases_are_equal_and_a_change_shows() {
    let (cluster, copy) = (cluster(), cluster().fresh_database());
    let archive = tempfile::NamedTempFile::new().unwrap();
    finish(cluster.client_program("pg_dump", SAMPLE).arg("-Fc").arg("-f").arg(archive.path()));
    finish(cluster.client_program("pg_restore", &copy).args(["-d", &copy]).arg(archive.path()));
    assert_same(cluster, SAMPLE, &copy);
    cluster.execute(&copy, "UPDATE invoice SET total = total + 1 WHERE id = 7");
    assert_ne!(contents(cluster, SAMPLE), contents(cluster, &copy));
}

#[test]
fn buckets_keep_list_and_forget() {
    for server in [r2(), b2()] {
        let bucket = server.bucket();
        bucket.put("a/b c%20é.txt", b"hello");
        assert_eq!(bucket.keys(), ["a/b c%20é.txt"]);
        assert_eq!(bucket.get("a/b c%20é.txt"), b"hello");
        let upload = bucket.begin_upload("left/over");
        let open = bucket.uploads();
        assert_eq!((open[0].key.as_str(), open[0].upload_id.as_str()), ("left/over", upload.as_str()));
        bucket.delete("a/b c%20é.txt");
        assert_eq!(bucket.keys(), Vec::<String>::new());
    }
}

fn ask(fault: &FaultServer, method: &str, target: &str, body: &[u8]) -> std::io::Result<Response> {
    let mut request = Request::new(method, target);
    request.body = body.to_vec();
    set_header(&mut request.headers, "Host", &fault.address);
    sign(&mut request, &r2().credentials);
    request.exchange(&fault.address)
}

#[test]
fn the_fault_server_passes_on_and_breaks_what_it_is_told_to() {
    let bucket = r2().bucket();
    let fault = FaultServer::start(r2(), Manners::Plain);
    let target = format!("/{}/thing", bucket.name);
    assert_eq!(ask(&fault, "PUT", &target, b"0123456789").unwrap().status, 200);
    assert_eq!(bucket.get("thing"), b"0123456789");
    fault.rule(Rule::on("GET", "thing").after(1).times(1).refuse(503, "SlowDown"));
    fault.rule(Rule::on("GET", "thing").after(1).times(1).does(Action::FlipBit(3)));
    fault.rule(Rule::on("GET", "thing").after(1).times(1).does(Action::CutResponse(4)));
    assert_eq!(ask(&fault, "GET", &target, b"").unwrap().body, b"0123456789");
    assert_eq!(elements(&ask(&fault, "GET", &target, b"").unwrap().body, "Code"), ["SlowDown"]);
    assert_eq!(ask(&fault, "GET", &target, b"").unwrap().body, b"012#456789");
    assert!(ask(&fault, "GET", &target, b"").is_err());
    fault.rule(Rule::on("PUT", "thing").times(1).does(Action::CutRequest(2)));
    assert!(ask(&fault, "PUT", &target, b"new").is_err());
    assert_eq!(bucket.get("thing"), b"0123456789");
    fault.go_down();
    assert!(ask(&fault, "GET", &target, b"").is_err());
    fault.heal();
    fault.rule(Rule::on("", "thing").does(Action::Delay(Duration::from_millis(1))));
    assert_eq!(ask(&fault, "GET", &target, b"").unwrap().status, 200);
    assert_eq!((fault.count("GET", "thing"), fault.count("PUT", "thing")), (5, 2));
}

/// What comes back from a connection of its own, until it ends or nothing more comes for a while.
fn raw(fault: &FaultServer, target: &str, most: u64) -> Vec<u8> {
    let mut request = Request::new("GET", target);
    set_header(&mut request.headers, "Host", &fault.address);
    sign(&mut request, &r2().credentials);
    let stream = request.send(&fault.address).unwrap();
    stream.get_ref().set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut bytes = Vec::new();
    // A time limit ends it too: that is what a server that hangs looks like.
    stream.take(most).read_to_end(&mut bytes).ok();
    bytes
}

#[test]
fn the_fault_server_hangs_drips_and_lies_as_it_is_told_to() {
    let bucket = r2().bucket();
    let fault = FaultServer::start(r2(), Manners::Plain);
    let target = format!("/{}/thing", bucket.name);
    bucket.put("thing", b"0123456789");
    let ends = |answer: &[u8], end: &str| String::from_utf8_lossy(answer).ends_with(end);
    let answer = |action: Action| {
        fault.rule(Rule::on("GET", "thing").times(1).does(action));
        raw(&fault, &target, 100_000)
    };
    assert!(ends(&answer(Action::HangInResponse(3)), "\r\n\r\n012"));
    assert!(ends(&answer(Action::HangInResponse(0)), "\r\n\r\n"));
    assert!(ends(&answer(Action::CutChunks(4)), "\r\n\r\n5\r\n0123"));
    assert_eq!(answer(Action::HangInRequest(0)), b"");
    let drip = Drip { bytes: 1, pause: Duration::from_millis(700) };
    let start = Instant::now();
    fault.rule(Rule::on("GET", "thing").times(1).does(Action::DripResponse(drip)));
    assert_eq!(raw(&fault, &target, 3), b"HTT");
    assert!(start.elapsed() >= drip.pause * 2);
    assert_eq!(answer(Action::Endless("<", "a")).len(), 100_000);
    let page = Action::answer(200, "text/html", &[("X-Odd", "yes")], "<html/>");
    fault.rule(Rule::on("GET", "thing").times(1).does(page));
    let answer = ask(&fault, "GET", &target, b"").unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"<html/>"[..]));
    assert_eq!(ask(&fault, "GET", &target, b"").unwrap().body, b"0123456789");
}

/// What a narrow server does not read stays with the client, whose writes wait.
#[test]
fn a_narrow_fault_server_holds_a_sender_up() {
    let fault = FaultServer::start_narrow(r2(), Manners::Plain);
    fault.rule(Rule::on("PUT", "thing").does(Action::HangInRequest(1000)));
    let mut stream = std::net::TcpStream::connect(&fault.address).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let (head, body) = ("PUT /any/thing HTTP/1.1\r\nContent-Length: 100000000\r\n\r\n", vec![0; 1 << 20]);
    stream.write_all(head.as_bytes()).unwrap();
    let sent = (0..64).take_while(|_| stream.write_all(&body).is_ok()).count();
    assert!(sent < 16, "{sent} MiB were taken");
}

fn upload(fault: &FaultServer, target: &str, sizes: &[usize]) -> Response {
    let begun = ask(fault, "POST", &format!("{target}?uploads="), b"").unwrap();
    let id = elements(&begun.body, "UploadId").pop().unwrap();
    assert!(id.contains('+') && id.contains('/') && id.ends_with('='), "{id}");
    let mut document = String::from("<CompleteMultipartUpload>");
    for (part, size) in (1..).zip(sizes) {
        let path = format!("{target}?partNumber={part}&uploadId={}", encode(&id));
        let answer = ask(fault, "PUT", &path, &vec![9; *size]).unwrap();
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        let etag = crate::support::http::header(&answer.headers, "etag").unwrap().to_owned();
        document.push_str(&format!("<Part><PartNumber>{part}</PartNumber><ETag>{etag}</ETag></Part>"));
    }
    document.push_str("</CompleteMultipartUpload>");
    ask(fault, "POST", &format!("{target}?uploadId={}", encode(&id)), document.as_bytes()).unwrap()
}

#[test]
fn with_the_manners_of_r2_unequal_parts_and_unencoded_ids_are_refused() {
    let bucket = r2().bucket();
    let fault = FaultServer::start(r2(), Manners::r2());
    let target = format!("/{}/parts", bucket.name);
    let five = 5 << 20;
    let answer = upload(&fault, &target, &[five, five + 1, 10]);
    assert_eq!((answer.status, elements(&answer.body, "Code")), (400, vec!["InvalidPart".to_owned()]));
    let answer = upload(&fault, &target, &[five, five, 10]);
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    assert_eq!(bucket.get("parts").len(), 2 * five + 10);
    let mut request = Request::new("GET", &format!("{target}?uploadId=A+/x+/=="));
    set_header(&mut request.headers, "Host", &fault.address);
    sign(&mut request, &r2().credentials);
    // A client that signs the true id and sends it bare: the plus signs arrive as spaces.
    request.target = format!("{target}?uploadId=A%2B/x+/==");
    assert_eq!(request.exchange(&fault.address).unwrap().status, 403);
}

#[test]
fn with_the_manners_of_b2_checksum_headers_are_refused() {
    let fault = FaultServer::start(b2(), Manners::B2);
    let mut request = Request::new("PUT", "/any/thing");
    set_header(&mut request.headers, "x-amz-checksum-crc32", "AAAAAA==");
    assert_eq!(request.exchange(&fault.address).unwrap().status, 400);
}

#[test]
fn ids_and_keys_are_known_when_seen() {
    assert!(command::is_id("full-shop-20261122T020000Z-3f9a"));
    assert!(command::is_id("full-a-b-20261122T020000Z-0000"));
    for wrong in
        ["full-shop-20261122T020000-3f9a", "shop-20261122T020000Z-3f9a", "full-shop-20261122T020000Z-3f9", ""]
    {
        assert!(!command::is_id(wrong), "{wrong}");
    }
    // The SHA-256 of "pgkeep-key-id" and 32 zero bytes, worked out with coreutils.
    assert_eq!(key::id("PGKEEP-KEY-1-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), "d971cba3b30a6a9c");
    assert_ne!(unique("x"), unique("x"));
}
