//! Retention in real stores: what goes is what the rules let go, what must stay stays, and a prune that was stopped
//! anywhere ends in the same state.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, SystemTime};

use pgkeep::name;
use pgkeep::testpoint::Step;
use rustix::process::Signal;
use serde_json::Value;
use toml::Table;

use crate::kills::held_at;
use crate::support::Site;
use crate::support::planted::Planted;

mod after_backup;
mod records;
mod stores;
mod together;
mod years;

fn keep(text: &str) -> toml::Value {
    let table: Table = format!("keep = {text}").parse().unwrap();
    table["keep"].clone()
}

fn site(rules: [(&str, &str); 3]) -> Site {
    let mut site = Site::new();
    for (store, rule) in rules {
        site.config.store(store).insert("keep".to_owned(), keep(rule));
    }
    site
}

/// A local store alone, whose copies go after ten days.
fn local_of_ten_days(ages_days: impl IntoIterator<Item = i64>) -> Planted {
    let mut site = Site::new().local_only();
    site.config.store("local").insert("keep".to_owned(), keep("\"10d\""));
    Planted::nights(site, ages_days)
}

fn plan_of(planted: &Planted) -> Vec<Value> {
    let plan = planted.site.pgkeep(["prune", "--dry-run", "--json"]).any_stdout().any_stderr().run().json();
    assert_eq!(plan["dry_run"], true);
    plan["copies"].as_array().unwrap().clone()
}

/// Each store has its own rules; the plan says what the prune then does, and the record says what was done.
#[test]
fn each_store_keeps_what_its_rules_say() {
    let counts = "{ daily = 7, weekly = 4, last = 2 }";
    let planted =
        Planted::nights(site([("local", "\"30d\""), ("r2", counts), ("b2", "\"forever\"")]), 1..=44);
    let all = planted.from(0);
    let plan = plan_of(&planted);
    assert_eq!(plan.len(), 3 * 45);
    for store in ["local", "r2", "b2"] {
        assert_eq!(planted.shown_in(store), all, "a dry run");
    }
    // More than half of the bucket: somebody has to mean it.
    let refused = planted.site.pgkeep(["prune"]).code(1).stderr_has("more than half of a store").run();
    assert!(refused.stderr.contains("of the 45 copies in `r2`") && refused.stderr.contains("--force"));
    assert_eq!(planted.shown_in("local"), all);
    planted.site.pgkeep(["prune", "--force", "--quiet"]).run();

    assert_eq!(planted.shown_in("local"), planted.from(45 - 30));
    assert_eq!(planted.shown_in("b2"), all);
    let of_plan = |store: &str| -> BTreeSet<String> {
        let stays = plan.iter().filter(|item| item["store"] == store && item["action"] == "keep");
        stays.map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    };
    let in_r2 = planted.shown_in("r2");
    for store in ["local", "r2", "b2"] {
        assert_eq!(planted.shown_in(store), of_plan(store), "{store}");
        assert_eq!(planted.on_record_in(store), of_plan(store), "{store}");
    }
    // Seven days, and the newest of each of four weeks, the current one among the seven days.
    assert!((9..=11).contains(&in_r2.len()) && planted.from(38).is_subset(&in_r2), "{in_r2:?}");
    let oldest = planted.site.row(&planted.ids[0]);
    assert_eq!((&oldest["local_path"], &oldest["status"]), (&Value::Null, &"verified".into()), "{oldest:#}");
    planted.site.pgkeep(["prune"]).stdout_has("0 of ").any_stdout().run();
}

/// A row whose copies are all gone stays, as expired.
#[test]
fn what_is_gone_everywhere_is_expired() {
    let planted = local_of_ten_days(1..=14);
    planted.site.pgkeep(["prune"]).stdout_has("5 of 15 copies removed").any_stdout().run();
    for (place, id) in planted.ids.iter().enumerate() {
        let row = planted.site.row(id);
        let status = if place < 5 { "expired" } else { "verified" };
        assert_eq!(row["status"], status, "{row:#}");
    }
    planted.site.pgkeep(["verify", &planted.ids[0]]).code(5).stderr_has("is expired").run();
    planted.site.pgkeep(["verify", "latest", "--quiet"]).run();
    let months: BTreeSet<_> = fs::read_dir(planted.site.local().join("db1"))
        .unwrap()
        .collect::<Result<Vec<_>, _>>()
        .unwrap()
        .into_iter()
        .map(|entry| entry.path())
        .collect();
    assert_eq!(months.len(), 1);
}

#[test]
fn nothing_goes_while_the_newest_run_failed() {
    let planted = local_of_ten_days(1..=14);
    let site = &planted.site;
    site.cluster.execute(
        &site.catalog,
        "INSERT INTO pgkeep.backup (id, backup_type, source, database, filename, status, created_at) \
         SELECT replace(id, right(id, 4), 'ffff'), backup_type, source, database, 'x', 'failed', now() \
         FROM pgkeep.backup ORDER BY created_at DESC LIMIT 1",
    );
    site.pgkeep(["prune"])
        .code(3)
        .stdout_has("0 of 15")
        .any_stdout()
        .stderr_has("the newest run failed")
        .run();
    assert_eq!(planted.shown_in("local"), planted.from(0));
    site.pgkeep(["prune", "--even-if-failing", "--quiet"]).run();
    assert_eq!(planted.shown_in("local"), planted.from(5));
}

