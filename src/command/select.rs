//! Which backup is meant: an id, a prefix of one, or `latest` among those that pass the filters.

use std::time::{Duration, Instant};

use anyhow::Result;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::configured_store::ConfiguredStore;
use super::inventory::{self, Orphan};
use super::trust::{self, Trust};
use crate::backup::{Backup, FULL, Status};
use crate::catalog::Catalog;
use crate::catalog::query::Filter;
use crate::cli::Filters;
use crate::config::value::Span;
use crate::exit::{Code, Failure, one_line, shown};
use crate::interrupt::Interrupt;
use crate::key::KeyRing;
use crate::name::BackupId;

/// How long a prune may take to let a backup go, and how often that is looked for.
const PRUNE_PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(100);
/// How many of those that share a prefix are named in an error.
const SHOWN: u32 = 5;
/// How many are looked at where the newest are out of the question.
const LOOKED_AT: u32 = 50;

/// The filter that the flags mean.
pub(super) fn filter(flags: &Filters, now: Timestamp) -> Result<Filter> {
    Ok(Filter {
        source: None,
        backup_type: flags.backup_type.clone(),
        database: flags.database.clone(),
        status: flags.status.as_deref().and_then(Status::parse),
        since: flags.since.as_deref().map(|text| since(text, now)).transpose()?,
        usable: false,
        dated: false,
        limit: None,
    })
}

/// An age counted back from now, a date (its start, UTC), or a time.
pub(crate) fn since(text: &str, now: Timestamp) -> Result<Timestamp> {
    if let Ok(Span(age)) = Span::parse(text)
        && let Ok(age) = SignedDuration::try_from(age)
        && let Ok(begin) = now.checked_sub(age)
    {
        return Ok(begin);
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    let date = text.parse::<jiff::civil::Date>().ok();
    let start = date.and_then(|date| Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp()));
    start.ok_or_else(|| {
        Failure::usage(format!("`--since {text}` is neither an age, nor a date, nor a time"))
            .hint("`7d`, `2026-11-01` and `2026-11-01T02:00:00Z` are")
            .into()
    })
}

/// The one backup that is meant; `latest` is that of the source of that name.
///
/// # Errors
/// Exit code 5 when there is none, 2 when a prefix fits several.
pub(super) fn one(
    catalog: &mut Catalog,
    source_name: &str,
    id: &str,
    flags: &Filters,
    now: Timestamp,
) -> Result<Backup> {
    if id == "latest" {
        let none = || {
            let hint =
                "`pgkeep list` shows what there is, of other sources too; any of them can be named by its id";
            no_latest(source_name, flags).hint(hint)
        };
        let wanted = of_latest(source_name, flags, now)?;
        let latest = catalog.list(&wanted)?.into_iter().next();
        for (id, on_record) in catalog.misdated(&wanted, latest.as_ref())? {
            let on_record = if on_record.is_empty() { "a time that is none" } else { &on_record };
            log::warn!(
                "`{id}` is not `latest`: by its record it began at {on_record}, which is not what its name says"
            );
        }
        return not_ahead(catalog, latest.ok_or_else(none)?, &wanted, now);
    }
    let found = if id.is_empty() { Vec::new() } else { catalog.find(id, SHOWN)? };
    named(found, id, "`pgkeep list` shows what there is")
}

/// The newest on record, or where that one's time is too far ahead to be believed, the newest of those that are not.
fn not_ahead(catalog: &mut Catalog, newest: Backup, wanted: &Filter, now: Timestamp) -> Result<Backup> {
    if !trust::is_far_ahead(newest.created_at, now) {
        if let Some(what) = trust::note(newest.created_at, now) {
            log::warn!("`{}`: {what}", newest.id);
        }
        return Ok(newest);
    }
    let found = catalog.list(&Filter { limit: Some(LOOKED_AT), ..wanted.clone() })?;
    let (ahead, others): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|backup| trust::is_far_ahead(backup.created_at, now));
    for backup in &ahead {
        let what = trust::note(backup.created_at, now).unwrap_or_default();
        log::warn!("`{}` is not taken for the latest: {what}", backup.id);
    }
    let none = || {
        let what = "every backup that fits `latest` has a time stamp ahead of this host's clock";
        let hint = "if it is the clock that is wrong, set it right; any of them can be named by its id";
        Failure::new(Code::NoSuchBackup, what).hint(hint)
    };
    let chosen = others.into_iter().next().ok_or_else(none)?;
    if let Some(what) = trust::note(chosen.created_at, now) {
        log::warn!("`{}`: {what}", chosen.id);
    }
    Ok(chosen)
}

