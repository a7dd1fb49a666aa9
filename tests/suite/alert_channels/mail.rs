//! Mail, against a real server: how it is encrypted, who is logged in, what a mail is made of.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{assert_broken, mail_to, plain_mail, site};
use crate::support::secrets::{assert_no_secret_in_files, assert_no_secret_in_rows};
use crate::support::smtp::{Smtp, SmtpPlan, Tls};

const PASSWORD: &str = "c0rrect+horse";

fn with_login(tls: Tls) -> Smtp {
    Smtp::start(SmtpPlan { tls, login: Some(("pgkeep".to_owned(), PASSWORD.to_owned())) })
}

fn login(password: &str) -> String {
    format!("\nusername = \"pgkeep\"\npassword = \"{password}\"")
}

#[test]
fn a_mail_is_whole_and_goes_to_each_by_itself() {
    let smtp = Smtp::start(plain_mail());
    let site = site(&[mail_to(&smtp, &["dba@example.org", "boss@example.org"])]);
    site.pgkeep(["alert", "test"]).any_stdout().run();
    let mut mails = smtp.mails();
    mails.sort_by(|one, other| other.recipients.cmp(&one.recipients));
    assert_eq!(mails.len(), 2);
    for (mail, to) in mails.iter().zip(["dba@example.org", "boss@example.org"]) {
        assert_eq!(
            (mail.sender.as_str(), mail.recipients.as_slice()),
            ("pgkeep@example.org", &[to.to_owned()][..])
        );
        assert_eq!((mail.header("From"), mail.header("To")), ("pgkeep@example.org", to));
        assert_eq!(
            mail.header("Subject"),
            "[pgkeep] TEST db1: a test of alert channel `mail`: nothing is wrong"
        );
        assert_eq!(mail.header("Auto-Submitted"), "auto-generated");
        assert!(mail.header("Message-ID").ends_with("@example.org>"), "{:?}", mail.headers);
        assert!(!mail.header("Date").is_empty());
        let alert = mail.header("X-Pgkeep-Alert");
        assert!(alert.len() == 12 && alert.chars().all(|digit| digit.is_ascii_hexdigit()), "{alert}");
        assert_eq!(mail.header("References"), format!("<{alert}@example.org>"));
        assert_eq!(mail.content_type, "multipart/alternative");
        for part in [&mail.text, &mail.html] {
            assert!(
                part.contains("nothing is wrong") && part.contains("db1") && part.contains(alert),
                "{part}"
            );
        }
        assert!(mail.html.contains("<html>") && !mail.text.contains('<'), "{}", mail.raw);
        assert_eq!(mail.defects, Vec::<String>::new());
        let longest = mail.raw.split("\r\n").map(str::len).max().unwrap();
        assert!(longest <= 998 && !mail.raw.replace("\r\n", "").contains(['\r', '\n']), "{}", mail.raw);
    }
    assert_ne!(mails[0].header("Message-ID"), mails[1].header("Message-ID"));
}

#[test]
fn a_login_goes_over_tls_alone() {
    for tls in [Tls::StartTls, Tls::Implicit] {
        let smtp = with_login(tls);
        let site = site(&[format!("{}{}", mail_to(&smtp, &["dba@example.org"]), login(PASSWORD))]);
        let call = || site.pgkeep(["alert", "test"]).secrets(&[PASSWORD.to_owned()]);
        call().env("SSL_CERT_FILE", &smtp.authority).stdout("ok    mail to dba@example.org\n").run();
        let mail = smtp.mail();
        assert_eq!((mail.is_tls, mail.user.as_deref()), (true, Some("pgkeep")), "{tls:?}");

        // Whose authority is not trusted learns nothing, least of all the password.
        let call = call().code(1).stderr_has("certificate").stderr_has("hint: ");
        call.run();
        assert_eq!((smtp.mails().len(), smtp.events("login").len()), (1, 1), "{tls:?}");
    }
}

/// The certificate is for `localhost`, not for 127.0.0.1.
#[test]
fn a_certificate_for_another_name_is_no_mail_server() {
    let smtp = with_login(Tls::StartTls);
    let channel = mail_to(&smtp, &["dba@example.org"]).replace("localhost", "127.0.0.1");
    let site = site(&[format!("{channel}{}", login(PASSWORD))]);
    let call = site.pgkeep::<&str>([]).env("SSL_CERT_FILE", &smtp.authority);
    assert_broken(call, &["certificate", "127.0.0.1"], &[PASSWORD]);
    assert_eq!((smtp.mails().len(), smtp.events("login").len()), (0, 0));
}

#[test]
fn a_server_without_starttls_gets_no_mail_in_the_clear() {
    let smtp = Smtp::start(plain_mail());
    let channel = mail_to(&smtp, &["dba@example.org"]).replace("smtp+plain://", "smtp://");
    // Trust is not what is missing.
    let other = Smtp::start(SmtpPlan::default());
    let site = site(&[channel]);
    let call = site.pgkeep::<&str>([]).env("SSL_CERT_FILE", &other.authority);
    assert_broken(call, &["STARTTLS", "dba@example.org"], &[]);
    assert_eq!(smtp.mails().len(), 0);
}

