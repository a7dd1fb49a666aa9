//! What is seen of each backup when it has ended, for alerts.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use anyhow::{Error, Result};
use serde_json::Value;

use super::content::{Content, MISSING};
use super::report::{AttemptReport, Done};
use crate::alert::rules;
use crate::backup::{Backup, CheckLevel, Copy, CopyState, Status, TablesBefore};
use crate::catalog::history::Past;
use crate::command::clock::now;
use crate::command::context::Context;
use crate::command::health;
use crate::command::locks;
use crate::command::notify::{
    self,
    pings::{Fate, Run},
};
use crate::command::status::FROM_KEYBOARD;
use crate::exit::{self, Code, code_of, one_line};
use crate::finding::{AlertKey, Finding, Rule};
use crate::manifest::TABLES;

/// Follows the backups of one call.
pub(super) struct Watch<'a> {
    context: &'a Context,
    /// What dead men's switches hear of.
    life: Option<Rc<Run>>,
    /// How many backups there are to be.
    count: usize,
    /// How each ended.
    fates: BTreeMap<String, Fate>,
    /// Whether anything went wrong that is none of theirs.
    is_spoiled: bool,
    /// Stores that took no copy of one of them.
    bad_stores: BTreeSet<String>,
    /// Stores that took one.
    good_stores: BTreeSet<String>,
    /// Stores that took no copy of the newest backup of another database.
    refusing: Vec<String>,
}

impl<'a> Watch<'a> {
    pub(super) fn new(context: &'a Context) -> Self {
        Self {
            context,
            life: None,
            count: 0,
            is_spoiled: false,
            fates: BTreeMap::new(),
            bad_stores: BTreeSet::new(),
            good_stores: BTreeSet::new(),
            refusing: Vec::new(),
        }
    }

    /// So many backups are to be made, and dead men's switches hear of these.
    pub(super) fn begins(&mut self, count: usize, life: Option<Rc<Run>>) {
        self.count = count;
        self.life = life;
    }

    /// Something that is none of a backup's own has ended with this code.
    pub(super) fn beside(&mut self, code: Code) {
        self.is_spoiled |= code != Code::Done;
    }

    /// The call has ended.
    pub(super) fn ends(self, done: &Result<Code>) {
        if let Err(error) = done {
            self.context.out.remember(&exit::render(error));
        }
        let is_well = done.is_ok() && !self.is_spoiled;
        let is_refused = done.as_ref().is_err_and(|error| code_of(error) == Code::Usage);
        if let Some(run) = self.life {
            run.end(self.context, &self.fates, is_well, is_refused);
        }
    }

    /// Nothing could be begun: of these databases, or of none that is known.
    pub(super) fn not_begun(&mut self, backup_type: &str, databases: &[String], error: &Error) {
        let what = format!("no backup could be begun: {}", one_line(error));
        let seen =
            |subject: AlertKey| subject.has_problem(what.clone()).severity(health::failure_of(backup_type));
        let of_database = |name: &String| seen(AlertKey::of_database(Rule::BackupFailed, name));
        let all: Vec<Finding> = match databases {
            [] => vec![seen(AlertKey::new(Rule::BackupFailed))],
            names => names.iter().map(of_database).collect(),
        };
        if code_of(error) == Code::Usage {
            notify::raise_in_file(self.context, &all);
        } else {
            self.raise(&all);
        }
    }

    /// A backup has ended well enough to be restored from.
    pub(super) fn done(&mut self, database: &str, done: &Done, report: Option<&AttemptReport>) {
        let backup = &done.backup;
        let is_recorded = report.is_some_and(|report| report.is_recorded);
        self.refusing = report.map(|report| report.refusing.clone()).unwrap_or_default();
        let past = report.map(|report| report.past.as_slice()).unwrap_or_default();
        let before = report.map_or(TablesBefore::Unknown, |report| report.tables_before);
        let fate = if done.code == Code::Done { Fate::Well } else { Fate::Failed };
        self.fates.insert(database.to_owned(), fate);
        let mut seen = vec![
            AlertKey::new(Rule::BackupFailed).is_well(),
            AlertKey::of_database(Rule::BackupFailed, database).is_well(),
            AlertKey::of_database(Rule::BackupLocked, database).is_well(),
            degraded(backup),
            catalog(is_recorded),
        ];
        if backup.status != Status::Degraded {
            seen.push(AlertKey::of_database(Rule::NoGoodBackup, database).is_well());
        }
        for copy in &backup.copies {
            seen.extend(self.of_copy(backup, copy));
        }
        seen.extend(self.of_stores());
        seen.extend(self.figures(backup, past, before));
        if self.context.config.after_backup.level() == Some(CheckLevel::Restore) {
            seen.extend(health::test_restore(backup));
        }
        self.raise(&seen);
    }

