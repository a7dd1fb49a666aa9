//! What stands in a store and is no whole copy: the first of them by name, all others by their number. It knows no
//! store.

use serde::Serialize;

use crate::exit::shown;

/// Orphans of one store that are named: nobody reads more, and somebody may have put a million there.
pub(in crate::command) const MOST_NAMED: usize = 1000;

/// Something in a store that is no whole copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(in crate::command) struct Orphan {
    pub(in crate::command) store: String,
    pub(in crate::command) path: String,
    pub(in crate::command) what: String,
}

impl Orphan {
    pub(in crate::command) fn warn(&self) {
        log::warn!("store `{}`: `{}`: {}", self.store, shown(&self.path), self.what);
    }
}

/// All that there are in one store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::command) struct Orphans {
    store: String,
    pub(in crate::command) named: Vec<Orphan>,
    /// How many there are besides.
    pub(in crate::command) more: usize,
}

impl Orphans {
    pub(in crate::command) fn of(store: &str) -> Self {
        Self { store: store.to_owned(), named: Vec::new(), more: 0 }
    }

    pub(in crate::command) fn push(&mut self, orphan: Orphan) {
        if self.named.len() < MOST_NAMED {
            self.named.push(orphan);
        } else {
            self.more = self.more.saturating_add(1);
        }
    }

    pub(in crate::command) fn is_empty(&self) -> bool {
        self.named.is_empty() && self.more == 0
    }

    /// Says what they are.
    pub(in crate::command) fn warn(&self) {
        self.warn_of(|_| true);
    }

    /// Says what those are that somebody wants to hear of, and how many more there may be.
    pub(in crate::command) fn warn_of(&self, is_meant: impl Fn(&Orphan) -> bool) {
        self.named.iter().filter(|orphan| is_meant(orphan)).for_each(Orphan::warn);
        if self.more > 0 {
            log::warn!("store `{}`: {} more that are no whole copies are not named", self.store, self.more);
        }
    }
}
