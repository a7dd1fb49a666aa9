//! The status line, as the Monitoring Plugins guidelines have it: `PGKEEP STATE - text | perfdata`.

use std::cmp::Reverse;

use super::Found;
use super::report::{Facts, facts};
use crate::alert::rules;
use crate::exit::PluginState;
use crate::finding::Severity;
use crate::name;

/// Most characters of the text, and of the figures behind it: monitoring cuts what is longer anywhere.
const TEXT_CHARACTERS: usize = 1000;
const PERFDATA_BYTES: usize = 6000;

pub(super) fn of(found: &Found<'_>) -> String {
    let facts = facts(found);
    let text = match found.state {
        PluginState::Ok => well(&facts),
        _ => problems(found),
    };
    format!("PGKEEP {} - {} | {}", found.state.as_str(), safe(&text), perfdata(found, &facts))
}

pub(super) fn unknown(why: &str) -> String {
    format!("PGKEEP {} - {}", PluginState::Unknown.as_str(), safe(why))
}

/// One line without what ends the text of one.
fn safe(text: &str) -> String {
    let one_line = |c: char| match c {
        '|' => '/',
        c if c.is_whitespace() || c.is_control() => ' ',
        c => c,
    };
    let mut text: String = text.trim().chars().map(one_line).collect();
    if let Some((end, _)) = text.char_indices().nth(TEXT_CHARACTERS) {
        text.truncate(end);
        text.push_str(" ...");
    }
    text
}

fn well(facts: &[Facts]) -> String {
    if facts.is_empty() {
        return "there is no database to look at".to_owned();
    }
    let of_one = |it: &Facts| match &it.good {
        Some(good) => {
            let copies = if good.stores.len() == 1 { "copy" } else { "copies" };
            format!("{}: {} old, {} {copies}", it.database, rules::span(good.age_seconds), good.stores.len())
        }
        None => format!("{}: not known", it.database),
    };
    facts.iter().map(of_one).collect::<Vec<_>>().join("; ")
}

/// What is wrong, the gravest first.
fn problems(found: &Found<'_>) -> String {
    let seen = found.findings.iter().filter_map(|it| Some((&it.subject, it.problem.as_ref()?)));
    let mut all: Vec<(Severity, &str)> =
        seen.map(|(_, problem)| (problem.severity, problem.message.as_str())).collect();
    all.extend(found.notes.iter().map(|note| (Severity::Warning, note.as_str())));
    let is_seen = |subject| found.findings.iter().any(|it| it.subject == subject && it.problem.is_some());
    let open = found.alerts.iter().flatten().filter(|alert| !is_seen(alert.subject()));
    all.extend(open.map(|alert| (alert.severity, alert.message.as_str())));
    all.retain(|(severity, _)| *severity > Severity::Info);
    all.sort_by_key(|(severity, _)| Reverse(*severity));
    all.iter().map(|(_, message)| *message).collect::<Vec<_>>().join("; ")
}

fn perfdata(found: &Found<'_>, facts: &[Facts]) -> String {
    let mut text = String::new();
    for it in facts {
        // A name in which `'` or `=` would end the label reads as it does in the stores' paths.
        let name = name::encode(&it.database);
        let mut of_it = Vec::new();
        let mut add = |figure: &str, value: String| of_it.push(format!("'{figure}_{name}'={value} "));
        if let Some(good) = &it.good {
            let most = found.snapshot.max_age.as_secs();
            let limits =
                if found.snapshot.is_config(&it.database) { format!("{most};") } else { format!(";{most}") };
            add("age", format!("{}s;{limits};0", good.age_seconds));
            if let Some(size) = good.size_bytes {
                add("size", format!("{size}B"));
            }
            if let Some(seconds) = good.duration_seconds {
                add("duration", format!("{seconds:.0}s"));
            }
        }
        add("copies", it.good.as_ref().map_or(0, |good| good.stores.len()).to_string());
        let of_it = of_it.concat();
        if text.len().saturating_add(of_it.len()) > PERFDATA_BYTES {
            break;
        }
        text.push_str(&of_it);
    }
    let open = found.alerts.as_ref().map_or_else(|| "U".to_owned(), |alerts| alerts.len().to_string());
    format!("{text}'alerts_open'={open}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_of_a_sane_length() {
        assert_eq!(unknown(" a|b\nc\t\u{1b}d\r\n"), "PGKEEP UNKNOWN - a/b c  d");
        let long = unknown(&"\u{e4}|".repeat(TEXT_CHARACTERS));
        assert_eq!(long.chars().count(), "PGKEEP UNKNOWN - ".len() + TEXT_CHARACTERS + " ...".len());
    }
}
