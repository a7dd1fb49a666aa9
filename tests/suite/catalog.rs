//! The catalog: where it is, what other programs find in it, and that its absence never stops a backup.

mod trouble;

use std::fs;
use std::time::Duration;

use pgkeep::catalog::Catalog;
use pgkeep::connect::ConnectOptions;
use pgkeep::conninfo::{ConnInfo, Environment};

use crate::support::tools::files_under;
use crate::support::{FakeBin, Gate, Site, wait_until};

/// The columns that other programs read.
pub(crate) const COLUMNS: [&str; 19] = [
    "id",
    "backup_type",
    "source",
    "database",
    "tenant",
    "filename",
    "size_bytes",
    "checksum",
    "local_path",
    "r2_path",
    "b2_path",
    "status",
    "compression_ratio",
    "backup_duration_seconds",
    "metadata",
    "created_at",
    "finished_at",
    "verified_at",
    "error",
];

#[test]
fn the_columns_are_those_that_were_promised() {
    let site = Site::new().local_only();
    let id = site.backup();
    let row = site.row(&id);
    for column in COLUMNS {
        assert!(row.get(column).is_some(), "no `{column}` in {row:#}");
    }
    let copy = &site.copies(&id)["local"];
    for column in [
        "backup",
        "store",
        "path",
        "state",
        "size",
        "etag",
        "stored_at",
        "verified_at",
        "expires_at",
        "error",
    ] {
        assert!(copy.get(column).is_some(), "no `{column}` in {copy:#}");
    }
}

#[test]
fn it_can_live_in_a_database_and_a_schema_of_its_own() {
    let mut site = Site::new().local_only().with_own_catalog();
    let id = site.backup();
    assert_eq!(site.row(&id)["status"], "verified");
    let mut client = site.cluster.connect(&site.database);
    let rows = client.query("SELECT 1 FROM pg_namespace WHERE nspname = 'pgkeep'", &[]).unwrap();
    assert!(rows.is_empty(), "the source got a schema though the catalog is elsewhere");
    site.config.set("catalog.schema", "Backup \"Records\"");
    let id = site.backup();
    let query =
        "SELECT count(*) FROM \"Backup \"\"Records\"\"\".backup WHERE id = $1 AND status = 'verified'";
    let count: i64 = site.cluster.connect(&site.catalog).query_one(query, &[&id]).unwrap().get(0);
    assert_eq!(count, 1);
}

/// A site whose catalog is reached through a gate.
fn site_with_gate() -> (Site, Gate) {
    let mut site = Site::new().with_own_catalog();
    let gate = Gate::open_to(site.cluster.port);
    let url = site.cluster.url_through(gate.port, &site.catalog);
    site.config.set("catalog.url", url);
    (site, gate)
}

fn waiting(site: &Site) -> usize {
    files_under(&site.path("state/pending"))
        .iter()
        .filter(|file| file.extension().is_some_and(|end| end == "json"))
        .count()
}

#[test]
fn down_from_the_start_the_backup_is_made_and_recorded_later() {
    let (site, gate) = site_with_gate();
    gate.shut();
    let id = site.pgkeep(["backup", "full"]).code(3).any_stdout().stderr_has("catalog").run().id();
    assert_eq!(waiting(&site), 1);
    assert_eq!(files_under(&site.local()).len(), 2);
    gate.reopen();
    site.pgkeep(["list"]).stdout_has(&id).any_stderr().run();
    assert_eq!(waiting(&site), 0);
    site.assert_copies(&id, &["local", "r2", "b2"]);
    let status = site.row(&id)["status"].clone();
    assert!(["verified", "degraded"].contains(&status.as_str().unwrap()), "{status}");
    site.pgkeep(["verify", &id]).any_stdout().any_stderr().run();
    assert_eq!(site.row(&id)["status"], "verified");
    site.assert_no_secret();
}

#[test]
fn down_at_the_end_the_record_waits() {
    let (mut site, gate) = site_with_gate();
    let bin = FakeBin::held(&site.path(""));
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    let running = site.pgkeep(["backup", "full"]).code(3).any_stdout().stderr_has("catalog").start();
    bin.wait_for_start();
    gate.shut();
    bin.release();
    let id = running.finish().id();
    assert_eq!(waiting(&site), 1);
    gate.reopen();
    // Any command writes it.
    site.pgkeep(["verify", &id]).any_stdout().any_stderr().run();
    assert_eq!(waiting(&site), 0);
    assert_eq!(site.rows().len(), 1);
    assert_eq!(site.row(&id)["status"], "verified");
}

/// A catalog that goes away and is back before the end is not a fault.
#[test]
fn a_short_absence_in_the_middle_is_forgiven() {
    let (mut site, gate) = site_with_gate();
    let bin = FakeBin::held(&site.path(""));
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    let running = site.pgkeep(["backup", "full"]).any_stdout().any_stderr().start();
    bin.wait_for_start();
    gate.shut();
    gate.reopen();
    bin.release();
    let id = running.finish().id();
    assert_eq!(site.row(&id)["status"], "verified");
    assert_eq!(waiting(&site), 0);
}

