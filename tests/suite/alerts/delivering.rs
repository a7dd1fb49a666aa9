//! Who is told, how often, and what happens while nobody listens.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{alerts, fail, letters, open, open_rules, statuses, told};
use crate::support::receiver::{Answer, Receiver};
use crate::support::smtp::{Smtp, SmtpPlan, Tls};
use crate::support::tools::pg_bin;
use crate::support::{FakeBin, Site, wait_until};

fn site_with(receiver: &Receiver) -> Site {
    let mut site = Site::new().local_only();
    site.config
        .channel("ops", &format!("kind = 'webhook'\nurl = '{}'\ntimeout = '5s'", receiver.url("/ops")));
    site
}

/// The failure of a backup and its end, by every way there is.
#[test]
fn every_channel_hears_of_a_failure_once_and_of_its_end_once() {
    let receiver = Receiver::start();
    let smtp = Smtp::start(SmtpPlan { tls: Tls::None, login: None });
    let mut site = Site::new().local_only();
    let url = |path: &str| receiver.url(path);
    let formats = ["json", "slack", "discord", "teams", "ntfy"];
    for format in formats {
        let keys = format!("kind = 'webhook'\nformat = '{format}'\nurl = '{}'", url(&format!("/{format}")));
        site.config.channel(format, &keys);
    }
    let pager =
        format!("kind = 'webhook'\nformat = 'pagerduty'\nrouting_key = 'r0uting'\nurl = '{}'", url("/pager"));
    site.config.channel("pager", &pager);
    let phone = format!(
        "kind = 'sms'\nurl = '{}'\nusername = 'AC1'\npassword = 'pa55word'\nfrom = '+1'\nto = ['+2', '+3']",
        url("/sms")
    );
    site.config.channel("phone", &phone);
    let mail = format!(
        "kind = 'email'\nsmtp = '{}'\nfrom = 'pgkeep@example.org'\nto = ['a@example.org', 'b@example.org']",
        smtp.url()
    );
    site.config.channel("mail", &mail);
    site.config.channel("app", "kind = 'in_app'");
    let gone = site.cluster.fresh_database();
    site.cluster.execute("postgres", &format!("DROP DATABASE {gone}"));
    let call = || site.pgkeep(["backup", "full", "--database", &gone]);
    // Twice the same trouble.
    call().code(1).stderr_has("does not exist").run();
    call().code(1).stderr_has("does not exist").run();
    site.cluster.create_database(&gone, "template0");
    site.cluster.execute(&gone, "CREATE TABLE a ()");
    call().any_stdout().run();
    for path in ["/json", "/slack", "/discord", "/teams", "/ntfy", "/pager"] {
        let bodies: Vec<String> = receiver
            .requests_to(path)
            .iter()
            .map(|request| String::from_utf8(request.body.clone()).unwrap())
            .collect();
        assert_eq!(bodies.len(), 2, "{path}: {bodies:?}");
        assert!(bodies.iter().all(|body| body.contains(&gone)), "{path}: {bodies:?}");
    }
    assert_eq!(receiver.requests_to("/sms").len(), 4);
    let mails = smtp.mails();
    assert_eq!(mails.len(), 4);
    let to_a = mails.iter().filter(|mail| mail.recipients == ["a@example.org"]).count();
    assert_eq!(to_a, 2);
    assert_eq!(statuses(&site), BTreeMap::from([("sent".to_owned(), 22)]));
    assert_eq!(open_rules(&site), Vec::<String>::new());
}

/// What passes at once is ridden out at once; nothing is told twice.
#[test]
fn a_receiver_that_fails_at_first() {
    let receiver = Receiver::start();
    receiver.script([Answer::Status(503), Answer::Close]);
    let site = site_with(&receiver);
    fail(&site).run();
    let requests = receiver.requests();
    assert_eq!(requests.len(), 3);
    let ids: Vec<&str> = requests.iter().map(|request| request.header("webhook-id")).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(statuses(&site), BTreeMap::from([("sent".to_owned(), 1)]));
}

