//! What earlier runs of a database left in the stores: what is no whole copy is removed, what is one is put on
//! record. Nothing else is touched: another host may use the same names in the same bucket.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use serde_json::json;

use super::run_record::RunRecord;
use crate::backup::Backup;
use crate::catalog::query::IncompleteBackup;
use crate::command::configured_store::ConfiguredStore;
use crate::command::context::Context;
use crate::command::inventory::{self, Pair, StoredFiles};
use crate::command::{copies, rebuild, status};
use crate::exit::{one_line, shown};
use crate::interrupt::Interrupt;
use crate::key::{KeyRing, Signer};
use crate::name::{self, BackupId};
use crate::store::{Removal, Store};

/// What is taken on at once of one month's folder in one store; what is more is left for the next run.
const MOST_AT_ONCE: usize = 1000;
/// Said of a copy that may be there; a later run looks again.
const UNKNOWN: &str = "its run died, and the store could not be asked for it since";

/// What no run made whole, as far as the record tells.
pub(super) struct Leftovers {
    source: String,
    database: String,
    incomplete: Vec<IncompleteBackup>,
    found: Mutex<Found>,
}

/// What the sweeps saw.
#[derive(Default)]
struct Found {
    /// The stores that were swept to the end.
    swept: BTreeSet<String>,
    /// Copies that stand in a store with their manifest nonetheless.
    whole: Vec<(String, Pair)>,
}

impl Leftovers {
    /// Of the database that is backed up. The caller holds its lock: what is incomplete belongs to no living run.
    pub(super) fn of(backup: &Backup, incomplete: Vec<IncompleteBackup>) -> Self {
        let (source, database) = (backup.source.clone(), backup.database.clone());
        Self { source, database, incomplete, found: Mutex::default() }
    }

    /// Whether there may be some in a store.
    pub(super) fn may_be_in(&self, store: &str) -> bool {
        self.incomplete.iter().any(|incomplete| is_in(incomplete, store))
    }

    /// Removes from a store what is not published of them, and artifacts without a manifest.
    pub(super) fn sweep(&self, store: &dyn Store, interrupt: &Interrupt) -> Result<()> {
        let mut is_whole = true;
        for (folder, prefixes) in self.by_month(store) {
            let is_of_these = |path: &str| prefixes.iter().any(|prefix| path.starts_with(prefix.as_str()));
            is_whole &= Self::sweep_unpublished(store, &folder, &is_of_these, interrupt)?;
            let (mut found, mut more) = (Vec::new(), 0usize);
            inventory::each(store, &folder, &is_of_these, &mut |stored| match found.len() {
                MOST_AT_ONCE.. => more = more.saturating_add(1),
                _ => found.push(stored),
            })?;
            is_whole &= more == 0;
            self.sweep_published(store, found, interrupt)?;
        }
        if is_whole && !interrupt.is_raised() {
            self.found().swept.insert(store.name().to_owned());
        }
        Ok(())
    }

    /// Whether that was all.
    fn sweep_unpublished(
        store: &dyn Store,
        folder: &str,
        is_of_these: &dyn Fn(&str) -> bool,
        interrupt: &Interrupt,
    ) -> Result<bool> {
        let (mut found, mut more) = (Vec::new(), 0usize);
        store.each_stale(folder, is_of_these, &mut |stale| match found.len() {
            MOST_AT_ONCE.. => more = more.saturating_add(1),
            _ => found.push(stale),
        })?;
        for stale in found {
            if interrupt.is_raised() {
                return Ok(false);
            }
            let path = shown(&stale.path);
            store.delete_stale_upload(&stale).with_context(|| format!("`{path}`"))?;
            log::info!("store `{}`: removed the unfinished upload of `{path}`", store.name());
        }
        Ok(more == 0)
    }

    /// What the paths of the incomplete start with in a store, by their folder: one of each month.
    fn by_month(&self, store: &dyn Store) -> BTreeMap<String, Vec<String>> {
        let mut months: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for incomplete in self.incomplete.iter().filter(|incomplete| is_in(incomplete, store.name())) {
            // Whatever is inside.
            let artifact = format!("{}.", incomplete.id);
            let prefix =
                store.path_of(&name::object_key(&self.source, &self.database, &incomplete.id, &artifact));
            let folder = prefix.strip_suffix(&artifact).unwrap_or(&prefix).to_owned();
            months.entry(folder).or_default().push(prefix);
        }
        months
    }

