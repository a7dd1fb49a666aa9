//! What stands in a store under names of ours, put together while the store is listed: nothing else is kept, and no
//! more of it than may be, however much there is. It reads no manifest.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use anyhow::Result;
use jiff::Timestamp;

use super::{Orphan, Pair, artifact_of, id_of};
use crate::store::{Listed, Stat, Store};

/// What is held of one besides the characters of its path, in bytes.
const STANDING_BYTES: usize = 128;

/// An artifact, its manifest, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::command) struct StoredFiles {
    /// The artifact's path.
    pub(in crate::command) path: String,
    /// When the backup began, as its name has it.
    begun_at: Option<Timestamp>,
    artifact: Option<(u64, Option<Timestamp>)>,
    manifest_bytes: Option<u64>,
}

impl StoredFiles {
    /// Whatever has no name of ours is none.
    pub(super) fn of(object: Listed) -> Option<Self> {
        let artifact = artifact_of(&object.path);
        let (begun_at, length) = (id_of(artifact)?.begun_at(), artifact.len());
        let is_artifact = length == object.path.len();
        let mut path = object.path;
        path.truncate(length);
        Some(Self {
            path,
            begun_at,
            artifact: is_artifact.then_some((object.size_bytes, object.modified_at)),
            manifest_bytes: (!is_artifact).then_some(object.size_bytes),
        })
    }

    fn join(&mut self, other: &Self) {
        self.artifact = other.artifact.or(self.artifact);
        self.manifest_bytes = other.manifest_bytes.or(self.manifest_bytes);
    }

    pub(in crate::command) fn is_pair(&self) -> bool {
        self.artifact.is_some() && self.manifest_bytes.is_some()
    }

    /// When the backup began, as its name has it.
    pub(in crate::command) fn begun_at(&self) -> Option<Timestamp> {
        self.begun_at
    }

    /// Size of the artifact, where there is one.
    pub(in crate::command) fn size_bytes(&self) -> Option<u64> {
        self.artifact.map(|(size_bytes, _)| size_bytes)
    }

    /// Whether an artifact stands there without its manifest.
    pub(in crate::command) fn is_bare(&self) -> bool {
        self.artifact.is_some() && self.manifest_bytes.is_none()
    }

    /// When the artifact was written, as far as the store says.
    pub(in crate::command) fn written_at(&self) -> Option<Timestamp> {
        self.artifact.and_then(|(_, modified_at)| modified_at)
    }

    pub(super) fn manifest_bytes(&self) -> u64 {
        self.manifest_bytes.unwrap_or_default()
    }

    /// The same with both, as a look at each found them.
    pub(super) fn with(self, artifact: &Stat, manifest: &Stat) -> Self {
        let (artifact, manifest_bytes) = (Some((artifact.size_bytes, None)), Some(manifest.size_bytes));
        Self { artifact, manifest_bytes, ..self }
    }

    /// Both, as one.
    pub(in crate::command) fn pair(&self) -> Option<Pair> {
        let ((size_bytes, modified_at), manifest_bytes) = (self.artifact?, self.manifest_bytes?);
        let artifact = Listed { path: self.path.clone(), size_bytes, modified_at };
        Some(Pair { id: id_of(&self.path)?, artifact, manifest_bytes })
    }

    /// One without the other.
    pub(in crate::command) fn orphan(&self, store: &str) -> Orphan {
        let (path, what) = match self.artifact {
            Some(_) => (self.path.clone(), "an artifact without a manifest"),
            None => (crate::name::manifest_path(&self.path), "a manifest without an artifact"),
        };
        Orphan { store: store.to_owned(), path, what: what.to_owned() }
    }

    /// The newest first, and those of one time in the order of their paths.
    pub(super) fn rank(&self) -> (Reverse<Option<Timestamp>>, &str) {
        (Reverse(self.begun_at), &self.path)
    }

    fn held_bytes(&self) -> usize {
        self.path.len().saturating_add(STANDING_BYTES)
    }
}

/// Gives what stands under a prefix, as far as the artifact's path is one of those wanted, while the store is listed.
/// An artifact and its manifest come together where the list has them next to each other, as one that is in order has.
pub(in crate::command) fn each(
    store: &dyn Store,
    path_prefix: &str,
    is_wanted: &dyn Fn(&str) -> bool,
    found: &mut dyn FnMut(StoredFiles),
) -> Result<()> {
    let is_ours = |path: &str| {
        let artifact = artifact_of(path);
        id_of(artifact).is_some() && is_wanted(artifact)
    };
    let mut held: Option<StoredFiles> = None;
    store.each(path_prefix, &is_ours, &mut |object| {
        let Some(next) = StoredFiles::of(object) else { return };
        match held.as_mut().filter(|held| held.path == next.path) {
            Some(held) => held.join(&next),
            None => {
                if let Some(whole) = held.replace(next) {
                    found(whole);
                }
            }
        }
    })?;
    held.into_iter().for_each(found);
    Ok(())
}

/// Manifests without an artifact, then artifacts without a manifest, each in the order of their paths.
pub(in crate::command) fn in_order(mut halves: Vec<StoredFiles>) -> Vec<StoredFiles> {
    let place = |half: &StoredFiles| half.artifact.is_some();
    halves.sort_by(|one, other| (place(one), &one.path).cmp(&(place(other), &other.path)));
    halves
}

/// The newest of what stands somewhere, as many as are worth the memory.
#[derive(Debug)]
pub(in crate::command) struct Newest {
    most: usize,
    most_bytes: usize,
    bytes: usize,
    kept: BinaryHeap<Ranked>,
    /// How many are not among them.
    left_out: usize,
}

