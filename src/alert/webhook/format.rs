//! The bodies of webhooks: our own, and those of the services that people read. What a service would take for markup or
//! for a call to everybody is made harmless.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::alert::clean::cut;
use crate::alert::message::AlertText;
use crate::alert_record::Event;
use crate::config::alert::Format;
use crate::finding::Severity;

/// Discord's, with room for what is put around it.
const DISCORD_CHARACTERS: usize = 3_500;
/// `PagerDuty`'s for the summary.
const SUMMARY_CHARACTERS: usize = 1_000;
/// ntfy makes a file of what is longer than 4,096 bytes.
const NTFY_BYTES: usize = 4_000;

/// What goes out.
pub(super) struct Outgoing {
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: String,
}

pub(super) fn outgoing(
    format: Format,
    message: &AlertText,
    routing_key: Option<&str>,
    now: Timestamp,
) -> Outgoing {
    let document = match format {
        Format::Ntfy => return ntfy(message),
        Format::Json => ours(message, now),
        Format::Slack => slack(message),
        Format::Discord => discord(message),
        Format::Teams => teams(message),
        Format::Pagerduty => pagerduty(message, routing_key.unwrap_or_default()),
    };
    let headers = vec![("content-type", "application/json".to_owned())];
    Outgoing { headers, body: document.to_string() }
}

/// Our own, in the frame that Standard Webhooks proposes.
fn ours(message: &AlertText, now: Timestamp) -> Value {
    let kind = format!("alert.{}", message.event.as_str());
    json!({ "type": kind, "timestamp": now, "data": message.alert })
}

/// Slack's incoming webhooks (<https://api.slack.com/messaging/webhooks>).
fn slack(message: &AlertText) -> Value {
    let plain = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let text = json!({ "type": "plain_text", "text": cut(&message.text(), 2_900), "emoji": false });
    json!({
        "text": plain(&message.title()),
        "blocks": [
            { "type": "header", "text": { "type": "plain_text", "text": cut(&message.title(), 150), "emoji": false } },
            { "type": "section", "text": text },
        ],
    })
}

/// Discord's webhooks (<https://discord.com/developers/docs/resources/webhook>).
fn discord(message: &AlertText) -> Value {
    let plain = |text: &str| -> String {
        let is_markup =
            |c: char| matches!(c, '\\' | '*' | '_' | '~' | '`' | '|' | '>' | '#' | '[' | ']' | '<' | '@');
        text.chars().flat_map(|c| is_markup(c).then_some('\\').into_iter().chain([c])).collect()
    };
    json!({
        "allowed_mentions": { "parse": [] },
        "embeds": [{
            "title": cut(&plain(&message.title()), 250),
            "description": cut(&plain(&message.text()), DISCORD_CHARACTERS),
            "color": match message.word() {
                "CRITICAL" => 0x00b0_0020,
                "WARNING" => 0x00b2_6a00,
                "RESOLVED" => 0x001b_7f3b,
                _ => 0x0033_526e,
            },
        }],
    })
}

/// The webhooks of Teams' workflows: an Adaptive Card (<https://adaptivecards.io>).
fn teams(message: &AlertText) -> Value {
    let color = match message.word() {
        "CRITICAL" => "Attention",
        "WARNING" => "Warning",
        "RESOLVED" => "Good",
        _ => "Default",
    };
    // A text run is shown as it is; a text block would read markdown.
    let block = |text: &str, color: &str, weight: &str| {
        json!({ "type": "RichTextBlock", "inlines": [
            { "type": "TextRun", "text": text, "color": color, "weight": weight }
        ] })
    };
    let facts: Vec<Value> = message
        .facts()
        .into_iter()
        .map(|(name, value)| json!({ "title": name, "value": without_markdown(&value) }))
        .collect();
    let mut body = vec![
        block(&format!("{} {}", message.word(), message.alert.message), color, "Bolder"),
        json!({ "type": "FactSet", "facts": facts }),
    ];
    body.extend(message.alert.detail.as_ref().map(|detail| block(&cut(detail, 4_000), "Default", "Default")));
    body.extend(message.hint().map(|hint| block(&format!("Next: {hint}."), "Default", "Default")));
    let card = json!({
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard", "version": "1.4",
        "body": body,
    });
    let kind = "application/vnd.microsoft.card.adaptive";
    json!({ "type": "message", "attachments": [{ "contentType": kind, "contentUrl": null, "content": card }] })
}