    /// A run that died between the artifact and its manifest, or after both.
    fn sweep_published(
        &self,
        store: &dyn Store,
        found: Vec<StoredFiles>,
        interrupt: &Interrupt,
    ) -> Result<()> {
        let (pairs, halves): (Vec<_>, Vec<_>) = found.into_iter().partition(StoredFiles::is_pair);
        for half in inventory::in_order(halves) {
            if interrupt.is_raised() {
                return Ok(());
            }
            // Its manifest may have come since the list was made.
            let manifest = name::manifest_path(&half.path);
            if half.size_bytes().is_some() && store.stat(&manifest)?.is_none() {
                let orphan = half.orphan(store.name());
                // A bucket with versions may hide one, which would stay alone.
                let removal = store.delete_versions(&[&manifest, &orphan.path]);
                let path = shown(&orphan.path);
                match removal.with_context(|| format!("`{path}`"))? {
                    Removal::Gone => {
                        log::info!("store `{}`: removed `{path}`: {}", store.name(), orphan.what);
                    }
                    Removal::Held(hold) => {
                        log::info!("store `{}`: `{path}` stays: {hold}", store.name());
                    }
                }
            }
        }
        let whole = pairs.iter().filter_map(StoredFiles::pair).map(|pair| (store.name().to_owned(), pair));
        self.found().whole.extend(whole);
        Ok(())
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts whole copies on record that a run left which died before it could: what is usable must not stand
    /// as failed. Nothing that goes wrong here is a fault of the run that does it.
    pub(super) fn take_up(
        &self,
        context: &Context,
        run_record: &mut RunRecord<'_>,
        ring: &KeyRing,
        configured_stores: &[ConfiguredStore],
    ) {
        let Found { swept, whole } = std::mem::take(&mut *self.found());
        let is_done = configured_stores.iter().all(|configured| swept.contains(&configured.name));
        if let Some(catalog) = run_record.catalog().filter(|_| is_done && !self.incomplete.is_empty()) {
            let has_copies = |id: &str| whole.iter().any(|(_, pair)| pair.artifact.path.contains(id));
            let ids = self.incomplete.iter().filter(|incomplete| incomplete.store.is_none());
            let ids = ids.map(|incomplete| incomplete.id.as_str()).filter(|id| !has_copies(id));
            if let Err(error) = catalog.mark_swept(ids.map(str::to_owned).collect()) {
                log::info!("what was swept is swept again by the next run: {}", one_line(&error));
            }
        }
        let mut found: BTreeMap<BackupId, Backup> = BTreeMap::new();
        let mut older: BTreeMap<BackupId, Signer> = BTreeMap::new();
        let mut read: Vec<(Backup, Option<Signer>)> = Vec::new();
        for (name, pair) in whole {
            if context.interrupt.is_raised() {
                return;
            }
            match told(&name, &pair, ring, configured_stores) {
                Ok((backup, signer)) => {
                    read.push((backup, signer.filter(|signer| *signer != Signer::Sealing)));
                }
                Err(error) => {
                    log::info!("store `{name}`: `{}`: {}", shown(&pair.artifact.path), one_line(&error));
                }
            }
        }
        // What the sealing key proves goes before what another one says of the same backup.
        read.sort_by_key(|(_, signer)| signer.is_some());
        for (backup, signer) in read {
            rebuild::gather(&mut found, &mut older, backup, signer);
        }
        for (id, backup) in found {
            match put_on_record(run_record, backup, older.get(&id), configured_stores, &swept) {
                Ok(true) => log::info!("whole copies of `{id}` that no record told of are put on record"),
                Ok(false) => {}
                Err(error) => log::warn!("`{id}` stays on record as failed: {}", one_line(&error)),
            }
        }
    }
}

fn is_in(incomplete: &IncompleteBackup, store: &str) -> bool {
    incomplete.store.as_deref().is_none_or(|name| name == store)
}

/// What the manifest of a copy tells.
fn told(
    name: &str,
    pair: &Pair,
    ring: &KeyRing,
    configured_stores: &[ConfiguredStore],
) -> Result<(Backup, Option<Signer>)> {
    let configured = configured_stores
        .iter()
        .find(|configured| configured.name == name)
        .context("there is no such store")?;
    let opened = inventory::open_signed(configured, inventory::usable(configured)?, Some(ring), pair)?;
    opened.map_err(anyhow::Error::msg)
}

fn put_on_record(
    run_record: &mut RunRecord<'_>,
    told: Backup,
    signer: Option<&Signer>,
    configured_stores: &[ConfiguredStore],
    swept: &BTreeSet<String>,
) -> Result<bool> {
    let Some(catalog) = run_record.catalog() else { return Ok(false) };
    let Some((mut backup, was_failed)) = rebuild::take_up(catalog, told, signer)? else { return Ok(false) };
    if was_failed {
        name_what_is_not_there(&mut backup, configured_stores, swept);
        backup.metadata.insert("taken_up".to_owned(), json!("its run died after it had published"));
    }
    status::recompute(&mut backup);
    catalog.save(&backup)?;
    Ok(true)
}

/// A copy for each store that there is none of.
fn name_what_is_not_there(
    backup: &mut Backup,
    configured_stores: &[ConfiguredStore],
    swept: &BTreeSet<String>,
) {
    let made = std::mem::take(&mut backup.copies);
    for configured in configured_stores {
        let copy = made.iter().find(|copy| copy.store == configured.name).cloned();
        let never_made = || {
            let is_known = swept.contains(&configured.name);
            let why = if is_known { "its run died before it was made" } else { UNKNOWN };
            copies::not_made(backup, configured, why)
        };
        let copy = copy.unwrap_or_else(never_made);
        backup.copies.push(copy);
    }
    let others = made
        .into_iter()
        .filter(|copy| configured_stores.iter().all(|configured| configured.name != copy.store));
    backup.copies.extend(others);
}
