//! One multipart upload: parts sent by a few threads, completed or aborted. It must not know what an
//! artifact is; nothing is visible under its key before it is completed.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use s3::command::Command;
use s3::serde_types::{CompleteMultipartUploadData, Part as CompletedPart};
use ureq::Body;
use ureq::http::Response;

use super::client::{DOCUMENT_LIMIT_BYTES, Extras, PartAddress, etag_of, query_value};
use super::error::S3Error;
use super::queue::{Queue, interrupted};
use super::xml::{self, Completed, Initiated};
use super::{CONTENT_TYPE, Shared};
use crate::store::{Part, Stored, Upload};

/// Most parts that an S3 upload may have.
const MOST_PARTS: u32 = 10_000;
/// How long an abort waits for parts that are on their way.
const CANCEL_TIME: Duration = Duration::from_secs(5);
const COMPLETION: &str = "completion of upload";

/// An upload that the server knows of. Dropped before it is published, it is aborted.
pub(super) struct S3Upload {
    job: Arc<Job>,
    part_size_bytes: u64,
    parts: u32,
    sent_bytes: u64,
    last_part_bytes: u64,
    part_md5s: Vec<u8>,
    /// Whether the server still holds parts of it for all we know.
    is_open: bool,
}

/// What the sending threads share.
struct Job {
    shared: Arc<Shared>,
    path: String,
    upload_id: String,
    queue: Queue,
    is_cancelled: AtomicBool,
    moved_bytes: Arc<AtomicU64>,
}

impl S3Upload {
    pub(super) fn begin(
        shared: Arc<Shared>,
        path: &str,
        part_size_bytes: u64,
        parts_in_flight: usize,
    ) -> Result<Self> {
        let upload_id = initiate(&shared, path)?;
        let job = Arc::new(Job {
            shared,
            path: path.to_owned(),
            upload_id,
            queue: Queue::new(parts_in_flight),
            is_cancelled: AtomicBool::new(false),
            moved_bytes: Arc::default(),
        });
        let upload = Self {
            job,
            part_size_bytes,
            parts: 0,
            sent_bytes: 0,
            last_part_bytes: part_size_bytes,
            part_md5s: Vec::new(),
            is_open: true,
        };
        for _ in 0..parts_in_flight {
            let job = Arc::clone(&upload.job);
            thread::Builder::new()
                .name("s3 part".to_owned())
                .spawn(move || job.work())
                .context("can't start a thread for an upload")?;
        }
        Ok(upload)
    }

    /// The entity tag that the whole will have where tags are MD5s: that of the parts' MD5s.
    fn expected_etag(&self) -> String {
        format!("{}-{}", hex(&Md5::digest(&self.part_md5s)), self.parts)
    }

