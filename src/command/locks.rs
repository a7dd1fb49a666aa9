//! One run at a time for each source and database, and one prune: a file lock on this host, and one in the
//! catalog for all hosts. A run and a prune do not wait for each other: no backup is late for a prune.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::clock::now;
use super::context::Context;
use super::liveness::{is_alive, is_dead_here};
use crate::backup::Backup;
use crate::bounded;
use crate::catalog::Catalog;
use crate::catalog::lock::{Holder, RunLock};
use crate::config::environment;
use crate::exit::{Code, Failure};
use crate::files;
use crate::key::hex;
use crate::name;

/// How long the session of a run that was killed may take to go, and how often it is looked for.
const LAST_BREATH: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(100);

/// Whether a lock file was given up: who waits for it in this process may hold its lock by now, and must not be taken
/// for another run.
static HANGS: AtomicBool = AtomicBool::new(false);

/// Who wants the locks of a database, and what a second one is told of it.
#[derive(Clone)]
pub(super) struct Claimant {
    source: String,
    database: String,
    /// What the locks are named after: the database, or its prune.
    lock: String,
    words: String,
}

impl Claimant {
    /// The run of a backup.
    pub(super) fn run(backup: &Backup) -> Self {
        let words = in_words(backup, Some(std::process::id().into()));
        let database = backup.database.clone();
        Self { source: backup.source.clone(), lock: database.clone(), database, words }
    }

    /// Whoever removes copies.
    pub(super) fn prune(source: &str, database: &str) -> Self {
        let since = now().strftime("%Y-%m-%d %H:%M:%S UTC");
        let host = environment::host_name();
        let words = format!("a prune on {host}, process {}, since {since}", std::process::id());
        // No name of a database has a NUL byte.
        let lock = format!("{database}\0prune");
        Self { source: source.to_owned(), database: database.to_owned(), lock, words }
    }

    fn is_run(&self) -> bool {
        self.lock == self.database
    }

    /// What the catalog's lock is called.
    fn name(&self) -> String {
        let what = if self.is_run() { "run" } else { "prune" };
        format!("{what} {}", name::database_prefix(&self.source, &self.database))
    }
}

/// The locks of a run; dropped with it, however it ends.
pub(super) struct Locks {
    file: Option<File>,
    pub(super) catalog: Option<RunLock>,
}

impl Locks {
    /// Whether there is one at all.
    pub(super) fn is_any(&self) -> bool {
        self.file.is_some() || self.catalog.is_some()
    }
}

/// Takes both locks of a database; without the catalog the file lock alone, and none where there can
/// be none.
///
/// # Errors
/// Exit code 6 when another run holds one; says who, since when.
pub(super) fn take(context: &Context, claimant: &Claimant, catalog_is_up: bool) -> Result<Locks> {
    let file = match lock_file_in_time(context, claimant) {
        Ok(file) => Some(file),
        Err(error) if crate::exit::code_of(&error) == Code::Locked => return Err(error),
        Err(error) if catalog_is_up => {
            log::warn!("no file lock, the catalog's alone: {error:#}");
            None
        }
        // A backup that nobody guards is better than none: two runs have different ids, and share nothing.
        Err(error) => {
            log::warn!("no lock at all, so a second run would not be noticed: {error:#}");
            None
        }
    };
    if !catalog_is_up {
        return Ok(Locks { file, catalog: None });
    }
    let taken = context.open_catalog().and_then(|catalog| lock_in(context, catalog, claimant));
    match taken {
        Ok(lock) => Ok(Locks { file, catalog: Some(lock) }),
        Err(error) if crate::exit::code_of(&error) == Code::Locked => Err(error),
        Err(error) => {
            log::warn!("no lock in the catalog, the file's alone: {error:#}");
            Ok(Locks { file, catalog: None })
        }
    }
}

/// Takes the catalog's lock. One that is held for no run which shows signs of life is waited for a moment: the
/// server may not have noticed yet that it was killed.
fn lock_in(context: &Context, mut catalog: Catalog, claimant: &Claimant) -> Result<RunLock> {
    let Claimant { source, database, .. } = claimant;
    let begun = Instant::now();
    loop {
        let holder;
        (catalog, holder) = match RunLock::take(catalog, &claimant.name())? {
            Ok(lock) => return Ok(lock),
            Err(taken) => taken,
        };
        let unfinished = if claimant.is_run() {
            catalog.unfinished(source, database).unwrap_or_default()
        } else {
            Vec::new()
        };
        let run = unfinished.iter().find(|backup| is_alive(&mut catalog, backup).unwrap_or(false));
        if run.is_some() || begun.elapsed() > LAST_BREATH || context.interrupt.wait(LOOK) {
            let run = run.or_else(|| unfinished.iter().find(|backup| !is_dead_here(backup)));
            return Err(held_in(claimant, run, &holder));
        }
    }
}

