//! What an S3 store makes of answers that no real server gives on demand.

use super::*;

/// A server that answers with what the test says, and does not wait for a body of a megabyte or more.
pub(super) struct Scripted {
    address: String,
    pub(super) log: Arc<Mutex<Vec<Request>>>,
}

impl Scripted {
    /// `answer` gets each request and how many came before it, and gives the bytes on the wire.
    pub(super) fn start(answer: impl Fn(&Request, usize) -> Vec<u8> + Send + 'static) -> Self {
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

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn store(&self) -> S3Store {
        self.store_of(10_000)
    }

    fn store_of(&self, most_parts: u32) -> S3Store {
        let credentials = Credentials { access_key_id: "id".to_owned(), secret: "secret".to_owned() };
        let options = S3Options { most_parts, ..options(&self.address, "bucket", &credentials) };
        S3Store::new(&options, Interrupt::new()).unwrap()
    }
}

pub(super) fn answer(status: u16, body: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut response = Response::new(status, body);
    if !body.starts_with('<') {
        set_header(&mut response.headers, "Content-Type", "application/octet-stream");
    }
    for (name, value) in headers {
        set_header(&mut response.headers, name, value);
    }
    response.to_bytes()
}

const NO_OBJECTS: &str = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";
const NO_UPLOADS: &str = "<ListMultipartUploadsResult/>";

#[test]
fn the_list_of_unfinished_uploads_is_read_to_its_end() {
    let server = Scripted::start(|request, before| {
        if request.query().contains("list-type") {
            return answer(200, NO_OBJECTS, &[]);
        }
        let rest = if before == 0 {
            "<IsTruncated>true</IsTruncated><NextKeyMarker>a/1 é+</NextKeyMarker>\
             <NextUploadIdMarker>x+/=</NextUploadIdMarker>"
        } else {
            "<IsTruncated>false</IsTruncated><NextKeyMarker>a/9</NextKeyMarker>"
        };
        let body = format!(
            "<?xml version=\"1.0\"?>\n<ListMultipartUploadsResult \
             xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Bucket>b</Bucket>{rest}\
             <Upload><Key>a/{before}&amp;</Key><UploadId>id+{before}</UploadId><Initiated>2026-11-22T02:00:00.000Z</Initiated><Owner><ID>o</ID></Owner></Upload>\
             <Upload><Key>elsewhere</Key><UploadId>other</UploadId></Upload>\
             </ListMultipartUploadsResult>"
        );
        answer(200, &body, &[])
    });
    let found = server.store().stale("a/").unwrap();
    let upload = |key: &str, id: &str| Stale {
        path: key.to_owned(),
        handle: Handle::Upload { key: key.to_owned(), id: id.to_owned() },
        begun_at: Some("2026-11-22T02:00:00Z".parse().unwrap()),
    };
    assert_eq!(found, [upload("a/0&", "id+0"), upload("a/1&", "id+1")]);
    let log = server.log.lock().unwrap();
    assert_eq!(log.len(), 3);
    assert_eq!(log[1].raw_parameter("key-marker").map(decode).unwrap(), "a/1 é+");
    assert_eq!(log[1].raw_parameter("upload-id-marker"), Some("x%2B%2F%3D"));
    assert!(!log[1].target.contains('+'), "{}", log[1].target);
}

#[test]
fn the_list_of_segments_is_read_to_its_end() {
    let server = Scripted::start(|request, before| {
        if request.query().starts_with("uploads") {
            return answer(200, NO_UPLOADS, &[]);
        }
        if request.method == "HEAD" {
            return answer(200, "x", &[]);
        }
        let rest = if before == 1 {
            "<IsTruncated>true</IsTruncated><NextContinuationToken>x +/=</NextContinuationToken>"
        } else {
            "<IsTruncated>false</IsTruncated>"
        };
        let first: &[&str] = &["a/1.pgk", "a/1.pgk.json", "a/1.pgk.segment-2"];
        let keys = if before == 1 { first } else { &["a/1.pgk.segment-3", "a/2.segment-x", "b/3.segment-2"] };
        let contents: Vec<String> =
            keys.iter().map(|key| format!("<Contents><Key>{key}</Key><Size>1</Size></Contents>")).collect();
        answer(200, &format!("<ListBucketResult>{rest}{}</ListBucketResult>", contents.concat()), &[])
    });
    let found = server.store().stale("a/").unwrap();
    let segment = |number: u32| Stale {
        path: "a/1.pgk".to_owned(),
        handle: Handle::Object(format!("a/1.pgk.segment-{number}")),
        begun_at: None,
    };
    assert_eq!(found, [segment(2), segment(3)]);
    let log = server.log.lock().unwrap();
    let lists: Vec<_> = log.iter().filter(|request| request.query().contains("list-type")).collect();
    assert_eq!(lists[0].raw_parameter("prefix").map(decode).unwrap(), "a/");
    assert_eq!(lists[1].raw_parameter("continuation-token").map(decode).unwrap(), "x +/=");
    assert!(!lists[1].target.contains('+'), "{}", lists[1].target);
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
    let server = Scripted::start(|request, before| {
        let body = format!(
            "<ListBucketResult><IsTruncated>true</IsTruncated>\
             <NextContinuationToken>{before}</NextContinuationToken></ListBucketResult>"
        );
        answer(200, if request.query().starts_with("uploads") { NO_UPLOADS } else { &body }, &[])
    });
    let error = failed(server.store().stale("")).to_string();
    assert!(error.contains("list of objects") && error.contains("come to its end"), "{error}");
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

/// Some servers know no copies and take a part without bytes for one.
#[test]
fn a_server_that_knows_no_copies_is_refused() {
    let server = Scripted::start(|request, _| match request.method.as_str() {
        "POST" if request.query().starts_with("uploads") => answer(
            200,
            "<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>",
            &[],
        ),
        "POST" => answer(200, COMPLETED, &[]),
        "PUT" => answer(200, "", &[("ETag", "\"any\"")]),
        "HEAD" => answer(200, if request.path().ends_with("segment-2") { "x" } else { "xx" }, &[]),
        _ => answer(204, "", &[]),
    });
    let mut upload = server.store_of(2).begin("key", 1).unwrap();
    for number in 1..=3 {
        upload.write(part(number, b"x")).unwrap();
    }
    let error = failed(upload.publish()).to_string();
    assert!(error.contains("copy of part") && error.contains("neither yes nor no"), "{error}");
    let log = server.log.lock().unwrap();
    let copy = log.iter().find(|request| header(&request.headers, "x-amz-copy-source").is_some()).unwrap();
    let value = |name: &str| header(&copy.headers, name).unwrap();
    assert!(value("x-amz-copy-source").starts_with("bucket/key"));
    assert_eq!(value("x-amz-copy-source-if-match"), "\"abc-1\"");
    assert_eq!(value("content-length"), "0");
    let removed = log.iter().filter(|request| request.method == "DELETE" && request.query().is_empty());
    let removed: Vec<&str> = removed.map(Request::path).collect();
    assert_eq!(removed, ["/bucket/key", "/bucket/key.segment-2"]);
}

pub(super) const MISSING: &str = "<Error><Code>NoSuchKey</Code></Error>";

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
