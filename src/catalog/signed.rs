//! What the catalog knows of a key: since when it seals. It knows no key.

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use super::Catalog;
use crate::params;

impl Catalog {
    /// When the first backup of a source that is on record as sealed with the key of that id began.
    ///
    /// # Errors
    /// When the catalog can't be read.
    pub fn first_sealed(&mut self, source: &str, key: &str) -> Result<Option<Timestamp>> {
        self.revive()?;
        let row = self.client.query_one(FIRST, params![source, key]).context("cannot read the catalog")?;
        Ok(row.try_get(0)?)
    }
}

/// Whatever became of the run since.
const FIRST: &str = "\
SELECT pg_catalog.min(created_at) FROM {schema}.backup
WHERE source OPERATOR(pg_catalog.=) $1
    AND pg_catalog.isfinite(created_at)
    AND (metadata OPERATOR(pg_catalog.->) 'keys') OPERATOR(pg_catalog.?) $2";
