//! The tables of the catalog, made and changed by migrations: all that are due in one transaction, by one caller.

use anyhow::{Context, Result};
use postgres::Client;
use postgres::error::SqlState;

use super::Catalog;
use super::session::Schema;
use crate::exit::{Failure, one_line};
use crate::params;
use crate::schema::{self, Look};
use crate::testpoint::{self, Step};

mod embedded {
    #![allow(missing_docs, clippy::pedantic, unreachable_pub, reason = "made by refinery's macro")]
    refinery::embed_migrations!("src/catalog/migrations");
}

/// How often another caller may be quicker.
const TRIES: u32 = 5;

/// The newest migration that there is.
pub(super) fn newest() -> i32 {
    migrations().iter().map(refinery::Migration::version).max().unwrap_or_default()
}

/// In their order.
fn migrations() -> Vec<refinery::Migration> {
    let mut migrations = embedded::migrations::runner().get_migrations().clone();
    migrations.sort();
    migrations
}

impl Catalog {
    /// The newest migration in place, 0 for none.
    ///
    /// # Errors
    /// When what stands in the schema is not to be trusted: nothing of it is read.
    pub(super) fn applied(&mut self) -> Result<i32> {
        let look = self.look()?;
        self.writers = look.writers;
        if !look.has_history {
            return Ok(0);
        }
        let row = self.client.query_one(APPLIED, params![]).context("cannot read the catalog")?;
        Ok(row.try_get(0)?)
    }

    fn look(&mut self) -> Result<Look> {
        let mut look = self.look_once()?;
        // `GRANT ALL ON ALL TABLES` gives away more than anybody needs.
        if look.has_grants_alone() {
            match schema::revoke_locked(self.client.bounded(), &self.schema, &look) {
                Ok(()) => {
                    let was = std::mem::replace(&mut look, self.look_once()?);
                    if look.grants.is_empty() {
                        log::warn!("{}: {}: these rights were revoked", self.shown(), was.words());
                    }
                }
                Err(error) => log::info!("{}: {}", self.shown(), one_line(&error)),
            }
        }
        if look.faults.is_empty() {
            return Ok(look);
        }
        let what = format!("{} is not trusted with the catalog: {}", self.shown(), look.words());
        let hint = match look.revokes.first().filter(|_| look.has_grants_alone()) {
            Some(revoke) => {
                let more = look.revokes.len().saturating_sub(1);
                let more = if more > 0 { format!(" (and {more} more like it)") } else { String::new() };
                format!("if the schema is yours, have its owner take them back: {revoke}{more}")
            }
            None => "if the schema is yours, mend that (ALTER ... OWNER TO, REVOKE, DROP); if it is not, name another one in \
                     `[catalog] schema`, or another database in `[catalog] url`"
                .to_owned(),
        };
        Err(Failure::failed(what).hint(hint).into())
    }

    fn look_once(&mut self) -> Result<Look> {
        schema::look(self.client.bounded(), &self.schema).context("cannot read the catalog")
    }

    /// Makes the schema, and all that is due in it. Nobody sees anything half made, and whoever comes second waits.
    pub(super) fn migrate(&mut self) -> Result<()> {
        let mut tries = TRIES;
        loop {
            // What somebody else has made meanwhile is looked at like anything else.
            let look = self.look()?;
            tries = tries.saturating_sub(1);
            let name = self.schema.clone();
            match self.client.ask(move |client, schema| migrate(client, schema, &name, &look)) {
                Err(error) if tries > 0 && is_taken(&error) => {}
                done => return done,
            }
        }
    }
}

/// Whether somebody else has made the same a moment ago.
fn is_taken(error: &anyhow::Error) -> bool {
    let state = error.downcast_ref::<postgres::Error>().and_then(postgres::Error::code);
    let known = [
        SqlState::DUPLICATE_SCHEMA,
        SqlState::DUPLICATE_TABLE,
        SqlState::DUPLICATE_OBJECT,
        SqlState::UNIQUE_VIOLATION,
    ];
    state.is_some_and(|state| known.contains(state))
}

fn migrate(client: &mut Client, schema: &Schema, name: &str, look: &Look) -> Result<()> {
    let mut transaction = client.transaction()?;
    if !look.exists {
        transaction.batch_execute(&schema.sql("CREATE SCHEMA {schema}"))?;
    }
    testpoint::reached(Step::CatalogHalfMade);
    if !look.has_history {
        transaction.batch_execute(&schema.sql(MAKE_HISTORY))?;
    }
    // Those who may only read can't take it, nor are they held up.
    transaction.batch_execute(
        &schema.sql("LOCK TABLE {schema}.refinery_schema_history IN SHARE ROW EXCLUSIVE MODE"),
    )?;
    let applied: i32 = transaction.query_one(&schema.sql(APPLIED), &[])?.try_get(0)?;
    for migration in migrations().iter().filter(|migration| migration.version() > applied) {
        let statements = migration.sql().context("a migration without statements")?;
        transaction.batch_execute(&schema.sql(statements))?;
        let checksum = migration.checksum().to_string();
        transaction.execute(&schema.sql(PUT), &[&migration.version(), &migration.name(), &checksum])?;
    }
    // What is granted by default on new tables.
    schema::revoke(&mut transaction, name)?;
    Ok(transaction.commit()?)
}

const APPLIED: &str = "\
SELECT coalesce(pg_catalog.max(version), 0)::pg_catalog.int4 FROM {schema}.refinery_schema_history";

/// As refinery makes it.
const MAKE_HISTORY: &str = "\
CREATE TABLE {schema}.refinery_schema_history (
    version pg_catalog.int4 PRIMARY KEY, name varchar(255), applied_on varchar(255), checksum varchar(255))";

const PUT: &str = "\
INSERT INTO {schema}.refinery_schema_history (version, name, applied_on, checksum)
VALUES ($1, $2, pg_catalog.to_char(pg_catalog.now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), $3)";
