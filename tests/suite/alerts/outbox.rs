//! What waits to be sent: whose letters they are, how often one is tried, and how long a channel is waited for.

use std::fs;
use std::time::Duration;

use super::{fail, open, open_rules, statuses, told};
use crate::support::Site;
use crate::support::receiver::{Answer, Receiver};

/// A site with one webhook called `ops`, with more keys of its own.
fn site_with(receiver: &Receiver, more: &str) -> Site {
    let mut site = Site::new().local_only();
    let keys = format!("kind = 'webhook'\nurl = '{}'\n{more}", receiver.url("/ops"));
    site.config.channel("ops", &keys);
    site
}

/// One run of so many databases, none of which is there: an alert for each.
fn fail_all(site: &mut Site, count: usize) -> String {
    let names: Vec<String> = (0..count).map(|at| format!("no_such_{at}")).collect();
    site.config.set("source.databases", names);
    site.pgkeep(["backup", "full"]).code(1).stderr_has("does not exist").run().stderr
}

/// However many letters wait at once, each channel gets those that it wants, and each recipient is asked for once.
#[test]
fn each_channel_gets_its_own_of_all_that_waits() {
    let receiver = Receiver::start();
    receiver.always(Answer::Status(400));
    let mut site = Site::new().local_only();
    for (name, more) in [
        ("grave", "min_severity = 'critical'"),
        ("sizes", "rules = ['size_changed']"),
        ("crm", "databases = ['no_crm']"),
        ("all", ""),
    ] {
        let keys = format!("kind = 'webhook'\nurl = '{}'\n{more}", receiver.url(&format!("/{name}")));
        site.config.channel(name, &keys);
    }
    site.backup();
    let sizes = "UPDATE pgkeep.backup SET metadata = metadata || '{\"dump_bytes\": 90000000}'";
    site.cluster.execute(&site.catalog, sizes);
    site.pgkeep(["backup", "full"]).any_stdout().stderr_has("tried again later").run();
    for name in ["no_crm", "no_erp"] {
        site.pgkeep(["backup", "full", "--database", name]).code(1).stderr_has("tried again later").run();
    }
    assert_eq!(statuses(&site).into_iter().collect::<Vec<_>>(), [("waiting".to_owned(), 7)]);
    receiver.always(Answer::Status(200));
    let before = receiver.requests().len();
    site.pgkeep(["alert", "send"]).stdout("7 sent, 0 waiting\n").run();
    let heard = |path: &str| -> Vec<(String, String)> {
        let requests = receiver.requests().split_off(before);
        let own = requests.iter().filter(|request| request.path() == path);
        let word = |alert: &serde_json::Value, key: &str| alert[key].as_str().unwrap().to_owned();
        own.map(|request| told(&request.body).1)
            .map(|alert| (word(&alert, "rule"), word(&alert, "database")))
            .collect()
    };
    let about = |rule: &str, database: &str| (rule.to_owned(), database.to_owned());
    let (size, crm) = (about("size_changed", &site.database), about("backup_failed", "no_crm"));
    let erp = about("backup_failed", "no_erp");
    assert_eq!(heard("/grave"), [crm.clone(), erp.clone()]);
    assert_eq!(heard("/sizes"), std::slice::from_ref(&size));
    assert_eq!(heard("/crm"), std::slice::from_ref(&crm));
    assert_eq!(heard("/all"), [size, crm, erp]);
}

/// A command that has no news sends along what is due, and waits for no second try.
#[test]
fn a_command_without_news_tries_a_letter_once() {
    let receiver = Receiver::start();
    receiver.always(Answer::Status(500));
    let site = site_with(&receiver, "timeout = '20s'");
    fail(&site).stderr_has("tried again later").run();
    // Who has news tries again at once.
    let before = receiver.requests().len();
    assert!(before > 1, "{before}");
    site.cluster.execute(&site.catalog, "UPDATE pgkeep.delivery SET due_at = now() - interval '1 minute'");
    site.pgkeep(["list"]).any_stdout().stderr_has("tried again later").run();
    assert_eq!(receiver.requests().len(), before + 1);
}

/// What a channel did not take was waited for: its time limit is for the whole run, not for each alert of it.
#[test]
fn a_channel_that_is_slow_to_refuse_has_one_time_limit_for_all_of_a_run() {
    let receiver = Receiver::start();
    receiver.always(Answer::Slow(Duration::from_millis(700), 400));
    let mut site = site_with(&receiver, "timeout = '2s'");
    fail_all(&mut site, 7);
    let count = receiver.requests().len();
    assert!((1..=3).contains(&count), "{count} tries of 700 ms and more");
    assert_eq!(statuses(&site)["waiting"], 7);
}

/// Three refusals and nothing taken: a wrong password, say, and no reason to offer all the others.
#[test]
fn a_channel_that_wants_no_letter_is_left_alone_after_three() {
    let receiver = Receiver::start();
    receiver.always(Answer::Status(403));
    let mut site = site_with(&receiver, "");
    fail_all(&mut site, 5);
    let before = receiver.requests().len();
    site.pgkeep(["alert", "send"]).code(1).stdout("0 sent, 5 waiting\n").stderr_has("403").run();
    assert_eq!(receiver.requests().len(), before + 3);
    // One that takes some is offered all.
    receiver.always(Answer::Status(200));
    receiver.script(vec![Answer::Status(200), Answer::Status(403), Answer::Status(403), Answer::Status(403)]);
    site.pgkeep(["alert", "send"]).code(1).stdout("2 sent, 3 waiting\n").stderr_has("403").run();
    site.pgkeep(["alert", "send"]).stdout("3 sent, 0 waiting\n").run();
}

