//! The copies of one backup: looked at side by side, restored once, mended, and settled.

use anyhow::Result;
use serde_json::json;

use super::super::clock::now;
use super::super::copies::{mark_checked, side_by_side};
use super::super::copy_check::{CheckFailure, CopyCheck, OpenWith, Reader, Verdict};
use super::super::status;
use super::super::test_restore;
use super::checked_copy::{CheckedCopy, Found, store_of};
use super::{Session, repair};
use crate::backup::{Backup, CheckLevel, Copy, CopyState};
use crate::store::Store;

/// A copy that is looked at: its position, and the store that it is in, or why that can't be used.
type CopyInStore<'a> = (usize, Result<&'a dyn Store, String>);

/// Looks at the copies of a backup that are asked for, and writes what is found into them.
pub(super) fn run(
    session: &Session<'_>,
    backup: &mut Backup,
    reader: &Result<Reader, String>,
) -> Result<Vec<CheckedCopy>> {
    let before = backup.clone();
    let look = look(session, &before, reader);
    let targets: Vec<CopyInStore<'_>> = before
        .copies
        .iter()
        .enumerate()
        .filter(|(_, copy)| copy.state.is_published() && session.is_selected(&copy.store))
        .map(|(position, copy)| (position, store_of(copy, session.configured_stores)))
        .collect();
    let mut found: Vec<Found> = before.copies.iter().map(|_| None).collect();
    look_at_all(&look, targets.clone(), &mut found)?;
    let mut level = session.level;
    let is_damage = |found: &Found| matches!(found, Some(Err(fault)) if fault.is_damage());
    if session.repair && level == CheckLevel::Stat && found.iter().any(is_damage) {
        // What others are made from must have been read: a look from outside proves none of its bytes.
        level = CheckLevel::Checksum;
        let passed = |position: usize| matches!(found.get(position), Some(Some(Ok(()))));
        let again = targets.into_iter().filter(|(position, _)| passed(*position)).collect();
        look_at_all(&CopyCheck { level, ..look }, again, &mut found)?;
    }
    let restored =
        if session.level == CheckLevel::Restore { test_restored(session, backup, &found) } else { None };
    let is_read = level > CheckLevel::Stat;
    let level = match (&restored, level) {
        (Some(Ok(())), _) => CheckLevel::Restore,
        (_, level) => level.min(CheckLevel::Checksum).max(if level == CheckLevel::Content {
            level
        } else {
            CheckLevel::Stat
        }),
    };
    let mut findings = Vec::new();
    for (copy, looked) in backup.copies.iter_mut().zip(&found) {
        let is_selected = session.is_selected(&copy.store);
        let mut finding = record(copy, looked.as_ref(), level, is_selected);
        if let (Some(Err(fault)), Some(Verdict::Ok)) = (&restored, finding.verdict) {
            // The bytes of all whole copies are the same: what one of them restores to, all do.
            if fault.verdict != Verdict::Unknown {
                fault.mark(copy);
            }
            finding = CheckedCopy::of_fault(fault);
        }
        findings.push(finding);
    }
    if is_read {
        renew_tags(session, backup, &found);
    }
    remember(backup, &findings, level);
    if session.repair && !session.context.interrupt.is_raised() {
        repair::run(session, &look, backup, &found, &mut findings)?;
    }
    Ok(findings)
}

/// Looks at copies side by side, and keeps what is found of each in its place.
fn look_at_all(look: &CopyCheck<'_>, targets: Vec<CopyInStore<'_>>, found: &mut [Found]) -> Result<()> {
    let looked = side_by_side(targets, |(position, store)| (position, look_at(look, position, store)))?;
    for (position, result) in looked {
        if let Some(place) = found.get_mut(position) {
            *place = Some(result);
        }
    }
    Ok(())
}

