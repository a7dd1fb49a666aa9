//! The fingerprint of a database, taken on a snapshot that a dump can share. It knows SQL and sessions; not
//! when a backup wants its figures, nor what becomes of them.
//!
//! What is counted is what `pg_dump` dumps: no system schemas, no temporary tables, nothing that belongs to
//! an extension, no rows of foreign tables. Materialized views count as views: a restore fills them anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::connect::{Canceller, ConnectOptions};
use crate::conninfo::ConnInfo;
use crate::exit::one_line;
use crate::fingerprint::{
    DatabaseFigures, Fingerprint, HASH_METHOD, Level, SequenceFigures, SequenceState, TableFigures,
};

mod counting;
mod session;
mod sql;
mod tally;

pub use counting::{Counting, figures_of};
pub use tally::RowKey;

use postgres::SimpleQueryRow;
use session::{Answers, Ask, End, Session};
use tally::Tally;

use super::server::Server;
use crate::params;

/// From this version on sequences stand in a catalog of their own.
const SEQUENCES_SINCE: u32 = 100_000;
/// A look at a sequence takes no longer.
const SEQUENCE_TIME: Duration = Duration::from_secs(10);

/// What is to be taken.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// How much.
    pub level: Level,
    /// The key of the hashes of rows.
    pub row_key: RowKey,
    /// The time that a table may take.
    pub table_time: Duration,
    /// A schema to leave out.
    pub without_schema: Option<String>,
}

/// What was taken.
#[derive(Debug)]
pub struct Taken {
    /// The figures; what could not be looked at is named among what was skipped.
    pub figures: Fingerprint,
    /// How many tables there are, counted or not, where that is known.
    pub tables: Option<u64>,
    /// What cut the work short, if something did.
    pub problem: Option<anyhow::Error>,
}

/// When the counting must have ended; whoever holds a clone can set it while it runs.
#[derive(Clone, Debug, Default)]
pub struct Brake(Arc<Mutex<Option<Instant>>>);

impl Brake {
    /// Ends it at that time; what is not done by then is skipped.
    pub fn end_by(&self, time: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(time);
    }

    /// What is left of `usual`; nothing where the time is over.
    fn time_left(&self, usual: Duration) -> Option<Duration> {
        let end = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = end.map_or(usual, |end| end.saturating_duration_since(Instant::now()));
        Some(left.min(usual)).filter(|left| !left.is_zero())
    }
}

/// A session on a snapshot that a dump can share for as long as this lives.
pub struct Snapshot {
    session: Session,
    info: ConnInfo,
    options: ConnectOptions<'static>,
    wanted: Wanted,
    version: u32,
    sequences: Vec<Sequence>,
    /// What is known already: roles, what an equal database needs, where sequences started.
    figures: Fingerprint,
}

/// Which look at the sequences it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    /// Before there is a snapshot.
    First,
    /// At those that were not looked at before.
    Again,
    /// At all of them.
    Last,
}

/// A sequence to look at, and what does not change between two looks.
struct Sequence {
    increment: i64,
    is_cycle: bool,
    can_be_read: bool,
    ask: Ask,
}

impl Server {
    /// How many tables a dump of the database connected to has, without those of a schema.
    ///
    /// # Errors
    /// When it can't be asked.
    pub fn table_count(&mut self, without_schema: Option<&str>) -> Result<u64> {
        let asked = "SELECT pg_catalog.current_setting('server_version_num')::pg_catalog.int4";
        let version: i32 = self.client.query_one(asked, params![])?.try_get(0)?;
        let tables = sql::tables(u32::try_from(version)?, without_schema, false);
        let asked = format!("SELECT pg_catalog.count(*) FROM ({tables}) t");
        let count: i64 = self.client.query_one(asked, params![])?.try_get(0)?;
        Ok(u64::try_from(count)?)
    }
}

impl Snapshot {
    /// Opens a session, and takes what must be known before the dump begins. Where `wanted.level` is
    /// [`Level::Off`] there is nothing to share.
    ///
    /// # Errors
    /// When the server can't be reached or asked.
    pub fn open(info: &ConnInfo, options: &ConnectOptions<'static>, wanted: Wanted) -> Result<Self> {
        let mut snapshot = Self {
            session: Session::open(info, options)?,
            info: info.clone(),
            options: *options,
            wanted,
            version: 0,
            sequences: Vec::new(),
            figures: Fingerprint::default(),
        };
        snapshot.take_the_frame()?;
        if snapshot.wanted.level != Level::Off {
            snapshot.find_sequences()?;
            snapshot.look_at_sequences(Look::First, &Brake::default())?;
            snapshot.renew()?;
        }
        Ok(snapshot)
    }

