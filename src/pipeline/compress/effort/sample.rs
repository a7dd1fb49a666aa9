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

/// `miniz_oxide` at 9 makes what `gzip -9` makes within this factor: between 0.998 and 1.013 of it for
/// samples of seventeen kinds of data, and it is the only engine so close to it.
const REFERENCE_FACTOR: f64 = 1.012;
/// The engine's levels that are chosen from, the fastest first. Its 7 was never above 1.006 of `gzip -9`,
/// its 1 was between 0.95 and 1.23; from 8 on it takes twice the time for 2 %.
pub(super) const CHOICES: [u8; 6] = [1, 2, 4, 5, 6, 7];
pub(super) const STRONGEST: u8 = 7;
pub(super) const WEAKEST: u8 = 1;

/// What a sample told.
#[derive(Clone)]
pub(super) struct Sample {
    /// What each of the choices makes of the data, as a share of the reference; infinite for those that
    /// were not tried because a faster one keeps the promise.
    pub(super) shares: [f64; CHOICES.len()],
    pub(super) is_incompressible: bool,
    /// Reference bytes for each plain byte of the first block that was packed by it.
    pub(super) density: Option<f64>,
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
    /// Tries out pieces of `plain`, up to the first choice from `least` on that comes to no more than
    /// `goal`.
    pub(super) fn take(
        engines: &mut Engines,
        plain: &[u8],
        scratch: &mut [u8],
        goal: f64,
        least: u8,
    ) -> Result<Self> {
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
            if *share <= goal && level >= least {
                break;
            }
        }
        Ok(Self { shares, is_incompressible, density: None })
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
