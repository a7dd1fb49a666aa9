//! How hard the deflate engine has to try: as little as keeps the promise of size. What `gzip -9` would
//! make of the data is measured on samples while the stream runs, so the choice follows the data from
//! table to table. It knows no gzip and no order of blocks.
#![allow(clippy::cast_precision_loss, reason = "shares of sizes that are far below 2^52")]

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Result, anyhow};

use self::sample::{CHOICES, Engines, Look, STRONGEST, Sample, WEAKEST};

mod sample;

/// Blocks that one sample serves at most, and kinds of data whose samples are kept.
const BLOCKS_PER_SAMPLE: u32 = 64;
const KINDS: usize = 4;
/// A block is of the kind that was sampled when no more of its bytes than this are distributed in another
/// way, and when it then packs no more than this much better or worse than the first one.
const LOOK_LIMIT: f32 = 0.08;
const DENSITY_LIMIT: f64 = 0.12;
/// Samples that may be taken at once as the data changes, and the blocks that earn another one: data
/// that changes all the time must not be sampled all the time.
const MOST_SAMPLES: f64 = 6.0;
const BLOCKS_PER_EARNED_SAMPLE: f64 = 8.0;
/// What a block is taken to come to, as a share of the reference, where it is not what was sampled.
const UNKNOWN_SHARE: f64 = 1.04;

/// What is aimed at, as a share of `gzip -9`. The promise is 1.01; blocks that know nothing of the ones
/// before them cost up to 0.005.
const GOAL: f64 = 1.002;
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
    /// Of each kind of data the newest sample, the one that was used last at the end.
    samples: Vec<Sample>,
    earned_samples: f64,
    /// What `gzip -9` would have made of the blocks so far, and what was made of them.
    reference_bytes: f64,
    packed_bytes: f64,
}

/// How a block is to be packed.
struct Choice {
    level: u8,
    look: Look,
    /// What the sample said of that level; `None` where none fits the block.
    share: Option<f64>,
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
        if let Some(level) = fixed_level(self.wanted) {
            return self.engines.deflate(level, plain, target);
        }
        let choice = self.choose(plain, target)?;
        let packed = self.engines.deflate(choice.level, plain, target)?;
        self.known().note(&choice, plain.len(), packed);
        Ok(packed)
    }

    /// The most that a block of that length can come to.
    pub(super) fn bound(&mut self, plain_len: usize) -> Result<usize> {
        Ok(self.engines.of(STRONGEST)?.deflate_compress_bound(plain_len))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn choose(&mut self, plain: &[u8], scratch: &mut [u8]) -> Result<Choice> {
        let look = Look::of(plain);
        let needs_sample = self.known().needs_sample(&look);
        if needs_sample {
            let taken = Sample::take(&mut self.engines, plain, scratch, GOAL)?;
            self.known().keep(taken);
        }
        let mut choice = self.known().choice(look, plain.len());
        if choice.level == STORE && self.can_be_packed(plain, scratch)? {
            // The block is not what was sampled.
            choice = Choice { level: STRONGEST, share: None, ..choice };
        }
        Ok(choice)
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
        Self { samples: Vec::new(), earned_samples: MOST_SAMPLES, reference_bytes: 0.0, packed_bytes: 0.0 }
    }

    /// Moves the sample of the block's kind to the end, and gives it.
    fn sample_for(&mut self, look: &Look) -> Option<&mut Sample> {
        let near = self.samples.iter().enumerate().map(|(at, sample)| (at, sample.look.distance(look)));
        let (at, distance) = near.min_by(|one, other| one.1.total_cmp(&other.1))?;
        if distance > LOOK_LIMIT {
            return None;
        }
        let sample = self.samples.remove(at);
        self.samples.push(sample);
        self.samples.last_mut()
    }

    /// Whether whoever asks, with a block of that look to be packed, is to take a sample of it.
    fn needs_sample(&mut self, look: &Look) -> bool {
        self.earned_samples = (self.earned_samples + 1.0 / BLOCKS_PER_EARNED_SAMPLE).min(MOST_SAMPLES);
        let is_served = self.sample_for(look).is_some_and(|sample| sample.blocks < BLOCKS_PER_SAMPLE);
        let is_due = !is_served && self.earned_samples >= 1.0;
        if is_due {
            self.earned_samples -= 1.0;
        }
        is_due
    }

    /// Keeps a sample in place of the older one of its kind, or of the kind that was not seen for longest.
    fn keep(&mut self, taken: Sample) {
        if self.sample_for(&taken.look).is_some() {
            self.samples.pop();
        } else if self.samples.len() >= KINDS {
            self.samples.remove(0);
        }
        self.samples.push(taken);
    }

    fn choice(&mut self, look: Look, plain_len: usize) -> Choice {
        let saved = self.reference_bytes * GOAL - self.packed_bytes;
        // What nobody sampled is packed so that the promise holds whatever it is.
        let Some(sample) = self.sample_for(&look) else {
            return Choice { level: STRONGEST, look, share: None };
        };
        sample.blocks = sample.blocks.saturating_add(1);
        if sample.is_incompressible {
            return Choice { level: STORE, look, share: None };
        }
        // A level is right where it keeps the promise itself, or where the blocks before it were packed so
        // well that the whole keeps it.
        let expected = sample.density.unwrap_or(1.0) * plain_len as f64;
        let chosen = CHOICES
            .into_iter()
            .zip(sample.shares)
            .find(|(_, share)| *share <= GOAL || (share - GOAL) * expected <= saved);
        let last = sample.shares.last().copied().filter(|share| share.is_finite());
        let (level, share) = chosen.map_or((STRONGEST, last), |(level, share)| (level, Some(share)));
        Choice { level, look, share }
    }

    /// Takes the outcome of a block into account, and forgets a sample that did not fit it after all.
    fn note(&mut self, choice: &Choice, plain_len: usize, packed: usize) {
        let Some(share) = choice.share else { return };
        let density = packed as f64 / share / plain_len.max(1) as f64;
        let change = self
            .sample_for(&choice.look)
            .map(|sample| (density / *sample.density.get_or_insert(density) - 1.0).abs());
        let fits = change.is_some_and(|change| change <= DENSITY_LIMIT);
        if change.is_some() && !fits {
            // It is the last one, since it was asked for.
            self.samples.pop();
        }
        let share = if fits { share } else { share.max(UNKNOWN_SHARE) };
        self.reference_bytes += packed as f64 / share;
        self.packed_bytes += packed as f64;
    }
}

/// The engine's level where one level keeps the promise for every kind of data; measured over prose,
/// JSON, logs, numerics, bytea, packed data and a dump.
fn fixed_level(level: u8) -> Option<u8> {
    match level {
        7.. => None,
        3..=6 => Some(level),
        _ => Some(WEAKEST),
    }
}

#[cfg(test)]
mod tests;
