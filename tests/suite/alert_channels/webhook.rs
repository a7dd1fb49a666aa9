//! Webhooks: what each format sends, the signature as others check it, logins and tokens.

use std::process::Command;

use serde_json::{Value, json};

use super::{assert_broken, hook, site};
use crate::support::http::Request;
use crate::support::receiver::{Answer, Receiver};
use crate::support::tls_front::TlsFront;
use crate::support::tools::{finish, python};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Checks a signature as the specification says, with Python's own HMAC; gives what it should be.
const CHECK: &str = "\
import base64, hashlib, hmac, sys
secret, ident, stamp, path = sys.argv[1:]
key = base64.b64decode(secret.removeprefix('whsec_'))
signed = ident.encode() + b'.' + stamp.encode() + b'.' + open(path, 'rb').read()
print('v1,' + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode())
";

/// The one request that a test of one channel makes.
fn tested(keys: &str) -> Request {
    let receiver = Receiver::start();
    let site = site(&[hook(&receiver.url("/hook?key=1"), keys)]);
    site.pgkeep(["alert", "test"]).env("HOOK_SECRET", SECRET).stdout("ok    hook\n").run();
    let request = receiver.request();
    assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/hook?key=1"));
    request
}

#[test]
fn the_signature_is_what_others_make_of_it() {
    let request = tested("secret = { env = \"HOOK_SECRET\" }");
    let folder = tempfile::tempdir().unwrap();
    let body = folder.path().join("body");
    std::fs::write(&body, &request.body).unwrap();
    let (id, stamp) = (request.header("webhook-id"), request.header("webhook-timestamp"));
    let mut check = Command::new(python());
    check.args(["-c", CHECK, SECRET, id, stamp]).arg(&body);
    assert_eq!(request.header("webhook-signature"), finish(&mut check).trim());
    assert_eq!(id.len(), 36, "{id}");
    let age = jiff::Timestamp::now().as_second() - stamp.parse::<i64>().unwrap();
    assert!((0..600).contains(&age), "{stamp}");
    // The secret signs, and goes nowhere.
    assert!(!format!("{request:?}").contains("MfKQ9r8GKYqr"));
}

