//! The words of an alert: what a person reads at night. Pure.

use jiff::{SignedDuration, Timestamp};

use super::clean::{clean, clean_line, cut};
use crate::alert_record::{Alert, Event};
use crate::finding::{Rule, Severity};

/// No title is longer: mail programs and telephones show less.
const TITLE_CHARACTERS: usize = 150;

/// What is told, and of what. All that came from a server is clean.
#[derive(Clone, Debug)]
pub(super) struct AlertText {
    pub(super) event: Event,
    pub(super) alert: Alert,
}

impl AlertText {
    pub(super) fn new(event: Event, alert: &Alert) -> Self {
        let line = |text: &Option<String>| text.as_deref().map(clean_line);
        let alert = Alert {
            source: clean_line(&alert.source),
            backup_id: line(&alert.backup_id),
            database: line(&alert.database),
            tenant: line(&alert.tenant),
            store: line(&alert.store),
            channel: line(&alert.channel),
            message: clean_line(&alert.message),
            detail: alert.detail.as_deref().map(clean),
            note: line(&alert.note),
            ..alert.clone()
        };
        Self { event, alert }
    }

    /// `CRITICAL`, `RESOLVED`: the first word of everything.
    pub(super) fn word(&self) -> &'static str {
        match (self.event, self.alert.severity) {
            (Event::Resolved, _) => "RESOLVED",
            (Event::Test, _) => "TEST",
            (Event::Raised, Severity::Critical) => "CRITICAL",
            (Event::Raised, Severity::Warning) => "WARNING",
            (Event::Raised, Severity::Info) => "INFO",
        }
    }

    /// One line.
    pub(super) fn title(&self) -> String {
        cut(&format!("{} {}: {}", self.word(), self.alert.source, self.alert.message), TITLE_CHARACTERS)
    }

    /// What is known, a name and a value each.
    pub(super) fn facts(&self) -> Vec<(&'static str, String)> {
        let alert = &self.alert;
        let mut facts = vec![("source", alert.source.clone())];
        let named = [
            ("database", &alert.database),
            ("tenant", &alert.tenant),
            ("store", &alert.store),
            ("channel", &alert.channel),
            ("backup", &alert.backup_id),
        ];
        facts.extend(named.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))));
        facts.push(("since", moment(alert.first_seen)));
        if alert.count > 1 {
            facts.push(("seen", format!("{} times, last {}", alert.count, moment(alert.last_seen))));
        }
        if let (Event::Resolved, Some(at)) = (self.event, alert.resolved_at) {
            facts.push((
                "over",
                format!("{}, after {}", moment(at), lasted(at.duration_since(alert.first_seen))),
            ));
        }
        facts.push(("alert", format!("{} ({})", alert.id, alert.rule.as_str())));
        facts
    }

    /// What to do next.
    pub(super) fn hint(&self) -> Option<String> {
        let of = |command: &str| match &self.alert.database {
            Some(database) => format!("pgkeep {command} --database {}", quoted(database)),
            None => format!("pgkeep {command}"),
        };
        Some(match (self.event, self.alert.rule) {
            (Event::Resolved | Event::Test, _) => return None,
            (_, Rule::BackupFailed | Rule::NoGoodBackup) => {
                format!(
                    "`{}` tries it again by hand, `pgkeep doctor` looks at all that it needs",
                    of("backup full")
                )
            }
            (_, Rule::BackupLocked) => format!("`{}` says who holds it", of("backup full")),
            (_, Rule::BackupDegraded | Rule::VerificationFailed | Rule::CopyMissing) => {
                let verify = match &self.alert.backup_id {
                    Some(id) => format!("pgkeep verify {id}"),
                    None => of("verify latest"),
                };
                format!("`{verify} --repair` makes the copy again from one that is whole")
            }
            (_, Rule::TestRestoreFailed) => {
                format!("`{} --level restore` tries it again", of("verify latest"))
            }
            (_, Rule::EmptyDump | Rule::SizeChanged | Rule::DurationChanged) => {
                format!("`{}` shows the last ones beside it", of("list"))
            }
            (_, Rule::StoreUnreachable | Rule::CatalogUnreachable) => {
                "`pgkeep doctor` looks at it".to_owned()
            }
            (_, Rule::StoreNearlyFull) => {
                "`pgkeep prune --dry-run` shows what may go; a larger disk or a shorter `keep` gives room"
                    .to_owned()
            }
            (_, Rule::RetentionHeld) => "`pgkeep prune --dry-run` shows what stays, and why".to_owned(),
            (_, Rule::OnlyKey) => "see that a copy of the key is kept in a safe place".to_owned(),
            (_, Rule::KeyMissing) => "name the key files in `[encryption] open_with`".to_owned(),
            (_, Rule::ChannelFailing) => "`pgkeep alert test` tries every channel".to_owned(),
        })
    }

    /// The whole, as plain text.
    pub(super) fn text(&self) -> String {
        let mut lines = vec![format!("{}: {}", self.word(), self.alert.message), String::new()];
        lines.extend(self.facts().into_iter().map(|(name, value)| format!("{name:<9} {value}")));
        if let Some(detail) = &self.alert.detail {
            lines.extend([String::new(), detail.clone()]);
        }
        if let Some(hint) = self.hint() {
            lines.extend([String::new(), format!("Next: {hint}.")]);
        }
        if self.event == Event::Raised {
            let id = &self.alert.id;
            let said = format!(
                "`pgkeep alert` shows what is open; `pgkeep alert ack {id}` says that somebody knows."
            );
            lines.push(said);
        }
        lines.push(String::new());
        lines.join("\n")
    }

    /// The whole, as HTML that needs nothing from elsewhere.
    pub(super) fn html(&self) -> String {
        let colour = match self.word() {
            "CRITICAL" => "#b00020",
            "WARNING" => "#b26a00",
            "RESOLVED" => "#1b7f3b",
            _ => "#33526e",
        };
        let (word, says) = (self.word(), escape(&self.alert.message));
        let mut lines = vec![
            "<!DOCTYPE html>".to_owned(),
            "<html><body style=\"font-family:sans-serif\">".to_owned(),
            format!("<p><b style=\"color:{colour}\">{word}</b> {says}</p>"),
            "<table cellpadding=\"3\">".to_owned(),
        ];
        let row = |(name, value): (&str, String)| {
            format!("<tr><td>{name}</td><td><b>{}</b></td></tr>", escape(&value))
        };
        lines.extend(self.facts().into_iter().map(row));
        lines.push("</table>".to_owned());
        lines.extend(self.alert.detail.as_ref().map(|detail| format!("<pre>{}</pre>", escape(detail))));
        lines.extend(self.hint().map(|hint| format!("<p>Next: {}.</p>", escape(&hint))));
        lines.push("</body></html>\n".to_owned());
        lines.join("\n")
    }
}

