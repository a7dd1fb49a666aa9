//! The channels of alerts, against real receivers: what `alert test` sends, and what it says of those that fail.

use serde_json::{Value, json};

use crate::support::receiver::{Answer, BlackHole, Receiver};
use crate::support::smtp::{Smtp, SmtpPlan, Tls};
use crate::support::tools::wait_until;
use crate::support::{Pgkeep, Site};

mod mail;
mod ping;
mod refusals;
mod text_message;
mod webhook;

/// A site whose only alert channels are these.
fn site(channels: &[String]) -> Site {
    let mut site = Site::new().local_only();
    for channel in channels {
        site.config.add_channel(channel);
    }
    site
}

/// A webhook called `hook`, with more keys of its own.
fn hook(url: &str, more: &str) -> String {
    format!("name = \"hook\"\nkind = \"webhook\"\nurl = \"{url}\"\ntimeout = \"20s\"\n{more}")
}

/// `alert test` that must find one channel broken, and say why; what stands in `hidden` shows nowhere.
fn assert_broken(call: Pgkeep, words: &[&str], hidden: &[&str]) {
    let hidden: Vec<String> = hidden.iter().map(|&text| text.to_owned()).collect();
    let call = call.args(["alert", "test"]).code(1).secrets(&hidden);
    let ran = words.iter().fold(call, |call, word| call.stderr_has(word)).run();
    assert!(ran.stderr.contains("\nhint: "), "{}", ran.stderr);
    assert!(ran.stderr.contains("does not work"), "{}", ran.stderr);
}

#[test]
fn each_channel_and_recipient_has_a_line_and_one_that_fails_changes_the_code_alone() {
    let (good, bad, smtp) = (Receiver::start(), Receiver::start(), Smtp::start(plain_mail()));
    bad.always(Answer::With(503, "not now".to_owned()));
    // What a channel does not want to hear of otherwise, and when, is nothing to a test.
    let deaf = "min_severity = \"critical\"\nrules = [\"only_key\"]\ndatabases = [\"none\"]\nquiet_hours = \"00:00-23:59\"";
    let site = site(&[
        format!("{}\n{deaf}", hook(&good.url("/hook"), "")),
        format!("name = \"broken\"\nkind = \"webhook\"\nurl = \"{}\"", bad.url("/hook")),
        mail_to(&smtp, &["dba@example.org", "boss@example.org"]),
        format!("name = \"dead-man\"\nkind = \"ping\"\nurl = \"{}\"", good.url("/ping")),
        "name = \"app\"\nkind = \"in_app\"".to_owned(),
    ]);
    let lines = "ok    hook\nok    mail to dba@example.org\nok    mail to boss@example.org\nok    dead-man\n\
                 ok    app: NOTIFY\n";
    let call = site.pgkeep(["alert", "test"]).code(1).stdout(lines).stderr_has("`broken` does not work");
    call.stderr_has("503").stderr_has("not now").stderr_has("hint: ").run();
    assert_eq!((good.requests().len(), bad.requests().len(), smtp.mails().len()), (2, 1, 2));

    let told = site.pgkeep(["--json", "alert", "test"]).code(1).any_stdout().any_stderr().run().json();
    let brief =
        |verdict: &Value| json!([verdict["channel"], verdict["kind"], verdict["recipient"], verdict["ok"]]);
    let brief: Vec<Value> = told.as_array().unwrap().iter().map(brief).collect();
    let wanted = [
        json!(["hook", "webhook", null, true]),
        json!(["broken", "webhook", null, false]),
        json!(["mail", "email", "dba@example.org", true]),
        json!(["mail", "email", "boss@example.org", true]),
        json!(["dead-man", "ping", null, true]),
        json!(["app", "in_app", null, true]),
    ];
    assert_eq!(brief, wanted);
    assert!(told[1]["error"].as_str().unwrap().contains("503"), "{told}");
    assert_eq!(told[0]["error"], Value::Null);

    site.pgkeep(["alert", "test", "hook"]).stdout("ok    hook\n").run();
    site.pgkeep(["--quiet", "alert", "test", "hook"]).run();
    assert_eq!((good.requests().len(), bad.requests().len(), smtp.mails().len()), (6, 2, 4));
    site.assert_no_secret();
}

#[test]
fn a_channel_that_there_is_not_is_a_mistake_of_the_caller() {
    let none = site(&[]);
    none.pgkeep(["alert", "test"])
        .code(1)
        .stderr_has("no alert channel")
        .stderr_has("[[alert.channel]]")
        .run();
    none.pgkeep(["alert", "test", "x"]).code(1).stderr_has("[[alert.channel]]").run();
    let receiver = Receiver::start();
    let site = site(&[hook(&receiver.url("/"), ""), "name = \"app\"\nkind = \"in_app\"".to_owned()]);
    site.pgkeep(["alert", "test", "hock"]).code(2).stderr_has("`hock`").stderr_has("hook, app").run();
    assert_eq!(receiver.requests().len(), 0);
}

