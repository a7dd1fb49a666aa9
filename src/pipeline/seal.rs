//! Sealing and opening: libsodium's `crypto_secretstream_xchacha20poly1305` over chunks of 64 KiB
//! (<https://doc.libsodium.org/secret-key_cryptography/secretstream>), by orion. It knows no
//! compression and no store.

use std::io::{self, Read};

use anyhow::Result;
use bytes::Bytes;
use orion::hazardous::aead::streaming::{ABYTES, StreamTag, StreamXChaCha20Poly1305};

use super::damage::Damage;
use super::header::{CHUNK_LEN, Secrets};
use super::pool::{Block, Pool};

/// Sealed bytes leave in blocks of about this size, each allocated once and shared from then on.
const BLOCK_LEN: usize = 1024 * 1024;

/// Seals what is written to it and hands the sealed bytes on, block by block. Only [`Sealer::finish`]
/// writes the FINAL chunk: a stream that was dropped before it never opens to its end.
pub struct Sealer<F: FnMut(Bytes) -> Result<()>> {
    cipher: StreamXChaCha20Poly1305,
    first_data: Option<Vec<u8>>,
    chunk: Vec<u8>,
    pool: Pool,
    block: Block,
    filled: usize,
    sink: F,
}

impl<F: FnMut(Bytes) -> Result<()>> Sealer<F> {
    /// Starts an artifact with its header; `sink` takes the sealed blocks.
    pub fn new(secrets: Secrets, sink: F) -> Self {
        let pool = Pool::default();
        let mut block = pool.take(BLOCK_LEN);
        let filled = secrets.header.len();
        block.as_mut_slice().iter_mut().zip(&secrets.header).for_each(|(byte, header)| *byte = *header);
        Self {
            cipher: StreamXChaCha20Poly1305::new(&secrets.data_key, &secrets.nonce),
            first_data: Some(secrets.header),
            chunk: Vec::with_capacity(CHUNK_LEN),
            pool,
            block,
            filled,
            sink,
        }
    }

    /// Takes plain bytes.
    ///
    /// # Errors
    /// When the sink fails.
    pub fn write(&mut self, mut plain: &[u8]) -> Result<()> {
        while !plain.is_empty() {
            let room = (CHUNK_LEN - self.chunk.len()).min(plain.len());
            let (now, later) = plain.split_at(room);
            plain = later;
            if self.chunk.is_empty() && now.len() == CHUNK_LEN {
                self.seal(now, StreamTag::Message)?;
                continue;
            }
            self.chunk.extend_from_slice(now);
            if self.chunk.len() == CHUNK_LEN {
                let chunk = std::mem::take(&mut self.chunk);
                self.seal(&chunk, StreamTag::Message)?;
                self.chunk = chunk;
                self.chunk.clear();
            }
        }
        Ok(())
    }

    /// Seals the last chunk, shorter than the others or empty, with the FINAL tag.
    ///
    /// # Errors
    /// When the sink fails.
    pub fn finish(mut self) -> Result<()> {
        let chunk = std::mem::take(&mut self.chunk);
        self.seal(&chunk, StreamTag::Finish)?;
        if self.filled > 0 {
            self.block.truncate(self.filled);
            (self.sink)(self.block.freeze())?;
        }
        Ok(())
    }

    fn seal(&mut self, plain: &[u8], tag: StreamTag) -> Result<()> {
        let end = self.filled + plain.len() + ABYTES;
        let data = self.first_data.take();
        let target = self.block.as_mut_slice().get_mut(self.filled..end).unwrap_or_default();
        self.cipher
            .seal_chunk(plain, data.as_deref(), target, &tag)
            .map_err(|_| anyhow::anyhow!("a chunk could not be sealed"))?;
        self.filled = end;
        if end + CHUNK_LEN + ABYTES > BLOCK_LEN {
            let mut full = std::mem::replace(&mut self.block, self.pool.take(BLOCK_LEN));
            full.truncate(end);
            self.filled = 0;
            (self.sink)(full.freeze())?;
        }
        Ok(())
    }
}

/// Opens an artifact: reads the plain bytes that a [`Sealer`] took. Its end of file means that the
/// FINAL chunk opened and nothing followed it; everything else is an error with its offset.
pub struct Opener<R: Read> {
    source: R,
    cipher: StreamXChaCha20Poly1305,
    first_data: Option<Vec<u8>>,
    sealed: Vec<u8>,
    plain: Vec<u8>,
    read_to: usize,
    offset_bytes: u64,
    ended: bool,
}

impl<R: Read> Opener<R> {
    /// Opens what follows a header that was read from `source`.
    pub fn new(secrets: Secrets, source: R) -> Self {
        Self {
            source,
            cipher: StreamXChaCha20Poly1305::new(&secrets.data_key, &secrets.nonce),
            offset_bytes: secrets.header.len() as u64,
            first_data: Some(secrets.header),
            sealed: vec![0; CHUNK_LEN + ABYTES],
            plain: Vec::with_capacity(CHUNK_LEN),
            read_to: 0,
            ended: false,
        }
    }

    /// The source, as far as it has been read.
    pub fn into_source(self) -> R {
        self.source
    }

