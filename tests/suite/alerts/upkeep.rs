//! What a verify and a prune say of what they looked at, and leave alone of what they did not.

use std::fs;

use super::{age, alerts, open, open_rules, told};
use crate::support::receiver::Receiver;
use crate::support::tools::pg_bin;
use crate::support::{FakeBin, Gate, Site};

/// No store answers: that is the news, though nothing was looked at.
#[test]
fn a_verify_of_all_while_every_store_is_away() {
    let mut site = Site::new();
    site.config.keep_stores(&["r2", "b2"]);
    site.backup();
    site.config.set("timeouts.request", "3s");
    for store in ["r2", "b2"] {
        site.set_endpoint(store, "127.0.0.1:9");
    }
    site.pgkeep(["verify", "--all"]).code(1).stderr_has("does not answer").run();
    assert_eq!(open_rules(&site), ["store_unreachable"; 2]);
    let stores: Vec<_> = alerts(&site).iter().map(|alert| alert["store"].clone()).collect();
    assert!(stores.contains(&"r2".into()) && stores.contains(&"b2".into()), "{stores:?}");
}

/// Copies that should go stay, though nobody got as far as a plan.
#[test]
fn a_prune_that_can_not_even_be_planned() {
    let receiver = Receiver::start();
    let mut site = Site::new().local_only().with_own_catalog();
    site.config.channel("ops", &format!("kind = 'webhook'\nurl = '{}'", receiver.url("/ops")));
    site.backup();
    site.cluster.execute(&site.catalog, "ALTER TABLE pgkeep.copy RENAME COLUMN state TO elsewhere");
    site.pgkeep(["prune"]).code(1).stderr_has("copy").run();
    site.cluster.execute(&site.catalog, "ALTER TABLE pgkeep.copy RENAME COLUMN elsewhere TO state");
    let alert = open(&site, "retention_held");
    assert!(alert["message"].as_str().unwrap().starts_with("old copies are not removed: "), "{alert:#}");
    site.pgkeep(["prune"]).any_stdout().run();
    assert_eq!(open_rules(&site), Vec::<String>::new());
    // Nor as far as the catalog.
    let gate = Gate::open_to(site.cluster.port);
    site.config.set("catalog.url", site.cluster.url_through(gate.port, &site.catalog));
    gate.shut();
    let before = receiver.requests().len();
    site.pgkeep(["prune"]).code(1).stderr_has("cannot reach the catalog").run();
    let heard: Vec<_> = receiver.requests()[before..].iter().map(|request| told(&request.body)).collect();
    let is_held = |(kind, alert): &(String, serde_json::Value)| {
        kind == "alert.raised" && alert["rule"] == "retention_held"
    };
    assert!(heard.iter().any(is_held), "{heard:?}");
    gate.reopen();
    site.pgkeep(["list"]).any_stdout().run();
    open(&site, "retention_held");
}

/// Four old backups in two stores whose rules let all but one go.
fn overdue() -> Site {
    let mut site = Site::new();
    site.config.keep_stores(&["local", "r2"]);
    for _ in 0..4 {
        site.backup();
    }
    site.config.set("retention.min_keep", 1);
    for store in ["local", "r2"] {
        site.config.store(store).insert("keep".to_owned(), "1s".into());
    }
    age(&site);
    site
}

/// What was refused for all stores is not made good by a look at one of them.
#[test]
fn a_prune_of_one_store_says_nothing_of_the_others() {
    let site = overdue();
    site.pgkeep(["prune"]).code(1).stderr_has("more than half").run();
    site.pgkeep(["prune", "--store", "local", "--force"]).any_stdout().run();
    open(&site, "retention_held");
    site.pgkeep(["prune", "--force"]).any_stdout().run();
    assert_eq!(open_rules(&site), Vec::<String>::new());
}

/// Nor is what holds a database's copies back.
#[test]
fn what_is_held_in_one_store_is_not_over_in_another() {
    let mut site = overdue();
    let broken = FakeBin::new(&site.path(""), "echo 'pg_dump: error: no' >&2; exit 1");
    site.config.set("source.pg_bin", broken.folder.to_str().unwrap());
    site.pgkeep(["backup", "full"]).code(1).any_stderr().run();
    site.pgkeep(["prune"]).code(3).any_stdout().stderr_has("held").run();
    assert_eq!(open(&site, "retention_held")["database"], site.database.as_str());
    site.pgkeep(["prune", "--store", "local", "--even-if-failing", "--force"])
        .any_stdout()
        .any_stderr()
        .run();
    assert_eq!(open(&site, "retention_held")["database"], site.database.as_str());
    site.pgkeep(["prune", "--even-if-failing", "--force"]).any_stdout().any_stderr().run();
    assert_eq!(open_rules(&site), ["backup_failed"]);
}

/// A prune of one database that is refused is of that one, and one of another is no end of it.
#[test]
fn a_prune_of_one_database_says_nothing_of_the_others() {
    let mut site = overdue();
    let (one, other) = (site.database.clone(), site.cluster.fresh_database());
    site.cluster.execute(&other, "CREATE TABLE a ()");
    site.config.set("source.databases", vec![one.clone(), other.clone()]);
    site.pgkeep(["backup", "full", "--database", &other]).any_stdout().run();
    site.pgkeep(["prune", "--database", &one]).code(1).stderr_has("more than half").run();
    assert_eq!(open(&site, "retention_held")["database"], one.as_str());
    site.pgkeep(["prune", "--database", &other]).any_stdout().run();
    assert_eq!(open(&site, "retention_held")["database"], one.as_str());
    site.pgkeep(["prune", "--database", &one, "--force"]).any_stdout().run();
    assert_eq!(open_rules(&site), Vec::<String>::new());
}

/// Only a test restore shows that test restores pass: no next backup does, and no lower check of it.
#[test]
fn a_failed_test_restore_is_over_with_one_that_passed() {
    let mut site = Site::new().local_only();
    let scratch = site.path("scratch");
    fs::create_dir(&scratch).unwrap();
    site.config.set("verify.scratch_dir", scratch.to_str().unwrap());
    let first = site.backup();
    let broken = FakeBin::of(
        "pg_restore",
        &site.path(""),
        "case \" $* \" in *' --list '* | *' -l '*) exec \"$REAL\" \"$@\" ;; esac\n\
         cat >/dev/null; echo 'pg_restore: error: could not execute query: ERROR:  no' >&2; exit 1",
    );
    site.config.set("source.pg_bin", broken.folder.to_str().unwrap());
    site.pgkeep(["verify", &first, "--level", "restore"]).code(4).any_stdout().any_stderr().run();
    site.config.set("source.pg_bin", pg_bin().to_str().unwrap());
    assert_eq!(open(&site, "test_restore_failed")["backup_id"], first.as_str());
    site.pgkeep(["verify", &first]).any_code().any_stdout().any_stderr().run();
    open(&site, "test_restore_failed");
    let second = site.backup();
    open(&site, "test_restore_failed");
    site.pgkeep(["verify", &second, "--level", "content"]).any_stdout().run();
    open(&site, "test_restore_failed");
    site.pgkeep(["alert", "check"]).any_code().any_stdout().run();
    open(&site, "test_restore_failed");
    site.pgkeep(["verify", &second, "--level", "restore"]).any_stdout().run();
    assert_eq!(open_rules(&site), Vec::<String>::new());
}
