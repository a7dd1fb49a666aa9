//! How hard the deflate engine has to try: as little as keeps the promise of size. What `gzip -9` would
//! make of the data is measured on samples while the stream runs, so the choice follows the data from
//! table to table. It knows no gzip and no order of blocks.
#![allow(clippy::cast_precision_loss, reason = "shares of sizes that are far below 2^52")]

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Result, anyhow};

use self::sample::{CHOICES, Engines, STRONGEST, Sample, WEAKEST};

mod sample;

/// Blocks after which a new sample is taken, however little the data changed.
const BLOCKS_PER_SAMPLE: u32 = 96;
/// Samples that may be taken at once as the data changes, and the blocks that earn another one: data
/// that changes all the time must not be sampled all the time.
const MOST_SAMPLES: f64 = 4.0;
const BLOCKS_PER_EARNED_SAMPLE: f64 = 12.0;
/// The data has changed when a block packs this much better or worse than the one that was sampled.
const CHANGE: f64 = 0.15;
/// Blocks at the start of a stream that are packed by no level weaker than [`LEAST_ON_CREDIT`]: samples
/// can be wrong, and in a short stream nothing evens that out.
const CAUTIOUS_BLOCKS: u32 = 8;
/// What a block is taken to come to, as a share of the reference, where it is not what was sampled.
const UNKNOWN_SHARE: f64 = 1.1;

/// What is aimed at, as a share of `gzip -9`. The promise is 1.01; blocks that know nothing of the ones
/// before them cost up to 0.005.
const GOAL: f64 = 1.002;