#[test]
fn what_nobody_took_is_sent_later_and_in_order() {
    let receiver = Receiver::start();
    receiver.always(Answer::Status(500));
    let site = site_with(&receiver);
    fail(&site).stderr_has("tried again later").run();
    let id = open(&site, "backup_failed")["id"].as_str().unwrap().to_owned();
    // Its end waits behind its beginning, though nobody knows of that yet.
    site.pgkeep(["alert", "resolve", &id]).any_stdout().any_stderr().run();
    assert_eq!(statuses(&site), BTreeMap::from([("waiting".to_owned(), 2)]));
    site.pgkeep(["alert", "send"]).code(1).stdout("0 sent, 2 waiting\n").stderr_has("500").run();
    // The beginning is not taken, its end would be: it waits for its turn.
    receiver.always(Answer::Status(200));
    receiver.script(vec![Answer::Status(400)]);
    site.pgkeep(["alert", "send"]).code(1).stdout("0 sent, 2 waiting\n").stderr_has("400").run();
    let before = receiver.requests().len();
    site.pgkeep(["alert", "send"]).stdout("2 sent, 0 waiting\n").run();
    let kinds: Vec<String> =
        receiver.requests()[before..].iter().map(|request| told(&request.body).0).collect();
    assert_eq!(kinds, ["alert.raised", "alert.resolved"]);
    site.pgkeep(["alert", "send"]).stdout("0 sent, 0 waiting\n").run();
}

/// A channel that does not work holds up one call, not each that comes after it.
#[test]
fn a_channel_that_is_down_is_left_alone_for_a_while() {
    let receiver = Receiver::start();
    receiver.always(Answer::Status(500));
    let mut site = site_with(&receiver);
    site.config.set("source.databases", vec![site.database.clone(), "crm".to_owned()]);
    site.config.set("encryption.key_file", site.path("nowhere.key").to_str().unwrap());
    // Two alerts at once: the second letter was not even tried.
    site.pgkeep(["backup", "full"]).code(2).stderr_has("tried again later").run();
    site.config.set("encryption.key_file", site.path("pgkeep.key").to_str().unwrap());
    let before = receiver.requests().len();
    for _ in 0..2 {
        site.pgkeep(["list"]).any_stdout().run();
    }
    assert_eq!(receiver.requests().len(), before);
    assert_eq!(statuses(&site), BTreeMap::from([("waiting".to_owned(), 2)]));
    receiver.always(Answer::Status(200));
    site.pgkeep(["alert", "send"]).stdout("2 sent, 0 waiting\n").run();
}

/// What is graver than before is told in quiet hours too.
#[test]
fn a_warning_that_waits_holds_no_critical_one_up() {
    let receiver = Receiver::start();
    let mut site = Site::new().local_only().with_own_catalog();
    let keys = format!("kind = 'webhook'\nurl = '{}'\nquiet_hours = '00:00-23:59'", receiver.url("/x"));
    site.config.channel("ops", &keys);
    let (name, url) = site.target();
    site.config.set("source.url", url);
    // Never any table: a warning, once it is known that there never were any.
    for _ in 0..2 {
        site.pgkeep(["backup", "full"]).stdout_has(&name).any_stderr().run();
    }
    site.cluster.execute(&site.catalog, "DELETE FROM pgkeep.alert");
    let before = receiver.requests().len();
    site.pgkeep(["backup", "full"]).stdout_has(&name).any_stderr().run();
    assert_eq!(open(&site, "empty_dump")["severity"], "warning");
    assert_eq!(receiver.requests().len(), before);
    site.cluster
        .execute(&site.catalog, "UPDATE pgkeep.backup SET metadata = jsonb_set(metadata, '{tables}', '1')");
    site.pgkeep(["backup", "full"]).code(3).stdout_has(&name).any_stderr().run();
    assert_eq!(open(&site, "empty_dump")["severity"], "critical");
    let (kind, alert) = told(&receiver.requests()[before].body);
    assert_eq!((kind.as_str(), &alert["severity"]), ("alert.raised", &"critical".into()));
}

