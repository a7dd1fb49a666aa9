//! The rows of messages about alerts: what waits, is tried, and was sent.

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use postgres::{Row, Transaction};

use super::Catalog;
use super::session::Schema;
use crate::alert_record::{Delivery, DeliveryStatus, Message};
use crate::params;

impl Catalog {
    /// The messages of a source that wait, in the order in which they were written.
    ///
    /// # Errors
    /// When the catalog can't be read.
    pub fn waiting(&mut self, source: &str) -> Result<Vec<Delivery>> {
        self.revive()?;
        let rows = self.client.query(WAITING, params![source]).context("cannot read the catalog")?;
        let readable = |row: &Row| {
            // One that is none holds no other up.
            delivery(row).inspect_err(|error| log::warn!("a message on record is left alone: {error:#}")).ok()
        };
        Ok(rows.iter().filter_map(readable).collect())
    }

    /// Writes messages that are to be sent, and says of those of the same channel without an alert that they are out
    /// of date, as far as a newer one says as much.
    ///
    /// # Errors
    /// When the catalog can't be written.
    pub fn add_deliveries(&mut self, deliveries: &[Delivery]) -> Result<()> {
        self.revive()?;
        let deliveries = deliveries.to_vec();
        self.client.ask(move |client, schema| {
            let mut transaction = client.transaction()?;
            for delivery in &deliveries {
                if let Some(with_failures) = delivery.message.takes_the_place_of_failures() {
                    let channels = std::slice::from_ref(&delivery.channel);
                    transaction
                        .execute(&schema.sql(SUPERSEDE), &[&delivery.source, &channels, &with_failures])?;
                }
                insert(&mut transaction, schema, delivery)?;
            }
            Ok(transaction.commit()?)
        })
    }

    /// Says of what waits for these channels without an alert that it is out of date, unless it tells of a failure.
    ///
    /// # Errors
    /// When the catalog can't be written.
    pub fn supersede_deliveries(&mut self, source: &str, channels: &[String]) -> Result<()> {
        self.revive()?;
        self.client.execute(SUPERSEDE, params![source, channels, false])?;
        Ok(())
    }

    /// Says that a message is being tried; false where another call was quicker.
    ///
    /// # Errors
    /// When the catalog can't be written.
    pub fn begin_delivery(&mut self, begun: &Delivery) -> Result<bool> {
        let attempts = i32::try_from(begun.attempts)?;
        let (due_at, tried_at): (Timestamp, Option<Timestamp>) = (begun.due_at, begun.tried_at);
        let count = self.client.execute(BEGIN, params![begun.id, attempts, due_at, tried_at])?;
        Ok(count == 1)
    }

    /// Says what came of it.
    ///
    /// # Errors
    /// When the catalog can't be written.
    pub fn settle_delivery(&mut self, settled: &Delivery) -> Result<()> {
        let status = settled.status.as_str();
        self.client
            .execute(SETTLE, params![settled.id, status, settled.due_at, settled.sent_at, settled.error])?;
        Ok(())
    }

    /// Has no message to a channel tried before, and says why.
    ///
    /// # Errors
    /// When the catalog can't be written.
    pub fn postpone_deliveries(
        &mut self,
        source: &str,
        channel: &str,
        until: Timestamp,
        why: &str,
    ) -> Result<()> {
        self.client.execute(POSTPONE, params![source, channel, until, why])?;
        Ok(())
    }
}

/// Writes a message, unless it stands there already.
pub(super) fn insert(transaction: &mut Transaction<'_>, schema: &Schema, delivery: &Delivery) -> Result<()> {
    let message = serde_json::to_value(&delivery.message)?;
    let alert = delivery.alert().map(|alert| alert.id.clone());
    let attempts = i32::try_from(delivery.attempts)?;
    let inserted = transaction.execute(
        &schema.sql(INSERT),
        &[
            &delivery.id,
            &alert,
            &delivery.source,
            &delivery.channel,
            &delivery.recipient,
            &delivery.event(),
            &message,
            &delivery.status.as_str(),
            &delivery.created_at,
            &delivery.due_at,
            &attempts,
            &delivery.tried_at,
            &delivery.sent_at,
            &delivery.error,
        ],
    );
    inserted.with_context(|| format!("cannot record the message `{}`", delivery.id)).map(drop)
}

const INSERT: &str = "\
INSERT INTO {schema}.delivery (id, alert, source, channel, recipient, event, letter, status, created_at, due_at, attempts,
    tried_at, sent_at, error)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
ON CONFLICT (id) DO NOTHING";

const SUPERSEDE: &str = "\
UPDATE {schema}.delivery SET status = 'superseded'
WHERE source = $1 AND channel = ANY($2) AND status = 'waiting' AND alert IS NULL
    AND ($3 OR event <> 'fail')";

/// So many of each channel: one that is dead keeps no other from being told.
const WAITING: &str = "\
SELECT id, source, channel, recipient, letter, status, created_at, due_at, attempts, tried_at, sent_at, error
FROM (
    SELECT *, pg_catalog.row_number() OVER (PARTITION BY channel ORDER BY created_at, id) AS place
    FROM {schema}.delivery WHERE source = $1 AND status = 'waiting') waiting
WHERE place <= 1000 ORDER BY created_at, id";

/// Whoever writes it first is the one who tries.
const BEGIN: &str = "\
UPDATE {schema}.delivery SET attempts = $2, due_at = $3, tried_at = $4, error = NULL
WHERE id = $1 AND status = 'waiting' AND attempts = $2 - 1";

const SETTLE: &str = "\
UPDATE {schema}.delivery SET status = $2, due_at = $3, sent_at = $4, error = $5
WHERE id = $1 AND status = 'waiting'";

const POSTPONE: &str = "\
UPDATE {schema}.delivery SET due_at = $3, error = coalesce(error, $4)
WHERE source = $1 AND channel = $2 AND status = 'waiting' AND due_at < $3";

fn delivery(row: &Row) -> Result<Delivery> {
    let status: String = row.try_get("status")?;
    let message: serde_json::Value = row.try_get("letter")?;
    let attempts: i32 = row.try_get("attempts")?;
    Ok(Delivery {
        id: row.try_get("id")?,
        source: row.try_get("source")?,
        channel: row.try_get("channel")?,
        recipient: row.try_get("recipient")?,
        message: serde_json::from_value::<Message>(message).context("it can't be read")?,
        status: DeliveryStatus::parse(&status).with_context(|| format!("status `{status}` is unknown"))?,
        created_at: row.try_get("created_at")?,
        due_at: row.try_get("due_at")?,
        attempts: u32::try_from(attempts)?,
        tried_at: row.try_get("tried_at")?,
        sent_at: row.try_get("sent_at")?,
        error: row.try_get("error")?,
    })
}
