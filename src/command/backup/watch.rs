//! What is seen of each backup when it has ended, for alerts.

use anyhow::Error;

use super::attempt::{Done, Tried};
use crate::backup::{Backup, CheckLevel, Copy, CopyState, Status};
use crate::command::alarm;
use crate::command::context::Context;
use crate::command::standing;
use crate::exit::{Code, code_of, one_line};
use crate::trouble::{Observation, Rule, Subject};

/// A signal from the keyboard: whoever sent it knows.
const FROM_KEYBOARD: i32 = 2;

/// Follows the backups of one call.
pub(super) struct Watch<'a> {
    context: &'a Context,
    /// The databases whose backups are not what was promised; `None` stands for all of them.
    pub(super) failed: Vec<Option<String>>,
}

impl<'a> Watch<'a> {
    pub(super) fn new(context: &'a Context) -> Self {
        Self { context, failed: Vec::new() }
    }

    /// Nothing could be begun: of these databases, or of none that is known.
    pub(super) fn not_begun(&mut self, databases: &[String], error: &Error) {
        self.failed.push(None);
        let what = format!("no backup could be begun: {}", one_line(error));
        let seen = |subject: Subject| subject.is_in_trouble(what.clone());
        let of_database = |name: &String| seen(Subject::of_database(Rule::BackupFailed, name));
        let all: Vec<Observation> = match databases {
            [] => vec![seen(Subject::new(Rule::BackupFailed))],
            names => names.iter().map(of_database).collect(),
        };
        self.raise(&all);
    }

    /// A backup has ended well enough to be restored from.
    pub(super) fn done(&mut self, database: &str, done: &Done, is_recorded: bool) {
        if done.code != Code::Done {
            self.failed.push(Some(database.to_owned()));
        }
        let backup = &done.backup;
        let mut seen = vec![
            Subject::new(Rule::BackupFailed).is_well(),
            Subject::of_database(Rule::BackupFailed, database).is_well(),
            degraded(backup),
            catalog(is_recorded),
        ];
        if backup.status != Status::Degraded {
            seen.push(Subject::of_database(Rule::NoGoodBackup, database).is_well());
        }
        for copy in &backup.copies {
            seen.extend(of_copy(backup, copy));
        }
        if self.context.config.after_backup.level() == Some(CheckLevel::Restore) {
            let subject = Subject::of_database(Rule::TestRestoreFailed, database);
            seen.push(match standing::unproven(backup) {
                None => subject.is_well(),
                Some(why) => {
                    of(backup, subject.is_in_trouble(format!("`{}` does not restore: {why}", backup.id)))
                }
            });
        }
        self.raise(&seen);
    }

    /// A backup has come to nothing, after all its tries.
    pub(super) fn failed(&mut self, database: &str, error: &Error, tried: Option<&Tried>) {
        self.failed.push(Some(database.to_owned()));
        // The run that holds the lock speaks for itself.
        if code_of(error) == Code::Locked || self.context.interrupt.signal() == Some(FROM_KEYBOARD) {
            return;
        }
        let failed = Subject::of_database(Rule::BackupFailed, database).is_in_trouble(one_line(error));
        let mut seen = Vec::new();
        match tried {
            Some(tried) => {
                seen.push(of(&tried.backup, failed));
                seen.push(catalog(tried.is_recorded));
            }
            None => seen.push(failed),
        }
        self.raise(&seen);
    }

    fn raise(&self, seen: &[Observation]) {
        alarm::raise(self.context, seen);
    }
}

fn of(backup: &Backup, seen: Observation) -> Observation {
    seen.of_backup(backup.id.as_str())
}

fn degraded(backup: &Backup) -> Observation {
    let subject = Subject::of_database(Rule::BackupDegraded, &backup.database);
    if backup.status != Status::Degraded {
        return subject.is_well();
    }
    let why = backup.error.as_deref().unwrap_or("not all of it is proven");
    of(backup, subject.is_in_trouble(format!("`{}` is degraded: {why}", backup.id)))
}

fn catalog(is_recorded: bool) -> Observation {
    let subject = Subject::new(Rule::CatalogUnreachable);
    if is_recorded {
        return subject.is_well();
    }
    subject
        .is_in_trouble("the catalog can't be reached: records wait under the state folder until it is back")
}

/// What a copy tells of its store.
fn of_copy(backup: &Backup, copy: &Copy) -> Option<Observation> {
    let why = copy.error.as_deref();
    match (copy.state, why) {
        (CopyState::Stored | CopyState::Verified, None) => {
            Some(Subject::of_store(Rule::StoreUnreachable, &copy.store).is_well())
        }
        (CopyState::Failed, why) => {
            let what =
                format!("store `{}` took no copy: {}", copy.store, why.unwrap_or("no reason is known"));
            Some(of(backup, Subject::of_store(Rule::StoreUnreachable, &copy.store).is_in_trouble(what)))
        }
        (CopyState::Corrupt | CopyState::Missing, why) => {
            let subject =
                Subject::of_database(Rule::VerificationFailed, &backup.database).in_store(&copy.store);
            let what =
                format!("the copy of `{}` in `{}`: {}", backup.id, copy.store, why.unwrap_or("is bad"));
            Some(of(backup, subject.is_in_trouble(what)))
        }
        _ => None,
    }
}
