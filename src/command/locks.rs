//! One run at a time for each source and database: a file lock on this host, and an advisory lock in the
//! catalog for all hosts.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;

use anyhow::{Context as _, Result};
use sha2::{Digest, Sha256};

use super::context::{Context, now};
use crate::catalog::lock::RunLock;
use crate::exit::{Code, Failure};
use crate::files;
use crate::key::hex;

/// The locks of a run; dropped with it, however it ends.
pub(super) struct Locks {
    _file: Option<File>,
    pub(super) catalog: Option<RunLock>,
}

/// Takes both locks; without the catalog the file lock alone, and none where there can be none.
///
/// # Errors
/// Exit code 6 when another run holds one; says who, since when.
pub(super) fn take(context: &Context, database: &str, catalog_is_up: bool) -> Result<Locks> {
    let source = &context.config.source.name;
    let file = match lock_file(context, source, database) {
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
        return Ok(Locks { _file: file, catalog: None });
    }
    let catalog = match context.open_catalog() {
        Ok(catalog) => catalog,
        Err(error) => {
            log::warn!("no lock in the catalog, the file's alone: {error:#}");
            return Ok(Locks { _file: file, catalog: None });
        }
    };
    match RunLock::take(catalog, source, database) {
        Ok(Ok(lock)) => Ok(Locks { _file: file, catalog: Some(lock) }),
        Err(error) => {
            log::warn!("no lock in the catalog, the file's alone: {error:#}");
            Ok(Locks { _file: file, catalog: None })
        }
        Ok(Err(mut catalog)) => {
            let holder =
                catalog.unfinished(source, database).unwrap_or_default().into_iter().next().map(|backup| {
                    let host = backup.metadata_str("host").unwrap_or("an unknown host").to_owned();
                    let pid = backup.metadata_u64("pid").unwrap_or_default();
                    let since = backup.created_at.strftime("%Y-%m-%d %H:%M:%S UTC");
                    format!("`{}` on {host}, process {pid}, since {since}", backup.id)
                });
            Err(held(database, &holder.unwrap_or_else(|| "a run that has just begun".to_owned())))
        }
    }
}

fn held(database: &str, holder: &str) -> anyhow::Error {
    Failure::new(Code::Locked, format!("another run backs up `{database}`: {holder}"))
        .hint("wait for it to end, or end that process; its lock goes with it")
        .into()
}

fn lock_file(context: &Context, source: &str, database: &str) -> Result<File> {
    let folder = context.config.state_dir.join("locks");
    files::create_private_dir(&folder)?;
    let digest = Sha256::new().chain_update(source).chain_update(b"\0").chain_update(database).finalize();
    let short: String = hex(digest.as_slice()).chars().take(24).collect();
    let path = folder.join(format!("{short}.lock"));
    let shown = path.display();
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("cannot open the lock file `{shown}`"))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let told = (&file).take(400).read_to_string(&mut holder).is_ok() && !holder.is_empty();
            let holder = if told { holder.trim().to_owned() } else { "a run that has just begun".to_owned() };
            return Err(held(database, &holder));
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("cannot lock `{shown}`"));
        }
    }
    let since = now().strftime("%Y-%m-%d %H:%M:%S UTC");
    let told = file
        .set_len(0)
        .and_then(|()| writeln!(file, "process {} on this host, since {since}", std::process::id()));
    if let Err(error) = told {
        // The lock holds all the same; a second run will only know less of its holder.
        log::info!("cannot write `{shown}`: {error}");
    }
    Ok(file)
}
