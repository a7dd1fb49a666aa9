//! Each `backup full` makes a config backup of the same night.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use pgkeep::testpoint::Step;

use crate::kills::kill_at;
use crate::support::{FakeBin, Site};

fn site() -> Site {
    let mut site = Site::alone().with_own_catalog();
    site.config.set("config.with_full", true);
    site
}

/// What `list` shows, as JSON, with these flags.
fn listed(site: &Site, flags: &[&str]) -> Vec<Value> {
    let shown = site.pgkeep(["list", "--json"]).args(flags).any_stdout().any_stderr().any_code().run().json();
    shown.as_array().unwrap().clone()
}

fn of_type<'a>(all: &'a [Value], kind: &str) -> Vec<&'a Value> {
    all.iter().filter(|it| it["backup_type"] == kind).collect()
}

/// One a call, however many databases; it prints nothing, and belongs to the same run, on record and in the stores.
#[test]
fn one_of_each_night_and_of_the_same_run() {
    let mut site = site();
    let other = site.cluster.fresh_database();
    site.config.set("source.databases", vec![site.database.clone(), other.clone()]);
    let first = site.pgkeep(["backup", "full"]).any_stdout().any_stderr().any_code().run();
    assert_eq!(first.ids().len(), 2, "{:?}", first.stdout);
    assert!(first.ids().iter().all(|id| id.starts_with("full-")), "{:?}", first.stdout);
    site.config.set("source.databases", vec![site.database.clone()]);
    let only = site.pgkeep(["backup", "full", "--json"]).any_stdout().run().json();
    assert_eq!(only["backup_type"], "full", "{only:#}");
    let all = listed(&site, &[]);
    assert_eq!((all.len(), of_type(&all, "config").len()), (5, 2), "{all:#?}");
    for config in of_type(&all, "config") {
        assert_eq!((&config["status"], &config["database"]), (&json!("verified"), &json!("cluster")));
    }
    let runs: Vec<&str> = all.iter().map(|it| it["metadata"]["run"].as_str().unwrap()).collect();
    assert_eq!(runs.iter().collect::<BTreeSet<_>>().len(), 2);
    assert_eq!((runs[0], runs[2]), (runs[1], runs[4]), "what belongs together stands together");
    let in_store = listed(&site, &["--from", "r2"]);
    assert_eq!(in_store.len(), 5);
    assert!(in_store.iter().all(|it| it["metadata"]["run"].is_string()), "{in_store:#?}");
    let lines = site.pgkeep(["list"]).any_stdout().run().stdout;
    assert!(lines.lines().nth(1).unwrap().starts_with("config-cluster-"), "{lines}");
}

/// Runs that overlap are told apart.
#[test]
fn what_one_call_made_stands_together() {
    let mut site = site();
    site.backup();
    let config = listed(&site, &["--type", "config"])[0]["id"].as_str().unwrap().to_owned();
    // Another call begins and ends between the two.
    for (kind, hour) in [("full", "-1 hour"), ("config", "1 hour")] {
        let moved = format!(
            "UPDATE pgkeep.backup SET created_at = created_at + interval '{hour}' WHERE backup_type = '{kind}'"
        );
        site.cluster.execute(&site.catalog, &moved);
    }
    site.config.set("config.with_full", false);
    let between = site.backup();
    let ids: Vec<Value> = listed(&site, &[]).iter().map(|it| it["id"].clone()).collect();
    assert_eq!((&ids[0], &ids[2]), (&json!(config), &json!(between)), "{ids:?}");
}

