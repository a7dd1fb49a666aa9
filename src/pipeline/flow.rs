//! The one pass of a backup: source, compress, seal, hash, fan out, every step on a thread of its own
//! and bounded queues between them. It knows neither what the source is nor what the workers lead to.

use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, bounded};

use super::compress::{BLOCK_LEN, Compression, Packer};
use super::digest::{Hasher, Sum};
use super::fanout::{FanOut, Sink, StoreWorker, WorkerEnd};
use super::header::Secrets;
use super::parts::Cutter;
use super::pool::Pool;
use super::seal::Sealer;
use crate::interrupt::Interrupt;
use crate::testpoint::{self, Step};

/// How a run is to be done.
#[derive(Debug)]
pub struct Plan {
    /// What the dump is packed with.
    pub compression: Compression,
    /// Size of all parts but the last.
    pub part_size_bytes: u64,
    /// A worker that takes nothing for this long is dropped.
    pub stall: Duration,
    /// Ends waits early.
    pub interrupt: Interrupt,
}

/// What went through, for whoever watches.
#[derive(Debug, Default)]
pub struct Meter {
    /// Bytes that the source wrote.
    pub dump_bytes: AtomicU64,
    /// Bytes of the artifact.
    pub sealed_bytes: AtomicU64,
}

/// What a whole stream came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// What the source wrote.
    pub dump: Sum,
    /// The artifact.
    pub artifact: Sum,
}

/// Sealed blocks that may wait for the cutting thread.
const SEALED_BLOCKS: usize = 4;

type Packed = Result<Bytes>;

/// What a packing thread is told.
struct Job {
    /// The next block, or `None` where the source ended well.
    plain: Option<Bytes>,
    done: Sender<Packed>,
}

/// What the sealing thread is told, in order.
enum Turn {
    Block(Receiver<Packed>),
    /// The source ended well. A queue that closes without it means "aborted".
    End,
}

/// Sends the source through every step and into the workers. The workers come back unpublished in either
/// case: after an error they hold a broken artifact, and the caller aborts them.
pub fn run<S: Sink>(
    plan: &Plan,
    source: &mut dyn Read,
    secrets: Secrets,
    workers: Vec<StoreWorker<S>>,
    meter: &Meter,
) -> (Result<Made>, Vec<WorkerEnd<S>>) {
    let fan = match FanOut::start(workers, plan.stall, plan.interrupt.clone()) {
        Ok(fan) => fan,
        Err(error) => return (Err(error), Vec::new()),
    };
    let mut fan = fan;
    let made = stream(plan, source, secrets, &mut fan, meter);
    (made, fan.finish())
}

fn stream<S: Sink>(
    plan: &Plan,
    source: &mut dyn Read,
    secrets: Secrets,
    fan: &mut FanOut<S>,
    meter: &Meter,
) -> Result<Made> {
    let packers = Packer::team(plan.compression)?;
    let threads = packers.len();
    let (jobs, work) = bounded::<Job>(threads);
    let (steps, order) = bounded::<Turn>(threads + 1);
    let dump_hash = Hasher::start("hash dump")?;
    thread::scope(|scope| {
        for (number, packer) in packers.into_iter().enumerate() {
            let work = work.clone();
            thread::Builder::new()
                .name(format!("compress {number}"))
                .spawn_scoped(scope, move || pack_all(packer, &work))?;
        }
        drop(work);
        let (sealed_blocks, blocks) = bounded::<Sealed>(SEALED_BLOCKS);
        // Each end of a queue is owned by its thread: when one stops, its neighbour's next turn fails.
        let sealing = thread::Builder::new()
            .name("seal".to_owned())
            .spawn_scoped(scope, move || seal_all(secrets, &order, &sealed_blocks, meter))?;
        let cutting = thread::Builder::new()
            .name("cut".to_owned())
            .spawn_scoped(scope, move || cut_all(plan.part_size_bytes, &blocks, fan))?;
        let read = read_all(source, &dump_hash, &jobs, &steps, meter);
        drop((jobs, steps));
        let sealed = sealing.join().map_err(|_| anyhow!("the sealing thread is gone"))?;
        let cut = cutting.join().map_err(|_| anyhow!("the cutting thread is gone"))?;
        match (read, sealed, cut) {
            (Ok(()), Ok(artifact), Ok(())) => Ok(Made { dump: dump_hash.finish()?, artifact }),
            (Err(Halt::Cause(error)), _, _)
            | (_, _, Err(Halt::Cause(error)))
            | (_, Err(Halt::Cause(error)), _) => Err(error),
            _ => Err(anyhow!("the stream ended too soon")),
        }
    })
}

/// Why a thread stopped before the stream's end.
enum Halt {
    /// For a reason of its own.
    Cause(anyhow::Error),
    /// Because the one before or behind it did.
    Neighbour,
}

