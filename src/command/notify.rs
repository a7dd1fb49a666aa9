//! What a command saw is put on record as alerts, and told. Nothing that goes wrong here changes how the command ends.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow};

use super::context::Context;
use crate::alert::channel::Channel;
use crate::alert::clean::{clean, clean_line};
use crate::alert::outbox::Urgency;
use crate::alert_record::Alert;
use crate::catalog::Catalog;
use crate::config::alert::Way;
use crate::exit::one_line;
use crate::finding::Finding;
use crate::{bounded, config};

pub(super) mod notifier;
mod outbox;
pub(super) mod pings;
mod register;
pub(super) mod send;

use outbox::Outbox;
use send::Tally;

/// A catalog that could not be reached is not asked again for alerts before.
const CATALOG_PAUSE: Duration = Duration::from_secs(30);

/// Puts on record what was seen, and tells whom it concerns. What goes wrong here is said, and changes nothing else.
pub(super) fn raise(context: &Context, findings: &[Finding]) {
    raise_of(context, &context.config.source.name, findings);
}

/// The same without the catalog: of a command that must touch nothing. The next one puts it on record there.
pub(super) fn raise_in_file(context: &Context, findings: &[Finding]) {
    let source = &context.config.source.name;
    let mut outbox = register::record(context, None, source, findings);
    send::send(context, &mut outbox, source, Urgency::Due);
}

/// The same of a source that need not be the one of the configuration.
pub(super) fn raise_of(context: &Context, source: &str, findings: &[Finding]) {
    if findings.is_empty() {
        return;
    }
    let mut outbox = register::record(context, catalog(context), source, findings);
    send::send(context, &mut outbox, source, Urgency::Due);
}

/// Sends along what is due, at the end of a command.
pub(super) fn flush(context: &Context) {
    if has_wires(context) || register::is_behind(context) {
        send::send(context, &mut outbox(context), &context.config.source.name, Urgency::Along);
    }
}

/// Sends all that waits.
pub(super) fn send_all(context: &Context) -> Tally {
    send::send(context, &mut outbox(context), &context.config.source.name, Urgency::Now)
}

/// Has the catalog learn what came while it was down.
pub(super) fn catch_up(context: &Context) {
    drop(outbox(context));
}

/// Where messages wait; the catalog has learned what came while it was down.
fn outbox(context: &Context) -> Outbox {
    let catalog = catalog(context);
    if register::is_behind(context) {
        return register::record(context, catalog, &context.config.source.name, &[]);
    }
    catalog.map_or_else(|| Outbox::of_file(context), |catalog| Outbox::Catalog(Box::new(catalog)))
}

/// What was seen, without anything that stands in a table, which a server's messages may repeat.
pub(super) fn cleaned(mut seen: Finding) -> Finding {
    if let Some(problem) = &mut seen.problem {
        problem.message = clean_line(&problem.message);
        problem.detail = problem.detail.as_deref().map(clean);
    }
    seen
}

/// What is open of this source: in the catalog, or where that is down as far as this host knows.
///
/// # Errors
/// When neither can be asked.
pub(super) fn open_alerts(context: &Context) -> anyhow::Result<Vec<Alert>> {
    let source = &context.config.source.name;
    match catalog(context) {
        Some(mut catalog) => catalog.alerts(Some(source), false, MOST_SHOWN),
        None => Ok(context.spool.read()?.open(source)),
    }
}

/// No list of alerts is longer.
pub(super) const MOST_SHOWN: u32 = 1000;

/// A channel made ready, once in this process and within its time limit: a secret may be long in coming.
fn channel(context: &Context, config: &config::alert::Channel) -> Result<Arc<Channel>> {
    if let Some(ready) = context.notifier.memory().ready.get(&config.name) {
        return Ok(Arc::clone(ready));
    }
    let (wanted, fetch) = (config.clone(), context.fetcher());
    let made = bounded::within("channel", config.timeout, move || Channel::new(&wanted, &*fetch));
    let made =
        made.map_err(|error| anyhow!("its secrets can't be had within {:?}: {error}", config.timeout))?;
    let made = Arc::new(made?);
    context.notifier.memory().ready.insert(config.name.clone(), Arc::clone(&made));
    Ok(made)
}

/// Whether there is a channel that something is sent through.
fn has_wires(context: &Context) -> bool {
    context.config.alerts.channels.iter().any(|channel| !matches!(channel.way, Way::InApp))
}

/// The catalog, unless it could not be reached a moment ago.
fn catalog(context: &Context) -> Option<Catalog> {
    let has_failed = context.notifier.memory().catalog_failed.is_some_and(|at| at.elapsed() < CATALOG_PAUSE);
    if has_failed {
        return None;
    }
    match context.open_catalog() {
        Ok(catalog) => Some(catalog),
        Err(error) => {
            log::info!("alerts are kept under the state folder: {}", one_line(&error));
            context.notifier.catalog_failed();
            None
        }
    }
}