/// Every command sends along what is due.
#[test]
fn any_command_sends_what_is_due() {
    let receiver = Receiver::start();
    receiver.always(Answer::Status(400));
    let site = site_with(&receiver);
    fail(&site).stderr_has("400").run();
    receiver.always(Answer::Status(200));
    let before = receiver.requests().len();
    // Not before its time.
    site.pgkeep(["list"]).any_stdout().run();
    assert_eq!(receiver.requests().len(), before);
    site.cluster.execute(&site.catalog, "UPDATE pgkeep.delivery SET due_at = now() - interval '1 minute'");
    site.pgkeep(["list"]).any_stdout().run();
    assert_eq!(receiver.requests().len(), before + 1);
    assert_eq!(statuses(&site), BTreeMap::from([("sent".to_owned(), 1)]));
}

/// A channel that hangs costs its time once, and changes nothing of the backup.
#[test]
fn a_channel_that_hangs_costs_its_time_limit_and_no_more() {
    let receiver = Receiver::start();
    receiver.always(Answer::Hang);
    let mut site = Site::new().local_only();
    let keys = format!("kind = 'webhook'\nurl = '{}'\ntimeout = '2s'", receiver.url("/x"));
    site.config.channel("ops", &keys);
    let dead = format!("kind = 'ping'\nurl = '{}'\ntimeout = '2s'", receiver.url("/p"));
    site.config.channel("dead", &dead);
    let other = site.cluster.fresh_database();
    site.config.set("source.databases", vec!["no_such_1".to_owned(), "no_such_2".to_owned(), other.clone()]);
    site.cluster.execute(&other, "CREATE TABLE a ()");
    let begun = Instant::now();
    let ran = site.pgkeep(["backup", "full"]).code(1).any_stdout().stderr_has("no answer").run();
    // One limit for each channel, and one for the start of the run; far from one for each alert.
    assert!(begun.elapsed() < Duration::from_mins(1), "{:?}", begun.elapsed());
    assert!(ran.stdout.contains(&other), "{ran:?}");
    assert_eq!(receiver.requests_to("/x").len(), 1);
}

#[test]
fn filters_and_quiet_hours() {
    let receiver = Receiver::start();
    let mut site = Site::new().local_only();
    let channel = |name: &str, more: &str| {
        format!("kind = 'webhook'\nurl = '{}'\n{more}", receiver.url(&format!("/{name}")))
    };
    for (name, more) in [
        ("critical", "min_severity = 'critical'"),
        ("rules", "rules = ['size_changed']"),
        ("others", "databases = ['crm']"),
        ("quiet", "quiet_hours = '00:00-23:59'"),
    ] {
        site.config.channel(name, &channel(name, more));
    }
    site.backup();
    site.cluster.execute(
        &site.catalog,
        "UPDATE pgkeep.backup SET metadata = metadata || '{\"dump_bytes\": 90000000}'",
    );
    site.backup();
    fail(&site).run();
    let sent: Vec<(String, usize)> = ["critical", "rules", "others", "quiet"]
        .into_iter()
        .map(|name| (name.to_owned(), receiver.requests_to(&format!("/{name}")).len()))
        .collect();
    let wanted = [("critical", 1), ("rules", 1), ("others", 0), ("quiet", 1)];
    assert_eq!(sent, wanted.map(|(name, count)| (name.to_owned(), count)));
    // The warning waits for the end of quiet hours, whoever asks.
    let waiting: Vec<_> = letters(&site).into_iter().filter(|(_, _, status)| status == "waiting").collect();
    assert_eq!(waiting, [("quiet".to_owned(), "raised".to_owned(), "waiting".to_owned())]);
    site.pgkeep(["alert", "send"]).code(1).stdout("0 sent, 1 waiting\n").run();
    site.cluster.execute(&site.catalog, "UPDATE pgkeep.delivery SET due_at = now() WHERE status = 'waiting'");
    site.pgkeep(["alert", "send"]).stdout("1 sent, 0 waiting\n").run();
}