#[test]
fn whoever_listens_in_the_catalogs_database_hears_the_test() {
    use postgres::fallible_iterator::FallibleIterator as _;
    let site = site(&["name = \"app\"\nkind = \"in_app\"".to_owned()]);
    let mut client = site.cluster.connect(&site.catalog);
    client.batch_execute("LISTEN pgkeep_alert").unwrap();
    site.pgkeep(["alert", "test"]).stdout("ok    app: NOTIFY\n").run();
    let mut heard = None;
    wait_until("the test is heard", || {
        client.simple_query("SELECT 1").unwrap();
        heard = client.notifications().iter().next().unwrap();
        heard.is_some()
    });
    let told: Value = serde_json::from_str(heard.unwrap().payload()).unwrap();
    assert_eq!(
        (&told["event"], &told["channel"], &told["source"]),
        (&json!("test"), &json!("app"), &json!("db1"))
    );
    // It is no alert.
    site.pgkeep(["alert", "list", "--all"]).stdout("no alerts\n").run();
}

#[test]
fn a_catalog_that_is_down_is_the_failure_of_its_channel() {
    let mut site = site(&["name = \"app\"\nkind = \"in_app\"".to_owned()]);
    let port = crate::support::tools::free_port();
    site.config.set("catalog.url", format!("postgresql://nobody@127.0.0.1:{port}/none"));
    assert_broken(site.pgkeep::<&str>([]), &["`app`", "catalog", "refused"], &[]);
}

/// Of all these a person must learn what is wrong, and nobody where exactly the channel goes.
#[test]
fn whatever_a_receiver_does_is_told_in_words_and_ends_in_time() {
    let receiver = Receiver::start();
    let elsewhere = Receiver::start();
    let path = "/services/T0SECRET/hidden-piece?key=hidden-key";
    let site = site(&[hook(&receiver.url(path), "")]);
    let long = "x".repeat(1 << 20);
    let cases: [(Answer, &[&str]); 9] = [
        (Answer::Status(500), &["500", "as the test says"]),
        (Answer::Status(404), &["404"]),
        (Answer::Status(429), &["429"]),
        (Answer::Redirect(elsewhere.url("/there")), &["302", "redirect is not followed"]),
        (Answer::With(400, "<html><title>nginx</title>".to_owned()), &["400"]),
        (Answer::With(400, long), &["400", "xxx ..."]),
        (Answer::Close, &["http://127.0.0.1"]),
        (Answer::Bytes(b"SSH-2.0-OpenSSH_9.6\r\n\r\n".to_vec()), &["http://127.0.0.1"]),
        (Answer::Echo, &["400", "***"]),
    ];
    let count = cases.len();
    for (answer, words) in cases {
        receiver.script([answer]);
        let hidden = ["T0SECRET", "hidden-piece", "hidden-key", "<html>"];
        assert_broken(site.pgkeep::<&str>([]), words, &hidden);
    }
    assert_eq!(receiver.requests().len(), count);
    assert_eq!(elsewhere.requests().len(), 0);
    receiver.script([Answer::Status(204), Answer::Slow(std::time::Duration::from_secs(1), 200)]);
    site.pgkeep(["alert", "test"]).stdout("ok    hook\n").run();
    site.pgkeep(["alert", "test"]).stdout("ok    hook\n").run();
}

/// A long answer is cut, and a secret in the place of the cut is not found any more: it is hidden before.
#[test]
fn a_secret_in_the_place_where_an_answer_is_cut() {
    let receiver = Receiver::start();
    let token = "s3cr3t-".repeat(40);
    let site = site(&[hook(&receiver.url("/hook"), &format!("token = \"{token}\""))]);
    for padding in [100, 200, 290] {
        let before = "x".repeat(padding);
        receiver.script([Answer::With(400, format!("{before}{token}"))]);
        assert_broken(site.pgkeep::<&str>([]), &["400", "xxx"], &["s3cr"]);
    }
    assert_eq!(receiver.requests().len(), 3);
}

/// Who logs in is nobody's business either.
#[test]
fn the_name_of_a_login_is_hidden_where_a_receiver_repeats_it() {
    let receiver = Receiver::start();
    receiver.always(Answer::With(401, "ops-mailer may not do that".to_owned()));
    let login = "username = \"ops-mailer\"\npassword = \"hunter22\"";
    let phone = format!(
        "name = \"phone\"\nkind = \"sms\"\nurl = \"{}\"\nfrom = \"+1\"\nto = [\"+2\"]\n{login}",
        receiver.url("/sms")
    );
    for channel in [hook(&receiver.url("/hook"), login), phone] {
        let site = site(&[channel]);
        assert_broken(site.pgkeep::<&str>([]), &["401", "*** may not do that"], &["ops-mailer"]);
    }
}

