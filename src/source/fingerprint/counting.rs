//! The counting beside a dump: on a thread of its own, that can be ended at any time.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::{Brake, Snapshot, Taken, Wanted};
use crate::connect::{Canceller, ConnectOptions};
use crate::conninfo::ConnInfo;
use crate::fingerprint::Fingerprint;
use crate::interrupt::Interrupt;

/// How often the end of the counting is looked for.
const LOOK: Duration = Duration::from_millis(50);
/// What a server may take, after its time was over, to say so.
const GRACE: Duration = Duration::from_secs(10);
/// How long a counting that was told to end is waited for; one that hangs is left to itself.
const LAST_WAIT: Duration = Duration::from_secs(3);

/// A counting under way, or about to begin.
pub struct Counting {
    begin: Option<Sender<()>>,
    ended: Receiver<Taken>,
    brake: Brake,
    canceller: Canceller,
}

impl Counting {
    /// Makes ready to count on a snapshot; the counting waits for [`Counting::begin`].
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(mut snapshot: Snapshot) -> Result<Self> {
        let (begin, begun) = channel();
        let (end, ended) = channel();
        let brake = Brake::default();
        let canceller = snapshot.canceller();
        let for_thread = brake.clone();
        thread::Builder::new().name("fingerprint".to_owned()).spawn(move || {
            let asks = snapshot.prepare();
            let taken = match begun.recv() {
                Ok(()) => snapshot.finish(asks, &for_thread),
                Err(_) => Taken { figures: snapshot.into_frame(), tables: None, problem: None },
            };
            // Nobody takes it where the counting was given up.
            drop(end.send(taken));
        })?;
        Ok(Self { begin: Some(begin), ended, brake, canceller })
    }

    /// Lets it begin; more than once is the same as once.
    pub fn begin(&mut self) {
        if let Some(begin) = self.begin.take()
            && begin.send(()).is_err()
        {
            log::debug!("the counting ended before it began");
        }
    }

    /// Waits for the figures, no longer than `limit`: what is not counted by then is skipped and named.
    ///
    /// # Errors
    /// When the interrupt is raised, or the session hangs.
    pub fn finish(mut self, limit: Duration, interrupt: &Interrupt) -> Result<Taken> {
        self.begin();
        let now = Instant::now();
        let end = now.checked_add(limit).context("the time limit is too far away")?;
        self.brake.end_by(end);
        while !interrupt.is_raised() && Instant::now() < end + GRACE {
            match self.ended.recv_timeout(LOOK) {
                Ok(taken) => return Ok(taken),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => bail!("the counting thread is gone"),
            }
        }
        drop(self.cancel());
        if interrupt.is_raised() {
            bail!("interrupted");
        }
        bail!("the server did not answer in time")
    }

    /// Ends it at once and gives back what was known before it began, unless the server hangs.
    #[must_use]
    pub fn cancel(mut self) -> Option<Fingerprint> {
        self.begin = None;
        self.brake.end_by(Instant::now());
        let last = Instant::now() + LAST_WAIT;
        while Instant::now() < last {
            match self.ended.recv_timeout(LOOK) {
                Ok(taken) => return Some(taken.figures),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {}
            }
            // It may have begun its next query since it was asked.
            if let Err(error) = self.canceller.cancel() {
                log::debug!("the counting can't be ended: {error}");
            }
        }
        None
    }
}

/// The figures of a database as it is now, with nobody sharing the snapshot: for what was restored.
///
/// # Errors
/// When the server can't be reached or asked, the session is lost before the end, or the interrupt is
/// raised.
pub fn figures_of(
    info: &ConnInfo,
    options: &ConnectOptions<'static>,
    wanted: Wanted,
    limit: Duration,
    interrupt: &Interrupt,
) -> Result<Fingerprint> {
    let taken = Counting::start(Snapshot::open(info, options, wanted)?)?.finish(limit, interrupt)?;
    taken.problem.map_or(Ok(taken.figures), Err)
}