/// A backup that there is a copy of.
///
/// # Errors
/// Exit code 5 where its copies are gone, 1 where there never was one; names what can't be done with it.
pub(super) fn ensure_usable(backup: &Backup, what_for: &str) -> Result<()> {
    if backup.status.is_usable() {
        return Ok(());
    }
    let what = format!("`{}` is {}: there is nothing to {what_for}", backup.id, backup.status.as_str());
    let code = if backup.status == Status::Expired { Code::NoSuchBackup } else { Code::Failed };
    Err(Failure::new(code, what).hint("`pgkeep list --status verified`").into())
}

/// Says that the copies of a backup are in use, as long as the catalog's session lasts or until it lets them go; gives
/// what is on record then: some may have gone since it was read. A catalog that can't be asked is no hindrance.
///
/// # Errors
/// Exit code 6 where a prune is removing them, and does not come to an end.
pub(super) fn claimed(catalog: &mut Catalog, backup: Backup, interrupt: &Interrupt) -> Result<Backup> {
    let id = backup.id.clone();
    let begun = Instant::now();
    let mut is_told = false;
    loop {
        match catalog.use_copies(&id) {
            Ok(true) => break,
            Ok(false) if begun.elapsed() > PRUNE_PATIENCE || interrupt.wait(LOOK) => {
                let what = format!("a prune is removing copies of `{id}`, and does not come to an end");
                return Err(Failure::new(Code::Locked, what).hint("try again when it has").into());
            }
            Ok(false) if is_told => {}
            Ok(false) => {
                log::info!("`{id}`: waiting for a prune that is removing copies of it");
                is_told = true;
            }
            Err(error) => {
                // What a repair has begun may be swept by a backup, what is read may go with a prune.
                log::info!("`{id}`: the catalog does not know that its copies are in use: {error:#}");
                break;
            }
        }
    }
    let fresh = catalog.find(id.as_str(), 1).unwrap_or_else(|error| {
        log::warn!("`{id}`: its record can't be read again: {}", one_line(&error));
        Vec::new()
    });
    Ok(fresh.into_iter().find(|fresh| fresh.id == id).unwrap_or(backup))
}

/// The one backup that is meant, among those whose manifests a store holds; its only copy is the one there. And
/// whether there was one that is in doubt: `latest` passes those over, who names one has it, with a warning.
///
/// # Errors
/// As [`one`], and when the store can't be read; exit code 2 as well when `latest` may be of several databases
/// and `is_alone` says that one must not take the place of another.
pub(super) fn one_in_store(
    configured: &ConfiguredStore,
    ring: &KeyRing,
    source_name: &str,
    id: &str,
    flags: &Filters,
    is_alone: bool,
    now: Timestamp,
) -> Result<(Backup, bool)> {
    let hint = format!("`pgkeep list --from {}` shows what there is", configured.name);
    let (filter, prefix) = match id {
        "latest" => (of_latest(source_name, flags, now)?, None),
        _ => (Filter { limit: Some(SHOWN), ..Filter::default() }, Some(id)),
    };
    let inventory = inventory::read(configured, Some(ring), &filter, prefix, &mut Trust::at(now))?;
    if prefix.is_none() && is_alone {
        ensure_one_database(&inventory.databases)?;
    }
    // What is older than the one that is chosen would not have been chosen.
    let chosen =
        inventory.backups.first().and_then(|backup| backup.id.begun_at()).filter(|_| prefix.is_none());
    let is_newer = |orphan: &Orphan| {
        let id = inventory::id_of(inventory::artifact_of(&orphan.path));
        id.and_then(|id| id.begun_at()) >= chosen
    };
    inventory.orphans.warn_of(is_newer);
    inventory.notes.iter().filter(|note| is_newer(note)).for_each(Orphan::warn);
    let mut doubtful = inventory.doubtful;
    match prefix {
        None => {
            let none = || no_latest(source_name, flags).hint(hint);
            let is_passed_over = doubtful.iter().any(|backup| backup.id.begun_at() >= chosen);
            Ok((inventory.backups.into_iter().next().ok_or_else(none)?, is_passed_over))
        }
        Some(id) => {
            let in_doubt: Vec<BackupId> = doubtful.iter().map(|backup| backup.id.clone()).collect();
            doubtful.extend(inventory.backups);
            let found = if id.is_empty() { Vec::new() } else { doubtful };
            let found = named(found, id, &hint)?;
            let is_in_doubt = in_doubt.contains(&found.id);
            Ok((found, is_in_doubt))
        }
    }
}

