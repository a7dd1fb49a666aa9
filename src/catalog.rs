//! The catalog: the PostgreSQL tables that record every backup and copy. It knows rows; not how backups
//! are made, nor where copies are kept.

use anyhow::{Context, Result, anyhow};

use crate::connect::{self, BoundedClient, ConnectOptions};
use crate::conninfo::ConnInfo;
use crate::exit::{Code, Failure};
use crate::params;
use crate::step::{self, Step};

pub mod alerts;
mod deliveries;
pub mod health;
pub mod history;
pub mod kept;
pub mod lock;
mod notify;
pub mod pending;
pub mod query;
mod rows;
pub mod signed;
mod write;

mod embedded {
    #![allow(missing_docs, clippy::pedantic, unreachable_pub, reason = "made by refinery's macro")]
    refinery::embed_migrations!("src/catalog/migrations");
}

/// Held while migrations run, so that two first runs do not both make the tables.
const MIGRATION_LOCK: i64 = 0x7067_6b65_6570_0001;

/// Has the server notice within minutes that we are gone without a word (a host that lost its power, a
/// connection that a firewall forgot): by default that takes it hours, and the session's lock lives as long.
/// What a role has set against idle sessions must not end one that holds a run's lock. Older servers know none
/// of some of it.
const SESSION: &str = "\
SELECT pg_catalog.set_config(name, wanted, false)
FROM (VALUES ('tcp_keepalives_idle', '60'), ('tcp_keepalives_interval', '10'),
    ('tcp_keepalives_count', '6'), ('tcp_user_timeout', '120000'),
    ('client_connection_check_interval', '10000'), ('idle_session_timeout', '0')) known(name, wanted)
    JOIN pg_catalog.pg_settings USING (name)
WHERE context = 'user'";

/// A connection to the catalog, its tables in place.
pub struct Catalog {
    info: ConnInfo,
    schema: String,
    options: ConnectOptions<'static>,
    client: BoundedClient,
}

impl Catalog {
    /// Connects, and makes or migrates the tables where that is due.
    ///
    /// # Errors
    /// When it can't be reached, the role may not make the tables, or a newer pgkeep made them.
    pub fn open(info: &ConnInfo, schema: &str, options: &ConnectOptions<'static>) -> Result<Self> {
        let client = connect::connect(info, options).context("cannot reach the catalog")?;
        let client = BoundedClient::new(client, options.answer_timeout);
        let mut catalog = Self { info: info.clone(), schema: schema.to_owned(), options: *options, client };
        catalog.prepare()?;
        Ok(catalog)
    }

    /// Connects anew where the connection has been lost, so that the next call has a live one.
    ///
    /// # Errors
    /// When the catalog can't be reached.
    pub fn revive(&mut self) -> Result<()> {
        let limit = self.options.connect_timeout;
        if self.client.is_valid(limit) {
            return Ok(());
        }
        *self = Self::open(&self.info, &self.schema, &self.options)?;
        Ok(())
    }

    /// Which catalog this is: a random id that its first migration made.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn identity(&mut self) -> Result<String> {
        self.revive()?;
        let row = self.client.query_one("SELECT id::text FROM identity", params![])?;
        Ok(row.try_get(0)?)
    }

    fn prepare(&mut self) -> Result<()> {
        let quoted = quote_identifier(&self.schema);
        self.client
            .batch_execute(format!(
                "SET search_path TO {quoted}; SET client_min_messages TO warning; \
                 SET statement_timeout TO '60s'; SET lock_timeout TO '30s'; {SESSION}"
            ))
            .context("cannot begin a session in the catalog")?;
        let newest = embedded::migrations::runner()
            .get_migrations()
            .iter()
            .map(refinery::Migration::version)
            .max()
            .unwrap_or_default();
        let mut applied = self.applied()?;
        if applied < newest {
            self.migrate(&quoted).with_context(|| {
                format!("cannot make the catalog's tables in schema {quoted} of {}", self.info.describe())
            })?;
            applied = self.applied()?;
        }
        if applied > newest {
            let what = format!(
                "the catalog in schema {quoted} of {} is of version {applied}, newer than this pgkeep ({newest})",
                self.info.describe()
            );
            return Err(Failure::new(Code::Failed, what).hint("install the newer pgkeep here too").into());
        }
        Ok(())
    }

    /// The newest migration in place, 0 for none.
    fn applied(&mut self) -> Result<i32> {
        let table = format!("{}.refinery_schema_history", quote_identifier(&self.schema));
        let to_read = "cannot read the catalog";
        let known =
            self.client.query_one("SELECT to_regclass($1) IS NOT NULL", params![table]).context(to_read)?;
        if !known.try_get::<_, bool>(0)? {
            return Ok(0);
        }
        let newest = format!("SELECT coalesce(max(version), 0)::int FROM {table}");
        let row = self.client.query_one(newest, params![]).context(to_read)?;
        Ok(row.try_get(0)?)
    }

    fn migrate(&mut self, quoted: &str) -> Result<()> {
        self.client.query("SELECT pg_advisory_lock($1)", params![MIGRATION_LOCK])?;
        let done = self.migrate_locked(quoted);
        let unlocked = self.client.query("SELECT pg_advisory_unlock($1)", params![MIGRATION_LOCK]);
        // A session that is lost can't be unlocked either; why it is says more.
        done?;
        unlocked?;
        Ok(())
    }

    fn migrate_locked(&mut self, quoted: &str) -> Result<()> {
        let query = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)";
        if !self.client.query_one(query, params![self.schema])?.try_get::<_, bool>(0)? {
            self.client.batch_execute(format!("CREATE SCHEMA {quoted}"))?;
        }
        step::reached(Step::CatalogHalfMade);
        self.client.ask(|client| {
            embedded::migrations::runner()
                // A newer binary's migrations are not ours to judge; `prepare` refuses them in words.
                .set_abort_missing(false)
                .run(client)
                .map(drop)
                .map_err(|error| anyhow!(error))
        })
    }
}

/// An SQL identifier, quoted whatever it holds.
#[must_use]
pub fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