/// Who holds the catalog's lock: by the row of its run, or by what it has said when it took it.
fn held_in(claimant: &Claimant, run: Option<&Backup>, holder: &Holder) -> anyhow::Error {
    let who = if let Some(run) = run {
        in_words(run, run.metadata_u64("pid"))
    } else {
        let what = if claimant.is_run() { "a run without a row yet" } else { "a prune" };
        let since = holder.since.strftime("%Y-%m-%d %H:%M:%S UTC");
        format!("{what} on {}, process {}, since {since}", holder.host, holder.process)
    };
    let of_server = format!(
        "; if its host is gone, `SELECT pg_catalog.pg_terminate_backend({})` in the catalog frees it",
        holder.server_pid
    );
    held(&claimant.database, &who, &of_server, Some(holder.since))
}

fn in_words(holder: &Backup, pid: Option<u64>) -> String {
    let host = holder.metadata_str("host").unwrap_or("an unknown host");
    let since = holder.created_at.strftime("%Y-%m-%d %H:%M:%S UTC");
    format!("`{}` on {host}, process {}, since {since}", holder.id, pid.unwrap_or_default())
}

fn held(database: &str, holder: &str, more: &str, since: Option<Timestamp>) -> anyhow::Error {
    let failure = Failure::new(Code::Locked, format!("another run works on `{database}`: {holder}"))
        .hint(format!("wait for it to end, or end that process; its lock goes with it{more}"));
    match since {
        Some(since) => anyhow::Error::new(Held { database: database.to_owned(), since }).context(failure),
        None => failure.into(),
    }
}

/// Since when a lock is held that somebody else wanted.
#[derive(Debug, thiserror::Error)]
#[error("another run works on `{database}`")]
struct Held {
    database: String,
    since: Timestamp,
}

/// Since when a lock is held, of the error that says so.
pub(super) fn held_since(error: &anyhow::Error) -> Option<Timestamp> {
    error.chain().find_map(|cause| cause.downcast_ref::<Held>()).map(|held| held.since)
}

/// A state folder on a disk that hangs holds no run up.
fn lock_file_in_time(context: &Context, claimant: &Claimant) -> Result<File> {
    let (state_dir, claimant, limit) =
        (context.config.state_dir.clone(), claimant.clone(), context.config.timeouts.stall);
    if HANGS.load(Ordering::SeqCst) {
        bail!("the lock file's disk hangs");
    }
    bounded::within("lock file", limit, move || lock_file(&state_dir, &claimant)).map_err(|error| {
        HANGS.store(true, Ordering::SeqCst);
        anyhow!("no lock file within {limit:?}: {error}")
    })?
}

fn lock_file(state_dir: &Path, claimant: &Claimant) -> Result<File> {
    let folder = state_dir.join("locks");
    files::create_private_dir(&folder)?;
    let Claimant { source, database, lock, words } = claimant;
    let digest = Sha256::new().chain_update(source).chain_update(b"\0").chain_update(lock).finalize();
    let short: String = hex(digest.as_slice()).chars().take(24).collect();
    let path = folder.join(format!("{short}.lock"));
    let shown = path.display();
    let mut file = files::open_lock(&path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let told = (&file).take(800).read_to_string(&mut holder).is_ok() && !holder.is_empty();
            let holder = if told { holder.trim().to_owned() } else { "a run that has just begun".to_owned() };
            // The holder writes its name when it has taken the lock.
            let since = file.metadata().and_then(|about| about.modified()).ok();
            let since = since.and_then(|at| Timestamp::try_from(at).ok());
            return Err(held(database, &holder, "", since));
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("cannot lock `{shown}`"));
        }
    }
    let told = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{words}"));
    if let Err(error) = told {
        // The lock holds all the same; a second run will only know less of its holder.
        log::info!("cannot write `{shown}`: {error}");
    }
    Ok(file)
}
