//! One multipart upload: begun, given its parts, completed or aborted. It must not know what an artifact
//! is, nor which of its uploads this one is; nothing is visible under its key before it is completed.

use std::io::{self, Read};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::Timestamp;
use md5::{Digest, Md5};
use s3::command::Command;
use s3::serde_types::{CompleteMultipartUploadData, Part as CompletedPart};
use ureq::Body;
use ureq::http::Response;

use super::address::PartAddress;
use super::answer::{self, etag_of};
use super::client::{CopySource, Extras, OutgoingPart, query_value};
use super::error::S3Error;
use super::lock::Lock;
use super::queue::interrupted;
use super::xml::{self, Initiated, Tagged};
use super::{CONTENT_TYPE, Shared, hex, starts};
use crate::store::{Part, Stored, Traffic};

const COMPLETION: &str = "completion of upload";

/// An upload that the server knows of. Whoever has it must complete or abort it.
pub(super) struct Multipart {
    pub(super) shared: Arc<Shared>,
    pub(super) path: String,
    upload_id: String,
    /// The lock that the object will have.
    lock: Option<Lock>,
}

/// All parts of an upload, in order.
pub(super) struct Whole {
    pub(super) etags: Vec<String>,
    /// The MD5s of the parts, one after the other, where all of them are known.
    pub(super) part_md5s: Option<Vec<u8>>,
    pub(super) size_bytes: u64,
    pub(super) origin: Origin,
}

/// Where the server has the parts from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// They were sent, each with its MD5.
    Sent,
    /// It copied them itself.
    Copied,
}

impl Whole {
    /// The entity tag that the object will have where tags are MD5s: that of the parts' MD5s.
    fn expected_etag(&self) -> Option<String> {
        let part_md5s = self.part_md5s.as_ref()?;
        Some(format!("{}-{}", hex(&Md5::digest(part_md5s)), self.etags.len()))
    }
}

impl Multipart {
    /// Begins one whose object will have that lock.
    pub(super) fn begin(shared: Arc<Shared>, path: &str, lock: Option<Lock>) -> Result<Self, S3Error> {
        shared.starts.enter(path);
        match initiate(&shared, path, lock) {
            Ok(upload_id) => Ok(Self { shared, path: path.to_owned(), upload_id, lock }),
            Err(error) => {
                starts::leave(&shared, path);
                Err(error)
            }
        }
    }

    /// Ends it and removes its parts; one that is gone is no error. Short, and deaf to the interrupt.
    pub(super) fn abort(&self) -> Result<(), S3Error> {
        self.shared.abort(&self.path, &self.upload_id)
    }

    /// Sends a part as the one of that number, and gives its entity tag.
    pub(super) fn send(
        &self,
        number: u32,
        part: &Arc<Part>,
        traffic: &Arc<Traffic>,
    ) -> Result<String, S3Error> {
        let operation = format!("upload of part {}", part.number);
        let content_md5 = STANDARD.encode(part.md5);
        let mut outgoing = OutgoingPart {
            address: self.address(number),
            size_bytes: part.size_bytes,
            content_md5: &content_md5,
            asks_first: false,
        };
        self.shared.part_policy.run(|| {
            if traffic.is_cancelled() || self.shared.interrupt.is_raised() {
                return Err(interrupted(&operation));
            }
            let body = PartReader::new(part, traffic);
            let place = &self.shared.client.place;
            let sent = self.shared.client.send_part(&operation, &self.path, &outgoing, body);
            outgoing.asks_first = true;
            sent.and_then(|answer| answer::of_object(&operation, answer, place))
                .and_then(|answer| checked_etag(&operation, &answer, part))
                .inspect(|_| traffic.forget_problem())
                .inspect_err(|error| traffic.note(error))
        })
    }

