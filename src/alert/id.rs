//! Ids that nobody else has: of alerts, of deliveries, of runs.

use anyhow::{Result, anyhow};

/// The id of an alert: twelve hexadecimal digits, short enough for a text message.
///
/// # Errors
/// When the operating system gives no random bytes.
pub fn alert_id() -> Result<String> {
    let mut bytes = [0u8; 6];
    fill(&mut bytes)?;
    Ok(crate::key::hex(&bytes))
}

/// A random UUID (RFC 9562, version 4).
///
/// # Errors
/// As [`alert_id`].
pub fn uuid() -> Result<String> {
    let mut bytes = [0u8; 16];
    fill(&mut bytes)?;
    let [_, _, _, _, _, _, version, _, variant, ..] = &mut bytes;
    *version = *version & 0x0f | 0x40;
    *variant = *variant & 0x3f | 0x80;
    let digits = crate::key::hex(&bytes);
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if matches!(position, 8 | 12 | 16 | 20) {
            text.push('-');
        }
        text.push(digit);
    }
    Ok(text)
}

fn fill(bytes: &mut [u8]) -> Result<()> {
    orion::util::secure_rand_bytes(bytes).map_err(|_| anyhow!("the operating system gave no random bytes"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ids_have_their_form_and_are_not_the_same_twice() {
        let (one, other) = (uuid().unwrap(), uuid().unwrap());
        assert_ne!(one, other);
        for id in [one, other] {
            let groups: Vec<usize> = id.split('-').map(str::len).collect();
            assert_eq!(groups, [8, 4, 4, 4, 12]);
            assert_eq!(id.chars().nth(14), Some('4'), "{id}");
            assert!(matches!(id.chars().nth(19), Some('8' | '9' | 'a' | 'b')), "{id}");
        }
        let id = alert_id().unwrap();
        assert!(id.len() == 12 && id.chars().all(|c| c.is_ascii_hexdigit()), "{id}");
    }
}
