//! What dead runs left in the stores, removed while the backup is made. A store that does not answer such
//! questions holds nothing up: its upload does not wait for them.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};

use crate::backup::Backup;
use crate::catalog::query::Unmade;
use crate::command::context::{Context, Shelf};
use crate::exit::one_line;
use crate::interrupt::Interrupt;
use crate::name;
use crate::store::Store;

/// How often the wait for a sweep looks at the interrupt.
const LOOK: Duration = Duration::from_millis(100);

/// The sweeps of a run, a thread for each store.
pub(super) struct Sweeps {
    ends: Vec<Receiver<()>>,
    patience: Duration,
    interrupt: Interrupt,
}

impl Sweeps {
    pub(super) fn start(context: &Context, backup: &Backup, shelves: &[Shelf], unmade: &[Unmade]) -> Self {
        let mut ends = Vec::new();
        for store in shelves.iter().filter_map(|shelf| shelf.store.as_ref().ok()) {
            let leftovers = leftovers(backup, store.as_ref(), unmade);
            if leftovers.is_empty() {
                continue;
            }
            let (end, ended) = bounded(1);
            let (store, interrupt) = (Arc::clone(store), context.interrupt.clone());
            let work = move || {
                if let Err(error) = sweep(store.as_ref(), &leftovers, &interrupt) {
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

/// What the path of each artifact starts with that no run made whole in this store: what is unpublished
/// there belongs to nobody. Nothing else is touched: another host may use the same names in the same bucket.
fn leftovers(backup: &Backup, store: &dyn Store, unmade: &[Unmade]) -> Vec<String> {
    let here = |unmade: &&Unmade| unmade.store.as_deref().is_none_or(|name| name == store.name());
    let path = |unmade: &Unmade| {
        let artifact = format!("{}.dump", unmade.id);
        store.path_of(&name::object_key(&backup.source, &backup.database, &unmade.id, &artifact))
    };
    unmade.iter().filter(here).map(path).collect()
}

/// Removes what is unpublished of such artifacts.
fn sweep(store: &dyn Store, leftovers: &[String], interrupt: &Interrupt) -> Result<()> {
    for prefix in leftovers {
        for stale in store.stale(prefix)? {
            if interrupt.is_raised() {
                return Ok(());
            }
            store.discard(&stale).with_context(|| format!("`{}`", stale.path))?;
            log::info!("store `{}`: removed the unfinished upload of `{}`", store.name(), stale.path);
        }
    }
    Ok(())
}
