//! Why a copy stays or goes, as data and in words.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

use crate::config::keep::{Rules, in_units};

/// What is decided of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It stays.
    Keep(Keeping),
    /// The rules would let it go, and something holds it.
    Held(Holding),
    /// It may go.
    Go(Going),
}

/// Why a copy stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keeping {
    /// The store keeps all.
    Forever,
    /// Somebody wants it kept, until then where a time was given.
    Pinned(Option<Timestamp>),
    /// It is younger than this.
    Within(Duration),
    /// It is the newest proven copy of its period.
    Counted {
        /// The rule: `daily`, say.
        rule: &'static str,
        /// How many periods that keeps.
        count: u32,
        /// The period.
        period: String,
    },
    /// No copy of its period is proven, so none of them takes another's place.
    NoneProven {
        /// The rule.
        rule: &'static str,
        /// The period.
        period: String,
    },
    /// It is of the newest verified backup.
    NewestVerified,
    /// Too few proven copies are newer.
    TooFewNewer {
        /// So many are.
        newer: u32,
        /// So many must be.
        needed: u32,
    },
    /// Its time can't be right.
    Doubtful,
}

/// What holds a copy that the rules would let go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holding {
    /// The newest run failed: this one.
    NewestFailed(String),
    /// The newest run has not ended, or died: this one.
    NewestUnfinished(String),
    /// The store was asked to lock it until then.
    Locked(Timestamp),
}

/// Why a copy may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Going {
    /// The rules, none of which keeps it.
    pub rules: Rules,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keep(keeping) => keeping.fmt(f),
            Self::Held(holding) => holding.fmt(f),
            Self::Go(going) => going.fmt(f),
        }
    }
}

impl fmt::Display for Keeping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forever => f.write_str("the store keeps all"),
            Self::Pinned(None) => f.write_str("pinned"),
            Self::Pinned(Some(until)) => write!(f, "pinned until {}", minute(*until)),
            Self::Within(age) => write!(f, "younger than {}", in_units(*age)),
            Self::Counted { rule: "last", count, .. } => write!(f, "last: one of the newest {count}"),
            Self::Counted { rule, period, .. } => write!(f, "{rule}: the newest of {period}"),
            Self::NoneProven { rule: "last", .. } => {
                f.write_str("last: not proven, so it counts for nothing, and nothing takes its place")
            }
            Self::NoneProven { rule, period } => write!(f, "{rule}: no copy of {period} is proven"),
            Self::NewestVerified => f.write_str("the newest verified backup"),
            Self::TooFewNewer { newer, needed } => {
                write!(f, "min_keep: {newer} of {needed} verified ones are newer")
            }
            Self::Doubtful => f.write_str(
                "ahead of the clock, or after a pause out of all proportion: it counts for nothing yet",
            ),
        }
    }
}

impl fmt::Display for Holding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NewestFailed(id) => write!(f, "the newest run failed: {id}"),
            Self::NewestUnfinished(id) => write!(f, "the newest run has not ended: {id}"),
            Self::Locked(until) => write!(f, "held until {} by the store's lock", minute(*until)),
        }
    }
}

impl fmt::Display for Going {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.rules.counts().into_iter().filter(|(_, count)| *count > 0);
        let counts: Vec<String> = counts.map(|(rule, count)| format!("{rule} {count}")).collect();
        match (self.rules.within, counts.is_empty()) {
            (Some(age), true) => write!(f, "older than {}", in_units(age)),
            (Some(age), false) => write!(f, "older than {}, and beyond {}", in_units(age), counts.join(", ")),
            (None, _) => write!(f, "beyond {}", counts.join(", ")),
        }
    }
}

/// A moment, to the minute.
#[must_use]
pub fn minute(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}
