//! The rows of alerts, and what listens to them in the database.

use anyhow::{Context as _, Result, anyhow};
use postgres::{Client, Row, Transaction};

use super::Catalog;
use super::session::Schema;
use super::{deliveries, lock};
use crate::alert_record::{Alert, AlertStatus, Delivery, Event};
use crate::exit::one_line;
use crate::finding::{Rule, Severity};
use crate::params;

/// Who listens in the catalog's database listens to this.
pub const LISTENED_TO: &str = "pgkeep_alert";
/// The row that whoever changes alerts locks.
const ALERTS: &str = "alerts";
/// No payload of a notification is longer: the server takes less than 8,000 bytes.
const LONGEST_PAYLOAD_BYTES: usize = 7_900;

const COLUMNS: &str = "id, rule, severity, status, source, backup_id, database, tenant, store, channel, message, \
     detail, first_seen, last_seen, count, acknowledged_at, note, resolved_at";

/// What is to be written in one go.
#[derive(Debug, Default)]
pub struct Changes {
    /// Alerts as they are now.
    pub alerts: Vec<Alert>,
    /// Letters about them.
    pub deliveries: Vec<Delivery>,
    /// What those who listen in the database are told.
    pub told: Vec<(Event, Alert)>,
}

impl Catalog {
    /// Changes the alerts of a source, one caller after the other: `work` gets the open ones and which of `ids` are over,
    /// and says what is to be written. Gives what is open then.
    ///
    /// # Errors
    /// When it can't be read or written; all is as it was.
    pub fn change_alerts(
        &mut self,
        source: &str,
        ids: Vec<String>,
        work: impl FnOnce(Vec<Alert>, &[String]) -> Result<Changes> + Send + 'static,
    ) -> Result<Vec<Alert>> {
        self.revive()?;
        let source = source.to_owned();
        self.client.ask(move |client, schema| change(client, schema, &source, &ids, work))
    }

    /// The alerts of a source or of all, the newest first; those that are over only where that is asked for.
    ///
    /// # Errors
    /// When the catalog can't be read.
    pub fn alerts(&mut self, source: Option<&str>, is_all: bool, limit: u32) -> Result<Vec<Alert>> {
        self.revive()?;
        let query = format!(
            "SELECT {COLUMNS} FROM {{schema}}.alert \
             WHERE ($1::pg_catalog.text IS NULL OR source = $1) AND ($2 OR status <> 'resolved') ORDER BY first_seen DESC, id LIMIT {limit}"
        );
        let source = source.map(str::to_owned);
        let rows = self.client.query(query, params![source, is_all]).context("cannot read the catalog")?;
        Ok(readable(&rows))
    }

    /// The alerts whose id starts with `prefix`, at most `limit`.
    ///
    /// # Errors
    /// When the catalog can't be read.
    pub fn find_alerts(&mut self, prefix: &str, limit: u32) -> Result<Vec<Alert>> {
        self.revive()?;
        let query = format!(
            "SELECT {COLUMNS} FROM {{schema}}.alert WHERE pg_catalog.starts_with(id, $1) ORDER BY id LIMIT {limit}"
        );
        let rows = self.client.query(query, params![prefix]).context("cannot read the catalog")?;
        Ok(readable(&rows))
    }

    /// Says that somebody knows of an alert of a source, and what they say; false where it is over.
    ///
    /// # Errors
    /// When the catalog can't be written.
    pub fn acknowledge(&mut self, source: &str, id: &str, note: Option<&str>) -> Result<bool> {
        self.revive()?;
        let source = source.to_owned();
        let (id, note) = (id.to_owned(), note.map(str::to_owned));
        self.client.ask(move |client, schema| {
            let mut transaction = alone(client, schema)?;
            let count = transaction.execute(&schema.sql(ACKNOWLEDGE), &[&id, &source, &note])?;
            transaction.commit()?;
            Ok(count == 1)
        })
    }
}

/// A transaction beside which nobody changes alerts.
fn alone<'a>(client: &'a mut Client, schema: &Schema) -> Result<Transaction<'a>> {
    let mut transaction = client.transaction()?;
    // No backup waits long for somebody else's alerts: they can be kept in a file.
    transaction.batch_execute(lock::SHORT)?;
    transaction.batch_execute("SET LOCAL lock_timeout TO '3s'")?;
    transaction.query_one(&schema.sql(lock::TURN), &[&ALERTS])?;
    Ok(transaction)
}

fn change(
    client: &mut Client,
    schema: &Schema,
    source: &str,
    ids: &[String],
    work: impl FnOnce(Vec<Alert>, &[String]) -> Result<Changes>,
) -> Result<Vec<Alert>> {
    let mut transaction = alone(client, schema)?;
    let open_ones = open(&mut transaction, schema, source)?;
    let over = over(&mut transaction, schema, ids)?;
    let changes = work(open_ones, &over)?;
    for alert in &changes.alerts {
        put(&mut transaction, schema, alert)?;
    }
    for delivery in &changes.deliveries {
        deliveries::insert(&mut transaction, schema, delivery)?;
    }
    for (event, alert) in &changes.told {
        let payload = payload(*event, alert)?;
        transaction.execute("SELECT pg_catalog.pg_notify($1, $2)", &[&LISTENED_TO, &payload])?;
    }
    let open = open(&mut transaction, schema, source)?;
    transaction.commit()?;
    for forget in [FORGET_LETTERS, FORGET_ALERTS] {
        if let Err(error) = client.execute(&schema.sql(forget), &[&source]) {
            log::info!("old alerts stay on record: {}", one_line(&error.into()));
        }
    }
    Ok(open)
}

