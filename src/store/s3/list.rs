//! What a bucket holds, page by page: its objects, and what was not published of artifacts: multipart
//! uploads, segments, and the first segment under the artifact's own path. It must not decide which of them
//! are left over: the caller knows what is running.

use std::time::{Duration, Instant};

use s3::command::Command;
use serde::Deserialize;

use super::answer;
use super::client::Extras;
use super::course::{Course, Nested};
use super::error::S3Error;
use super::xml::{self, ListedObject, Objects, Uploads};
use super::{Handle, Listed, Shared, Stale, segment};

pub(super) const PAGE_ENTRIES: usize = 1000;
pub(super) const PAGE_LIMIT_BYTES: u64 = 8 * 1024 * 1024;
/// The longest name of an object that S3 allows, in bytes: what has a longer one is none.
pub(super) const KEY_LIMIT_BYTES: usize = 1024;
/// The longest id and the longest marker that are believed to be one.
pub(super) const MARK_LIMIT_BYTES: usize = 8 * 1024;
/// A server that never ends its list is not believed for longer than this.
pub(super) const MOST_PAGES: usize = 100;
const MOST_PAGES_OF_UPLOADS: usize = 1200;
/// The same where all that a bucket holds is listed.
const MOST_LISTED: usize = 10_000_000;
const OBJECTS: &str = "list of objects";
const UPLOADS: &str = "list of unfinished uploads";
/// Objects that must come within the time of one request: a page that drips must not keep us for ever.
const LEG_OBJECTS: usize = 1000;

/// Gives what is not published of the wanted artifacts whose path starts with `path_prefix`, in an order in which
/// it can be removed: what shows an object to be unfinished comes after the object.
pub(super) fn unpublished(
    shared: &Shared,
    path_prefix: &str,
    is_wanted: &dyn Fn(&str) -> bool,
    found: &mut dyn FnMut(Stale),
) -> Result<(), S3Error> {
    let is_wanted = |path: &str| path.starts_with(path_prefix) && is_wanted(path);
    unfinished_uploads(shared, path_prefix, &is_wanted, found)?;
    let mut above = Nested::default();
    let mut looked_at = String::new();
    let stale = |path: &str, key: &str, written: &str| Stale {
        path: path.to_owned(),
        handle: Handle::Object(key.to_owned()),
        begun_at: written.trim().parse().ok(),
    };
    each_object(shared, path_prefix, &mut |object| {
        let (key, written) = (object.key.as_str(), object.last_modified.as_str());
        let Some(path) = segment::artifact_of(key) else {
            above.enter(key, written);
            return Ok(());
        };
        if !is_wanted(path) {
            return Ok(());
        }
        if looked_at != path {
            path.clone_into(&mut looked_at);
            if shared.is_unfinished(path)? {
                found(stale(path, path, above.written(path)));
            }
        }
        found(stale(path, key, written));
        Ok(())
    })?;
    Ok(())
}

