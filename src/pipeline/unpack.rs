//! What is inside the seal, unpacked: gzip members that say how long they are on several cores, everything
//! else as it comes, all of it in order. It knows no seal and no key.

use std::io::{self, BufReader, Cursor, ErrorKind, Read};
use std::thread::{self, JoinHandle};

use anyhow::{Result, anyhow};
use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, bounded};
use flate2::bufread::MultiGzDecoder;

use super::compress::gzip::{MEMBER_HEAD_LEN, MemberOpener, length_after};
use super::header::Packing;
use super::pool::{Block as PooledBlock, Pool};
use super::seal::fill;

const BLOCK_LEN: usize = 1024 * 1024;
/// No frame is opened that would need a larger window, as a power of two: what the reference tool takes.
const LARGEST_WINDOW_LOG: u32 = 27;

type Block = io::Result<Bytes>;

/// What stands next in the unpacked stream.
enum Next {
    Ready(Block),
    Coming(Receiver<Block>),
    /// The source ended well. A queue that closes without it means "broken off".
    End,
}

struct Member {
    rest: PooledBlock,
    done: Sender<Block>,
}

/// Reads the plain bytes of a packed source. Its end of file means that the source ended well, and so did
/// the packing.
pub struct Unpacker<R> {
    order: Option<Receiver<Next>>,
    current: Bytes,
    has_ended: bool,
    reading: JoinHandle<R>,
}

impl<R: Read + Send + 'static> Unpacker<R> {
    /// Starts to read `source` on a thread of its own, and to unpack it on `threads` more, at least 1.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(mut source: R, packing: Packing, threads: usize) -> Result<Self> {
        let threads = threads.max(1);
        let (order, ordered) = bounded::<Next>(threads + 1);
        let (members, work) = bounded::<Member>(threads);
        let pool = Pool::default();
        if packing == Packing::Gzip {
            for number in 0..threads {
                let work = work.clone();
                let opener = MemberOpener::new(pool.clone());
                let thread = thread::Builder::new().name(format!("unpack {number}"));
                thread.spawn(move || open_all(opener, &work))?;
            }
        }
        let reading = thread::Builder::new().name("open".to_owned()).spawn(move || {
            let queue = Queue { order, members, plain: pool, packed: Pool::default() };
            // Whoever reads is gone when the queue takes nothing more; nobody is left to be told.
            drop(queue.unpack(&mut source, packing));
            source
        })?;
        Ok(Self { order: Some(ordered), current: Bytes::new(), has_ended: false, reading })
    }

    /// Stops, and gives back the source as far as it has been read.
    ///
    /// # Errors
    /// When the reading thread is gone.
    pub fn into_source(self) -> Result<R> {
        drop(self.order);
        self.reading.join().map_err(|_| anyhow!("the thread that opens an artifact is gone"))
    }
}

impl<R> Unpacker<R> {
    /// The next block, or `None` where the source ended well.
    fn next(&self) -> io::Result<Option<Bytes>> {
        let gone = || io::Error::other("a thread that unpacks is gone");
        let order = self.order.as_ref().ok_or_else(|| io::Error::from(ErrorKind::BrokenPipe))?;
        match order.recv().map_err(|_| gone())? {
            Next::Ready(block) => block.map(Some),
            Next::Coming(block) => block.recv().map_err(|_| gone())?.map(Some),
            Next::End => Ok(None),
        }
    }
}

impl<R> Read for Unpacker<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            if self.has_ended {
                return Ok(0);
            }
            match self.next() {
                Ok(Some(block)) => self.current = block,
                Ok(None) => self.has_ended = true,
                Err(error) => {
                    // What follows damage is never given, and never ends well.
                    self.order = None;
                    return Err(error);
                }
            }
        }
        let count = self.current.len().min(buffer.len());
        let now = self.current.split_to(count);
        if let Some(target) = buffer.get_mut(..count) {
            target.copy_from_slice(&now);
        }
        Ok(count)
    }
}

fn open_all(mut opener: MemberOpener, work: &Receiver<Member>) {
    for member in work {
        let opened = opener.open(member.rest.as_ref()).map(PooledBlock::freeze);
        let opened = opened.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error));
        // Whoever reads is gone when nobody takes it.
        drop(member.done.send(opened));
    }
}

