//! Signals: the first asks the run to clean up and end, the second ends the process at once.

use anyhow::Result;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level;

use crate::interrupt::Interrupt;

/// Raises `interrupt` on the first SIGINT, SIGTERM or SIGHUP.
pub(super) fn watch(interrupt: &Interrupt) -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let interrupt = interrupt.clone();
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            if interrupt.is_raised() {
                low_level::exit(128 + signal);
            }
            interrupt.raise(signal);
        }
    })?;
    Ok(())
}
