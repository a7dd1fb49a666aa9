//! A lock on an object in a store: S3 Object Lock, as the configuration asks for it and a store sends it. It
//! knows neither.

use serde::Deserialize;

/// How firmly a store holds what it locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LockMode {
    /// Until its time is over, but for who has the right to bypass it.
    Governance,
    /// Until its time is over, whoever asks.
    Compliance,
}

/// The lock that a store is asked to put on what it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectLock {
    /// How firm it is.
    pub mode: LockMode,
    /// For how long, from the time it is written.
    pub days: u32,
}
