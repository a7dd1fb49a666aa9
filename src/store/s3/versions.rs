//! Objects that go for good. Where a bucket keeps versions (B2 always does) a plain delete only hides: each version
//! and each delete marker goes by its id. It must not know why an object goes.

use std::collections::HashMap;

use jiff::Timestamp;
use s3::command::Command;

use super::answer::{self, hides};
use super::client::Extras;
use super::error::S3Error;
use super::list::{KEY_LIMIT_BYTES, MOST_PAGES, PAGE_ENTRIES, PAGE_LIMIT_BYTES, read_to_end};
use super::xml::{self, Objects, VersionItem, Versions};
use super::{Shared, is_absent, lock, words};
use crate::store::{Hold, Removal};

const LIST: &str = "list of versions";
const LOOK: &str = "look at object";
const REMOVAL: &str = "removal of object";
/// The ids of one object's versions that are held at once, in bytes.
const MOST_BYTES: usize = 8 * 1024 * 1024;
/// The id of a version that was written where none are kept.
const NULL: &str = "null";

/// What a bucket keeps under a key: a version of an object, or the mark of its removal.
struct Kept {
    id: String,
    is_marker: bool,
}

/// What there is of an object that is to go.
enum Found {
    Nothing,
    /// An object, where no versions are kept.
    Plain,
    /// All that is kept, the newest first.
    Versions(Vec<Kept>),
}

/// Removes an object, whatever the bucket keeps of it.
pub(super) fn delete(shared: &Shared, path: &str) -> Result<Removal, S3Error> {
    delete_versions(shared, &[path])
}

/// Removes objects in this order. None is touched while a lock is seen to hold one of them.
pub(super) fn delete_versions(shared: &Shared, paths: &[&str]) -> Result<Removal, S3Error> {
    let (mut all, mut longest) = (Vec::new(), None);
    for path in paths {
        let (found, hold) = find(shared, path)?;
        all.push((path, found));
        longest = longer(longest, hold);
    }
    if let Some(hold) = longest {
        return Ok(Removal::Held(hold));
    }
    for (path, found) in all {
        let removal = match found {
            Found::Nothing => Removal::Gone,
            Found::Plain => remove_plainly(shared, path)?,
            Found::Versions(kept) => remove_versions(shared, path, &kept)?,
        };
        if removal != Removal::Gone {
            return Ok(removal);
        }
        crate::store::report_deleted(path);
    }
    Ok(Removal::Gone)
}

/// The same in cleaning up: short, and deaf to the interrupt. What can't go for good and is not held is hidden.
pub(super) fn rollback(shared: &Shared, paths: &[&str]) -> Result<Removal, S3Error> {
    let shared = shared.for_cleanup();
    match delete_versions(&shared, paths) {
        Err(error) if !error.is_passing() => {
            for path in paths {
                if shared.look(LOOK, path, None)?.is_some() {
                    shared.hide(path)?;
                    log::warn!("what the bucket keeps of `{path}` stays, hidden: {error}");
                }
            }
            Ok(Removal::Gone)
        }
        outcome => outcome,
    }
}

/// What there is under a path, and what is seen to hold it.
fn find(shared: &Shared, path: &str) -> Result<(Found, Option<Hold>), S3Error> {
    let refusal = match versions_at(shared, path) {
        Ok(Some(kept)) if !kept.is_empty() => {
            let hold = hold_on(shared, path, &kept)?;
            return Ok((Found::Versions(kept), hold));
        }
        // A server may give an empty list because it has no idea of versions.
        Ok(_) => None,
        Err(error) if error.is_not_implemented() || error.status == Some(405) => None,
        Err(error) if matches!(error.status, Some(400 | 403)) => Some(error),
        Err(error) => return Err(error),
    };
    let Some(look) = shared.look(LOOK, path, None)? else { return Ok((Found::Nothing, None)) };
    match refusal {
        // A plain delete is right only where it does not hide.
        Some(refusal) if look.version.is_some_and(|version| version != NULL) => {
            Err(without_the_right(refusal))
        }
        _ => Ok((Found::Plain, look.hold)),
    }
}

