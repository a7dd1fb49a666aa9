//! What a prune says: a table or JSON of the plan, and what became of each copy.

use std::collections::BTreeMap;

use anyhow::Result;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use indicatif::HumanBytes;
use serde_json::{Value, json};

use super::super::context::Context;
use super::super::output::printable;
use super::leftover::Leftover;
use super::plan::{Plan, StorePlan};
use super::plan_items::{Action, Item};
use crate::exit::{Code, shown};
use crate::retention::reason::minute;
use crate::store::Hold;

/// What became of something that was to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Removed,
    /// It was not there any more, and that is on record now.
    Absent,
    Held(String),
    Left(String),
    Failed(String),
}

impl Outcome {
    /// The store's own lock keeps it.
    pub(super) fn held_by(hold: &Hold) -> Self {
        Self::Held(match hold.until {
            Some(until) => format!("held until {} by {}", minute(until), hold.why),
            None => hold.to_string(),
        })
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Removed => "removed",
            Self::Absent => "absent",
            Self::Held(_) => "held",
            Self::Left(_) => "left",
            Self::Failed(_) => "failed",
        }
    }

    fn why(&self) -> Option<&str> {
        match self {
            Self::Removed => None,
            Self::Absent => Some("not in the store any more; on record as expired now"),
            Self::Held(why) | Self::Left(why) | Self::Failed(why) => Some(why),
        }
    }
}

/// What was done.
#[derive(Default)]
pub(super) struct Done {
    copies: BTreeMap<(String, String), Outcome>,
    leftovers: Vec<Swept>,
    /// How many times in a row each store has failed.
    failures: BTreeMap<String, usize>,
    /// By database, what holds copies past their rules.
    held: BTreeMap<String, Vec<String>>,
}

/// What is left over in a store, and what became of it; nothing as yet in a dry run.
struct Swept {
    store: String,
    path: String,
    what: String,
    outcome: Option<Outcome>,
}

/// A store that fails so many times in a row is left.
const FAILURES_IN_A_ROW: usize = 4;

impl Done {
    /// Keeps in mind what became of a copy; the last word counts.
    pub(super) fn tell(&mut self, store: &StorePlan<'_>, item: &Item, outcome: Outcome) {
        let name = &store.configured.name;
        let why = outcome.why().map_or_else(String::new, |why| format!(": {why}"));
        log::info!("store `{name}`: `{}`: {}{why}", item.id, outcome.word());
        self.copies.insert((name.clone(), item.id.clone()), outcome);
    }

    /// Counts whether a store did as it was asked.
    pub(super) fn answered(&mut self, store: &str, is_well: bool) {
        let failures = self.failures.entry(store.to_owned()).or_default();
        *failures = if is_well { 0 } else { failures.saturating_add(1) };
    }

    /// Why a store is asked no more.
    pub(super) fn given_up(&self, store: &str) -> Option<String> {
        let failures = self.failures.get(store).filter(|failures| **failures >= FAILURES_IN_A_ROW)?;
        Some(format!("the store failed {failures} times in a row"))
    }

    /// Keeps in mind what holds copies of a database past their rules.
    pub(super) fn hold(&mut self, database: &str, why: String) {
        self.held.entry(database.to_owned()).or_default().push(why);
    }

    /// What holds copies, by database.
    pub(super) fn held(&self) -> BTreeMap<&str, Vec<&str>> {
        let held = self.held.iter();
        held.map(|(database, why)| (database.as_str(), why.iter().map(String::as_str).collect())).collect()
    }

    /// What could not be removed, and why.
    pub(super) fn failed(&self) -> Vec<String> {
        let copies = self.copies.iter().filter_map(|((store, id), outcome)| match outcome {
            Outcome::Failed(why) => Some(format!("store `{store}`: `{id}`: {why}")),
            _ => None,
        });
        let leftovers = self.leftovers.iter().filter_map(|left| match &left.outcome {
            Some(Outcome::Failed(why)) => {
                Some(format!("store `{}`: `{}`: {why}", left.store, shown(&left.path)))
            }
            _ => None,
        });
        copies.chain(leftovers).collect()
    }

    /// Keeps in mind what would be swept.
    pub(super) fn plan_leftover(&mut self, store: &StorePlan<'_>, leftover: &Leftover<'_>) {
        self.sweep(store, leftover, None);
    }

    fn sweep(&mut self, store: &StorePlan<'_>, leftover: &Leftover<'_>, outcome: Option<Outcome>) {
        let (store, path, what) =
            (store.configured.name.clone(), leftover.path.to_owned(), leftover.what.to_owned());
        self.leftovers.push(Swept { store, path, what, outcome });
    }

    /// Whether nothing was done.
    pub(super) fn is_empty(&self) -> bool {
        self.copies.is_empty() && self.leftovers.is_empty()
    }

