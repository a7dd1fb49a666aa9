//! `pgkeep restore`: the dump of a backup, streamed into `pg_restore` or into a file. Nothing is written
//! anywhere before the artifact's first chunk has opened, and no damage ends as success.

use std::io::{IsTerminal, Read, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use rustix::event::PollFlags;
use rustix::pipe::PIPE_BUF;

use super::context::{Context, Shelf, now};
use super::select;
use crate::backup::{Backup, Copy, CopyState};
use crate::cli;
use crate::conninfo::ConnInfo;
use crate::exit::{Code, Failure, wrap};
use crate::files;
use crate::interrupt::Interrupt;
use crate::key::KeyRing;
use crate::pipeline::digest::Hashed;
use crate::pipeline::readback::{Dump, ReadAhead};
use crate::pipeline::seal::fill;
use crate::process::wait_ready;
use crate::source::clients::Client;
use crate::source::restore::{Existing, Ownership, Restore};
use crate::source::server::Server;
use crate::store::{Store, is_missing};

const BLOCK_LEN: usize = 256 * 1024;
const OTHER_COPY: &str = "`pgkeep verify` tells which copies are whole; --from STORE reads another one";

type Source = Hashed<Dump<ReadAhead>>;

/// Where the dump is to go, checked as far as that can be done before it is read.
enum Target<'a> {
    Stdout,
    File(&'a Path),
    Database { info: ConnInfo, client: Client, existing: Existing, ownership: Ownership },
}

pub(super) fn run(context: &Context, flags: &cli::Restore) -> Result<Code> {
    let ring = context.existing_keys()?;
    let shelves = context.shelves()?;
    let backup = chosen(context, flags, &shelves, &ring)?;
    if !backup.status.is_usable() {
        let what = format!("`{}` is {}: there is nothing to restore", backup.id, backup.status.as_str());
        return Err(Failure::failed(what).hint("`pgkeep list --status verified`").into());
    }
    let target = target(context, flags, &backup)?;
    let (copy, artifact) = open_copy(&backup, &shelves, flags.from.as_deref())?;
    let artifact = ReadAhead::start(artifact, context.interrupt.clone())?;
    let dump = Dump::open(artifact, &ring, context.config.compression.threads)
        .map_err(|error| not_opened(copy, error))?;
    if dump.id() != &backup.id {
        let what = format!("the copy in store `{}` is that of `{}`", copy.store, dump.id());
        return Err(Failure::new(Code::Verification, what).into());
    }
    log::info!("restoring `{}` from store `{}`", backup.id, copy.store);
    let source = Hashed::new(dump);
    match target {
        Target::Stdout => pour_all(source, &backup, copy, PatientStdout(&context.interrupt))?,
        Target::File(path) => into_file(context, path, source, &backup, copy)?,
        Target::Database { info, client, existing, ownership } => {
            into_database(context, &info, &client, existing, ownership, source, &backup, copy)?;
        }
    }
    if flags.output.as_deref() != Some(Path::new("-")) {
        context.out.line(&format!("restored {} from {}", backup.id, copy.store))?;
        context.out.json(&backup)?;
    }
    Ok(Code::Done)
}

/// The backup that is meant: by the manifests of the store that is named, or by the catalog, whose session
/// then ends: one that idles through a long restore is one more thing to break.
fn chosen(context: &Context, flags: &cli::Restore, shelves: &[Shelf], ring: &KeyRing) -> Result<Backup> {
    let source = &context.config.source.name;
    match flags.from.as_deref() {
        Some(name) => {
            let shelf = select::shelf(shelves, name)?;
            select::one_in_store(shelf, ring, source, &flags.id, &flags.filters, now())
        }
        None => select::one(&mut context.catalog()?, source, &flags.id, &flags.filters, now()),
    }
}

/// Stdout as a pipe that may be full for long: waited for with an eye on the interrupt.
struct PatientStdout<'a>(&'a Interrupt);

