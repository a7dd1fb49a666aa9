//! Lists and versions as no honest server gives them.

use super::scripted::{MISSING, Scripted, answer};
use super::*;

fn page_of(keys: &[String], rest: &str) -> Vec<u8> {
    let date = "<LastModified>2026-11-22T02:00:00.000Z</LastModified>";
    let contents =
        keys.iter().map(|key| format!("<Contents><Key>{key}</Key>{date}<Size>7</Size></Contents>"));
    let contents: String = contents.collect();
    answer(200, &format!("<ListBucketResult>{rest}{contents}</ListBucketResult>"), &[])
}

fn truncated(token: &str) -> String {
    format!("<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>")
}

/// More than any sweep would read, some pages of them empty, and some objects twice.
#[test]
fn a_list_is_read_to_its_end_however_long() {
    const PAGES: usize = 300;
    let server = Scripted::start(|_, before| {
        let end = "<IsTruncated>false</IsTruncated>".to_owned();
        let rest = if before + 1 < PAGES { truncated(&format!("t +/={before}")) } else { end };
        let keys = [format!("a/{}", PAGES - before), "a/9".to_owned(), format!("b/{before}")];
        page_of(&keys[..if before % 3 == 1 { 0 } else { 3 }], &rest)
    });
    let listed = server.store().list("a/").unwrap();
    assert_eq!(listed.len(), 200);
    assert!(listed.is_sorted_by(|one, other| one.path < other.path));
    assert_eq!(listed[0].size_bytes, 7);
    assert_eq!(listed[0].modified_at, Some("2026-11-22T02:00:00Z".parse().unwrap()));
    let log = server.log.lock().unwrap();
    assert_eq!(log.len(), PAGES);
    assert_eq!(log[1].raw_parameter("continuation-token").map(decode).unwrap(), "t +/=0");
}

/// A list that breaks off must not pass for a whole one: what is missing in it would count as lost.
#[test]
fn a_list_that_does_not_go_forward_is_refused() {
    let one = || vec!["a/1".to_owned()];
    let no_token = Scripted::start(move |_, _| page_of(&one(), "<IsTruncated>true</IsTruncated>"));
    let same_token = Scripted::start(move |_, _| page_of(&one(), &truncated("same")));
    let nothing_new = Scripted::start(move |_, before| page_of(&one(), &truncated(&before.to_string())));
    let foreign =
        Scripted::start(|_, before| page_of(&[format!("b/{before}")], &truncated(&before.to_string())));
    for (server, requests) in [(no_token, 1), (same_token, 2), (nothing_new, 102), (foreign, 101)] {
        let error = failed(server.store().list("a/")).to_string();
        assert!(error.contains("list of objects") && error.contains("does not come to its end"), "{error}");
        assert_eq!(server.log.lock().unwrap().len(), requests);
    }
    let sizeless = "<ListBucketResult><Contents><Key>a/1</Key></Contents></ListBucketResult>";
    let server = Scripted::start(move |_, _| answer(200, sizeless, &[]));
    assert!(failed(server.store().list("a/")).to_string().contains("no size"));
}

/// Pages over and over, with tokens that come round again or are new each time; tokens and pages as long as no server
/// makes them.
#[test]
fn a_list_that_goes_round_is_refused() {
    let names = |page: usize| vec![format!("a/{page}")];
    let tokens =
        Scripted::start(move |_, before| page_of(&names(before), &truncated(&(before % 7).to_string())));
    let pages =
        Scripted::start(move |_, before| page_of(&names(before % 7), &truncated(&before.to_string())));
    let long = Scripted::start(move |_, before| page_of(&names(before), &truncated(&"t".repeat(10_000))));
    for (server, most) in [(tokens, 30), (pages, 2000), (long, 1)] {
        let error = failed(server.store().list("a/")).to_string();
        assert!(error.contains("does not come to its end"), "{error}");
        let requests = server.log.lock().unwrap().len();
        assert!(requests <= most, "{requests} pages were read");
    }
    let many: Vec<String> = (0..10_001).map(|number| format!("a/{number}")).collect();
    let server = Scripted::start(move |_, _| page_of(&many, ""));
    assert!(failed(server.store().list("a/")).to_string().contains("no such list"));
}

