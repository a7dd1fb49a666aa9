//! Joins the segments of an artifact into one object: the server copies them, part by part, into one
//! more multipart upload, and no byte is sent twice. It must not know how the segments came to be, nor
//! remove them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;

use super::client::CopySource;
use super::error::S3Error;
use super::queue::{Task, UploadPool};
use super::upload::{Multipart, Origin, Whole, md5_of};
use super::{CANCEL_TIME, Shared};
use crate::store::Stored;

const MIB: u64 = 1024 * 1024;
/// The largest part that a server copies.
const LARGEST_COPY_BYTES: u64 = 5 * 1024 * MIB;
/// Copies are no smaller than this where that can be: each of them is a request.
const GOOD_COPY_BYTES: u64 = 128 * MIB;

/// A segment: an object that is complete.
pub(super) struct Source {
    pub(super) path: String,
    /// The tag it must still have when it is copied.
    pub(super) etag: Option<String>,
    pub(super) size_bytes: u64,
}

/// One size for all copied parts of an artifact of `size_bytes`, whose segments are full ones of
/// `most_parts` parts of `part_size_bytes`, but for the last. It divides a full segment, so that no part
/// goes across the end of one. `None` when the artifact is too large to be joined.
pub(super) fn copied_part_size(size_bytes: u64, part_size_bytes: u64, most_parts: u32) -> Option<u64> {
    let fits = |size: &u64| size_bytes.div_ceil(*size) <= u64::from(most_parts);
    let sizes = (1..=most_parts)
        .filter(|parts| most_parts.is_multiple_of(*parts))
        .map_while(|parts| part_size_bytes.checked_mul(parts.into()))
        .take_while(|size| (1..=LARGEST_COPY_BYTES).contains(size))
        .filter(fits);
    let mut best = None;
    for size in sizes {
        best = Some(size);
        if size >= GOOD_COPY_BYTES {
            break;
        }
    }
    best
}

/// Makes the object at `path` of `sources`, one of which may stand there itself. After an error no upload
/// is left, but the object may be there.
pub(super) fn join(
    shared: &Arc<Shared>,
    path: &str,
    sources: Vec<Source>,
    part_size_bytes: u64,
    copies_in_flight: usize,
) -> Result<Stored> {
    let pool = UploadPool::start(copies_in_flight)?;
    let upload = Arc::new(Multipart::begin(Arc::clone(shared), path, shared.lock())?);
    let sources = sources.into_iter().map(Arc::new).collect();
    let joining =
        Joining { upload, sources, part_size_bytes, is_conditional: Arc::new(AtomicBool::new(true)) };
    let outcome = joining.run(&pool);
    if outcome.is_err() {
        pool.cancel(CANCEL_TIME);
        if let Err(error) = joining.upload.abort() {
            log::warn!("an upload is left behind: {error}");
        }
    }
    Ok(outcome?)
}

struct Joining {
    upload: Arc<Multipart>,
    sources: Vec<Arc<Source>>,
    part_size_bytes: u64,
    /// Whether the server looks at the tag of what it copies, for all we know.
    is_conditional: Arc<AtomicBool>,
}

impl Joining {
    fn run(&self, pool: &UploadPool<Copy>) -> Result<Stored, S3Error> {
        let interrupt = &self.upload.shared.interrupt;
        let mut number: u32 = 0;
        for source in &self.sources {
            let mut first = 0;
            while first < source.size_bytes {
                let end = first.saturating_add(self.part_size_bytes).min(source.size_bytes);
                number = number.saturating_add(1);
                let copy = self.copy(number, source, first, end.saturating_sub(1));
                pool.push(copy, || interrupt.is_raised())?;
                first = end;
            }
        }
        let etags: Vec<String> = pool.finish(interrupt)?.into_values().collect();
        self.ensure_unchanged()?;
        let md5s: Option<Vec<[u8; 16]>> = etags.iter().map(|etag| md5_of(etag)).collect();
        let size_bytes = self.sources.iter().map(|source| source.size_bytes).sum();
        let part_md5s = md5s.map(|md5s| md5s.concat());
        let whole = Whole { etags, part_md5s, size_bytes, origin: Origin::Copied };
        let stored = self.upload.complete(&whole)?;
        Ok(Stored { part_size_bytes: Some(self.part_size_bytes), ..stored })
    }

