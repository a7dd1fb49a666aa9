//! Copies: made whole with their manifest, read back, filled from one another.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread;

use anyhow::{Context as _, Result, anyhow, bail};
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};

use super::context::{Shelf, now};
use crate::backup::{Backup, Copy, CopyState};
use crate::config::AfterBackup;
use crate::exit::{Failure, one_line};
use crate::interrupt::Interrupt;
use crate::key::KeyRing;
use crate::manifest::{LIMIT_BYTES, Manifest};
use crate::name;
use crate::part::Part;
use crate::pipeline::digest::{Hashed, Sum};
use crate::pipeline::parts::Cutter;
use crate::pipeline::readback::{ReadAhead, open_and_sum, sum_of};
use crate::store::{Kind, Store, Stored, Upload, is_missing};

/// Bytes read at a time where one copy is filled from another.
const BLOCK_LEN: usize = 1024 * 1024;

/// What is known of the artifact whose copies are made.
pub(super) struct Making<'a> {
    pub(super) backup: &'a Backup,
    pub(super) ring: &'a KeyRing,
    pub(super) part_size_bytes: u64,
    pub(super) check: AfterBackup,
    /// Cores that open a copy.
    pub(super) threads: usize,
    pub(super) interrupt: &'a Interrupt,
}

impl Making<'_> {
    /// The path of the copy in a store.
    pub(super) fn path_in(&self, store: &dyn Store) -> String {
        path_in(self.backup, store)
    }

    /// The copy of a store that could not be used at all.
    pub(super) fn none(&self, shelf: &Shelf, error: &str) -> Copy {
        let path = shelf.store.as_ref().map(|store| self.path_in(store.as_ref())).unwrap_or_default();
        Copy {
            store: shelf.name.clone(),
            path,
            state: CopyState::Failed,
            size_bytes: None,
            etag: None,
            stored_at: None,
            verified_at: None,
            verified_level: None,
            expires_at: None,
            error: Some(error.to_owned()),
        }
    }

    /// Publishes an upload, writes its manifest, reads the copy back. What goes wrong is in the copy.
    pub(super) fn settle(&self, shelf: &Shelf, store: &dyn Store, upload: Box<dyn Upload>) -> Copy {
        match self.publish(shelf, store, upload) {
            Ok(copy) => self.checked(store, copy),
            Err(error) => self.none(shelf, &one_line(&error)),
        }
    }

    fn publish(&self, shelf: &Shelf, store: &dyn Store, upload: Box<dyn Upload>) -> Result<Copy> {
        let path = self.path_in(store);
        let stored = upload.publish().context("cannot publish")?;
        if let Err(error) = self.write_manifest(store, &path, &stored) {
            // Nothing may be left that no record knows of.
            if let Err(error) = store.remove(&path) {
                log::warn!(
                    "store `{}`: `{path}` stays without a manifest: {}",
                    store.name(),
                    one_line(&error)
                );
            }
            return Err(error);
        }
        let at = now();
        Ok(Copy {
            state: CopyState::Stored,
            size_bytes: Some(stored.size_bytes),
            etag: stored.etag,
            stored_at: Some(at),
            expires_at: expiry(at, shelf),
            error: None,
            ..self.none(shelf, "")
        })
    }

    fn write_manifest(&self, store: &dyn Store, path: &str, stored: &Stored) -> Result<()> {
        if Some(stored.size_bytes) != self.backup.size_bytes {
            bail!("it took {} bytes of {:?}", stored.size_bytes, self.backup.size_bytes);
        }
        let manifest = self.manifest_for(store, stored)?;
        store.put_small(&name::manifest_path(path), &manifest).context("cannot write the manifest")
    }

    fn manifest_for(&self, store: &dyn Store, stored: &Stored) -> Result<Vec<u8>> {
        let key = self.ring.sealing();
        let mut manifest = Manifest::of(self.backup, key)?;
        if store.kind() == Kind::S3 {
            manifest.etag.clone_from(&stored.etag);
            manifest.part_size_bytes = stored.part_size_bytes.or(Some(self.part_size_bytes));
        }
        manifest.seal(key)
    }

    fn checked(&self, store: &dyn Store, mut copy: Copy) -> Copy {
        let result = match self.check {
            AfterBackup::None => return copy,
            AfterBackup::Stat => stat(store, &copy.path, self.backup).map(|()| None),
            // What a test restore proves of one copy, its checksum says of the others.
            AfterBackup::Checksum | AfterBackup::Restore => {
                read_back(store, &copy.path, self.backup, None, self.interrupt).map(|()| Some("checksum"))
            }
            AfterBackup::Content => {
                let opening = Opening { ring: self.ring, threads: self.threads };
                read_back(store, &copy.path, self.backup, Some(opening), self.interrupt)
                    .map(|()| Some("content"))
            }
        };
        match result {
            Ok(None) => {}
            Ok(Some(level)) => mark_verified(&mut copy, level),
            Err(fault) => {
                fault.mark(&mut copy);
                if copy.state == CopyState::Corrupt {
                    disown(store, &copy);
                }
            }
        }
        copy
    }

    /// Makes the copy of one store from the whole copy in another, in place of `damaged`.
    pub(super) fn fill(
        &self,
        shelf: &Shelf,
        store: &dyn Store,
        damaged: &Copy,
        from: &Copy,
        source: &dyn Store,
    ) -> Copy {
        match self.refill(store, damaged, &from.path, source) {
            Ok(upload) => self.settle(shelf, store, upload),
            Err(error) => self.none(shelf, &one_line(&error)),
        }
    }

    fn refill(
        &self,
        store: &dyn Store,
        damaged: &Copy,
        from: &str,
        source: &dyn Store,
    ) -> Result<Box<dyn Upload>> {
        let path = self.path_in(store);
        let artifact = source.open(from)?;
        if damaged.state == CopyState::Corrupt {
            // This run published it and found it damaged; what makes it count goes first.
            store.remove(&name::manifest_path(&path))?;
            store.remove(&path)?;
        }
        let mut upload = store.begin(&path, self.part_size_bytes)?;
        let mut reader = Hashed::new(ReadAhead::start(artifact, self.interrupt.clone())?);
        let mut cutter = Cutter::new(self.part_size_bytes);
        loop {
            let mut block = vec![0u8; BLOCK_LEN];
            let got = crate::pipeline::seal::fill(&mut reader, &mut block)?;
            block.truncate(got);
            for part in cutter.push(Bytes::from(block)) {
                upload.write(part)?;
            }
            if got < BLOCK_LEN {
                break;
            }
        }
        if let Some(part) = cutter.finish() {
            upload.write(part)?;
        }
        same_sum(&reader.sum(), self.backup)
            .with_context(|| format!("the copy in `{}` changed while it was read", source.name()))?;
        Ok(upload)
    }
}

