//! What is asked of the catalog and written to it.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use jiff::Timestamp;

use super::write::write;
use super::{Catalog, rows};
use crate::backup::{Backup, CopyState, Status};
use crate::connect::Param;
use crate::name::BackupId;
use crate::params;

/// The name in the metadata of a backup under which the time of the last check stands, by store.
pub const CHECKED: &str = "checked";

/// Which backups are meant; an empty filter means all of them.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of this source.
    pub source: Option<String>,
    /// Of this type.
    pub backup_type: Option<String>,
    /// Of this database.
    pub database: Option<String>,
    /// Of this status.
    pub status: Option<Status>,
    /// Begun at this time or later.
    pub since: Option<Timestamp>,
    /// Only those that can be restored from.
    pub usable: bool,
    /// Only those whose record gives the time that their id gives.
    pub dated: bool,
    /// At most so many, the newest first.
    pub limit: Option<u32>,
}

impl Catalog {
    /// Writes a backup and its copies over what is on record of it, in one transaction.
    ///
    /// # Errors
    /// When it can't be written; the record is as it was.
    pub fn save(&mut self, backup: &Backup) -> Result<()> {
        self.save_as(backup, false)
    }

    /// The same with a record that has waited: what is known of a usable backup by now stays as it is.
    ///
    /// # Errors
    /// As [`Catalog::save`].
    pub(super) fn save_late(&mut self, backup: &Backup) -> Result<()> {
        self.save_as(backup, true)
    }

    fn save_as(&mut self, backup: &Backup, is_late: bool) -> Result<()> {
        self.revive()?;
        let backup = backup.clone();
        self.client.ask(move |client, schema| write(client.transaction()?, schema, &backup, is_late))
    }

    /// The backups that pass the filter, the newest first, each with its copies.
    ///
    /// # Errors
    /// When the catalog can't be read.
    pub fn list(&mut self, filter: &Filter) -> Result<Vec<Backup>> {
        self.revive()?;
        let (all, _) = conditions(filter);
        self.select(&all, &|| conditions(filter).1, filter.limit)
    }

