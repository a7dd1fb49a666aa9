//! What a store itself knows of the backups in it: artifacts and the manifests beside them. No catalog is
//! asked. All that a store says is hostile until a key proves it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use jiff::Timestamp;
use serde::Serialize;

use super::context::Shelf;
use super::copies::{expiry, path_in, side_by_side};
use super::standing;
use super::trust::Trust;
use crate::backup::{Backup, Copy, CopyState};
use crate::catalog::query::Filter;
use crate::exit::{Code, Failure, one_line, shown};
use crate::key::{KeyRing, Signer};
use crate::manifest::{LIMIT_BYTES, Manifest};
use crate::name::{self, BackupId};
use crate::store::s3::S3Error;
use crate::store::{Listed, Store};

mod found;

pub(super) use found::Inventory;
use found::sealed_by_then;

/// Manifests that are read at once, and bytes of them: each may be large, and whoever lists may have many.
const READERS: usize = 16;
const READ_BYTES: u64 = 16 * 1024 * 1024;
/// Strays that are worth a second look: more than runs at work can have left are none of theirs.
const MOST_LOOKED_AT_AGAIN: usize = 64;
/// What an artifact's name ends with.
const ARTIFACT_SUFFIX: &str = ".pgk";

/// Something in a store that is no whole copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Stray {
    pub(super) store: String,
    pub(super) path: String,
    pub(super) what: String,
}

impl Stray {
    pub(super) fn warn(&self) {
        log::warn!("store `{}`: `{}`: {}", self.store, shown(&self.path), self.what);
    }
}

/// An artifact with a manifest beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) id: BackupId,
    pub(super) artifact: Listed,
    /// Size of the manifest, as it was listed.
    pub(super) manifest_bytes: u64,
}

/// What a list of a store's objects comes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Paired {
    /// The newest first.
    pub(super) pairs: Vec<Pair>,
    pub(super) strays: Vec<Stray>,
}

/// Puts artifacts and manifests together. What has neither name is not ours to speak of.
pub(super) fn pair(store: &str, listed: Vec<Listed>) -> Paired {
    let mut artifacts: BTreeMap<String, (BackupId, Listed)> = BTreeMap::new();
    let mut manifests = Vec::new();
    for object in listed {
        let artifact = artifact_of(&object.path).to_owned();
        let Some(id) = id_of(&artifact) else { continue };
        if artifact == object.path {
            artifacts.insert(artifact, (id, object));
        } else {
            manifests.push((artifact, object));
        }
    }
    let stray = |path: String, what: &str| Stray { store: store.to_owned(), path, what: what.to_owned() };
    let mut paired = Paired::default();
    for (artifact, manifest) in manifests {
        match artifacts.remove(&artifact) {
            Some((id, artifact)) => {
                paired.pairs.push(Pair { id, artifact, manifest_bytes: manifest.size_bytes });
            }
            None => paired.strays.push(stray(manifest.path, "a manifest without an artifact")),
        }
    }
    let bare = artifacts.into_keys().map(|path| stray(path, "an artifact without a manifest"));
    paired.strays.extend(bare);
    paired.pairs.sort_by_key(|pair| Reverse(pair.id.begun_at()));
    paired
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
    shelf: &Shelf,
    ring: Option<&KeyRing>,
    filter: &Filter,
    prefix: Option<&str>,
    trust: &mut Trust,
) -> Result<Inventory> {
    let store = usable(shelf)?;
    let root = store.path_of("");
    let is_wanted = |path: &str| is_wanted(path.strip_prefix(&root).unwrap_or(path), filter, prefix);
    let mut paired = pair(&shelf.name, store.list(&root)?);
    paired.pairs.retain(|pair| is_wanted(&pair.artifact.path));
    paired.strays.retain(|stray| is_wanted(artifact_of(&stray.path)));
    let Paired { pairs: wanted, strays } = look_again(store, paired)?;
    let databases: BTreeSet<String> = wanted.iter().filter_map(|pair| database_of(pair, &root)).collect();
    let limit = filter.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let databases = databases.into_iter().collect();
    let (mut found, mut unreadable) = (Inventory { strays, databases, ..Inventory::default() }, None);
    let mut search = |source: &str, until| sealed_by_then(shelf, store, ring, source, until);
    for some in handfuls(&wanted) {
        let mut unread: usize = 0;
        for (pair, read) in
            side_by_side(some.to_vec(), |pair| (pair.clone(), open_signed(shelf, store, ring, &pair)))?
        {
            let what = match read {
                Ok(Ok(told)) if passes(&told.0, filter) => {
                    found.take(&shelf.name, told, trust, &mut search)?
                }
                Ok(Ok(_)) => None,
                Ok(Err(what)) => Some(what),
                Err(error) => {
                    let what = format!("its manifest can't be read: {}", one_line(&error));
                    let is_away = error.downcast_ref().is_some_and(S3Error::is_passing);
                    unread = unread.saturating_add(usize::from(is_away));
                    unreadable = Some(error);
                    Some(what)
                }
            };
            found.strays.extend(what.map(|what| Stray {
                store: shelf.name.clone(),
                path: pair.artifact.path,
                what,
            }));
        }
        // So many at once: it is the store that does not answer, and the rest would take as long each.
        if let Some(error) = unreadable.take_if(|_| unread == READERS) {
            return Err(error);
        }
        if found.backups.len() >= limit {
            break;
        }
    }
    found.backups.truncate(limit);
    match unreadable {
        // Nothing could be read: that is the store's trouble, not a manifest's.
        Some(error) if found.backups.is_empty() && found.doubtful.is_empty() => Err(error),
        _ => Ok(found),
    }
}

