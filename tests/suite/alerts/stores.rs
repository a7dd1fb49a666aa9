//! What is wrong with a store, or with what should be in it: one alert, whoever sees it.

use super::{alerts, open, open_rules};
use crate::support::manners::Manners;
use crate::support::receiver::Receiver;
use crate::support::{Rule, Site};

/// The events of a rule that a webhook heard of.
fn heard(receiver: &Receiver, rule: &str) -> Vec<String> {
    let told = receiver.requests().into_iter().map(|request| super::told(&request.body));
    told.filter(|(_, alert)| alert["rule"] == rule).map(|(event, _)| event).collect()
}

fn with_webhook(site: &mut Site) -> Receiver {
    let receiver = Receiver::start();
    site.config.channel("ops", &format!("kind = 'webhook'\nurl = '{}'", receiver.url("/ops")));
    receiver
}

/// A store that refuses one database of a run, and takes the next, is not well in between.
#[test]
fn a_store_is_judged_by_all_that_a_run_gave_it() {
    let mut site = Site::new();
    site.config.keep_stores(&["local", "r2"]);
    let receiver = with_webhook(&mut site);
    let one = site.database.clone();
    let other = site.cluster.fresh_database();
    site.cluster.execute(&other, "CREATE TABLE a ()");
    site.config.set("source.databases", vec![one.clone(), other.clone()]);
    let fault = site.fault("r2", Manners::Plain);
    let of_one: &'static str = Box::leak(format!("/{one}/").into_boxed_str());
    for method in ["PUT", "POST"] {
        fault.rule(Rule::on(method, of_one).refuse(403, "AccessDenied"));
    }
    for _ in 0..2 {
        site.pgkeep(["backup", "full"]).code(3).any_stdout().stderr_has("r2").run();
    }
    let alert = open(&site, "store_unreachable");
    assert_eq!((&alert["store"], &alert["count"]), (&"r2".into(), &2.into()), "{alert:#}");
    // A look at the other database says nothing of the store as a whole.
    site.pgkeep(["alert", "check", "--database", &other]).any_code().any_stdout().run();
    open(&site, "store_unreachable");
    assert_eq!(heard(&receiver, "store_unreachable"), ["alert.raised"]);
    fault.heal();
    site.pgkeep(["backup", "full"]).any_stdout().run();
    assert_eq!(open_rules(&site), Vec::<String>::new());
    assert_eq!(heard(&receiver, "store_unreachable"), ["alert.raised", "alert.resolved"]);
}

/// Databases that each have a call of their own: one that the store takes says nothing of the one that it refuses.
#[test]
fn a_store_that_refuses_another_database_is_not_well() {
    let mut site = Site::new();
    site.config.keep_stores(&["local", "r2"]);
    let receiver = with_webhook(&mut site);
    let (one, other) = (site.database.clone(), site.cluster.fresh_database());
    site.cluster.execute(&other, "CREATE TABLE a ()");
    let fault = site.fault("r2", Manners::Plain);
    let of_one: &'static str = Box::leak(format!("/{one}/").into_boxed_str());
    for method in ["PUT", "POST"] {
        fault.rule(Rule::on(method, of_one).refuse(403, "AccessDenied"));
    }
    for _ in 0..2 {
        site.pgkeep(["backup", "full", "--database", &one]).code(3).any_stdout().any_stderr().run();
        site.pgkeep(["backup", "full", "--database", &other]).any_stdout().run();
    }
    assert_eq!(heard(&receiver, "store_unreachable"), ["alert.raised"]);
    fault.heal();
    site.pgkeep(["backup", "full", "--database", &one]).any_stdout().run();
    assert_eq!(heard(&receiver, "store_unreachable"), ["alert.raised", "alert.resolved"]);
}

/// A copy that a check misses, that a verification puts on record as missing, and that is made again: one alert.
#[test]
fn a_lost_copy_is_one_alert_from_its_loss_to_its_return() {
    let mut site = Site::new();
    site.config.keep_stores(&["local", "r2"]);
    let receiver = with_webhook(&mut site);
    let id = site.backup();
    let key = site.copies(&id)["r2"]["path"].as_str().unwrap().to_owned();
    site.r2.delete(&key);
    site.pgkeep(["alert", "check"]).code(2).any_stdout().run();
    site.pgkeep(["verify", &id]).code(4).any_stdout().stderr_has("missing").run();
    site.pgkeep(["alert", "check"]).code(2).any_stdout().run();
    assert_eq!(open_rules(&site), ["backup_degraded", "copy_missing"]);
    let alert = open(&site, "copy_missing");
    let about = ["store", "backup_id", "severity"].map(|key| alert[key].as_str().unwrap());
    assert_eq!(about, ["r2", id.as_str(), "critical"], "{alert:#}");
    assert_eq!(alert["count"], 3, "{alert:#}");
    site.pgkeep(["verify", &id, "--repair"]).any_stdout().any_stderr().run();
    site.pgkeep(["alert", "check"]).any_stdout().run();
    assert_eq!(open_rules(&site), Vec::<String>::new());
    assert_eq!(heard(&receiver, "copy_missing"), ["alert.raised", "alert.resolved"]);
    assert_eq!(heard(&receiver, "verification_failed"), Vec::<String>::new());
}