#[test]
fn a_wrong_password_is_told_and_never_shown() {
    let smtp = with_login(Tls::StartTls);
    let site = site(&[format!("{}{}", mail_to(&smtp, &["dba@example.org"]), login("wr0ng+battery"))]);
    let call = site.pgkeep::<&str>([]).env("SSL_CERT_FILE", &smtp.authority);
    assert_broken(call, &["535", "password"], &["wr0ng+battery", PASSWORD]);
    assert_eq!(smtp.mails().len(), 0);
    assert!(smtp.events("login").iter().all(|event| event["good"] == false));
}

/// Nor where the server repeats it, plain or as it went over the wire: not in what is printed, nor in what is kept.
#[test]
fn a_login_that_the_server_repeats_is_hidden() {
    let smtp = with_login(Tls::StartTls);
    smtp.repeat_logins();
    let (name, password) = ("pgkeep-mailer", "wr0ng+battery");
    let login = format!("\nusername = \"{name}\"\npassword = \"{password}\"");
    let site = site(&[format!("{}{login}", mail_to(&smtp, &["dba@example.org"]))]);
    let pair = format!("\0{name}\0{password}");
    let encoded = [name, password, &pair].map(|text| STANDARD.encode(text));
    let hidden: Vec<&str> = [name, password].into_iter().chain(encoded.iter().map(String::as_str)).collect();
    let trusted = |call: crate::support::Pgkeep| call.env("SSL_CERT_FILE", &smtp.authority);
    assert_broken(
        trusted(site.pgkeep::<&str>([])),
        &["535", "nobody is called *** *** *** *** ***"],
        &hidden,
    );
    let hidden: Vec<String> = hidden.into_iter().map(str::to_owned).collect();
    let call =
        site.pgkeep(["-vv", "backup", "full", "--database", "gone"]).code(1).stderr_has("nobody is called");
    trusted(call).secrets(&hidden).run();
    assert!(!smtp.events("login").is_empty());
    let query = "SELECT error FROM pgkeep.delivery";
    let error: String = site.cluster.connect(&site.catalog).query_one(query, &[]).unwrap().get(0);
    assert!(error.contains("nobody is called ***"), "{error}");
    assert_no_secret_in_rows(&mut site.cluster.connect(&site.catalog), "pgkeep", &hidden);
    assert_no_secret_in_files(&site.path(""), &[&site.path("config.toml")], &hidden);
}

#[test]
fn what_the_server_refuses_is_told_with_its_words() {
    let smtp = Smtp::start(plain_mail());
    let site = site(&[mail_to(&smtp, &["dba@example.org"])]);
    for (stage, code, text) in [
        ("mail", 550, "no such sender here"),
        ("rcpt", 550, "no such mailbox here"),
        ("rcpt", 451, "greylisted for now"),
        ("data", 554, "looks like spam"),
        ("taken", 452, "no room for it"),
    ] {
        smtp.refuse(stage, code, text, 1);
        assert_broken(site.pgkeep::<&str>([]), &[&code.to_string(), text, "dba@example.org"], &[]);
    }
    smtp.heal();
    let before = smtp.mails().len();
    site.pgkeep(["alert", "test"]).stdout("ok    mail to dba@example.org\n").run();
    assert_eq!(smtp.mails().len(), before + 1);
    // One receiver's refusal is not the other's.
    let mut site = site;
    site.config
        .add_channel(&mail_to(&smtp, &["one@example.org", "two@example.org"]).replace("\"mail\"", "\"two\""));
    smtp.refuse("rcpt", 550, "only one of them", 1);
    let ran = site.pgkeep(["alert", "test", "two"]).code(1).any_stdout().stderr_has("only one").run();
    assert_eq!(ran.stdout.lines().count(), 1, "{}", ran.stdout);
}

/// A name can hold anything.
#[test]
fn no_name_makes_a_header_or_markup_of_its_own() {
    let smtp = Smtp::start(plain_mail());
    let mut site = site(&[mail_to(&smtp, &["dba@example.org"])]);
    site.config.set("source.name", "db\r\nBcc: evil@example.org\r\n\r\n<script>alert(1)</script> né");
    let ran = site.pgkeep(["alert", "test"]).any_code().any_stdout().any_stderr().run();
    if ran.code == 2 {
        // Such a name is refused already.
        assert!(ran.stderr.contains("name"), "{}", ran.stderr);
        site.config.set("source.name", "db <script>alert(1)</script> né");
        site.pgkeep(["alert", "test"]).any_stdout().run();
    }
    let mail = smtp.mail();
    assert_eq!(mail.recipients, ["dba@example.org"]);
    assert!(mail.headers.iter().all(|(name, _)| name != "Bcc"), "{:?}", mail.headers);
    assert!(mail.header("Subject").contains("né"), "{:?}", mail.headers);
    assert!(mail.html.contains("&lt;script&gt;") && !mail.html.contains("<script"), "{}", mail.html);
    assert_eq!(mail.defects, Vec::<String>::new());
}
