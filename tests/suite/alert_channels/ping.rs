//! Dead man's switches: a test is a line in their log, and no sign of life.

use super::{assert_broken, site};
use crate::support::receiver::{Answer, Receiver};

fn switch(url: &str) -> String {
    format!("name = \"dead-man\"\nkind = \"ping\"\nurl = \"{url}\"")
}

#[test]
fn a_test_is_no_sign_of_life() {
    let receiver = Receiver::start();
    let first = site(&[switch(&receiver.url("/ping/2f5c-uuid"))]);
    first.pgkeep(["alert", "test"]).stdout("ok    dead-man\n").run();
    first.pgkeep(["alert", "test"]).stdout("ok    dead-man\n").run();
    let requests = receiver.requests();
    assert_eq!(requests.len(), 2);
    for request in &requests {
        assert_eq!((request.method.as_str(), request.path()), ("POST", "/ping/2f5c-uuid/log"));
        assert_eq!(request.raw_parameter("rid").unwrap().len(), 36, "{}", request.target);
        assert!(request.text().contains("db1"), "{}", request.text());
    }
    assert_ne!(requests[0].query(), requests[1].query());
    // A query of its own stays.
    let other = site(&[switch(&receiver.url("/ping/key/slug?create=1"))]);
    other.pgkeep(["alert", "test"]).any_stdout().run();
    let request = receiver.requests_to("create=1").pop().unwrap();
    assert_eq!((request.path(), request.raw_parameter("create")), ("/ping/key/slug/log", Some("1")));
    assert!(request.raw_parameter("rid").is_some(), "{}", request.target);
}

#[test]
fn its_address_is_a_secret() {
    let receiver = Receiver::start();
    receiver.always(Answer::Echo);
    let mut site = site(&[]);
    site.config.add_channel("name = \"dead-man\"\nkind = \"ping\"\nurl = { env = \"PING_URL\" }");
    let url = receiver.url("/ping/2f5c9a1e-uuid");
    let call = site.pgkeep::<&str>([]).env("PING_URL", &url);
    assert_broken(call, &["400", "`dead-man`"], &["2f5c9a1e"]);
    assert_eq!(receiver.request().path(), "/ping/2f5c9a1e-uuid/log");
}
