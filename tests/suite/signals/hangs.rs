//! A signal while something hangs, with the time limits that a configuration has by itself.

use std::net::TcpListener;

use rustix::process::Signal;

use super::{assert_interrupted, end_by, newest};
use crate::kills::world::World;
use crate::regression::catalog_trouble::Frozen;
use crate::support::rule::Action;
use crate::support::{Cluster, FakeBin, FaultServer, Manners, Rule, Site, wait_until};

fn patient(site: &mut Site) {
    for (name, time) in [("connect", "60s"), ("request", "5m"), ("stall", "2m")] {
        site.config.set(&format!("timeouts.{name}"), time);
    }
}

/// A backup to a store that hangs at some requests gets a signal: gives the status that is on record.
fn end_while_hanging(hanging: &[(&'static str, &'static str)]) -> String {
    let mut world = World::new();
    patient(&mut world.site);
    let fault: FaultServer = world.site.fault("r2", Manners::Plain);
    for (method, part) in hanging {
        fault.rule(Rule::on(method, part).does(Action::Hang));
    }
    let (method, part) = hanging[0];
    let call = world.site.pgkeep(["backup", "full"]).code(143).any_stdout();
    let running = call.stderr_has("interrupted").start();
    wait_until("the request hangs", || fault.count(method, part) > 0);
    let before = world.whole();
    let ran = end_by(running, Signal::TERM);
    assert!(!ran.stderr.contains("not all was cleaned up"), "{hanging:?}: {}", ran.stderr);
    assert!(world.whole().is_superset(&before));
    let row = newest(&world);
    assert!(row["error"].as_str().unwrap().contains("interrupted"), "{row:#}");
    let stands = ran.stderr.contains("can be restored from all the same");
    assert_eq!(stands, row["status"] == "degraded", "{}", ran.stderr);
    fault.heal();
    world.next_run(&format!("{hanging:?}"));
    world.assert_all_settled();
    row["status"].as_str().unwrap().to_owned()
}

#[test]
fn a_store_that_hangs_as_an_upload_begins() {
    assert_eq!(end_while_hanging(&[("POST", "uploads")]), "failed");
}

#[test]
fn a_store_that_hangs_at_a_part_and_at_the_abort() {
    // By the end of the dump the folder may have its copy, which counts then.
    let status = end_while_hanging(&[("PUT", "partNumber"), ("DELETE", "")]);
    assert!(["failed", "degraded"].contains(&status.as_str()), "{status}");
}

/// The folder has its copy by then, which is usable, and on record as such.
#[test]
fn a_store_that_hangs_at_the_completion() {
    assert_eq!(end_while_hanging(&[("POST", "uploadId"), ("DELETE", "")]), "degraded");
}

#[test]
fn a_store_that_hangs_at_the_manifest() {
    assert_eq!(end_while_hanging(&[("PUT", ".json"), ("DELETE", "")]), "degraded");
}

#[test]
fn a_store_that_hangs_at_the_read_back() {
    assert_eq!(end_while_hanging(&[("GET", ".pgk")]), "degraded");
}

/// The record waits, and says how the run ended.
#[test]
fn a_catalog_that_hangs() {
    let own = Cluster::start();
    let mut site = Site::new().local_only();
    patient(&mut site);
    site.config.set("catalog.url", own.url("postgres"));
    let bin = FakeBin::held(&site.path(""));
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    let running = site.pgkeep(["backup", "full"]).code(130).stderr_has("interrupted").start();
    bin.wait_for_start();
    let frozen = Frozen::freeze(&own);
    end_by(running, Signal::INT);
    drop(frozen);
    site.pgkeep(["list"]).stdout_has("failed").any_stderr().run();
    let row = own.connect("postgres").query_one("SELECT status, error FROM pgkeep.backup", &[]).unwrap();
    let error: String = row.get(1);
    assert_eq!(row.get::<_, String>(0), "failed");
    assert!(error.starts_with("interrupted by signal 2"), "{error}");
    site.assert_nothing_stored();
}

/// A server that takes connections and says nothing.
#[test]
fn a_source_that_hangs_while_it_is_connected_to() {
    let mut world = World::new();
    patient(&mut world.site);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let site = &mut world.site;
    site.config.set("catalog.url", site.cluster.url(&site.catalog));
    site.config.set("source.url", site.cluster.url_through(port, &site.database));
    let running = site.pgkeep(["backup", "full"]).code(129).stderr_has("interrupted").start();
    let accepted = silent.accept().unwrap();
    end_by(running, Signal::HUP);
    drop(accepted);
    // Any command writes what waits.
    world.site.pgkeep(["list"]).stdout_has("failed").any_stderr().run();
    assert_interrupted(&world, Signal::HUP);
}

/// Whatever the command, and wherever its store hangs.
#[test]
fn every_command_that_reads_a_store() {
    let mut world = World::new();
    patient(&mut world.site);
    let fault: FaultServer = world.site.fault("r2", Manners::Plain);
    let (target, url) = world.site.target();
    let good = world.good.clone();
    let before = (world.site.rows(), world.site.copies(&good));
    for arguments in [
        &["verify", &good, "--store", "r2"][..],
        &["verify", &good, "--level", "stat"],
        &["verify", &good, "--level", "content", "--repair"],
        &["verify", "--all"],
        &["catalog", "rebuild", "--from", "r2"],
        &["list", "--from", "r2"],
        &["restore", &good, "--from", "r2", "--into", &url],
        &["doctor"],
    ] {
        fault.heal();
        fault.rule(Rule::on("", "").does(Action::Hang));
        let seen = fault.requests().len();
        let call = world.site.pgkeep(arguments).code(143).any_stdout().any_stderr();
        let running = call.start();
        wait_until("the request hangs", || fault.requests().len() > seen);
        end_by(running, Signal::TERM);
        assert_eq!((world.site.rows(), world.site.copies(&good)), before, "{arguments:?}");
        world.assert_record_fits_stores(arguments[0]);
    }
    let query = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    let tables: i64 = world.site.cluster.connect(&target).query_one(query, &[]).unwrap().get(0);
    assert_eq!(tables, 0);
}
