//! What a store itself knows of the backups in it: artifacts and the manifests beside them. No catalog is
//! asked. All that a store says is hostile until a key proves it.

use std::collections::BTreeSet;

use anyhow::Result;
use jiff::Timestamp;

use super::configured_store::ConfiguredStore;
use super::copies::{expiry, path_in, side_by_side};
use super::status;
use super::trust::Trust;
use crate::backup::{Backup, Copy, CopyState};
use crate::catalog::query::Filter;
use crate::exit::{Code, Failure, one_line};
use crate::key::{KeyRing, Signer};
use crate::manifest::{LIMIT_BYTES, Manifest};
use crate::name::{self, BackupId};
use crate::store::{Listed, Store};

pub(super) use found::{Inventory, sealed_by_then};
pub(super) use orphan::{MOST_NAMED, Orphan, Orphans};
use reading::Reading;
pub(super) use stored_files::{Newest, StoredFiles, each, in_order};

mod found;
mod handfuls;
mod orphan;
mod reading;
mod stored_files;

/// What is held at once of the names in a store, in bytes. Where there are more, the store is listed again.
const WINDOW_BYTES: usize = 24 * 1024 * 1024;
/// Databases that are told of.
const MOST_DATABASES: usize = 1000;
/// Orphans that are worth a second look: more than runs at work can have left are none of theirs.
const MOST_LOOKED_AT_AGAIN: usize = 64;
/// What an artifact's name ends with.
const ARTIFACT_SUFFIX: &str = ".pgk";

/// An artifact with a manifest beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) id: BackupId,
    pub(super) artifact: Listed,
    /// Size of the manifest, as it was listed.
    pub(super) manifest_bytes: u64,
}

/// The path of the artifact that a path is, or that it is the manifest of.
pub(crate) fn artifact_of(path: &str) -> &str {
    path.strip_suffix(name::MANIFEST_SUFFIX).unwrap_or(path)
}

/// The backup whose artifact has that path: `<id>.dump[.gz|.zst].pgk`, `<id>.tar[.gz|.zst].pgk`.
pub(crate) fn id_of(path: &str) -> Option<BackupId> {
    let file = path.rsplit('/').next()?.strip_suffix(ARTIFACT_SUFFIX)?;
    let (id, packed) = file.rsplit_once(".dump").or_else(|| file.rsplit_once(".tar"))?;
    // Whatever else stands there is no name of ours.
    let is_ours = matches!(packed, "" | ".gz" | ".zst");
    BackupId::parse(id).filter(|_| is_ours)
}

/// Reads the manifests of the backups that pass the filter, the newest first, as many as it asks for. Without
/// a key they are read, not proven.
///
/// # Errors
/// When the store can't be listed, or read.
pub(super) fn read(
    configured: &ConfiguredStore,
    ring: Option<&KeyRing>,
    filter: &Filter,
    prefix: Option<&str>,
    trust: &mut Trust,
) -> Result<Inventory> {
    read_by(WINDOW_BYTES, configured, ring, filter, prefix, trust)
}

/// The same, with so much of the names held at once.
fn read_by(
    window_bytes: usize,
    configured: &ConfiguredStore,
    ring: Option<&KeyRing>,
    filter: &Filter,
    prefix: Option<&str>,
    trust: &mut Trust,
) -> Result<Inventory> {
    let store = usable(configured)?;
    let root = store.path_of("");
    let key_of = |path: &str| path.strip_prefix(&root).unwrap_or(path).to_owned();
    let is_wanted =
        |artifact: &str| is_wanted(artifact.strip_prefix(&root).unwrap_or(artifact), filter, prefix);
    let mut reading = Reading::start(configured, store, ring, filter, trust);
    let mut databases = BTreeSet::new();
    let (mut last, mut late): (Option<StoredFiles>, Vec<StoredFiles>) = (None, Vec::new());
    loop {
        let is_first = last.is_none();
        let (mut window, mut halves) =
            (Newest::of(usize::MAX, window_bytes), Newest::of(MOST_NAMED, usize::MAX));
        let mut take = |stored: StoredFiles| {
            if is_first && databases.len() < MOST_DATABASES {
                databases.extend(database_of(&key_of(&stored.path)));
            }
            if last.as_ref().is_none_or(|last| last.rank() < stored.rank()) {
                window.push(stored);
            }
        };
        each(store, &root, &is_wanted, &mut |stored| {
            if stored.is_pair() { take(stored) } else { halves.push(stored) }
        })?;
        if is_first {
            let (pairs, orphans) = look_again(store, halves)?;
            (late, reading.found.orphans) = (pairs, orphans);
        }
        // Each goes into the window that it belongs to.
        late.iter().cloned().for_each(take);
        let (wanted, left_out) = window.into_parts();
        if reading.read(&wanted)? || left_out == 0 {
            break;
        }
        last = wanted.into_iter().next_back();
    }
    reading.end(databases.into_iter().collect())
}

