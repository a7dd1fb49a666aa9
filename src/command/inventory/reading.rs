//! The manifests of what stands in a store, read some at a time, the newest first. What they say is proven elsewhere.

use anyhow::Result;

use super::super::context::ConfiguredStore;
use super::super::copies::side_by_side;
use super::super::trust::Trust;
use super::found::sealed_by_then;
use super::{Inventory, Orphan, Orphans, Pair, StoredFiles, open_signed, passes};
use crate::backup::Backup;
use crate::catalog::query::Filter;
use crate::exit::one_line;
use crate::key::{KeyRing, Signer};
use crate::store::Store;
use crate::store::s3::S3Error;

/// Manifests that are read at once, and bytes of them: each may be large, and whoever lists may have many.
const READERS: usize = 16;
const READ_BYTES: u64 = 8 * 1024 * 1024;

/// The manifests that were read so far.
pub(super) struct Reading<'a> {
    configured: &'a ConfiguredStore,
    store: &'a dyn Store,
    ring: Option<&'a KeyRing>,
    filter: &'a Filter,
    trust: &'a mut Trust,
    limit: usize,
    pub(super) found: Inventory,
    /// Why one could not be read.
    unreadable: Option<anyhow::Error>,
}

/// What reading one manifest comes to: a backup and by which key it is proven, or why it tells of none.
type Told = Result<Result<(Backup, Option<Signer>), String>>;

impl<'a> Reading<'a> {
    pub(super) fn start(
        configured: &'a ConfiguredStore,
        store: &'a dyn Store,
        ring: Option<&'a KeyRing>,
        filter: &'a Filter,
        trust: &'a mut Trust,
    ) -> Self {
        let limit = filter.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let found = Inventory { orphans: Orphans::of(&configured.name), ..Inventory::default() };
        Self { configured, store, ring, filter, trust, limit, found, unreadable: None }
    }

    /// Reads those of some more, the newest first; whether that was enough.
    pub(super) fn read(&mut self, wanted: &[StoredFiles]) -> Result<bool> {
        for some in handfuls(wanted) {
            let pairs: Vec<Pair> = some.iter().filter_map(StoredFiles::pair).collect();
            let (configured, store, ring) = (self.configured, self.store, self.ring);
            let mut unread: usize = 0;
            for (path, read) in side_by_side(pairs, |pair| {
                (pair.artifact.path.clone(), open_signed(configured, store, ring, &pair))
            })? {
                let is_away = matches!(&read, Err(error) if is_away(error));
                unread = unread.saturating_add(usize::from(is_away));
                self.take(path, read)?;
            }
            // So many at once: it is the store that does not answer, and the rest would take as long each.
            if let Some(error) = self.unreadable.take_if(|_| unread == READERS) {
                return Err(error);
            }
            if self.found.backups.len() >= self.limit {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What reading one came to.
    fn take(&mut self, path: String, read: Told) -> Result<()> {
        let (configured, store, ring) = (self.configured, self.store, self.ring);
        let what = match read {
            Ok(Ok(told)) if passes(&told.0, self.filter) => {
                let mut search = |source: &str, until| sealed_by_then(configured, store, ring, source, until);
                self.found.take(&configured.name, told, self.trust, &mut search)?
            }
            Ok(Ok(_)) => None,
            Ok(Err(what)) => Some(what),
            Err(error) => {
                let what = format!("its manifest can't be read: {}", one_line(&error));
                self.unreadable = Some(error);
                Some(what)
            }
        };
        if let Some(what) = what {
            self.found.orphans.push(Orphan { store: configured.name.clone(), path, what });
        }
        Ok(())
    }

    pub(super) fn end(mut self, databases: Vec<String>) -> Result<Inventory> {
        self.found.backups.truncate(self.limit);
        self.found.databases = databases;
        match self.unreadable {
            // Nothing could be read: that is the store's problem, not a manifest's.
            Some(error) if self.found.backups.is_empty() && self.found.doubtful.is_empty() => Err(error),
            _ => Ok(self.found),
        }
    }
}

/// Whether a store may give it the next time it is asked.
pub(super) fn is_away(error: &anyhow::Error) -> bool {
    error.downcast_ref().is_some_and(S3Error::is_passing)
}

/// As many at a time as are read at once.
pub(super) fn handfuls(wanted: &[StoredFiles]) -> impl Iterator<Item = &[StoredFiles]> {
    let mut left = wanted;
    std::iter::from_fn(move || {
        let mut bytes: u64 = 0;
        let fits = |stored: &&StoredFiles| {
            bytes = bytes.saturating_add(stored.manifest_bytes());
            bytes <= READ_BYTES
        };
        let count = left.iter().take(READERS).take_while(fits).count().max(1);
        let (some, rest) = left.split_at_checked(count)?;
        left = rest;
        Some(some)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Listed;

    #[test]
    fn large_manifests_are_read_one_by_one() {
        let path = "full-shop-20261101T020000Z-3f9a.dump.gz.pgk.json";
        let manifest =
            |size_bytes: &u64| Listed { size_bytes: *size_bytes, path: path.to_owned(), modified_at: None };
        let counts = |sizes: &[u64]| -> Vec<usize> {
            let all: Vec<StoredFiles> =
                sizes.iter().filter_map(|size| StoredFiles::of(manifest(size))).collect();
            handfuls(&all).map(<[StoredFiles]>::len).collect()
        };
        assert_eq!(counts(&[1000; 40]), [16, 16, 8]);
        assert_eq!(counts(&[READ_BYTES; 3]), [1, 1, 1]);
        assert_eq!(counts(&[1, u64::MAX, u64::MAX, 1, 1]), [1, 1, 1, 2]);
        assert_eq!(counts(&[READ_BYTES / 2, READ_BYTES / 2, 1]), [2, 1]);
        assert_eq!(counts(&[]), Vec::<usize>::new());
    }
}
