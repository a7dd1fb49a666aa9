//! Addresses that are signed in their query: of one part of a multipart upload, of one version of an
//! object, of a list of versions.
//! It must not know what they hold. Signature Version 4, as the Amazon S3 API Reference has it ("query parameters").

use std::collections::HashMap;

use orion::hazardous::mac::hmac::sha256::{HmacSha256, SecretKey};
use s3::Bucket;
use s3::command::Command;
use s3::request::Request as _;
use s3::request::blocking::AttoRequest;
use s3::signing;
use ureq::http::HeaderMap;

use super::error::S3Error;
use super::hex;

/// How long the signature of a part's address holds: longer than any part may take.
const HOLDS_SECONDS: u32 = 3600;

/// What tells one part of an upload from the others.
#[derive(Clone, Copy)]
pub(super) struct PartAddress<'a> {
    pub(super) upload_id: &'a str,
    pub(super) number: u32,
}

impl PartAddress<'_> {
    /// The address to PUT the part to, with a signature over it and over `headers`, all of which must
    /// be sent. The payload is not signed.
    pub(super) fn url(
        &self,
        bucket: &Bucket,
        operation: &str,
        path: &str,
        headers: &HeaderMap,
    ) -> Result<String, S3Error> {
        let queries = HashMap::from([
            ("partNumber".to_owned(), self.number.to_string()),
            ("uploadId".to_owned(), self.upload_id.to_owned()),
        ]);
        signed(bucket, "PUT", path, &queries, headers).ok_or_else(|| unsignable(operation))
    }
}

/// The address of an object, or of the bucket by an empty path, with queries, for requests of that method.
pub(super) fn with_queries(
    bucket: &Bucket,
    operation: &str,
    method: &str,
    path: &str,
    queries: &HashMap<String, String>,
) -> Result<String, S3Error> {
    signed(bucket, method, path, queries, &HeaderMap::new()).ok_or_else(|| unsignable(operation))
}

fn unsignable(operation: &str) -> S3Error {
    S3Error::refused(operation, "the request can't be signed")
}

/// rust-s3 0.38 puts the headers in order by name and value together, so that its signature is wrong
/// where one name begins with another (`x-amz-copy-source`, `x-amz-copy-source-range`), and leaves
/// the queries out of the address: the canonical request is made here, of its pieces.
fn signed(
    bucket: &Bucket,
    method: &str,
    path: &str,
    queries: &HashMap<String, String>,
    headers: &HeaderMap,
) -> Option<String> {
    // The piece of rust-s3 that takes queries; the method stands in the canonical request alone.
    let command =
        Command::PresignPut { expiry_secs: HOLDS_SECONDS, custom_headers: None, custom_queries: None };
    // The signer takes off one leading slash.
    let path = format!("/{path}");
    let request = AttoRequest::new(bucket, &path, command).ok()?;
    let url = request.presigned_url_no_sig(HOLDS_SECONDS, Some(headers), Some(queries)).ok()?;
    let mut signed = vec![("host", request.host_header())];
    for (name, value) in headers {
        signed.push((name.as_str(), value.to_str().ok()?.trim().to_owned()));
    }
    signed.sort();
    let lines: Vec<String> = signed.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let names: Vec<&str> = signed.iter().map(|(name, _)| *name).collect();
    let canonical = format!(
        "{method}\n{}\n{}\n{}\n{}\nUNSIGNED-PAYLOAD",
        signing::canonical_uri_string(&url),
        signing::canonical_query_string(&url),
        lines.concat(),
        names.join(";")
    );
    let to_sign = request.string_to_sign(&canonical).ok()?;
    let key = SecretKey::try_from(request.signing_key().ok()?.as_slice()).ok()?;
    let tag = HmacSha256::hmac(&key, to_sign.as_bytes()).ok()?;
    Some(format!("{url}&X-Amz-Signature={}", hex(tag.unprotected_as_ref())))
}
