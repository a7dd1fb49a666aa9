//! `pgkeep list`: what is on record, newest first.

use crate::catalog::COLUMNS;
use crate::support::cluster::unique;
use crate::support::tools::finish;
use crate::support::{Site, project, wait_until};

/// A site with backups of two databases, one of them failed.
fn site_with_three() -> (Site, Vec<String>, String) {
    let mut site = Site::new().local_only().with_own_catalog();
    let second = unique("second");
    site.cluster.create_database(&second, "template0");
    let first_ids = site.pgkeep(["backup", "full"]).any_stdout().run().ids();
    let second_ids = site.pgkeep(["backup", "full", "--database", &second]).any_stdout().run().ids();
    let bin = crate::support::FakeBin::new(&site.path(""), "exit 1");
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    site.pgkeep(["backup", "full"]).code(1).any_stderr().run();
    let failed = site.rows().last().unwrap()["id"].as_str().unwrap().to_owned();
    (site, [first_ids, second_ids, vec![failed]].concat(), second)
}

fn ids(site: &Site, arguments: &[&str]) -> Vec<String> {
    let document = site.pgkeep(["--json", "list"]).args(arguments).any_stdout().run().json();
    document.as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_newest_comes_first_and_filters_filter() {
    let (site, made, second) = site_with_three();
    let [first, other, failed] = &made[..] else { panic!("{made:?}") };
    assert_eq!(ids(&site, &[]), [failed, other, first].map(String::as_str));
    assert_eq!(ids(&site, &["--limit", "1"]), [failed.as_str()]);
    assert_eq!(ids(&site, &["--database", &second]), [other.as_str()]);
    assert_eq!(ids(&site, &["--status", "failed"]), [failed.as_str()]);
    assert_eq!(ids(&site, &["--status", "verified"]), [other.as_str(), first.as_str()]);
    assert_eq!(ids(&site, &["--status", "verified", "--limit", "1"]), [other.as_str()]);
    assert_eq!(ids(&site, &["--type", "full"]).len(), 3);
    assert_eq!(ids(&site, &["--since", "2020-01-01"]).len(), 3);
    assert_eq!(ids(&site, &["--since", "2100-01-01"]).len(), 0);
}

#[test]
fn the_table_is_for_people() {
    let (site, made, second) = site_with_three();
    let ran = site.pgkeep(["list"]).any_stdout().run();
    let lines: Vec<&str> = ran.stdout.lines().collect();
    let at = |text: &str| {
        lines.iter().position(|line| line.contains(text)).unwrap_or_else(|| panic!("{text}: {ran:?}"))
    };
    assert!(at(&made[2]) < at(&made[1]) && at(&made[1]) < at(&made[0]), "{}", ran.stdout);
    assert!(lines[at(&made[1])].contains(&second));
    assert!(lines[at(&made[1])].contains("verified"));
    assert!(lines[at(&made[2])].contains("failed"));
    assert!(!ran.stdout.contains('\u{1b}'), "colours where no terminal is: {:?}", ran.stdout);
}

#[test]
fn json_rows_have_the_columns_and_the_copies() {
    let site = Site::new();
    site.backup();
    let document = site.pgkeep(["list", "--json"]).any_stdout().run().json();
    let row = &document.as_array().unwrap()[0];
    for column in COLUMNS {
        assert!(row.get(column).is_some(), "no `{column}` in {row:#}");
    }
    let mut stores: Vec<&str> =
        row["copies"].as_array().unwrap().iter().map(|copy| copy["store"].as_str().unwrap()).collect();
    stores.sort_unstable();
    assert_eq!(stores, ["b2", "local", "r2"]);
}

#[test]
fn nothing_yet_is_an_empty_list() {
    let site = Site::new().local_only();
    assert_eq!(ids(&site, &[]), Vec::<String>::new());
    site.pgkeep(["list"]).any_stdout().any_stderr().run();
}

#[test]
fn a_filter_that_makes_no_sense_is_a_usage_error() {
    let site = Site::new().local_only();
    site.pgkeep(["list", "--status", "splendid"]).code(2).stderr_has("splendid").run();
    site.pgkeep(["list", "--since", "yonder"]).code(2).stderr_has("yonder").run();
    site.pgkeep(["list", "--limit", "many"]).code(2).stderr_has("many").run();
}

#[test]
fn a_catalog_that_is_not_there_is_named() {
    let mut site = Site::new().local_only();
    let gate = crate::support::Gate::open_to(site.cluster.port);
    gate.shut();
    site.config.set("catalog.url", site.cluster.url_through(gate.port, &site.catalog));
    site.pgkeep(["list"]).code(1).stderr_has("catalog").run();
}

/// Rows of `backup` that were read so far, by whatever plan, and how many scans read them.
fn rows_read(site: &Site) -> (i64, i64) {
    let read = "SELECT coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0), seq_scan + idx_scan \
                FROM pg_stat_user_tables WHERE schemaname = 'pgkeep' AND relname = 'backup'";
    let row = site.cluster.connect(&site.catalog).query_one(read, &[]).unwrap();
    (row.get(0), row.get(1))
}

/// However long the catalog is, what is listed is what is read.
#[test]
fn a_list_reads_no_more_rows_than_it_shows() {
    let site = Site::new().local_only().with_own_catalog();
    site.pgkeep(["list"]).any_stdout().run();
    let mut psql = site.cluster.client_program("psql", &site.catalog);
    let script = project().join("tests/bench/catalog.sql");
    finish(psql.args(["-X", "-q", "-v", "backups=30000", "-f"]).arg(script));
    let rare = "UPDATE pgkeep.backup SET database = 'rare' WHERE id IN \
                (SELECT id FROM pgkeep.backup WHERE status = 'failed' ORDER BY created_at LIMIT 3); ANALYZE";
    site.cluster.execute(&site.catalog, rare);
    for (arguments, shown) in [
        (vec![], 50),
        (vec!["--limit", "200"], 200),
        (vec!["--database", "tenant7"], 50),
        (vec!["--database", "rare"], 3),
        (vec!["--status", "failed"], 50),
        (vec!["--status", "in_progress"], 0),
        (vec!["--since", "1d"], 50),
    ] {
        let (before, scans_before) = rows_read(&site);
        assert_eq!(ids(&site, &arguments).len(), shown, "{arguments:?}");
        // The server counts when the session has ended.
        wait_until("the server to count", || rows_read(&site).1 > scans_before);
        let read = rows_read(&site).0 - before;
        let most = i64::try_from(shown).unwrap() + 20;
        assert!(read <= most, "{arguments:?}: {read} rows read for {shown}");
    }
}
