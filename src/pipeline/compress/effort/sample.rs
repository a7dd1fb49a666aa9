//! What a piece of a block tells of the data around it: what each of the engine's levels makes of it,
//! beside what `gzip -9` would. It knows nothing of the stream, and no promise.
#![allow(clippy::cast_precision_loss, reason = "shares of sizes that are far below 2^52")]

use anyhow::{Result, anyhow};
use libdeflater::{CompressionLvl, Compressor};

/// Places in a block that are tried out, the bytes at each, and those before them that only fill the
/// window: what a sample costs without anything to look back at says little about a long stream.
const PLACES: usize = 2;
const PLACE_LEN: usize = 56 * 1024;
const WINDOW_LEN: usize = 32 * 1024;

/// Pieces of a block that its look is taken of, and the length of each.
const LOOK_PIECES: usize = 64;
const LOOK_PIECE_LEN: usize = 1024;

/// `miniz_oxide` at 9 makes what `gzip -9` makes within this factor: between 0.998 and 1.013 of it for
/// samples of seventeen kinds of data, and it is the only engine so close to it.
const REFERENCE_FACTOR: f64 = 1.012;
/// The engine's levels that are chosen from, the fastest first. Its 7 was never above 1.006 of `gzip -9`,
/// its 5 never above 1.04; weaker ones go to 1.23, which is too much to be wrong by, and from 8 on it
/// takes twice the time for 2 %.
pub(super) const CHOICES: [u8; 3] = [5, 6, 7];
pub(super) const STRONGEST: u8 = 7;
pub(super) const WEAKEST: u8 = 1;

/// What a sample told.
#[derive(Clone)]
pub(super) struct Sample {
    /// How the block that was sampled looks.
    pub(super) look: Look,
    /// What each of the choices makes of the data, as a share of the reference; infinite for those that
    /// were not tried because a faster one keeps the promise.
    pub(super) shares: [f64; CHOICES.len()],
    pub(super) is_incompressible: bool,
    /// Reference bytes for each plain byte of the first block that was packed by it.
    pub(super) density: Option<f64>,
    /// Blocks that it served.
    pub(super) blocks: u32,
}

/// How the bytes of a block are distributed: enough to tell one kind of data from another before the
/// block is packed, at next to no cost.
#[derive(Clone)]
pub(super) struct Look([f32; 256]);

impl Look {
    /// Of pieces from all over the block.
    pub(super) fn of(plain: &[u8]) -> Self {
        let mut counts = [0u32; 256];
        let mut total = 0u32;
        let stride = (plain.len() / LOOK_PIECES).max(1);
        for piece in plain.chunks(stride) {
            for byte in piece.iter().take(LOOK_PIECE_LEN) {
                if let Some(count) = counts.get_mut(usize::from(*byte)) {
                    *count += 1;
                    total += 1;
                }
            }
        }
        Self(counts.map(|count| count as f32 / total.max(1) as f32))
    }

    /// How much of the one is not in the other: 0 for the same distribution, 1 for nothing in common.
    pub(super) fn distance(&self, other: &Self) -> f32 {
        self.0.iter().zip(other.0).map(|(one, other)| (one - other).abs()).sum::<f32>() / 2.0
    }
}

/// A piece of a block, and how much of its start only fills the window.
struct Place<'a> {
    window: &'a [u8],
    whole: &'a [u8],
}

/// Pieces from all over a block; a short block is one of its own.
fn places(plain: &[u8]) -> Vec<Place<'_>> {
    let length = WINDOW_LEN + PLACE_LEN;
    if plain.len() < PLACES * length {
        return vec![Place { window: &[], whole: plain }];
    }
    let shares = plain.chunks(plain.len() / PLACES).take(PLACES);
    shares
        .filter_map(|share| {
            let whole = share.get((share.len() - length) / 2..)?.get(..length)?;
            Some(Place { window: whole.get(..WINDOW_LEN)?, whole })
        })
        .collect()
}

impl Sample {
    /// Tries out pieces of `plain`, up to the first choice that comes to no more than `goal`.
    pub(super) fn take(engines: &mut Engines, plain: &[u8], scratch: &mut [u8], goal: f64) -> Result<Self> {
        let places = places(plain);
        let by_reference = |bytes: &[u8]| miniz_oxide::deflate::compress_to_vec(bytes, 9).len();
        let mut made = 0;
        let mut is_incompressible = true;
        for place in &places {
            let whole = by_reference(place.whole);
            made += whole.saturating_sub(by_reference(place.window));
            is_incompressible &= whole >= place.whole.len();
        }
        let reference = made.max(1) as f64 / REFERENCE_FACTOR;
        let mut shares = [f64::INFINITY; CHOICES.len()];
        for (share, level) in shares.iter_mut().zip(CHOICES) {
            let mut made = 0;
            for place in &places {
                let window = engines.deflate(level, place.window, scratch)?;
                made += engines.deflate(level, place.whole, scratch)?.saturating_sub(window);
            }
            *share = made as f64 / reference;
            if *share <= goal {
                break;
            }
        }
        Ok(Self { look: Look::of(plain), shares, is_incompressible, density: None, blocks: 0 })
    }
}

/// One engine for each level that was asked for.
#[derive(Default)]
pub(super) struct Engines([Option<Compressor>; STRONGEST as usize + 1]);

impl Engines {
    pub(super) fn of(&mut self, level: u8) -> Result<&mut Compressor> {
        let unknown = || anyhow!("the engine has no level {level}");
        let place = self.0.get_mut(usize::from(level)).ok_or_else(unknown)?;
        if place.is_none() {
            let level = CompressionLvl::new(i32::from(level)).map_err(|_| unknown())?;
            *place = Some(Compressor::new(level));
        }
        place.as_mut().ok_or_else(unknown)
    }

    pub(super) fn deflate(&mut self, level: u8, plain: &[u8], target: &mut [u8]) -> Result<usize> {
        let packed = self.of(level)?.deflate_compress(plain, target);
        packed.map_err(|error| anyhow!("a block could not be packed: {error:?}"))
    }
}
