//! The fan-out: every part to every lane at once, through bounded queues. A slow lane slows the run, a
//! lane that takes nothing for the stall time or fails is dropped, and neither ends the others. It knows
//! lanes, not stores.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use crossbeam_channel::{Receiver, RecvTimeoutError, SendTimeoutError, Sender, bounded};

use crate::interrupt::Interrupt;
use crate::part::{Part, Traffic};

/// Parts that may wait for a lane beside those it has in flight.
const QUEUE_PARTS: usize = 1;
/// How often a wait looks whether the run was interrupted.
const LOOK: Duration = Duration::from_millis(100);
/// How long after an interrupt the lanes are waited for, all of them together.
const LAST_WAIT: Duration = Duration::from_secs(4);
/// How long a lane that was dropped has to take back what it left in its store.
const FAREWELL: Duration = Duration::from_secs(20);
/// How long after an interrupt all of them have for that.
const LAST_FAREWELL: Duration = Duration::from_secs(7);

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

/// A lane's traffic, known once its sink is open.
pub type Moved = Arc<OnceLock<Arc<Traffic>>>;

/// How many bytes a lane has moved.
#[must_use]
pub fn moved(lane: &Moved) -> u64 {
    lane.get().map_or(0, |traffic| traffic.moved_bytes())
}

/// A way out of the fan-out, before it is opened.
pub struct Lane<S> {
    /// The name that comes back with its end.
    pub name: String,
    /// Bytes it moved, for whoever watches.
    pub moved: Moved,
    /// Opens the sink, on the lane's own thread.
    pub open: Box<dyn FnOnce() -> Result<S> + Send>,
}

/// How a lane ended: with a sink that took every part, or with the reason it was dropped.
pub struct LaneEnd<S> {
    /// The lane's name.
    pub name: String,
    /// The sink, still unpublished, or what went wrong.
    pub result: Result<S>,
}

struct Running<S> {
    name: String,
    queue: Option<Sender<Arc<Part>>>,
    ended: Receiver<Result<S>>,
    moved: Moved,
    quiet: Quiet,
    dropped: Option<anyhow::Error>,
    is_dropped: Arc<AtomicBool>,
}

/// The lanes of one run.
pub struct FanOut<S> {
    lanes: Vec<Running<S>>,
    stall: Duration,
    interrupt: Interrupt,
}

impl<S: Sink> FanOut<S> {
    /// Starts a thread for each lane.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(lanes: Vec<Lane<S>>, stall: Duration, interrupt: Interrupt) -> Result<Self> {
        let lanes = lanes.into_iter().map(start_lane).collect::<Result<_>>()?;
        Ok(Self { lanes, stall, interrupt })
    }

    /// Hands a part to every lane that is alive.
    ///
    /// # Errors
    /// When no lane is left, or the run was interrupted.
    pub fn send(&mut self, part: &Arc<Part>) -> Result<()> {
        for lane in &mut self.lanes {
            lane.offer(part, self.stall, &self.interrupt)?;
        }
        if self.lanes.iter().all(|lane| lane.queue.is_none()) {
            bail!("no store is left that takes the backup");
        }
        Ok(())
    }

    /// Ends the lanes and waits until each took what was queued for it, or stalled.
    #[must_use]
    pub fn finish(self) -> Vec<LaneEnd<S>> {
        let Self { mut lanes, stall, interrupt } = self;
        for lane in &mut lanes {
            lane.queue = None;
            lane.quiet = Quiet::new(&lane.moved);
        }
        lanes.into_iter().map(|lane| lane.end(stall, &interrupt)).collect()
    }
}

