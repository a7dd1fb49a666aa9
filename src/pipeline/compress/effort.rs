//! How hard the deflate engine has to try: as little as keeps the promise of size. What `gzip -9` would
//! make of the data is measured on samples while the stream runs, so the choice follows the data from
//! table to table. It knows no gzip and no order of blocks.
#![allow(clippy::cast_precision_loss, reason = "shares of sizes that are far below 2^52")]

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Result, anyhow};
use libdeflater::{CompressionLvl, Compressor};

/// Bytes of a block that are tried out, and those before them that only fill the window: what a sample
/// costs without anything to look back at says little about a long stream.
const SAMPLE_LEN: usize = 128 * 1024;
const WINDOW_LEN: usize = 32 * 1024;
/// Blocks after which a new sample is taken, however little the data changed.
const BLOCKS_PER_SAMPLE: u32 = 96;
/// Samples that may be taken at once as the data changes, and the blocks that earn another one: data
/// that changes all the time must not be sampled all the time.
const MOST_SAMPLES: f64 = 4.0;
const BLOCKS_PER_EARNED_SAMPLE: f64 = 12.0;
/// The data has changed when a block packs this much better or worse than the one that was sampled.
const CHANGE: f64 = 0.15;
/// What a block is taken to come to, as a share of the reference, where it is not what was sampled.
const UNKNOWN_SHARE: f64 = 1.1;

/// `miniz_oxide` at 9 makes what `gzip -9` makes within this factor: between 0.998 and 1.013 of it for
/// samples of seventeen kinds of data, and it is the only engine so close to it.
const REFERENCE_FACTOR: f64 = 1.012;
/// What is aimed at, as a share of `gzip -9`. The promise is 1.01; blocks that know nothing of the ones
/// before them cost up to 0.005.
const GOAL: f64 = 1.004;

/// The engine's levels that are chosen from, the fastest first. Its 7 was never above 1.006 of `gzip -9`,
/// its 1 was between 0.95 and 1.23; from 8 on it takes twice the time for 2 %.
const CHOICES: [u8; 6] = [1, 2, 4, 5, 6, 7];
const STRONGEST: u8 = 7;
/// The weakest level that may spend what was saved: from here on each step takes far more time.
const LEAST_ON_CREDIT: u8 = 5;
const WEAKEST: u8 = 1;
/// Stores what can't be packed.
const STORE: u8 = 0;
/// Pieces of a block that tell whether it still can't be packed, and the length of each.
const PIECES: usize = 8;
const PIECE_LEN: usize = 8 * 1024;

/// Chooses the engine's level for each block of one stream, for a promise made of the whole. Clones work
/// side by side on the same stream and share what they learn.
pub(super) struct Effort {
    wanted: u8,
    engines: Engines,
    known: Arc<Mutex<Known>>,
}

/// What is known of the stream so far.
struct Known {
    sample: Option<Sample>,
    is_sampling: bool,
    blocks_since: u32,
    earned_samples: f64,
    /// What `gzip -9` would have made of the blocks so far, and what was made of them.
    reference_bytes: f64,
    packed_bytes: f64,
}

/// What a sample told.
#[derive(Clone)]
struct Sample {
    /// What each of the choices makes of the data, as a share of the reference; infinite for those that
    /// were not tried because a faster one keeps the promise.
    shares: [f64; CHOICES.len()],
    is_incompressible: bool,
    /// Reference bytes for each plain byte of the first block that was packed by it.
    density: Option<f64>,
}

impl Effort {
    /// For the promise of `level`, 1 to 9.
    ///
    /// # Errors
    /// When the level is none of them.
    pub(super) fn new(level: u8) -> Result<Self> {
        if !(1..=9).contains(&level) {
            return Err(anyhow!("compression level {level} is unknown"));
        }
        Ok(Self { wanted: level, engines: Engines::default(), known: Arc::new(Mutex::new(Known::new())) })
    }

    /// One more that works on the same stream.
    pub(super) fn another(&self) -> Self {
        Self { wanted: self.wanted, engines: Engines::default(), known: Arc::clone(&self.known) }
    }

