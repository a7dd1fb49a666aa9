//! A prune beside other runs: another prune, a backup, a check, a signal, a clock that somebody changed.

use rustix::process::Signal;

use pgkeep::testpoint::Step;

use super::{keep, local_of_ten_days, plan_of, site};
use crate::clock;
use crate::kills::held_at;
use crate::support::command::Ran;
use crate::support::planted::Planted;
use crate::support::rule::Action;
use crate::support::{FakeBin, Manners, Rule, Site, wait_until};

/// A second prune does not meet the first; a backup does not wait for one, and is no worse for it.
#[test]
fn two_prunes_do_not_meet_and_a_backup_goes_on() {
    let mut planted = local_of_ten_days(1..=14);
    let site = &planted.site;
    let first = held_at(site.pgkeep(["prune"]), Step::ArtifactExpired, 1).any_stdout().any_stderr().start();
    first.wait_for_stderr("stands still at");
    let said = site.pgkeep(["prune"]).code(6).any_stdout().any_stderr().run().stderr;
    assert!(said.contains("another run works on") && said.contains("a prune on "), "{said}");
    let id = site.backup();
    assert_eq!(site.row(&id)["status"], "verified");
    first.signal(Signal::KILL);
    first.await_death();
    site.pgkeep(["prune", "--quiet"]).run();
    planted.ids.push(id);
    assert_eq!(planted.shown_in("local"), planted.from(5));
}

/// Nothing goes while a run of the database has not ended: it may be the one that shows that the dumps are bad.
#[test]
fn nothing_goes_while_a_backup_is_made() {
    let mut planted = local_of_ten_days(1..=14);
    let bin = FakeBin::held(&planted.site.path(""));
    planted.site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    let running = planted.site.pgkeep(["backup", "full"]).any_stdout().any_stderr().start();
    bin.wait_for_start();
    // A run that lives is no trouble.
    planted.site.pgkeep(["prune"]).stdout_has("the newest run has not ended").run();
    assert_eq!(planted.shown_in("local"), planted.from(0));
    bin.release();
    planted.ids.push(running.finish().id());
    assert_eq!(planted.shown_in("local"), planted.from(5));
}

/// Does something between the plan of a prune and what it removes.
fn after_the_plan(site: &Site, code: i32, then: impl FnOnce()) -> Ran {
    let mut client = site.cluster.connect(&site.catalog);
    let mut transaction = client.transaction().unwrap();
    // What it writes before it begins waits; what it reads does not.
    transaction.batch_execute("LOCK TABLE pgkeep.copy IN SHARE MODE").unwrap();
    let running = site.pgkeep(["prune"]).code(code).any_stdout().any_stderr().start();
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'pgkeep.copy'::regclass";
    let mut looking = site.cluster.connect(&site.catalog);
    wait_until("it has its plan", || looking.query_one(waiting, &[]).unwrap().get::<_, i64>(0) > 0);
    then();
    transaction.rollback().unwrap();
    running.finish()
}

/// The copies that let the others go are looked for in the store itself, once more.
#[test]
fn what_lets_others_go_must_still_be_there() {
    let planted = local_of_ten_days(1..=14);
    let site = &planted.site;
    let third = &planted.ids[12];
    let ran = after_the_plan(site, 3, || {
        let path = site.copies(third)["local"]["path"].as_str().unwrap().to_owned();
        std::fs::remove_file(path).unwrap();
    });
    let told = format!("the copy of `{third}`, which is to stay, is not whole in the store any more");
    assert!(ran.stderr.contains(&told) && ran.stdout.contains("0 of 15"), "{ran:?}");
    assert_eq!(planted.shown_in("local").len(), 14);
}

/// What was pinned between the plan and the removal stays.
#[test]
fn a_plan_is_looked_at_again_before_anything_goes() {
    let planted = local_of_ten_days(1..=14);
    let site = &planted.site;
    let ran = after_the_plan(site, 0, || {
        site.pgkeep(["pin", &planted.ids[0]]).any_stdout().run();
    });
    assert!(ran.stdout.contains("its record has changed meanwhile"), "{ran:?}");
    let mut stays = planted.from(5);
    stays.insert(planted.ids[0].clone());
    assert_eq!(planted.shown_in("local"), stays);
}

