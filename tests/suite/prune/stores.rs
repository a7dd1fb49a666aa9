//! What stores do to a prune: versions that a plain delete only hides, locks, answers that are not true, uploads
//! that nobody finished, a store that is away.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{keep, site};
use crate::support::planted::Planted;
use crate::support::rule::Action;
use crate::support::{FaultServer, Manners, Rule, Site};

/// Copies go after ten days, of the stores with that one in front of which the fault server stands.
fn of_ten_days(store: &str, manners: Manners) -> (Site, FaultServer) {
    let mut site = site([("local", "\"10d\""), ("r2", "\"10d\""), ("b2", "\"10d\"")]);
    let fault = site.fault(store, manners);
    (site, fault)
}

fn items(planted: &Planted, arguments: &[&str]) -> Vec<Value> {
    let call = planted.site.pgkeep([&["prune", "--json"], arguments].concat());
    call.any_stdout().run().json()["copies"].as_array().unwrap().clone()
}

/// In a bucket that keeps versions every version goes, by its id.
#[test]
fn nothing_of_what_goes_stays_hidden_in_a_bucket_with_versions() {
    let (site, fault) = of_ten_days("b2", Manners::B2);
    site.b2.set_versions("Enabled");
    let planted = Planted::nights(site, [20, 12, 3, 2, 1]);
    let path = planted.site.copies(&planted.ids[0])["b2"]["path"].as_str().unwrap().to_owned();
    // An older version, as a repair or another tool may have left it.
    planted.site.b2.put(&path, &planted.site.b2.get(&path));
    assert_eq!(planted.site.b2.versions(&path).len(), 3);
    planted.site.pgkeep(["prune", "--quiet"]).run();
    assert_eq!(planted.shown_in("b2"), planted.from(2));
    for id in &planted.ids[..2] {
        let path = planted.site.copies(id)["b2"]["path"].as_str().unwrap().to_owned();
        assert_eq!(planted.site.b2.versions(&path), [""; 0]);
    }
    // The manifest first: what is half gone does not look whole.
    let removed: Vec<String> = fault
        .requests()
        .into_iter()
        .filter(|request| request.method == "DELETE")
        .map(|request| request.path().to_owned())
        .collect();
    for id in &planted.ids[..2] {
        let of_it: Vec<bool> = removed
            .iter()
            .filter(|path| path.contains(id.as_str()))
            .map(|path| path.ends_with(".json"))
            .collect();
        assert!(of_it.is_sorted_by(|one, next| one >= next) && of_it[0], "{of_it:?}");
    }
}

/// R2 refuses what a bucket lock rule holds, and does not say until when: that is in order.
#[test]
fn what_a_bucket_lock_rule_holds_is_held_and_no_failure() {
    let (site, fault) = of_ten_days("r2", Manners::r2());
    let planted = Planted::nights(site, [20, 3, 2, 1]);
    fault.rule(Rule::on("DELETE", "").refuse(409, "ObjectLockedByBucketPolicy"));
    let ran = planted.site.pgkeep(["prune"]).any_stdout().run();
    assert!(ran.stdout.contains("held") && ran.stdout.contains("a bucket lock rule"), "{}", ran.stdout);
    assert_eq!(planted.shown_in("r2"), planted.from(0));
    assert_eq!(planted.on_record_in("r2"), planted.from(0));
    assert_eq!(planted.shown_in("local"), planted.from(1));
    // By night it is as silent as ever.
    planted.site.backup();
    fault.heal();
    planted.site.pgkeep(["prune", "--quiet"]).run();
    assert_eq!(planted.shown_in("r2"), planted.from(1));
}

/// What is sent with a lock is shown with it, and a prune leaves it until then.
#[test]
fn object_lock_is_asked_for_shown_and_respected() {
    let mut site = site([("local", "\"forever\""), ("r2", "\"forever\""), ("b2", "{ last = 1 }")]);
    let locking = site.b2.server.locking_bucket();
    let lock = toml::Value::try_from(json!({ "mode": "governance", "days": 3 })).unwrap();
    let store = site.config.store("b2");
    store.insert("bucket".to_owned(), locking.name.clone().into());
    store.insert("object_lock".to_owned(), lock);
    site.config.set("retention.min_keep", 1);
    let ids: Vec<String> = (0..2).map(|_| site.backup()).collect();
    let copy = site.copies(&ids[0])["b2"].clone();
    let until: Timestamp = copy["locked_until"].as_str().unwrap().parse().unwrap();
    let begun: Timestamp = site.row(&ids[0])["created_at"].as_str().unwrap().parse().unwrap();
    let lasts = until.duration_since(begun);
    assert!(lasts > SignedDuration::from_hours(71) && lasts < SignedDuration::from_hours(73), "{lasts}");
    let path = copy["path"].as_str().unwrap();
    for key in [path.to_owned(), format!("{path}.json")] {
        let (mode, shown) = locking.lock(&key).unwrap();
        let later = shown.parse::<Timestamp>().unwrap().duration_since(until);
        // The manifest comes after the artifact, and stays as long.
        assert!(mode == "GOVERNANCE" && later > SignedDuration::from_secs(-1), "{key}: {shown}");
    }
    let listed = site.pgkeep(["list"]).any_stdout().run().stdout;
    let date = until.strftime("%Y-%m-%d").to_string();
    assert!(listed.contains(&format!("locked until {date}")), "{listed}");

    let said = site.pgkeep(["prune"]).any_stdout().run().stdout;
    assert!(said.contains(&ids[0]) && said.contains("held until"), "{said}");
    assert!(said.contains("0 of "), "{said}");
    // A record that knows of no lock does not help: the store does.
    site.cluster.execute(&site.catalog, "UPDATE pgkeep.copy SET locked_until = NULL");
    let said = site.pgkeep(["prune"]).any_stdout().run().stdout;
    assert!(said.contains("held until") && said.contains("object lock (governance)"), "{said}");
    assert_eq!(site.copies(&ids[0])["b2"]["state"], "verified");
    assert!(locking.keys().contains(&path.to_owned()));
    site.pgkeep(["verify", &ids[0], "--quiet"]).run();
}

