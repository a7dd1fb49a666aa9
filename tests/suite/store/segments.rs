//! Artifacts of more parts than an S3 upload may have: joined by the server, or nothing is there.

use super::*;

/// An artifact in two segments, the second of which has one byte, where an upload has at most two parts.
const IN_TWO: usize = 2 * PART + 1;

fn in_twos(manners: Manners) -> (S3Store, Bucket, FaultServer) {
    s3_of(b2(), manners, 2, &Interrupt::new())
}

/// First and last byte of each copy that was asked for without a refusal, in order.
fn copies(fault: &FaultServer) -> Vec<(u32, u64)> {
    let mut copies = Vec::new();
    for request in fault.requests() {
        if let Some(range) = header(&request.headers, "x-amz-copy-source-range") {
            let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
            let size = last.parse::<u64>().unwrap() + 1 - first.parse::<u64>().unwrap();
            copies.push((request.raw_parameter("partNumber").unwrap().parse().unwrap(), size));
        }
    }
    copies.sort_unstable();
    copies.dedup();
    copies
}

fn assert_nothing_left(bucket: &Bucket, what: &str) {
    assert_eq!(bucket.keys(), Vec::<String>::new(), "{what}");
    assert_eq!(bucket.uploads().len(), 0, "{what}");
}

fn assert_whole(store: &S3Store, bucket: &Bucket, bytes: &[u8], stored: &pgkeep::store::Stored) {
    assert_eq!(stored.size_bytes, bytes.len() as u64);
    let stat = store.stat("key").unwrap().unwrap();
    assert_eq!((stat.size_bytes, &stat.etag), (stored.size_bytes, &stored.etag));
    assert_equal(&read(store, "key").unwrap(), bytes);
    assert_eq!(bucket.uploads().len(), 0);
}

fn grows(server: &'static Server, manners: Manners, most_parts: u32, size: usize) {
    let (store, bucket, fault) = s3_of(server, manners, most_parts, &Interrupt::new());
    let bytes = content(size);
    let stored = publish(&store, "key", &bytes).unwrap();
    assert_whole(&store, &bucket, &bytes, &stored);
    assert_eq!(bucket.keys(), ["key"]);
    let copies = copies(&fault);
    let parts = size.div_ceil(PART);
    if parts <= most_parts as usize {
        assert_eq!((copies.len(), stored.part_size_bytes), (0, None));
        assert!(fault.requests().iter().all(|request| !request.target.contains("segment")));
        return;
    }
    let copied = (most_parts as usize * PART) as u64;
    assert_eq!(stored.part_size_bytes, Some(copied));
    assert!(copies.len() <= most_parts as usize, "{copies:?}");
    assert_eq!(copies.iter().map(|(_, size)| size).sum::<u64>(), size as u64);
    let (last, others) = copies.split_last().unwrap();
    assert!(others.iter().all(|(_, size)| *size == copied) && last.1 <= copied, "{copies:?}");
    // No byte goes out twice.
    let requests = fault.requests();
    let sent = requests.iter().filter(|request| request.target.contains("partNumber"));
    let sent = sent.filter_map(|request| header(&request.headers, "content-length"));
    assert_eq!(sent.map(|size| size.parse::<usize>().unwrap()).sum::<usize>(), size);
}

#[test]
fn an_artifact_of_any_number_of_parts_arrives_whole() {
    for size in [1, 3 * PART, 3 * PART + 1, 4 * PART, 7 * PART] {
        grows(r2(), Manners::r2(), 3, size);
        grows(b2(), Manners::B2, 3, size);
    }
}

#[test]
fn an_estimate_may_be_many_times_too_small() {
    grows(r2(), Manners::r2(), 5, 20 * PART + 7);
    grows(b2(), Manners::B2, 6, 30 * PART);
}

#[test]
fn odd_keys_are_copied_as_they_are() {
    for (server, manners) in [(r2(), Manners::r2()), (b2(), Manners::B2)] {
        let (store, bucket, _fault) = s3_of(server, manners, 2, &Interrupt::new());
        for key in ["a/my%22db%20%C3%A9/x", "b c/é ü/+&=?#;'()*!~@$,:[]"] {
            let bytes = content(IN_TWO);
            publish(&store, key, &bytes).unwrap();
            assert_eq!(bucket.keys(), [key]);
            assert_equal(&read(&store, key).unwrap(), &bytes);
            store.hide(key).unwrap();
        }
    }
}

