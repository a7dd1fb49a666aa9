//! `pgkeep alert check`: looks whether backups are as they should be, in the catalog and in the stores, raises what is
//! not, and answers as monitoring plugins do.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Result;

use crate::alert::rules;
use crate::alert_record::{Alert, AlertStatus};
use crate::backup::{Backup, CLUSTER};
use crate::cli;
use crate::command::clock::now;
use crate::command::configured_store::ConfiguredStore;
use crate::command::context::Context;
use crate::command::notify;
use crate::config::value::Span;
use crate::exit::{Code, Failure, PluginState, one_line};
use crate::files;
use crate::finding::{Finding, Severity};
use crate::key::KeyRing;

mod compare;
mod evaluate;
mod future;
mod line;
mod metrics;
mod pairs;
mod record;
mod report;
mod scope;
mod snapshot;
mod store_listing;

use record::Record;
use snapshot::Snapshot;
use store_listing::StoreListing;

/// All that was seen and what follows from it.
struct Found<'a> {
    snapshot: Snapshot<'a>,
    has_key: bool,
    /// The newest good backups, by id.
    backups: BTreeMap<String, Backup>,
    findings: Vec<Finding>,
    /// What is worth a word, and no alert.
    notes: Vec<String>,
    /// Those that nobody has acknowledged; `None` where they can't be known.
    alerts: Option<Vec<Alert>>,
    state: PluginState,
}

pub(super) fn run(context: &Context, flags: &cli::AlertCheck) -> Result<Code> {
    let max_age = match &flags.max_age {
        Some(text) => Span::parse(text).map_err(|what| Failure::usage(format!("`--max-age`: {what}")))?.0,
        None => context.config.alerts.max_age,
    };
    let configured_stores = context.configured_stores()?;
    let ring = keys_at_hand(context)?;
    let mut notes = Vec::new();
    let mut snapshot =
        look(context, &configured_stores, ring.as_ref(), &flags.databases, max_age, &mut notes)?;
    if context.interrupt.is_raised() {
        // What was not seen for that is no problem of anybody's.
        return Ok(Code::Failed);
    }
    let findings = evaluate::all(context, &snapshot, ring.as_ref(), &mut notes);
    let mut findings: Vec<Finding> = findings.into_iter().map(notify::cleaned).collect();
    if snapshot.record.is_ok() {
        findings.extend(no_longer_there(context));
    }
    notify::raise(context, &findings);
    let alerts = if snapshot.record.is_ok() { notify::open_alerts(context).ok() } else { None };
    let alerts = alerts.map(|all| unacknowledged(all, &flags.databases));
    let has_key = ring.is_some();
    let backups = report::backups(&mut snapshot, has_key);
    let mut found = Found { snapshot, has_key, backups, findings, notes, alerts, state: PluginState::Ok };
    found.state = state(&found);
    if let Some(path) = &flags.prometheus {
        let text = metrics::text(&found);
        if let Err(error) = files::replace_public(path, text.as_bytes()) {
            found.notes.push(format!("the metrics are not written: {}", one_line(&error)));
            found.state = state(&found);
        }
    }
    let line = line::of(&found);
    context.out.json(&report::of(&found, &line))?;
    context.out.status(&line, found.state == PluginState::Ok)?;
    Ok(Code::Plugin(found.state))
}

/// The status line of a check that came to nothing.
pub(super) fn unknown_line(why: &str) -> String {
    line::unknown(why)
}

/// The keys, where there are any: a host that has lost its key is told so as a finding.
fn keys_at_hand(context: &Context) -> Result<Option<KeyRing>> {
    let is_there = context.config.encryption.key_file.try_exists().unwrap_or(true);
    is_there.then(|| context.existing_keys()).transpose()
}

fn look<'a>(
    context: &Context,
    configured_stores: &'a [ConfiguredStore],
    ring: Option<&KeyRing>,
    named: &[String],
    max_age: Duration,
    notes: &mut Vec<String>,
) -> Result<Snapshot<'a>> {
    let source = context.config.source.name.clone();
    let mut wanted = scope::wanted(context, named, notes)?;
    let is_named = named.iter().any(|name| name == CLUSTER);
    let has_config = scope::has_config(context, wanted.as_deref().filter(|_| !is_named));
    if let Some(names) = wanted.as_mut().filter(|_| has_config && named.is_empty()) {
        names.push(CLUSTER.to_owned());
    }
    let now = now();
    // First the stores: what a run has published by then has had its row since it began.
    let stores = StoreListing::of_all(context, configured_stores, wanted.as_deref(), ring, now)?;
    let record = Record::read(context, wanted.as_deref(), now);
    let mut databases = wanted.unwrap_or_else(|| scope::in_use(record.as_ref().ok(), &stores));
    if has_config && named.is_empty() && !databases.iter().any(|name| name == CLUSTER) {
        databases.push(CLUSTER.to_owned());
    }
    let (is_whole, at_work) = (named.is_empty(), BTreeSet::new());
    let mut snapshot =
        Snapshot { source, databases, has_config, is_whole, now, max_age, stores, record, at_work };
    snapshot.compare(ring);
    snapshot.look_again(context);
    Ok(snapshot)
}

/// What was wrong with a store or a channel that the configuration has no more is over.
fn no_longer_there(context: &Context) -> Vec<Finding> {
    let config = &context.config;
    let has_store = |name: &String| config.stores.iter().any(|store| store.name == *name);
    let has_channel = |name: &String| config.alerts.channels.iter().any(|channel| channel.name == *name);
    let is_gone = |alert: &Alert| {
        alert.store.as_ref().is_some_and(|name| !has_store(name))
            || alert.channel.as_ref().is_some_and(|name| !has_channel(name))
    };
    let open = notify::open_alerts(context).unwrap_or_default();
    open.iter().filter(|alert| is_gone(alert)).map(|alert| alert.subject().is_well()).collect()
}

fn unacknowledged(alerts: Vec<Alert>, databases: &[String]) -> Vec<Alert> {
    let is_meant = |alert: &Alert| {
        let database = alert.database.as_ref();
        alert.status == AlertStatus::Open
            && (databases.is_empty() || database.is_none_or(|name| databases.contains(name)))
    };
    alerts.into_iter().filter(is_meant).collect()
}

fn state(found: &Found<'_>) -> PluginState {
    if found.snapshot.is_blind() {
        return PluginState::Unknown;
    }
    let seen = found.findings.iter().filter_map(|it| it.problem.as_ref()).map(|it| it.severity);
    let open = found.alerts.iter().flatten().map(|alert| alert.severity);
    let noted = (!found.notes.is_empty()).then_some(Severity::Warning);
    match seen.chain(open).chain(noted).max() {
        None | Some(Severity::Info) => PluginState::Ok,
        Some(Severity::Warning) => PluginState::Warning,
        Some(Severity::Critical) => PluginState::Critical,
    }
}

/// How old something of that time is, in seconds.
fn age(snapshot: &Snapshot<'_>, at: jiff::Timestamp) -> u64 {
    rules::age_seconds(at, snapshot.now)
}
