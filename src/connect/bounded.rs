//! A session whose answers are waited for in bounded time. A server that is frozen, or behind a proxy that
//! answers for it, is not found out by keepalives, nor does its own `statement_timeout` help. It knows nothing of
//! what is asked.

use std::time::Duration;

use anyhow::{Context as _, Result};
use postgres::types::ToSql;
use postgres::{Client, Row};

use crate::bounded::{self, GivenUp};

/// How long the end of a session may hold us up.
const GOODBYE: Duration = Duration::from_secs(1);

/// A parameter of a question, which goes along with it.
pub type Param = Box<dyn ToSql + Sync + Send>;

/// The parameters of a question, each as a value of its own.
#[macro_export]
macro_rules! params {
    ($($value:expr),* $(,)?) => { vec![$(Box::new($value.to_owned()) as $crate::connect::Param),*] };
}

/// A session. Once an answer has not come it is closed: nobody knows what came of the question.
pub struct BoundedClient {
    client: Option<Client>,
    limit: Duration,
}

/// No answer to a question in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server gave no answer within {0:?}")]
pub struct NoAnswer(pub Duration);

impl BoundedClient {
    /// Each answer may take as long as `limit`.
    #[must_use]
    pub fn new(client: Client, limit: Duration) -> Self {
        Self { client: Some(client), limit }
    }

    /// Whether the server still answers.
    pub fn is_valid(&mut self, limit: Duration) -> bool {
        self.ask_within(limit.saturating_add(GOODBYE), move |client| Ok(client.is_valid(limit)?)).is_ok()
    }

    /// Does with the session what is to be done in one go.
    ///
    /// # Errors
    /// [`NoAnswer`], or what the work gives.
    pub fn ask<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Client) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.ask_within(self.limit, work)
    }

    /// The same with a time limit of its own.
    ///
    /// # Errors
    /// As [`BoundedClient::ask`].
    pub fn ask_within<T: Send + 'static>(
        &mut self,
        limit: Duration,
        work: impl FnOnce(&mut Client) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let mut client = self.client.take().context("the connection is closed")?;
        let asked = bounded::within("question", limit, move || {
            let outcome = work(&mut client);
            (client, outcome)
        });
        match asked {
            Ok((client, outcome)) => {
                self.client = Some(client);
                outcome
            }
            Err(GivenUp::Late) => Err(NoAnswer(limit).into()),
            Err(error) => Err(error.into()),
        }
    }

    /// The rows of an answer.
    ///
    /// # Errors
    /// As [`BoundedClient::ask`].
    pub fn query(&mut self, query: impl Into<String>, params: Vec<Param>) -> Result<Vec<Row>> {
        let query = query.into();
        self.ask(move |client| Ok(client.query(&query, &by_reference(&params))?))
    }

    /// The one row of an answer.
    ///
    /// # Errors
    /// As [`BoundedClient::ask`]; also where there is none, or another one.
    pub fn query_one(&mut self, query: impl Into<String>, params: Vec<Param>) -> Result<Row> {
        let query = query.into();
        self.ask(move |client| Ok(client.query_one(&query, &by_reference(&params))?))
    }

    /// The row of an answer, if there is one.
    ///
    /// # Errors
    /// As [`BoundedClient::ask`]; also where there are several.
    pub fn query_opt(&mut self, query: impl Into<String>, params: Vec<Param>) -> Result<Option<Row>> {
        let query = query.into();
        self.ask(move |client| Ok(client.query_opt(&query, &by_reference(&params))?))
    }

    /// Executes a statement; gives the number of rows that it changed.
    ///
    /// # Errors
    /// As [`BoundedClient::ask`].
    pub fn execute(&mut self, statement: impl Into<String>, params: Vec<Param>) -> Result<u64> {
        let statement = statement.into();
        self.ask(move |client| Ok(client.execute(&statement, &by_reference(&params))?))
    }

    /// Executes statements without parameters.
    ///
    /// # Errors
    /// As [`BoundedClient::ask`].
    pub fn batch_execute(&mut self, statements: impl Into<String>) -> Result<()> {
        let statements = statements.into();
        self.ask(move |client| Ok(client.batch_execute(&statements)?))
    }
}

fn by_reference(params: &[Param]) -> Vec<&(dyn ToSql + Sync)> {
    params.iter().map(|param| &**param as &(dyn ToSql + Sync)).collect()
}

/// A server that is frozen would hold up whoever says goodbye to it: that is done aside, and waited for only a
/// moment.
impl Drop for BoundedClient {
    fn drop(&mut self) {
        let Some(client) = self.client.take() else { return };
        if let Err(error) = bounded::within("goodbye", GOODBYE, move || drop(client)) {
            log::debug!("a session is left to itself: {error}");
        }
    }
}
