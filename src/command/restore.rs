//! `pgkeep restore`: the dump of a backup, streamed into `pg_restore` or into a file. Nothing is written
//! anywhere before the artifact's first chunk has opened, and no damage ends as success. Where a copy turns
//! out to be bad half-way, the next one is used from the start.

use std::fs::File;

use anyhow::{Context as _, Result};
use indicatif::HumanBytes;

use super::clock::now;
use super::configured_store::ConfiguredStore;
use super::context::Context;
use super::select;
use crate::backup::{Backup, CONFIG, Copy};
use crate::catalog::Catalog;
use crate::cli;
use crate::exit::{Code, Failure, code_of, one_line, shown, wrap};
use crate::key::KeyRing;

mod database;
mod file;
mod globals;
mod reading;
mod scope;
mod set;
mod target;

use reading::{Attempt, CopyFault, Reading, copies_of};
use target::Target;

pub(super) use set::unsound;

/// What is restored, and with what.
struct Job<'a> {
    context: &'a Context,
    ring: &'a KeyRing,
    configured_stores: &'a [ConfiguredStore],
    backup: &'a Backup,
}

pub(super) fn run(context: &Context, flags: &cli::Restore) -> Result<Code> {
    let ring = context.existing_keys()?;
    let configured_stores = context.configured_stores()?;
    // Held to the end: a prune leaves what is restored from.
    let selection = Selection {
        id: &flags.id,
        filters: filters(flags),
        from: flags.from.as_deref(),
        is_into: flags.into.is_some(),
        // A database that is dropped may be the one that the catalog is in: nobody may be connected to it then.
        is_dropped: flags.create && flags.clean,
    };
    let Chosen { backup, _claim, code } = choose(context, &selection, &configured_stores, &ring)?;
    let copies = copies_of(&backup, flags.from.as_deref())?;
    let job = Job { context, ring: &ring, configured_stores: &configured_stores, backup: &backup };
    let mut target = Target::prepare(context, flags, &backup)?;
    let copy = restore_from_first_whole(&job, &copies, &mut target).inspect_err(|_| {
        // An interrupted command says no more than that: what it leaves must be known all the same.
        if let Some(state) = target.state().filter(|_| context.interrupt.is_raised()) {
            log::warn!("{state}");
        }
    })?;
    if let Some(shown) = target.shown() {
        context.out.json(shown)?;
    } else if !target.is_stdout() {
        context.out.json(&backup)?;
    }
    if !target.is_a_look() {
        context.out.line(&format!("restored {} from {}", backup.id, copy.store))?;
    }
    Ok(code)
}

/// The backup that is meant: by the manifests of the store that is named, or by the catalog. Its session says that the
/// copies are in use; that it may break through a long restore only lets a prune have them.
fn choose(
    context: &Context,
    selection: &Selection<'_>,
    configured_stores: &[ConfiguredStore],
    ring: &KeyRing,
) -> Result<Chosen> {
    let source = &context.config.source.name;
    let &Selection { id, ref filters, is_into, is_dropped, .. } = selection;
    if let Some(name) = selection.from {
        let configured = select::configured(configured_stores, name)?;
        let (backup, is_in_doubt) =
            select::one_in_store(configured, ring, source, id, filters, is_into, now())?;
        select::ensure_usable(&backup, "restore")?;
        let code = if is_in_doubt { Code::Degraded } else { Code::Done };
        return Ok(Chosen { backup, _claim: None, code });
    }
    let mut catalog = context.catalog()?;
    if id == "latest" && is_into {
        let names = select::databases_of_latest(&mut catalog, source, filters, now())?;
        select::ensure_one_database(&names)?;
    }
    let backup = select::one(&mut catalog, source, id, filters, now())?;
    let backup = match select::claimed(&mut catalog, backup.clone(), &context.interrupt) {
        Ok(backup) => backup,
        // There may be copies that it leaves.
        Err(error) => {
            log::warn!("{}", one_line(&error));
            backup
        }
    };
    select::ensure_usable(&backup, "restore")?;
    Ok(Chosen { backup, _claim: (!is_dropped).then_some(catalog), code: Code::Done })
}

/// What is restored.
struct Chosen {
    backup: Backup,
    /// Held to the end, so that a prune leaves it.
    _claim: Option<Catalog>,
    /// Whether all that could be meant was beyond doubt.
    code: Code,
}

/// The archive of a config backup, proven to its end, in a file without a name.
///
/// # Errors
/// When there is no such backup, it is of another type, or no copy of it is whole.
pub(super) fn config_set(context: &Context, id: &str, from: Option<&str>) -> Result<(Backup, File)> {
    let (ring, configured_stores) = (context.existing_keys()?, context.configured_stores()?);
    let filters = cli::Filters { backup_type: Some(CONFIG.to_owned()), ..cli::Filters::default() };
    let selection = Selection { id, filters, from, is_into: false, is_dropped: false };
    let Chosen { backup, _claim, .. } = choose(context, &selection, &configured_stores, &ring)?;
    if backup.backup_type != CONFIG {
        let what = format!("`{}` is no config backup", backup.id);
        return Err(Failure::usage(what).hint("`pgkeep list --type config` shows those").into());
    }
    let copies = copies_of(&backup, from)?;
    let size_bytes = backup.metadata_u64("dump_bytes").unwrap_or_default();
    file::ensure_room(&file::temporary_folder(context), size_bytes, set::NO_ROOM)?;
    let job = Job { context, ring: &ring, configured_stores: &configured_stores, backup: &backup };
    let mut target = Target::nameless(context);
    restore_from_first_whole(&job, &copies, &mut target)?;
    let file = target.into_file().context("the archive was not read")?;
    Ok((backup, file))
}

/// Which backup is meant, and what it is for.
struct Selection<'a> {
    id: &'a str,
    filters: cli::Filters,
    from: Option<&'a str>,
    /// Whether it goes into a database.
    is_into: bool,
    /// Whether a database is dropped for it.
    is_dropped: bool,
}

/// What `latest` is chosen from: what only config backups can do means one of those.
fn filters(flags: &cli::Restore) -> cli::Filters {
    let mut filters = flags.filters.clone();
    if flags.list || flags.globals {
        filters.backup_type.get_or_insert_with(|| CONFIG.to_owned());
    }
    filters
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
            Err(CopyFault::Final(error)) => return Err(error),
            Err(CopyFault::Copy(error)) => error,
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
    let kind = if backup.backup_type == CONFIG { "an archive" } else { "a dump" };
    let size = backup
        .metadata_u64("dump_bytes")
        .map_or_else(String::new, |bytes| format!(", {kind} of {}", HumanBytes(bytes)));
    let server = backup.metadata_str("server_version").map_or_else(String::new, |version| {
        format!(", PostgreSQL {}", shown(version.split_whitespace().next().unwrap_or_default()))
    });
    let begun = backup.created_at.strftime("%Y-%m-%d %H:%M:%S UTC");
    format!(
        "`{}` (`{}` of `{}`, {begun}{server}{size})",
        backup.id,
        shown(&backup.database),
        shown(&backup.source)
    )
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
