//! What may be left over in a store, and when it is old enough to be. It asks nobody.

use jiff::{SignedDuration, Timestamp};

use crate::store::{Handle, Stale};

/// No run takes longer between two signs of life of an upload.
const OLD_UPLOAD: SignedDuration = SignedDuration::from_hours(24);
/// A manifest comes moments after its artifact.
const OLD_ARTIFACT: SignedDuration = SignedDuration::from_hours(48);

/// Something that is left over.
pub(super) struct Leftover<'a> {
    pub(super) path: &'a str,
    pub(super) what: &'a str,
    /// What removes it, where it is no object of its own.
    pub(super) stale: Option<&'a Stale>,
}

impl Leftover<'_> {
    /// Whether it stands where an artifact does.
    pub(super) fn is_artifact(&self) -> bool {
        self.stale.is_none_or(is_artifact)
    }
}

/// An artifact without a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bare {
    pub(super) path: String,
    pub(super) written_at: Option<Timestamp>,
}

/// Whether what was not published is older than anything that a run may still be at work on.
pub(super) fn is_old(stale: &Stale, now: Timestamp) -> bool {
    let age = if is_artifact(stale) { OLD_ARTIFACT } else { OLD_UPLOAD };
    is_older(stale.begun_at, now, age)
}

/// The same of an artifact without a manifest.
pub(super) fn is_old_artifact(written_at: Option<Timestamp>, now: Timestamp) -> bool {
    is_older(written_at, now, OLD_ARTIFACT)
}

fn is_older(at: Option<Timestamp>, now: Timestamp, age: SignedDuration) -> bool {
    at.is_some_and(|at| now.duration_since(at) > age)
}

/// Whether what a dead upload left is an artifact, in its place.
fn is_artifact(stale: &Stale) -> bool {
    matches!(&stale.handle, Handle::Object(key) if *key == stale.path)
}
