//! The catalog: the PostgreSQL tables that record every backup and copy. It knows rows; not how backups
//! are made, nor where copies are kept.

use anyhow::{Context, Result};

use crate::connect::{self, BoundedClient, ConnectError, ConnectOptions};
use crate::conninfo::ConnInfo;
use crate::exit::{Code, Failure};
use crate::params;
use crate::schema::{self, Place};

pub mod alerts;
mod deliveries;
pub mod health;
pub mod history;
pub mod kept;
pub mod lock;
mod migrate;
mod notify;
pub mod pending;
pub mod query;
mod rows;
mod session;
pub mod signed;
mod write;

use session::Session;

/// Has the server notice within minutes that we are gone without a word (a host that lost its power, a connection that
/// a firewall forgot): by default that takes it hours, and the session's lock lives as long.
/// What a role has set against idle sessions must not end one that holds a run's lock. Older servers know none
/// of some of it.
const SESSION: &str = "\
SET client_min_messages TO warning; SET statement_timeout TO '60s'; SET lock_timeout TO '30s';
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
    client: Session,
    writers: Vec<String>,
}

impl Catalog {
    /// Connects, and makes or migrates the tables where that is due.
    ///
    /// # Errors
    /// When it can't be reached, the role may not make the tables, a newer pgkeep made them, or what stands in the schema
    /// is somebody else's.
    pub fn open(info: &ConnInfo, schema: &str, options: &ConnectOptions<'static>) -> Result<Self> {
        let client = connect::connect(info, options)
            .map_err(ConnectError::told)
            .context("cannot reach the catalog")?;
        let client = Session::new(BoundedClient::new(client, options.answer_timeout), schema);
        let (info, schema) = (info.clone(), schema.to_owned());
        let mut catalog = Self { info, schema, options: *options, client, writers: Vec::new() };
        catalog.prepare()?;
        Ok(catalog)
    }

    /// Connects anew where the connection has been lost, so that the next call has a live one.
    ///
    /// # Errors
    /// When the catalog can't be reached.
    pub fn revive(&mut self) -> Result<()> {
        let limit = self.options.connect_timeout;
        if self.client.bounded().is_valid(limit) {
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
        let row = self.client.query_one("SELECT id::pg_catalog.text FROM {schema}.identity", params![])?;
        Ok(row.try_get(0)?)
    }

    /// Where its schema is, as far as the role may ask.
    pub fn place(&mut self) -> Option<Place> {
        schema::place(self.client.bounded(), &self.schema)
    }

    /// Roles that may write to its tables although they are not of those that own them: somebody let them.
    #[must_use]
    pub fn writers(&self) -> &[String] {
        &self.writers
    }

    fn prepare(&mut self) -> Result<()> {
        self.client.bounded().batch_execute(SESSION).context("cannot begin a session in the catalog")?;
        let newest = migrate::newest();
        let mut applied = self.applied()?;
        if applied < newest {
            self.migrate()
                .with_context(|| format!("cannot make the catalog's tables in {}", self.shown()))?;
            applied = self.applied()?;
        }
        if applied > newest {
            let what = format!(
                "the catalog in {} is of version {applied}, newer than this pgkeep ({newest})",
                self.shown()
            );
            return Err(Failure::new(Code::Failed, what).hint("install the newer pgkeep here too").into());
        }
        Ok(())
    }

    /// The schema and its database, for people.
    fn shown(&self) -> String {
        format!("schema {} of {}", quote_identifier(&self.schema), self.info.describe())
    }
}

/// An SQL identifier, quoted whatever it holds.
#[must_use]
pub fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
