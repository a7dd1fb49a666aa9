//! The requests about one object that more than one of the store's ways need: a look, a write, a removal, the
//! end of an upload. It must not know what the object is for.

use std::time::Duration;

use s3::command::Command;

use super::answer::{self, etag_of, length_of};
use super::client::{self, Extras};
use super::error::S3Error;
use super::retry::Policy;
use super::{CLEANUP_TIME_LIMIT, CONTENT_TYPE, Shared, is_absent};
use crate::name;
use crate::store::Stat;

impl Shared {
    pub(super) fn stat(&self, operation: &str, path: &str) -> Result<Option<Stat>, S3Error> {
        let client = &self.client;
        let outcome = self.policy.run(|| {
            let answer = client.send(operation, path, Command::HeadObject, Extras::default())?;
            let answer = answer::of_object(operation, answer, &client.place)?;
            let size_bytes =
                length_of(&answer).ok_or_else(|| S3Error::refused(operation, "the server gave no size"))?;
            Ok(Stat { size_bytes, etag: etag_of(&answer) })
        });
        match outcome {
            Ok(stat) => Ok(Some(stat)),
            Err(error) if error.status == Some(404) => self.confirm_absence(operation, path),
            Err(error) => Err(error),
        }
    }

    /// The answer to a HEAD has no body, so a missing bucket looks like a missing object there. A GET
    /// tells them apart.
    pub(super) fn confirm_absence(&self, operation: &str, path: &str) -> Result<Option<Stat>, S3Error> {
        let first_byte = Command::GetObjectRange { start: 0, end: Some(0) };
        let outcome =
            self.policy.run(|| self.client.send(operation, path, first_byte.clone(), Extras::default()));
        match outcome {
            Err(error) if !is_absent(&error) => Err(error),
            Ok(_) | Err(_) => Ok(None),
        }
    }

    /// Writes an object in one request and gives its entity tag.
    pub(super) fn put(&self, operation: &str, path: &str, bytes: &[u8]) -> Result<Option<String>, S3Error> {
        self.policy.run(|| {
            let command = Command::PutObject {
                content: bytes,
                content_type: CONTENT_TYPE,
                custom_headers: None,
                multipart: None,
            };
            let answer = self.client.send(operation, path, command, Extras::default())?;
            let answer = answer::of_object(operation, answer, &self.client.place)?;
            Ok(etag_of(&answer))
        })
    }

    /// Removes an object; one that is not there is no error.
    pub(super) fn remove(&self, path: &str) -> Result<(), S3Error> {
        self.remove_by(&self.policy, path, None)
    }

    /// The same in cleaning up: short, and deaf to the interrupt.
    pub(super) fn clear(&self, path: &str) -> Result<(), S3Error> {
        self.remove_by(&self.cleanup_policy, path, Some(CLEANUP_TIME_LIMIT))
    }

    pub(super) fn remove_by(
        &self,
        policy: &Policy,
        path: &str,
        time_limit: Option<Duration>,
    ) -> Result<(), S3Error> {
        let outcome = policy.run(|| {
            let extras = Extras { time_limit, ..Extras::default() };
            let operation = "removal of object";
            let answer = self.client.send(operation, path, Command::DeleteObject, extras)?;
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
        let outcome = self.cleanup_policy.run(|| {
            let command = Command::AbortMultipartUpload { upload_id: &encoded_id };
            let extras = Extras { time_limit: Some(CLEANUP_TIME_LIMIT), ..Extras::default() };
            self.client.send("abort of upload", path, command, extras)
        });
        match outcome {
            Ok(_) => Ok(()),
            Err(error) if error.is_code("NoSuchUpload") || is_absent(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
