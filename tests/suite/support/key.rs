//! Keys as the format defines them, made and read without the program's own code.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::tools::sha256_hex;

/// What each key starts with.
pub(crate) const MARK: &str = "PGKEEP-KEY-1-";

/// A key that a test made up from a number.
pub(crate) fn made_up(seed: u8) -> String {
    let bytes: Vec<u8> =
        (0..32_u8).map(|at| at.wrapping_mul(37).wrapping_add(seed.wrapping_mul(91))).collect();
    format!("{MARK}{}", URL_SAFE_NO_PAD.encode(bytes))
}

/// The id of a key: the first 16 hex digits of SHA-256("pgkeep-key-id" || key).
pub(crate) fn id(text: &str) -> String {
    let encoded = text.trim().strip_prefix(MARK).expect("the mark of a key");
    let mut hashed = b"pgkeep-key-id".to_vec();
    hashed.extend(URL_SAFE_NO_PAD.decode(encoded).unwrap());
    sha256_hex(&hashed)[..16].to_owned()
}

/// Writes a new file that only its owner can read.
pub(crate) fn write_private(path: &Path, text: &str) {
    if path.exists() {
        fs::remove_file(path).unwrap();
    }
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}
