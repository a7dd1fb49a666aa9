//! Every kind of bad day of a store, at every moment of a backup: the other stores hold whole copies, the
//! verdict is that store's alone, and one line on stderr names the cause.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::command::Ran;
use crate::support::rule::{Action, Drip};
use crate::support::{FakeBin, FaultServer, Manners, Rule, Site};

mod downloads;
mod slow;
mod words;

/// No run of these tests may take longer, on the slowest machine: that would be a hang.
const HANG: Duration = Duration::from_secs(100);

/// When a request of a backup to a store comes: its method, and what its address holds.
type Moment = (&'static str, &'static str);

const START: Moment = ("POST", "uploads");
const PART: Moment = ("PUT", "partNumber=1");
const COMPLETION: Moment = ("POST", "uploadId=");
const MANIFEST: Moment = ("PUT", ".json");
const READ_BACK: Moment = ("GET", ".pgk");
const MOMENTS: [Moment; 5] = [START, PART, COMPLETION, MANIFEST, READ_BACK];

/// A site with a fault server in front of one bucket.
struct Day {
    site: Site,
    fault: FaultServer,
}

impl Day {
    fn new() -> Self {
        let mut site = Site::new();
        let fault = site.fault("b2", Manners::Plain);
        Self { site, fault }
    }

    /// The same with short time limits.
    fn short() -> Self {
        let mut day = Self::new();
        for (limit, time) in [("connect", "3s"), ("stall", "3s"), ("request", "5s")] {
            day.site.config.set(&format!("timeouts.{limit}"), time);
        }
        day
    }

    fn backup(&self, moment: Moment, action: &Action) -> Ran {
        self.fault.heal();
        self.fault.rule(Rule::on(moment.0, moment.1).does(action.clone()));
        let started = Instant::now();
        let ran = self.site.pgkeep(["--json", "backup", "full"]).any_code().any_stdout().any_stderr().run();
        self.fault.heal();
        assert!(started.elapsed() < HANG, "{moment:?}: {:?}", started.elapsed());
        ran
    }

    /// A backup with that fault: whole but in that store, whose error holds the words, told once.
    fn assert_degraded(&self, moment: Moment, action: &Action, words: &str) {
        let ran = self.backup(moment, action);
        let case = format!("{moment:?} {action:?}\n{}", ran.stderr);
        assert_eq!(ran.code, 3, "{case}");
        let document = ran.json();
        assert_eq!(document["status"], "degraded", "{case}");
        for store in ["local", "r2"] {
            assert_eq!(copy(&document, store)["state"], "verified", "{case}");
        }
        let b2 = copy(&document, "b2");
        let error = b2["error"].as_str().unwrap();
        assert!(error.contains(words) && b2["verified_at"].is_null(), "{case}");
        assert_eq!(ran.stderr.lines().count(), 1, "{case}");
        assert!(ran.stderr.contains("store `b2`: ") && ran.stderr.contains(words), "{case}");
        let id = document["id"].as_str().unwrap();
        let keys: Vec<String> = self.site.b2.keys().into_iter().filter(|key| key.contains(id)).collect();
        let whole = if moment == READ_BACK { 2 } else { 0 };
        assert_eq!(keys.len(), whole, "{case}{keys:?}");
        let stores: &[&str] = if whole > 0 { &["local", "r2", "b2"] } else { &["local", "r2"] };
        self.site.assert_copies(id, stores);
        self.site.assert_no_uploads();
    }
}

fn copy<'a>(document: &'a Value, store: &str) -> &'a Value {
    document["copies"].as_array().unwrap().iter().find(|copy| copy["store"] == store).unwrap()
}

