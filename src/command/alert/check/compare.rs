//! What the stores show held against what is on record: a manifest is believed as far as the record does not know better.

use std::collections::BTreeMap;

use super::record::Record;
use super::shown::{OfDatabase, StoreLook};
use super::sight::Sight;
use crate::backup::Backup;
use crate::command::agree::{self, Unproven};
use crate::command::trust::Trust;
use crate::exit::{one_line, shown};
use crate::key::{KeyRing, Signer};

impl Sight<'_> {
    /// Takes what the record contradicts for the faults that they are.
    pub(super) fn compare(&mut self, ring: Option<&KeyRing>) {
        let (Ok(record), Some(ring)) = (&mut self.record, ring) else { return };
        let mut trust = Trust::at(self.now);
        match record.catalog.first_sealed(&self.source, &ring.sealing().id()) {
            Ok(first) => first.into_iter().for_each(|first| trust.saw(&self.source, first)),
            Err(error) => {
                self.record = Err(one_line(&error));
                return;
            }
        }
        let mut known: BTreeMap<String, Option<Backup>> = BTreeMap::new();
        for look in &mut self.stores {
            let Ok(shown) = &mut look.shown else { continue };
            for of_it in shown.databases.values_mut() {
                compare(of_it, ring, &mut trust, record, &mut known);
            }
        }
    }
}

fn compare(
    of_it: &mut OfDatabase,
    ring: &KeyRing,
    trust: &mut Trust,
    record: &mut Record,
    known: &mut BTreeMap<String, Option<Backup>>,
) {
    let mut on_record = |told: &Backup| {
        let id = told.id.as_str();
        known.entry(id.to_owned()).or_insert_with(|| record.full(id)).clone()
    };
    for (path, told) in std::mem::take(&mut of_it.unproven) {
        match on_record(&told) {
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
    let Some(told) = &of_it.newest else { return };
    let Some(path) = told.copies.first().map(|copy| copy.path.clone()) else { return };
    let fault = on_record(told).and_then(|backup| {
        let signed = of_it.signer.as_ref().map(|it| agree::ensure_signer(it, &agree::keys_of(&backup)));
        match signed {
            Some(Err(Unproven::Damaged(why) | Unproven::NoKey(why))) => Some(why),
            Some(Ok(())) | None => agree::difference(told, &backup),
        }
    });
    let is_older = of_it.signer.as_ref().is_some_and(|signer| *signer != Signer::Sealing);
    let doubt = || trust.doubt(told, of_it.signer.as_ref(), &mut |_, _| Ok(None)).ok().flatten();
    match (fault, is_older.then(doubt).flatten()) {
        (Some(why), _) => drop(of_it.faults.insert(path, why)),
        (None, Some(why)) => drop(of_it.doubts.insert(path, why)),
        (None, None) => return,
    }
    of_it.newest = None;
}

/// What is worth a word of the newest in a store.
pub(super) fn notes(look: &StoreLook<'_>, database: &str) -> Vec<String> {
    let Some(of_it) = look.shown.as_ref().ok().and_then(|shown| shown.databases.get(database)) else {
        return Vec::new();
    };
    let store = &look.shelf.name;
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
