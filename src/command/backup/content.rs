//! What a backup is made of: a database's dump, or what belongs to the whole cluster.

use anyhow::Result;

use super::request::RunRequest;
use super::run_record::RunRecord;
use super::stream::{self, Streamed};
use crate::backup::{Backup, FULL};

/// Under which name the record keeps what was asked for and is not in it.
pub(super) const MISSING: &str = "missing";

/// What one backup is made of.
pub(super) trait Content {
    /// The type on record.
    fn backup_type(&self) -> &'static str;

    /// The database on record.
    fn database(&self) -> &str;

    /// What the name of the artifact says of what is inside.
    fn suffix(&self) -> &'static str;

    /// Sends all of it into an unpublished upload in each store, and puts on record what is known of it. After an error
    /// nothing is left in any store.
    ///
    /// # Errors
    /// When there is no whole artifact.
    fn stream(
        &self,
        request: &RunRequest<'_>,
        run_record: &mut RunRecord<'_>,
        backup: &mut Backup,
    ) -> Result<Streamed>;

    /// Whether it is restored into a scratch database to prove it.
    fn can_be_restored_for_proof(&self) -> bool;

    /// Whether all that was asked for is in it.
    fn is_all(&self, backup: &Backup) -> bool;
}

/// The dump of a database.
pub(super) struct Database<'a>(pub(super) &'a str);

impl Content for Database<'_> {
    fn backup_type(&self) -> &'static str {
        FULL
    }

    fn database(&self) -> &str {
        self.0
    }

    fn suffix(&self) -> &'static str {
        ".dump"
    }

    fn stream(
        &self,
        request: &RunRequest<'_>,
        run_record: &mut RunRecord<'_>,
        backup: &mut Backup,
    ) -> Result<Streamed> {
        stream::run(request, run_record, backup)
    }

    fn can_be_restored_for_proof(&self) -> bool {
        true
    }

    fn is_all(&self, _backup: &Backup) -> bool {
        true
    }
}
