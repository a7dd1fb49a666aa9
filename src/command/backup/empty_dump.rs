//! A dump that holds no table: whether that is right, by what was there before it. It reads the record alone.

use super::run_record::RunRecord;
use crate::backup::{Backup, TablesBefore};
use crate::exit::one_line;
use crate::manifest::TABLES;

/// What a dump without tables lacks, unless it is the first one, or never had any, or somebody said that it is right.
pub(super) fn lack_of_tables(run_record: &mut RunRecord<'_>, backup: &Backup) -> Option<String> {
    (backup.metadata_u64(TABLES)? == 0).then_some(())?;
    match tables_before(run_record, backup) {
        TablesBefore::Some(had) => Some(format!("it holds no table; an earlier one had {had}")),
        TablesBefore::Unknown => {
            Some("it holds no table; nobody could say whether an earlier one had any".to_owned())
        }
        TablesBefore::First | TablesBefore::None | TablesBefore::Accepted => None,
    }
}

/// How many tables there were before a dump that holds none; nobody needs to know of another one.
pub(super) fn tables_before(run_record: &mut RunRecord<'_>, backup: &Backup) -> TablesBefore {
    let is_empty = backup.metadata_u64(TABLES) == Some(0);
    let Some(catalog) = run_record.catalog().filter(|_| is_empty) else { return TablesBefore::Unknown };
    catalog.tables_before(backup).unwrap_or_else(|error| {
        log::warn!(
            "`{}` holds no table, and nobody knows how many there were: {}",
            backup.id,
            one_line(&error)
        );
        TablesBefore::Unknown
    })
}
