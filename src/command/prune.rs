//! `pgkeep prune`: the copies that no rule keeps are removed from the stores, and what is left over is swept.

use anyhow::Result;

use super::context::{Context, Shelf};
use super::select;
use crate::catalog::Catalog;
use crate::cli;
use crate::exit::{Code, Failure, one_line};

mod carry_out;
mod leftovers;
mod plan;
mod report;

use plan::{Action, Plan, Scope};
use report::Done;

pub(super) fn run(context: &Context, flags: &cli::Prune) -> Result<Code> {
    let all = context.shelves()?;
    let shelves: Vec<&Shelf> = match flags.stores.as_slice() {
        [] => all.iter().collect(),
        names => names.iter().map(|name| select::shelf(&all, name)).collect::<Result<_>>()?,
    };
    let scope = Scope {
        source: &context.config.source.name,
        databases: (!flags.databases.is_empty()).then_some(flags.databases.as_slice()),
        even_if_failing: flags.even_if_failing,
        yields: false,
    };
    let mut catalog = context.catalog()?;
    let plan = plan::make(context, &mut catalog, &shelves, &scope)?;
    let mut done = Done::default();
    if flags.dry_run {
        find_leftovers(&mut catalog, &plan, &mut done)?;
        report::print(context, &plan, &done, true)?;
        if let Some(what) = too_much(&plan).filter(|_| !flags.force) {
            log::warn!("{what}: it is carried out with --force alone");
        }
        return Ok(tell_troubles(&plan));
    }
    let carried = carry(context, &mut catalog, &plan, &scope, flags.force, &mut done);
    // What was done is told whatever ended it.
    if carried.is_ok() || !done.is_empty() {
        report::print(context, &plan, &done, false)?;
    }
    carried
}

/// What the sweep would take, were it carried out now.
fn find_leftovers(catalog: &mut Catalog, plan: &Plan<'_>, done: &mut Done) -> Result<()> {
    for store in &plan.stores {
        for database in leftovers::databases(store) {
            for leftover in leftovers::find(catalog, &plan.rows, store, plan.now, &database)? {
                done.plan_leftover(store, &leftover);
            }
        }
    }
    Ok(())
}

/// The same for databases whose backups have just succeeded. What goes wrong is said, and undoes no backup.
pub(super) fn after_backup(context: &Context, shelves: &[Shelf], databases: &[String]) -> Code {
    let scope = Scope {
        source: &context.config.source.name,
        databases: Some(databases),
        even_if_failing: false,
        yields: true,
    };
    let pruned = || {
        let mut catalog = context.catalog()?;
        let plan = plan::make(context, &mut catalog, &shelves.iter().collect::<Vec<_>>(), &scope)?;
        carry(context, &mut catalog, &plan, &scope, false, &mut Done::default())
    };
    match pruned() {
        Ok(Code::Done) => Code::Done,
        Ok(_) => Code::Degraded,
        Err(error) => {
            log::error!("the backup stands, and old copies were not removed: {}", one_line(&error));
            Code::Degraded
        }
    }
}

fn carry(
    context: &Context,
    catalog: &mut Catalog,
    plan: &Plan<'_>,
    scope: &Scope<'_>,
    force: bool,
    done: &mut Done,
) -> Result<Code> {
    let code = tell_troubles(plan);
    if plan.stores.is_empty() && !plan.troubles.is_empty() {
        return Err(Failure::failed("no store could be looked at: nothing was removed").into());
    }
    if let Some(what) = too_much(plan).filter(|_| !force) {
        let hint = "`pgkeep prune --dry-run` shows it; --force carries it out";
        return Err(Failure::failed(format!("nothing was removed: {what}")).hint(hint).into());
    }
    let code = code.worse(tell_held(plan));
    for store in &plan.stores {
        let age = store.shelf.keep.age_alone().map(|age| age.as_secs_f64());
        catalog.set_expiry(scope.source, &store.shelf.name, age)?;
    }
    Ok(code.worse(carry_out::run(context, catalog, plan, scope, done)?))
}

fn tell_troubles(plan: &Plan<'_>) -> Code {
    plan.troubles.iter().for_each(|trouble| log::error!("{trouble}"));
    if plan.troubles.is_empty() { Code::Done } else { Code::Degraded }
}

/// A mistake in the configuration, or a record that is not what it was, shows in how much would go.
fn too_much(plan: &Plan<'_>) -> Option<String> {
    let losses = plan.losses_beyond_half();
    let of_store =
        |(store, there, going): &(&str, usize, usize)| format!("{going} of the {there} copies in `{store}`");
    let told: Vec<String> = losses.iter().map(of_store).collect();
    (!told.is_empty()).then(|| format!("the plan takes more than half of a store: {}", told.join(", ")))
}

/// Says what the rules would let go and something else holds: a lock is in order, a run that fails is not.
fn tell_held(plan: &Plan<'_>) -> Code {
    let mut code = Code::Done;
    for store in &plan.stores {
        let is_failing = |reason: &str| reason.starts_with("the newest run");
        let held = store.items.iter().filter(|item| item.action == Action::Held && is_failing(&item.reason));
        let mut reasons: Vec<&str> = held.map(|item| item.reason.as_str()).collect();
        let count = reasons.len();
        reasons.dedup();
        if count > 0 {
            let name = &store.shelf.name;
            log::warn!(
                "store `{name}`: {count} copies that the rules let go are held: {} (--even-if-failing lets them go)",
                reasons.join("; ")
            );
            code = Code::Degraded;
        }
    }
    code
}
