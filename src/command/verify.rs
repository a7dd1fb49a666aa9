//! `pgkeep verify`: every copy of a backup read to its end, its SHA-256 compared with the record, its
//! manifest proven, and one copy opened to the end of the dump inside.

use anyhow::Result;

use super::context::{Context, Shelf, now};
use super::copies::{Fault, Opening, manifest_agrees, mark_verified, read_back, side_by_side};
use super::select;
use crate::backup::{Backup, Copy, CopyState, Status};
use crate::cli;
use crate::exit::{Code, Failure};
use crate::key::KeyRing;
use crate::store::Store;

const LEVEL: &str = "checksum";

pub(super) fn run(context: &Context, flags: &cli::Verify) -> Result<Code> {
    let ring = context.existing_keys()?;
    let shelves = context.shelves()?;
    let mut catalog = context.catalog()?;
    let mut backup =
        select::one(&mut catalog, &context.config.source.name, &flags.id, &flags.filters, now())?;
    if !backup.status.is_usable() {
        let what = format!("`{}` is {}: there is nothing to verify", backup.id, backup.status.as_str());
        let code = if backup.status == Status::Expired { Code::NoSuchBackup } else { Code::Failed };
        return Err(Failure::new(code, what).hint("`pgkeep list --status verified`").into());
    }
    let checked = check(context, &backup, &shelves, &ring)?;
    let mut code = Code::Done;
    for (copy, fault) in backup.copies.iter_mut().zip(checked) {
        let (verdict, one) = settle(copy, fault);
        code = code.worse(one);
        let word = format!("{}: {verdict}", copy.store);
        if one == Code::Done {
            context.out.line(&word)?;
        } else {
            log::error!("`{}`: store {word}", backup.id);
        }
    }
    if backup.copies.is_empty() {
        code = code.worse(Code::Verification);
        log::error!("`{}`: there is no copy on record", backup.id);
    }
    settle_backup(&mut backup, code);
    if context.interrupt.is_raised() {
        // What could not be looked at for want of time is no finding.
        return Ok(Code::Failed);
    }
    if let Err(error) = catalog.save(&backup) {
        log::warn!("the catalog does not take the verdict: {error:#}");
        code = code.worse(Code::Degraded);
    }
    context.out.json(&backup)?;
    Ok(code)
}

/// What is found of each copy, side by side; the first is opened as well, or, where that could not be
/// looked at, the next one that can.
fn check(
    context: &Context,
    backup: &Backup,
    shelves: &[Shelf],
    ring: &KeyRing,
) -> Result<Vec<Option<Fault>>> {
    let opening = Opening { ring, threads: context.config.compression.threads };
    let look = |copy: &Copy, opening: Option<Opening<'_>>| {
        let looked = shelf_of(copy, shelves).and_then(|store| {
            read_back(store, &copy.path, backup, opening, &context.interrupt)?;
            manifest_agrees(store, &copy.path, backup, ring)
        });
        looked.err()
    };
    let opened = backup.copies.iter().position(|copy| copy.state.is_published());
    let items: Vec<(usize, &Copy)> = backup.copies.iter().enumerate().collect();
    let mut found = side_by_side(items, |(position, copy)| {
        let is_there = copy.state.is_published();
        is_there.then(|| look(copy, (Some(position) == opened).then_some(opening))).flatten()
    })?;
    let is_out_of_reach = |fault: &Option<Fault>| fault.as_ref().is_some_and(|fault| fault.state.is_none());
    if opened.and_then(|opened| found.get(opened)).is_some_and(is_out_of_reach) {
        let next = found.iter_mut().zip(&backup.copies);
        let mut next = next.filter(|(fault, copy)| fault.is_none() && copy.state.is_published());
        if let Some((fault, copy)) = next.next() {
            *fault = look(copy, Some(opening));
        }
    }
    Ok(found)
}

/// The store that a copy is in.
fn shelf_of<'a>(copy: &Copy, shelves: &'a [Shelf]) -> Result<&'a dyn Store, Fault> {
    let unreachable = |message: String| Fault { state: None, message };
    let shelf = shelves
        .iter()
        .find(|shelf| shelf.name == copy.store)
        .ok_or_else(|| unreachable("the configuration has no such store".to_owned()))?;
    shelf.store.as_deref().map_err(|error| unreachable(error.clone()))
}

/// Writes a verdict into the copy; gives it in words, with the exit code it means.
fn settle(copy: &mut Copy, fault: Option<Fault>) -> (String, Code) {
    if !copy.state.is_published() {
        let code = if copy.state == CopyState::Expired { Code::Done } else { Code::Degraded };
        let why = copy.error.clone().map_or_else(String::new, |error| format!(": {error}"));
        return (format!("no copy ({}){why}", copy.state.as_str()), code);
    }
    let Some(fault) = fault else {
        mark_verified(copy, LEVEL);
        return ("ok".to_owned(), Code::Done);
    };
    let code = if fault.state.is_some() { Code::Verification } else { Code::Degraded };
    fault.mark(copy);
    let word = if code == Code::Verification { copy.state.as_str() } else { "not verified" };
    let why = copy.error.as_deref().unwrap_or_default();
    (format!("{word}: {why}"), code)
}

fn settle_backup(backup: &mut Backup, code: Code) {
    backup.status = if code == Code::Done { Status::Verified } else { Status::Degraded };
    let faults: Vec<String> = backup
        .copies
        .iter()
        .filter_map(|copy| Some(format!("store `{}`: {}", copy.store, copy.error.as_deref()?)))
        .collect();
    backup.error = (!faults.is_empty()).then(|| faults.join("; "));
    backup.summarize_copies();
}