fn remove_versions(shared: &Shared, path: &str, found: &[Kept]) -> Result<Removal, S3Error> {
    // The oldest first: wherever it stops, what is seen at the path is what was seen there before.
    for kept in found.iter().rev() {
        match remove_version(shared, path, &kept.id) {
            Ok(()) => {}
            Err(error) if kept.id == NULL && error.status == Some(403) => {
                return remove_null(shared, path, error);
            }
            Err(error) => return held(shared, path, Some(&kept.id), error),
        }
    }
    match versions_at(shared, path)?.map_or(0, |left| left.len()) {
        0 => Ok(Removal::Gone),
        count => {
            let message = format!("the server said it did, and {count} versions are still there");
            Err(S3Error::refused(REMOVAL, message))
        }
    }
}

fn remove_version(shared: &Shared, path: &str, id: &str) -> Result<(), S3Error> {
    let outcome = shared.policy.run(|| {
        let answer = shared.client.send_version(REMOVAL, "DELETE", path, id)?;
        answer::document(REMOVAL, answer, &shared.client.place)
    });
    match outcome {
        Err(error) if !is_absent(&error) => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// A key may have no right to delete by an id in a bucket that has no ids.
fn remove_null(shared: &Shared, path: &str, refusal: S3Error) -> Result<Removal, S3Error> {
    match shared.look(LOOK, path, None) {
        Ok(Some(look)) if look.version.is_none() && look.hold.is_none() => remove_plainly(shared, path),
        Ok(_) | Err(_) => held(shared, path, Some(NULL), refusal),
    }
}

/// What holds any of the versions: the one that holds longest.
fn hold_on(shared: &Shared, path: &str, found: &[Kept]) -> Result<Option<Hold>, S3Error> {
    let mut longest: Option<Hold> = None;
    for kept in found.iter().filter(|kept| !kept.is_marker) {
        let hold = match shared.look(LOOK, path, Some(&kept.id)) {
            Ok(look) => look.and_then(|look| look.hold),
            // A key that may not look may remove all the same; what is locked, the server refuses.
            Err(error) if matches!(error.status, Some(403 | 405)) => {
                log::debug!("{error}");
                None
            }
            Err(error) => return Err(error),
        };
        longest = longer(longest, hold);
    }
    Ok(longest)
}

/// Of two holds the one that holds longer; one without an end does.
fn longer(one: Option<Hold>, other: Option<Hold>) -> Option<Hold> {
    one.into_iter().chain(other).max_by_key(|hold| hold.until.unwrap_or(Timestamp::MAX))
}

/// Removes an object where no version stays behind.
fn remove_plainly(shared: &Shared, path: &str) -> Result<Removal, S3Error> {
    let outcome = shared.policy.run(|| {
        let answer = shared.client.send(REMOVAL, path, Command::DeleteObject, Extras::default())?;
        let is_hidden = hides(&answer);
        answer::document(REMOVAL, answer, &shared.client.place).map(|_| is_hidden)
    });
    match outcome {
        Ok(true) => {
            return Err(without_the_right(S3Error::refused(REMOVAL, "the server only hid it")));
        }
        Ok(false) => {}
        Err(error) if is_absent(&error) => {}
        Err(error) => return held(shared, path, None, error),
    }
    match shared.look(LOOK, path, None)? {
        None => Ok(Removal::Gone),
        Some(_) => Err(S3Error::refused(REMOVAL, "the server said it did, and it is still there")),
    }
}

/// Whether a refusal is that of a lock.
fn held(shared: &Shared, path: &str, id: Option<&str>, refusal: S3Error) -> Result<Removal, S3Error> {
    if !matches!(refusal.status, Some(400..=499)) {
        return Err(refusal);
    }
    let told = lock::hold_told(&refusal);
    let hold = if refusal.is_code(words::BUCKET_LOCK_RULE) {
        told
    } else {
        let seen = shared.look(LOOK, path, id).ok().flatten().and_then(|look| look.hold);
        seen.or(told)
    };
    match hold {
        Some(hold) => Ok(Removal::Held(hold)),
        None if id.is_some() && refusal.status == Some(403) => Err(without_the_right(refusal)),
        None => Err(refusal),
    }
}

fn without_the_right(error: S3Error) -> S3Error {
    S3Error { hint: Some(words::NO_RIGHT_TO_VERSIONS.to_owned()), ..error }
}

/// All that is kept under just that key, the newest first; `None` where the server takes the request for another.
fn versions_at(shared: &Shared, path: &str) -> Result<Option<Vec<Kept>>, S3Error> {
    let mut found = Vec::new();
    let (mut is_known, mut bytes) = (true, 0usize);
    read_to_end(shared, LIST, MOST_PAGES, |marker: Option<&(String, String)>| {
        let Some(page) = page_of_versions(shared, path, marker)? else {
            is_known = false;
            return Ok(None);
        };
        let (mut is_truncated, mut next) = (false, (String::new(), String::new()));
        for item in page.items {
            let (kept, is_marker) = match item {
                VersionItem::Version(kept) => (kept, false),
                VersionItem::DeleteMarker(kept) => (kept, true),
                VersionItem::IsTruncated(word) => {
                    is_truncated = word.trim() == "true";
                    continue;
                }
                VersionItem::NextKeyMarker(key) => {
                    next.0 = key;
                    continue;
                }
                VersionItem::NextVersionIdMarker(id) => {
                    next.1 = id;
                    continue;
                }
                VersionItem::Other => continue,
            };
            if kept.version_id.len() > KEY_LIMIT_BYTES {
                return Err(S3Error::refused(LIST, "a version has an id that is none"));
            }
            if kept.key == path && !kept.version_id.is_empty() {
                bytes = bytes.saturating_add(kept.version_id.len());
                if bytes > MOST_BYTES {
                    let message = format!("there are more than {} versions of one object", found.len());
                    return Err(S3Error::refused(LIST, message));
                }
                found.push(Kept { id: kept.version_id, is_marker });
            }
        }
        // A list that ends before its end is not to be taken for a whole one.
        if is_truncated && (next.0.is_empty() || Some(&next) == marker) {
            return Err(S3Error::refused(LIST, "the list does not come to its end"));
        }
        Ok(is_truncated.then_some(next))
    })?;
    Ok(is_known.then_some(found))
}

fn page_of_versions(
    shared: &Shared,
    path: &str,
    marker: Option<&(String, String)>,
) -> Result<Option<Versions>, S3Error> {
    let mut queries = HashMap::from([
        ("versions".to_owned(), String::new()),
        ("prefix".to_owned(), path.to_owned()),
        ("max-keys".to_owned(), PAGE_ENTRIES.to_string()),
    ]);
    if let Some((key, id)) = marker {
        queries.insert("key-marker".to_owned(), key.clone());
        if !id.is_empty() {
            queries.insert("version-id-marker".to_owned(), id.clone());
        }
    }
    let client = &shared.client;
    shared.policy.run(|| {
        let answer = client.send_query(LIST, "GET", "", &queries)?;
        let body = answer::read_body(LIST, answer, PAGE_LIMIT_BYTES, &client.place)?;
        if let Some(page) = xml::parse::<Versions>("ListVersionsResult", &body) {
            return Ok(Some(page));
        }
        if xml::parse::<Objects>("ListBucketResult", &body).is_some() {
            return Ok(None);
        }
        Err(answer::hidden_refusal(LIST, &body, &client.place)
            .unwrap_or_else(|| S3Error::refused(LIST, "the answer is no such list")))
    })
}
