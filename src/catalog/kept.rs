//! What retention asks of the catalog and writes to it: runs with their copies, pins, who is at work on a backup.

use std::collections::BTreeMap;

use anyhow::{Context as _, Error, Result};
use jiff::Timestamp;
use postgres::Row;

use super::lock::Kind;
use super::{Catalog, rows};
use crate::backup::{CopyState, Status};
use crate::exit::one_line;
use crate::name::BackupId;
use crate::params;

/// A run and its copies, as far as retention looks at them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The backup's id.
    pub id: String,
    /// Its type.
    pub backup_type: String,
    /// Its database.
    pub database: String,
    /// Its tenant, where it is of one.
    pub tenant: Option<String>,
    /// How it stands.
    pub status: Status,
    /// When its run began.
    pub begun_at: Timestamp,
    /// Since when it is pinned.
    pub pinned_at: Option<Timestamp>,
    /// Until when; `None` is for good.
    pub pinned_until: Option<Timestamp>,
    /// Whether it lacks something however whole its copies are.
    pub is_short: bool,
    /// Its copies.
    pub copies: Vec<KeptCopy>,
}

/// One copy of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptCopy {
    /// The store's name.
    pub store: String,
    /// The artifact's path in it.
    pub path: String,
    /// How it stands.
    pub state: CopyState,
    /// Size of the artifact.
    pub size_bytes: Option<u64>,
    /// Until when the store was asked to lock it.
    pub locked_until: Option<Timestamp>,
    /// Whether nothing is known to be wrong with it.
    pub is_sound: bool,
}

/// Databases that have a row which can't be read, and why not.
pub type Odd = BTreeMap<String, String>;

/// A row that can't be read.
struct Fault {
    database: String,
    /// Whether the copies of its backup are gone.
    is_over: bool,
    error: Error,
}

impl Catalog {
    /// Every run of a source, or of some of its databases, the newest first. What is none is left out, with a warning.
    ///
    /// # Errors
    /// When the catalog can't be read.
    pub fn kept(&mut self, source: &str, databases: Option<&[String]>) -> Result<Vec<Kept>> {
        let (kept, faults) = self.kept_and_odd(source, databases)?;
        for fault in &faults {
            rows::warn(&fault.error);
        }
        Ok(kept)
    }

    /// The same for whoever removes what no row tells of: with a row that can't be read nobody knows what that is. Those of
    /// databases that have such a row are left out; the map names them, and says why. One of a backup whose copies are gone
    /// tells of none.
    ///
    /// # Errors
    /// When the catalog can't be read.
    pub fn all_kept(&mut self, source: &str, databases: Option<&[String]>) -> Result<(Vec<Kept>, Odd)> {
        let (mut kept, faults) = self.kept_and_odd(source, databases)?;
        let mut odd = Odd::new();
        for Fault { database, is_over, error } in faults {
            if is_over {
                rows::warn(&error);
            } else {
                let why = format!("a row of the catalog can't be read: {}", one_line(&error));
                odd.entry(database).or_insert(why);
            }
        }
        kept.retain(|run| !odd.contains_key(&run.database));
        Ok((kept, odd))
    }

    fn kept_and_odd(
        &mut self,
        source: &str,
        databases: Option<&[String]>,
    ) -> Result<(Vec<Kept>, Vec<Fault>)> {
        self.revive()?;
        let databases = databases.map(<[String]>::to_vec);
        let rows = self.client.query(KEPT, params![source, databases]).context("cannot read the catalog")?;
        let (mut kept, mut faults): (Vec<Kept>, Vec<Fault>) = (Vec::new(), Vec::new());
        for row in &rows {
            let id: &str = row.try_get("id")?;
            if kept.last().is_none_or(|last| last.id != id) {
                match run_of(row).with_context(|| format!("`{id}`")) {
                    Ok(run) => kept.push(run),
                    Err(error) => {
                        faults.push(fault_of(row, error)?);
                        continue;
                    }
                }
            }
            match copy_of(row).with_context(|| format!("`{id}`")) {
                Ok(copy) => {
                    if let Some(last) = kept.last_mut() {
                        last.copies.extend(copy);
                    }
                }
                Err(error) => faults.push(fault_of(row, error)?),
            }
        }
        Ok((kept, faults))
    }

    /// What the catalog's server takes the time to be.
    ///
    /// # Errors
    /// When it can't be asked.
    pub fn clock(&mut self) -> Result<Timestamp> {
        self.revive()?;
        Ok(self.client.query_one("SELECT pg_catalog.clock_timestamp()", params![])?.try_get(0)?)
    }

    /// Pins a backup, whatever pin it has; `until` of `None` is for good.
    ///
    /// # Errors
    /// When the catalog can't be written.
    pub fn pin(&mut self, id: &BackupId, until: Option<Timestamp>) -> Result<()> {
        let pin = "UPDATE {schema}.backup SET pinned_at = pg_catalog.now(), pinned_until = $2 WHERE id = $1";
        self.client.execute(pin, params![id.as_str(), until])?;
        Ok(())
    }

