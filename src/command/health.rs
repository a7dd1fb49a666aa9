//! What the record says of the health of backups, for alerts: damaged copies, and how the newest backup stands.

use crate::backup::{Backup, CheckLevel, CopyState, Status};
use crate::catalog::kept::Kept;
use crate::command::standing;
use crate::trouble::{Observation, Rule, Subject};

/// Under which name the record of a backup keeps when a test restore of it passed.
const RESTORED_AT: &str = "restored_at";

/// Whether copies of a database in a store are on record as damaged or missing. `rows` are the newest first.
pub(super) fn damaged(rows: &[Kept], database: &str, store: &str) -> Observation {
    let is_bad = |row: &&Kept| {
        let mut of_store = row.copies.iter().filter(|copy| copy.store == store);
        let is_damaged = of_store.any(|copy| matches!(copy.state, CopyState::Missing | CopyState::Corrupt));
        row.database == database && row.status.is_usable() && is_damaged
    };
    let bad: Vec<&Kept> = rows.iter().filter(is_bad).collect();
    let subject = Subject::of_database(Rule::VerificationFailed, database).in_store(store);
    counted(subject, &bad, |count| format!("{count} of `{database}` in `{store}` found damaged or missing"))
}

/// How the newest usable backup of a database stands.
pub(super) fn newest(backup: &Backup) -> Vec<Observation> {
    [Some(degraded(backup)), test_restore(backup)].into_iter().flatten().collect()
}

/// Whether a backup is what was promised.
pub(super) fn degraded(backup: &Backup) -> Observation {
    let (id, database) = (backup.id.as_str(), backup.database.as_str());
    let subject = Subject::of_database(Rule::BackupDegraded, database);
    if backup.status != Status::Degraded {
        return subject.is_well();
    }
    let why = backup.error.as_deref().unwrap_or("not all of its copies are whole");
    subject.is_in_trouble(format!("the backup `{id}` is degraded: {why}")).of_backup(id)
}

/// Whether a test restore of it failed, and none has passed since. Where none was made nothing is known.
pub(super) fn test_restore(backup: &Backup) -> Option<Observation> {
    let (id, database) = (backup.id.as_str(), backup.database.as_str());
    let subject = Subject::of_database(Rule::TestRestoreFailed, database);
    let is_of_restore = standing::unproven_at(backup) == Some(CheckLevel::Restore);
    match standing::unproven(backup).filter(|_| is_of_restore) {
        Some(why) => {
            Some(subject.is_in_trouble(format!("the test restore of `{id}` failed: {why}")).of_backup(id))
        }
        None => backup.metadata.contains_key(RESTORED_AT).then(|| subject.is_well()),
    }
}

/// The same trouble of so many backups; none is none. The newest is the first.
pub(super) fn counted(subject: Subject, rows: &[&Kept], what: impl Fn(&str) -> String) -> Observation {
    let Some(newest) = rows.first() else { return subject.is_well() };
    let told = match rows.len() {
        1 => format!("{}: that of `{}`", what("1 copy"), newest.id),
        count => format!("{}: the newest is that of `{}`", what(&format!("{count} copies")), newest.id),
    };
    subject.is_in_trouble(told).of_backup(&newest.id)
}
