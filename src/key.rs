//! Keys: the file format, the id, the ring of keys that can open artifacts, and what is done with one.
//! It knows no artifact and no configuration.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use orion::{aead, auth};
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::exit::{Code, Failure, code_of};
use crate::files;

const KEY_LEN: usize = 32;
const LINE_START: &str = "PGKEEP-KEY-1-";
const ID_DOMAIN: &[u8] = b"pgkeep-key-id";
const MAC_DOMAIN: &[u8] = b"pgkeep-manifest-mac-1";

/// A key of 32 random bytes: it wraps the data key of each artifact and signs manifests.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Key {
    bytes: [u8; KEY_LEN],
}

impl Key {
    /// A fresh key from the operating system's random source.
    ///
    /// # Errors
    /// When that source fails.
    pub fn generate() -> Result<Self> {
        let mut bytes = [0u8; KEY_LEN];
        orion::util::secure_rand_bytes(&mut bytes)
            .map_err(|_| anyhow!("the operating system gave no random bytes"))?;
        Ok(Self { bytes })
    }

    /// Reads the line `PGKEEP-KEY-1-<base64url of 32 bytes>`.
    ///
    /// # Errors
    /// When the text is anything else; the error does not repeat it.
    pub fn parse(text: &str) -> Result<Self> {
        let body = text
            .trim()
            .strip_prefix(LINE_START)
            .ok_or_else(|| anyhow!("it does not start with `{LINE_START}`"))?;
        let decoded = Zeroizing::new(
            URL_SAFE_NO_PAD
                .decode(body)
                .map_err(|_| anyhow!("what follows `{LINE_START}` is not base64url"))?,
        );
        let bytes = <[u8; KEY_LEN]>::try_from(decoded.as_slice())
            .map_err(|_| anyhow!("it holds {} bytes, a key has {KEY_LEN}", decoded.len()))?;
        Ok(Self { bytes })
    }

    /// The line that [`Key::parse`] reads, with its line feed.
    #[must_use]
    pub fn line(&self) -> Zeroizing<String> {
        let body = Zeroizing::new(URL_SAFE_NO_PAD.encode(self.bytes));
        Zeroizing::new(format!("{LINE_START}{}\n", body.as_str()))
    }

    /// Reads a key file.
    ///
    /// # Errors
    /// When it is missing, readable by others, or no key.
    pub fn read(path: &Path) -> Result<Self> {
        let shown = path.display();
        let text = files::read_secret(path).with_context(|| format!("key file `{shown}`"))?;
        Self::parse(&text)
            .map_err(|error| error.context(Failure::usage(format!("`{shown}` is not a pgkeep key file"))))
    }

    /// Writes the key into a new file of mode 0600.
    ///
    /// # Errors
    /// When there is a file of that name already, or it can't be written.
    pub fn write_new(&self, path: &Path) -> Result<()> {
        files::create_private(path, self.line().as_bytes())
    }

    /// The key's fingerprint: the first 16 hex digits of SHA-256("pgkeep-key-id" || key).
    #[must_use]
    pub fn id(&self) -> String {
        let digest = Sha256::new_with_prefix(ID_DOMAIN).chain_update(self.bytes).finalize();
        hex(digest.as_slice()).chars().take(16).collect()
    }

    /// Seals a data key under this one: nonce, ciphertext and tag, as `orion::aead::seal` returns them
    /// (XChaCha20-Poly1305, no associated data), in base64.
    ///
    /// # Errors
    /// When the random source fails.
    pub fn wrap(&self, data_key: &[u8; KEY_LEN]) -> Result<String> {
        let sealed = aead::seal(&self.aead_key()?, data_key)
            .map_err(|_| anyhow!("the data key could not be sealed"))?;
        Ok(STANDARD.encode(sealed))
    }

    /// Opens what [`Key::wrap`] made.
    ///
    /// # Errors
    /// When it was wrapped by another key, or changed.
    pub fn unwrap_data_key(&self, wrapped: &str) -> Result<Zeroizing<[u8; KEY_LEN]>> {
        let sealed = STANDARD.decode(wrapped).map_err(|_| anyhow!("the wrapped data key is not base64"))?;
        let opened = Zeroizing::new(
            aead::open(&self.aead_key()?, &sealed)
                .map_err(|_| anyhow!("the data key does not open: the header was changed"))?,
        );
        let bytes = <[u8; KEY_LEN]>::try_from(opened.as_slice())
            .map_err(|_| anyhow!("the data key has {} bytes, not {KEY_LEN}", opened.len()))?;
        Ok(Zeroizing::new(bytes))
    }

    /// A keyed hash of `message` under a key derived from this one (BLAKE2b, `orion::auth`), in base64.
    ///
    /// # Errors
    /// Never for a sound key; `orion` says so by a result.
    pub fn mac(&self, message: &[u8]) -> Result<String> {
        let tag = auth::authenticate(&self.mac_key()?, message)
            .map_err(|_| anyhow!("the keyed hash could not be computed"))?;
        Ok(STANDARD.encode(tag.unprotected_as_ref()))
    }

    /// A key derived from this one, for hashes of rows that stand in the open: without it nobody can try what
    /// they might be of.
    ///
    /// # Errors
    /// As [`Key::mac`].
    pub fn row_key(&self) -> Result<[u8; 16]> {
        let tag = auth::authenticate(&self.mac_key()?, b"pgkeep-fingerprint-rows")
            .map_err(|_| anyhow!("the key of rows could not be computed"))?;
        let first = tag.unprotected_as_ref().first_chunk();
        first.copied().context("the key of rows is too short")
    }

