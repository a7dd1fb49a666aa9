//! The test restore: one copy of a backup, streamed into a scratch database that is made for it and dropped
//! after it, and compared with the source as it was.

use std::fmt;
use std::io::Write;

use anyhow::{Result, anyhow};

use super::context::Context;
use crate::backup::Backup;
use crate::exit::{Failure, one_line, wrap};
use crate::key::KeyRing;
use crate::pipeline::digest::Hashed;
use crate::pipeline::readback::{Dump, ReadAhead};
use crate::pipeline::seal::fill;
use crate::source::clients::Client;
use crate::source::restore::{Ownership, Restore};
use crate::source::scratch::{Recipe, ScratchDatabase, ScratchPlan, ScratchServer};
use crate::source::server::Server;
use crate::store::Store;

const BLOCK_LEN: usize = 256 * 1024;
const MIB: u64 = 1024 * 1024;
/// What a cluster takes besides the data: its own catalogs, and the log of what was written last.
const CLUSTER_BYTES: u64 = 256 * MIB;
/// The longest that is kept of what `pg_restore` said.
const SAID_CHARS: usize = 1000;

/// What a test restore came to.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It restores, and nothing that is on record of the source differs.
    Equal(Proof),
    /// It does not restore, or it restores to something else: each difference as a sentence.
    Differs(Vec<String>),
}

/// What was found equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Proof {
    /// Tables whose figures were compared; `None` where there are no figures on record.
    pub(super) tables: Option<usize>,
    /// Tables that were left out, at the backup or now.
    pub(super) skipped: usize,
}

impl fmt::Display for Proof {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.tables, self.skipped) {
            (None, _) => {
                formatter.write_str("it restores; nothing could be compared: no figures are on record")
            }
            (Some(tables), 0) => write!(formatter, "it restores, equal in {tables} tables"),
            (Some(tables), skipped) => {
                write!(formatter, "it restores, equal in {tables} tables; {skipped} were left out")
            }
        }
    }
}

/// Restores the copy at `path` of `store` into a scratch database, of a throwaway cluster or of the server
/// at `scratch`, and compares it with what is on record of the source. The thread that calls this must not
/// be a short-lived one: the cluster ends with it.
///
/// # Errors
/// When it could not be carried out, which says nothing of the copy: no server programs, no room, a store
/// that is away, a missing key, a server that lacks what the dump needs, an interruption.
pub(super) fn test_restore(
    context: &Context,
    backup: &Backup,
    store: &dyn Store,
    path: &str,
    ring: &KeyRing,
    scratch: Option<&str>,
) -> Result<Outcome> {
    let outcome = tried(context, backup, store, path, ring, scratch);
    if context.interrupt.is_raised() {
        // Whatever it ran into, that is not what ended it.
        return Err(Failure::failed("interrupted").into());
    }
    outcome
}

fn tried(
    context: &Context,
    backup: &Backup,
    store: &dyn Store,
    path: &str,
    ring: &KeyRing,
    scratch: Option<&str>,
) -> Result<Outcome> {
    let (client, mut server) = server(context, backup, scratch)?;
    let roles = Vec::new();
    let mut database = server.database(&Recipe { like: None, roles: &roles })?;
    let source = match open(context, backup, store, path, ring)? {
        Ok(source) => source,
        Err(why) => return Ok(Outcome::Differs(vec![why])),
    };
    if let Err(why) = restore(context, &client, &mut database, backup, source)? {
        return Ok(Outcome::Differs(vec![why]));
    }
    Ok(Outcome::Equal(Proof { tables: None, skipped: 0 }))
}

/// The programs for a dump, and a server that is to take it.
fn server(context: &Context, backup: &Backup, scratch: Option<&str>) -> Result<(Client, ScratchServer)> {
    let dumped_by = backup.metadata_str("pg_dump_version").and_then(major_of).unwrap_or_default();
    let dumped_from = backup.metadata_str("server_version").and_then(major_of).unwrap_or(dumped_by);
    let client = context.client("pg_restore", dumped_by)?;
    if let Some(url) = scratch {
        let info = context.connection(url)?;
        let facts = Server::connect(&info, &context.connect_options())?.facts()?;
        if facts.major < dumped_from {
            let what =
                format!("{} is of version {}, older than the backup's", info.describe(), facts.version);
            return Err(Failure::failed(what).hint("name a server that is not older").into());
        }
        return Ok((client, ScratchServer::at(info, context.config.timeouts.connect)));
    }
    // An older server may not know what a newer pg_restore says to it.
    let programs = context
        .server_programs(dumped_from.max(client.major))
        .or_else(|_| context.server_programs(dumped_from))?;
    if programs.major != dumped_from {
        log::info!("the backup is of a server {dumped_from}: one of version {} takes it", programs.version);
    }
    let size = |key: &str| backup.metadata_u64(key).unwrap_or_default();
    let data_bytes = size("dump_bytes").max(size("database_bytes"));
    let plan = ScratchPlan {
        server: &programs,
        scratch_dir: &context.config.scratch_dir,
        need_bytes: data_bytes.saturating_add(data_bytes / 10).saturating_add(CLUSTER_BYTES),
        interrupt: &context.interrupt,
    };
    Ok((client, ScratchServer::start(&plan)?))
}