/// A part goes to an upload as it is; this is all that the pipeline asks of a lane.
pub(super) struct Lane(pub(super) Box<dyn Upload>);

impl crate::pipeline::fanout::Sink for Lane {
    fn write(&mut self, part: Arc<Part>) -> Result<()> {
        self.0.write(part)
    }

    fn moved_bytes(&self) -> Arc<AtomicU64> {
        self.0.moved_bytes()
    }
}

/// What is wrong with a copy that was looked at.
pub(super) struct Fault {
    /// `None`: it could not be looked at.
    pub(super) state: Option<CopyState>,
    pub(super) message: String,
}

impl Fault {
    fn of_error(error: &anyhow::Error) -> Self {
        let state = is_missing(error).then_some(CopyState::Missing);
        Self { state, message: one_line(error) }
    }

    fn corrupt(message: impl Into<String>) -> Self {
        Self { state: Some(CopyState::Corrupt), message: message.into() }
    }

    pub(super) fn mark(self, copy: &mut Copy) {
        copy.state = self.state.unwrap_or(copy.state);
        copy.error = Some(self.message);
    }
}

/// The path of a backup's copy in a store.
pub(super) fn path_in(backup: &Backup, store: &dyn Store) -> String {
    store.path_of(&name::object_key(&backup.source, &backup.database, &backup.id, &backup.filename))
}

pub(super) fn mark_verified(copy: &mut Copy, level: &str) {
    copy.state = CopyState::Verified;
    copy.verified_at = Some(now());
    copy.verified_level = Some(level.to_owned());
    copy.error = None;
}

/// Takes the manifest away from a copy that was found damaged: what looks whole must be whole.
fn disown(store: &dyn Store, copy: &Copy) {
    if let Err(error) = store.remove(&name::manifest_path(&copy.path)) {
        log::warn!("store `{}`: the manifest of a damaged copy stays: {}", copy.store, one_line(&error));
    }
}

fn expiry(at: Timestamp, shelf: &Shelf) -> Option<Timestamp> {
    at.checked_add(SignedDuration::try_from(shelf.keep?).ok()?).ok()
}

