//! What each store shows of its own: pairs of artifact and manifest, and the newest manifests, read and proven.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Result, anyhow, ensure};
use jiff::Timestamp;

use super::pairs::{Gathering, Pairs};
use crate::backup::Backup;
use crate::bounded;
use crate::command::configured_store::ConfiguredStore;
use crate::command::context::Context;
use crate::command::copies::side_by_side;
use crate::command::inventory::{self, Pair, StoredFiles};
use crate::command::trust::{self, Trust};
use crate::command::{agree, status};
use crate::exit::one_line;
use crate::key::{KeyRing, Signer};
use crate::name;
use crate::store::{Kind, Room, Store};

/// Manifests of a database that are tried in a store until one is proven.
const TRIES: usize = 4;
/// The same of those that a key proves which was rotated out.
const TRIES_OF_OLDER: usize = 16;
/// What is kept of the pairs in a store by name, in bytes, and of those of one database at least.
const NAMED_BYTES: usize = 8 * 1024 * 1024;
const LEAST_BYTES: usize = 4 * 1024;
/// Databases that are looked into where nobody says which there are.
const MOST_DATABASES: usize = 4096;
/// Databases whose manifests are read at once.
const READERS: usize = 8;

/// A store, and what it shows, or why it can't be looked at.
pub(super) struct StoreLook<'a> {
    pub(super) configured: &'a ConfiguredStore,
    pub(super) shown: Result<StoreListing, String>,
    /// The folder is not there: so it is before the first backup.
    pub(super) is_absent: bool,
    pub(super) room: Option<Room>,
}

/// What a store shows, by database.
#[derive(Debug, Default)]
pub(super) struct StoreListing {
    pub(super) databases: BTreeMap<String, OfDatabase>,
}

