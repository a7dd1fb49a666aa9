//! Between rows and records. It asks nothing of the server.

use anyhow::{Context, Error, Result, anyhow};
use postgres::Row;

use crate::backup::{Backup, Copy, CopyState, Status};
use crate::exit::one_line;
use crate::name::BackupId;

pub(super) const BACKUP_COLUMNS: &str = "id, backup_type, source, database, tenant, filename, size_bytes, \
     checksum, local_path, r2_path, b2_path, status, compression_ratio, backup_duration_seconds, metadata, \
     created_at, finished_at, verified_at, error, heartbeat_at, pinned_at, pinned_until";

pub(super) const COPY_COLUMNS: &str = "backup, store, path, state, size, etag, stored_at, verified_at, \
     verified_level, expires_at, locked_until, error";

/// Each row by itself: one that is none, by a newer pgkeep or by hand, is named, and hides no other.
pub(super) fn readable<T>(rows: &[Row], read: impl Fn(&Row) -> Result<T>) -> Vec<T> {
    let (read, faults) = sorted(rows, read);
    faults.iter().for_each(warn);
    read
}

/// What can be read, and why the rest can't.
pub(super) fn sorted<T>(rows: &[Row], read: impl Fn(&Row) -> Result<T>) -> (Vec<T>, Vec<Error>) {
    let (mut good, mut faults) = (Vec::new(), Vec::new());
    for row in rows {
        match read(row) {
            Ok(one) => good.push(one),
            Err(error) => faults.push(error),
        }
    }
    (good, faults)
}

/// Says that a row is passed over.
pub(super) fn warn(fault: &Error) {
    log::warn!("a row of the catalog is passed over: {}", one_line(fault));
}

pub(super) fn backup(row: &Row) -> Result<Backup> {
    let id: String = row.try_get("id")?;
    read_backup(row, &id).with_context(|| format!("`{id}`"))
}

fn read_backup(row: &Row, id: &str) -> Result<Backup> {
    let status: String = row.try_get("status")?;
    let metadata: serde_json::Value = row.try_get("metadata")?;
    let serde_json::Value::Object(metadata) = metadata else {
        return Err(anyhow!("the metadata of `{id}` is no JSON object"));
    };
    Ok(Backup {
        status: Status::parse(&status).with_context(|| format!("status `{status}` of `{id}` is unknown"))?,
        id: BackupId::try_from(id.to_owned()).map_err(|error| anyhow!(error))?,
        backup_type: row.try_get("backup_type")?,
        source: row.try_get("source")?,
        database: row.try_get("database")?,
        tenant: row.try_get("tenant")?,
        filename: row.try_get("filename")?,
        size_bytes: size(row.try_get("size_bytes")?)?,
        checksum: row.try_get("checksum")?,
        local_path: row.try_get("local_path")?,
        r2_path: row.try_get("r2_path")?,
        b2_path: row.try_get("b2_path")?,
        compression_ratio: row.try_get("compression_ratio")?,
        backup_duration_seconds: row.try_get("backup_duration_seconds")?,
        metadata,
        created_at: row.try_get("created_at")?,
        finished_at: row.try_get("finished_at")?,
        verified_at: row.try_get("verified_at")?,
        error: row.try_get("error")?,
        heartbeat_at: row.try_get("heartbeat_at")?,
        pinned_at: row.try_get("pinned_at")?,
        pinned_until: row.try_get("pinned_until")?,
        copies: Vec::new(),
    })
}

pub(super) fn copy(row: &Row) -> Result<Copy> {
    let state: String = row.try_get("state")?;
    Ok(Copy {
        store: row.try_get("store")?,
        path: row.try_get("path")?,
        state: CopyState::parse(&state).with_context(|| format!("state `{state}` of a copy is unknown"))?,
        size_bytes: size(row.try_get("size")?)?,
        etag: row.try_get("etag")?,
        stored_at: row.try_get("stored_at")?,
        verified_at: row.try_get("verified_at")?,
        verified_level: row.try_get("verified_level")?,
        expires_at: row.try_get("expires_at")?,
        locked_until: row.try_get("locked_until")?,
        error: row.try_get("error")?,
    })
}

fn size(stored: Option<i64>) -> Result<Option<u64>> {
    stored.map(u64::try_from).transpose().context("a size on record is negative")
}
