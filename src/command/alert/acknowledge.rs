//! `pgkeep alert ack` and `pgkeep alert resolve`: what people say of an alert.

use anyhow::Result;

use crate::alert::clean::clean_line;
use crate::alert_record::{Alert, AlertStatus};
use crate::catalog::Catalog;
use crate::cli;
use crate::command::context::Context;
use crate::command::notify;
use crate::exit::{Code, Failure};

/// A prefix that fits more is too short to name them all.
const SHOWN: u32 = 10;

pub(super) fn acknowledge(context: &Context, flags: &cli::AlertAck) -> Result<Code> {
    let mut catalog = caught_up(context)?;
    let alert = one(&mut catalog, &flags.id)?;
    let note = flags.note.as_deref().map(clean_line);
    if !catalog.acknowledge(&alert.source, &alert.id, note.as_deref())? {
        return Err(over(&alert));
    }
    tell(context, &mut catalog, &alert.id)
}

pub(super) fn resolve(context: &Context, flags: &cli::AlertResolve) -> Result<Code> {
    let mut catalog = caught_up(context)?;
    let alert = one(&mut catalog, &flags.id)?;
    if alert.status == AlertStatus::Resolved {
        return Err(over(&alert));
    }
    notify::raise_of(context, &alert.source, &[alert.subject().is_well()]);
    let is_over = one(&mut catalog, &alert.id)?.status == AlertStatus::Resolved;
    if !is_over {
        let why =
            format!("the catalog did not take it that `{}` is over: the next command tells it", alert.id);
        return Err(Failure::new(Code::Degraded, why).into());
    }
    tell(context, &mut catalog, &alert.id)
}

/// The catalog, with what this host has to tell it.
fn caught_up(context: &Context) -> Result<Catalog> {
    let catalog = context.catalog()?;
    notify::catch_up(context);
    Ok(catalog)
}

fn over(alert: &Alert) -> anyhow::Error {
    let when = alert
        .resolved_at
        .map_or_else(String::new, |at| format!(" since {}", at.strftime("%Y-%m-%d %H:%M UTC")));
    Failure::failed(format!("alert `{}` is over{when}", alert.id))
        .hint("`pgkeep alert` shows what is open")
        .into()
}

fn tell(context: &Context, catalog: &mut Catalog, id: &str) -> Result<Code> {
    let alert = one(catalog, id)?;
    context.out.line(&format!("{}: {}", alert.id, alert.status.as_str()))?;
    context.out.json(&alert)?;
    Ok(Code::Done)
}

/// The alert whose id this is, or alone starts with it.
fn one(catalog: &mut Catalog, id: &str) -> Result<Alert> {
    let mut found = if id.is_empty() { Vec::new() } else { catalog.find_alerts(id, SHOWN)? };
    if let Some(exact) = found.iter().position(|alert| alert.id == id) {
        return Ok(found.swap_remove(exact));
    }
    if found.len() > 1 {
        let ids: Vec<&str> = found.iter().map(|alert| alert.id.as_str()).collect();
        let what = format!("`{id}` fits several alerts: {}", ids.join(", "));
        return Err(Failure::usage(what).hint("give more of the id").into());
    }
    let none = || {
        let hint = "`pgkeep alert list --all` shows what there is";
        Failure::new(Code::NoSuchBackup, format!("there is no alert `{id}`")).hint(hint)
    };
    Ok(found.pop().ok_or_else(none)?)
}
