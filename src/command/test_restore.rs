//! The test restore: one copy of a backup, streamed into a scratch database that is made for it and dropped
//! after it, and compared with the source as it was.

use std::collections::BTreeSet;
use std::fmt;
use std::io::Write;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};

use super::context::Context;
use super::copy_check::{CheckFailure, Verdict};
use crate::backup::{Backup, Copy};
use crate::exit::{Failure, one_line, wrap};
use crate::fingerprint::{Fingerprint, HASH_METHOD, Level};
use crate::key::KeyRing;
use crate::manifest::fingerprint_of;
use crate::pipeline::damage::is_damage;
use crate::pipeline::digest::{Hashed, Sum};
use crate::pipeline::readback::{Dump, ReadAhead};
use crate::pipeline::seal::fill;
use crate::process::Killed;
use crate::source::clients::Client;
use crate::source::fingerprint::{RowKey, Wanted, figures_of};
use crate::source::restore::{Ownership, Restore};
use crate::source::scratch::{Recipe, ScratchDatabase, ScratchPlan, ScratchServer};
use crate::source::server::Server;
use crate::store::{Kind, Store};

mod environment_hints;

use environment_hints::{EXTENSION, LOCALE, lack, lacks_rights};

const BLOCK_LEN: usize = 256 * 1024;
const MIB: u64 = 1024 * 1024;
/// What a cluster takes besides the data: its own catalogs, and the log of what was written last.
const CLUSTER_BYTES: u64 = 256 * MIB;
/// There is no hurry: nobody else waits for a scratch database.
const COUNT_TIME: Duration = Duration::from_hours(168);
/// So many differences say that it is another database.
const MOST_DIFFERENCES: usize = 50;
/// The longest that is kept of what `pg_restore` said.
const SAID_CHARS: usize = 1000;

const ROLES: &str = "this backup has no record of the roles that its dump names: make them on a server, and \
                     name that one with --scratch";
const ROLES_GONE: &str =
    "another test restore on that server, which made the role, may have dropped it: try again";

/// What a test restore came to.
#[derive(Debug)]
enum Outcome {
    /// It restores, and nothing that is on record of the source differs.
    Equal(TestRestored),
    /// It does not restore, or it restores to something else: each difference as a sentence.
    Differs(Vec<String>),
}

/// What was found equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TestRestored {
    /// Tables whose figures were compared; `None` where there are no figures on record.
    pub(super) tables: Option<usize>,
    /// Tables that were left out, at the backup or now.
    pub(super) skipped: usize,
    /// Whether there are hashes of rows on record that are of another method than ours.
    pub(super) by_number: bool,
}

impl fmt::Display for TestRestored {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(tables) = self.tables else {
            return formatter.write_str("it restores; nothing could be compared: no figures are on record");
        };
        write!(formatter, "it restores, equal in {tables} tables")?;
        if self.skipped > 0 {
            write!(formatter, "; {} were left out", self.skipped)?;
        }
        if self.by_number {
            formatter
                .write_str("; rows were counted only: another version of pgkeep hashed those on record")?;
        }
        Ok(())
    }
}

/// Tries one of the copies, a near one first. What is found holds for all of them if their bytes are the same.
/// `None` where there is none.
pub(super) fn of_one(
    context: &Context,
    backup: &Backup,
    mut copies: Vec<(&Copy, &dyn Store)>,
    ring: &KeyRing,
    scratch: Option<&str>,
) -> Option<Result<TestRestored, CheckFailure>> {
    copies.sort_by_key(|(_, store)| store.kind() != Kind::Local);
    let (copy, store) = copies.first()?;
    Some(match test_restore(context, backup, *store, &copy.path, ring, scratch) {
        Ok(Outcome::Equal(restored)) => Ok(restored),
        Ok(Outcome::Differs(differences)) => {
            Err(CheckFailure::new(Verdict::Restore, format!("test restore: {}", differences.join("; "))))
        }
        Err(error) => {
            let hint = error.downcast_ref::<Failure>().and_then(|failure| failure.hint.as_deref());
            let hint = hint.map_or_else(String::new, |hint| format!(" ({hint})"));
            Err(CheckFailure::unknown(format!(
                "the test restore could not be made: {}{hint}",
                one_line(&error)
            )))
        }
    })
}