    /// Has the server copy bytes of another object as the part of that number, and gives its entity tag.
    pub(super) fn copy(
        &self,
        operation: &str,
        number: u32,
        from: &CopySource<'_>,
    ) -> Result<String, S3Error> {
        let client = &self.shared.client;
        self.shared.part_policy.run(|| {
            if self.shared.interrupt.is_raised() {
                return Err(interrupted(operation));
            }
            let answer = client.copy_part(operation, &self.path, self.address(number), from)?;
            let body = answer::document(operation, answer, &client.place)?;
            // A server that does not know copies takes an empty part, and gives no such document.
            let copied: Tagged = xml::parse("CopyPartResult", &body)
                .ok_or_else(|| S3Error::passing(operation, "the answer says neither yes nor no"))?;
            usable_etag(operation, copied.tag())
        })
    }

    fn locked_until(&self) -> Option<Timestamp> {
        self.lock.map(|lock| lock.until)
    }

    fn address(&self, number: u32) -> PartAddress<'_> {
        PartAddress { upload_id: &self.upload_id, number }
    }

    /// Makes the object visible, and says what it is.
    pub(super) fn complete(&self, whole: &Whole) -> Result<Stored, S3Error> {
        let mut patience = self.shared.policy.patience();
        let mut is_ambiguous = false;
        loop {
            match self.attempt_completion(whole) {
                Ok(etag) => return self.confirm(etag, whole),
                Err(error) => {
                    let is_gone = is_ambiguous && error.is_code("NoSuchUpload");
                    if (error.is_passing() || is_gone)
                        && let Some(stored) = self.settle(whole, is_gone)
                    {
                        return Ok(stored);
                    }
                    is_ambiguous |= error.is_passing();
                    if !patience.another(&error) {
                        return Err(error);
                    }
                }
            }
        }
    }

    fn attempt_completion(&self, whole: &Whole) -> Result<Option<String>, S3Error> {
        let client = &self.shared.client;
        let parts = (1..)
            .zip(&whole.etags)
            .map(|(part_number, etag)| CompletedPart { part_number, etag: format!("\"{etag}\"") })
            .collect();
        let encoded_id = query_value(&self.upload_id);
        let data = CompleteMultipartUploadData { parts };
        let command = Command::CompleteMultipartUpload { upload_id: &encoded_id, data };
        let answer = client.send(COMPLETION, &self.path, command, Extras::default())?;
        let body = answer::document(COMPLETION, answer, &client.place)?;
        let completed: Tagged = xml::parse("CompleteMultipartUploadResult", &body)
            .ok_or_else(|| S3Error::passing(COMPLETION, "the answer says neither yes nor no"))?;
        Ok(completed.tag())
    }

    /// Whether an upload whose completion brought no clear answer was completed after all. The tag
    /// tells the new object from an older one of the same size; where the server makes its tags in
    /// another way, that the upload is gone does.
    fn settle(&self, whole: &Whole, is_gone: bool) -> Option<Stored> {
        let stat = self.shared.stat(COMPLETION, &self.path).ok()??;
        let is_ours = is_gone || (stat.etag.is_some() && stat.etag == whole.expected_etag());
        (is_ours && stat.size_bytes == whole.size_bytes).then_some(Stored {
            size_bytes: stat.size_bytes,
            etag: stat.etag,
            part_size_bytes: None,
            locked_until: self.locked_until(),
        })
    }

    /// Compares the size of what became visible with what was sent.
    fn confirm(&self, etag: Option<String>, whole: &Whole) -> Result<Stored, S3Error> {
        // The tag that it is looked up by later is that of a look, where a server forms them in two ways.
        let (size_bytes, etag) = match self.shared.look(COMPLETION, &self.path, None) {
            Ok(Some(look)) => {
                if let Some(lock) = self.lock.filter(|_| !look.is_locked) {
                    log::warn!(
                        "`{}` was to be locked until {}, and the server shows no lock on it",
                        self.path,
                        lock.until
                    );
                }
                let size_bytes =
                    look.size_bytes.ok_or_else(|| S3Error::refused(COMPLETION, "the server gave no size"))?;
                (size_bytes, look.etag.or(etag))
            }
            Ok(None) => return Err(S3Error::refused(COMPLETION, "the object is not there")),
            // The server has taken every part by its MD5 and completed the upload: a key that may
            // not read does not undo that.
            Err(error) if whole.origin == Origin::Sent => {
                log::debug!("{error}");
                (whole.size_bytes, etag)
            }
            Err(error) => return Err(error),
        };
        if size_bytes != whole.size_bytes {
            let message = format!("the object has {size_bytes} bytes where {} were sent", whole.size_bytes);
            return Err(S3Error::refused(COMPLETION, message));
        }
        Ok(Stored { size_bytes, etag, part_size_bytes: None, locked_until: self.locked_until() })
    }
}