/// Without the catalog, a file is the lock.
#[test]
fn two_runs_do_not_meet_while_the_catalog_is_down() {
    let (mut site, gate) = site_with_gate();
    gate.shut();
    let bin = FakeBin::held(&site.path(""));
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    let first = site.pgkeep(["backup", "full"]).code(3).any_stdout().any_stderr().start();
    bin.wait_for_start();
    site.pgkeep(["backup", "full"]).code(6).any_stderr().run();
    bin.release();
    first.finish();
}

#[test]
fn a_newer_catalog_is_refused_and_left_as_it_is() {
    let site = Site::new().local_only();
    site.backup();
    let mut client = site.cluster.connect(&site.catalog);
    let query = "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = 'pgkeep' \
        AND tablename LIKE '%schema_history%'";
    let history: String = client.query_one(query, &[]).unwrap().get(0);
    let insert = format!(
        "INSERT INTO {history} SELECT 9999, 'from_the_future', applied_on, checksum FROM {history} LIMIT 1"
    );
    client.batch_execute(&insert).unwrap();
    site.pgkeep(["list"]).code(1).stderr_has("newer").run();
    assert_eq!(site.rows().len(), 1);
}

/// Runs that start together make the catalog once, and both end well.
#[test]
fn first_runs_that_start_together_share_the_migration() {
    let mut site = Site::new().local_only().with_own_catalog();
    let mut names = vec![site.database.clone()];
    for _ in 0..3 {
        let name = crate::support::cluster::unique("together");
        site.cluster.create_database(&name, "template0");
        names.push(name);
    }
    site.config.set("source.databases", names.clone());
    let runs: Vec<_> = names
        .iter()
        .map(|name| site.pgkeep(["backup", "full", "--database", name]).any_stdout().start())
        .collect();
    for run in runs {
        run.finish();
    }
    assert_eq!(site.rows().len(), names.len());
    assert!(site.rows().iter().all(|row| row["status"] == "verified"));
}

/// Records that wait are for their owner alone, and hold no secret.
#[test]
fn a_record_that_waits_is_private() {
    let (site, gate) = site_with_gate();
    gate.shut();
    site.pgkeep(["backup", "full"]).code(3).any_stdout().any_stderr().run();
    for file in files_under(&site.path("state")) {
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&file).unwrap().permissions());
        assert_eq!(mode & 0o077, 0, "{}", file.display());
    }
    gate.reopen();
    site.pgkeep(["list"]).any_stdout().any_stderr().run();
    site.assert_no_secret();
}

/// A heartbeat moves while a run is under way.
#[test]
fn a_heartbeat_shows_that_a_run_lives() {
    let mut site = Site::new().local_only().with_own_catalog();
    let bin = FakeBin::held(&site.path(""));
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    let running = site.pgkeep(["backup", "full"]).any_stdout().start();
    bin.wait_for_start();
    wait_until("the row is there", || site.rows().len() == 1);
    let text = site.rows()[0].to_string();
    assert!(text.contains("heartbeat"), "{text}");
    bin.release();
    running.finish();
}

/// Who read a record before its copies went, and writes it after, does not bring them back; who stored one anew does.
#[test]
fn a_stale_record_does_not_bring_back_what_is_gone() {
    let site = Site::new();
    let id = site.backup();
    let info = ConnInfo::parse(&site.cluster.url(&site.catalog)).unwrap();
    let options = ConnectOptions {
        connect_timeout: Duration::from_secs(10),
        answer_timeout: Duration::from_mins(1),
        application_name: "stale",
    };
    let mut catalog =
        Catalog::open(&info.resolve(&Environment::default()).unwrap(), "pgkeep", &options).unwrap();
    let mut stale = catalog.find(&id, 1).unwrap().pop().unwrap();
    site.cluster.execute(&site.catalog, "UPDATE pgkeep.copy SET state = 'expired' WHERE store = 'local'");
    catalog.save(&stale).unwrap();
    let states =
        || ["local", "r2"].map(|store| site.copies(&id)[store]["state"].as_str().unwrap().to_owned());
    assert_eq!(states(), ["expired", "verified"]);
    for copy in &mut stale.copies {
        copy.stored_at = copy.stored_at.map(|at| at + jiff::SignedDuration::from_secs(1));
    }
    catalog.save(&stale).unwrap();
    assert_eq!(states(), ["verified", "verified"]);
    site.cluster.execute(
        &site.catalog,
        "UPDATE pgkeep.copy SET state = 'expired'; UPDATE pgkeep.backup SET status = 'expired'",
    );
    catalog.save(&stale).unwrap();
    assert_eq!(
        (states(), &site.row(&id)["status"]),
        (["expired", "expired"].map(str::to_owned), &"expired".into())
    );
}
