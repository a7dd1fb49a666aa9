//! The pairs of artifact and manifest that a store shows of one database: all of them by a few numbers, the newest by
//! name. It reads no manifest.

use std::collections::{BTreeSet, HashSet};
use std::hash::{BuildHasher as _, RandomState};

use jiff::Timestamp;

use super::future::is_future;
use crate::command::inventory::{Newest, Pair, StoredFiles};

/// Those of one database that are kept by name, at most.
const MOST_NAMED: usize = 1000;
/// The same of those that begin too late to be believed.
const MOST_OF_THE_FUTURE: usize = 8;

/// What is kept of a pair that is not kept by name. Nobody outside can find two names of one hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Slot {
    path: u64,
    id: u64,
    size_bytes: u64,
}

/// The pairs, while the store is listed.
#[derive(Debug)]
pub(super) struct Gathering {
    hasher: RandomState,
    now: Timestamp,
    slots: Vec<Slot>,
    newest: Newest,
    future: Newest,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    hasher: RandomState,
    /// In the order of their paths' hashes.
    slots: Vec<Slot>,
    /// Those kept by name that begin too late, the newest first.
    future: Vec<Pair>,
    /// Those kept by name, the newest first.
    newest: Vec<Pair>,
}

impl Gathering {
    /// Of those kept by name at most so many bytes.
    pub(super) fn of(now: Timestamp, most_bytes: usize) -> Self {
        let newest = Newest::of(MOST_NAMED, most_bytes);
        let future = Newest::of(MOST_OF_THE_FUTURE, most_bytes);
        Self { hasher: RandomState::new(), now, slots: Vec::new(), newest, future }
    }

    pub(super) fn push(&mut self, stored: StoredFiles) {
        let Some(slot) = stored.pair().map(|pair| slot(&self.hasher, &pair)) else { return };
        self.slots.push(slot);
        match stored.begun_at() {
            Some(at) if !is_future(at, self.now) => self.newest.push(stored),
            _ => self.future.push(stored),
        }
    }

    pub(super) fn end(self) -> Pairs {
        let Self { hasher, mut slots, newest, future, .. } = self;
        slots.sort_unstable();
        // A server may list one twice.
        slots.dedup();
        let named = |newest: Newest| newest.into_parts().0.iter().filter_map(StoredFiles::pair).collect();
        Pairs { hasher, slots, future: named(future), newest: named(newest) }
    }
}

fn slot(hasher: &RandomState, pair: &Pair) -> Slot {
    let (path, id) = (hasher.hash_one(pair.artifact.path.as_str()), hasher.hash_one(pair.id.as_str()));
    Slot { path, id, size_bytes: pair.artifact.size_bytes }
}

impl Pairs {
    pub(super) fn count(&self) -> usize {
        self.slots.len()
    }

    /// The newest of those that may be believed, the newest of all first.
    pub(super) fn newest(&self) -> &[Pair] {
        &self.newest
    }

    /// The size of the newest artifact of all.
    pub(super) fn newest_bytes(&self) -> Option<u64> {
        self.named().next().map(|pair| pair.artifact.size_bytes)
    }

    /// Those kept by name, the newest first.
    pub(super) fn named(&self) -> impl Iterator<Item = &Pair> {
        self.future.iter().chain(&self.newest)
    }

    /// The size of the artifact of that path, where it is one of that backup.
    pub(super) fn size_of(&self, path: &str, id: &str) -> Option<u64> {
        let (path, id) = (self.hasher.hash_one(path), self.hasher.hash_one(id));
        let at = self.slots.partition_point(|slot| slot.path < path);
        let found = self.slots.get(at).filter(|slot| slot.path == path && slot.id == id)?;
        Some(found.size_bytes)
    }

    /// How many are of backups that are not among those known, and the newest of them, where that is kept by name.
    pub(super) fn unknown(&self, known: &BTreeSet<&str>) -> (usize, Option<&str>) {
        let ids: HashSet<u64> = known.iter().map(|id| self.hasher.hash_one(*id)).collect();
        let count = self.slots.iter().filter(|slot| !ids.contains(&slot.id)).count();
        let mut named = self.named().map(|pair| pair.id.as_str());
        (count, named.find(|id| !known.contains(id)))
    }

    /// Takes in what a look at it found.
    pub(super) fn put(&mut self, pair: Pair) {
        let slot = slot(&self.hasher, &pair);
        self.slots.retain(|known| known.path != slot.path);
        let at = self.slots.partition_point(|known| *known < slot);
        self.slots.insert(at, slot);
        self.newest.retain(|known| known.artifact.path != pair.artifact.path);
        self.newest.push(pair);
    }
}
