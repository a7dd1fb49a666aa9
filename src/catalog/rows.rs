//! Between rows and records. It asks nothing of the server.

use anyhow::{Context, Result, anyhow};
use postgres::Row;

use crate::backup::{Backup, Copy, CopyState, Status};
use crate::name::BackupId;

pub(super) const BACKUP_COLUMNS: &str = "id, backup_type, source, database, tenant, filename, size_bytes, \
     checksum, local_path, r2_path, b2_path, status, compression_ratio, backup_duration_seconds, metadata, \
     created_at, finished_at, verified_at, error, heartbeat_at, pinned_at, pinned_until";

pub(super) const COPY_COLUMNS: &str = "backup, store, path, state, size, etag, stored_at, verified_at, \
     verified_level, expires_at, locked_until, error";

pub(super) fn backup(row: &Row) -> Result<Backup> {
    let id: String = row.try_get("id")?;
    let status: String = row.try_get("status")?;
    let metadata: serde_json::Value = row.try_get("metadata")?;
    let serde_json::Value::Object(metadata) = metadata else {
        return Err(anyhow!("the metadata of `{id}` is no JSON object"));
    };
    Ok(Backup {
        status: Status::parse(&status).with_context(|| format!("status `{status}` of `{id}` is unknown"))?,
        id: BackupId::try_from(id).map_err(|error| anyhow!(error))?,
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
