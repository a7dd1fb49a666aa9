//! The upload of an artifact that may outgrow one multipart upload: when that has all the parts it may
//! have, a further one is begun under the key of a segment, and in the end the server joins them. It
//! must not know what an artifact is.

use std::sync::Arc;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::compose::{self, Source, copied_part_size};
use super::error::S3Error;
use super::lock::Lock;
use super::queue::{Task, UploadPool, interrupted};
use super::replaced::Replaced;
use super::upload::{Multipart, Origin, Whole};
use super::{CANCEL_TIME, CLEANUP_TIME_LIMIT, Shared, segment, versions};
use crate::store::{Part, Removal, Stored, Traffic, Upload};
use crate::testpoint::{self, Step};

/// Requests that clean up at once.
const CLEANERS: usize = 8;

/// What bounds an upload.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) part_size_bytes: u64,
    /// Parts of one multipart upload.
    pub(super) most_parts: u32,
    /// Whether an artifact of more parts may go on in a further upload: a part of it is then seen under its
    /// path before it is whole.
    pub(super) may_grow: bool,
    pub(super) parts_in_flight: usize,
    pub(super) copies_in_flight: usize,
}

/// An artifact on its way. Dropped before it is published, it is aborted.
pub(super) struct S3Upload {
    shared: Arc<Shared>,
    limits: Limits,
    /// One pool for all segments: what is in flight stays in memory.
    pool: UploadPool<PartUpload>,
    traffic: Arc<Traffic>,
    /// The segment under the artifact's own path.
    first: Segment,
    further: Vec<Segment>,
    parts: u32,
    sent_bytes: u64,
    last_part_bytes: u64,
    /// Whether the server may still hold something that must go.
    is_open: bool,
}

struct Segment {
    upload: Arc<Multipart>,
    parts: u32,
    size_bytes: u64,
    part_md5s: Vec<u8>,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing of it is visible.
    Open,
    /// It may have become visible.
    Completing,
    Visible,
}

/// A part and where it goes.
struct PartUpload {
    part: Arc<Part>,
    upload: Arc<Multipart>,
    /// Counts from 1 in each segment.
    number: u32,
    traffic: Arc<Traffic>,
}

impl S3Upload {
    pub(super) fn begin(shared: Arc<Shared>, path: &str, limits: Limits) -> Result<Self> {
        let pool = UploadPool::start(limits.parts_in_flight)?;
        let first = Segment::begin(&shared, path, shared.lock())?;
        Ok(Self {
            shared,
            limits,
            pool,
            traffic: Arc::default(),
            first,
            further: Vec::new(),
            parts: 0,
            sent_bytes: 0,
            last_part_bytes: limits.part_size_bytes,
            is_open: true,
        })
    }

    fn path(&self) -> &str {
        &self.first.upload.path
    }

    fn ensure_next(&self, part: &Part) -> Result<()> {
        let number = part.number;
        ensure!(self.parts.checked_add(1) == Some(number), "part {number} came after part {}", self.parts);
        let block_bytes = part.blocks.iter().map(|block| block.len() as u64).sum::<u64>();
        ensure!(
            block_bytes == part.size_bytes,
            "part {number} has {block_bytes} bytes and was announced with {}",
            part.size_bytes
        );
        let part_size_bytes = self.limits.part_size_bytes;
        ensure!(
            self.last_part_bytes == part_size_bytes && block_bytes <= part_size_bytes,
            "only the last part may be of another size than {part_size_bytes} bytes"
        );
        Ok(())
    }

    /// The segment that takes the next part of `size_bytes`.
    fn segment_for(&mut self, size_bytes: u64) -> Result<&mut Segment> {
        let current = self.further.last().unwrap_or(&self.first);
        if current.parts >= self.limits.most_parts {
            ensure!(
                self.limits.may_grow,
                "`{}` has more parts than the {} that one upload takes",
                self.path(),
                self.limits.most_parts
            );
            // Told now, not after hours of sending what can't be joined.
            self.copied_part_size(self.sent_bytes.saturating_add(size_bytes))?;
            let key = segment::key_of(self.path(), self.further.len().saturating_add(2));
            log::info!("`{}` has {} parts; it goes on as `{key}`", current.upload.path, current.parts);
            let segment = Segment::begin(&self.shared, &key, None)?;
            self.further.push(segment);
        }
        Ok(self.further.last_mut().unwrap_or(&mut self.first))
    }

    fn copied_part_size(&self, size_bytes: u64) -> Result<u64> {
        let Limits { part_size_bytes, most_parts, .. } = self.limits;
        copied_part_size(size_bytes, part_size_bytes, most_parts).with_context(|| {
            format!(
                "an artifact of {size_bytes} bytes or more can't be made of parts of {part_size_bytes} \
                 bytes, of which an S3 upload has at most {most_parts}"
            )
        })
    }

    /// An upload without parts can't be completed: the empty object is written as it is.
    fn publish_empty(&mut self) -> Result<Stored> {
        self.end()?;
        let lock = self.shared.lock();
        let etag = self.shared.put("write of empty object", self.path(), &[], lock)?;
        let locked_until = lock.map(|lock| lock.until);
        Ok(Stored { size_bytes: 0, etag, part_size_bytes: None, locked_until })
    }

