//! The figures of a backup: taken beside its dump, on the dump's own snapshot. Nothing that goes wrong here
//! fails the backup.

use std::io::{self, Read};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::backup::Backup;
use crate::bounded;
use crate::command::context::Context;
use crate::command::progress::Phase;
use crate::conninfo::ConnInfo;
use crate::exit::one_line;
use crate::fingerprint::{EVERYTHING, Fingerprint, Level};
use crate::key::Key;
use crate::manifest::{FINGERPRINT, FINGERPRINT_LIMIT_BYTES, TABLES};
use crate::source::dump::Dump;
use crate::source::fingerprint::{Counting, Snapshot, Taken, Wanted};

/// Tables that are named one by one where they were skipped.
const NAMED: usize = 20;

/// What is known of the database, and the counting that is to add to it.
pub(super) struct Figures {
    snapshot: Option<String>,
    counting: Option<Counting>,
    known: Option<Fingerprint>,
}

impl Figures {
    /// Opens a snapshot for the dump to share, as configured.
    pub(super) fn open(
        context: &Context,
        connection: &ConnInfo,
        without_schema: Option<&str>,
        key: &Key,
    ) -> Self {
        Self::try_open(context, connection, without_schema, key).unwrap_or_else(|error| {
            log::warn!("no figures are taken to compare a restore with: {}", one_line(&error));
            Self { snapshot: None, counting: None, known: None }
        })
    }

    fn try_open(
        context: &Context,
        connection: &ConnInfo,
        without_schema: Option<&str>,
        key: &Key,
    ) -> Result<Self> {
        let config = &context.config.fingerprint;
        let row_key = key.row_key()?;
        let level = config.level;
        let without_schema = without_schema.map(str::to_owned);
        let wanted = Wanted { level, row_key, table_time: config.time, without_schema };
        let (connection, options) = (connection.clone(), context.connect_options());
        let (interrupt, limit) = (&context.interrupt, options.answer_timeout + config.time);
        let is_over = |taken: Duration| interrupt.is_raised() || taken > limit;
        let opened = bounded::until("snapshot", is_over, move || -> Result<_> {
            let mut snapshot = Snapshot::open(&connection, &options, wanted)?;
            let shared = (level != Level::Off).then(|| snapshot.export());
            Ok((snapshot, shared))
        });
        let frame =
            |snapshot: Snapshot| Self { snapshot: None, counting: None, known: Some(snapshot.into_frame()) };
        match opened?? {
            (snapshot, None) => Ok(frame(snapshot)),
            (snapshot, Some(Ok(id))) => {
                let counting = Some(Counting::start(snapshot)?);
                Ok(Self { snapshot: Some(id), counting, known: None })
            }
            (snapshot, Some(Err(error))) => {
                log::warn!("the rows are not counted to compare a restore with: {}", one_line(&error));
                Ok(frame(snapshot))
            }
        }
    }

    /// The snapshot for the dump to share.
    pub(super) fn snapshot(&self) -> Option<&str> {
        self.snapshot.as_deref()
    }

    /// Ends the counting of a dump that came to nothing.
    pub(super) fn cancel(&mut self) {
        self.snapshot = None;
        if let Some(counting) = self.counting.take() {
            self.known = counting.cancel();
        }
    }

    /// Waits for what is still to be counted once the dump is done, and puts the figures on record. Where
    /// the interrupt ends the wait, what was counted is lost.
    pub(super) fn record(mut self, context: &Context, backup: &mut Backup) {
        if let Some(counting) = self.counting.take() {
            let phase = Phase::start(&context.out.bars, "counting rows, to compare a restore with");
            let taken = counting.finish(context.config.fingerprint.time, &context.interrupt);
            drop(phase);
            match taken {
                Ok(Taken { figures, tables, problem }) => {
                    // Of the very snapshot that was dumped.
                    if let Some(tables) = tables {
                        backup.metadata.insert(TABLES.to_owned(), json!(tables));
                    }
                    if let Some(error) = problem {
                        log::warn!(
                            "not everything was counted to compare a restore with: {}",
                            one_line(&error)
                        );
                    }
                    self.known = Some(figures);
                }
                Err(_) if context.interrupt.is_raised() => return,
                Err(error) => {
                    log::warn!("the rows are not counted to compare a restore with: {}", one_line(&error));
                }
            }
        }
        let Some(mut figures) = self.known else { return };
        for (name, why) in figures.skipped.iter().take(NAMED) {
            log::info!("`{name}` is not counted: {why}");
        }
        if figures.skipped.len() > NAMED {
            log::info!("and {} more are not counted", figures.skipped.len() - NAMED);
        }
        if figures.fit_into(FINGERPRINT_LIMIT_BYTES) {
            let why = figures.skipped.get(EVERYTHING).map(String::as_str).unwrap_or_default();
            log::warn!("no table is compared with a restore: {why}");
        }
        backup.metadata.insert(FINGERPRINT.to_owned(), json!(figures));
    }
}

/// The dump as it comes; its first bytes let the counting begin, since `pg_dump` holds all its locks then.
pub(super) struct CapturingReader<'a> {
    dump: Dump,
    figures: Figures,
    start: &'a dyn Fn(Option<&str>) -> Result<Dump>,
    has_begun: bool,
}

impl<'a> CapturingReader<'a> {
    /// Starts a dump on the figures' snapshot.
    pub(super) fn start(figures: Figures, start: &'a dyn Fn(Option<&str>) -> Result<Dump>) -> Result<Self> {
        let dump = start(figures.snapshot())?;
        Ok(Self { dump, figures, start, has_begun: false })
    }

    /// The dump and the figures, once it has ended.
    pub(super) fn into_parts(self) -> (Dump, Figures) {
        (self.dump, self.figures)
    }

    /// Starts the dump again without the snapshot, where that is what stood in its way.
    fn without_snapshot(&mut self, error: io::Error) -> io::Result<()> {
        if self.figures.snapshot().is_none() || !is_of_the_snapshot(&error) {
            return Err(error);
        }
        log::warn!(
            "the dump can't share a snapshot, and starts again without: rows are not counted to compare a \
             restore with: {error}"
        );
        self.figures.cancel();
        self.dump = (self.start)(None).context("cannot start again").map_err(io::Error::other)?;
        Ok(())
    }
}

/// Whether `pg_dump` failed over the snapshot, or over the one session more that it takes: another server
/// answered than before, say, or a role may have so many sessions only.
fn is_of_the_snapshot(error: &io::Error) -> bool {
    let told = error.to_string().to_lowercase();
    ["snapshot", "too many connections", "too many clients", "connection slots"]
        .iter()
        .any(|words| told.contains(words))
}

impl Read for CapturingReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match self.dump.read(buffer) {
            Err(error) if !self.has_begun => {
                self.without_snapshot(error)?;
                self.dump.read(buffer)?
            }
            other => other?,
        };
        if !self.has_begun && count > 0 {
            self.has_begun = true;
            if let Some(counting) = &mut self.figures.counting {
                counting.begin();
            }
        }
        Ok(count)
    }
}