#[test]
fn json_says_all_there_is() {
    let request = tested("");
    assert_eq!(request.header("content-type"), "application/json");
    assert_eq!(request.header("webhook-signature"), "");
    assert_eq!(request.header("authorization"), "");
    assert!(request.header("user-agent").starts_with("pgkeep/"));
    let body = request.json();
    assert_eq!(body["type"], "alert.test");
    assert!(body["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{body}");
    let data = &body["data"];
    assert_eq!(
        (&data["severity"], &data["source"], &data["channel"]),
        (&json!("info"), &json!("db1"), &json!("hook"))
    );
    assert_eq!(data["count"], 1);
    for key in ["id", "rule", "status", "message", "first_seen", "last_seen"] {
        assert!(data[key].is_string(), "{key}: {body}");
    }
}

#[test]
fn logins_and_tokens_go_along() {
    let login = "username = \"ops\"\npassword = \"hunter22\"";
    assert_eq!(tested(login).login(), Some(("ops".to_owned(), "hunter22".to_owned())));
    let request = tested("token = { env = \"HOOK_SECRET\" }");
    assert_eq!(request.header("authorization"), format!("Bearer {SECRET}"));
}

/// Neither is shown when a receiver throws it back.
#[test]
fn logins_and_tokens_are_never_shown() {
    let receiver = Receiver::start();
    receiver.always(Answer::Echo);
    for keys in ["username = \"ops\"\npassword = \"hunter22\"", "token = \"hunter22\""] {
        let site = site(&[hook(&receiver.url("/hook"), keys)]);
        assert_broken(site.pgkeep::<&str>([]), &["400"], &["hunter22", "b3BzOmh1bnRlcjIy"]);
        let far = super::site(&[hook("URL", keys).replace("\"URL\"", "{ env = \"HOOK_URL\" }")]);
        let call = far.pgkeep::<&str>([]).env("HOOK_URL", "http://ops.example.invalid/hook");
        assert_broken(call, &["in the clear"], &["hunter22"]);
    }
}

/// Nor is a piece of one, where an answer is too long to be repeated whole.
#[test]
fn a_secret_that_an_answer_is_cut_in_is_not_shown() {
    let receiver = Receiver::start();
    let token = "t0k3n".repeat(60);
    let site = site(&[hook(&receiver.url("/hook"), &format!("token = \"{token}\""))]);
    for padding in [10, 150, 270, 290, 297, 400] {
        receiver.always(Answer::With(400, format!("{} {token}", "x".repeat(padding))));
        assert_broken(site.pgkeep::<&str>([]), &["400"], &["t0k3n"]);
    }
}

#[test]
fn each_service_gets_what_it_reads() {
    let body = |format: &str| -> Value { tested(&format!("format = \"{format}\"")).json() };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let slack = body("slack");
    assert!(text(&slack["text"]).starts_with("TEST db1: "), "{slack}");
    assert_eq!(slack["blocks"][0]["type"], "header");
    let discord = body("discord");
    assert_eq!(discord["allowed_mentions"], json!({ "parse": [] }));
    assert!(text(&discord["embeds"][0]["title"]).starts_with("TEST db1: "), "{discord}");
    let teams = body("teams");
    assert_eq!(teams["type"], "message");
    let card = &teams["attachments"][0];
    assert_eq!(card["contentType"], "application/vnd.microsoft.card.adaptive");
    assert_eq!(card["content"]["type"], "AdaptiveCard");
    assert!(card["content"].to_string().contains("nothing is wrong"), "{teams}");

    let ntfy = tested("format = \"ntfy\"\ntoken = \"tk_hunter22\"");
    assert_eq!((ntfy.header("title"), ntfy.header("priority")), ("TEST db1", "default"));
    assert!(ntfy.header("tags").starts_with("wave,"), "{ntfy:?}");
    assert!(ntfy.text().starts_with("TEST: a test of alert channel"), "{}", ntfy.text());
    assert_eq!(ntfy.header("authorization"), "Bearer tk_hunter22");
}

/// A test would leave an incident open, and nobody would ever close it.
#[test]
fn an_incident_that_a_test_opens_is_closed() {
    let receiver = Receiver::start();
    receiver.always(Answer::With(202, "{\"status\":\"success\"}".to_owned()));
    let keys = "format = \"pagerduty\"\nrouting_key = { env = \"PD_KEY\" }";
    let site = site(&[hook(&receiver.url("/v2/enqueue"), keys)]);
    let key = "R0UT1NGKEY0123456789";
    let call = site.pgkeep(["alert", "test"]).env("PD_KEY", key).secrets(&[key.to_owned()]);
    call.stdout("ok    hook\n").run();
    let bodies: Vec<Value> = receiver.requests().iter().map(Request::json).collect();
    let actions: Vec<&Value> = bodies.iter().map(|body| &body["event_action"]).collect();
    assert_eq!(actions, ["trigger", "resolve"]);
    assert_eq!(bodies[0]["dedup_key"], bodies[1]["dedup_key"]);
    assert_eq!((&bodies[0]["routing_key"], &bodies[0]["payload"]["severity"]), (&json!(key), &json!("info")));
    assert_eq!(bodies[0]["payload"]["source"], "db1");
}

#[test]
fn what_goes_over_tls_goes_to_whom_it_is_for_alone() {
    let receiver = Receiver::start();
    let front = TlsFront::start(&receiver.address);
    let named = site(&[hook(&front.url("/hook"), "token = \"hunter22\"")]);
    named.pgkeep(["alert", "test"]).env("SSL_CERT_FILE", &front.authority).stdout("ok    hook\n").run();
    assert_eq!(receiver.request().header("authorization"), "Bearer hunter22");
    // An authority that is not trusted; then a certificate of another name.
    assert_broken(named.pgkeep::<&str>([]), &["certificate", "https://localhost"], &["hunter22"]);
    let other = site(&[hook(&front.url("/hook").replace("localhost", "127.0.0.1"), "token = \"hunter22\"")]);
    let call = other.pgkeep::<&str>([]).env("SSL_CERT_FILE", &front.authority);
    assert_broken(call, &["certificate", "https://127.0.0.1"], &["hunter22"]);
    assert_eq!(receiver.requests().len(), 1);
}
