//! The dump in one copy of a backup, read block by block. It tells the problems of the copy, where another
//! one may do, from all others; it knows nothing of where the dump goes.

use std::collections::VecDeque;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use bytes::Bytes;

use super::Job;
use crate::backup::{Backup, Copy, CopyState};
use crate::command::progress::ReadBar;
use crate::exit::{Code, Failure, wrap};
use crate::pipeline::damage::is_damage;
use crate::pipeline::digest::Hashed;
use crate::pipeline::readback::{Dump, ReadAhead};
use crate::pipeline::seal::fill;
use crate::store::{Store, is_missing};

const BLOCK_LEN: usize = 256 * 1024;
const OTHER_COPY: &str = "`pgkeep verify` tells which copies are whole; --from STORE reads another one";

/// Why a restore came to no end.
pub(super) enum CopyFault {
    /// The copy is damaged, missing or out of reach; another one may do.
    Copy(anyhow::Error),
    /// No other copy would help.
    Final(anyhow::Error),
}

impl From<anyhow::Error> for CopyFault {
    fn from(error: anyhow::Error) -> Self {
        Self::Final(error)
    }
}

pub(super) type Attempt<T> = Result<T, CopyFault>;

/// A dump that is read from a copy. The last block is given out only when the artifact's end is proven and
/// the dump is the one on record: nobody who needs all of it can complete anything before.
pub(super) struct Reading<'a> {
    /// Gone once it was read to its end.
    source: Option<Hashed<Dump<ReadAhead>>>,
    backup: &'a Backup,
    copy: &'a Copy,
    /// Blocks that were given back.
    returned: VecDeque<Bytes>,
    /// The next block.
    held: Option<Bytes>,
    bar: ReadBar,
}

impl<'a> Reading<'a> {
    /// Opens a copy, and its first chunk.
    pub(super) fn open(job: &Job<'a>, copy: &'a Copy) -> Attempt<Self> {
        let context = job.context;
        let store = store_of(job, copy).map_err(CopyFault::Copy)?;
        let artifact = store.open(&copy.path).map_err(|error| CopyFault::Copy(not_there(copy, error)))?;
        let artifact = ReadAhead::start(artifact, context.interrupt.clone())?;
        let dump = Dump::open(artifact, job.ring, context.config.compression.threads)
            .map_err(|error| CopyFault::Copy(not_opened(copy, error)))?;
        if dump.id() != &job.backup.id {
            let what = format!("the copy in store `{}` is that of `{}`", copy.store, dump.id());
            return Err(CopyFault::Copy(Failure::new(Code::Verification, what).hint(OTHER_COPY).into()));
        }
        let size_bytes = job.backup.metadata_u64("dump_bytes").unwrap_or_default();
        let bar = ReadBar::start(&context.out.bars, &copy.store, size_bytes)?;
        let source = Some(Hashed::new(dump));
        let mut reading =
            Self { source, backup: job.backup, copy, returned: VecDeque::new(), held: None, bar };
        reading.held = reading.read()?;
        Ok(reading)
    }

    /// The next block; none when all were given.
    pub(super) fn next(&mut self) -> Attempt<Option<Bytes>> {
        if let Some(block) = self.returned.pop_front() {
            return Ok(Some(block));
        }
        let block = self.held.take();
        self.held = self.read()?;
        Ok(block)
    }

    /// Takes blocks back, to be given out anew.
    pub(super) fn give_back(&mut self, blocks: Vec<Bytes>) {
        for block in blocks.into_iter().rev() {
            self.returned.push_front(block);
        }
    }

    fn read(&mut self) -> Attempt<Option<Bytes>> {
        let Some(mut source) = self.source.take() else {
            return Ok(None);
        };
        let mut block = vec![0u8; BLOCK_LEN];
        let got = fill(&mut source, &mut block).map_err(|error| self.broken(&error))?;
        self.bar.add(got);
        block.truncate(got);
        if got == BLOCK_LEN {
            self.source = Some(source);
        } else if Some(source.sum().sha256.as_str()) != self.backup.metadata_str("dump_checksum") {
            let what = format!("the dump in store `{}` is not the one on record", self.copy.store);
            return Err(CopyFault::Copy(Failure::new(Code::Verification, what).hint(OTHER_COPY).into()));
        }
        Ok((got > 0).then(|| block.into()))
    }

    fn broken(&self, error: &std::io::Error) -> CopyFault {
        let (code, how) = if is_damage(error) {
            (Code::Verification, "is damaged")
        } else {
            (Code::Failed, "can't be read to its end")
        };
        let what = format!("the copy in store `{}` {how}: {error}", self.copy.store);
        CopyFault::Copy(Failure::new(code, what).hint(OTHER_COPY).into())
    }
}

/// The copies to try, in their order: that in the store which was asked for, or all that are published,
/// verified ones first, those that were found missing or damaged last.
pub(super) fn copies_of<'a>(backup: &'a Backup, from: Option<&str>) -> Result<Vec<&'a Copy>> {
    let mut copies: Vec<&Copy> = backup.copies.iter().collect();
    if let Some(name) = from {
        copies.retain(|copy| copy.store == name);
        if copies.is_empty() {
            let what = format!("`{}` has no copy in a store named `{name}`", backup.id);
            return Err(Failure::usage(what).hint("`pgkeep list` names the stores").into());
        }
    }
    copies.retain(|copy| copy.state.is_published());
    if copies.is_empty() {
        let what = format!("no copy of `{}` is left to restore from", backup.id);
        return Err(Failure::new(Code::Verification, what).into());
    }
    copies.sort_by_key(|copy| match copy.state {
        CopyState::Verified => 0,
        CopyState::Stored => 1,
        CopyState::Missing | CopyState::Corrupt | CopyState::Failed | CopyState::Expired => 2,
    });
    Ok(copies)
}

fn store_of(job: &Job<'_>, copy: &Copy) -> Result<Arc<dyn Store>> {
    let configured = job.configured_stores.iter().find(|configured| configured.name == copy.store);
    let store = configured
        .context("the configuration has no such store")
        .and_then(|configured| configured.store.clone().map_err(|error| anyhow!(error)));
    store.with_context(|| format!("the copy in store `{}` can't be read", copy.store))
}

fn not_there(copy: &Copy, error: anyhow::Error) -> anyhow::Error {
    if is_missing(&error) {
        let what = format!("the copy in store `{}` is missing", copy.store);
        return error.context(Failure::new(Code::Verification, what).hint(OTHER_COPY));
    }
    wrap(error, format!("the copy in store `{}` can't be read", copy.store))
}

/// A header that does not open: a missing key and a store that can't be read say so themselves.
fn not_opened(copy: &Copy, error: anyhow::Error) -> anyhow::Error {
    let what = format!("the copy in store `{}` does not open", copy.store);
    let is_away = error
        .chain()
        .any(|cause| cause.downcast_ref::<std::io::Error>().is_some_and(|cause| !is_damage(cause)));
    if is_away || error.downcast_ref::<Failure>().is_some() {
        return wrap(error, what);
    }
    error.context(Failure::new(Code::Verification, what).hint(OTHER_COPY))
}