    /// Packs a block as raw deflate into `target`, and says how many bytes it came to. `target` must
    /// have the room that [`Effort::bound`] asks for.
    pub(super) fn deflate(&mut self, plain: &[u8], target: &mut [u8]) -> Result<usize> {
        let level = match fixed_level(self.wanted) {
            Some(level) => level,
            None => self.choose(plain, target)?,
        };
        let packed = self.engines.deflate(level, plain, target)?;
        self.known().note(level, plain.len(), packed);
        Ok(packed)
    }

    /// The most that a block of that length can come to.
    pub(super) fn bound(&mut self, plain_len: usize) -> Result<usize> {
        Ok(self.engines.of(STRONGEST)?.deflate_compress_bound(plain_len))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn choose(&mut self, plain: &[u8], scratch: &mut [u8]) -> Result<u8> {
        let was_incompressible = self.known().is_incompressible();
        let has_changed = was_incompressible && self.can_be_packed(plain, scratch)?;
        if self.known().begins_sample(has_changed) {
            let taken = Sample::take(&mut self.engines, plain, scratch);
            let mut known = self.known();
            known.is_sampling = false;
            known.sample = Some(taken?);
            known.blocks_since = 0;
            known.earned_samples -= 1.0;
        }
        let mut known = self.known();
        known.blocks_since += 1;
        known.earned_samples = (known.earned_samples + 1.0 / BLOCKS_PER_EARNED_SAMPLE).min(MOST_SAMPLES);
        Ok(known.level_for(plain.len()))
    }

    /// Whether pieces from all over a block can be packed, be it a little.
    fn can_be_packed(&mut self, plain: &[u8], scratch: &mut [u8]) -> Result<bool> {
        let stride = (plain.len() / PIECES).max(1);
        let pieces: Vec<u8> =
            plain.chunks(stride).flat_map(|piece| piece.iter().take(PIECE_LEN)).copied().collect();
        let packed = self.engines.deflate(WEAKEST, &pieces, scratch)?;
        Ok(packed < pieces.len())
    }
}

impl Known {
    fn new() -> Self {
        Self {
            sample: None,
            is_sampling: false,
            blocks_since: 0,
            earned_samples: MOST_SAMPLES,
            reference_bytes: 0.0,
            packed_bytes: 0.0,
        }
    }

    fn is_incompressible(&self) -> bool {
        self.sample.as_ref().is_some_and(|sample| sample.is_incompressible)
    }

    /// Whether whoever asks is to take a new sample. While one does, the others use what there is.
    fn begins_sample(&mut self, has_changed: bool) -> bool {
        let is_due = match &self.sample {
            None => true,
            // Blocks that can't be packed are stored: the next one that can must not be.
            Some(sample) => sample.is_incompressible && has_changed || self.blocks_since >= BLOCKS_PER_SAMPLE,
        };
        if has_changed && is_due {
            self.sample = None;
        }
        is_due && !std::mem::replace(&mut self.is_sampling, true)
    }

    fn level_for(&self, plain_len: usize) -> u8 {
        let Some(sample) = &self.sample else { return STRONGEST };
        if sample.is_incompressible {
            return STORE;
        }
        // A level is right where it keeps the promise itself; a strong one is spared where the blocks
        // before it were packed so well that the whole keeps it. What was saved is kept for that: there
        // it buys most.
        let saved = self.reference_bytes * GOAL - self.packed_bytes;
        let expected = sample.density.unwrap_or(1.0) * plain_len as f64;
        let chosen = CHOICES.into_iter().zip(sample.shares).find(|(level, share)| {
            *share <= GOAL || *level >= LEAST_ON_CREDIT && (share - GOAL) * expected <= saved
        });
        chosen.map_or(STRONGEST, |(level, _)| level)
    }

