//! The way back: from the bytes of an artifact to the dump inside, one pass and bounded memory. It
//! knows no store and no catalog.

use std::io::{self, Read, Write};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};

use super::damage::Damage;
use super::digest::{Hashed, Hasher, Sum};
use super::header::{self, Secrets};
use super::pool::Pool;
use super::seal::{Opener, fill};
use super::unpack::Unpacker;
use crate::exit::Failure;
use crate::interrupt::Interrupt;
use crate::key::KeyRing;
use crate::name::BackupId;

const BLOCK_LEN: usize = 1024 * 1024;
/// Blocks that a read-ahead may hold.
const AHEAD_BLOCKS: usize = 4;
/// How often whoever waits for a block looks for the interrupt.
const INTERRUPT_LOOK: Duration = Duration::from_millis(100);

/// Reads a source on a thread of its own, a few blocks ahead of whoever reads from it.
pub struct ReadAhead {
    blocks: Receiver<io::Result<Bytes>>,
    current: Bytes,
    ended: bool,
    interrupt: Interrupt,
}

impl ReadAhead {
    /// Starts reading; once the interrupt is raised the reader gives an error, not an end of file, and does
    /// not wait for a source that hangs.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(mut source: Box<dyn Read + Send>, interrupt: Interrupt) -> Result<Self> {
        let (queue, blocks) = bounded(AHEAD_BLOCKS);
        let for_reader = interrupt.clone();
        std::thread::Builder::new().name("read ahead".to_owned()).spawn(move || {
            let pool = Pool::default();
            loop {
                let mut block = pool.take(BLOCK_LEN);
                let read = if interrupt.is_raised() {
                    Err(io::Error::other("interrupted"))
                } else {
                    fill(&mut source, block.as_mut_slice()).map(|got| {
                        block.truncate(got);
                        block.freeze()
                    })
                };
                let last = read.as_ref().map_or(true, |block| block.len() < BLOCK_LEN);
                if queue.send(read).is_err() || last {
                    return;
                }
            }
        })?;
        Ok(Self { blocks, current: Bytes::new(), ended: false, interrupt: for_reader })
    }

    fn next_block(&self) -> io::Result<Bytes> {
        loop {
            match self.blocks.recv_timeout(INTERRUPT_LOOK) {
                Ok(block) => return block,
                Err(RecvTimeoutError::Timeout) if self.interrupt.is_raised() => {
                    return Err(io::Error::other("interrupted"));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(io::Error::other("the reading thread is gone"));
                }
            }
        }
    }
}

impl Read for ReadAhead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.current.is_empty() && !self.ended {
            self.current = self.next_block()?;
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

/// The dump inside an artifact. Its end of file means that the artifact was whole to its last byte:
/// every chunk's tag, the FINAL chunk, and the checksums of gzip or zstd.
pub struct Dump<R: Read> {
    id: BackupId,
    unpacker: Unpacker<Opener<R>>,
}

impl<R: Read + Send + 'static> Dump<R> {
    /// Opens an artifact, and unpacks it on `threads` cores.
    ///
    /// # Errors
    /// When it is no artifact, or no key of the ring opens it.
    pub fn open(mut artifact: R, ring: &KeyRing, threads: usize) -> Result<Self> {
        let secrets = header::read(&mut artifact, ring)?;
        Self::behind(secrets, artifact, threads)
    }

    /// Opens what follows a header.
    fn behind(secrets: Secrets, artifact: R, threads: usize) -> Result<Self> {
        let (id, packing) = (secrets.id.clone(), secrets.packing);
        let unpacker = Unpacker::start(Opener::new(secrets, artifact), packing, threads)?;
        Ok(Self { id, unpacker })
    }

    /// The backup that the artifact says it is of; proven once a first byte was read.
    #[must_use]
    pub fn id(&self) -> &BackupId {
        &self.id
    }
}

impl<R: Read> Read for Dump<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.unpacker.read(buffer)
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
    pub dump: Result<Sum, Unopened>,
}

/// Why an artifact did not open to the end of the dump inside.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unopened {
    /// No key at hand opens it.
    #[error("{0}")]
    NoKey(String),
    /// The header, a chunk, or the end of the seal is not what it was.
    #[error("{0}")]
    Sealed(Damage),
    /// What stands inside the seal does not unpack.
    #[error("{0}")]
    Packed(String),
}

impl Unopened {
    fn of(error: &anyhow::Error) -> Self {
        if let Some(damage) = Damage::of(error) {
            return Self::Sealed(damage.clone());
        }
        let message = format!("{error:#}");
        let is_key = error.downcast_ref::<Failure>().is_some();
        if is_key { Self::NoKey(message) } else { Self::Packed(message) }
    }
}

/// Reads an artifact to its end, hashes it, and opens it on the way on `threads` cores; `expected` is the
/// backup that it must be of, and `reader` gets the dump inside. Reads on to the end where it does not open,
/// so that the artifact's sum is always known.
///
/// # Errors
/// When the bytes can't be read, or `reader` does not take them.
pub fn open_and_sum(
    source: Box<dyn Read + Send>,
    ring: &KeyRing,
    expected: &BackupId,
    threads: usize,
    reader: &mut dyn Write,
    interrupt: &Interrupt,
) -> Result<Opened> {
    let mut artifact = Hashed::new(ReadAhead::start(source, interrupt.clone())?);
    let dump = match header::read(&mut artifact, ring) {
        Ok(secrets) if secrets.id != *expected => {
            let message = format!("it is the artifact of `{}`, not of `{expected}`", secrets.id);
            Err(Unopened::Sealed(Damage { message, offset_bytes: None }))
        }
        Ok(secrets) => {
            let (dump, rest) = sum_of_dump(Dump::behind(secrets, artifact, threads)?, reader)?;
            artifact = rest;
            dump.map_err(|error| Unopened::of(&error))
        }
        Err(error) => Err(Unopened::of(&error)),
    };
    if let Err(error) = drain(&mut artifact) {
        // A source that broke while it was opened said why then.
        return Err(dump.err().map_or(error, |first| anyhow!(first)));
    }
    Ok(Opened { artifact: artifact.sum(), dump })
}

/// The sum of a dump, hashed on a thread of its own, and what is left of the artifact.
fn sum_of_dump<R: Read + Send + 'static>(
    mut dump: Dump<R>,
    reader: &mut dyn Write,
) -> Result<(Result<Sum>, R)> {
    let hasher = Hasher::start("hash dump")?;
    let pool = Pool::default();
    let read = loop {
        let mut block = pool.take(BLOCK_LEN);
        match fill(&mut dump, block.as_mut_slice()) {
            Ok(got) => {
                block.truncate(got);
                let block = block.freeze();
                hasher.update(block.clone())?;
                reader.write_all(&block).context("whoever reads the dump does not take it")?;
                if got < BLOCK_LEN {
                    break Ok(());
                }
            }
            Err(error) => break Err(error),
        }
    };
    let sum = hasher.finish()?;
    Ok((read.map(|()| sum).map_err(Into::into), dump.unpacker.into_source()?.into_source()))
}

fn drain(source: &mut impl Read) -> Result<()> {
    let mut block = vec![0u8; BLOCK_LEN];
    while fill(source, &mut block)? == BLOCK_LEN {}
    Ok(())
}
