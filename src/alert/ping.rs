//! A dead man's switch of the kind that healthchecks made usual: `/start`, success, `/fail`, `/log`, with the id of the
//! run (<https://healthchecks.io/docs/http_api/>).

use std::time::Duration;

use anyhow::Result;

use super::http::Target;
use super::undelivered::{Fetch, Undelivered};
use crate::alert_record::Signal;
use crate::config::value::Secret;

/// Switches keep the beginning of a body alone; it holds the end of a log.
const BODY_BYTES: usize = 10_000;

pub(super) struct Switch {
    target: Target,
}

impl Switch {
    pub(super) fn new(url: &Secret, timeout: Duration, fetch: Fetch<'_>) -> Result<Self> {
        Ok(Self { target: Target::new(&fetch(url)?, timeout, Vec::new(), false)? })
    }

    pub(super) fn send(&self, signal: Signal, rid: &str, body: &str) -> Result<(), Undelivered> {
        let headers = [("content-type", "text/plain; charset=utf-8".to_owned())];
        let address = |url: &str| address(url, signal, rid);
        let mut answer = self.target.ask(address, &headers, tail(body).as_bytes(), |_| None)?;
        let said = self.target.text(&mut answer).unwrap_or_default();
        not_taken(&said).map_or(Ok(()), |passes| Err(self.target.refused(said.trim(), !passes)))
    }
}

/// Healthchecks answers with success also where it did not take the ping, and says so in the body: `OK (not found)`,
/// `OK (rate limited)`. Gives whether that passes.
fn not_taken(said: &str) -> Option<bool> {
    let why = said.trim().strip_prefix("OK (")?.strip_suffix(')')?;
    Some(why != "not found")
}

/// The address of a signal: its word is the last piece of the path, whatever stands in the query.
fn address(url: &str, signal: Signal, rid: &str) -> String {
    let (path, query) = url.split_once('?').map_or((url, None), |(path, query)| (path, Some(query)));
    let path = path.trim_end_matches('/');
    let word = match signal {
        Signal::Start => "/start",
        Signal::Success => "",
        Signal::Fail => "/fail",
        Signal::Log => "/log",
    };
    let query = query.filter(|query| !query.is_empty()).map_or_else(String::new, |query| format!("{query}&"));
    format!("{path}{word}?{query}rid={rid}")
}

/// The end of a text, from a whole line on.
fn tail(body: &str) -> &str {
    let mut from = body.len().saturating_sub(BODY_BYTES);
    if from == 0 {
        return body;
    }
    while !body.is_char_boundary(from) {
        from = from.saturating_add(1);
    }
    let end = body.get(from..).unwrap_or_default();
    end.split_once('\n').map_or(end, |(_, lines)| lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_signal_has_its_address() {
        assert_eq!(address("https://h/ping/u", Signal::Start, "r"), "https://h/ping/u/start?rid=r");
        assert_eq!(address("https://h/ping/u/", Signal::Success, "r"), "https://h/ping/u?rid=r");
        assert_eq!(
            address("https://h/ping/u?create=1", Signal::Fail, "r"),
            "https://h/ping/u/fail?create=1&rid=r"
        );
        assert_eq!(address("https://h/ping/u?", Signal::Log, "r"), "https://h/ping/u/log?rid=r");
    }

    #[test]
    fn a_success_that_is_none() {
        for (said, wanted) in [
            ("OK", None),
            ("", None),
            ("{\"ok\": true}", None),
            ("OK (not found)", Some(false)),
            ("OK (rate limited)\n", Some(true)),
        ] {
            assert_eq!(not_taken(said), wanted, "{said}");
        }
    }

    #[test]
    fn a_long_log_is_told_from_a_line_near_its_end_on() {
        let log = "a lin\u{e9} of it\n".repeat(2000);
        let tail = tail(&log);
        assert!(tail.len() <= BODY_BYTES && tail.len() > BODY_BYTES - 20 && log.ends_with(tail));
        assert!(tail.starts_with("a lin"));
        assert_eq!(super::tail("short"), "short");
    }
}
