//! What each store shows of its own: pairs of artifact and manifest, and the newest manifests, read and proven.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Result, anyhow};
use jiff::{SignedDuration, Timestamp};

use crate::aside;
use crate::backup::Backup;
use crate::command::context::{Context, Shelf};
use crate::command::copies::side_by_side;
use crate::command::inventory::{self, Pair};
use crate::command::trust::{self, Trust};
use crate::command::{agree, standing};
use crate::exit::one_line;
use crate::key::{KeyRing, Signer};
use crate::name;
use crate::store::{Kind, Listed, Room, Store};

/// A backup that begins later than this from now counts for nothing: one of two clocks is wrong.
const FUTURE: SignedDuration = SignedDuration::from_hours(25);
/// Manifests of a database that are tried in a store until one is proven.
const TRIES: usize = 4;
/// Databases whose manifests are read at once.
const READERS: usize = 8;

/// A store, and what it shows, or why it can't be looked at.
pub(super) struct StoreLook<'a> {
    pub(super) shelf: &'a Shelf,
    pub(super) shown: Result<Shown, String>,
    /// The folder is not there: so it is before the first backup.
    pub(super) is_absent: bool,
    pub(super) room: Option<Room>,
}

/// What a store shows, by database.
#[derive(Debug, Default)]
pub(super) struct Shown {
    pub(super) databases: BTreeMap<String, OfDatabase>,
}

/// What it shows of one.
#[derive(Debug, Default)]
pub(super) struct OfDatabase {
    /// The newest first.
    pub(super) pairs: Vec<Pair>,
    /// The newest whose manifest was read, and proven where there is a key.
    pub(super) newest: Option<Backup>,
    /// By which key it is proven.
    pub(super) signer: Option<Signer>,
    /// Newer ones whose manifest names no key that is at hand, by the artifact's path.
    pub(super) unproven: BTreeMap<String, Backup>,
    /// What speaks against newer ones that a key proves, or is to be said of one, by the artifact's path.
    pub(super) doubts: BTreeMap<String, String>,
    /// Newer ones of which that can't be said, by the artifact's path, and why.
    pub(super) faults: BTreeMap<String, String>,
    /// Newer ones that lack something however whole they are, by the artifact's path.
    pub(super) short: BTreeSet<String>,
}

/// Whether that is too far ahead to be believed.
pub(super) fn is_future(at: Timestamp, now: Timestamp) -> bool {
    at.duration_since(now) > FUTURE
}

impl Shown {
    /// Asks every store at once.
    pub(super) fn of_all<'a>(
        context: &Context,
        shelves: &'a [Shelf],
        wanted: Option<&[String]>,
        ring: Option<&KeyRing>,
        now: Timestamp,
    ) -> Result<Vec<StoreLook<'a>>> {
        side_by_side(shelves.iter().collect(), |shelf| {
            let shown = Self::of(context, shelf, wanted, ring, now);
            let store = shelf.store.as_ref().ok();
            let is_absent = store.is_some_and(|store| {
                shown.is_err() && store.kind() == Kind::Local && is_absent(context, store)
            });
            let room = store.filter(|_| shown.is_ok()).and_then(|store| match store.room() {
                Ok(room) => room,
                Err(error) => {
                    log::info!("store `{}`: {}", shelf.name, one_line(&error));
                    None
                }
            });
            StoreLook { shelf, shown: shown.map_err(|error| one_line(&error)), is_absent, room }
        })
    }

    fn of(
        context: &Context,
        shelf: &Shelf,
        wanted: Option<&[String]>,
        ring: Option<&KeyRing>,
        now: Timestamp,
    ) -> Result<Self> {
        inventory::usable(shelf)?;
        let Ok(store) = &shelf.store else { return Ok(Self::default()) };
        let source = &context.config.source.name;
        let root = store.path_of(&format!("{}/", name::encode(source)));
        let mut databases: BTreeMap<String, OfDatabase> = BTreeMap::new();
        match wanted {
            None => {
                for pair in inventory::pair(&shelf.name, list(context, store, root.clone())?).pairs {
                    let folder = pair.artifact.path.strip_prefix(&root).and_then(|key| key.split('/').next());
                    if let Some(database) = folder.and_then(name::decode) {
                        databases.entry(database).or_default().pairs.push(pair);
                    }
                }
            }
            Some(names) => {
                for database in names {
                    let listed =
                        list(context, store, store.path_of(&name::database_prefix(source, database)))?;
                    let pairs = inventory::pair(&shelf.name, listed).pairs;
                    databases.insert(database.clone(), OfDatabase { pairs, ..OfDatabase::default() });
                }
            }
        }
        let mut names: Vec<(String, OfDatabase)> = databases.into_iter().collect();
        let mut shown = Self::default();
        while !names.is_empty() {
            let some = names.split_off(names.len().saturating_sub(READERS));
            let read = side_by_side(some, |(database, mut of_it)| {
                of_it.prove(shelf, store.as_ref(), ring, now)?;
                Ok((database, of_it))
            })?;
            for one in read {
                let (database, of_it): (String, OfDatabase) = one.map_err(|error: anyhow::Error| error)?;
                shown.databases.insert(database, of_it);
            }
        }
        Ok(shown)
    }
}

