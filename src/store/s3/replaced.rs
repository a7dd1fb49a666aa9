//! What is replaced by an object put in its place. Where a bucket keeps versions (B2 always does), what is written over
//! stays as an old version: it is deleted by its id, for a delete without one only hides. It must not know
//! why an object is replaced.

use std::sync::Arc;

use s3::command::Command;

use super::answer::version_of;
use super::client::Extras;
use super::error::S3Error;
use super::{Shared, is_absent};
use crate::store::Hold;

/// What is replaced, but for segments.
pub(super) const DAMAGED: &str = "damaged version";
const LOOK: &str = "look at object";
const REMOVAL: &str = "removal of the replaced version";

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

    /// Deletes it, once what takes its place is whole; `what` is what it was. That it stays is a warning.
    ///
    /// # Errors
    /// When the new object went with it.
    pub(super) fn clear(self, what: &str) -> Result<(), S3Error> {
        let Some(version) = self.version.as_deref() else { return Ok(()) };
        let Self { shared, path, .. } = &self;
        match delete_hidden(shared, path, version) {
            Ok(Removal::NothingHidden) => return Ok(()),
            Ok(Removal::Asked) => {}
            Ok(Removal::Held(hold)) => {
                log::warn!("the {what} `{version}` of `{path}` stays, hidden: {hold}");
                return Ok(());
            }
            Err(error) => {
                log::warn!("the {what} `{version}` of `{path}` stays, hidden: {error}");
            }
        }
        // A server that does not mean what it says of versions must not go unnoticed.
        match shared.stat(LOOK, path) {
            Ok(None) => Err(S3Error::refused(REMOVAL, "the server removed the new object with it")),
            Ok(Some(_)) | Err(_) => Ok(()),
        }
    }
}

enum Removal {
    Asked,
    NothingHidden,
    Held(Hold),
}

/// Deletes a version that another one hides.
///
/// R2 gives ids of versions, keeps none, and might take a delete of a version for one of the object: only what
/// the server shows by its id is a version to delete. A bucket that keeps no versions any more writes over
/// the one called `null`.
fn delete_hidden(shared: &Shared, path: &str, version: &str) -> Result<Removal, S3Error> {
    if version_at(shared, path)?.is_none_or(|now| now == version) {
        return Ok(Removal::NothingHidden);
    }
    match shared.look(LOOK, path, Some(version)) {
        Ok(Some(look)) if look.version.as_deref() == Some(version) => {
            if let Some(hold) = look.hold {
                return Ok(Removal::Held(hold));
            }
        }
        Ok(_) => return Ok(Removal::NothingHidden),
        // It is gone, or the server knows no versions.
        Err(error) if matches!(error.status, Some(400 | 501)) => return Ok(Removal::NothingHidden),
        Err(error) => return Err(error),
    }
    match shared.policy.run(|| shared.client.send_version(REMOVAL, "DELETE", path, version)) {
        Err(error) if !is_absent(&error) => Err(error),
        Ok(_) | Err(_) => Ok(Removal::Asked),
    }
}

fn version_at(shared: &Shared, path: &str) -> Result<Option<String>, S3Error> {
    let head = || shared.client.send(LOOK, path, Command::HeadObject, Extras::default());
    match shared.policy.run(head) {
        Ok(answer) => Ok(version_of(&answer)),
        Err(error) if error.status == Some(404) => Ok(None),
        Err(error) => Err(error),
    }
}