/// The reader's end is gone.
struct Gone;

/// Where the reading thread puts what it finds.
struct Queue {
    order: Sender<Next>,
    members: Sender<Member>,
    plain: Pool,
    packed: Pool,
}

impl Queue {
    fn unpack(&self, source: &mut impl Read, packing: Packing) -> Result<(), Gone> {
        match packing {
            Packing::None => self.copy(source),
            Packing::Zstd => self.frame(source),
            Packing::Gzip => self.members(source),
        }
    }

    /// Unpacks a zstd frame. Its reader calls damage by no name of its own: what did not come from the
    /// source is that.
    fn frame(&self, source: &mut impl Read) -> Result<(), Gone> {
        let mut watched = Watched { source, is_broken: false };
        let opened = zstd::stream::read::Decoder::new(&mut watched).and_then(|mut decoder| {
            decoder.window_log_max(LARGEST_WINDOW_LOG)?;
            Ok(decoder)
        });
        let poured = match opened {
            Ok(mut decoder) => self.pour(&mut decoder)?,
            Err(error) => Err(error),
        };
        let named =
            |error| if watched.is_broken { error } else { io::Error::new(ErrorKind::InvalidData, error) };
        self.end(poured.map_err(named))
    }

    fn put(&self, next: Next) -> Result<(), Gone> {
        self.order.send(next).map_err(|_| Gone)
    }

    /// Hands on what comes, and says how it ended.
    fn copy(&self, source: &mut impl Read) -> Result<(), Gone> {
        let poured = self.pour(source)?;
        self.end(poured)
    }

    fn end(&self, outcome: io::Result<()>) -> Result<(), Gone> {
        self.put(outcome.map_or_else(|error| Next::Ready(Err(error)), |()| Next::End))
    }

    /// Hands on what comes, block by block.
    fn pour(&self, source: &mut impl Read) -> Result<io::Result<()>, Gone> {
        loop {
            let mut block = self.plain.take(BLOCK_LEN);
            match fill(source, block.as_mut_slice()) {
                Ok(got) => {
                    block.truncate(got);
                    self.put(Next::Ready(Ok(block.freeze())))?;
                    if got < BLOCK_LEN {
                        return Ok(Ok(()));
                    }
                }
                Err(error) => return Ok(Err(error)),
            }
        }
    }

    /// Hands each member on to be opened; from the first one on that does not say how long it is, all of
    /// the rest is unpacked here.
    fn members(&self, source: &mut impl Read) -> Result<(), Gone> {
        let mut is_first = true;
        loop {
            let mut head = [0u8; MEMBER_HEAD_LEN];
            let got = match fill(source, &mut head) {
                Ok(got) => got,
                Err(error) => return self.put(Next::Ready(Err(error))),
            };
            if got == 0 && !is_first {
                return self.put(Next::End);
            }
            is_first = false;
            let head = head.get(..got).unwrap_or_default();
            let Some(length) = length_after(head) else {
                let whole = BufReader::with_capacity(BLOCK_LEN, Cursor::new(head.to_vec()).chain(source));
                return self.copy(&mut MultiGzDecoder::new(whole));
            };
            let mut rest = self.packed.take(length);
            match fill(source, rest.as_mut_slice()) {
                Ok(got) if got == length => {}
                Ok(_) => {
                    let cut = io::Error::new(io::ErrorKind::UnexpectedEof, "a gzip member is cut off");
                    return self.put(Next::Ready(Err(cut)));
                }
                Err(error) => return self.put(Next::Ready(Err(error))),
            }
            let (done, opened) = bounded(1);
            self.put(Next::Coming(opened))?;
            self.members.send(Member { rest, done }).map_err(|_| Gone)?;
        }
    }
}

