//! `pgkeep alert check`: what a catalog and stores look like when they are not as they should be, and what is said then.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::tools::files_under;
use crate::support::{Gate, Pgkeep, Site};

mod config;
mod metrics;
mod places;
mod runs;
mod words;

/// A check that ends with that code.
fn check(site: &Site, code: i32) -> Pgkeep {
    site.pgkeep(["alert", "check"]).code(code)
}

/// The document of a check that ends with that code.
fn seen(site: &Site, code: i32) -> Value {
    let document = check(site, code).args(["--json"]).any_stdout().run().json();
    assert_eq!(document["code"], code, "{document:#}");
    document
}

/// The severity of the trouble with a rule in a store, or "well", or "" where nothing is said of it.
fn verdict(document: &Value, rule: &str, store: Option<&str>) -> String {
    let all = document["observations"].as_array().unwrap();
    let is_it = |it: &&Value| it["subject"]["rule"] == rule && it["subject"]["store"].as_str() == store;
    let mut found = all.iter().filter(is_it);
    let Some(one) = found.next() else { return String::new() };
    assert!(found.next().is_none(), "{rule} is said twice: {document:#}");
    one["trouble"]["severity"].as_str().unwrap_or("well").to_owned()
}

fn assert_verdicts(document: &Value, wanted: &[(&str, Option<&str>, &str)]) {
    for (rule, store, verdict) in wanted {
        assert_eq!(self::verdict(document, rule, *store), *verdict, "{rule} in {store:?}: {document:#}");
    }
}

/// Lets what is on record have begun that many hours before it did.
fn age_rows(site: &Site, hours: u32) {
    let aged = format!("UPDATE pgkeep.backup SET created_at = created_at - interval '{hours} hours'");
    site.cluster.execute(&site.catalog, &aged);
}

/// Puts a gate before the catalog, and shuts it.
fn lose_catalog(site: &mut Site) -> Gate {
    let gate = Gate::open_to(site.cluster.port);
    site.config.set("catalog.url", site.cluster.url_through(gate.port, &site.catalog));
    gate.shut();
    gate
}

fn empty(folder: &Path) {
    for file in files_under(folder) {
        fs::remove_file(file).unwrap();
    }
}

#[test]
fn all_is_well() {
    let site = Site::new();
    site.backup();
    let line = check(&site, 0).any_stdout().run().stdout;
    let name = &site.database;
    assert!(line.starts_with(&format!("PGKEEP OK - {name}: ")), "{line}");
    assert!(line.contains(" old, 3 copies | 'age_") && line.contains("s;;93600;0 "), "{line}");
    assert!(line.contains(&format!("'copies_{name}'=3 'alerts_open'=0")), "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
    check(&site, 0).args(["--quiet"]).run();
    let document = seen(&site, 0);
    for one in document["observations"].as_array().unwrap() {
        assert!(one["trouble"].is_null(), "{one:#}");
    }
    for rule in ["no_good_backup", "backup_degraded", "catalog_unreachable", "key_missing"] {
        assert_eq!(verdict(&document, rule, None), "well", "{rule}");
    }
    for store in ["local", "r2", "b2"] {
        assert_verdicts(
            &document,
            &[
                ("store_unreachable", Some(store), "well"),
                ("copy_missing", Some(store), "well"),
                ("verification_failed", Some(store), "well"),
            ],
        );
    }
}

#[test]
fn an_emptied_bucket_is_critical_whatever_the_catalog_says() {
    let site = Site::new();
    let id = site.backup();
    for key in site.r2.keys() {
        site.r2.delete(&key);
    }
    let told = format!("`r2` lacks 1 copy of `{}` that should be there: that of `{id}`", site.database);
    check(&site, 2).stdout_has("PGKEEP CRITICAL - ").stdout_has(&told).run();
    let wanted = [
        ("copy_missing", Some("r2"), "critical"),
        ("copy_missing", Some("b2"), "well"),
        ("store_unreachable", Some("r2"), "well"),
        ("no_good_backup", None, "well"),
    ];
    assert_verdicts(&seen(&site, 2), &wanted);
}

/// One copy that is gone, or not as long as it was, in the only store there is: then there is nothing good either.
#[test]
fn a_copy_that_is_gone_or_cut() {
    let site = Site::new().local_only();
    let id = site.backup();
    let artifact = site.row(&id)["local_path"].as_str().unwrap().to_owned();
    let whole = fs::read(&artifact).unwrap();
    let wanted = [("copy_missing", Some("local"), "critical"), ("no_good_backup", None, "critical")];
    fs::write(&artifact, &whole[1..]).unwrap();
    assert_verdicts(&seen(&site, 2), &wanted);
    fs::write(&artifact, &whole).unwrap();
    seen(&site, 0);
    let manifest = format!("{artifact}.json");
    let signed = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, signed.replace("\"db1\"", "\"db2\"")).unwrap();
    assert_verdicts(&seen(&site, 2), &wanted);
    fs::remove_file(&manifest).unwrap();
    assert_verdicts(&seen(&site, 2), &wanted);
    fs::remove_file(&artifact).unwrap();
    assert_verdicts(&seen(&site, 2), &wanted);
}

