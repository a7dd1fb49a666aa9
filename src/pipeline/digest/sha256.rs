//! SHA-256 by the implementation that is the quickest on this processor. It knows nothing of what it
//! hashes.

use aws_lc_rs::digest;
use sha2::{Digest, Sha256};

/// A SHA-256 under way.
#[derive(Clone)]
pub(super) enum Running {
    /// The usual one: quick wherever the processor has instructions for SHA-256.
    Sha2(Sha256),
    /// On x86-64 without them it takes half the time, and TLS brings it along anyway.
    AwsLc(digest::Context),
}

impl Default for Running {
    fn default() -> Self {
        if lacks_instructions() {
            Self::AwsLc(digest::Context::new(&digest::SHA256))
        } else {
            Self::Sha2(Sha256::new())
        }
    }
}

impl Running {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha2(hash) => hash.update(bytes),
            Self::AwsLc(hash) => hash.update(bytes),
        }
    }

    /// In lower-case hex.
    pub(super) fn finish(self) -> String {
        match self {
            Self::Sha2(hash) => crate::key::hex(&hash.finalize()),
            Self::AwsLc(hash) => crate::key::hex(hash.finish().as_ref()),
        }
    }
}

/// Whether this is an x86-64 processor from before its SHA extensions.
fn lacks_instructions() -> bool {
    #[cfg(target_arch = "x86_64")]
    return !std::arch::is_x86_feature_detected!("sha");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// FIPS 180-4's own example.
    #[test]
    fn abc() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        for mut hash in [Running::Sha2(Sha256::new()), Running::AwsLc(digest::Context::new(&digest::SHA256))]
        {
            hash.update(b"a");
            hash.update(b"bc");
            assert_eq!(hash.finish(), expected);
        }
    }

    proptest! {
        #[test]
        fn both_say_the_same(pieces in proptest::collection::vec(
            proptest::collection::vec(any::<u8>(), 0..300), 0..8)) {
            let (mut one, mut other) =
                (Running::Sha2(Sha256::new()), Running::AwsLc(digest::Context::new(&digest::SHA256)));
            for piece in &pieces {
                one.update(piece);
                other.update(piece);
            }
            prop_assert_eq!(one.finish(), other.finish());
        }
    }
}