/// Letters of a channel that nobody reads, more than are looked at, and older.
#[test]
fn a_dead_channel_keeps_no_other_from_being_told() {
    let receiver = Receiver::start();
    let site = site_with(&receiver, "");
    fail(&site).run();
    let copies = "INSERT INTO pgkeep.delivery (id, alert, source, channel, event, letter, status, created_at, due_at) \
                  SELECT 'copy-' || n, alert, source, 'dead', event, letter, 'waiting', \
                      created_at - interval '1 hour', due_at \
                  FROM pgkeep.delivery, generate_series(1, 10001) n";
    site.cluster.execute(&site.catalog, copies);
    site.pgkeep(["backup", "full", "--database", "no_such"]).code(1).stderr_has("does not exist").run();
    let heard: Vec<_> = receiver.requests().iter().map(|request| told(&request.body).1).collect();
    let databases: Vec<_> = heard.iter().map(|alert| alert["database"].clone()).collect();
    assert_eq!(databases, ["gone", "no_such"]);
}

/// A secret is asked for once in a process, however many alerts go out.
#[test]
fn the_secrets_of_a_channel_are_fetched_once() {
    let receiver = Receiver::start();
    let mut site = Site::new().local_only();
    let (script, asked) = (site.path("token.sh"), site.path("asked"));
    fs::write(&script, format!("echo asked >>'{}'; echo hunter22", asked.display())).unwrap();
    let keys = format!(
        "kind = 'webhook'\nurl = '{}'\ntoken = {{ command = ['/bin/sh', '{}'] }}",
        receiver.url("/ops"),
        script.display()
    );
    site.config.channel("ops", &keys);
    fail_all(&mut site, 3);
    let requests = receiver.requests();
    assert_eq!(requests.len(), 3);
    assert!(requests.iter().all(|request| request.header("authorization") == "Bearer hunter22"));
    assert_eq!(fs::read_to_string(&asked).unwrap(), "asked\n");
}

/// One that does not come costs the channel's time limit, like all else of it.
#[test]
fn a_secret_that_does_not_come_is_not_waited_for() {
    let receiver = Receiver::start();
    let mut site = Site::new().local_only();
    let token = "token = { command = ['/bin/sleep', '600'] }\ntimeout = '1s'";
    site.config.channel("ops", &format!("kind = 'webhook'\nurl = '{}'\n{token}", receiver.url("/ops")));
    fail(&site).stderr_has("its secrets can't be had within 1s").run();
    assert_eq!(receiver.requests().len(), 0);
    assert_eq!(statuses(&site)["waiting"], 1);
}

/// Lets a channel `ops` take nothing for a day, which is an alert, and everything from then on.
fn given_up(receiver: &Receiver, site: &Site) {
    receiver.always(Answer::Status(400));
    fail(site).stderr_has("tried again later").run();
    let day = "UPDATE pgkeep.delivery SET created_at = created_at - interval '25 hours'";
    site.cluster.execute(&site.catalog, day);
    site.pgkeep(["alert", "send"]).code(1).any_stdout().stderr_has("given up").run();
    assert_eq!(open(site, "channel_failing")["channel"], "ops");
    receiver.always(Answer::Status(200));
}

/// What one of two readers took is no sign that the channel works.
#[test]
fn a_channel_works_again_when_all_of_its_readers_are_told() {
    let receiver = Receiver::start();
    let mut site = Site::new().local_only();
    let phone = format!(
        "kind = 'sms'\nurl = '{}'\nusername = 'AC1'\npassword = 'pa55word'\nfrom = '+1'\nto = ['+2', '+3']\n\
         rules = ['backup_failed']",
        receiver.url("/sms")
    );
    site.config.channel("ops", &phone);
    given_up(&receiver, &site);
    receiver.script(vec![Answer::Status(200), Answer::Status(400)]);
    let other = site.pgkeep(["backup", "full", "--database", "no_such"]).code(1);
    other.stderr_has("tried again later").run();
    open(&site, "channel_failing");
    site.pgkeep(["alert", "send"]).stdout("1 sent, 0 waiting\n").run();
    assert_eq!(open_rules(&site), ["backup_failed", "backup_failed"]);
}

/// What was wrong with a channel that is none any more is over.
#[test]
fn a_channel_that_was_taken_out_of_the_configuration() {
    let receiver = Receiver::start();
    let mut site = Site::new().local_only();
    site.backup();
    let without = site.config.clone();
    let keys = format!("kind = 'webhook'\nurl = '{}'\nrules = ['backup_failed']", receiver.url("/ops"));
    site.config.channel("ops", &keys);
    given_up(&receiver, &site);
    site.pgkeep(["alert", "check"]).any_code().any_stdout().run();
    open(&site, "channel_failing");
    site.config = without;
    site.pgkeep(["alert", "check"]).any_code().any_stdout().run();
    assert_eq!(open_rules(&site), ["backup_failed"]);
}