/// A source that remembers whether it failed.
struct Watched<R> {
    source: R,
    is_broken: bool,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let outcome = self.source.read(buffer);
        self.is_broken |= outcome.is_err();
        outcome
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation)]
    use super::*;
    use crate::pipeline::compress::{Compression, Packer};
    use proptest::prelude::*;
    use std::io::Write;

    fn members(blocks: &[Vec<u8>]) -> Vec<u8> {
        let compression = Compression { packing: Packing::Gzip, level: 9, threads: 1 };
        let mut packer = Packer::team(compression).unwrap().remove(0);
        blocks.iter().flat_map(|block| packer.pack(block.clone().into()).unwrap()).collect()
    }

    fn foreign(plain: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn unpack(packed: Vec<u8>, packing: Packing) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        let mut unpacker = Unpacker::start(Cursor::new(packed), packing, 3).unwrap();
        unpacker.read_to_end(&mut plain)?;
        Ok(plain)
    }

    proptest! {
        #[test]
        fn members_of_ours_and_of_others_come_in_order(
            blocks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..3000), 1..20),
            others in proptest::collection::vec(any::<u8>(), 0..3000)) {
            let packed = [members(&blocks), foreign(&others), members(&blocks)].concat();
            let plain = [blocks.concat(), others, blocks.concat()].concat();
            prop_assert_eq!(unpack(packed, Packing::Gzip).unwrap(), plain);
        }

        #[test]
        fn bytes_that_are_no_gzip_are_an_error_and_no_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(unpack(bytes.clone(), Packing::Gzip).is_err());
            // A frame may start with one that is to be skipped, so some bytes are zstd's by chance.
            let _opened = unpack(bytes.clone(), Packing::Zstd);
            prop_assert_eq!(unpack(bytes.clone(), Packing::None).unwrap(), bytes);
        }
    }

    #[test]
    fn every_cut_is_an_error() {
        let block: Vec<u8> = (0..300u32).flat_map(u32::to_le_bytes).collect();
        let one = members(std::slice::from_ref(&block));
        let two = members(&[block.clone(), block.clone()]);
        for end in (0..two.len()).filter(|end| *end != one.len()) {
            assert!(unpack(two[..end].to_vec(), Packing::Gzip).is_err(), "cut at {end}");
        }
        assert_eq!(unpack(one, Packing::Gzip).unwrap(), block);
        let frame = zstd::encode_all(block.as_slice(), 3).unwrap();
        for end in 1..frame.len() {
            assert!(unpack(frame[..end].to_vec(), Packing::Zstd).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn damage_is_called_so_and_nothing_comes_after_it() {
        let block = vec![5u8; 1000];
        let (mut frame, mut packed) = (zstd::encode_all(&block[..], 3).unwrap(), members(&vec![block; 9]));
        (frame[9], packed[100]) = (!frame[9], !packed[100]);
        for (packed, packing) in [(frame, Packing::Zstd), (packed, Packing::Gzip)] {
            let mut unpacker = Unpacker::start(Cursor::new(packed), packing, 2).unwrap();
            let error = unpacker.read_to_end(&mut Vec::new()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{packing:?}: {error}");
            assert!(unpacker.read(&mut [0]).is_err(), "{packing:?}");
        }
    }

    #[test]
    fn a_frame_with_a_huge_window_is_refused() {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
        encoder.window_log(28).unwrap();
        encoder.long_distance_matching(true).unwrap();
        encoder.write_all(&[7; 100]).unwrap();
        let frame = encoder.finish().unwrap();
        assert!(unpack(frame, Packing::Zstd).is_err());
    }

    struct Breaks(Cursor<Vec<u8>>);

    impl Read for Breaks {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(io::Error::other("the line broke")),
                count => Ok(count),
            }
        }
    }

    #[test]
    fn a_source_that_breaks_says_so_and_comes_back() {
        for packing in [Packing::Gzip, Packing::Zstd, Packing::None] {
            let packed = match packing {
                Packing::Zstd => zstd::encode_all(&[1; 100][..], 3).unwrap(),
                _ => members(&[vec![1; 100]]),
            };
            let mut unpacker = Unpacker::start(Breaks(Cursor::new(packed)), packing, 2).unwrap();
            let error = unpacker.read_to_end(&mut Vec::new()).unwrap_err();
            assert_eq!(error.to_string(), "the line broke", "{packing:?}");
            assert!(unpacker.into_source().unwrap().read(&mut [0]).is_err());
        }
    }

    #[test]
    fn a_reader_that_goes_early_gets_the_source_back() {
        let packed = members(&vec![vec![9; 100]; 500]);
        let mut unpacker = Unpacker::start(Cursor::new(packed), Packing::Gzip, 2).unwrap();
        unpacker.read_exact(&mut [0; 10]).unwrap();
        assert!(unpacker.into_source().unwrap().position() > 0);
    }
}
