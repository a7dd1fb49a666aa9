//! What is on record of alerts, and of what was sent about them: the columns of the catalog, the objects of `--json`,
//! and the file that waits under the state folder while the catalog is down. Data only.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::finding::{AlertKey, Rule, Severity};

/// How an alert stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertStatus {
    /// The problem goes on, and nobody has said that they know.
    Open,
    /// The problem goes on, and somebody knows.
    Acknowledged,
    /// It is over.
    Resolved,
}

impl AlertStatus {
    const ALL: [Self; 3] = [Self::Open, Self::Acknowledged, Self::Resolved];

    /// The word for it in the catalog and in `--json`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Acknowledged => "acknowledged",
            Self::Resolved => "resolved",
        }
    }

    /// The status of that word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }
}

/// An alert: a problem, from when it was first seen until it is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// Twelve hexadecimal digits.
    pub id: String,
    /// What it is about.
    pub rule: Rule,
    /// How grave it is by now.
    pub severity: Severity,
    /// How it stands.
    pub status: AlertStatus,
    /// The source.
    pub source: String,
    /// The backup that it showed in last.
    pub backup_id: Option<String>,
    /// The database, where it is about one.
    pub database: Option<String>,
    /// The tenant, where it is about one.
    pub tenant: Option<String>,
    /// The store, where it is about one.
    pub store: Option<String>,
    /// The channel, where it is about one.
    pub channel: Option<String>,
    /// One line for people.
    pub message: String,
    /// What more there is to say.
    pub detail: Option<String>,
    /// When it was first seen.
    pub first_seen: Timestamp,
    /// When it was last seen.
    pub last_seen: Timestamp,
    /// How often it was seen.
    pub count: u64,
    /// Since when somebody knows.
    pub acknowledged_at: Option<Timestamp>,
    /// What they said.
    pub note: Option<String>,
    /// When it was over.
    pub resolved_at: Option<Timestamp>,
}

impl Alert {
    /// What it is about: the same problem has the same.
    #[must_use]
    pub fn subject(&self) -> AlertKey {
        AlertKey {
            rule: self.rule,
            database: self.database.clone(),
            tenant: self.tenant.clone(),
            store: self.store.clone(),
            channel: self.channel.clone(),
        }
    }
}

/// What is told of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// It is there, or graver than before.
    Raised,
    /// It is over.
    Resolved,
    /// Nothing: somebody tries whether the channel works.
    Test,
}

impl Event {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Resolved => "resolved",
            Self::Test => "test",
        }
    }
}

/// How a run of backups stands, for a dead man's switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Signal {
    /// It has begun.
    Start,
    /// It has ended, and every promise was kept.
    Success,
    /// It has ended, and one was not.
    Fail,
    /// It says something, which changes nothing.
    Log,
}

/// What is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Message {
    /// News of an alert, which is as it was then.
    Notice {
        /// What happened.
        event: Event,
        /// The alert.
        alert: Box<Alert>,
    },
    /// A sign of life.
    Ping {
        /// How the run stands.
        signal: Signal,
        /// The run: a UUID.
        rid: String,
        /// The end of its log.
        body: String,
    },
}

impl Message {
    /// Whether a newer sign of life takes the place of an older one that told of a failure; `None` where it takes the
    /// place of none at all.
    #[must_use]
    pub fn takes_the_place_of_failures(&self) -> Option<bool> {
        match self {
            Self::Notice { .. } | Self::Ping { signal: Signal::Start | Signal::Log, .. } => None,
            Self::Ping { signal, .. } => Some(*signal == Signal::Fail),
        }
    }

    /// Whether it is a sign of life that tells of a failure.
    #[must_use]
    pub fn tells_of_a_failed_run(&self) -> bool {
        matches!(self, Self::Ping { signal: Signal::Fail, .. })
    }
}

/// How a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryStatus {
    /// To be tried, or tried again.
    Waiting,
    /// The receiver took it.
    Sent,
    /// Nobody took it for a day.
    GivenUp,
    /// A later one says more.
    Superseded,
}

impl DeliveryStatus {
    const ALL: [Self; 4] = [Self::Waiting, Self::Sent, Self::GivenUp, Self::Superseded];

    /// The word for it in the catalog.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Sent => "sent",
            Self::GivenUp => "given_up",
            Self::Superseded => "superseded",
        }
    }

    /// The status of that word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }
}

/// One message to one receiver, by one channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// A UUID: a receiver that has seen it before takes it for the same.
    pub id: String,
    /// The source that it is sent for.
    pub source: String,
    /// The channel's name.
    pub channel: String,
    /// Who it is for, where a channel has several.
    pub recipient: Option<String>,
    /// What is sent.
    #[serde(rename = "letter")]
    pub message: Message,
    /// How it stands.
    pub status: DeliveryStatus,
    /// Since when it is to be sent.
    pub created_at: Timestamp,
    /// Not to be tried before.
    pub due_at: Timestamp,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was last tried.
    pub tried_at: Option<Timestamp>,
    /// When the receiver took it.
    pub sent_at: Option<Timestamp>,
    /// Why the last try came to nothing.
    pub error: Option<String>,
}

impl Delivery {
    /// The alert that it is about.
    #[must_use]
    pub fn alert(&self) -> Option<&Alert> {
        match &self.message {
            Message::Notice { alert, .. } => Some(alert),
            Message::Ping { .. } => None,
        }
    }

    /// What it tells, in a word.
    #[must_use]
    pub fn event(&self) -> &'static str {
        match &self.message {
            Message::Notice { event, .. } => event.as_str(),
            Message::Ping { signal: Signal::Start, .. } => "start",
            Message::Ping { signal: Signal::Success, .. } => "success",
            Message::Ping { signal: Signal::Fail, .. } => "fail",
            Message::Ping { signal: Signal::Log, .. } => "log",
        }
    }
}
