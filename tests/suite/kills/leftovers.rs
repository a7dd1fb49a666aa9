//! What dead runs left in the stores is looked for until it is gone, and no longer.

use pgkeep::step::Step;

use super::kill_at;
use super::world::World;
use crate::support::{FaultServer, Manners, Rule};

/// As many runs as fail in a bad week, each after the others.
fn fail_often(world: &World, times: u32) {
    let insert = format!(
        "INSERT INTO pgkeep.backup (id, backup_type, source, database, tenant, filename, status, error, metadata, \
         created_at, finished_at) \
         SELECT regexp_replace('{}', '[0-9a-f]{{4}}$', to_char(n, 'FM0000')), backup_type, source, database, tenant, \
         filename, 'failed', 'made up', '{{}}', created_at + n * interval '1 ms', now() \
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
    let ago = "UPDATE pgkeep.backup SET finished_at = now() - interval '2 hours' WHERE status = 'failed'";
    world.site.cluster.execute(&world.site.catalog, ago);
    // A store that can't be swept is left for the next run.
    fault.rule(Rule::on("GET", "uploads").refuse(403, "AccessDenied"));
    assert_eq!(lists(&world, "it can't be swept"), 1);
    fault.heal();
    assert_eq!(lists(&world, "the last look"), 1);
    assert_eq!(lists(&world, "nothing is left"), 0);
}
