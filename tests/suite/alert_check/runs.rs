//! Runs that failed, died or fell short, and how they show in a check.

use super::{assert_verdicts, check, seen};
use crate::support::{FakeBin, Site};

#[test]
fn a_run_that_failed_and_the_next_that_did_not() {
    let mut site = Site::new().local_only();
    site.backup();
    let bin = FakeBin::new(&site.path(""), "exit 1");
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    site.pgkeep(["backup", "full"]).code(1).any_stderr().run();
    let failed = site.rows().last().unwrap()["id"].as_str().unwrap().to_owned();
    check(&site, 2).stdout_has(&format!("the backup `{failed}` failed: ")).run();
    assert_verdicts(
        &seen(&site, 2),
        &[("backup_failed", None, "critical"), ("no_good_backup", None, "well")],
    );
    site.config.set("source.pg_bin", crate::support::tools::pg_bin().to_str().unwrap());
    site.backup();
    // That it is over is said by the backup itself.
    assert_verdicts(&seen(&site, 0), &[("backup_failed", None, "")]);
}

/// A run of another host, which only its heartbeat tells of.
#[test]
fn a_run_that_died_and_one_that_lives() {
    let site = Site::new().local_only();
    let id = site.backup();
    let begin = format!(
        "INSERT INTO pgkeep.backup (id, backup_type, source, database, filename, status, created_at, heartbeat_at) \
         SELECT replace(id, 'Z-', 'Z-0') , backup_type, source, database, filename, 'in_progress', \
             created_at + interval '1 second', now() FROM pgkeep.backup WHERE id = '{id}'"
    );
    let begin = begin.replace("replace(id, 'Z-', 'Z-0')", "left(id, -4) || 'ffff'");
    site.cluster.execute(&site.catalog, &begin);
    assert_verdicts(&seen(&site, 0), &[("backup_failed", None, "")]);
    let die = "UPDATE pgkeep.backup SET heartbeat_at = now() - interval '1 day' WHERE status = 'in_progress'";
    site.cluster.execute(&site.catalog, die);
    check(&site, 2).stdout_has("died before it ended").run();
    assert_verdicts(
        &seen(&site, 2),
        &[("backup_failed", None, "critical"), ("no_good_backup", None, "well")],
    );
}

/// Between two tries nobody is told that it has failed; what was never tried again has.
#[test]
fn a_try_that_is_to_be_followed_by_another() {
    let mut site = Site::new().local_only().with_own_catalog();
    site.backup();
    let url = site.cluster.url(&site.database);
    site.config.set("source.url", url.replace(&format!(":{}/", site.cluster.port), ":9/"));
    site.config.set("retry.attempts", 1);
    site.config.set("retry.delay", "1s");
    site.pgkeep(["backup", "full"]).code(1).any_stderr().run();
    let mut tries: Vec<_> = site.rows().into_iter().filter(|row| row["status"] == "failed").collect();
    tries.sort_by_key(|row| row["id"].as_str().unwrap().to_owned());
    let next: Vec<bool> = tries.iter().map(|row| row["metadata"]["next_try_at"].is_string()).collect();
    assert_eq!(next, [true, false], "{tries:#?}");
    site.config.set("source.url", url);
    let last = tries[1]["id"].as_str().unwrap();
    let follow = |when: &str| {
        let sql = format!(
            "UPDATE pgkeep.backup SET metadata = metadata || jsonb_build_object('next_try_at', {when}) \
             WHERE id = '{last}'; DELETE FROM pgkeep.alert"
        );
        site.cluster.execute(&site.catalog, &sql);
    };
    follow("now() + interval '5 minutes'");
    assert_verdicts(&seen(&site, 0), &[("backup_failed", None, "")]);
    follow("now() - interval '11 minutes'");
    assert_verdicts(&seen(&site, 2), &[("backup_failed", None, "critical")]);
}

#[test]
fn what_is_on_record_of_copies_and_checks() {
    let site = Site::new();
    let id = site.backup();
    let tell = |sql: &str| site.cluster.execute(&site.catalog, sql);
    tell("UPDATE pgkeep.backup SET status = 'degraded', error = 'store `b2`: no room'");
    tell("UPDATE pgkeep.copy SET state = 'failed' WHERE store = 'b2'");
    check(&site, 1).stdout_has(&format!("the backup `{id}` is degraded: store `b2`: no room")).run();
    assert_verdicts(
        &seen(&site, 1),
        &[("backup_degraded", None, "warning"), ("no_good_backup", None, "well")],
    );
    tell("UPDATE pgkeep.copy SET state = 'corrupt' WHERE store = 'b2'");
    let wanted =
        [("verification_failed", Some("b2"), "critical"), ("verification_failed", Some("r2"), "well")];
    assert_verdicts(&seen(&site, 2), &wanted);
    tell("UPDATE pgkeep.copy SET state = 'verified' WHERE store = 'b2'");
    tell(
        "UPDATE pgkeep.backup SET metadata = metadata || \
          '{\"unproven\": {\"level\": \"restore\", \"error\": \"1 row less\"}}'",
    );
    check(&site, 2).stdout_has(&format!("the test restore of `{id}` failed: 1 row less")).run();
    assert_verdicts(&seen(&site, 2), &[("test_restore_failed", None, "critical")]);
}

#[test]
fn keys_that_are_lost_or_about_to_be_alone() {
    let site = Site::new().local_only();
    let id = site.backup();
    let key = site.path("pgkeep.key");
    let text = std::fs::read(&key).unwrap();
    std::fs::remove_file(&key).unwrap();
    check(&site, 2).stdout_has(&format!("no key at hand opens 1 backup, the newest `{id}`")).run();
    let wanted = [("key_missing", None, "critical"), ("copy_missing", Some("local"), "well")];
    assert_verdicts(&seen(&site, 2), &wanted);
    site.pgkeep(["key", "new", "--output", key.to_str().unwrap()]).any_stdout().any_stderr().run();
    assert_verdicts(&seen(&site, 2), &wanted);
    site.backup();
    // Both keys are in use; the older one's backup is about to go.
    site.cluster.execute(
        &site.catalog,
        &format!(
            "UPDATE pgkeep.copy SET expires_at = now() + CASE backup WHEN '{id}' THEN interval '1 day' \
                  ELSE interval '90 days' END"
        ),
    );
    assert_verdicts(&seen(&site, 2), &[("only_key", None, "info")]);
    std::fs::write(&key, text).unwrap();
}
