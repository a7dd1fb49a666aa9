//! A connection string, in each of its forms.
#![no_main]

pgkeep_fuzz::fuzz_target!(|bytes: &[u8]| pgkeep_fuzz::run("conninfo", bytes));
