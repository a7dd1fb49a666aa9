//! `pgkeep alert list`, `ack` and `resolve`, and those who listen in the database.

use std::time::Duration;

use postgres::fallible_iterator::FallibleIterator;
use serde_json::Value;

use super::{alerts, fail, open};
use crate::support::Site;

#[test]
fn a_list_of_what_is_wrong() {
    let site = Site::new().local_only();
    site.pgkeep(["alert"]).stdout("no open alerts\n").run();
    fail(&site).run();
    let id = open(&site, "backup_failed")["id"].as_str().unwrap().to_owned();
    let shown = site.pgkeep(["alert", "list"]).stdout_has("backup_failed").run().stdout;
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.len(), 2, "{shown}");
    assert!(lines[0].starts_with("ID") && lines[1].starts_with(&id), "{shown}");
    let listed = site.pgkeep(["alert", "--json"]).any_stdout().run().json();
    for key in [
        "id",
        "rule",
        "severity",
        "backup_id",
        "database",
        "store",
        "message",
        "detail",
        "first_seen",
        "last_seen",
        "count",
    ] {
        assert!(listed[0].as_object().unwrap().contains_key(key), "{key}: {listed:#}");
    }
    site.pgkeep(["alert", "resolve", &id]).stdout(&format!("{id}: resolved\n")).run();
    site.pgkeep(["alert"]).stdout("no open alerts\n").run();
    site.pgkeep(["alert", "--all"]).stdout_has("resolved").run();
    site.pgkeep(["alert", "--quiet"]).run();
}

#[test]
fn somebody_knows() {
    let site = Site::new().local_only();
    fail(&site).run();
    let id = open(&site, "backup_failed")["id"].as_str().unwrap().to_owned();
    let words = ["alert", "ack", &id[..6], "--note", "new disk ordered"];
    site.pgkeep(words).stdout(&format!("{id}: acknowledged\n")).run();
    fail(&site).run();
    let alert = open(&site, "backup_failed");
    assert_eq!((&alert["status"], &alert["count"]), (&"acknowledged".into(), &2.into()), "{alert:#}");
    assert_eq!(alert["note"], "new disk ordered");
    site.pgkeep(["alert"]).stdout_has("(new disk ordered)").run();
    let resolved = site.pgkeep(["alert", "resolve", &id, "--json"]).any_stdout().run().json();
    assert_eq!(resolved["status"], "resolved", "{resolved:#}");
    // Over is over.
    site.pgkeep(["alert", "ack", &id]).code(1).stderr_has("is over since").run();
    site.pgkeep(["alert", "resolve", &id]).code(1).stderr_has("is over since").run();
    site.pgkeep(["alert", "ack", "zz"]).code(5).stderr_has("no alert `zz`").run();
    site.pgkeep(["alert", "ack", ""]).code(5).stderr_has("no alert").run();
    // Where it goes on, it is another one.
    fail(&site).run();
    assert_ne!(open(&site, "backup_failed")["id"], id.as_str());
    assert_eq!(alerts(&site).len(), 2);
}

/// An application that listens hears of each state once, as JSON.
#[test]
fn those_who_listen_in_the_database_hear_of_it() {
    let site = Site::new().local_only();
    site.backup();
    let mut listens = site.cluster.connect(&site.catalog);
    listens.batch_execute("LISTEN pgkeep_alert").unwrap();
    fail(&site).run();
    fail(&site).run();
    let id = open(&site, "backup_failed")["id"].as_str().unwrap().to_owned();
    site.pgkeep(["alert", "resolve", &id]).any_stdout().run();
    let mut heard: Vec<Value> = Vec::new();
    let mut notifications = listens.notifications();
    let mut waiting = notifications.timeout_iter(Duration::from_secs(2));
    while let Some(notification) = waiting.next().unwrap() {
        assert_eq!(notification.channel(), "pgkeep_alert");
        heard.push(serde_json::from_str(notification.payload()).unwrap());
    }
    let events: Vec<&Value> = heard.iter().map(|document| &document["event"]).collect();
    assert_eq!(events, ["raised", "resolved"]);
    assert!(
        heard.iter().all(|document| document["id"] == id.as_str() && document["rule"] == "backup_failed")
    );
}

/// Rows of a newer pgkeep, or written by hand: they are left alone, and hold no other up.
#[test]
fn an_alert_that_can_not_be_read_holds_no_other_up() {
    let site = Site::new().local_only().with_own_catalog();
    site.backup();
    let row = |id: &str, rule: &str, status: &str| {
        format!(
            "INSERT INTO pgkeep.alert (id, rule, severity, status, source, message, first_seen, last_seen, count) \
             VALUES ('{id}', '{rule}', 'warning', '{status}', 'db1', 'x', now(), now(), 1);"
        )
    };
    let of_tomorrow = [
        "ALTER TABLE pgkeep.alert DROP CONSTRAINT alert_status_check;".to_owned(),
        row("zz1", "rule_of_tomorrow", "open"),
        row("zz2", "backup_degraded", "snoozed"),
    ];
    site.cluster.execute(&site.catalog, &of_tomorrow.concat());
    for count in 1..=2 {
        fail(&site).stderr_has("an alert on record is left alone").run();
        assert_eq!(open(&site, "backup_failed")["count"], count);
    }
    let id = open(&site, "backup_failed")["id"].as_str().unwrap().to_owned();
    let shown = site.pgkeep(["alert"]).stdout_has(&id).stderr_has("is left alone").run().stdout;
    assert_eq!(shown.lines().count(), 2, "{shown}");
    site.pgkeep(["alert", "check"]).code(2).any_stdout().stderr_has("is left alone").run();
    site.pgkeep(["alert", "resolve", "zz"]).code(5).stderr_has("no alert `zz`").run();
    site.pgkeep(["alert", "resolve", &id]).stdout_has("resolved").any_stderr().run();
    let left = alerts(&site).into_iter().filter(|alert| alert["status"] != "resolved");
    let left: Vec<Value> = left.map(|alert| alert["id"].clone()).collect();
    assert_eq!(left, ["zz1", "zz2"]);
}
