//! A plan carried out, database by database, each under a lock of its own: manifests first, then artifacts, then
//! the record. Stopped anywhere and begun again, it ends in the same state.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, anyhow};

use super::super::context::Context;
use super::super::copies::side_by_side;
use super::super::locks::{self, Claimant};
use super::super::{inventory, standing};
use super::leftovers;
use super::plan::{self, Action, Item, Plan, Scope, StorePlan};
use super::report::{Done, Outcome};
use crate::backup::CopyState;
use crate::catalog::Catalog;
use crate::catalog::kept::Kept;
use crate::exit::{Code, code_of, one_line};
use crate::name::{self, BackupId};
use crate::retention::{self, Verdict};
use crate::step::{self, Step};
use crate::store::{Removal, Store};

/// Copies that are removed at once.
const AT_ONCE: usize = 8;
/// Said of a copy that a store shows after it said that it removed it.
const STILL_THERE: &str = "it was removed, and the store still shows it";

/// A copy that is to go.
#[derive(Clone, Copy)]
struct Going<'a> {
    plan: &'a StorePlan<'a>,
    item: &'a Item,
}

/// Carries the plan out, and says what became of each copy; the code for what fell short.
pub(super) fn run(
    context: &Context,
    catalog: &mut Catalog,
    plan: &Plan<'_>,
    scope: &Scope<'_>,
    done: &mut Done,
) -> Result<Code> {
    let mut code = Code::Done;
    for database in databases(plan) {
        if context.interrupt.is_raised() {
            break;
        }
        let locks = match locks::take(context, &Claimant::prune(scope.source, &database), true) {
            Ok(locks) => locks,
            Err(error) if code_of(&error) == Code::Locked => {
                let level = if scope.yields { log::Level::Info } else { log::Level::Error };
                log::log!(level, "`{database}` is left as it is: {}", one_line(&error));
                code = code.worse(if scope.yields { Code::Done } else { Code::Locked });
                continue;
            }
            Err(error) => return Err(error),
        };
        code = code.worse(of_database(context, catalog, plan, scope, &database, done)?);
        drop(locks);
    }
    Ok(code)
}

/// The databases of what is to go, and of what is left over.
fn databases(plan: &Plan<'_>) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for store in &plan.stores {
        let going = store.items.iter().filter(|item| item.action == Action::Remove);
        names.extend(going.map(|item| item.database.clone()));
        names.extend(leftovers::databases(store));
    }
    names
}

fn of_database(
    context: &Context,
    catalog: &mut Catalog,
    plan: &Plan<'_>,
    scope: &Scope<'_>,
    database: &str,
    done: &mut Done,
) -> Result<Code> {
    let mut code = Code::Done;
    // What was planned without the lock is decided again with it.
    let rows = catalog.kept(scope.source, Some(&[database.to_owned()]))?;
    for store in &plan.stores {
        let planned = store.items.iter().filter(|item| item.database == database);
        let planned: Vec<&Item> = planned.filter(|item| item.action == Action::Remove).collect();
        if !planned.is_empty() {
            let still = still_going(context, &rows, store, scope);
            let (going, changed): (Vec<&Item>, Vec<&Item>) =
                planned.into_iter().partition(|item| still.contains(item.id.as_str()));
            for item in changed {
                done.tell(store, item, Outcome::Left("its record has changed meanwhile".to_owned()));
            }
            let going: Vec<Going<'_>> = going.into_iter().map(|item| Going { plan: store, item }).collect();
            code = code.worse(remove(context, catalog, &rows, &going, done)?);
        }
        code = code.worse(leftovers::sweep(context, catalog, &rows, store, plan.now, database, done)?);
    }
    Ok(code)
}

/// The ids of what may go by what is on record now.
fn still_going<'a>(
    context: &Context,
    rows: &'a [Kept],
    store: &StorePlan<'_>,
    scope: &Scope<'_>,
) -> BTreeSet<&'a str> {
    let name = &store.shelf.name;
    let entries = plan::entries(rows, scope.source, name, &store.shown);
    let policy = plan::policy(context, store.shelf, scope);
    let verdicts = retention::decide_at(&entries, &policy, store.clock);
    let may_go = |(row, verdict): &(&Kept, Option<Verdict>)| match verdict {
        Some(verdict) => matches!(verdict, Verdict::Go(_)),
        None => plan::copy_in(row, name).is_some_and(|copy| copy.state == CopyState::Expired),
    };
    rows.iter().zip(verdicts).filter(may_go).map(|(row, _)| row.id.as_str()).collect()
}

