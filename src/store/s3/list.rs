//! What a bucket holds, page by page: its objects, and what was not published of artifacts: multipart
//! uploads, segments, and the first segment under the artifact's own path. It must not decide which of them are left over:
//! the caller knows what is running.

use std::collections::BTreeSet;

use s3::command::Command;
use serde::Deserialize;

use super::client::Extras;
use super::error::S3Error;
use super::xml::{self, ListedObject, Objects, Uploads};
use super::{Handle, Listed, Shared, Stale, segment};

const PAGE_ENTRIES: usize = 1000;
const PAGE_LIMIT_BYTES: u64 = 8 * 1024 * 1024;
/// A server that never ends its list is not believed for longer than this.
const MOST_PAGES: usize = 100;
/// The same where all that a bucket holds is listed: ten million objects.
const MOST_LISTED_PAGES: usize = 10_000;

/// Lists what is not published of the artifacts whose path starts with `path_prefix`, in an order in which
/// it can be removed: what shows an object to be unfinished comes after the object.
pub(super) fn unpublished(shared: &Shared, path_prefix: &str) -> Result<Vec<Stale>, S3Error> {
    let mut found = unfinished_uploads(shared, path_prefix)?;
    let segments = segments(shared, path_prefix)?;
    let paths: BTreeSet<&String> = segments.iter().map(|stale| &stale.path).collect();
    for path in paths {
        if shared.is_unfinished(path)? {
            found.push(Stale { path: path.clone(), handle: Handle::Object(path.clone()) });
        }
    }
    found.extend(segments);
    Ok(found)
}

fn unfinished_uploads(shared: &Shared, path_prefix: &str) -> Result<Vec<Stale>, S3Error> {
    let operation = "list of unfinished uploads";
    let mut found = Vec::new();
    read_to_end(operation, MOST_PAGES, |marker: Option<&(String, String)>| {
        let command = Command::ListMultipartUploads {
            prefix: Some(path_prefix),
            delimiter: None,
            key_marker: marker.map(|(key, _)| key.clone()),
            upload_id_marker: marker.map(|(_, id)| id.clone()).filter(|id| !id.is_empty()),
            max_uploads: Some(PAGE_ENTRIES),
        };
        let page: Uploads = page(shared, operation, "ListMultipartUploadsResult", &command)?;
        for upload in page.entries {
            let path = segment::artifact_of(&upload.key).unwrap_or(&upload.key).to_owned();
            // Not every server takes the prefix at its word.
            if path.starts_with(path_prefix) && !upload.upload_id.is_empty() {
                found.push(Stale { path, handle: Handle::Upload { key: upload.key, id: upload.upload_id } });
            }
        }
        let is_more = page.is_truncated.trim() == "true" && !page.next_key_marker.is_empty();
        Ok(is_more.then_some((page.next_key_marker, page.next_upload_id_marker)))
    })?;
    Ok(found)
}

fn segments(shared: &Shared, path_prefix: &str) -> Result<Vec<Stale>, S3Error> {
    let mut found = Vec::new();
    objects(shared, path_prefix, MOST_PAGES, |object| {
        let path = segment::artifact_of(&object.key).filter(|path| path.starts_with(path_prefix));
        if let Some(path) = path.map(str::to_owned) {
            found.push(Stale { path, handle: Handle::Object(object.key) });
        }
    })?;
    Ok(found)
}

/// Lists every object whose key starts with `path_prefix`; segments are none.
pub(super) fn published(shared: &Shared, path_prefix: &str) -> Result<Vec<Listed>, S3Error> {
    let mut found = Vec::new();
    objects(shared, path_prefix, MOST_LISTED_PAGES, |object| {
        if object.key.starts_with(path_prefix) && segment::artifact_of(&object.key).is_none() {
            let modified_at = object.last_modified.trim().parse().ok();
            found.push(Listed { path: object.key, size_bytes: object.size, modified_at });
        }
    })?;
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found.dedup_by(|one, other| one.path == other.path);
    Ok(found)
}

fn objects(
    shared: &Shared,
    path_prefix: &str,
    most_pages: usize,
    mut found: impl FnMut(ListedObject),
) -> Result<(), S3Error> {
    let operation = "list of objects";
    read_to_end(operation, most_pages, |token: Option<&String>| {
        let command = Command::ListObjectsV2 {
            prefix: path_prefix.to_owned(),
            delimiter: None,
            continuation_token: token.cloned(),
            start_after: None,
            max_keys: Some(PAGE_ENTRIES),
        };
        let page: Objects = page(shared, operation, "ListBucketResult", &command)?;
        page.entries.into_iter().for_each(&mut found);
        let is_more = page.is_truncated.trim() == "true" && !page.next_token.is_empty();
        Ok(is_more.then_some(page.next_token))
    })
}

/// Reads one page after the other, each from the marker that the one before gave.
fn read_to_end<M: PartialEq>(
    operation: &str,
    most_pages: usize,
    mut read_page: impl FnMut(Option<&M>) -> Result<Option<M>, S3Error>,
) -> Result<(), S3Error> {
    let mut marker = None;
    for _ in 0..most_pages {
        let next = read_page(marker.as_ref())?;
        if next.is_none() || next == marker {
            return Ok(());
        }
        marker = next;
    }
    Err(S3Error::refused(operation, format!("the list has no end after {most_pages} pages")))
}

fn page<T: for<'de> Deserialize<'de>>(
    shared: &Shared,
    operation: &str,
    root: &str,
    command: &Command<'_>,
) -> Result<T, S3Error> {
    shared.policy.run(|| {
        let client = &shared.client;
        let answer = client.send(operation, "", command.clone(), Extras::default())?;
        let body = client.read_body(operation, answer, PAGE_LIMIT_BYTES)?;
        xml::parse(root, &body).ok_or_else(|| {
            client
                .hidden_refusal(operation, &body)
                .unwrap_or_else(|| S3Error::refused(operation, "the answer is no such list"))
        })
    })
}
