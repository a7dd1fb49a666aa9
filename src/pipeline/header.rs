//! The header of an artifact, format 1: what stands before the sealed chunks. It knows keys, and
//! nothing of the chunks.
//!
//! `magic "PGKEEP\0\1" | header length, u32 little endian | header, JSON`. All of it is the associated
//! data of the first chunk, so a changed header fails to open.

use std::io::Read;

use anyhow::{Context, Result, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use orion::hazardous::aead::streaming::{Nonce, SecretKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::damage::Damage;
use crate::exit::{Failure, clip, shown};
use crate::key::{Key, KeyRing};
use crate::name::BackupId;

const MAGIC: [u8; 8] = *b"PGKEEP\0\x01";
const HEADER_LIMIT_BYTES: u32 = 64 * 1024;
const CIPHER: &str = "xchacha20poly1305-secretstream";
const NONCE_LEN: usize = 24;
/// Where the JSON of the header begins.
const HEADER_OFFSET: u64 = 12;

/// Bytes of plain text in every chunk but the last.
pub const CHUNK_LEN: usize = 64 * 1024;

/// How the bytes inside the seal are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Packing {
    /// gzip (RFC 1952), of one member or several.
    Gzip,
    /// Zstandard (RFC 8878).
    Zstd,
    /// As the source wrote them.
    None,
}

impl Packing {
    /// What the name of a packed file ends with.
    #[must_use]
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Gzip => ".gz",
            Self::Zstd => ".zst",
            Self::None => "",
        }
    }

    /// The word for it in headers and manifests.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::None => "none",
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct WrappedKey {
    #[serde(rename = "type")]
    kind: String,
    id: String,
    wrapped: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    id: BackupId,
    cipher: String,
    chunk: usize,
    compression: Packing,
    nonce: String,
    keys: Vec<WrappedKey>,
}

/// What seals or opens the chunks behind a header.
pub struct Secrets {
    /// The data key of this artifact.
    pub data_key: SecretKey,
    /// The nonce that starts the stream.
    pub nonce: Nonce,
    /// All bytes before the first chunk.
    pub header: Vec<u8>,
    /// The backup that the artifact says it is of.
    pub id: BackupId,
    /// How the bytes inside are packed.
    pub packing: Packing,
}

/// Makes the header of a new artifact, with a fresh data key wrapped by `key`.
///
/// # Errors
/// When the random source fails.
pub fn create(id: &BackupId, packing: Packing, key: &Key) -> Result<Secrets> {
    let mut raw_key = Zeroizing::new([0u8; 32]);
    let mut raw_nonce = [0u8; NONCE_LEN];
    orion::util::secure_rand_bytes(raw_key.as_mut_slice())
        .and_then(|()| orion::util::secure_rand_bytes(&mut raw_nonce))
        .map_err(|_| anyhow!("the operating system gave no random bytes"))?;
    let header = Header {
        id: id.clone(),
        cipher: CIPHER.to_owned(),
        chunk: CHUNK_LEN,
        compression: packing,
        nonce: STANDARD.encode(raw_nonce),
        keys: vec![WrappedKey { kind: "shared".to_owned(), id: key.id(), wrapped: key.wrap(&raw_key)? }],
    };
    let json = serde_json::to_vec(&header).context("the artifact's header")?;
    let length = u32::try_from(json.len())?;
    if length > HEADER_LIMIT_BYTES {
        bail!("the artifact's header is larger than 64 KiB");
    }
    let mut bytes = Vec::with_capacity(MAGIC.len() + 4 + json.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&json);
    secrets(bytes, &header, raw_key.as_slice(), &raw_nonce)
}

/// Reads a header from the start of an artifact and opens its data key.
///
/// # Errors
/// When the bytes are no artifact of this format, or no key of the ring opens it.
pub fn read(artifact: &mut dyn Read, ring: &KeyRing) -> Result<Secrets> {
    let mut bytes = vec![0u8; MAGIC.len() + 4];
    whole(artifact.read_exact(&mut bytes), "the artifact ends within its first 12 bytes")?;
    let (magic, length) = bytes.split_at(MAGIC.len());
    if magic != MAGIC {
        bail!(Damage::at(0, "not a pgkeep artifact of format 1: the first 8 bytes differ (offset 0)"));
    }
    let length = u32::from_le_bytes(<[u8; 4]>::try_from(length)?);
    if length > HEADER_LIMIT_BYTES {
        let message = format!("the header says it has {length} bytes, more than 64 KiB (offset 8)");
        bail!(Damage::at(8, message));
    }
    let mut json = vec![0u8; usize::try_from(length)?];
    whole(artifact.read_exact(&mut json), &format!("the artifact ends within its header of {length} bytes"))?;
    let in_header =
        |message: String| Damage::at(HEADER_OFFSET, format!("{message} (offset {HEADER_OFFSET})"));
    let header: Header = serde_json::from_slice(&json)
        .map_err(|error| shown(&error.to_string()))
        .map_err(|error| in_header(format!("the artifact's header is damaged: {error}")))?;
    bytes.extend_from_slice(&json);
    if header.cipher != CIPHER || header.chunk != CHUNK_LEN {
        let cipher = clip(header.cipher).escape_default().to_string();
        bail!(in_header(format!("cipher `{cipher}` with chunks of {} is unknown here", header.chunk)));
    }
    let raw_key = open_data_key(&header, ring)?;
    let raw_nonce = STANDARD.decode(&header.nonce);
    let raw_nonce =
        raw_nonce.map_err(|error| in_header(format!("the header's nonce is damaged: {error}")))?;
    if raw_nonce.len() != NONCE_LEN {
        bail!(in_header(format!("the header's nonce has {} bytes, not {NONCE_LEN}", raw_nonce.len())));
    }
    secrets(bytes, &header, raw_key.as_slice(), &raw_nonce)
}

/// An end that comes too early is damage; a source that can't be read is not.
fn whole(read: std::io::Result<()>, message: &str) -> Result<()> {
    match read {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            bail!(Damage { message: message.to_owned(), offset_bytes: None })
        }
        read => Ok(read?),
    }
}

fn open_data_key(header: &Header, ring: &KeyRing) -> Result<Zeroizing<[u8; 32]>> {
    for wrapped in header.keys.iter().filter(|wrapped| wrapped.kind == "shared") {
        if let Some(key) = ring.find(&wrapped.id) {
            return key.unwrap_data_key(&wrapped.wrapped).map_err(|error| {
                let message = format!("the data key in the header does not open: {error:#}");
                Damage::at(HEADER_OFFSET, message).into()
            });
        }
    }
    let ids: Vec<_> = header.keys.iter().map(|key| key.id.escape_default().to_string()).collect();
    let ids = clip(ids.join(", "));
    let failure = Failure::failed(format!("no key at hand opens it: it was sealed by {ids}"))
        .hint("name the key's file in `[encryption] open_with`; `pgkeep key show FILE` prints a key's id");
    Err(failure.into())
}

fn secrets(bytes: Vec<u8>, header: &Header, raw_key: &[u8], raw_nonce: &[u8]) -> Result<Secrets> {
    Ok(Secrets {
        data_key: SecretKey::try_from(raw_key).map_err(|_| anyhow!("the data key is unusable"))?,
        nonce: Nonce::try_from(raw_nonce)
            .map_err(|_| anyhow!("the nonce has {} bytes, not {NONCE_LEN}", raw_nonce.len()))?,
        header: bytes,
        id: header.id.clone(),
        packing: header.compression,
    })
}
