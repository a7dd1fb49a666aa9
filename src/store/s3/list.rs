//! What a bucket holds, page by page: its objects, and what was not published of artifacts: multipart
//! uploads, segments, and the first segment under the artifact's own path. It must not decide which of them
//! are left over: the caller knows what is running.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use jiff::Timestamp;
use s3::command::Command;
use serde::Deserialize;

use super::answer;
use super::client::Extras;
use super::error::S3Error;
use super::xml::{self, Objects, Uploads};
use super::{Handle, Listed, Shared, Stale, segment};

pub(super) const PAGE_ENTRIES: usize = 1000;
pub(super) const PAGE_LIMIT_BYTES: u64 = 8 * 1024 * 1024;
/// A server that never ends its list is not believed for longer than this.
const MOST_PAGES: usize = 100;
/// The same where all that a bucket holds is listed: some gigabytes of memory.
const MOST_LISTED: usize = 10_000_000;
const OBJECTS: &str = "list of objects";
const UPLOADS: &str = "list of unfinished uploads";
/// Objects that must come within the time of one request: a page that drips must not keep us for ever.
const LEG_OBJECTS: usize = 1000;

/// Lists what is not published of the artifacts whose path starts with `path_prefix`, in an order in which
/// it can be removed: what shows an object to be unfinished comes after the object.
pub(super) fn unpublished(shared: &Shared, path_prefix: &str) -> Result<Vec<Stale>, S3Error> {
    let mut found = unfinished_uploads(shared, path_prefix)?;
    let objects = objects(shared, path_prefix)?;
    let segments: Vec<(&str, &String)> =
        objects.keys().filter_map(|key| Some((segment::artifact_of(key)?, key))).collect();
    let stale = |path: &str, key: &str| Stale {
        path: path.to_owned(),
        handle: Handle::Object(key.to_owned()),
        begun_at: objects.get(key).and_then(|(_, modified_at)| *modified_at),
    };
    let of_these = |path: &&str| path.starts_with(path_prefix);
    let paths: BTreeSet<&str> = segments.iter().map(|(path, _)| *path).filter(of_these).collect();
    for path in paths {
        if shared.is_unfinished(path)? {
            found.push(stale(path, path));
        }
    }
    found.extend(segments.iter().filter(|(path, _)| of_these(path)).map(|(path, key)| stale(path, key)));
    Ok(found)
}

fn unfinished_uploads(shared: &Shared, path_prefix: &str) -> Result<Vec<Stale>, S3Error> {
    let mut found = Vec::new();
    read_to_end(shared, UPLOADS, |marker: Option<&(String, String)>| {
        let command = Command::ListMultipartUploads {
            prefix: Some(path_prefix),
            delimiter: None,
            key_marker: marker.map(|(key, _)| key.clone()),
            upload_id_marker: marker.map(|(_, id)| id.clone()).filter(|id| !id.is_empty()),
            max_uploads: Some(PAGE_ENTRIES),
        };
        let page: Uploads = page(shared, UPLOADS, "ListMultipartUploadsResult", &command)?;
        for upload in page.entries {
            let path = segment::artifact_of(&upload.key).unwrap_or(&upload.key).to_owned();
            // Not every server takes the prefix at its word.
            if path.starts_with(path_prefix) && !upload.upload_id.is_empty() {
                let begun_at = upload.initiated.trim().parse().ok();
                let handle = Handle::Upload { key: upload.key, id: upload.upload_id };
                found.push(Stale { path, handle, begun_at });
            }
        }
        let is_more = page.is_truncated.trim() == "true" && !page.next_key_marker.is_empty();
        Ok(is_more.then_some((page.next_key_marker, page.next_upload_id_marker)))
    })?;
    Ok(found)
}

/// The ids of the uploads to just that path. One page and a short look: it is for cleaning up.
pub(super) fn uploads_at(shared: &Shared, path: &str) -> Result<Vec<String>, S3Error> {
    let command = Command::ListMultipartUploads {
        prefix: Some(path),
        delimiter: None,
        key_marker: None,
        upload_id_marker: None,
        max_uploads: Some(PAGE_ENTRIES),
    };
    let page: Uploads = page(&shared.for_cleanup(), UPLOADS, "ListMultipartUploadsResult", &command)?;
    let own = page.entries.into_iter().filter(|upload| upload.key == path && !upload.upload_id.is_empty());
    Ok(own.map(|upload| upload.upload_id).collect())
}

