//! How a backup stands, by what is on record of its copies.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::backup::{Backup, CheckLevel, Copy, CopyState, Status};
use crate::manifest::LACKS;

/// Under which name the record keeps what only a deeper check sees.
const UNPROVEN: &str = "unproven";

/// Under which name the record of a run keeps the signal that ended it.
pub(super) const SIGNAL: &str = "signal";
/// Under which name the record of a try keeps until when there is to be another one.
pub(super) const NEXT_TRY_AT: &str = "next_try_at";
/// Another try may be late by so much.
const LATE: SignedDuration = SignedDuration::from_mins(10);
/// A signal from the keyboard: whoever sent it knows.
pub(super) const FROM_KEYBOARD: i32 = 2;

/// Whether nobody needs to be told of a run that failed: somebody stopped it by hand, or it is to be tried again.
pub(super) fn is_nobodys_problem(backup: &Backup, now: Timestamp) -> bool {
    let is_stopped = backup
        .metadata_u64(SIGNAL)
        .is_some_and(|signal| i64::try_from(signal) == Ok(i64::from(FROM_KEYBOARD)));
    let next: Option<Timestamp> = backup.metadata_str(NEXT_TRY_AT).and_then(|text| text.parse().ok());
    is_stopped || next.is_some_and(|next| now.duration_since(next) < LATE)
}

/// Says how the backup stands.
pub(super) fn recompute(backup: &mut Backup) {
    let kept = || backup.copies.iter().filter(|copy| copy.state != CopyState::Expired);
    let is_sound = |copy: &Copy| copy.state.is_published() && copy.error.is_none();
    let is_expired = kept().count() < backup.copies.len() && !kept().any(|copy| copy.state.is_published());
    backup.status = if is_expired {
        Status::Expired
    } else if kept().count() == 0 || !kept().all(is_sound) || is_short(backup) {
        Status::Degraded
    } else if kept().all(|copy| copy.state == CopyState::Verified) {
        Status::Verified
    } else {
        Status::Completed
    };
    let of_copy = |copy: &Copy| Some(format!("store `{}`: {}", copy.store, copy.error.as_deref()?));
    let mut faults: Vec<String> = backup.copies.iter().filter_map(of_copy).collect();
    if let Some(error) = unproven(backup).filter(|_| faults.is_empty()) {
        faults.push(error.to_owned());
    }
    faults.extend(lacks(backup).map(str::to_owned));
    backup.error = (!faults.is_empty()).then(|| faults.join("; "));
    backup.summarize_copies();
}

/// Whether it is not what was promised although its copies are whole.
pub(super) fn is_short(backup: &Backup) -> bool {
    unproven(backup).is_some() || lacks(backup).is_some()
}

/// What the backup lacks, however whole its copies are.
pub(super) fn lacks(backup: &Backup) -> Option<&str> {
    backup.metadata.get(LACKS)?.as_str()
}

/// Puts on record what the backup lacks.
pub(super) fn remember_lack(backup: &mut Backup, what: &str) {
    backup.metadata.insert(LACKS.to_owned(), json!(what));
}

/// What a deeper check than the last one found wrong with the backup, if there is such.
pub(super) fn unproven(backup: &Backup) -> Option<&str> {
    backup.metadata.get(UNPROVEN)?.get("error")?.as_str()
}

/// How deep the check was that found it.
pub(super) fn unproven_at(backup: &Backup) -> Option<CheckLevel> {
    CheckLevel::parse(backup.metadata.get(UNPROVEN)?.get("level")?.as_str()?)
}

/// Keeps in mind what a check of that level found, which a shallower one can't see.
pub(super) fn remember_fault(backup: &mut Backup, level: CheckLevel, error: &str, at: Timestamp) {
    let fault = json!({ "level": level.as_str(), "error": error, "at": at });
    backup.metadata.insert(UNPROVEN.to_owned(), fault);
}

/// Forgets it, now that a check of that level has passed, if that is as deep.
pub(super) fn forget_fault(backup: &mut Backup, passed: CheckLevel) {
    if unproven_at(backup).is_some_and(|level| passed >= level) {
        backup.metadata.remove(UNPROVEN);
    }
}
