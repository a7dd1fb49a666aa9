//! What is to become of each copy in a store, in the order of the runs, and what of the record does not fit the store.

use jiff::Timestamp;

use super::store_listing::{StoreListing, is_own, is_trusted};
use crate::backup::{CopyState, Status};
use crate::catalog::kept::{Kept, KeptCopy};
use crate::retention::{self, Entry, Group, Holding, Pin, Verdict};
use crate::store::Store;

/// Said of what the rules let go and the store does not show, where it does not show others either.
const NOT_THERE: &str =
    "not in the store, as are others that are to stay: it may not be the one of the record";

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
    /// What holds it, where the rules would let it go.
    pub(super) holding: Option<Holding>,
    /// Whether it lets older ones go.
    pub(super) is_proven: bool,
    /// Whether anything of it is in the store.
    pub(super) is_there: bool,
}

/// Runs, as they are on record, and a store, as it shows itself.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) source: &'a str,
    pub(super) store: &'a dyn Store,
    pub(super) shown: &'a StoreListing,
}

impl View<'_> {
    /// The runs, each with its copy in the store, which counts only where the store shows it too.
    pub(super) fn entries(&self, rows: &[Kept]) -> Vec<Entry> {
        let entry = |row: &Kept| Entry {
            id: row.id.clone(),
            group: Group {
                source: self.source.to_owned(),
                database: row.database.clone(),
                tenant: row.tenant.clone(),
                backup_type: row.backup_type.clone(),
            },
            begun_at: row.begun_at,
            status: row.status,
            pin: row.pinned_at.map(|_| Pin { until: row.pinned_until }),
            copy: self.copy_of(row),
        };
        rows.iter().map(entry).collect()
    }

    fn copy_of(&self, row: &Kept) -> Option<retention::Copy> {
        let copy = self.copy_in(row).filter(|copy| self.is_own(row, copy))?;
        let is_whole = self.shown.is_whole(row, copy);
        // What is on record as gone and stands there whole is subject to the rules again, and proves nothing.
        (copy.state.is_published() || is_whole).then_some(retention::Copy {
            is_proven: copy.state == CopyState::Verified && copy.is_sound && is_whole,
            locked_until: copy.locked_until,
        })
    }

    pub(super) fn copy_in<'r>(&self, row: &'r Kept) -> Option<&'r KeptCopy> {
        row.copies.iter().find(|copy| copy.store == self.store.name())
    }

    /// Whether a copy's path is where the store keeps copies of its backup.
    pub(super) fn is_own(&self, row: &Kept, copy: &KeptCopy) -> bool {
        is_own(self.store, self.source, row, &copy.path)
    }

    /// Whether a copy is on record as gone, and half of it stands there: a removal that broke off.
    pub(super) fn is_half_gone(&self, row: &Kept) -> bool {
        let is_half = |copy: &&KeptCopy| {
            copy.state == CopyState::Expired
                && self.is_own(row, copy)
                && self.shown.has_any_of(copy)
                && !self.shown.is_whole(row, copy)
        };
        self.copy_in(row).as_ref().is_some_and(is_half)
    }

    /// What is to become of each copy; what is told of those that the store does not show, and of those that stand
    /// elsewhere by the record.
    pub(super) fn items(&self, rows: &[Kept], verdicts: Vec<Option<Verdict>>) -> Items {
        let (mut items, mut lost, mut strange) = (Vec::new(), Vec::new(), Vec::new());
        for (row, verdict) in rows.iter().zip(verdicts) {
            let Some(copy) = self.copy_in(row) else { continue };
            let (action, reason) = match &verdict {
                Some(verdict) => (action_of(verdict), verdict.to_string()),
                None if self.is_half_gone(row) => {
                    (Action::Remove, "on record as removed, and not all of it is gone".to_owned())
                }
                None if copy.state.is_published() && !self.is_own(row, copy) => {
                    strange.push(row.id.as_str());
                    (Action::Keep, "its path on record is not where this store keeps it".to_owned())
                }
                None => continue,
            };
            if action != Action::Remove
                && is_trusted(copy)
                && verdict.is_some()
                && !self.shown.is_whole(row, copy)
            {
                lost.push(row.id.as_str());
            }
            items.push(Item {
                id: row.id.clone(),
                database: row.database.clone(),
                begun_at: row.begun_at,
                path: copy.path.clone(),
                size_bytes: copy.size_bytes,
                action,
                reason,
                is_proven: row.status == Status::Verified
                    && self.copy_of(row).is_some_and(|copy| copy.is_proven),
                holding: match verdict {
                    Some(Verdict::Held(holding)) => Some(holding),
                    _ => None,
                },
                is_there: self.shown.has_any_of(copy),
            });
        }
        if !lost.is_empty() {
            let absent = items.iter_mut().filter(|item| item.action == Action::Remove && !item.is_there);
            absent.for_each(|item| {
                item.action = Action::Keep;
                NOT_THERE.clone_into(&mut item.reason);
            });
        }
        let name = self.store.name();
        let lost = lost.first().map(|newest| {
            format!(
                "store `{name}`: {} on record, and not whole in the store, that of `{newest}` the newest: what is not \
                 there counts for nothing (`pgkeep verify --all --level stat --repair`)",
                count(lost.len())
            )
        });
        let elsewhere = strange.first().map(|newest| {
            format!(
                "store `{name}`: {} on record under a path where this store keeps no copy of it, that of `{newest}` \
                 the newest: left as it is. Were `path`, `prefix` or `bucket` changed, move them to the new place and \
                 run `pgkeep catalog rebuild --from {name}`; or remove them there, and run `pgkeep verify --all`",
                count(strange.len())
            )
        });
        Items { all: items, lost, elsewhere }
    }
}

/// What is to become of the copies in a store, and what is to be told of them.
pub(super) struct Items {
    pub(super) all: Vec<Item>,
    pub(super) lost: Option<String>,
    pub(super) elsewhere: Option<String>,
}

/// So many copies, in words that a sentence begins with.
pub(super) fn count(copies: usize) -> String {
    if copies == 1 { "1 copy is".to_owned() } else { format!("{copies} copies are") }
}

fn action_of(verdict: &Verdict) -> Action {
    match verdict {
        Verdict::Keep(_) => Action::Keep,
        Verdict::Held(_) => Action::Held,
        Verdict::Go(_) => Action::Remove,
    }
}