    /// The ids of the backups that pass the filter, the one first whose last check in any of these stores is
    /// the oldest.
    ///
    /// # Errors
    /// When the catalog can't be read.
    pub fn by_age_of_check(&mut self, filter: &Filter, stores: &[&str]) -> Result<Vec<BackupId>> {
        self.revive()?;
        let (conditions, mut wanted) = conditions(filter);
        let all = if conditions.is_empty() { "true".to_owned() } else { conditions.join(" AND ") };
        let stores: Vec<String> = stores.iter().map(|store| (*store).to_owned()).collect();
        wanted.push(Box::new(stores));
        // As text: what stands there may be no time.
        let query = format!(
            "SELECT id FROM {{schema}}.backup, LATERAL (SELECT pg_catalog.min(coalesce( \
                CASE WHEN metadata->'{CHECKED}'->>store ~ '^[0-9-]+T[0-9:.]+Z$' THEN metadata->'{CHECKED}'->>store END, \
                pg_catalog.to_char(verified_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), '') \
                COLLATE pg_catalog.\"C\") AS at FROM pg_catalog.unnest(${}::pg_catalog.text[]) store) checked \
             WHERE {all} ORDER BY checked.at COLLATE pg_catalog.\"C\", created_at, id",
            wanted.len()
        );
        let rows = self.client.query(query, wanted).context("cannot read the catalog")?;
        let ids = rows.iter().map(|row| Ok(BackupId::parse(row.try_get(0)?)));
        Ok(ids.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    /// Of each backup of a source its id and status, and of each of its copies the store and the path.
    ///
    /// # Errors
    /// When the catalog can't be read.
    pub fn known(&mut self, source: &str) -> Result<Vec<Known>> {
        self.revive()?;
        let query = "SELECT id, status, store, path, state \
                     FROM {schema}.backup LEFT JOIN {schema}.copy ON copy.backup = id WHERE source = $1";
        let rows = self.client.query(query, params![source]).context("cannot read the catalog")?;
        let known = |row: &postgres::Row| -> Result<Known> {
            let (status, state): (String, Option<String>) = (row.try_get(1)?, row.try_get(4)?);
            Ok(Known {
                id: row.try_get(0)?,
                status: Status::parse(&status).with_context(|| format!("status `{status}` is unknown"))?,
                store: row.try_get(2)?,
                path: row.try_get(3)?,
                state: state.as_deref().and_then(CopyState::parse),
            })
        };
        Ok(rows::readable(&rows, known))
    }

    /// The backups that pass the filter, but for their times: those on record are not those of their ids. Only those that
    /// would be newer than a backup by one of the two, a few of them.
    ///
    /// # Errors
    /// When the catalog can't be read.
    pub fn misdated(&mut self, filter: &Filter, than: Option<&Backup>) -> Result<Vec<(String, String)>> {
        let (conditions, mut wanted) = conditions(&Filter { dated: false, since: None, ..filter.clone() });
        let all = if conditions.is_empty() { "true".to_owned() } else { conditions.join(" AND ") };
        wanted.push(Box::new(than.map(|backup| backup.created_at)));
        let dated = dated();
        let query = format!(
            "SELECT id, pg_catalog.to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS UTC') \
             FROM {{schema}}.backup WHERE {all} AND NOT {dated} AND (${number}::timestamp with time zone IS NULL \
                OR created_at >= ${number} \
                OR {STAMP} >= pg_catalog.to_char(${number} AT TIME ZONE 'UTC', {STAMP_FORMAT})) \
             ORDER BY id LIMIT 5",
            number = wanted.len()
        );
        let rows = self.client.query(query, wanted).context("cannot read the catalog")?;
        rows.iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get::<_, Option<_>>(1)?.unwrap_or_default())))
            .collect()
    }

    /// The names of the databases whose backups pass the filter, at most `limit`.
    ///
    /// # Errors
    /// When the catalog can't be read.
    pub fn databases(&mut self, filter: &Filter, limit: u32) -> Result<Vec<String>> {
        self.revive()?;
        let (conditions, wanted) = conditions(filter);
        let all = if conditions.is_empty() { "true".to_owned() } else { conditions.join(" AND ") };
        let query = format!(
            "SELECT DISTINCT database FROM {{schema}}.backup WHERE {all} ORDER BY database LIMIT {limit}"
        );
        let rows = self.client.query(query, wanted).context("cannot read the catalog")?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    /// The backups whose id starts with `prefix`, at most `limit`.
    ///
    /// # Errors
    /// When the catalog can't be read.
    pub fn find(&mut self, prefix: &str, limit: u32) -> Result<Vec<Backup>> {
        self.revive()?;
        let escaped: String = prefix
            .chars()
            .flat_map(|c| matches!(c, '\\' | '%' | '_').then_some('\\').into_iter().chain([c]))
            .collect();
        let pattern = format!("{escaped}%");
        self.select(&["id LIKE $1".to_owned()], &|| params![pattern], Some(limit))
    }

    /// The newest artifact of a database, for an estimate of the next one's size.
    ///
    /// # Errors
    /// When the catalog can't be read.
    pub fn last_size_bytes(&mut self, source: &str, database: &str, kind: &str) -> Result<Option<u64>> {
        self.revive()?;
        let row = self.client.query_opt(
            "SELECT size_bytes FROM {schema}.backup WHERE source = $1 AND database = $2 AND backup_type = $3 \
             AND status IN ('completed', 'verified', 'degraded') ORDER BY created_at DESC LIMIT 1",
            params![source, database, kind],
        )?;
        let size: Option<i64> = row.map(|row| row.try_get(0)).transpose()?.flatten();
        Ok(size.map(u64::try_from).transpose()?)
    }

    /// When the newest run for a database began.
    ///
    /// # Errors
    /// When the catalog can't be read.
    pub fn newest(&mut self, source: &str, database: &str) -> Result<Option<Timestamp>> {
        self.revive()?;
        let query =
            "SELECT pg_catalog.max(created_at) FROM {schema}.backup WHERE source = $1 AND database = $2";
        Ok(self.client.query_one(query, params![source, database])?.try_get(0)?)
    }

    /// Whether the run of a backup has said of late that it is alive, by the clock that stamps its beats.
    ///
    /// # Errors
    /// When the catalog can't be read.
    pub fn is_beating(&mut self, id: &BackupId) -> Result<bool> {
        let query = "SELECT coalesce(pg_catalog.abs(extract(epoch FROM pg_catalog.now() - heartbeat_at))::float \
                     < $2::float, false) FROM {schema}.backup WHERE id = $1";
        let row = self.client.query_opt(query, params![id.as_str(), super::lock::FRESH.as_secs_f64()])?;
        row.map_or(Ok(false), |row| Ok(row.try_get(0)?))
    }

    /// The unfinished backups of a database: a run that works on one, or those that died over theirs.
    ///
    /// # Errors
    /// When the catalog can't be read.
    pub fn unfinished(&mut self, source: &str, database: &str) -> Result<Vec<Backup>> {
        let conditions = ["status = 'in_progress'", "source = $1", "database = $2"].map(str::to_owned);
        self.select(&conditions, &|| params![source, database], None)
    }

    /// Says that the run of a backup is alive.
    pub(super) fn beat(&mut self, id: &BackupId) -> Result<()> {
        let beat = "UPDATE {schema}.backup SET heartbeat_at = pg_catalog.now() WHERE id = $1";
        self.client.execute(beat, params![id.as_str()])?;
        Ok(())
    }

    /// Marks an unfinished backup as failed; false when it has been finished meanwhile.
    ///
    /// # Errors
    /// When the catalog can't be written.
    pub fn bury(&mut self, id: &BackupId, reason: &str) -> Result<bool> {
        let buried = self.client.execute(
            "UPDATE {schema}.backup SET status = 'failed', error = $2, finished_at = pg_catalog.now() \
             WHERE id = $1 AND status = 'in_progress'",
            params![id.as_str(), reason],
        )?;
        Ok(buried > 0)
    }

    /// What the newest runs for a database did not make whole. Those of other hosts than `host` count once they
    /// have shown no sign of life for an hour: one may have lost its connection, and its lock with it. What is being
    /// repaired does not count.
    ///
    /// # Errors
    /// When the catalog can't be read.
    pub fn incomplete(&mut self, source: &str, database: &str, host: &str) -> Result<Vec<IncompleteBackup>> {
        let query = UNMADE.replace("{alive}", super::lock::ALIVE);
        let rows = self.client.query(query, params![source, database, host])?;
        let incomplete = rows.iter().map(|row| {
            let id = BackupId::parse(row.try_get(0)?);
            let store = row.try_get(1)?;
            Ok(id.map(|id| IncompleteBackup { id, store }))
        });
        Ok(incomplete.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    /// Keeps in mind that nothing is left of failed runs in any store; of those that ended within the last hour
    /// something may still arrive.
    ///
    /// # Errors
    /// When the catalog can't be written.
    pub fn mark_swept(&mut self, ids: Vec<String>) -> Result<()> {
        self.client.execute(MARK_SWEPT, vec![Box::new(ids)])?;
        Ok(())
    }

    fn select(
        &mut self,
        conditions: &[String],
        wanted: &dyn Fn() -> Vec<Param>,
        limit: Option<u32>,
    ) -> Result<Vec<Backup>> {
        let all = if conditions.is_empty() { "true".to_owned() } else { conditions.join(" AND ") };
        let columns = rows::BACKUP_COLUMNS;
        let query = format!(
            "SELECT {columns} FROM {{schema}}.backup WHERE {all} ORDER BY created_at DESC, id DESC LIMIT ${}",
            wanted().len().saturating_add(1)
        );
        let mut most = limit.map(i64::from);
        let least = limit.map_or(Ok(usize::MAX), usize::try_from)?;
        let (mut backups, faults) = loop {
            let mut wanted = wanted();
            wanted.push(Box::new(most));
            let found = self.client.query(&query, wanted).context("cannot read the catalog")?;
            let sorted = rows::sorted(&found, rows::backup);
            // What can't be read takes nobody's place.
            let is_short = sorted.0.len() < least;
            match most {
                Some(asked) if is_short && i64::try_from(found.len())? == asked => {
                    most = Some(asked.saturating_mul(2).saturating_add(8));
                }
                _ => break sorted,
            }
        };
        faults.iter().for_each(rows::warn);
        backups.truncate(least);
        let ids: Vec<String> = backups.iter().map(|backup| backup.id.as_str().to_owned()).collect();
        let query = format!(
            "SELECT {} FROM {{schema}}.copy WHERE backup = ANY($1) ORDER BY backup, position, store",
            rows::COPY_COLUMNS
        );
        let mut copies: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for row in self.client.query(query, vec![Box::new(ids)]).context("cannot read the catalog")? {
            let id: String = row.try_get("backup")?;
            match rows::copy(&row).with_context(|| format!("a copy of `{id}`")) {
                Ok(copy) => copies.entry(id).or_default().push(copy),
                Err(error) => rows::warn(&error),
            }
        }
        for backup in &mut backups {
            backup.copies = copies.remove(backup.id.as_str()).unwrap_or_default();
        }
        Ok(backups)
    }
}

/// What is on record of one copy, or of a backup without any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The backup's id.
    pub id: String,
    /// How the backup stands.
    pub status: Status,
    /// The copy's store.
    pub store: Option<String>,
    /// The copy's path in it.
    pub path: Option<String>,
    /// How the copy stands.
    pub state: Option<CopyState>,
}

/// What a filter asks for, as conditions with numbered parameters, and the parameters.
fn conditions(filter: &Filter) -> (Vec<String>, Vec<Param>) {
    let mut wanted: Vec<Param> = Vec::new();
    let mut conditions: Vec<String> = Vec::new();
    let mut add = |column: &str, value: Option<Param>| {
        if let Some(value) = value {
            wanted.push(value);
            conditions.push(format!("{column} ${}", wanted.len()));
        }
    };
    let text = |value: &Option<String>| value.clone().map(|value| Box::new(value) as Param);
    add("source =", text(&filter.source));
    add("backup_type =", text(&filter.backup_type));
    add("database =", text(&filter.database));
    add("status =", filter.status.map(|status| Box::new(status.as_str()) as Param));
    add("created_at >=", filter.since.map(|since| Box::new(since) as Param));
    if filter.usable {
        conditions.push("status IN ('completed', 'verified', 'degraded')".to_owned());
    }
    if filter.dated {
        conditions.push(dated());
    }
    (conditions, wanted)
}

/// The time in an id, in the order of times.
const STAMP: &str = "pg_catalog.left(pg_catalog.right(id, 21), 16) COLLATE pg_catalog.\"C\"";
const STAMP_FORMAT: &str = "'YYYYMMDD\"T\"HH24MISS\"Z\"'";

/// Whether the time on record is the one in the id, give or take a minute.
fn dated() -> String {
    let near = |sign: &str| {
        format!(
            "pg_catalog.to_char((created_at {sign} interval '1 minute') AT TIME ZONE 'UTC', {STAMP_FORMAT})"
        )
    };
    format!("coalesce({STAMP} BETWEEN {} AND {}, false)", near("-"), near("+"))
}

/// A copy that a run did not make whole: something of it may be left in its store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncompleteBackup {
    /// The backup.
    pub id: BackupId,
    /// The store; `None` means every one.
    pub store: Option<String>,
}

