//! What is seen of a prune when it has ended, for alerts: whether copies past their rules stay.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::super::alarm;
use super::super::context::Context;
use super::plan::Plan;
use super::report::Done;
use crate::exit::{Code, one_line};
use crate::trouble::{Observation, Rule, Subject};

/// Raises what holds copies back, and lets go what no longer does.
pub(super) fn ended(context: &Context, plan: &Plan<'_>, done: &Done, outcome: &Result<Code>) {
    if context.interrupt.is_raised() {
        return;
    }
    let mut seen = vec![as_a_whole(plan, done, outcome)];
    if outcome.is_ok() {
        let held: BTreeMap<&str, Vec<&str>> = done.held();
        let items = plan.stores.iter().flat_map(|store| &store.items);
        let databases: BTreeSet<&str> = items.map(|item| item.database.as_str()).collect();
        seen.extend(databases.into_iter().map(|database| of_database(database, held.get(database))));
    }
    alarm::raise(context, &seen);
}

fn of_database(database: &str, held: Option<&Vec<&str>>) -> Observation {
    let subject = Subject::of_database(Rule::RetentionHeld, database);
    match held {
        None => subject.is_well(),
        Some(held) => subject
            .is_in_trouble(format!("copies of `{database}` past their rules stay: {}", held.join("; "))),
    }
}

/// What concerns no one database: a plan that is not carried out, a store that does not do as it is asked.
fn as_a_whole(plan: &Plan<'_>, done: &Done, outcome: &Result<Code>) -> Observation {
    let subject = Subject::new(Rule::RetentionHeld);
    let failed = done.failed();
    let (what, detail) = match outcome {
        Err(error) => ("old copies are not removed", vec![one_line(error)]),
        Ok(_) if !failed.is_empty() => ("old copies could not be removed", failed),
        Ok(_) if !plan.troubles.is_empty() => ("not every store could be looked at", plan.troubles.clone()),
        Ok(_) => return subject.is_well(),
    };
    let first = detail.first().map_or_else(String::new, |first| format!(": {first}"));
    subject.is_in_trouble(format!("{what}{first}")).detail(detail.join("\n"))
}

/// Nothing could even be planned.
pub(super) fn not_planned(context: &Context, error: &anyhow::Error) {
    let what = format!("old copies are not removed: {}", one_line(error));
    alarm::raise(context, &[Subject::new(Rule::RetentionHeld).is_in_trouble(what)]);
}
