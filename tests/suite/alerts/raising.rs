//! What raises an alert, and what ends it.

use std::fs;

use rustix::process::Signal;

use super::{age, alerts, open, open_rules, told};
use crate::support::manners::Manners;
use crate::support::receiver::Receiver;
use crate::support::{FakeBin, Rule, Site};

#[test]
fn a_failed_backup_is_one_alert_until_one_succeeds() {
    let site = Site::new().local_only();
    let gone = site.cluster.fresh_database();
    site.cluster.execute("postgres", &format!("DROP DATABASE {gone}"));
    let call = || site.pgkeep(["backup", "full", "--database", &gone]);
    for count in 1..=2 {
        call().code(1).stderr_has("does not exist").run();
        let alert = open(&site, "backup_failed");
        assert_eq!((&alert["severity"], &alert["count"]), (&"critical".into(), &count.into()), "{alert:#}");
        assert_eq!(alert["database"], gone.as_str());
        let message = alert["message"].as_str().unwrap();
        assert!(message.contains(&gone) && message.contains("does not exist"), "{message}");
        let id = alert["backup_id"].as_str().unwrap();
        assert_eq!(site.row(id)["status"], "failed");
    }
    // Another database's success is none of this one's.
    site.backup();
    assert_eq!(open_rules(&site), ["backup_failed"]);
    site.cluster.create_database(&gone, "template0");
    site.cluster.execute(&gone, "CREATE TABLE a ()");
    call().any_stdout().run();
    assert_eq!(open_rules(&site), Vec::<String>::new());
    let all = alerts(&site);
    assert_eq!(all.len(), 1, "{all:#?}");
    assert!(all[0]["resolved_at"].is_string() && all[0]["status"] == "resolved", "{all:#?}");
}

#[test]
fn a_store_that_takes_nothing_and_the_degraded_backup_are_two() {
    let mut site = Site::new();
    let fault = site.fault("r2", Manners::Plain);
    for method in ["PUT", "POST"] {
        fault.rule(Rule::on(method, "").refuse(403, "AccessDenied"));
    }
    let id = site.pgkeep(["backup", "full"]).code(3).any_stdout().stderr_has("r2").run().id();
    assert_eq!(open_rules(&site), ["backup_degraded", "store_unreachable"]);
    let store = open(&site, "store_unreachable");
    assert_eq!((&store["store"], &store["severity"]), (&"r2".into(), &"warning".into()));
    assert_eq!(open(&site, "backup_degraded")["backup_id"], id.as_str());
    // A store that shows what it has need not take more.
    site.pgkeep(["alert", "check"]).code(1).stdout_has("PGKEEP WARNING").run();
    assert_eq!(open_rules(&site), ["backup_degraded", "store_unreachable"]);
    fault.heal();
    site.pgkeep(["backup", "full"]).any_stdout().run();
    assert_eq!(open_rules(&site), Vec::<String>::new());
}

/// What stops the run before any database's turn is known for each of them. Nothing is touched by then: it is on record
/// with the next call.
#[test]
fn what_could_not_begin_is_told_too() {
    let receiver = Receiver::start();
    let mut site = Site::new().local_only();
    site.config.channel("ops", &format!("kind = 'webhook'\nurl = '{}'", receiver.url("/ops")));
    let (key, away) = (site.path("pgkeep.key"), site.path("away"));
    fs::rename(&key, &away).unwrap();
    for _ in 0..2 {
        site.pgkeep(["backup", "full"]).code(2).stderr_has("pgkeep.key").run();
    }
    let (kind, alert) = told(&receiver.request().body);
    assert_eq!((kind.as_str(), &alert["database"]), ("alert.raised", &site.database.as_str().into()));
    assert!(alert["message"].as_str().unwrap().contains("no backup could be begun"), "{alert:#}");
    site.pgkeep(["list"]).any_stdout().run();
    assert_eq!(open(&site, "backup_failed")["count"], 2);
    fs::rename(&away, &key).unwrap();
    site.backup();
    assert_eq!(open_rules(&site), Vec::<String>::new());
    assert_eq!(receiver.requests().len(), 2);
}

/// A run that is killed says so; one that is stopped from the keyboard, or finds another at work, does not.
#[test]
fn signals_and_locks() {
    for (signal, rules) in [(Signal::TERM, vec!["backup_failed"]), (Signal::INT, vec![])] {
        let mut site = Site::new().local_only();
        let bin = FakeBin::held(&site.path(""));
        site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
        let running = site.pgkeep(["backup", "full"]).any_code().any_stderr().start();
        bin.wait_for_start();
        site.pgkeep(["backup", "full"]).code(6).stderr_has("another run").run();
        assert_eq!(open_rules(&site), Vec::<String>::new());
        running.signal(signal);
        running.finish();
        assert_eq!(open_rules(&site), rules, "{signal:?}");
        // Nor does a check that comes later make anything else of it.
        site.pgkeep(["alert", "check"]).code(2).any_stdout().run();
        assert_eq!(open_rules(&site).contains(&"backup_failed".to_owned()), !rules.is_empty(), "{signal:?}");
    }
}

