//! What a store shows of the copies in it, as it was listed: what counts for a plan is there, whole, and the backup's
//! own.

use std::collections::BTreeMap;

use anyhow::Result;
use jiff::Timestamp;

use super::super::context::Shelf;
use super::super::inventory::{self, Pair, Stray};
use crate::backup::CopyState;
use crate::catalog::kept::{Kept, KeptCopy};
use crate::exit::one_line;
use crate::name;
use crate::store::{Listed, Stale, Store};

/// Copies that are worth a second look: more than a run beside this one can have made are none of its.
const MOST_LOOKED_AT_AGAIN: usize = 64;

/// What a store holds.
#[derive(Debug, Default)]
pub(super) struct Shown {
    /// Whole copies, by the artifact's path.
    pairs: BTreeMap<String, Pair>,
    pub(super) strays: Vec<Stray>,
    /// When each object was written.
    pub(super) written_at: BTreeMap<String, Option<Timestamp>>,
    pub(super) stale: Vec<Stale>,
    /// Why it is not known what dead runs left.
    pub(super) trouble: Option<String>,
}

impl Shown {
    /// Lists what stands under the folders.
    pub(super) fn of(shelf: &Shelf, folders: &[String]) -> Result<Self> {
        let store = inventory::usable(shelf)?;
        let mut shown = Self::default();
        for folder in folders {
            let prefix = store.path_of(folder);
            match store.stale(&prefix) {
                Ok(stale) => shown.stale.extend(stale),
                Err(error) => shown.trouble = Some(one_line(&error)),
            }
            let listed = store.list(&prefix)?;
            for object in &listed {
                shown.written_at.insert(object.path.clone(), object.modified_at);
            }
            let paired = inventory::pair(&shelf.name, listed);
            shown.pairs.extend(paired.pairs.into_iter().map(|pair| (pair.artifact.path.clone(), pair)));
            shown.strays.extend(paired.strays);
        }
        Ok(shown)
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
            let (path, manifest_path) = (copy.path.clone(), name::manifest_path(&copy.path));
            let (artifact, manifest) = (store.stat(&path)?, store.stat(&manifest_path)?);
            for (path, found) in [(&path, &artifact), (&manifest_path, &manifest)] {
                if found.is_some() {
                    self.written_at.entry(path.clone()).or_insert(None);
                }
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

    /// Whether a backup's copy stands there, with the size on record.
    pub(super) fn is_whole(&self, row: &Kept, copy: &KeptCopy) -> bool {
        let pair = self.pairs.get(&copy.path).filter(|pair| pair.id.as_str() == row.id);
        pair.is_some_and(|pair| Some(pair.artifact.size_bytes) == copy.size_bytes)
    }

    /// Whether anything of a copy stands there.
    pub(super) fn has_any_of(&self, copy: &KeptCopy) -> bool {
        self.written_at.contains_key(&copy.path)
            || self.written_at.contains_key(&name::manifest_path(&copy.path))
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
