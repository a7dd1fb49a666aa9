//! What PostgreSQL's programs print.
#![no_main]

pgkeep_fuzz::fuzz_target!(|bytes: &[u8]| pgkeep_fuzz::run("output", bytes));
