//! Asks whether a server is still there while its dump gives nothing. A large table without a row is silent
//! too: silence alone ends no dump. Where a proxy answers for the network, no keepalive finds out.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::bounded::{self, GivenUp};
use crate::connect::{self, ConnectError, ConnectErrorKind, ConnectOptions};
use crate::conninfo::ConnInfo;
use crate::exit::one_line;
use crate::interrupt::Interrupt;

/// What is said of one that does not answer.
pub(super) const NO_ANSWER: &str = "the server answers no new connection";

/// This often in a row without an answer, it is given up.
const PATIENCE: u32 = 3;

/// What asks the server of a dump.
pub(super) struct Watch {
    connection: ConnInfo,
    connect_timeout: Duration,
    interrupt: Interrupt,
    unanswered: u32,
}

impl Watch {
    pub(super) fn of(connection: &ConnInfo, connect_timeout: Duration, interrupt: Interrupt) -> Self {
        Self { connection: connection.clone(), connect_timeout, interrupt, unanswered: 0 }
    }

    /// Asks for the n-th time since the dump gave its last byte.
    ///
    /// # Errors
    /// When it is time to give the dump up.
    pub(super) fn ask(&mut self, times: u32) -> Result<()> {
        let before = if times > 1 { self.unanswered } else { 0 };
        let Some(error) = self.problem()? else {
            self.unanswered = 0;
            log::info!("pg_dump has given nothing for a while; its server is there");
            return Ok(());
        };
        self.unanswered = before.saturating_add(1);
        if self.unanswered < PATIENCE {
            log::warn!("pg_dump has given nothing for a while, and {NO_ANSWER}: {}", one_line(&error));
            return Ok(());
        }
        bail!("pg_dump gave nothing for a long time, and {NO_ANSWER}: {}", one_line(&error));
    }

    /// Why no answer came. A refusal is one, and an interrupt ends the wait for it.
    fn problem(&self) -> Result<Option<anyhow::Error>> {
        let (connection, connect_timeout) = (self.connection.clone(), self.connect_timeout);
        let options =
            ConnectOptions { connect_timeout, answer_timeout: connect_timeout, application_name: "pgkeep" };
        let connect = move || connect::connect(&connection, &options).err();
        match bounded::until("watch", |_| self.interrupt.is_raised(), connect) {
            Ok(outcome) => Ok(outcome.filter(is_no_answer).map(anyhow::Error::new)),
            Err(GivenUp::Late) => Ok(None),
            Err(error) => Err(error).context("a look at the server"),
        }
    }
}

fn is_no_answer(error: &ConnectError) -> bool {
    // Whoever refuses is there, and where the network itself says no, the dump's own connection hears of it.
    error.kind() == ConnectErrorKind::TimedOut
}
