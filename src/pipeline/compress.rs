//! Compression: blocks packed on every core, each a gzip member (RFC 1952) of its own, so that any
//! gzip reader opens the whole and several cores can open the members. It knows no order of blocks and
//! no seal.

use anyhow::Result;
use libdeflater::crc32;

use self::effort::Effort;
use super::header::Packing;

mod effort;

/// Plain bytes packed at a time: large enough to cost nothing in size, small enough to keep every core
/// busy within bounded memory.
pub const BLOCK_LEN: usize = 1024 * 1024;

/// gzip's fixed header with an extra field, and that field: two id bytes, a length of 4, and the length
/// of the whole member as u32, little endian (as BGZF does it, but for larger members).
const MEMBER_HEAD_LEN: usize = 20;
const MEMBER_TAIL_LEN: usize = 8;

/// What the dump is packed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    /// The format.
    pub packing: Packing,
    /// A promise of size: never more than 1 % above `gzip -<level>`.
    pub level: u8,
    /// Cores to use, at least 1.
    pub threads: usize,
}

/// Packs one block after another; keeps its tables between blocks.
pub struct Packer {
    effort: Option<Effort>,
}

impl Packer {
    /// A packer for `compression`.
    ///
    /// # Errors
    /// When the level is none of 1 to 9.
    pub fn new(compression: Compression) -> Result<Self> {
        let effort = match compression.packing {
            Packing::None => None,
            Packing::Gzip => Some(Effort::new(compression.level)?),
        };
        Ok(Self { effort })
    }

    /// Packs one block of at most [`BLOCK_LEN`] bytes; what comes back can be joined to what came before.
    ///
    /// # Errors
    /// When the engine fails, which it does for no input.
    pub fn pack(&mut self, plain: &[u8]) -> Result<Vec<u8>> {
        let Some(effort) = self.effort.as_mut() else {
            return Ok(plain.to_vec());
        };
        let bound = effort.bound(plain.len())?;
        let mut member = vec![0u8; MEMBER_HEAD_LEN + bound + MEMBER_TAIL_LEN];
        let body = member.get_mut(MEMBER_HEAD_LEN..).unwrap_or_default();
        let packed = effort.deflate(plain, body)?;
        let length = MEMBER_HEAD_LEN + packed + MEMBER_TAIL_LEN;
        member.truncate(MEMBER_HEAD_LEN + packed);
        member.extend_from_slice(&crc32(plain).to_le_bytes());
        member.extend_from_slice(&u32::try_from(plain.len())?.to_le_bytes());
        let head = member_head(u32::try_from(length)?);
        member.splice(..MEMBER_HEAD_LEN, head);
        member.shrink_to_fit();
        Ok(member)
    }
}

/// RFC 1952, section 2.3: deflate, an extra field, no time, "slowest", no system; then the field.
const MEMBER_HEAD: [u8; 16] = [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 2, 255, 8, 0, b'P', b'K', 4, 0];

fn member_head(length: u32) -> impl Iterator<Item = u8> {
    MEMBER_HEAD.into_iter().chain(length.to_le_bytes())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation)]
    use super::*;
    use flate2::read::MultiGzDecoder;
    use proptest::prelude::*;
    use std::io::Read;

    proptest! {
        #[test]
        fn joined_members_read_back(blocks in proptest::collection::vec(
            proptest::collection::vec(any::<u8>(), 0..3000), 1..5), level in 1u8..=9) {
            let compression = Compression { packing: Packing::Gzip, level, threads: 1 };
            let mut packer = Packer::new(compression).unwrap();
            let mut joined = Vec::new();
            for block in &blocks {
                let member = packer.pack(block).unwrap();
                let told = u32::from_le_bytes(member[16..20].try_into().unwrap());
                prop_assert_eq!(told as usize, member.len());
                joined.extend(member);
            }
            let mut plain = Vec::new();
            MultiGzDecoder::new(joined.as_slice()).read_to_end(&mut plain).unwrap();
            prop_assert_eq!(plain, blocks.concat());
        }
    }
}
