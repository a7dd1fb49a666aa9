//! Alerts as a whole: what raises one, what it is on record as, who is told, and what is never lost of it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::{Pgkeep, Site};

mod commands;
mod delivering;
mod down;
mod figures;
mod killed;
mod outbox;
mod raising;
mod stores;
mod switches;
mod upkeep;

/// All alerts of a site, in the order in which they were first seen.
fn alerts(site: &Site) -> Vec<Value> {
    let query = "SELECT to_jsonb(a) FROM pgkeep.alert a ORDER BY first_seen, id";
    let rows = site.cluster.connect(&site.catalog).query(query, &[]).unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// The one alert of a rule that is not over.
fn open(site: &Site, rule: &str) -> Value {
    let mut found = alerts(site);
    found.retain(|alert| alert["rule"] == rule && alert["status"] != "resolved");
    assert_eq!(found.len(), 1, "{rule}: {:#?}", alerts(site));
    found.remove(0)
}

/// The rules of what is not over, in order.
fn open_rules(site: &Site) -> Vec<String> {
    let open = alerts(site).into_iter().filter(|alert| alert["status"] != "resolved");
    let mut rules: Vec<String> = open.map(|alert| alert["rule"].as_str().unwrap().to_owned()).collect();
    rules.sort_unstable();
    rules
}

/// All letters of a site: channel, event and status of each, in the order in which they were written.
fn letters(site: &Site) -> Vec<(String, String, String)> {
    let query = "SELECT channel, event, status FROM pgkeep.delivery ORDER BY created_at, channel, event";
    let rows = site.cluster.connect(&site.catalog).query(query, &[]).unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

/// How many letters of each status.
fn statuses(site: &Site) -> BTreeMap<String, usize> {
    let mut count = BTreeMap::new();
    for (_, _, status) in letters(site) {
        *count.entry(status).or_default() += 1;
    }
    count
}

/// Makes all backups of a site old, and apart by more than a copy is kept, however fast they were made.
fn age(site: &Site) {
    let age = "UPDATE pgkeep.backup b SET created_at = created_at - interval '2 days' - interval '1 minute' * \
               (SELECT count(*) FROM pgkeep.backup newer WHERE newer.created_at > b.created_at)";
    site.cluster.execute(&site.catalog, age);
}

/// A backup that fails: there is no such database.
fn fail(site: &Site) -> Pgkeep {
    site.pgkeep(["backup", "full", "--database", "gone"]).code(1).stderr_has("does not exist")
}

/// The event and the alert of a request to a webhook of our own format.
fn told(body: &[u8]) -> (String, Value) {
    let mut document: Value = serde_json::from_slice(body).unwrap();
    let kind = document["type"].as_str().unwrap().to_owned();
    (kind, document["data"].take())
}
