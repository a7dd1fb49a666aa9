//! A catalog that is there and does not do its work.

use std::fs;
use std::path::PathBuf;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::tools::files_under;
use crate::support::{Cluster, FakeBin, Site};

/// A cluster whose processes stand still until this is dropped.
pub(crate) struct Frozen {
    processes: Vec<Pid>,
}

impl Frozen {
    pub(crate) fn freeze(cluster: &Cluster) -> Self {
        let text = fs::read_to_string(cluster.socket_dir.join("data/postmaster.pid")).unwrap();
        let postmaster: i32 = text.lines().next().unwrap().trim().parse().unwrap();
        let mut frozen = Self { processes: Vec::new() };
        // First the one that starts the others.
        frozen.stop(postmaster);
        let children = format!("/proc/{postmaster}/task/{postmaster}/children");
        for child in fs::read_to_string(children).unwrap().split_whitespace() {
            frozen.stop(child.parse().unwrap());
        }
        frozen
    }

    fn stop(&mut self, process: i32) {
        let process = Pid::from_raw(process).unwrap();
        // A backend may have ended by itself.
        if kill_process(process, Signal::STOP).is_ok() {
            self.processes.push(process);
        }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        for process in &self.processes {
            kill_process(*process, Signal::CONT).ok();
        }
    }
}

/// The records that wait.
fn waiting(site: &Site) -> Vec<PathBuf> {
    let mut files = files_under(&site.path("state/pending"));
    files.retain(|file| file.extension().is_some_and(|end| end == "json"));
    files
}

/// Writes a record as if it had waited since the catalog was down.
fn let_wait(site: &Site, record: &Value) -> PathBuf {
    let folder = site.path("state/pending");
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join(format!("{}.json", record["id"].as_str().unwrap()));
    crate::support::key::write_private(&file, &record.to_string());
    file
}

/// What `list --json` says of the newest backup: the same that waits in a file.
fn record(site: &Site) -> Value {
    site.pgkeep(["list", "--json"]).any_stdout().run().json()[0].take()
}

/// A server that froze once held the run up for ever, after the dump was made and before it was on record.
#[test]
fn a_frozen_catalog_holds_no_run_up() {
    let own = Cluster::start();
    let mut site = Site::new();
    site.config.set("catalog.url", own.url("postgres"));
    let bin = FakeBin::held(&site.path(""));
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    let call = site.pgkeep(["backup", "full"]).code(3).any_stdout().stderr_has("catalog");
    let running = call.start();
    bin.wait_for_start();
    let frozen = Frozen::freeze(&own);
    bin.release();
    let id = running.finish().id();
    assert_eq!(waiting(&site).len(), 1);
    drop(frozen);
    site.pgkeep(["list"]).stdout_has(&id).stdout_has("verified").any_stderr().run();
    assert_eq!(waiting(&site), Vec::<PathBuf>::new());
    let query = "SELECT status FROM pgkeep.backup WHERE id = $1";
    let status: String = own.connect("postgres").query_one(query, &[&id]).unwrap().get(0);
    assert_eq!(status, "verified");
}

/// Somebody who held the table's lock once held the backup up with it.
#[test]
fn a_locked_catalog_holds_no_run_up() {
    let mut site = Site::new().local_only().with_own_catalog();
    let bin = FakeBin::held(&site.path(""));
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    let call = site.pgkeep(["backup", "full"]).code(3).any_stdout().stderr_has("catalog");
    let running = call.start();
    bin.wait_for_start();
    let mut client = site.cluster.connect(&site.catalog);
    let mut lock = client.transaction().unwrap();
    lock.batch_execute("LOCK TABLE pgkeep.backup IN ACCESS EXCLUSIVE MODE").unwrap();
    bin.release();
    let id = running.finish().id();
    assert_eq!(waiting(&site).len(), 1);
    lock.rollback().unwrap();
    site.pgkeep(["list"]).stdout_has(&id).stdout_has("verified").any_stderr().run();
    assert_eq!(waiting(&site), Vec::<PathBuf>::new());
    assert_eq!(site.row(&id)["status"], "verified");
}

/// One record that the catalog would not take once kept every other from being written, and `list` from working.
#[test]
fn a_record_that_is_refused_stops_no_other() {
    let site = Site::new().local_only().with_own_catalog();
    let id = site.backup();
    let good = record(&site);
    site.cluster.execute(&site.catalog, "DELETE FROM pgkeep.copy; DELETE FROM pgkeep.backup");
    let mut bad = good.clone();
    // Its turn comes before the good one's.
    let first = format!("{}-0000", &id[..id.len() - 5]);
    assert!(first < id);
    bad["id"] = first.as_str().into();
    bad["error"] = "what no text of the catalog may hold: \0".into();
    let bad = let_wait(&site, &bad);
    let_wait(&site, &good);
    site.pgkeep(["list"]).stdout_has(&id).stderr_has(&first).stderr_has("refuses").run();
    assert_eq!(waiting(&site), [bad]);
    assert_eq!(site.row(&id)["status"], "verified");
    assert_eq!(site.rows().len(), 1);
}

/// A record from the middle of a run, left behind by a crash, once took a whole backup back to `in_progress`.
#[test]
fn a_stale_record_does_not_undo_a_newer_one() {
    let site = Site::new().local_only().with_own_catalog();
    let id = site.backup();
    let (row, copies) = (site.row(&id), site.copies(&id));
    let mut stale = record(&site);
    for column in ["local_path", "size_bytes", "checksum", "finished_at", "verified_at"] {
        stale[column] = Value::Null;
    }
    stale["status"] = "in_progress".into();
    stale["copies"] = Value::Array(Vec::new());
    let_wait(&site, &stale);
    site.pgkeep(["list"]).stdout_has(&id).any_stderr().run();
    assert_eq!(site.row(&id), row);
    assert_eq!(site.copies(&id), copies);
}
