//! The parts of one upload on their way from the caller to the threads that send them. It holds no
//! more parts than may be in flight, and must not know how a part is sent.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::interrupt::Interrupt;
use crate::store::Part;

use super::error::S3Error;

/// How often a caller that waits for room looks at the interrupt.
const INTERRUPT_LOOK: Duration = Duration::from_millis(100);

pub(super) struct Queue {
    most_in_flight: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Option<Arc<Part>>,
    in_flight: usize,
    is_closed: bool,
    etags: BTreeMap<u32, String>,
    failure: Option<S3Error>,
}

impl Queue {
    pub(super) fn new(most_in_flight: usize) -> Self {
        Self { most_in_flight, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Hands over a part as soon as there is room for it.
    pub(super) fn push(&self, part: Arc<Part>, interrupt: &Interrupt) -> Result<(), S3Error> {
        let mut state = self.lock();
        loop {
            if let Some(failure) = &state.failure {
                return Err(failure.clone());
            }
            if interrupt.is_raised() {
                return Err(interrupted(part.number));
            }
            if state.waiting.is_none() && state.in_flight < self.most_in_flight {
                state.waiting = Some(part);
                self.changed.notify_all();
                return Ok(());
            }
            state = self.wait(state);
        }
    }

    /// The next part to send; `None` when there will be none. [`Queue::settle`] must follow.
    pub(super) fn pop(&self) -> Option<Arc<Part>> {
        let mut state = self.lock();
        loop {
            if state.failure.is_some() {
                return None;
            }
            if let Some(part) = state.waiting.take() {
                state.in_flight = state.in_flight.saturating_add(1);
                return Some(part);
            }
            if state.is_closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Says what became of a part.
    pub(super) fn settle(&self, number: u32, outcome: Result<String, S3Error>) {
        let mut state = self.lock();
        state.in_flight = state.in_flight.saturating_sub(1);
        match outcome {
            Ok(etag) => {
                state.etags.insert(number, etag);
            }
            Err(error) => {
                state.failure.get_or_insert(error);
            }
        }
        self.changed.notify_all();
    }

    /// No part will follow: waits for all that are on their way, and gives their entity tags.
    pub(super) fn finish(&self, interrupt: &Interrupt) -> Result<BTreeMap<u32, String>, S3Error> {
        let mut state = self.lock();
        state.is_closed = true;
        self.changed.notify_all();
        loop {
            if let Some(failure) = &state.failure {
                return Err(failure.clone());
            }
            if interrupt.is_raised() {
                return Err(S3Error::refused("upload", "interrupted"));
            }
            if state.waiting.is_none() && state.in_flight == 0 {
                return Ok(std::mem::take(&mut state.etags));
            }
            state = self.wait(state);
        }
    }

    /// Drops what waits, and gives what is in flight up to `time` to end.
    pub(super) fn cancel(&self, time: Duration) {
        let deadline = Instant::now().checked_add(time);
        let mut state = self.lock();
        state.is_closed = true;
        state.waiting = None;
        state.failure.get_or_insert_with(|| S3Error::refused("upload", "aborted"));
        self.changed.notify_all();
        while state.in_flight > 0 && deadline.is_some_and(|deadline| Instant::now() < deadline) {
            state = self.wait(state);
        }
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let outcome = self.changed.wait_timeout(state, INTERRUPT_LOOK);
        outcome.unwrap_or_else(PoisonError::into_inner).0
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn interrupted(number: u32) -> S3Error {
    S3Error::refused(&format!("upload of part {number}"), "interrupted")
}
