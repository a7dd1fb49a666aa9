//! What earlier runs of a database left in the stores: what is no whole copy is removed, what is one is put on
//! record. Nothing else is touched: another host may use the same names in the same bucket.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result};
use serde_json::json;

use super::ledger::Ledger;
use crate::backup::Backup;
use crate::catalog::query::Unmade;
use crate::command::context::{Context, Shelf};
use crate::command::inventory::{self, Pair};
use crate::command::{copies, rebuild, standing};
use crate::exit::one_line;
use crate::interrupt::Interrupt;
use crate::key::KeyRing;
use crate::name::{self, BackupId};
use crate::store::Store;

/// What no run made whole, as far as the record tells.
pub(super) struct Leftovers {
    source: String,
    database: String,
    unmade: Vec<Unmade>,
    /// Copies that stand in a store with their manifest nonetheless.
    whole: Mutex<Vec<(String, Pair)>>,
}

impl Leftovers {
    /// Of the database that is backed up. The caller holds its lock: what is unmade belongs to no living run.
    pub(super) fn of(backup: &Backup, unmade: Vec<Unmade>) -> Self {
        let (source, database) = (backup.source.clone(), backup.database.clone());
        Self { source, database, unmade, whole: Mutex::default() }
    }

    /// Whether there may be some in a store.
    pub(super) fn may_be_in(&self, store: &str) -> bool {
        self.unmade.iter().any(|unmade| is_in(unmade, store))
    }

    /// Removes from a store what is not published of them, and artifacts without a manifest.
    pub(super) fn sweep(&self, store: &dyn Store, interrupt: &Interrupt) -> Result<()> {
        for unmade in self.unmade.iter().filter(|unmade| is_in(unmade, store.name())) {
            let artifact = format!("{}.dump", unmade.id);
            let key = name::object_key(&self.source, &self.database, &unmade.id, &artifact);
            let prefix = store.path_of(&key);
            for stale in store.stale(&prefix)? {
                if interrupt.is_raised() {
                    return Ok(());
                }
                store.discard(&stale).with_context(|| format!("`{}`", stale.path))?;
                log::info!("store `{}`: removed the unfinished upload of `{}`", store.name(), stale.path);
            }
            if unmade.store.is_none() && !interrupt.is_raised() {
                self.sweep_published(store, &prefix)?;
            }
        }
        Ok(())
    }

    /// A run that died between the artifact and its manifest, or after both.
    fn sweep_published(&self, store: &dyn Store, prefix: &str) -> Result<()> {
        let found = inventory::pair(store.name(), store.list(prefix)?);
        for stray in found.strays {
            if inventory::artifact_of(&stray.path) == stray.path {
                store.remove(&stray.path).with_context(|| format!("`{}`", stray.path))?;
                log::info!("store `{}`: removed `{}`: {}", store.name(), stray.path, stray.what);
            }
        }
        let whole = found.pairs.into_iter().map(|pair| (store.name().to_owned(), pair));
        self.whole.lock().unwrap_or_else(PoisonError::into_inner).extend(whole);
        Ok(())
    }

    /// Puts whole copies on record that a run left which died before it could: what is usable must not stand
    /// as failed. Nothing that goes wrong here is a fault of the run that does it.
    pub(super) fn take_up(
        &self,
        context: &Context,
        ledger: &mut Ledger<'_>,
        ring: &KeyRing,
        shelves: &[Shelf],
    ) {
        let whole = std::mem::take(&mut *self.whole.lock().unwrap_or_else(PoisonError::into_inner));
        let mut found: BTreeMap<BackupId, Backup> = BTreeMap::new();
        for (name, pair) in whole {
            if context.interrupt.is_raised() {
                return;
            }
            match told(&name, &pair, ring, shelves) {
                Ok(backup) => {
                    rebuild::gather(&mut found, backup);
                }
                Err(error) => {
                    log::info!("store `{name}`: `{}`: {}", pair.artifact.path, one_line(&error));
                }
            }
        }
        for (id, backup) in found {
            match put_on_record(ledger, backup, shelves) {
                Ok(true) => log::info!("`{id}` is usable, although its run died: it is put on record"),
                Ok(false) => {}
                Err(error) => log::warn!("`{id}` stays on record as failed: {}", one_line(&error)),
            }
        }
    }
}

fn is_in(unmade: &Unmade, store: &str) -> bool {
    unmade.store.as_deref().is_none_or(|name| name == store)
}

/// What the manifest of a copy tells.
fn told(name: &str, pair: &Pair, ring: &KeyRing, shelves: &[Shelf]) -> Result<Backup> {
    let shelf = shelves.iter().find(|shelf| shelf.name == name).context("there is no such store")?;
    let opened = inventory::open(shelf, inventory::usable(shelf)?, Some(ring), pair)?;
    opened.map_err(anyhow::Error::msg)
}

fn put_on_record(ledger: &mut Ledger<'_>, told: Backup, shelves: &[Shelf]) -> Result<bool> {
    let Some(catalog) = ledger.catalog() else { return Ok(false) };
    let Some(mut backup) = rebuild::take_up(catalog, told)? else { return Ok(false) };
    let made = std::mem::take(&mut backup.copies);
    for shelf in shelves {
        match made.iter().find(|copy| copy.store == shelf.name) {
            Some(copy) => backup.copies.push(copy.clone()),
            None => {
                let copy = copies::not_made(&backup, shelf, "its run died before it was made");
                backup.copies.push(copy);
            }
        }
    }
    let others = made.into_iter().filter(|copy| shelves.iter().all(|shelf| shelf.name != copy.store));
    backup.copies.extend(others);
    backup.metadata.insert("taken_up".to_owned(), json!("its run died after it had published"));
    standing::settle(&mut backup);
    catalog.save(&backup)?;
    Ok(true)
}