    /// The same of what is left over; the code for it.
    pub(super) fn tell_leftover(
        &mut self,
        store: &StorePlan<'_>,
        leftover: &Leftover<'_>,
        outcome: Outcome,
    ) -> Code {
        let (name, Leftover { path, what, .. }) = (&store.configured.name, leftover);
        let why = outcome.why().map_or_else(String::new, |why| format!(": {why}"));
        let said = format!("store `{name}`: {} `{}`: {what}{why}", outcome.word(), path.escape_debug());
        let is_failed = matches!(outcome, Outcome::Failed(_));
        if is_failed {
            log::error!("{said}");
        } else {
            log::info!("{said}");
        }
        self.sweep(store, leftover, Some(outcome));
        if is_failed { Code::Degraded } else { Code::Done }
    }
}

/// What became of a copy. What was to go and was not come to was left.
fn outcome_of(store: &StorePlan<'_>, item: &Item, done: &Done, dry_run: bool) -> Option<Outcome> {
    let told = done.copies.get(&(store.configured.name.clone(), item.id.clone())).cloned();
    let is_left = !dry_run && item.action == Action::Remove;
    told.or_else(|| is_left.then(|| Outcome::Left("not come to".to_owned())))
}

fn all<'a>(plan: &'a Plan<'_>) -> impl Iterator<Item = (&'a StorePlan<'a>, &'a Item)> {
    plan.stores.iter().flat_map(|store| store.items.iter().map(move |item| (store, item)))
}

/// Prints the plan, or what was done, as JSON where that is asked for.
pub(super) fn document(context: &Context, plan: &Plan<'_>, done: &Done, dry_run: bool) -> Result<()> {
    let copies: Vec<Value> = all(plan)
        .map(|(store, item)| {
            let outcome = outcome_of(store, item, done, dry_run);
            json!({
                "store": store.configured.name, "id": item.id, "database": item.database, "path": item.path,
                "created_at": item.begun_at, "size_bytes": item.size_bytes, "action": item.action.word(),
                "reason": item.reason, "outcome": outcome.as_ref().map(Outcome::word),
                "error": outcome.as_ref().and_then(Outcome::why),
            })
        })
        .collect();
    let leftover = |left: &Swept| {
        let Swept { store, path, what, outcome } = left;
        json!({
            "store": store, "path": path, "what": what, "outcome": outcome.as_ref().map(Outcome::word),
            "error": outcome.as_ref().and_then(Outcome::why),
        })
    };
    let leftovers: Vec<Value> = done.leftovers.iter().map(leftover).collect();
    context.out.json(&json!({ "dry_run": dry_run, "copies": copies, "leftovers": leftovers }))
}

/// The same for a person.
pub(super) fn table(context: &Context, plan: &Plan<'_>, done: &Done, dry_run: bool) -> Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["STORE", "ID", "SIZE", if dry_run { "PLAN" } else { "OUTCOME" }, "WHY"]);
    let mut rows = 0usize;
    for (store, item) in all(plan).filter(|(_, item)| dry_run || item.action != Action::Keep) {
        let outcome = outcome_of(store, item, done, dry_run);
        let word = outcome.as_ref().map_or(item.action.word(), Outcome::word);
        let why = outcome.as_ref().and_then(Outcome::why).unwrap_or(&item.reason).to_owned();
        let size = item.size_bytes.map_or_else(|| "-".to_owned(), |size| HumanBytes(size).to_string());
        table.add_row([
            Cell::new(printable(&store.configured.name)),
            Cell::new(printable(&item.id)),
            Cell::new(size).set_alignment(CellAlignment::Right),
            Cell::new(word),
            Cell::new(printable(&why)),
        ]);
        rows += 1;
    }
    if rows > 0 {
        let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
        let text: Vec<&str> = lines.iter().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
        context.out.line(&text.join("\n"))?;
    }
    for Swept { store, path, what, outcome } in &done.leftovers {
        let word = outcome.as_ref().map_or("would go", Outcome::word);
        let why = outcome.as_ref().and_then(Outcome::why).map_or_else(String::new, |why| format!(": {why}"));
        let path = shown(path);
        context.out.line(&printable(&format!("{store}: {word}: {path}: {what}{why}")))?;
    }
    context.out.line(&summary(plan, (!dry_run).then_some(done)))
}

fn summary(plan: &Plan<'_>, done: Option<&Done>) -> String {
    let is_gone = |store: &StorePlan<'_>, item: &Item| match done {
        None => item.action == Action::Remove,
        Some(done) => outcome_of(store, item, done, false) == Some(Outcome::Removed),
    };
    let gone: Vec<&Item> =
        all(plan).filter(|(store, item)| is_gone(store, item)).map(|(_, item)| item).collect();
    let bytes = gone.iter().filter_map(|item| item.size_bytes).sum();
    let (count, total) = (gone.len(), all(plan).count());
    let plural = if total == 1 { "copy" } else { "copies" };
    let word = if done.is_some() { "removed" } else { "would be removed" };
    format!("{count} of {total} {plural} {word}, {}", HumanBytes(bytes))
}