fn open(transaction: &mut Transaction<'_>, schema: &Schema, source: &str) -> Result<Vec<Alert>> {
    let query = format!(
        "SELECT {COLUMNS} FROM {{schema}}.alert WHERE source = $1 AND status <> 'resolved' ORDER BY first_seen, id"
    );
    let rows = transaction.query(&schema.sql(&query), &[&source]).context("cannot read the alerts")?;
    Ok(readable(&rows))
}

/// Those of the ids whose alert is over.
fn over(transaction: &mut Transaction<'_>, schema: &Schema, ids: &[String]) -> Result<Vec<String>> {
    let query = "SELECT id FROM {schema}.alert WHERE id = ANY($1) AND status = 'resolved'";
    let rows = transaction.query(&schema.sql(query), &[&ids]).context("cannot read the alerts")?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Each by itself: one that is none, by a newer pgkeep or by hand, holds no other up.
fn readable(rows: &[Row]) -> Vec<Alert> {
    let read = |row: &Row| {
        alert(row).inspect_err(|error| log::warn!("an alert on record is left alone: {error:#}")).ok()
    };
    rows.iter().filter_map(read).collect()
}

fn put(transaction: &mut Transaction<'_>, schema: &Schema, alert: &Alert) -> Result<()> {
    let count = i64::try_from(alert.count)?;
    let put = transaction.execute(
        &schema.sql(PUT),
        &[
            &alert.id,
            &alert.rule.as_str(),
            &alert.severity.as_str(),
            &alert.status.as_str(),
            &alert.source,
            &alert.backup_id,
            &alert.database,
            &alert.tenant,
            &alert.store,
            &alert.channel,
            &alert.message,
            &alert.detail,
            &alert.first_seen,
            &alert.last_seen,
            &count,
            &alert.acknowledged_at,
            &alert.note,
            &alert.resolved_at,
        ],
    );
    put.with_context(|| format!("cannot record the alert `{}`", alert.id)).map(drop)
}

const ACKNOWLEDGE: &str = "\
UPDATE {schema}.alert SET status = 'acknowledged', acknowledged_at = pg_catalog.now(), note = coalesce($3, note)
WHERE id = $1 AND source = $2 AND status <> 'resolved'";

/// What was sent, or never will be, is of no use for long.
const FORGET_LETTERS: &str = "\
DELETE FROM {schema}.delivery
WHERE source = $1 AND status <> 'waiting'
    AND coalesce(tried_at, created_at) < pg_catalog.now() - interval '30 days'";

/// What is over is looked up for a year. That somebody called an empty dump right is not forgotten.
const FORGET_ALERTS: &str = "\
DELETE FROM {schema}.alert
WHERE source = $1 AND status = 'resolved' AND resolved_at < pg_catalog.now() - interval '1 year'
    AND rule <> 'empty_dump'";

const PUT: &str = "\
INSERT INTO {schema}.alert (id, rule, severity, status, source, backup_id, database, tenant, store, channel, message,
    detail, first_seen, last_seen, count, acknowledged_at, note, resolved_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
ON CONFLICT (id) DO UPDATE SET
    severity = excluded.severity, status = excluded.status, backup_id = excluded.backup_id,
    message = excluded.message, detail = excluded.detail, first_seen = excluded.first_seen,
    last_seen = excluded.last_seen, count = excluded.count, acknowledged_at = excluded.acknowledged_at,
    note = excluded.note, resolved_at = excluded.resolved_at
-- What is over stays over: the same problem again is another alert.
WHERE alert.status <> 'resolved'";

/// The alert and what is new of it, cut where the server would not take it.
pub(super) fn payload(event: Event, alert: &Alert) -> Result<String> {
    let mut alert = alert.clone();
    loop {
        let mut document = serde_json::to_value(&alert)?;
        let fields = document.as_object_mut().context("an alert is an object")?;
        fields.insert("event".to_owned(), event.as_str().into());
        let text = document.to_string();
        if text.len() <= LONGEST_PAYLOAD_BYTES {
            return Ok(text);
        }
        if alert.detail.take().is_none() && alert.note.take().is_none() {
            let half = alert.message.chars().count() / 2;
            alert.message = alert.message.chars().take(half).collect();
            if half == 0 {
                return Err(anyhow!("an alert with a name of {} bytes can't be told", text.len()));
            }
        }
    }
}

fn alert(row: &Row) -> Result<Alert> {
    let word = |column: &str| -> Result<String> { Ok(row.try_get(column)?) };
    let (rule, severity, status) = (word("rule")?, word("severity")?, word("status")?);
    let count: i64 = row.try_get("count")?;
    Ok(Alert {
        id: row.try_get("id")?,
        rule: Rule::parse(&rule).with_context(|| format!("rule `{rule}` is unknown"))?,
        severity: Severity::parse(&severity).with_context(|| format!("severity `{severity}` is unknown"))?,
        status: AlertStatus::parse(&status).with_context(|| format!("status `{status}` is unknown"))?,
        source: row.try_get("source")?,
        backup_id: row.try_get("backup_id")?,
        database: row.try_get("database")?,
        tenant: row.try_get("tenant")?,
        store: row.try_get("store")?,
        channel: row.try_get("channel")?,
        message: row.try_get("message")?,
        detail: row.try_get("detail")?,
        first_seen: row.try_get("first_seen")?,
        last_seen: row.try_get("last_seen")?,
        count: u64::try_from(count)?,
        acknowledged_at: row.try_get("acknowledged_at")?,
        note: row.try_get("note")?,
        resolved_at: row.try_get("resolved_at")?,
    })
}