#[test]
fn a_pinned_backup_stays_until_it_is_unpinned() {
    let planted = local_of_ten_days(1..=14);
    let (site, id) = (&planted.site, planted.ids[0].as_str());
    let list = || site.pgkeep(["list"]).any_stdout().run().stdout;
    assert!(!list().contains("PINNED"));
    site.pgkeep(["pin", id]).stdout(&format!("{id}: pinned for good\n")).run();
    site.pgkeep(["pin", &planted.ids[1], "--until", "2d"]).stdout_has("pinned until").run();
    let listed = list();
    let of = |id: &str| listed.lines().find(|line| line.starts_with(id)).unwrap().to_owned();
    assert!(listed.lines().next().unwrap().ends_with("PINNED"), "{listed}");
    assert!(of(id).ends_with("for good") && of(&planted.ids[1]).contains("until 20"), "{listed}");
    assert!(of(&planted.ids[2]).ends_with('-'), "{listed}");
    site.pgkeep(["prune", "--quiet"]).run();
    let mut stays = planted.from(5);
    stays.extend(planted.ids[..2].iter().cloned());
    assert_eq!(planted.shown_in("local"), stays);
    assert!(site.row(id)["pinned_at"].is_string());
    // What a check writes does not take the pin away.
    site.pgkeep(["verify", id, "--level", "stat"]).any_stdout().any_stderr().any_code().run();
    assert!(site.row(id)["pinned_at"].is_string());
    site.pgkeep(["unpin", id]).stdout(&format!("{id}: not pinned any more\n")).run();
    site.pgkeep(["prune", "--quiet"]).run();
    stays.remove(id);
    assert_eq!(planted.shown_in("local"), stays);
    site.pgkeep(["pin", id]).code(5).stderr_has("is expired").run();
    site.pgkeep(["pin", &planted.ids[9], "--until", "2020-01-01"])
        .code(2)
        .stderr_has("is over already")
        .run();
    site.pgkeep(["pin", "full-none"]).code(5).stderr_has("there is no backup").run();
}

/// What the record alone tells of lets nothing go: it must be in the store.
#[test]
fn copies_that_are_not_in_the_store_count_for_nothing() {
    let planted = local_of_ten_days([20, 19, 18, 17]);
    for id in &planted.ids[3..] {
        let path = planted.site.copies(id)["local"]["path"].as_str().unwrap().to_owned();
        fs::remove_file(path).unwrap();
    }
    let plan =
        planted.site.pgkeep(["prune", "--dry-run", "--json"]).code(3).any_stdout().any_stderr().run().json();
    assert!(plan["copies"].as_array().unwrap().iter().all(|item| item["action"] == "keep"), "{plan:#}");
    let said = planted.site.pgkeep(["prune"]).code(3).any_stdout().stderr_has("not whole in the store").run();
    assert!(said.stderr.contains(&planted.ids[4]), "{}", said.stderr);
    assert_eq!(planted.shown_in("local"), planted.ids[..3].iter().cloned().collect());
}

/// Killed at each step; what then looks whole is whole, and the next prune ends where one alone would have.
#[test]
fn killed_anywhere_it_ends_in_the_same_state() {
    let planted = local_of_ten_days(1..=70);
    let site = &planted.site;
    for (step, time) in [
        (Step::ManifestExpired, 1),
        (Step::ManifestExpired, 2),
        (Step::ArtifactExpired, 1),
        (Step::ArtifactExpired, 3),
        (Step::CopyMarkedExpired, 1),
        (Step::CopyMarkedExpired, 2),
    ] {
        let running = held_at(site.pgkeep(["prune", "--force"]), step, time).start();
        running.wait_for_stderr("stands still at");
        running.signal(Signal::KILL);
        running.await_death();
        let whole = planted.shown_in("local");
        assert!(planted.from(61).is_subset(&whole), "{step:?}");
        for id in planted.on_record_in("local").difference(&whole) {
            assert!(planted.ids[..61].contains(id), "{step:?}: {id} is on record and gone");
        }
    }
    site.pgkeep(["prune", "--force", "--quiet"]).run();
    assert_eq!(planted.shown_in("local"), planted.from(61));
    assert_eq!(planted.on_record_in("local"), planted.from(61));
}

fn age(path: &std::path::Path, hours: u64) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(hours * 3600)).unwrap();
}

/// Temporary files of more than a day and artifacts whose manifest has not come for two are swept, with a word; what
/// is younger, on record or no file of ours stays.
#[test]
fn what_no_longer_belongs_is_swept() {
    let site = Site::new().local_only();
    let id = site.backup();
    let artifact = site.copies(&id)["local"]["path"].as_str().unwrap().to_owned();
    let folder = std::path::Path::new(&artifact).parent().unwrap().to_owned();
    let other = |salt: &str| format!("{}{salt}.dump.gz.pgk", &id[..id.len() - 4]);
    let files = [
        (format!(".{}.abc123.part", other("0001")), 25, false),
        (format!(".{}.abc123.part", other("0002")), 23, true),
        (other("0003"), 49, false),
        (other("0004"), 47, true),
        ("notes.txt".to_owned(), 1000, true),
    ];
    for (file, hours, _) in &files {
        fs::write(folder.join(file), "x").unwrap();
        age(&folder.join(file), *hours);
    }
    // The manifest of a copy on record is lost: that is damage, to be mended.
    fs::remove_file(name::manifest_path(&artifact)).unwrap();
    age(std::path::Path::new(&artifact), 100);
    let said = site.pgkeep(["prune"]).code(3).any_stdout().any_stderr().run();
    for (file, _, stays) in &files {
        assert_eq!(folder.join(file).exists(), *stays, "{file}");
    }
    assert!(fs::exists(&artifact).unwrap());
    assert!(said.stdout.contains("an artifact without a manifest"), "{}", said.stdout);
    assert!(said.stdout.contains("an upload that was never finished"), "{}", said.stdout);
}
