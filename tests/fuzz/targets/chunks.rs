//! Sealed bytes with a change in them.
#![no_main]

pgkeep_fuzz::fuzz_target!(|bytes: &[u8]| pgkeep_fuzz::run("chunks", bytes));
