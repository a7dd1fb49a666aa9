//! Where bytes go: a store keeps artifacts and the manifests beside them. It knows nothing of
//! databases, keys, the catalog, or what is inside the bytes; names reach it ready made.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::sync::Arc;

use anyhow::Result;
use jiff::Timestamp;

pub use crate::object_lock::{LockMode, ObjectLock};
pub use crate::part::{Part, Traffic};

use crate::name;
use crate::testpoint::{self, Step};

pub mod local;
pub mod s3;

/// What kind of place a store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory of this host.
    Local,
    /// A bucket behind the S3 API.
    S3,
}

/// What a store holds after an artifact was published in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Bytes taken.
    pub size_bytes: u64,
    /// The entity tag that an S3 store gave, without quotes.
    pub etag: Option<String>,
    /// The size of the object's parts, where it is not the one that the upload was begun with: an S3 store
    /// joins an artifact of too many parts out of larger ones.
    pub part_size_bytes: Option<u64>,
    /// Until when the store was asked to lock it.
    pub locked_until: Option<Timestamp>,
}

/// What a store says of one object without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Size of the object.
    pub size_bytes: u64,
    /// The entity tag of an S3 object, without quotes.
    pub etag: Option<String>,
}

/// An object that a store holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its path, from a place that others may write to: it is escaped before it reaches a terminal.
    pub path: String,
    /// Its size.
    pub size_bytes: u64,
    /// When it was last written, where the store says so.
    pub modified_at: Option<Timestamp>,
}

/// How much room the disk of a store has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// What can still be written.
    pub free_bytes: u64,
    /// What there is in all.
    pub total_bytes: u64,
}

/// An unpublished upload that a run left behind when it died.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stale {
    /// The path it would have been published under.
    pub path: String,
    /// What removes it.
    pub handle: Handle,
    /// When it was begun or last written, where the store says so.
    pub begun_at: Option<Timestamp>,
}

/// What is left of an upload that was not published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handle {
    /// A temporary file, by its path.
    File(String),
    /// A multipart upload that is neither completed nor aborted.
    Upload {
        /// The key that it would have completed under.
        key: String,
        /// The server's own name for it.
        id: String,
    },
    /// An object that holds a part of the artifact, by its key.
    Object(String),
}

/// What became of an object that was to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It is not there any more, or never was.
    Gone,
    /// It stays, whole, for the store does not let it go.
    Held(Hold),
}

/// What keeps an object where it is: a lock of the store's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Until when, where the store says so.
    pub until: Option<Timestamp>,
    /// What kind of lock, for a person: `object lock (governance)`, `a legal hold`, `a bucket lock rule`.
    pub why: String,
}

impl fmt::Display for Hold {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.until {
            Some(until) => write!(formatter, "held until {until} by {}", self.why),
            None => write!(formatter, "held by {}", self.why),
        }
    }
}

/// A place that keeps artifacts. Every method may be called from any thread; each retries by itself
/// what is worth a retry, and its error names the cause in the store's own words (the S3 code, the
/// operating system's message). The caller adds the store's name.
pub trait Store: Send + Sync {
    /// The name the configuration gave it.
    fn name(&self) -> &str;

    /// What kind of place it is.
    fn kind(&self) -> Kind;

    /// The full path of `key` (`<source>/<database>/...`) in this store: an absolute file name, or an
    /// object key with the store's prefix. All other methods take such a path.
    fn path_of(&self, key: &str) -> String;

    /// Starts an upload that will be published as `path`. Nothing is visible there before
    /// [`Upload::publish`]. `part_size_bytes` is the size of all parts but the last.
    ///
    /// # Errors
    /// When the store can't be reached, refuses, or holds something at `path` already (local).
    fn begin(&self, path: &str, part_size_bytes: u64) -> Result<Box<dyn Upload>>;

    /// Starts an upload that will be published in the place of what `path` holds, which stays until the new
    /// object is whole. Where the store keeps versions, the one that was replaced is then removed; that it
    /// could not be is a warning.
    ///
    /// An S3 store takes no more parts of it than one multipart upload may have, since joining several shows a
    /// part of the new object at `path`. Parts of the size on record for the old one are never more.
    ///
    /// # Errors
    /// As [`Store::begin`], save that something may be there.
    fn replace(&self, path: &str, part_size_bytes: u64) -> Result<Box<dyn Upload>>;

    /// Opens an object to be read from its start to its end. The reader gives an error, never an early
    /// end of file, when fewer bytes arrive than the object has.
    ///
    /// # Errors
    /// When it can't be opened; see [`is_missing`] for one that is not there.
    fn open(&self, path: &str) -> Result<Box<dyn Read + Send>>;

    /// Size and tag of an object, `None` when there is none.
    ///
    /// # Errors
    /// When the store can't be asked.
    fn stat(&self, path: &str) -> Result<Option<Stat>>;

    /// Writes a small object (a manifest) whole, durably, over what may be there.
    ///
    /// # Errors
    /// When it can't be written.
    fn put_small(&self, path: &str, bytes: &[u8]) -> Result<()>;

    /// The same, and where the store keeps versions the one that was replaced is removed.
    ///
    /// # Errors
    /// When it can't be written. That the old version stays is a warning.
    fn replace_small(&self, path: &str, bytes: &[u8]) -> Result<()>;

    /// Reads a small object, `None` when there is none; at most `limit_bytes` of it.
    ///
    /// # Errors
    /// When it can't be read, or is larger than `limit_bytes`.
    fn get_small(&self, path: &str, limit_bytes: u64) -> Result<Option<Vec<u8>>>;

