//! Reads what a server answers. All of it comes from outside: bounded, and not taken for a yes where it is
//! an error document or a web page that came with a status of success.

use std::io::Read;
use std::time::Duration;

use jiff::Timestamp;
use ureq::Body;
use ureq::http::Response;
use ureq::http::header::{CONTENT_LENGTH, CONTENT_TYPE, DATE, RETRY_AFTER};

use super::bounded::bounded;
use super::error::S3Error;
use super::place::{Place, Said};
use super::words;
use super::xml::{self, ErrorDocument};

/// Enough for every document but a list.
pub(super) const DOCUMENT_LIMIT_BYTES: u64 = 64 * 1024;

/// The whole body of an answer, of which more than `limit_bytes` is an error.
pub(super) fn read_body(
    operation: &str,
    answer: Response<Body>,
    limit_bytes: u64,
    place: &Place,
) -> Result<Vec<u8>, S3Error> {
    let announced = length_of(&answer);
    let body = answer.into_body();
    let read = move || {
        let mut bytes = Vec::new();
        let reader = body.into_with_config().limit(u64::MAX).reader();
        reader.take(limit_bytes.saturating_add(1)).read_to_end(&mut bytes).map(|_| bytes)
    };
    let bytes =
        bounded(operation, place, read)?.map_err(|error| S3Error::from_io(operation, &error, place))?;
    let count = bytes.len() as u64;
    if count > limit_bytes {
        let message = format!("the answer is larger than {limit_bytes} bytes");
        return Err(S3Error::refused(operation, message));
    }
    match announced {
        Some(announced) if announced != count => {
            Err(S3Error::passing(operation, format!("the answer ended after {count} of {announced} bytes")))
        }
        _ => Ok(bytes),
    }
}

/// A document that must not be the one of an error.
pub(super) fn document(operation: &str, answer: Response<Body>, place: &Place) -> Result<Vec<u8>, S3Error> {
    let body = read_body(operation, answer, DOCUMENT_LIMIT_BYTES, place)?;
    hidden_refusal(operation, &body, place).map_or(Ok(body), Err)
}

/// An answer about an object or a part, which has an entity tag. A document in its place is an error that
/// came with a status of success, or nothing that S3 has.
pub(super) fn of_object(
    operation: &str,
    answer: Response<Body>,
    place: &Place,
) -> Result<Response<Body>, S3Error> {
    if etag_of(&answer).is_some() || !is_of_type(&answer, "xml") || length_of(&answer) == Some(0) {
        return Ok(answer);
    }
    document(operation, answer, place)?;
    Err(S3Error::passing(operation, "the answer says neither yes nor no"))
}

/// An error document that came with a status of success.
pub(super) fn hidden_refusal(operation: &str, body: &[u8], place: &Place) -> Option<S3Error> {
    let document = xml::parse::<ErrorDocument>("Error", body)?;
    Some(S3Error::from_answer(operation, 200, &Said { document, ..Said::default() }, place))
}

/// Whether a web page came in the place of what S3 gives: from a proxy, or from another kind of server.
pub(super) fn is_page<T>(answer: &Response<T>) -> bool {
    is_of_type(answer, "html") && etag_of(answer).is_none() && length_of(answer) != Some(0)
}

fn is_of_type<T>(answer: &Response<T>, word: &str) -> bool {
    let value = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.is_some_and(|value| value.to_ascii_lowercase().contains(word))
}

/// What an answer other than a success says.
pub(super) fn refusal(operation: &str, answer: Response<Body>, place: &Place) -> S3Error {
    let status = answer.status();
    let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let retry_after = header(RETRY_AFTER).and_then(|value| value.parse().ok()).map(Duration::from_secs);
    let date = header(DATE).and_then(|value| jiff::fmt::rfc2822::parse(value).ok());
    let clock_lead = date.map(|date| date.timestamp().as_second().saturating_sub(own_clock()));
    let is_page = is_page(&answer);
    if status.is_success() {
        return S3Error {
            hint: Some(words::PAGE.to_owned()),
            ..S3Error::refused(operation, "no answer of S3")
        };
    }
    let read = move || {
        let mut body = Vec::new();
        let read = answer.into_body().into_reader().take(DOCUMENT_LIMIT_BYTES).read_to_end(&mut body);
        (body, read)
    };
    // An answer that breaks off still has its status: what came of the body is read, if it can be.
    let body = match bounded(operation, place, read) {
        Ok((body, Ok(_))) => body,
        Ok((body, Err(error))) => {
            log::debug!("{operation}: the body of a refusal ended early: {error}");
            body
        }
        Err(error) => return error,
    };
    let document = xml::parse("Error", &body).unwrap_or_default();
    S3Error::from_answer(
        operation,
        status.as_u16(),
        &Said { document, retry_after, clock_lead, is_page },
        place,
    )
}

#[allow(clippy::disallowed_methods, reason = "it is this host's clock that is looked at")]
fn own_clock() -> i64 {
    Timestamp::now().as_second()
}

/// The entity tag of an answer, without quotes.
pub(super) fn etag_of<T>(answer: &Response<T>) -> Option<String> {
    let value = answer.headers().get("etag")?.to_str().ok()?;
    Some(value.trim().trim_matches('"').to_owned()).filter(|etag| !etag.is_empty())
}

/// The id of the version that an answer is about. That there is one does not say that the bucket keeps
/// versions: R2 gives ids and keeps none.
pub(super) fn version_of<T>(answer: &Response<T>) -> Option<String> {
    let value = answer.headers().get("x-amz-version-id")?.to_str().ok()?.trim();
    (!value.is_empty()).then(|| value.to_owned())
}

/// Whether the answer to a delete says that it made a mark of a removal, and removed nothing.
pub(super) fn hides<T>(answer: &Response<T>) -> bool {
    answer.headers().get("x-amz-delete-marker").is_some_and(|value| value.as_bytes() == b"true")
}

/// The Content-Length of an answer.
pub(super) fn length_of<T>(answer: &Response<T>) -> Option<u64> {
    answer.headers().get(CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

/// Whether the body of an answer is one of the documents that this store reads, whichever.
pub(crate) fn is_document(body: &[u8]) -> bool {
    use xml::{Initiated, Objects, Tagged, Uploads, Versions, parse};
    parse::<ErrorDocument>("Error", body).is_some()
        || parse::<Initiated>("InitiateMultipartUploadResult", body).is_some()
        || parse::<Tagged>("CompleteMultipartUploadResult", body).is_some_and(|answer| answer.tag().is_some())
        || parse::<Tagged>("CopyPartResult", body).is_some_and(|answer| answer.tag().is_some())
        || parse::<Uploads>("ListMultipartUploadsResult", body).is_some()
        || parse::<Objects>("ListBucketResult", body).is_some()
        || parse::<Versions>("ListVersionsResult", body).is_some()
}

/// What the refusal in the body of an answer says to a person.
pub(crate) fn refusal_in(body: &[u8]) -> Option<String> {
    let document: ErrorDocument = xml::parse("Error", body)?;
    let said = Said { document, ..Said::default() };
    Some(S3Error::from_answer("request", 400, &said, &Place::default()).to_string())
}