/// A lock that is asked for where there is none is told, and no backup fails of it in silence.
#[test]
fn object_lock_without_a_bucket_that_has_it_is_told() {
    let mut site = Site::new();
    let lock = toml::Value::try_from(json!({ "mode": "compliance", "days": 3 })).unwrap();
    site.config.store("b2").insert("object_lock".to_owned(), lock);
    let ran = site.pgkeep(["backup", "full"]).code(3).any_stdout().stderr_has("`b2`").run();
    assert!(ran.stderr.to_lowercase().contains("object lock"), "{}", ran.stderr);
    site.config.store("local").insert("object_lock".to_owned(), true.into());
    site.pgkeep(["list"]).code(2).stderr_has("object_lock").run();
}

/// A store that says "removed" and keeps it: that is told, and tried again.
#[test]
fn what_is_still_there_is_reported_and_not_forgotten() {
    for is_listed_alone in [false, true] {
        let (site, fault) = of_ten_days("r2", Manners::r2());
        let planted = Planted::nights(site, [20, 3, 2, 1]);
        let gone = Action::answer(204, "text/plain", &[], "");
        fault.rule(Rule::on("DELETE", ".dump").does(gone));
        if is_listed_alone {
            // Asked for the object it says so too, and only its list tells the truth.
            fault.rule(Rule::on("HEAD", "0000.dump").refuse(404, "NotFound"));
        }
        let ran = planted.site.pgkeep(["prune"]).code(3).any_stdout().any_stderr().run();
        assert!(ran.stderr.contains("still"), "{}", ran.stderr);
        assert!(planted.shown_in("r2").contains(&planted.ids[0]));
        fault.heal();
        let again = planted.site.pgkeep(["prune"]).any_stdout().run();
        assert!(
            again.stdout.contains(&planted.ids[0]) && again.stdout.contains("removed"),
            "{}",
            again.stdout
        );
        assert_eq!(planted.shown_in("r2"), planted.from(1));
        assert_eq!(planted.site.copies(&planted.ids[0])["r2"]["state"], "expired");
        assert_eq!(planted.site.copies(&planted.ids[0])["r2"]["error"], Value::Null);
    }
}

/// A store that can't be looked at keeps what it has; the others are pruned.
#[test]
fn a_store_that_is_away_is_told_and_left() {
    let (site, fault) = of_ten_days("r2", Manners::r2());
    let planted = Planted::nights(site, [20, 3, 2, 1]);
    fault.go_down();
    planted.site.pgkeep(["prune"]).code(3).any_stdout().stderr_has("store `r2`: not looked at").run();
    assert_eq!((planted.shown_in("local"), planted.shown_in("b2")), (planted.from(1), planted.from(1)));
    assert_eq!(planted.shown_in("r2"), planted.from(0));
    planted.site.pgkeep(["prune", "--store", "r2"]).code(1).stderr_has("no store could be looked at").run();
}

/// Uploads that nobody finished go after a day, with a word; a younger one, and one of a run that lives, stay.
#[test]
fn uploads_that_nobody_finished_are_swept() {
    let (site, fault) = of_ten_days("b2", Manners::B2);
    let id = site.backup();
    let path = site.copies(&id)["b2"]["path"].as_str().unwrap().to_owned();
    let of = |salt: &str| path.replace(&id, &format!("{}{salt}", &id[..id.len() - 4]));
    let (old, young) = (of("0001"), of("0002"));
    let ids = [&old, &young].map(|key| site.b2.begin_upload(key));
    let now = Timestamp::now();
    let upload = |key: &str, id: &str, hours| {
        let begun = now - SignedDuration::from_hours(hours);
        format!("<Upload><Key>{key}</Key><UploadId>{id}</UploadId><Initiated>{begun}</Initiated></Upload>")
    };
    let listed = format!("{}{}", upload(&old, &ids[0], 25), upload(&young, &ids[1], 23));
    let list = format!(
        "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>{listed}</ListMultipartUploadsResult>"
    );
    fault.rule(Rule::on("GET", "uploads").does(Action::answer(200, "application/xml", &[], &list)));
    let planned = site.pgkeep(["prune", "--dry-run"]).any_stdout().run().stdout;
    assert!(
        planned.contains(&format!("b2: would go: {old}: an upload that was never finished")),
        "{planned}"
    );
    assert_eq!(site.b2.uploads().len(), 2);
    let said = site.pgkeep(["prune"]).any_stdout().run().stdout;
    assert!(said.contains(&format!("b2: removed: {old}")), "{said}");
    let left: Vec<String> = site.b2.uploads().into_iter().map(|upload| upload.key).collect();
    assert_eq!(left, [young]);
}

