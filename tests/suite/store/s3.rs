//! What an S3 store does when its server does not behave, in front of a real one.

use super::*;

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
        failed(store.hide("key")),
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
    // The request, another try, and the look for what the server may have begun without saying so.
    assert!(taken >= Duration::from_secs(1) && taken < Duration::from_secs(12), "{taken:?}");
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
