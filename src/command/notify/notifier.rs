//! What one process keeps in mind of the alerts that it sends. It sends none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::alert::channel::Channel;

/// What one process keeps in mind of its alerts.
#[derive(Default)]
pub(in crate::command) struct Notifier {
    memory: Mutex<Memory>,
}

#[derive(Default)]
pub(super) struct Memory {
    /// When the catalog could last not be reached.
    pub(super) catalog_failed: Option<Instant>,
    /// Channels that have had their time: they hold this process up no more.
    exhausted: BTreeSet<String>,
    /// How long each has held this process up with what it did not take.
    lost: BTreeMap<String, Duration>,
    /// Those that are made ready.
    pub(super) ready: BTreeMap<String, Arc<Channel>>,
}

impl Notifier {
    pub(super) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn catalog_failed(&self) {
        self.memory().catalog_failed = Some(Instant::now());
    }

    pub(super) fn is_exhausted(&self, channel: &str) -> bool {
        self.memory().exhausted.contains(channel)
    }

    /// How long a channel has held this process up with what it did not take.
    pub(super) fn lost(&self, channel: &str) -> Duration {
        self.memory().lost.get(channel).copied().unwrap_or_default()
    }

    pub(super) fn lose(&self, channel: &str, time: Duration) {
        let mut memory = self.memory();
        let lost = memory.lost.entry(channel.to_owned()).or_default();
        *lost = lost.saturating_add(time);
    }

    pub(super) fn exhaust(&self, channel: &str) {
        self.memory().exhausted.insert(channel.to_owned());
    }
}
