//! The figures of a database's last backups, for whoever compares a new one with them.

use anyhow::{Context as _, Result};

use super::Catalog;
use crate::backup::Backup;
use crate::params;

/// What is compared of an earlier backup.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Past {
    /// Size of the dump; of the artifact where that is all that is known.
    pub dump_bytes: Option<u64>,
    /// How long it took.
    pub duration_seconds: Option<f64>,
    /// How many tables it held, where they were looked at.
    pub tables: Option<u64>,
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
            Ok(Past {
                dump_bytes: count(row.try_get(0)?),
                duration_seconds: row.try_get(1)?,
                tables: count(row.try_get(2)?),
            })
        };
        rows.iter().map(past).collect()
    }
}

/// A table that was not counted was there.
const BEFORE: &str = "\
SELECT coalesce((metadata->>'dump_bytes')::bigint, size_bytes), backup_duration_seconds,
    CASE WHEN metadata->'fingerprint'->>'level' <> 'off' AND NOT metadata->'fingerprint'->'skipped' ? '*'
        THEN (SELECT count(*) FROM jsonb_object_keys(metadata->'fingerprint'->'tables'))
            + (SELECT count(*) FROM jsonb_object_keys(metadata->'fingerprint'->'skipped')) END
FROM backup
WHERE source = $1 AND database = $2 AND backup_type = $3 AND tenant IS NOT DISTINCT FROM $4 AND id <> $5
    AND status IN ('completed', 'verified', 'degraded')
ORDER BY created_at DESC, id DESC";
