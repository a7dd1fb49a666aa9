//! Signals: the first asks the run to clean up and end, the second ends the process at once.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;
use signal_hook::low_level;

use crate::interrupt::Interrupt;
use crate::process;

/// Whoever sent a signal waits no longer than this.
const CLEANUP_TIME: Duration = Duration::from_secs(9);

/// Raises `interrupt` on the first SIGINT, SIGTERM or SIGHUP. One that whoever started us has set to be
/// ignored stays ignored: `nohup` means it.
pub(super) fn watch(interrupt: &Interrupt) -> Result<()> {
    let ignored = process::ignored_signals();
    let is_wanted = |signal: &i32| !ignored.contains(signal);
    let wanted: Vec<i32> = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(is_wanted).collect();
    // A file that may grow no further is then an error of its write, not the end of the process.
    signal_hook::flag::register(SIGXFSZ, Arc::default())?;
    let mut signals = Signals::new(wanted)?;
    let interrupt = interrupt.clone();
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            if interrupt.is_raised() {
                low_level::exit(128 + signal);
            }
            interrupt.raise(signal);
            if let Err(error) = end_in_time(signal) {
                log::debug!("no time limit for cleaning up: {error}");
            }
        }
    })?;
    Ok(())
}

/// Ends the process when cleaning up takes too long: a store or server that hangs must not hold it.
fn end_in_time(signal: i32) -> std::io::Result<()> {
    std::thread::Builder::new().name("time limit".to_owned()).spawn(move || {
        std::thread::sleep(CLEANUP_TIME);
        log::error!("interrupted by signal {signal}; not all was cleaned up within {CLEANUP_TIME:?}");
        low_level::exit(128 + signal);
    })?;
    Ok(())
}
