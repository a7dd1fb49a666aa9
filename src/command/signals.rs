//! Signals: the first asks the run to clean up and end, the second ends the process at once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;
use signal_hook::low_level;

use super::clock::now;
use crate::backup::{Backup, Status};
use crate::bounded;
use crate::catalog::pending::Pending;
use crate::interrupt::Interrupt;
use crate::process;

/// Whoever sent a signal waits no longer than this.
const CLEANUP_TIME: Duration = Duration::from_secs(7);
/// What a disk gets beyond that to keep the record.
const LAST_MOMENT: Duration = Duration::from_secs(2);

/// What is to be left on record where a run does not end within its time: the row of a backup that is in
/// progress.
#[derive(Clone, Default)]
pub(super) struct InterruptRecord {
    row: Arc<Mutex<Option<(Pending, Backup)>>>,
}

impl InterruptRecord {
    /// From now on this backup is in progress.
    pub(super) fn begin(&self, pending: &Pending, backup: &Backup) {
        let mut row = self.row.lock().unwrap_or_else(PoisonError::into_inner);
        *row = Some((pending.clone(), backup.clone()));
    }

    /// Does what says how it ended; nothing is left to say then.
    pub(super) fn end<T>(&self, keep: impl FnOnce() -> T) -> T {
        let mut row = self.row.lock().unwrap_or_else(PoisonError::into_inner);
        *row = None;
        keep()
    }

    fn say(&self, signal: i32) {
        let mut row = self.row.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((pending, mut backup)) = row.take() else { return };
        backup.status = Status::Failed;
        backup.error = Some(format!("{}; not all was cleaned up in time", in_words(signal)));
        backup.finished_at = Some(now());
        if let Err(error) = pending.keep(&backup) {
            log::warn!("`{}` stays on record as in progress: {error:#}", backup.id);
        }
    }
}

/// What ended a run.
pub(super) fn in_words(signal: i32) -> String {
    format!("interrupted by signal {signal}")
}

/// Raises `interrupt` on the first SIGINT, SIGTERM or SIGHUP. One that whoever started us has set to be
/// ignored stays ignored: `nohup` means it.
pub(super) fn watch(interrupt: &Interrupt, interrupt_record: &InterruptRecord) -> Result<()> {
    let ignored = process::ignored_signals();
    let is_wanted = |signal: &i32| !ignored.contains(signal);
    let wanted: Vec<i32> = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(is_wanted).collect();
    // A file that may grow no further is then an error of its write, not the end of the process.
    signal_hook::flag::register(SIGXFSZ, Arc::default())?;
    let mut signals = Signals::new(wanted)?;
    let (interrupt, interrupt_record) = (interrupt.clone(), interrupt_record.clone());
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            if let Some(first) = interrupt.signal() {
                low_level::exit(128 + first);
            }
            interrupt.raise(signal);
            if let Err(error) = end_in_time(signal, interrupt_record.clone()) {
                log::debug!("no time limit for cleaning up: {error}");
            }
        }
    })?;
    Ok(())
}

/// Ends the process when cleaning up takes too long: a store or server that hangs must not hold it, nor may a
/// disk or a reader of stderr that does.
fn end_in_time(signal: i32, interrupt_record: InterruptRecord) -> std::io::Result<()> {
    std::thread::Builder::new().name("time limit".to_owned()).spawn(move || {
        std::thread::sleep(CLEANUP_TIME);
        let said = bounded::within("last words", LAST_MOMENT, move || {
            interrupt_record.say(signal);
            log::error!("{}; not all was cleaned up within {CLEANUP_TIME:?}", in_words(signal));
        });
        drop(said);
        low_level::exit(128 + signal);
    })?;
    Ok(())
}
