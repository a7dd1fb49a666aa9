//! What is inside the seal, gzip or zstd.
#![no_main]

pgkeep_fuzz::fuzz_target!(|bytes: &[u8]| pgkeep_fuzz::run("packed", bytes));
