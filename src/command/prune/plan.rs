//! What a prune would do: of each copy in each store, whether it stays or goes, and why. It asks the catalog and the
//! stores, and changes nothing.

use std::collections::BTreeMap;

use anyhow::Result;
use jiff::Timestamp;

use super::super::context::{Context, Shelf, now};
use super::super::copies::side_by_side;
use super::super::inventory::{self, Pair, Stray};
use crate::backup::CopyState;
use crate::catalog::Catalog;
use crate::catalog::kept::{Kept, KeptCopy};
use crate::exit::one_line;
use crate::name;
use crate::retention::{self, Clock, Entry, Group, Pin, Policy, Verdict};
use crate::store::{Stale, Store};

/// Which databases and stores are meant.
pub(super) struct Scope<'a> {
    pub(super) source: &'a str,
    /// `None` means all.
    pub(super) databases: Option<&'a [String]>,
    pub(super) even_if_failing: bool,
    /// Whether it is well when another prune is at work on a database: it does what this one would.
    pub(super) yields: bool,
}

/// What is to become of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Keep,
    Held,
    Remove,
}

impl Action {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Held => "held",
            Self::Remove => "remove",
        }
    }
}

/// One copy, and what is to become of it.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) id: String,
    pub(super) database: String,
    pub(super) begun_at: Timestamp,
    pub(super) path: String,
    pub(super) size_bytes: Option<u64>,
    pub(super) action: Action,
    pub(super) reason: String,
    /// Whether anything of it is in the store.
    pub(super) is_there: bool,
}

/// What a store holds, as it was listed.
#[derive(Debug, Default)]
pub(super) struct Shown {
    /// Whole copies, by the artifact's path.
    pub(super) pairs: BTreeMap<String, Pair>,
    pub(super) strays: Vec<Stray>,
    /// When artifacts without a manifest were written.
    pub(super) written_at: BTreeMap<String, Option<Timestamp>>,
    pub(super) stale: Vec<Stale>,
}

/// What is planned for one store.
pub(super) struct StorePlan<'a> {
    pub(super) shelf: &'a Shelf,
    pub(super) store: &'a dyn Store,
    pub(super) shown: Shown,
    pub(super) items: Vec<Item>,
    pub(super) clock: Clock,
}

pub(super) struct Plan<'a> {
    pub(super) stores: Vec<StorePlan<'a>>,
    /// What every run is on record as.
    pub(super) rows: Vec<Kept>,
    /// The time by every clock that was asked.
    pub(super) now: Timestamp,
    /// What could not be looked at.
    pub(super) troubles: Vec<String>,
}

impl Plan<'_> {
    /// Copies that are there, and those of them that are to go, of each store that would lose more than half.
    pub(super) fn losses_beyond_half(&self) -> Vec<(&str, usize, usize)> {
        let counted = self.stores.iter().map(|plan| {
            let there = plan.items.iter().filter(|item| item.is_there);
            let going = there.clone().filter(|item| item.action == Action::Remove).count();
            (plan.shelf.name.as_str(), there.count(), going)
        });
        counted.filter(|(_, there, going)| going.saturating_mul(2) > *there).collect()
    }
}

pub(super) fn make<'a>(
    context: &Context,
    catalog: &mut Catalog,
    shelves: &[&'a Shelf],
    scope: &Scope<'_>,
) -> Result<Plan<'a>> {
    let folders: Vec<String> = match scope.databases {
        None => vec![format!("{}/", name::encode(scope.source))],
        Some(names) => names.iter().map(|name| name::database_prefix(scope.source, name)).collect(),
    };
    let shown = side_by_side(shelves.to_vec(), |shelf| (shelf, look(shelf, &folders)))?;
    // Asked after the stores: what a run has published by now has had its row since it began.
    let rows = catalog.kept(scope.source, scope.databases)?;
    let now = now().min(catalog.clock()?);
    let mut plan = Plan { stores: Vec::new(), rows, now, troubles: Vec::new() };
    for (shelf, shown) in shown {
        let is_known = plan.rows.iter().any(|row| copy_in(row, &shelf.name).is_some());
        match shown.and_then(|shown| Ok((inventory::usable(shelf)?, shown))) {
            Ok((store, shown)) => {
                let entries = entries(&plan.rows, scope.source, &shelf.name, &shown);
                let clock = Clock::of(&entries, now);
                let verdicts = retention::decide_at(&entries, &policy(context, shelf, scope), clock);
                let items = items(&plan.rows, &shelf.name, &shown, verdicts, &mut plan.troubles);
                plan.stores.push(StorePlan { shelf, store, shown, items, clock });
            }
            // A store that was never written to has no folder yet.
            Err(error) if is_known => {
                plan.troubles.push(format!("store `{}`: not looked at: {}", shelf.name, one_line(&error)));
            }
            Err(error) => log::info!("store `{}`: {}", shelf.name, one_line(&error)),
        }
    }
    Ok(plan)
}