/// The database whose folder an artifact stands in.
fn database_of(key: &str) -> Option<String> {
    name::decode(key.split('/').nth(1)?)
}

/// Whether an artifact of that key may be one that is meant, as far as names tell.
fn is_wanted(key: &str, filter: &Filter, prefix: Option<&str>) -> bool {
    let Some(id) = id_of(key) else { return false };
    let mut pieces = key.split('/');
    let mut is_of = |wanted: Option<&String>| {
        let piece = pieces.next().unwrap_or_default();
        wanted.is_none_or(|wanted| name::encode(wanted) == piece)
    };
    is_of(filter.source.as_ref())
        && is_of(filter.database.as_ref())
        && prefix.is_none_or(|prefix| id.as_str().starts_with(prefix))
        && filter.since.is_none_or(|since| id.begun_at().is_some_and(|begun| begun >= floor(since)))
        && filter.backup_type.as_ref().is_none_or(|wanted| id.backup_type() == wanted)
}

/// The stamp in a name has no fractions of a second.
fn floor(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// A run that publishes, or retention that removes, while the store is listed shows one file of two. Gives what is
/// whole after all, and what is not.
fn look_again(store: &dyn Store, halves: Newest) -> Result<(Vec<StoredFiles>, Orphans)> {
    let (halves, more) = halves.into_parts();
    let (mut pairs, halves): (Vec<_>, Vec<_>) = halves.into_iter().partition(StoredFiles::is_pair);
    let halves = in_order(halves);
    let mut orphans = Orphans::of(store.name());
    orphans.more = more;
    if more > 0 || halves.len() > MOST_LOOKED_AT_AGAIN {
        for half in &halves {
            orphans.push(half.orphan(store.name()));
        }
        return Ok((pairs, orphans));
    }
    let looks = side_by_side(halves, |half| {
        let both = store.stat(&half.path).and_then(|found| {
            let manifest = store.stat(&name::manifest_path(&half.path))?;
            Ok((found, manifest))
        });
        (half, both)
    })?;
    for (half, both) in looks {
        match both {
            Ok((Some(found), Some(manifest))) => pairs.push(half.with(&found, &manifest)),
            // Some servers list a name that they could not write out under another.
            Ok((None, None)) if !half.path.contains(char::REPLACEMENT_CHARACTER) => {}
            _ => orphans.push(half.orphan(store.name())),
        }
    }
    Ok((pairs, orphans))
}

fn passes(backup: &Backup, filter: &Filter) -> bool {
    filter.source.as_ref().is_none_or(|source| backup.source == *source)
        && filter.database.as_ref().is_none_or(|database| backup.database == *database)
        && filter.status.is_none_or(|status| backup.status == status)
        && filter.since.is_none_or(|since| backup.created_at >= since)
}

pub(super) fn usable(configured: &ConfiguredStore) -> Result<&dyn Store> {
    configured.store.as_deref().map_err(|error| {
        Failure::new(Code::Failed, format!("store `{}` can't be used: {error}", configured.name)).into()
    })
}

/// Reads and proves one manifest; the inner error says why it tells of no backup.
pub(super) fn open(
    configured: &ConfiguredStore,
    store: &dyn Store,
    ring: Option<&KeyRing>,
    pair: &Pair,
) -> Result<Result<Backup, String>> {
    Ok(open_signed(configured, store, ring, pair)?.map(|(backup, _)| backup))
}

/// The same, and by which key it is proven, where there are keys.
pub(super) fn open_signed(
    configured: &ConfiguredStore,
    store: &dyn Store,
    ring: Option<&KeyRing>,
    pair: &Pair,
) -> Result<Result<(Backup, Option<Signer>), String>> {
    let path = &pair.artifact.path;
    let Some(bytes) = store.get_small(&name::manifest_path(path), LIMIT_BYTES)? else {
        return Ok(Err("its manifest is gone since it was listed".to_owned()));
    };
    let opened = match ring {
        Some(ring) => Manifest::open_signed(&bytes, ring).map(|(manifest, signer)| (manifest, Some(signer))),
        None => Manifest::read(&bytes).map(|manifest| (manifest, None)),
    };
    let (manifest, signer) = match opened {
        Ok(opened) => opened,
        Err(error) => return Ok(Err(format!("its manifest: {}", one_line(&error)))),
    };
    let mut backup = manifest.record();
    if manifest.id != pair.id || path_in(&backup, store) != *path {
        return Ok(Err(format!("its manifest is that of `{}`", manifest.id)));
    }
    if manifest.id.begun_at() != Some(floor(manifest.started_at)) {
        return Ok(Err(format!("its manifest says that it began at {}", manifest.started_at)));
    }
    let (found, size) = (pair.artifact.size_bytes, manifest.size_bytes);
    let error = (found != size).then(|| format!("it has {found} bytes, its manifest says {size}"));
    let stored_at = pair.artifact.modified_at.unwrap_or(manifest.finished_at);
    backup.copies = vec![Copy {
        store: configured.name.clone(),
        path: path.clone(),
        state: if error.is_none() { CopyState::Stored } else { CopyState::Corrupt },
        size_bytes: Some(manifest.size_bytes),
        etag: manifest.etag,
        stored_at: Some(stored_at),
        verified_at: None,
        verified_level: None,
        expires_at: expiry(&backup, configured),
        locked_until: None,
        error,
    }];
    status::recompute(&mut backup);
    Ok(Ok((backup, signer)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn listed(path: &str) -> Listed {
        Listed { path: path.to_owned(), size_bytes: 1, modified_at: None }
    }

    /// What a run publishes, or retention removes, while the store is listed.
    #[test]
    fn what_only_seemed_to_be_alone_is_looked_at_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = crate::store::local::LocalStore::new("disk".to_owned(), folder.path().to_owned());
        let at = |day: u8| store.path_of(&format!("full-shop-202611{day}T020000Z-3f9a.dump.gz.pgk"));
        for path in [at(21), name::manifest_path(&at(21)), at(22), name::manifest_path(&at(22)), at(23)] {
            store.put_small(&path, b"x").unwrap();
        }
        // The manifest of the first came late, the artifact of the second, the last has gone meanwhile.
        let listed = [at(21), name::manifest_path(&at(22)), at(23), at(24)];
        let mut halves = Newest::of(9, usize::MAX);
        for path in &listed {
            halves.push(StoredFiles::of(self::listed(path)).unwrap());
        }
        let (pairs, orphans) = look_again(&store, halves).unwrap();
        let pairs: Vec<&String> = pairs.iter().map(|pair| &pair.path).collect();
        assert_eq!(pairs, [&at(22), &at(21)]);
        assert_eq!(orphans.named.iter().map(|orphan| &orphan.path).collect::<Vec<_>>(), [&at(23)]);
        assert_eq!(orphans.more, 0);
    }

    /// Where not all names are held at once, the store is listed again, and each is read once, the newest first.
    #[test]
    fn what_does_not_fit_is_listed_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = crate::store::local::LocalStore::new("disk".to_owned(), folder.path().to_owned());
        let key = |day: u8| format!("db1/d{day}/full-d{day}-202611{day}T020000Z-3f9a.dump.gz.pgk");
        for day in 11..=17 {
            store.put_small(&store.path_of(&key(day)), b"x").unwrap();
            // One has none.
            if day != 13 {
                store.put_small(&name::manifest_path(&store.path_of(&key(day))), b"x").unwrap();
            }
        }
        let paths: Vec<String> =
            [13, 17, 16, 15, 14, 12, 11].into_iter().map(|day| store.path_of(&key(day))).collect();
        let configured = ConfiguredStore {
            name: "disk".to_owned(),
            keep: crate::config::keep::Keep::Forever,
            store: Ok(std::sync::Arc::new(store)),
        };
        for window_bytes in [1, 500, WINDOW_BYTES] {
            let inventory = read_by(
                window_bytes,
                &configured,
                None,
                &Filter::default(),
                None,
                &mut Trust::at(Timestamp::UNIX_EPOCH),
            )
            .unwrap();
            let told: Vec<&String> = inventory.orphans.named.iter().map(|orphan| &orphan.path).collect();
            assert_eq!(told, paths.iter().collect::<Vec<_>>());
            assert_eq!((inventory.databases.len(), inventory.orphans.more), (6, 0));
        }
    }
}
