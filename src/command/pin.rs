//! `pgkeep pin` and `pgkeep unpin`: a backup that stays, whatever the rules of retention say.

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};

use super::clock::now;
use super::context::Context;
use super::select;
use crate::backup::Status;
use crate::cli;
use crate::config::value::Span;
use crate::exit::{Code, Failure};
use crate::retention::reason::minute;

pub(super) fn pin(context: &Context, flags: &cli::Pin) -> Result<Code> {
    let now = now();
    let until = flags.until.as_deref().map(|text| until(context, text, now)).transpose()?;
    let mut catalog = context.catalog()?;
    let backup = select::one(&mut catalog, &context.config.source.name, &flags.id, &flags.filters, now)?;
    // A prune that is removing it is waited for: what is said of the pin is true then.
    let backup = select::claimed(&mut catalog, backup, &context.interrupt)?;
    if matches!(backup.status, Status::Expired | Status::Failed) {
        let what = format!("`{}` is {}: there is nothing to keep", backup.id, backup.status.as_str());
        let code = if backup.status == Status::Expired { Code::NoSuchBackup } else { Code::Failed };
        return Err(Failure::new(code, what).hint("`pgkeep list --status verified`").into());
    }
    catalog.pin(&backup.id, until)?;
    let kept = until.map_or_else(|| "for good".to_owned(), |until| format!("until {}", minute(until)));
    context.out.line(&format!("{}: pinned {kept}", backup.id))?;
    tell(context, &mut catalog, backup.id.as_str())
}

pub(super) fn unpin(context: &Context, flags: &cli::Unpin) -> Result<Code> {
    let mut catalog = context.catalog()?;
    let backup = select::one(&mut catalog, &context.config.source.name, &flags.id, &flags.filters, now())?;
    catalog.unpin(&backup.id)?;
    let word = if backup.pinned_at.is_some() { "not pinned any more" } else { "was not pinned" };
    context.out.line(&format!("{}: {word}", backup.id))?;
    tell(context, &mut catalog, backup.id.as_str())
}

fn tell(context: &Context, catalog: &mut crate::catalog::Catalog, id: &str) -> Result<Code> {
    if let Some(backup) = catalog.find(id, 1)?.pop() {
        context.out.json(&backup)?;
    }
    Ok(Code::Done)
}

/// An age from now on, a date (its start, in the time zone of the configuration), or a time; in the future.
fn until(context: &Context, text: &str, now: Timestamp) -> Result<Timestamp> {
    let ahead = Span::parse(text).ok().and_then(|span| SignedDuration::try_from(span.0).ok());
    let ahead = ahead.and_then(|ahead| now.checked_add(ahead).ok());
    let date = || {
        let date: jiff::civil::Date = text.parse().ok()?;
        Some(date.to_zoned(context.config.retention.time_zone.clone()).ok()?.timestamp())
    };
    let at = ahead.or_else(|| text.parse().ok()).or_else(date).ok_or_else(|| {
        Failure::usage(format!("`--until {text}` is neither an age, nor a date, nor a time"))
            .hint("`90d`, `2027-01-01` and `2027-01-01T02:00:00Z` are")
    })?;
    if at <= now {
        return Err(Failure::usage(format!("`--until {text}` is over already")).into());
    }
    Ok(at)
}