    fn copy(&self, number: u32, source: &Arc<Source>, first: u64, last: u64) -> Copy {
        Copy {
            number,
            upload: Arc::clone(&self.upload),
            source: Arc::clone(source),
            first,
            last,
            is_conditional: Arc::clone(&self.is_conditional),
        }
    }

    /// Some servers know no conditions on a copy, R2 among them, and some ignore them: a segment that has
    /// its tag after it was copied had it before.
    fn ensure_unchanged(&self) -> Result<(), S3Error> {
        let operation = "look at segment";
        for source in &self.sources {
            let found = self.upload.shared.stat(operation, &source.path)?;
            let is_same = found.is_some_and(|found| {
                found.size_bytes == source.size_bytes && (source.etag.is_none() || found.etag == source.etag)
            });
            if !is_same {
                return Err(replaced(operation));
            }
        }
        Ok(())
    }
}

/// One part of the whole, to be copied from a segment.
struct Copy {
    number: u32,
    upload: Arc<Multipart>,
    source: Arc<Source>,
    first: u64,
    last: u64,
    is_conditional: Arc<AtomicBool>,
}

impl Copy {
    fn attempt(&self, if_match: Option<&str>) -> Result<String, S3Error> {
        let from = CopySource { path: &self.source.path, first: self.first, last: self.last, if_match };
        self.upload.copy(&self.operation(), self.number, &from)
    }
}

impl Task for Copy {
    fn number(&self) -> u32 {
        self.number
    }

    fn operation(&self) -> String {
        format!("copy of part {}", self.number)
    }

    fn run(&self) -> Result<String, S3Error> {
        // A weak tag does not promise equal bytes, and If-Match never matches one.
        let tag = self.source.etag.as_deref().filter(|etag| !etag.starts_with("W/"));
        let if_match = tag.filter(|_| self.is_conditional.load(Ordering::SeqCst));
        match self.attempt(if_match) {
            Err(error) if if_match.is_some() && error.is_not_implemented() => {
                self.is_conditional.store(false, Ordering::SeqCst);
                self.attempt(None)
            }
            Err(error) if error.status == Some(412) => Err(replaced(&self.operation())),
            outcome => outcome,
        }
    }
}

fn replaced(operation: &str) -> S3Error {
    S3Error::refused(operation, "the segment was replaced while it was joined to the others")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn copies_are_large_enough_to_be_few() {
        // Full segments of 8 MiB parts have 78 GiB each.
        assert_eq!(copied_part_size(80 << 30, 8 * MIB, 10_000), Some(128 * MIB));
        assert_eq!(copied_part_size(2 << 40, 8 * MIB, 10_000), Some(320 * MIB));
        assert_eq!(copied_part_size(300 << 30, 24 * MIB, 10_000), Some(192 * MIB));
        assert_eq!(copied_part_size(5 << 40, 24 * MIB, 10_000), Some(600 * MIB));
        assert_eq!(copied_part_size(40 << 40, 24 * MIB, 10_000), Some(4800 * MIB));
        assert_eq!(copied_part_size(50 << 40, 24 * MIB, 10_000), None);
        assert_eq!(copied_part_size(20 * 5 * MIB, 5 * MIB, 5), Some(25 * MIB));
        assert_eq!(copied_part_size(26 * 5 * MIB, 5 * MIB, 5), None);
        assert_eq!(copied_part_size(1, 0, 5), None);
    }

    proptest! {
        #[test]
        fn copies_fit(size in 1u64..(1 << 47), part_mib in 1u64..4000, most in 1u32..12_000) {
            let part = part_mib * MIB;
            let all = (1..=most).filter(|k| most % k == 0).map(|k| part * u64::from(k));
            let usable = |f: &u64| *f <= LARGEST_COPY_BYTES && size.div_ceil(*f) <= u64::from(most);
            let usable: Vec<u64> = all.filter(usable).collect();
            match copied_part_size(size, part, most) {
                None => prop_assert!(usable.is_empty()),
                Some(copied) => {
                    prop_assert!(usable.contains(&copied));
                    prop_assert_eq!((part * u64::from(most)) % copied, 0);
                    let good = usable.iter().find(|f| **f >= GOOD_COPY_BYTES);
                    prop_assert_eq!(Some(&copied), good.or(usable.last()));
                }
            }
        }
    }
}
