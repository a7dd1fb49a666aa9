//! A session in the catalog's database in which `{schema}` in a statement is the catalog's own schema: nothing is looked up
//! by a search path. It knows no table.

use anyhow::Result;
use postgres::{Client, Row};

use super::quote_identifier;
use crate::connect::{BoundedClient, Param};

/// What stands for the schema in a statement.
const SCHEMA: &str = "{schema}";

/// The schema's name, quoted.
#[derive(Clone, Debug)]
pub(super) struct Schema(String);

impl Schema {
    /// The statement with the schema's name in its place.
    pub(super) fn sql(&self, statement: &str) -> String {
        statement.replace(SCHEMA, &self.0)
    }
}

pub(super) struct Session {
    client: BoundedClient,
    schema: Schema,
}

/// As those of [`BoundedClient`], with the schema in its place.
impl Session {
    pub(super) fn new(client: BoundedClient, schema: &str) -> Self {
        Self { client, schema: Schema(quote_identifier(schema)) }
    }

    /// The session itself, for what names no table.
    pub(super) fn bounded(&mut self) -> &mut BoundedClient {
        &mut self.client
    }

    pub(super) fn ask<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Client, &Schema) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let schema = self.schema.clone();
        self.client.ask(move |client| work(client, &schema))
    }

    pub(super) fn query(&mut self, query: impl AsRef<str>, params: Vec<Param>) -> Result<Vec<Row>> {
        self.client.query(self.schema.sql(query.as_ref()), params)
    }

    pub(super) fn query_one(&mut self, query: impl AsRef<str>, params: Vec<Param>) -> Result<Row> {
        self.client.query_one(self.schema.sql(query.as_ref()), params)
    }

    pub(super) fn query_opt(&mut self, query: impl AsRef<str>, params: Vec<Param>) -> Result<Option<Row>> {
        self.client.query_opt(self.schema.sql(query.as_ref()), params)
    }

    pub(super) fn execute(&mut self, statement: impl AsRef<str>, params: Vec<Param>) -> Result<u64> {
        self.client.execute(self.schema.sql(statement.as_ref()), params)
    }
}
