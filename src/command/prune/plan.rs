//! What a prune would do: of each copy in each store, whether it stays or goes, and why. It asks the catalog and the
//! stores, and changes nothing.

use anyhow::Result;
use jiff::Timestamp;

use super::super::clock::now;
use super::super::configured_store::ConfiguredStore;
use super::super::context::Context;
use super::super::copies::side_by_side;
use super::super::inventory;
use super::super::progress::Phase;
use super::plan_items::{Action, Item, Items, View};
use super::store_listing::{OnRecord, StoreListing};
use crate::catalog::Catalog;
use crate::catalog::kept::{Kept, Odd};
use crate::exit::one_line;
use crate::name;
use crate::retention::{self, Clock, Policy};
use crate::store::Store;

/// Which databases and stores are meant.
pub(super) struct Scope<'a> {
    pub(super) source: &'a str,
    /// `None` means all.
    pub(super) databases: Option<&'a [String]>,
    pub(super) even_if_failing: bool,
    /// Whether it is well when another prune is at work on a database: it does what this one would.
    pub(super) yields: bool,
}

/// What is planned for one store.
pub(super) struct StorePlan<'a> {
    pub(super) configured: &'a ConfiguredStore,
    pub(super) store: &'a dyn Store,
    pub(super) source: &'a str,
    pub(super) shown: StoreListing,
    pub(super) items: Vec<Item>,
    pub(super) clock: Clock,
}

impl StorePlan<'_> {
    pub(super) fn view(&self) -> View<'_> {
        View { source: self.source, store: self.store, shown: &self.shown }
    }
}

pub(super) struct Plan<'a> {
    pub(super) stores: Vec<StorePlan<'a>>,
    /// What every run is on record as.
    pub(super) rows: Vec<Kept>,
    /// Databases of which nothing goes, since a row of them can't be read.
    pub(super) odd: Odd,
    /// The time by every clock that was asked.
    pub(super) now: Timestamp,
    /// What could not be looked at.
    pub(super) problems: Vec<String>,
    /// So many copies stay in any case.
    pub(super) min_keep: usize,
}

impl Plan<'_> {
    /// Copies on record, and those of them that are to go, of each store that would lose more than half.
    pub(super) fn losses_beyond_half(&self) -> Vec<(&str, usize, usize)> {
        let counted = self.stores.iter().map(|plan| {
            let going = plan.items.iter().filter(|item| item.action == Action::Remove).count();
            (plan.configured.name.as_str(), plan.items.len(), going)
        });
        counted.filter(|(_, all, going)| going.saturating_mul(2) > *all).collect()
    }
}

pub(super) fn make<'a>(
    context: &Context,
    catalog: &mut Catalog,
    configured_stores: &[&'a ConfiguredStore],
    scope: &Scope<'a>,
) -> Result<Plan<'a>> {
    let folders: Vec<String> = match scope.databases {
        None => vec![format!("{}/", name::encode(scope.source))],
        Some(names) => names.iter().map(|name| name::database_prefix(scope.source, name)).collect(),
    };
    let phase = Phase::start(&context.out.bars, "listing what is in the stores");
    // What is not on record need not be held while the stores are listed.
    let (rows, _) = catalog.all_kept(scope.source, scope.databases)?;
    let by_our_clock = now();
    let shown = side_by_side(configured_stores.to_vec(), |configured| {
        (
            configured,
            StoreListing::of(configured, &folders, &OnRecord::of(&rows, &configured.name), by_our_clock),
        )
    })?;
    drop((phase, rows));
    // Asked after the stores too: what a run has published by now has had its row since it began.
    let (rows, odd) = catalog.all_kept(scope.source, scope.databases)?;
    let now = now().min(catalog.clock()?);
    let min_keep = usize::try_from(context.config.retention.min_keep.get())?;
    let mut plan = Plan { stores: Vec::new(), rows, odd, now, problems: Vec::new(), min_keep };
    for (configured, shown) in shown {
        let of_store = |row: &Kept| row.copies.iter().any(|copy| copy.store == configured.name);
        let is_known = plan.rows.iter().any(of_store);
        match shown.and_then(|shown| of_one(context, configured, scope, shown, &mut plan)) {
            Ok(store) => plan.stores.push(store),
            // A store that was never written to has no folder yet.
            Err(error) if is_known => {
                plan.problems.push(format!(
                    "store `{}`: not looked at: {}",
                    configured.name,
                    one_line(&error)
                ));
            }
            Err(error) => log::info!("store `{}`: {}", configured.name, one_line(&error)),
        }
    }
    Ok(plan)
}

fn of_one<'a>(
    context: &Context,
    configured: &'a ConfiguredStore,
    scope: &Scope<'a>,
    mut shown: StoreListing,
    plan: &mut Plan<'_>,
) -> Result<StorePlan<'a>> {
    let store = inventory::usable(configured)?;
    shown.look_again(store, scope.source, &plan.rows)?;
    for database in plan.odd.keys() {
        shown.leave(&store.path_of(&name::database_prefix(scope.source, database)));
    }
    if let Some(problem) = &shown.problem {
        plan.problems
            .push(format!("store `{}`: what dead runs left is not looked for: {problem}", configured.name));
    }
    if shown.more > 0 {
        let (name, more) = (&configured.name, shown.more);
        log::warn!(
            "store `{name}`: {more} more unfinished uploads and artifacts without a manifest are left for the next prune"
        );
    }
    let view = View { source: scope.source, store, shown: &shown };
    let entries = view.entries(&plan.rows);
    let clock = Clock::of(&entries, plan.now);
    let verdicts = retention::decide_at(&entries, &policy(context, configured, scope), clock);
    let Items { all: items, lost, elsewhere } = view.items(&plan.rows, verdicts);
    plan.problems.extend(lost);
    match elsewhere {
        // It may be meant so: no reason to wake somebody every night.
        Some(elsewhere) if scope.yields => log::info!("{elsewhere}"),
        elsewhere => plan.problems.extend(elsewhere),
    }
    Ok(StorePlan { configured, store, source: scope.source, shown, items, clock })
}

pub(super) fn policy<'a>(
    context: &'a Context,
    configured: &'a ConfiguredStore,
    scope: &Scope<'_>,
) -> Policy<'a> {
    let retention = &context.config.retention;
    Policy {
        keep: &configured.keep,
        min_keep: retention.min_keep,
        zone: &retention.time_zone,
        even_if_failing: scope.even_if_failing,
    }
}
