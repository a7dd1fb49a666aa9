//! What stands in the stores that the catalog does not know. It is named; nothing is removed.

use std::collections::{HashMap, HashSet};

use anyhow::Result;

use super::super::inventory::{self, Pair, Paired, Stray};
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

/// Lists the source's folder in each store that is looked at, and compares.
pub(super) fn find(session: &Session<'_>, catalog: &mut Catalog) -> Result<Vec<Stray>> {
    let source = &session.context.config.source.name;
    let folder = format!("{}/", name::encode(source));
    let mut found: Vec<(String, Paired)> = Vec::new();
    let mut strays = Vec::new();
    for shelf in session.shelves.iter().filter(|shelf| session.is_selected(&shelf.name)) {
        let listed = inventory::usable(shelf).and_then(|store| store.list(&store.path_of(&folder)));
        match listed {
            Ok(listed) => found.push((shelf.name.clone(), inventory::pair(&shelf.name, listed))),
            Err(error) => {
                let what = format!("can't be listed: {}", one_line(&error));
                strays.push(Stray { store: shelf.name.clone(), path: folder.clone(), what });
            }
        }
    }
    // Asked after the stores: what a run has published by now has had its row since it began.
    let on_record = OnRecord::of(catalog.known(source)?);
    for (store, paired) in found {
        let is_at_work = |path: &str| {
            let id = inventory::id_of(inventory::artifact_of(path));
            id.is_some_and(|id| on_record.status.get(id.as_str()) == Some(&Status::InProgress))
        };
        let is_told = |path: &str| on_record.has(&store, inventory::artifact_of(path));
        let pairs = paired.pairs.iter().map(|pair| Stray {
            store: store.clone(),
            path: pair.artifact.path.clone(),
            what: on_record.what(pair).to_owned(),
        });
        // What a copy on record lacks, the look at that copy says.
        let all = paired.strays.iter().cloned().chain(pairs);
        strays.extend(all.filter(|stray| !is_at_work(&stray.path) && !is_told(&stray.path)));
    }
    Ok(strays)
}
