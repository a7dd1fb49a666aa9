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
use crate::store::Removal;

/// No run takes longer between two signs of life of an upload.
const OLD_UPLOAD: SignedDuration = SignedDuration::from_hours(24);
/// A manifest comes moments after its artifact.
const OLD_ARTIFACT: SignedDuration = SignedDuration::from_hours(48);

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

/// Removes what is left over of a database in a store, with a word on each. The caller holds the database's lock.
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
    let is_old = |at: Option<Timestamp>, age| at.is_some_and(|at| now.duration_since(at) > age);
    let is_of_it = |path: &str| database_of(store, path).as_deref() == Some(database);
    for stale in store.shown.stale.iter().filter(|stale| is_of_it(&stale.path)) {
        let is_over = is_old(stale.begun_at, OLD_UPLOAD) && !is_at_work(catalog, rows, &stale.path)?;
        if !is_over || context.interrupt.is_raised() {
            continue;
        }
        let outcome = match store.store.discard(stale) {
            Ok(()) => Outcome::Removed,
            Err(error) => Outcome::Failed(one_line(&error)),
        };
        code =
            code.worse(done.tell_leftover(store, &stale.path, "an upload that was never finished", &outcome));
    }
    for stray in store.shown.strays.iter().filter(|stray| is_of_it(&stray.path)) {
        let is_artifact = inventory::artifact_of(&stray.path) == stray.path;
        let written_at = store.shown.written_at.get(&stray.path).copied().flatten();
        let is_over = is_artifact
            && is_old(written_at, OLD_ARTIFACT)
            && !is_on_record(rows, store, &stray.path)
            && !is_at_work(catalog, rows, &stray.path)?;
        // Its manifest may have come since the list was made, or the list may have left it out.
        if !is_over
            || context.interrupt.is_raised()
            || store.store.stat(&name::manifest_path(&stray.path))?.is_some()
        {
            continue;
        }
        let outcome = match store.store.expire(&stray.path) {
            Ok(Removal::Gone) => Outcome::Removed,
            Ok(Removal::Held(hold)) => Outcome::Held(hold.why),
            Err(error) => Outcome::Failed(one_line(&error)),
        };
        code = code.worse(done.tell_leftover(store, &stray.path, &stray.what, &outcome));
    }
    Ok(code)
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