/// The limit of what can be joined shows when it is passed, not when all is sent.
#[test]
fn an_artifact_that_can_not_be_joined_is_refused_early() {
    let (store, bucket, _fault) = in_twos(Manners::Plain);
    let mut upload = store.begin("key", PART as u64).unwrap();
    let bytes = content(PART);
    for number in 1..=4 {
        upload.write(part(number, &bytes)).unwrap();
    }
    let error = failed(upload.write(part(5, b"x"))).to_string();
    assert!(error.contains("of which an S3 upload has at most 2"), "{error}");
    drop(upload);
    assert_nothing_left(&bucket, "refused");
}

#[test]
fn nothing_is_visible_before_and_nothing_is_left_after_an_abort() {
    for way in ["abort", "drop"] {
        let (store, bucket, _fault) = in_twos(Manners::r2());
        let mut upload = store.begin("key", PART as u64).unwrap();
        send(&mut upload, &content(IN_TWO)).unwrap();
        assert_eq!(bucket.keys(), Vec::<String>::new());
        let open = store.stale("ke").unwrap();
        assert_eq!(open.iter().map(|stale| &*stale.path).collect::<Vec<_>>(), ["key", "key"]);
        if way == "abort" {
            upload.abort().unwrap();
        } else {
            drop(upload);
        }
        assert_nothing_left(&bucket, way);
    }
}

#[test]
fn what_keeps_the_segments_from_being_joined_leaves_nothing() {
    let refused = |status, code| Action::Refuse { status, code, retry_after: None };
    let cases: [(Rule, Action, &str); 6] = [
        (Rule::on_copy(), refused(403, "AccessDenied"), "AccessDenied"),
        (Rule::on_copy().after(1), refused(500, "InternalError"), "InternalError"),
        (Rule::on_copy(), Action::OkWithError { code: "AccessDenied" }, "AccessDenied"),
        (Rule::on_copy(), refused(412, "PreconditionFailed"), "replaced"),
        (Rule::on("POST", "uploadId").after(2), refused(400, "InvalidPart"), "InvalidPart"),
        (
            Rule::on("POST", "uploadId").after(1),
            Action::OkWithError { code: "InternalError" },
            "InternalError",
        ),
    ];
    for (rule, action, cause) in cases {
        let (store, bucket, fault) = in_twos(Manners::Plain);
        fault.rule(rule.sticks().does(action.clone()));
        let error = publish(&store, "key", &content(IN_TWO)).expect_err(cause).to_string();
        assert!(error.contains(cause), "{action:?}: {error}");
        assert_nothing_left(&bucket, &format!("{action:?}"));
    }
}

/// Each request in turn is refused once by a server in trouble.
#[test]
fn each_request_may_fail_once() {
    for nth in 0.. {
        let (store, bucket, fault) = in_twos(Manners::Plain);
        fault.rule(Rule::on("", "").after(nth).times(1).refuse(503, "SlowDown"));
        let bytes = content(IN_TWO);
        let stored = publish(&store, "key", &bytes).unwrap();
        let count = fault.requests().len();
        assert_whole(&store, &bucket, &bytes, &stored);
        assert_eq!(bucket.keys(), ["key"], "request {nth}");
        if count <= nth {
            assert!(nth > 15, "only {nth} requests");
            break;
        }
    }
}

/// Each request in turn is refused for good: either the whole object is there, or nothing is.
#[test]
fn each_request_may_fail_for_good() {
    let mut ended_well = 0;
    for nth in 0.. {
        let (store, bucket, fault) = in_twos(Manners::Plain);
        fault.rule(Rule::on("", "").after(nth).times(1).sticks().refuse(403, "AccessDenied"));
        let bytes = content(IN_TWO);
        let outcome = publish(&store, "key", &bytes);
        let count = fault.requests().len();
        fault.heal();
        match outcome {
            Ok(stored) => {
                assert_whole(&store, &bucket, &bytes, &stored);
                let is_left =
                    fault.requests()[..count].last().unwrap().method == "DELETE" && count == nth + 1;
                let expected: &[&str] = if is_left { &["key", "key.segment-2"] } else { &["key"] };
                assert_eq!(bucket.keys(), expected, "request {nth}");
                ended_well += 1;
            }
            Err(_) => assert_nothing_left(&bucket, &format!("request {nth}")),
        }
        if count <= nth {
            break;
        }
    }
    assert!((2..8).contains(&ended_well), "{ended_well}");
}

