//! What is asked of the database that a dump is to go into, and what is done on its server beforehand. It
//! knows nothing of dumps.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::server::Server;
use crate::exit::Failure;
use crate::interrupt::Interrupt;
use crate::params;

/// The first object id that a server gives to what users make (`FirstNormalObjectId`).
const FIRST_OF_USERS: i64 = 16384;
/// How long a session whose client is gone may take to notice, before it is ended.
const PATIENCE: Duration = Duration::from_secs(5);
/// The files of a large database take their time to go.
const TIME_TO_DROP: Duration = Duration::from_hours(1);
/// How long it may take after that.
const LAST_PATIENCE: Duration = Duration::from_mins(1);

/// What users have made in a database: what stands in the way of a dump.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held(Vec<(String, i64)>);

impl Held {
    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Display for Held {
    /// In words: `2 tables, views or sequences, 1 function`.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = String::new();
        for (kind, count) in &self.0 {
            let separator = if text.is_empty() { "" } else { ", " };
            let plural = if *count == 1 { "" } else { "s" };
            let kind = match kind.as_str() {
                "relation" => "tables, views or sequences".to_owned(),
                other => format!("{other}{plural}"),
            };
            write!(text, "{separator}{count} {kind}")?;
        }
        formatter.write_str(&text)
    }
}

/// A table, view or sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// The schema it is in.
    pub schema: String,
    /// Its name.
    pub name: String,
}

impl Server {
    /// What users have made outside `without_schema`, or in `schemas` alone where they are named. What an
    /// extension brought, and what hangs on something else by its nature (the type of a table's rows), is
    /// not counted; neither is the schema `public`.
    ///
    /// # Errors
    /// When it can't be asked.
    pub fn held(&mut self, without_schema: &str, schemas: Option<&[String]>) -> Result<Held> {
        let schemas = schemas.map(<[String]>::to_vec);
        let params = params![FIRST_OF_USERS, without_schema, schemas];
        let rows = self.client.query(include_str!("held.sql"), params)?;
        let kinds = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
        Ok(Held(kinds.collect::<Result<_>>()?))
    }

    /// Every table, view and sequence outside the system's schemas.
    ///
    /// # Errors
    /// When it can't be asked.
    pub fn relations(&mut self) -> Result<Vec<Relation>> {
        let rows = self.client.query(
            "SELECT n.nspname, c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND n.nspname NOT LIKE 'pg\\_%' \
             AND n.nspname <> 'information_schema'",
            params![],
        )?;
        rows.iter().map(|row| Ok(Relation { schema: row.try_get(0)?, name: row.try_get(1)? })).collect()
    }

    /// The names of the schemas.
    ///
    /// # Errors
    /// When it can't be asked.
    pub fn schemas(&mut self) -> Result<Vec<String>> {
        let rows = self.client.query("SELECT nspname FROM pg_catalog.pg_namespace", params![])?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    /// Whether the server has a database of that name.
    ///
    /// # Errors
    /// When it can't be asked.
    pub fn has_database(&mut self, name: &str) -> Result<bool> {
        let row =
            self.client.query_opt("SELECT FROM pg_catalog.pg_database WHERE datname = $1", params![name])?;
        Ok(row.is_some())
    }

    /// Drops a database where there is one of that name.
    ///
    /// # Errors
    /// When the server refuses: somebody is connected to it, or it is another's.
    pub fn drop_database(&mut self, name: &str) -> Result<()> {
        let drop = format!("DROP DATABASE IF EXISTS {}", quoted(name));
        let dropped = self.client.ask_within(TIME_TO_DROP, move |client| {
            client.batch_execute("SET statement_timeout TO 0")?;
            Ok(client.batch_execute(&drop)?)
        });
        dropped.with_context(|| format!("cannot drop the database `{name}`"))
    }

    /// Goes on as another role.
    ///
    /// # Errors
    /// When there is no such role, or the one that connected is no member of it.
    pub fn become_role(&mut self, role: &str) -> Result<()> {
        let set = self.client.batch_execute(format!("SET ROLE {}", quoted(role)));
        set.with_context(|| format!("cannot become the role `{role}`"))
    }

    /// Waits until no session is left whose name starts with `session`; ends those that don't notice by
    /// themselves that their client is gone.
    ///
    /// # Errors
    /// When they can't be asked for, one does not end, or the interrupt is raised.
    pub fn await_end_of(&mut self, session: &str, interrupt: &Interrupt) -> Result<()> {
        const OF_NAME: &str = "pg_catalog.left(application_name, pg_catalog.length($1::pg_catalog.text)) = $1 \
                               AND pid <> pg_catalog.pg_backend_pid()";
        let begun = Instant::now();
        loop {
            let count =
                format!("SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity WHERE {OF_NAME}");
            let left: i64 = self.client.query_one(count, params![session])?.try_get(0)?;
            if left == 0 {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE + LAST_PATIENCE {
                let what = format!("{left} sessions `{session}` of a pg_restore that was ended do not end");
                return Err(Failure::failed(what).hint("look for them in pg_stat_activity").into());
            }
            if begun.elapsed() > PATIENCE {
                let end = format!(
                    "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE {OF_NAME}"
                );
                self.client.query(end, params![session])?;
            }
            if interrupt.wait(Duration::from_millis(50)) {
                return Err(Failure::failed("interrupted").into());
            }
        }
    }
}

/// An identifier as SQL takes it.
#[must_use]
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_told_in_words() {
        let held = Held(vec![("relation".to_owned(), 2), ("function".to_owned(), 1), ("type".to_owned(), 3)]);
        assert_eq!(held.to_string(), "2 tables, views or sequences, 1 function, 3 types");
        assert!(Held::default().is_empty());
    }
}
