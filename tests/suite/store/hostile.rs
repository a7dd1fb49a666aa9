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