/// A name as a shell takes it.
fn quoted(name: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if !name.is_empty() && name.chars().all(is_bare) {
        name.to_owned()
    } else {
        format!("'{}'", name.replace('\'', "'\\''"))
    }
}

fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

fn lasted(length: SignedDuration) -> String {
    match length.as_mins() {
        ..=0 => "less than a minute".to_owned(),
        minutes @ 1..=119 => format!("{minutes} min"),
        minutes @ 120..=2879 => format!("{} h", minutes / 60),
        minutes => format!("{} days", minutes / (24 * 60)),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::alert::transitions::{apply, resolved};
    use crate::finding::AlertKey;

    /// An alert of a failed backup.
    pub(in crate::alert) fn failed(database: &str, message: &str) -> Alert {
        let seen = AlertKey::of_database(Rule::BackupFailed, database).has_problem(message);
        let at = Timestamp::from_second(1_795_658_600).unwrap();
        apply(&[], "prod-db1", &[seen], &["3f9a0c11d2e4".to_owned()], at).remove(0).alert
    }

    #[test]
    fn what_a_person_reads() {
        let mut alert = failed("shop", "the server could not be dumped: Connection refused");
        alert.detail = Some("<b>one</b>\ntwo".to_owned());
        let message = AlertText::new(Event::Raised, &alert);
        assert_eq!(message.title(), "CRITICAL prod-db1: the server could not be dumped: Connection refused");
        assert_eq!(
            message.text(),
            "CRITICAL: the server could not be dumped: Connection refused\n\n\
             source    prod-db1\ndatabase  shop\nsince     2026-11-26 02:03 UTC\n\
             alert     3f9a0c11d2e4 (backup_failed)\n\n<b>one</b>\ntwo\n\n\
             Next: `pgkeep backup full --database shop` tries it again by hand, `pgkeep doctor` looks at all that it \
             needs.\n`pgkeep alert` shows what is open; `pgkeep alert ack 3f9a0c11d2e4` says that somebody knows.\n"
        );
        assert!(message.html().contains("<pre>&lt;b&gt;one&lt;/b&gt;"), "{}", message.html());
        let over = alert.first_seen.checked_add(SignedDuration::from_hours(3)).unwrap();
        let alert = resolved(&mut alert, over).alert;
        let message = AlertText::new(Event::Resolved, &alert);
        assert!(message.text().contains("over      2026-11-26 05:03 UTC, after 3 h"), "{}", message.text());
        assert!(message.title().starts_with("RESOLVED prod-db1: "));
    }

    #[test]
    fn a_title_is_one_short_line_whatever_a_name_holds() {
        let alert = failed("a\r\nBcc: x", &format!("backup of `a\r\nBcc: x` failed: {}", "long ".repeat(99)));
        let message = AlertText::new(Event::Raised, &alert);
        let title = message.title();
        assert!(title.chars().count() <= TITLE_CHARACTERS && !title.chars().any(char::is_control), "{title}");
        assert!(message.hint().unwrap().contains("--database 'a;"), "{:?}", message.hint());
    }
}
