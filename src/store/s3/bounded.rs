//! Waits for a request, on a thread of its own, no longer than an interrupt leaves time for. It must not know
//! what the request is.

use std::time::Duration;

use crate::bounded::{self, GivenUp};

use super::error::S3Error;
use super::place::Place;

/// How long after an interrupt a request may still take to end well.
const LAST_ANSWER: Duration = Duration::from_secs(2);
/// The same for one that cleans up, and the least that it gets.
const LAST_CLEANUP: Duration = Duration::from_secs(5);
const LEAST_CLEANUP: Duration = Duration::from_secs(1);

/// Does what may hang. A thread that is given up ends by its own time limits, or with the process.
pub(super) fn bounded<T: Send + 'static>(
    operation: &str,
    place: &Place,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, S3Error> {
    let is_over = |taken: Duration| {
        let since = place.interrupt.raised_for().unwrap_or_default();
        if place.is_cleanup { since >= LAST_CLEANUP && taken >= LEAST_CLEANUP } else { since >= LAST_ANSWER }
    };
    bounded::until("s3 request", is_over, work).map_err(|error| match error {
        GivenUp::NoThread(_) => S3Error::passing(operation, error.to_string()),
        GivenUp::Late => S3Error::refused(operation, "interrupted: no answer came in time"),
        GivenUp::Lost => S3Error::refused(operation, "its thread ended early"),
    })
}
