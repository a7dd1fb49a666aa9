//! What is on record of a backup and its copies: the columns of the catalog, the objects of `--json`,
//! and the file that waits under the state folder while the catalog is down. Data only.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::name::BackupId;

/// How a backup stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// A run is making it, or died while it did.
    InProgress,
    /// Whole in every store, not read back yet.
    Completed,
    /// Whole in every store, and each copy was read back.
    Verified,
    /// Usable, but not everywhere or not proven.
    Degraded,
    /// Nothing usable was made.
    Failed,
    /// Its copies were pruned; the row stays.
    Expired,
}

impl Status {
    /// Every status, for help and filters.
    pub const ALL: [Self; 6] =
        [Self::InProgress, Self::Completed, Self::Verified, Self::Degraded, Self::Failed, Self::Expired];

    /// The word for it in the catalog and in `--json`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Verified => "verified",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
            Self::Expired => "expired",
        }
    }

    /// The status of that word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }

    /// Whether a backup of this status can be restored from.
    #[must_use]
    pub fn is_usable(self) -> bool {
        matches!(self, Self::Completed | Self::Verified | Self::Degraded)
    }
}

/// How deep a check of a copy goes, from what costs nothing to what proves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckLevel {
    /// Artifact and manifest are there, with the size and the tag on record.
    Stat,
    /// Every byte was read, and the SHA-256 is the one on record.
    Checksum,
    /// It opened to the end of the dump inside, and `pg_restore` read that.
    Content,
    /// It was restored, and the database made of it was what the source had been.
    Restore,
}

impl CheckLevel {
    /// Every level, the shallowest first.
    pub const ALL: [Self; 4] = [Self::Stat, Self::Checksum, Self::Content, Self::Restore];

    /// The word for it on the command line, in the catalog and in `--json`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stat => "stat",
            Self::Checksum => "checksum",
            Self::Content => "content",
            Self::Restore => "restore",
        }
    }

    /// The level of that word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.as_str() == word)
    }
}

/// How a copy stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CopyState {
    /// Published, with its manifest; not read back.
    Stored,
    /// Read back, and its SHA-256 was the one on record.
    Verified,
    /// It was never made.
    Failed,
    /// It is not where it was.
    Missing,
    /// It is there, and differs.
    Corrupt,
    /// Pruned.
    Expired,
}

impl CopyState {
    const ALL: [Self; 6] =
        [Self::Stored, Self::Verified, Self::Failed, Self::Missing, Self::Corrupt, Self::Expired];

    /// The word for it in the catalog and in `--json`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Verified => "verified",
            Self::Failed => "failed",
            Self::Missing => "missing",
            Self::Corrupt => "corrupt",
            Self::Expired => "expired",
        }
    }

    /// The state of that word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Whether there is something to read: even a copy that was found damaged may have been mended.
    #[must_use]
    pub fn is_published(self) -> bool {
        !matches!(self, Self::Failed | Self::Expired)
    }
}

/// One artifact in one store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Copy {
    /// The store's name.
    pub store: String,
    /// The artifact's path in it.
    pub path: String,
    /// How it stands.
    pub state: CopyState,
    /// Size of the artifact there.
    pub size_bytes: Option<u64>,
    /// The entity tag that an S3 store gave.
    pub etag: Option<String>,
    /// When it was published.
    pub stored_at: Option<Timestamp>,
    /// When it was last read back and found whole.
    pub verified_at: Option<Timestamp>,
    /// How deep that check went.
    pub verified_level: Option<String>,
    /// From when on retention may let it go, where age alone decides.
    pub expires_at: Option<Timestamp>,
    /// Until when its store was asked to lock it.
    #[serde(default)]
    pub locked_until: Option<Timestamp>,
    /// What is wrong with it.
    pub error: Option<String>,
}