/// The dumps are there, and what belongs beside them is not: exit code 3, a warning, and the next night is well again.
#[test]
fn one_that_fails_degrades_the_run_and_no_more() {
    let mut site = site();
    let bin = FakeBin::of("pg_dumpall", &site.path(""), "echo 'pg_dumpall: error: no' >&2; exit 1");
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    let ran =
        site.pgkeep(["backup", "full"]).code(3).any_stdout().stderr_has("backup of `cluster` failed").run();
    assert_eq!(site.row(&ran.id())["status"], "verified");
    let alert = || -> Option<(String, String)> {
        let query = "SELECT severity, message FROM pgkeep.alert \
                     WHERE rule = 'backup_failed' AND database = 'cluster' AND status = 'open'";
        let row = site.cluster.connect(&site.catalog).query_opt(query, &[]).unwrap();
        row.map(|row| (row.get(0), row.get(1)))
    };
    let (severity, message) = alert().expect("an alert");
    assert_eq!(severity, "warning", "{message}");
    fs::remove_file(bin.folder.join("pg_dumpall")).unwrap();
    std::os::unix::fs::symlink(
        crate::support::tools::pg_bin().join("pg_dumpall"),
        bin.folder.join("pg_dumpall"),
    )
    .unwrap();
    site.backup();
    assert_eq!(alert(), None);
}

/// Where no database was to be had, what is in none of them is tried all the same.
#[test]
fn a_dump_that_fails_takes_nothing_else_along() {
    let mut site = site();
    let bin = FakeBin::new(&site.path(""), "echo 'pg_dump: error: no' >&2; exit 1");
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    site.pgkeep(["backup", "full"]).code(1).stderr_has("there is no usable copy").run();
    let all = listed(&site, &[]);
    assert_eq!(of_type(&all, "config")[0]["status"], "verified", "{all:#?}");
}

/// Killed half-way through it: the next night buries it, and clears away what it left.
#[test]
fn one_that_is_killed_is_buried_by_the_next() {
    // The first three are the dump's.
    for (step, time) in [(Step::UploadBegun, 6), (Step::ArtifactPublished, 4)] {
        let site = site();
        kill_at(site.pgkeep(["backup", "full"]), step, time);
        site.backup();
        let all = listed(&site, &[]);
        let configs = of_type(&all, "config");
        assert_eq!(configs.len(), 2, "{all:#?}");
        assert!(configs.iter().all(|it| it["status"] != "in_progress"), "{configs:#?}");
        assert_eq!(configs[0]["status"], "verified", "{configs:#?}");
        site.assert_no_uploads();
    }
}

/// A run that is at it has the lock: this one has its dumps, and is well.
#[test]
fn another_run_that_makes_one_is_enough() {
    let mut site = site();
    site.backup();
    let bin = FakeBin::of(
        "pg_dumpall",
        &site.path(""),
        "echo $$ >\"$HERE/draft\"; mv \"$HERE/draft\" \"$HERE/pid\"; read -r _ <\"$HERE/gate\"; exec \"$REAL\" \"$@\"",
    );
    let made = std::process::Command::new("mkfifo").arg(bin.folder.join("gate")).status().unwrap();
    assert!(made.success());
    let usual = site.config.clone();
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    let running = site.pgkeep(["backup", "config"]).any_stdout().start();
    bin.wait_for_start();
    site.config = usual;
    site.backup();
    bin.release();
    running.finish();
    let all = listed(&site, &[]);
    assert_eq!((of_type(&all, "full").len(), of_type(&all, "config").len()), (2, 2), "{all:#?}");
}

/// Rules of retention hold for it as for a database, and apart from any.
#[test]
fn it_is_pruned_by_itself() {
    let mut site = site();
    site.config.keep_stores(&["local"]);
    site.config.set("retention.min_keep", 1);
    site.config.store("local").insert("keep".to_owned(), "1d".into());
    site.backup();
    site.cluster.execute(
        &site.catalog,
        "UPDATE pgkeep.backup SET created_at = created_at - interval '3 days', finished_at = finished_at - interval '3 days'; \
         UPDATE pgkeep.copy SET stored_at = stored_at - interval '3 days', expires_at = expires_at - interval '3 days'",
    );
    site.backup();
    let all = listed(&site, &[]);
    let states: Vec<&str> = of_type(&all, "config").iter().map(|it| it["status"].as_str().unwrap()).collect();
    assert_eq!(states, ["verified", "expired"], "{all:#?}");
}