    fn next_chunk(&mut self) -> io::Result<()> {
        let got = fill(&mut self.source, &mut self.sealed)?;
        let at = self.offset_bytes;
        let sealed = self.sealed.get(..got).unwrap_or_default();
        if got < ABYTES {
            let message = format!("the artifact is cut off: no FINAL chunk at offset {at}");
            return Err(Damage::at(at, message).into_io());
        }
        self.plain.resize(got - ABYTES, 0);
        let data = self.first_data.take();
        let tag = self.cipher.open_chunk(sealed, data.as_deref(), &mut self.plain).map_err(|_| {
            let message = format!("the chunk at offset {at} does not open: changed, cut off or out of order");
            Damage::at(at, message).into_io()
        })?;
        self.offset_bytes += got as u64;
        self.read_to = 0;
        match tag {
            StreamTag::Finish => self.expect_end(),
            StreamTag::Message if got == self.sealed.len() => Ok(()),
            _ => {
                let message = format!("the chunk at offset {at} is none that pgkeep writes");
                Err(Damage::at(at, message).into_io())
            }
        }
    }

    fn expect_end(&mut self) -> io::Result<()> {
        let mut more = [0u8; 1];
        if fill(&mut self.source, &mut more)? != 0 {
            let at = self.offset_bytes;
            return Err(Damage::at(at, format!("bytes follow the FINAL chunk (offset {at})")).into_io());
        }
        self.ended = true;
        Ok(())
    }
}

impl<R: Read> Read for Opener<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.read_to == self.plain.len() {
            if self.ended {
                return Ok(0);
            }
            self.next_chunk()?;
        }
        let rest = self.plain.get(self.read_to..).unwrap_or_default();
        let count = (&mut &*rest).read(buffer)?;
        self.read_to += count;
        Ok(count)
    }
}

/// Fills `buffer` as far as the source goes; less than all of it only at the source's end.
pub(crate) fn fill(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match source.read(rest) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation)]
    use super::*;
    use crate::key::{Key, KeyRing};
    use crate::name::BackupId;
    use crate::pipeline::header::{self, Packing};
    use proptest::prelude::*;

    fn ring() -> KeyRing {
        let line = format!("PGKEEP-KEY-1-{}", "A".repeat(43));
        KeyRing::of(Key::parse(&line).unwrap())
    }

    fn seal(plain: &[u8], piece: usize) -> Vec<u8> {
        let id = BackupId::parse("full-shop-20261122T020000Z-3f9a").unwrap();
        let secrets = header::create(&id, Packing::None, ring().sealing()).unwrap();
        let mut sealed = Vec::new();
        let mut sealer = Sealer::new(secrets, |block: Bytes| {
            sealed.extend_from_slice(&block);
            Ok(())
        });
        for run in plain.chunks(piece) {
            sealer.write(run).unwrap();
        }
        sealer.finish().unwrap();
        sealed
    }

    fn open(mut sealed: &[u8]) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        let secrets = header::read(&mut sealed, &ring()).map_err(io::Error::other)?;
        Opener::new(secrets, sealed).read_to_end(&mut plain)?;
        Ok(plain)
    }

    #[test]
    fn sizes_around_a_chunk_read_back() {
        for size in [0, 1, CHUNK_LEN - 1, CHUNK_LEN, CHUNK_LEN + 1, 3 * CHUNK_LEN, BLOCK_LEN + 7] {
            let plain: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
            let sealed = seal(&plain, 10_000);
            assert_eq!(open(&sealed).unwrap(), plain, "{size} bytes");
            let header = 12 + u32::from_le_bytes(sealed[8..12].try_into().unwrap()) as usize;
            assert_eq!(sealed.len(), header + size + ABYTES * (size / CHUNK_LEN + 1));
        }
    }

    #[test]
    fn every_flipped_bit_cut_and_added_byte_is_an_error() {
        let sealed = seal(&[7u8; 300], 300);
        for at in 0..sealed.len() {
            for bit in [0, 3, 7] {
                let mut changed = sealed.clone();
                changed[at] ^= 1 << bit;
                assert!(open(&changed).is_err(), "bit {bit} of byte {at}");
            }
            assert!(open(&sealed[..at]).is_err(), "cut at {at}");
        }
        let longer = [sealed.as_slice(), b"x"].concat();
        assert!(open(&longer).is_err());
    }

    #[test]
    fn chunks_out_of_order_or_missing_are_an_error() {
        let plain: Vec<u8> = (0..3 * CHUNK_LEN + 5).map(|i| (i % 253) as u8).collect();
        let sealed = seal(&plain, plain.len());
        let start = 12 + u32::from_le_bytes(sealed[8..12].try_into().unwrap()) as usize;
        let step = CHUNK_LEN + ABYTES;
        let (one, two) = (start + step, start + 2 * step);
        let swapped = [&sealed[..start], &sealed[one..two], &sealed[start..one], &sealed[two..]].concat();
        let offset = format!("offset {start} ");
        assert!(open(&swapped).unwrap_err().to_string().contains(&offset));
        let without_last = &sealed[..start + 3 * step];
        assert!(open(without_last).unwrap_err().to_string().contains("no FINAL chunk"));
        let without_middle = [&sealed[..one], &sealed[two..]].concat();
        assert!(open(&without_middle).unwrap_err().to_string().contains(&format!("offset {one} ")));
    }

    proptest! {
        #[test]
        fn opening_never_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..400), real: bool) {
            if real {
                let start = seal(b"", 1);
                bytes.splice(0..0, start[..start.len() - ABYTES].iter().copied());
            }
            prop_assert!(open(&bytes).is_err());
        }
    }
}
