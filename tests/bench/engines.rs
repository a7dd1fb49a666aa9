//! Compression engines side by side: `cargo run --release --example engines [DUMP]...`. For each kind of
//! data, and each file that is named, the size against `gzip -9` and the CPU speed in MB/s of plain bytes.
//! What `level` promises and which engines are chosen from rests on this table.
#![allow(missing_docs, reason = "a program for the project's own use")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "and it may stop with a word"
)]
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures"
)]
#![allow(clippy::disallowed_methods, reason = "it runs gzip and reads its arguments by itself")]

use std::io::Write;
use std::process::{Command, Stdio};

use bytes::Bytes;
use flate2::{Compress, FlushCompress};
use libdeflater::{CompressionLvl, Compressor};
use pgkeep::pipeline::compress::{BLOCK_LEN, Compression, Packer};
use pgkeep::pipeline::header::Packing;

#[path = "kinds.rs"]
mod kinds;

/// Bytes of each kind, and at most so many of a file.
const SAMPLE_LEN: usize = 16 * BLOCK_LEN;

/// CPU seconds of this thread (proc(5), schedstat).
fn cpu() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}

fn gzip_9(data: &[u8]) -> usize {
    let mut child =
        Command::new("gzip").arg("-9").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(data).unwrap());
        child.wait_with_output().unwrap().stdout.len()
    })
}

/// Independent blocks by libdeflate.
fn libdeflate(data: &[u8], level: i32, block: usize) -> usize {
    let mut engine = Compressor::new(CompressionLvl::new(level).unwrap());
    let mut target = vec![0; 2 * block];
    data.chunks(block).map(|plain| engine.deflate_compress(plain, &mut target).unwrap() + 28).sum()
}

/// Blocks by zlib-rs; joined ones know the 32 KiB before them.
fn zlib_rs(data: &[u8], level: u32, is_joined: bool) -> usize {
    let mut total = 0;
    for (number, plain) in data.chunks(BLOCK_LEN).enumerate() {
        let mut engine = Compress::new(flate2::Compression::new(level), false);
        let start = number * BLOCK_LEN;
        if is_joined && start > 0 {
            engine.set_dictionary(&data[start - 32 * 1024..start]).unwrap();
        }
        let mut target = Vec::with_capacity(2 * BLOCK_LEN);
        engine.compress_vec(plain, &mut target, FlushCompress::Finish).unwrap();
        total += target.len() + if is_joined { 0 } else { 18 };
    }
    total
}

fn ours(data: &[u8], packing: Packing, level: u8) -> usize {
    let mut packer = Packer::team(Compression { packing, level, threads: 1 }).unwrap().remove(0);
    let blocks = data.chunks(BLOCK_LEN).map(Bytes::copy_from_slice);
    let packed: usize = blocks.map(|block| packer.pack(block).unwrap().len()).sum();
    packed + packer.finish().unwrap().len()
}

type Engine = (&'static str, fn(&[u8]) -> usize);

const ENGINES: [Engine; 17] = [
    ("pgkeep 9", |data| ours(data, Packing::Gzip, 9)),
    ("pgkeep 6", |data| ours(data, Packing::Gzip, 6)),
    ("pgkeep 1", |data| ours(data, Packing::Gzip, 1)),
    ("libdef 1", |data| libdeflate(data, 1, BLOCK_LEN)),
    ("libdef 3", |data| libdeflate(data, 3, BLOCK_LEN)),
    ("libdef 4", |data| libdeflate(data, 4, BLOCK_LEN)),
    ("libdef 5", |data| libdeflate(data, 5, BLOCK_LEN)),
    ("libdef 6", |data| libdeflate(data, 6, BLOCK_LEN)),
    ("ld6 4MiB", |data| libdeflate(data, 6, 4 * BLOCK_LEN)),
    ("ld6 256K", |data| libdeflate(data, 6, BLOCK_LEN / 4)),
    ("libdef 7", |data| libdeflate(data, 7, BLOCK_LEN)),
    ("zlrs 6", |data| zlib_rs(data, 6, false)),
    ("zlrs 6j", |data| zlib_rs(data, 6, true)),
    ("zlrs 9j", |data| zlib_rs(data, 9, true)),
    ("miniz 9", |data| miniz_oxide::deflate::compress_to_vec(data, 9).len()),
    ("zstd 3", |data| zstd::bulk::compress(data, 3).unwrap().len()),
    ("zstd 9", |data| zstd::bulk::compress(data, 9).unwrap().len()),
];

fn main() {
    print!("{:<10}{:>7}", "data", "gzip -9");
    for (name, _) in ENGINES {
        print!("{name:>11}");
    }
    println!();
    let mut data: Vec<(String, Vec<u8>)> =
        kinds::KINDS.iter().map(|(name, make)| ((*name).to_owned(), make(SAMPLE_LEN))).collect();
    for path in std::env::args().skip(1) {
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.truncate(4 * SAMPLE_LEN);
        data.push((path.rsplit('/').next().unwrap().chars().take(9).collect(), bytes));
    }
    for (name, data) in data {
        let reference = gzip_9(&data) as f64;
        print!("{name:<10}{:>7.3}", reference / data.len() as f64);
        for (_, pack) in ENGINES {
            let begun = cpu();
            let share = pack(&data) as f64 / reference;
            print!(" {share:.3}/{:<4.0}", data.len() as f64 / 1e6 / (cpu() - begun));
        }
        println!();
    }
}
