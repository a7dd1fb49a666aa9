//! What the catalog says of the databases that are looked at.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use jiff::Timestamp;

use super::future::is_future;
use crate::alert::rules::KeyUse;
use crate::backup::{Backup, Status};
use crate::catalog::Catalog;
use crate::catalog::kept::Kept;
use crate::catalog::query::Filter;
use crate::command::context::Context;
use crate::command::liveness::is_alive;
use crate::exit::one_line;

/// Newest runs that are looked at until one has ended: a run at work, and those beside it.
const RUNS: u32 = 8;

/// What is on record.
pub(super) struct Record {
    pub(super) catalog: Catalog,
    /// Every run of the source, the newest first.
    pub(super) kept: Vec<Kept>,
    pub(super) databases: BTreeMap<String, OfDatabase>,
    pub(super) keys: Vec<KeyUse>,
}

/// What is on record of one database.
#[derive(Default)]
pub(super) struct OfDatabase {
    /// The newest run that has ended, or died.
    pub(super) last_run: Option<Run>,
    /// The newest that can be restored from.
    pub(super) newest_usable: Option<Backup>,
}

/// A run that is over.
pub(super) struct Run {
    pub(super) backup: Backup,
    pub(super) died: bool,
}

impl Run {
    pub(super) fn failed(&self) -> bool {
        self.died || self.backup.status == Status::Failed
    }
}

impl Record {
    /// Reads it, or says why it can't be read.
    pub(super) fn read(context: &Context, wanted: Option<&[String]>, now: Timestamp) -> Result<Self, String> {
        let source = &context.config.source.name;
        let read = || -> Result<Self> {
            let mut catalog = context.catalog()?;
            let kept = catalog.kept(source, None)?;
            let locked = catalog.locked(source)?.into_iter();
            let keys = locked.map(|it| KeyUse { id: it.id, keys: it.keys, gone_at: it.gone_at }).collect();
            let names: BTreeSet<&String> = match wanted {
                Some(names) => names.iter().collect(),
                None => kept.iter().map(|row| &row.database).collect(),
            };
            let mut databases = BTreeMap::new();
            for name in names {
                databases.insert(name.clone(), of_database(&mut catalog, source, name, &kept, now)?);
            }
            Ok(Self { catalog, kept, databases, keys })
        };
        read().map_err(|error| one_line(&error))
    }

    /// The runs of one database, without those that can't have been yet.
    pub(super) fn of<'a>(&'a self, database: &'a str, now: Timestamp) -> impl Iterator<Item = &'a Kept> {
        self.kept.iter().filter(move |row| row.database == database && !is_future(row.begun_at, now))
    }

    /// All that is known of a backup.
    pub(super) fn full(&mut self, id: &str) -> Option<Backup> {
        let found = self.catalog.find(id, 2).ok()?;
        found.into_iter().find(|backup| backup.id.as_str() == id)
    }
}

fn of_database(
    catalog: &mut Catalog,
    source: &str,
    database: &str,
    kept: &[Kept],
    now: Timestamp,
) -> Result<OfDatabase> {
    let filter = Filter {
        source: Some(source.to_owned()),
        database: Some(database.to_owned()),
        limit: Some(RUNS),
        ..Filter::default()
    };
    let mut found = OfDatabase::default();
    for backup in catalog.list(&filter)? {
        if is_future(backup.created_at, now) {
            continue;
        }
        let is_unfinished = backup.status == Status::InProgress;
        if !is_unfinished || !is_alive(catalog, &backup)? {
            found.last_run = Some(Run { backup, died: is_unfinished });
            break;
        }
    }
    let is_newest =
        |row: &&Kept| row.database == database && row.status.is_usable() && !is_future(row.begun_at, now);
    if let Some(row) = kept.iter().find(is_newest) {
        found.newest_usable = catalog.find(&row.id, 2)?.into_iter().find(|it| it.id.as_str() == row.id);
    }
    Ok(found)
}
