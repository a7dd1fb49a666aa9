//! A manifest.
#![no_main]

pgkeep_fuzz::fuzz_target!(|bytes: &[u8]| pgkeep_fuzz::run("manifest", bytes));
