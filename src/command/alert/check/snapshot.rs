//! What the catalog and the stores say, put side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;

use super::future::is_future;
use super::record::Record;
use super::store_listing::{StoreListing, StoreLook};
use crate::backup::{Backup, CLUSTER, CONFIG, CopyState};
use crate::catalog::kept::{Kept, KeptCopy};
use crate::command::context::Context;
use crate::command::inventory;
use crate::exit::one_line;
use crate::name::{self, BackupId};
use crate::store::Store;

/// Copies that are worth a second look: more than runs beside this one can have made or taken away are none of theirs.
const MOST_LOOKED_AT_AGAIN: usize = 64;

/// All that was seen.
pub(super) struct Snapshot<'a> {
    pub(super) source: String,
    pub(super) databases: Vec<String>,
    /// Whether [`CLUSTER`] among them means the config backups.
    pub(super) has_config: bool,
    /// Whether these are all that there are.
    pub(super) is_whole: bool,
    pub(super) now: Timestamp,
    pub(super) max_age: Duration,
    pub(super) stores: Vec<StoreLook<'a>>,
    /// Or why it can't be read.
    pub(super) record: Result<Record, String>,
    /// Backups that somebody takes copies away of.
    pub(super) at_work: BTreeSet<String>,
}

/// The newest good backup of a database.
pub(super) struct Good {
    pub(super) id: String,
    pub(super) begun_at: Timestamp,
    /// The stores that show it whole.
    pub(super) stores: Vec<String>,
}