/// Size and time of each object, by its key.
type Found = BTreeMap<String, (u64, Option<Timestamp>)>;

/// Lists every object whose key starts with `path_prefix`; segments are none.
pub(super) fn published(shared: &Shared, path_prefix: &str) -> Result<Vec<Listed>, S3Error> {
    let found = objects(shared, path_prefix)?.into_iter();
    let found = found.filter(|(path, _)| segment::artifact_of(path).is_none());
    let listed = |(path, (size_bytes, modified_at))| Listed { path, size_bytes, modified_at };
    Ok(found.map(listed).collect())
}

/// Every object whose key starts with `path_prefix`. Servers are not agreed about the order of keys, so that a
/// list goes forward as long as it brings something new.
fn objects(shared: &Shared, path_prefix: &str) -> Result<Found, S3Error> {
    let mut found = Found::new();
    let mut token: Option<String> = None;
    let mut idle_pages: usize = 0;
    let mut leg = (Instant::now(), LEG_OBJECTS);
    loop {
        let page = page_of_objects(shared, path_prefix, token.as_ref())?;
        let known = found.len();
        for object in page.entries {
            let path = object.key;
            // What ends with a slash stands for a folder, where a server makes such.
            if path.starts_with(path_prefix) && !path.ends_with('/') {
                let size = object.size.ok_or_else(|| S3Error::refused(OBJECTS, "an object has no size"))?;
                found.insert(path, (size, object.last_modified.trim().parse().ok()));
            }
        }
        if page.is_truncated.trim() != "true" {
            break;
        }
        idle_pages = if found.len() > known { 0 } else { idle_pages.saturating_add(1) };
        // A list that ends before its end is not to be taken for a whole one.
        let is_stuck = page.next_token.is_empty() || token.as_ref() == Some(&page.next_token);
        if is_stuck || idle_pages > MOST_PAGES || found.len() > MOST_LISTED {
            let what = format!("the list does not come to its end after {} objects", found.len());
            return Err(S3Error::refused(OBJECTS, what));
        }
        let request = shared.client.place.request;
        if found.len() >= leg.1 {
            leg = (Instant::now(), found.len().saturating_add(LEG_OBJECTS));
        } else if leg.0.elapsed() > request {
            let what = format!("the server is too slow: {} objects so far (timeouts.request)", found.len());
            return Err(S3Error::refused(OBJECTS, what));
        }
        token = Some(page.next_token);
    }
    Ok(found)
}

fn page_of_objects(shared: &Shared, path_prefix: &str, token: Option<&String>) -> Result<Objects, S3Error> {
    let command = Command::ListObjectsV2 {
        prefix: path_prefix.to_owned(),
        delimiter: None,
        continuation_token: token.cloned(),
        start_after: None,
        max_keys: Some(PAGE_ENTRIES),
    };
    page(shared, OBJECTS, "ListBucketResult", &command)
}

/// Reads one page after the other, each from the marker that the one before gave.
pub(super) fn read_to_end<M: PartialEq>(
    shared: &Shared,
    operation: &str,
    mut read_page: impl FnMut(Option<&M>) -> Result<Option<M>, S3Error>,
) -> Result<(), S3Error> {
    let mut marker = None;
    let started = Instant::now();
    for _ in 0..MOST_PAGES {
        let next = read_page(marker.as_ref())?;
        if next.is_none() || next == marker {
            return Ok(());
        }
        if started.elapsed() > shared.client.place.request {
            return Err(S3Error::refused(operation, "the server is too slow (timeouts.request)"));
        }
        marker = next;
    }
    Err(S3Error::refused(operation, format!("the list has no end after {MOST_PAGES} pages")))
}

fn page<T: for<'de> Deserialize<'de>>(
    shared: &Shared,
    operation: &str,
    root: &str,
    command: &Command<'_>,
) -> Result<T, S3Error> {
    let client = &shared.client;
    shared.policy.run(|| {
        let answer = client.send(operation, "", command.clone(), Extras::default())?;
        let body = answer::read_body(operation, answer, PAGE_LIMIT_BYTES, &client.place)?;
        xml::parse(root, &body).ok_or_else(|| {
            answer::hidden_refusal(operation, &body, &client.place)
                .unwrap_or_else(|| S3Error::refused(operation, "the answer is no such list"))
        })
    })
}