    fn complete(&self, etags: BTreeMap<u32, String>) -> Result<Stored, S3Error> {
        let job = &self.job;
        let parts: Vec<CompletedPart> = etags
            .into_iter()
            .map(|(part_number, etag)| CompletedPart { part_number, etag: format!("\"{etag}\"") })
            .collect();
        let mut patience = job.shared.policy.patience();
        let mut is_ambiguous = false;
        loop {
            match job.attempt_completion(parts.clone()) {
                Ok(etag) => return self.confirm(etag),
                Err(error) => {
                    let is_gone = is_ambiguous && error.is_code("NoSuchUpload");
                    if (error.is_passing() || is_gone)
                        && let Some(stored) = self.settle(is_gone)
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

    /// Whether an upload whose completion brought no clear answer was completed after all. The tag
    /// tells the new object from an older one of the same size; where the server makes its tags in
    /// another way, that the upload is gone does.
    fn settle(&self, is_gone: bool) -> Option<Stored> {
        let stat = self.job.shared.stat(COMPLETION, &self.job.path).ok()??;
        let is_ours = is_gone || stat.etag.as_deref() == Some(&*self.expected_etag());
        (is_ours && stat.size_bytes == self.sent_bytes)
            .then_some(Stored { size_bytes: stat.size_bytes, etag: stat.etag })
    }

    /// Compares the size of what became visible with what was sent.
    fn confirm(&self, etag: Option<String>) -> Result<Stored, S3Error> {
        let Job { shared, path, .. } = &*self.job;
        let size_bytes = match shared.stat(COMPLETION, path) {
            Ok(Some(stat)) => stat.size_bytes,
            Ok(None) => return Err(S3Error::refused(COMPLETION, "the object is not there")),
            // The server has taken every part by its MD5 and completed the upload: a key that may
            // not read does not undo that.
            Err(error) => {
                log::debug!("{error}");
                self.sent_bytes
            }
        };
        if size_bytes != self.sent_bytes {
            let message = format!("the object has {size_bytes} bytes where {} were sent", self.sent_bytes);
            return Err(S3Error::refused(COMPLETION, message));
        }
        Ok(Stored { size_bytes, etag })
    }

    fn end(&mut self) -> Result<(), S3Error> {
        if !self.is_open {
            return Ok(());
        }
        self.is_open = false;
        self.job.is_cancelled.store(true, Ordering::SeqCst);
        self.job.queue.cancel(CANCEL_TIME);
        self.job.shared.abort(&self.job.path, &self.job.upload_id)
    }

    /// An upload without parts can't be completed: the empty object is written as it is.
    fn publish_empty(&mut self) -> Result<Stored> {
        self.end()?;
        let etag = self.job.shared.put("write of empty object", &self.job.path, &[])?;
        Ok(Stored { size_bytes: 0, etag })
    }
}

impl Upload for S3Upload {
    fn write(&mut self, part: Arc<Part>) -> Result<()> {
        let number = part.number;
        ensure!(self.parts.checked_add(1) == Some(number), "part {number} came after part {}", self.parts);
        ensure!(number <= MOST_PARTS, "an S3 upload has at most {MOST_PARTS} parts");
        let block_bytes = part.blocks.iter().map(|block| block.len() as u64).sum::<u64>();
        ensure!(
            block_bytes == part.size_bytes,
            "part {number} has {block_bytes} bytes and was announced with {}",
            part.size_bytes
        );
        ensure!(
            self.last_part_bytes == self.part_size_bytes && block_bytes <= self.part_size_bytes,
            "only the last part may be of another size than {} bytes",
            self.part_size_bytes
        );
        self.part_md5s.extend_from_slice(&part.md5);
        self.job.queue.push(part, &self.job.shared.interrupt)?;
        self.parts = number;
        self.last_part_bytes = block_bytes;
        self.sent_bytes = self.sent_bytes.saturating_add(block_bytes);
        Ok(())
    }

    fn moved_bytes(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.job.moved_bytes)
    }

    fn publish(mut self: Box<Self>) -> Result<Stored> {
        if self.parts == 0 {
            return self.publish_empty();
        }
        let etags = self.job.queue.finish(&self.job.shared.interrupt)?;
        let stored = self.complete(etags)?;
        self.is_open = false;
        Ok(stored)
    }

    fn abort(mut self: Box<Self>) -> Result<()> {
        Ok(self.end()?)
    }
}

impl Drop for S3Upload {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            log::warn!("an upload is left behind: {error}");
        }
    }
}

impl Job {
    fn work(&self) {
        while let Some(part) = self.queue.pop() {
            let mut settled = Settled { job: self, number: part.number, outcome: None };
            settled.outcome = Some(self.send(&part));
        }
    }

    fn send(&self, part: &Part) -> Result<String, S3Error> {
        let operation = format!("upload of part {}", part.number);
        let content_md5 = STANDARD.encode(part.md5);
        let mut address = PartAddress {
            upload_id: &self.upload_id,
            number: part.number,
            size_bytes: part.size_bytes,
            content_md5: &content_md5,
            asks_first: false,
        };
        self.shared.part_policy.run(|| {
            if self.is_cancelled.load(Ordering::SeqCst) || self.shared.interrupt.is_raised() {
                return Err(interrupted(part.number));
            }
            let mut body = PartReader { blocks: part.blocks.iter(), block: &[], job: self };
            let outcome = self.shared.client.send_part(&operation, &self.path, &address, &mut body);
            address.asks_first = true;
            let answer = outcome?;
            checked_etag(&operation, &answer, part)
        })
    }

