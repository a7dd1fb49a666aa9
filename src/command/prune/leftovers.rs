//! What no longer belongs: unfinished uploads and temporary files that are old, artifacts whose manifest never came.
//! What a run may be at work on, or a record tells of, is left.

use std::collections::BTreeSet;

use anyhow::Result;
use jiff::Timestamp;

use super::super::inventory;
use super::super::liveness::is_alive;
use super::leftover::{Leftover, is_old, is_old_artifact};
use super::plan::StorePlan;
use super::report::{Done, Outcome};
use super::work::Work;
use crate::backup::Status;
use crate::catalog::Catalog;
use crate::catalog::kept::Kept;
use crate::exit::{Code, one_line, shown};
use crate::name;
use crate::store::Removal;

/// The databases whose folders hold something that is old enough to be left over.
pub(super) fn databases(store: &StorePlan<'_>, now: Timestamp) -> BTreeSet<String> {
    old(store, now).into_iter().filter_map(|leftover| database_of(store, leftover.path)).collect()
}

fn database_of(store: &StorePlan<'_>, path: &str) -> Option<String> {
    let root = store.store.path_of("");
    name::decode(path.strip_prefix(&root)?.trim_start_matches('/').split('/').nth(1)?)
}

/// What is left over in a store if nobody is at work on it and no record tells of it.
fn old<'a>(store: &'a StorePlan<'_>, now: Timestamp) -> Vec<Leftover<'a>> {
    let stale = store.shown.stale.iter().filter(|stale| is_old(stale, now));
    let what = "an upload that was never finished";
    let stale = stale.map(|stale| Leftover { path: &stale.path, what, stale: Some(stale) });
    let bare = store.shown.bare.iter().filter(|bare| is_old_artifact(bare.written_at, now));
    let what = "an artifact without a manifest";
    let bare = bare.map(|bare| Leftover { path: &bare.path, what, stale: None });
    // Segments show that what stands at the artifact's own path is unfinished: they go after it.
    stale.chain(bare).collect()
}

/// What is left over of a database in a store, by what is on record and what the store showed.
pub(super) fn find<'a>(
    catalog: &mut Catalog,
    rows: &[Kept],
    store: &'a StorePlan<'_>,
    now: Timestamp,
    database: &str,
) -> Result<Vec<Leftover<'a>>> {
    let mut found = Vec::new();
    for leftover in old(store, now) {
        if database_of(store, leftover.path).as_deref() == Some(database)
            && !(leftover.is_artifact() && is_on_record(rows, store, leftover.path))
            && !is_at_work(catalog, rows, leftover.path)?
        {
            found.push(leftover);
        }
    }
    Ok(found)
}

/// Removes what is left over of a database in a store, with a word on each. The caller holds the lock of its
/// prunes.
pub(super) fn sweep(
    work: &Work<'_>,
    catalog: &mut Catalog,
    store: &StorePlan<'_>,
    database: &str,
    done: &mut Done,
) -> Result<Code> {
    let mut code = Code::Done;
    let rows = work.rows(catalog, database)?;
    for leftover in find(catalog, &rows, store, work.plan.now, database)? {
        if work.is_interrupted() || done.given_up(&store.configured.name).is_some() {
            break;
        }
        let Some(id) = inventory::id_of(inventory::artifact_of(leftover.path)) else { continue };
        if !catalog.claim_copies(&id)? {
            log::info!(
                "store `{}`: `{}` is left: somebody looks at its copies",
                store.configured.name,
                shown(leftover.path)
            );
            continue;
        }
        let removed = remove(store, &leftover);
        catalog.give_copies_up(&id)?;
        let outcome = match removed {
            Ok(None) => continue,
            Ok(Some(outcome)) => outcome,
            Err(error) => Outcome::Failed(one_line(&error)),
        };
        done.answered(&store.configured.name, !matches!(outcome, Outcome::Failed(_)));
        code = code.worse(done.tell_leftover(store, &leftover, outcome));
    }
    Ok(code)
}

/// Removes it; `None` where it has turned out to belong.
fn remove(store: &StorePlan<'_>, leftover: &Leftover<'_>) -> Result<Option<Outcome>> {
    // Its manifest may have come since the list was made, or the list may have left it out.
    let manifest = name::manifest_path(leftover.path);
    if leftover.is_artifact() && store.store.stat(&manifest)?.is_some() {
        return Ok(None);
    }
    if let Some(stale) = leftover.stale {
        store.store.delete_stale_upload(stale)?;
        return Ok(Some(Outcome::Removed));
    }
    // A bucket with versions may hide a manifest, which would stay alone.
    Ok(Some(match store.store.delete_versions(&[&manifest, leftover.path])? {
        Removal::Gone => Outcome::Removed,
        Removal::Held(hold) => Outcome::held_by(&hold),
    }))
}

/// Whether a record tells of a copy there: what it lacks is damage, to be mended and not to be removed.
fn is_on_record(rows: &[Kept], store: &StorePlan<'_>, path: &str) -> bool {
    let view = store.view();
    let mut copies = rows.iter().filter_map(|row| view.copy_in(row));
    copies.any(|copy| copy.path == path && copy.state.is_published())
}

/// Whether a run that lives makes the backup of that path, somewhere.
fn is_at_work(catalog: &mut Catalog, rows: &[Kept], path: &str) -> Result<bool> {
    let Some(id) = inventory::id_of(inventory::artifact_of(path)) else { return Ok(true) };
    if !rows.iter().any(|row| row.id == id.as_str() && row.status == Status::InProgress) {
        return Ok(false);
    }
    let found = catalog.find(id.as_str(), 1)?;
    found.first().map_or(Ok(false), |found| is_alive(catalog, found))
}
