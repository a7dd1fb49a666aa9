//! Where alerts are put on record: in the catalog, in a file until it is back, or nowhere.

use std::collections::BTreeMap;

use anyhow::Result;
use jiff::Timestamp;

use super::outbox::Outbox;
use crate::alert::id;
use crate::alert::route::Routes;
use crate::alert::spool::SpoolFile;
use crate::alert::transitions::{Change, apply, merged};
use crate::alert_record::{Alert, AlertStatus, Delivery, DeliveryStatus, Event, Message};
use crate::catalog::Catalog;
use crate::catalog::alerts::Changes;
use crate::command::clock::now;
use crate::command::context::Context;
use crate::exit::one_line;
use crate::finding::Finding;
use crate::testpoint::{self, Step};

/// What was seen, and all that it takes to make alerts of it.
#[derive(Clone)]
struct Seen {
    source: String,
    findings: Vec<Finding>,
    /// An id for each alert that may come of it.
    ids: Vec<String>,
    routes: Routes,
    at: Timestamp,
}

/// Whether the file has something that the catalog is to learn of.
pub(super) fn is_behind(context: &Context) -> bool {
    context.spool.read().is_ok_and(|file| file.is_behind(&context.config.source.name))
}

/// Puts on record what was seen; gives what is to be sent then, wherever that is kept.
pub(super) fn record(
    context: &Context,
    catalog: Option<Catalog>,
    source: &str,
    findings: &[Finding],
) -> Outbox {
    let seen = match seen(context, source, findings) {
        Ok(seen) => seen,
        Err(error) => {
            log::error!("no alert can be made: {}", one_line(&error));
            return Outbox::Nowhere(Vec::new());
        }
    };
    let recorded = match catalog.map(|catalog| in_catalog(context, catalog, seen.clone())) {
        Some(Ok(catalog)) => Outbox::Catalog(Box::new(catalog)),
        Some(Err(error)) => {
            log::warn!("the catalog does not take the alerts: {}", one_line(&error));
            context.notifier.catalog_failed();
            in_file(context, &seen)
        }
        None => in_file(context, &seen),
    };
    testpoint::reached(Step::AlertsRecorded);
    recorded
}

fn seen(context: &Context, source: &str, findings: &[Finding]) -> Result<Seen> {
    let findings: Vec<Finding> = findings.iter().cloned().map(super::cleaned).collect();
    let problems = findings.iter().filter(|seen| seen.problem.is_some()).count();
    let alerts = &context.config.alerts;
    Ok(Seen {
        source: source.to_owned(),
        findings,
        ids: (0..problems).map(|_| id::alert_id()).collect::<Result<_>>()?,
        routes: Routes::new(&alerts.channels, &context.config.retention.time_zone),
        at: now(),
    })
}

fn in_catalog(context: &Context, mut catalog: Catalog, seen: Seen) -> Result<Catalog> {
    let file = context.spool.read().unwrap_or_else(|error| {
        log::warn!("alerts that wait for the catalog wait on: {}", one_line(&error));
        SpoolFile::default()
    });
    let (taken, source) = (file.clone(), seen.source.clone());
    let ids = file.changed.clone();
    let open = catalog.change_alerts(&source, ids, move |open, over| changes(open, over, &file, &seen))?;
    // Kept for the time when the catalog can't be asked what is known already.
    if let Err(error) = context.spool.change(move |file| {
        file.taken(&taken, open, &source);
        Ok(())
    }) {
        log::info!("what is open is not kept for a time without the catalog: {}", one_line(&error));
    }
    Ok(catalog)
}

/// What is to be written: what the file has first, then what was seen.
fn changes(mut open: Vec<Alert>, over: &[String], file: &SpoolFile, seen: &Seen) -> Result<Changes> {
    let mut changes = Changes::default();
    let mut renamed: BTreeMap<String, String> = BTreeMap::new();
    for kept in file.changed().into_iter().filter(|alert| alert.source == seen.source) {
        let is_over = over.contains(&kept.id);
        if is_over && kept.status == AlertStatus::Resolved {
            continue;
        }
        let mut alert = merged(&open, &kept);
        if is_over && alert.id == kept.id {
            // Somebody said that it is over, and it was seen again here: that is another one, and news.
            alert.id = id::alert_id()?;
            for delivery in seen.routes.deliveries(Event::Raised, &alert, seen.at)? {
                deliver_in_app(&mut changes, seen, delivery);
            }
        }
        let is_news = alert.status == AlertStatus::Resolved || !open.iter().any(|known| known.id == alert.id);
        if is_news && !seen.routes.has_in_app() {
            let is_over = alert.status == AlertStatus::Resolved;
            let event = if is_over { Event::Resolved } else { Event::Raised };
            changes.told.push((event, alert.clone()));
        }
        renamed.insert(kept.id, alert.id.clone());
        open.retain(|known| known.id != alert.id);
        if alert.status != AlertStatus::Resolved {
            open.push(alert.clone());
        }
        changes.alerts.push(alert);
    }
    for delivery in file.deliveries.iter().filter(|delivery| delivery.source == seen.source) {
        let mut delivery = delivery.clone();
        if let Message::Notice { alert, .. } = &mut delivery.message
            && let Some(id) = renamed.get(&alert.id)
        {
            alert.id.clone_from(id);
        }
        deliver_in_app(&mut changes, seen, delivery);
    }
    for Change { alert, event } in apply(&open, &seen.source, &seen.findings, &seen.ids, seen.at) {
        if let Some(event) = event {
            for delivery in seen.routes.deliveries(event, &alert, seen.at)? {
                deliver_in_app(&mut changes, seen, delivery);
            }
            if !seen.routes.has_in_app() {
                changes.told.push((event, alert.clone()));
            }
        }
        changes.alerts.push(alert);
    }
    Ok(changes)
}

/// A message to those who listen in the catalog's database is delivered by what writes it.
fn deliver_in_app(changes: &mut Changes, seen: &Seen, mut delivery: Delivery) {
    if delivery.status == DeliveryStatus::Waiting
        && seen.routes.is_in_app(&delivery.channel)
        && let Message::Notice { event, alert } = &delivery.message
    {
        changes.told.push((*event, alert.as_ref().clone()));
        delivery.status = DeliveryStatus::Sent;
        delivery.attempts = delivery.attempts.saturating_add(1);
        delivery.tried_at = Some(seen.at);
        delivery.sent_at = Some(seen.at);
    }
    changes.deliveries.push(delivery);
}

fn in_file(context: &Context, seen: &Seen) -> Outbox {
    let kept = {
        let seen = seen.clone();
        context.spool.change(move |file| {
            let (alerts, deliveries) = news(&file.open(&seen.source), &seen)?;
            for alert in alerts {
                file.put(alert);
            }
            file.deliveries.extend(deliveries);
            Ok(())
        })
    };
    if let Err(error) = kept {
        log::error!("alerts can be kept nowhere, and are sent once: {}", one_line(&error));
        return Outbox::Nowhere(news(&[], seen).map(|(_, deliveries)| deliveries).unwrap_or_default());
    }
    Outbox::of_file(context)
}

fn news(open: &[Alert], seen: &Seen) -> Result<(Vec<Alert>, Vec<Delivery>)> {
    let mut deliveries = Vec::new();
    let mut alerts = Vec::new();
    for Change { alert, event } in apply(open, &seen.source, &seen.findings, &seen.ids, seen.at) {
        if let Some(event) = event {
            deliveries.extend(seen.routes.deliveries(event, &alert, seen.at)?);
        }
        alerts.push(alert);
    }
    Ok((alerts, deliveries))
}
