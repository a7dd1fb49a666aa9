//! Objects that go for good. It must not know why they go.

use super::Shared;
use super::error::S3Error;
use crate::store::Removal;

/// Removes an object, whatever the bucket keeps of it.
pub(super) fn expire(shared: &Shared, path: &str) -> Result<Removal, S3Error> {
    shared.remove(path)?;
    Ok(Removal::Gone)
}