    /// What its figures say beside those of the last ones.
    fn figures(&self, backup: &Backup, past: &[Past], before: TablesBefore) -> Vec<Finding> {
        let alerts = &self.context.config.alerts;
        let tables = backup.metadata_u64(TABLES);
        let mut seen: Vec<Finding> =
            rules::empty_dump(&backup.database, tables, before).into_iter().collect();
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
    pub(super) fn failed(&mut self, content: &dyn Content, error: &Error, report: Option<&AttemptReport>) {
        let database = content.database();
        if code_of(error) == Code::Locked {
            // The run that holds the lock speaks for itself, unless it holds it for ever.
            self.fates.insert(database.to_owned(), Fate::Elsewhere);
            let mut seen = self.of_stores();
            seen.extend(locks::held_since(error).and_then(|since| rules::locked(database, since, now())));
            self.raise(&seen);
            return;
        }
        self.fates.insert(database.to_owned(), Fate::Failed);
        if self.context.interrupt.signal() == Some(FROM_KEYBOARD) {
            return;
        }
        let failed = AlertKey::of_database(Rule::BackupFailed, database)
            .has_problem(one_line(error))
            .severity(health::failure_of(content.backup_type()));
        let mut seen = Vec::new();
        match report {
            Some(report) => {
                // It had the lock.
                seen.push(AlertKey::of_database(Rule::BackupLocked, database).is_well());
                self.refusing.clone_from(&report.refusing);
                let lost = report.backup.copies.iter().filter(|copy| copy.state == CopyState::Failed);
                for copy in lost {
                    seen.extend(self.of_copy(&report.backup, copy));
                }
                seen.push(of(&report.backup, failed));
                seen.push(catalog(report.is_recorded));
            }
            None => seen.push(failed),
        }
        seen.extend(self.of_stores());
        self.raise(&seen);
    }

    /// What is wrong with a copy, or with its store.
    fn of_copy(&mut self, backup: &Backup, copy: &Copy) -> Option<Finding> {
        let why = copy.error.as_deref();
        let of_database = |rule: Rule| AlertKey::of_database(rule, &backup.database).in_store(&copy.store);
        let (subject, what) = match (copy.state, why) {
            (CopyState::Stored | CopyState::Verified, None) => {
                self.good_stores.insert(copy.store.clone());
                return None;
            }
            (CopyState::Failed, why) => {
                self.bad_stores.insert(copy.store.clone());
                let why = why.unwrap_or("no reason is known");
                let what = format!("store `{}` took no copy: {why}", copy.store);
                (AlertKey::of_store(Rule::StoreUnreachable, &copy.store), what)
            }
            (CopyState::Corrupt | CopyState::Missing, why) => {
                let is_missing = copy.state == CopyState::Missing;
                let rule = if is_missing { Rule::CopyMissing } else { Rule::VerificationFailed };
                let why = why.unwrap_or(if is_missing { "is not there" } else { "is bad" });
                (of_database(rule), format!("the copy of `{}` in `{}`: {why}", backup.id, copy.store))
            }
            _ => return None,
        };
        Some(of(backup, subject.has_problem(what)))
    }

    /// Which stores took all that they were given, as soon as that is known: one that refuses a database, in this run or
    /// in its own last one, is not well for having taken another.
    fn of_stores(&self) -> Vec<Finding> {
        if self.fates.len() < self.count {
            return Vec::new();
        }
        let well = self.good_stores.difference(&self.bad_stores);
        let well = well.filter(|store| !self.refusing.contains(store));
        well.map(|store| AlertKey::of_store(Rule::StoreUnreachable, store).is_well()).collect()
    }

    fn raise(&self, seen: &[Finding]) {
        notify::raise(self.context, seen);
    }
}

/// Seconds without their fraction.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "looked at before")]
fn whole(seconds: f64) -> Option<u64> {
    (seconds.is_finite() && (0.0..1e15).contains(&seconds)).then_some(seconds as u64)
}

/// Whether all that was asked for is in it and everywhere.
fn degraded(backup: &Backup) -> Finding {
    let missing: Vec<&str> = backup
        .metadata
        .get(MISSING)
        .and_then(Value::as_array)
        .map_or_else(Vec::new, |list| list.iter().filter_map(Value::as_str).collect());
    let Some(first) = missing.first() else { return health::degraded(backup) };
    let others = if missing.len() > 1 { format!(", and {} more", missing.len() - 1) } else { String::new() };
    let what = format!("`{}` does not hold all that was asked for: {first}{others}", backup.id);
    let subject = AlertKey::of_database(Rule::BackupDegraded, &backup.database);
    of(backup, subject.has_problem(what).detail(missing.join("\n")))
}

fn of(backup: &Backup, seen: Finding) -> Finding {
    seen.of_backup(backup.id.as_str())
}

fn catalog(is_recorded: bool) -> Finding {
    let subject = AlertKey::new(Rule::CatalogUnreachable);
    if is_recorded {
        return subject.is_well();
    }
    subject.has_problem("the catalog can't be reached: records wait under the state folder until it is back")
}