/// The weakest level that may spend what was saved: from here on each step takes far more time.
const LEAST_ON_CREDIT: u8 = 5;
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
    blocks: u32,
    blocks_since: u32,
    earned_samples: f64,
    /// What `gzip -9` would have made of the blocks so far, and what was made of them.
    reference_bytes: f64,
    packed_bytes: f64,
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
        if self.known().begins_sample() {
            let least = self.known().weakest_allowed();
            let taken = Sample::take(&mut self.engines, plain, scratch, GOAL, least);
            self.known().end_sample(taken?);
        }
        let level = self.known().level_for(plain.len());
        if level == STORE && self.can_be_packed(plain, scratch)? {
            // The block is not what was sampled.
            self.known().sample = None;
            return Ok(STRONGEST);
        }
        Ok(level)
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
            blocks: 0,
            blocks_since: 0,
            earned_samples: MOST_SAMPLES,
            reference_bytes: 0.0,
            packed_bytes: 0.0,
        }
    }

    fn weakest_allowed(&self) -> u8 {
        if self.blocks <= CAUTIOUS_BLOCKS { LEAST_ON_CREDIT } else { WEAKEST }
    }

    /// Whether whoever asks, with a block to be packed, is to take a new sample. While one does, the
    /// others use what there is.
    fn begins_sample(&mut self) -> bool {
        self.blocks = self.blocks.saturating_add(1);
        self.blocks_since += 1;
        self.earned_samples = (self.earned_samples + 1.0 / BLOCKS_PER_EARNED_SAMPLE).min(MOST_SAMPLES);
        let is_due = self.sample.is_none() || self.blocks_since > BLOCKS_PER_SAMPLE;
        is_due && !std::mem::replace(&mut self.is_sampling, true)
    }

    fn end_sample(&mut self, taken: Sample) {
        self.is_sampling = false;
        self.sample = Some(taken);
        self.blocks_since = 1;
        self.earned_samples -= 1.0;
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
        chosen.map_or(STRONGEST, |(level, _)| level).max(self.weakest_allowed())
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

/// The engine's level where one level keeps the promise for every kind of data; measured over prose,
/// JSON, logs, numerics, bytea, packed data and a dump.
fn fixed_level(level: u8) -> Option<u8> {
    match level {
        7.. => None,
        4..=6 => Some(level),
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

    /// A sample whose choices come to these shares.
    fn told(shares: [f64; CHOICES.len()]) -> Sample {
        Sample { shares, is_incompressible: false, density: Some(0.5) }
    }

    #[test]
    fn easy_data_gets_the_fastest_choice() {
        let blocks: Vec<Vec<u8>> = (1..12).map(hexadecimal).collect();
        let (levels, _) = pack(9, &blocks);
        let (cautious, later) = levels.split_at(CAUTIOUS_BLOCKS as usize);
        assert!(cautious.iter().all(|level| *level == LEAST_ON_CREDIT), "{levels:?}");
        assert!(later.iter().all(|level| *level == CHOICES[0]), "{levels:?}");
    }

    #[test]
    fn a_share_above_the_goal_is_chosen_only_from_what_was_saved() {
        let mut known = Known::new();
        known.sample = Some(told([1.3, 1.2, 1.1, 1.05, 1.02, 0.99]));
        assert_eq!(known.level_for(BLOCK), 7);
        // What 5 would lose on this block was saved before.
        known.reference_bytes = 1_000_000.0;
        known.packed_bytes = 1_000_000.0 * GOAL - 0.05 * 0.5 * BLOCK as f64;
        assert_eq!(known.level_for(BLOCK), 5);
        known.packed_bytes += 0.025 * 0.5 * BLOCK as f64;
        assert_eq!(known.level_for(BLOCK), 6);
    }

    #[test]
    fn what_was_saved_is_not_spent_where_it_buys_little() {
        let mut known = Known::new();
        known.reference_bytes = 1e9;
        known.blocks = CAUTIOUS_BLOCKS + 1;
        known.sample = Some(told([1.06, 1.03, 1.01, 0.96, f64::INFINITY, f64::INFINITY]));
        assert_eq!(known.level_for(BLOCK), 5);
        known.sample = Some(told([1.03, 0.98, f64::INFINITY, f64::INFINITY, f64::INFINITY, f64::INFINITY]));
        assert_eq!(known.level_for(BLOCK), 2);
    }

    #[test]
    fn a_block_unlike_the_sample_earns_nothing_and_has_a_new_one_taken() {
        let mut known = Known::new();
        known.sample = Some(told([0.9; CHOICES.len()]));
        known.note(1, BLOCK, BLOCK / 10);
        assert!(known.sample.is_none());
        assert!(known.packed_bytes > known.reference_bytes * GOAL);
        // Not all the time: samples have to be earned.
        known.earned_samples = 0.5;
        known.sample = Some(told([0.9; CHOICES.len()]));
        known.note(1, BLOCK, BLOCK / 10);
        assert!(known.sample.is_some());
    }

    #[test]
    fn one_sample_serves_a_whole_team() {
        let mut first = Effort::new(9).unwrap();
        let mut second = first.another();
        let mut target = vec![0; first.bound(BLOCK).unwrap()];
        first.deflate(&hexadecimal(1), &mut target).unwrap();
        let earned = second.known().earned_samples;
        second.deflate(&hexadecimal(2), &mut target).unwrap();
        assert!(second.known().earned_samples > earned, "a second sample was taken");
        assert_eq!(second.known().blocks_since, 2);
    }

    #[test]
    fn changed_data_is_sampled_anew() {
        let mut blocks: Vec<Vec<u8>> = (1..20).map(hexadecimal).collect();
        let mut effort = Effort::new(9).unwrap();
        let mut target = vec![0; effort.bound(BLOCK).unwrap()];
        for block in &blocks {
            effort.deflate(block, &mut target).unwrap();
        }
        let before = effort.known().sample.as_ref().unwrap().shares;
        blocks = (1..3).map(|_| vec![b'x'; BLOCK]).collect();
        for block in &blocks {
            effort.deflate(block, &mut target).unwrap();
        }
        assert_ne!(effort.known().sample.as_ref().map(|sample| sample.shares), Some(before));
    }

    #[test]
    fn a_level_that_is_none_is_refused() {
        assert!(Effort::new(0).is_err() && Effort::new(10).is_err());
        assert_eq!(pack(1, &[words(1)]).0, [WEAKEST]);
    }
}