/// What the cutting thread is told, in order.
enum Sealed {
    Block(Bytes),
    /// The artifact is whole. A queue that closes without it means "aborted".
    End,
}

/// The thread behind takes nothing more.
#[derive(Debug, thiserror::Error)]
#[error("the next step has stopped")]
struct Stopped;

impl From<anyhow::Error> for Halt {
    fn from(error: anyhow::Error) -> Self {
        if error.is::<Stopped>() { Self::Neighbour } else { Self::Cause(error) }
    }
}

fn read_all(
    source: &mut dyn Read,
    hash: &Hasher,
    jobs: &Sender<Job>,
    steps: &Sender<Turn>,
    meter: &Meter,
) -> Result<(), Halt> {
    let pool = Pool::default();
    let mut first = true;
    loop {
        let mut block = pool.take(BLOCK_LEN);
        let mut reader = &mut *source;
        let got = super::seal::fill(&mut reader, block.as_mut_slice())
            .map_err(|error| Halt::Cause(unwrap_io(error)))?;
        block.truncate(got);
        let plain = block.freeze();
        // Nothing at all is packed too: gzip has a form for it, an empty file is none.
        if got > 0 || first {
            first = false;
            meter.dump_bytes.fetch_add(got as u64, Ordering::Relaxed);
            hash.update(plain.clone())?;
            hand_over(Some(plain), jobs, steps)?;
        }
        if got < BLOCK_LEN {
            hand_over(None, jobs, steps)?;
            return steps.send(Turn::End).map_err(|_| Halt::Neighbour);
        }
    }
}

/// Has a block packed, and its outcome sealed in its turn.
fn hand_over(plain: Option<Bytes>, jobs: &Sender<Job>, steps: &Sender<Turn>) -> Result<(), Halt> {
    let (done, packed) = bounded(1);
    steps.send(Turn::Block(packed)).map_err(|_| Halt::Neighbour)?;
    jobs.send(Job { plain, done }).map_err(|_| Halt::Neighbour)
}

/// A source's error travels inside an `io::Error`; what is inside is what people read.
fn unwrap_io(error: std::io::Error) -> anyhow::Error {
    if error.get_ref().is_some()
        && let Some(inner) = error.into_inner()
    {
        return match inner.downcast::<crate::exit::Failure>() {
            Ok(failure) => anyhow::Error::new(*failure),
            Err(other) => anyhow!(other),
        };
    }
    anyhow!("the source could not be read")
}

fn pack_all(mut packer: Packer, work: &Receiver<Job>) {
    for job in work {
        let packed = match job.plain {
            Some(plain) => packer.pack(plain),
            None => packer.finish(),
        };
        // The sealing thread is gone when nobody takes it; it has said why.
        drop(job.done.send(packed));
    }
}

fn seal_all(
    secrets: Secrets,
    order: &Receiver<Turn>,
    blocks: &Sender<Sealed>,
    meter: &Meter,
) -> Result<Sum, Halt> {
    let hash = Hasher::start("hash artifact")?;
    let mut sealer = Sealer::new(secrets, |block: Bytes| {
        meter.sealed_bytes.fetch_add(block.len() as u64, Ordering::Relaxed);
        hash.update(block.clone())?;
        blocks.send(Sealed::Block(block)).map_err(|_| Stopped.into())
    });
    for step in order {
        match step {
            Turn::Block(packed) => {
                let packed = packed.recv().context("a compressing thread is gone").flatten()?;
                sealer.write(&packed)?;
            }
            Turn::End => {
                sealer.finish()?;
                blocks.send(Sealed::End).map_err(|_| Halt::Neighbour)?;
                return Ok(hash.finish()?);
            }
        }
    }
    Err(Halt::Neighbour)
}

