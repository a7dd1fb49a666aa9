//! A store in a bucket behind the S3 API (R2, B2, any other). It must not know what the bytes are,
//! nor which object belongs to which backup.
//!
//! Requests are those of the Amazon S3 API Reference, signed by Signature Version 4. Nothing is sent
//! that R2 or B2 refuse: no `x-amz-checksum-*`, no tags, parts of one size, copied ones included.

use std::fmt;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use s3::command::Command;
use zeroize::Zeroizing;

use crate::interrupt::Interrupt;

use self::answer::{etag_of, length_of};
pub(crate) use self::answer::{is_document, refusal_in};
use self::client::{Client, Extras};
pub use self::error::S3Error;
use self::grow::{Limits, S3Upload};
use self::read::ObjectReader;
use self::replace::{Replaced, Replacement};
use self::retry::Policy;
use self::starts::Starts;
use super::{Handle, Kind, Listed, Missing, Stale, Stat, Store, Upload};
use crate::name;

mod address;
mod answer;
mod aside;
mod client;
mod compose;
mod error;
mod grow;
mod list;
mod queue;
mod read;
mod replace;
mod retry;
mod segment;
mod starts;
mod upload;
mod words;
mod xml;

/// Time for a request that cleans up.
const CLEANUP_TIME_LIMIT: Duration = Duration::from_secs(10);
/// How long an abort waits for what is on its way.
const CANCEL_TIME: Duration = Duration::from_secs(5);
const CONTENT_TYPE: &str = "application/octet-stream";

/// Bytes that one upload may have in flight, where parts are small enough for more than one.
const IN_FLIGHT_BYTES: u64 = 40 * 1024 * 1024;

/// How to reach a bucket.
#[derive(Clone)]
pub struct S3Options {
    /// The name the configuration gives the store.
    pub name: String,
    /// `https://host[:port]`; without a scheme, https.
    pub endpoint: String,
    /// The region that requests are signed for (`auto` for R2).
    pub region: String,
    /// The bucket, which must exist.
    pub bucket: String,
    /// What all keys begin with; may be empty.
    pub prefix: String,
    /// The id of the access key.
    pub access_key_id: String,
    /// The secret of the access key; wiped when dropped.
    pub secret_access_key: Zeroizing<String>,
    /// Whether the bucket stands in the path of an address rather than in its host name.
    pub path_style: bool,
    /// Time to find the host and to connect to it, TLS included.
    pub connect_timeout: Duration,
    /// Time for one request, one part included.
    pub request_timeout: Duration,
    /// Time without a byte moving.
    pub stall_timeout: Duration,
    /// Parts of one upload that are sent at once; at least 1.
    pub parts_in_flight: usize,
    /// Parts that one multipart upload may have; at least 1. An artifact of more is made of several.
    pub most_parts: u32,
}

impl fmt::Debug for S3Options {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("S3Options")
            .field("name", &self.name)
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("bucket", &self.bucket)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// A store in a bucket. Clones share connections.
#[derive(Clone)]
pub struct S3Store {
    name: String,
    prefix: String,
    parts_in_flight: usize,
    most_parts: u32,
    shared: Arc<Shared>,
}

/// What uploads and readers need of their store.
struct Shared {
    client: Client,
    policy: Policy,
    part_policy: Policy,
    cleanup_policy: Policy,
    interrupt: Interrupt,
    starts: Starts,
}

impl fmt::Debug for S3Store {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("S3Store")
            .field("name", &self.name)
            .field("host", &self.shared.client.place.host)
            .field("bucket", &self.shared.client.place.bucket)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl S3Store {
    /// A store for `options`. Nothing is sent yet. Once `interrupt` is raised no part is started and
    /// no retry waited for; cleaning up still works.
    ///
    /// # Errors
    /// When the endpoint or the bucket's name is malformed, or the host has no root certificates.
    pub fn new(options: &S3Options, interrupt: Interrupt) -> Result<Self> {
        ensure!(options.parts_in_flight > 0, "at least one part must be in flight");
        ensure!(options.most_parts > 0, "an upload must have room for a part");
        let policy = Policy::new(options.stall_timeout, options.connect_timeout, interrupt.clone());
        let shared = Shared {
            client: Client::new(options, interrupt.clone())?,
            part_policy: policy.clone().at_least(options.request_timeout),
            policy,
            cleanup_policy: Policy::for_cleanup(CLEANUP_TIME_LIMIT),
            interrupt,
            starts: Starts::default(),
        };
        Ok(Self {
            name: options.name.clone(),
            prefix: options.prefix.trim_matches('/').to_owned(),
            parts_in_flight: options.parts_in_flight,
            most_parts: options.most_parts,
            shared: Arc::new(shared),
        })
    }
}

impl S3Store {
    fn limits(&self, path: &str, part_size_bytes: u64) -> Result<Limits> {
        ensure_key(path)?;
        ensure!(part_size_bytes > 0, "a part must have at least one byte");
        // Large parts go one by one: what is in flight stays in memory.
        let affordable = usize::try_from(IN_FLIGHT_BYTES / part_size_bytes)?.max(1);
        Ok(Limits {
            part_size_bytes,
            most_parts: self.most_parts,
            may_grow: true,
            parts_in_flight: self.parts_in_flight.min(affordable),
            copies_in_flight: self.parts_in_flight,
        })
    }
}

impl Store for S3Store {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> Kind {
        Kind::S3
    }

    fn path_of(&self, key: &str) -> String {
        let key = key.trim_start_matches('/');
        match self.prefix.as_str() {
            "" => key.to_owned(),
            prefix => format!("{prefix}/{key}"),
        }
    }

