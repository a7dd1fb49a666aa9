//! gzip, block by block: each a member (RFC 1952) of its own that says how long it is, so that any gzip
//! reader opens the whole and several cores can pack and open the members. It knows no order of blocks.

use anyhow::{Result, anyhow};
use bytes::Bytes;
use libdeflater::{Decompressor, crc32};

use super::effort::Effort;
use crate::pipeline::pool::{Block, Pool};

/// gzip's fixed header with an extra field, and that field: two id bytes, a length of 4, and the length
/// of the whole member as u32, little endian (as BGZF does it, but for larger members).
pub(in crate::pipeline) const MEMBER_HEAD_LEN: usize = 20;
const MEMBER_TAIL_LEN: usize = 8;

/// RFC 1952, section 2.3: deflate, an extra field, no time, "slowest", no system; then the field.
const MEMBER_HEAD: [u8; 16] = [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 2, 255, 8, 0, b'P', b'K', 4, 0];

/// No member that says it is larger, packed or not, is opened in one piece: ours hold 1 MiB at most.
const LARGEST_MEMBER: u32 = 2 * 1024 * 1024;

/// Packs one block after another; keeps its tables between blocks.
pub(super) struct Members {
    effort: Effort,
    pool: Pool,
}

impl Members {
    pub(super) fn new(level: u8) -> Result<Self> {
        Ok(Self { effort: Effort::new(level)?, pool: Pool::default() })
    }

    /// One more that packs blocks of the same stream.
    pub(super) fn another(&self) -> Self {
        Self { effort: self.effort.another(), pool: self.pool.clone() }
    }

    /// A member that holds `plain`.
    pub(super) fn pack(&mut self, plain: &[u8]) -> Result<Bytes> {
        let bound = self.effort.bound(plain.len())?;
        let mut member = self.pool.take(MEMBER_HEAD_LEN + bound + MEMBER_TAIL_LEN);
        let (head, body) = member.as_mut_slice().split_at_mut(MEMBER_HEAD_LEN);
        let packed = self.effort.deflate(plain, body)?;
        let length = MEMBER_HEAD_LEN + packed + MEMBER_TAIL_LEN;
        let told = MEMBER_HEAD.into_iter().chain(u32::try_from(length)?.to_le_bytes());
        head.iter_mut().zip(told).for_each(|(byte, told)| *byte = told);
        let sums = [crc32(plain).to_le_bytes(), u32::try_from(plain.len())?.to_le_bytes()];
        let tail = body.get_mut(packed..).unwrap_or_default();
        tail.iter_mut().zip(sums.as_flattened()).for_each(|(byte, sum)| *byte = *sum);
        member.truncate(length);
        Ok(member.freeze())
    }
}

/// How many bytes follow the head of a member that says how long it is; `None` for any other member, and
/// for one that is too large to be opened in one piece.
pub(in crate::pipeline) fn length_after(head: &[u8]) -> Option<usize> {
    let told = head.strip_prefix(&MEMBER_HEAD)?;
    let length = u32::from_le_bytes(told.try_into().ok()?);
    let rest = usize::try_from(length).ok()?.checked_sub(MEMBER_HEAD_LEN)?;
    (rest >= MEMBER_TAIL_LEN && length <= LARGEST_MEMBER).then_some(rest)
}

/// Opens members that say how long they are; keeps its tables between them.
pub(in crate::pipeline) struct MemberOpener {
    engine: Decompressor,
    pool: Pool,
}

impl MemberOpener {
    /// Takes the blocks for what it opens from `pool`.
    pub(in crate::pipeline) fn new(pool: Pool) -> Self {
        Self { engine: Decompressor::new(), pool }
    }

    /// What a member holds, given all of it that follows its head.
    ///
    /// # Errors
    /// When it is not what its packer made.
    pub(in crate::pipeline) fn open(&mut self, rest: &[u8]) -> Result<Block> {
        let (body, tail) = rest
            .split_last_chunk::<MEMBER_TAIL_LEN>()
            .ok_or_else(|| anyhow!("a gzip member ends within its last 8 bytes"))?;
        let [c0, c1, c2, c3, l0, l1, l2, l3] = *tail;
        let (sum, length) = (u32::from_le_bytes([c0, c1, c2, c3]), u32::from_le_bytes([l0, l1, l2, l3]));
        if length > LARGEST_MEMBER {
            return Err(anyhow!("a gzip member says that it holds {length} bytes"));
        }
        let mut block = self.pool.take(usize::try_from(length)?);
        let plain = block.as_mut_slice();
        let unpacked = self.engine.deflate_decompress(body, plain);
        if unpacked.ok() != Some(plain.len()) || crc32(plain) != sum {
            return Err(anyhow!("a gzip member is damaged"));
        }
        Ok(block)
    }
}
