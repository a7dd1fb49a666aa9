//! `kill -9` between raising an alert and sending it: nothing is lost, and nothing that can be helped is told twice.

use std::collections::BTreeSet;

use pgkeep::testpoint::Step;
use rustix::process::Signal;

use super::{fail, open, statuses, told};
use crate::kills::held_at;
use crate::support::Site;
use crate::support::receiver::{Answer, Receiver};

/// Steps between the failure and the last word of it, and how many requests there are in the end.
const OF_AN_ALERT: [(Step, usize); 3] =
    [(Step::AlertsRecorded, 1), (Step::LetterBegun, 1), (Step::LetterDelivered, 2)];

#[test]
fn anywhere_between_raising_and_sending() {
    for (step, times) in OF_AN_ALERT {
        let receiver = Receiver::start();
        let mut site = Site::new().local_only();
        let keys = format!("kind = 'webhook'\nurl = '{}'\ntimeout = '5s'", receiver.url("/ops"));
        site.config.channel("ops", &keys);
        let running = held_at(fail(&site).any_code().any_stderr(), step, 1).start();
        running.wait_for_stderr("stands still");
        running.signal(Signal::KILL);
        running.await_death();
        let alert = open(&site, "backup_failed");
        // The dead one may have been at it: it is left alone as long as it could be.
        site.cluster
            .execute(&site.catalog, "UPDATE pgkeep.delivery SET tried_at = tried_at - interval '1 minute'");
        site.pgkeep(["alert", "send"]).stdout("1 sent, 0 waiting\n").run();
        let requests = receiver.requests();
        assert_eq!(requests.len(), times, "{step:?}");
        let ids: BTreeSet<&str> = requests.iter().map(|request| request.header("webhook-id")).collect();
        assert_eq!(ids.len(), 1, "{step:?}: a receiver can't tell that it is the same");
        assert_eq!(told(&requests[0].body).1["id"], alert["id"], "{step:?}");
        assert_eq!(statuses(&site)["sent"], 1, "{step:?}");
    }
}

/// Two calls at once tell it once.
#[test]
fn two_calls_do_not_both_tell_it() {
    let receiver = Receiver::start();
    let mut site = Site::new().local_only();
    site.config.channel("ops", &format!("kind = 'webhook'\nurl = '{}'", receiver.url("/ops")));
    let running = held_at(fail(&site).any_code().any_stderr(), Step::LetterBegun, 1).start();
    running.wait_for_stderr("stands still");
    site.pgkeep(["alert", "send"]).code(1).stdout("0 sent, 1 waiting\n").run();
    assert_eq!(receiver.requests().len(), 0);
    running.signal(Signal::KILL);
    running.await_death();
}

/// One that another call has in its hand since it was read is not sent again.
#[test]
fn what_another_call_tries_meanwhile_is_left_alone() {
    let receiver = Receiver::start();
    receiver.always(Answer::Status(400));
    let mut site = Site::new().local_only();
    site.config.channel("ops", &format!("kind = 'webhook'\nurl = '{}'", receiver.url("/ops")));
    for name in ["gone_1", "gone_2"] {
        site.pgkeep(["backup", "full", "--database", name]).code(1).any_stderr().run();
    }
    receiver.always(Answer::Status(200));
    let before = receiver.requests().len();
    let running =
        held_at(site.pgkeep(["alert", "send"]).any_code().any_stdout().any_stderr(), Step::LetterBegun, 1);
    let running = running.start();
    running.wait_for_stderr("stands still");
    // The second call has the second letter in its hand.
    let second =
        held_at(site.pgkeep(["alert", "send"]).any_code().any_stdout().any_stderr(), Step::LetterBegun, 1);
    let second = second.start();
    second.wait_for_stderr("stands still");
    // Asked to stop, each goes on to its end.
    for running in [running, second] {
        running.signal(Signal::TERM);
        running.finish();
    }
    let requests = receiver.requests().split_off(before);
    let ids: BTreeSet<&str> = requests.iter().map(|request| request.header("webhook-id")).collect();
    assert_eq!((requests.len(), ids.len()), (2, 2));
}

/// The catalog's connection is lost while a letter is on its way: that it was sent is on record all the same.
#[test]
fn what_was_sent_is_on_record_although_the_connection_was_lost() {
    let receiver = Receiver::start();
    receiver.always(Answer::Status(400));
    let mut site = Site::new().local_only().with_own_catalog();
    site.config.channel("ops", &format!("kind = 'webhook'\nurl = '{}'", receiver.url("/ops")));
    fail(&site).stderr_has("tried again later").run();
    receiver.always(Answer::Status(200));
    let before = receiver.requests().len();
    let call = site.pgkeep(["alert", "send"]).any_code().any_stdout().any_stderr();
    let running = held_at(call, Step::LetterDelivered, 1).start();
    running.wait_for_stderr("stands still");
    let lost = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let lost = site.cluster.connect(&site.catalog).query(lost, &[]).unwrap();
    assert!(!lost.is_empty());
    // Asked to stop, it goes on to its end.
    running.signal(Signal::TERM);
    running.finish();
    assert_eq!(statuses(&site)["sent"], 1);
    site.pgkeep(["alert", "send"]).stdout("0 sent, 0 waiting\n").run();
    assert_eq!(receiver.requests().len(), before + 1);
}

/// The end of an alert does not overtake its beginning, which another call has in its hand since it was read.
#[test]
fn what_another_call_tries_holds_what_comes_after_it() {
    let receiver = Receiver::start();
    receiver.always(Answer::Status(400));
    let mut site = Site::new().local_only();
    site.config.channel("ops", &format!("kind = 'webhook'\nurl = '{}'", receiver.url("/ops")));
    let mut last = String::new();
    for name in ["gone_1", "gone_2"] {
        site.pgkeep(["backup", "full", "--database", name]).code(1).any_stderr().run();
        let id = "SELECT id FROM pgkeep.alert WHERE database = $1";
        last = site.cluster.connect(&site.catalog).query_one(id, &[&name]).unwrap().get(0);
    }
    site.pgkeep(["alert", "resolve", &last]).any_stdout().any_stderr().run();
    receiver.always(Answer::Status(200));
    let before = receiver.requests().len();
    let held = || {
        let call = site.pgkeep(["alert", "send"]).any_code().any_stdout().any_stderr();
        let running = held_at(call, Step::LetterBegun, 1).start();
        running.wait_for_stderr("stands still");
        running
    };
    // The first has read all three; the second has the beginning in its hand.
    let (first, second) = (held(), held());
    let heard = || -> Vec<(String, String)> {
        let requests = receiver.requests().split_off(before);
        let told = requests.iter().map(|request| told(&request.body));
        told.map(|(kind, alert)| (kind, alert["database"].as_str().unwrap().to_owned())).collect()
    };
    let of = |kind: &str, database: &str| (format!("alert.{kind}"), database.to_owned());
    let told = [of("raised", "gone_1"), of("raised", "gone_2"), of("resolved", "gone_2")];
    // Asked to stop, each goes on to its end.
    first.signal(Signal::TERM);
    assert_eq!(first.finish().stdout, "1 sent, 2 waiting\n");
    assert_eq!(heard(), told[..1]);
    second.signal(Signal::TERM);
    second.finish();
    assert_eq!(heard(), told);
}