fn major_of(version: &str) -> Option<u32> {
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

type Source = Hashed<Dump<ReadAhead>>;

/// The dump inside a copy; the inner error is a fault of the copy.
fn open(
    context: &Context,
    backup: &Backup,
    store: &dyn Store,
    path: &str,
    ring: &KeyRing,
) -> Result<Result<Source, String>> {
    let artifact = ReadAhead::start(store.open(path)?, context.interrupt.clone())?;
    let dump = match Dump::open(artifact, ring, context.config.compression.threads) {
        Ok(dump) => dump,
        Err(error) if error.downcast_ref::<Failure>().is_some() || is_away(&error) => {
            return Err(wrap(error, "the copy does not open"));
        }
        Err(error) => return Ok(Err(format!("it does not open: {}", one_line(&error)))),
    };
    if dump.id() != &backup.id {
        return Ok(Err(format!("it is the artifact of `{}`", dump.id())));
    }
    Ok(Ok(Hashed::new(dump)))
}

/// Whether an error says that bytes are out of reach, rather than wrong.
fn is_away(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    causes.any(|cause| !is_damage(cause))
}

fn is_damage(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    // Deflate says InvalidInput of bytes that are none of its own.
    matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof)
}

/// Streams the dump into `pg_restore`; the inner error is a fault of the backup.
fn restore(
    context: &Context,
    client: &Client,
    database: &mut ScratchDatabase<'_>,
    backup: &Backup,
    mut source: Source,
) -> Result<Result<(), String>> {
    let ownership = Ownership::Original;
    let mut child = Restore::into_scratch(client, database, ownership, context.interrupt.clone())?;
    let mut block = vec![0u8; BLOCK_LEN];
    loop {
        let got = match fill(&mut source, &mut block) {
            Ok(got) => got,
            Err(error) if is_damage(&error) => return Ok(Err(format!("it is damaged: {error}"))),
            Err(error) => return Err(anyhow!(error).context("the copy can't be read")),
        };
        // A child that has had enough says why when it is waited for.
        if child.write_all(block.get(..got).unwrap_or_default()).is_err() || got < BLOCK_LEN {
            break;
        }
    }
    let sum = source.sum();
    match child.finish() {
        Ok(said) => {
            if !said.is_empty() {
                log::info!("{said}");
            }
        }
        Err(error) => {
            database.server().ensure_answers()?;
            let said = cut(&one_line(&error));
            return match lack(&said) {
                Some(hint) => Err(Failure::failed(said).hint(hint).into()),
                None => Ok(Err(format!("it does not restore: {said}"))),
            };
        }
    }
    if Some(sum.sha256.as_str()) != backup.metadata_str("dump_checksum") {
        return Ok(Err("the dump inside is not the one on record".to_owned()));
    }
    Ok(Ok(()))
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SAID_CHARS) {
        Some((end, _)) => format!("{} [...]", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// What `pg_restore` says where the scratch server lacks something, which is no fault of the backup.
fn lack(said: &str) -> Option<&'static str> {
    const ROOM: &str = "make room, or name a folder of another file system in `[verify] scratch_dir`";
    const EXTENSION: &str = "install the extension's package for the scratch server, or name a server that \
                             has it with --scratch";
    const LOCALE: &str = "make that locale on this host, or name a server that has it with --scratch";
    const RIGHTS: &str = "name a role that is a superuser in --scratch";
    let known = [
        ("No space left on device", ROOM),
        ("could not extend file", ROOM),
        ("could not open extension control file", EXTENSION),
        ("is not available", EXTENSION),
        ("could not access file \"$libdir", EXTENSION),
        ("shared_preload_libraries", EXTENSION),
        ("collation \"pg_catalog.", LOCALE),
        ("could not create locale", LOCALE),
        ("out of memory", "run it where more memory is free"),
        ("server closed the connection unexpectedly", "try again; the scratch server's log may say more"),
        ("terminating connection", "try again; the scratch server's log may say more"),
        ("Connection refused", "try again when the server answers"),
        ("could not connect", "try again when the server answers"),
        ("permission denied to", RIGHTS),
        ("must be superuser", RIGHTS),
        ("must be able to SET ROLE", RIGHTS),
        ("must be member of role", RIGHTS),
    ];
    known.into_iter().find(|(words, _)| said.contains(words)).map(|(_, hint)| hint)
}