    fn attempt_completion(&self, parts: Vec<CompletedPart>) -> Result<Option<String>, S3Error> {
        let client = &self.shared.client;
        let encoded_id = query_value(&self.upload_id);
        let data = CompleteMultipartUploadData { parts };
        let command = Command::CompleteMultipartUpload { upload_id: &encoded_id, data };
        let answer = client.send(COMPLETION, &self.path, command, Extras::default())?;
        let body = client.read_body(COMPLETION, answer, DOCUMENT_LIMIT_BYTES)?;
        if let Some(refusal) = client.hidden_refusal(COMPLETION, &body) {
            return Err(refusal);
        }
        let completed: Completed = xml::parse("CompleteMultipartUploadResult", &body)
            .ok_or_else(|| S3Error::passing(COMPLETION, "the answer says neither yes nor no"))?;
        let etag = completed.etag.trim().trim_matches('"').to_owned();
        Ok(Some(etag).filter(|etag| !etag.is_empty()))
    }
}

/// Says what became of a part even where the thread that sent it panicked: whoever waits for the
/// part must not wait for ever.
struct Settled<'a> {
    job: &'a Job,
    number: u32,
    outcome: Option<Result<String, S3Error>>,
}

impl Drop for Settled<'_> {
    fn drop(&mut self) {
        let outcome = self.outcome.take().unwrap_or_else(|| {
            let operation = format!("upload of part {}", self.number);
            Err(S3Error::refused(&operation, "its thread ended early"))
        });
        self.job.queue.settle(self.number, outcome);
    }
}

/// The bytes of a part, block by block; ends with an error as soon as the upload is cancelled.
struct PartReader<'a> {
    blocks: std::slice::Iter<'a, bytes::Bytes>,
    block: &'a [u8],
    job: &'a Job,
}

impl Read for PartReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.job.is_cancelled.load(Ordering::SeqCst) {
            return Err(io::Error::other("the upload was aborted"));
        }
        let mut filled = 0;
        while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
            if self.block.is_empty() {
                match self.blocks.next() {
                    Some(block) => self.block = block,
                    None => break,
                }
            }
            filled = filled.saturating_add(self.block.read(room)?);
        }
        self.job.moved_bytes.fetch_add(filled as u64, Ordering::Relaxed);
        Ok(filled)
    }
}

fn initiate(shared: &Shared, path: &str) -> Result<String, S3Error> {
    let operation = "start of upload";
    let client = &shared.client;
    shared.policy.run(|| {
        let command = Command::InitiateMultipartUpload { content_type: CONTENT_TYPE };
        let answer = client.send(operation, path, command, Extras::default())?;
        let body = client.read_body(operation, answer, DOCUMENT_LIMIT_BYTES)?;
        if let Some(refusal) = client.hidden_refusal(operation, &body) {
            return Err(refusal);
        }
        xml::parse::<Initiated>("InitiateMultipartUploadResult", &body)
            .map(|initiated| initiated.upload_id)
            .filter(|upload_id| !upload_id.is_empty())
            .ok_or_else(|| S3Error::refused(operation, "the answer has no upload id"))
    })
}

/// The entity tag of a part, compared with its MD5 where it is one.
fn checked_etag(operation: &str, answer: &Response<Body>, part: &Part) -> Result<String, S3Error> {
    let etag = etag_of(answer)
        .filter(|etag| etag.bytes().all(|byte| byte.is_ascii_graphic()))
        .filter(|etag| !etag.contains(['<', '>', '&', '"']))
        .ok_or_else(|| S3Error::refused(operation, "the answer has no usable entity tag"))?;
    let is_md5 = etag.len() == 32 && etag.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_md5 && !is_tag_opaque(answer) && !etag.eq_ignore_ascii_case(&hex(&part.md5)) {
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

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string can't fail.
        write!(text, "{byte:02x}").unwrap_or_default();
        text
    })
}