    /// Takes a backup's pin away.
    ///
    /// # Errors
    /// When the catalog can't be written.
    pub fn unpin(&mut self, id: &BackupId) -> Result<()> {
        let unpin = "UPDATE {schema}.backup SET pinned_at = NULL, pinned_until = NULL WHERE id = $1";
        self.client.execute(unpin, params![id.as_str()])?;
        Ok(())
    }

    /// Says from when on the copies of a source in a store may go: so long after their runs began, or not by age
    /// alone.
    ///
    /// # Errors
    /// When the catalog can't be written.
    pub fn set_expiry(&mut self, source: &str, store: &str, age_seconds: Option<f64>) -> Result<()> {
        self.client.execute(SET_EXPIRY, params![source, store, age_seconds])?;
        Ok(())
    }

    /// Says that somebody looks at the copies of a backup, or mends them, until it is let go or this session ends;
    /// more than one may. False while somebody takes copies away.
    ///
    /// # Errors
    /// When the catalog can't be asked.
    pub fn use_copies(&mut self, id: &BackupId) -> Result<bool> {
        Ok(self.hold(Kind::Copies, id.as_str(), true, None)?.is_ok())
    }

    /// The server's process behind this session: what is claimed is lost with it.
    ///
    /// # Errors
    /// When the catalog can't be asked.
    pub fn session(&mut self) -> Result<i32> {
        self.revive()?;
        Ok(self.client.query_one("SELECT pg_catalog.pg_backend_pid()", params![])?.try_get(0)?)
    }

    /// Says that it is over.
    ///
    /// # Errors
    /// When the catalog can't be asked.
    pub fn let_copies_go(&mut self, id: &BackupId) -> Result<()> {
        self.let_go(Kind::Copies, id.as_str())
    }

    /// Claims the copies of a backup, to take some away; false while somebody uses them. Holds until it is given up
    /// or this session ends.
    ///
    /// # Errors
    /// When the catalog can't be asked.
    pub fn claim_copies(&mut self, id: &BackupId) -> Result<bool> {
        Ok(self.hold(Kind::Copies, id.as_str(), false, None)?.is_ok())
    }

    /// Gives the claim up.
    ///
    /// # Errors
    /// When the catalog can't be asked.
    pub fn give_copies_up(&mut self, id: &BackupId) -> Result<()> {
        self.let_go(Kind::Copies, id.as_str())
    }
}

const KEPT: &str = "\
SELECT id, backup_type, database, tenant, status, created_at, pinned_at, pinned_until,
    store, path, state, size, locked_until, copy.error IS NULL AS is_sound,
    backup.metadata ? 'lacks' AS is_short
FROM {schema}.backup LEFT JOIN {schema}.copy ON copy.backup = id
WHERE source = $1 AND ($2::pg_catalog.text[] IS NULL OR database = ANY($2))
ORDER BY created_at DESC, id DESC, position";

const SET_EXPIRY: &str = "\
UPDATE {schema}.copy SET expires_at = created_at + pg_catalog.make_interval(secs => $3)
FROM {schema}.backup WHERE id = copy.backup AND source = $1 AND store = $2 AND state NOT IN ('failed', 'expired')
    AND expires_at IS DISTINCT FROM created_at + pg_catalog.make_interval(secs => $3)";

fn fault_of(row: &Row, error: Error) -> Result<Fault> {
    let status: &str = row.try_get("status")?;
    let is_over = status == Status::Expired.as_str();
    Ok(Fault { database: row.try_get("database")?, is_over, error })
}

fn run_of(row: &Row) -> Result<Kept> {
    let status: &str = row.try_get("status")?;
    Ok(Kept {
        id: row.try_get("id")?,
        backup_type: row.try_get("backup_type")?,
        database: row.try_get("database")?,
        tenant: row.try_get("tenant")?,
        status: Status::parse(status).with_context(|| format!("status `{status}` is unknown"))?,
        begun_at: row.try_get("created_at")?,
        pinned_at: row.try_get("pinned_at")?,
        pinned_until: row.try_get("pinned_until")?,
        is_short: row.try_get("is_short")?,
        copies: Vec::new(),
    })
}

fn copy_of(row: &Row) -> Result<Option<KeptCopy>> {
    let Some(store) = row.try_get("store")? else { return Ok(None) };
    let state: &str = row.try_get("state")?;
    let size: Option<i64> = row.try_get("size")?;
    Ok(Some(KeptCopy {
        store,
        path: row.try_get("path")?,
        state: CopyState::parse(state).with_context(|| format!("state `{state}` of a copy is unknown"))?,
        size_bytes: size.map(u64::try_from).transpose()?,
        locked_until: row.try_get("locked_until")?,
        is_sound: row.try_get("is_sound")?,
    }))
}
