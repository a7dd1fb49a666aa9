//! Compression: blocks packed on every core, what comes of them joined in their order. It knows no order
//! of blocks and no seal.

use anyhow::Result;
use bytes::Bytes;

use self::gzip::Members;
use self::zstandard::Frame;
use super::header::Packing;

mod effort;
pub(super) mod gzip;
mod zstandard;

/// Plain bytes packed at a time: large enough to cost nothing in size, small enough to keep every core
/// busy within bounded memory.
pub const BLOCK_LEN: usize = 1024 * 1024;

/// What the dump is packed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    /// The format.
    pub packing: Packing,
    /// For gzip a promise of size, never more than 1 % above `gzip -<level>`; for zstd its own level.
    pub level: u8,
    /// Cores to use, at least 1.
    pub threads: usize,
}

/// Packs one block after another.
pub struct Packer(Engine);

enum Engine {
    Gzip(Members),
    Zstd(Frame),
    None,
}

impl Packer {
    /// The packers of one stream, at least one: each may pack any of its blocks, on a thread of its own.
    ///
    /// # Errors
    /// When the level is none of gzip's.
    pub fn team(compression: Compression) -> Result<Vec<Self>> {
        let Compression { packing, level, threads } = compression;
        let threads = threads.max(1);
        let engines: Vec<Engine> = match packing {
            Packing::Gzip => {
                let first = Members::new(level)?;
                let mut all: Vec<Members> = (1..threads).map(|_| first.another()).collect();
                all.push(first);
                all.into_iter().map(Engine::Gzip).collect()
            }
            // A frame has threads of its own; what is not packed at all needs none.
            Packing::Zstd => vec![Engine::Zstd(Frame::new(level, threads)?)],
            Packing::None => vec![Engine::None],
        };
        Ok(engines.into_iter().map(Self).collect())
    }

    /// Packs one block of at most [`BLOCK_LEN`] bytes; what comes back is joined to what came before.
    ///
    /// # Errors
    /// When the engine fails, which it does for no input.
    pub fn pack(&mut self, plain: Bytes) -> Result<Bytes> {
        match &mut self.0 {
            Engine::Gzip(members) => members.pack(&plain),
            Engine::Zstd(frame) => frame.pack(&plain),
            Engine::None => Ok(plain),
        }
    }

    /// What is still to come after the last block. Only one packer of a stream may be asked.
    ///
    /// # Errors
    /// When the engine fails.
    pub fn finish(&mut self) -> Result<Bytes> {
        match &mut self.0 {
            Engine::Zstd(frame) => frame.finish(),
            Engine::Gzip(_) | Engine::None => Ok(Bytes::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation)]
    use super::*;
    use crate::pipeline::pool::Pool;
    use flate2::read::MultiGzDecoder;
    use proptest::prelude::*;
    use std::io::Read;

    fn packed(packing: Packing, level: u8, blocks: &[Vec<u8>]) -> Vec<Bytes> {
        let mut packer = Packer::team(Compression { packing, level, threads: 2 }).unwrap().remove(0);
        let mut all: Vec<Bytes> =
            blocks.iter().map(|block| packer.pack(block.clone().into()).unwrap()).collect();
        all.push(packer.finish().unwrap());
        all
    }

    proptest! {
        #[test]
        fn joined_members_read_back(blocks in proptest::collection::vec(
            proptest::collection::vec(any::<u8>(), 0..3000), 1..5), level in 1u8..=9) {
            let members = packed(Packing::Gzip, level, &blocks);
            let mut opener = gzip::MemberOpener::new(Pool::default());
            for (member, block) in members.iter().zip(&blocks) {
                let (head, rest) = member.split_at(gzip::MEMBER_HEAD_LEN);
                prop_assert_eq!(gzip::length_after(head), Some(rest.len()));
                let opened = opener.open(rest).unwrap();
                prop_assert_eq!(opened.as_ref(), block.as_slice());
            }
            let mut plain = Vec::new();
            MultiGzDecoder::new(members.concat().as_slice()).read_to_end(&mut plain).unwrap();
            prop_assert_eq!(plain, blocks.concat());
        }

        #[test]
        fn a_frame_reads_back(blocks in proptest::collection::vec(
            proptest::collection::vec(any::<u8>(), 0..3000), 0..5), level in 1u8..=9) {
            let frame = packed(Packing::Zstd, level, &blocks).concat();
            prop_assert_eq!(zstd::decode_all(frame.as_slice()).unwrap(), blocks.concat());
        }

        #[test]
        fn a_member_that_was_changed_or_made_up_never_opens(
            at in 20usize..400, bit in 0u8..8, made_up in proptest::collection::vec(any::<u8>(), 0..100)) {
            let block: Vec<u8> = (0..2000u32).flat_map(u32::to_le_bytes).collect();
            let mut member = packed(Packing::Gzip, 9, std::slice::from_ref(&block))[0].to_vec();
            let at = at.min(member.len() - 1);
            member[at] ^= 1 << bit;
            let mut opener = gzip::MemberOpener::new(Pool::default());
            let opened = opener.open(&member[gzip::MEMBER_HEAD_LEN..]);
            // A bit that pads the last byte of the deflate stream means nothing.
            prop_assert!(opened.is_err() || opened.unwrap().as_ref() == block);
            prop_assert!(opener.open(&made_up).is_err());
        }
    }

    #[test]
    fn a_member_that_says_it_is_huge_is_not_taken_at_its_word() {
        let member = packed(Packing::Gzip, 9, &[vec![0; 10]])[0].to_vec();
        let mut head = member[..gzip::MEMBER_HEAD_LEN].to_vec();
        assert!(gzip::length_after(&head[..19]).is_none());
        head[16..].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(gzip::length_after(&head).is_none());
        head[16..].copy_from_slice(&27u32.to_le_bytes());
        assert!(gzip::length_after(&head).is_none());
        let mut rest = member[gzip::MEMBER_HEAD_LEN..].to_vec();
        let end = rest.len();
        rest[end - 4..].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(
            gzip::MemberOpener::new(Pool::default())
                .open(&rest)
                .err()
                .unwrap()
                .to_string()
                .contains("says that it holds")
        );
    }
}
