//! A script of `pg_dumpall --globals-only`.
#![no_main]

pgkeep_fuzz::fuzz_target!(|bytes: &[u8]| pgkeep_fuzz::run("globals", bytes));
