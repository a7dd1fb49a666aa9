//! Ends a query of a session from another thread, over a connection of its own to the same address and with
//! the same TLS. It knows nothing of the query.

use std::time::Duration;

use anyhow::{Context as _, Result};
use postgres::{CancelToken, Client, NoTls};

use super::transport::Transport;
use crate::bounded;

/// How long a server may take to hear of it.
const LIMIT: Duration = Duration::from_secs(1);

/// What ends the queries of one session.
#[derive(Clone)]
pub struct Canceller {
    token: CancelToken,
    transport: Option<Transport>,
}

impl Canceller {
    pub(super) fn of(client: &Client, transport: Option<Transport>) -> Self {
        Self { token: client.cancel_token(), transport }
    }

    /// Asks the server to end the query that runs, if one does. The server does not say whether it did; one that
    /// does not answer at all is not waited for.
    ///
    /// # Errors
    /// When the server can't be reached.
    pub fn cancel(&self) -> Result<()> {
        let Self { token, transport } = self.clone();
        let cancelled = bounded::within("cancel", LIMIT, move || match transport {
            Some(transport) => token.cancel_query(transport.anew()),
            None => token.cancel_query(NoTls),
        });
        Ok(cancelled.context("a cancel request")??)
    }
}
