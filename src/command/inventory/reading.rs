//! The manifests of what stands in a store, read some at a time, the newest first. What they say is proven elsewhere.

use anyhow::Result;

use super::super::configured_store::ConfiguredStore;
use super::super::copies::side_by_side;
use super::super::trust::Trust;
use super::found::sealed_by_then;
use super::handfuls::{READERS, handfuls, is_away};
use super::{Inventory, Orphan, Orphans, Pair, StoredFiles, open_signed, passes};
use crate::backup::Backup;
use crate::catalog::query::Filter;
use crate::exit::one_line;
use crate::key::{KeyRing, Signer};
use crate::store::Store;

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