#[test]
fn a_damaged_copy_is_an_alert_until_it_is_mended() {
    let site = Site::new();
    let id = site.backup();
    let path = site.row(&id)["local_path"].as_str().unwrap().to_owned();
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    site.pgkeep(["verify", &id]).code(4).any_stdout().stderr_has("corrupt").run();
    let alert = open(&site, "verification_failed");
    let about = ["store", "backup_id", "severity"].map(|key| alert[key].as_str().unwrap());
    assert_eq!(about, ["local", id.as_str(), "critical"], "{alert:#}");
    assert_eq!(open_rules(&site), ["backup_degraded", "verification_failed"]);
    // The next backup is well, and this one is not for that.
    site.backup();
    assert_eq!(open_rules(&site), ["verification_failed"]);
    site.pgkeep(["verify", &id, "--repair"]).any_stdout().any_stderr().run();
    assert_eq!(open_rules(&site), Vec::<String>::new());
}

#[test]
fn copies_that_stay_past_their_rules_are_an_alert() {
    let mut site = Site::new().local_only();
    for _ in 0..3 {
        site.backup();
    }
    site.config.set("retention.min_keep", 1);
    site.config.store("local").insert("keep".to_owned(), "1s".into());
    age(&site);
    let held = FakeBin::new(&site.path(""), "echo 'pg_dump: error: no' >&2; exit 1");
    site.config.set("source.pg_bin", held.folder.to_str().unwrap());
    site.pgkeep(["backup", "full"]).code(1).any_stderr().run();
    site.pgkeep(["prune"]).code(3).any_stdout().stderr_has("held").run();
    let alert = open(&site, "retention_held");
    assert_eq!(alert["database"], site.database.as_str(), "{alert:#}");
    site.pgkeep(["prune", "--even-if-failing", "--force"]).any_stdout().any_stderr().run();
    assert_eq!(open_rules(&site), ["backup_failed"]);
}

/// What a server says of a row must not leave with an alert.
#[test]
fn no_row_is_told() {
    let mut site = Site::new().local_only();
    let secret = "4111-1111-1111-1111";
    let says = format!(
        "printf 'pg_dump: error: query failed: ERROR:  invalid input syntax for type integer: \"{secret}\"\\n\
         DETAIL:  Key (card)=({secret}) is there.\\nCONTEXT:  COPY cards, line 1: \"{secret}\"\\n' >&2; exit 1"
    );
    let bin = FakeBin::new(&site.path(""), &says);
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    site.pgkeep(["backup", "full"]).code(1).stderr_has(secret).run();
    let alert = open(&site, "backup_failed");
    assert!(
        alert["message"].as_str().unwrap().contains("invalid input syntax for type integer"),
        "{alert:#}"
    );
    assert!(!alert.to_string().contains(secret), "{alert:#}");
    let said = site.pgkeep(["alert", "check"]).code(2).stdout_has("invalid input syntax").run().stdout;
    assert!(!said.contains(secret), "{said}");
}

/// A refused prune is not made good by one that looked at less.
#[test]
fn only_what_was_looked_at_is_well_again() {
    let mut site = Site::new().local_only();
    for _ in 0..4 {
        site.backup();
    }
    site.config.set("retention.min_keep", 1);
    site.config.store("local").insert("keep".to_owned(), "1s".into());
    age(&site);
    site.pgkeep(["prune"]).code(1).stderr_has("more than half").run();
    assert!(open(&site, "retention_held")["database"].is_null());
    site.config.set("retention.after_backup", true);
    let other = site.cluster.fresh_database();
    site.cluster.execute(&other, "CREATE TABLE a ()");
    site.pgkeep(["backup", "full", "--database", &other]).any_stdout().run();
    assert!(open(&site, "retention_held")["database"].is_null());
    site.pgkeep(["prune", "--force"]).any_stdout().any_stderr().run();
    assert_eq!(open_rules(&site), Vec::<String>::new());
}

/// What was wrong with a store that is none any more is over.
#[test]
fn a_store_that_was_taken_out_of_the_configuration() {
    let mut site = Site::new();
    let fault = site.fault("r2", Manners::Plain);
    for method in ["PUT", "POST"] {
        fault.rule(Rule::on(method, "").refuse(403, "AccessDenied"));
    }
    site.pgkeep(["backup", "full"]).code(3).any_stdout().stderr_has("r2").run();
    site.config.keep_stores(&["local", "b2"]);
    site.backup();
    assert_eq!(open_rules(&site), ["store_unreachable"]);
    site.pgkeep(["alert", "check"]).stdout_has("PGKEEP OK").run();
    assert_eq!(open_rules(&site), Vec::<String>::new());
}
