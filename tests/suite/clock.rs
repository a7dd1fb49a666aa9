//! A clock that is put back, is years off, or shows another zone: names stay unique and in order, no time is
//! negative, and the local copy stands where the buckets refuse.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::tools::files_under;
use crate::support::{FakeBin, Pgkeep, Site};

/// Lets the call's clock be off by what stands in a file, in the words of libfaketime; time itself goes on as ever.
pub(crate) fn with_clock(call: Pgkeep, file: &PathBuf) -> Pgkeep {
    call.env("LD_PRELOAD", library())
        .env("FAKETIME_TIMESTAMP_FILE", file)
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("NO_FAKE_STAT", "1")
}

fn library() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").unwrap().flatten().map(|entry| entry.path());
    let mut found =
        folders.map(|folder| folder.join("faketime/libfaketime.so.1")).filter(|file| file.exists());
    found.next().expect("libfaketime is missing: run `bash tests/run.sh`, it installs it")
}

pub(crate) fn off_by(site: &Site, offset: &str) -> PathBuf {
    let file = site.path("clock");
    fs::write(&file, offset).unwrap();
    file
}

/// A backup with a clock that is off.
fn backup(site: &Site, offset: &str) -> String {
    let call = with_clock(site.pgkeep(["backup", "full"]), &off_by(site, offset));
    call.any_stdout().any_stderr().run().id()
}

fn time(row: &Value, column: &str) -> jiff::Timestamp {
    row[column].as_str().unwrap_or_else(|| panic!("no {column} in {row:#}")).parse().unwrap()
}

fn assert_sane(site: &Site, id: &str) {
    let row = site.row(id);
    assert_eq!(row["status"], "verified", "{row:#}");
    assert!(row["backup_duration_seconds"].as_f64().unwrap() >= 0.0, "{row:#}");
    assert!(time(&row, "finished_at") >= time(&row, "created_at"), "{row:#}");
    let stamp = time(&row, "created_at").strftime("%Y%m%dT%H%M%SZ").to_string();
    assert!(id.contains(&stamp), "{id} has not the stamp {stamp}");
    let path = row["local_path"].as_str().unwrap();
    assert!(path.contains(&time(&row, "created_at").strftime("/%Y/%m/").to_string()), "{path}");
    for copy in site.copies(id).values() {
        assert!(time(copy, "expires_at") > time(copy, "stored_at"), "{copy:#}");
    }
}

/// Between two runs it goes back an hour, and twice more: ids go on in the order of the runs, and `latest` is the
/// last one, by the catalog and by what a store holds.
#[test]
fn the_clock_goes_back_between_runs() {
    let mut site = Site::new().local_only();
    site.config.store("local").insert("keep".to_owned(), "30d".into());
    let ids = ["+0", "-1h", "-2h", "-1h"].map(|offset| backup(&site, offset));
    let mut sorted = ids.clone();
    sorted.sort();
    assert_eq!(ids, sorted);
    for id in &ids {
        assert_sane(&site, id);
    }
    assert_eq!(files_under(&site.local()).len(), 8);
    let newest = |arguments: &[&str]| {
        let call = with_clock(site.pgkeep(arguments), &off_by(&site, "-1h"));
        call.any_stdout().any_stderr().run().json()
    };
    assert_eq!(newest(&["--json", "verify", "latest"])["id"], ids[3].as_str());
    assert_eq!(newest(&["--json", "list"])[0]["id"], ids[3].as_str());
    assert_eq!(newest(&["--json", "list", "--from", "local"])[0]["id"], ids[3].as_str());
    // Whoever reads cron's mail hears of it.
    let call = with_clock(site.pgkeep(["backup", "full"]), &off_by(&site, "-1h"));
    call.any_stdout().stderr_has("the clock went back").run();
    // Once it has caught up there is nothing to say.
    let later = with_clock(site.pgkeep(["backup", "full"]), &off_by(&site, "+1h")).any_stdout().run().id();
    assert_sane(&site, &later);
}