/// Each is reached while the other has not answered yet.
#[test]
fn channels_and_recipients_go_side_by_side() {
    let (hooks, texts) = (Receiver::start(), Receiver::start());
    for receiver in [&hooks, &texts] {
        receiver.always(Answer::Hang);
    }
    let phone = format!(
        "name = \"phone\"\nkind = \"sms\"\nusername = \"a\"\npassword = \"b\"\nfrom = \"+1\"\n\
         to = [\"+2\", \"+3\"]\ntimeout = \"10m\"\nurl = \"{}\"",
        texts.url("/")
    );
    let site = site(&[hook(&hooks.url("/"), "").replace("20s", "10m"), phone]);
    let running = site.pgkeep(["alert", "test"]).code(1).any_stderr().start();
    hooks.wait_for(1);
    texts.wait_for(2);
    drop((hooks, texts));
    running.finish();
}

#[test]
fn a_receiver_that_says_nothing_costs_its_time_limit() {
    let (hangs, drips, hole) = (Receiver::start(), Receiver::start(), BlackHole::start());
    hangs.always(Answer::Hang);
    drips.always(Answer::Drip(std::time::Duration::from_millis(300)));
    let port = hole.address.rsplit(':').next().unwrap();
    let site = site(&[
        format!("name = \"hangs\"\nkind = \"webhook\"\ntimeout = \"1s\"\nurl = \"{}\"", hangs.url("/")),
        format!("name = \"drips\"\nkind = \"ping\"\ntimeout = \"1s\"\nurl = \"{}\"", drips.url("/")),
        format!(
            "name = \"mute\"\nkind = \"email\"\ntimeout = \"1s\"\nsmtp = \"smtp://127.0.0.1:{port}\"\n\
             from = \"a@example.org\"\nto = [\"b@example.org\"]"
        ),
    ]);
    // They would take forever, each of them.
    let ran = site.pgkeep(["alert", "test"]).code(1).any_stderr().run();
    for name in ["hangs", "drips", "mute"] {
        assert!(ran.stderr.contains(&format!("`{name}`")), "{}", ran.stderr);
    }
    assert_eq!(ran.stderr.matches("no answer").count(), 3, "{}", ran.stderr);
}

#[test]
fn nobody_there_is_told_as_such() {
    let port = crate::support::tools::free_port();
    for (channel, words) in [
        (hook(&format!("http://127.0.0.1:{port}/x-secret"), ""), ["refused", "http://127.0.0.1"]),
        (hook("http://nobody.invalid/x-secret", ""), ["http://nobody.invalid: ", "`hook`"]),
        (
            format!(
                "name = \"mail\"\nkind = \"email\"\nsmtp = \"smtp://127.0.0.1:{port}\"\n\
                 from = \"a@example.org\"\nto = [\"b@example.org\"]"
            ),
            ["refused", "b@example.org"],
        ),
    ] {
        assert_broken(site(&[channel]).pgkeep::<&str>([]), &words, &["x-secret"]);
    }
}

#[test]
fn a_secret_that_cant_be_had_is_the_failure_of_its_channel() {
    use std::os::unix::fs::PermissionsExt as _;
    let receiver = Receiver::start();
    let url = receiver.url("/hook");
    let open = "name = \"open\"\nkind = \"webhook\"\n";
    let mut site = site(&[hook(&url, "")]);
    let file = site.path("open.secret");
    std::fs::write(&file, "hunter22").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    site.config.add_channel(&format!("{open}url = \"{url}\"\ntoken = {{ file = \"{}\" }}", file.display()));
    site.config.add_channel(&format!(
        "name = \"unset\"\nkind = \"webhook\"\nurl = \"{url}\"\ntoken = {{ env = \"NO_SUCH_TOKEN\" }}"
    ));
    site.config.add_channel(&format!(
        "name = \"bad\"\nkind = \"webhook\"\nurl = \"{url}\"\nsecret = \"whsec_c2hvcnQ=\""
    ));
    let call = site.pgkeep(["alert", "test"]).code(1).stdout("ok    hook\n").stderr_has("chmod 600");
    let call = call.stderr_has("`open` does not work").stderr_has("`NO_SUCH_TOKEN` is not set");
    let call = call.stderr_has("`bad` does not work").stderr_has("24 to 64 bytes");
    call.secrets(&["hunter22".to_owned(), "c2hvcnQ".to_owned()]).run();
    assert_eq!(receiver.requests().len(), 1);
}

fn plain_mail() -> SmtpPlan {
    SmtpPlan { tls: Tls::None, login: None }
}

/// A mail channel of that server, called `mail`.
fn mail_to(smtp: &Smtp, to: &[&str]) -> String {
    format!(
        "name = \"mail\"\nkind = \"email\"\nsmtp = \"{}\"\nfrom = \"pgkeep@example.org\"\nto = {to:?}",
        smtp.url()
    )
}
