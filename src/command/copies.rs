//! Copies: made whole with their manifest, looked at, filled from one another.

use std::io::Read;
use std::sync::Arc;
use std::thread;

use anyhow::{Context as _, Result, anyhow, bail};
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};

use super::clock::now;
use super::configured_store::ConfiguredStore;
use super::copy_check::{CopyCheck, OpenWith};
use crate::backup::{Backup, CheckLevel, Copy, CopyState};
use crate::exit::one_line;
use crate::interrupt::Interrupt;
use crate::manifest::Manifest;
use crate::name;
use crate::part::{Part, Traffic};
use crate::pipeline::digest::Hashed;
use crate::pipeline::parts::Cutter;
use crate::pipeline::readback::ReadAhead;
use crate::store::{Kind, Removal, Store, Stored, Upload};
use crate::testpoint::{self, Step};

/// Bytes read at a time where one copy is filled from another.
const BLOCK_LEN: usize = 1024 * 1024;

/// What is known of the artifact whose copies are made.
pub(super) struct Making<'a> {
    pub(super) backup: &'a Backup,
    pub(super) opening: OpenWith<'a>,
    pub(super) part_size_bytes: u64,
    /// How deep each copy is looked at once it is made.
    pub(super) check: Option<CheckLevel>,
    pub(super) interrupt: &'a Interrupt,
}

impl Making<'_> {
    /// The path of the copy in a store.
    pub(super) fn path_in(&self, store: &dyn Store) -> String {
        path_in(self.backup, store)
    }

    /// The copy of a store that could not be used at all.
    pub(super) fn none(&self, configured: &ConfiguredStore, error: &str) -> Copy {
        not_made(self.backup, configured, error)
    }

    /// Publishes an upload, writes its manifest, reads the copy back. What goes wrong is in the copy.
    pub(super) fn settle(
        &self,
        configured: &ConfiguredStore,
        store: &dyn Store,
        upload: Box<dyn Upload>,
    ) -> Copy {
        match self.publish(configured, store, upload) {
            Ok(copy) => self.checked(store, copy),
            Err(error) => self.none(configured, &one_line(&error)),
        }
    }

    fn publish(
        &self,
        configured: &ConfiguredStore,
        store: &dyn Store,
        upload: Box<dyn Upload>,
    ) -> Result<Copy> {
        let path = self.path_in(store);
        let stored = upload.publish().context("cannot publish")?;
        testpoint::reached(Step::ArtifactPublished);
        if let Err(error) = self.write_manifest(store, &path, &stored) {
            // Nothing may be left that no record knows of; what makes it count may be there all the same.
            match store.rollback(&[&name::manifest_path(&path), &path]) {
                Ok(Removal::Gone) => {}
                Ok(Removal::Held(hold)) => log::warn!(
                    "store `{}`: `{path}`, which does not count, stays: {hold}; a prune after that removes it",
                    store.name()
                ),
                Err(error) => {
                    log::warn!("store `{}`: `{path}` may be left: {}", store.name(), one_line(&error));
                }
            }
            return Err(error);
        }
        testpoint::reached(Step::ManifestWritten);
        let at = now();
        Ok(Copy {
            state: CopyState::Stored,
            size_bytes: Some(stored.size_bytes),
            etag: stored.etag,
            stored_at: Some(at),
            expires_at: expiry(self.backup, configured),
            locked_until: stored.locked_until,
            error: None,
            ..self.none(configured, "")
        })
    }

    fn write_manifest(&self, store: &dyn Store, path: &str, stored: &Stored) -> Result<()> {
        if Some(stored.size_bytes) != self.backup.size_bytes {
            bail!("it took {} bytes of {:?}", stored.size_bytes, self.backup.size_bytes);
        }
        let manifest = self.manifest_for(store, stored)?;
        let path = name::manifest_path(path);
        store.put_small(&path, &manifest).context("cannot write the manifest")?;
        if self.check.is_none() {
            return Ok(());
        }
        // A yes to a write that never arrived would leave a copy that does not count.
        let found = store.stat(&path).context("cannot look at the manifest")?.map(|stat| stat.size_bytes);
        if found != Some(manifest.len() as u64) {
            bail!(
                "the store took the manifest and does not have it (found {found:?} bytes of {})",
                manifest.len()
            );
        }
        Ok(())
    }

    fn manifest_for(&self, store: &dyn Store, stored: &Stored) -> Result<Vec<u8>> {
        let key = self.opening.ring.sealing();
        let mut manifest = Manifest::of(self.backup, key)?;
        if store.kind() == Kind::S3 {
            manifest.etag.clone_from(&stored.etag);
            manifest.part_size_bytes = stored.part_size_bytes.or(Some(self.part_size_bytes));
        }
        manifest.seal(key)
    }

    fn checked(&self, store: &dyn Store, mut copy: Copy) -> Copy {
        let Some(level) = self.check else { return copy };
        let look = self.look(level);
        let result = match level {
            CheckLevel::Stat => look.stat(store, &copy),
            CheckLevel::Checksum | CheckLevel::Restore => look.read_back(store, &copy.path),
            CheckLevel::Content => look.open(store, &copy.path),
        };
        match result {
            // The restore itself is tried once for all copies, not here.
            Ok(()) if level == CheckLevel::Restore => mark_checked(&mut copy, CheckLevel::Checksum),
            Ok(()) => mark_checked(&mut copy, level),
            Err(fault) => {
                fault.mark(&mut copy);
                if copy.state == CopyState::Corrupt
                    && let Err(error) = disown(store, &copy.path)
                {
                    let error = one_line(&error);
                    log::warn!("store `{}`: the manifest of a damaged copy stays: {error}", copy.store);
                }
            }
        }
        copy
    }

    fn look(&self, level: CheckLevel) -> CopyCheck<'_> {
        CopyCheck { backup: self.backup, level, opening: Some(self.opening), interrupt: self.interrupt }
    }

    /// Makes the copy of one store from the whole copy in another, in place of `damaged`.
    ///
    /// # Errors
    /// When the other copy can't be read; any other problem is in the copy.
    pub(super) fn fill(
        &self,
        configured: &ConfiguredStore,
        store: &dyn Store,
        damaged: &Copy,
        from: &Copy,
        source: &dyn Store,
    ) -> Result<Copy, String> {
        match self.refill(store, damaged, &from.path, source) {
            Ok(upload) => Ok(self.settle(configured, store, upload)),
            Err(error) if error.is::<Unreadable>() => Err(one_line(&error)),
            Err(error) => Ok(self.none(configured, &one_line(&error))),
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
        let unreadable = || Unreadable(source.name().to_owned());
        let artifact = source.open(from).with_context(unreadable)?;
        if damaged.state == CopyState::Corrupt {
            // This run published it and found it damaged; what makes it count goes first.
            disown(store, &path)?;
            if let Removal::Held(hold) = store.rollback(&[&path])? {
                log::warn!("store `{}`: the damaged version of `{path}` stays: {hold}", store.name());
            }
        }
        let upload = store.begin(&path, self.part_size_bytes)?;
        pour(artifact, source.name(), upload, self.part_size_bytes, self.backup, self.interrupt)
    }
}