/// Records the tags of copies whose every byte was found right: who wrote the same bytes there in another way
/// did no harm, and a later look from outside is not to take the new tag for damage.
fn renew_tags(session: &Session<'_>, backup: &mut Backup, found: &[Found]) {
    let passed = backup.copies.iter_mut().zip(found).filter(|(_, found)| matches!(found, Some(Ok(()))));
    for (copy, _) in passed {
        let Ok(store) = store_of(copy, session.configured_stores) else { continue };
        let known = store.stat(&copy.path).ok().flatten().and_then(|stat| stat.etag);
        if let Some(tag) = known.filter(|tag| copy.etag.as_ref() != Some(tag)) {
            log::info!("store `{}`: the ETag of a copy that is whole is {tag} now", copy.store);
            copy.etag = Some(tag);
        }
    }
}

/// Keeps in mind that a deeper check found what a shallower one can't see, until one as deep passes.
fn remember(backup: &mut Backup, findings: &[CheckedCopy], passed: CheckLevel) {
    let found = |verdict: Verdict| findings.iter().find(|finding| finding.verdict == Some(verdict));
    let deep = [(CheckLevel::Restore, Verdict::Restore), (CheckLevel::Content, Verdict::Content)];
    if let Some((level, finding)) = deep.into_iter().find_map(|(level, of)| Some((level, found(of)?))) {
        status::remember_fault(backup, level, &finding.message, now());
    } else if found(Verdict::Ok).is_some() {
        status::forget_fault(backup, passed);
    }
}

pub(super) fn look<'a>(
    session: &'a Session<'_>,
    backup: &'a Backup,
    reader: &'a Result<Reader, String>,
) -> CopyCheck<'a> {
    let threads = session.context.config.compression.threads;
    let opening = session.ring.map(|ring| OpenWith { ring, threads, reader });
    CopyCheck { backup, level: session.level, opening, interrupt: &session.context.interrupt }
}

fn look_at(
    look: &CopyCheck<'_>,
    position: usize,
    store: Result<&dyn Store, String>,
) -> Result<(), CheckFailure> {
    let store = store.map_err(CheckFailure::unknown)?;
    let copy =
        look.backup.copies.get(position).ok_or_else(|| CheckFailure::unknown("it is not on record"))?;
    look.at(store, copy)?;
    // That an object is there again, with its size, says nothing of what was found inside it.
    match (look.level, copy.state, copy.error.as_deref()) {
        (CheckLevel::Stat, CopyState::Corrupt, error) => {
            let found = error.unwrap_or("it was found damaged");
            let message = format!("{found} (when it was last read; a deeper level reads it again)");
            Err(CheckFailure::new(Verdict::Checksum, message))
        }
        _ => Ok(()),
    }
}

/// Restores one of the copies that were found whole. `None` where there is none.
fn test_restored(
    session: &Session<'_>,
    backup: &mut Backup,
    found: &[Found],
) -> Option<Result<(), CheckFailure>> {
    let whole = backup.copies.iter().zip(found).filter(|(_, found)| matches!(found, Some(Ok(()))));
    let whole = whole.filter_map(|(copy, _)| Some((copy, store_of(copy, session.configured_stores).ok()?)));
    let whole = whole.collect();
    let restored = test_restore::of_one(session.context, backup, whole, session.ring?, session.scratch)?;
    Some(restored.map(|restored| {
        session.restored(&backup.id, &restored);
        backup.metadata.insert("restored_at".to_owned(), json!(now()));
    }))
}

/// Writes what was found into the copy, and gives it in words.
fn record(
    copy: &mut Copy,
    looked: Option<&Result<(), CheckFailure>>,
    reached: CheckLevel,
    is_selected: bool,
) -> CheckedCopy {
    match looked {
        None if !is_selected || copy.state == CopyState::Expired => CheckedCopy::none(),
        None => {
            let message = copy.error.clone().unwrap_or_else(|| "it was never made".to_owned());
            CheckedCopy {
                verdict: Some(Verdict::Missing),
                message,
                was_never_made: true,
                ..CheckedCopy::none()
            }
        }
        Some(Ok(())) => {
            if copy.state == CopyState::Missing {
                copy.state = CopyState::Stored;
                copy.error = None;
            }
            mark_checked(copy, reached);
            CheckedCopy::ok()
        }
        Some(Err(fault)) => {
            fault.mark(copy);
            CheckedCopy::of_fault(fault)
        }
    }
}