/// Cuts the artifact into parts, with the MD5 of each, and hands them to every worker.
fn cut_all<S: Sink>(
    part_size_bytes: u64,
    blocks: &Receiver<Sealed>,
    fan: &mut FanOut<S>,
) -> Result<(), Halt> {
    let mut cutter = Cutter::new(part_size_bytes);
    for block in blocks {
        match block {
            Sealed::Block(block) => {
                for part in cutter.push(block) {
                    fan.send(&part)?;
                    testpoint::reached(Step::PartSent);
                }
            }
            Sealed::End => {
                if let Some(part) = cutter.finish() {
                    fan.send(&part)?;
                    testpoint::reached(Step::PartSent);
                }
                return Ok(());
            }
        }
    }
    Err(Halt::Neighbour)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation)]
    use super::*;
    use crate::key::{Key, KeyRing};
    use crate::name::BackupId;
    use crate::part::{Part, Traffic};
    use crate::pipeline::header::{self, CHUNK_LEN, Packing};
    use crate::pipeline::readback::{Opened, open_and_sum};
    use std::io::{self, Cursor};
    use std::sync::{Arc, Mutex};

    type Kept = Arc<Mutex<Vec<Arc<Part>>>>;

    struct Keeps {
        parts: Kept,
        fails: bool,
    }

    impl Sink for Keeps {
        fn write(&mut self, part: Arc<Part>) -> Result<()> {
            anyhow::ensure!(!self.fails, "the sink is broken");
            self.parts.lock().unwrap().push(part);
            Ok(())
        }

        fn traffic(&self) -> Arc<Traffic> {
            Arc::default()
        }
    }

    fn ring() -> KeyRing {
        KeyRing::of(Key::parse(&format!("PGKEEP-KEY-1-{}", "A".repeat(43))).unwrap())
    }

    fn id() -> BackupId {
        BackupId::parse("full-shop-20261122T020000Z-3f9a").unwrap()
    }

    fn flow(source: &mut dyn Read, packing: Packing, part: u64, fails: bool) -> (Result<Made>, Kept) {
        let compression = Compression { packing, level: 9, threads: 2 };
        let stall = Duration::from_mins(1);
        let plan = Plan { compression, part_size_bytes: part, stall, interrupt: Interrupt::new() };
        let kept = Kept::default();
        let parts = Arc::clone(&kept);
        let open = Box::new(move || Ok(Keeps { parts, fails }));
        let worker = StoreWorker { name: "a".to_owned(), bytes_sent: Arc::default(), open };
        let secrets = header::create(&id(), packing, ring().sealing()).unwrap();
        let (made, ends) = run(&plan, source, secrets, vec![worker], &Meter::default());
        assert_eq!(ends.len(), 1);
        (made, kept)
    }

    fn open(sealed: Vec<u8>) -> Opened {
        let sealed = Box::new(Cursor::new(sealed));
        open_and_sum(sealed, &ring(), &id(), 2, &mut std::io::sink(), &Interrupt::new()).unwrap()
    }

    /// Sends `size` bytes through and opens what arrived; gives the sizes of the parts.
    fn round_trip(size: usize, packing: Packing, part: u64) -> Vec<u64> {
        let plain: Vec<u8> = (0..size).map(|i| (i * i % 251) as u8).collect();
        let (made, kept) = flow(&mut plain.as_slice(), packing, part, false);
        let made = made.unwrap();
        let parts = kept.lock().unwrap();
        let sealed: Vec<u8> = parts.iter().flat_map(|part| part.blocks.concat()).collect();
        let opened = open(sealed);
        assert_eq!(opened.artifact, made.artifact, "{size} bytes");
        assert_eq!(opened.dump.unwrap(), made.dump, "{size} bytes");
        assert_eq!(made.dump.size_bytes, size as u64);
        parts.iter().map(|part| part.size_bytes).collect()
    }

    #[test]
    fn every_boundary_arrives_whole() {
        for packing in [Packing::None, Packing::Gzip, Packing::Zstd] {
            for size in [0, 1, CHUNK_LEN - 1, CHUNK_LEN, CHUNK_LEN + 1, BLOCK_LEN, 3 * BLOCK_LEN + 5] {
                round_trip(size, packing, 100_000);
            }
        }
    }

    #[test]
    fn an_artifact_of_one_part_exactly_and_of_one_byte_more() {
        let size = 300_000;
        let whole: u64 = round_trip(size, Packing::None, u64::MAX).iter().sum();
        assert_eq!(round_trip(size, Packing::None, whole), [whole]);
        assert_eq!(round_trip(size + 1, Packing::None, whole), [whole, 1]);
        assert_eq!(round_trip(size, Packing::None, whole / 2).len() as u64, 2 + whole % 2);
    }

    struct FailsAfter(usize);

    impl Read for FailsAfter {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0 == 0 {
                return Err(io::Error::other("the source broke"));
            }
            let count = buffer.len().min(self.0);
            self.0 -= count;
            Ok(count)
        }
    }

    #[test]
    fn a_source_that_breaks_makes_no_artifact() {
        for size in [0, 1, BLOCK_LEN, 5 * BLOCK_LEN + 1] {
            let (made, kept) = flow(&mut FailsAfter(size), Packing::None, 1000, false);
            assert!(made.unwrap_err().to_string().contains("the source broke"));
            let sealed: Vec<u8> = kept.lock().unwrap().iter().flat_map(|part| part.blocks.concat()).collect();
            assert!(open(sealed).dump.is_err(), "what was sent of {size} bytes must not open to an end");
        }
    }

    #[test]
    fn when_no_worker_is_left_the_run_ends_although_the_source_does_not() {
        let (made, _) = flow(&mut io::repeat(7), Packing::None, 1000, true);
        assert!(made.unwrap_err().to_string().contains("no store is left"));
    }
}
