//! What a prune says of copies that stay though their time is up: a run that failed, nothing that is verified, a
//! clock that is not believed yet, a store that is not there any more.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::super::configured_store::ConfiguredStore;
use super::plan::{Plan, StorePlan};
use super::plan_items::{Item, count};
use super::report::Done;
use crate::backup::Status;
use crate::catalog::Catalog;
use crate::command::liveness::is_alive;
use crate::config::keep::Keep;
use crate::exit::Code;
use crate::retention::Holding;
use crate::retention::reason::minute;

/// Says what the rules would let go and something else holds: a lock is in order, and a run that is under way; one
/// that failed or died is not.
pub(super) fn tell_held(plan: &Plan<'_>, catalog: &mut Catalog, done: &mut Done) -> Result<Code> {
    let mut code = Code::Done;
    for store in &plan.stores {
        let mut held: BTreeMap<&str, Vec<&Item>> = BTreeMap::new();
        for item in &store.items {
            if let Some(Holding::NewestFailed(run) | Holding::NewestUnfinished(run)) = &item.holding {
                held.entry(run).or_default().push(item);
            }
        }
        for (run, items) in held {
            let (name, reason) =
                (&store.configured.name, items.first().map_or("", |item| item.reason.as_str()));
            let said = format!("store `{name}`: {} past their rules, and held: {reason}", count(items.len()));
            if is_under_way(catalog, run)? {
                log::info!("{said}");
                continue;
            }
            log::warn!("{said} (--even-if-failing lets them go)");
            if let Some(item) = items.first() {
                done.hold(&item.database, said);
            }
            code = Code::Degraded;
        }
    }
    Ok(code)
}

fn is_under_way(catalog: &mut Catalog, run: &str) -> Result<bool> {
    let found = catalog.find(run, 1)?;
    let run = found.first().filter(|run| run.status == Status::InProgress);
    run.map_or(Ok(false), |run| is_alive(catalog, run))
}

/// Says why a store goes on growing. At night only what is new of it.
pub(super) fn tell(plan: &Plan<'_>, configured_stores: &[ConfiguredStore], by_night: bool) {
    plan.stores.iter().for_each(|store| tell_unproven(plan, store));
    // It is the same for every store.
    if let Some((believed, doubted)) = plan.stores.first().and_then(|store| store.clock.doubted()) {
        let level = if by_night { log::Level::Info } else { log::Level::Warn };
        log::log!(
            level,
            "there is no backup between {} and {}: ages are counted to the first until 30 days of backups followed the \
             other",
            minute(believed),
            minute(doubted)
        );
    }
    let is_there = |name: &str| configured_stores.iter().any(|configured| configured.name == name);
    let copies = plan.rows.iter().flat_map(|row| &row.copies).filter(|copy| copy.state.is_published());
    let unknown: BTreeSet<&str> =
        copies.map(|copy| copy.store.as_str()).filter(|name| !is_there(name)).collect();
    for name in unknown {
        log::info!("copies are on record in `{name}`, which is no store of the configuration: they stay");
    }
}

/// Where nothing is proven nothing ever goes: that fills a disk.
fn tell_unproven(plan: &Plan<'_>, store: &StorePlan<'_>) {
    if store.configured.keep == Keep::Forever {
        return;
    }
    let mut of_database: BTreeMap<&str, (usize, bool)> = BTreeMap::new();
    for item in &store.items {
        let (count, is_any_proven) = of_database.entry(&item.database).or_default();
        *count = count.saturating_add(1);
        *is_any_proven |= item.is_proven;
    }
    for (database, (count, is_any_proven)) in of_database {
        if !is_any_proven && count > plan.min_keep {
            log::warn!(
                "store `{}`: none of the {count} copies of `{database}` is of a backup that is verified everywhere: \
                 none of them goes (`pgkeep verify --all`)",
                store.configured.name
            );
        }
    }
}