/// What `latest` is chosen from: another source in the same place may have a database of the same name.
fn of_latest(source_name: &str, flags: &Filters, now: Timestamp) -> Result<Filter> {
    let source = Some(source_name.to_owned());
    let usable = flags.status.is_none();
    let wanted = filter(flags, now)?;
    // Who wants the newest of another type says so.
    let backup_type = Some(wanted.backup_type.clone().unwrap_or_else(|| FULL.to_owned()));
    Ok(Filter { source, usable, dated: true, limit: Some(1), backup_type, ..wanted })
}

fn no_latest(source_name: &str, flags: &Filters) -> Failure {
    let of = flags.database.as_ref().map_or_else(String::new, |name| format!(" of `{name}`"));
    let what = format!("source `{source_name}` has no backup{of} that fits `latest`");
    Failure::new(Code::NoSuchBackup, what)
}

/// Refuses a `latest` of several databases where one of them would take the place of another.
///
/// # Errors
/// Exit code 2 when the filters leave more than one.
pub(super) fn ensure_one_database(names: &[String]) -> Result<()> {
    if names.len() < 2 {
        return Ok(());
    }
    let quoted: Vec<String> = names.iter().map(|name| format!("`{}`", shown(name))).collect();
    let what = format!("`latest` may be of several databases: {}", quoted.join(", "));
    Err(Failure::usage(what).hint("say which: --database NAME").into())
}

/// The databases that `latest` is chosen from, a few of them.
pub(super) fn databases_of_latest(
    catalog: &mut Catalog,
    source_name: &str,
    flags: &Filters,
    now: Timestamp,
) -> Result<Vec<String>> {
    catalog.databases(&of_latest(source_name, flags, now)?, SHOWN)
}

/// The one of those found that has this id, or whose id alone starts with it.
fn named(mut found: Vec<Backup>, id: &str, hint: &str) -> Result<Backup> {
    if let Some(exact) = found.iter().position(|backup| backup.id.as_str() == id) {
        return Ok(found.swap_remove(exact));
    }
    if found.len() > 1 {
        let ids: Vec<&str> = found.iter().map(|backup| backup.id.as_str()).collect();
        let what = format!("`{id}` fits several backups: {}", ids.join(", "));
        return Err(Failure::usage(what).hint("give more of the id").into());
    }
    let none = || Failure::new(Code::NoSuchBackup, format!("there is no backup `{id}`")).hint(hint);
    Ok(found.pop().ok_or_else(none)?)
}

/// The store of that name.
///
/// # Errors
/// Exit code 2 when the configuration has none of that name; says which it has.
pub(super) fn configured<'a>(
    configured_stores: &'a [ConfiguredStore],
    name: &str,
) -> Result<&'a ConfiguredStore> {
    let found = configured_stores.iter().find(|configured| configured.name == name);
    found.ok_or_else(|| {
        let names: Vec<&str> = configured_stores.iter().map(|configured| configured.name.as_str()).collect();
        let what = format!("the configuration has no store `{name}`");
        Failure::usage(what).hint(format!("it has {}", names.join(", "))).into()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation)]
    use super::*;

    #[test]
    fn since_takes_ages_dates_and_times() {
        let now: Timestamp = "2026-11-22T02:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("7d", "2026-11-15T02:00:00Z"),
            ("2026-11-01", "2026-11-01T00:00:00Z"),
            ("2026-11-01T05:00:00+01:00", "2026-11-01T04:00:00Z"),
        ] {
            assert_eq!(since(text, now).unwrap(), expected.parse().unwrap(), "{text}");
        }
        assert!(since("yesterday", now).is_err());
    }
}