/// What was swept in every store, long enough after its run that no request of it is still on its way, is done with.
const UNMADE: &str = "\
WITH of_database AS (
    SELECT *, coalesce(heartbeat_at, finished_at, created_at) < pg_catalog.now() - interval '1 hour' AS is_quiet
    FROM {schema}.backup WHERE source = $1 AND database = $2)
SELECT id, store FROM (
    (SELECT id, NULL::pg_catalog.text AS store, created_at FROM of_database
     WHERE status = 'failed' AND NOT metadata ? 'swept_at' AND (is_quiet OR metadata->>'host' = $3)
     ORDER BY created_at DESC LIMIT 1000)
    UNION ALL
    (SELECT id, copy.store, created_at FROM of_database JOIN {schema}.copy ON copy.backup = id
     WHERE status = 'degraded' AND state = 'failed' AND NOT EXISTS (
         SELECT FROM {schema}.lock_holder h WHERE h.kind = 'copies' AND h.name = of_database.id AND {alive})
     ORDER BY created_at DESC LIMIT 100)) incomplete
ORDER BY created_at DESC";

const MARK_SWEPT: &str = "\
UPDATE {schema}.backup SET metadata = metadata || pg_catalog.jsonb_build_object('swept_at', pg_catalog.now())
WHERE id = ANY($1) AND status = 'failed' AND pg_catalog.jsonb_typeof(metadata) = 'object'
    AND coalesce(heartbeat_at, finished_at) < pg_catalog.now() - interval '1 hour'";
