//! The configuration, resolved: what the file says, what is left to defaults, and where the file is. The
//! only reader of files that configure and, in [`environment`], of the process environment. It opens no
//! connection, no store and no key.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::tz::TimeZone;
use serde::Deserialize;

use crate::backup::CheckLevel;
use crate::conninfo::{ConnInfo, Environment};
use crate::exit::{Code, Failure};
use crate::files;
use crate::fingerprint::Level;
use crate::key::OlderFile;
use crate::object_lock::ObjectLock;

pub mod alert;
pub mod environment;
pub mod keep;
mod open_with;
mod raw;
pub mod redacted;
mod resolve;
pub mod value;

use alert::Alerts;
use keep::Keep;
use value::Secret;

/// No configuration is larger; what is, is something else.
const FILE_LIMIT_BYTES: u64 = 1024 * 1024;

/// Which databases of the source are backed up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Databases {
    /// The one that the source's connection string names.
    OfSource,
    /// These.
    Named(Vec<String>),
    /// All but templates and those that take no connections.
    All,
}

/// The PostgreSQL cluster being backed up.
#[derive(Debug)]
pub struct Source {
    /// Its name in ids, paths and rows.
    pub name: String,
    /// How it is reached, resolved as libpq would.
    pub connection: ConnInfo,
    /// What is backed up.
    pub databases: Databases,
    /// Where the client programs are looked for, and nowhere else.
    pub pg_bin: Option<PathBuf>,
    /// How long `pg_dump` waits for a table's lock.
    pub lock_wait_timeout: Duration,
}

/// Where the record is kept.
#[derive(Debug)]
pub struct Catalog {
    /// How it is reached; `None` means the source.
    pub connection: Option<ConnInfo>,
    /// The schema that holds its tables.
    pub schema: String,
}

/// The format that dumps are packed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// gzip, on all cores.
    Gzip,
    /// Zstandard, on several cores.
    Zstd,
    /// Not at all.
    None,
}

impl Method {
    /// The levels it has, and the one that is meant where none is named.
    #[must_use]
    pub fn levels(self) -> (RangeInclusive<u8>, u8) {
        match self {
            Self::Gzip | Self::None => (1..=9, 9),
            // Higher ones need more memory than a backup may take.
            Self::Zstd => (1..=9, 3),
        }
    }
}

/// How dumps are packed.
#[derive(Debug)]
pub struct Compression {
    /// The format.
    pub method: Method,
    /// For gzip a promise of size, never more than 1 % above `gzip -<level>`; for zstd its own level.
    pub level: u8,
    /// How many cores to use, at least 1.
    pub threads: usize,
}

/// The files that hold keys.
#[derive(Debug)]
pub struct Encryption {
    /// The key that seals.
    pub key_file: PathBuf,
    /// Whether pgkeep makes that key when it is missing: only where no file was named.
    pub make_key: bool,
    /// Keys that only open, and prove what began while they sealed.
    pub open_with: Vec<OlderFile>,
}

/// How a backup is checked right after it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AfterBackup {
    /// Not at all.
    None,
    /// Every copy is there, with its size.
    Stat,
    /// Every copy is read back and its SHA-256 compared.
    Checksum,
    /// Every copy is read back and opened to the end of the dump inside.
    Content,
    /// Every copy is read back, and one is restored into a scratch database and compared with the source.
    Restore,
}

/// What is taken of a database while it is dumped, to compare a restore with.
#[derive(Debug)]
pub struct Fingerprint {
    /// How much.
    pub level: Level,
    /// The time that a table may take, and all that is left once the dump has ended.
    pub time: Duration,
}

impl AfterBackup {
    /// How deep that looks, where it looks at all.
    #[must_use]
    pub fn level(self) -> Option<CheckLevel> {
        match self {
            Self::None => None,
            Self::Stat => Some(CheckLevel::Stat),
            Self::Checksum => Some(CheckLevel::Checksum),
            Self::Content => Some(CheckLevel::Content),
            Self::Restore => Some(CheckLevel::Restore),
        }
    }
}

/// When a backup that failed for a passing reason is tried again.
#[derive(Debug)]
pub struct Retry {
    /// How often, after the first try.
    pub attempts: u32,
    /// Before the first of them; doubled each time.
    pub delay: Duration,
}

/// How long things may take.
#[derive(Clone, Debug)]
pub struct Timeouts {
    /// To connect.
    pub connect: Duration,
    /// One request to a store, one part included.
    pub request: Duration,
    /// Without a byte taken, before a store is dropped.
    pub stall: Duration,
}

/// What lets copies go, beside the `keep` of each store.
#[derive(Debug)]
pub struct Retention {
    /// Whether a backup prunes after itself.
    pub after_backup: bool,
    /// So many verified copies of each database, tenant and type stay in a store, whatever their age.
    pub min_keep: NonZeroU32,
    /// Where days, weeks, months and years begin and end.
    pub time_zone: TimeZone,
}