/// Each answer in turn is lost, though the server did what it was asked for.
#[test]
fn each_answer_may_be_lost() {
    for nth in 0.. {
        let (store, bucket, fault) = in_twos(Manners::Plain);
        fault.rule(Rule::on("", "").after(nth).times(1).does(Action::LoseAnswer));
        let bytes = content(IN_TWO);
        let stored =
            publish(&store, "key", &bytes).unwrap_or_else(|error| panic!("request {nth}: {error:#}"));
        let count = fault.requests().len();
        store.put_small("key.json", b"{}").unwrap();
        // An upload whose id was never heard of is for the sweep.
        for stale in store.stale("key").unwrap() {
            store.delete_stale_upload(&stale).unwrap();
        }
        assert_whole(&store, &bucket, &bytes, &stored);
        assert_eq!(bucket.keys(), ["key", "key.json"], "request {nth}");
        if count <= nth {
            break;
        }
    }
}

#[test]
fn an_interrupt_ends_the_joining_and_still_cleans_up() {
    let hasty = Action::Refuse { status: 503, code: "SlowDown", retry_after: Some("8") };
    for action in [hasty, Action::Hang] {
        let interrupt = Interrupt::new();
        let (bucket, fault) = (b2().bucket(), FaultServer::start(b2(), Manners::Plain));
        let usual = options(&fault.address, &bucket.name, &b2().credentials);
        let options = S3Options { most_parts: 2, stall_timeout: Duration::from_mins(1), ..usual };
        let store = S3Store::new(&options, interrupt.clone()).unwrap();
        fault.rule(Rule::on_copy().does(action.clone()));
        let mut upload = store.begin("key", PART as u64).unwrap();
        send(&mut upload, &content(IN_TWO)).unwrap();
        let publishing = std::thread::spawn(move || upload.publish());
        wait_until("a copy was asked for", || !copies(&fault).is_empty());
        let start = Instant::now();
        interrupt.raise(15);
        failed(publishing.join().unwrap());
        assert!(start.elapsed() < Duration::from_secs(9), "{action:?}: {:?}", start.elapsed());
        assert_nothing_left(&bucket, &format!("{action:?}"));
    }
}

/// A segment that is not the one that was uploaded is never part of an artifact, on a server that looks
/// at the tag it is asked to look at, and on one that knows no such condition.
#[test]
fn a_segment_that_was_replaced_is_refused() {
    for (server, manners) in [(r2(), Manners::r2()), (b2(), Manners::B2)] {
        let (store, bucket, fault) = s3_of(server, manners, 2, &Interrupt::new());
        let busy = Action::Refuse { status: 503, code: "SlowDown", retry_after: Some("1") };
        fault.rule(Rule::on("POST", "uploads").after(2).does(busy));
        let mut upload = store.begin("key", PART as u64).unwrap();
        send(&mut upload, &content(IN_TWO)).unwrap();
        let publishing = std::thread::spawn(move || upload.publish());
        wait_until("the segments are complete", || fault.count("POST", "uploads") == 3);
        bucket.put("key.segment-2", b"X");
        fault.heal();
        let error = failed(publishing.join().unwrap()).to_string();
        assert!(error.contains("replaced"), "{error}");
        assert_nothing_left(&bucket, "replaced");
    }
}

/// Where the bucket keeps versions, nothing of the segments stays hidden in it.
#[test]
fn a_bucket_with_versions_keeps_no_segment() {
    let (store, bucket, _fault) = s3_of(b2(), Manners::B2, 2, &Interrupt::new());
    bucket.set_versions("Enabled");
    let bytes = content(3 * PART + 3);
    publish(&store, "a/key", &bytes).unwrap();
    assert_equal(&bucket.get("a/key"), &bytes);
    assert_eq!(bucket.versions("a/").len(), 1, "{:?}", bucket.versions("a/"));
}
