//! Writes a backup and its copies, all or nothing.

use anyhow::{Context, Result};
use postgres::Transaction;

use super::session::Schema;
use crate::backup::Backup;

/// Writes a backup and its copies over what is on record of it; a late record only over one that is not usable.
///
/// # Errors
/// When it can't be written; the record is as it was.
pub(super) fn write(
    mut transaction: Transaction<'_>,
    schema: &Schema,
    backup: &Backup,
    is_late: bool,
) -> Result<()> {
    let size = backup.size_bytes.map(i64::try_from).transpose()?;
    let metadata = serde_json::Value::Object(backup.metadata.clone());
    let status = backup.status.as_str();
    let written = transaction
        .execute(
            &schema.sql(SAVE_BACKUP),
            &[
                &backup.id.as_str(),
                &backup.backup_type,
                &backup.source,
                &backup.database,
                &backup.tenant,
                &backup.filename,
                &size,
                &backup.checksum,
                &backup.local_path,
                &backup.r2_path,
                &backup.b2_path,
                &status,
                &backup.compression_ratio,
                &backup.backup_duration_seconds,
                &metadata,
                &backup.created_at,
                &backup.finished_at,
                &backup.verified_at,
                &backup.error,
                &is_late,
            ],
        )
        .with_context(|| format!("cannot record `{}`", backup.id))?;
    if written == 0 {
        // What is on record says more; nor do these copies count then.
        return Ok(());
    }
    for (position, copy) in backup.copies.iter().enumerate() {
        let position = i32::try_from(position)?;
        let size = copy.size_bytes.map(i64::try_from).transpose()?;
        transaction
            .execute(
                &schema.sql(SAVE_COPY),
                &[
                    &backup.id.as_str(),
                    &copy.store,
                    &position,
                    &copy.path,
                    &copy.state.as_str(),
                    &size,
                    &copy.etag,
                    &copy.stored_at,
                    &copy.verified_at,
                    &copy.verified_level,
                    &copy.expires_at,
                    &copy.locked_until,
                    &copy.error,
                ],
            )
            .with_context(|| format!("cannot record the copy of `{}` in `{}`", backup.id, copy.store))?;
    }
    Ok(transaction.commit()?)
}

const SAVE_BACKUP: &str = "\
INSERT INTO {schema}.backup (id, backup_type, source, database, tenant, filename, size_bytes, checksum,
    local_path, r2_path, b2_path, status, compression_ratio, backup_duration_seconds, metadata,
    created_at, finished_at, verified_at, error, heartbeat_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, pg_catalog.now())
ON CONFLICT (id) DO UPDATE SET
    filename = excluded.filename, size_bytes = excluded.size_bytes, checksum = excluded.checksum,
    local_path = excluded.local_path, r2_path = excluded.r2_path, b2_path = excluded.b2_path,
    status = excluded.status, compression_ratio = excluded.compression_ratio,
    backup_duration_seconds = excluded.backup_duration_seconds, metadata = excluded.metadata,
    finished_at = excluded.finished_at, verified_at = excluded.verified_at, error = excluded.error,
    heartbeat_at = pg_catalog.now()
-- A record that waited must not undo the end of a run that has been written since.
-- Nor may it undo what others have found out since.
WHERE (backup.status = 'in_progress' OR excluded.status <> 'in_progress')
    AND (NOT $20 OR backup.status IN ('in_progress', 'failed'))
    AND (backup.status <> 'expired' OR excluded.status = 'expired')";

const SAVE_COPY: &str = "\
INSERT INTO {schema}.copy (backup, store, position, path, state, size, etag, stored_at, verified_at,
    verified_level, expires_at, locked_until, error)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
ON CONFLICT (backup, store) DO UPDATE SET
    position = excluded.position, path = excluded.path, state = excluded.state, size = excluded.size,
    etag = excluded.etag, stored_at = excluded.stored_at, verified_at = excluded.verified_at,
    verified_level = excluded.verified_level, expires_at = excluded.expires_at,
    locked_until = excluded.locked_until, error = excluded.error
-- What was removed stays removed, unless it was stored again since.
WHERE copy.state <> 'expired' OR excluded.state = 'expired' OR excluded.stored_at > copy.stored_at";
