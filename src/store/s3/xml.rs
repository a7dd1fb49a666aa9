//! The few XML documents of the S3 API that this store reads. They come from outside: bounded by the
//! caller, read leniently (servers leave fields out), and never trusted to be what was asked for.
//! Formats: Amazon S3 API Reference, `Error`, `InitiateMultipartUpload`, `CompleteMultipartUpload`,
//! `UploadPartCopy`, `ListMultipartUploads`, `ListObjectsV2`, `ListObjectVersions`.

use std::fmt;
use std::marker::PhantomData;

use quick_xml::Reader;
use quick_xml::events::Event;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Entries that a page may have. A thousand are asked for: what has so many more is no page of that list.
const MOST_ENTRIES: usize = 10_000;

/// What a refusal says.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ErrorDocument {
    #[serde(rename = "Code", default)]
    pub(super) code: String,
    #[serde(rename = "Message", default)]
    pub(super) message: String,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Initiated {
    #[serde(rename = "UploadId", default)]
    pub(super) upload_id: String,
}

/// What a completion and a copy of a part give back.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Tagged {
    #[serde(rename = "ETag", default)]
    etag: String,
}

impl Tagged {
    /// The entity tag, without quotes.
    pub(super) fn tag(&self) -> Option<String> {
        let tag = self.etag.trim().trim_matches('"');
        (!tag.is_empty()).then(|| tag.to_owned())
    }
}

/// One page of unfinished uploads.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Uploads {
    #[serde(rename = "IsTruncated", default)]
    pub(super) is_truncated: String,
    #[serde(rename = "NextKeyMarker", default)]
    pub(super) next_key_marker: String,
    #[serde(rename = "NextUploadIdMarker", default)]
    pub(super) next_upload_id_marker: String,
    #[serde(rename = "Upload", default, deserialize_with = "bounded")]
    pub(super) entries: Vec<UnfinishedUpload>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct UnfinishedUpload {
    #[serde(rename = "Key", default)]
    pub(super) key: String,
    #[serde(rename = "UploadId", default)]
    pub(super) upload_id: String,
    #[serde(rename = "Initiated", default)]
    pub(super) initiated: String,
}

/// One page of objects.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Objects {
    #[serde(rename = "IsTruncated", default)]
    pub(super) is_truncated: String,
    #[serde(rename = "NextContinuationToken", default)]
    pub(super) next_token: String,
    #[serde(rename = "Contents", default, deserialize_with = "bounded")]
    pub(super) entries: Vec<ListedObject>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct ListedObject {
    #[serde(rename = "Key", default)]
    pub(super) key: String,
    #[serde(rename = "Size", default)]
    pub(super) size: Option<u64>,
    #[serde(rename = "LastModified", default)]
    pub(super) last_modified: String,
}

/// One page of versions: what it holds, in its order, which is that of their ages.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Versions {
    #[serde(rename = "$value", default, deserialize_with = "bounded")]
    pub(super) items: Vec<VersionItem>,
}

/// Versions and marks of a removal stand among each other.
#[derive(Debug, Deserialize)]
pub(super) enum VersionItem {
    Version(KeptVersion),
    DeleteMarker(KeptVersion),
    IsTruncated(String),
    NextKeyMarker(String),
    NextVersionIdMarker(String),
    #[serde(other)]
    Other,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct KeptVersion {
    #[serde(rename = "Key", default)]
    pub(super) key: String,
    #[serde(rename = "VersionId", default)]
    pub(super) version_id: String,
}

/// Reads the entries of a page, not all of which are to be held where there are too many.
fn bounded<'de, D: Deserializer<'de>, T: Deserialize<'de>>(page: D) -> Result<Vec<T>, D::Error> {
    struct Entries<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
        type Value = Vec<T>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(formatter, "at most {MOST_ENTRIES} entries")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut page: A) -> Result<Vec<T>, A::Error> {
            let mut entries = Vec::new();
            while let Some(entry) = page.next_element()? {
                if entries.len() == MOST_ENTRIES {
                    return Err(A::Error::custom("a page of too many entries"));
                }
                entries.push(entry);
            }
            Ok(entries)
        }
    }

    page.deserialize_seq(Entries(PhantomData))
}

/// Reads a document whose outermost element is `root`; `None` for anything else.
pub(super) fn parse<T: for<'de> Deserialize<'de>>(root: &str, body: &[u8]) -> Option<T> {
    // Amazon keeps a slow completion alive with spaces before the document.
    let text = std::str::from_utf8(body).ok()?.trim_start_matches('\u{feff}').trim();
    if !is_rooted(root, text) {
        return None;
    }
    quick_xml::de::from_str(text).ok()
}

fn is_rooted(root: &str, text: &str) -> bool {
    let mut reader = Reader::from_str(text);
    loop {
        match reader.read_event() {
            Ok(Event::Start(element) | Event::Empty(element)) => {
                return element.local_name().as_ref() == root.as_bytes();
            }
            Ok(Event::Eof) | Err(_) => return false,
            Ok(_) => {}
        }
    }
}
