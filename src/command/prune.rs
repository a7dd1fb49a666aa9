//! `pgkeep prune`: the copies that no rule keeps are removed from the stores, and what is left over is swept.

use std::collections::BTreeSet;

use anyhow::Result;

use super::configured_store::ConfiguredStore;
use super::context::Context;
use super::select;
use crate::catalog::Catalog;
use crate::cli;
use crate::exit::{Code, Failure, one_line};

mod execute;
mod explain;
mod leftover;
mod leftovers;
mod plan;
mod plan_items;
mod removal;
mod report;
mod store_listing;
mod watch;
mod work;

use plan::{Plan, Scope};
use report::Done;
use watch::Extent;
use work::Work;

pub(super) fn run(context: &Context, flags: &cli::Prune) -> Result<Code> {
    let all = context.configured_stores()?;
    let configured_stores: Vec<&ConfiguredStore> = match flags.stores.as_slice() {
        [] => all.iter().collect(),
        names => {
            let names: BTreeSet<&String> = names.iter().collect();
            names.into_iter().map(|name| select::configured(&all, name)).collect::<Result<_>>()?
        }
    };
    let databases: Vec<String> =
        flags.databases.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect();
    if databases.iter().any(String::is_empty) {
        return Err(Failure::usage("`--database` needs a name").into());
    }
    let scope = Scope {
        source: &context.config.source.name,
        databases: (!databases.is_empty()).then_some(databases.as_slice()),
        even_if_failing: flags.even_if_failing,
        yields: false,
    };
    let mut catalog = context.catalog().inspect_err(|error| watch::not_planned(context, None, error))?;
    let plan = plan::make(context, &mut catalog, &configured_stores, &scope)
        .inspect_err(|error| watch::not_planned(context, None, error))?;
    ensure_known(&plan, &databases)?;
    explain::tell(&plan, &all, false);
    let mut done = Done::default();
    if flags.dry_run {
        find_leftovers(&mut catalog, &plan, &mut done)?;
        report::document(context, &plan, &done, true)?;
        report::table(context, &plan, &done, true)?;
        if let Some(what) = too_much(&plan) {
            log::warn!("{what}: it is carried out with --force alone");
        }
        return Ok(report_problems(&plan));
    }
    let work = Work { context, plan: &plan, scope: &scope };
    let carried = carry(&work, &mut catalog, flags.force, &mut done);
    let extent = Extent { databases: scope.databases, is_every_store: flags.stores.is_empty() };
    watch::ended(context, extent, &plan, &done, &carried);
    report::document(context, &plan, &done, false)?;
    // What was done is told whatever ended it.
    if carried.is_ok() || !done.is_empty() {
        report::table(context, &plan, &done, false)?;
    }
    carried
}

/// What the sweep would take, were it carried out now.
fn find_leftovers(catalog: &mut Catalog, plan: &Plan<'_>, done: &mut Done) -> Result<()> {
    for store in &plan.stores {
        for database in leftovers::databases(store, plan.now) {
            for leftover in leftovers::find(catalog, &plan.rows, store, plan.now, &database)? {
                done.plan_leftover(store, &leftover);
            }
        }
    }
    Ok(())
}

/// The same for databases whose backups have just succeeded. What goes wrong is said, and undoes no backup.
pub(super) fn after_backup(
    context: &Context,
    configured_stores: &[ConfiguredStore],
    databases: &[String],
) -> Code {
    let scope = Scope {
        source: &context.config.source.name,
        databases: Some(databases),
        even_if_failing: false,
        yields: true,
    };
    let pruned = || -> Result<Result<Code>> {
        let mut catalog = context.catalog()?;
        let plan = plan::make(context, &mut catalog, &configured_stores.iter().collect::<Vec<_>>(), &scope)?;
        explain::tell(&plan, configured_stores, true);
        let work = Work { context, plan: &plan, scope: &scope };
        let mut done = Done::default();
        let carried = carry(&work, &mut catalog, false, &mut done);
        let extent = Extent { databases: Some(databases), is_every_store: true };
        watch::ended(context, extent, &plan, &done, &carried);
        Ok(carried)
    };
    let outcome = pruned().unwrap_or_else(|error| {
        watch::not_planned(context, Some(databases), &error);
        Err(error)
    });
    match outcome {
        Ok(Code::Done) => Code::Done,
        Ok(_) => Code::Degraded,
        Err(error) => {
            let why = one_line(&error);
            log::error!(
                "the backup stands, and old copies were not removed: {why} (`pgkeep prune --dry-run`)"
            );
            Code::Degraded
        }
    }
}

fn carry(work: &Work<'_>, catalog: &mut Catalog, force: bool, done: &mut Done) -> Result<Code> {
    let plan = work.plan;
    let code = report_problems(plan);
    for (database, why) in &plan.odd {
        done.hold(database, why.clone());
    }
    if plan.stores.is_empty() && !plan.problems.is_empty() {
        return Err(Failure::failed("no store could be looked at: nothing was removed").into());
    }
    if let Some(what) = too_much(plan).filter(|_| !force) {
        let hint = "`pgkeep prune --dry-run` shows it; --force carries it out";
        return Err(Failure::failed(format!("nothing was removed: {what}")).hint(hint).into());
    }
    let code = code.worse(explain::tell_held(plan, catalog, done)?);
    for store in &plan.stores {
        let age = store.configured.keep.age_alone().map(|age| age.as_secs_f64());
        catalog.set_expiry(work.scope.source, &store.configured.name, age)?;
    }
    Ok(code.worse(work.run(catalog, done)?))
}

/// A name that nothing is known of is more likely a slip than a database without backups.
fn ensure_known(plan: &Plan<'_>, databases: &[String]) -> Result<()> {
    let is_known =
        |name: &&String| plan.odd.contains_key(*name) || plan.rows.iter().any(|row| row.database == **name);
    match databases.iter().find(|name| !is_known(name)) {
        None => Ok(()),
        Some(name) => Err(Failure::new(Code::NoSuchBackup, format!("there is no backup of `{name}`"))
            .hint("`pgkeep list` shows what there is")
            .into()),
    }
}

fn report_problems(plan: &Plan<'_>) -> Code {
    plan.problems.iter().for_each(|problem| log::error!("{problem}"));
    for (database, why) in &plan.odd {
        log::error!(
            "`{database}`: old copies were not removed: {why} (mend the row of that id, or remove it)"
        );
    }
    if plan.problems.is_empty() && plan.odd.is_empty() { Code::Done } else { Code::Degraded }
}

/// A mistake in the configuration, or a record that is not what it was, shows in how much would go.
fn too_much(plan: &Plan<'_>) -> Option<String> {
    let losses = plan.losses_beyond_half();
    let of_store =
        |(store, all, going): &(&str, usize, usize)| format!("{going} of the {all} copies in `{store}`");
    let told: Vec<String> = losses.iter().map(of_store).collect();
    (!told.is_empty()).then(|| format!("the plan takes more than half of a store: {}", told.join(", ")))
}