/// It goes back while a dump is under way: nothing takes less than no time.
#[test]
fn the_clock_goes_back_during_a_run() {
    let mut site = Site::new().with_own_catalog();
    site.config.store("local").insert("keep".to_owned(), "30d".into());
    site.config.store("r2").insert("keep".to_owned(), "365d".into());
    site.config.store("b2").insert("keep".to_owned(), "365d".into());
    let bin = FakeBin::held(&site.path(""));
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    // Servers refuse requests that are a quarter of an hour off.
    let clock = off_by(&site, "+10m");
    let running = with_clock(site.pgkeep(["backup", "full"]), &clock).any_stdout().start();
    bin.wait_for_start();
    off_by(&site, "-5m");
    bin.release();
    let id = running.finish().id();
    assert_sane(&site, &id);
    site.assert_copies(&id, &["local", "r2", "b2"]);
    site.pgkeep(["catalog", "rebuild", "--from", "local"]).any_stdout().any_stderr().run();
    // The record of a catalog that is lost comes from the manifest.
    site.cluster.execute(&site.catalog, "DROP SCHEMA pgkeep CASCADE");
    site.pgkeep(["catalog", "rebuild", "--from", "local"]).any_stdout().any_stderr().run();
    assert!(site.row(&id)["backup_duration_seconds"].as_f64().unwrap() >= 0.0);
}

/// Years off: the buckets say what is wrong with the clock, the local copy stands, and whoever looks is told that one
/// of the times on record is wrong.
#[test]
fn a_clock_that_is_years_off() {
    let site = Site::new();
    for offset in ["-20y", "+20y"] {
        let call = with_clock(site.pgkeep(["backup", "full"]), &off_by(&site, offset)).code(3).any_stdout();
        let call = call.stderr_has("store `r2`").stderr_has("store `b2`").stderr_has("clock");
        let id = call.run().id();
        site.assert_copies(&id, &["local"]);
        assert!(time(&site.row(&id), "finished_at") >= time(&site.row(&id), "created_at"));
    }
    let call = site.pgkeep(["backup", "full"]).any_stdout().stderr_has("one of them is wrong");
    let id = call.run().id();
    site.assert_copies(&id, &["local", "r2", "b2"]);
}

/// All times are UTC, whatever the zone of whoever calls; the night on which the clocks change is like any other.
#[test]
fn zones_and_the_turn_of_the_year() {
    let mut site = Site::new().local_only();
    site.config.store("local").insert("keep".to_owned(), "30d".into());
    for (zone, at) in [
        ("Europe/Berlin", "2026-03-29T00:59:58Z"),
        ("Europe/Berlin", "2026-10-25T00:59:58Z"),
        ("Pacific/Kiritimati", "2026-12-31T23:59:00Z"),
        ("Pacific/Marquesas", "2027-01-01T00:00:10Z"),
        ("Nowhere/Else", "2028-02-29T12:00:10Z"),
    ] {
        let at: jiff::Timestamp = at.parse().unwrap();
        let clock = off_by(&site, &format!("@{}", at.as_second()));
        let call = with_clock(site.pgkeep(["backup", "full"]), &clock).env("FAKETIME_FMT", "%s");
        let id = call.env("TZ", format!(":{zone}")).any_stdout().any_stderr().run().id();
        assert_sane(&site, &id);
        let row = site.row(&id);
        let late = time(&row, "created_at").duration_since(at).as_secs();
        assert!((0..60).contains(&late), "{zone}: {late} s after {at}: {row:#}");
    }
}

/// A heartbeat is as old as the clock says that stamped it: a host whose clock is off neither buries a run that lives
/// nor lets a dead one pass for living.
#[test]
fn heartbeats_go_by_the_catalogs_clock() {
    let site = Site::new().local_only().with_own_catalog();
    site.pgkeep(["list"]).any_stdout().run();
    let insert = |number: u32, beat: &str| {
        let id = format!("full-{}-20260101T000000Z-{number:04x}", site.database);
        site.cluster.execute(
            &site.catalog,
            &format!(
                "INSERT INTO pgkeep.backup (id, backup_type, source, database, filename, status, created_at, \
                 heartbeat_at) VALUES ('{id}', 'full', 'db1', '{}', 'f', 'in_progress', '2026-01-01', {beat})",
                site.database
            ),
        );
        id
    };
    for (at, offset) in ["-5m", "+5m"].iter().enumerate() {
        let number = u32::try_from(at).unwrap() * 16;
        let fresh = insert(number, "now()");
        let dead =
            [insert(number + 1, "now() - interval '5 min'"), insert(number + 2, "now() + interval '1 year'")];
        let call = with_clock(site.pgkeep(["backup", "full"]), &off_by(&site, offset)).any_stdout();
        call.stderr_has(&fresh).run();
        assert_eq!(site.row(&fresh)["status"], "in_progress", "{offset}");
        for id in dead {
            assert_eq!(site.row(&id)["status"], "failed", "{offset}: {id}");
        }
        site.cluster.execute(&site.catalog, &format!("DELETE FROM pgkeep.backup WHERE id = '{fresh}'"));
    }
}