    /// Takes a younger snapshot. A table that is truncated or rewritten between the snapshot and the dump's
    /// lock is dumped as an empty one, and the look at many sequences takes its time.
    fn renew(&mut self) -> Result<()> {
        self.session.renew()?;
        self.take_the_frame()?;
        self.sequences.clear();
        self.find_sequences()?;
        let left: BTreeSet<&String> = self.sequences.iter().map(|sequence| &sequence.ask.name).collect();
        self.figures.sequences.retain(|name, _| left.contains(name));
        self.figures.skipped.retain(|name, _| left.contains(name));
        self.look_at_sequences(Look::Again, &Brake::default())
    }

    /// Lets others share the snapshot, and gives the id that they name it by.
    ///
    /// # Errors
    /// When the server does not let it be shared; this session can be asked nothing more then.
    pub fn export(&mut self) -> Result<String> {
        let rows = self.session.rows("SELECT pg_catalog.pg_export_snapshot()");
        let rows = rows.context("the snapshot can't be shared")?;
        text(rows.first().context("the snapshot has no id")?, 0)
    }

    /// What is known so far: what makes an equal database.
    #[must_use]
    pub fn into_frame(self) -> Fingerprint {
        let Fingerprint { roles, superusers, database, .. } = self.figures;
        Fingerprint { roles, superusers, database, ..Fingerprint::default() }
    }

    fn canceller(&self) -> Canceller {
        self.session.canceller.clone()
    }

    /// Takes what needs no table's lock, and gives the questions to ask of the tables.
    fn prepare(&mut self) -> Result<Vec<Ask>> {
        if self.wanted.level == Level::Off {
            return Ok(Vec::new());
        }
        self.count_objects()?;
        self.figures.level = self.wanted.level;
        let is_hashed = self.figures.level == Level::Content;
        self.figures.hash_method = is_hashed.then(|| HASH_METHOD.to_owned());
        let without = self.wanted.without_schema.as_deref();
        let mut asks = Vec::new();
        for row in self.session.rows(&sql::tables(self.version, without, is_hashed))? {
            let (schema, name) = (text(&row, 0)?, text(&row, 1)?);
            let query = sql::copy(&sql::quoted(&schema, &name), row.try_get(3)?);
            asks.push(Ask { name: sql::shown(&schema, &name), query, pages: text(&row, 2)?.parse()? });
        }
        Ok(asks)
    }

    /// Takes what a dump has locked by now. Where the session ends before its time, what was taken counts.
    fn finish(mut self, asks: Result<Vec<Ask>>, brake: &Brake) -> Taken {
        let asks = match asks {
            Ok(asks) => asks,
            Err(error) => {
                return Taken { figures: self.into_frame(), tables: None, problem: Some(error) };
            }
        };
        let tables = u64::try_from(asks.len()).ok();
        // `pg_dump` looks at sequences before it writes its first byte: they stand in its table of contents.
        let looked = self.look_at_sequences(Look::Last, brake);
        let counted = self.count_tables(&asks, brake);
        Taken { figures: self.figures, tables, problem: looked.and(counted).err() }
    }

    fn take_the_frame(&mut self) -> Result<()> {
        let rows = self.session.rows(sql::DATABASE)?;
        let row = rows.first().context("the server does not know this database")?;
        self.version = text(row, 0)?.parse()?;
        self.figures.database = DatabaseFigures {
            encoding: text(row, 1)?,
            collate: text(row, 2)?,
            ctype: text(row, 3)?,
            provider: match row.try_get(4)? {
                Some("i") => "icu",
                Some("b") => "builtin",
                _ => "libc",
            }
            .to_owned(),
            locale: row.try_get(5)?.map(str::to_owned),
            icu_rules: row.try_get(6)?.map(str::to_owned),
        };
        let rows = self.session.rows(&sql::roles(self.version))?;
        self.figures.roles = rows.iter().map(|row| text(row, 0)).collect::<Result<_>>()?;
        let mut superusers = Vec::new();
        for row in &rows {
            if text(row, 1)? == "t" {
                superusers.push(text(row, 0)?);
            }
        }
        self.figures.superusers = Some(superusers);
        Ok(())
    }

    fn count_objects(&mut self) -> Result<()> {
        let rows = self.session.rows(&sql::objects(self.version, self.wanted.without_schema.as_deref()))?;
        let row = rows.first().context("the server counts nothing")?;
        let count = |at: usize| Ok::<u64, anyhow::Error>(text(row, at)?.parse()?);
        self.figures.indexes = count(0)?;
        self.figures.constraints = count(1)?;
        self.figures.views = count(2)?;
        self.figures.functions = count(3)?;
        self.figures.large_objects = count(4)?;
        for row in self.session.rows(sql::EXTENSIONS)? {
            self.figures.extensions.insert(text(&row, 0)?, text(&row, 1)?);
        }
        Ok(())
    }

