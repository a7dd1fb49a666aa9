//! What stands in the stores that the catalog does not know. It is named; nothing is removed.

use std::collections::{HashMap, HashSet};

use anyhow::Result;

use super::super::inventory::{self, MOST_NAMED, Newest, Orphan, Orphans, Pair, StoredFiles};
use super::Session;
use crate::backup::{CopyState, Status};
use crate::catalog::Catalog;
use crate::catalog::query::Known;
use crate::exit::one_line;
use crate::name;

/// What is on record of a source.
struct OnRecord {
    status: HashMap<String, Status>,
    copies: HashSet<(String, String)>,
}

impl OnRecord {
    fn of(known: Vec<Known>) -> Self {
        let mut on_record = Self { status: HashMap::new(), copies: HashSet::new() };
        for row in known {
            // A copy that was never made is not there by the record.
            let is_there = row.state.is_some_and(CopyState::is_published);
            if let (Some(store), Some(path), true) = (row.store, row.path, is_there) {
                on_record.copies.insert((store, path));
            }
            on_record.status.insert(row.id, row.status);
        }
        on_record
    }

    fn has(&self, store: &str, artifact: &str) -> bool {
        self.copies.contains(&(store.to_owned(), artifact.to_owned()))
    }

    /// Why a whole copy is none that is known.
    fn what(&self, pair: &Pair) -> &'static str {
        match self.status.get(pair.id.as_str()) {
            None => "a copy that no row tells of (`pgkeep catalog rebuild --from STORE` writes one)",
            Some(Status::Failed) => {
                "a copy of a backup that is on record as failed (`pgkeep catalog rebuild --from STORE` takes it up)"
            }
            Some(_) => "a copy that its backup's row does not tell of",
        }
    }
}

/// Lists the source's folder in each store that is looked at, and compares; of each store by itself.
pub(super) fn find(session: &Session<'_>, catalog: &mut Catalog) -> Result<Vec<Orphans>> {
    let source = &session.context.config.source.name;
    let folder = format!("{}/", name::encode(source));
    let (mut found, mut all) = (Vec::new(), Vec::new());
    // What is on record need not be held while the stores are listed.
    let on_record = OnRecord::of(catalog.known(source)?);
    for configured in
        session.configured_stores.iter().filter(|configured| session.is_selected(&configured.name))
    {
        let is_unknown = |artifact: &str| !on_record.has(&configured.name, artifact);
        let mut newest = Newest::of(MOST_NAMED, usize::MAX);
        let listed = inventory::usable(configured).and_then(|store| {
            inventory::each(store, &store.path_of(&folder), &is_unknown, &mut |stored| {
                newest.push(stored);
            })
        });
        match listed {
            Ok(()) => found.push((configured.name.clone(), newest)),
            Err(error) => {
                let what = format!("can't be listed: {}", one_line(&error));
                let mut orphans = Orphans::of(&configured.name);
                orphans.push(Orphan { store: configured.name.clone(), path: folder.clone(), what });
                all.push(orphans);
            }
        }
    }
    drop(on_record);
    // Asked after the stores too: what a run has published by now has had its row since it began.
    let on_record = OnRecord::of(catalog.known(source)?);
    all.extend(found.into_iter().map(|(store, newest)| compared(&on_record, &store, newest)));
    Ok(all)
}

fn compared(on_record: &OnRecord, store: &str, newest: Newest) -> Orphans {
    let (mut unknown, more) = newest.into_parts();
    let is_at_work = |path: &str| {
        let id = inventory::id_of(path);
        id.is_some_and(|id| on_record.status.get(id.as_str()) == Some(&Status::InProgress))
    };
    // What a copy on record lacks, the look at that copy says.
    unknown.retain(|stored| !is_at_work(&stored.path) && !on_record.has(store, &stored.path));
    let (pairs, halves): (Vec<_>, Vec<_>) = unknown.into_iter().partition(StoredFiles::is_pair);
    let mut orphans = Orphans::of(store);
    orphans.more = more;
    for half in inventory::in_order(halves) {
        orphans.push(half.orphan(store));
    }
    for pair in pairs.iter().filter_map(StoredFiles::pair) {
        let what = on_record.what(&pair).to_owned();
        orphans.push(Orphan { store: store.to_owned(), path: pair.artifact.path, what });
    }
    orphans
}