/// After a day a letter is given up, with a word, and the other channels hear of it.
#[test]
fn a_channel_that_is_dead_for_a_day_is_told_through_the_others() {
    let (receiver, other) = (Receiver::start(), Receiver::start());
    receiver.always(Answer::Status(500));
    let mut site = site_with(&receiver);
    site.config.channel("other", &format!("kind = 'webhook'\nurl = '{}'", other.url("/other")));
    fail(&site).stderr_has("tried again later").run();
    site.cluster.execute(
        &site.catalog,
        "UPDATE pgkeep.delivery SET created_at = created_at - interval '25 hours' WHERE status = 'waiting'",
    );
    site.pgkeep(["alert", "send"]).code(1).any_stdout().stderr_has("given up").run();
    let alert = open(&site, "channel_failing");
    assert_eq!(alert["channel"], "ops", "{alert:#}");
    let heard: Vec<_> = other.requests().iter().map(|request| told(&request.body)).collect();
    assert!(heard.iter().any(|(_, alert)| alert["rule"] == "channel_failing"), "{heard:?}");
    assert_eq!(statuses(&site)["given_up"], 1);
    // It works again: that is known with the next letter.
    receiver.always(Answer::Status(200));
    let id = open(&site, "backup_failed")["id"].as_str().unwrap().to_owned();
    site.pgkeep(["alert", "resolve", &id]).any_stdout().run();
    assert_eq!(open_rules(&site), Vec::<String>::new());
    wait_until("its end is told", || other.requests().len() == 4);
    assert_eq!(alerts(&site).len(), 2);
}

/// A run tells a dead man's switch that it began and how it ended, with one id.
#[test]
fn a_switch_hears_of_runs() {
    let receiver = Receiver::start();
    let mut site = Site::new().local_only();
    site.config.channel("dead", &format!("kind = 'ping'\nurl = '{}'", receiver.url("/ping/5f0c")));
    site.backup();
    let source = site.cluster.url(&site.database);
    site.config.set("source.url", site.cluster.url("no_such"));
    site.config.set("catalog.url", source.clone());
    site.pgkeep(["backup", "full"]).code(1).stderr_has("does not exist").run();
    site.config.set("source.url", source);
    let targets: Vec<String> = receiver.requests().iter().map(|request| request.target.clone()).collect();
    assert_eq!(targets.len(), 4, "{targets:?}");
    let parts: Vec<(&str, &str)> = targets.iter().map(|target| target.split_once("?rid=").unwrap()).collect();
    let paths: Vec<&str> = parts.iter().map(|(path, _)| *path).collect();
    assert_eq!(paths, ["/ping/5f0c/start", "/ping/5f0c", "/ping/5f0c/start", "/ping/5f0c/fail"]);
    assert_eq!(parts[0].1, parts[1].1);
    assert_eq!(parts[2].1, parts[3].1);
    assert_ne!(parts[0].1, parts[2].1);
    assert_eq!(parts[0].1.len(), 36);
    let body = String::from_utf8(receiver.requests()[3].body.clone()).unwrap();
    assert!(body.contains("does not exist"), "{body}");
    assert_eq!(statuses(&site), BTreeMap::from([("sent".to_owned(), 2)]));
    // One that finds another at work says nothing of how that goes.
    let bin = FakeBin::held(&site.path(""));
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    let running = site.pgkeep(["backup", "full"]).any_code().any_stderr().start();
    bin.wait_for_start();
    let before = receiver.requests().len();
    site.pgkeep(["backup", "full"]).code(6).stderr_has("another run").run();
    let said: Vec<String> =
        receiver.requests()[before..].iter().map(|request| request.target.clone()).collect();
    assert!(said.len() == 1 && said[0].starts_with("/ping/5f0c/log?"), "{said:?}");
    running.signal(Signal::INT);
    running.finish();
    site.config.set("source.pg_bin", pg_bin().to_str().unwrap());
    let sent = statuses(&site)["sent"];
    // Of two that it did not hear of the last one counts.
    receiver.always(Answer::Status(400));
    for _ in 0..2 {
        fail(&site).stderr_has("tried again later").run();
    }
    let status = |word: &str, count: usize| (word.to_owned(), count);
    let wanted = BTreeMap::from([status("sent", sent), status("superseded", 1), status("waiting", 1)]);
    assert_eq!(statuses(&site), wanted);
    site.assert_no_secret();
}
