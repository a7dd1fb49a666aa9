//! The path of something in a store.
#![no_main]

pgkeep_fuzz::fuzz_target!(|bytes: &[u8]| pgkeep_fuzz::run("path", bytes));
