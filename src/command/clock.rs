//! The clock of this host, as the commands read it.

use jiff::Timestamp;

/// The time now: the one place the commands take it from.
#[allow(clippy::disallowed_methods, reason = "the clock is read here and handed down")]
pub(super) fn now() -> Timestamp {
    let now = Timestamp::now();
    // Microseconds are what the catalog keeps; a record must read back as it was written.
    now.round(jiff::Unit::Microsecond).unwrap_or(now)
}
