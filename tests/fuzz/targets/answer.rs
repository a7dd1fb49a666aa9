//! The body of an answer of the S3 API.
#![no_main]

pgkeep_fuzz::fuzz_target!(|bytes: &[u8]| pgkeep_fuzz::run("answer", bytes));
