//! Objects put in the place of others. Where a bucket keeps versions (B2 always does), what is written over
//! stays as an old version: it is deleted by its id, for a delete without one only hides. It must not know
//! why an object is replaced.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use anyhow::Result;
use s3::command::Command;

use super::client::{Extras, version_of};
use super::error::S3Error;
use super::grow::{Limits, S3Upload};
use super::{Shared, is_absent};
use crate::store::{Part, Stored, Upload};

/// What stood at a path before it was written over.
pub(super) struct Replaced {
    shared: Arc<Shared>,
    path: String,
    /// `None`: nothing, or a bucket without versions.
    version: Option<String>,
}

impl Replaced {
    pub(super) fn look(shared: &Arc<Shared>, path: &str) -> Result<Self, S3Error> {
        let version = version_at(shared, path)?;
        Ok(Self { shared: Arc::clone(shared), path: path.to_owned(), version })
    }

    /// Deletes it, once what takes its place is whole.
    pub(super) fn clear(self) {
        let Some(version) = self.version.as_deref() else { return };
        let Self { shared, path, .. } = &self;
        let operation = "removal of the replaced version";
        let cleared = version_at(shared, path).and_then(|now| {
            // A bucket that keeps no versions any more writes over the version called `null`.
            if now.as_deref() == Some(version) {
                return Ok(());
            }
            shared.policy.run(|| shared.client.delete_version(operation, path, version))
        });
        match cleared {
            Err(error) if !is_absent(&error) => {
                log::warn!("the damaged version `{version}` of `{path}` stays, hidden: {error}");
            }
            Ok(()) | Err(_) => {}
        }
    }
}

fn version_at(shared: &Shared, path: &str) -> Result<Option<String>, S3Error> {
    let head = || shared.client.send("look at object", path, Command::HeadObject, Extras::default());
    match shared.policy.run(head) {
        Ok(answer) => Ok(version_of(&answer)),
        Err(error) if error.status == Some(404) => Ok(None),
        Err(error) => Err(error),
    }
}

/// An upload that takes the place of an object.
pub(super) struct Replacement {
    upload: Box<S3Upload>,
    replaced: Replaced,
}

impl Replacement {
    pub(super) fn begin(shared: Arc<Shared>, path: &str, limits: Limits) -> Result<Self> {
        let replaced = Replaced::look(&shared, path)?;
        Ok(Self { upload: Box::new(S3Upload::begin(shared, path, limits)?), replaced })
    }
}

impl Upload for Replacement {
    fn write(&mut self, part: Arc<Part>) -> Result<()> {
        self.upload.write(part)
    }

    fn moved_bytes(&self) -> Arc<AtomicU64> {
        self.upload.moved_bytes()
    }

    fn publish(self: Box<Self>) -> Result<Stored> {
        let stored = self.upload.publish()?;
        self.replaced.clear();
        Ok(stored)
    }

    fn abort(self: Box<Self>) -> Result<()> {
        self.upload.abort()
    }
}