    fn find_sequences(&mut self) -> Result<()> {
        if self.version < SEQUENCES_SINCE {
            return Ok(());
        }
        for row in self.session.rows(&sql::sequences(self.wanted.without_schema.as_deref()))? {
            let (schema, name) = (text(&row, 0)?, text(&row, 1)?);
            let query = sql::sequence(self.version, text(&row, 4)?.parse()?);
            self.sequences.push(Sequence {
                increment: text(&row, 2)?.parse()?,
                is_cycle: text(&row, 3)? == "t",
                can_be_read: text(&row, 5)? == "t",
                ask: Ask { name: sql::shown(&schema, &name), query, pages: 0 },
            });
        }
        Ok(())
    }

    /// Where sequences stand now. The first look is their start, the last one their end; one that could not
    /// be looked at both times is skipped.
    fn look_at_sequences(&mut self, look: Look, brake: &Brake) -> Result<()> {
        let sequences = std::mem::take(&mut self.sequences);
        for sequence in sequences.iter().filter(|sequence| !sequence.can_be_read) {
            let why = "its value can't be read by this role, or on this server".to_owned();
            self.figures.skipped.insert(sequence.ask.name.clone(), why);
        }
        let is_known = |name: &String| self.figures.sequences.contains_key(name) || self.figures.skips(name);
        let asks = sequences.iter().filter(|sequence| sequence.can_be_read).map(|sequence| &sequence.ask);
        let asks: Vec<&Ask> = asks.filter(|ask| look == Look::Last || !is_known(&ask.name)).collect();
        let Answers { answered, skipped, lost } = self.ask_sequences(&asks, look, brake);
        for (name, why) in skipped {
            self.figures.sequences.remove(&name);
            self.figures.skipped.insert(name, why);
        }
        let mut rows: BTreeMap<String, _> = answered.into_iter().collect();
        for Sequence { increment, is_cycle, ask, .. } in &sequences {
            let Some(row) = rows.remove(&ask.name).filter(|_| !self.figures.skips(&ask.name)) else {
                continue;
            };
            let Some(is_called) = row.try_get(1)?.map(|is_called| is_called == "t") else {
                self.figures.sequences.remove(&ask.name);
                self.figures.skipped.insert(ask.name.clone(), "its value can't be read".to_owned());
                continue;
            };
            let now = SequenceState { value: row.try_get(0)?.map(str::parse).transpose()?, is_called };
            let known = self.figures.sequences.entry(ask.name.clone());
            let (increment, is_cycle) = (*increment, *is_cycle);
            let first = SequenceFigures { start: now, end: now, increment, is_cycle };
            known.and_modify(|known| known.end = now).or_insert(first);
        }
        self.sequences = sequences;
        lost.map_or(Ok(()), Err)
    }

    /// Before version 18 a look keeps a sequence locked until its transaction ends, against `ALTER` and
    /// `TRUNCATE`: where the snapshot's has to last, another session does it.
    fn ask_sequences(&mut self, asks: &[&Ask], look: Look, brake: &Brake) -> Answers<SimpleQueryRow> {
        if asks.is_empty() {
            return Answers::default();
        }
        if self.version >= sql::SEQUENCE_DATA_SINCE || look == Look::Again {
            return self.session.ask_all(asks, SEQUENCE_TIME, brake, End::Savepoint);
        }
        if look == Look::First {
            return self.session.ask_all(asks, SEQUENCE_TIME, brake, End::Transaction);
        }
        match Session::open(&self.info, &self.options) {
            Ok(mut session) => session.ask_all(asks, SEQUENCE_TIME, brake, End::Transaction),
            Err(error) => {
                let why = format!("no session for a look at it: {}", one_line(&error));
                let skipped = asks.iter().map(|ask| (ask.name.clone(), why.clone())).collect();
                Answers { skipped, ..Answers::default() }
            }
        }
    }

    fn count_tables(&mut self, asks: &[Ask], brake: &Brake) -> Result<()> {
        let key = (self.figures.level == Level::Content).then_some(&self.wanted.row_key);
        let asks: Vec<&Ask> = asks.iter().collect();
        let Answers { answered, skipped, lost } =
            self.session.copy_all(&asks, self.wanted.table_time, brake, key);
        self.figures.skipped.extend(skipped);
        let figures = |tally: Tally| TableFigures { rows: tally.rows, hash: tally.hash() };
        self.figures.tables.extend(answered.into_iter().map(|(name, tally)| (name, figures(tally))));
        lost.map_or(Ok(()), Err)
    }
}

/// A value that can't be null.
fn text(row: &SimpleQueryRow, at: usize) -> Result<String> {
    Ok(row.try_get(at)?.with_context(|| format!("the server gave no value {at}"))?.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_brake_shortens_what_is_left_and_ends_it() {
        let usual = Duration::from_mins(1);
        let brake = Brake::default();
        assert_eq!(brake.time_left(usual), Some(usual));
        let shared = brake.clone();
        shared.end_by(Instant::now() + 2 * usual);
        assert_eq!(brake.time_left(usual), Some(usual));
        shared.end_by(Instant::now() + usual / 2);
        assert!(brake.time_left(usual).unwrap() <= usual / 2);
        shared.end_by(Instant::now());
        assert_eq!(brake.time_left(usual), None);
    }
}