    /// Takes the outcome of a block into account, and has a new sample taken where the data changed.
    fn note(&mut self, level: u8, plain: usize, packed: usize) {
        let Some(sample) = &mut self.sample else { return };
        let share = CHOICES.into_iter().zip(sample.shares).find(|(choice, _)| *choice == level);
        // A level that the sample knows nothing of was chosen by an older one.
        let Some(share) = share.map(|(_, share)| share).filter(|share| share.is_finite()) else { return };
        let density = packed as f64 / share / plain.max(1) as f64;
        let has_changed = (density / *sample.density.get_or_insert(density) - 1.0).abs() > CHANGE;
        let share = if has_changed { share.max(UNKNOWN_SHARE) } else { share };
        self.reference_bytes += packed as f64 / share;
        self.packed_bytes += packed as f64;
        if has_changed && self.earned_samples >= 1.0 {
            self.sample = None;
        }
    }
}

impl Sample {
    fn take(engines: &mut Engines, plain: &[u8], scratch: &mut [u8]) -> Result<Self> {
        let length = plain.len().min(WINDOW_LEN + SAMPLE_LEN);
        let start = (plain.len() - length) / 2;
        let sample = plain.get(start..start + length).unwrap_or_default();
        // A short block is a stream of its own.
        let window = sample.get(..if length > 2 * WINDOW_LEN { WINDOW_LEN } else { 0 }).unwrap_or_default();
        let by_reference = |bytes: &[u8]| miniz_oxide::deflate::compress_to_vec(bytes, 9).len();
        let (whole, before) = (by_reference(sample), by_reference(window));
        let reference = whole.saturating_sub(before).max(1) as f64 / REFERENCE_FACTOR;
        let mut shares = [f64::INFINITY; CHOICES.len()];
        for (share, level) in shares.iter_mut().zip(CHOICES) {
            let before = engines.deflate(level, window, scratch)?;
            let after = engines.deflate(level, sample, scratch)?.saturating_sub(before);
            *share = after as f64 / reference;
            if *share <= GOAL {
                break;
            }
        }
        Ok(Self { shares, is_incompressible: whole >= length, density: None })
    }
}

/// One engine for each level that was asked for.
#[derive(Default)]
struct Engines([Option<Compressor>; STRONGEST as usize + 1]);

impl Engines {
    fn of(&mut self, level: u8) -> Result<&mut Compressor> {
        let unknown = || anyhow!("the engine has no level {level}");
        let place = self.0.get_mut(usize::from(level)).ok_or_else(unknown)?;
        if place.is_none() {
            let level = CompressionLvl::new(i32::from(level)).map_err(|_| unknown())?;
            *place = Some(Compressor::new(level));
        }
        place.as_mut().ok_or_else(unknown)
    }

    fn deflate(&mut self, level: u8, plain: &[u8], target: &mut [u8]) -> Result<usize> {
        let packed = self.of(level)?.deflate_compress(plain, target);
        packed.map_err(|error| anyhow!("a block could not be packed: {error:?}"))
    }
}

/// The engine's level where one level keeps the promise for every kind of data; measured over prose,
/// JSON, logs, numerics, bytea, packed data and a dump.
fn fixed_level(level: u8) -> Option<u8> {
    match level {
        7.. => None,
        5..=6 => Some(5),
        4 => Some(2),
        _ => Some(WEAKEST),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation)]
    use super::*;

    const BLOCK: usize = 256 * 1024;

    /// Packs blocks in turn; gives the level of each and the sizes of all.
    fn pack(level: u8, blocks: &[Vec<u8>]) -> (Vec<u8>, usize) {
        let mut effort = Effort::new(level).unwrap();
        let mut target = vec![0; effort.bound(BLOCK).unwrap()];
        let mut levels = Vec::new();
        let mut total = 0;
        for block in blocks {
            let chosen = match fixed_level(level) {
                Some(level) => level,
                None => effort.choose(block, &mut target).unwrap(),
            };
            let packed = effort.engines.deflate(chosen, block, &mut target).unwrap();
            effort.known().note(chosen, block.len(), packed);
            levels.push(chosen);
            total += packed;
        }
        (levels, total)
    }