    /// Whether `mac` is what [`Key::mac`] makes of `message`, compared in constant time.
    ///
    /// # Errors
    /// As [`Key::mac`].
    pub fn mac_matches(&self, message: &[u8], mac: &str) -> Result<bool> {
        let Some(tag) = STANDARD.decode(mac).ok().and_then(|raw| auth::Tag::try_from(raw.as_slice()).ok())
        else {
            return Ok(false);
        };
        Ok(auth::authenticate_verify(&tag, &self.mac_key()?, message).is_ok())
    }

    fn aead_key(&self) -> Result<aead::SecretKey> {
        aead::SecretKey::try_from(self.bytes.as_slice()).map_err(|_| anyhow!("the key is unusable"))
    }

    fn mac_key(&self) -> Result<auth::SecretKey> {
        let own =
            auth::SecretKey::try_from(self.bytes.as_slice()).map_err(|_| anyhow!("the key is unusable"))?;
        let derived = auth::authenticate(&own, MAC_DOMAIN).map_err(|_| anyhow!("no key could be derived"))?;
        auth::SecretKey::try_from(derived.unprotected_as_ref())
            .map_err(|_| anyhow!("no key could be derived"))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id())
    }
}

/// The file of a key that was rotated out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OlderFile {
    /// The key file.
    pub file: PathBuf,
    /// What began then or later it does not prove; `None`: what began since the sealing key's first backup.
    pub until: Option<Timestamp>,
}

/// Whose key a signature is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signer {
    /// The key that seals.
    Sealing,
    /// A key that was rotated out: it opens what it sealed, and may be in other hands by now.
    Older {
        /// Its id.
        id: String,
        /// What its entry in the configuration says.
        until: Option<Timestamp>,
    },
}

/// A key that was rotated out.
#[derive(Debug)]
struct Older {
    key: Key,
    until: Option<Timestamp>,
}

/// The keys at hand: one seals, all open.
#[derive(Debug)]
pub struct KeyRing {
    sealing: Key,
    older: Vec<Older>,
}

impl KeyRing {
    /// Reads the key that seals and those that only open.
    ///
    /// # Errors
    /// When one of the files can't be used; it is named.
    pub fn read(sealing: &Path, older: &[OlderFile]) -> Result<Self> {
        let hint = "`pgkeep key new --output FILE` makes a key; a lost one must come from its safe copy";
        let read = |path: &Path| {
            Key::read(path).map_err(|error| {
                let missing = error.chain().any(|cause| {
                    cause
                        .downcast_ref::<std::io::Error>()
                        .is_some_and(|cause| cause.kind() == std::io::ErrorKind::NotFound)
                });
                if missing {
                    let what = format!("the key file `{}` is missing", path.display());
                    error.context(Failure::usage(what).hint(hint))
                } else if code_of(&error) == Code::Usage {
                    error
                } else {
                    error.context(Failure::usage(format!("no key can be had from `{}`", path.display())))
                }
            })
        };
        Ok(Self {
            sealing: read(sealing)?,
            older: older
                .iter()
                .map(|entry| Ok(Older { key: read(&entry.file)?, until: entry.until }))
                .collect::<Result<_>>()?,
        })
    }

    /// A ring of one key.
    #[must_use]
    pub fn of(sealing: Key) -> Self {
        Self { sealing, older: Vec::new() }
    }

    /// The key that seals.
    #[must_use]
    pub fn sealing(&self) -> &Key {
        &self.sealing
    }

    /// The key of that id, if it is at hand.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<&Key> {
        self.find_signer(id).map(|(key, _)| key)
    }

    /// The same, and what it is.
    #[must_use]
    pub fn find_signer(&self, id: &str) -> Option<(&Key, Signer)> {
        if self.sealing.id() == id {
            return Some((&self.sealing, Signer::Sealing));
        }
        let older = self.older.iter().find(|older| older.key.id() == id)?;
        Some((&older.key, Signer::Older { id: id.to_owned(), until: older.until }))
    }
}

/// Lower-case hexadecimal digits of `bytes`.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).map_or('?', |digit| char::from(*digit));
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_line_reads_back_and_wraps() {
        let key = Key::generate().unwrap();
        let again = Key::parse(&key.line()).unwrap();
        assert_eq!(again.id(), key.id());
        let data = [7u8; 32];
        let wrapped = key.wrap(&data).unwrap();
        assert_eq!(STANDARD.decode(&wrapped).unwrap().len(), 24 + 32 + 16);
        assert_eq!(*again.unwrap_data_key(&wrapped).unwrap(), data);
        assert!(Key::generate().unwrap().unwrap_data_key(&wrapped).is_err());
    }

    #[test]
    fn the_mac_binds_message_and_key() {
        let key = Key::generate().unwrap();
        let mac = key.mac(b"message").unwrap();
        assert!(key.mac_matches(b"message", &mac).unwrap());
        assert!(!key.mac_matches(b"massage", &mac).unwrap());
        assert!(!Key::generate().unwrap().mac_matches(b"message", &mac).unwrap());
        assert!(!key.mac_matches(b"message", "@@").unwrap());
    }

    #[test]
    fn neither_debug_nor_error_shows_the_key() {
        let key = Key::generate().unwrap();
        let body = key.line().trim().trim_start_matches(LINE_START).to_owned();
        assert!(!format!("{key:?}").contains(&body));
        let error = Key::parse(&format!("{LINE_START}{body}AA")).unwrap_err();
        assert!(!format!("{error:#}").contains(&body));
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "(PGKEEP-KEY-1-)?\\PC{0,60}") {
            if let Ok(key) = Key::parse(&text) {
                let line = key.line();
                prop_assert_eq!(line.trim(), text.trim());
            }
        }
    }
}
