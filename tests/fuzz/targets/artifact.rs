//! A whole artifact: header, chunks, and what is packed inside.
#![no_main]

pgkeep_fuzz::fuzz_target!(|bytes: &[u8]| pgkeep_fuzz::run("artifact", bytes));
