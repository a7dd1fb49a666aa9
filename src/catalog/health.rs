//! What a look at how backups are asks of the catalog, beyond what others ask.

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use postgres::Row;

use super::{Catalog, rows};
use crate::params;

/// The keys of a backup that there is a copy of, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locked {
    /// The backup's id.
    pub id: String,
    /// The ids of the keys that open it.
    pub keys: Vec<String>,
    /// When age alone lets its last copy go; `None` is never.
    pub gone_at: Option<Timestamp>,
}

impl Catalog {
    /// Of each usable backup of a source, the newest first, what opens it.
    ///
    /// # Errors
    /// When the catalog can't be read.
    pub fn locked(&mut self, source: &str) -> Result<Vec<Locked>> {
        self.revive()?;
        let rows = self.client.query(LOCKED, params![source]).context("cannot read the catalog")?;
        let locked = |row: &Row| -> Result<Locked> {
            Ok(Locked { id: row.try_get(0)?, keys: row.try_get(1)?, gone_at: row.try_get(2)? })
        };
        Ok(rows::readable(&rows, locked))
    }
}

impl Catalog {
    /// The stores that took no copy of the newest backup of some database and type within eight days, as long as an
    /// alert of a store is open; none where there is no such alert.
    ///
    /// # Errors
    /// When the catalog can't be read.
    pub fn refusing(&mut self, source: &str) -> Result<Vec<String>> {
        self.revive()?;
        let rows = self.client.query(REFUSING, params![source]).context("cannot read the catalog")?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }
}

const REFUSING: &str = "\
SELECT DISTINCT copy.store
FROM (SELECT DISTINCT ON (database, tenant, backup_type) id FROM {schema}.backup
    WHERE source = $1 AND status IN ('completed', 'verified', 'degraded')
        AND created_at > pg_catalog.now() - interval '8 days'
    ORDER BY database, tenant, backup_type, created_at DESC) newest
JOIN {schema}.copy ON copy.backup = newest.id
WHERE copy.state = 'failed' AND EXISTS (
    SELECT FROM {schema}.alert WHERE source = $1 AND rule = 'store_unreachable' AND status <> 'resolved')";

/// A record may hold anything in the place of a list of keys. What is pinned stays.
const LOCKED: &str = "\
SELECT id,
    ARRAY(SELECT pg_catalog.jsonb_array_elements_text(
        CASE WHEN pg_catalog.jsonb_typeof(metadata->'keys') = 'array' THEN metadata->'keys' ELSE '[]' END)) AS keys,
    CASE WHEN (pinned_at IS NOT NULL AND (pinned_until IS NULL OR pinned_until > pg_catalog.now()))
            OR pg_catalog.bool_or(expires_at IS NULL) THEN NULL
        ELSE pg_catalog.max(expires_at) END AS gone_at
FROM {schema}.backup LEFT JOIN {schema}.copy
    ON copy.backup = id AND state IN ('stored', 'verified', 'missing', 'corrupt')
WHERE source = $1 AND status IN ('completed', 'verified', 'degraded')
GROUP BY id ORDER BY created_at DESC, id DESC";
