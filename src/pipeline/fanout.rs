//! The fan-out: every part to every worker at once, through bounded queues. A slow worker slows the run, a
//! worker that takes nothing for the stall time or fails is dropped, and neither ends the others. It knows
//! workers, not stores.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use crossbeam_channel::{Receiver, RecvTimeoutError, SendTimeoutError, Sender, bounded};

use crate::interrupt::Interrupt;
use crate::part::{Part, Traffic};

/// Parts that may wait for a worker beside those it has in flight.
const QUEUE_PARTS: usize = 1;
/// How often a wait looks whether the run was interrupted.
const LOOK: Duration = Duration::from_millis(100);
/// How long after an interrupt the workers are waited for, all of them together.
const LAST_WAIT: Duration = Duration::from_secs(4);
/// How long a worker that was dropped has to take back what it left in its store.
const ABORT_GRACE: Duration = Duration::from_secs(20);
/// How long after an interrupt all of them have for that.
const LAST_ABORT_GRACE: Duration = Duration::from_secs(7);

/// Takes the parts of an artifact, in order.
pub trait Sink: Send + 'static {
    /// Takes the next part; may block while too much is on its way.
    ///
    /// # Errors
    /// When this or an earlier part is lost; no more parts come then.
    fn write(&mut self, part: Arc<Part>) -> Result<()>;

    /// What tells a slow sink from one that stalls, and by which it is told that it was dropped.
    fn traffic(&self) -> Arc<Traffic>;
}

/// A worker's traffic, known once its sink is open.
pub type BytesSent = Arc<OnceLock<Arc<Traffic>>>;

/// How many bytes a worker has sent.
#[must_use]
pub fn bytes_sent(worker: &BytesSent) -> u64 {
    worker.get().map_or(0, |traffic| traffic.moved_bytes())
}

/// A way out of the fan-out, before it is opened.
pub struct StoreWorker<S> {
    /// The name that comes back with its end.
    pub name: String,
    /// Bytes it has sent, for whoever watches.
    pub bytes_sent: BytesSent,
    /// Opens the sink, on the worker's own thread.
    pub open: Box<dyn FnOnce() -> Result<S> + Send>,
}

/// How a worker ended: with a sink that took every part, or with the reason it was dropped.
pub struct WorkerEnd<S> {
    /// The worker's name.
    pub name: String,
    /// The sink, still unpublished, or what went wrong.
    pub result: Result<S>,
}

struct Running<S> {
    name: String,
    queue: Option<Sender<Arc<Part>>>,
    ended: Receiver<Result<S>>,
    bytes_sent: BytesSent,
    idle: IdleTimer,
    dropped: Option<anyhow::Error>,
    is_dropped: Arc<AtomicBool>,
}

/// The workers of one run.
pub struct FanOut<S> {
    workers: Vec<Running<S>>,
    stall: Duration,
    interrupt: Interrupt,
}

impl<S: Sink> FanOut<S> {
    /// Starts a thread for each worker.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(workers: Vec<StoreWorker<S>>, stall: Duration, interrupt: Interrupt) -> Result<Self> {
        let workers = workers.into_iter().map(start_worker).collect::<Result<_>>()?;
        Ok(Self { workers, stall, interrupt })
    }

    /// Hands a part to every worker that is alive.
    ///
    /// # Errors
    /// When no worker is left, or the run was interrupted.
    pub fn send(&mut self, part: &Arc<Part>) -> Result<()> {
        for worker in &mut self.workers {
            worker.offer(part, self.stall, &self.interrupt)?;
        }
        if self.workers.iter().all(|worker| worker.queue.is_none()) {
            bail!("no store is left that takes the backup");
        }
        Ok(())
    }

    /// Ends the workers and waits until each took what was queued for it, or stalled.
    #[must_use]
    pub fn finish(self) -> Vec<WorkerEnd<S>> {
        let Self { mut workers, stall, interrupt } = self;
        for worker in &mut workers {
            worker.queue = None;
            worker.idle = IdleTimer::new(&worker.bytes_sent);
        }
        workers.into_iter().map(|worker| worker.end(stall, &interrupt)).collect()
    }
}

