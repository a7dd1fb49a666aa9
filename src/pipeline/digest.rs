//! SHA-256, on a thread of its own where bytes are shared, or on the way of a reader. It knows nothing
//! of what it hashes.

use std::io::{self, Read};
use std::thread::JoinHandle;

use anyhow::{Result, anyhow};
use bytes::Bytes;
use crossbeam_channel::{Sender, bounded};

mod sha256;

/// Blocks that may wait for the hashing thread.
const QUEUE_BLOCKS: usize = 4;

/// What a run of bytes came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sum {
    /// How many bytes there were.
    pub size_bytes: u64,
    /// Their SHA-256, in lower-case hex.
    pub sha256: String,
}

/// Hashes shared blocks on a thread of its own.
#[derive(Debug)]
pub struct Hasher {
    queue: Sender<Bytes>,
    thread: JoinHandle<Sum>,
}

impl Hasher {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(name: &str) -> Result<Self> {
        let (queue, blocks) = bounded::<Bytes>(QUEUE_BLOCKS);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let mut state = Running::default();
            for block in blocks {
                state.update(&block);
            }
            state.sum()
        })?;
        Ok(Self { queue, thread })
    }

    /// Takes the next block.
    ///
    /// # Errors
    /// When the thread is gone.
    pub fn update(&self, block: Bytes) -> Result<()> {
        self.queue.send(block).map_err(|_| anyhow!("the hashing thread is gone"))
    }

    /// The sum of all blocks.
    ///
    /// # Errors
    /// When the thread is gone.
    pub fn finish(self) -> Result<Sum> {
        drop(self.queue);
        self.thread.join().map_err(|_| anyhow!("the hashing thread is gone"))
    }
}

#[derive(Default)]
struct Running {
    hash: sha256::Running,
    size_bytes: u64,
}

impl Running {
    fn update(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.size_bytes += bytes.len() as u64;
    }

    fn sum(self) -> Sum {
        Sum { size_bytes: self.size_bytes, sha256: self.hash.finish() }
    }
}

/// Hashes what is read through it.
pub struct Hashed<R> {
    inner: R,
    state: Running,
}

impl<R: Read> Hashed<R> {
    /// Wraps a reader.
    pub fn new(inner: R) -> Self {
        Self { inner, state: Running::default() }
    }

    /// The sum of what was read so far.
    pub fn sum(self) -> Sum {
        self.state.sum()
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.state.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}