/// S3 has no names, ids or markers of that length.
#[test]
fn what_is_too_long_for_s3_is_passed_over_or_refused() {
    let long = "x".repeat(10_000);
    let keys = [format!("a/{long}"), "a/1".to_owned()];
    let server = Scripted::start(move |_, _| page_of(&keys, ""));
    let listed = server.store().list("a/").unwrap();
    assert_eq!(listed.iter().map(|object| object.path.as_str()).collect::<Vec<_>>(), ["a/1"]);
    let upload = |key: &str, id: &str| format!("<Upload><Key>{key}</Key><UploadId>{id}</UploadId></Upload>");
    let uploads = [upload(&format!("a/{long}"), "1"), upload("a/1", &long), upload("a/2", "2")].concat();
    let marker = format!("<IsTruncated>true</IsTruncated><NextKeyMarker>{long}</NextKeyMarker>");
    for (rest, is_refused) in [(String::new(), false), (marker, true)] {
        let body = format!("<ListMultipartUploadsResult>{rest}{uploads}</ListMultipartUploadsResult>");
        let server = Scripted::start(move |request, _| {
            let none = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";
            answer(200, if request.query().contains("list-type") { none } else { &body }, &[])
        });
        match server.store().stale("a/") {
            Ok(found) => assert!(!is_refused && found.len() == 1 && found[0].path == "a/2", "{found:?}"),
            Err(error) => assert!(is_refused && error.to_string().contains("no name"), "{error}"),
        }
    }
    let version = format!("<Version><Key>a</Key><VersionId>{long}</VersionId></Version>");
    let server = Scripted::start(move |_, _| {
        answer(200, &format!("<ListVersionsResult>{version}</ListVersionsResult>"), &[])
    });
    assert!(failed(server.store().delete("a")).to_string().contains("an id that is none"));
}

/// A server that takes a removal of a version for one of the object must not go unnoticed.
#[test]
fn a_new_object_that_went_with_the_old_one_is_an_error() {
    let (writes, deletes) = (Mutex::new(0), Mutex::new(0));
    let server = Scripted::start(move |request, _| match request.method.as_str() {
        "PUT" => {
            *writes.lock().unwrap() += 1;
            answer(200, "", &[])
        }
        "DELETE" => {
            *deletes.lock().unwrap() += 1;
            answer(204, "", &[])
        }
        _ if *deletes.lock().unwrap() > 0 => {
            answer(404, if request.method == "HEAD" { "" } else { MISSING }, &[])
        }
        _ => {
            let asked = request.raw_parameter("versionId").map(str::to_owned);
            let now = format!("v{}", writes.lock().unwrap());
            answer(200, "x", &[("x-amz-version-id", &asked.unwrap_or(now))])
        }
    });
    let error = failed(server.store().replace_small("key", b"whole")).to_string();
    assert!(error.contains("removed the new object"), "{error}");
}

