//! Text messages by an HTTP API of Twilio's kind: a form is posted with basic authentication
//! (<https://www.twilio.com/docs/messaging/api/message-resource>). A message fits into one: 160 characters of the GSM
//! alphabet (3GPP TS 23.038), or 70 of any.

use std::time::Duration;

use anyhow::Result;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use zeroize::Zeroizing;

use super::http::{Target, basic};
use super::message::AlertText;
use super::undelivered::{Fetch, Undelivered};
use crate::config::alert::Sms;

/// What one message holds: units of seven bits, or of sixteen.
const GSM_UNITS: usize = 160;
const UCS2_UNITS: usize = 70;
const GSM: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
/// These take two units.
const GSM_EXTENSION: &str = "\u{c}^{}\\[~]|€";
/// What the letters of a form may be as they are (WHATWG URL, `application/x-www-form-urlencoded`).
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'*').remove(b'-').remove(b'.').remove(b'_');

pub(super) struct Texter {
    target: Target,
    authorization: Zeroizing<String>,
    from: String,
}

impl Texter {
    pub(super) fn new(config: &Sms, timeout: Duration, fetch: Fetch<'_>) -> Result<Self> {
        let (url, username, password) =
            (fetch(&config.url)?, fetch(&config.username)?, fetch(&config.password)?);
        let authorization = basic(&username, &password);
        let secrets = vec![password, username, authorization.clone()];
        let target = Target::new(&url, timeout, secrets, true)?;
        Ok(Self { target, authorization, from: config.from.clone() })
    }

    pub(super) fn send(&self, to: Option<&str>, message: &AlertText) -> Result<(), Undelivered> {
        let from = if is_service(&self.from) { "MessagingServiceSid" } else { "From" };
        let pairs = [("To", to.unwrap_or_default()), (from, &self.from), ("Body", &text(message))];
        let form: Vec<String> = pairs
            .iter()
            .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, FORM)))
            .collect();
        let headers = [
            ("content-type", "application/x-www-form-urlencoded".to_owned()),
            ("authorization", self.authorization.to_string()),
            ("accept", "application/json".to_owned()),
        ];
        self.target.post(str::to_owned, &headers, form.join("&").as_bytes(), said)
    }
}

/// Whether that is the id of a messaging service in place of a number or a name.
fn is_service(from: &str) -> bool {
    from.strip_prefix("MG").is_some_and(|id| id.len() == 32 && id.chars().all(|c| c.is_ascii_hexdigit()))
}

/// What Twilio says of a refusal.
fn said(answer: &str) -> Option<String> {
    let answer: Value = serde_json::from_str(answer).ok()?;
    let message = answer.get("message")?.as_str()?;
    Some(match answer.get("code").and_then(Value::as_u64) {
        Some(code) => format!("{message} (code {code})"),
        None => message.to_owned(),
    })
}

/// The message: its first word, the source and the alert's id are always there, what lies between is cut.
fn text(message: &AlertText) -> String {
    let plain = |text: &str| -> String { text.chars().map(plain).collect() };
    let head = plain(&format!("{} pgkeep {}", message.word(), message.alert.source));
    let (says, end) = (plain(&message.alert.message), format!(" [{}]", message.alert.id));
    let whole = format!("{head}: {says}{end}");
    let is_gsm = units(&whole).is_some();
    let (most, count): (usize, fn(&str) -> usize) = if is_gsm {
        (GSM_UNITS, |text| units(text).unwrap_or(usize::MAX))
    } else {
        (UCS2_UNITS, |text| text.encode_utf16().count())
    };
    if count(&whole) <= most {
        return whole;
    }
    let head = shortened(&head, most.saturating_sub(count(&end)), count);
    let room = most.saturating_sub(count(&head) + count(&end) + 2);
    let says = shortened(&says, room, count);
    if says.is_empty() { format!("{head}{end}") } else { format!("{head}: {says}{end}") }
}

/// As much of a text as fits, with dots at its end where that is not all.
fn shortened(text: &str, room: usize, count: fn(&str) -> usize) -> String {
    if count(text) <= room {
        return text.to_owned();
    }
    let mut kept = String::new();
    for c in text.chars() {
        kept.push(c);
        if count(&kept) + 3 > room {
            kept.pop();
            break;
        }
    }
    let kept = kept.trim_end();
    if kept.is_empty() { String::new() } else { format!("{kept}...") }
}

/// The units that a text takes in the GSM alphabet, if it has all of it.
fn units(text: &str) -> Option<usize> {
    text.chars().try_fold(0usize, |count, c| {
        let more = if GSM.contains(c) {
            1
        } else if GSM_EXTENSION.contains(c) {
            2
        } else {
            return None;
        };
        count.checked_add(more)
    })
}

/// What stands for a character that the GSM alphabet has not.
fn plain(c: char) -> char {
    match c {
        '`' | '\u{2018}' | '\u{2019}' | '\u{b4}' => '\'',
        '\u{201c}' | '\u{201d}' | '\u{201e}' => '"',
        '\u{2010}'..='\u{2015}' => '-',
        '\u{a0}' | '\t' | '\n' | '\r' => ' ',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::alert::message::tests::failed;
    use crate::alert_record::Event;

    fn text_of(database: &str, message: &str) -> String {
        text(&AlertText::new(Event::Raised, &failed(database, message)))
    }

    #[test]
    fn a_short_one_goes_as_it_is_and_a_long_one_loses_its_middle() {
        assert_eq!(
            text_of("shop", "backup of `shop` failed"),
            "CRITICAL pgkeep prod-db1: backup of 'shop' failed [3f9a0c11d2e4]"
        );
        let long = text_of("shop", &format!("backup of `shop` failed: {}", "connection refused ".repeat(20)));
        assert_eq!(units(&long), Some(GSM_UNITS), "{long}");
        assert!(long.ends_with("... [3f9a0c11d2e4]"), "{long}");
        let other = text_of(
            "магазин",
            "backup of `магазин` failed: nobody knows why, and it takes more than there is",
        );
        assert!(other.encode_utf16().count() <= UCS2_UNITS && other.ends_with("[3f9a0c11d2e4]"), "{other}");
        assert_eq!(units("[~]"), Some(6));
    }

    proptest! {
        #[test]
        fn it_is_one_message_with_its_id(message in "\\PC{0,400}") {
            let text = text_of("shop", &message);
            let fits = match units(&text) {
                Some(units) => units <= GSM_UNITS,
                None => text.encode_utf16().count() <= UCS2_UNITS,
            };
            prop_assert!(fits, "{text}");
            prop_assert!(text.starts_with("CRITICAL pgkeep prod-db1") && text.ends_with("[3f9a0c11d2e4]"), "{text}");
        }
    }
}
