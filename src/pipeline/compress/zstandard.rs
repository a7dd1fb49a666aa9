//! Zstandard (RFC 8878): one frame for the whole stream, packed by its own threads, with matches over a
//! window of many blocks. It knows no blocks of ours beyond what it is given.

use std::io::Write as _;

use anyhow::{Context, Result};
use bytes::Bytes;
use zstd::stream::raw::CParameter;
use zstd::stream::write::Encoder;

/// How far back a match may lie, as a power of two: what any reader opens without being asked to (RFC
/// 8878 recommends 8 MiB at least, the reference tool takes 128 MiB) within bounded memory.
const WINDOW_LOG: u32 = 24;
/// Plain bytes that one of its threads packs at a time.
const JOB_BYTES: u32 = 1024 * 1024;

/// The most threads that a level may have: each of them has tables, which grow with the level, and memory
/// stays under 200 MiB on hosts of any number of cores. A few of them are faster than any `pg_dump`.
fn most_threads(level: u8) -> usize {
    match level {
        ..=6 => 4,
        _ => 2,
    }
}

/// The frame so far.
pub(super) struct Frame(Encoder<'static, Vec<u8>>);

impl Frame {
    /// A frame packed at one of the engine's own levels by up to so many threads.
    pub(super) fn new(level: u8, threads: usize) -> Result<Self> {
        let mut encoder = Encoder::new(Vec::new(), i32::from(level)).context("zstd")?;
        encoder.include_checksum(true)?;
        encoder.multithread(u32::try_from(threads.min(most_threads(level)))?)?;
        encoder.set_parameter(CParameter::JobSize(JOB_BYTES))?;
        encoder.long_distance_matching(true)?;
        encoder.window_log(WINDOW_LOG)?;
        Ok(Self(encoder))
    }

    /// Takes the next bytes; gives back what has been packed meanwhile, which may be nothing.
    pub(super) fn pack(&mut self, plain: &[u8]) -> Result<Bytes> {
        self.0.write_all(plain).context("zstd")?;
        Ok(std::mem::take(self.0.get_mut()).into())
    }

    /// Ends the frame; gives back the rest of it.
    pub(super) fn finish(&mut self) -> Result<Bytes> {
        self.0.do_finish().context("zstd")?;
        Ok(std::mem::take(self.0.get_mut()).into())
    }
}
