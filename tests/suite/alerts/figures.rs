//! A dump that is not what the last ones were.

use super::{open, open_rules};
use crate::support::cluster::unique;
use crate::support::{Gate, Site};

/// Says of the backups on record that they were otherwise.
fn rewrite(site: &Site, what: &str) {
    site.cluster.execute(&site.catalog, &format!("UPDATE pgkeep.backup SET {what}"));
}

#[test]
fn tables_that_have_vanished_are_no_success() {
    let site = Site::new().local_only().with_own_catalog();
    site.backup();
    site.cluster.execute(&site.database, "DROP SCHEMA public CASCADE; CREATE SCHEMA public");
    let id = site.pgkeep(["backup", "full"]).code(3).any_stdout().stderr_has("holds no table").run().id();
    let alert = open(&site, "empty_dump");
    assert_eq!(
        (&alert["severity"], &alert["backup_id"]),
        (&"critical".into(), &id.as_str().into()),
        "{alert:#}"
    );
    // Its copies are whole, and it is not what was promised, however often these are looked at.
    let row = site.row(&id);
    assert_eq!(row["status"], "degraded", "{row:#}");
    assert!(row["error"].as_str().unwrap().starts_with("it holds no table"), "{row:#}");
    site.pgkeep(["verify", &id]).code(3).any_stdout().stderr_has("its copies are whole, and it holds").run();
    assert_eq!(site.row(&id)["status"], "degraded");
    // It is not the good one that a check looks for.
    let seen = site.pgkeep(["alert", "check", "--json"]).code(2).any_stdout().run().json();
    assert_ne!(seen["databases"][0]["good"]["id"], id.as_str(), "{seen:#}");
    assert!(seen["databases"][0]["good"]["id"].is_string(), "{seen:#}");
    // What it lacks is one alert, and the size another.
    assert_eq!(open_rules(&site), ["empty_dump", "size_changed"]);
    site.cluster.execute(&site.database, "CREATE TABLE a ()");
    site.backup();
    assert_eq!(open_rules(&site), ["size_changed"]);
}

/// However many nights there was nothing in it, it had something once; until somebody says that it is right.
#[test]
fn tables_that_vanished_long_ago_are_no_success_until_somebody_says_so() {
    let mut site = Site::new().local_only().with_own_catalog();
    site.backup();
    site.cluster.execute(&site.database, "DROP SCHEMA public CASCADE; CREATE SCHEMA public");
    // No table is counted at that level, and none is missed for that.
    site.config.set("verify.fingerprint", "off");
    let mut last = String::new();
    for _ in 0..9 {
        last = site.pgkeep(["backup", "full"]).code(3).any_stdout().stderr_has("holds no table").run().id();
    }
    // The only one that has something in it stays, whatever the rules say.
    site.config.set("retention.min_keep", 1);
    site.config.store("local").insert("keep".to_owned(), "1s".into());
    site.config.set("retention.after_backup", false);
    site.pgkeep(["prune", "--force"]).any_code().any_stdout().any_stderr().run();
    let kept = site.rows().into_iter().filter(|row| row["metadata"]["lacks"].is_null());
    assert_eq!(kept.map(|row| row["status"].clone()).collect::<Vec<_>>(), ["verified"]);
    let alert = open(&site, "empty_dump");
    assert_eq!((&alert["count"], &alert["backup_id"]), (&9.into(), &last.as_str().into()), "{alert:#}");
    site.pgkeep(["alert", "resolve", alert["id"].as_str().unwrap()]).any_stdout().run();
    site.backup();
    site.backup();
    // What it had is what sizes are compared with still.
    assert_eq!(open_rules(&site), ["size_changed"]);
    // What was right then is none when there was something since.
    site.cluster.execute(&site.database, "CREATE TABLE a ()");
    site.backup();
    site.cluster.execute(&site.database, "DROP TABLE a");
    site.pgkeep(["backup", "full"]).code(3).any_stdout().stderr_has("an earlier one had 1").run();
}

