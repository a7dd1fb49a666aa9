//! What a store shows of the copies in it, as it was listed: what counts for a plan is there, whole, and the backup's
//! own.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use jiff::Timestamp;

use super::super::configured_store::ConfiguredStore;
use super::super::inventory::{self, Pair, StoredFiles};
use super::leftover::{self, Bare};
use crate::backup::CopyState;
use crate::catalog::kept::{Kept, KeptCopy};
use crate::exit::one_line;
use crate::name::{self, BackupId};
use crate::store::{Listed, Stale, Store};

/// Copies that are worth a second look: more than a run beside this one can have made are none of its.
const MOST_LOOKED_AT_AGAIN: usize = 64;
/// What is left over of backups that no record knows, as much of it as one prune takes on: nothing but names says that
/// it is ours, and somebody may have put a million there.
const MOST_UNKNOWN: usize = 1000;
/// The same of those that a record knows.
const MOST_KNOWN: usize = 10_000;

/// What is on record in one store.
pub(super) struct OnRecord<'a> {
    paths: BTreeSet<&'a str>,
    ids: BTreeSet<&'a str>,
}

impl<'a> OnRecord<'a> {
    pub(super) fn of(rows: &'a [Kept], store: &str) -> Self {
        let copies = rows.iter().flat_map(|row| &row.copies).filter(|copy| copy.store == store);
        let paths = copies.map(|copy| copy.path.as_str()).collect();
        Self { paths, ids: rows.iter().map(|row| row.id.as_str()).collect() }
    }

    fn knows(&self, id: &BackupId) -> bool {
        self.ids.contains(id.as_str())
    }
}

/// How much more of what is left over may be taken on.
struct Room {
    known: usize,
    unknown: usize,
}

/// What a store holds of what is on record, and what is left over in it.
#[derive(Debug, Default)]
pub(super) struct StoreListing {
    /// Whole copies, by the artifact's path.
    pairs: BTreeMap<String, Pair>,
    /// Artifacts' paths at which one of two stands.
    halves: BTreeSet<String>,
    /// Artifacts without a manifest that may be old enough to be left over.
    pub(super) bare: Vec<Bare>,
    /// The same of what was never published.
    pub(super) stale: Vec<Stale>,
    /// How many are there besides, and are left for the next prune.
    pub(super) more: usize,
    /// Why it is not known what dead runs left.
    pub(super) problem: Option<String>,
}

impl StoreListing {
    /// Lists what stands under the folders. What is neither on record nor left over by now is dropped at once.
    pub(super) fn of(
        configured: &ConfiguredStore,
        folders: &[String],
        on_record: &OnRecord<'_>,
        now: Timestamp,
    ) -> Result<Self> {
        let store = inventory::usable(configured)?;
        let mut shown = Self::default();
        let mut room = Room { known: MOST_KNOWN, unknown: MOST_UNKNOWN };
        for folder in folders {
            let prefix = store.path_of(folder);
            let is_ours = |path: &str| inventory::id_of(path).is_some();
            let stale = store.each_stale(&prefix, &is_ours, &mut |stale| {
                if leftover::is_old(&stale, now) && shown.has_room_for(&stale.path, on_record, &mut room) {
                    shown.stale.push(stale);
                }
            });
            if let Err(error) = stale {
                shown.problem = Some(one_line(&error));
            }
            inventory::each(store, &prefix, &|_| true, &mut |stored| {
                shown.take(stored, on_record, now, &mut room);
            })?;
        }
        Ok(shown)
    }

    fn take(&mut self, stored: StoredFiles, on_record: &OnRecord<'_>, now: Timestamp, room: &mut Room) {
        let written_at = stored.written_at();
        if stored.is_bare()
            && leftover::is_old_artifact(written_at, now)
            && self.has_room_for(&stored.path, on_record, room)
        {
            self.bare.push(Bare { path: stored.path.clone(), written_at });
        }
        if !on_record.paths.contains(stored.path.as_str()) {
            return;
        }
        match stored.pair() {
            Some(pair) => drop(self.pairs.insert(stored.path, pair)),
            None => drop(self.halves.insert(stored.path)),
        }
    }

    /// Whether what is left over there is among what this prune takes on; counts it.
    fn has_room_for(&mut self, path: &str, on_record: &OnRecord<'_>, room: &mut Room) -> bool {
        let Some(id) = inventory::id_of(path) else { return false };
        let left = if on_record.knows(&id) { &mut room.known } else { &mut room.unknown };
        if let Some(less) = left.checked_sub(1) {
            *left = less;
            return true;
        }
        self.more = self.more.saturating_add(1);
        false
    }

    /// Looks for what is on record and was not listed: a run may have published it since.
    pub(super) fn look_again(&mut self, store: &dyn Store, source: &str, rows: &[Kept]) -> Result<()> {
        let mut missed = Vec::new();
        for row in rows {
            let copy = row.copies.iter().find(|copy| copy.store == store.name());
            let is_missed = |copy: &&KeptCopy| {
                is_trusted(copy) && !self.is_whole(row, copy) && is_own(store, source, row, &copy.path)
            };
            if let Some(copy) = copy.filter(is_missed) {
                missed.push(copy);
            }
        }
        if missed.len() > MOST_LOOKED_AT_AGAIN {
            return Ok(());
        }
        for copy in missed {
            let path = copy.path.clone();
            let (artifact, manifest) = (store.stat(&path)?, store.stat(&name::manifest_path(&path))?);
            if artifact.is_some() != manifest.is_some() {
                self.halves.insert(path.clone());
            }
            if let (Some(artifact), Some(manifest), Some(id)) = (artifact, manifest, inventory::id_of(&path))
            {
                let listed =
                    Listed { path: path.clone(), size_bytes: artifact.size_bytes, modified_at: None };
                self.pairs.insert(path, Pair { id, artifact: listed, manifest_bytes: manifest.size_bytes });
            }
        }
        Ok(())
    }

    /// Forgets what is left over under a folder.
    pub(super) fn leave(&mut self, folder: &str) {
        self.bare.retain(|bare| !bare.path.starts_with(folder));
        self.stale.retain(|stale| !stale.path.starts_with(folder));
    }

    /// Whether a backup's copy stands there, with the size on record.
    pub(super) fn is_whole(&self, row: &Kept, copy: &KeptCopy) -> bool {
        let pair = self.pairs.get(&copy.path).filter(|pair| pair.id.as_str() == row.id);
        pair.is_some_and(|pair| Some(pair.artifact.size_bytes) == copy.size_bytes)
    }

    /// Whether anything of a copy stands there.
    pub(super) fn has_any_of(&self, copy: &KeptCopy) -> bool {
        self.pairs.contains_key(&copy.path) || self.halves.contains(&copy.path)
    }
}

/// Whether the record calls a copy whole.
pub(super) fn is_trusted(copy: &KeptCopy) -> bool {
    matches!(copy.state, CopyState::Stored | CopyState::Verified)
}

/// Whether the path on record is one that the store gives copies of that backup: what stands elsewhere is not to be
/// touched, whatever a record says.
pub(super) fn is_own(store: &dyn Store, source: &str, row: &Kept, path: &str) -> bool {
    let folder = store.path_of(&name::database_prefix(source, &row.database));
    path.starts_with(&folder) && inventory::id_of(path).is_some_and(|id| id.as_str() == row.id)
}