    /// Completes all segments and has the server join them.
    fn join(&mut self, mut etags: impl DoubleEndedIterator<Item = String>) -> Result<Stored> {
        let part_size_bytes = self.copied_part_size(self.sent_bytes)?;
        let mut sources = Vec::new();
        // The artifact's own path comes last: an object there that is not whole has a segment beside it,
        // by which a sweep knows it if this run dies.
        for segment in self.further.iter_mut().rev().chain([&mut self.first]) {
            if self.shared.interrupt.is_raised() {
                return Err(interrupted("upload").into());
            }
            let mut its_own: Vec<String> = etags.by_ref().rev().take(segment.parts as usize).collect();
            its_own.reverse();
            let stored = segment.complete(its_own)?;
            let path = segment.upload.path.clone();
            sources.push(Source { path, etag: stored.etag, size_bytes: stored.size_bytes });
        }
        sources.reverse();
        let first = Replaced::look(&self.shared, self.path())?;
        let stored =
            compose::join(&self.shared, self.path(), sources, part_size_bytes, self.limits.copies_in_flight)?;
        // Where the bucket keeps versions, a plain delete would leave all of them there, hidden.
        first.clear("first segment")?;
        let removed =
            each(&self.further, |segment| versions::delete(&self.shared, &segment.upload.path).map(drop));
        if let Err(error) = removed {
            log::warn!("a segment of `{}` is left behind beside it: {error}", self.path());
        }
        Ok(stored)
    }

    fn end(&mut self) -> Result<(), S3Error> {
        if !self.is_open {
            return Ok(());
        }
        self.is_open = false;
        self.traffic.cancel();
        self.pool.cancel(CANCEL_TIME);
        self.rollback()
    }

    /// Removes what the server has of it, the mark of an unfinished artifact last: while a segment stands
    /// beside it, a sweep finds what this could not remove.
    fn rollback(&self) -> Result<(), S3Error> {
        let started = Instant::now();
        let aborted = self.first.abort().and(each(&self.further, Segment::abort));
        let is_hopeless = aborted.is_err() && started.elapsed() >= CLEANUP_TIME_LIMIT;
        if self.further.is_empty() || is_hopeless {
            return aborted;
        }
        self.first.rollback()?;
        aborted.and(each(&self.further, Segment::rollback))
    }
}

impl Upload for S3Upload {
    fn write(&mut self, part: Arc<Part>) -> Result<()> {
        self.ensure_next(&part)?;
        let (number, size_bytes, md5) = (part.number, part.size_bytes, part.md5);
        let traffic = Arc::clone(&self.traffic);
        let segment = self.segment_for(size_bytes)?;
        segment.parts = segment.parts.saturating_add(1);
        segment.size_bytes = segment.size_bytes.saturating_add(size_bytes);
        segment.part_md5s.extend_from_slice(&md5);
        let upload = Arc::clone(&segment.upload);
        let part_upload = PartUpload { part, upload, number: segment.parts, traffic };
        let traffic = Arc::clone(&self.traffic);
        self.pool.push(part_upload, || self.shared.interrupt.is_raised() || traffic.is_cancelled())?;
        self.parts = number;
        self.last_part_bytes = size_bytes;
        self.sent_bytes = self.sent_bytes.saturating_add(size_bytes);
        Ok(())
    }

    fn traffic(&self) -> Arc<Traffic> {
        Arc::clone(&self.traffic)
    }

    fn publish(mut self: Box<Self>) -> Result<Stored> {
        if self.parts == 0 {
            return self.publish_empty();
        }
        let etags = self.pool.finish(&self.shared.interrupt)?.into_values();
        testpoint::reached(Step::PartsUploaded);
        let stored =
            if self.further.is_empty() { self.first.complete(etags.collect())? } else { self.join(etags)? };
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

impl Segment {
    fn begin(shared: &Arc<Shared>, path: &str, lock: Option<Lock>) -> Result<Self, S3Error> {
        let upload = Arc::new(Multipart::begin(Arc::clone(shared), path, lock)?);
        Ok(Self { upload, parts: 0, size_bytes: 0, part_md5s: Vec::new(), stage: Stage::Open })
    }

    fn complete(&mut self, etags: Vec<String>) -> Result<Stored, S3Error> {
        self.stage = Stage::Completing;
        let part_md5s = Some(std::mem::take(&mut self.part_md5s));
        let whole = Whole { etags, part_md5s, size_bytes: self.size_bytes, origin: Origin::Sent };
        let stored = self.upload.complete(&whole)?;
        self.stage = Stage::Visible;
        Ok(stored)
    }

    fn abort(&self) -> Result<(), S3Error> {
        match self.stage {
            Stage::Open | Stage::Completing => self.upload.abort(),
            Stage::Visible => Ok(()),
        }
    }

    /// Removes the object that it may have become.
    fn rollback(&self) -> Result<(), S3Error> {
        match self.stage {
            Stage::Open => Ok(()),
            Stage::Completing | Stage::Visible => {
                let Multipart { shared, path, .. } = self.upload.as_ref();
                if let Removal::Held(hold) = versions::rollback(shared, &[path])? {
                    log::warn!("`{path}`, which is not whole, stays: {hold}");
                }
                Ok(())
            }
        }
    }
}

impl Task for PartUpload {
    fn number(&self) -> u32 {
        self.part.number
    }

    fn operation(&self) -> String {
        format!("upload of part {}", self.part.number)
    }

    fn run(&self) -> Result<String, S3Error> {
        self.upload.send(self.number, &self.part, &self.traffic)
    }
}

/// Does the same for each segment, several at once: one that hangs must not use up the time of the others.
fn each(segments: &[Segment], work: impl Fn(&Segment) -> Result<(), S3Error> + Sync) -> Result<(), S3Error> {
    let mut outcome = Ok(());
    for some in segments.chunks(CLEANERS) {
        let work = &work;
        let outcomes = thread::scope(|scope| {
            let threads: Vec<_> = some.iter().map(|segment| scope.spawn(move || work(segment))).collect();
            let gone = |_| Err(S3Error::refused("clean-up", "its thread ended early"));
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(gone)).collect::<Vec<_>>()
        });
        outcome = outcomes.into_iter().fold(outcome, Result::and);
    }
    outcome
}
