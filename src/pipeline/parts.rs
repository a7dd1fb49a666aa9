//! Cuts the sealed stream into parts of equal size without copying it. It knows no store.

use std::sync::Arc;

use bytes::Bytes;
use md5::{Digest, Md5};

use crate::part::Part;

/// Collects blocks into parts; the last one may be shorter, none is empty.
pub struct Cutter {
    part_size_bytes: u64,
    number: u32,
    blocks: Vec<Bytes>,
    size_bytes: u64,
    md5: Md5,
}

impl Cutter {
    /// A cutter of parts of that size, at least 1.
    #[must_use]
    pub fn new(part_size_bytes: u64) -> Self {
        Self {
            part_size_bytes: part_size_bytes.max(1),
            number: 0,
            blocks: Vec::new(),
            size_bytes: 0,
            md5: Md5::new(),
        }
    }

    /// Takes a block; gives back the parts that it completed.
    pub fn push(&mut self, mut block: Bytes) -> Vec<Arc<Part>> {
        let mut full = Vec::new();
        while !block.is_empty() {
            let room = self.part_size_bytes - self.size_bytes;
            let take = usize::try_from(room).unwrap_or(usize::MAX).min(block.len());
            let now = block.split_to(take);
            self.md5.update(&now);
            self.size_bytes += now.len() as u64;
            self.blocks.push(now);
            if self.size_bytes == self.part_size_bytes {
                full.extend(self.take());
            }
        }
        full
    }

    /// What is left at the end, if anything.
    #[must_use]
    pub fn finish(mut self) -> Option<Arc<Part>> {
        self.take()
    }

    fn take(&mut self) -> Option<Arc<Part>> {
        if self.size_bytes == 0 {
            return None;
        }
        self.number += 1;
        let md5 = std::mem::replace(&mut self.md5, Md5::new()).finalize();
        let part = Part {
            number: self.number,
            blocks: std::mem::take(&mut self.blocks),
            size_bytes: std::mem::take(&mut self.size_bytes),
            md5: md5.into(),
        };
        Some(Arc::new(part))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn all_parts_but_the_last_are_equal_and_nothing_is_lost(
            sizes in proptest::collection::vec(0usize..50, 0..40), part in 1u64..64) {
            let mut cutter = Cutter::new(part);
            let mut parts = Vec::new();
            let mut all = Vec::new();
            for (i, size) in sizes.iter().enumerate() {
                let block: Vec<u8> = (0..*size).map(|b| (b * 7 + i) as u8).collect();
                all.extend_from_slice(&block);
                parts.extend(cutter.push(Bytes::from(block)));
            }
            parts.extend(cutter.finish());
            let mut joined = Vec::new();
            for (i, piece) in parts.iter().enumerate() {
                let bytes = piece.blocks.concat();
                prop_assert_eq!(piece.number as usize, i + 1);
                prop_assert_eq!(bytes.len() as u64, piece.size_bytes);
                prop_assert_eq!(<[u8; 16]>::from(Md5::digest(&bytes)), piece.md5);
                if i + 1 < parts.len() {
                    prop_assert_eq!(piece.size_bytes, part);
                } else {
                    prop_assert!(piece.size_bytes > 0 && piece.size_bytes <= part);
                }
                joined.extend(bytes);
            }
            prop_assert_eq!(joined, all);
        }
    }
}
