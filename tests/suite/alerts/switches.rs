//! Dead man's switches: which runs each hears of, and when it hears nothing.

use rustix::process::Signal;

use super::statuses;
use crate::support::receiver::{Answer, Receiver};
use crate::support::tools::pg_bin;
use crate::support::{FakeBin, Site};

/// Two switches, of all databases (`/all`) and of `database` (`/one`).
fn add_switches(site: &mut Site, receiver: &Receiver, database: &str) {
    site.config.channel("all", &format!("kind = 'ping'\nurl = '{}'", receiver.url("/all")));
    let keys = format!("kind = 'ping'\nurl = '{}'\ndatabases = ['{database}']", receiver.url("/one"));
    site.config.channel("one", &keys);
}

/// The paths of what has come since so many requests, without the runs' ids, in order of their switches.
fn told(receiver: &Receiver, since: usize) -> Vec<String> {
    let mut told: Vec<String> =
        receiver.requests()[since..].iter().map(|request| request.path().to_owned()).collect();
    told.sort_by_key(|path| path.split('/').nth(1).map(str::to_owned));
    told
}

#[test]
fn a_switch_of_a_database_hears_of_its_runs_alone() {
    let receiver = Receiver::start();
    let mut site = Site::new().local_only();
    let one = site.database.clone();
    let other = site.cluster.fresh_database();
    site.cluster.execute(&other, "CREATE TABLE a ()");
    add_switches(&mut site, &receiver, &one);
    site.config.set("source.databases", vec![one.clone(), other.clone()]);
    // A run of the other says nothing of this one, and is a part of what the switch of all is for.
    site.pgkeep(["backup", "full", "--database", &other]).any_stdout().run();
    assert_eq!(told(&receiver, 0), ["/all/log"]);
    // Nor does the other's failure.
    let before = receiver.requests().len();
    site.config.set("source.databases", vec![one.clone(), "no_such".to_owned()]);
    site.pgkeep(["backup", "full"]).code(1).any_stdout().stderr_has("does not exist").run();
    assert_eq!(told(&receiver, before), ["/all/start", "/all/fail", "/one/start", "/one"]);
    // Its own is heard by both.
    let before = receiver.requests().len();
    site.config.set("source.databases", vec!["no_such".to_owned(), other.clone()]);
    let broken = FakeBin::new(&site.path(""), "echo 'pg_dump: error: no' >&2; exit 1");
    site.config.set("source.pg_bin", broken.folder.to_str().unwrap());
    site.pgkeep(["backup", "full", "--database", &one]).code(1).any_stderr().run();
    assert_eq!(told(&receiver, before), ["/all/fail", "/one/start", "/one/fail"]);
}

/// A run that leaves a database to another one is no success of it, and none of its failures.
#[test]
fn a_run_that_leaves_a_database_to_another() {
    let receiver = Receiver::start();
    let mut site = Site::new().local_only();
    let one = site.database.clone();
    let other = site.cluster.fresh_database();
    site.cluster.execute(&other, "CREATE TABLE a ()");
    let held = FakeBin::held(&site.path(""));
    site.config.set("source.pg_bin", held.folder.to_str().unwrap());
    let running = site.pgkeep(["backup", "full", "--database", &other]).any_code().any_stderr().start();
    held.wait_for_start();
    add_switches(&mut site, &receiver, &one);
    site.config.set("source.databases", vec![one, other]);
    site.config.set("source.pg_bin", pg_bin().to_str().unwrap());
    site.pgkeep(["backup", "full"]).code(6).any_stdout().stderr_has("another run").run();
    assert_eq!(told(&receiver, 0), ["/all/start", "/all/log", "/one/start", "/one"]);
    running.signal(Signal::INT);
    running.finish();
}

/// Databases that the server alone can name: where it can't be asked, every switch hears that nothing was done.
#[test]
fn a_run_that_does_not_know_its_databases_is_a_failure_of_all() {
    let receiver = Receiver::start();
    let mut site = Site::new().local_only().with_own_catalog();
    let one = site.database.clone();
    add_switches(&mut site, &receiver, &one);
    site.config.set("source.databases", vec!["*"]);
    site.config.set("source.url", "postgresql://nobody@127.0.0.1:9/x");
    site.pgkeep(["backup", "full"]).code(1).any_stderr().run();
    assert_eq!(told(&receiver, 0), ["/all/fail", "/one/fail"]);
}