impl Write for PatientStdout<'_> {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        let stdout = std::io::stdout();
        if !wait_ready(&stdout, PollFlags::OUT, self.0)? {
            return Err(std::io::Error::other(Failure::failed("interrupted")));
        }
        // A pipe that is ready takes this much without blocking.
        let now = buffer.get(..buffer.len().min(PIPE_BUF)).unwrap_or_default();
        let count = stdout.lock().write(now)?;
        stdout.lock().flush()?;
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stdout().flush()
    }
}

fn target<'a>(context: &Context, flags: &'a cli::Restore, backup: &Backup) -> Result<Target<'a>> {
    let Some(url) = flags.into.as_deref() else {
        let path = flags.output.as_deref().unwrap_or_else(|| Path::new("-"));
        if path != Path::new("-") {
            if path.symlink_metadata().is_ok() {
                let what = format!("`{}` exists already and is left as it is", path.display());
                return Err(Failure::failed(what).hint("name a new file").into());
            }
            return Ok(Target::File(path));
        }
        if std::io::stdout().is_terminal() {
            return Err(Failure::usage("a dump is not for a terminal").hint("--output FILE").into());
        }
        return Ok(Target::Stdout);
    };
    if url.trim().is_empty() {
        return Err(Failure::usage("`--into` needs a connection string: it is empty").into());
    }
    let info = context.connection(url)?;
    let mut server = Server::connect(&info, &context.connect_options())?;
    let facts = server.facts()?;
    let made_by = backup.metadata_str("pg_dump_version").unwrap_or_default();
    let digits: String = made_by.chars().take_while(char::is_ascii_digit).collect();
    let client = context.client("pg_restore", digits.parse().unwrap_or(facts.major))?;
    let held = server.relations_outside(&context.config.catalog.schema)?;
    if held > 0 && !flags.clean {
        let what = format!("{} is not empty: it has {held} tables, views or sequences", info.describe());
        let hint = "name an empty database, or give --clean to drop what the dump has first";
        return Err(Failure::failed(what).hint(hint).into());
    }
    let existing = if flags.clean { Existing::Replace } else { Existing::Keep };
    let ownership = if flags.no_owner { Ownership::Connected } else { Ownership::Original };
    Ok(Target::Database { info, client, existing, ownership })
}

/// Opens the copy in the store that was asked for, or the first that opens, verified ones first.
fn open_copy<'a>(
    backup: &'a Backup,
    shelves: &[Shelf],
    from: Option<&str>,
) -> Result<(&'a Copy, Box<dyn Read + Send>)> {
    let store_of = |copy: &Copy| -> Result<Arc<dyn Store>> {
        let shelf = shelves.iter().find(|shelf| shelf.name == copy.store);
        let shelf = shelf.context("the configuration has no such store")?;
        shelf.store.clone().map_err(|error| anyhow!(error))
    };
    let mut copies: Vec<&Copy> = backup.copies.iter().collect();
    if let Some(name) = from {
        copies.retain(|copy| copy.store == name);
        if copies.is_empty() {
            let what = format!("`{}` has no copy in a store named `{name}`", backup.id);
            return Err(Failure::usage(what).hint("`pgkeep list` names the stores").into());
        }
    }
    copies.retain(|copy| copy.state.is_published());
    copies.sort_by_key(|copy| copy.state != CopyState::Verified);
    let mut faults = Vec::new();
    let mut missing = 0;
    for copy in &copies {
        match store_of(copy).and_then(|store| store.open(&copy.path)) {
            Ok(artifact) => return Ok((copy, artifact)),
            Err(error) => {
                missing += usize::from(is_missing(&error));
                let fault = format!("store `{}`: {error:#}", copy.store);
                if copies.len() > 1 {
                    log::warn!("{fault}");
                }
                faults.push(fault);
            }
        }
    }
    let code = if missing == copies.len() { Code::Verification } else { Code::Failed };
    let what = format!("no copy of `{}` can be read: {}", backup.id, faults.join("; "));
    Err(Failure::new(code, what).into())
}

