//! `pgkeep diff`: what changed in a cluster and on its host between two nights.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::{Value, json};

use crate::support::Site;

/// The changes, by section and name and property, each as `how before after`.
fn changes(document: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let of = |it: &Value| {
        let property = it["property"].as_str().map_or_else(String::new, |property| format!(" / {property}"));
        let (before, after) = (text(&it["before"]), text(&it["after"]));
        let secret = if it["is_secret"] == true { " secret" } else { "" };
        format!(
            "{} {}{property}: {} {before} {after}{secret}",
            text(&it["section"]),
            text(&it["name"]),
            text(&it["how"])
        )
    };
    document["changes"].as_array().unwrap().iter().map(of).collect()
}

/// Adds a line to the file of that setting, and has the server read it.
fn append(site: &Site, setting: &str, line: &str) {
    let mut client = site.cluster.connect("postgres");
    let path: String = client.query_one(&format!("SHOW {setting}"), &[]).unwrap().get(0);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{text}{line}\n")).unwrap();
    client.execute("SELECT pg_reload_conf()", &[]).unwrap();
}

#[test]
fn what_changed_between_two_nights_is_told_and_no_secret() {
    let mut site = Site::alone().local_only();
    let file = site.path("app.env");
    fs::write(&file, "SECRET=one\n").unwrap();
    let sites = site.path("sites");
    fs::create_dir(&sites).unwrap();
    symlink("/etc/hostname", sites.join("one")).unwrap();
    site.config.set("config.files", vec![file.to_str().unwrap(), sites.to_str().unwrap()]);
    site.cluster.execute(
        "postgres",
        "CREATE ROLE app LOGIN PASSWORD 'one'; CREATE ROLE gone CREATEDB; CREATE ROLE staff; ALTER ROLE app SET work_mem TO '7MB'",
    );
    append(
        &site,
        "hba_file",
        "host all all 10.0.0.0/8 ldap ldapserver=l ldapbasedn=\"dc=x\" ldapbindpasswd=s3cret-one",
    );
    let before = site.pgkeep(["backup", "config"]).any_stdout().run().id();
    let same = site.pgkeep(["backup", "config"]).any_stdout().run().id();
    site.pgkeep(["diff", &before, &same]).stdout_has("nothing differs between").run();
    let none = site.pgkeep(["diff", &before, "--json"]).any_stdout().run().json();
    assert_eq!(none, json!({ "before": before, "after": "server", "changes": [], "not_compared": [] }));
    site.cluster.execute(
        "postgres",
        "ALTER ROLE app SET app.dsn TO 'postgres://a:s3cret@h/x'; COMMENT ON ROLE staff IS 'initial: s3cret'; \
         ALTER ROLE app PASSWORD 'two' NOLOGIN; ALTER ROLE app SET work_mem TO '8MB'; DROP ROLE gone; \
         ALTER ROLE app SET app.jwt_secret TO 's3cret-two'; CREATE ROLE newbie LOGIN CONNECTION LIMIT 2; GRANT staff TO app WITH ADMIN OPTION",
    );
    site.cluster.execute("shop", "CREATE EXTENSION pg_trgm");
    site.cluster.execute("postgres", "ALTER SYSTEM SET log_min_duration_statement = '1s'");
    site.cluster.execute("postgres", "ALTER SYSTEM SET restore_command = 'wal-push --user u -p hunter9 %p'");
    let path: String = site.cluster.connect("postgres").query_one("SHOW hba_file", &[]).unwrap().get(0);
    let text = fs::read_to_string(&path).unwrap().replace("s3cret-one", "s3cret-two");
    fs::write(&path, text).unwrap();
    append(&site, "hba_file", "host all newbie 192.168.0.0/16 md5");
    fs::write(&file, "SECRET=two\n").unwrap();
    fs::remove_file(sites.join("one")).unwrap();
    symlink("/etc/other", sites.join("one")).unwrap();
    fs::set_permissions(&sites, fs::Permissions::from_mode(0o700)).unwrap();
    let after = site.pgkeep(["backup", "config"]).any_stdout().run().id();
    let document = site.pgkeep(["diff", &before, "latest", "--json"]).any_stdout().run().json();
    assert_eq!((&document["before"], &document["after"]), (&json!(before), &json!(after)));
    let found = changes(&document);
    for expected in [
        "settings log_min_duration_statement: added - 1000ms",
        "roles app / LOGIN: removed - -",
        "roles app / member of staff: added - WITH ADMIN OPTION GRANTED BY postgres",
        "roles app / password: changed - - secret",
        "roles app / setting app.dsn: added - - secret",
        "roles app / setting app.jwt_secret: added - - secret",
        "roles staff / comment or label: added - - secret",
        "settings restore_command: added - - secret",
        "roles app / setting work_mem: changed '7MB' '8MB'",
        "roles gone: removed CREATEDB -",
        "roles newbie: added - CONNECTION LIMIT 2, LOGIN",
        "hba host all newbie 192.168.0.0 255.255.0.0 md5: added - -",
        "hba host all all 10.0.0.0 255.0.0.0 ldap ldapserver=l ldapbasedn=dc=x ldapbindpasswd=(hidden) ldapscope=2: changed - - secret",
        "databases shop / extension pg_trgm: added - 1.6",
    ] {
        assert!(found.iter().any(|line| line == expected), "{expected}: {found:#?}");
    }
    let files: Vec<&String> = found.iter().filter(|line| line.starts_with("files ")).collect();
    let secret = files.iter().filter(|line| line.ends_with(": changed - - secret"));
    assert_eq!((files.len(), secret.count()), (5, 3), "{files:#?}");
    let shown = |end: &str| files.iter().any(|line| line.ends_with(end));
    assert!(shown("sites/one: changed a link to /etc/hostname a link to /etc/other"), "{files:#?}");
    assert!(files.iter().any(|line| line.contains("sites / owner and mode: changed")), "{files:#?}");
    assert_eq!(found.len(), 19, "{found:#?}");
    let text = site.pgkeep(["diff", &before, &after]).any_stdout().run().stdout;
    assert!(text.contains("roles:\n") && text.contains("~ app, password changed"), "{text}");
    assert!(text.contains("~ app, setting work_mem: '7MB' -> '8MB'"), "{text}");
    for said in [&text, &document.to_string()] {
        assert!(!["s3cret", "SCRAM", "hunter9"].iter().any(|secret| said.contains(secret)), "{said}");
    }
    // The other way round, and beside the server, which is as it was in the last night.
    let back = site.pgkeep(["diff", &after, &before]).any_stdout().run().stdout;
    assert!(back.contains("- newbie: CONNECTION LIMIT 2, LOGIN"), "{back}");
    site.pgkeep(["diff", &after]).stdout_has("nothing differs between").run();
    site.pgkeep(["diff", &before]).stdout_has("+ newbie").run();
}

