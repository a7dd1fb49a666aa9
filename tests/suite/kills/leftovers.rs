//! What dead runs left in the stores is looked for until it is gone, and no longer.

use pgkeep::testpoint::Step;
use rustix::process::Signal;

use super::world::World;
use super::{held_at, kill_at};
use crate::support::config::local_store;
use crate::support::{FaultServer, Manners, Rule, wait_until};

/// An hour and more goes by.
fn later(world: &World) {
    let later = "UPDATE pgkeep.backup SET heartbeat_at = heartbeat_at - interval '61 minutes'";
    world.site.cluster.execute(&world.site.catalog, later);
}

/// As many runs as fail in a bad week, each after the others.
fn fail_often(world: &World, times: u32) {
    let insert = format!(
        "INSERT INTO pgkeep.backup (id, backup_type, source, database, tenant, filename, status, error, metadata, \
         created_at, finished_at) \
         SELECT regexp_replace('{}', '[0-9a-f]{{4}}$', to_char(n, 'FM0000')), backup_type, source, database, tenant, \
         filename, 'failed', 'made up', metadata, \
         (SELECT max(created_at) FROM pgkeep.backup) + n * interval '1 ms', now() \
         FROM pgkeep.backup, generate_series(1, {times}) n WHERE id = '{}'",
        world.good, world.good
    );
    world.site.cluster.execute(&world.site.catalog, &insert);
}

#[test]
fn however_many_runs_failed_since() {
    let world = World::new();
    kill_at(world.site.pgkeep(["backup", "full"]), Step::CopiesSettled, 1);
    // Later than the dead one, however fast this is.
    let later = "UPDATE pgkeep.backup SET created_at = created_at - interval '1 minute'";
    world.site.cluster.execute(&world.site.catalog, later);
    fail_often(&world, 300);
    world.next_run("300 failed runs");
    let taken_up = world.site.rows().into_iter().filter(|row| row["metadata"]["taken_up"].is_string());
    assert_eq!(taken_up.count(), 1);
    world.assert_all_settled();
}

/// Within the hour something may still arrive; after that one look is enough.
#[test]
fn what_was_swept_is_not_looked_for_again() {
    let mut world = World::new();
    world.site.config.set("retention.after_backup", false);
    let fault: FaultServer = world.site.fault("r2", Manners::Plain);
    let lists = |world: &World, after: &str| {
        let before = fault.count("GET", "uploads");
        world.next_run(after);
        fault.count("GET", "uploads") - before
    };
    assert_eq!(lists(&world, "no run failed"), 0);
    kill_at(world.site.pgkeep(["backup", "full"]), Step::ArtifactPublished, 1);
    assert_eq!(lists(&world, "one has just failed"), 1);
    assert_eq!(lists(&world, "it may not be all"), 1);
    later(&world);
    // A store that can't be swept is left for the next run.
    fault.rule(Rule::on("GET", "uploads").refuse(403, "AccessDenied"));
    assert_eq!(lists(&world, "it can't be swept"), 1);
    fault.heal();
    assert_eq!(lists(&world, "the last look"), 1);
    assert_eq!(lists(&world, "nothing is left"), 0);
}

/// A store that was away when the other copy was put on record is asked again; its copy is not forgotten.
#[test]
fn a_copy_in_a_store_that_was_away_is_taken_up_later() {
    let mut world = World::new();
    kill_at(world.site.pgkeep(["backup", "full"]), Step::CopiesSettled, 1);
    let died = world.site.rows().into_iter().find(|row| row["status"] == "in_progress").unwrap();
    let died = died["id"].as_str().unwrap().to_owned();
    let fault: FaultServer = world.site.fault("r2", Manners::Plain);
    fault.rule(Rule::on("", "").refuse(403, "AccessDenied"));
    world.site.pgkeep(["backup", "full"]).code(3).any_stdout().any_stderr().run();
    let r2 = &world.site.copies(&died)["r2"];
    assert_eq!((&r2["state"], &world.site.row(&died)["status"]), (&"failed".into(), &"degraded".into()));
    assert!(r2["error"].as_str().unwrap().contains("could not be asked"), "{r2}");
    fault.heal();
    // A store that there was not yet when it was made has no copy of it to lose.
    let extra = world.site.path("extra");
    world.site.config.add_store(local_store("extra", &extra));
    world.site.backup();
    assert_eq!(world.site.copies(&died)["r2"]["state"], "stored");
    assert!(!world.site.copies(&died).contains_key("extra"));
    world.site.config.keep_stores(&["local", "r2"]);
    world.site.pgkeep(["verify", &died]).any_stdout().run();
    assert_eq!(world.site.row(&died)["status"], "verified");
}

