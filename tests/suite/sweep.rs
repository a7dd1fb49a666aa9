//! `pgkeep verify --all`: every backup in turn, the one first whose check is the oldest, and what the catalog
//! does not know.

use std::fs;

use serde_json::Value;

use crate::support::Site;
use crate::support::tools::files_under;
use crate::verify::{bytes_of, spoil};

/// A site with so many backups; their ids, the oldest first.
fn site_with(count: usize) -> (Site, Vec<String>) {
    let site = Site::new();
    let ids = (0..count).map(|_| site.backup()).collect();
    (site, ids)
}

fn sweep(site: &Site, more: &[&str], code: i32) -> Value {
    let call = site.pgkeep([&["--json", "verify", "--all"], more].concat()).code(code).any_stdout();
    if code == 0 { call.run().json() } else { call.any_stderr().run().json() }
}

fn ids_of(document: &Value) -> Vec<String> {
    let backups = document["backups"].as_array().unwrap();
    backups.iter().map(|backup| backup["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_budget_of_bytes_covers_everything_in_turn() {
    let (site, ids) = site_with(3);
    let size = site.row(&ids[0])["size_bytes"].as_u64().unwrap();
    let two = (size * 7).to_string();
    let first = sweep(&site, &["--max-bytes", &two], 0);
    assert_eq!(ids_of(&first), ids[..2]);
    assert_eq!(first["left"], 1);
    let second = sweep(&site, &["--max-bytes", &two], 0);
    assert_eq!(ids_of(&second), [ids[2].clone(), ids[0].clone()]);
    // However small it is, each call gets one backup further.
    let third = sweep(&site, &["--max-bytes", "1"], 0);
    assert_eq!(ids_of(&third), [ids[1].clone()]);
    let copies = third["backups"][0]["copies"].as_array().unwrap();
    assert!(copies.iter().all(|copy| copy["verdict"] == "ok"), "{third:#}");
    let all = sweep(&site, &[], 0);
    assert_eq!((ids_of(&all).len(), &all["left"]), (3, &0.into()));
}

#[test]
fn a_budget_of_time_ends_after_a_backup() {
    let (site, ids) = site_with(2);
    let first = sweep(&site, &["--max-time", "1ms", "--level", "content"], 0);
    assert_eq!(ids_of(&first), ids[..1]);
    assert_eq!(first["backups"][0]["copies"][0]["verified_level"], "content");
    assert_eq!(ids_of(&sweep(&site, &["--max-time", "1ms"], 0)), ids[1..]);
    assert_eq!(ids_of(&sweep(&site, &["--max-time", "1h"], 0)).len(), 2);
}

#[test]
fn damage_of_one_backup_stops_no_other() {
    let (site, ids) = site_with(3);
    spoil(&site, &ids[0], "r2", None);
    spoil(&site, &ids[1], "local", Some(b"x"));
    let document = sweep(&site, &[], 4);
    assert_eq!(ids_of(&document), ids);
    assert_eq!(document["backups"][2]["status"], "verified");
    let ran = site.pgkeep(["--quiet", "verify", "--all"]).code(4).any_stderr().run();
    assert!(ran.stderr.contains(&ids[0]) && ran.stderr.contains(&ids[1]), "{}", ran.stderr);
    assert!(!ran.stderr.contains(&ids[2]), "{}", ran.stderr);
    site.pgkeep(["--quiet", "verify", "--all", "--repair"]).stderr_has("repaired").run();
    site.pgkeep(["--quiet", "verify", "--all"]).run();
    let text = site.pgkeep(["verify", "--all"]).any_stdout().run().stdout;
    assert!(text.contains("local ok, r2 ok, b2 ok") && text.contains("3 backups looked at"), "{text}");
}

#[test]
fn filters_choose_what_is_swept() {
    let (site, ids) = site_with(2);
    assert_eq!(ids_of(&sweep(&site, &["--database", "nothing"], 0)), Vec::<String>::new());
    assert_eq!(ids_of(&sweep(&site, &["--since", "1d", "--database", &site.database], 0)), ids);
    let document = sweep(&site, &["--store", "local"], 0);
    assert_eq!(document["backups"][0]["copies"][1]["verdict"], Value::Null, "{document:#}");
}

/// Nothing of it is removed: it is only said.
#[test]
fn what_the_catalog_does_not_know_is_found() {
    let (site, ids) = site_with(4);
    let path = |id: &str, store: &str| site.row(id)[format!("{store}_path")].as_str().unwrap().to_owned();
    let (lost, bare, alone, kept) = (&ids[0], &ids[1], &ids[2], &ids[3]);
    let (bytes, r2, b2) = (bytes_of(&site, bare, "local"), path(bare, "r2"), path(alone, "b2"));
    let (lost_path, alone_path) = (path(lost, "local"), path(alone, "local"));
    site.cluster.execute(&site.catalog, &format!("DELETE FROM pgkeep.backup WHERE id <> '{kept}'"));
    // An artifact without a manifest, and a manifest without an artifact.
    site.r2.delete(&format!("{r2}.json"));
    site.b2.delete(&b2);
    fs::remove_file(&alone_path).unwrap();
    let before = (files_under(&site.local()), site.r2.keys(), site.b2.keys());
    let document = sweep(&site, &[], 3);
    let strays = document["strays"].as_array().unwrap();
    let what = |store: &str, path: &str| {
        let stray = strays.iter().find(|stray| stray["store"] == store && stray["path"] == path);
        stray.unwrap_or_else(|| panic!("{path} in {store}: {document:#}"))["what"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert!(what("local", &lost_path).contains("no row"));
    assert!(what("r2", &r2).contains("without a manifest"));
    assert!(what("b2", &format!("{b2}.json")).contains("without an artifact"));
    assert!(what("local", &format!("{alone_path}.json")).contains("without an artifact"));
    assert!(!strays.iter().any(|stray| stray["path"].as_str().unwrap().contains(kept.as_str())));
    assert_eq!(strays.len(), 9, "{strays:#?}");
    assert_eq!((files_under(&site.local()), site.r2.keys(), site.b2.keys()), before);
    assert_eq!(bytes, fs::read(path_of(&before.0, bare)).unwrap());
    let said = site.pgkeep(["--quiet", "verify", "--all"]).code(3).any_stderr().run().stderr;
    assert!(said.contains(&lost_path) && said.contains(&r2) && said.contains(&b2), "{said}");
}

fn path_of(files: &[std::path::PathBuf], id: &str) -> std::path::PathBuf {
    let is_it = |path: &&std::path::PathBuf| path.to_string_lossy().ends_with(&format!("{id}.dump.gz.pgk"));
    files.iter().find(is_it).unwrap().clone()
}

/// What a run is making is no stray.
#[test]
fn a_run_that_is_at_work_is_no_stray() {
    let (mut site, _) = site_with(1);
    let fault = site.fault("b2", crate::support::Manners::Plain);
    // Local and r2 are published while b2 waits.
    fault.rule(crate::support::Rule::on("PUT", "partNumber=1").does(crate::support::rule::Action::Hang));
    let running = site.pgkeep(["backup", "full"]).any_code().any_stdout().any_stderr().start();
    crate::support::wait_until("a second artifact is in r2", || site.r2.keys().len() == 4);
    fault.heal();
    let document = sweep(&site, &["--store", "local", "--store", "r2"], 0);
    assert_eq!(document["strays"], Value::Array(Vec::new()), "{document:#}");
    running.signal(rustix::process::Signal::TERM);
    running.finish();
}

/// A store that is away is told of once, and costs no backup its good name.
#[test]
fn a_store_that_is_away_is_left_out_of_the_sweep() {
    let (mut site, ids) = site_with(3);
    let fault = site.fault("b2", crate::support::Manners::Plain);
    fault.go_down();
    let ran = site.pgkeep(["--json", "verify", "--all"]).code(3).any_stdout().any_stderr().run();
    assert_eq!(ran.stderr.matches("does not answer").count(), 1, "{}", ran.stderr);
    assert_eq!(ids_of(&ran.json()), ids);
    for backup in ran.json()["backups"].as_array().unwrap() {
        assert_eq!(backup["status"], "verified", "{backup:#}");
        assert_eq!(backup["copies"][2]["verdict"], Value::Null, "{backup:#}");
    }
    site.config.keep_stores(&["b2"]);
    site.pgkeep(["verify", "--all"]).code(1).stderr_has("does not answer").run();
}