/// Reads the dump to its end into `into`, and makes sure that it was the dump on record.
fn pour_all(source: Source, backup: &Backup, copy: &Copy, into: impl Write) -> Result<()> {
    let mut source = source;
    let first = first_block(&mut source, copy)?;
    pour(source, first, backup, copy, into)
}

/// The first bytes of the dump: once they are there the artifact's header is proven.
fn first_block(source: &mut Source, copy: &Copy) -> Result<Vec<u8>> {
    let mut block = vec![0u8; BLOCK_LEN];
    let got = fill(source, &mut block).map_err(|error| damaged(copy, &error))?;
    block.truncate(got);
    Ok(block)
}

fn pour(
    mut source: Source,
    first: Vec<u8>,
    backup: &Backup,
    copy: &Copy,
    mut into: impl Write,
) -> Result<()> {
    let mut block = first;
    loop {
        into.write_all(&block).context("cannot write the dump")?;
        if block.len() < BLOCK_LEN {
            break;
        }
        block = first_block(&mut source, copy)?;
    }
    into.flush().context("cannot write the dump")?;
    if Some(source.sum().sha256.as_str()) != backup.metadata_str("dump_checksum") {
        let what = format!("the dump in store `{}` is not the one on record", copy.store);
        return Err(Failure::new(Code::Verification, what).into());
    }
    Ok(())
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

/// Whether an error while reading means that the bytes are wrong, rather than out of reach.
fn is_damage(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    // Deflate says InvalidInput of bytes that are none of its own.
    matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof)
}

fn damaged(copy: &Copy, error: &std::io::Error) -> anyhow::Error {
    let (code, how) =
        if is_damage(error) { (Code::Verification, "is damaged") } else { (Code::Failed, "can't be read") };
    let what = format!("the copy in store `{}` {how}: {error}", copy.store);
    Failure::new(code, what).hint(OTHER_COPY).into()
}

fn into_file(context: &Context, path: &Path, source: Source, backup: &Backup, copy: &Copy) -> Result<()> {
    let folder = files::parent_of(path);
    let mut file = tempfile::Builder::new()
        .prefix(".pgkeep-")
        .suffix(".part")
        .tempfile_in(folder)
        .with_context(|| format!("cannot make a file in `{}`", folder.display()))?;
    pour_all(source, backup, copy, &mut file)?;
    if context.interrupt.is_raised() {
        return Err(Failure::failed("interrupted").into());
    }
    file.as_file().sync_all().context("cannot make the dump durable")?;
    file.persist_noclobber(path).with_context(|| format!("cannot write `{}`", path.display()))?;
    files::sync_parent(path)
}

#[allow(clippy::too_many_arguments, reason = "all of them are the target, taken apart")]
fn into_database(
    context: &Context,
    info: &ConnInfo,
    client: &Client,
    existing: Existing,
    ownership: Ownership,
    mut source: Source,
    backup: &Backup,
    copy: &Copy,
) -> Result<()> {
    let first = first_block(&mut source, copy)?;
    let half = || match existing {
        Existing::Keep => format!("{} may hold a part of it", info.describe()),
        Existing::Replace => format!("{} is as it was", info.describe()),
    };
    let mut child = Restore::into_database(client, info, existing, ownership, context.interrupt.clone())?;
    let poured = pour(source, first, backup, copy, &mut child);
    match poured {
        Ok(()) => {
            let said = child.finish().with_context(half)?;
            if !said.is_empty() {
                log::warn!("{said}");
            }
            Ok(())
        }
        Err(error) if error.downcast_ref::<Failure>().is_some() => {
            // Dropped unfinished: it is ended, not told that the dump is complete.
            drop(child);
            Err(wrap(error, half()))
        }
        // It stopped reading: why, it says itself.
        Err(error) => Err(child.finish().err().unwrap_or(error)).with_context(half),
    }
}
