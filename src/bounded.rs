//! Work that may block for ever, done on a thread of its own: whoever asked for it waits only so long. A thread
//! that is given up ends by itself, or with the process; what it gives then is dropped there.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// How often it is asked whether the wait is over.
const LOOK: Duration = Duration::from_millis(50);

/// Why there is no outcome.
#[derive(Debug, thiserror::Error)]
pub enum GivenUp {
    /// The system gave no thread.
    #[error("no thread for it: {0}")]
    NoThread(io::Error),
    /// The wait was over first.
    #[error("no answer came in time")]
    Late,
    /// Its thread ended without an outcome.
    #[error("its thread ended early")]
    Lost,
}

/// Does work that is waited for until `is_over`, which is told how long it has taken.
///
/// # Errors
/// When there is no outcome by then.
pub fn until<T: Send + 'static>(
    name: &str,
    mut is_over: impl FnMut(Duration) -> bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, GivenUp> {
    let begun = Instant::now();
    let outcome = start(name, work)?;
    loop {
        match outcome.recv_timeout(LOOK) {
            Err(RecvTimeoutError::Timeout) if !is_over(begun.elapsed()) => {}
            end => return of(end),
        }
    }
}

/// Does work that is waited for no longer than `limit`.
///
/// # Errors
/// When there is no outcome by then.
pub fn within<T: Send + 'static>(
    name: &str,
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, GivenUp> {
    of(start(name, work)?.recv_timeout(limit))
}

fn start<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<Receiver<T>, GivenUp> {
    let (sender, receiver) = sync_channel(1);
    let work = move || drop(sender.send(work()));
    thread::Builder::new().name(name.to_owned()).spawn(work).map_err(GivenUp::NoThread)?;
    Ok(receiver)
}

fn of<T>(end: Result<T, RecvTimeoutError>) -> Result<T, GivenUp> {
    end.map_err(|error| match error {
        RecvTimeoutError::Timeout => GivenUp::Late,
        RecvTimeoutError::Disconnected => GivenUp::Lost,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_given_and_none_is_waited_for_beyond_the_end() {
        assert!(matches!(within("quick", Duration::from_mins(1), || 7), Ok(7)));
        assert!(matches!(until("quick", |_| false, || 7), Ok(7)));
        let (release, held) = sync_channel::<()>(0);
        let late = within("late", Duration::from_millis(10), move || held.recv().is_err());
        assert!(matches!(late, Err(GivenUp::Late)));
        drop(release);
        let (release, held) = sync_channel::<()>(0);
        let mut looks = 0;
        let is_over = |_| {
            looks += 1;
            looks == 2
        };
        assert!(matches!(until("late", is_over, move || held.recv().is_err()), Err(GivenUp::Late)));
        assert_eq!(looks, 2);
        drop(release);
    }
}
