//! `pgkeep prune`: the copies that no rule keeps are removed from the stores, and what is left over is swept.

use anyhow::Result;

use super::context::{Context, Shelf};
use super::select;
use crate::cli;
use crate::exit::{Code, Failure};

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
    };
    let mut catalog = context.catalog()?;
    let plan = plan::make(context, &mut catalog, &shelves, &scope)?;
    let mut code = Code::Done;
    for trouble in &plan.troubles {
        log::error!("{trouble}");
        code = code.worse(Code::Degraded);
    }
    if plan.stores.is_empty() && !plan.troubles.is_empty() {
        return Err(Failure::failed("no store could be looked at: nothing was removed").into());
    }
    if flags.dry_run {
        report::print(context, &plan, None)?;
        return Ok(code);
    }
    if !flags.force {
        refuse_too_much(&plan)?;
    }
    code = code.worse(tell_held(&plan));
    for store in &plan.stores {
        let age = store.shelf.keep.age_alone().map(|age| age.as_secs_f64());
        catalog.set_expiry(scope.source, &store.shelf.name, age)?;
    }
    let mut done = Done::default();
    let carried = carry_out::run(context, &mut catalog, &plan, &scope, &mut done);
    // What was done is told whatever ended it.
    report::print(context, &plan, Some(&done))?;
    Ok(code.worse(carried?))
}

/// A mistake in the configuration, or a record that is not what it was, shows in how much would go.
fn refuse_too_much(plan: &Plan<'_>) -> Result<()> {
    let losses = plan.losses_beyond_half();
    if losses.is_empty() {
        return Ok(());
    }
    let told =
        losses.iter().map(|(store, there, going)| format!("{going} of the {there} copies in `{store}`"));
    let what = format!(
        "nothing was removed: the plan takes more than half of a store: {}",
        told.collect::<Vec<_>>().join(", ")
    );
    Err(Failure::failed(what).hint("`pgkeep prune --dry-run` shows it; --force carries it out").into())
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
