//! Alerts while the catalog is down: kept in a file, told all the same, and on record once it is back.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use super::{alerts, fail, open, open_rules, statuses, told};
use crate::support::receiver::{Answer, Receiver};
use crate::support::tools::{free_port, pg_bin};
use crate::support::{FakeBin, Gate, Site};

fn site_behind_a_gate(receiver: &Receiver) -> (Site, Gate) {
    let mut site = Site::new().local_only().with_own_catalog();
    let gate = Gate::open_to(site.cluster.port);
    site.config.set("catalog.url", site.cluster.url_through(gate.port, &site.catalog));
    site.config.channel("ops", &format!("kind = 'webhook'\nurl = '{}'", receiver.url("/ops")));
    site.config.channel("app", "kind = 'in_app'");
    site.backup();
    (site, gate)
}

fn book(site: &Site) -> Value {
    let path = site.path("state/alerts.json");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn rules_told(receiver: &Receiver) -> Vec<String> {
    let told = receiver.requests().iter().map(|request| told(&request.body)).collect::<Vec<_>>();
    let mut words: Vec<String> =
        told.iter().map(|(kind, alert)| format!("{kind} {}", alert["rule"].as_str().unwrap())).collect();
    words.sort_unstable();
    words
}

#[test]
fn it_is_told_once_and_on_record_later() {
    let receiver = Receiver::start();
    let (site, gate) = site_behind_a_gate(&receiver);
    gate.shut();
    for _ in 0..3 {
        fail(&site).stderr_has("cannot reach the catalog").run();
    }
    let once = ["alert.raised backup_failed", "alert.raised catalog_unreachable"];
    assert_eq!(rules_told(&receiver), once);
    assert_eq!(book(&site)["alerts"].as_array().unwrap().len(), 2);
    site.pgkeep(["alert"]).code(3).stdout_has("backup_failed").stderr_has("cannot reach").run();
    gate.reopen();
    site.backup();
    let alert = open(&site, "backup_failed");
    assert_eq!(alert["count"], 3, "{alert:#}");
    assert_eq!(open_rules(&site), ["backup_failed"]);
    assert_eq!(alerts(&site).len(), 2);
    assert_eq!(rules_told(&receiver), [once[0], once[1], "alert.resolved catalog_unreachable"]);
    // Three of each channel: those that listen in the database heard of it with the record.
    assert_eq!(statuses(&site), BTreeMap::from([("sent".to_owned(), 6)]));
    let book = book(&site);
    assert_eq!(
        (&book["changed"], &book["deliveries"]),
        (&Value::Array(vec![]), &Value::Array(vec![])),
        "{book:#}"
    );
}

/// What is open when the catalog goes down is known, and not told again.
#[test]
fn what_was_open_before_is_not_told_again() {
    let receiver = Receiver::start();
    let (site, gate) = site_behind_a_gate(&receiver);
    fail(&site).run();
    let id = open(&site, "backup_failed")["id"].clone();
    gate.shut();
    fail(&site).stderr_has("cannot reach the catalog").run();
    assert_eq!(rules_told(&receiver), ["alert.raised backup_failed", "alert.raised catalog_unreachable"]);
    gate.reopen();
    site.pgkeep(["alert", "send"]).any_stdout().run();
    let alert = open(&site, "backup_failed");
    assert_eq!((&alert["id"], &alert["count"]), (&id, &2.into()), "{alert:#}");
}

/// Neither side takes it: it is told once, and the backup's own end is what it was.
#[test]
fn nowhere_to_keep_it() {
    let receiver = Receiver::start();
    let mut site = Site::new().local_only().with_own_catalog();
    site.config.channel("ops", &format!("kind = 'webhook'\nurl = '{}'", receiver.url("/ops")));
    site.config.set("catalog.url", site.cluster.url_through(free_port(), &site.catalog));
    fs::write(site.path("state"), "").unwrap();
    fail(&site).stderr_has("can be kept nowhere").run();
    assert!(
        rules_told(&receiver).contains(&"alert.raised backup_failed".to_owned()),
        "{:?}",
        rules_told(&receiver)
    );
}

/// A file that is no file of alerts is put aside, and holds none up.
#[test]
fn a_damaged_file_is_put_aside() {
    let receiver = Receiver::start();
    let (site, gate) = site_behind_a_gate(&receiver);
    gate.shut();
    receiver.always(Answer::Status(500));
    fail(&site).stderr_has("tried again later").run();
    fs::write(site.path("state/alerts.json"), "{\"alerts\": [7").unwrap();
    receiver.always(Answer::Status(200));
    fail(&site).stderr_has("is damaged").run();
    assert!(site.path("state/alerts.damaged").exists());
    assert!(rules_told(&receiver).contains(&"alert.raised backup_failed".to_owned()));
}

/// The file knew nothing of what the catalog had open: both are one, and what waits is about that one.
#[test]
fn two_of_the_same_become_one() {
    let receiver = Receiver::start();
    let (site, gate) = site_behind_a_gate(&receiver);
    fail(&site).run();
    let id = open(&site, "backup_failed")["id"].as_str().unwrap().to_owned();
    gate.shut();
    fs::remove_file(site.path("state/alerts.json")).unwrap();
    receiver.always(Answer::Status(400));
    fail(&site).stderr_has("tried again later").run();
    gate.reopen();
    receiver.always(Answer::Status(200));
    site.pgkeep(["alert", "send"]).stdout_has(", 0 waiting").run();
    let alert = open(&site, "backup_failed");
    assert_eq!((&alert["id"], &alert["count"]), (&id.as_str().into(), &2.into()), "{alert:#}");
    let query = "SELECT count(*) FROM pgkeep.delivery WHERE channel = 'ops' AND alert = $1 AND status = 'sent' \
                 AND letter->'alert'->>'id' = $1";
    let count: i64 = site.cluster.connect(&site.catalog).query_one(query, &[&id]).unwrap().get(0);
    assert_eq!(count, 2);
}

/// Two sources may share a state folder: neither loses what waits of the other.
#[test]
fn what_waits_of_another_source_is_left_alone() {
    let receiver = Receiver::start();
    let (mut site, gate) = site_behind_a_gate(&receiver);
    gate.shut();
    receiver.always(Answer::Status(400));
    fail(&site).stderr_has("tried again later").run();
    let ours = book(&site);
    let url = site.cluster.url(&site.catalog);
    let behind = site.config.clone();
    site.config.set("catalog.url", url);
    site.config.set("source.name", "db2");
    fail(&site).stderr_has("does not exist").run();
    let left = book(&site);
    for key in ["deliveries", "changed"] {
        assert!(!ours[key].as_array().unwrap().is_empty());
        assert_eq!(left[key], ours[key], "{key}");
    }
    site.config = behind;
    gate.reopen();
    receiver.always(Answer::Status(200));
    site.pgkeep(["alert", "send"]).stdout_has(", 0 waiting").run();
    assert!(alerts(&site).iter().any(|alert| alert["source"] == "db1" && alert["rule"] == "backup_failed"));
}

/// Somebody said that it is over while this host could not be told: seen again, it is another one, and is told.
#[test]
fn what_was_resolved_meanwhile_and_goes_on_is_raised_again() {
    let receiver = Receiver::start();
    let (site, gate) = site_behind_a_gate(&receiver);
    fail(&site).run();
    let id = open(&site, "backup_failed")["id"].as_str().unwrap().to_owned();
    gate.shut();
    fail(&site).stderr_has("cannot reach the catalog").run();
    let resolve =
        "UPDATE pgkeep.alert SET status = 'resolved', resolved_at = now() WHERE rule = 'backup_failed'";
    site.cluster.execute(&site.catalog, resolve);
    gate.reopen();
    let before = receiver.requests().len();
    fail(&site).run();
    let alert = open(&site, "backup_failed");
    assert_ne!(alert["id"], id.as_str());
    let told: Vec<_> = receiver.requests()[before..].iter().map(|request| told(&request.body)).collect();
    assert!(told.iter().any(|(kind, told)| kind == "alert.raised" && told["id"] == alert["id"]), "{told:?}");
}

/// A catalog in which somebody else holds the alerts is not waited for again and again: they are kept in the file.
#[test]
fn a_catalog_that_does_not_take_the_alerts_is_asked_once() {
    let receiver = Receiver::start();
    let mut site = Site::new().local_only().with_own_catalog();
    site.config.channel("ops", &format!("kind = 'webhook'\nurl = '{}'", receiver.url("/ops")));
    site.backup();
    let mut other = site.cluster.connect(&site.catalog);
    other.batch_execute("BEGIN; SELECT FROM pgkeep.lock WHERE kind = 'alerts' FOR UPDATE").unwrap();
    site.config.set("source.databases", vec!["no_such_1", "no_such_2"]);
    let ran = site.pgkeep(["backup", "full"]).code(1).stderr_has("does not take the alerts").run();
    assert_eq!(ran.stderr.matches("does not take the alerts").count(), 1, "{}", ran.stderr);
    let both = ["alert.raised backup_failed"; 2];
    assert_eq!(rules_told(&receiver), both);
    assert_eq!(book(&site)["changed"].as_array().unwrap().len(), 2);
    assert_eq!(alerts(&site), Vec::<Value>::new());
    drop(other);
    site.pgkeep(["alert", "send"]).stdout_has(", 0 waiting").run();
    assert_eq!(open_rules(&site), ["backup_failed"; 2]);
    assert_eq!(rules_told(&receiver), both);
}

/// It ended while the catalog was down, and somebody said so there, too: it is over once, and nothing is raised anew.
#[test]
fn what_was_resolved_on_both_sides_is_over_once() {
    let receiver = Receiver::start();
    let (mut site, gate) = site_behind_a_gate(&receiver);
    let broken = FakeBin::new(&site.path(""), "echo 'pg_dump: error: no' >&2; exit 1");
    site.config.set("source.pg_bin", broken.folder.to_str().unwrap());
    site.pgkeep(["backup", "full"]).code(1).any_stderr().run();
    let id = open(&site, "backup_failed")["id"].clone();
    gate.shut();
    site.config.set("source.pg_bin", pg_bin().to_str().unwrap());
    site.pgkeep(["backup", "full"]).any_code().any_stdout().stderr_has("cannot reach the catalog").run();
    let resolve =
        "UPDATE pgkeep.alert SET status = 'resolved', resolved_at = now() WHERE rule = 'backup_failed'";
    site.cluster.execute(&site.catalog, resolve);
    gate.reopen();
    site.pgkeep(["alert", "send"]).stdout_has(", 0 waiting").run();
    let all = alerts(&site).into_iter().filter(|alert| alert["rule"] == "backup_failed");
    let all: Vec<Value> = all.map(|alert| alert["id"].clone()).collect();
    assert_eq!(all, [id]);
    let told = rules_told(&receiver).into_iter().filter(|word| word.ends_with(" backup_failed"));
    assert_eq!(told.collect::<Vec<_>>(), ["alert.raised backup_failed", "alert.resolved backup_failed"]);
}