/// The plan tells of each copy what becomes of it and why.
#[test]
fn a_dry_run_gives_reasons() {
    let (mut site, _fault) = of_ten_days("r2", Manners::r2());
    site.config.store("r2").insert("keep".to_owned(), keep("{ daily = 2, weekly = 3 }"));
    let planted = Planted::nights(site, [400, 21, 14, 7]);
    let plan = items(&planted, &["--dry-run"]);
    assert_eq!(plan.len(), 15);
    for (store, place, action, reason) in [
        ("local", 0, "remove", "older than 10d"),
        ("local", 2, "keep", "min_keep: 2 of 3 verified ones are newer"),
        ("local", 3, "keep", "younger than 10d"),
        ("r2", 0, "remove", "beyond daily 2, weekly 3"),
        ("r2", 2, "keep", "weekly: the newest of "),
        ("r2", 3, "keep", "daily: the newest of "),
    ] {
        let is_it = |item: &&Value| item["store"] == store && item["id"] == planted.ids[place].as_str();
        let item = plan.iter().find(is_it).unwrap();
        let told = item["reason"].as_str().unwrap();
        assert!(item["action"] == action && told.starts_with(reason), "{store} {place}: {item:#}");
    }
    let table = planted.site.pgkeep(["prune", "--dry-run", "--store", "local"]).any_stdout().run().stdout;
    assert!(table.starts_with("STORE") && table.contains("PLAN"), "{table}");
    assert!(table.lines().count() == 7 && table.contains("2 of 5 copies would be removed"), "{table}");
}

/// A copy goes whole or not at all: what somebody has put a hold on alone keeps the manifest too.
#[test]
fn a_hold_on_the_artifact_alone_keeps_the_copy_whole() {
    let mut site = site([("local", "\"forever\""), ("r2", "\"forever\""), ("b2", "\"10d\"")]);
    site.b2 = site.b2.server.locking_bucket();
    site.config.store("b2").insert("bucket".to_owned(), site.b2.name.clone().into());
    let planted = Planted::nights(site, [20, 3, 2, 1]);
    let (site, id) = (&planted.site, &planted.ids[0]);
    let path = site.copies(id)["b2"]["path"].as_str().unwrap().to_owned();
    for held in [path.clone(), format!("{path}.json")] {
        site.b2.hold(&held, "ON");
        let said = site.pgkeep(["prune"]).any_stdout().run().stdout;
        assert!(said.contains(id) && said.contains("held by a legal hold"), "{said}");
        assert_eq!(planted.shown_in("b2"), planted.from(0), "{held}");
        assert_eq!(planted.on_record_in("b2"), planted.from(0));
        site.b2.hold(&held, "OFF");
    }
    site.pgkeep(["prune", "--quiet"]).run();
    assert_eq!(site.copies(id)["b2"]["state"], "expired");
    assert_eq!(site.b2.versions(&path), [""; 0]);
}

/// A key that may not list unfinished uploads keeps no copy from going, and what can't be swept is told.
#[test]
fn uploads_that_can_not_be_listed_keep_no_copy() {
    let (site, fault) = of_ten_days("b2", Manners::B2);
    let planted = Planted::nights(site, [20, 3, 2, 1]);
    fault.rule(Rule::on("GET", "uploads").refuse(403, "AccessDenied"));
    let said = planted.site.pgkeep(["prune"]).code(3).any_stdout().any_stderr().run().stderr;
    assert!(said.contains("store `b2`: what dead runs left is not looked for"), "{said}");
    assert_eq!(planted.shown_in("b2"), planted.from(1));
}

/// A backup that comes after a pause out of all proportion proves nothing yet, and that is said by day.
#[test]
fn a_long_pause_is_told() {
    let mut site = Site::new().local_only();
    site.config.store("local").insert("keep".to_owned(), keep("{ last = 3 }"));
    let planted = Planted::nights(site, 90..=94);
    let ran = planted.site.pgkeep(["prune"]).any_stdout().any_stderr().run();
    assert!(ran.stderr.contains("there is no backup between"), "{}", ran.stderr);
    assert!(!ran.stdout.contains(planted.ids.last().unwrap()), "{}", ran.stdout);
    // The three before the pause, and the one that is not believed.
    assert_eq!(planted.shown_in("local"), planted.from(2));
    planted
        .site
        .pgkeep(["prune", "--dry-run"])
        .stdout_has("after a pause out of all proportion")
        .any_stdout()
        .any_stderr()
        .run();
}
