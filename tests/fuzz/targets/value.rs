//! Lengths of time, sizes, points in time.
#![no_main]

pgkeep_fuzz::fuzz_target!(|bytes: &[u8]| pgkeep_fuzz::run("value", bytes));
