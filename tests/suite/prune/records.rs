//! Records and stores that do not fit: paths that lead elsewhere, disks that are not there, stores that fail again
//! and again, names that nothing is known of.

use std::fs;

use jiff::{SignedDuration, Timestamp};
use pgkeep::testpoint::Step;
use rustix::process::Signal;
use serde_json::Value;

use super::{keep, local_of_ten_days, site};
use crate::kills::held_at;
use crate::support::planted::Planted;
use crate::support::rule::Action;
use crate::support::{Manners, Rule};

/// A record that names another backup's artifact, or what is none at all, takes nothing with it.
#[test]
fn a_path_that_leads_elsewhere_is_left_alone() {
    let planted = Planted::nights(
        site([("local", "\"10d\""), ("r2", "\"10d\""), ("b2", "\"10d\"")]),
        [21, 20, 19, 18, 3, 2, 1],
    );
    let (site, ids) = (&planted.site, &planted.ids);
    let newest = site.copies(ids.last().unwrap());
    site.r2.put("other/precious.dat", b"of somebody else");
    let set = |id: &str, store: &str, path: &str| {
        site.cluster.execute(
            &site.catalog,
            &format!("UPDATE pgkeep.copy SET path = '{path}' WHERE backup = '{id}' AND store = '{store}'"),
        );
    };
    set(&ids[0], "local", newest["local"]["path"].as_str().unwrap());
    set(&ids[0], "r2", "other/precious.dat");
    set(&ids[0], "b2", &newest["b2"]["path"].as_str().unwrap().replace("/db1/", "/db2/"));
    let ran = site.pgkeep(["prune"]).code(3).any_stdout().any_stderr().run();
    for store in ["local", "r2", "b2"] {
        assert!(
            ran.stderr.contains(&format!("store `{store}`: 1 copy is on record under a path")),
            "{}",
            ran.stderr
        );
        let mut stays = planted.from(4);
        stays.insert(ids[0].clone());
        assert_eq!(planted.shown_in(store), stays, "{store}");
        assert_eq!(site.copies(&ids[0])[store]["state"], "verified");
    }
    assert_eq!(site.r2.get("other/precious.dat"), b"of somebody else");
    site.pgkeep(["verify", ids.last().unwrap(), "--quiet"]).run();
}

/// The disk with the copies is not mounted: what is not seen is not taken for removed.
#[test]
fn what_an_absent_disk_holds_stays_on_record() {
    let mut planted = local_of_ten_days([30, 29, 28, 27, 5, 4]);
    planted.site.config.set("retention.after_backup", false);
    let (local, away) = (planted.site.local(), planted.site.path("unmounted"));
    fs::rename(&local, &away).unwrap();
    fs::create_dir(&local).unwrap();
    for _ in 0..3 {
        planted.ids.push(planted.site.backup());
    }
    for force in [&["prune"][..], &["prune", "--force"]] {
        let ran = planted.site.pgkeep(force).code(3).any_stdout().any_stderr().run();
        assert!(ran.stderr.contains("3 copies are on record, and not whole in the store"), "{}", ran.stderr);
        assert!(ran.stdout.contains("0 of 10 copies removed"), "{}", ran.stdout);
        assert_eq!(planted.on_record_in("local"), planted.from(0));
    }
    // Mounted again, with what was written beside it put there too.
    let under = planted.site.path("under");
    fs::rename(&local, &under).unwrap();
    fs::rename(&away, &local).unwrap();
    for file in crate::support::tools::files_under(&under) {
        let place = local.join(file.strip_prefix(&under).unwrap());
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::rename(&file, &place).unwrap();
    }
    planted.site.pgkeep(["prune", "--quiet"]).run();
    assert_eq!(planted.shown_in("local"), planted.from(4));
}

/// What is on record as removed and stands there whole is kept or removed by the rules, pins among them.
#[test]
fn what_is_there_against_the_record_is_under_the_rules() {
    let planted = local_of_ten_days([30, 29, 28, 27, 3, 2, 1]);
    let (site, ids) = (&planted.site, &planted.ids);
    site.pgkeep(["pin", &ids[0]]).any_stdout().run();
    // Of two only a half is left: a removal that broke off.
    let path = |id: &str| site.copies(id)["local"]["path"].as_str().unwrap().to_owned();
    let halves = [path(&ids[2]), format!("{}.json", path(&ids[3]))];
    fs::remove_file(format!("{}.json", halves[0])).unwrap();
    fs::remove_file(path(&ids[3])).unwrap();
    for id in [&ids[0], &ids[1], &ids[2], &ids[3], &ids[6]] {
        site.cluster.execute(
            &site.catalog,
            &format!("UPDATE pgkeep.copy SET state = 'expired' WHERE backup = '{id}'"),
        );
    }
    site.pgkeep(["prune", "--quiet"]).run();
    let mut stays = planted.from(4);
    stays.insert(ids[0].clone());
    assert_eq!(planted.shown_in("local"), stays);
    assert!(!halves.iter().any(|half| fs::exists(half).unwrap()), "{halves:?}");
}

