//! A run of bytes of an artifact, as it goes from the pipeline to every store. It knows neither.

use bytes::Bytes;

/// One part of an artifact, shared by every store that takes it. All parts of one artifact but the last
/// have the same size (R2 refuses anything else).
#[derive(Clone, Debug)]
pub struct Part {
    /// Counts from 1, as in the S3 API.
    pub number: u32,
    /// The bytes, in order.
    pub blocks: Vec<Bytes>,
    /// The sum of the blocks' lengths.
    pub size_bytes: u64,
    /// MD5 of the bytes, computed once for all stores (the Content-MD5 of an upload).
    pub md5: [u8; 16],
}
