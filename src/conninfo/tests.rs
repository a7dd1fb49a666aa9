//! Tests of connection strings that need no server. They know the module from outside.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use proptest::prelude::*;

use super::{ConnInfo, ConnInfoError, Environment};

fn environment(variables: &[(&str, &str)]) -> Environment {
    Environment {
        variables: variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        home: None,
        user: Some("osuser".to_owned()),
    }
}

fn parse(text: &str) -> ConnInfo {
    ConnInfo::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn resolve(text: &str, variables: &[(&str, &str)]) -> ConnInfo {
    parse(text).resolve(&environment(variables)).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn write(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn the_three_forms_mean_the_same() {
    for text in [
        "postgresql://backup:s%20t@db.internal:5433/shop?sslmode=verify-full&application_name=a%26b",
        "postgres://backup:s%20t@db.internal:5433/shop?sslmode=verify-full&application_name=a%26b&",
        "postgresql:///?user=backup&password=s%20t&host=db.internal&port=5433&dbname=shop&sslmode=verify-full&application_name=a%26b",
        "user=backup password='s t' host = db.internal port= 5433 dbname =shop\tsslmode=verify-full application_name=a&b",
        r"user=backup password=s\ t host='db.internal'port='5433' dbname=shop sslmode=verify-full application_name=a\&b",
    ] {
        let info = parse(text);
        assert_eq!((info.user(), info.password()), ("backup", Some("s t")), "{text}");
        assert_eq!(
            (info.host().as_str(), info.port(), info.dbname()),
            ("db.internal", 5433, "shop"),
            "{text}"
        );
        assert_eq!(info.get("sslmode"), Some("verify-full"), "{text}");
        assert_eq!(info.get("application_name"), Some("a&b"), "{text}");
    }
    assert_eq!(parse("shop").dbname(), "shop");
    assert_eq!(parse("").to_keyword_string(), "");
    assert_eq!(parse("postgresql://").to_keyword_string(), "");
}

#[test]
fn hosts_come_in_lists_brackets_and_directories() {
    let places = |text: &str| -> Vec<String> {
        parse(text).targets().unwrap().iter().map(ToString::to_string).collect()
    };
    assert_eq!(places("postgresql://h1:1,h2:2/d"), ["h1:1", "h2:2"]);
    assert_eq!(places("postgresql://h1,h2/d"), ["h1:5432", "h2:5432"]);
    assert_eq!(places("host=h1,h2 port=7"), ["h1:7", "h2:7"]);
    assert_eq!(places("host=h1,h2 port=,7"), ["h1:5432", "h2:7"]);
    assert_eq!(places("postgresql://[::1]:9/d"), ["[::1]:9"]);
    assert_eq!(places("postgresql://[fe80::1],b:3?sslmode=require"), ["[fe80::1]:5432", "b:3"]);
    assert_eq!(places("postgresql://%2Ftmp%2Fx:8/d"), ["/tmp/x:8"]);
    assert_eq!(places("postgresql:///d?host=/tmp/x"), ["/tmp/x:5432"]);
    assert_eq!(places("hostaddr=10.0.0.1"), ["10.0.0.1:5432"]);
    for text in ["host=a,b,c port=1,2", "host=a,b hostaddr=1.1.1.1"] {
        assert!(matches!(parse(text).targets(), Err(ConnInfoError::UnequalLists { .. })), "{text}");
    }
    for text in ["port=0", "port=65536", "port=x", "port=-1", "postgresql://u:p/w"] {
        assert!(matches!(parse(text).targets(), Err(ConnInfoError::InvalidPort)), "{text}");
    }
}

#[test]
fn malformed_strings_are_named_without_their_secrets() {
    for (text, expected) in [
        ("hots=x", "unknown connection parameter `hots`"),
        ("host", ""),
        ("host=x nothing", "missing `=` after the word at character 8"),
        ("password=my s3cret=", "unknown connection parameter at character 13"),
        ("password=s3cret more", "missing `=` after the word at character 17"),
        ("password='s3cret", "unterminated quote in the value of connection parameter `password`"),
        ("postgre://u:s3cret@h/d", "unknown scheme"),
        ("postgre://u:s3cret@h/d?sslmode=x", "unknown connection parameter at character 1"),
        ("postgresql://u:s3cret%zz@h/d", "invalid percent-encoding in the password"),
        ("postgresql://u:s3cret%00@h/d", "a zero byte in the password"),
        ("postgresql://u:s3cret%ff@h/d", "the password of the connection URI is not UTF-8"),
        ("postgresql://h?password=s3cret&s3cret=x", "unknown connection parameter at character 2"),
        ("postgresql://h?s3cret", "query parameter 1"),
        ("postgresql://h?host=a=b", "query parameter 1"),
        ("postgresql://h?a=1", "unknown connection parameter `a`"),
        ("postgresql://[::1/d", "malformed IPv6"),
        ("postgresql://[]/d", "malformed IPv6"),
        ("postgresql://u:p/s3cret@h/d", "an `@` in a place that has none"),
        ("postgresql://u:p@s3cret@h/d", "an `@` in a place that has none"),
        ("postgresql://u:1/s3cret@h/d", "an `@` in a place that has none"),
        ("postgresql://u:p@h/s3cret@h/d", "an `@` in a place that has none"),
        ("postgresql://u:p@h?s3cret=x@h/d", "an `@` in a place that has none"),
        ("postgresql://u:1?s3cret=x/y@h/d", "an `@` in a place that has none"),
        ("postgresql://h/d?s3cret=x@y", "unknown connection parameter at character 1"),
        ("u:s3cret@h/d", "unknown scheme"),
        ("postgresql://[::1]x/d", "malformed IPv6"),
    ] {
        match ConnInfo::parse(text) {
            Ok(_) => assert_eq!(expected, "", "{text} was taken"),
            Err(error) => {
                let shown = format!("{error} {error:?}");
                assert!(error.to_string().starts_with(expected) && !expected.is_empty(), "{text}: {error}");
                assert!(!shown.contains("s3cret"), "{shown}");
            }
        }
    }
}

#[test]
fn parameters_win_over_service_environment_and_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("services");
    write(
        &file,
        "# none\n[other]\nhost=wrong\n[mine]\nhost=from-service\nport=1\n dbname=service db\npassword=sp\n[mine]\nuser=late\n",
        0o644,
    );
    let file = file.to_str().unwrap();
    let variables = [
        ("PGSERVICEFILE", file),
        ("PGSERVICE", "mine"),
        ("PGHOST", "from-environment"),
        ("PGUSER", "from-environment"),
        ("PGPORT", "2"),
        ("PGPASSWORD", "environment"),
        ("PGSSLROOTCERT", "system"),
    ];
    let info = resolve("port=3", &variables);
    assert_eq!(info.describe(), "service db on from-service:3 as from-environment");
    assert_eq!(info.password(), Some("sp"));
    assert_eq!(info.get("sslmode"), Some("verify-full"));
    let text = info.to_keyword_string();
    assert!(!text.contains("service=") && text.contains("dbname='service db'"), "{text}");

    let plain = resolve("", &[]);
    assert_eq!((plain.dbname(), plain.user(), plain.port()), ("osuser", "osuser", 5432));
    assert!(plain.host().starts_with('/'));
    assert_eq!(resolve("user=u", &[]).dbname(), "u");
    assert_eq!(resolve("", &[("PGREQUIRESSL", "1")]).get("sslmode"), Some("require"));
    assert_eq!(resolve("", &[("PGREQUIRESSL", "1"), ("PGSSLMODE", "allow")]).get("sslmode"), Some("allow"));
    let nobody = Environment::default();
    assert!(matches!(parse("").resolve(&nobody), Err(ConnInfoError::NoUser)));
}

#[test]
fn services_are_looked_for_at_home_and_then_in_the_system() {
    let home = tempfile::tempdir().unwrap();
    let system = tempfile::tempdir().unwrap();
    write(
        &home.path().join(".pg_service.conf"),
        "[own]\ndbname=own\n[broken]\nhost = x\n[nested]\nservice=own\n",
        0o600,
    );
    write(&system.path().join("pg_service.conf"), "[shared]\ndbname=shared\n[own]\ndbname=wrong\n", 0o644);
    let mut environment = environment(&[("PGSYSCONFDIR", system.path().to_str().unwrap())]);
    environment.home = Some(home.path().to_owned());
    for name in ["own", "shared"] {
        let info = parse(&format!("service={name}")).resolve(&environment).unwrap();
        assert_eq!(info.dbname(), name);
    }
    let error = |name: &str| parse(&format!("service={name}")).resolve(&environment).unwrap_err().to_string();
    assert_eq!(error("absent"), "definition of connection service `absent` not found");
    assert!(error("broken").contains("line 4: unknown connection parameter"), "{}", error("broken"));
    assert!(error("nested").contains("line 6: a service may not name another"), "{}", error("nested"));
}

#[test]
fn the_password_file_is_matched_as_libpq_does() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pass");
    let lines = "# no\nh:5432:d:u:first\nh:*:d:u:second\r\nlocalhost:*:*:u:socket\n::1:1:d:u:short\n\\:\\:1:*:*:u:six\nw\\\\x:*:*:*:p\\:q\\\\r\n*:9:*:*:any:rest\n\\*:*:*:*:star\nh:*:empty:u:\nh:*:empty:u:later\n";
    write(&path, lines, 0o600);
    let name = path.to_str().unwrap();
    let password = |text: &str| resolve(text, &[("PGPASSFILE", name)]).password().map(str::to_owned);
    for (text, expected) in [
        ("host=h dbname=d user=u", Some("first")),
        ("host=h dbname=d user=u port=1", Some("second")),
        ("host=h dbname=d user=u password=given", Some("given")),
        ("host=/tmp dbname=d user=u", Some("socket")),
        ("host=/elsewhere dbname=d user=u", None),
        ("host=::1 dbname=d user=u", Some("six")),
        (r"host='w\\x' dbname=d user=u", Some(r"p:q\r")),
        ("host=z port=9 dbname=d user=u", Some("any")),
        ("host=z dbname=d user=u", None),
        ("host=* dbname=d user=u", Some("star")),
        ("host=h dbname=empty user=u", None),
    ] {
        assert_eq!(password(text).as_deref(), expected, "{text}");
    }
    let several = resolve("host=h,z port=5432,9 dbname=d user=u", &[("PGPASSFILE", name)]);
    assert_eq!(several.child_environment(), [("PGPASSFILE".to_owned(), name.to_owned())]);
    let moved = resolve("host=h user=u dbname=nothing", &[("PGPASSFILE", name)]);
    assert_eq!(moved.password(), None);
    assert_eq!(moved.with_dbname("d").child_environment(), [("PGPASSWORD".to_owned(), "first".to_owned())]);

    write(&path, lines, 0o640);
    let open = resolve("host=h dbname=d user=u", &[("PGPASSFILE", name)]);
    assert_eq!(open.password(), None);
    assert!(open.warnings().iter().any(|warning| warning.contains("chmod 0600")), "{:?}", open.warnings());
    assert!(resolve("", &[("PGPASSFILE", "/no/such/file")]).warnings().is_empty());
}

#[test]
fn what_a_child_needs_is_passed_on_and_what_it_must_not_see_is_not() {
    let info = resolve(
        "host=h dbname='it' user=u password=s3cret sslpassword=s3cret passfile=/p sslmode=verify-ca options='-c a=\\'b\\''",
        &[],
    );
    let text = info.to_keyword_string();
    assert_eq!(text, r"dbname='it' host='h' options='-c a=\'b\'' port='5432' sslmode='verify-ca' user='u'");
    assert_eq!(info.child_environment(), [("PGPASSWORD".to_owned(), "s3cret".to_owned())]);
    assert!(info.without_password().child_environment().is_empty());
    assert_eq!(info.without("sslmode").get("sslmode"), None);
    assert_eq!(info.with("sslmode", "require").unwrap().get("sslmode"), Some("require"));
    assert!(info.with("colour", "red").is_err());
    let shown = format!("{info} {info:?} {text}");
    assert!(!shown.contains("s3cret"), "{shown}");
}

fn encode(value: &str) -> String {
    value.bytes().fold(String::new(), |text, byte| format!("{text}%{byte:02X}"))
}

proptest! {
    #[test]
    fn any_value_survives_both_forms(
        dbname in "[^\0]{1,20}", user in "[^\0]{1,20}", options in "[^\0]{1,20}", password in "[^\0]{1,20}",
    ) {
        let empty = ConnInfo::parse("").unwrap();
        let built = empty.with("dbname", &dbname).unwrap().with("user", &user).unwrap().with("options", &options).unwrap();
        let quoted = format!("{} password={}", built.to_keyword_string(), super::parse::quote(&password));
        let uri = format!(
            "postgresql://{}:{}@h/{}?options={}", encode(&user), encode(&password), encode(&dbname), encode(&options),
        );
        for text in [quoted, uri] {
            let read = ConnInfo::parse(&text).unwrap();
            prop_assert_eq!(read.dbname(), &dbname);
            prop_assert_eq!(read.user(), &user);
            prop_assert_eq!(read.get("options"), Some(options.as_str()));
            prop_assert_eq!(read.password(), Some(password.as_str()));
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "(postgresql://)?.{0,40}|(postgres://)?[a-z:@/?=&%\\[\\],' \\\\]{0,40}") {
        if let Ok(info) = ConnInfo::parse(&text) {
            drop(info.resolve(&environment(&[])).map(|info| format!("{info} {info:?} {}", info.to_keyword_string())));
        }
    }

    #[test]
    fn no_piece_of_an_unescaped_password_is_shown(
        one in "[A-Z]{8,12}", between in "[@/:?#,\\[\\]%& =]{1,4}", other in "[A-Z]{8,12}",
    ) {
        for text in [
            format!("postgresql://u:{one}{between}{other}@h/d"), format!("postgresql://u:1{between}{other}@h/d"),
            format!("postgres://u:{one}{between}{other}@h?sslmode=disable"), format!("u:{one}{between}{other}@h/d"),
        ] {
            let shown = match ConnInfo::parse(&text) {
                Err(error) => format!("{error} {error:?}"),
                Ok(info) => match info.resolve(&environment(&[])) {
                    Err(error) => format!("{error} {error:?}"),
                    Ok(info) => format!("{info} {info:?} {}", info.to_keyword_string()),
                },
            };
            prop_assert!(!shown.contains(&one) && !shown.contains(&other), "{} shows {}", text, shown);
        }
    }

    #[test]
    fn no_password_is_shown(password in "[A-Z]{8,12}", tail in "[ a-z=%&'\\[]{0,8}") {
        for text in [
            format!("password={password}{tail}"), format!("password={tail}{password}"), format!("password='{password}' {tail}"),
            format!("postgresql://u:{password}{tail}@h/d"), format!("postgresql://h?password={password}{tail}"),
            format!("postgresql://u:{password}@h/d?{tail}"), format!("postgresql://h?password={tail}{password}"),
        ] {
            let shown = match ConnInfo::parse(&text) {
                Err(error) => format!("{error} {error:?}"),
                Ok(info) => match info.resolve(&environment(&[])) {
                    Err(error) => format!("{error} {error:?}"),
                    Ok(info) => format!("{info} {info:?} {}", info.to_keyword_string()),
                },
            };
            prop_assert!(!shown.contains(&password), "{} shows {}", text, shown);
        }
    }
}

#[test]
fn an_at_in_a_parameter_behind_credentials_is_none_of_a_password() {
    let honest = "postgresql://backup@127.0.0.1:29777?application_name=a@b&dbname=cat";
    assert!(super::ConnInfo::parse(honest).is_ok(), "{honest}");
    let odd = "postgresql://backup:pa@ss:12?application_name=a@b";
    assert!(super::ConnInfo::parse(odd).is_err(), "{odd}");
}