impl Snapshot<'_> {
    /// Whether that name stands for the config backups.
    pub(super) fn is_config(&self, database: &str) -> bool {
        self.has_config && database == CLUSTER
    }

    /// Whether a backup of that type is one of what a name stands for: one that a database has as well means the database.
    fn is_of_that_kind(&self, database: &str, backup_type: &str) -> bool {
        database != CLUSTER || (backup_type == CONFIG) == self.has_config
    }

    /// Neither the catalog nor any store could be asked.
    pub(super) fn is_blind(&self) -> bool {
        self.record.is_err() && self.stores.iter().all(|look| look.shown.is_err() && !look.is_absent)
    }

    /// Copies on record as missing in a store, or that it does not show, by database: the newest first.
    pub(super) fn missing<'s>(&'s self, look: &'s StoreLook<'_>, database: &str) -> Vec<&'s Kept> {
        let (Ok(record), Ok(shown)) = (&self.record, &look.shown) else { return Vec::new() };
        let of_it = record.kept.iter().filter(|row| {
            row.database == database && row.status.is_usable() && !self.at_work.contains(&row.id)
        });
        let is_missing = |row: &&Kept| {
            row.copies.iter().any(|copy| {
                let is_lost =
                    is_missing(copy, look) || (is_trusted(copy, look) && !is_there(shown, row, copy));
                is_lost && is_own(look, &self.source, row, copy)
            })
        };
        of_it.filter(is_missing).collect()
    }

    /// How many copies of a database a store shows whole, as far as it is known what is whole.
    pub(super) fn count_whole(&self, look: &StoreLook<'_>, database: &str) -> usize {
        let of_it = look.shown.as_ref().ok().and_then(|shown| shown.databases.get(database));
        match (&self.record, of_it) {
            (Ok(record), _) => self.whole(record, look, database).len(),
            (Err(_), Some(of_it)) => {
                let lacking = of_it.faults.len().saturating_add(of_it.short.len());
                of_it.pairs.count().saturating_sub(lacking)
            }
            (Err(_), None) => 0,
        }
    }

    /// Copies of a database that a store shows whole, as far as it is known what is whole: by id.
    fn whole(&self, record: &Record, look: &StoreLook<'_>, database: &str) -> BTreeSet<String> {
        let Ok(shown) = &look.shown else { return BTreeSet::new() };
        let Some(of_it) = shown.databases.get(database) else { return BTreeSet::new() };
        let of_rows = record.of(database, self.now).filter(|row| row.status.is_usable() && !row.is_short);
        let is_whole =
            |row: &&Kept| row.copies.iter().any(|copy| is_trusted(copy, look) && is_there(shown, row, copy));
        let known = of_rows.filter(is_whole).map(|row| row.id.clone());
        let proven = of_it.newest.iter().map(|backup| backup.id.as_str().to_owned());
        let is_unknown = |id: &String| !record.kept.iter().any(|row| row.id == *id);
        known.chain(proven.filter(is_unknown)).collect()
    }

    /// The newest good backup of a database. Without the catalog a manifest has to be proven.
    pub(super) fn good(&self, database: &str, has_key: bool) -> Option<Good> {
        let mut found: BTreeMap<(Timestamp, String), Vec<String>> = BTreeMap::new();
        for look in &self.stores {
            for id in self.candidates(look, database, has_key) {
                found.entry(id).or_default().push(look.configured.name.clone());
            }
        }
        let ((begun_at, id), stores) = found.pop_last()?;
        Some(Good { id, begun_at, stores })
    }

    fn candidates(&self, look: &StoreLook<'_>, database: &str, has_key: bool) -> Vec<(Timestamp, String)> {
        let proven = self
            .proven(look, database)
            .filter(|backup| has_key && self.is_of_that_kind(database, &backup.backup_type));
        let proven = proven.map(|backup| (backup.created_at, backup.id.as_str().to_owned()));
        let Ok(record) = &self.record else { return proven.into_iter().collect() };
        let whole = self.whole(record, look, database);
        let known = record.of(database, self.now).filter(|row| whole.contains(&row.id));
        let known = known.filter(|row| self.is_of_that_kind(database, &row.backup_type));
        let known: Vec<_> = known.map(|row| (row.begun_at, row.id.clone())).collect();
        let unknown = proven.filter(|(_, id)| !record.kept.iter().any(|row| row.id == *id));
        known.into_iter().chain(unknown).collect()
    }

    /// The newest backup of a database in a store by its manifest.
    pub(super) fn proven<'s>(&self, look: &'s StoreLook<'_>, database: &str) -> Option<&'s Backup> {
        let newest = look.shown.as_ref().ok()?.databases.get(database)?.newest.as_ref();
        newest.filter(|backup| !is_future(backup.created_at, self.now))
    }

    /// Whether a store that could not be looked at may hold a good backup that is young enough.
    pub(super) fn may_be_hidden(&self, database: &str) -> bool {
        let mut dark = self.stores.iter().filter(|look| look.shown.is_err() && !look.is_absent).peekable();
        let Ok(record) = &self.record else { return dark.peek().is_some() };
        dark.any(|look| {
            record.of(database, self.now).filter(|row| row.status.is_usable() && !row.is_short).any(|row| {
                super::age(self, row.begun_at) <= self.max_age.as_secs()
                    && row.copies.iter().any(|copy| is_trusted(copy, look))
            })
        })
    }

    /// How many backups in a store the catalog does not know, and the newest of them, where that can be told.
    pub(super) fn unknown<'s>(
        &self,
        look: &'s StoreLook<'_>,
        database: &str,
    ) -> Option<(usize, Option<&'s str>)> {
        let (Ok(record), Ok(shown)) = (&self.record, &look.shown) else { return None };
        let known: BTreeSet<&str> = record.kept.iter().map(|row| row.id.as_str()).collect();
        Some(shown.databases.get(database)?.pairs.unknown(&known)).filter(|(count, _)| *count > 0)
    }

    /// Looks for what is on record and was not listed. A run may have published it since; a prune that takes it away
    /// has it claimed, and its row says so as soon as it lets it go.
    pub(super) fn look_again(&mut self, context: &Context) {
        let mut missed: BTreeSet<String> = BTreeSet::new();
        for look in &self.stores {
            for database in &self.databases {
                missed.extend(self.missing(look, database).iter().map(|row| row.id.clone()));
            }
        }
        let Ok(record) = &mut self.record else { return };
        if missed.is_empty() || context.interrupt.is_raised() {
            return;
        }
        let mut claimed = Vec::new();
        for id in missed.iter().take(MOST_LOOKED_AT_AGAIN).filter_map(|id| BackupId::parse(id)) {
            match record.catalog.use_copies(&id) {
                Ok(true) => claimed.push(id),
                _ => drop(self.at_work.insert(id.as_str().to_owned())),
            }
        }
        // Asked while nobody can take them away.
        match record.catalog.kept(&self.source, None) {
            Ok(kept) => record.kept = kept,
            Err(error) => {
                self.record = Err(one_line(&error));
                return;
            }
        }
        for look in &mut self.stores {
            let rows: Vec<&Kept> = record.kept.iter().filter(|row| missed.contains(&row.id)).collect();
            if rows.len() <= MOST_LOOKED_AT_AGAIN
                && let Err(error) = stat_again(look, &self.source, &rows)
            {
                look.shown = Err(one_line(&error));
            }
        }
        for id in claimed {
            if let Err(error) = record.catalog.let_copies_go(&id) {
                log::info!("`{id}`: {}", one_line(&error));
            }
        }
    }
}