/// The copy that another one is made from can't be read: a third may do.
#[derive(Debug, thiserror::Error)]
#[error("from the copy in `{0}`")]
pub(super) struct Unreadable(String);

/// Writes an artifact into an upload, and makes sure that it was the one on record; not published yet.
///
/// # Errors
/// [`Unreadable`] where it is not the upload's problem but that of the copy in the store `from`.
pub(super) fn pour(
    artifact: Box<dyn Read + Send>,
    from: &str,
    mut upload: Box<dyn Upload>,
    part_size_bytes: u64,
    backup: &Backup,
    interrupt: &Interrupt,
) -> Result<Box<dyn Upload>> {
    let mut reader = Hashed::new(ReadAhead::start(artifact, interrupt.clone())?);
    let mut cutter = Cutter::new(part_size_bytes);
    loop {
        let mut block = vec![0u8; BLOCK_LEN];
        let read = crate::pipeline::seal::fill(&mut reader, &mut block);
        let got = read.with_context(|| Unreadable(from.to_owned()))?;
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
    let sum = reader.sum();
    if Some(sum.size_bytes) != backup.size_bytes || Some(&sum.sha256) != backup.checksum.as_ref() {
        let message = format!("it changed while it was read: its SHA-256 is {} now", sum.sha256);
        return Err(anyhow!(message).context(Unreadable(from.to_owned())));
    }
    Ok(upload)
}

/// A part goes to an upload as it is; this is all that the pipeline asks of a sink.
pub(super) struct UploadSink(pub(super) Box<dyn Upload>);

impl crate::pipeline::fanout::Sink for UploadSink {
    fn write(&mut self, part: Arc<Part>) -> Result<()> {
        self.0.write(part)
    }

    fn traffic(&self) -> Arc<Traffic> {
        self.0.traffic()
    }
}

/// A copy that there is none of.
pub(super) fn not_made(backup: &Backup, configured: &ConfiguredStore, error: &str) -> Copy {
    Copy {
        store: configured.name.clone(),
        path: configured.store.as_deref().map(|store| path_in(backup, store)).unwrap_or_default(),
        state: CopyState::Failed,
        size_bytes: None,
        etag: None,
        stored_at: None,
        verified_at: None,
        verified_level: None,
        expires_at: None,
        locked_until: None,
        error: Some(error.to_owned()),
    }
}

/// The path of a backup's copy in a store.
pub(super) fn path_in(backup: &Backup, store: &dyn Store) -> String {
    store.path_of(&name::object_key(&backup.source, &backup.database, &backup.id, &backup.filename))
}

/// Writes a check that was passed into the copy's record. A look from outside says nothing against what was
/// found when the copy was last read, so it takes no deeper check's place.
pub(super) fn mark_checked(copy: &mut Copy, level: CheckLevel) {
    let was_read = copy.verified_level.as_deref().is_some_and(|was| was != CheckLevel::Stat.as_str());
    if level > CheckLevel::Stat {
        copy.state = CopyState::Verified;
    } else if was_read {
        if copy.state == CopyState::Verified {
            // It was never found damaged: it could not be reached, and now it can.
            copy.error = None;
        }
        return;
    }
    copy.verified_at = Some(now());
    copy.verified_level = Some(level.as_str().to_owned());
    copy.error = None;
}

/// Takes the manifest away from a copy that was found damaged: what looks whole must be whole. One that a lock
/// holds is hidden, and goes with the copy.
fn disown(store: &dyn Store, path: &str) -> Result<()> {
    let manifest = name::manifest_path(path);
    match store.rollback(&[&manifest])? {
        Removal::Gone => Ok(()),
        Removal::Held(_) => store.hide(&manifest),
    }
}

/// From when on retention may let a copy of a backup go, where age alone decides.
pub(super) fn expiry(backup: &Backup, configured: &ConfiguredStore) -> Option<Timestamp> {
    backup.created_at.checked_add(SignedDuration::try_from(configured.keep.age_alone()?).ok()?).ok()
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