/// As many pairs at a time as are read at once.
fn handfuls(pairs: &[Pair]) -> impl Iterator<Item = &[Pair]> {
    let mut left = pairs;
    std::iter::from_fn(move || {
        let mut bytes: u64 = 0;
        let fits = |pair: &&Pair| {
            bytes = bytes.saturating_add(pair.manifest_bytes);
            bytes <= READ_BYTES
        };
        let count = left.iter().take(READERS).take_while(fits).count().max(1);
        let (some, rest) = left.split_at_checked(count)?;
        left = rest;
        Some(some)
    })
}

/// The database whose folder an artifact stands in.
fn database_of(pair: &Pair, root: &str) -> Option<String> {
    let path = &pair.artifact.path;
    name::decode(path.strip_prefix(root).unwrap_or(path).split('/').nth(1)?)
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

/// A run that publishes, or retention that removes, while the store is listed shows one file of two.
fn look_again(store: &dyn Store, paired: Paired) -> Result<Paired> {
    let Paired { mut pairs, strays } = paired;
    if strays.len() > MOST_LOOKED_AT_AGAIN {
        return Ok(Paired { pairs, strays });
    }
    let looks = side_by_side(strays, |stray| {
        let artifact = artifact_of(&stray.path).to_owned();
        let both = store.stat(&artifact).and_then(|found| {
            let manifest = store.stat(&name::manifest_path(&artifact))?;
            Ok((found, manifest))
        });
        (stray, artifact, both)
    })?;
    let mut strays = Vec::new();
    for (stray, path, both) in looks {
        match (both, id_of(&path)) {
            (Ok((Some(found), Some(manifest))), Some(id)) => {
                let artifact = Listed { path, size_bytes: found.size_bytes, modified_at: None };
                pairs.push(Pair { id, artifact, manifest_bytes: manifest.size_bytes });
            }
            // Some servers list a name that they could not write out under another.
            (Ok((None, None)), _) if !path.contains(char::REPLACEMENT_CHARACTER) => {}
            _ => strays.push(stray),
        }
    }
    pairs.sort_by_key(|pair| Reverse(pair.id.begun_at()));
    Ok(Paired { pairs, strays })
}

fn passes(backup: &Backup, filter: &Filter) -> bool {
    filter.source.as_ref().is_none_or(|source| backup.source == *source)
        && filter.database.as_ref().is_none_or(|database| backup.database == *database)
        && filter.status.is_none_or(|status| backup.status == status)
        && filter.since.is_none_or(|since| backup.created_at >= since)
}

pub(super) fn usable(shelf: &Shelf) -> Result<&dyn Store> {
    shelf.store.as_deref().map_err(|error| {
        Failure::new(Code::Failed, format!("store `{}` can't be used: {error}", shelf.name)).into()
    })
}

/// Reads and proves one manifest; the inner error says why it tells of no backup.
pub(super) fn open(
    shelf: &Shelf,
    store: &dyn Store,
    ring: Option<&KeyRing>,
    pair: &Pair,
) -> Result<Result<Backup, String>> {
    Ok(open_signed(shelf, store, ring, pair)?.map(|(backup, _)| backup))
}

/// The same, and by which key it is proven, where there are keys.
pub(super) fn open_signed(
    shelf: &Shelf,
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
        store: shelf.name.clone(),
        path: path.clone(),
        state: if error.is_none() { CopyState::Stored } else { CopyState::Corrupt },
        size_bytes: Some(manifest.size_bytes),
        etag: manifest.etag,
        stored_at: Some(stored_at),
        verified_at: None,
        verified_level: None,
        expires_at: expiry(&backup, shelf),
        locked_until: None,
        error,
    }];
    standing::settle(&mut backup);
    Ok(Ok((backup, signer)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use proptest::prelude::*;

    fn listed(path: &str) -> Listed {
        Listed { path: path.to_owned(), size_bytes: 1, modified_at: None }
    }

    #[test]
    fn pairs_are_put_together_and_strays_are_named() {
        let at = |time: &str| format!("pg/db1/shop/full/2026/11/full-shop-{time}-3f9a.dump.gz.pgk");
        let (old, new) = (at("20261101T020000Z"), at("20261122T020000Z"));
        let (bare, lost) = (at("20261123T020000Z"), at("20261124T020000Z"));
        let listed =
            [&old, &format!("{old}.json"), &new, &format!("{new}.json"), &bare, &format!("{lost}.json")];
        let foreign = ["pg/readme.json", "pg/x.pgk", "pg/full-shop-20261101T020000Z-3f9a.pgk", "json", ""];
        let objects = listed.into_iter().map(String::as_str).chain(foreign).map(super::tests::listed);
        let paired = pair("r2", objects.collect());
        let paths: Vec<&str> = paired.pairs.iter().map(|pair| pair.artifact.path.as_str()).collect();
        assert_eq!(paths, [new.as_str(), &old]);
        let strays: Vec<&str> = paired.strays.iter().map(|stray| stray.path.as_str()).collect();
        assert_eq!(strays, [format!("{lost}.json").as_str(), &bare]);
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
        let paired = pair("disk", listed.iter().map(|path| self::listed(path)).collect());
        assert_eq!((paired.pairs.len(), paired.strays.len()), (0, 4));
        let again = look_again(&store, paired).unwrap();
        let pairs: Vec<&String> = again.pairs.iter().map(|pair| &pair.artifact.path).collect();
        assert_eq!(pairs, [&at(22), &at(21)]);
        assert_eq!(again.strays.iter().map(|stray| &stray.path).collect::<Vec<_>>(), [&at(23)]);
    }

    #[test]
    fn large_manifests_are_read_one_by_one() {
        let pair = |manifest_bytes| Pair {
            id: BackupId::parse("full-shop-20261101T020000Z-3f9a").unwrap(),
            artifact: listed("x"),
            manifest_bytes,
        };
        let counts = |sizes: &[u64]| -> Vec<usize> {
            let pairs: Vec<Pair> = sizes.iter().map(|size| pair(*size)).collect();
            handfuls(&pairs).map(<[Pair]>::len).collect()
        };
        assert_eq!(counts(&[1000; 40]), [16, 16, 8]);
        assert_eq!(counts(&[READ_BYTES; 3]), [1, 1, 1]);
        assert_eq!(counts(&[1, u64::MAX, u64::MAX, 1, 1]), [1, 1, 1, 2]);
        assert_eq!(counts(&[READ_BYTES / 2, READ_BYTES / 2, 1]), [2, 1]);
        assert_eq!(counts(&[]), Vec::<usize>::new());
    }

    proptest! {
        #[test]
        fn no_list_is_too_odd(paths in proptest::collection::vec("\\PC{0,60}", 0..20)) {
            let count = paths.len();
            let paired = pair("r2", paths.iter().map(|path| listed(path)).collect());
            prop_assert!(paired.pairs.len() * 2 + paired.strays.len() <= count);
        }
    }
}
