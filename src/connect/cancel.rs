//! Ends a query of a session from another thread, over a connection of its own to the same address and with
//! the same TLS. It knows nothing of the query.

use postgres::{CancelToken, Client, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

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

    /// Asks the server to end the query that runs, if one does. The server does not say whether it did.
    ///
    /// # Errors
    /// When the server can't be reached.
    pub fn cancel(&self) -> Result<(), postgres::Error> {
        match &self.connector {
            Some(connector) => self.token.cancel_query(connector.clone()),
            None => self.token.cancel_query(NoTls),
        }
    }
}