/// Who may have one session alone shares no snapshot with its dump, and counts no rows: its tables are missed all the
/// same. Nor is an empty dump well that was made while nobody could say what was before it.
#[test]
fn tables_are_missed_whatever_else_is_not_to_be_had() {
    let mut site = Site::new().local_only().with_own_catalog();
    site.backup();
    let (role, port, database) = (unique("lonely"), site.cluster.port, site.database.clone());
    let make = format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'weak' CONNECTION LIMIT 1; \
         DROP SCHEMA public CASCADE; CREATE SCHEMA public"
    );
    site.cluster.execute(&database, &make);
    site.config.set("source.url", format!("postgresql://{role}:weak@127.0.0.1:{port}/{database}"));
    let call = site.pgkeep(["backup", "full"]).code(3).any_stdout();
    call.stderr_has("to compare a restore with").stderr_has("holds no table").run();
    let gate = Gate::open_to(site.cluster.port);
    let catalog = site.cluster.url_through(gate.port, &site.catalog);
    site.config.set("catalog.url", catalog);
    gate.shut();
    let id = site.pgkeep(["backup", "full"]).code(3).any_stdout().any_stderr().run().id();
    gate.reopen();
    site.pgkeep(["list"]).any_stdout().any_stderr().run();
    let row = site.row(&id);
    assert_eq!(row["status"], "degraded", "{row:#}");
    assert!(row["metadata"]["lacks"].as_str().unwrap().contains("nobody could say"), "{row:#}");
    // What it lacks stands in its manifest, too.
    site.cluster.execute(&site.catalog, "DELETE FROM pgkeep.backup");
    site.pgkeep(["catalog", "rebuild", "--from", "local"]).any_code().any_stdout().any_stderr().run();
    let row = site.row(&id);
    assert_eq!(row["status"], "degraded", "{row:#}");
}

/// Earlier ones that do not say how many tables they had are none that had none.
#[test]
fn what_is_not_on_record_is_not_taken_for_nothing() {
    let site = Site::new().local_only().with_own_catalog();
    site.backup();
    rewrite(&site, "metadata = metadata - 'tables' - 'fingerprint'");
    site.cluster.execute(&site.database, "DROP SCHEMA public CASCADE; CREATE SCHEMA public");
    site.pgkeep(["backup", "full"]).code(3).any_stdout().stderr_has("nobody could say").run();
    assert_eq!(open(&site, "empty_dump")["severity"], "critical");
}

/// A database that never had one is told of once, and is no failure each night.
#[test]
fn a_database_without_tables_is_told_of() {
    let mut site = Site::new().local_only().with_own_catalog();
    let (name, url) = site.target();
    site.config.set("source.url", url);
    for count in 1..=3 {
        site.pgkeep(["backup", "full"]).stdout_has(&name).run();
        let alert = open(&site, "empty_dump");
        assert_eq!(
            (&alert["database"], &alert["count"]),
            (&name.as_str().into(), &count.into()),
            "{alert:#}"
        );
    }
}

#[test]
fn sizes_and_times_are_compared_with_the_last_seven() {
    let mut site = Site::new().local_only().with_own_catalog();
    // One is enough to see a drop.
    site.backup();
    rewrite(&site, "metadata = metadata || '{\"dump_bytes\": 90000000}'");
    let id = site.backup();
    let alert = open(&site, "size_changed");
    assert_eq!(
        (&alert["severity"], &alert["backup_id"]),
        (&"warning".into(), &id.as_str().into()),
        "{alert:#}"
    );
    assert!(alert["message"].as_str().unwrap().contains("% less"), "{alert:#}");
    rewrite(&site, "metadata = metadata || '{\"dump_bytes\": 1}'");
    // Two are too few to see a growth; what is small does not count.
    site.backup();
    assert_eq!(open_rules(&site), Vec::<String>::new());
    let newest = "(SELECT metadata->'dump_bytes' FROM pgkeep.backup ORDER BY created_at DESC LIMIT 1)";
    rewrite(&site, &format!("metadata = metadata || jsonb_build_object('dump_bytes', {newest})"));
    rewrite(&site, "backup_duration_seconds = 7200");
    site.backup();
    assert_eq!(open_rules(&site), ["duration_changed"]);
    rewrite(&site, "backup_duration_seconds = 1");
    site.cluster
        .execute(&site.database, "CREATE TABLE big AS SELECT md5(n::text) FROM generate_series(1, 40000) n");
    site.backup();
    assert_eq!(open_rules(&site), ["size_changed"]);
    let alert = open(&site, "size_changed");
    assert!(alert["message"].as_str().unwrap().contains("more"), "{alert:#}");
    site.config.set("alert.size_growth", "off");
    site.backup();
    assert_eq!(open_rules(&site), Vec::<String>::new());
}
