//! What an attempt at a backup came to. It makes none.

use crate::backup::{Backup, TablesBefore};
use crate::catalog::history::Past;
use crate::exit::Code;

/// A backup that can be restored from.
pub(super) struct Done {
    pub(super) backup: Backup,
    pub(super) code: Code,
}

/// What is on record of the last try.
pub(super) struct AttemptReport {
    pub(super) backup: Backup,
    /// Whether the catalog knows how it ended.
    pub(super) is_recorded: bool,
    /// The backups before it, the newest first, as far as the catalog tells.
    pub(super) past: Vec<Past>,
    /// How many tables there were before a dump that holds none.
    pub(super) tables_before: TablesBefore,
    /// Stores that took no copy of the newest backup of some database, as long as that is an alert.
    pub(super) refusing: Vec<String>,
}