    /// Writes a small object that is to be removed again soon: no lock is put on it.
    ///
    /// # Errors
    /// When it can't be written.
    fn put_probe(&self, path: &str, bytes: &[u8]) -> Result<()> {
        self.put_small(path, bytes)
    }

    /// Removes an object for good: where the store keeps versions, every version of it and every delete marker,
    /// by its id; in a folder, the folders that became empty too. One that is not there is no error. One that a
    /// lock holds stays as it is, and is no error.
    ///
    /// # Errors
    /// When the store refuses, can't be asked, or still shows the object afterwards.
    fn delete(&self, path: &str) -> Result<Removal> {
        self.delete_versions(&[path])
    }

    /// The same with objects that go together, in this order. All stay as they are where the store shows a lock
    /// on any of them; a lock that shows by its refusal alone holds that object and those after it.
    ///
    /// # Errors
    /// As [`Store::delete`]; what comes after it stays.
    fn delete_versions(&self, paths: &[&str]) -> Result<Removal>;

    /// The same in cleaning up after what failed: it is quick to give up, and deaf to an interrupt. What can't go
    /// for good, for another reason than a lock, is hidden, with a warning.
    ///
    /// # Errors
    /// When the store can't be asked, or refuses that too.
    fn rollback(&self, paths: &[&str]) -> Result<Removal> {
        self.delete_versions(paths)
    }

    /// Removes an object at once, be it locked: where the store keeps versions, it is only hidden. One that is
    /// not there is no error.
    ///
    /// # Errors
    /// When the store refuses.
    fn hide(&self, path: &str) -> Result<()>;

    /// Gives every published object whose path starts with `path_prefix` and is wanted, while the store is listed:
    /// what is not wanted is dropped at once, and nothing is kept here of what was given. What an upload left is
    /// none, and no link is followed. The objects of one folder come in the order of their names, as far as the
    /// server keeps to that. A local store whose directory is not there is an error; of what is missing below it
    /// nothing is given.
    ///
    /// # Errors
    /// When they can't be listed to the end.
    fn each(
        &self,
        path_prefix: &str,
        is_wanted: &dyn Fn(&str) -> bool,
        found: &mut dyn FnMut(Listed),
    ) -> Result<()>;

    /// All of them, each once, in the order of their paths; as many as there are stay in memory.
    ///
    /// # Errors
    /// As [`Store::each`].
    fn list(&self, path_prefix: &str) -> Result<Vec<Listed>> {
        let mut listed = BTreeMap::new();
        self.each(path_prefix, &|_| true, &mut |object| drop(listed.insert(object.path.clone(), object)))?;
        Ok(listed.into_values().collect())
    }

    /// How much room there is; `None` where the store has no bound that it tells.
    ///
    /// # Errors
    /// When it can't be asked.
    fn room(&self) -> Result<Option<Room>> {
        Ok(None)
    }

    /// Gives the unpublished uploads whose published path would start with `path_prefix` and is wanted, while the
    /// store is listed, in an order in which they can be removed.
    ///
    /// # Errors
    /// When they can't be listed.
    fn each_stale(
        &self,
        path_prefix: &str,
        is_wanted: &dyn Fn(&str) -> bool,
        found: &mut dyn FnMut(Stale),
    ) -> Result<()>;

    /// All of them; as many as there are stay in memory.
    ///
    /// # Errors
    /// As [`Store::each_stale`].
    fn stale(&self, path_prefix: &str) -> Result<Vec<Stale>> {
        let mut all = Vec::new();
        self.each_stale(path_prefix, &|_| true, &mut |stale| all.push(stale))?;
        Ok(all)
    }

    /// Removes what [`Store::stale`] found, which is to be done in its order; one that is gone is no error.
    ///
    /// # Errors
    /// When the store refuses.
    fn delete_stale_upload(&self, stale: &Stale) -> Result<()>;
}

/// One of several objects that go together is gone.
fn report_deleted(path: &str) {
    if path.ends_with(name::MANIFEST_SUFFIX) {
        testpoint::reached(Step::ManifestExpired);
    }
}

/// An upload in progress. Dropping one that was not published means "aborted": what it left is removed
/// as far as the store allows, and nothing becomes visible.
pub trait Upload: Send {
    /// Takes the next part, in order. Returns when the part is on its way, not when it has arrived:
    /// blocks while too many are in flight.
    ///
    /// # Errors
    /// When this or an earlier part failed for good; the upload is of no use then.
    fn write(&mut self, part: Arc<Part>) -> Result<()>;

    /// What whoever watches the upload sees of it, and by which it can be told to stop.
    fn traffic(&self) -> Arc<Traffic>;

    /// Waits for all parts, makes the object durable and visible under its path. An S3 store that has to
    /// join an artifact out of several uploads shows a part of it under the path for a while; like all that
    /// has no manifest beside it, that is not whole.
    ///
    /// # Errors
    /// When a part failed, or the store refused to complete; nothing is visible then.
    fn publish(self: Box<Self>) -> Result<Stored>;

    /// Ends the upload and removes what it left.
    ///
    /// # Errors
    /// When the store could not be told; a later sweep finds it.
    fn abort(self: Box<Self>) -> Result<()>;
}

/// The object asked for is not in the store.
#[derive(Debug, thiserror::Error)]
#[error("`{path}` is not there")]
pub struct Missing {
    /// The path that was asked for.
    pub path: String,
}

/// Whether an error of a store says that the object is not there.
#[must_use]
pub fn is_missing(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Missing>().is_some()
}
