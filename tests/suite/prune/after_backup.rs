//! The prune that follows a backup: of the databases that succeeded alone, and never the backup's undoing.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{keep, local_of_ten_days, site};
use crate::support::planted::{Night, Planted, Template};
use crate::support::{Manners, Rule};

/// What a night's backup leaves: in silence, and not at all where the configuration says so.
#[test]
fn a_backup_removes_what_the_rules_let_go() {
    let mut planted = local_of_ten_days(1..=14);
    planted.site.config.set("retention.after_backup", false);
    planted.ids.push(planted.site.backup());
    assert_eq!(planted.shown_in("local"), planted.from(0));
    planted.site.config.set("retention.after_backup", true);
    let ran = planted.site.pgkeep(["backup", "full", "--json"]).any_stdout().run();
    planted.ids.push(ran.json()["id"].as_str().unwrap().to_owned());
    assert_eq!(planted.shown_in("local"), planted.from(5));
    assert_eq!(planted.on_record_in("local"), planted.from(5));
    assert_eq!(planted.site.row(&planted.ids[0])["status"], "expired");
}

/// One of two databases fails, and keeps all it has.
#[test]
fn only_databases_that_succeeded_are_pruned() {
    let mut planted = local_of_ten_days(1..=14);
    let real = planted.ids.last().unwrap().clone();
    let template = Template::of(&planted.site, &real);
    let now: Timestamp = planted.site.row(&real)["created_at"].as_str().unwrap().parse().unwrap();
    let gone = crate::support::cluster::unique("gone");
    let of_gone: BTreeSet<String> = (0..15u16)
        .map(|age| {
            let at = now - SignedDuration::from_hours(24 * i64::from(age));
            template.plant(&planted.site, &gone, at, age, Night::Whole)
        })
        .collect();
    let names = vec![planted.site.database.clone(), gone.clone()];
    planted.site.config.set("source.databases", names);
    let ran = planted.site.pgkeep(["backup", "full"]).code(1).any_stdout().stderr_has(&gone).run();
    assert!(!ran.stderr.contains("held"), "{}", ran.stderr);
    let mut kept = planted.from(5);
    kept.extend(of_gone.iter().cloned());
    planted.ids.extend(of_gone.iter().cloned());
    assert_eq!(planted.shown_in("local"), kept);
}

/// A backup that lacks a store lets nothing go, in no store.
#[test]
fn a_degraded_backup_is_no_reason_to_prune() {
    let mut site = site([("local", "\"10d\""), ("r2", "\"10d\""), ("b2", "\"10d\"")]);
    let fault = site.fault("b2", Manners::B2);
    let planted = Planted::nights(site, 1..=14);
    fault.go_down();
    planted.site.pgkeep(["backup", "full"]).code(3).any_stdout().stderr_has("`b2`").run();
    fault.heal();
    for store in ["local", "r2", "b2"] {
        assert_eq!(planted.shown_in(store), planted.from(0), "{store}");
    }
}

/// What a store refuses degrades the run; the backup stands, and the next run takes up what is left.
#[test]
fn a_prune_that_fails_degrades_the_run_and_not_the_backup() {
    let mut site = site([("local", "\"10d\""), ("r2", "\"10d\""), ("b2", "\"10d\"")]);
    let fault = site.fault("r2", Manners::r2());
    let mut planted = Planted::nights(site, 1..=14);
    fault.rule(Rule::on("DELETE", "").refuse(403, "AccessDenied"));
    let ran = planted.site.pgkeep(["backup", "full"]).code(3).any_stdout().stderr_has("AccessDenied").run();
    planted.ids.push(ran.id());
    assert!(ran.stderr.contains("store `r2`") && ran.stderr.contains("removal of object"), "{}", ran.stderr);
    assert_eq!(planted.site.row(&ran.id())["status"], "verified");
    assert_eq!(planted.shown_in("r2"), planted.from(0));
    assert_eq!(planted.on_record_in("r2"), planted.from(0));
    assert_eq!(planted.shown_in("local"), planted.from(5));
    fault.heal();
    planted.ids.push(planted.site.backup());
    assert_eq!(planted.shown_in("r2"), planted.from(5));
}

/// A slip in the configuration does not take half of a store by night.
#[test]
fn more_than_half_of_a_store_stays_and_the_run_is_degraded() {
    let mut planted = local_of_ten_days(1..=14);
    planted.site.config.store("local").insert("keep".to_owned(), keep("\"4d\""));
    let ran = planted.site.pgkeep(["backup", "full"]).code(3).any_stdout().stderr_has("more than half").run();
    planted.ids.push(ran.id());
    assert!(ran.stderr.contains("the backup stands"), "{}", ran.stderr);
    assert_eq!(planted.site.row(&ran.id())["status"], "verified");
    assert_eq!(planted.shown_in("local"), planted.from(0));
}

/// The rows tell when each copy may go, so that what asks the catalog knows it too.
#[test]
fn the_record_says_when_a_copy_may_go() {
    let mut planted = local_of_ten_days([1]);
    let expiry = |planted: &Planted| {
        let row = planted.site.row(&planted.ids[0]);
        let at = |value: &Value| value.as_str().map(|text| text.parse::<Timestamp>().unwrap());
        at(&planted.site.copies(&planted.ids[0])["local"]["expires_at"])
            .map(|until| until.duration_since(at(&row["created_at"]).unwrap()))
    };
    planted.site.backup();
    assert_eq!(expiry(&planted), Some(SignedDuration::from_hours(240)));
    planted.site.config.store("local").insert("keep".to_owned(), keep("{ last = 5 }"));
    planted.site.backup();
    assert_eq!(expiry(&planted), None);
}

/// Where nothing is verified nothing goes, and a disk fills: that is told by night too.
#[test]
fn nothing_verified_is_told() {
    let mut site = crate::support::Site::new().local_only();
    site.config.set("verify.after_backup", "none");
    for _ in 0..3 {
        site.backup();
    }
    let ran = site.pgkeep(["backup", "full"]).any_stdout().stderr_has("none of the 4 copies of").run();
    assert!(ran.stderr.contains("pgkeep verify --all"), "{}", ran.stderr);
    site.pgkeep(["verify", "--all", "--quiet"]).run();
    site.backup();
}

/// Copies under another `prefix` than the one of now are no reason to wake somebody every night.
#[test]
fn a_changed_prefix_is_told_by_day() {
    let mut site = site([("local", "\"10d\""), ("r2", "\"10d\""), ("b2", "\"10d\"")]);
    site.backup();
    site.config.store("r2").insert("prefix".to_owned(), "elsewhere".into());
    site.backup();
    let said = site.pgkeep(["prune"]).code(3).any_stdout().any_stderr().run().stderr;
    assert!(
        said.contains("under a path where this store keeps no copy") && said.contains("move them"),
        "{said}"
    );
}