/// Restores the copy at `path` of `store` into a scratch database, of a throwaway cluster or of the server
/// at `scratch`, and compares it with what is on record of the source. The thread that calls this must not
/// be a short-lived one: the cluster ends with it.
///
/// # Errors
/// When it could not be carried out, which says nothing of the copy: no server programs, no room, a store
/// that is away, a missing key, a server that lacks what the dump needs, an interruption.
fn test_restore(
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

/// Roles have the rights there that they have on the source; where those do not do, because one had them from
/// another role, all are superusers in a second try.
fn tried(
    context: &Context,
    backup: &Backup,
    store: &dyn Store,
    path: &str,
    ring: &KeyRing,
    scratch: Option<&str>,
) -> Result<Outcome> {
    let mut recorded = fingerprint_of(backup)?;
    let outcome = tried_with(context, backup, store, path, ring, scratch, recorded.as_ref());
    let said = match &outcome {
        Ok(Outcome::Equal(_)) => return outcome,
        Ok(Outcome::Differs(differences)) => differences.join("; "),
        Err(error) => format!("{error:#}"),
    };
    match &mut recorded {
        Some(recorded) if scratch.is_none() && recorded.superusers.is_some() && lacks_rights(&said) => {
            log::info!("once more, with roles that may do everything: {said}");
            recorded.superusers = None;
            tried_with(context, backup, store, path, ring, scratch, Some(recorded))
        }
        _ => outcome,
    }
}

fn tried_with(
    context: &Context,
    backup: &Backup,
    store: &dyn Store,
    path: &str,
    ring: &KeyRing,
    scratch: Option<&str>,
    recorded: Option<&Fingerprint>,
) -> Result<Outcome> {
    // What does not open needs no server.
    let source = match open(context, backup, store, path, ring)? {
        Ok(source) => source,
        Err(why) => return Ok(Outcome::Differs(vec![why])),
    };
    let (client, mut server) = server(context, backup, scratch)?;
    let recipe = recorded.map_or_else(Recipe::default, |recorded| Recipe {
        like: Some(&recorded.database),
        roles: &recorded.roles,
        superusers: recorded.superusers.as_deref(),
    });
    let mut database = server.database(&recipe)?;
    if let Some(recorded) = recorded {
        ensure_extensions(&database, recorded)?;
    }
    // Without a record of the roles only what belongs to nobody can come back.
    let ownership = recorded.map_or(Ownership::Connected, |_| Ownership::Original);
    let mut child = Restore::into_scratch(&client, &database, ownership, context.interrupt.clone())?;
    let poured = pour(source, &mut child)?;
    if let Err(why) = settle(poured, child, &mut database, backup)? {
        let lacks_a_role = why.contains("role \"") && why.contains("does not exist");
        if lacks_a_role && recorded.is_none() {
            return Err(Failure::failed(why).hint(ROLES).into());
        }
        if lacks_a_role && !database.is_throwaway() {
            return Err(Failure::failed(why).hint(ROLES_GONE).into());
        }
        return Ok(Outcome::Differs(vec![why]));
    }
    match recorded {
        Some(recorded) if recorded.level != Level::Off => {
            compare(context, &database, recorded, row_key_of(backup, ring)?)
        }
        _ => Ok(Outcome::Equal(TestRestored { tables: None, skipped: 0, by_number: false })),
    }
}

/// What the restored database has beside what is on record of the source.
fn compare(
    context: &Context,
    database: &ScratchDatabase<'_>,
    recorded: &Fingerprint,
    row_key: RowKey,
) -> Result<Outcome> {
    // Hashes that can't be compared need not be taken.
    let by_number = recorded.level == Level::Content && recorded.hash_method.as_deref() != Some(HASH_METHOD);
    let level = if by_number { Level::Counts } else { recorded.level };
    let restored = figures(context, database, level, row_key)?;
    let mut differences = recorded.differences(&restored);
    let more = differences.len().saturating_sub(MOST_DIFFERENCES);
    if more > 0 {
        differences.truncate(MOST_DIFFERENCES);
        differences.push(format!("and {more} more"));
    }
    if differences.is_empty() {
        let is_compared = |name: &&String| restored.tables.contains_key(*name);
        let skipped: BTreeSet<&String> = recorded.skipped.keys().chain(restored.skipped.keys()).collect();
        let tables = Some(recorded.tables.keys().filter(is_compared).count());
        return Ok(Outcome::Equal(TestRestored { tables, skipped: skipped.len(), by_number }));
    }
    if let Some(locale) = database.missing_locale() {
        differences.push(format!("the scratch server has no locale `{locale}`: C was in its place"));
    }
    Ok(Outcome::Differs(differences))
}

/// The key of the hashes of rows, of the key that sealed the backup.
fn row_key_of(backup: &Backup, ring: &KeyRing) -> Result<RowKey> {
    let ids = backup.metadata.get("keys").and_then(serde_json::Value::as_array).into_iter().flatten();
    let key = ids.filter_map(serde_json::Value::as_str).find_map(|id| ring.find(id));
    key.context("the key that the backup was sealed with is not at hand")?.row_key()
}

fn figures(
    context: &Context,
    database: &ScratchDatabase<'_>,
    level: Level,
    row_key: RowKey,
) -> Result<Fingerprint> {
    let wanted = Wanted { level, row_key, table_time: COUNT_TIME, without_schema: None };
    let options = database.connect_options();
    let taken = figures_of(&database.connection(), &options, wanted, COUNT_TIME, &context.interrupt);
    taken.context("the restored database can't be looked at")
}

fn ensure_extensions(database: &ScratchDatabase<'_>, recorded: &Fingerprint) -> Result<()> {
    let missing = database.missing_extensions(recorded.extensions.keys())?;
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = missing.iter().map(|name| format!("`{name}`")).collect();
    let what = format!("the scratch server does not have the extension {}", names.join(", "));
    Err(Failure::failed(what).hint(EXTENSION).into())
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
        readable: &context.config.readable,
        unconfined: context.config.unconfined,
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

/// Streams the dump into `pg_restore` as far as that takes it; its sum, or what is wrong with the copy.
fn pour(mut source: Source, child: &mut Restore) -> Result<Result<Sum, String>> {
    let mut block = vec![0u8; BLOCK_LEN];
    loop {
        let got = match fill(&mut source, &mut block) {
            Ok(got) => got,
            Err(error) if is_damage(&error) => return Ok(Err(format!("it is damaged: {error}"))),
            Err(error) => return Err(anyhow!(error).context("the copy can't be read")),
        };
        // A child that has had enough says why when it is waited for.
        if child.write_all(block.get(..got).unwrap_or_default()).is_err() || got < BLOCK_LEN {
            return Ok(Ok(source.sum()));
        }
    }
}

/// Waits for `pg_restore`; the inner error is a fault of the backup.
fn settle(
    poured: Result<Sum, String>,
    child: Restore,
    database: &mut ScratchDatabase<'_>,
    backup: &Backup,
) -> Result<Result<(), String>> {
    let sum = match poured {
        Ok(sum) => sum,
        // The child is ended, not told that the dump is complete.
        Err(why) => return Ok(Err(why)),
    };
    match child.finish() {
        Ok(said) if said.is_empty() => {}
        Ok(said) => log::info!("{said}"),
        Err(error) => {
            database.server().ensure_answers()?;
            if Killed::is(&error) {
                return Err(error);
            }
            let said = cut(&one_line(&error));
            let locale = database.missing_locale().map(|_| LOCALE);
            return match lack(&said).or(locale) {
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
