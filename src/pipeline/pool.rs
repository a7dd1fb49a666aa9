//! Blocks of memory that are used again. A stream that made each of its blocks anew, on one thread, and
//! freed it on another, would leave the allocator with many times the memory that is in use. It knows
//! nothing of what is in a block.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// A place where blocks wait to be used again. Clones are the same place. It holds as many as were ever
/// in use at once, which the queues of the stream bound.
#[derive(Clone, Default)]
pub(super) struct Pool {
    free: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// A block of a pool: goes back to it when dropped, or when the last of the [`Bytes`] it became is.
pub(super) struct Block {
    bytes: Vec<u8>,
    pool: Pool,
}

impl Pool {
    /// A block of that length. What is in it is of no account: it may have been used before.
    pub(super) fn take(&self, length: usize) -> Block {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut bytes = free.unwrap_or_default();
        bytes.resize(length, 0);
        Block { bytes, pool: self.clone() }
    }
}

impl Block {
    /// All of it, to be written to.
    pub(super) fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Cuts it to `length`, where it is longer.
    pub(super) fn truncate(&mut self, length: usize) {
        self.bytes.truncate(length);
    }

    /// Shares it without a copy.
    pub(super) fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let bytes = mem::take(&mut self.bytes);
        self.pool.free.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_block_is_used_again_once_nobody_has_a_piece_of_it() {
        let pool = Pool::default();
        let mut block = pool.take(100);
        block.as_mut_slice().fill(7);
        block.truncate(10);
        let mut shared = block.freeze();
        let piece = shared.split_to(4);
        drop(shared);
        assert!(pool.free.lock().unwrap().is_empty());
        assert_eq!(piece, [7; 4].as_slice());
        drop(piece);
        assert_eq!(pool.free.lock().unwrap().len(), 1);
        let again = pool.take(50);
        assert_eq!(again.as_ref().len(), 50);
        assert!(pool.free.lock().unwrap().is_empty());
    }
}
