//! Waits for a request, on a thread of its own, no longer than an interrupt leaves time for. It must not know
//! what the request is.

use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::interrupt::Interrupt;

use super::error::S3Error;

/// How long after an interrupt a request may still take to end well.
const LAST_ANSWER: Duration = Duration::from_secs(2);
/// The same for one that cleans up, and the least that it gets.
const LAST_CLEANUP: Duration = Duration::from_secs(5);
const LEAST_CLEANUP: Duration = Duration::from_secs(1);
/// How often the interrupt is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Does what may hang. A thread that is given up ends by its own time limits, or with the process.
pub(super) fn aside<T: Send + 'static>(
    operation: &str,
    interrupt: &Interrupt,
    is_cleanup: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, S3Error> {
    let begun = Instant::now();
    let (sender, receiver) = sync_channel(1);
    thread::Builder::new()
        .name("s3 request".to_owned())
        // Nobody takes it where it was given up.
        .spawn(move || drop(sender.send(work())))
        .map_err(|error| S3Error::passing(operation, format!("no thread for it: {error}")))?;
    loop {
        match receiver.recv_timeout(LOOK) {
            Ok(outcome) => return Ok(outcome),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err(S3Error::refused(operation, "its thread ended early"));
            }
        }
        let since = interrupt.raised_for().unwrap_or_default();
        let is_over = if is_cleanup {
            since >= LAST_CLEANUP && begun.elapsed() >= LEAST_CLEANUP
        } else {
            since >= LAST_ANSWER
        };
        if is_over {
            return Err(S3Error::refused(operation, "interrupted: no answer came in time"));
        }
    }
}
