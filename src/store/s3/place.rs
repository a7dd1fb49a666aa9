//! Where a request goes, and what its answer said beside its status: what an error is put into words by.

use std::time::Duration;

use super::xml::ErrorDocument;
use crate::interrupt::Interrupt;

/// Where the requests go, as far as a message may name it, and what ends those that hang.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    pub(super) host: String,
    pub(super) bucket: String,
    pub(super) stall: Duration,
    pub(super) request: Duration,
    pub(super) interrupt: Interrupt,
    /// Whether they clean up, and may take longer after an interrupt.
    pub(super) is_cleanup: bool,
}

/// What an answer says beside its status.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) document: ErrorDocument,
    pub(super) retry_after: Option<Duration>,
    /// How far the server's clock is ahead of this host's, in seconds.
    pub(super) clock_lead: Option<i64>,
    /// Whether it is a web page, which no S3 server gives.
    pub(super) is_page: bool,
}
