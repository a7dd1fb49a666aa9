//! `kill -9`, at every step and at any moment: what looks whole is whole, what was whole stays whole, nothing
//! of the dead run outlives it, and the next run puts the record right.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use pgkeep::testpoint::Step;
use rustix::process::Signal;
use serde_json::Value;
use toml::Table;

use crate::support::command::Pgkeep;
use crate::support::tools::{binary, finish, run};
use crate::support::{FaultServer, Manners, Rule, Site, cluster, project};
use crate::zero_config::Visitor;

use world::World;

mod children;
mod leftovers;
mod random;
pub(crate) mod world;

/// The variable by which a debug build stands still.
pub(crate) const STOP_AT: &str = "PGKEEP_STOP_AT";

/// A call that stands still at a step.
pub(crate) fn held_at(call: Pgkeep, step: Step, time: u32) -> Pgkeep {
    call.env(STOP_AT, format!("{}:{time}", step.word()))
}

/// Steps of every backup, and how often each is reached with a folder and a bucket.
pub(crate) const OF_A_RUN: [(Step, u32); 14] = [
    (Step::LockTaken, 1),
    (Step::DeadBuried, 1),
    // As it begins, and as it ends.
    (Step::RecordKept, 2),
    (Step::RowWritten, 1),
    (Step::UploadBegun, 2),
    (Step::DumpBegun, 1),
    (Step::PartSent, 1),
    (Step::DumpEnded, 1),
    (Step::FileDurable, 1),
    (Step::PartsUploaded, 1),
    (Step::ArtifactPublished, 2),
    (Step::ManifestWritten, 2),
    (Step::CopiesSettled, 1),
    (Step::RowSettled, 1),
];

/// Steps that a test of their own goes to.
const OF_THEIR_OWN: [Step; 14] = [
    Step::KeyMade,
    Step::CatalogHalfMade,
    Step::FillBegun,
    Step::RepairBegun,
    Step::RepairPublished,
    Step::RestoreBegun,
    Step::RowRebuilt,
    // prune::together::claims_end_with_the_session
    Step::CopiesClaimed,
    // prune::killed_anywhere_it_ends_in_the_same_state
    Step::ManifestExpired,
    Step::ArtifactExpired,
    Step::CopyMarkedExpired,
    // alerts::killed::anywhere_between_raising_and_sending
    Step::AlertsRecorded,
    Step::LetterBegun,
    Step::LetterDelivered,
];

#[test]
fn no_step_is_left_out() {
    let mut words: Vec<String> = OF_A_RUN.iter().map(|(step, _)| step.word()).collect();
    words.extend(OF_THEIR_OWN.map(Step::word));
    words.sort();
    let mut all: Vec<String> = Step::ALL.map(Step::word).into();
    all.sort();
    assert_eq!(words, all);
}

pub(crate) fn kill_at(call: Pgkeep, step: Step, time: u32) {
    let running = held_at(call, step, time).start();
    running.wait_for_stderr("stands still at");
    running.signal(Signal::KILL);
    running.await_death();
}

fn walk(steps: &[(Step, u32)]) {
    let world = World::new();
    for (step, times) in steps {
        for time in 1..=*times {
            kill_at(world.site.pgkeep(["backup", "full"]), *step, time);
            world.assert_sound_after_death();
            world.next_run(&format!("{}:{time}", step.word()));
        }
    }
    world.assert_all_settled();
}

#[test]
fn before_the_dump() {
    walk(&OF_A_RUN[..6]);
}

#[test]
fn while_the_dump_is_made() {
    walk(&OF_A_RUN[6..10]);
}

#[test]
fn while_copies_are_published_and_settled() {
    walk(&OF_A_RUN[10..]);
}

/// The first run without a configuration makes its key, and the catalog: killed at either, the next one goes on
/// with the same key.
#[test]
fn while_the_key_and_the_catalog_are_made() {
    let visitor = Visitor::new();
    let call = || visitor.call(&["backup", "full"]);
    kill_at(call(), Step::KeyMade, 1);
    let key = visitor.home.path().join(".local/state/pgkeep/pgkeep.key");
    let made = fs::read(&key).unwrap();
    kill_at(call(), Step::CatalogHalfMade, 1);
    let id = call().any_stdout().run().id();
    assert_eq!(fs::read(&key).unwrap(), made);
    let mut client = cluster().connect(&visitor.database);
    let row =
        client.query_one("SELECT id, status FROM pgkeep.backup WHERE backup_type = 'full'", &[]).unwrap();
    assert_eq!((row.get::<_, String>(0), row.get::<_, String>(1)), (id, "verified".to_owned()));
}

#[test]
fn while_a_copy_is_filled_from_another() {
    let mut world = World::new();
    let fault: FaultServer = world.site.fault("r2", Manners::Plain);
    fault.rule(Rule::on("POST", "uploads").times(1).refuse(403, "AccessDenied"));
    kill_at(world.site.pgkeep(["backup", "full"]), Step::FillBegun, 1);
    fault.heal();
    world.assert_sound_after_death();
    world.next_run("fill-begun");
    world.assert_all_settled();
}