/// Removes the copies of one database from one store.
fn remove(
    context: &Context,
    catalog: &mut Catalog,
    rows: &[Kept],
    going: &[Going<'_>],
    done: &mut Done,
) -> Result<Code> {
    let Some(first) = going.first() else { return Ok(Code::Done) };
    let store = first.plan;
    if let Err(error) = ensure_the_rest(store, rows, going) {
        log::error!(
            "store `{}`: nothing of `{}` is removed: {}",
            store.shelf.name,
            first.item.database,
            one_line(&error)
        );
        return Ok(Code::Degraded);
    }
    let mut code = Code::Done;
    let mut removed: Vec<Going<'_>> = Vec::new();
    for some in going.chunks(AT_ONCE) {
        if context.interrupt.is_raised() {
            break;
        }
        let mut claimed = Vec::new();
        for one in some {
            let Some(id) = BackupId::parse(&one.item.id) else { continue };
            if catalog.claim_copies(&id)? {
                claimed.push((*one, id));
            } else {
                done.tell(store, one.item, Outcome::Left("somebody looks at its copies".to_owned()));
            }
        }
        let outcomes = side_by_side(claimed, |(one, id)| (one, id, remove_one(store.store, &one.item.path)))?;
        for (one, id, outcome) in outcomes {
            let outcome = match outcome {
                Ok(Removal::Gone) => {
                    mark(catalog, &id, &store.shelf.name, None)?;
                    step::reached(Step::CopyMarkedExpired);
                    removed.push(one);
                    Outcome::Removed
                }
                Ok(Removal::Held(hold)) => Outcome::held_by(&hold),
                Err(error) => {
                    code = code.worse(Code::Degraded);
                    log::error!("store `{}`: `{}`: {}", store.shelf.name, one.item.id, one_line(&error));
                    Outcome::Failed(one_line(&error))
                }
            };
            catalog.give_copies_up(&id)?;
            done.tell(store, one.item, outcome);
        }
    }
    Ok(code.worse(list_again(catalog, store, &removed, done)?))
}

/// Looks in the store itself for what lets the others go: not the record alone is to be believed.
fn ensure_the_rest(store: &StorePlan<'_>, rows: &[Kept], going: &[Going<'_>]) -> Result<()> {
    let goes = |id: &str| going.iter().any(|one| one.item.id == id);
    let mut looked_at: BTreeMap<(&Option<String>, &str), usize> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.status == crate::backup::Status::Verified && !goes(&row.id)) {
        let count = looked_at.entry((&row.tenant, &row.backup_type)).or_default();
        let copy = plan::copy_in(row, &store.shelf.name).filter(|copy| copy.state == CopyState::Verified);
        let Some(copy) = copy.filter(|_| *count == 0) else { continue };
        *count += 1;
        let artifact = store.store.stat(&copy.path)?;
        let manifest = store.store.stat(&name::manifest_path(&copy.path))?;
        if manifest.is_none() || artifact.map(|stat| stat.size_bytes) != copy.size_bytes {
            return Err(anyhow!(
                "the copy of `{}`, which is to stay, is not whole in the store any more",
                row.id
            ));
        }
    }
    Ok(())
}

/// Takes the manifest away first, so that what is half gone does not look whole. A lock on either keeps both.
fn remove_one(store: &dyn Store, path: &str) -> Result<Removal> {
    let removal = store.expire_all(&[&name::manifest_path(path), path])?;
    step::reached(Step::ArtifactExpired);
    Ok(removal)
}

/// Puts on record that a copy is gone, or what is wrong with that.
fn mark(catalog: &mut Catalog, id: &BackupId, store: &str, error: Option<&str>) -> Result<()> {
    let found = catalog.find(id.as_str(), 1)?.into_iter().find(|backup| backup.id == *id);
    let Some(mut backup) = found else { return Ok(()) };
    for copy in backup.copies.iter_mut().filter(|copy| copy.store == store) {
        copy.state = CopyState::Expired;
        copy.error = error.map(str::to_owned);
    }
    standing::settle(&mut backup);
    catalog.save(&backup)
}

/// A store may say that something is gone, and keep it.
fn list_again(
    catalog: &mut Catalog,
    store: &StorePlan<'_>,
    removed: &[Going<'_>],
    done: &mut Done,
) -> Result<Code> {
    let folders: BTreeSet<&str> =
        removed.iter().filter_map(|one| one.item.path.rsplit_once('/').map(|(folder, _)| folder)).collect();
    let mut code = Code::Done;
    let mut shown = BTreeSet::new();
    for folder in folders {
        match store.store.list(&format!("{folder}/")) {
            Ok(listed) => shown.extend(listed.into_iter().map(|object| object.path)),
            Err(error) => {
                let name = &store.shelf.name;
                log::error!(
                    "store `{name}`: what is left after the removal can't be listed: {}",
                    one_line(&error)
                );
                code = code.worse(Code::Degraded);
            }
        }
    }
    for one in removed {
        let path = &one.item.path;
        let left = [path.clone(), name::manifest_path(path)].into_iter().find(|path| shown.contains(path));
        let Some(left) = left else { continue };
        log::error!("store `{}`: `{left}`: {STILL_THERE}", store.shelf.name);
        code = code.worse(Code::Degraded);
        if let Some(id) = inventory::id_of(path) {
            mark(catalog, &id, &store.shelf.name, Some(STILL_THERE))?;
        }
        done.tell(store, one.item, Outcome::Failed(STILL_THERE.to_owned()));
    }
    Ok(code)
}
