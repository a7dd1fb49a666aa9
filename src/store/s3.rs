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

pub(crate) use self::answer::{is_document, refusal_in};
use self::client::{Client, Extras};
pub use self::error::S3Error;
use self::grow::{Limits, S3Upload};
use self::read::ObjectReader;
use self::replace::Replacement;
use self::replaced::Replaced;
use self::retry::Policy;
use self::starts::Starts;
use super::{Handle, Kind, Listed, Missing, ObjectLock, Removal, Stale, Stat, Store, Upload};

mod address;
mod answer;
mod bounded;
mod client;
mod compose;
mod course;
mod error;
mod grow;
mod list;
mod lock;
mod place;
mod queue;
mod read;
mod replace;
mod replaced;
mod requests;
mod retry;
mod segment;
mod starts;
mod upload;
mod versions;
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
    /// The lock that the store is asked to put on each artifact and manifest.
    pub object_lock: Option<ObjectLock>,
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
    interrupt: Interrupt,
    starts: Starts,
    object_lock: Option<ObjectLock>,
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
            interrupt,
            starts: Starts::default(),
            object_lock: options.object_lock,
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
        self.shared.put("write of object", path, bytes, self.shared.lock())?;
        Ok(())
    }

    fn put_probe(&self, path: &str, bytes: &[u8]) -> Result<()> {
        ensure_key(path)?;
        self.shared.put("write of object", path, bytes, None)?;
        Ok(())
    }

    fn replace_small(&self, path: &str, bytes: &[u8]) -> Result<()> {
        ensure_key(path)?;
        let replaced = Replaced::look(&self.shared, path)?;
        self.shared.put("write of object", path, bytes, self.shared.lock())?;
        Ok(replaced.clear(replaced::DAMAGED)?)
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

    fn hide(&self, path: &str) -> Result<()> {
        ensure_key(path)?;
        Ok(self.shared.hide(path)?)
    }

    fn delete_versions(&self, paths: &[&str]) -> Result<Removal> {
        paths.iter().try_for_each(|path| ensure_key(path))?;
        Ok(versions::delete_versions(&self.shared, paths)?)
    }

    fn rollback(&self, paths: &[&str]) -> Result<Removal> {
        paths.iter().try_for_each(|path| ensure_key(path))?;
        Ok(versions::rollback(&self.shared, paths)?)
    }

    fn each(
        &self,
        path_prefix: &str,
        is_wanted: &dyn Fn(&str) -> bool,
        found: &mut dyn FnMut(Listed),
    ) -> Result<()> {
        let passed_over = list::published(&self.shared, path_prefix, is_wanted, found)?;
        if passed_over > 0 {
            let (name, most) = (&self.name, list::KEY_LIMIT_BYTES);
            log::warn!(
                "store `{name}`: {passed_over} names of more than {most} bytes, which S3 has not, are passed over"
            );
        }
        Ok(())
    }

    fn each_stale(
        &self,
        path_prefix: &str,
        is_wanted: &dyn Fn(&str) -> bool,
        found: &mut dyn FnMut(Stale),
    ) -> Result<()> {
        Ok(list::unpublished(&self.shared, path_prefix, is_wanted, found)?)
    }

    fn delete_stale_upload(&self, stale: &Stale) -> Result<()> {
        ensure_key(&stale.path)?;
        let is_of_it = |key: &str| key == stale.path || segment::artifact_of(key) == Some(&stale.path);
        match &stale.handle {
            Handle::Upload { key, id } if is_of_it(key) => self.shared.abort(key, id)?,
            // It may have become whole since it was listed.
            Handle::Object(key) if *key == stale.path && !self.shared.is_unfinished(key)? => {}
            Handle::Object(key) if is_of_it(key) => {
                if let Removal::Held(hold) = versions::delete(&self.shared, key)? {
                    log::info!("store `{}`: `{key}` stays: {hold}", self.name);
                }
            }
            handle => bail!("{handle:?} is no part of an upload of `{}`", stale.path),
        }
        Ok(())
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
