//! The way back: from the bytes of an artifact to the dump inside, one pass and bounded memory. It
//! knows no store and no catalog.

use std::io::{self, BufReader, Read};

use anyhow::{Result, anyhow};
use bytes::Bytes;
use crossbeam_channel::{Receiver, bounded};
use flate2::bufread::MultiGzDecoder;

use super::digest::{Hashed, Sum};
use super::header::Packing;
use super::seal::{Opener, fill};
use crate::interrupt::Interrupt;
use crate::key::KeyRing;
use crate::name::BackupId;

const BLOCK_LEN: usize = 1024 * 1024;
/// Blocks that a read-ahead may hold.
const AHEAD_BLOCKS: usize = 4;

/// Reads a source on a thread of its own, a few blocks ahead of whoever reads from it.
pub struct ReadAhead {
    blocks: Receiver<io::Result<Bytes>>,
    current: Bytes,
    ended: bool,
}

impl ReadAhead {
    /// Starts reading; once the interrupt is raised the reader gives an error, not an end of file.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(mut source: Box<dyn Read + Send>, interrupt: Interrupt) -> Result<Self> {
        let (queue, blocks) = bounded(AHEAD_BLOCKS);
        std::thread::Builder::new().name("read ahead".to_owned()).spawn(move || {
            loop {
                let mut block = vec![0u8; BLOCK_LEN];
                let read = if interrupt.is_raised() {
                    Err(io::Error::other("interrupted"))
                } else {
                    fill(&mut source, &mut block).map(|got| {
                        block.truncate(got);
                        Bytes::from(block)
                    })
                };
                let last = read.as_ref().map_or(true, |block| block.len() < BLOCK_LEN);
                if queue.send(read).is_err() || last {
                    return;
                }
            }
        })?;
        Ok(Self { blocks, current: Bytes::new(), ended: false })
    }
}

impl Read for ReadAhead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.current.is_empty() && !self.ended {
            self.current =
                self.blocks.recv().map_err(|_| io::Error::other("the reading thread is gone"))??;
            self.ended = self.current.len() < BLOCK_LEN;
        }
        let count = self.current.len().min(buffer.len());
        let now = self.current.split_to(count);
        if let Some(target) = buffer.get_mut(..count) {
            target.copy_from_slice(&now);
        }
        Ok(count)
    }
}

enum Unpacked<R: Read> {
    Gzip(Box<MultiGzDecoder<BufReader<R>>>),
    Plain(R),
}

/// The dump inside an artifact. Its end of file means that the artifact was whole to its last byte:
/// every chunk's tag, the FINAL chunk, and the checksums of gzip.
pub struct Dump<R: Read> {
    id: BackupId,
    inner: Unpacked<Opener<R>>,
}

impl<R: Read> Dump<R> {
    /// Opens an artifact.
    ///
    /// # Errors
    /// When it is no artifact, or no key of the ring opens it.
    pub fn open(artifact: R, ring: &KeyRing) -> Result<Self> {
        let opener = Opener::new(artifact, ring)?;
        let id = opener.id().clone();
        let inner = match opener.packing() {
            Packing::Gzip => {
                Unpacked::Gzip(Box::new(MultiGzDecoder::new(BufReader::with_capacity(BLOCK_LEN, opener))))
            }
            Packing::None => Unpacked::Plain(opener),
        };
        Ok(Self { id, inner })
    }

    /// The backup that the artifact says it is of; proven once a first byte was read.
    #[must_use]
    pub fn id(&self) -> &BackupId {
        &self.id
    }
}

impl<R: Read> Read for Dump<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.inner {
            Unpacked::Gzip(decoder) => decoder.read(buffer),
            Unpacked::Plain(opener) => opener.read(buffer),
        }
    }
}

/// Reads a source to its end and says what it came to.
///
/// # Errors
/// When it can't be read.
pub fn sum_of(source: Box<dyn Read + Send>, interrupt: &Interrupt) -> Result<Sum> {
    let mut hashed = Hashed::new(ReadAhead::start(source, interrupt.clone())?);
    drain(&mut hashed)?;
    Ok(hashed.sum())
}

/// What opening an artifact to its end came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Of the artifact's bytes.
    pub artifact: Sum,
    /// Of the dump inside, or why it did not open.
    pub dump: Result<Sum, String>,
}

/// Reads an artifact to its end, hashes it, and opens it on the way; `expected` is the backup that it
/// must be of. Reads on to the end where it does not open, so that the artifact's sum is always known.
///
/// # Errors
/// When the bytes can't be read.
pub fn open_and_sum(
    source: Box<dyn Read + Send>,
    ring: &KeyRing,
    expected: &BackupId,
    interrupt: &Interrupt,
) -> Result<Opened> {
    let mut hashed = Hashed::new(ReadAhead::start(source, interrupt.clone())?);
    let dump = sum_of_dump(&mut hashed, ring, expected).map_err(|error| format!("{error:#}"));
    drain(&mut hashed)?;
    Ok(Opened { artifact: hashed.sum(), dump })
}

fn sum_of_dump(artifact: &mut impl Read, ring: &KeyRing, expected: &BackupId) -> Result<Sum> {
    let dump = Dump::open(artifact, ring)?;
    if dump.id() != expected {
        return Err(anyhow!("it is the artifact of `{}`, not of `{expected}`", dump.id()));
    }
    let mut hashed = Hashed::new(dump);
    drain(&mut hashed)?;
    Ok(hashed.sum())
}

fn drain(source: &mut impl Read) -> Result<()> {
    let mut block = vec![0u8; BLOCK_LEN];
    while fill(source, &mut block)? == BLOCK_LEN {}
    Ok(())
}
