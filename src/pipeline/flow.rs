//! The one pass of a backup: source, compress, seal, hash, fan out, every step on a thread of its own
//! and bounded queues between them. It knows neither what the source is nor what the lanes lead to.

use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use bytes::{Bytes, BytesMut};
use crossbeam_channel::{Receiver, Sender, bounded};

use super::compress::{BLOCK_LEN, Compression, Packer};
use super::digest::{Hasher, Sum};
use super::fanout::{FanOut, Lane, LaneEnd, Sink};
use super::header::Secrets;
use super::parts::Cutter;
use super::seal::Sealer;
use crate::interrupt::Interrupt;

/// How a run is to be done.
#[derive(Debug)]
pub struct Plan {
    /// What the dump is packed with.
    pub compression: Compression,
    /// Size of all parts but the last.
    pub part_size_bytes: u64,
    /// A lane that takes nothing for this long is dropped.
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

type Packed = Result<Vec<u8>>;

struct Job {
    plain: Bytes,
    done: Sender<Packed>,
}

/// What the sealing thread is told, in order.
enum Step {
    Block(Receiver<Packed>),
    /// The source ended well. A queue that closes without it means "aborted".
    End,
}

/// Sends the source through every step and into the lanes. The lanes come back unpublished in either
/// case: after an error they hold a broken artifact, and the caller aborts them.
pub fn run<S: Sink>(
    plan: &Plan,
    source: &mut dyn Read,
    secrets: Secrets,
    lanes: Vec<Lane<S>>,
    meter: &Meter,
) -> (Result<Made>, Vec<LaneEnd<S>>) {
    let fan = match FanOut::start(lanes, plan.stall, plan.interrupt.clone()) {
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
    let threads = plan.compression.threads.max(1);
    let (jobs, work) = bounded::<Job>(threads);
    let (steps, order) = bounded::<Step>(threads + 1);
    let dump_hash = Hasher::start("hash dump")?;
    thread::scope(|scope| {
        for number in 0..threads {
            let work = work.clone();
            let compression = plan.compression;
            thread::Builder::new()
                .name(format!("compress {number}"))
                .spawn_scoped(scope, move || pack_all(compression, &work))?;
        }
        drop(work);
        let sealing = thread::Builder::new().name("seal".to_owned()).spawn_scoped(scope, move || {
            // The queue's end is owned here: when sealing stops, the reader's next send fails.
            seal_all(plan.part_size_bytes, secrets, &order, fan, meter)
        })?;
        let read = read_all(source, &dump_hash, &jobs, &steps, meter);
        drop((jobs, steps));
        let sealed = sealing.join().map_err(|_| anyhow!("the sealing thread is gone"))?;
        match (read, sealed) {
            (Ok(()), Ok(artifact)) => Ok(Made { dump: dump_hash.finish()?, artifact }),
            // When the sealing thread stopped first, its reason is the cause.
            (Err(Halt::Source(error)), _) | (_, Err(error)) => Err(error),
            (Err(Halt::Downstream), Ok(_)) => Err(anyhow!("the stream ended too soon")),
        }
    })
}

/// Why reading stopped before the source's end.
enum Halt {
    Source(anyhow::Error),
    Downstream,
}

fn read_all(
    source: &mut dyn Read,
    hash: &Hasher,
    jobs: &Sender<Job>,
    steps: &Sender<Step>,
    meter: &Meter,
) -> Result<(), Halt> {
    loop {
        let mut block = BytesMut::zeroed(BLOCK_LEN);
        let mut reader = &mut *source;
        let got =
            super::seal::fill(&mut reader, &mut block).map_err(|error| Halt::Source(unwrap_io(error)))?;
        block.truncate(got);
        let plain = block.freeze();
        if got > 0 {
            meter.dump_bytes.fetch_add(got as u64, Ordering::Relaxed);
            let (done, packed) = bounded(1);
            hash.update(plain.clone()).map_err(Halt::Source)?;
            steps.send(Step::Block(packed)).map_err(|_| Halt::Downstream)?;
            jobs.send(Job { plain, done }).map_err(|_| Halt::Downstream)?;
        }
        if got < BLOCK_LEN {
            return steps.send(Step::End).map_err(|_| Halt::Downstream);
        }
    }
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

fn pack_all(compression: Compression, work: &Receiver<Job>) {
    let mut packer = Packer::new(compression);
    for job in work {
        let packed = match packer.as_mut() {
            Ok(packer) => packer.pack(&job.plain),
            Err(error) => Err(anyhow!("{error:#}")),
        };
        // The sealing thread is gone when nobody takes it; it has said why.
        drop(job.done.send(packed));
    }
}

fn seal_all<S: Sink>(
    part_size_bytes: u64,
    secrets: Secrets,
    order: &Receiver<Step>,
    fan: &mut FanOut<S>,
    meter: &Meter,
) -> Result<Sum> {
    let hash = Hasher::start("hash artifact")?;
    let mut cutter = Cutter::new(part_size_bytes);
    let mut sealer = Sealer::new(secrets, |block: Bytes| {
        meter.sealed_bytes.fetch_add(block.len() as u64, Ordering::Relaxed);
        hash.update(block.clone())?;
        for part in cutter.push(block) {
            fan.send(&part)?;
        }
        Ok(())
    });
    for step in order {
        match step {
            Step::Block(packed) => {
                let packed = packed.recv().context("a compressing thread is gone")??;
                sealer.write(&packed)?;
            }
            Step::End => {
                sealer.finish()?;
                if let Some(part) = cutter.finish() {
                    fan.send(&part)?;
                }
                return hash.finish();
            }
        }
    }
    Err(anyhow!("the source did not end well"))
}
