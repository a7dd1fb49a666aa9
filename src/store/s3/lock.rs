//! S3 Object Lock: what is sent to have an object locked, and what an answer says of what holds one. It must not
//! know why an object is locked, nor ask to get around a lock.

use jiff::{SignedDuration, Timestamp};
use ureq::http::Response;
use ureq::http::header::{DATE, HeaderName};

use super::error::S3Error;
use super::words;
use crate::store::{Hold, LockMode, ObjectLock};

const MODE: HeaderName = HeaderName::from_static("x-amz-object-lock-mode");
const UNTIL: HeaderName = HeaderName::from_static("x-amz-object-lock-retain-until-date");
const LEGAL_HOLD: HeaderName = HeaderName::from_static("x-amz-object-lock-legal-hold");

/// Words of servers that refuse a removal for a lock, by no code of their own.
const LOCKED_WORDS: [&str; 5] = ["object lock", "worm", "retention", "legal hold", "locked"];

/// A lock to ask for, with its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lock {
    mode: LockMode,
    pub(super) until: Timestamp,
}

impl Lock {
    /// The lock of something that is written now.
    pub(super) fn from_now(asked: ObjectLock) -> Self {
        let time = SignedDuration::from_hours(i64::from(asked.days).saturating_mul(24));
        let until = own_clock().checked_add(time).unwrap_or(Timestamp::MAX);
        // Whole seconds are what a header holds.
        Self { mode: asked.mode, until: Timestamp::from_second(until.as_second()).unwrap_or(until) }
    }

    pub(super) fn headers(&self) -> [(HeaderName, String); 2] {
        let mode = match self.mode {
            LockMode::Governance => "GOVERNANCE",
            LockMode::Compliance => "COMPLIANCE",
        };
        [(MODE, mode.to_owned()), (UNTIL, self.until.to_string())]
    }
}

/// Says what to do where it may be the lock that was asked for which a server refused.
pub(super) fn explain(error: S3Error) -> S3Error {
    let hint = match error.status {
        Some(400 | 501) if error.hint.is_none() => words::NO_LOCKS,
        Some(403) if error.is_code("AccessDenied") => words::NO_RIGHT_TO_LOCK,
        _ => return error,
    };
    S3Error { hint: Some(hint.to_owned()), ..error }
}

/// Whether an answer about an object shows a lock with an end, be it over or not.
pub(super) fn is_shown<T>(answer: &Response<T>) -> bool {
    answer.headers().contains_key(UNTIL)
}

/// What holds an object, by an answer about it and by the clock of the server, which is the one that counts.
pub(super) fn hold_in<T>(answer: &Response<T>) -> Option<Hold> {
    let value = |name: HeaderName| answer.headers().get(name).and_then(|value| value.to_str().ok());
    if value(LEGAL_HOLD).is_some_and(|state| state.trim().eq_ignore_ascii_case("on")) {
        return Some(Hold { until: None, why: "a legal hold".to_owned() });
    }
    let until = value(UNTIL)?.trim().parse::<Timestamp>().ok();
    let date = value(DATE).and_then(|date| jiff::fmt::rfc2822::parse(date.trim()).ok());
    let now = date.map_or_else(own_clock, |date| date.timestamp());
    if until.is_some_and(|until| until <= now) {
        return None;
    }
    let why = match value(MODE).unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        mode @ ("governance" | "compliance") => format!("object lock ({mode})"),
        _ => "object lock".to_owned(),
    };
    Some(Hold { until, why })
}

/// What holds an object whose removal was refused, by the words of the refusal alone.
pub(super) fn hold_told(refusal: &S3Error) -> Option<Hold> {
    let held = |why: &str| Some(Hold { until: None, why: why.to_owned() });
    if refusal.is_code(words::BUCKET_LOCK_RULE) {
        return held("a bucket lock rule");
    }
    let message = refusal.message.to_ascii_lowercase();
    let is_told = LOCKED_WORDS.iter().any(|word| message.contains(word));
    if is_told && matches!(refusal.status, Some(400 | 403 | 405 | 409)) { held("a lock") } else { None }
}

#[allow(clippy::disallowed_methods, reason = "a lock ends at a time, which counts from now")]
fn own_clock() -> Timestamp {
    Timestamp::now()
}
