//! What the record says of the health of backups, for alerts: damaged copies, and how the newest backup stands.

use crate::backup::{Backup, CONFIG, CheckLevel, CopyState, Status};
use crate::catalog::kept::Kept;
use crate::command::status;
use crate::finding::{AlertKey, Finding, Rule, Severity};

/// Under which name the record of a backup keeps when a test restore of it passed.
const RESTORED_AT: &str = "restored_at";

/// How grave it is that a backup of that type came to nothing: no row is lost with a config backup.
pub(super) fn failure_of(backup_type: &str) -> Severity {
    if backup_type == CONFIG { Severity::Warning } else { Rule::BackupFailed.severity() }
}

/// Whether copies of a database in a store are on record as damaged. `rows` are the newest first.
pub(super) fn damaged(rows: &[Kept], database: &str, store: &str) -> Finding {
    let subject = AlertKey::of_database(Rule::VerificationFailed, database).in_store(store);
    let bad = of_state(rows, database, store, CopyState::Corrupt);
    counted(subject, &bad, |count| format!("{count} of `{database}` in `{store}` found damaged"))
}

/// The same of those that are on record as missing.
pub(super) fn missing(rows: &[Kept], database: &str, store: &str) -> Finding {
    lacking(database, store, &of_state(rows, database, store, CopyState::Missing))
}

/// That a store does not have what it should.
pub(super) fn lacking(database: &str, store: &str, rows: &[&Kept]) -> Finding {
    let subject = AlertKey::of_database(Rule::CopyMissing, database).in_store(store);
    counted(subject, rows, |count| format!("`{store}` lacks {count} of `{database}` that should be there"))
}

/// The usable backups of a database whose copy in a store stands so on record.
fn of_state<'a>(rows: &'a [Kept], database: &str, store: &str, state: CopyState) -> Vec<&'a Kept> {
    let is_so = |row: &&Kept| {
        let mut of_store = row.copies.iter().filter(|copy| copy.store == store);
        row.database == database && row.status.is_usable() && of_store.any(|copy| copy.state == state)
    };
    rows.iter().filter(is_so).collect()
}

/// How the newest usable backup of a database stands.
pub(super) fn newest(backup: &Backup) -> Vec<Finding> {
    [Some(degraded(backup)), test_restore(backup)].into_iter().flatten().collect()
}

/// Whether a backup is what was promised.
pub(super) fn degraded(backup: &Backup) -> Finding {
    let (id, database) = (backup.id.as_str(), backup.database.as_str());
    let subject = AlertKey::of_database(Rule::BackupDegraded, database);
    // What it lacks has an alert of its own.
    let is_all = status::lacks(backup).is_some_and(|lacks| backup.error.as_deref() == Some(lacks));
    if backup.status != Status::Degraded || is_all {
        return subject.is_well();
    }
    let why = backup.error.as_deref().unwrap_or("not all of its copies are whole");
    subject.has_problem(format!("the backup `{id}` is degraded: {why}")).of_backup(id)
}

/// Whether a test restore of it failed, and none has passed since. Where none was made nothing is known.
pub(super) fn test_restore(backup: &Backup) -> Option<Finding> {
    let (id, database) = (backup.id.as_str(), backup.database.as_str());
    let subject = AlertKey::of_database(Rule::TestRestoreFailed, database);
    let is_of_restore = status::unproven_at(backup) == Some(CheckLevel::Restore);
    match status::unproven(backup).filter(|_| is_of_restore) {
        Some(why) => {
            Some(subject.has_problem(format!("the test restore of `{id}` failed: {why}")).of_backup(id))
        }
        None => backup.metadata.contains_key(RESTORED_AT).then(|| subject.is_well()),
    }
}

/// The same problem of so many backups; none is none. The newest is the first.
pub(super) fn counted(subject: AlertKey, rows: &[&Kept], what: impl Fn(&str) -> String) -> Finding {
    let Some(newest) = rows.first() else { return subject.is_well() };
    let told = match rows.len() {
        1 => format!("{}: that of `{}`", what("1 copy"), newest.id),
        count => format!("{}: the newest is that of `{}`", what(&format!("{count} copies")), newest.id),
    };
    subject.has_problem(told).of_backup(&newest.id)
}
