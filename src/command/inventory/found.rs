//! What was read of a store's manifests, and what of it counts.

use std::collections::BTreeMap;

use anyhow::Result;
use jiff::Timestamp;

use super::handfuls::{handfuls, is_away};
use super::{Newest, Orphan, Orphans, Pair, StoredFiles, WINDOW_BYTES, each, open_signed};
use crate::backup::Backup;
use crate::command::configured_store::ConfiguredStore;
use crate::command::copies::side_by_side;
use crate::command::status;
use crate::command::trust::{Search, Trust};
use crate::key::{KeyRing, Signer};
use crate::name::{self, BackupId};
use crate::store::Store;

/// The backups that a store's manifests tell of.
#[derive(Default)]
pub(in crate::command) struct Inventory {
    /// The newest first, each with its copy in this store alone.
    pub(in crate::command) backups: Vec<Backup>,
    /// What is no backup, or no whole copy, and why.
    pub(in crate::command) orphans: Orphans,
    /// The databases that the names of all artifacts which may be meant tell of.
    pub(in crate::command) databases: Vec<String>,
    /// What a manifest proves and is not to be taken for a backup without being asked for, the newest first, each
    /// with what speaks against it as its copy's error.
    pub(in crate::command) doubtful: Vec<Backup>,
    /// Of all these, those that a key proves which was rotated out.
    pub(in crate::command) older: BTreeMap<BackupId, Signer>,
    /// What is to be said of some that count nonetheless.
    pub(in crate::command) notes: Vec<Orphan>,
}

impl Inventory {
    /// Takes in what a manifest tells of; gives what is wrong with it.
    ///
    /// # Errors
    /// Of the search for what the sealing key proves.
    pub(super) fn take(
        &mut self,
        store: &str,
        told: (Backup, Option<Signer>),
        trust: &mut Trust,
        search: &mut Search<'_>,
    ) -> Result<Option<String>> {
        let (mut backup, signer) = told;
        let older = signer.as_ref().filter(|signer| **signer != Signer::Sealing);
        self.older.extend(older.map(|signer| (backup.id.clone(), signer.clone())));
        if let Some(why) = trust.doubt(&backup, signer.as_ref(), search)? {
            backup.copies.iter_mut().for_each(|copy| copy.error = Some(why.clone()));
            status::recompute(&mut backup);
            self.doubtful.push(backup);
            return Ok(Some(why));
        }
        let note = trust.note(backup.created_at).zip(backup.copies.first());
        self.notes.extend(note.map(|(what, copy)| Orphan {
            store: store.to_owned(),
            path: copy.path.clone(),
            what,
        }));
        let damage = backup.copies.iter().find_map(|copy| copy.error.clone());
        self.backups.push(backup);
        Ok(damage)
    }
}

/// Looks for a backup of a source, begun at that moment or before, whose manifest the sealing key proves: when it began.
///
/// # Errors
/// When the store can't be listed, or does not give what it lists for now: that may be the one.
pub(in crate::command) fn sealed_by_then(
    configured: &ConfiguredStore,
    store: &dyn Store,
    ring: Option<&KeyRing>,
    source: &str,
    until: Timestamp,
) -> Result<Option<Timestamp>> {
    let folder = store.path_of(&format!("{}/", name::encode(source)));
    let mut last: Option<StoredFiles> = None;
    loop {
        let mut window = Newest::of(usize::MAX, WINDOW_BYTES);
        each(store, &folder, &|_| true, &mut |stored| {
            let is_then = stored.is_pair() && stored.begun_at().is_some_and(|at| at <= until);
            if is_then && last.as_ref().is_none_or(|last| last.rank() < stored.rank()) {
                window.push(stored);
            }
        })?;
        let (wanted, left_out) = window.into_parts();
        for some in handfuls(&wanted) {
            let pairs: Vec<Pair> = some.iter().filter_map(StoredFiles::pair).collect();
            let mut away = None;
            for read in side_by_side(pairs, |pair| open_signed(configured, store, ring, &pair))? {
                match read {
                    Ok(Ok((backup, Some(Signer::Sealing)))) => return Ok(Some(backup.created_at)),
                    Err(error) if is_away(&error) => away = Some(error),
                    // What can't be read proves nothing.
                    Ok(_) | Err(_) => {}
                }
            }
            if let Some(error) = away {
                return Err(error);
            }
        }
        if left_out == 0 {
            return Ok(None);
        }
        last = wanted.into_iter().next_back();
    }
}