    fn begin(&self, path: &str, part_size_bytes: u64) -> Result<Box<dyn Upload>> {
        let limits = self.limits(path, part_size_bytes)?;
        Ok(Box::new(S3Upload::begin(Arc::clone(&self.shared), path, limits)?))
    }

    fn replace(&self, path: &str, part_size_bytes: u64) -> Result<Box<dyn Upload>> {
        let limits = Limits { may_grow: false, ..self.limits(path, part_size_bytes)? };
        Ok(Box::new(Replacement::begin(Arc::clone(&self.shared), path, limits)?))
    }

    fn open(&self, path: &str) -> Result<Box<dyn Read + Send>> {
        ensure_key(path)?;
        match ObjectReader::open(Arc::clone(&self.shared), path) {
            Ok(reader) => Ok(Box::new(reader)),
            Err(error) if is_absent(&error) => Err(Missing { path: path.to_owned() }.into()),
            Err(error) => Err(error.into()),
        }
    }

    fn stat(&self, path: &str) -> Result<Option<Stat>> {
        ensure_key(path)?;
        Ok(self.shared.stat("look at object", path)?)
    }

    fn put_small(&self, path: &str, bytes: &[u8]) -> Result<()> {
        ensure_key(path)?;
        self.shared.put("write of object", path, bytes)?;
        Ok(())
    }

    fn replace_small(&self, path: &str, bytes: &[u8]) -> Result<()> {
        ensure_key(path)?;
        let replaced = Replaced::look(&self.shared, path)?;
        self.shared.put("write of object", path, bytes)?;
        Ok(replaced.clear()?)
    }

    fn get_small(&self, path: &str, limit_bytes: u64) -> Result<Option<Vec<u8>>> {
        ensure_key(path)?;
        let operation = "read of object";
        let client = &self.shared.client;
        let outcome = self.shared.policy.run(|| {
            let answer = client.send(operation, path, Command::GetObject, Extras::default())?;
            let answer = answer::of_object(operation, answer, &client.place)?;
            answer::read_body(operation, answer, limit_bytes, &client.place)
        });
        match outcome {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn remove(&self, path: &str) -> Result<()> {
        ensure_key(path)?;
        Ok(self.shared.remove(path)?)
    }

    fn list(&self, path_prefix: &str) -> Result<Vec<Listed>> {
        Ok(list::published(&self.shared, path_prefix)?)
    }

    fn stale(&self, path_prefix: &str) -> Result<Vec<Stale>> {
        Ok(list::unpublished(&self.shared, path_prefix)?)
    }

    fn discard(&self, stale: &Stale) -> Result<()> {
        ensure_key(&stale.path)?;
        let is_of_it = |key: &str| key == stale.path || segment::artifact_of(key) == Some(&stale.path);
        match &stale.handle {
            Handle::Upload { key, id } if is_of_it(key) => self.shared.abort(key, id)?,
            // It may have become whole since it was listed.
            Handle::Object(key) if *key == stale.path && !self.shared.is_unfinished(key)? => {}
            Handle::Object(key) if is_of_it(key) => self.shared.remove(key)?,
            handle => bail!("{handle:?} is no part of an upload of `{}`", stale.path),
        }
        Ok(())
    }
}

impl Shared {
    fn stat(&self, operation: &str, path: &str) -> Result<Option<Stat>, S3Error> {
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
    fn confirm_absence(&self, operation: &str, path: &str) -> Result<Option<Stat>, S3Error> {
        let first_byte = Command::GetObjectRange { start: 0, end: Some(0) };
        let outcome =
            self.policy.run(|| self.client.send(operation, path, first_byte.clone(), Extras::default()));
        match outcome {
            Err(error) if !is_absent(&error) => Err(error),
            Ok(_) | Err(_) => Ok(None),
        }
    }

    /// Writes an object in one request and gives its entity tag.
    fn put(&self, operation: &str, path: &str, bytes: &[u8]) -> Result<Option<String>, S3Error> {
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
    fn remove(&self, path: &str) -> Result<(), S3Error> {
        self.remove_by(&self.policy, path, None)
    }

    /// The same in cleaning up: short, and deaf to the interrupt.
    fn clear(&self, path: &str) -> Result<(), S3Error> {
        self.remove_by(&self.cleanup_policy, path, Some(CLEANUP_TIME_LIMIT))
    }

    fn remove_by(&self, policy: &Policy, path: &str, time_limit: Option<Duration>) -> Result<(), S3Error> {
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
    fn is_unfinished(&self, path: &str) -> Result<bool, S3Error> {
        let operation = "look at object";
        let is_there = self.stat(operation, path)?.is_some();
        Ok(is_there && self.stat(operation, &name::manifest_path(path))?.is_none())
    }

    /// Ends a multipart upload; one that is gone is no error. Short, and deaf to the interrupt.
    fn abort(&self, path: &str, upload_id: &str) -> Result<(), S3Error> {
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

/// Whether an error says that the object is missing. A 404 alone does not: that of a missing bucket,
/// of a proxy or of a wrong endpoint must not pass for a copy that is gone.
fn is_absent(error: &S3Error) -> bool {
    error.status == Some(404) && (error.is_code("NoSuchKey") || error.is_code("NoSuchVersion"))
}

/// An address can't carry a key with such pieces: they are resolved on the way.
fn ensure_key(path: &str) -> Result<()> {
    ensure!(
        !path.is_empty() && !path.split('/').any(|piece| matches!(piece, "." | "..")),
        "`{path}` can't be the key of an object"
    );
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string can't fail.
        write!(text, "{byte:02x}").unwrap_or_default();
        text
    })
}
