//! What follows from what was seen. What could not be looked at is neither well nor a problem.

use std::collections::BTreeMap;

use super::compare;
use super::record::Run;
use super::snapshot::Snapshot;
use super::store_listing::StoreLook;
use crate::alert::rules;
use crate::backup::CopyState;
use crate::catalog::kept::Kept;
use crate::command::context::Context;
use crate::command::{health, status};
use crate::finding::{AlertKey, Finding, Rule};
use crate::key::KeyRing;

pub(super) fn all(
    context: &Context,
    snapshot: &Snapshot<'_>,
    ring: Option<&KeyRing>,
    notes: &mut Vec<String>,
) -> Vec<Finding> {
    let catalog = AlertKey::new(Rule::CatalogUnreachable);
    let mut found = vec![match &snapshot.record {
        Ok(_) => catalog.is_well(),
        Err(why) => catalog.has_problem(format!("the catalog can't be asked: {why}")),
    }];
    for database in &snapshot.databases {
        found.extend(age(snapshot, database, ring.is_some()));
        found.extend(runs(snapshot, database));
        for look in &snapshot.stores {
            found.extend(copies(snapshot, look, database));
            notes.extend(unknown(snapshot, look, database));
            notes.extend(compare::notes(look, database));
        }
    }
    for look in &snapshot.stores {
        found.extend(store(snapshot, look));
        let share = context.config.alerts.min_free_percent;
        found.extend(look.room.map(|room| {
            let night = last_night(snapshot, look);
            rules::room(&look.configured.name, room.free_bytes, room.total_bytes, night, share)
        }));
    }
    if let Ok(record) = &snapshot.record {
        found.push(rules::only_key(&record.keys, snapshot.now));
        let is_at_hand = |id: &str| ring.is_some_and(|ring| ring.find(id).is_some());
        found.push(rules::key_missing(&record.keys, is_at_hand));
    }
    found
}

fn age(snapshot: &Snapshot<'_>, database: &str, has_key: bool) -> Option<Finding> {
    if snapshot.is_blind() || (snapshot.record.is_err() && !has_key) {
        return None;
    }
    let good = snapshot.good(database, has_key).map(|good| good.begun_at);
    let judged = if snapshot.is_config(database) {
        rules::config_age(good, snapshot.now, snapshot.max_age)
    } else {
        rules::age(database, good, snapshot.now, snapshot.max_age)
    };
    (judged.problem.is_none() || !snapshot.may_be_hidden(database)).then_some(judged)
}

/// How the newest run went, and how the newest backup stands.
fn runs(snapshot: &Snapshot<'_>, database: &str) -> Vec<Finding> {
    let Ok(record) = &snapshot.record else { return Vec::new() };
    let Some(of_it) = record.databases.get(database) else { return Vec::new() };
    let mut found = Vec::new();
    // That one succeeded is for it to say: a later one may have come to nothing before it had a row.
    if let Some(run) = of_it.last_run.as_ref().filter(|run| is_problem(run, snapshot)) {
        let (subject, id) = (AlertKey::of_database(Rule::BackupFailed, database), run.backup.id.as_str());
        let why = run.backup.error.as_deref().unwrap_or("no reason is on record");
        let seen = if run.died {
            subject.has_problem(format!("the backup `{id}` died before it ended")).of_backup(id)
        } else {
            subject.has_problem(format!("the backup `{id}` failed: {why}")).of_backup(id)
        };
        found.push(seen.severity(health::failure_of(&run.backup.backup_type)));
    }
    found.extend(of_it.newest_usable.iter().flat_map(health::newest));
    found
}

fn is_problem(run: &Run, snapshot: &Snapshot<'_>) -> bool {
    run.died || (run.failed() && !status::is_nobodys_problem(&run.backup, snapshot.now))
}

/// What is on record of a database's copies in a store, and whether the store shows them.
fn copies(snapshot: &Snapshot<'_>, look: &StoreLook<'_>, database: &str) -> Vec<Finding> {
    let Ok(record) = &snapshot.record else { return Vec::new() };
    let store = look.configured.name.as_str();
    let mut found = vec![health::damaged(&record.kept, database, store)];
    if look.shown.is_ok() {
        let mut told = health::lacking(database, store, &snapshot.missing(look, database));
        let faults = look.shown.as_ref().ok().and_then(|shown| shown.databases.get(database));
        if let Some((path, why)) = faults.and_then(|of_it| of_it.faults.first_key_value()) {
            told = told.detail(format!("`{}`: {why}", path.escape_debug()));
        }
        found.push(told);
    }
    found
}

fn store(snapshot: &Snapshot<'_>, look: &StoreLook<'_>) -> Option<Finding> {
    let name = &look.configured.name;
    let subject = AlertKey::of_store(Rule::StoreUnreachable, name);
    let Err(why) = &look.shown else {
        // One that shows what it has need not take more.
        // Nor is one well that a look at some databases shows nothing wrong of.
        return (snapshot.is_whole && !takes_nothing(snapshot, name)).then(|| subject.is_well());
    };
    let of_it = |row: &Kept| row.copies.iter().any(|copy| copy.store == *name && copy.state.is_published());
    let is_new =
        look.is_absent && snapshot.record.as_ref().is_ok_and(|record| !record.kept.iter().any(of_it));
    // A directory that no backup has been put into yet.
    (!is_new).then(|| subject.has_problem(format!("store `{name}` can't be asked: {why}")))
}

/// Whether a store took no copy of the newest backup of a database.
fn takes_nothing(snapshot: &Snapshot<'_>, store: &str) -> bool {
    let Ok(record) = &snapshot.record else { return true };
    let newest = record.databases.values().filter_map(|of_it| of_it.newest_usable.as_ref());
    let mut copies = newest.flat_map(|backup| &backup.copies);
    copies.any(|copy| copy.store == store && copy.state == CopyState::Failed)
}

/// What the newest backups of all databases took in a store.
fn last_night(snapshot: &Snapshot<'_>, look: &StoreLook<'_>) -> u64 {
    let mut sizes: BTreeMap<&str, u64> = BTreeMap::new();
    match (&snapshot.record, &look.shown) {
        (Ok(record), _) => {
            for row in record.kept.iter().filter(|row| row.status.is_usable()) {
                let of_store = row.copies.iter().find(|copy| copy.store == look.configured.name);
                if let Some(size) = of_store.and_then(|copy| copy.size_bytes) {
                    sizes.entry(&row.database).or_insert(size);
                }
            }
        }
        (Err(_), Ok(shown)) => {
            for (database, of_it) in &shown.databases {
                sizes.insert(database, of_it.pairs.newest_bytes().unwrap_or_default());
            }
        }
        (Err(_), Err(_)) => {}
    }
    sizes.into_values().fold(0, u64::saturating_add)
}

/// Says what the catalog does not know, and what brings it on record.
fn unknown(snapshot: &Snapshot<'_>, look: &StoreLook<'_>, database: &str) -> Option<String> {
    let (count, newest) = snapshot.unknown(look, database)?;
    let store = &look.configured.name;
    let what = if count == 1 { "1 backup".to_owned() } else { format!("{count} backups") };
    let newest = newest.map_or_else(String::new, |id| format!(", the newest `{id}`"));
    Some(format!(
        "`{store}` holds {what} of `{database}` that the catalog does not know{newest}: \
         pgkeep catalog rebuild --from {store}"
    ))
}
