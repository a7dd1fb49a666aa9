//! Tasks on their way from one caller to the threads that do them: a part to be sent, a range to be
//! copied. It holds no more of them than may be in flight, and must not know what a task does.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::interrupt::Interrupt;

use super::error::S3Error;

/// How often a caller that waits for room looks at the interrupt.
const INTERRUPT_LOOK: Duration = Duration::from_millis(100);

/// A piece of work that ends with an entity tag.
pub(super) trait Task: Send + 'static {
    /// What tells it from the others.
    fn number(&self) -> u32;

    /// What an error calls it.
    fn operation(&self) -> String;

    /// Does it, retries and all.
    fn run(&self) -> Result<String, S3Error>;
}

/// A few threads, and the tasks they do. Dropped, it takes no more of them.
pub(super) struct UploadPool<T: Task> {
    queue: Arc<Queue<T>>,
}

impl<T: Task> UploadPool<T> {
    /// Starts as many threads as tasks may be in flight.
    pub(super) fn start(most_in_flight: usize) -> Result<Self> {
        let queue = Queue { most_in_flight, state: Mutex::new(State::default()), changed: Condvar::new() };
        let pool = Self { queue: Arc::new(queue) };
        for _ in 0..most_in_flight {
            let queue = Arc::clone(&pool.queue);
            thread::Builder::new()
                .name("s3 part".to_owned())
                .spawn(move || queue.work())
                .context("can't start a thread for an upload")?;
        }
        Ok(pool)
    }

    /// Hands over a task as soon as there is room for it, unless that is not to be waited for any more.
    pub(super) fn push(&self, task: T, is_over: impl Fn() -> bool) -> Result<(), S3Error> {
        let queue = &self.queue;
        let mut state = queue.lock();
        loop {
            if let Some(failure) = &state.failure {
                return Err(failure.clone());
            }
            if is_over() {
                return Err(interrupted(&task.operation()));
            }
            if state.waiting.is_none() && state.in_flight < queue.most_in_flight {
                state.waiting = Some(task);
                queue.changed.notify_all();
                return Ok(());
            }
            state = queue.wait(state);
        }
    }

    /// No task will follow: waits for all that are on their way, and gives their entity tags.
    pub(super) fn finish(&self, interrupt: &Interrupt) -> Result<BTreeMap<u32, String>, S3Error> {
        let queue = &self.queue;
        let mut state = queue.lock();
        state.is_closed = true;
        queue.changed.notify_all();
        loop {
            if let Some(failure) = &state.failure {
                return Err(failure.clone());
            }
            if interrupt.is_raised() {
                return Err(interrupted("upload"));
            }
            if state.waiting.is_none() && state.in_flight == 0 {
                return Ok(std::mem::take(&mut state.etags));
            }
            state = queue.wait(state);
        }
    }

    /// Drops what waits, and gives what is in flight up to `time` to end.
    pub(super) fn cancel(&self, time: Duration) {
        let queue = &self.queue;
        let deadline = Instant::now().checked_add(time);
        let mut state = queue.lock();
        state.is_closed = true;
        state.waiting = None;
        state.failure.get_or_insert_with(|| S3Error::refused("upload", "aborted"));
        queue.changed.notify_all();
        while state.in_flight > 0 && deadline.is_some_and(|deadline| Instant::now() < deadline) {
            state = queue.wait(state);
        }
    }
}

impl<T: Task> Drop for UploadPool<T> {
    fn drop(&mut self) {
        self.cancel(Duration::ZERO);
    }
}

struct Queue<T> {
    most_in_flight: usize,
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    waiting: Option<T>,
    in_flight: usize,
    is_closed: bool,
    etags: BTreeMap<u32, String>,
    failure: Option<S3Error>,
}

impl<T> Default for State<T> {
    fn default() -> Self {
        Self { waiting: None, in_flight: 0, is_closed: false, etags: BTreeMap::new(), failure: None }
    }
}

impl<T: Task> Queue<T> {
    fn work(&self) {
        while let Some(task) = self.pop() {
            let mut settled =
                Settled { queue: self, number: task.number(), operation: task.operation(), outcome: None };
            settled.outcome = Some(task.run());
        }
    }
}

impl<T> Queue<T> {
    /// The next task to do; `None` when there will be none. [`Queue::settle`] must follow.
    fn pop(&self) -> Option<T> {
        let mut state = self.lock();
        loop {
            if state.failure.is_some() {
                return None;
            }
            if let Some(task) = state.waiting.take() {
                state.in_flight = state.in_flight.saturating_add(1);
                return Some(task);
            }
            if state.is_closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Says what became of a task.
    fn settle(&self, number: u32, outcome: Result<String, S3Error>) {
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

    fn wait<'a>(&self, state: MutexGuard<'a, State<T>>) -> MutexGuard<'a, State<T>> {
        let outcome = self.changed.wait_timeout(state, INTERRUPT_LOOK);
        outcome.unwrap_or_else(PoisonError::into_inner).0
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says what became of a task even where the thread that did it panicked: whoever waits for the
/// task must not wait for ever.
struct Settled<'a, T> {
    queue: &'a Queue<T>,
    number: u32,
    operation: String,
    outcome: Option<Result<String, S3Error>>,
}

impl<T> Drop for Settled<'_, T> {
    fn drop(&mut self) {
        let outcome = self
            .outcome
            .take()
            .unwrap_or_else(|| Err(S3Error::refused(&self.operation, "its thread ended early")));
        self.queue.settle(self.number, outcome);
    }
}

pub(super) fn interrupted(operation: &str) -> S3Error {
    S3Error::refused(operation, "interrupted")
}