/// What is kept beside databases.
#[derive(Debug)]
pub struct ConfigSet {
    /// Patterns of the files of this host that go along, each from the root on.
    pub files: Vec<String>,
    /// Whether each run of `backup full` makes one.
    pub with_full: bool,
}

/// A place that keeps artifacts, as configured.
#[derive(Debug)]
pub struct Store {
    /// Its name.
    pub name: String,
    /// What and where it is.
    pub place: Place,
    /// How long its copies are kept.
    pub keep: Keep,
}

/// What and where a store is.
#[derive(Debug)]
pub enum Place {
    /// A directory.
    Local {
        /// Its path, absolute.
        path: PathBuf,
    },
    /// A bucket.
    S3 {
        /// Where its API answers: `https://...`.
        endpoint: String,
        /// The region that requests are signed for.
        region: String,
        /// Its name.
        bucket: String,
        /// What all keys start with; may be empty.
        prefix: String,
        /// The id of the access key.
        access_key_id: Secret,
        /// The access key's secret.
        secret_access_key: Secret,
        /// Whether the bucket stands in the path rather than in the host name.
        path_style: bool,
        /// How what is uploaded is locked, where it is.
        object_lock: Option<ObjectLock>,
    },
}

/// Everything a run is told, resolved.
#[derive(Debug)]
pub struct Config {
    /// The file it was read from, if there was one.
    pub file: Option<PathBuf>,
    /// What is written out in it that is not for everybody.
    pub written_out: redacted::Written,
    /// The variables of the environment that it takes secrets from.
    pub secret_variables: Vec<String>,
    /// Where pgkeep keeps its own state: locks, records that wait, the key it made.
    pub state_dir: PathBuf,
    /// The cluster being backed up.
    pub source: Source,
    /// Where the record is kept.
    pub catalog: Catalog,
    /// How dumps are packed.
    pub compression: Compression,
    /// The files that hold keys.
    pub encryption: Encryption,
    /// How a backup is checked right after it was made.
    pub after_backup: AfterBackup,
    /// The folder that scratch servers, for test restores, are made in.
    pub scratch_dir: PathBuf,
    /// Files and folders that a scratch server may read and run programs from, beside the system's.
    pub readable: Vec<PathBuf>,
    /// Whether a test restore is made where the kernel can't confine what the dump holds.
    pub unconfined: bool,
    /// What is taken to compare a restore with.
    pub fingerprint: Fingerprint,
    /// When a backup is tried again.
    pub retry: Retry,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// What lets copies go.
    pub retention: Retention,
    /// What is kept beside databases.
    pub config_set: ConfigSet,
    /// What is an alert, and where alerts go.
    pub alerts: Alerts,
    /// Where artifacts go, in order.
    pub stores: Vec<Store>,
}

impl Config {
    /// How the catalog is reached.
    #[must_use]
    pub fn catalog_connection(&self) -> &ConnInfo {
        self.catalog.connection.as_ref().unwrap_or(&self.source.connection)
    }
}

/// Reads the configuration: `chosen`, or `$PGKEEP_CONFIG`, or the user's, or the system's, or none.
///
/// # Errors
/// Exit code 2: a file that was asked for is missing, or one has an unknown key, a wrong type or a bad
/// value; the error names the line. Nothing was touched.
pub fn load(chosen: Option<&Path>, environment: &Environment) -> Result<Config> {
    let variable = |name: &str| environment.variables.get(name).filter(|value| !value.is_empty());
    let asked = chosen.map(Path::to_path_buf).or_else(|| variable("PGKEEP_CONFIG").map(PathBuf::from));
    let usual = || {
        let own = variable("XDG_CONFIG_HOME")
            .map(PathBuf::from)
            .or_else(|| environment.home.as_ref().map(|home| home.join(".config")))
            .map(|folder| folder.join("pgkeep/config.toml"));
        own.into_iter()
            .chain([PathBuf::from("/etc/pgkeep/config.toml")])
            .find(|path| path.try_exists().unwrap_or(true))
    };
    let Some(file) = asked.or_else(usual) else {
        return read_text("", environment);
    };
    let text = files::read_text_at_most(&file, FILE_LIMIT_BYTES)
        .with_context(|| format!("cannot read the configuration file `{}`", file.display()))
        .map_err(refused)?;
    resolve::resolve(&text, Some(file), environment).map_err(refused)
}

/// Reads the text of a configuration as [`load`] does that of its file.
pub(crate) fn read_text(text: &str, environment: &Environment) -> Result<Config> {
    resolve::resolve(text, None, environment).map_err(refused)
}

fn refused(error: anyhow::Error) -> anyhow::Error {
    if error.downcast_ref::<Failure>().is_some() {
        return error;
    }
    let message = error.to_string();
    let causes: Vec<String> = error.chain().skip(1).map(ToString::to_string).collect();
    let message = if causes.is_empty() { message } else { format!("{message}: {}", causes.join(": ")) };
    Failure::new(Code::Usage, message).into()
}
