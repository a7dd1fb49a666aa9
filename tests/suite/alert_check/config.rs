//! A night without a config backup is a warning, and no night lost.

use std::fs;

use serde_json::Value;

use super::{age_rows, check, seen};
use crate::support::Site;

/// The verdict on the age of what is of that name.
fn age_of(document: &Value, database: &str) -> String {
    let all = document["observations"].as_array().unwrap();
    let is_it =
        |it: &&Value| it["subject"]["rule"] == "no_good_backup" && it["subject"]["database"] == database;
    all.iter()
        .find(is_it)
        .map_or_else(String::new, |it| it["trouble"]["severity"].as_str().unwrap_or("well").to_owned())
}

fn site() -> Site {
    let mut site = Site::alone().local_only().with_own_catalog();
    site.config.set("config.with_full", true);
    site
}

#[test]
fn a_night_without_one_is_a_warning() {
    let mut site = site();
    site.config.set("config.with_full", false);
    site.backup();
    check(&site, 0).any_stdout().run();
    site.config.set("config.with_full", true);
    let document = seen(&site, 1);
    assert_eq!(
        (age_of(&document, "cluster"), age_of(&document, &site.database)),
        ("warning".to_owned(), "well".to_owned())
    );
    check(&site, 1).stdout_has("there is no good config backup (roles, settings, files)").run();
    let query =
        "SELECT severity::text FROM pgkeep.alert WHERE rule = 'no_good_backup' AND database = 'cluster'";
    let told: String = site.cluster.connect(&site.catalog).query_one(query, &[]).unwrap().get(0);
    assert_eq!(told, "warning");
    // The next night has one: it is over.
    site.backup();
    check(&site, 0).stdout_has("cluster: ").run();
    // And goes bad like any other: its copies, its age.
    age_rows(&site, 30);
    site.config.set("config.with_full", false);
    site.backup();
    site.config.set("config.with_full", true);
    check(&site, 1).stdout_has("the newest good config backup").stdout_has("'age_cluster'=").run();
}

/// Without `with_full`, who names files means to have one all the same.
#[test]
fn files_that_are_named_are_expected() {
    let mut site = site();
    site.config.set("config.with_full", false);
    site.backup();
    let file = site.path("kept");
    fs::write(&file, "x").unwrap();
    site.config.set("config.files", vec![file.to_str().unwrap()]);
    assert_eq!(age_of(&seen(&site, 1), "cluster"), "warning");
    site.pgkeep(["backup", "config"]).any_stdout().run();
    assert_eq!(age_of(&seen(&site, 0), "cluster"), "well");
    // Who asks for one database hears of that.
    assert_eq!(age_of(&seen(&site, 0), &site.database), "well");
    let only =
        site.pgkeep(["alert", "check", "--database", &site.database, "--json"]).any_stdout().run().json();
    assert_eq!(age_of(&only, "cluster"), "");
}

/// A database that has the name which stands for them is a database: without a backup of it nothing is well.
#[test]
fn a_database_of_that_name_is_a_database() {
    let mut site = Site::alone().local_only().with_own_catalog();
    site.config.set("config.with_full", true);
    site.cluster.create_database("cluster", "sample");
    site.backup();
    check(&site, 0).any_stdout().run();
    site.config.set("source.databases", vec!["shop", "cluster"]);
    let ids = site.pgkeep(["backup", "full"]).any_stdout().run().ids();
    assert_eq!(ids.len(), 2, "{ids:?}");
    check(&site, 0).any_stdout().run();
    // The config backups of every night are none of it.
    age_rows(&site, 30);
    site.pgkeep(["backup", "full", "--database", "shop"]).any_stdout().run();
    let document = seen(&site, 2);
    assert_eq!(
        (age_of(&document, "cluster"), age_of(&document, "shop")),
        ("critical".to_owned(), "well".to_owned())
    );
}
