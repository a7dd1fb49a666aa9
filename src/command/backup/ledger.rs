//! The record of a run: written to the catalog, or kept in a file until the catalog is back.

use anyhow::Result;

use crate::backup::{Backup, Status};
use crate::catalog::Catalog;
use crate::command::context::{Context, now};
use crate::exit::one_line;

/// Where the record of this run goes.
pub(super) struct Ledger<'a> {
    context: &'a Context,
    catalog: Option<Catalog>,
}

impl<'a> Ledger<'a> {
    /// Opens the catalog; a run goes on without it, with a warning.
    pub(super) fn open(context: &'a Context) -> Self {
        let catalog = match context.catalog() {
            Ok(catalog) => Some(catalog),
            Err(error) => {
                log::warn!(
                    "{}: the record waits under {}",
                    one_line(&error),
                    context.config.state_dir.display()
                );
                None
            }
        };
        Self { context, catalog }
    }

    /// The catalog, where it is up.
    pub(super) fn catalog(&mut self) -> Option<&mut Catalog> {
        self.catalog.as_mut()
    }

    /// Marks what earlier runs of this database left behind as failed. Only for whoever holds its lock.
    pub(super) fn bury_the_dead(&mut self, source: &str, database: &str) {
        let Some(catalog) = self.catalog.as_mut() else { return };
        if let Err(error) = bury(catalog, source, database) {
            log::warn!("runs that died stay on record as they are: {}", one_line(&error));
        }
    }

    /// Records how the backup stands. False: it waits in a file.
    ///
    /// # Errors
    /// When it can be kept nowhere.
    pub(super) fn save(&mut self, backup: &Backup) -> Result<bool> {
        if self.catalog.is_none() && backup.status != Status::InProgress {
            // It may be back by the end of a long run.
            self.catalog = self.context.open_catalog().ok();
        }
        if let Some(catalog) = self.catalog.as_mut() {
            match catalog.save(backup) {
                Ok(()) => {
                    self.context.pending.forget(backup)?;
                    return Ok(true);
                }
                Err(error) => {
                    log::warn!("the catalog does not take the record: {}", one_line(&error));
                    self.catalog = None;
                }
            }
        }
        let path = self.context.pending.keep(backup)?;
        log::info!("the record waits in `{}`", path.display());
        Ok(false)
    }
}

fn bury(catalog: &mut Catalog, source: &str, database: &str) -> Result<()> {
    for mut dead in catalog.unfinished(source, database)? {
        log::info!("`{}` was left unfinished: its run died", dead.id);
        dead.status = Status::Failed;
        dead.finished_at = Some(now());
        dead.error = Some("its run died before it ended".to_owned());
        catalog.save(&dead)?;
    }
    Ok(())
}
