//! What is asked of a server before its data is dumped or restored.

use anyhow::Result;

use crate::connect::{self, BoundedClient, ConnectError, ConnectOptions, NoAnswer};
use crate::conninfo::ConnInfo;
use crate::params;
use crate::schema::{self, Look, Place};

/// What a server says of itself and of one database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its version in words: `15.18 (Debian 15.18-0+deb12u1)`.
    pub version: String,
    /// Its major version.
    pub major: u32,
    /// Size of the database on the server's disk.
    pub size_bytes: u64,
}

/// A connection to one database of the source.
pub struct Server {
    pub(super) client: BoundedClient,
}

impl Server {
    /// Connects.
    ///
    /// # Errors
    /// When it can't be reached or refuses; see [`is_passing`].
    pub fn connect(info: &ConnInfo, options: &ConnectOptions<'_>) -> Result<Self> {
        let client = connect::connect(info, options).map_err(ConnectError::told)?;
        let client = BoundedClient::new(client, options.answer_timeout);
        Ok(Self { client })
    }

    /// What the server says of itself and of the database connected to.
    ///
    /// # Errors
    /// When it can't be asked.
    pub fn facts(&mut self) -> Result<Facts> {
        let row = self.client.query_one(
            "SELECT pg_catalog.current_setting('server_version'), \
             pg_catalog.current_setting('server_version_num')::pg_catalog.int4, \
             pg_catalog.pg_database_size(pg_catalog.current_database())",
            params![],
        )?;
        let number: i32 = row.try_get(1)?;
        let size: i64 = row.try_get(2)?;
        Ok(Facts {
            version: row.try_get(0)?,
            major: u32::try_from(number / 10_000)?,
            size_bytes: u64::try_from(size)?,
        })
    }

    /// Every database that takes connections and is no template, by name.
    ///
    /// # Errors
    /// When it can't be asked.
    pub fn databases(&mut self) -> Result<Vec<String>> {
        let rows = self.client.query(
            "SELECT datname FROM pg_catalog.pg_database WHERE datallowconn AND NOT datistemplate ORDER BY datname",
            params![],
        )?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    /// What stands in the schema of that name; nothing of it is read.
    ///
    /// # Errors
    /// When it can't be asked.
    pub fn look_at(&mut self, schema: &str) -> Result<Look> {
        let asked = "SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1";
        if self.client.query_opt(asked, params![schema])?.is_none() {
            return Ok(Look::default());
        }
        schema::look(&mut self.client, schema)
    }

    /// Where the schema of that name is, as far as the role may ask.
    pub fn place_of(&mut self, schema: &str) -> Option<Place> {
        schema::place(&mut self.client, schema)
    }

    /// The id of the catalog whose tables stand in `schema`; only of one that a look has found nothing wrong with.
    ///
    /// # Errors
    /// When it can't be asked.
    pub fn identity_in(&mut self, schema: &str) -> Result<Option<String>> {
        let quoted = schema.replace('"', "\"\"");
        let query = format!("SELECT id::pg_catalog.text FROM \"{quoted}\".identity");
        let row = self.client.query_opt(query, params![])?;
        row.map(|row| Ok(row.try_get(0)?)).transpose()
    }
}

/// What `pg_dump` and libpq say of problems that pass by themselves.
const PASSING: [&str; 29] = [
    super::watch::NO_ANSWER,
    "Connection refused",
    "connection refused",
    "Connection reset",
    "the database system is starting up",
    "the database system is shutting down",
    "the database system is in recovery mode",
    "the database system is not yet accepting connections",
    "server closed the connection unexpectedly",
    "terminating connection due to administrator command",
    "terminating connection because of crash of another server process",
    "canceling statement due to lock timeout",
    "too many clients already",
    "remaining connection slots are reserved",
    "could not receive data from server",
    "could not send data to server",
    "too many connections for role",
    "too many connections for database",
    "SSL connection has been closed unexpectedly",
    "SSL SYSCALL error",
    "unexpected eof while reading",
    "timeout expired",
    "Connection timed out",
    "No route to host",
    "Temporary failure in name resolution",
    "due to conflict with recovery",
    // Somebody changes tables, and has done so by the next try.
    "deadlock detected",
    "could not open relation with OID",
    "cache lookup failed for",
];

/// Whether the source's problem is one that passes: a server that restarts, a lock held too long, no
/// free connection, a table that went away. A wrong name, password or right does not.
#[must_use]
pub fn is_passing(error: &anyhow::Error) -> bool {
    let text = format!("{error:#}");
    let told = error.chain().any(|cause| {
        cause.downcast_ref::<ConnectError>().is_some_and(ConnectError::is_transient)
            || cause.is::<NoAnswer>()
            || cause.downcast_ref::<postgres::Error>().is_some_and(connect::is_transient)
    });
    // A table that was dropped between its listing and its lock.
    let is_dropped = text.contains("Query was: LOCK TABLE") && text.contains("does not exist");
    told || is_dropped || PASSING.iter().any(|words| text.contains(words))
}