/// A store that refuses everything is not asked for hours, and says it once.
#[test]
fn a_store_that_fails_again_and_again_is_left() {
    let mut site = site([("local", "\"forever\""), ("r2", "{ last = 5 }"), ("b2", "\"forever\"")]);
    let fault = site.fault("r2", Manners::r2());
    let planted = Planted::nights(site, 1..=40);
    fault.rule(Rule::on("DELETE", "").refuse(403, "AccessDenied"));
    let ran = planted.site.pgkeep(["prune", "--force", "--json"]).code(3).any_stdout().any_stderr().run();
    assert!(ran.stderr.contains("the store failed 8 times in a row"), "{}", ran.stderr);
    assert!(ran.stderr.lines().count() < 12, "{}", ran.stderr);
    assert_eq!(fault.count("DELETE", ""), 8);
    let outcomes = |word: &str| {
        let copies = ran.json()["copies"].as_array().unwrap().clone();
        copies.iter().filter(|item| item["outcome"] == word).count()
    };
    assert_eq!((outcomes("failed"), outcomes("left"), outcomes("removed")), (8, 28, 0));
    assert_eq!(planted.shown_in("r2"), planted.from(0));
}

#[test]
fn names_that_nothing_is_known_of_are_told() {
    let mut planted = local_of_ten_days([2, 1]);
    let site = &planted.site;
    site.pgkeep(["prune", "--database", "nosuch"]).code(5).stderr_has("there is no backup of `nosuch`").run();
    site.pgkeep(["prune", "--database", ""]).code(2).stderr_has("`--database` needs a name").run();
    site.pgkeep(["prune", "--store", "nosuch"]).code(2).stderr_has("nosuch").run();
    // What is refused is told as a document too.
    planted.site.config.store("local").insert("keep".to_owned(), keep("\"1s\""));
    planted.site.config.set("retention.min_keep", 1);
    let ran =
        planted.site.pgkeep(["prune", "--json"]).code(1).any_stdout().stderr_has("more than half").run();
    let first = &ran.json()["copies"][1];
    assert_eq!((&first["action"], &first["outcome"]), (&Value::from("remove"), &Value::from("left")));
}

/// An artifact that lost its manifest, beside what a dead upload left: the record tells of it, so it is to be mended.
#[test]
fn an_artifact_on_record_is_not_swept_as_an_upload() {
    let mut site = site([("local", "\"10d\""), ("r2", "\"10d\""), ("b2", "\"10d\"")]);
    let fault = site.fault("r2", Manners::r2());
    site.config.set("retention.after_backup", false);
    let id = site.backup();
    let path = site.copies(&id)["r2"]["path"].as_str().unwrap().to_owned();
    let segment = format!("{path}.segment-2");
    site.r2.delete(&format!("{path}.json"));
    site.r2.put(&segment, b"of a dead upload");
    let written = Timestamp::now() - SignedDuration::from_hours(72);
    let object = |key: &str, size: usize| {
        format!(
            "<Contents><Key>{key}</Key><LastModified>{written}</LastModified><Size>{size}</Size></Contents>"
        )
    };
    let list = format!(
        "<ListBucketResult><IsTruncated>false</IsTruncated>{}{}</ListBucketResult>",
        object(&path, site.r2.get(&path).len()),
        object(&segment, 16)
    );
    fault.rule(Rule::on("GET", "list-type").does(Action::answer(200, "application/xml", &[], &list)));
    let ran = site.pgkeep(["prune"]).code(3).any_stdout().any_stderr().run();
    assert!(ran.stdout.contains(&format!("r2: removed: {path}: an upload")), "{}", ran.stdout);
    assert_eq!(site.r2.keys(), [path]);
    site.pgkeep(["verify", &id, "--repair", "--quiet"]).any_stderr().run();
}

/// The upload of a repair that lives is not swept, however old the store calls it.
#[test]
fn the_upload_of_a_repair_is_left() {
    let mut site = site([("local", "\"10d\""), ("r2", "\"10d\""), ("b2", "\"10d\"")]);
    let fault = site.fault("r2", Manners::Plain);
    site.config.set("retention.after_backup", false);
    let id = site.backup();
    let path = site.copies(&id)["r2"]["path"].as_str().unwrap().to_owned();
    site.r2.put(&path, b"damaged");
    let repair = held_at(site.pgkeep(["verify", &id, "--repair"]), Step::RepairBegun, 1);
    let repair = repair.any_stdout().any_stderr().any_code().start();
    repair.wait_for_stderr("stands still at");
    let upload = site.r2.begin_upload(&path);
    let begun = Timestamp::now() - SignedDuration::from_hours(72);
    let list = format!(
        "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated><Upload><Key>{path}</Key>\
         <UploadId>{upload}</UploadId><Initiated>{begun}</Initiated></Upload></ListMultipartUploadsResult>"
    );
    fault.rule(Rule::on("GET", "uploads").does(Action::answer(200, "application/xml", &[], &list)));
    site.pgkeep(["prune"]).any_code().any_stdout().any_stderr().run();
    assert_eq!(site.r2.uploads().len(), 1);
    repair.signal(Signal::KILL);
    repair.await_death();
    crate::support::wait_until("it is swept", || {
        site.pgkeep(["prune"]).any_code().any_stdout().any_stderr().run();
        site.r2.uploads().is_empty()
    });
}
