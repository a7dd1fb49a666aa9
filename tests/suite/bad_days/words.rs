//! What a person reads at two in the morning: the cause, and what to do.

use std::io::Write;
use std::net::TcpListener;

use super::*;
use crate::support::tools::free_port;

/// The one line that a backup says of a store which can't be used.
fn line(site: &Site) -> String {
    let ran = site.pgkeep(["backup", "full"]).code(3).any_stdout().any_stderr().run();
    site.assert_copies(&ran.id(), &["local", "r2"]);
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    ran.stderr
}

fn line_with_endpoint(endpoint: &str) -> String {
    let mut day = Day::short();
    day.site.config.store("b2").insert("endpoint".to_owned(), endpoint.into());
    line(&day.site)
}

fn assert_words(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "`{word}` is not in: {text}");
    }
}

#[test]
fn a_server_that_is_not_there_is_told_from_one_that_is_unknown() {
    let port = free_port();
    let refused = line_with_endpoint(&format!("http://127.0.0.1:{port}"));
    assert_words(&refused, &["Connection refused", "nobody listens there: check endpoint"]);
    let unknown = line_with_endpoint("https://s3.nowhere.invalid");
    assert_words(&unknown, &["s3.nowhere.invalid", "check endpoint, and this host's DNS"]);
}

#[test]
fn a_server_without_tls_and_one_that_hangs_in_it() {
    let talker = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = talker.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in talker.incoming().flatten() {
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").ok();
        }
    });
    assert_words(&line_with_endpoint(&format!("https://{address}")), &["TLS", "speaks no TLS", "http://"]);
    // Nobody takes its connections: they are made by the kernel, and nothing answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = line_with_endpoint(&format!("https://{}", silent.local_addr().unwrap()));
    assert_words(&text, &["can't connect", "timed out (timeouts.connect)"]);
}

#[test]
fn an_unknown_authority_is_told_with_its_remedy() {
    let mut day = Day::new();
    let endpoint = format!("https://localhost:{}", day.site.b2.server.tls_port);
    day.site.config.store("b2").insert("endpoint".to_owned(), endpoint.into());
    assert_words(&line(&day.site), &["UnknownIssuer", "install ca-certificates", "SSL_CERT_FILE"]);
}

/// A clock that is wrong shows as a refused signature; the server's own clock stands in its answer.
#[test]
fn a_clock_that_is_wrong_is_told_with_the_minutes() {
    let day = Day::new();
    for (minutes, code, words) in [
        (43_i64, "RequestTimeTooSkewed", "this host's clock is 43 minutes behind the server's"),
        (-90, "RequestTimeTooSkewed", "this host's clock is 90 minutes ahead of the server's"),
        (61, "AccessDenied", "this host's clock is 61 minutes behind the server's"),
        (1, "AccessDenied", "the access key may not do this"),
        (0, "RequestTimeTooSkewed", "clock and the server's differ too much"),
    ] {
        let now =
            jiff::Timestamp::now() + jiff::SignedDuration::from_secs(60 * minutes + 30 * minutes.signum());
        let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&now).unwrap();
        let body = format!("<Error><Code>{code}</Code><Message>refused</Message></Error>");
        let action = Action::answer(403, "application/xml", &[("Date", &date)], &body);
        day.fault.heal();
        day.fault.rule(Rule::on("POST", "uploads").does(action));
        assert_words(&line(&day.site), &[words]);
    }
}

#[test]
fn each_kind_of_refusal_has_its_word() {
    let day = Day::new();
    for (status, code, message, words) in [
        (403, "InvalidAccessKeyId", "unknown", "check access_key_id"),
        (403, "ExpiredToken", "too old", "has expired or was withdrawn"),
        (403, "QuotaExceeded", "no more", "the store is full or its quota is used up"),
        (507, "", "", "the store is full or its quota is used up"),
        (403, "AccessDenied", "Transaction cap exceeded", "Caps & Alerts"),
        (400, "AuthorizationHeaderMalformed", "the region is wrong", "check endpoint and region"),
        (404, "NoSuchBucket", "none", "does not exist at"),
    ] {
        day.fault.heal();
        day.fault.rule(Rule::on("POST", "uploads").does(refusal(status, code, message)));
        assert_words(&line(&day.site), &[words]);
    }
}
