//! What is on record of the backups that were looked at, for alerts.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::super::context::Context;
use super::super::copy_check::Verdict;
use super::super::{health, notify};
use super::Checked;
use crate::backup::CheckLevel;
use crate::catalog::Catalog;
use crate::catalog::query::Filter;
use crate::exit::one_line;
use crate::finding::{AlertKey, Finding, Rule};

/// What one call came upon.
#[derive(Default)]
pub(super) struct Seen {
    /// The databases whose backups were looked at.
    pub(super) databases: BTreeSet<String>,
    /// Why a store could not be asked.
    pub(super) away: BTreeMap<String, String>,
    /// What test restores found wrong.
    pub(super) unrestored: Vec<Finding>,
}

impl Seen {
    /// Keeps in mind what was looked at, and which store could not be asked.
    pub(super) fn looked_at(&mut self, checked: &Checked, level: CheckLevel) {
        self.databases.insert(checked.backup.database.clone());
        if level == CheckLevel::Restore {
            let seen = health::test_restore(&checked.backup);
            self.unrestored.extend(seen.filter(|seen| seen.problem.is_some()));
            // It may be the scratch server that could not be had.
            return;
        }
        let looks = checked.backup.copies.iter().zip(&checked.findings);
        for (copy, finding) in looks.filter(|(_, finding)| finding.verdict == Some(Verdict::Unknown)) {
            self.away.insert(copy.store.clone(), finding.message.clone());
        }
    }

    /// Raises that stores could not be asked, where none could.
    pub(super) fn raise_away(&self, context: &Context) {
        let seen: Vec<Finding> = self.away.iter().map(|(name, why)| away(name, why)).collect();
        notify::raise(context, &seen);
    }

    /// Raises the problems that the record shows as it is now, and lets go what no longer is.
    pub(super) fn raise(&self, context: &Context, catalog: &mut Catalog) {
        if context.interrupt.is_raised() {
            return;
        }
        let mut seen: Vec<Finding> = self.away.iter().map(|(name, why)| away(name, why)).collect();
        match self.of_record(context, catalog) {
            Ok(more) => seen.extend(more),
            Err(error) => log::warn!("no alerts are made of what was found: {}", one_line(&error)),
        }
        notify::raise(context, &seen);
    }

    fn of_record(&self, context: &Context, catalog: &mut Catalog) -> Result<Vec<Finding>> {
        let source = &context.config.source.name;
        let names: Vec<String> = self.databases.iter().cloned().collect();
        let rows = catalog.kept(source, Some(&names))?;
        let mut seen = Vec::new();
        for database in &names {
            for store in &context.config.stores {
                seen.push(health::damaged(&rows, database, &store.name));
                // That there are all is for a check to say: it looks at each.
                seen.extend(
                    Some(health::missing(&rows, database, &store.name)).filter(|it| it.problem.is_some()),
                );
            }
            let newest = Filter {
                source: Some(source.clone()),
                database: Some(database.clone()),
                usable: true,
                limit: Some(1),
                ..Filter::default()
            };
            // That of an older one is not over because the newest was restored.
            let is_wrong = |it: &Finding| self.unrestored.iter().any(|wrong| wrong.subject == it.subject);
            let of_newest = catalog.list(&newest)?;
            seen.extend(of_newest.iter().flat_map(health::newest).filter(|it| !is_wrong(it)));
        }
        seen.extend(self.unrestored.iter().cloned());
        Ok(seen)
    }
}

/// One that answers need not take more: that is for the next backup to see, or for a check.
fn away(name: &str, why: &str) -> Finding {
    AlertKey::of_store(Rule::StoreUnreachable, name)
        .has_problem(format!("store `{name}` can't be asked: {why}"))
}
