//! What no longer belongs: unfinished uploads and temporary files that are old, artifacts whose manifest never came.
//! What a run may be at work on, or a record tells of, is left.

use std::collections::BTreeSet;

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};

use super::super::context::Context;
use super::super::{backup, inventory};
use super::plan::{self, StorePlan};
use super::report::{Done, Outcome};
use crate::backup::Status;
use crate::catalog::Catalog;
use crate::catalog::kept::Kept;
use crate::exit::{Code, one_line};
use crate::name;
use crate::store::{Removal, Stale};

/// No run takes longer between two signs of life of an upload.
const OLD_UPLOAD: SignedDuration = SignedDuration::from_hours(24);
/// A manifest comes moments after its artifact.
const OLD_ARTIFACT: SignedDuration = SignedDuration::from_hours(48);

/// Something that is left over.
pub(super) struct Leftover<'a> {
    pub(super) path: &'a str,
    pub(super) what: &'a str,
    /// What removes it, where it is no object of its own.
    stale: Option<&'a Stale>,
}

/// The databases whose folders hold something that may be left over.
pub(super) fn databases(store: &StorePlan<'_>) -> BTreeSet<String> {
    let stale = store.shown.stale.iter().map(|stale| stale.path.as_str());
    let strays = store.shown.strays.iter().map(|stray| stray.path.as_str());
    stale.chain(strays).filter_map(|path| database_of(store, path)).collect()
}

fn database_of(store: &StorePlan<'_>, path: &str) -> Option<String> {
    let root = store.store.path_of("");
    name::decode(path.strip_prefix(&root)?.trim_start_matches('/').split('/').nth(1)?)
}

/// What is left over of a database in a store, by what is on record and what the store showed.
pub(super) fn find<'a>(
    catalog: &mut Catalog,
    rows: &[Kept],
    store: &'a StorePlan<'_>,
    now: Timestamp,
    database: &str,
) -> Result<Vec<Leftover<'a>>> {
    let is_old = |at: Option<Timestamp>, age| at.is_some_and(|at| now.duration_since(at) > age);
    let is_of_it = |path: &str| database_of(store, path).as_deref() == Some(database);
    let mut found = Vec::new();
    for stale in store.shown.stale.iter().filter(|stale| is_of_it(&stale.path)) {
        if is_old(stale.begun_at, OLD_UPLOAD) && !is_at_work(catalog, rows, &stale.path)? {
            let what = "an upload that was never finished";
            found.push(Leftover { path: &stale.path, what, stale: Some(stale) });
        }
    }
    for stray in store.shown.strays.iter().filter(|stray| is_of_it(&stray.path)) {
        let is_artifact = inventory::artifact_of(&stray.path) == stray.path;
        let written_at = store.shown.written_at.get(&stray.path).copied().flatten();
        if is_artifact
            && is_old(written_at, OLD_ARTIFACT)
            && !is_on_record(rows, store, &stray.path)
            && !is_at_work(catalog, rows, &stray.path)?
        {
            found.push(Leftover { path: &stray.path, what: &stray.what, stale: None });
        }
    }
    Ok(found)
}

/// Removes what is left over of a database in a store, with a word on each. The caller holds the lock of its
/// prunes.
pub(super) fn sweep(
    context: &Context,
    catalog: &mut Catalog,
    rows: &[Kept],
    store: &StorePlan<'_>,
    now: Timestamp,
    database: &str,
    done: &mut Done,
) -> Result<Code> {
    let mut code = Code::Done;
    for leftover in find(catalog, rows, store, now, database)? {
        if context.interrupt.is_raised() {
            break;
        }
        let outcome = match remove(store, &leftover) {
            Ok(None) => continue,
            Ok(Some(outcome)) => outcome,
            Err(error) => Outcome::Failed(one_line(&error)),
        };
        code = code.worse(done.tell_leftover(store, &leftover, &outcome));
    }
    Ok(code)
}

/// Removes it; `None` where it has turned out to belong.
fn remove(store: &StorePlan<'_>, leftover: &Leftover<'_>) -> Result<Option<Outcome>> {
    if let Some(stale) = leftover.stale {
        store.store.discard(stale)?;
        return Ok(Some(Outcome::Removed));
    }
    // Its manifest may have come since the list was made, or the list may have left it out.
    if store.store.stat(&name::manifest_path(leftover.path))?.is_some() {
        return Ok(None);
    }
    Ok(Some(match store.store.expire(leftover.path)? {
        Removal::Gone => Outcome::Removed,
        Removal::Held(hold) => Outcome::held_by(&hold),
    }))
}

/// Whether a record tells of a copy there: what it lacks is damage, to be mended and not to be removed.
fn is_on_record(rows: &[Kept], store: &StorePlan<'_>, path: &str) -> bool {
    let copies = rows.iter().filter_map(|row| plan::copy_in(row, &store.shelf.name));
    copies.into_iter().any(|copy| copy.path == path && copy.state.is_published())
}

/// Whether a run that lives makes the backup of that path, somewhere.
fn is_at_work(catalog: &mut Catalog, rows: &[Kept], path: &str) -> Result<bool> {
    let Some(id) = inventory::id_of(inventory::artifact_of(path)) else { return Ok(true) };
    if !rows.iter().any(|row| row.id == id.as_str() && row.status == Status::InProgress) {
        return Ok(false);
    }
    let found = catalog.find(id.as_str(), 1)?;
    found.first().map_or(Ok(false), |found| backup::is_alive(catalog, found))
}
