//! What every backup of one call shares.

use std::rc::Rc;

use crate::command::configured_store::ConfiguredStore;
use crate::command::context::Context;
use crate::command::notify::pings::Run;
use crate::config::Method;
use crate::key::KeyRing;
use crate::pipeline::header::Packing;

/// What every backup of one call shares.
pub(super) struct RunRequest<'a> {
    pub(super) context: &'a Context,
    pub(super) ring: &'a KeyRing,
    pub(super) configured_stores: &'a [ConfiguredStore],
    /// The id of the call, on record with each of its backups.
    pub(super) run: String,
    /// What dead men's switches hear of.
    pub(super) life: Option<Rc<Run>>,
}

/// How the dump is compressed, as configured.
pub(super) fn packing(context: &Context) -> Packing {
    match context.config.compression.method {
        Method::Gzip => Packing::Gzip,
        Method::Zstd => Packing::Zstd,
        Method::None => Packing::None,
    }
}