impl<S: Sink> Running<S> {
    fn offer(&mut self, part: &Arc<Part>, stall: Duration, interrupt: &Interrupt) -> Result<()> {
        let Some(queue) = self.queue.as_ref() else { return Ok(()) };
        let mut waiting = Arc::clone(part);
        self.idle = IdleTimer::new(&self.bytes_sent);
        loop {
            match queue.send_timeout(waiting, LOOK.min(stall)) {
                Ok(()) => return Ok(()),
                Err(SendTimeoutError::Disconnected(_)) => {
                    self.queue = None;
                    return Ok(());
                }
                Err(SendTimeoutError::Timeout(back)) => waiting = back,
            }
            if interrupt.is_raised() {
                bail!("interrupted");
            }
            if self.idle.lasted(&self.bytes_sent) >= stall {
                self.queue = None;
                self.drop_for(stalled(&self.bytes_sent, stall));
                return Ok(());
            }
        }
    }

    /// Lets it go: nothing more is sent to it, and what is on its way is not waited for.
    fn drop_for(&mut self, reason: anyhow::Error) {
        self.dropped = Some(reason);
        self.is_dropped.store(true, Ordering::SeqCst);
        if let Some(traffic) = self.bytes_sent.get() {
            traffic.cancel();
        }
    }

    fn end(mut self, stall: Duration, interrupt: &Interrupt) -> WorkerEnd<S> {
        while self.dropped.is_none() {
            match self.ended.recv_timeout(LOOK.min(stall)) {
                Ok(result) => return WorkerEnd { name: self.name, result },
                Err(RecvTimeoutError::Disconnected) => {
                    return WorkerEnd { name: self.name, result: Err(anyhow!("its thread ended too soon")) };
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            // An interrupted run gives its workers a moment to clean up, not a whole stall time.
            if interrupt.raised_for().is_some_and(|since| since >= LAST_WAIT) {
                self.drop_for(anyhow!("it did not end in time: interrupted"));
            } else if self.idle.lasted(&self.bytes_sent) >= stall {
                self.drop_for(stalled(&self.bytes_sent, stall));
            }
        }
        self.await_abort(interrupt);
        let gone = || anyhow!("it was dropped");
        WorkerEnd { name: self.name, result: Err(self.dropped.unwrap_or_else(gone)) }
    }

    /// A worker that was dropped takes back what it left in its store, as far as that answers; a run that ended
    /// before would leave it there. One that was never open has nothing to take back.
    fn await_abort(&self, interrupt: &Interrupt) {
        let started = Instant::now();
        while self.bytes_sent.get().is_some() {
            let is_over = interrupt.raised_for().is_some_and(|since| since >= LAST_ABORT_GRACE);
            match self.ended.recv_timeout(LOOK) {
                Err(RecvTimeoutError::Timeout) if started.elapsed() < ABORT_GRACE && !is_over => {}
                Ok(_) | Err(_) => return,
            }
        }
    }
}

fn stalled(worker: &BytesSent, time: Duration) -> anyhow::Error {
    let told = format!("it took no byte for {time:?} (timeouts.stall): dropped");
    match worker.get().and_then(|traffic| traffic.problem()) {
        Some(problem) => anyhow!("{told}; it last ran into this: {problem}"),
        None => anyhow!(told),
    }
}

/// How long a worker has taken nothing.
struct IdleTimer {
    since: Instant,
    at_bytes: u64,
}

impl IdleTimer {
    fn new(worker: &BytesSent) -> Self {
        Self { since: Instant::now(), at_bytes: bytes_sent(worker) }
    }

    fn lasted(&mut self, worker: &BytesSent) -> Duration {
        let now_bytes = bytes_sent(worker);
        if now_bytes != self.at_bytes {
            *self = Self { since: Instant::now(), at_bytes: now_bytes };
        }
        self.since.elapsed()
    }
}

fn start_worker<S: Sink>(worker: StoreWorker<S>) -> Result<Running<S>> {
    let StoreWorker { name, bytes_sent, open } = worker;
    let (queue, parts) = bounded::<Arc<Part>>(QUEUE_PARTS);
    let (end, ended) = bounded(1);
    let is_dropped = Arc::new(AtomicBool::new(false));
    let (counted, is_over) = (Arc::clone(&bytes_sent), Arc::clone(&is_dropped));
    std::thread::Builder::new().name(format!("store {name}")).spawn(move || {
        let result = run_worker(open, &parts, &counted, &is_over);
        // The sink of a worker that was dropped is aborted here, before its end is told.
        let result = if is_over.load(Ordering::SeqCst) {
            drop(result);
            Err(anyhow!("it was dropped"))
        } else {
            result
        };
        // Nobody may listen any more.
        drop(end.send(result));
    })?;
    let idle = IdleTimer::new(&bytes_sent);
    Ok(Running { name, queue: Some(queue), ended, bytes_sent, idle, dropped: None, is_dropped })
}

fn run_worker<S: Sink>(
    open: Box<dyn FnOnce() -> Result<S> + Send>,
    parts: &Receiver<Arc<Part>>,
    bytes_sent: &BytesSent,
    is_dropped: &AtomicBool,
) -> Result<S> {
    let mut sink = open()?;
    let traffic = bytes_sent.get_or_init(|| sink.traffic());
    if is_dropped.load(Ordering::SeqCst) {
        traffic.cancel();
        bail!("it was dropped");
    }
    for part in parts {
        sink.write(part)?;
    }
    Ok(sink)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation)]
    use super::*;
    use std::sync::Mutex;

