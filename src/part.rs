//! A run of bytes of an artifact, as it goes from the pipeline to every store, and what watches it go. It
//! knows neither.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

/// One part of an artifact, shared by every store that takes it. All parts of one artifact but the last
/// have the same size (R2 refuses anything else).
#[derive(Clone, Debug)]
pub struct Part {
    /// Counts from 1, as in the S3 API.
    pub number: u32,
    /// The bytes, in order.
    pub blocks: Vec<Bytes>,
    /// The sum of the blocks' lengths.
    pub size_bytes: u64,
    /// MD5 of the bytes, computed once for all stores (the Content-MD5 of an upload).
    pub md5: [u8; 16],
}

/// What an upload moves, and whether it still should: its link with whoever watches it.
#[derive(Debug, Default)]
pub struct Traffic {
    moved_bytes: AtomicU64,
    is_cancelled: AtomicBool,
    problem: Mutex<Option<String>>,
}

impl Traffic {
    /// Counts bytes that are on their way; those sent again count again.
    pub fn add(&self, bytes: u64) {
        self.moved_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes on their way so far: what tells a slow upload from one that stalls.
    #[must_use]
    pub fn moved_bytes(&self) -> u64 {
        self.moved_bytes.load(Ordering::Relaxed)
    }

    /// Notes what it ran into last, and may yet overcome.
    pub fn note(&self, problem: &impl std::fmt::Display) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = Some(problem.to_string());
    }

    /// It has got over that.
    pub fn forget_problem(&self) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// What it ran into last.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Nobody waits for the upload any more: what is on its way ends as soon as it can.
    pub fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::SeqCst);
    }

    /// Whether nobody waits for it.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::SeqCst)
    }
}
