//! Which times are too far ahead of this host's clock to be believed.

use jiff::{SignedDuration, Timestamp};

/// A backup that begins later than this from now counts for nothing: one of two clocks is wrong.
const FUTURE: SignedDuration = SignedDuration::from_hours(25);

/// Whether that is too far ahead to be believed.
pub(super) fn is_future(at: Timestamp, now: Timestamp) -> bool {
    at.duration_since(now) > FUTURE
}
