//! Kills at random moments, by a seed that is printed. `PGKEEP_TEST_SEED` sets another one, and
//! `PGKEEP_TEST_KILLS` how many there are in each of the sites.

#![allow(clippy::print_stderr, reason = "a seed that nobody sees can't be tried again")]

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::world::World;

const SITES: u64 = 8;
const KILLS: u64 = 5;
const SEED: u64 = 20_261_125;

fn number(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).ok().map_or(usual, |text| text.parse().unwrap())
}

/// xorshift64*: the same numbers for the same seed, everywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16) % limit
    }
}

fn kill_again_and_again(site: u64, seed: u64, kills: u64) {
    let mut dice = Dice(seed.wrapping_add(site).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let world = World::new();
    let begun = Instant::now();
    world.next_run("the run that is measured");
    let usual = u64::try_from(begun.elapsed().as_micros()).unwrap();
    let mut ended_before = 0;
    for kill in 0..kills {
        let moment = Duration::from_micros(dice.below(usual + usual / 10));
        let running = world.site.pgkeep(["backup", "full"]).any_stderr().any_stdout().start();
        std::thread::sleep(moment);
        if running.try_signal(Signal::KILL) {
            running.await_death();
        } else {
            running.finish();
            ended_before += 1;
        }
        eprintln!("site {site}: kill {kill} after {moment:?}");
        world.assert_sound_after_death();
    }
    assert!(ended_before < kills, "no run was killed");
    world.next_run("the last of them");
    world.assert_all_settled();
}

#[test]
fn at_random_moments() {
    let (seed, kills) = (number("PGKEEP_TEST_SEED", SEED), number("PGKEEP_TEST_KILLS", KILLS));
    eprintln!("PGKEEP_TEST_SEED={seed} PGKEEP_TEST_KILLS={kills}");
    let sites: Vec<_> =
        (0..SITES).map(|site| std::thread::spawn(move || kill_again_and_again(site, seed, kills))).collect();
    for site in sites {
        site.join().unwrap();
    }
}