/// By their rank: the oldest is the greatest, which goes first.
#[derive(Debug, PartialEq, Eq)]
struct Ranked(StoredFiles);

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.rank().cmp(&other.0.rank())
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Newest {
    /// At most so many, of at most so many bytes.
    pub(in crate::command) fn of(most: usize, most_bytes: usize) -> Self {
        Self { most, most_bytes, bytes: 0, kept: BinaryHeap::new(), left_out: 0 }
    }

    pub(in crate::command) fn push(&mut self, stored: StoredFiles) {
        self.bytes = self.bytes.saturating_add(stored.held_bytes());
        self.kept.push(Ranked(stored));
        while self.kept.len() > self.most || (self.bytes > self.most_bytes && self.kept.len() > 1) {
            let Some(Ranked(oldest)) = self.kept.pop() else { break };
            self.bytes = self.bytes.saturating_sub(oldest.held_bytes());
            self.left_out = self.left_out.saturating_add(1);
        }
    }

    /// Those that were kept, the newest first, and how many were not.
    pub(in crate::command) fn into_parts(self) -> (Vec<StoredFiles>, usize) {
        let kept = self.kept.into_sorted_vec().into_iter().map(|Ranked(stored)| stored);
        let mut kept: Vec<StoredFiles> = kept.collect();
        // A server may list one twice, or both of two far from one another.
        kept.dedup_by(|later, earlier| {
            let is_same = later.path == earlier.path;
            if is_same {
                earlier.artifact = earlier.artifact.or(later.artifact);
                earlier.manifest_bytes = earlier.manifest_bytes.or(later.manifest_bytes);
            }
            is_same
        });
        (kept, self.left_out)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn stored(path: &str) -> StoredFiles {
        StoredFiles::of(Listed { path: path.to_owned(), size_bytes: 1, modified_at: None }).unwrap()
    }

    #[test]
    fn the_newest_are_kept_and_the_others_counted() {
        let at = |day: u8| format!("full-shop-202611{day}T020000Z-3f9a.dump.gz.pgk");
        let paths = |newest: Newest| -> (Vec<String>, usize) {
            let (kept, left_out) = newest.into_parts();
            (kept.into_iter().map(|stored| stored.path).collect(), left_out)
        };
        let bytes = stored(&at(10)).held_bytes();
        for (most, most_bytes) in [(3, usize::MAX), (usize::MAX, 3 * bytes + 1)] {
            let mut newest = Newest::of(most, most_bytes);
            for day in [14, 11, 19, 10, 17, 12] {
                newest.push(stored(&at(day)));
            }
            assert_eq!(paths(newest), (vec![at(19), at(17), at(14)], 3));
        }
        let mut one = Newest::of(usize::MAX, 1);
        one.push(stored(&at(10)));
        assert_eq!(paths(one), (vec![at(10)], 0));
    }

    /// What a store of those names shows, whole and half.
    fn shown(paths: &[String]) -> (Vec<String>, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let store = crate::store::local::LocalStore::new("disk".to_owned(), folder.path().to_owned());
        for path in paths {
            store.put_small(&store.path_of(path), b"x").unwrap();
        }
        let (mut whole, mut half) = (Vec::new(), Vec::new());
        let root = store.path_of("");
        each(&store, &root, &|path| !path.contains("other"), &mut |stored| {
            let orphan = stored.orphan("disk").path.strip_prefix(&root).unwrap().to_owned();
            if stored.is_pair() { whole.push(orphan) } else { half.push(orphan) }
        })
        .unwrap();
        whole.sort();
        half.sort();
        (whole, half)
    }

    #[test]
    fn artifacts_and_manifests_are_put_together() {
        let at = |time: &str| format!("pg/db1/shop/full/2026/11/full-shop-{time}-3f9a.dump.gz.pgk");
        let manifest = |path: &str| format!("{path}.json");
        let (old, new) = (at("20261101T020000Z"), at("20261122T020000Z"));
        let (bare, lost) = (at("20261123T020000Z"), at("20261124T020000Z"));
        let ours = [&old, &manifest(&old), &new, &manifest(&new), &bare, &manifest(&lost)];
        let foreign = [
            "pg/readme.json",
            "pg/x.pgk",
            "pg/full-shop-20261101T020000Z-3f9a.pgk",
            "pg/full-other-20261101T020000Z-3f9a.dump.gz.pgk",
            "json",
            // What sorts between an artifact and its manifest.
            "pg/db1/shop/full/2026/11/full-shop-20261101T020000Z-3f9a.dump.gz.pgk.a",
            "pg/db1/shop/full/2026/11/full-shop-20261101T020000Z-3f9a.dump.gz.pgk-b",
        ];
        let names: Vec<String> =
            ours.into_iter().map(String::as_str).chain(foreign).map(str::to_owned).collect();
        assert_eq!(shown(&names), (vec![old, new], vec![bare, manifest(&lost)]));
    }

    /// A server that keeps to no order, and lists some twice.
    #[test]
    fn what_is_far_apart_is_put_together_too() {
        let at = |day: u8| format!("full-shop-202611{day}T020000Z-3f9a.dump.gz.pgk");
        let mut newest = Newest::of(9, usize::MAX);
        for path in [at(10), at(11), format!("{}.json", at(10)), format!("{}.json", at(10)), at(11)] {
            newest.push(stored(&path));
        }
        let (kept, left_out) = newest.into_parts();
        let told: Vec<(&str, bool)> =
            kept.iter().map(|stored| (stored.path.as_str(), stored.is_pair())).collect();
        assert_eq!(told, [(at(11).as_str(), false), (at(10).as_str(), true)]);
        assert_eq!(left_out, 0);
    }
}
