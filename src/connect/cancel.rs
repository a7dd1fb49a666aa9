//! Ends a query of a session from another thread, over a connection of its own to the same address and with
//! the same TLS. It knows nothing of the query.

use std::sync::mpsc::channel;
use std::time::Duration;

use anyhow::{Context as _, Result};
use postgres::{CancelToken, Client, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

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
        let (asked, answer) = channel();
        let Self { token, connector } = self.clone();
        std::thread::Builder::new().name("cancel".to_owned()).spawn(move || {
            let cancelled = match connector {
                Some(connector) => token.cancel_query(connector),
                None => token.cancel_query(NoTls),
            };
            // Whoever waited may have gone on.
            drop(asked.send(cancelled));
        })?;
        Ok(answer.recv_timeout(LIMIT).context("no answer to a cancel request")??)
    }
}