impl Drop for Multipart {
    fn drop(&mut self) {
        starts::leave(&self.shared, &self.path);
    }
}

/// The bytes of a part, block by block; ends with an error as soon as the upload is cancelled.
struct PartReader {
    part: Arc<Part>,
    /// The next block, and what is left of the one before it.
    next: usize,
    block: Bytes,
    traffic: Arc<Traffic>,
}

impl PartReader {
    fn new(part: &Arc<Part>, traffic: &Arc<Traffic>) -> Self {
        Self { part: Arc::clone(part), next: 0, block: Bytes::new(), traffic: Arc::clone(traffic) }
    }
}

impl Read for PartReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.traffic.is_cancelled() {
            return Err(io::Error::other("the upload was aborted"));
        }
        let mut filled = 0;
        while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
            if self.block.is_empty() {
                let Some(block) = self.part.blocks.get(self.next) else { break };
                self.block = block.clone();
                self.next = self.next.saturating_add(1);
                continue;
            }
            let some = self.block.split_to(room.len().min(self.block.len()));
            room.get_mut(..some.len()).unwrap_or_default().copy_from_slice(&some);
            filled = filled.saturating_add(some.len());
        }
        self.traffic.add(filled as u64);
        Ok(filled)
    }
}

fn initiate(shared: &Shared, path: &str, lock: Option<Lock>) -> Result<String, S3Error> {
    shared
        .policy
        .run(|| attempt_start(shared, path, lock).inspect_err(|error| shared.starts.fail(path, error)))
}

fn attempt_start(shared: &Shared, path: &str, lock: Option<Lock>) -> Result<String, S3Error> {
    let operation = "start of upload";
    let client = &shared.client;
    let command = Command::InitiateMultipartUpload { content_type: CONTENT_TYPE };
    let answer = client.send(operation, path, command, Extras { lock, ..Extras::default() })?;
    let body = answer::document(operation, answer, &client.place)?;
    xml::parse::<Initiated>("InitiateMultipartUploadResult", &body)
        .map(|initiated| initiated.upload_id)
        .filter(|upload_id| !upload_id.is_empty())
        .ok_or_else(|| S3Error::passing(operation, "the answer has no upload id"))
}

/// The entity tag of a part, compared with its MD5 where it is one.
fn checked_etag(operation: &str, answer: &Response<Body>, part: &Part) -> Result<String, S3Error> {
    let etag = usable_etag(operation, etag_of(answer))?;
    let is_other = md5_of(&etag).is_some_and(|md5| md5 != part.md5);
    if is_other && !is_tag_opaque(answer) {
        return Err(S3Error::passing(operation, "the server took other bytes than were sent"));
    }
    Ok(etag)
}

/// Amazon's tags look like an MD5 and are none where it encrypts with a key of its key service or of
/// the customer.
fn is_tag_opaque(answer: &Response<Body>) -> bool {
    let headers = answer.headers();
    headers.contains_key("x-amz-server-side-encryption-customer-algorithm")
        || headers
            .get("x-amz-server-side-encryption")
            .is_some_and(|value| value.as_bytes().starts_with(b"aws:"))
}

/// An entity tag that can be given back to the server in a document.
fn usable_etag(operation: &str, etag: Option<String>) -> Result<String, S3Error> {
    etag.filter(|etag| etag.bytes().all(|byte| byte.is_ascii_graphic()))
        .filter(|etag| !etag.contains(['<', '>', '&', '"']))
        .ok_or_else(|| S3Error::refused(operation, "the answer has no usable entity tag"))
}

/// The MD5 that an entity tag is, where it looks like one.
pub(super) fn md5_of(etag: &str) -> Option<[u8; 16]> {
    let is_md5 = etag.len() == 32 && etag.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_md5.then(|| u128::from_str_radix(etag, 16).ok().map(u128::to_be_bytes)).flatten()
}