/// Rules that are the same in another order are another set: the first that fits decides.
#[test]
fn the_order_of_rules_counts() {
    let site = Site::alone().local_only();
    append(&site, "hba_file", "host all one 10.0.0.1/32 md5\nhost all two 10.0.0.2/32 md5");
    let before = site.pgkeep(["backup", "config"]).any_stdout().run().id();
    let path: String = site.cluster.connect("postgres").query_one("SHOW hba_file", &[]).unwrap().get(0);
    let text = fs::read_to_string(&path).unwrap();
    let swapped = text.replace(
        "host all one 10.0.0.1/32 md5\nhost all two 10.0.0.2/32 md5",
        "host all two 10.0.0.2/32 md5\nhost all one 10.0.0.1/32 md5",
    );
    assert_ne!(swapped, text);
    fs::write(&path, swapped).unwrap();
    site.pgkeep(["diff", &before]).stdout_has("~ the order of the rules changed").run();
    // Whatever else has changed as well.
    append(&site, "hba_file", "host all three 10.0.0.3/32 md5");
    site.pgkeep(["diff", &before])
        .stdout_has("~ the order of the rules changed")
        .stdout_has("+ host all three")
        .run();
}

/// What a role may not see is not gone: it is said that it was not compared.
#[test]
fn what_a_role_may_not_see_is_not_compared() {
    let mut site = Site::alone().local_only().with_own_catalog();
    site.cluster.execute(
        "postgres",
        "CREATE ROLE weak LOGIN PASSWORD 'weak'; ALTER ROLE weak SET work_mem TO '77MB'",
    );
    let id = site.pgkeep(["backup", "config"]).any_stdout().run().id();
    append(&site, "hba_file", "host all all 0.0.0.0/0 trust");
    let url = format!("postgresql://weak:weak@127.0.0.1:{}/shop", site.cluster.port);
    site.config.set("source.url", url);
    let document = site.pgkeep(["diff", &id, "--json"]).any_stdout().run().json();
    assert_eq!(document["changes"], json!([]), "{document:#}");
    let not: Vec<&str> =
        document["not_compared"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    for part in ["pg_hba.conf", "settings", "passwords", "files of the server"] {
        assert!(not.iter().any(|what| what.contains(part)), "{part}: {not:?}");
    }
    let text = site.pgkeep(["diff", &id]).any_stdout().run().stdout;
    assert!(text.contains("not compared: rules of pg_hba.conf"), "{text}");
}

/// Where a copy is away, or there is no such backup, it says so.
#[test]
fn what_can_not_be_compared() {
    let site = Site::alone();
    site.pgkeep(["diff", "latest"]).code(5).stderr_has("fits `latest`").run();
    let id = site.pgkeep(["backup", "config"]).any_stdout().run().id();
    site.pgkeep(["diff", &id, "nothing"]).code(5).stderr_has("there is no backup `nothing`").run();
    site.pgkeep(["diff", "latest", &id, "--from", "r2"]).stdout_has("nothing differs").run();
    site.pgkeep(["diff", "latest", "--from", "nowhere"]).code(2).stderr_has("no store `nowhere`").run();
}