    struct Keeps(Arc<Mutex<Vec<u32>>>, Option<u32>);

    impl Sink for Keeps {
        fn write(&mut self, part: Arc<Part>) -> Result<()> {
            if self.1 == Some(part.number) {
                bail!("part {} refused", part.number);
            }
            self.0.lock().unwrap().push(part.number);
            Ok(())
        }

        fn traffic(&self) -> Arc<Traffic> {
            Arc::default()
        }
    }

    fn part(number: u32) -> Arc<Part> {
        Arc::new(Part { number, blocks: Vec::new(), size_bytes: 1, md5: [0; 16] })
    }

    fn worker(name: &str, seen: &Arc<Mutex<Vec<u32>>>, fails_at: Option<u32>) -> StoreWorker<Keeps> {
        let seen = Arc::clone(seen);
        StoreWorker {
            name: name.to_owned(),
            bytes_sent: BytesSent::default(),
            open: Box::new(move || Ok(Keeps(seen, fails_at))),
        }
    }

    #[test]
    fn a_worker_that_fails_does_not_end_the_others() {
        let (good, bad) = (Arc::default(), Arc::default());
        let workers = vec![worker("good", &good, None), worker("bad", &bad, Some(3))];
        let mut fan = FanOut::start(workers, Duration::from_secs(5), Interrupt::new()).unwrap();
        for number in 1..=20 {
            fan.send(&part(number)).unwrap();
        }
        let ends = fan.finish();
        assert!(ends[0].result.is_ok());
        assert_eq!(*good.lock().unwrap(), (1..=20).collect::<Vec<_>>());
        let error = ends[1].result.as_ref().err().unwrap().to_string();
        assert_eq!((ends[1].name.as_str(), error.as_str()), ("bad", "part 3 refused"));
        assert_eq!(*bad.lock().unwrap(), vec![1, 2]);
    }

    #[test]
    fn a_worker_that_hangs_is_dropped_after_the_stall_time() {
        let seen = Arc::default();
        let (release, held) = bounded::<()>(0);
        let hangs = StoreWorker {
            name: "hangs".to_owned(),
            bytes_sent: BytesSent::default(),
            open: Box::new(move || {
                held.recv().ok();
                bail!("let go")
            }),
        };
        let workers = vec![hangs, worker("good", &seen, None)];
        let mut fan = FanOut::start(workers, Duration::from_millis(50), Interrupt::new()).unwrap();
        for number in 1..=5 {
            fan.send(&part(number)).unwrap();
        }
        let ends = fan.finish();
        assert!(ends[0].result.as_ref().err().unwrap().to_string().contains("took no byte"));
        assert!(ends[1].result.is_ok());
        assert_eq!(seen.lock().unwrap().len(), 5);
        drop(release);
    }

    #[test]
    fn no_worker_left_ends_the_run() {
        let seen = Arc::default();
        let mut fan =
            FanOut::start(vec![worker("a", &seen, Some(1))], Duration::from_secs(5), Interrupt::new())
                .unwrap();
        let refused = (1..=10).find_map(|number| fan.send(&part(number)).err()).unwrap();
        assert!(refused.to_string().contains("no store is left"));
        assert!(fan.finish()[0].result.is_err());
    }
}
