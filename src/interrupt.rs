//! A request to stop, shared by every thread of a run. It knows no signal handler and no process:
//! `main` raises it, whoever waits or loops asks for it.

use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A flag that says "stop now", with the number of the signal that raised it. Clones share the flag.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    signal: AtomicI32,
    raised_at: Mutex<Option<Instant>>,
    raised: Condvar,
}

impl Interrupt {
    /// A flag that nobody has raised yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Raises the flag with the number of the signal that came; the first signal stays on record.
    pub fn raise(&self, signal: i32) {
        let mut raised_at = self.inner.raised_at.lock().unwrap_or_else(PoisonError::into_inner);
        if raised_at.is_none() {
            *raised_at = Some(Instant::now());
            self.inner.signal.store(signal, Ordering::SeqCst);
        }
        drop(raised_at);
        self.inner.raised.notify_all();
    }

    /// The signal that raised the flag, if one did.
    #[must_use]
    pub fn signal(&self) -> Option<i32> {
        match self.inner.signal.load(Ordering::SeqCst) {
            0 => None,
            signal => Some(signal),
        }
    }

    /// Whether the run should stop.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        self.signal().is_some()
    }

    /// How long ago the flag was raised, if it was: what cleans up has to be done with in time.
    #[must_use]
    pub fn raised_for(&self) -> Option<Duration> {
        let raised_at = self.inner.raised_at.lock().unwrap_or_else(PoisonError::into_inner);
        raised_at.map(|at| at.elapsed())
    }

    /// Sleeps for `time`, or until the flag is raised; true when it is raised.
    #[must_use]
    pub fn wait(&self, time: Duration) -> bool {
        let guard = self.inner.raised_at.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = self.inner.raised.wait_timeout_while(guard, time, |_| !self.is_raised());
        drop(outcome.unwrap_or_else(PoisonError::into_inner));
        self.is_raised()
    }
}
