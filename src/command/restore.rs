//! `pgkeep restore`: the dump of a backup, streamed into `pg_restore` or into a file. Nothing is written
//! anywhere before the artifact's first chunk has opened, and no damage ends as success. Where a copy turns
//! out to be bad half-way, the next one is used from the start.

use anyhow::Result;
use indicatif::HumanBytes;

use super::context::{Context, Shelf, now};
use super::select;
use crate::backup::{Backup, Copy};
use crate::catalog::Catalog;
use crate::cli;
use crate::exit::{Code, Failure, code_of, one_line, wrap};
use crate::key::KeyRing;

mod database;
mod file;
mod reading;
mod scope;
mod target;

use reading::{Attempt, Reading, Trouble, copies_of};
use target::Target;

/// What is restored, and with what.
struct Job<'a> {
    context: &'a Context,
    ring: &'a KeyRing,
    shelves: &'a [Shelf],
    backup: &'a Backup,
}

pub(super) fn run(context: &Context, flags: &cli::Restore) -> Result<Code> {
    let ring = context.existing_keys()?;
    let shelves = context.shelves()?;
    // Held to the end: a prune leaves what is restored from.
    let (backup, _claim) = choose(context, flags, &shelves, &ring)?;
    let copies = copies_of(&backup, flags.from.as_deref())?;
    let job = Job { context, ring: &ring, shelves: &shelves, backup: &backup };
    let mut target = Target::prepare(context, flags, &backup)?;
    if backup.metadata.get("has_passwords") == Some(&serde_json::Value::Bool(false)) {
        log::warn!("`{}` holds roles without their passwords: set them anew", backup.id);
    }
    let copy = restore_from_first_whole(&job, &copies, &mut target).inspect_err(|_| {
        // An interrupted command says no more than that: what it leaves must be known all the same.
        if let Some(state) = target.state().filter(|_| context.interrupt.is_raised()) {
            log::warn!("{state}");
        }
    })?;
    if !target.is_stdout() {
        context.out.line(&format!("restored {} from {}", backup.id, copy.store))?;
        context.out.json(&backup)?;
    }
    Ok(Code::Done)
}

/// The backup that is meant: by the manifests of the store that is named, or by the catalog. Its session says that the
/// copies are in use; that it may break through a long restore only lets a prune have them.
fn choose(
    context: &Context,
    flags: &cli::Restore,
    shelves: &[Shelf],
    ring: &KeyRing,
) -> Result<(Backup, Option<Catalog>)> {
    let source = &context.config.source.name;
    if let Some(name) = flags.from.as_deref() {
        let (shelf, is_into) = (select::shelf(shelves, name)?, flags.into.is_some());
        let backup = select::one_in_store(shelf, ring, source, &flags.id, &flags.filters, is_into, now())?;
        select::ensure_usable(&backup, "restore")?;
        return Ok((backup, None));
    }
    let mut catalog = context.catalog()?;
    if flags.id == "latest" && flags.into.is_some() {
        let names = select::databases_of_latest(&mut catalog, source, &flags.filters, now())?;
        select::ensure_one_database(&names)?;
    }
    let backup = select::one(&mut catalog, source, &flags.id, &flags.filters, now())?;
    let backup = match select::claimed(&mut catalog, backup.clone(), &context.interrupt) {
        Ok(backup) => backup,
        // There may be copies that it leaves.
        Err(error) => {
            log::warn!("{}", one_line(&error));
            backup
        }
    };
    select::ensure_usable(&backup, "restore")?;
    // A database that is dropped may be the one that the catalog is in: nobody may be connected to it then.
    let is_dropped = flags.create && flags.clean;
    Ok((backup, (!is_dropped).then_some(catalog)))
}

fn restore_from_first_whole<'a>(
    job: &Job<'a>,
    copies: &[&'a Copy],
    target: &mut Target<'_>,
) -> Result<&'a Copy> {
    let mut faults: Vec<anyhow::Error> = Vec::new();
    for (at, copy) in copies.iter().enumerate() {
        let error = match restore_from(job, copy, target) {
            Ok(()) => return Ok(copy),
            Err(Trouble::Final(error)) => return Err(error),
            Err(Trouble::Copy(error)) => error,
        };
        if job.context.interrupt.is_raised() {
            return Err(target.wrap(error));
        }
        if let Some(next) = copies.get(at + 1) {
            let store = &next.store;
            log::warn!("{}; the copy in store `{store}` is next, from the start", one_line(&error));
        }
        faults.push(error);
    }
    Err(target.wrap(no_copy_left(job.backup, faults)))
}

fn restore_from<'a>(job: &Job<'a>, copy: &'a Copy, target: &mut Target<'_>) -> Attempt<()> {
    let mut dump = Reading::open(job, copy)?;
    target.check(&mut dump)?;
    if let Some(where_to) = target.announce() {
        job.context.out.say(&format!("restoring {} from store `{}`", describe(job.backup), copy.store));
        job.context.out.say(&where_to);
    }
    target.take(&mut dump)
}

fn describe(backup: &Backup) -> String {
    let size = backup
        .metadata_u64("dump_bytes")
        .map_or_else(String::new, |bytes| format!(", a dump of {}", HumanBytes(bytes)));
    let server = backup.metadata_str("server_version").map_or_else(String::new, |version| {
        format!(", PostgreSQL {}", version.split_whitespace().next().unwrap_or_default())
    });
    let begun = backup.created_at.strftime("%Y-%m-%d %H:%M:%S UTC");
    format!("`{}` (`{}` of `{}`, {begun}{server}{size})", backup.id, backup.database, backup.source)
}

/// The error for copies that all failed: out of reach is another thing than damaged or missing.
fn no_copy_left(backup: &Backup, mut faults: Vec<anyhow::Error>) -> anyhow::Error {
    if faults.len() < 2
        && let Some(only) = faults.pop()
    {
        return only;
    }
    let is_lost = faults.iter().all(|fault| code_of(fault) == Code::Verification);
    let code = if is_lost { Code::Verification } else { Code::Failed };
    let told: Vec<String> = faults.iter().map(one_line).collect();
    let what = format!("no copy of `{}` can be restored: {}", backup.id, told.join("; "));
    let failure = Failure::new(code, what);
    match faults.iter().find_map(|fault| fault.downcast_ref::<Failure>()?.hint.clone()) {
        Some(hint) if !is_lost => failure.hint(hint).into(),
        _ => failure.into(),
    }
}

/// An error with a word on what the target holds now.
fn with_state(error: anyhow::Error, state: Option<String>) -> anyhow::Error {
    match state {
        Some(state) => wrap(error, state),
        None => error,
    }
}
