//! What can be wrong: the rules that alerts go by, how grave each is, and what a command says of one. Data only; it
//! knows no channel and no row.

use serde::{Deserialize, Serialize};

/// How grave a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// To be looked at by day.
    Warning,
    /// Backups are at stake: to be looked at now.
    Critical,
}

impl Severity {
    /// Every severity, the least grave first.
    pub const ALL: [Self; 3] = [Self::Info, Self::Warning, Self::Critical];

    /// The word for it in the configuration, in the catalog and in messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    /// The severity of that word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| severity.as_str() == word)
    }
}

/// What an alert is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// A backup came to nothing, after all its tries; or its run died.
    BackupFailed,
    /// A backup is usable, but not everywhere, or not proven.
    BackupDegraded,
    /// Another run holds the lock of a database for too long for any other to begin.
    BackupLocked,
    /// There is no good backup younger than `max_age`.
    NoGoodBackup,
    /// The dump holds no table.
    EmptyDump,
    /// A dump is much smaller or larger than the last ones.
    SizeChanged,
    /// A backup took much less or much more time than the last ones.
    DurationChanged,
    /// A copy is damaged.
    VerificationFailed,
    /// A copy that is on record is not in its store.
    CopyMissing,
    /// A test restore failed, or its outcome was not what the source had been.
    TestRestoreFailed,
    /// A store can't be reached, or takes nothing.
    StoreUnreachable,
    /// A store has little room left.
    StoreNearlyFull,
    /// Copies past their rules stay.
    RetentionHeld,
    /// The catalog can't be reached.
    CatalogUnreachable,
    /// Soon one key alone opens what there is.
    OnlyKey,
    /// There are backups that no key at hand opens.
    KeyMissing,
    /// A channel did not take an alert for a whole day.
    ChannelFailing,
}

impl Rule {
    /// Every rule.
    pub const ALL: [Self; 17] = [
        Self::BackupFailed,
        Self::BackupDegraded,
        Self::BackupLocked,
        Self::NoGoodBackup,
        Self::EmptyDump,
        Self::SizeChanged,
        Self::DurationChanged,
        Self::VerificationFailed,
        Self::CopyMissing,
        Self::TestRestoreFailed,
        Self::StoreUnreachable,
        Self::StoreNearlyFull,
        Self::RetentionHeld,
        Self::CatalogUnreachable,
        Self::OnlyKey,
        Self::KeyMissing,
        Self::ChannelFailing,
    ];

    /// The word for it in the configuration, in the catalog and in messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BackupFailed => "backup_failed",
            Self::BackupDegraded => "backup_degraded",
            Self::BackupLocked => "backup_locked",
            Self::NoGoodBackup => "no_good_backup",
            Self::EmptyDump => "empty_dump",
            Self::SizeChanged => "size_changed",
            Self::DurationChanged => "duration_changed",
            Self::VerificationFailed => "verification_failed",
            Self::CopyMissing => "copy_missing",
            Self::TestRestoreFailed => "test_restore_failed",
            Self::StoreUnreachable => "store_unreachable",
            Self::StoreNearlyFull => "store_nearly_full",
            Self::RetentionHeld => "retention_held",
            Self::CatalogUnreachable => "catalog_unreachable",
            Self::OnlyKey => "only_key",
            Self::KeyMissing => "key_missing",
            Self::ChannelFailing => "channel_failing",
        }
    }

    /// The rule of that word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.as_str() == word)
    }

    /// How grave it is.
    #[must_use]
    pub fn severity(self) -> Severity {
        match self {
            Self::BackupFailed
            | Self::NoGoodBackup
            | Self::EmptyDump
            | Self::VerificationFailed
            | Self::CopyMissing
            | Self::TestRestoreFailed
            | Self::KeyMissing => Severity::Critical,
            Self::BackupDegraded
            | Self::BackupLocked
            | Self::SizeChanged
            | Self::DurationChanged
            | Self::StoreUnreachable
            | Self::StoreNearlyFull
            | Self::RetentionHeld
            | Self::CatalogUnreachable
            | Self::ChannelFailing => Severity::Warning,
            Self::OnlyKey => Severity::Info,
        }
    }
}

/// What makes two problems the same one: there is at most one open alert of each.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AlertKey {
    /// The rule.
    pub rule: Rule,
    /// The database, where it is about one.
    #[serde(default)]
    pub database: Option<String>,
    /// The tenant, where it is about one.
    #[serde(default)]
    pub tenant: Option<String>,
    /// The store, where it is about one.
    #[serde(default)]
    pub store: Option<String>,
    /// The channel, where it is about one.
    #[serde(default)]
    pub channel: Option<String>,
}

impl AlertKey {
    /// About the source as a whole.
    #[must_use]
    pub fn new(rule: Rule) -> Self {
        Self { rule, database: None, tenant: None, store: None, channel: None }
    }

    /// About a database.
    #[must_use]
    pub fn of_database(rule: Rule, database: &str) -> Self {
        Self { database: Some(database.to_owned()), ..Self::new(rule) }
    }

    /// About a store.
    #[must_use]
    pub fn of_store(rule: Rule, store: &str) -> Self {
        Self { store: Some(store.to_owned()), ..Self::new(rule) }
    }

    /// The same in a store.
    #[must_use]
    pub fn in_store(mut self, store: &str) -> Self {
        self.store = Some(store.to_owned());
        self
    }

    /// It is in order.
    #[must_use]
    pub fn is_well(self) -> Finding {
        Finding { subject: self, problem: None }
    }

    /// It is not, as gravely as its rule says.
    #[must_use]
    pub fn has_problem(self, message: impl Into<String>) -> Finding {
        let problem = Problem {
            severity: self.rule.severity(),
            backup_id: None,
            message: message.into(),
            detail: None,
        };
        Finding { subject: self, problem: Some(problem) }
    }
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// How grave it is.
    pub severity: Severity,
    /// The backup that it shows in.
    pub backup_id: Option<String>,
    /// One line for people.
    pub message: String,
    /// What more there is to say; several lines at most.
    pub detail: Option<String>,
}

/// What a command saw of a subject: a problem, or that there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What it is about.
    pub subject: AlertKey,
    /// What is wrong; `None` means that all is well.
    #[serde(rename = "trouble")]
    pub problem: Option<Problem>,
}

impl Finding {
    /// Names the backup that it shows in.
    #[must_use]
    pub fn of_backup(mut self, id: &str) -> Self {
        if let Some(problem) = &mut self.problem {
            problem.backup_id = Some(id.to_owned());
        }
        self
    }

    /// Says more.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        if let Some(problem) = &mut self.problem {
            problem.detail = Some(detail.into());
        }
        self
    }

    /// As grave as this, whatever the rule says.
    #[must_use]
    pub fn severity(mut self, severity: Severity) -> Self {
        if let Some(problem) = &mut self.problem {
            problem.severity = severity;
        }
        self
    }
}
