//! The figures of a database's last backups, for whoever compares a new one with them.

use anyhow::{Context as _, Result};

use super::Catalog;
use crate::backup::{Backup, TablesBefore};
use crate::params;

/// What is compared of an earlier backup.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Past {
    /// Size of the dump; of the artifact where that is all that is known.
    pub dump_bytes: Option<u64>,
    /// How long it took.
    pub duration_seconds: Option<f64>,
}

impl Catalog {
    /// The last usable backups before one of the same database, tenant and type, the newest first, at most `limit`.
    ///
    /// # Errors
    /// When the catalog can't be read.
    pub fn before(&mut self, backup: &Backup, limit: u32) -> Result<Vec<Past>> {
        self.revive()?;
        let (source, database, kind) = (&backup.source, &backup.database, &backup.backup_type);
        let (tenant, id) = (backup.tenant.clone(), backup.id.as_str());
        let query = format!("{BEFORE} LIMIT {limit}");
        let rows = self
            .client
            .query(query, params![source, database, kind, tenant, id])
            .context("cannot read the catalog")?;
        let past = |row: &postgres::Row| -> Result<Past> {
            let count = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
            Ok(Past { dump_bytes: count(row.try_get(0)?), duration_seconds: row.try_get(1)? })
        };
        rows.iter().map(past).collect()
    }

    /// How many tables the database of a backup that holds none had before.
    ///
    /// # Errors
    /// When the catalog can't be read.
    pub fn tables_before(&mut self, backup: &Backup) -> Result<TablesBefore> {
        self.revive()?;
        let (source, database, kind) = (&backup.source, &backup.database, &backup.backup_type);
        let (tenant, id) = (backup.tenant.clone(), backup.id.as_str());
        let row = self
            .client
            .query(TABLES_BEFORE, params![source, database, kind, tenant, id])
            .context("cannot read the catalog")?;
        let row = row.first().context("the catalog gives no answer")?;
        let (had, is_accepted, is_first): (Option<i64>, bool, bool) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let is_known: bool = row.try_get(3)?;
        Ok(match had.and_then(|had| u64::try_from(had).ok()) {
            _ if is_accepted => TablesBefore::Accepted,
            Some(had) => TablesBefore::Some(had),
            None if is_first => TablesBefore::First,
            None if is_known => TablesBefore::None,
            None => TablesBefore::Unknown,
        })
    }
}

/// A record may hold anything in the place of a number.
const BEFORE: &str = "\
SELECT coalesce(CASE WHEN metadata->>'dump_bytes' ~ '^[0-9]{1,18}$'
    THEN (metadata->>'dump_bytes')::pg_catalog.int8 END, size_bytes), backup_duration_seconds
FROM {schema}.backup
WHERE source = $1 AND database = $2 AND backup_type = $3 AND tenant IS NOT DISTINCT FROM $4 AND id <> $5
    AND status IN ('completed', 'verified', 'degraded') AND NOT metadata ? 'lacks'
ORDER BY created_at DESC, id DESC";

/// Of what was on record before there was a number of tables, each in the fingerprint was there, counted or not. What
/// ends such an alert is a dump with tables: where there was none since, it was somebody.
const TABLES_BEFORE: &str = "\
WITH earlier AS (
    SELECT created_at, coalesce(CASE WHEN metadata->>'tables' ~ '^[0-9]{1,18}$'
            THEN (metadata->>'tables')::pg_catalog.int8 END,
        CASE WHEN metadata->'fingerprint'->>'level' <> 'off' AND NOT metadata->'fingerprint'->'skipped' ? '*'
                AND pg_catalog.jsonb_typeof(metadata->'fingerprint'->'tables') = 'object'
            THEN (SELECT pg_catalog.count(*)
                FROM pg_catalog.jsonb_object_keys(metadata->'fingerprint'->'tables')) END) AS tables
    FROM {schema}.backup
    WHERE source = $1 AND database = $2 AND backup_type = $3 AND tenant IS NOT DISTINCT FROM $4 AND id <> $5
        AND status IN ('completed', 'verified', 'degraded', 'expired')
), had AS (
    SELECT created_at, tables FROM earlier WHERE tables > 0 ORDER BY created_at DESC LIMIT 1
)
SELECT (SELECT tables FROM had),
    EXISTS (
        SELECT FROM {schema}.alert
        WHERE rule = 'empty_dump' AND status = 'resolved' AND source = $1 AND database = $2
            AND tenant IS NOT DISTINCT FROM $4
            AND first_seen > coalesce((SELECT created_at FROM had), '-infinity')),
    NOT EXISTS (SELECT FROM earlier),
    NOT EXISTS (SELECT FROM earlier WHERE tables IS NULL)";
