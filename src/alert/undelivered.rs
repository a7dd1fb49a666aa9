//! What every channel shares: why a message was not delivered, and how secrets are fetched.

use anyhow::Result;
use zeroize::Zeroizing;

use crate::config::value::Secret;

/// Why a message was not delivered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Undelivered {
    /// In words, without any secret.
    pub message: String,
    /// Whether the receiver was reached and wants none of this one message: another try at once is of no use.
    pub is_refusal: bool,
}

impl Undelivered {
    /// The channel does not work now.
    pub(super) fn broken(message: impl Into<String>) -> Self {
        Self { message: message.into(), is_refusal: false }
    }
}

/// What gives the value of a secret, or says why there is none.
pub(super) type Fetch<'a> = &'a dyn Fn(&Secret) -> Result<Zeroizing<String>>;