impl OfDatabase {
    /// Reads manifests from the newest on, until one is proven.
    fn prove(
        &mut self,
        shelf: &Shelf,
        store: &dyn Store,
        ring: Option<&KeyRing>,
        now: Timestamp,
    ) -> Result<()> {
        let is_of_now = |pair: &&Pair| pair.id.begun_at().is_some_and(|at| !is_future(at, now));
        let ahead = self.pairs.first().and_then(|pair| Some((pair, trust::note(pair.id.begun_at()?, now)?)));
        self.doubts.extend(ahead.map(|(pair, what)| (pair.artifact.path.clone(), what)));
        let mut by_older: Vec<(Backup, Signer)> = Vec::new();
        for pair in self.pairs.iter().filter(is_of_now).take(TRIES) {
            let path = pair.artifact.path.clone();
            match inventory::open_signed(shelf, store, ring, pair)? {
                Ok((backup, signer)) => match backup.copies.iter().find_map(|copy| copy.error.clone()) {
                    None if standing::lacks(&backup).is_some() => drop(self.short.insert(path)),
                    None => match signer {
                        Some(signer) if signer != Signer::Sealing => by_older.push((backup, signer)),
                        signer => {
                            (self.newest, self.signer) = (Some(backup), signer);
                            break;
                        }
                    },
                    Some(damage) => drop(self.faults.insert(path, damage)),
                },
                Err(why) => match of_another_key(shelf, store, ring, pair)? {
                    // What it means is for the record to say.
                    Some(unproven) => drop(self.unproven.insert(path, unproven)),
                    None => drop(self.faults.insert(path, why)),
                },
            }
        }
        self.judge(by_older, now)
    }

    /// What keys prove that were rotated out is newer than what the sealing key proves, if that was found.
    fn judge(&mut self, by_older: Vec<(Backup, Signer)>, now: Timestamp) -> Result<()> {
        let mut trust = Trust::at(now);
        if let Some(newest) = &self.newest {
            trust.saw(&newest.source, newest.created_at);
        }
        let mut is_found = false;
        for (backup, signer) in by_older {
            match trust.doubt(&backup, Some(&signer), &mut |_, _| Ok(None))? {
                Some(why) => self.doubts.extend(backup.copies.first().map(|copy| (copy.path.clone(), why))),
                None if is_found => {}
                None => {
                    (self.newest, self.signer, is_found) = (Some(backup), Some(signer), true);
                }
            }
        }
        Ok(())
    }
}

/// What a manifest tells that names no key which is at hand.
fn of_another_key(
    shelf: &Shelf,
    store: &dyn Store,
    ring: Option<&KeyRing>,
    pair: &Pair,
) -> Result<Option<Backup>> {
    let Some(ring) = ring else { return Ok(None) };
    let Ok(unproven) = inventory::open(shelf, store, None, pair)? else { return Ok(None) };
    let is_at_hand = agree::keys_of(&unproven).into_iter().any(|id| ring.find(id).is_some());
    Ok((!is_at_hand).then_some(unproven))
}

/// Lists what stands under a folder. A directory may hang; an S3 store has limits of its own.
fn list(context: &Context, store: &Arc<dyn Store>, prefix: String) -> Result<Vec<Listed>> {
    if store.kind() != Kind::Local {
        return store.list(&prefix);
    }
    let (limit, interrupt) = (context.config.timeouts.request, context.interrupt.clone());
    let store = Arc::clone(store);
    aside::until("disk", |took| took >= limit || interrupt.is_raised(), move || store.list(&prefix))
        .map_err(|_| anyhow!("the disk gave no list within {limit:?}"))?
}

fn is_absent(context: &Context, store: &Arc<dyn Store>) -> bool {
    let root = std::path::PathBuf::from(store.path_of(""));
    let limit = context.config.timeouts.stall;
    aside::within("disk", limit, move || {
        root.symlink_metadata().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
    })
    .unwrap_or(false)
}