fn look(shelf: &Shelf, folders: &[String]) -> Result<Shown> {
    let store = inventory::usable(shelf)?;
    let mut shown = Shown::default();
    for folder in folders {
        let prefix = store.path_of(folder);
        shown.stale.extend(store.stale(&prefix)?);
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

pub(super) fn policy<'a>(context: &'a Context, shelf: &'a Shelf, scope: &Scope<'_>) -> Policy<'a> {
    let retention = &context.config.retention;
    Policy {
        keep: &shelf.keep,
        min_keep: retention.min_keep,
        zone: &retention.time_zone,
        even_if_failing: scope.even_if_failing,
    }
}

pub(super) fn copy_in<'a>(row: &'a Kept, store: &str) -> Option<&'a KeptCopy> {
    row.copies.iter().find(|copy| copy.store == store)
}

/// The runs, each with its copy in the store, which counts only where the store shows it too.
pub(super) fn entries(rows: &[Kept], source: &str, store: &str, shown: &Shown) -> Vec<Entry> {
    let entry = |row: &Kept| Entry {
        id: row.id.clone(),
        group: Group {
            source: source.to_owned(),
            database: row.database.clone(),
            tenant: row.tenant.clone(),
            backup_type: row.backup_type.clone(),
        },
        begun_at: row.begun_at,
        status: row.status,
        pin: row.pinned_at.map(|_| Pin { until: row.pinned_until }),
        copy: copy_in(row, store).filter(|copy| copy.state.is_published()).map(|copy| retention::Copy {
            is_proven: copy.state == CopyState::Verified && copy.is_sound && is_shown(copy, shown),
            locked_until: copy.locked_until,
        }),
    };
    rows.iter().map(entry).collect()
}

/// Whether the store shows the copy whole, with the size on record.
fn is_shown(copy: &KeptCopy, shown: &Shown) -> bool {
    let pair = shown.pairs.get(&copy.path);
    pair.is_some_and(|pair| Some(pair.artifact.size_bytes) == copy.size_bytes)
}

/// Whether the store shows anything of it.
fn is_there(path: &str, shown: &Shown) -> bool {
    shown.written_at.contains_key(path) || shown.written_at.contains_key(&name::manifest_path(path))
}

fn items(
    rows: &[Kept],
    store: &str,
    shown: &Shown,
    verdicts: Vec<Option<Verdict>>,
    troubles: &mut Vec<String>,
) -> Vec<Item> {
    let mut items = Vec::new();
    let mut lost: Vec<&str> = Vec::new();
    for (row, verdict) in rows.iter().zip(verdicts) {
        let Some(copy) = copy_in(row, store) else { continue };
        let is_there = is_there(&copy.path, shown);
        let (action, reason) = match &verdict {
            Some(verdict) => (action_of(verdict), verdict.to_string()),
            None if copy.state == CopyState::Expired && is_there => {
                (Action::Remove, "on record as removed, and still there".to_owned())
            }
            None => continue,
        };
        let is_trusted = matches!(copy.state, CopyState::Stored | CopyState::Verified);
        if action != Action::Remove && is_trusted && !is_shown(copy, shown) {
            lost.push(&row.id);
        }
        items.push(Item {
            id: row.id.clone(),
            database: row.database.clone(),
            begun_at: row.begun_at,
            path: copy.path.clone(),
            size_bytes: copy.size_bytes,
            action,
            reason,
            is_there,
        });
    }
    if let Some(newest) = lost.first() {
        let count = lost.len();
        let of = if count == 1 { "1 copy is".to_owned() } else { format!("{count} copies are") };
        troubles.push(format!(
            "store `{store}`: {of} on record, and not whole in the store, that of `{newest}` the newest: what is not \
             there counts for nothing (`pgkeep verify --all --level stat --repair`)"
        ));
    }
    items
}

fn action_of(verdict: &Verdict) -> Action {
    match verdict {
        Verdict::Keep(_) => Action::Keep,
        Verdict::Held(_) => Action::Held,
        Verdict::Go(_) => Action::Remove,
    }
}
