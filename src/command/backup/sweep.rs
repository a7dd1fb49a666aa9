//! What dead runs left in the stores, removed while the backup is made. A store that does not answer such
//! questions holds nothing up: its upload does not wait for them.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};

use super::leftovers::Leftovers;
use crate::command::configured_store::ConfiguredStore;
use crate::command::context::Context;
use crate::exit::one_line;
use crate::interrupt::Interrupt;

/// How often the wait for a sweep looks at the interrupt.
const LOOK: Duration = Duration::from_millis(100);

/// The sweeps of a run, a thread for each store.
pub(super) struct Sweeps {
    ends: Vec<Receiver<()>>,
    patience: Duration,
    interrupt: Interrupt,
}

impl Sweeps {
    pub(super) fn start(
        context: &Context,
        leftovers: &Arc<Leftovers>,
        configured_stores: &[ConfiguredStore],
    ) -> Self {
        let mut ends = Vec::new();
        for store in configured_stores.iter().filter_map(|configured| configured.store.as_ref().ok()) {
            if !leftovers.may_be_in(store.name()) {
                continue;
            }
            let (end, ended) = bounded(1);
            let (store, leftovers) = (Arc::clone(store), Arc::clone(leftovers));
            let interrupt = context.interrupt.clone();
            let work = move || {
                if let Err(error) = leftovers.sweep(store.as_ref(), &interrupt) {
                    log::info!("store `{}`: not swept: {}", store.name(), one_line(&error));
                }
                drop(end);
            };
            match thread::Builder::new().name("sweep".to_owned()).spawn(work) {
                Ok(_) => ends.push(ended),
                Err(error) => log::info!("what dead runs left is not swept: {error}"),
            }
        }
        Self { ends, patience: context.config.timeouts.stall, interrupt: context.interrupt.clone() }
    }

    /// Waits for them, as long as for a store that stalls; the next run takes up what is left.
    pub(super) fn finish(self) {
        let started = Instant::now();
        for end in self.ends {
            while started.elapsed() < self.patience && !self.interrupt.is_raised() {
                match end.recv_timeout(LOOK) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => break,
                }
            }
        }
    }
}
