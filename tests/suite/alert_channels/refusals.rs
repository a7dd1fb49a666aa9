//! What a channel's configuration must not say: refused with its line, before anything is touched.

use crate::configuration::assert_refused;
use crate::support::Site;

const MAIL: &str = "kind = \"email\"\nsmtp = \"smtp://h\"\nfrom = \"a@b.c\"\nto = [\"d@e.f\"]\n";
const PHONE: &str = "kind = \"sms\"\nurl = \"https://h/\"\nusername = \"u\"\npassword = \"p\"\nfrom = \"+1\"\nto = [\"+2\"]\n";
const HOOK: &str = "kind = \"webhook\"\nurl = \"https://h/x\"\n";
const PING: &str = "kind = \"ping\"\nurl = \"https://h/x\"\n";
const APP: &str = "kind = \"in_app\"\n";

/// A channel on line 1 with its name on line 2 and the kind on line 3.
fn channel(keys: &str, more: &str) -> String {
    format!("[[alert.channel]]\nname = \"c\"\n{keys}{more}\n")
}

#[test]
fn a_wrong_value_is_refused_with_its_line() {
    let site = Site::new().local_only();
    let mail = |smtp: &str, more: &str| channel(&MAIL.replace("smtp://h", smtp), more);
    for (text, line, word) in [
        (channel("kind = \"pigeon\"\n", ""), 3, "pigeon"),
        (channel(APP, "").replace("\"c\"", "\"a b\""), 2, "name"),
        (channel(APP, "").replace("\"c\"", "\"\""), 2, "name"),
        (format!("{0}{0}", channel(APP, "")), 6, "two channels"),
        (channel(APP, "min_severity = \"grave\""), 4, "grave"),
        (channel(APP, "rules = [\"backup_faild\"]"), 4, "backup_faild"),
        (channel(APP, "rules = []"), 4, "rules"),
        (channel(APP, "databases = []"), 4, "databases"),
        (channel(APP, "databases = [\"\"]"), 4, "databases"),
        (channel(HOOK, "quiet_hours = \"22-7\""), 5, "22:00-07:00"),
        (channel(HOOK, "quiet_hours = \"22:00-24:00\""), 5, "22:00-07:00"),
        (channel(HOOK, "quiet_hours = \"07:00-07:00\""), 5, "22:00-07:00"),
        (channel(APP, "timeout = \"0s\""), 4, "limit of 0"),
        (channel(APP, "timeout = \"soon\""), 4, "soon"),
        (channel(APP, "retries = 3"), 4, "retries"),
        (mail("http://h", ""), 4, "STARTTLS"),
        (mail("relay.internal:587", ""), 4, "STARTTLS"),
        (mail("smtp://", ""), 4, "STARTTLS"),
        (mail("smtp://h:0", ""), 4, "STARTTLS"),
        (mail("smtp://h:70000", ""), 4, "STARTTLS"),
        (mail("smtp://u:p@h", ""), 4, "STARTTLS"),
        (mail("smtp://h/path", ""), 4, "STARTTLS"),
        (mail("smtp+plain://relay", "username = \"u\"\npassword = \"p\""), 4, "in the clear"),
        (channel(&MAIL.replace("a@b.c", "pgkeep"), ""), 5, "from"),
        (channel(&MAIL.replace("a@b.c", "a@b.c\\r\\nBcc: x@y.z"), ""), 5, "from"),
        (channel(&MAIL.replace("a@b.c", "a@@b.c"), ""), 5, "from"),
        (channel(&MAIL.replace("d@e.f", "dba"), ""), 6, "dba"),
        (channel(&MAIL.replace("d@e.f", "d@e.f>, <x@y.z"), ""), 6, "x@y.z"),
        (channel(&MAIL.replace("[\"d@e.f\"]", "[]"), ""), 6, "to"),
        (channel(&MAIL.replace("[\"d@e.f\"]", "\"d@e.f\""), ""), 6, "to"),
        (channel(MAIL, "username = \"u\""), 7, "password"),
        (channel(MAIL, "password = \"p\""), 7, "username"),
        (channel(&HOOK.replace("https://h/x", "ftp://h/x"), ""), 4, "https://HOST"),
        (channel(&HOOK.replace("https://h/x", "https://"), ""), 4, "https://HOST"),
        (channel(&HOOK.replace("https://h/x", "https://u:p@h/x"), ""), 4, "https://HOST"),
        (channel(&HOOK.replace("https://h/x", "https://h/a b"), ""), 4, "https://HOST"),
        (channel(&HOOK.replace("https://h/x", "https://h/x#y"), ""), 4, "`#`"),
        (channel(&HOOK.replace("https", "http"), "token = \"t\""), 4, "in the clear"),
        (channel(&PHONE.replace("https", "http"), ""), 4, "in the clear"),
        (channel(HOOK, "format = \"xml\""), 5, "xml"),
        (channel(HOOK, "routing_key = \"k\""), 5, "pagerduty"),
        (channel(HOOK, "username = \"u\"\npassword = \"p\"\ntoken = \"t\""), 7, "two ways"),
        (channel(HOOK, "secret = { file = 5 }"), 5, "secret"),
        (channel(HOOK, "secret = { env = \"A\", file = \"/b\" }"), 5, "secret"),
    ] {
        assert_refused(&site, &text, line, word);
    }
}