/// Asks for each copy that was not listed by itself.
fn stat_again(look: &mut StoreLook<'_>, source: &str, rows: &[&Kept]) -> Result<()> {
    let (Ok(store), Ok(shown)) = (&look.configured.store, &look.shown) else { return Ok(()) };
    let mut found = Vec::new();
    for row in rows {
        let is_missed = |copy: &&KeptCopy| {
            is_trusted(copy, look) && is_own(look, source, row, copy) && !is_there(shown, row, copy)
        };
        let Some(copy) = row.copies.iter().find(is_missed) else { continue };
        let artifact = store.stat(&copy.path)?;
        let manifest = store.stat(&name::manifest_path(&copy.path))?;
        if let (Some(artifact), Some(manifest), Some(id)) = (artifact, manifest, BackupId::parse(&row.id)) {
            let artifact = crate::store::Listed {
                path: copy.path.clone(),
                size_bytes: artifact.size_bytes,
                modified_at: None,
            };
            let pair = inventory::Pair { id, artifact, manifest_bytes: manifest.size_bytes };
            found.push((row.database.clone(), pair));
        }
    }
    if let Ok(shown) = &mut look.shown {
        for (database, pair) in found {
            shown.databases.entry(database).or_default().pairs.put(pair);
        }
    }
    Ok(())
}

/// Whether the record calls a copy in that store whole.
fn is_trusted(copy: &KeptCopy, look: &StoreLook<'_>) -> bool {
    copy.store == look.configured.name && matches!(copy.state, CopyState::Stored | CopyState::Verified)
}

/// Whether it is on record that there is none in that store.
fn is_missing(copy: &KeptCopy, look: &StoreLook<'_>) -> bool {
    copy.store == look.configured.name && copy.state == CopyState::Missing
}

/// Whether a copy stands where the store, as it is configured now, has those of its database: another path is that of
/// another place.
fn is_own(look: &StoreLook<'_>, source: &str, row: &Kept, copy: &KeptCopy) -> bool {
    let root = |store: &dyn Store| store.path_of(&name::database_prefix(source, &row.database));
    look.configured.store.as_deref().is_ok_and(|store| copy.path.starts_with(&root(store)))
}

/// Whether the store shows it, with the size on record, and a manifest that is its own.
fn is_there(shown: &StoreListing, row: &Kept, copy: &KeptCopy) -> bool {
    let Some(of_it) = shown.databases.get(&row.database) else { return false };
    let found = of_it.pairs.size_of(&copy.path, &row.id);
    found.is_some() && found == copy.size_bytes && !of_it.faults.contains_key(&copy.path)
}