    /// A small generator of numbers that look random (xorshift).
    fn noise(seed: u64) -> impl Iterator<Item = u64> {
        std::iter::successors(Some(seed), |x| {
            let x = x ^ (x << 13);
            let x = x ^ (x >> 7);
            Some(x ^ (x << 17))
        })
        .skip(1)
    }

    fn random(seed: u64) -> Vec<u8> {
        noise(seed).take(BLOCK).map(|x| (x >> 24) as u8).collect()
    }

    /// Lines of words from a small list, hard to pack well without a long search.
    fn words(seed: u64) -> Vec<u8> {
        let mut text = Vec::with_capacity(BLOCK + 16);
        for x in noise(seed) {
            if text.len() >= BLOCK {
                break;
            }
            let word = (x >> 20) % 3000;
            text.extend_from_slice(format!("w{:x}{} ", word * 2_654_435_761 % 65_536, word % 7).as_bytes());
        }
        text.truncate(BLOCK);
        text
    }

    fn hexadecimal(seed: u64) -> Vec<u8> {
        random(seed).iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).take(BLOCK).collect()
    }

    #[test]
    fn what_cannot_be_packed_is_stored_and_what_follows_is_not() {
        let blocks = [random(1), random(2), words(3), words(4), random(5)];
        let (levels, _) = pack(9, &blocks);
        assert_eq!(levels[..2], [STORE, STORE]);
        assert!(levels[2..4].iter().all(|level| CHOICES.contains(level)), "{levels:?}");
    }

    #[test]
    fn half_a_block_that_can_be_packed_ends_the_storing() {
        let mut mixed = random(1);
        mixed[..BLOCK / 2].copy_from_slice(&words(2)[..BLOCK / 2]);
        let (levels, total) = pack(9, &[random(3), mixed]);
        assert_eq!(levels[0], STORE);
        assert_ne!(levels[1], STORE);
        assert!(total < 2 * BLOCK - BLOCK / 5, "{total}");
    }

    #[test]
    fn easy_data_gets_the_fastest_choice() {
        let blocks: Vec<Vec<u8>> = (1..4).map(hexadecimal).collect();
        assert_eq!(pack(9, &blocks).0, [CHOICES[0]; 3]);
    }

    #[test]
    fn a_share_above_the_goal_is_chosen_only_from_what_was_saved() {
        let mut effort = Effort::new(9).unwrap();
        let mut scratch = vec![0; effort.bound(BLOCK).unwrap()];
        let block = words(1);
        let sample = Sample { shares: [1.05, 1.02, 0.99], is_incompressible: false, density: Some(0.5) };
        effort.sample = Some(sample);
        assert_eq!(effort.choose(&block, &mut scratch).unwrap(), 7);
        // What 5 would lose on this block was saved before.
        effort.reference_bytes = 1_000_000.0;
        effort.packed_bytes = 1_000_000.0 * GOAL - 0.05 * 0.5 * BLOCK as f64;
        assert_eq!(effort.choose(&block, &mut scratch).unwrap(), 5);
        effort.packed_bytes += 0.025 * 0.5 * BLOCK as f64;
        assert_eq!(effort.choose(&block, &mut scratch).unwrap(), 6);
    }

    #[test]
    fn changed_data_is_sampled_anew() {
        let mut blocks: Vec<Vec<u8>> = (1..20).map(hexadecimal).collect();
        let mut effort = Effort::new(9).unwrap();
        let mut target = vec![0; effort.bound(BLOCK).unwrap()];
        for block in &blocks {
            effort.deflate(block, &mut target).unwrap();
        }
        let before = effort.sample.as_ref().unwrap().shares;
        blocks = (1..3).map(|_| vec![b'x'; BLOCK]).collect();
        for block in &blocks {
            effort.deflate(block, &mut target).unwrap();
        }
        assert_ne!(effort.sample.as_ref().map(|sample| sample.shares), Some(before));
    }

    #[test]
    fn a_level_that_is_none_is_refused() {
        assert!(Effort::new(0).is_err() && Effort::new(10).is_err());
        assert_eq!(pack(1, &[words(1)]).0, [WEAKEST]);
    }
}
