//! What alerts go by, as configured: bounds, and the channels that deliver them.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::civil::Time;
use serde::Deserialize;

use super::value::Secret;
use crate::finding::{Rule, Severity};

/// When something is an alert, and where alerts go.
#[derive(Debug)]
pub struct Alerts {
    /// A database without a good backup that is younger is a problem.
    pub max_age: Duration,
    /// A store with a smaller share of its room left is nearly full, in percent; 0 never is.
    pub min_free_percent: u8,
    /// How much smaller or larger than the last ones a dump may be.
    pub size: Bounds,
    /// How much less or more time than the last ones a backup may take.
    pub duration: Bounds,
    /// Where alerts go, in order.
    pub channels: Vec<Channel>,
}

/// How far a figure may be from what it was, in percent of that; `None` is as far as it likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Downwards: 30 lets 100 become 70.
    pub drop_percent: Option<u32>,
    /// Upwards: 100 lets 100 become 200.
    pub growth_percent: Option<u32>,
}

/// A way to deliver alerts, as configured.
#[derive(Clone, Debug)]
pub struct Channel {
    /// Its name.
    pub name: String,
    /// What it is, and where it goes.
    pub way: Way,
    /// Nothing less grave goes there.
    pub min_severity: Severity,
    /// Only alerts of these rules; `None` means of all.
    pub rules: Option<BTreeSet<Rule>>,
    /// Only alerts of these databases, and those of none; `None` means of all.
    pub databases: Option<BTreeSet<String>>,
    /// What is not critical waits until these hours are over.
    pub quiet: Option<QuietHours>,
    /// How long one delivery may take.
    pub timeout: Duration,
}

/// Hours of each day, in the time zone of `[retention]`; they may span midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuietHours {
    /// They begin then.
    pub from: Time,
    /// And are over then.
    pub until: Time,
}

/// What a channel is.
#[derive(Clone, Debug)]
pub enum Way {
    /// Mail by SMTP.
    Email(Email),
    /// Text messages by an HTTP API of Twilio's kind.
    Sms(Sms),
    /// A POST to an address.
    Webhook(Webhook),
    /// A dead man's switch, of healthchecks' kind; learns of runs, not of alerts.
    Ping {
        /// Where it is pinged.
        url: Secret,
    },
    /// `NOTIFY` in the catalog's database.
    InApp,
}

impl Way {
    /// The word for it in the configuration.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Email(_) => "email",
            Self::Sms(_) => "sms",
            Self::Webhook(_) => "webhook",
            Self::Ping { .. } => "ping",
            Self::InApp => "in_app",
        }
    }
}

/// How TLS is used with an SMTP server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpTls {
    /// Not at all: a relay on this host.
    Plain,
    /// STARTTLS, or nothing is said.
    StartTls,
    /// From the first byte.
    Implicit,
}

/// Mail.
#[derive(Clone, Debug)]
pub struct Email {
    /// The server's host name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How it is spoken to.
    pub tls: SmtpTls,
    /// Name and password, where it asks for them.
    pub login: Option<(Secret, Secret)>,
    /// The sender's address.
    pub from: String,
    /// The receivers' addresses: each gets a mail of its own.
    pub to: Vec<String>,
}

/// Text messages.
#[derive(Clone, Debug)]
pub struct Sms {
    /// Where messages are posted.
    pub url: Secret,
    /// The user of HTTP's basic authentication.
    pub username: Secret,
    /// Its password.
    pub password: Secret,
    /// The sender: a number, a name, or the id of a messaging service (`MG...`).
    pub from: String,
    /// The receivers' numbers: each gets a message of its own.
    pub to: Vec<String>,
}

/// A POST.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// Where to; may be a secret in itself.
    pub url: Secret,
    /// What it looks like.
    pub format: Format,
    /// What it is signed with, as Standard Webhooks has it.
    pub secret: Option<Secret>,
    /// Name and password of HTTP's basic authentication.
    pub login: Option<(Secret, Secret)>,
    /// A bearer token.
    pub token: Option<Secret>,
    /// The integration key of `PagerDuty`.
    pub routing_key: Option<Secret>,
}

/// Whose body a webhook has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Our own: all there is to know.
    #[default]
    Json,
    /// Slack's incoming webhooks.
    Slack,
    /// Discord's webhooks.
    Discord,
    /// The webhooks of Teams' workflows.
    Teams,
    /// ntfy's topics.
    Ntfy,
    /// The Events API v2 of `PagerDuty`.
    Pagerduty,
}

/// Whether a host, with its port, is this one: what goes there goes over no network.
#[must_use]
pub fn is_here(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost"
        || name == "::1"
        || name.parse::<std::net::Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
}
