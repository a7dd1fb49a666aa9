//! The requests about one object that more than one of the store's ways need: a look, a write, a removal, the
//! end of an upload. It must not know what the object is for.

use s3::command::Command;
use ureq::http::Response;

use super::answer::{self, etag_of, length_of, version_of};
use super::client::{self, Extras};
use super::error::S3Error;
use super::lock::Lock;
use super::retry::Policy;
use super::starts::Starts;
use super::{CLEANUP_TIME_LIMIT, CONTENT_TYPE, Shared, is_absent, lock};
use crate::name;
use crate::store::{Hold, Stat};

/// What a server says of an object without sending it.
pub(super) struct Look {
    pub(super) size_bytes: Option<u64>,
    pub(super) etag: Option<String>,
    /// That there is an id does not say that the bucket keeps versions: R2 gives ids and keeps none.
    pub(super) version: Option<String>,
    /// What keeps it from being removed now.
    pub(super) hold: Option<Hold>,
    /// Whether it shows a lock.
    pub(super) is_locked: bool,
}

impl Look {
    fn of<T>(answer: &Response<T>) -> Self {
        Self {
            size_bytes: length_of(answer),
            etag: etag_of(answer),
            version: version_of(answer),
            hold: lock::hold_in(answer),
            is_locked: lock::is_shown(answer),
        }
    }
}

impl Shared {
    /// The same for cleaning up: short, and deaf to the interrupt.
    pub(super) fn for_cleanup(&self) -> Self {
        let policy = Policy::for_cleanup(CLEANUP_TIME_LIMIT);
        Self {
            client: self.client.for_cleanup(CLEANUP_TIME_LIMIT),
            part_policy: policy.clone(),
            policy,
            interrupt: self.interrupt.clone(),
            starts: Starts::default(),
            object_lock: self.object_lock,
        }
    }

    pub(super) fn stat(&self, operation: &str, path: &str) -> Result<Option<Stat>, S3Error> {
        let Some(look) = self.look(operation, path, None)? else { return Ok(None) };
        let size_bytes =
            look.size_bytes.ok_or_else(|| S3Error::refused(operation, "the server gave no size"))?;
        Ok(Some(Stat { size_bytes, etag: look.etag }))
    }

    /// Looks at an object, or at one of its versions.
    pub(super) fn look(
        &self,
        operation: &str,
        path: &str,
        version: Option<&str>,
    ) -> Result<Option<Look>, S3Error> {
        let client = &self.client;
        let outcome = self.policy.run(|| {
            let answer = match version {
                None => client.send(operation, path, Command::HeadObject, Extras::default())?,
                Some(version) => client.send_version(operation, "HEAD", path, version)?,
            };
            answer::of_object(operation, answer, &client.place).map(|answer| Look::of(&answer))
        });
        match outcome {
            Ok(look) => Ok(Some(look)),
            Err(error) if error.status != Some(404) => Err(error),
            Err(_) if version.is_some() => Ok(None),
            Err(_) => self.confirm_absence(operation, path).map(|()| None),
        }
    }

    /// The answer to a HEAD has no body, so a missing bucket looks like a missing object there. A GET
    /// tells them apart.
    fn confirm_absence(&self, operation: &str, path: &str) -> Result<(), S3Error> {
        let first_byte = Command::GetObjectRange { start: 0, end: Some(0) };
        let outcome =
            self.policy.run(|| self.client.send(operation, path, first_byte.clone(), Extras::default()));
        match outcome {
            Err(error) if !is_absent(&error) => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// The lock that is to be put on what is written now.
    pub(super) fn lock(&self) -> Option<Lock> {
        self.object_lock.map(Lock::from_now)
    }

    /// Writes an object in one request and gives its entity tag.
    pub(super) fn put(
        &self,
        operation: &str,
        path: &str,
        bytes: &[u8],
        lock: Option<Lock>,
    ) -> Result<Option<String>, S3Error> {
        self.policy.run(|| {
            let command = Command::PutObject {
                content: bytes,
                content_type: CONTENT_TYPE,
                custom_headers: None,
                multipart: None,
            };
            let extras = Extras { lock, ..Extras::default() };
            let answer = self.client.send(operation, path, command, extras)?;
            let answer = answer::of_object(operation, answer, &self.client.place)?;
            Ok(etag_of(&answer))
        })
    }

    /// Removes an object, or hides it where the bucket keeps versions; one that is not there is no error.
    pub(super) fn hide(&self, path: &str) -> Result<(), S3Error> {
        let outcome = self.policy.run(|| {
            let operation = "removal of object";
            let answer = self.client.send(operation, path, Command::DeleteObject, Extras::default())?;
            answer::document(operation, answer, &self.client.place)
        });
        match outcome {
            Ok(_) => Ok(()),
            Err(error) if is_absent(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether an object stands at the path of an artifact without a manifest, which makes it whole.
    pub(super) fn is_unfinished(&self, path: &str) -> Result<bool, S3Error> {
        let operation = "look at object";
        let is_there = self.stat(operation, path)?.is_some();
        Ok(is_there && self.stat(operation, &name::manifest_path(path))?.is_none())
    }

    /// Ends a multipart upload; one that is gone is no error. Short, and deaf to the interrupt.
    pub(super) fn abort(&self, path: &str, upload_id: &str) -> Result<(), S3Error> {
        let encoded_id = client::query_value(upload_id);
        let cleanup = self.for_cleanup();
        let outcome = cleanup.policy.run(|| {
            let command = Command::AbortMultipartUpload { upload_id: &encoded_id };
            cleanup.client.send("abort of upload", path, command, Extras::default())
        });
        match outcome {
            Ok(_) => Ok(()),
            Err(error) if error.is_code("NoSuchUpload") || is_absent(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