/// A backup that begins while a copy is repaired leaves the repair alone; once that is dead, the next one clears up.
#[test]
fn a_repair_is_left_to_its_work() {
    let mut world = World::new();
    let fault: FaultServer = world.site.fault("r2", Manners::Plain);
    fault.rule(Rule::on("POST", "uploads").refuse(403, "AccessDenied"));
    let id = world.site.pgkeep(["backup", "full"]).code(3).any_stdout().any_stderr().run().id();
    fault.heal();
    let repair = held_at(world.site.pgkeep(["verify", &id, "--repair"]), Step::PartsUploaded, 1).start();
    repair.wait_for_stderr("stands still at");
    let under_way = || world.site.r2.uploads().iter().filter(|upload| upload.key.contains(&id)).count();
    assert_eq!(under_way(), 1);
    world.site.backup();
    assert_eq!(under_way(), 1);
    repair.signal(Signal::KILL);
    repair.await_death();
    // The server ends its session as it hears of it.
    wait_until("what it left is gone", || {
        world.site.backup();
        under_way() == 0
    });
}

/// Another host's run may be alive although it lost its connection: what it has in the stores is left to it until it
/// has shown no sign of life for an hour.
#[test]
fn a_run_of_another_host_gets_an_hour() {
    let world = World::new();
    kill_at(world.site.pgkeep(["backup", "full"]), Step::ArtifactPublished, 1);
    let elsewhere = "UPDATE pgkeep.backup SET metadata = metadata || '{\"host\": \"elsewhere\"}', \
                     heartbeat_at = now() - interval '10 minutes' WHERE status = 'in_progress'";
    world.site.cluster.execute(&world.site.catalog, elsewhere);
    let before = world.without_a_manifest();
    world.site.backup();
    assert_eq!(world.without_a_manifest(), before);
    assert!(!before.is_empty());
    let later =
        "UPDATE pgkeep.backup SET heartbeat_at = now() - interval '61 minutes' WHERE status = 'failed'";
    world.site.cluster.execute(&world.site.catalog, later);
    world.next_run("an hour later");
    assert!(world.without_a_manifest().is_empty());
}

/// The record of a run that another host has put right since comes late: it changes nothing.
#[test]
fn a_late_record_undoes_nothing() {
    let world = World::new();
    kill_at(world.site.pgkeep(["backup", "full"]), Step::CopiesSettled, 1);
    world.next_run("");
    let taken_up = world.site.rows().into_iter().find(|row| row["metadata"]["taken_up"].is_string()).unwrap();
    let id = taken_up["id"].as_str().unwrap();
    world.site.pgkeep(["verify", id]).any_stdout().run();
    let state =
        || (world.site.row(id)["status"].clone(), world.site.row(id)["error"].clone(), world.site.copies(id));
    let before = state();
    let listed = world.site.pgkeep(["list", "--json"]).any_stdout().run().json();
    let record = listed.as_array().unwrap().iter().find(|row| row["id"] == id).unwrap().clone();
    for (status, copies) in [("failed", serde_json::json!([])), ("degraded", record["copies"].clone())] {
        let mut record = record.clone();
        record["status"] = status.into();
        record["error"] = "as it was then".into();
        record["copies"] = copies;
        for copy in record["copies"].as_array_mut().unwrap() {
            copy["state"] = "failed".into();
        }
        let file = world.site.path("state/pending").join(format!("{id}.json"));
        std::fs::write(&file, record.to_string()).unwrap();
        world.site.pgkeep(["list"]).any_stdout().any_stderr().run();
        assert!(!file.exists(), "it waits on");
        assert_eq!(state(), before, "{status}");
    }
}
