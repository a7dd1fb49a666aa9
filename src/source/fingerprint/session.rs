//! The session of a fingerprint: one transaction that only reads, in which a query that fails costs nothing
//! but its own answer. It knows nothing of what it asks.

use std::io;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use postgres::error::SqlState;
use postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

use super::tally::{RowKey, Tally};
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

/// A question about one table or sequence: a query that gives one row, or a COPY of a table's rows.
pub(super) struct Ask {
    /// Of whom.
    pub(super) name: String,
    /// The question.
    pub(super) query: String,
    /// How many pages it is expected to read.
    pub(super) pages: u64,
}

/// What came of many questions.
pub(super) struct Answers<T> {
    pub(super) answered: Vec<(String, T)>,
    /// Who gave no answer, and why.
    pub(super) skipped: Vec<(String, String)>,
    /// Why the session can't go on, if it can't.
    pub(super) lost: Option<anyhow::Error>,
}

/// How a few questions end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The transaction and its snapshot stay.
    Savepoint,
    /// With the transaction, and another one begins: what is locked until its end is not kept locked.
    Transaction,
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
    pub(super) fn ask_all(
        &mut self,
        asks: &[&Ask],
        usual: Duration,
        brake: &Brake,
        end: End,
    ) -> Answers<SimpleQueryRow> {
        let mut answers = Answers::default();
        for batch in batches(asks) {
            if let Err(error) = self.ask_batch(batch, usual, brake, end, &mut answers) {
                answers.lost = Some(error);
                break;
            }
        }
        answers.with_those_left(asks)
    }

    /// Copies everything, and tallies it: with its hashes where a key is given. Each may take `usual`, and
    /// all of them end by the brake.
    pub(super) fn copy_all(
        &mut self,
        asks: &[&Ask],
        usual: Duration,
        brake: &Brake,
        key: Option<&RowKey>,
    ) -> Answers<Tally> {
        let mut answers = Answers::default();
        'all: for batch in batches(asks) {
            let mut rest = batch;
            while !rest.is_empty() {
                match self.copy_some(rest, usual, brake, key, &mut answers) {
                    Ok(0) => break 'all,
                    Ok(done) => rest = rest.get(done..).unwrap_or_default(),
                    Err(error) => {
                        answers.lost = Some(error);
                        break 'all;
                    }
                }
            }
        }
        answers.with_those_left(asks)
    }

    /// An error means that the session is lost.
    fn ask_batch(
        &mut self,
        batch: &[&Ask],
        usual: Duration,
        brake: &Brake,
        end: End,
        answers: &mut Answers<SimpleQueryRow>,
    ) -> Result<()> {
        if batch.len() > 1
            && let Some(left) = brake.time_left(usual)
            && let Ok(rows) = self.ask(batch, (left / 4).min(BATCH_TIME), end)?
        {
            answers.answered.extend(batch.iter().map(|ask| ask.name.clone()).zip(rows));
            return Ok(());
        }
        for ask in batch {
            let Some(left) = brake.time_left(usual) else { return Ok(()) };
            match self.ask(std::slice::from_ref(ask), left, end)? {
                Ok(rows) => answers.answered.extend(rows.into_iter().map(|row| (ask.name.clone(), row))),
                Err(why) => answers.skipped.push((ask.name.clone(), why)),
            }
        }
        Ok(())
    }

    /// Asks some questions; the inner error says why there is no answer, the outer one that the session is
    /// lost.
    fn ask(
        &mut self,
        batch: &[&Ask],
        time: Duration,
        end: End,
    ) -> Result<Result<Vec<SimpleQueryRow>, String>> {
        self.begin(time, end)?;
        let queries: Vec<&str> = batch.iter().map(|ask| ask.query.as_str()).collect();
        let answer = self.rows(&queries.join("; "));
        let why = answer.as_ref().err().map(|error| why(error, time));
        // What ended the session says more than that it has ended.
        self.end(end).map_err(|error| why.clone().map_or(error, |why| anyhow!(why)))?;
        let Ok(rows) = answer else { return Ok(Err(why.unwrap_or_default())) };
        ensure!(rows.len() == batch.len(), "{} rows for {} questions", rows.len(), batch.len());
        Ok(Ok(rows))
    }

    /// Copies the first of these, as many as come without an error, or one that does not; gives how many
    /// those were, none where the time is over. An error means that the session is lost.
    fn copy_some(
        &mut self,
        asks: &[&Ask],
        usual: Duration,
        brake: &Brake,
        key: Option<&RowKey>,
        answers: &mut Answers<Tally>,
    ) -> Result<usize> {
        let Some(left) = brake.time_left(usual) else { return Ok(0) };
        let is_alone = asks.len() == 1;
        let time = if is_alone { left } else { (left / 4).min(BATCH_TIME) };
        let begun = Instant::now();
        self.begin(time, End::Savepoint)?;
        let mut done = 0;
        for ask in asks {
            if done > 0 && begun.elapsed() >= time {
                break;
            }
            let error = match self.copy(&ask.query, key) {
                Ok(tally) => {
                    answers.answered.push((ask.name.clone(), tally));
                    done += 1;
                    continue;
                }
                Err(error) => error,
            };
            let (why, is_late) = match error.downcast_ref::<postgres::Error>() {
                Some(error) => (why(error, time), error.code() == Some(&SqlState::QUERY_CANCELED)),
                None => (format!("{error:#}"), false),
            };
            self.end(End::Savepoint).map_err(|_| anyhow!(why.clone()))?;
            if is_late && !is_alone {
                // It has more time when it is alone.
                return Ok(done + self.copy_some(&[*ask], usual, brake, key, answers)?);
            }
            answers.skipped.push((ask.name.clone(), why));
            return Ok(done + 1);
        }
        self.end(End::Savepoint)?;
        Ok(done)
    }

    fn copy(&mut self, statement: &str, key: Option<&RowKey>) -> Result<Tally> {
        let tally = Tally::of(self.client.copy_out(statement)?, key);
        tally.map_err(|error: io::Error| match error.downcast::<postgres::Error>() {
            Ok(told) => told.into(),
            Err(error) => error.into(),
        })
    }

    fn begin(&mut self, time: Duration, end: End) -> Result<()> {
        let limit_ms = i32::try_from(time.as_millis()).unwrap_or(i32::MAX).max(1);
        let save = if end == End::Savepoint { SAVE } else { "" };
        Ok(self.client.batch_execute(&format!("{save}; SET LOCAL statement_timeout = {limit_ms}"))?)
    }

    fn end(&mut self, end: End) -> Result<()> {
        match end {
            End::Savepoint => Ok(self.client.batch_execute(GO_BACK)?),
            End::Transaction => self.renew(),
        }
    }
}

impl<T> Default for Answers<T> {
    fn default() -> Self {
        Self { answered: Vec::new(), skipped: Vec::new(), lost: None }
    }
}

impl<T> Answers<T> {
    /// All of it: those that were not come to are skipped.
    fn with_those_left(mut self, asks: &[&Ask]) -> Self {
        let without = if self.lost.is_some() { "the connection was lost" } else { "no time was left" };
        let done = self.answered.len() + self.skipped.len();
        self.skipped.extend(asks.iter().skip(done).map(|ask| (ask.name.clone(), without.to_owned())));
        self
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
