//! SIGTERM, SIGINT, SIGHUP: whatever a run is doing, it ends in time with the signal's exit code, and record
//! and stores say the same.

use std::time::{Duration, Instant};

use pgkeep::testpoint::Step;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::kills::world::World;
use crate::kills::{OF_A_RUN, held_at};
use crate::support::command::{Ran, Running};
use crate::support::tools::finish;
use crate::support::{FakeBin, Site, wait_until};

mod hangs;

const SIGNALS: [(Signal, i32); 3] = [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 129)];
/// It promises ten seconds; a machine that is busy with other tests gets some more.
const BOUND: Duration = Duration::from_secs(40);

/// Sends a signal, and waits for an end within the bound.
pub(crate) fn end_by(running: Running, signal: Signal) -> Ran {
    let begun = Instant::now();
    running.signal(signal);
    let ran = running.finish();
    assert!(begun.elapsed() < BOUND, "{:?}\n{}", begun.elapsed(), ran.stderr);
    ran
}

fn newest(world: &World) -> Value {
    world.site.rows().pop().unwrap()
}

/// The row of a run that a signal ended before anything was usable.
fn assert_interrupted(world: &World, signal: Signal) {
    let row = newest(world);
    assert_eq!(row["status"], "failed", "{row:#}");
    let error = row["error"].as_str().unwrap();
    assert!(error.starts_with(&format!("interrupted by signal {}", signal.as_raw())), "{error}");
}

fn walk(steps: &[(Step, u32)]) {
    let world = World::new();
    let mut signals = SIGNALS.iter().cycle();
    for (step, times) in steps {
        for time in 1..=*times {
            let (signal, code) = *signals.next().unwrap();
            let call = held_at(world.site.pgkeep(["backup", "full"]), *step, time);
            let call = call.code(code).any_stdout().any_stderr();
            let running = call.start();
            running.wait_for_stderr("stands still at");
            end_by(running, signal);
            let what = format!("signal {} at {}:{time}", signal.as_raw(), step.word());
            world.await_no_child(&world.site.database);
            // With no help of a next run.
            world.assert_record_fits_stores(&what);
            if [Step::UploadBegun, Step::DumpBegun, Step::PartSent, Step::PartsUploaded].contains(step) {
                let is_failed = newest(&world)["status"] == "failed";
                // A folder may have its copy before a bucket's upload is complete.
                assert!(is_failed || *step == Step::PartsUploaded, "{what}: {:#}", newest(&world));
                if is_failed {
                    assert_interrupted(&world, signal);
                }
            }
        }
    }
    world.next_run("all signals");
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

/// Each signal has its exit code, and its number on record.
#[test]
fn each_signal_while_pg_dump_is_at_work() {
    let mut world = World::new();
    let bin = FakeBin::held(&world.site.path(""));
    world.site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    for (signal, code) in SIGNALS {
        let call = world.site.pgkeep(["backup", "full"]).code(code);
        let running = call.stderr_has(&format!("interrupted by signal {}", signal.as_raw())).start();
        bin.wait_for_start();
        bin.forget_start();
        end_by(running, signal);
        assert_interrupted(&world, signal);
        world.assert_record_fits_stores("pg_dump was at work");
    }
}

/// A service manager signals every process of the unit: what ended the run is the signal, not `pg_dump`'s end.
#[test]
fn pg_dump_gets_the_signal_too() {
    let mut world = World::new();
    let bin = FakeBin::held(&world.site.path(""));
    world.site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    let running =
        world.site.pgkeep(["backup", "full"]).code(143).stderr_has("interrupted by signal 15").start();
    let pid: i32 = bin.wait_for_start().parse().unwrap();
    running.signal(Signal::TERM);
    kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();
    let ran = running.finish();
    assert!(!ran.stderr.contains("pg_dump ended"), "{}", ran.stderr);
    assert_interrupted(&world, Signal::TERM);
}

const DEAF: &str = "trap 'touch \"$HERE/told\"' TERM\necho $$ >\"$HERE/draft\"; mv \"$HERE/draft\" \"$HERE/pid\"\n\
    while :; do sleep 1; done";

#[test]
fn pg_dump_that_does_not_listen_is_killed() {
    let mut world = World::new();
    let bin = FakeBin::new(&world.site.path(""), DEAF);
    world.site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    let running =
        world.site.pgkeep(["backup", "full"]).code(143).stderr_has("interrupted by signal 15").start();
    let pid = bin.wait_for_start();
    end_by(running, Signal::TERM);
    let process = std::path::PathBuf::from(format!("/proc/{pid}"));
    wait_until("pg_dump is gone", || !process.exists());
    assert_interrupted(&world, Signal::TERM);
    world.assert_record_fits_stores("pg_dump was deaf");
}

/// Nobody reads stderr, and it is full: whoever writes there is held up, and the end comes in time all the same.
#[test]
fn a_stderr_that_nobody_reads_holds_no_end_up() {
    let mut site = Site::new();
    site.config.store("b2").insert("endpoint".to_owned(), "http://127.0.0.1:1".into());
    // The catalog is there before the run is looked for in it.
    site.pgkeep(["list"]).any_stdout().any_stderr().run();
    finish(std::process::Command::new("mkfifo").arg(site.path("full")));
    let full = "exec 3<>\"$FULL\"; dd if=/dev/zero of=\"$FULL\" bs=4096 oflag=nonblock 2>/dev/null; exec \"$@\" 2>&3";
    let call = site.pgkeep(["backup", "full"]).env("FULL", site.path("full"));
    let running = call.through(&["/usr/bin/env"], full).code(143).any_stdout().start();
    wait_until("it is at work", || site.rows().iter().any(|row| row["status"] == "in_progress"));
    end_by(running, Signal::TERM);
    site.config.keep_stores(&["local", "r2"]);
    site.backup();
    assert!(site.rows().iter().all(|row| row["status"] != "in_progress"));
}

/// A second signal ends the process at once, with the code of the first; the next run sees to what is left.
#[test]
fn a_second_signal_does_not_wait() {
    let mut world = World::new();
    let usual = world.site.config.clone();
    let bin = FakeBin::new(&world.site.path(""), DEAF);
    world.site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    let running = world.site.pgkeep(["backup", "full"]).code(143).start();
    let pid: i32 = bin.wait_for_start().parse().unwrap();
    running.signal(Signal::TERM);
    wait_until("the clean-up has begun", || bin.folder.join("told").exists());
    end_by(running, Signal::INT);
    // It is deaf to the kernel's signal too.
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    assert_eq!(newest(&world)["status"], "in_progress");
    world.site.config = usual;
    world.assert_sound_after_death();
    world.next_run("a second signal");
    world.assert_all_settled();
}