fn unfinished_uploads(
    shared: &Shared,
    path_prefix: &str,
    is_wanted: &dyn Fn(&str) -> bool,
    found: &mut dyn FnMut(Stale),
) -> Result<(), S3Error> {
    read_to_end(shared, UPLOADS, MOST_PAGES_OF_UPLOADS, |marker: Option<&(String, String)>| {
        let command = Command::ListMultipartUploads {
            prefix: Some(path_prefix),
            delimiter: None,
            key_marker: marker.map(|(key, _)| key.clone()),
            upload_id_marker: marker.map(|(_, id)| id.clone()).filter(|id| !id.is_empty()),
            max_uploads: Some(PAGE_ENTRIES),
        };
        let page: Uploads = page(shared, UPLOADS, "ListMultipartUploadsResult", &command)?;
        for upload in page.entries {
            if upload.key.len() > KEY_LIMIT_BYTES || upload.upload_id.len() > MARK_LIMIT_BYTES {
                continue;
            }
            let path = segment::artifact_of(&upload.key).unwrap_or(&upload.key).to_owned();
            // Not every server takes the prefix at its word.
            if is_wanted(&path) && !upload.upload_id.is_empty() {
                let begun_at = upload.initiated.trim().parse().ok();
                let handle = Handle::Upload { key: upload.key, id: upload.upload_id };
                found(Stale { path, handle, begun_at });
            }
        }
        let is_more = page.is_truncated.trim() == "true" && !page.next_key_marker.is_empty();
        Ok(is_more.then_some((page.next_key_marker, page.next_upload_id_marker)))
    })
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

/// Gives every wanted object whose key starts with `path_prefix`; segments are none. How many names were passed over
/// that are longer than any of S3's.
pub(super) fn published(
    shared: &Shared,
    path_prefix: &str,
    is_wanted: &dyn Fn(&str) -> bool,
    found: &mut dyn FnMut(Listed),
) -> Result<usize, S3Error> {
    each_object(shared, path_prefix, &mut |object| {
        if is_wanted(&object.key) && segment::artifact_of(&object.key).is_none() {
            let modified_at = object.last_modified.trim().parse().ok();
            let size_bytes = object.size.unwrap_or_default();
            found(Listed { path: object.key, size_bytes, modified_at });
        }
        Ok(())
    })
}

/// Gives every object whose key starts with `path_prefix`, as its page came; how many were passed over. Servers are
/// not agreed about the order of keys, so that a list goes forward as long as it brings something new.
fn each_object(
    shared: &Shared,
    path_prefix: &str,
    found: &mut dyn FnMut(ListedObject) -> Result<(), S3Error>,
) -> Result<usize, S3Error> {
    let (mut count, mut passed_over) = (0usize, 0usize);
    let mut course = Course::default();
    let mut token: Option<String> = None;
    let mut leg = (Duration::ZERO, LEG_OBJECTS);
    loop {
        let begun = Instant::now();
        let page = page_of_objects(shared, path_prefix, token.as_ref())?;
        leg.0 = leg.0.saturating_add(begun.elapsed());
        let mut first = None;
        for object in page.entries {
            // What ends with a slash stands for a folder, where a server makes such.
            if !object.key.starts_with(path_prefix) || object.key.ends_with('/') {
                continue;
            }
            if object.size.is_none() {
                return Err(S3Error::refused(OBJECTS, "an object has no size"));
            }
            count = count.saturating_add(1);
            first.get_or_insert_with(|| Course::mark_of(&object.key));
            if object.key.len() > KEY_LIMIT_BYTES {
                passed_over = passed_over.saturating_add(1);
            } else {
                found(object)?;
            }
        }
        if page.is_truncated.trim() != "true" {
            return Ok(passed_over);
        }
        // A list that ends before its end is not to be taken for a whole one.
        let goes_on = page.next_token.len() <= MARK_LIMIT_BYTES
            && course.goes_on(first, token.as_deref(), &page.next_token);
        if !goes_on || count > MOST_LISTED {
            let what = format!("the list does not come to its end after {count} objects");
            return Err(S3Error::refused(OBJECTS, what));
        }
        if count >= leg.1 {
            leg = (Duration::ZERO, count.saturating_add(LEG_OBJECTS));
        } else if leg.0 > shared.client.place.request {
            let what = format!("the server is too slow: {count} objects so far (timeouts.request)");
            return Err(S3Error::refused(OBJECTS, what));
        }
        token = Some(page.next_token);
    }
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

/// Reads one page after the other, each from the marker that the one before gave: a key and an id.
pub(super) fn read_to_end(
    shared: &Shared,
    operation: &str,
    most_pages: usize,
    mut read_page: impl FnMut(Option<&(String, String)>) -> Result<Option<(String, String)>, S3Error>,
) -> Result<(), S3Error> {
    let mut marker = None;
    let started = Instant::now();
    for _ in 0..most_pages {
        let next = read_page(marker.as_ref())?;
        if next.is_none() || next == marker {
            return Ok(());
        }
        if next.as_ref().is_some_and(|(key, id)| key.len().max(id.len()) > MARK_LIMIT_BYTES) {
            return Err(S3Error::refused(operation, "the list goes on from what is no name"));
        }
        if started.elapsed() > shared.client.place.request {
            return Err(S3Error::refused(operation, "the server is too slow (timeouts.request)"));
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
