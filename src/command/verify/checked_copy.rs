//! What is said of one copy that was checked, and where a copy is. It checks nothing.

use super::super::configured_store::ConfiguredStore;
use super::super::copy_check::{CheckFailure, Verdict};
use crate::backup::Copy;
use crate::exit::Code;
use crate::store::Store;

/// What looking at a copy came to; `None` where it was not looked at.
pub(super) type Found = Option<Result<(), CheckFailure>>;

/// What is said of one copy.
pub(super) struct CheckedCopy {
    /// `None`: it was not to be looked at.
    pub(super) verdict: Option<Verdict>,
    pub(super) offset_bytes: Option<u64>,
    pub(super) message: String,
    /// Whether it was damaged and is whole again.
    pub(super) repaired: bool,
    /// Whether there was never one to lose.
    pub(super) was_never_made: bool,
}

impl CheckedCopy {
    pub(super) fn none() -> Self {
        let message = String::new();
        Self { verdict: None, offset_bytes: None, message, repaired: false, was_never_made: false }
    }

    pub(super) fn ok() -> Self {
        Self { verdict: Some(Verdict::Ok), ..Self::none() }
    }

    pub(super) fn of_fault(fault: &CheckFailure) -> Self {
        let message = fault.message.clone();
        Self { verdict: Some(fault.verdict), offset_bytes: fault.offset_bytes, message, ..Self::none() }
    }

    /// The exit code that it means.
    pub(super) fn code(&self) -> Code {
        match self.verdict {
            None | Some(Verdict::Ok) => Code::Done,
            Some(Verdict::Unknown) => Code::Degraded,
            Some(_) if self.was_never_made => Code::Degraded,
            Some(_) => Code::Verification,
        }
    }

    /// The line for it.
    pub(super) fn word(&self) -> Option<String> {
        let message = &self.message;
        Some(match self.verdict? {
            Verdict::Ok if self.repaired => format!("repaired: {message}"),
            Verdict::Ok => "ok".to_owned(),
            _ if self.was_never_made => format!("no copy: {message}"),
            Verdict::Missing => format!("missing: {message}"),
            Verdict::Size | Verdict::Checksum | Verdict::Sealed => format!("corrupt: {message}"),
            Verdict::Content => format!("does not open: {message}"),
            Verdict::Restore => format!("does not restore: {message}"),
            Verdict::Unknown => format!("not verified: {message}"),
        })
    }
}

/// The finding of a copy that was damaged, and that is whole again.
pub(super) fn mended(message: String) -> CheckedCopy {
    CheckedCopy { message, repaired: true, ..CheckedCopy::ok() }
}

/// The store that a copy is in.
pub(super) fn store_of<'a>(
    copy: &Copy,
    configured_stores: &'a [ConfiguredStore],
) -> Result<&'a dyn Store, String> {
    let configured = configured_stores
        .iter()
        .find(|configured| configured.name == copy.store)
        .ok_or_else(|| "the configuration has no such store".to_owned())?;
    configured.store.as_deref().map_err(Clone::clone)
}