/// What was sent is kept for a month, what is over for a year; an empty dump that was called right is not forgotten.
#[test]
fn what_is_over_goes_in_time() {
    let site = Site::new().local_only().with_own_catalog();
    let alert = |id: &str, rule: &str, age: &str| {
        format!(
            "INSERT INTO pgkeep.alert (id, rule, severity, status, source, message, first_seen, last_seen, count, \
             resolved_at) VALUES ('{id}', '{rule}', 'warning', 'resolved', 'db1', 'x', now() - interval '2 years', \
             now() - interval '{age}', 1, now() - interval '{age}');"
        )
    };
    let letter = |id: &str, alert: &str, status: &str, age: &str| {
        format!(
            "INSERT INTO pgkeep.delivery (id, alert, source, channel, event, letter, status, created_at, due_at) \
             VALUES ('{id}', '{alert}', 'db1', 'gone', 'raised', '{{}}', '{status}', now() - interval '{age}', \
             now() + interval '1 hour');"
        )
    };
    site.pgkeep(["alert"]).any_stdout().run();
    let rows = [
        alert("a1", "store_unreachable", "367 days"),
        alert("a2", "store_unreachable", "363 days"),
        alert("a3", "empty_dump", "600 days"),
        letter("d1", "a2", "sent", "31 days"),
        letter("d2", "a2", "sent", "29 days"),
        letter("d3", "a2", "waiting", "31 days"),
        letter("d4", "a1", "sent", "29 days"),
    ];
    site.cluster.execute(&site.catalog, &rows.concat());
    site.pgkeep(["backup", "full"]).any_stdout().stderr_has("a message on record is left alone").run();
    let ids: Vec<_> = alerts(&site).into_iter().map(|alert| alert["id"].clone()).collect();
    assert_eq!(ids, ["a2", "a3"]);
    let left = site.cluster.connect(&site.catalog).query("SELECT id FROM pgkeep.delivery ORDER BY id", &[]);
    let left: Vec<String> = left.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(left, ["d2", "d3"]);
}

/// Stores that none of a sweep's reads reaches, and a prune that can look at none of them.
#[test]
fn stores_that_are_all_away() {
    let mut site = Site::new().with_own_catalog();
    site.config.keep_stores(&["r2"]);
    site.backup();
    site.config.set("timeouts.request", "2s");
    site.set_endpoint("r2", "127.0.0.1:9");
    site.pgkeep(["verify", "--all"]).code(1).stderr_has("does not answer").run();
    assert_eq!(open(&site, "store_unreachable")["store"], "r2");
    site.pgkeep(["prune"]).code(1).stderr_has("no store could be looked at").run();
    assert!(open(&site, "retention_held")["database"].is_null());
    assert_eq!(open_rules(&site), ["retention_held", "store_unreachable"]);
}

/// A row that this version can't read, by a newer one or by hand, is left alone, and hides no other.
#[test]
fn a_row_that_is_none_hides_no_other() {
    let site = Site::new().local_only().with_own_catalog();
    site.backup();
    let row = "INSERT INTO pgkeep.alert (id, rule, severity, status, source, message, first_seen, last_seen, count) \
               VALUES ('000000000000', 'of_a_newer_one', 'warning', 'open', 'db1', 'x', now(), now(), 1)";
    site.cluster.execute(&site.catalog, row);
    super::fail(&site).stderr_has("an alert on record is left alone").run();
    assert_eq!(open_rules(&site), ["backup_failed", "of_a_newer_one"]);
    let list = site.pgkeep(["alert", "--json"]).any_stderr().any_stdout().run().json();
    assert_eq!(list.as_array().unwrap().len(), 1, "{list:#}");
    assert_eq!(list[0]["rule"], "backup_failed");
}

/// A test restore that failed is over with one that passed, and not with a look that is less deep.
#[test]
fn a_failed_test_restore_is_over_with_one_that_passed() {
    let site = Site::new().local_only().with_own_catalog();
    let id = site.backup();
    let tables = "SELECT metadata->'fingerprint'->'tables' FROM pgkeep.backup";
    let whole: serde_json::Value = site.cluster.connect(&site.catalog).query_one(tables, &[]).unwrap().get(0);
    let set = |tables: &str| {
        let update = format!(
            "UPDATE pgkeep.backup SET metadata = jsonb_set(metadata, '{{fingerprint,tables}}', '{tables}')"
        );
        site.cluster.execute(&site.catalog, &update);
    };
    set("{\"public.lost\": {\"rows\": 5}}");
    let verify = |level: &str, code: i32| {
        site.pgkeep(["verify", &id, "--level", level]).code(code).any_stdout().any_stderr().run();
    };
    verify("restore", 4);
    assert_eq!(open(&site, "test_restore_failed")["severity"], "critical");
    verify("checksum", 3);
    assert_eq!(open(&site, "test_restore_failed")["backup_id"], id.as_str());
    // One that is not the newest is told of as well, and the newest is no word on it.
    let newest = site.backup();
    set("{\"public.lost\": {\"rows\": 5}}");
    verify("restore", 4);
    open(&site, "test_restore_failed");
    set(&whole.to_string().replace('\'', "''"));
    site.pgkeep(["verify", &newest, "--level", "restore"]).any_stdout().any_stderr().run();
    verify("restore", 0);
    assert_eq!(open_rules(&site), Vec::<String>::new());
}