/// Between two handfuls the newest copies turn out to be damaged, and an old one is pinned: neither is too late.
#[test]
fn what_is_found_and_pinned_meanwhile_counts() {
    let mut site = Site::new().local_only();
    site.config.store("local").insert("keep".to_owned(), keep("{ last = 10 }"));
    let planted = Planted::nights(site, 1..=59);
    let (site, ids) = (&planted.site, &planted.ids);
    let mut client = site.cluster.connect(&site.catalog);
    let mut transaction = client.transaction().unwrap();
    // The first handful can't be put on record before this ends.
    transaction.execute("SELECT FROM pgkeep.copy WHERE backup = $1 FOR UPDATE", &[&ids[49]]).unwrap();
    let running = site.pgkeep(["prune", "--force"]).any_stdout().any_stderr().any_code().start();
    let mut looking = site.cluster.connect(&site.catalog);
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%copy%' \
                   AND datname = current_database()";
    wait_until("a handful is gone", || looking.query_one(waiting, &[]).unwrap().get::<_, i64>(0) > 0);
    for id in &ids[57..] {
        let damaged = format!("UPDATE pgkeep.copy SET state = 'corrupt', error = 'x' WHERE backup = '{id}'");
        site.cluster.execute(&site.catalog, &damaged);
    }
    site.pgkeep(["pin", &ids[20]]).any_stdout().run();
    transaction.rollback().unwrap();
    let ran = running.finish();
    assert!(ran.stdout.contains("its record has changed meanwhile"), "{ran:?}");
    // Those of the first handful are gone; in the place of the damaged ones three older ones stay.
    let mut stays = planted.from(50);
    stays.extend(ids[39..42].iter().cloned());
    stays.insert(ids[20].clone());
    assert_eq!(planted.shown_in("local"), stays);
}

/// What is restored from stays to the end of that.
#[test]
fn what_a_restore_reads_is_left() {
    let mut planted = local_of_ten_days([3, 2, 1]);
    // The real one, which alone can be restored, is the oldest now.
    let real = planted.ids.pop().unwrap();
    planted.ids.insert(0, real.clone());
    let site = &planted.site;
    let older =
        format!("UPDATE pgkeep.backup SET created_at = created_at - interval '20 days' WHERE id = '{real}'");
    site.cluster.execute(&site.catalog, &older);
    let (_, into) = site.target();
    let restoring = held_at(site.pgkeep(["restore", &real, "--into", &into]), Step::RestoreBegun, 1);
    let restoring = restoring.any_stdout().any_stderr().any_code().start();
    restoring.wait_for_stderr("stands still at");
    let ran = site.pgkeep(["prune"]).any_stdout().run();
    assert!(ran.stdout.contains("somebody looks at its copies"), "{}", ran.stdout);
    assert_eq!(planted.shown_in("local"), planted.from(0));
    restoring.signal(Signal::TERM);
    restoring.finish();
    site.pgkeep(["prune", "--quiet"]).run();
    assert_eq!(planted.shown_in("local"), planted.from(1));
    site.pgkeep(["restore", &real, "--into", &into]).code(5).stderr_has("is expired").run();
}

/// A check that waits for a prune finds nothing to check, and says so.
#[test]
fn what_goes_while_a_check_waits_is_no_success() {
    let planted = local_of_ten_days([20, 3, 2, 1]);
    let (site, id) = (&planted.site, planted.ids[0].as_str());
    let prune = held_at(site.pgkeep(["prune"]), Step::ArtifactExpired, 1);
    let prune = prune.any_stdout().any_stderr().any_code().start();
    prune.wait_for_stderr("stands still at");
    let check = site.pgkeep(["verify", id, "-v"]).code(5).stderr_has("is expired").start();
    check.wait_for_stderr("waiting for a prune");
    prune.signal(Signal::TERM);
    prune.finish();
    check.finish();
}

/// What somebody reads stays until the next prune; the others go.
#[test]
fn what_a_check_reads_is_left() {
    let mut site = site([("local", "\"10d\""), ("r2", "\"10d\""), ("b2", "\"forever\"")]);
    site.config.set("timeouts.stall", "120s");
    let fault = site.fault("r2", Manners::r2());
    let planted = Planted::nights(site, [20, 19, 3, 2, 1]);
    let site = &planted.site;
    fault.rule(Rule::on("GET", "0000.dump").times(1).does(Action::Hang));
    let checking =
        site.pgkeep(["verify", &planted.ids[0], "--level", "checksum"]).any_stdout().any_stderr().any_code();
    let checking = checking.start();
    wait_until("the check reads", || fault.count("GET", "0000.dump") > 0);
    let ran = site.pgkeep(["prune"]).any_stdout().run();
    assert!(ran.stdout.contains("somebody looks at its copies"), "{}", ran.stdout);
    let mut stays = planted.from(2);
    stays.insert(planted.ids[0].clone());
    assert_eq!((planted.shown_in("local"), planted.shown_in("r2")), (stays.clone(), stays));
    checking.signal(Signal::KILL);
    checking.await_death();
    wait_until("its session is gone", || {
        let ran = site.pgkeep(["prune"]).any_stdout().run();
        !ran.stdout.contains("somebody looks")
    });
    assert_eq!((planted.shown_in("local"), planted.shown_in("r2")), (planted.from(2), planted.from(2)));
}

