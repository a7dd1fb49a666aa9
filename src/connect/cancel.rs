//! Ends a query of a session from another thread, over a connection of its own to the same address and with
//! the same TLS. It knows nothing of the query.

use std::time::Duration;

use anyhow::{Context as _, Result};
use postgres::{CancelToken, Client, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::aside;

/// How long a server may take to hear of it.
const LIMIT: Duration = Duration::from_secs(1);

/// What ends the queries of one session.
#[derive(Clone)]
pub struct Canceller {
    token: CancelToken,
    connector: Option<MakeRustlsConnect>,
}

impl Canceller {
    pub(super) fn of(client: &Client, connector: Option<MakeRustlsConnect>) -> Self {
        Self { token: client.cancel_token(), connector }
    }

    /// Asks the server to end the query that runs, if one does. The server does not say whether it did; one that
    /// does not answer at all is not waited for.
    ///
    /// # Errors
    /// When the server can't be reached.
    pub fn cancel(&self) -> Result<()> {
        let Self { token, connector } = self.clone();
        let cancelled = aside::within("cancel", LIMIT, move || match connector {
            Some(connector) => token.cancel_query(connector),
            None => token.cancel_query(NoTls),
        });
        Ok(cancelled.context("a cancel request")??)
    }
}
