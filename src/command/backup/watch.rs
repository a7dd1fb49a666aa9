//! What is seen of each backup when it has ended, for alerts.

use anyhow::Error;

use super::attempt::{Done, Tried};
use crate::alert::rules;
use crate::backup::{Backup, CheckLevel, Copy, CopyState, Status};
use crate::catalog::history::Past;
use crate::command::alarm;
use crate::command::context::Context;
use crate::command::health;
use crate::exit::{Code, code_of, one_line};
use crate::fingerprint::{EVERYTHING, Fingerprint, Level};
use crate::manifest::FINGERPRINT;
use crate::trouble::{Observation, Rule, Subject};

/// A signal from the keyboard: whoever sent it knows.
const FROM_KEYBOARD: i32 = 2;

/// Follows the backups of one call.
pub(super) struct Watch<'a> {
    context: &'a Context,
    /// The databases whose backups are not what was promised; `None` stands for all of them.
    pub(super) failed: Vec<Option<String>>,
    /// Whether another run was at work on one.
    is_any_locked: bool,
}

impl<'a> Watch<'a> {
    pub(super) fn new(context: &'a Context) -> Self {
        Self { context, failed: Vec::new(), is_any_locked: false }
    }

    /// What a dead man's switch is told, if anything: of another run it hears by that one.
    pub(super) fn ends(&self) -> Option<&[Option<String>]> {
        (!self.failed.is_empty() || !self.is_any_locked).then_some(&self.failed)
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
        if code_of(error) == Code::Usage {
            alarm::raise_in_file(self.context, &all);
        } else {
            self.raise(&all);
        }
    }

    /// A backup has ended well enough to be restored from; the code for what its figures say.
    pub(super) fn done(&mut self, database: &str, done: &Done, tried: Option<&Tried>) -> Code {
        let backup = &done.backup;
        let is_recorded = tried.is_some_and(|tried| tried.is_recorded);
        let past = tried.map(|tried| tried.past.as_slice()).unwrap_or_default();
        let code = done.code.worse(code_of_tables(backup, past));
        if code != Code::Done {
            self.failed.push(Some(database.to_owned()));
        }
        let mut seen = vec![
            Subject::new(Rule::BackupFailed).is_well(),
            Subject::of_database(Rule::BackupFailed, database).is_well(),
            health::degraded(backup),
            catalog(is_recorded),
        ];
        if backup.status != Status::Degraded {
            seen.push(Subject::of_database(Rule::NoGoodBackup, database).is_well());
        }
        for copy in &backup.copies {
            seen.extend(of_copy(backup, copy));
        }
        seen.extend(self.figures(backup, past));
        if self.context.config.after_backup.level() == Some(CheckLevel::Restore) {
            seen.extend(health::test_restore(backup));
        }
        self.raise(&seen);
        code
    }

    /// What its figures say beside those of the last ones.
    fn figures(&self, backup: &Backup, past: &[Past]) -> Vec<Observation> {
        let alerts = &self.context.config.alerts;
        let earlier: Vec<Option<u64>> = past.iter().map(|past| past.tables).collect();
        let mut seen: Vec<Observation> =
            rules::empty_dump(&backup.database, tables_of(backup), &earlier).into_iter().collect();
        if let Some(size) = backup.metadata_u64("dump_bytes").or(backup.size_bytes) {
            let earlier: Vec<u64> = past.iter().filter_map(|past| past.dump_bytes).collect();
            seen.push(rules::size(&backup.database, size, &earlier, &alerts.size));
        }
        if let Some(took) = backup.backup_duration_seconds.and_then(whole) {
            let earlier: Vec<u64> = past.iter().filter_map(|past| whole(past.duration_seconds?)).collect();
            seen.push(rules::duration(&backup.database, took, &earlier, &alerts.duration));
        }
        seen.into_iter().map(|seen| of(backup, seen)).collect()
    }

    /// A backup has come to nothing, after all its tries.
    pub(super) fn failed(&mut self, database: &str, error: &Error, tried: Option<&Tried>) {
        if code_of(error) == Code::Locked {
            // The run that holds the lock speaks for itself.
            self.is_any_locked = true;
            return;
        }
        self.failed.push(Some(database.to_owned()));
        if self.context.interrupt.signal() == Some(FROM_KEYBOARD) {
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

/// Tables that have vanished are no success, whatever the copies are like.
fn code_of_tables(backup: &Backup, past: &[Past]) -> Code {
    let had = past.iter().filter_map(|past| past.tables).find(|count| *count > 0);
    match (tables_of(backup), had) {
        (Some(0), Some(had)) => {
            log::error!("`{}` holds no table; an earlier one had {had}", backup.id);
            Code::Degraded
        }
        _ => Code::Done,
    }
}

/// How many tables a dump holds, where they were looked at. One that was not counted was there.
fn tables_of(backup: &Backup) -> Option<u64> {
    let figures: Fingerprint = serde_json::from_value(backup.metadata.get(FINGERPRINT)?.clone()).ok()?;
    if figures.level == Level::Off || figures.skips(EVERYTHING) {
        return None;
    }
    u64::try_from(figures.tables.len().saturating_add(figures.skipped.len())).ok()
}

/// Seconds without their fraction.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "looked at before")]
fn whole(seconds: f64) -> Option<u64> {
    (seconds.is_finite() && (0.0..1e15).contains(&seconds)).then_some(seconds as u64)
}

fn of(backup: &Backup, seen: Observation) -> Observation {
    seen.of_backup(backup.id.as_str())
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