/// Does each at once, each in a world of its own.
fn at_once<T: Send>(cases: Vec<T>, check: impl Fn(T) + Sync) {
    std::thread::scope(|scope| {
        let check = &check;
        let threads: Vec<_> = cases.into_iter().map(|case| scope.spawn(move || check(case))).collect();
        for thread in threads {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
}

fn refusal(status: u16, code: &str, message: &str) -> Action {
    let body =
        format!("<?xml version=\"1.0\"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>");
    Action::answer(status, "application/xml", &[], &body)
}

fn web_page(status: u16) -> Action {
    Action::answer(status, "text/html; charset=utf-8", &[], "<!DOCTYPE html><html>Please log in</html>")
}

/// What a server says no with, for good, and what a person is told to do.
#[test]
fn a_refusal_names_the_cause_whenever_it_comes() {
    let cases = vec![
        (refusal(403, "SignatureDoesNotMatch", "wrong"), "check access_key_id and secret_access_key"),
        (refusal(403, "AccessDenied", "Cannot upload, storage cap exceeded."), "Caps & Alerts"),
        (refusal(507, "XMinioStorageFull", "minimum free drive threshold"), "the store is full"),
        (refusal(301, "PermanentRedirect", "elsewhere"), "check endpoint and region"),
        (web_page(403), "a web page answers there"),
    ];
    at_once(cases, |(action, words)| {
        let day = Day::new();
        for moment in MOMENTS {
            day.assert_degraded(moment, &action, words);
        }
    });
}

/// An answer with a status of success that is none: an error document, or the page of a proxy.
#[test]
fn a_yes_that_is_none_does_not_count() {
    let error = Action::OkWithError { code: "AccessDenied" };
    let cases = vec![(error, "AccessDenied"), (web_page(200), "a web page answers there")];
    at_once(cases, |(action, words)| {
        let day = Day::new();
        for moment in MOMENTS {
            day.assert_degraded(moment, &action, words);
        }
    });
}

/// The store takes a manifest and has none afterwards: its copy does not count, and is not said to.
#[test]
fn a_manifest_that_was_taken_and_is_not_there_is_missed() {
    let action = Action::answer(200, "application/xml", &[("ETag", "\"0\"")], "");
    Day::new().assert_degraded(MANIFEST, &action, "does not have it");
}

/// A store that stays in trouble is given up after some tries, a few seconds each.
#[test]
fn trouble_that_does_not_pass_ends() {
    let slow_down = Action::Refuse { status: 503, code: "SlowDown", retry_after: None };
    let cases = vec![
        (START, slow_down.clone(), "SlowDown (503)"),
        (COMPLETION, slow_down, "SlowDown (503)"),
        (PART, refusal(500, "InternalError", "out of order"), "out of order"),
        (START, Action::Reset, "broke"),
        (PART, Action::CutRequest(1000), "broke"),
        (MANIFEST, Action::LoseAnswer, "broke"),
        (READ_BACK, Action::CutResponse(1000), "broke"),
        (READ_BACK, Action::CutChunks(0), "broke"),
    ];
    at_once(cases, |(moment, action, words)| {
        let day = Day::short();
        // The answer is lost and the manifest is written: that is whole.
        if matches!(action, Action::LoseAnswer) {
            let ran = day.backup(moment, &action);
            assert_eq!(ran.code, 3, "{}", ran.stderr);
            assert!(ran.stderr.contains(words), "{}", ran.stderr);
        } else {
            day.assert_degraded(moment, &action, words);
        }
    });
}

/// Whatever hangs, in whichever phase, the run ends, and the upload is taken back where the server lets it.
#[test]
fn a_store_that_hangs_is_left_behind_in_every_phase() {
    let drip = Action::DripResponse(Drip { bytes: 1, pause: Duration::from_secs(1) });
    let (stall, request) = ("timeouts.stall", "timeouts.request");
    let cases = vec![
        (START, Action::Hang, stall),
        (START, Action::HangInResponse(10), stall),
        (PART, Action::Hang, stall),
        (PART, Action::HangInRequest(1000), stall),
        (COMPLETION, Action::Hang, stall),
        (COMPLETION, drip.clone(), request),
        (MANIFEST, Action::Hang, stall),
        (READ_BACK, Action::HangInResponse(1000), stall),
        (READ_BACK, drip, request),
    ];
    at_once(cases, |(moment, action, words)| {
        let day = Day::short();
        if moment == COMPLETION && words == request {
            // It was completed, and a look from outside says so: that the answer drips does not matter.
            let ran = day.backup(moment, &action);
            assert_eq!(ran.code, 0, "{}", ran.stderr);
        } else {
            day.assert_degraded(moment, &action, words);
        }
    });
}

/// A store that takes connections and never says anything, to any request: the bound of the whole run.
#[test]
fn a_store_that_hangs_at_every_request_costs_a_few_time_limits() {
    let day = Day::short();
    let ran = day.backup(("", ""), &Action::Hang);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("store `b2`: ") && ran.stderr.contains("timeouts.stall"), "{}", ran.stderr);
    // The lane's one, and two tries at filling it: what comes beyond that would be layers that multiply.
    let tries = day.fault.count("POST", "uploads");
    assert!(tries <= 5, "{tries} tries to start an upload");
}

/// Each once, then well again: nobody's night is lost to it.
#[test]
fn what_happens_once_is_ridden_out() {
    let mut site = Site::of_parts();
    site.config.set("timeouts.stall", "6s");
    let fault = site.fault("b2", Manners::Plain);
    let once =
        |moment: Moment, action: Action| fault.rule(Rule::on(moment.0, moment.1).times(1).does(action));
    once(START, Action::CutResponse(10));
    once(
        START,
        Action::Answer(b"HTTP/1.1 503 Busy\r\nRetry-After: Wed, 21 Oct 2065 07:28:00 GMT\r\n\r\n".to_vec()),
    );
    once(PART, Action::OkWithError { code: "InternalError" });
    once(("PUT", "partNumber=2"), Action::HangInRequest(1_000_000));
    once(("PUT", "partNumber=3"), Action::CutRequest(1_000_000));
    once(COMPLETION, Action::HangInResponse(0));
    once(MANIFEST, Action::OkWithError { code: "SlowDown" });
    once(READ_BACK, Action::HangInResponse(2_000_000));
    once(READ_BACK, Action::CutChunks(1_000_000));
    let id = site.pgkeep(["backup", "full"]).any_stdout().any_stderr().run().id();
    assert_eq!(site.row(&id)["status"], "verified");
    site.assert_copies(&id, &["local", "r2", "b2"]);
    site.assert_no_uploads();
    assert_eq!(fault.count("PUT", "partNumber="), 6);
}

/// The server begins an upload, and a proxy before it, or the server itself, says something else: the upload is not
/// left behind, though nobody here knows its id.
#[test]
fn an_upload_that_was_begun_without_saying_so_is_not_left() {
    let day = Day::short();
    let timeout = b"HTTP/1.1 504 Gateway Time-out\r\nContent-Length: 0\r\n\r\n".to_vec();
    let nothing =
        b"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nContent-Length: 11\r\n\r\n<Initiated/>";
    for answer in [timeout, nothing.to_vec()] {
        for times in [1, usize::MAX] {
            day.fault.heal();
            let action = Action::AnswerInstead(answer.clone());
            day.fault.rule(Rule::on(START.0, START.1).times(times).does(action));
            day.site.pgkeep(["backup", "full"]).any_code().any_stdout().any_stderr().run();
            assert!(day.fault.count(START.0, START.1) > 0);
            day.site.assert_no_uploads();
        }
    }
}

/// A store that answers neither an abort nor, in the next run, the list of what is left there: neither run waits
/// for ever, neither is worse for it, and what is left goes as soon as the store answers.
#[test]
fn cleaning_up_that_hangs_is_made_up_for() {
    let mut day = Day::short();
    // A prune needs the list too, and says that it has none.
    day.site.config.set("retention.after_backup", false);
    let script = "\"$REAL\" \"$@\" >/dev/null; exit 1";
    let bin = FakeBin::new(&day.site.path(""), script);
    day.site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    let ran = day.backup(("DELETE", "uploadId="), &Action::Hang);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("store `b2`: abort of upload"), "{}", ran.stderr);
    assert!(ran.stderr.contains("the next run removes it"), "{}", ran.stderr);
    assert_eq!(day.site.b2.uploads().len(), 1);
    day.site.config.set("source.pg_bin", crate::support::tools::pg_bin().to_str().unwrap());
    let ran = day.backup(("GET", "uploads"), &Action::Hang);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let id = ran.json()["id"].as_str().unwrap().to_owned();
    day.site.assert_copies(&id, &["local", "r2", "b2"]);
    day.site.backup();
    day.site.assert_no_uploads();
}
