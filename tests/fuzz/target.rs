//! What the targets share: bytes go to the parser of the target's name, and a broken promise is a crash.

pub use libfuzzer_sys::fuzz_target;

/// Gives bytes to a parser.
///
/// # Panics
/// When it does, or when the bytes broke a promise.
pub fn run(name: &str, bytes: &[u8]) {
    if let Err(broken) = pgkeep::fuzzing::run(name, bytes) {
        panic!("{name}: {broken}");
    }
}