fn without_markdown(text: &str) -> String {
    let is_markup = |c: char| matches!(c, '\\' | '*' | '_' | '[' | ']' | '`' | '<');
    text.chars().flat_map(|c| is_markup(c).then_some('\\').into_iter().chain([c])).collect()
}

/// `PagerDuty`'s Events API v2 (<https://developer.pagerduty.com/docs/events-api-v2/trigger-events/>).
fn pagerduty(message: &AlertText, routing_key: &str) -> Value {
    let alert = &message.alert;
    let action = if message.event == Event::Resolved { "resolve" } else { "trigger" };
    json!({
        "routing_key": routing_key,
        "event_action": action,
        "dedup_key": alert.id,
        "client": "pgkeep",
        "payload": {
            "summary": cut(&message.title(), SUMMARY_CHARACTERS),
            "source": alert.source,
            "severity": alert.severity.as_str(),
            "timestamp": alert.last_seen,
            "component": alert.database.as_ref().or(alert.store.as_ref()).unwrap_or(&alert.source),
            "class": alert.rule.as_str(),
            "custom_details": alert,
        },
    })
}

/// ntfy's topics (<https://docs.ntfy.sh/publish/>): headers are ASCII, what is beyond stands in the text.
fn ntfy(message: &AlertText) -> Outgoing {
    let (priority, tag) = match (message.event, message.alert.severity) {
        (Event::Resolved, _) => ("default", "white_check_mark"),
        (Event::Test, _) => ("default", "wave"),
        (Event::Raised, Severity::Critical) => ("urgent", "rotating_light"),
        (Event::Raised, Severity::Warning) => ("high", "warning"),
        (Event::Raised, Severity::Info) => ("default", "information_source"),
    };
    let ascii = |c: char| if c == ' ' || c.is_ascii_graphic() { c } else { '?' };
    let title: String = format!("{} {}", message.word(), message.alert.source).chars().map(ascii).collect();
    let mut body = message.text();
    while body.len() > NTFY_BYTES {
        body.pop();
    }
    let headers = vec![
        ("content-type", "text/plain; charset=utf-8".to_owned()),
        ("title", title),
        ("priority", priority.to_owned()),
        ("tags", format!("{tag},{}", message.alert.rule.as_str())),
    ];
    Outgoing { headers, body }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::alert::message::tests::failed;

    fn body(format: Format, message: &str) -> Outgoing {
        let message = AlertText::new(Event::Raised, &failed("shop", message));
        outgoing(format, &message, Some("key"), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn nobody_is_called_and_no_markup_is_made() {
        let hostile = "<!channel> @everyone <@U1> [x](http://evil) *bold* &amp;";
        let slack: Value = serde_json::from_str(&body(Format::Slack, hostile).body).unwrap();
        assert!(
            slack["text"].as_str().unwrap().contains("&lt;!channel&gt; @everyone &lt;@U1&gt;"),
            "{slack}"
        );
        assert_eq!(slack["blocks"][1]["text"]["type"], "plain_text");
        let discord: Value = serde_json::from_str(&body(Format::Discord, hostile).body).unwrap();
        assert_eq!(discord["allowed_mentions"]["parse"], json!([]));
        assert!(discord["embeds"][0]["title"].as_str().unwrap().contains(r"\@everyone \<\@U1\> \[x\](http"));
        let teams: Value = serde_json::from_str(&body(Format::Teams, hostile).body).unwrap();
        assert_eq!(teams["attachments"][0]["content"]["body"][0]["type"], "RichTextBlock");
    }

    #[test]
    fn no_body_is_longer_than_its_service_takes() {
        let alert = crate::alert_record::Alert {
            detail: Some("ä\u{1f600}\n".repeat(20_000)),
            ..failed("shop", "x")
        };
        let message = AlertText::new(Event::Raised, &alert);
        let of = |format| outgoing(format, &message, None, Timestamp::UNIX_EPOCH).body;
        assert!(of(Format::Ntfy).len() <= 4_096);
        let discord: Value = serde_json::from_str(&of(Format::Discord)).unwrap();
        assert!(discord["embeds"][0]["description"].as_str().unwrap().chars().count() <= 4_096);
        let slack: Value = serde_json::from_str(&of(Format::Slack)).unwrap();
        assert!(slack["blocks"][1]["text"]["text"].as_str().unwrap().chars().count() <= 3_000);
    }
}