/// What nobody took of an earlier run is not told in the middle of the next one, as if it were over.
#[test]
fn a_late_sign_of_life_is_withdrawn_by_the_next_run() {
    let receiver = Receiver::start();
    let mut site = Site::new().local_only();
    site.config.channel("dead", &format!("kind = 'ping'\nurl = '{}'", receiver.url("/p")));
    receiver.always(Answer::Status(400));
    site.pgkeep(["backup", "full"]).any_stdout().stderr_has("tried again later").run();
    assert_eq!(statuses(&site).get("waiting"), Some(&1));
    receiver.always(Answer::Status(200));
    let held = FakeBin::held(&site.path(""));
    site.config.set("source.pg_bin", held.folder.to_str().unwrap());
    let running = site.pgkeep(["backup", "full"]).any_code().any_stderr().start();
    held.wait_for_start();
    let before = receiver.requests().len();
    site.pgkeep(["alert", "send"]).any_stdout().run();
    assert_eq!(receiver.requests().len(), before);
    assert_eq!(statuses(&site).get("superseded"), Some(&1));
    running.signal(Signal::TERM);
    running.finish();
    assert_eq!(receiver.requests().last().unwrap().path(), "/p/fail");
}

/// A failure that a switch has not heard of is told, whatever comes after it.
#[test]
fn a_failure_is_never_withdrawn() {
    let receiver = Receiver::start();
    let mut site = Site::new().local_only();
    site.config.channel("dead", &format!("kind = 'ping'\nurl = '{}'", receiver.url("/p")));
    receiver.always(Answer::Status(400));
    let broken = FakeBin::new(&site.path(""), "echo 'pg_dump: error: no' >&2; exit 1");
    site.config.set("source.pg_bin", broken.folder.to_str().unwrap());
    site.pgkeep(["backup", "full"]).code(1).any_stderr().run();
    site.config.set("source.pg_bin", pg_bin().to_str().unwrap());
    // One of another database, and one of all that goes well.
    let other = site.cluster.fresh_database();
    site.pgkeep(["backup", "full", "--database", &other]).any_code().any_stdout().any_stderr().run();
    site.pgkeep(["backup", "full"]).any_stdout().any_stderr().run();
    receiver.always(Answer::Status(200));
    let before = receiver.requests().len();
    site.pgkeep(["alert", "send"]).any_stdout().run();
    assert_eq!(told(&receiver, before), ["/p/fail", "/p"]);
}

/// Healthchecks says in the body of a success that it took none.
#[test]
fn a_success_that_is_none_is_tried_again() {
    let receiver = Receiver::start();
    let mut site = Site::new().local_only();
    site.config.channel("dead", &format!("kind = 'ping'\nurl = '{}'", receiver.url("/p")));
    receiver.always(Answer::With(200, "OK (not found)".to_owned()));
    site.pgkeep(["backup", "full"]).any_stdout().stderr_has("not found").run();
    assert_eq!(statuses(&site).get("waiting"), Some(&1));
    receiver.always(Answer::With(200, "OK".to_owned()));
    site.pgkeep(["alert", "send"]).any_stdout().run();
    assert_eq!(statuses(&site).get("sent"), Some(&1));
}

/// The last lines of the log go along with a failure, without any row; what stands behind a row is told all the same.
#[test]
fn a_switch_is_told_why_and_no_row() {
    let receiver = Receiver::start();
    let mut site = Site::new().local_only();
    site.config.channel("dead", &format!("kind = 'ping'\nurl = '{}'", receiver.url("/p")));
    let (secret, more) = ("4111-1111-1111-1111", "eva@example.org");
    let says = format!(
        "printf 'pg_dump: error: query failed: ERROR:  that is no number\\nDETAIL:  Key (card)=({secret}\\n{more}) is \
         there.\\n' >&2; exit 1"
    );
    let bin = FakeBin::new(&site.path(""), &says);
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    site.config.set("source.databases", vec![site.database.clone(), "no_such".to_owned()]);
    site.pgkeep(["backup", "full"]).code(1).stderr_has(secret).stderr_has(more).run();
    let request = receiver.requests().pop().unwrap();
    assert_eq!(request.path(), "/p/fail");
    let body = request.text();
    assert!(!body.contains(secret) && !body.contains(more), "{body}");
    assert!(body.contains("that is no number") && body.contains("(data left out)"), "{body}");
    assert!(body.contains("no_such"), "{body}");
}

/// A program that says more than fits a screen is cut before it is told.
#[test]
fn what_a_switch_is_told_is_short() {
    let receiver = Receiver::start();
    let mut site = Site::new().local_only();
    site.config.channel("dead", &format!("kind = 'ping'\nurl = '{}'", receiver.url("/p")));
    let says = "printf 'pg_dump: error: '; printf 'x%.0s' {1..5000}; echo; exit 1";
    let bin = FakeBin::new(&site.path(""), &format!("{{ {says}; }} >&2"));
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    let said = site.pgkeep(["backup", "full"]).code(1).any_stderr().run().stderr;
    let body = receiver.requests().pop().unwrap().text();
    assert!(said.len() > 1000, "{said}");
    assert!(body.contains("pg_dump: error: xxx"), "{body}");
    let longest = body.lines().map(|line| line.chars().count()).max().unwrap();
    assert!(longest < 400, "{body}");
}