#[test]
fn a_stale_catalog_is_critical() {
    let site = Site::new().local_only();
    site.backup();
    age_rows(&site, 25);
    seen(&site, 0);
    check(&site, 2).args(["--max-age", "24h"]).stdout_has("may be 24 h").run();
    age_rows(&site, 25);
    let told = format!("the newest good backup of `{}` is 50 h old, and may be 26 h", site.database);
    check(&site, 2).stdout_has(&told).run();
    assert_verdicts(&seen(&site, 2), &[("no_good_backup", None, "critical")]);
}

/// Backups that the catalog lost: what the stores prove counts, and what brings it back is said.
#[test]
fn a_catalog_that_forgot() {
    let site = Site::new().local_only();
    let id = site.backup();
    site.cluster.execute(&site.catalog, "DELETE FROM pgkeep.backup");
    let told = format!("does not know, the newest `{id}`: pgkeep catalog rebuild --from local");
    check(&site, 1).stdout_has("PGKEEP WARNING - ").stdout_has(&told).run();
    assert_verdicts(&seen(&site, 1), &[("no_good_backup", None, "well")]);
    site.pgkeep(["catalog", "rebuild", "--from", "local"]).any_stdout().any_stderr().run();
    seen(&site, 0);
}

#[test]
fn a_catalog_that_is_down() {
    let mut site = Site::new().local_only();
    site.backup();
    let gate = lose_catalog(&mut site);
    check(&site, 1).stdout_has("the catalog can't be asked").run();
    let wanted = [("catalog_unreachable", None, "warning"), ("no_good_backup", None, "well")];
    assert_verdicts(&seen(&site, 1), &wanted);
    // Without the catalog and without a copy there is nothing good.
    empty(&site.local());
    assert_verdicts(&seen(&site, 2), &[("no_good_backup", None, "critical")]);
    // Without both nothing is known, and nothing is said of what was not seen.
    fs::remove_dir_all(site.local()).unwrap();
    fs::write(site.local(), "").unwrap();
    check(&site, 3).stdout_has("PGKEEP UNKNOWN - ").run();
    assert_verdicts(&seen(&site, 3), &[("no_good_backup", None, "")]);
    drop(gate);
}

/// What begins in two days has not begun: one of the clocks is wrong, and nothing is to be built on it.
#[test]
fn a_backup_of_the_future_counts_for_nothing() {
    let site = Site::new().local_only();
    site.backup();
    site.cluster
        .execute(&site.catalog, "UPDATE pgkeep.backup SET created_at = created_at + interval '2 days'");
    assert_verdicts(&seen(&site, 2), &[("no_good_backup", None, "critical"), ("backup_failed", None, "")]);
}