/// The damaged copy stays what it was, or is whole; the other copies are not touched.
#[test]
fn while_a_copy_is_repaired() {
    for (step, store) in [
        (Step::RepairBegun, "local"),
        (Step::RepairPublished, "local"),
        (Step::RepairBegun, "r2"),
        (Step::PartsUploaded, "r2"),
        (Step::RepairPublished, "r2"),
    ] {
        let world = World::new();
        crate::verify::spoil(&world.site, &world.good, store, Some(b"damaged"));
        kill_at(world.site.pgkeep(["verify", &world.good, "--repair"]), step, 1);
        world.site.pgkeep(["verify", &world.good, "--repair"]).any_stdout().any_stderr().run();
        world.assert_record_fits_stores(&step.word());
        world.assert_all_settled();
    }
}

/// Rows are written one by one, each of them whole.
#[test]
fn while_the_catalog_is_rebuilt() {
    let world = World::new();
    world.next_run("");
    let before = world.usable();
    let site = &world.site;
    site.cluster.execute(&site.catalog, "DELETE FROM pgkeep.copy; DELETE FROM pgkeep.backup");
    let rebuild = || site.pgkeep(["catalog", "rebuild", "--from", "local", "--from", "r2"]);
    kill_at(rebuild(), Step::RowRebuilt, 1);
    assert_eq!(site.rows().len(), 1);
    rebuild().any_stdout().any_stderr().run();
    assert_eq!(world.usable(), before);
    world.assert_all_settled();
}

/// `pg_restore` ends with its parent; the copy that was restored from is as it was.
#[test]
fn while_a_database_is_restored() {
    let world = World::new();
    let (target, url) = world.site.target();
    kill_at(world.site.pgkeep(["restore", &world.good, "--into", &url]), Step::RestoreBegun, 1);
    world.await_no_child(&target);
    world.site.pgkeep(["verify", &world.good]).any_stdout().run();
    let again = world.site.pgkeep(["restore", &world.good, "--into", &url, "--clean"]);
    again.any_stdout().any_stderr().run();
    crate::support::compare::assert_same(world.site.cluster, &world.site.database, &target);
}

/// pgkeep as the release profile has it, but for optimisation: the library without debug assertions (the dependencies
/// are those of the suite), and `main` above it.
fn without_debug_assertions(folder: &Path) -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(project()).env("CARGO_INCREMENTAL", "0");
    cargo.args(["rustc", "--lib", "--locked", "--offline", "--quiet", "--message-format", "json"]);
    for setting in ["debug-assertions", "debug"] {
        cargo.args(["--config", &format!("profile.dev.package.pgkeep.{setting}=false")]);
    }
    let told = finish(&mut cargo);
    let made = told.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let ours =
        made.filter(|made| made["target"]["name"] == "pgkeep").find(|made| !made["filenames"].is_null());
    let ours = ours.expect("cargo names no library");
    assert_eq!(ours["profile"]["debug_assertions"], false, "{ours}");
    let files = ours["filenames"].as_array().unwrap().iter().map(|file| Path::new(file.as_str().unwrap()));
    // The name with the hash is this build's alone.
    let library =
        files.map(|file| file.with_extension("rlib")).find(|file| file.parent().unwrap().ends_with("deps"));
    let library = library.expect("no library in `deps`");
    let program = folder.join("pgkeep");
    let main = project().join("src/main.rs");
    let external = format!("pgkeep={}", library.display());
    let search = format!("dependency={}", library.parent().unwrap().display());
    let words = ["--edition=2024", main.to_str().unwrap(), "-o", program.to_str().unwrap()];
    run("rustc", &[&words[..], &["--extern", &external, "-L", &search]].concat());
    program
}

/// A release build neither stands still nor knows the variable.
#[test]
fn a_release_build_does_not_listen() {
    let manifest: Table = fs::read_to_string(project().join("Cargo.toml")).unwrap().parse().unwrap();
    let release = &manifest["profile"]["release"];
    assert!(!release.to_string().contains("debug-assertions"), "they are off in a release build: {release}");
    let folder = tempfile::tempdir().unwrap();
    let program = without_debug_assertions(folder.path());
    let knows = |program: &Path| {
        let bytes = fs::read(program).unwrap();
        bytes.windows(STOP_AT.len()).any(|window| window == STOP_AT.as_bytes())
    };
    assert!(knows(binary()) && !knows(&program));
    let site = Site::new().local_only();
    let ran = site.pgkeep(["backup", "full"]).program(&program).env(STOP_AT, Step::LockTaken.word());
    assert_eq!(site.row(&ran.any_stdout().run().id())["status"], "verified");
}
