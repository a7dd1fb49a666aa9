//! What the stores show held against what is on record: a manifest is believed as far as the record does not know better.

use std::collections::BTreeMap;

use anyhow::Result;

use super::record::Record;
use super::snapshot::Snapshot;
use super::store_listing::{OfDatabase, StoreLook};
use crate::backup::Backup;
use crate::command::agree::{self, Unproven};
use crate::command::inventory;
use crate::command::trust::{Search, Trust};
use crate::exit::{one_line, shown};
use crate::key::{KeyRing, Signer};

impl Snapshot<'_> {
    /// Takes what the record contradicts for the faults that they are. What it does not know is judged by what the stores
    /// tell of the key that seals.
    pub(super) fn compare(&mut self, ring: Option<&KeyRing>) {
        let Some(ring) = ring else { return };
        let mut trust = Trust::at(self.now);
        let first = match &mut self.record {
            Ok(record) => record.catalog.first_sealed(&self.source, &ring.sealing().id()),
            Err(_) => Ok(None),
        };
        match first {
            Ok(first) => first.into_iter().for_each(|first| trust.saw(&self.source, first)),
            Err(error) => self.record = Err(one_line(&error)),
        }
        let mut known: BTreeMap<String, Option<Backup>> = BTreeMap::new();
        for look in &mut self.stores {
            let (Ok(shown), Ok(store)) = (&mut look.shown, &look.configured.store) else { continue };
            // What one store tells of the key holds for all; that it tells nothing holds for itself.
            trust.search_again();
            let mut search = |source: &str, at| {
                inventory::sealed_by_then(look.configured, store.as_ref(), Some(ring), source, at)
            };
            let mut compared = Ok(());
            for of_it in shown.databases.values_mut() {
                if let Ok(record) = &mut self.record {
                    compare_unproven(of_it, ring, record, &mut known);
                }
                let record = self.record.as_mut().ok();
                compared = compared.and(compare(of_it, &mut trust, record, &mut known, &mut search));
            }
            if let Err(error) = compared {
                look.shown = Err(one_line(&error));
            }
        }
    }
}

fn on_record(
    record: &mut Record,
    known: &mut BTreeMap<String, Option<Backup>>,
    told: &Backup,
) -> Option<Backup> {
    let id = told.id.as_str();
    known.entry(id.to_owned()).or_insert_with(|| record.full(id)).clone()
}

fn compare_unproven(
    of_it: &mut OfDatabase,
    ring: &KeyRing,
    record: &mut Record,
    known: &mut BTreeMap<String, Option<Backup>>,
) {
    for (path, told) in std::mem::take(&mut of_it.unproven) {
        match on_record(record, known, &told) {
            Some(backup) => {
                match agree::without_key(&agree::keys_of(&told), &agree::keys_of(&backup), ring) {
                    Unproven::Damaged(why) => drop(of_it.faults.insert(path, why)),
                    // An alert of its own tells of keys that are missing.
                    Unproven::NoKey(_) => {}
                }
            }
            None => drop(of_it.unproven.insert(path, told)),
        }
    }
}

fn compare(
    of_it: &mut OfDatabase,
    trust: &mut Trust,
    record: Option<&mut Record>,
    known: &mut BTreeMap<String, Option<Backup>>,
    search: &mut Search<'_>,
) -> Result<()> {
    let Some(told) = &of_it.newest else { return Ok(()) };
    let Some(path) = told.copies.first().map(|copy| copy.path.clone()) else { return Ok(()) };
    let recorded = record.and_then(|record| on_record(record, known, told));
    let fault = recorded.as_ref().and_then(|backup| {
        let signed = of_it.signer.as_ref().map(|it| agree::ensure_signer(it, &agree::keys_of(backup)));
        match signed {
            Some(Err(Unproven::Damaged(why) | Unproven::NoKey(why))) => Some(why),
            Some(Ok(())) | None => agree::difference(told, backup),
        }
    });
    if let Some(why) = fault {
        of_it.faults.insert(path, why);
        of_it.newest = None;
        return Ok(());
    }
    let signer = of_it.signer.as_ref().filter(|signer| **signer != Signer::Sealing);
    let Some(signer) = signer else { return Ok(()) };
    let doubt = match recorded {
        // The record vouches for it.
        Some(_) => trust.doubt(told, Some(signer), &mut |_, _| Ok(None))?,
        None => trust.doubt(told, Some(signer), search)?,
    };
    if let Some(why) = doubt {
        of_it.doubts.insert(path, why);
        of_it.newest = None;
    }
    Ok(())
}

/// What is worth a word of the newest in a store.
pub(super) fn notes(look: &StoreLook<'_>, database: &str) -> Vec<String> {
    let Some(of_it) = look.shown.as_ref().ok().and_then(|shown| shown.databases.get(database)) else {
        return Vec::new();
    };
    let store = &look.configured.name;
    let doubts = of_it.doubts.iter().map(|(path, why)| format!("`{store}`: `{}`: {why}", shown(path)));
    let unproven = of_it.unproven.iter().map(|(path, told)| {
        let keys = shown(&agree::keys_of(told).join(", "));
        format!(
            "`{store}`: `{}` can't be checked: its manifest names the key {keys}, which is not at hand",
            shown(path)
        )
    });
    doubts.chain(unproven).collect()
}
