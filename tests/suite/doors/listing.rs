//! Whoever may write into a bucket, or a folder, may put any number of names there: listing them costs time, not memory.

use std::fs;

use super::crowd::{Crowd, Names};
use crate::memory::peak_of_code;
use crate::support::Site;

/// KiB that a listing may take: the debug build takes half of them with nothing in the store.
const MOST: u64 = 96 << 10;
const MIB: usize = 1 << 20;

/// As long as a name may be, and none of ours.
fn foreign(number: usize) -> String {
    let name = format!("pg/db1/crowd/junk-{number:08}");
    format!("{name:x<1024}")
}

/// Artifacts with their manifests, as far as names tell, in a folder whose name is long; older than any backup of a
/// test.
fn of_ours(number: usize) -> String {
    let (at, suffix) = (number / 2, ["", ".json"][number % 2]);
    let (day, minute, second) = (1 + at / 3600 % 28, at / 60 % 60, at % 60);
    let folder = "y".repeat(800);
    format!(
        "pg/db1/{folder}/full/full-crowd-202601{day:02}T00{minute:02}{second:02}Z-{at:04x}.dump.gz.pgk{suffix}"
    )
}

/// The same without manifests.
fn bare(number: usize) -> String {
    of_ours(2 * number)
}

/// A site whose bucket `r2` holds a backup and all of those names.
fn crowded(names: Names) -> (Site, String, Crowd) {
    let mut site = Site::new();
    site.config.keep_stores(&["r2"]);
    let id = site.backup();
    let crowd = Crowd::start(site.r2.server, names);
    site.set_endpoint("r2", &crowd.address);
    (site, id, crowd)
}

/// Each command that lists, with its exit code.
fn assert_lean(site: &Site, commands: &[(&[&str], i32)]) -> Vec<String> {
    let lean = |(arguments, code): &(&[&str], i32)| {
        let (stdout, peak) = peak_of_code(site, arguments, *code);
        assert!(peak < MOST, "{arguments:?} took {peak} KiB");
        stdout
    };
    commands.iter().map(lean).collect()
}

const LIST: &[&str] = &["list", "--from", "r2", "--limit", "1"];
const VERIFY: &[&str] = &["verify", "--all", "--level", "stat"];
const DRY_RUN: &[&str] = &["prune", "--dry-run"];

#[test]
fn names_that_are_none_of_ours_are_not_kept() {
    let (site, id, _crowd) = crowded(Names::new(60_000, foreign));
    let output = site.path("out");
    let restore = ["restore", &id, "--from", "r2", "--output", output.to_str().unwrap()];
    let commands: [(&[&str], i32); 8] = [
        (LIST, 0),
        (&restore, 0),
        (&["catalog", "rebuild", "--from", "r2"], 0),
        (DRY_RUN, 0),
        (&["prune"], 0),
        (VERIFY, 0),
        (&["alert", "check"], 0),
        (&["backup", "full"], 0),
    ];
    let told = assert_lean(&site, &commands);
    assert!(told[0].contains(&id), "{}", told[0]);
    assert!(told[2].starts_with("1 backup found, 0 new"), "{}", told[2]);
}

#[test]
fn names_as_ours_are_kept_in_part() {
    let (site, id, _crowd) = crowded(Names::new(120_000, of_ours));
    let told = assert_lean(&site, &[(LIST, 3), (VERIFY, 3), (DRY_RUN, 0), (&["alert", "check"], 0)]);
    assert!(told[0].contains(&id), "{}", told[0]);
    // All are counted, and the first of them named.
    let document = site.pgkeep([&["--json"], VERIFY].concat()).code(3).any_stdout();
    let document = document.stderr_has("59000 more").run().json();
    assert_eq!(document["strays"].as_array().unwrap().len(), 1000);
    assert_eq!(document["more_strays"], 59_000);
}

#[test]
fn artifacts_without_manifests_are_swept_some_at_a_time() {
    let (site, id, _crowd) = crowded(Names::new(60_000, bare));
    let told = assert_lean(&site, &[(LIST, 3), (VERIFY, 3), (DRY_RUN, 0), (&["alert", "check"], 0)]);
    assert!(told[0].contains(&id), "{}", told[0]);
    assert_eq!(told[2].matches("would go").count(), 1000);
    site.pgkeep(DRY_RUN).any_stdout().stderr_has("59000 more").run();
    site.pgkeep(LIST).code(3).any_stdout().stderr_has("59000 more that are no whole copies").run();
}

#[test]
fn uploads_without_number_are_swept_some_at_a_time() {
    let (site, _, _crowd) = crowded(Names { are_uploads: true, ..Names::new(90_000, bare) });
    let told = assert_lean(&site, &[(DRY_RUN, 0)]);
    assert_eq!(told[0].matches("an upload that was never finished").count(), 1000);
}

/// S3 has no such names.
#[test]
fn names_too_long_to_be_any_are_counted() {
    let name: fn(usize) -> String = |number| foreign(number) + &"x".repeat(MIB);
    let (site, id, _crowd) = crowded(Names { page: 7, ..Names::new(200, name) });
    let told = assert_lean(&site, &[(LIST, 0), (DRY_RUN, 0), (VERIFY, 0), (&["alert", "check"], 0)]);
    assert!(told[0].contains(&id), "{}", told[0]);
    let ran = site.pgkeep(LIST).any_stdout().any_stderr().run();
    assert_eq!(ran.stderr.matches("200 names of more than 1024 bytes").count(), 1, "{}", ran.stderr);
    assert!(ran.stderr.len() < 1000, "{}", ran.stderr.len());
}

/// A folder has no order of its own: what it holds is put in order, and not all of it at once.
#[test]
fn a_folder_of_any_number_of_files() {
    let mut site = Site::new();
    site.config.keep_stores(&["local"]);
    let id = site.backup();
    let path = site.row(&id)["local_path"].as_str().unwrap().to_owned();
    let folder = std::path::Path::new(&path).parent().unwrap().to_owned();
    for number in 0..40_000 {
        fs::File::create(folder.join(format!("junk-{number:x<240}"))).unwrap();
    }
    let list = ["list", "--from", "local"];
    let told = assert_lean(&site, &[(&list, 0), (DRY_RUN, 0), (VERIFY, 0), (&["alert", "check"], 0)]);
    assert!(told[0].contains(&id), "{}", told[0]);
}