#[test]
fn a_key_that_a_kind_has_no_use_for_is_refused() {
    let site = Site::new().local_only();
    let lines = |keys: &str| 3 + keys.lines().count();
    for (keys, kind, key, value) in [
        (MAIL, "email", "url", "\"https://h/\""),
        (MAIL, "email", "format", "\"slack\""),
        (MAIL, "email", "token", "\"t\""),
        (PHONE, "sms", "smtp", "\"smtp://h\""),
        (PHONE, "sms", "secret", "\"s\""),
        (HOOK, "webhook", "to", "[\"x\"]"),
        (HOOK, "webhook", "from", "\"x\""),
        (PING, "ping", "min_severity", "\"critical\""),
        (PING, "ping", "rules", "[\"backup_failed\"]"),
        (PING, "ping", "quiet_hours", "\"22:00-07:00\""),
        (PING, "ping", "password", "\"p\""),
        (APP, "in_app", "quiet_hours", "\"22:00-07:00\""),
        (APP, "in_app", "url", "\"https://h/\""),
        (APP, "in_app", "routing_key", "\"k\""),
    ] {
        let word = format!("a channel of kind \"{kind}\" has no `{key}`");
        assert_refused(&site, &channel(keys, &format!("{key} = {value}")), lines(keys), &word);
    }
}

#[test]
fn what_a_kind_needs_is_named() {
    let site = Site::new().local_only();
    for (keys, key) in [
        (MAIL, "smtp"),
        (MAIL, "from"),
        (MAIL, "to"),
        (PHONE, "url"),
        (PHONE, "from"),
        (PHONE, "to"),
        (HOOK, "url"),
        (PING, "url"),
    ] {
        let without: Vec<&str> =
            keys.lines().filter(|line| line.split(' ').next().unwrap_or_default() != key).collect();
        let text = channel(&format!("{}\n", without.join("\n")), "");
        assert_refused(&site, &text, 2, &format!("needs `{key}`"));
    }
    let none: Vec<&str> =
        PHONE.lines().filter(|line| !line.contains("\"u\"") && !line.contains("\"p\"")).collect();
    assert_refused(&site, &channel(&format!("{}\n", none.join("\n")), ""), 2, "`username` and `password`");
    assert_refused(&site, &channel("kind = \"webhook\"\nformat = \"pagerduty\"\n", ""), 2, "routing_key");
    assert_refused(&site, "[[alert.channel]]\nkind = \"in_app\"\n", 1, "name");
    assert_refused(&site, "[[alert.channel]]\nname = \"c\"\n", 1, "kind");
}

#[test]
fn a_share_that_is_none_is_refused() {
    let site = Site::new().local_only();
    for (text, word) in [
        ("max_age = \"0h\"", "limit of 0"),
        ("max_age = \"a day or so\"", "a day or so"),
        ("min_free = \"100%\"", "99%"),
        ("size_drop = \"100%\"", "99%"),
        ("size_drop = \"0%\"", "1%"),
        ("size_growth = \"-5%\"", "off"),
        ("size_growth = \"double\"", "off"),
        ("duration_drop = \"30\"", "off"),
        ("duration_growth = \"1.5%\"", "off"),
        ("duration_growth = 30", "string"),
    ] {
        assert_refused(&site, &format!("[alert]\n{text}\n"), 2, word);
    }
}
