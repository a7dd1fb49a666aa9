//! The session of a fingerprint: one transaction that only reads, in which a query that fails costs nothing
//! but its own answer. It knows nothing of what it asks.

use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use postgres::error::SqlState;
use postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

use super::{Brake, sql};
use crate::connect::{self, Canceller, ConnectError, ConnectOptions};
use crate::conninfo::ConnInfo;

/// Questions that go to the server together, and the pages they may read between them.
const BATCH_LEN: usize = 100;
const BATCH_PAGES: u64 = 4096;
/// What takes longer together is asked one by one.
const BATCH_TIME: Duration = Duration::from_secs(5);
const SAVE: &str = "SAVEPOINT pgkeep";
// Rolling back is what gives up a table's lock before the transaction ends.
const GO_BACK: &str = "ROLLBACK TO SAVEPOINT pgkeep; RELEASE SAVEPOINT pgkeep";

/// A question about one table or sequence, which has one row as its answer.
pub(super) struct Ask {
    /// Of whom.
    pub(super) name: String,
    /// The question.
    pub(super) query: String,
    /// How many pages it is expected to read.
    pub(super) pages: u64,
}

/// What came of many questions.
pub(super) struct Answers {
    pub(super) answered: Vec<(String, SimpleQueryRow)>,
    /// Who gave no answer, and why.
    pub(super) skipped: Vec<(String, String)>,
    /// Why the session can't go on, if it can't.
    pub(super) lost: Option<anyhow::Error>,
}

pub(super) struct Session {
    client: Client,
    pub(super) canceller: Canceller,
}

impl Session {
    /// Opens a session and begins its transaction.
    pub(super) fn open(info: &ConnInfo, options: &ConnectOptions<'_>) -> Result<Self> {
        let (client, canceller) = connect::connect_cancellable(info, options).map_err(ConnectError::told)?;
        let mut session = Self { client, canceller };
        // In one go: what the role or the database has set may end a session between two steps.
        session.client.batch_execute(&sql::begin())?;
        Ok(session)
    }

    /// Ends its transaction and begins another one, which sees what was done since.
    pub(super) fn renew(&mut self) -> Result<()> {
        Ok(self.client.batch_execute(&format!("COMMIT; {}", sql::begin()))?)
    }

    /// Every row that the statements give.
    pub(super) fn rows(&mut self, statements: &str) -> Result<Vec<SimpleQueryRow>, postgres::Error> {
        let messages = self.client.simple_query(statements)?;
        let row = |message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        };
        Ok(messages.into_iter().filter_map(row).collect())
    }

    /// Asks everything, a few questions at a time; each may take `usual`, and all of them end by the brake.
    pub(super) fn ask_all(&mut self, asks: &[&Ask], usual: Duration, brake: &Brake) -> Answers {
        let mut answers = Answers { answered: Vec::new(), skipped: Vec::new(), lost: None };
        for batch in batches(asks) {
            if let Err(error) = self.ask_batch(batch, usual, brake, &mut answers) {
                answers.lost = Some(error);
                break;
            }
        }
        let without = if answers.lost.is_some() { "the connection was lost" } else { "no time was left" };
        let done = answers.answered.len() + answers.skipped.len();
        let left = asks.iter().skip(done);
        answers.skipped.extend(left.map(|ask| (ask.name.clone(), without.to_owned())));
        answers
    }

    /// An error means that the session is lost.
    fn ask_batch(
        &mut self,
        batch: &[&Ask],
        usual: Duration,
        brake: &Brake,
        answers: &mut Answers,
    ) -> Result<()> {
        if batch.len() > 1
            && let Some(left) = brake.time_left(usual)
            && let Ok(rows) = self.ask(batch, (left / 4).min(BATCH_TIME))?
        {
            answers.answered.extend(batch.iter().map(|ask| ask.name.clone()).zip(rows));
            return Ok(());
        }
        for ask in batch {
            let Some(left) = brake.time_left(usual) else { return Ok(()) };
            match self.ask(std::slice::from_ref(ask), left)? {
                Ok(rows) => answers.answered.extend(rows.into_iter().map(|row| (ask.name.clone(), row))),
                Err(why) => answers.skipped.push((ask.name.clone(), why)),
            }
        }
        Ok(())
    }

    /// Asks some questions; the inner error says why there is no answer, the outer one that the session is
    /// lost.
    fn ask(&mut self, batch: &[&Ask], time: Duration) -> Result<Result<Vec<SimpleQueryRow>, String>> {
        let limit_ms = i32::try_from(time.as_millis()).unwrap_or(i32::MAX).max(1);
        self.client.batch_execute(&format!("{SAVE}; SET LOCAL statement_timeout = {limit_ms}"))?;
        let queries: Vec<&str> = batch.iter().map(|ask| ask.query.as_str()).collect();
        let error = match self.rows(&format!("{}; {GO_BACK}", queries.join("; "))) {
            Ok(rows) => {
                ensure!(rows.len() == batch.len(), "{} rows for {} questions", rows.len(), batch.len());
                return Ok(Ok(rows));
            }
            Err(error) => error,
        };
        let why = why(&error, time);
        match self.client.batch_execute(GO_BACK) {
            Ok(()) => Ok(Err(why)),
            // What ended the session says more than that it has ended.
            Err(_) => Err(anyhow!(why)),
        }
    }
}

/// Neighbours that are small enough to be asked together.
fn batches<'a, 'b>(asks: &'b [&'a Ask]) -> Vec<&'b [&'a Ask]> {
    let mut batches = Vec::new();
    let mut rest = asks;
    while !rest.is_empty() {
        let mut pages = 0u64;
        let fits = rest.iter().take(BATCH_LEN).take_while(|ask| {
            pages = pages.saturating_add(ask.pages);
            pages <= BATCH_PAGES
        });
        let (batch, others) = rest.split_at(fits.count().clamp(1, rest.len()));
        batches.push(batch);
        rest = others;
    }
    batches
}

fn why(error: &postgres::Error, time: Duration) -> String {
    match (error.code(), error.as_db_error()) {
        (Some(code), _) if *code == SqlState::QUERY_CANCELED => format!("it was not done within {time:.1?}"),
        (Some(code), _) if *code == SqlState::LOCK_NOT_AVAILABLE => {
            format!("another session kept it locked for {}", sql::LOCK_TIME)
        }
        (_, Some(told)) => told.message().chars().take(200).collect(),
        (_, None) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(pages: &[u64]) -> Vec<usize> {
        let ask = |pages: &u64| Ask { name: String::new(), query: String::new(), pages: *pages };
        let asks: Vec<Ask> = pages.iter().map(ask).collect();
        let asks: Vec<&Ask> = asks.iter().collect();
        batches(&asks).iter().map(|batch| batch.len()).collect()
    }

    #[test]
    fn what_is_large_is_asked_alone() {
        assert_eq!(lengths(&[]), [0; 0]);
        assert_eq!(lengths(&[1, 2, 3]), [3]);
        assert_eq!(lengths(&[1, 4000, 96, 5000, 0, u64::MAX, u64::MAX]), [2, 1, 1, 1, 1, 1]);
        assert_eq!(lengths(&[0; 250]), [100, 100, 50]);
    }
}
