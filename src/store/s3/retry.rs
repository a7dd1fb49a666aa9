//! The one retry layer of the S3 store: how long and how often a request is tried again. It must not
//! know what a request is; the error says whether another attempt can help.

use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

use crate::interrupt::Interrupt;

use super::error::{Again, S3Error};

const FIRST_DELAY: Duration = Duration::from_millis(250);
const MOST_RETRIES: usize = 4;
/// Longest wait that a server may ask for by `Retry-After`.
const RETRY_AFTER_LIMIT: Duration = Duration::from_secs(30);
/// A host that can't be connected to is given up after some seconds.
const CONNECT_LIMIT: Duration = Duration::from_secs(6);

/// How much patience the requests of one store get.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    retries: usize,
    /// No attempt starts later than this after the first one.
    time_limit: Duration,
    connect_time_limit: Duration,
    interrupt: Interrupt,
}

impl Policy {
    /// Up to five attempts. A request that stalled once may be tried once more.
    pub(super) fn new(stall_timeout: Duration, connect_timeout: Duration, interrupt: Interrupt) -> Self {
        Self {
            retries: MOST_RETRIES,
            time_limit: stall_timeout.saturating_add(stall_timeout / 2),
            connect_time_limit: connect_timeout.min(CONNECT_LIMIT),
            interrupt,
        }
    }

    /// The same with more time: a part that broke late on a slow line is worth another attempt.
    pub(super) fn at_least(self, time_limit: Duration) -> Self {
        Self { time_limit: self.time_limit.max(time_limit), ..self }
    }

    /// For cleaning up: quick to give up, and deaf to the interrupt, after which it is needed most.
    pub(super) fn for_cleanup(time_limit: Duration) -> Self {
        Self {
            retries: 2,
            time_limit,
            connect_time_limit: time_limit.min(CONNECT_LIMIT) / 2,
            interrupt: Interrupt::new(),
        }
    }

    /// Runs `attempt` until it succeeds or another attempt is not worth it.
    pub(super) fn run<T>(&self, mut attempt: impl FnMut() -> Result<T, S3Error>) -> Result<T, S3Error> {
        let mut patience = self.patience();
        loop {
            match attempt() {
                Ok(value) => return Ok(value),
                Err(error) if patience.another(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn patience(&self) -> Patience {
        let delays = ExponentialBuilder::default()
            .with_min_delay(FIRST_DELAY)
            .with_factor(2.0)
            .with_max_times(self.retries)
            .with_jitter()
            .build();
        Patience { delays, started: Instant::now(), policy: self.clone() }
    }
}

/// The patience left for one request.
#[derive(Debug)]
pub(super) struct Patience {
    delays: ExponentialBackoff,
    started: Instant,
    policy: Policy,
}

impl Patience {
    /// Waits until another attempt is due; false when there is to be none.
    pub(super) fn another(&mut self, error: &S3Error) -> bool {
        let time_limit = match error.again {
            Again::Never => return false,
            Again::Connect => self.policy.connect_time_limit,
            Again::Soon | Again::After(_) => self.policy.time_limit,
        };
        let Some(mut delay) = self.delays.next() else { return false };
        if let Again::After(asked) = error.again {
            delay = delay.max(asked.min(RETRY_AFTER_LIMIT));
        }
        if self.started.elapsed().saturating_add(delay) > time_limit {
            return false;
        }
        log::debug!("{error}; trying again in {} ms", delay.as_millis());
        !self.policy.interrupt.wait(delay)
    }
}
