//! The record of a run: written to the catalog, or kept in a file until the catalog is back.

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};

use crate::backup::{Backup, Status};
use crate::catalog::Catalog;
use crate::catalog::query::IncompleteBackup;
use crate::command::clock::now;
use crate::command::context::Context;
use crate::command::liveness::is_alive;
use crate::config::environment;
use crate::exit::{Code, code_of, one_line};
use crate::testpoint::{self, Step};

/// A clock that was put back by more, or one that is further ahead, was not put right: it is wrong.
const LARGEST_STEP: SignedDuration = SignedDuration::from_hours(25);
/// Clocks of several hosts differ by so much, and nobody needs to know.
const USUAL_SKEW: SignedDuration = SignedDuration::from_secs(5);

/// Where the record of this run goes.
pub(super) struct RunRecord<'a> {
    context: &'a Context,
    catalog: Option<Catalog>,
}

impl<'a> RunRecord<'a> {
    /// Opens the catalog; a run goes on without it, with a warning.
    ///
    /// # Errors
    /// When the configuration names one that can't be used (exit code 2).
    pub(super) fn open(context: &'a Context) -> Result<Self> {
        let catalog = match context.catalog() {
            Ok(catalog) => Some(catalog),
            Err(error) if code_of(&error) == Code::Usage => return Err(error),
            Err(error) => {
                log::warn!(
                    "{}: the record waits under {}",
                    one_line(&error),
                    context.config.state_dir.display()
                );
                None
            }
        };
        Ok(Self { context, catalog })
    }

    /// The catalog, where it is up.
    pub(super) fn catalog(&mut self) -> Option<&mut Catalog> {
        self.catalog.as_mut()
    }

    /// Marks what earlier runs of this database left unfinished as failed; gives the ids of all that failed.
    /// Only for whoever holds the database's lock.
    pub(super) fn fail_dead_runs(&mut self, source: &str, database: &str) -> Vec<IncompleteBackup> {
        let Some(catalog) = self.catalog.as_mut() else { return Vec::new() };
        bury(catalog, source, database).unwrap_or_else(|error| {
            log::warn!("runs that died stay on record as they are: {}", one_line(&error));
            Vec::new()
        })
    }

    /// When a run that begins now is said to have begun: after every other of its database, also where the
    /// clock was put back since, so that ids and `latest` go on in the order of the runs.
    pub(super) fn begin_after_others(&mut self, source: &str, database: &str) -> Timestamp {
        let begun = now();
        let newest =
            self.catalog.as_mut().and_then(|catalog| catalog.newest(source, database).ok().flatten());
        let Some(newest) = newest.filter(|newest| *newest >= begun) else { return begun };
        let ahead = newest.duration_since(begun);
        let shown = newest.strftime("%Y-%m-%d %H:%M:%S UTC");
        if ahead > LARGEST_STEP {
            log::warn!(
                "the clock of this host says {}, and a backup of `{database}` on record is of {shown}: \
                 `latest` goes by these times, and one of them is wrong",
                begun.strftime("%Y-%m-%d %H:%M:%S UTC")
            );
            return begun;
        }
        if ahead > USUAL_SKEW {
            log::warn!(
                "the clock went back: the last backup of `{database}` is of {shown}; this one is said to \
                 have begun right after it"
            );
        }
        newest.checked_add(SignedDuration::from_secs(1)).unwrap_or(begun)
    }

    /// Records how the backup stands. False: it waits in a file, or is kept nowhere, which is said.
    pub(super) fn save(&mut self, backup: &Backup) -> bool {
        if self.catalog.is_none() && backup.status != Status::InProgress {
            // It may be back by the end of a long run.
            self.catalog = self.context.open_catalog().ok();
        }
        // First where nothing can hang: the record of a finished run is never lost with its catalog.
        let (pending, interrupt_record) = (&self.context.pending, &self.context.interrupt_record);
        let waits = if backup.status == Status::InProgress {
            interrupt_record.begin(pending, backup);
            pending.keep(backup)
        } else {
            interrupt_record.end(|| pending.keep(backup))
        };
        testpoint::reached(Step::RecordKept);
        let saved = self.catalog.as_mut().map(|catalog| catalog.save(backup));
        match saved {
            Some(Ok(())) => {
                if let Err(error) = self.context.pending.forget(backup) {
                    log::warn!("{}", one_line(&error));
                }
                return true;
            }
            Some(Err(error)) => {
                log::warn!("the catalog does not take the record: {}", one_line(&error));
                self.catalog = None;
            }
            None => {}
        }
        match waits {
            Ok(path) => log::info!("the record waits in `{}`", path.display()),
            Err(error) => tell_loss(backup, &one_line(&error)),
        }
        false
    }
}

/// Says that a record is kept nowhere, and what brings it back.
fn tell_loss(backup: &Backup, why: &str) {
    match backup.copies.iter().find(|copy| copy.state.is_published()) {
        Some(copy) => log::error!(
            "`{}` stands, but its record can be kept nowhere: {why}; once the catalog is back, \
             `pgkeep catalog rebuild --from {}` makes it from the manifest",
            backup.id,
            copy.store
        ),
        None => log::warn!("the record of `{}` can be kept nowhere: {why}", backup.id),
    }
}

fn bury(catalog: &mut Catalog, source: &str, database: &str) -> Result<Vec<IncompleteBackup>> {
    for backup in catalog.unfinished(source, database)? {
        if is_alive(catalog, &backup)? {
            log::warn!("`{}` seems to be at work although nobody holds its lock: left alone", backup.id);
        } else if catalog.bury(&backup.id, "its run died before it ended")? {
            log::info!("`{}` was left unfinished: its run died", backup.id);
        }
    }
    catalog.incomplete(source, database, &environment::host_name())
}
