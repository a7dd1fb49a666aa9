//! Signatures as Standard Webhooks has them (<https://www.standardwebhooks.com>): HMAC-SHA256 over id, time and body.

use anyhow::{Context as _, Result, ensure};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

const MARK: &str = "whsec_";
/// How long a secret is, by the specification.
const LENGTH: std::ops::RangeInclusive<usize> = 24..=64;

/// What signs.
pub(super) struct Signer {
    key: hmac::Key,
}

impl Signer {
    /// With a secret as it is written: `whsec_` and its bytes in base64.
    ///
    /// # Errors
    /// When it is anything else.
    pub(super) fn new(secret: &str) -> Result<Self> {
        let form = "a secret is `whsec_` and 24 to 64 bytes in base64";
        let text = secret.strip_prefix(MARK).context(form)?;
        let bytes = Zeroizing::new(STANDARD.decode(text).ok().context(form)?);
        ensure!(LENGTH.contains(&bytes.len()), "{form}: this one has {}", bytes.len());
        Ok(Self { key: hmac::Key::new(hmac::HMAC_SHA256, &bytes) })
    }

    /// The value of `webhook-signature`.
    pub(super) fn sign(&self, id: &str, stamp: &str, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.key);
        for piece in [id.as_bytes(), b".", stamp.as_bytes(), b".", body] {
            context.update(piece);
        }
        format!("v1,{}", STANDARD.encode(context.sign()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The example of the specification's own libraries.
    #[test]
    fn a_known_signature() {
        let signer = Signer::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature = signer.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        for text in ["", "whsec_", "whsec_AAAA", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!!!!"] {
            assert!(Signer::new(text).is_err(), "{text}");
        }
        assert!(Signer::new(&format!("whsec_{}", STANDARD.encode([7u8; 65]))).is_err());
    }
}
