//! A store of the configuration, as it came up. It opens none.

use std::sync::Arc;

use crate::config::keep::Keep;
use crate::store::Store;

/// A store of the configuration, as it came up.
pub(super) struct ConfiguredStore {
    pub(super) name: String,
    pub(super) keep: Keep,
    /// The store, or why it can't be used at all (its secret can't be fetched, say).
    pub(super) store: Result<Arc<dyn Store>, String>,
}