fn stat(store: &dyn Store, path: &str, backup: &Backup) -> Result<(), Fault> {
    for (path, size) in [(path.to_owned(), backup.size_bytes), (name::manifest_path(path), None)] {
        match store.stat(&path) {
            Ok(Some(found)) if size.is_none_or(|size| size == found.size_bytes) => {}
            Ok(Some(found)) => {
                return Err(Fault::corrupt(format!("it has {} bytes", found.size_bytes)));
            }
            Ok(None) => {
                let message = format!("`{path}` is not there");
                return Err(Fault { state: Some(CopyState::Missing), message });
            }
            Err(error) => return Err(Fault::of_error(&error)),
        }
    }
    Ok(())
}

/// What a copy is opened with.
#[derive(Clone, Copy)]
pub(super) struct Opening<'a> {
    pub(super) ring: &'a KeyRing,
    /// Cores to use.
    pub(super) threads: usize,
}

/// Reads a copy to its end and compares it with the record; with an opening it is opened on the way, to
/// the end of the dump inside.
pub(super) fn read_back(
    store: &dyn Store,
    path: &str,
    backup: &Backup,
    opening: Option<Opening<'_>>,
    interrupt: &Interrupt,
) -> Result<(), Fault> {
    let source = store.open(path).map_err(|error| Fault::of_error(&error))?;
    let Some(Opening { ring, threads }) = opening else {
        let sum = sum_of(source, interrupt).map_err(|error| Fault::of_error(&error))?;
        return same_sum(&sum, backup).map_err(|error| Fault::corrupt(one_line(&error)));
    };
    let opened = open_and_sum(source, ring, &backup.id, threads, interrupt)
        .map_err(|error| Fault::of_error(&error))?;
    let sum_differs = same_sum(&opened.artifact, backup).err().map(|error| one_line(&error));
    match (sum_differs, opened.dump) {
        (Some(differs), Err(why)) => Err(Fault::corrupt(format!("{differs}; {why}"))),
        (Some(differs), Ok(_)) => Err(Fault::corrupt(differs)),
        // The bytes are those on record: what is missing is a key, not the copy.
        (None, Err(why)) => Err(Fault { state: None, message: format!("it does not open: {why}") }),
        (None, Ok(dump)) if Some(dump.sha256.as_str()) != backup.metadata_str("dump_checksum") => {
            Err(Fault::corrupt("the dump inside is not the one on record"))
        }
        (None, Ok(_)) => Ok(()),
    }
}

/// Reads the manifest of a copy and compares it with the record.
pub(super) fn manifest_agrees(
    store: &dyn Store,
    path: &str,
    backup: &Backup,
    ring: &KeyRing,
) -> Result<(), Fault> {
    let path = name::manifest_path(path);
    let read = store.get_small(&path, LIMIT_BYTES).map_err(|error| Fault::of_error(&error))?;
    let Some(bytes) = read else {
        let message = format!("its manifest `{path}` is not there");
        return Err(Fault { state: Some(CopyState::Missing), message });
    };
    let manifest = Manifest::open(&bytes, ring).map_err(|error| {
        let message = format!("its manifest: {}", one_line(&error));
        // A key that is not at hand is no fault of the copy.
        let state = error.downcast_ref::<Failure>().is_none().then_some(CopyState::Corrupt);
        Fault { state, message }
    })?;
    let same = manifest.id == backup.id
        && Some(&manifest.checksum) == backup.checksum.as_ref()
        && Some(manifest.size_bytes) == backup.size_bytes;
    if same { Ok(()) } else { Err(Fault::corrupt("its manifest is that of another artifact")) }
}

fn same_sum(sum: &Sum, backup: &Backup) -> Result<()> {
    let expected_size = backup.size_bytes.context("the record has no size")?;
    let expected = backup.checksum.as_deref().context("the record has no checksum")?;
    if sum.size_bytes != expected_size {
        bail!("it has {} bytes, not {expected_size}", sum.size_bytes);
    }
    if sum.sha256 != expected {
        bail!("its SHA-256 is {}, not {expected}", sum.sha256);
    }
    Ok(())
}

/// Does the same for each item at once, and gives the results in their order.
pub(super) fn side_by_side<T: Send, R: Send>(items: Vec<T>, work: impl Fn(T) -> R + Sync) -> Result<Vec<R>> {
    thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = items.into_iter().map(|item| scope.spawn(move || work(item))).collect();
        let joined = threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| anyhow!("a thread that looked after a store is gone")));
        joined.collect()
    })
}