impl<S: Sink> Running<S> {
    fn offer(&mut self, part: &Arc<Part>, stall: Duration, interrupt: &Interrupt) -> Result<()> {
        let Some(queue) = self.queue.as_ref() else { return Ok(()) };
        let mut waiting = Arc::clone(part);
        self.quiet = Quiet::new(&self.moved);
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
            if self.quiet.lasted(&self.moved) >= stall {
                self.queue = None;
                self.drop_for(stalled(&self.moved, stall));
                return Ok(());
            }
        }
    }

    /// Lets it go: nothing more is sent to it, and what is on its way is not waited for.
    fn drop_for(&mut self, reason: anyhow::Error) {
        self.dropped = Some(reason);
        self.is_dropped.store(true, Ordering::SeqCst);
        if let Some(traffic) = self.moved.get() {
            traffic.cancel();
        }
    }

    fn end(mut self, stall: Duration, interrupt: &Interrupt) -> LaneEnd<S> {
        while self.dropped.is_none() {
            match self.ended.recv_timeout(LOOK.min(stall)) {
                Ok(result) => return LaneEnd { name: self.name, result },
                Err(RecvTimeoutError::Disconnected) => {
                    return LaneEnd { name: self.name, result: Err(anyhow!("its thread ended too soon")) };
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            // An interrupted run gives its lanes a moment to clean up, not a whole stall time.
            if interrupt.raised_for().is_some_and(|since| since >= LAST_WAIT) {
                self.drop_for(anyhow!("it did not end in time: interrupted"));
            } else if self.quiet.lasted(&self.moved) >= stall {
                self.drop_for(stalled(&self.moved, stall));
            }
        }
        self.await_farewell(interrupt);
        let gone = || anyhow!("it was dropped");
        LaneEnd { name: self.name, result: Err(self.dropped.unwrap_or_else(gone)) }
    }

    /// A lane that was dropped takes back what it left in its store, as far as that answers; a run that ended
    /// before would leave it there. One that was never open has nothing to take back.
    fn await_farewell(&self, interrupt: &Interrupt) {
        let started = Instant::now();
        while self.moved.get().is_some() {
            let is_over = interrupt.raised_for().is_some_and(|since| since >= LAST_FAREWELL);
            match self.ended.recv_timeout(LOOK) {
                Err(RecvTimeoutError::Timeout) if started.elapsed() < FAREWELL && !is_over => {}
                Ok(_) | Err(_) => return,
            }
        }
    }
}

fn stalled(lane: &Moved, time: Duration) -> anyhow::Error {
    let told = format!("it took no byte for {time:?} (timeouts.stall): dropped");
    match lane.get().and_then(|traffic| traffic.trouble()) {
        Some(trouble) => anyhow!("{told}; it last ran into this: {trouble}"),
        None => anyhow!(told),
    }
}

/// How long a lane has taken nothing.
struct Quiet {
    since: Instant,
    at_bytes: u64,
}

impl Quiet {
    fn new(lane: &Moved) -> Self {
        Self { since: Instant::now(), at_bytes: moved(lane) }
    }

    fn lasted(&mut self, lane: &Moved) -> Duration {
        let now_bytes = moved(lane);
        if now_bytes != self.at_bytes {
            *self = Self { since: Instant::now(), at_bytes: now_bytes };
        }
        self.since.elapsed()
    }
}

fn start_lane<S: Sink>(lane: Lane<S>) -> Result<Running<S>> {
    let Lane { name, moved, open } = lane;
    let (queue, parts) = bounded::<Arc<Part>>(QUEUE_PARTS);
    let (end, ended) = bounded(1);
    let is_dropped = Arc::new(AtomicBool::new(false));
    let (counted, is_over) = (Arc::clone(&moved), Arc::clone(&is_dropped));
    std::thread::Builder::new().name(format!("store {name}")).spawn(move || {
        let result = run_lane(open, &parts, &counted, &is_over);
        // The sink of a lane that was dropped is aborted here, before its end is told.
        let result = if is_over.load(Ordering::SeqCst) {
            drop(result);
            Err(anyhow!("it was dropped"))
        } else {
            result
        };
        // Nobody may listen any more.
        drop(end.send(result));
    })?;
    let quiet = Quiet::new(&moved);
    Ok(Running { name, queue: Some(queue), ended, moved, quiet, dropped: None, is_dropped })
}

fn run_lane<S: Sink>(
    open: Box<dyn FnOnce() -> Result<S> + Send>,
    parts: &Receiver<Arc<Part>>,
    moved: &Moved,
    is_dropped: &AtomicBool,
) -> Result<S> {
    let mut sink = open()?;
    let traffic = moved.get_or_init(|| sink.traffic());
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

    fn lane(name: &str, seen: &Arc<Mutex<Vec<u32>>>, fails_at: Option<u32>) -> Lane<Keeps> {
        let seen = Arc::clone(seen);
        Lane {
            name: name.to_owned(),
            moved: Moved::default(),
            open: Box::new(move || Ok(Keeps(seen, fails_at))),
        }
    }

    #[test]
    fn a_lane_that_fails_does_not_end_the_others() {
        let (good, bad) = (Arc::default(), Arc::default());
        let lanes = vec![lane("good", &good, None), lane("bad", &bad, Some(3))];
        let mut fan = FanOut::start(lanes, Duration::from_secs(5), Interrupt::new()).unwrap();
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
    fn a_lane_that_hangs_is_dropped_after_the_stall_time() {
        let seen = Arc::default();
        let (release, held) = bounded::<()>(0);
        let hangs = Lane {
            name: "hangs".to_owned(),
            moved: Moved::default(),
            open: Box::new(move || {
                held.recv().ok();
                bail!("let go")
            }),
        };
        let lanes = vec![hangs, lane("good", &seen, None)];
        let mut fan = FanOut::start(lanes, Duration::from_millis(50), Interrupt::new()).unwrap();
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
    fn no_lane_left_ends_the_run() {
        let seen = Arc::default();
        let mut fan =
            FanOut::start(vec![lane("a", &seen, Some(1))], Duration::from_secs(5), Interrupt::new()).unwrap();
        let refused = (1..=10).find_map(|number| fan.send(&part(number)).err()).unwrap();
        assert!(refused.to_string().contains("no store is left"));
        assert!(fan.finish()[0].result.is_err());
    }
}
