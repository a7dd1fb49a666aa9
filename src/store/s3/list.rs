//! The unfinished multipart uploads of a bucket, page by page. It must not decide which of them are
//! left over: the caller knows what is running.

use s3::command::Command;

use super::client::Extras;
use super::error::S3Error;
use super::xml::{self, Uploads};
use super::{Shared, Stale};

const PAGE_UPLOADS: usize = 1000;
const PAGE_LIMIT_BYTES: u64 = 8 * 1024 * 1024;
/// A server that never ends its list is not believed for longer than this.
const MOST_PAGES: usize = 100;

/// Lists the uploads whose key starts with `path_prefix`.
pub(super) fn unfinished_uploads(shared: &Shared, path_prefix: &str) -> Result<Vec<Stale>, S3Error> {
    let operation = "list of unfinished uploads";
    let mut found = Vec::new();
    let mut key_marker = None;
    let mut upload_id_marker = None;
    for _ in 0..MOST_PAGES {
        let page = page(shared, operation, path_prefix, key_marker.as_deref(), upload_id_marker.as_deref())?;
        for upload in page.entries {
            // Not every server takes the prefix at its word.
            if upload.key.starts_with(path_prefix) && !upload.upload_id.is_empty() {
                found.push(Stale { path: upload.key, handle: upload.upload_id });
            }
        }
        let next_key = Some(page.next_key_marker).filter(|marker| !marker.is_empty());
        let next_id = Some(page.next_upload_id_marker).filter(|marker| !marker.is_empty());
        let is_stuck = next_key == key_marker && next_id == upload_id_marker;
        if page.is_truncated.trim() != "true" || next_key.is_none() || is_stuck {
            return Ok(found);
        }
        key_marker = next_key;
        upload_id_marker = next_id;
    }
    Err(S3Error::refused(operation, format!("the list has no end after {MOST_PAGES} pages")))
}

fn page(
    shared: &Shared,
    operation: &str,
    path_prefix: &str,
    key_marker: Option<&str>,
    upload_id_marker: Option<&str>,
) -> Result<Uploads, S3Error> {
    shared.policy.run(|| {
        let command = Command::ListMultipartUploads {
            prefix: Some(path_prefix),
            delimiter: None,
            key_marker: key_marker.map(str::to_owned),
            upload_id_marker: upload_id_marker.map(str::to_owned),
            max_uploads: Some(PAGE_UPLOADS),
        };
        let client = &shared.client;
        let answer = client.send(operation, "", command, Extras::default())?;
        let body = client.read_body(operation, answer, PAGE_LIMIT_BYTES)?;
        xml::parse("ListMultipartUploadsResult", &body).ok_or_else(|| {
            client
                .hidden_refusal(operation, &body)
                .unwrap_or_else(|| S3Error::refused(operation, "the answer is no such list"))
        })
    })
}
