//! The configuration file as it is written: every key of it, none other. It resolves nothing.

use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use super::alert::Format;
use super::keep::Keep;
use super::open_with::OpenWith;
use super::value::{Limit, Secret, Span};
use super::{AfterBackup, Method};
use crate::finding::{Rule, Severity};
use crate::fingerprint::Level;
use crate::object_lock::LockMode;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub(super) state_dir: Option<Spanned<PathBuf>>,
    pub(super) source: Source,
    pub(super) catalog: Catalog,
    pub(super) compression: Compression,
    pub(super) encryption: Encryption,
    pub(super) verify: Verify,
    pub(super) retry: Retry,
    pub(super) timeouts: Timeouts,
    pub(super) retention: Retention,
    pub(super) store: Vec<Spanned<Store>>,
    pub(super) config: ConfigSet,
    pub(super) alert: Alert,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Source {
    pub(super) name: Option<Spanned<String>>,
    pub(super) url: Option<Spanned<String>>,
    pub(super) databases: Option<Spanned<Vec<String>>>,
    pub(super) pg_bin: Option<PathBuf>,
    pub(super) lock_wait_timeout: Option<Limit>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Catalog {
    pub(super) url: Option<Spanned<String>>,
    pub(super) schema: Option<Spanned<String>>,
}

// Connection strings hold passwords: what has one shows nothing of itself.
impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Catalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Catalog").finish_non_exhaustive()
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Compression {
    pub(super) method: Option<Method>,
    pub(super) level: Option<Spanned<u8>>,
    pub(super) threads: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Encryption {
    pub(super) key_file: Option<PathBuf>,
    pub(super) open_with: Vec<OpenWith>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Verify {
    pub(super) after_backup: Option<AfterBackup>,
    pub(super) scratch_dir: Option<Spanned<PathBuf>>,
    pub(super) readable: Vec<Spanned<PathBuf>>,
    pub(super) unconfined: Option<bool>,
    pub(super) fingerprint: Option<Level>,
    pub(super) fingerprint_time: Option<Limit>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Retry {
    pub(super) attempts: Option<u32>,
    pub(super) delay: Option<Span>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Timeouts {
    pub(super) connect: Option<Limit>,
    pub(super) request: Option<Limit>,
    pub(super) stall: Option<Limit>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Retention {
    pub(super) after_backup: Option<bool>,
    pub(super) min_keep: Option<Spanned<u32>>,
    pub(super) time_zone: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ConfigSet {
    pub(super) files: Vec<Spanned<String>>,
    pub(super) with_full: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Alert {
    pub(super) max_age: Option<Limit>,
    pub(super) min_free: Option<Spanned<String>>,
    pub(super) size_drop: Option<Spanned<String>>,
    pub(super) size_growth: Option<Spanned<String>>,
    pub(super) duration_drop: Option<Spanned<String>>,
    pub(super) duration_growth: Option<Spanned<String>>,
    pub(super) channel: Vec<Spanned<Channel>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ChannelKind {
    Email,
    Sms,
    Webhook,
    Ping,
    InApp,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Channel {
    pub(super) name: Spanned<String>,
    pub(super) kind: ChannelKind,
    pub(super) min_severity: Option<Spanned<Severity>>,
    pub(super) rules: Option<Spanned<Vec<Rule>>>,
    pub(super) databases: Option<Spanned<Vec<String>>>,
    pub(super) quiet_hours: Option<Spanned<String>>,
    pub(super) timeout: Option<Limit>,
    pub(super) smtp: Option<Spanned<String>>,
    pub(super) url: Option<Spanned<Secret>>,
    pub(super) format: Option<Spanned<Format>>,
    pub(super) username: Option<Spanned<Secret>>,
    pub(super) password: Option<Spanned<Secret>>,
    pub(super) token: Option<Spanned<Secret>>,
    pub(super) secret: Option<Spanned<Secret>>,
    pub(super) routing_key: Option<Spanned<Secret>>,
    pub(super) from: Option<Spanned<String>>,
    pub(super) to: Option<Spanned<Vec<String>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Local,
    S3,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Store {
    pub(super) name: Spanned<String>,
    pub(super) kind: Kind,
    pub(super) path: Option<Spanned<PathBuf>>,
    pub(super) endpoint: Option<Spanned<String>>,
    pub(super) region: Option<Spanned<String>>,
    pub(super) bucket: Option<Spanned<String>>,
    pub(super) prefix: Option<Spanned<String>>,
    pub(super) access_key_id: Option<Spanned<Secret>>,
    pub(super) secret_access_key: Option<Spanned<Secret>>,
    pub(super) path_style: Option<Spanned<bool>>,
    pub(super) keep: Option<Keep>,
    pub(super) object_lock: Option<Spanned<Lock>>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lock {
    pub(super) mode: LockMode,
    pub(super) days: u32,
}