/// A prune that does not come to its end with a copy is waited for as long as for any lock, and no longer: nothing is
/// said of that copy that may not be true, nor is it put back on record.
#[test]
fn what_a_prune_holds_can_neither_be_pinned_nor_checked() {
    let planted = local_of_ten_days([20, 3, 2, 1]);
    let (site, id) = (&planted.site, planted.ids[0].as_str());
    let prune = held_at(site.pgkeep(["prune"]), Step::ArtifactExpired, 1).any_stdout().any_stderr();
    let prune = prune.any_code().start();
    prune.wait_for_stderr("stands still at");
    let words = format!("a prune is removing copies of `{id}`");
    let calls = [&["pin", id][..], &["verify", id], &["verify", id, "--repair"]];
    let calls = calls.map(|call| site.pgkeep(call).code(6).stderr_has(&words).start());
    let sweep =
        site.pgkeep(["verify", "--all", "--level", "stat"]).any_code().any_stdout().any_stderr().start();
    for call in calls {
        call.finish();
    }
    assert!(sweep.finish().stderr.contains(&words));
    prune.signal(Signal::TERM);
    prune.finish();
    let row = site.row(id);
    assert_eq!((&row["status"], &row["pinned_at"]), (&"expired".into(), &serde_json::Value::Null), "{row:#}");
}

/// The catalog ends between what the store removed and the record of it: that is told, and made up for.
#[test]
fn what_was_removed_is_told_though_the_catalog_ends() {
    let mut site = Site::new().local_only();
    site.config.store("local").insert("keep".to_owned(), keep("{ last = 4 }"));
    let planted = Planted::nights(site, [22, 21, 20, 3, 2, 1]);
    let (site, ids) = (&planted.site, &planted.ids);
    let mut client = site.cluster.connect(&site.catalog);
    let mut transaction = client.transaction().unwrap();
    transaction.execute("SELECT FROM pgkeep.copy WHERE backup = $1 FOR UPDATE", &[&ids[2]]).unwrap();
    let running = site.pgkeep(["prune"]).code(1).any_stdout().stderr_has("is not on record").start();
    let mut looking = site.cluster.connect(&site.catalog);
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
               WHERE wait_event_type = 'Lock' AND datname = current_database()";
    wait_until("its session is ended", || looking.query_one(end, &[]).unwrap().get::<_, i64>(0) > 0);
    let ran = running.finish();
    assert!(ran.stdout.contains("3 of 7 copies removed"), "{ran:?}");
    transaction.rollback().unwrap();
    assert_eq!(
        (planted.shown_in("local"), planted.on_record_in("local")),
        (planted.from(3), planted.from(0))
    );
    site.pgkeep(["prune"]).stdout_has("absent").stdout_has("0 of 7").any_stdout().run();
    assert_eq!(planted.on_record_in("local"), planted.from(3));
}

/// Claims go with the catalog's session: what was to go under them stays.
#[test]
fn claims_end_with_the_session() {
    let planted = local_of_ten_days([20, 3, 2, 1]);
    let site = &planted.site;
    let prune = held_at(site.pgkeep(["prune"]), Step::CopiesClaimed, 1).any_stdout().any_stderr();
    let prune = prune.any_code().start();
    prune.wait_for_stderr("stands still at");
    let mut client = site.cluster.connect(&site.catalog);
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    assert!(client.query_one(end, &[]).unwrap().get::<_, i64>(0) > 0);
    let left = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' \
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    wait_until("the claims are gone", || client.query_one(left, &[]).unwrap().get::<_, i64>(0) == 0);
    prune.signal(Signal::TERM);
    prune.finish();
    assert_eq!(planted.shown_in("local"), planted.from(0));
    site.pgkeep(["prune", "--quiet"]).run();
    assert_eq!(planted.shown_in("local"), planted.from(1));
}

/// Ended by a signal, it stops between two copies, and says so by its exit code.
#[test]
fn a_signal_ends_it_between_two_copies() {
    let planted = local_of_ten_days(1..=60);
    let site = &planted.site;
    let running = held_at(site.pgkeep(["prune", "--force"]), Step::CopyMarkedExpired, 1);
    let running = running.any_stdout().any_stderr().any_code().start();
    running.wait_for_stderr("stands still at");
    running.signal(Signal::TERM);
    let ran = running.finish();
    assert_eq!(ran.code, 143, "{ran:?}");
    let whole = planted.shown_in("local");
    assert!(whole.len() > planted.from(51).len() && whole.is_superset(&planted.from(51)), "{whole:?}");
    assert_eq!(planted.on_record_in("local"), whole);
    site.pgkeep(["prune", "--force", "--quiet"]).run();
    assert_eq!(planted.shown_in("local"), planted.from(51));
}

/// Years ahead nothing is older than it was, years back nothing goes at all.
#[test]
fn a_clock_that_is_years_off_removes_nothing() {
    let planted = local_of_ten_days(1..=14);
    let site = &planted.site;
    let by_right = plan_of(&planted);
    for (offset, goes) in [("+10y", 5), ("-10y", 0)] {
        let call = site.pgkeep(["prune", "--dry-run", "--json"]).any_stdout().any_stderr().any_code();
        let plan = clock::with_clock(call, &clock::off_by(site, offset)).run().json();
        let plan = plan["copies"].as_array().unwrap();
        assert_eq!(plan.iter().filter(|item| item["action"] == "remove").count(), goes, "{offset}");
        if goes > 0 {
            assert_eq!(*plan, by_right, "{offset}");
        }
    }
}
