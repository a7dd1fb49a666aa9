//! What is seen of a prune when it has ended, for alerts: whether copies past their rules stay.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::super::context::Context;
use super::super::notify;
use super::plan::Plan;
use super::report::Done;
use crate::exit::{Code, one_line};
use crate::finding::{AlertKey, Finding, Rule};

/// What a prune looked at.
#[derive(Clone, Copy)]
pub(super) struct Extent<'a> {
    /// `None` means all.
    pub(super) databases: Option<&'a [String]>,
    pub(super) is_every_store: bool,
}

/// Raises what holds copies back, and lets go what no longer does, as far as it was looked at.
pub(super) fn ended(
    context: &Context,
    extent: Extent<'_>,
    plan: &Plan<'_>,
    done: &Done,
    outcome: &Result<Code>,
) {
    if context.interrupt.is_raised() {
        return;
    }
    let whole = problem(plan, done, outcome);
    let mut seen = Vec::new();
    match (&whole, extent.databases) {
        (Some((what, detail)), None) => seen.push(told(AlertKey::new(Rule::RetentionHeld), what, detail)),
        (Some((what, detail)), Some(names)) => {
            let subject = |name: &String| AlertKey::of_database(Rule::RetentionHeld, name);
            seen.extend(names.iter().map(|name| told(subject(name), what, detail)));
        }
        (None, None) if extent.is_every_store => seen.push(AlertKey::new(Rule::RetentionHeld).is_well()),
        (None, _) => {}
    }
    if whole.is_none() || extent.databases.is_none() {
        let held: BTreeMap<&str, Vec<&str>> = done.held();
        let items = plan.stores.iter().flat_map(|store| &store.items);
        let databases: BTreeSet<&str> =
            items.map(|item| item.database.as_str()).chain(held.keys().copied()).collect();
        let of_all = databases.into_iter().map(|database| of_database(database, held.get(database)));
        // What a look at some of the stores does not see may be held in another.
        let may_be_well = outcome.is_ok() && extent.is_every_store;
        seen.extend(of_all.filter(|seen| may_be_well || seen.problem.is_some()));
    }
    notify::raise(context, &seen);
}

fn told(subject: AlertKey, what: &str, detail: &[String]) -> Finding {
    let first = detail.first().map_or_else(String::new, |first| format!(": {first}"));
    subject.has_problem(format!("{what}{first}")).detail(detail.join("\n"))
}

fn of_database(database: &str, held: Option<&Vec<&str>>) -> Finding {
    let subject = AlertKey::of_database(Rule::RetentionHeld, database);
    match held {
        None => subject.is_well(),
        Some(held) => {
            subject.has_problem(format!("copies of `{database}` past their rules stay: {}", held.join("; ")))
        }
    }
}

/// What concerns no one database: a plan that is not carried out, a store that does not do as it is asked.
fn problem(plan: &Plan<'_>, done: &Done, outcome: &Result<Code>) -> Option<(&'static str, Vec<String>)> {
    let failed = done.failed();
    match outcome {
        Err(error) => Some(("old copies are not removed", vec![one_line(error)])),
        Ok(_) if !failed.is_empty() => Some(("old copies could not be removed", failed)),
        Ok(_) if !plan.problems.is_empty() => {
            Some(("not every store could be looked at", plan.problems.clone()))
        }
        Ok(_) => None,
    }
}

/// Nothing could even be planned, for these databases or for all.
pub(super) fn not_planned(context: &Context, databases: Option<&[String]>, error: &anyhow::Error) {
    let what = format!("old copies are not removed: {}", one_line(error));
    let of_one = |name: &String| AlertKey::of_database(Rule::RetentionHeld, name).has_problem(what.clone());
    let seen = match databases {
        Some(names) => names.iter().map(of_one).collect(),
        None => vec![AlertKey::new(Rule::RetentionHeld).has_problem(what.clone())],
    };
    notify::raise(context, &seen);
}
