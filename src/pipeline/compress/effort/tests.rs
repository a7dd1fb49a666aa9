//! The choice of levels, block by block.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation)]

use super::*;

const BLOCK: usize = 256 * 1024;

/// Packs blocks in turn; gives the level of each and the sizes of all.
fn pack(blocks: &[Vec<u8>]) -> (Vec<u8>, usize) {
    let mut effort = Effort::new(9).unwrap();
    let mut target = vec![0; effort.bound(BLOCK).unwrap()];
    let mut levels = Vec::new();
    let mut total = 0;
    for block in blocks {
        let choice = effort.choose(block, &mut target).unwrap();
        let packed = effort.engines.deflate(choice.level, block, &mut target).unwrap();
        effort.known().note(&choice, block.len(), packed);
        levels.push(choice.level);
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

/// A sample of `plain` whose choices come to these shares.
fn told(plain: &[u8], shares: [f64; CHOICES.len()]) -> Sample {
    Sample { look: Look::of(plain), shares, is_incompressible: false, density: Some(0.5), blocks: 0 }
}

#[test]
fn what_cannot_be_packed_is_stored_and_what_follows_is_not() {
    let (levels, _) = pack(&[random(1), random(2), words(3), words(4), random(5)]);
    assert_eq!([&levels[..2], &levels[4..]].concat(), [STORE; 3]);
    assert!(levels[2..4].iter().all(|level| CHOICES.contains(level)), "{levels:?}");
}

#[test]
fn half_a_block_that_can_be_packed_is_not_stored() {
    let mut mixed = random(1);
    mixed[..BLOCK / 2].copy_from_slice(&words(2)[..BLOCK / 2]);
    let (levels, total) = pack(&[random(3), mixed]);
    assert_eq!(levels[0], STORE);
    assert_ne!(levels[1], STORE);
    assert!(total < 2 * BLOCK - BLOCK / 5, "{total}");
}

#[test]
fn easy_data_gets_the_fastest_choice() {
    let blocks: Vec<Vec<u8>> = (1..4).map(hexadecimal).collect();
    assert_eq!(pack(&blocks).0, [CHOICES[0]; 3]);
}

#[test]
fn a_share_above_the_goal_is_chosen_only_from_what_was_saved() {
    let block = words(1);
    let mut known = Known::new();
    known.samples.push(told(&block, [1.05, 1.02, 0.99]));
    let mut level = |packed: f64| {
        (known.reference_bytes, known.packed_bytes) = (1_000_000.0, packed);
        known.choice(Look::of(&block), BLOCK).level
    };
    assert_eq!(level(1_000_000.0 * GOAL), 7);
    // What 5 would lose on this block was saved before.
    let saved = 0.05 * 0.5 * BLOCK as f64;
    assert_eq!(level(1_000_000.0 * GOAL - saved), 5);
    assert_eq!(level(1_000_000.0 * GOAL - saved / 2.0), 6);
}

#[test]
fn a_block_of_another_kind_is_sampled_before_it_is_packed() {
    let mut effort = Effort::new(9).unwrap();
    let mut target = vec![0; effort.bound(BLOCK).unwrap()];
    for block in [hexadecimal(1), words(2), hexadecimal(3), words(4)] {
        effort.deflate(&block, &mut target).unwrap();
    }
    let known = effort.known();
    // One sample of each kind, which then served the next block of it.
    assert_eq!(known.samples.iter().map(|sample| sample.blocks).collect::<Vec<_>>(), [2, 2]);
}

#[test]
fn where_no_sample_may_be_taken_the_strongest_level_is_right() {
    let mut effort = Effort::new(9).unwrap();
    let mut target = vec![0; effort.bound(BLOCK).unwrap()];
    effort.known().earned_samples = 0.0;
    let choice = effort.choose(&hexadecimal(1), &mut target).unwrap();
    assert_eq!((choice.level, choice.share), (STRONGEST, None));
}

#[test]
fn a_sample_that_does_not_fit_is_forgotten_and_what_it_told_is_not_believed() {
    let block = words(1);
    let mut known = Known::new();
    known.samples.push(told(&block, [0.9, 0.9, 0.9]));
    let choice = known.choice(Look::of(&block), BLOCK);
    known.note(&choice, BLOCK, BLOCK / 10);
    assert!(known.samples.is_empty());
    assert!(known.packed_bytes > known.reference_bytes * GOAL);
    // The outcome of a block whose sample has gone meanwhile touches no other kind.
    known.samples.push(told(&random(2), [0.9, 0.9, 0.9]));
    known.note(&choice, BLOCK, BLOCK / 10);
    assert_eq!(known.samples.len(), 1);
}

#[test]
fn one_sample_serves_a_whole_team_until_it_is_old() {
    let mut first = Effort::new(9).unwrap();
    let mut second = first.another();
    let mut target = vec![0; first.bound(BLOCK).unwrap()];
    let block = hexadecimal(1);
    for _ in 0..BLOCKS_PER_SAMPLE / 2 {
        first.deflate(&block, &mut target).unwrap();
        second.deflate(&block, &mut target).unwrap();
    }
    assert_eq!(first.known().samples[0].blocks, BLOCKS_PER_SAMPLE);
    second.deflate(&block, &mut target).unwrap();
    assert_eq!(first.known().samples[0].blocks, 1);
    assert_eq!(first.known().samples.len(), 1);
}

#[test]
fn looks_tell_kinds_apart_and_not_blocks_of_one_kind() {
    let (hex, text) = (Look::of(&hexadecimal(1)), Look::of(&words(1)));
    assert!(hex.distance(&Look::of(&hexadecimal(2))) < LOOK_LIMIT / 2.0);
    assert!(text.distance(&Look::of(&words(2))) < LOOK_LIMIT / 2.0);
    assert!(hex.distance(&text) > 2.0 * LOOK_LIMIT);
    assert!(hex.distance(&hex) < f32::EPSILON);
}

#[test]
fn a_level_that_is_none_is_refused() {
    assert!(Effort::new(0).is_err() && Effort::new(10).is_err());
}