/// One backup of one database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Backup {
    /// Its id.
    pub id: BackupId,
    /// What kind of backup: `full`.
    pub backup_type: String,
    /// The name of the cluster it is of.
    pub source: String,
    /// The database it is of.
    pub database: String,
    /// The tenant it is of, where it is of one.
    pub tenant: Option<String>,
    /// The artifact's file name.
    pub filename: String,
    /// Size of the artifact.
    pub size_bytes: Option<u64>,
    /// SHA-256 of the artifact, lower-case hex.
    pub checksum: Option<String>,
    /// Where the copy in the store named `local` stands.
    pub local_path: Option<String>,
    /// Where the copy in the store named `r2` stands.
    pub r2_path: Option<String>,
    /// Where the copy in the store named `b2` stands.
    pub b2_path: Option<String>,
    /// How it stands.
    pub status: Status,
    /// The share of the dump that was saved: 0.82 is 82 % smaller.
    pub compression_ratio: Option<f64>,
    /// How long the run took.
    pub backup_duration_seconds: Option<f64>,
    /// What else is known: versions, sizes, the host and process of the run.
    pub metadata: serde_json::Map<String, serde_json::Value>,
    /// When the run began.
    pub created_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// When every copy was last read back and found whole.
    pub verified_at: Option<Timestamp>,
    /// What went wrong.
    pub error: Option<String>,
    /// When its run last said that it is alive; the catalog keeps it.
    #[serde(default)]
    pub heartbeat_at: Option<Timestamp>,
    /// Since when somebody wants it kept, whatever the rules of retention say; the catalog keeps it.
    #[serde(default)]
    pub pinned_at: Option<Timestamp>,
    /// Until when; `None` is for good.
    #[serde(default)]
    pub pinned_until: Option<Timestamp>,
    /// Its copies, in the order of the stores.
    pub copies: Vec<Copy>,
}

impl Backup {
    /// A backup that begins now.
    #[must_use]
    pub fn begin(id: BackupId, source: &str, database: &str, filename: String, now: Timestamp) -> Self {
        Self {
            backup_type: id.backup_type().to_owned(),
            id,
            source: source.to_owned(),
            database: database.to_owned(),
            tenant: None,
            filename,
            size_bytes: None,
            checksum: None,
            local_path: None,
            r2_path: None,
            b2_path: None,
            status: Status::InProgress,
            compression_ratio: None,
            backup_duration_seconds: None,
            metadata: serde_json::Map::new(),
            created_at: now,
            finished_at: None,
            verified_at: None,
            error: None,
            heartbeat_at: Some(now),
            pinned_at: None,
            pinned_until: None,
            copies: Vec::new(),
        }
    }

    /// Keeps the path columns and the time of the last whole check in step with the copies.
    pub fn summarize_copies(&mut self) {
        let path = |store: &str| {
            self.copies
                .iter()
                .find(|copy| copy.store == store && copy.state.is_published())
                .map(|copy| copy.path.clone())
        };
        let (local, r2, b2) = (path("local"), path("r2"), path("b2"));
        self.local_path = local;
        self.r2_path = r2;
        self.b2_path = b2;
        let whole = self.status == Status::Verified;
        let oldest = self.copies.iter().filter_map(|copy| copy.verified_at).min();
        if whole && oldest.is_some() {
            self.verified_at = oldest;
        }
    }

    /// A number of the metadata.
    #[must_use]
    pub fn metadata_u64(&self, key: &str) -> Option<u64> {
        self.metadata.get(key).and_then(serde_json::Value::as_u64)
    }

    /// A text of the metadata.
    #[must_use]
    pub fn metadata_str(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).and_then(serde_json::Value::as_str)
    }
}

/// The type of backups of whole databases.
pub const FULL: &str = "full";
/// The type of backups of what belongs to the cluster and is in no database's dump: roles, settings, files.
pub const CONFIG: &str = "config";
/// Under which name the record keeps the id of the call that made a backup.
pub const RUN: &str = "run";
/// What a backup of the cluster has in place of a database's name.
pub const CLUSTER: &str = "cluster";

/// How many tables a database had before a dump of it that holds none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TablesBefore {
    /// So many in the newest dump that held any.
    Some(u64),
    /// There was no dump before.
    First,
    /// None in any.
    None,
    /// Somebody has said since that it is right.
    Accepted,
    /// Nobody knows: the record can't be read, or does not say.
    Unknown,
}
