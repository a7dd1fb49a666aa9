//! What a killed run leaves running: nothing.

use rustix::process::{Pid, Signal, kill_process};

use super::world::World;
use crate::support::{FakeBin, wait_until};

/// A `pg_dump` that waits for a table would hold all its other locks for as long.
#[test]
fn pg_dump_that_waits_for_a_table_ends_with_its_parent() {
    let world = World::new();
    let site = &world.site;
    let mut client = site.cluster.connect(&site.database);
    let mut lock = client.transaction().unwrap();
    lock.batch_execute("LOCK TABLE invoice IN ACCESS EXCLUSIVE MODE").unwrap();
    let running = site.pgkeep(["backup", "full"]).start();
    let mut watcher = site.cluster.connect("postgres");
    let query = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND wait_event_type = 'Lock'";
    wait_until("pg_dump waits for the table", || {
        watcher.query_one(query, &[&site.database]).unwrap().get::<_, i64>(0) == 1
    });
    running.signal(Signal::KILL);
    running.await_death();
    // The lock is still held: whoever waits for it must be gone all the same.
    world.assert_sound_after_death();
    lock.rollback().unwrap();
    drop(client);
    world.next_run("");
}

/// Somebody ends `pg_dump` alone: that is a failed backup, which says so.
#[test]
fn pg_dump_alone_is_killed() {
    let mut world = World::new();
    let bin = FakeBin::new(
        &world.site.path(""),
        "echo $$ >\"$HERE/draft\"; mv \"$HERE/draft\" \"$HERE/pid\"; exec sleep 600",
    );
    world.site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    let running =
        world.site.pgkeep(["backup", "full"]).code(1).stderr_has("pg_dump ended with signal 9").start();
    let pid: i32 = bin.wait_for_start().parse().unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    running.finish();
    world.site.config.set("source.pg_bin", crate::support::tools::pg_bin().to_str().unwrap());
    world.assert_record_fits_stores("pg_dump was killed");
    world.next_run("pg_dump was killed");
}