/// What it shows of one.
#[derive(Debug, Default)]
pub(super) struct OfDatabase {
    pub(super) pairs: Pairs,
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

impl StoreListing {
    /// Asks every store at once.
    pub(super) fn of_all<'a>(
        context: &Context,
        configured_stores: &'a [ConfiguredStore],
        wanted: Option<&[String]>,
        ring: Option<&KeyRing>,
        now: Timestamp,
    ) -> Result<Vec<StoreLook<'a>>> {
        side_by_side(configured_stores.iter().collect(), |configured| {
            let shown = Self::of(context, configured, wanted, ring, now);
            let store = configured.store.as_ref().ok();
            let is_absent = store.is_some_and(|store| {
                shown.is_err() && store.kind() == Kind::Local && is_absent(context, store)
            });
            let room = store.filter(|_| shown.is_ok()).and_then(|store| match store.room() {
                Ok(room) => room,
                Err(error) => {
                    log::info!("store `{}`: {}", configured.name, one_line(&error));
                    None
                }
            });
            StoreLook { configured, shown: shown.map_err(|error| one_line(&error)), is_absent, room }
        })
    }

    fn of(
        context: &Context,
        configured: &ConfiguredStore,
        wanted: Option<&[String]>,
        ring: Option<&KeyRing>,
        now: Timestamp,
    ) -> Result<Self> {
        inventory::usable(configured)?;
        let Ok(store) = &configured.store else { return Ok(Self::default()) };
        let source = &context.config.source.name;
        let root = store.path_of(&format!("{}/", name::encode(source)));
        let most_bytes = NAMED_BYTES.checked_div(wanted.map_or(0, <[String]>::len)).unwrap_or(LEAST_BYTES);
        let mut gathered = Gathered {
            root,
            now,
            most_bytes: most_bytes.max(LEAST_BYTES),
            folders: BTreeMap::new(),
            more: false,
        };
        match wanted {
            None => {
                let prefix = gathered.root.clone();
                gathered = list(context, store, prefix, gathered)?;
            }
            Some(names) => {
                for database in names {
                    gathered.of(&name::encode(database));
                    let prefix = store.path_of(&name::database_prefix(source, database));
                    gathered = list(context, store, prefix, gathered)?;
                }
            }
        }
        ensure!(!gathered.more, "it has folders of more than {MOST_DATABASES} databases");
        let databases = gathered.folders.into_iter().filter_map(|(folder, gathering)| {
            Some((name::decode(&folder)?, OfDatabase { pairs: gathering.end(), ..OfDatabase::default() }))
        });
        let mut names: Vec<(String, OfDatabase)> = databases.collect();
        let mut shown = Self::default();
        while !names.is_empty() {
            let some = names.split_off(names.len().saturating_sub(READERS));
            let read = side_by_side(some, |(database, mut of_it)| {
                of_it.prove(configured, store.as_ref(), ring, now)?;
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
        configured: &ConfiguredStore,
        store: &dyn Store,
        ring: Option<&KeyRing>,
        now: Timestamp,
    ) -> Result<()> {
        let first = self.pairs.named().next();
        let ahead = first.and_then(|pair| Some((pair, trust::note(pair.id.begun_at()?, now)?)));
        self.doubts.extend(ahead.map(|(pair, what)| (pair.artifact.path.clone(), what)));
        let mut by_older: Vec<(Backup, Signer)> = Vec::new();
        let mut tries: usize = 0;
        for pair in self.pairs.newest() {
            if tries >= TRIES || by_older.len() >= TRIES_OF_OLDER {
                break;
            }
            tries = tries.saturating_add(1);
            let path = pair.artifact.path.clone();
            match inventory::open_signed(configured, store, ring, pair)? {
                Ok((backup, signer)) => match backup.copies.iter().find_map(|copy| copy.error.clone()) {
                    None if status::lacks(&backup).is_some() => drop(self.short.insert(path)),
                    None => match signer {
                        Some(signer) if signer != Signer::Sealing => {
                            tries = tries.saturating_sub(1);
                            by_older.push((backup, signer));
                        }
                        signer => {
                            (self.newest, self.signer) = (Some(backup), signer);
                            break;
                        }
                    },
                    Some(damage) => drop(self.faults.insert(path, damage)),
                },
                Err(why) => match of_another_key(configured, store, ring, pair)? {
                    // What it means is for the record to say.
                    Some(unproven) => drop(self.unproven.insert(path, unproven)),
                    None => drop(self.faults.insert(path, why)),
                },
            }
        }
        self.evaluate(by_older, now)
    }

    /// What keys prove that were rotated out is newer than what the sealing key proves, if that was found. Where it was not,
    /// the record, or a search, tells what the newest is worth.
    fn evaluate(&mut self, by_older: Vec<(Backup, Signer)>, now: Timestamp) -> Result<()> {
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
    configured: &ConfiguredStore,
    store: &dyn Store,
    ring: Option<&KeyRing>,
    pair: &Pair,
) -> Result<Option<Backup>> {
    let Some(ring) = ring else { return Ok(None) };
    let Ok(unproven) = inventory::open(configured, store, None, pair)? else { return Ok(None) };
    let is_at_hand = agree::keys_of(&unproven).into_iter().any(|id| ring.find(id).is_some());
    Ok((!is_at_hand).then_some(unproven))
}

/// What is gathered of a store while it is listed, by the database's folder.
struct Gathered {
    root: String,
    now: Timestamp,
    most_bytes: usize,
    folders: BTreeMap<String, Gathering>,
    /// Whether there are more folders than are looked into.
    more: bool,
}

impl Gathered {
    fn of(&mut self, folder: &str) -> &mut Gathering {
        let (now, most_bytes) = (self.now, self.most_bytes);
        self.folders.entry(folder.to_owned()).or_insert_with(|| Gathering::of(now, most_bytes))
    }

    fn take(&mut self, stored: StoredFiles) {
        let folder = stored.path.strip_prefix(&self.root).and_then(|key| key.split('/').next());
        let Some(folder) = folder.filter(|_| stored.is_pair()) else { return };
        if let Some(gathering) = self.folders.get_mut(folder) {
            gathering.push(stored);
        } else if self.folders.len() >= MOST_DATABASES {
            self.more = true;
        } else if name::decode(folder).is_some() {
            let folder = folder.to_owned();
            self.of(&folder).push(stored);
        }
    }
}

/// Lists what stands under a folder. A directory may hang; an S3 store has limits of its own.
fn list(
    context: &Context,
    store: &Arc<dyn Store>,
    prefix: String,
    mut gathered: Gathered,
) -> Result<Gathered> {
    let (limit, interrupt) = (context.config.timeouts.request, context.interrupt.clone());
    let (kind, store) = (store.kind(), Arc::clone(store));
    let work = move || {
        inventory::each(store.as_ref(), &prefix, &|_| true, &mut |stored| gathered.take(stored))?;
        Ok(gathered)
    };
    if kind != Kind::Local {
        return work();
    }
    bounded::until("disk", |took| took >= limit || interrupt.is_raised(), work)
        .map_err(|_| anyhow!("the disk gave no list within {limit:?}"))?
}

fn is_absent(context: &Context, store: &Arc<dyn Store>) -> bool {
    let root = std::path::PathBuf::from(store.path_of(""));
    let limit = context.config.timeouts.stall;
    bounded::within("disk", limit, move || {
        root.symlink_metadata().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
    })
    .unwrap_or(false)
}
