//! Text messages by an HTTP API of Twilio's kind: the form, the login, and what a refusal says.

use super::{assert_broken, site};
use crate::support::Site;
use crate::support::receiver::{Answer, Receiver};

const TOKEN: &str = "twilio-t0ken";

fn phone(url: &str, from: &str, to: &str) -> String {
    format!(
        "name = \"phone\"\nkind = \"sms\"\nurl = \"{url}\"\nusername = \"AC0123\"\n\
         password = {{ env = \"SMS_TOKEN\" }}\nfrom = \"{from}\"\nto = [{to}]"
    )
}

fn call(site: &Site) -> crate::support::Pgkeep {
    site.pgkeep::<&str>([]).env("SMS_TOKEN", TOKEN).secrets(&[TOKEN.to_owned()])
}

#[test]
fn each_number_gets_a_form_of_its_own() {
    let receiver = Receiver::start();
    receiver.always(Answer::With(201, "{\"sid\":\"SM1\"}".to_owned()));
    let url = receiver.url("/2010-04-01/Accounts/AC0123/Messages.json");
    let first = site(&[phone(&url, "+15550100", "\"+15550101\", \"+15550102\"")]);
    let lines = "ok    phone to +15550101\nok    phone to +15550102\n";
    call(&first).args(["alert", "test"]).stdout(lines).run();
    let mut numbers = Vec::new();
    for request in receiver.requests() {
        assert_eq!(
            (request.method.as_str(), request.target.as_str()),
            ("POST", "/2010-04-01/Accounts/AC0123/Messages.json")
        );
        assert_eq!(request.login(), Some(("AC0123".to_owned(), TOKEN.to_owned())));
        let form = request.form();
        assert_eq!(form.keys().map(String::as_str).collect::<Vec<_>>(), ["Body", "From", "To"]);
        assert_eq!(form["From"], "+15550100");
        assert!(form["Body"].starts_with("TEST pgkeep db1: a test of alert channel 'phone'"), "{form:?}");
        assert!(
            form["Body"].ends_with(']') && form["Body"].is_ascii() && form["Body"].len() <= 160,
            "{form:?}"
        );
        numbers.push(form["To"].clone());
    }
    numbers.sort();
    assert_eq!(numbers, ["+15550101", "+15550102"]);
    // A messaging service has an id, and a key of its own in the form.
    let service = site(&[phone(&url, "MG0123456789abcdef0123456789abcdef", "\"+15550101\"")]);
    call(&service).args(["alert", "test"]).any_stdout().run();
    let form = receiver.requests().pop().unwrap().form();
    assert_eq!(form.keys().map(String::as_str).collect::<Vec<_>>(), ["Body", "MessagingServiceSid", "To"]);
    assert_eq!(form["MessagingServiceSid"], "MG0123456789abcdef0123456789abcdef");
}

#[test]
fn what_the_provider_says_of_a_refusal_is_repeated_without_the_token() {
    let receiver = Receiver::start();
    let site = site(&[phone(&receiver.url("/Messages.json"), "+15550100", "\"+15550101\"")]);
    let said =
        format!("{{\"code\":21211,\"message\":\"The 'To' number is not valid ({TOKEN})\",\"status\":400}}");
    receiver.script([Answer::With(400, said), Answer::Echo]);
    assert_broken(
        call(&site),
        &["400", "21211", "The 'To' number is not valid (***)", "+15550101"],
        &[TOKEN],
    );
    // What goes over the wire is the login in another form.
    let basic = "QUMwMTIzOnR3aWxpby10MGtlbg";
    assert_broken(call(&site), &["400"], &[TOKEN, basic]);
    assert!(receiver.requests()[1].header("authorization").contains(basic));
}

#[test]
fn a_login_does_not_leave_this_host_in_the_clear() {
    // One that stands in the file is refused there already.
    let channel = phone("SMS_URL", "+15550100", "\"+15550101\"");
    let site = site(&[channel.replace("\"SMS_URL\"", "{ env = \"SMS_URL\" }")]);
    let call = call(&site).env("SMS_URL", "http://sms.example.invalid/Messages.json");
    assert_broken(call, &["in the clear", "https://"], &[TOKEN]);
}