/// Whatever a server sends without an end, in whichever place, each request ends, and soon.
#[test]
fn answers_without_an_end_end() {
    let yes = "HTTP/1.1 200 Yes\r\nContent-Type: application/xml\r\n";
    let list = "HTTP/1.1 200 Yes\r\nContent-Type: application/xml\r\n\r\n<ListBucketResult>";
    let chunks = "HTTP/1.1 200 Yes\r\nTransfer-Encoding: chunked\r\n\r\n";
    let cases = [
        ("HTTP/1.1 200 ", "a"),
        (yes, "X-More: of it\r\n"),
        (yes, "a"),
        ("", "HTTP/1.1 100 Continue\r\n\r\n"),
        ("HTTP/1.1 403 No\r\n\r\n<Error><Code>", "a"),
        (list, "<a>"),
        (list, "<Contents><Key>a/1</Key></Contents>"),
        (list, "<!-- -->"),
        (chunks, "1;"),
        (chunks, "0"),
        (chunks, "1\r\na\r\n"),
        ("HTTP/1.1 200 Yes\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "X-More: of it\r\n"),
        ("HTTP/1.1 200 Yes\r\nContent-Length: 18446744073709551615\r\n\r\n", "a"),
        ("HTTP/1.1 200 Yes\r\nContent-Length: 99999999999999999999999\r\n\r\n", "a"),
    ];
    std::thread::scope(|scope| {
        for (start, more) in cases {
            scope.spawn(move || assert_ends(start, more));
        }
    });
}

fn assert_ends(start: &'static str, more: &'static str) {
    let fault = FaultServer::start(b2(), Manners::Plain);
    fault.rule(Rule::on("", "").does(Action::Endless(start, more)));
    let mut options = options(&fault.address, "bucket", &b2().credentials);
    options.stall_timeout = Duration::from_secs(2);
    options.request_timeout = Duration::from_secs(3);
    let store = S3Store::new(&options, Interrupt::new()).unwrap();
    let begun = Instant::now();
    let what = format!("{start:?} {more:?}");
    assert!(store.list("a/").is_err(), "{what}");
    assert!(store.get_small("key", 1000).is_err(), "{what}");
    assert!(store.begin("key", 1).is_err(), "{what}");
    assert!(begun.elapsed() < Duration::from_secs(100), "{what}: {:?}", begun.elapsed());
}

/// Documents as deep as they may be long: none overflows a stack.
#[test]
fn documents_without_a_floor_are_refused() {
    for (open, close) in [("<a>", "</a>"), ("<Contents>", "</Contents>"), ("<Key><Size>", "</Size></Key>")] {
        for is_closed in [true, false] {
            let depth = 7_000_000 / (open.len() + close.len());
            let close = if is_closed { close.repeat(depth) } else { String::new() };
            let body = format!("<ListBucketResult>{}{close}</ListBucketResult>", open.repeat(depth));
            let server = Scripted::start(move |_, _| answer(200, &body, &[]));
            // A list of nothing is all that may come of it.
            let listed = server.store().list("a/").unwrap_or_default();
            assert_eq!(listed, []);
            let body = format!("<Error><Code>{}</Code></Error>", open.repeat(10_000));
            let server = Scripted::start(move |_, _| answer(403, &body, &[]));
            assert!(failed(server.store().put_small("key", b"")).to_string().contains("403"));
        }
    }
}

/// A server that breaks off after each byte, or gives one at a time, is not read for ever.
#[test]
fn a_read_that_creeps_is_given_up() {
    let object = |first: usize, length: usize, body: &str| {
        let range = format!("bytes {first}-{}/50000000", first + length - 1);
        let head =
            format!("HTTP/1.1 206 Some\r\nContent-Range: {range}\r\nContent-Length: {length}\r\n\r\n{body}");
        head.into_bytes()
    };
    let first_of = |request: &Request| -> usize {
        let range = header(&request.headers, "range").unwrap();
        range.trim_start_matches("bytes=").split('-').next().unwrap().parse().unwrap()
    };
    let breaks = Scripted::start(move |request, _| object(first_of(request), 1000, "x"));
    let error = read(&breaks.store(), "key").unwrap_err().to_string();
    assert!(error.contains("broke"), "{error}");
    assert!(breaks.log.lock().unwrap().len() <= 10);
    // Each answer is whole, and has one byte.
    let creeps = Scripted::start(move |request, _| {
        std::thread::sleep(Duration::from_millis(20));
        object(first_of(request), 1, "x")
    });
    let mut store_options = options(creeps.address(), "bucket", &b2().credentials);
    store_options.request_timeout = Duration::from_secs(2);
    let store = S3Store::new(&store_options, Interrupt::new()).unwrap();
    let begun = Instant::now();
    let error = read(&store, "key").unwrap_err().to_string();
    assert!(error.contains("too slow") && error.contains("timeouts.request"), "{error}");
    assert!(begun.elapsed() < Duration::from_mins(1), "{:?}", begun.elapsed());
}

/// A list that brings an object now and then is given up in the time of a request.
#[test]
fn a_list_that_creeps_is_given_up() {
    let server = Scripted::start(|_, before| {
        std::thread::sleep(Duration::from_millis(20));
        page_of(&[format!("a/{before}")], &truncated(&before.to_string()))
    });
    let mut store_options = options(server.address(), "bucket", &b2().credentials);
    store_options.request_timeout = Duration::from_secs(2);
    let store = S3Store::new(&store_options, Interrupt::new()).unwrap();
    let begun = Instant::now();
    let error = failed(store.list("a/")).to_string();
    assert!(error.contains("too slow") && error.contains("timeouts.request"), "{error}");
    assert!(begun.elapsed() < Duration::from_mins(1), "{:?}", begun.elapsed());
}
