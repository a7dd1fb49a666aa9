//! Metrics in the text format of Prometheus, for the textfile collector of its `node_exporter`.

use std::fmt::Display;

use super::Found;
use super::report::{Facts, GoodFacts, facts};
use crate::finding::Severity;

struct Text(String);

impl Text {
    /// Begins a metric. One without a sample is left out.
    fn metric<V: Display>(&mut self, name: &str, help: &str, samples: Vec<(Vec<(&str, String)>, V)>) {
        if samples.is_empty() {
            return;
        }
        let mut lines = vec![format!("# HELP pgkeep_{name} {help}\n# TYPE pgkeep_{name} gauge\n")];
        for (labels, value) in samples {
            let labels: Vec<String> =
                labels.iter().map(|(label, value)| format!("{label}=\"{}\"", escaped(value))).collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            lines.push(format!("pgkeep_{name}{labels} {value}\n"));
        }
        self.0.push_str(&lines.concat());
    }
}

/// A label's value, in which three characters mean something else.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

pub(super) fn text(found: &Found<'_>) -> String {
    let facts = facts(found);
    let mut text = Text(String::new());
    of_backups(&mut text, found, &facts);
    of_places(&mut text, found);
    text.0
}

fn of_backups(text: &mut Text, found: &Found<'_>, facts: &[Facts]) {
    let labels =
        |it: &Facts| vec![("source", found.snapshot.source.clone()), ("database", it.database.clone())];
    let of_good = |figure: &dyn Fn(&GoodFacts) -> Option<String>| {
        let samples = facts.iter().filter_map(|it| Some((labels(it), figure(it.good.as_ref()?)?)));
        samples.collect::<Vec<_>>()
    };
    text.metric(
        "last_success_timestamp_seconds",
        "When the newest good backup began: on record as usable, and seen whole in a store.",
        of_good(&|good| Some(good.begun_at.as_second().to_string())),
    );
    let runs = || facts.iter().filter_map(|it| Some((labels(it), it.last_run.as_ref()?)));
    text.metric(
        "last_run_timestamp_seconds",
        "When the newest run that has ended began.",
        runs().map(|(labels, run)| (labels, run.begun_at.as_second())).collect(),
    );
    text.metric(
        "last_run_success",
        "Whether the newest run that has ended made something usable.",
        runs().map(|(labels, run)| (labels, u8::from(run.succeeded))).collect(),
    );
    text.metric(
        "backup_size_bytes",
        "Size of the newest good backup as it is stored.",
        of_good(&|good| Some(good.size_bytes?.to_string())),
    );
    text.metric(
        "backup_dump_bytes",
        "Size of the newest good backup as pg_dump wrote it.",
        of_good(&|good| Some(good.dump_bytes?.to_string())),
    );
    text.metric(
        "backup_duration_seconds",
        "How long the newest good backup took.",
        of_good(&|good| Some(good.duration_seconds?.to_string())),
    );
    let of_store = |it: &Facts| {
        let samples = it.copies.iter().map(|(store, count)| {
            let mut labels = labels(it);
            labels.push(("store", store.clone()));
            (labels, *count)
        });
        samples.collect::<Vec<_>>()
    };
    text.metric(
        "copies",
        "Whole copies of the database's backups that the store shows.",
        facts.iter().flat_map(of_store).collect(),
    );
}

fn of_places(text: &mut Text, found: &Found<'_>) {
    let stores = &found.snapshot.stores;
    let label = |name: &str| vec![("store", name.to_owned())];
    text.metric(
        "store_up",
        "Whether the store could be asked.",
        stores.iter().map(|look| (label(&look.configured.name), u8::from(look.shown.is_ok()))).collect(),
    );
    let rooms = stores.iter().filter_map(|look| Some((label(&look.configured.name), look.room?.free_bytes)));
    text.metric("store_free_bytes", "Room that a local store has left.", rooms.collect());
    let is_up = u8::from(found.snapshot.record.is_ok());
    text.metric("catalog_up", "Whether the catalog could be asked.", vec![(Vec::new(), is_up)]);
    let counts = found.alerts.as_ref().map(|alerts| {
        let count = |severity| alerts.iter().filter(|alert| alert.severity == severity).count();
        Severity::ALL.map(|severity| (vec![("severity", severity.as_str().to_owned())], count(severity)))
    });
    let help = "Open alerts that nobody has acknowledged.";
    text.metric("alerts_open", help, counts.map(Vec::from).unwrap_or_default());
    let now = found.snapshot.now.as_second();
    text.metric("check_timestamp_seconds", "When this check looked.", vec![(Vec::new(), now)]);
    let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
    text.metric("build_info", "The version that looked.", vec![(version, 1)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_what_has_no_sample_is_left_out() {
        let mut text = Text(String::new());
        text.metric::<u8>("none", "Nothing.", Vec::new());
        text.metric("up", "Up.", vec![(vec![("store", "a\"b\\c\nd".to_owned())], 1)]);
        let wanted = "# HELP pgkeep_up Up.\n# TYPE pgkeep_up gauge\npgkeep_up{store=\"a\\\"b\\\\c\\nd\"} 1\n";
        assert_eq!(text.0, wanted);
    }
}
