//! The configuration: found where it should be, refused with its line where it is wrong, and secrets kept.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::support::key::write_private;
use crate::support::tools::files_under;
use crate::support::{FaultServer, Manners, Rule, Site};

/// Runs a backup with a text as the configuration: it must be refused with this line number and word.
pub(crate) fn assert_refused(site: &Site, text: &str, line: usize, word: &str) {
    let file = site.path("wrong.toml");
    write_private(&file, text);
    let call = site.bare().args(["--config", file.to_str().unwrap(), "backup", "full"]);
    let ran = call.code(2).stderr_has(word).stderr_has("wrong.toml").run();
    let said =
        [format!("line {line}"), format!("wrong.toml:{line}"), format!("\n{line} |"), format!(" {line} |")];
    assert!(said.iter().any(|part| ran.stderr.contains(part.as_str())), "line {line}: {}", ran.stderr);
    assert_eq!(files_under(&site.path("state")).len(), 0, "something was touched");
}

#[test]
fn wrong_settings_are_refused_with_their_line() {
    let site = Site::new().local_only();
    for (text, line, word) in [
        ("[source]\nname = \"a\"\nnaem = \"b\"\n", 3, "naem"),
        ("sate_dir = \"/tmp\"\n", 1, "sate_dir"),
        ("[sauce]\nname = \"a\"\n", 1, "sauce"),
        ("\n[source]\nname = 5\n", 3, "string"),
        ("[compression]\nlevel = \"nine\"\n", 2, "level"),
        ("[compression]\nlevel = 99\n", 2, "level"),
        ("[compression]\nmethod = \"rar\"\n", 2, "rar"),
        ("[timeouts]\n\nstall = \"2 parsecs\"\n", 3, "parsecs"),
        ("[timeouts]\nconnect = \"-1s\"\n", 2, "-1s"),
        ("[verify]\nafter_backup = \"maybe\"\n", 2, "maybe"),
        ("[verify]\nscratch_dir = \"here\"\n", 2, "scratch_dir"),
        ("[verify]\nreadable = [\"/opt/x\",\n\"opt/y\"]\n", 3, "readable"),
        ("[verify]\n\nfingerprint = \"some\"\n", 3, "fingerprint"),
        ("[verify]\nfingerprint_time = \"0s\"\n", 2, "fingerprint_time"),
        ("[retry]\nattempts = -1\n", 2, "attempts"),
        ("[[store]]\nname = \"a\"\nkind = \"tape\"\n", 3, "tape"),
        (
            "[[store]]\nname = \"a\"\nkind = \"local\"\npath = \"/x\"\nkeep = \"forever and ever\"\n",
            5,
            "forever",
        ),
        ("[source\nname = \"a\"\n", 1, ""),
        ("[source]\nname = \"a\"\nname = \"b\"\n", 3, "name"),
        ("[[store]]\nname = \"a\"\nkind = \"local\"\npath = \"/x\"\nbucket = \"b\"\n", 5, "bucket"),
    ] {
        assert_refused(&site, text, line, word);
    }
}

#[test]
fn what_is_missing_is_named() {
    let site = Site::new().local_only();
    for (text, word) in [
        ("[[store]]\nname = \"a\"\nkind = \"local\"\n", "path"),
        ("[[store]]\nname = \"a\"\nkind = \"s3\"\nendpoint = \"http://127.0.0.1:1\"\n", "bucket"),
        ("[[store]]\nkind = \"local\"\npath = \"/x\"\n", "name"),
        (
            "[[store]]\nname = \"a\"\nkind = \"local\"\npath = \"/x\"\n[[store]]\nname = \"a\"\nkind = \"local\"\npath = \"/y\"\n",
            "a",
        ),
    ] {
        let file = site.path("wrong.toml");
        write_private(&file, text);
        site.bare().args(["--config", file.to_str().unwrap(), "list"]).code(2).stderr_has(word).run();
    }
}

#[test]
fn a_configuration_that_is_not_there_is_named() {
    let site = Site::new().local_only();
    site.bare()
        .args(["--config", "/no/such/file.toml", "list"])
        .code(2)
        .stderr_has("/no/such/file.toml")
        .run();
    site.bare()
        .env("PGKEEP_CONFIG", "/no/such/other.toml")
        .args(["list"])
        .code(2)
        .stderr_has("/no/such/other.toml")
        .run();
}

#[test]
fn the_configuration_is_found_where_it_should_be() {
    let site = Site::new().local_only();
    let id = site.backup();
    let text = fs::read_to_string(site.path("config.toml")).unwrap();
    let elsewhere = site.path("elsewhere.toml");
    write_private(&elsewhere, &text);
    site.bare().env("PGKEEP_CONFIG", &elsewhere).args(["list"]).stdout_has(&id).run();
    fs::create_dir_all(site.path(".config/pgkeep")).unwrap();
    write_private(&site.path(".config/pgkeep/config.toml"), &text);
    site.bare().args(["list"]).stdout_has(&id).run();
    // What the command line says goes before the environment.
    site.bare()
        .env("PGKEEP_CONFIG", "/no/such")
        .args(["--config", elsewhere.to_str().unwrap(), "list"])
        .stdout_has(&id)
        .run();
}

#[test]
fn secrets_come_from_files_variables_and_commands() {
    let mut site = Site::new();
    let secret = site.r2.server.credentials.secret.clone();
    let command =
        toml::Table::from_iter([("command".to_owned(), vec!["printf", "%s\\n", secret.as_str()].into())]);
    site.config.store("r2").insert("secret_access_key".to_owned(), command.into());
    site.backup();
    site.config.store("r2").insert("secret_access_key".to_owned(), secret.into());
    site.backup();
}

/// One store's secret is out of reach: its cause is told, and nothing of that store is used. Whether the other
/// stores still get their copies (3) or the run is refused (2) is the program's to say.
fn assert_secret_missing(site: &Site, call: crate::support::Pgkeep, store: &str, cause: &[&str]) {
    let call =
        cause.iter().fold(call.any_code().any_stdout().stderr_has(store), |call, part| call.stderr_has(part));
    let bucket = if store == "r2" { &site.r2 } else { &site.b2 };
    let before = bucket.keys();
    let ran = call.run();
    assert!([2, 3].contains(&ran.code), "{ran:?}");
    assert_eq!(bucket.keys(), before);
}

#[test]
fn a_secret_that_can_not_be_had_is_named() {
    let mut site = Site::new();
    assert_secret_missing(
        &site,
        site.pgkeep(["backup", "full"]).without_env("R2_SECRET"),
        "r2",
        &["R2_SECRET"],
    );
    site.config.keep_stores(&["local", "b2"]);
    fs::set_permissions(site.path("b2.secret"), fs::Permissions::from_mode(0o644)).unwrap();
    assert_secret_missing(&site, site.pgkeep(["backup", "full"]), "b2", &["b2.secret", "chmod 600"]);
    let script = "echo vault is sealed >&2; exit 3";
    let command = toml::Table::from_iter([("command".to_owned(), vec!["sh", "-c", script].into())]);
    site.config.store("b2").insert("secret_access_key".to_owned(), command.into());
    assert_secret_missing(&site, site.pgkeep(["backup", "full"]), "b2", &["vault is sealed"]);
    let gone = crate::support::config::secret_file(&site.path("gone"));
    site.config.store("b2").insert("secret_access_key".to_owned(), gone);
    assert_secret_missing(&site, site.pgkeep(["backup", "full"]), "b2", &["gone"]);
}

#[test]
fn usage_errors_name_the_word() {
    let site = Site::new().local_only();
    for (arguments, word) in [
        (vec!["backup", "ful"], "ful"),
        (vec!["backpu"], "backpu"),
        (vec!["list", "--frobnicate"], "--frobnicate"),
        (vec!["verify"], "ID"),
        (vec!["key", "new"], "--output"),
    ] {
        site.bare().args(arguments).code(2).stderr_has(word).run();
    }
}

#[test]
fn the_version_is_the_packages() {
    let site = Site::new().local_only();
    site.bare().args(["--version"]).stdout(&format!("pgkeep {}\n", env!("CARGO_PKG_VERSION"))).run();
}

#[test]
fn a_store_without_a_prefix_starts_at_the_bucket() {
    let mut site = Site::new();
    site.config.store("r2").remove("prefix");
    let id = site.backup();
    assert!(site.row(&id)["r2_path"].as_str().unwrap().starts_with("db1/"));
    site.assert_copies(&id, &["local", "r2", "b2"]);
}

/// Doctor looks at everything and leaves nothing.
#[test]
fn doctor_is_content_with_a_good_site_and_names_what_is_wrong() {
    let mut site = Site::new();
    site.pgkeep(["doctor"]).any_stdout().run();
    for bucket in [&site.r2, &site.b2] {
        assert_eq!(bucket.keys(), Vec::<String>::new(), "a probe was left");
    }
    site.set_endpoint("b2", &format!("127.0.0.1:{}", crate::support::tools::free_port()));
    let ran = site.pgkeep(["doctor"]).any_code().any_stdout().any_stderr().run();
    assert_ne!(ran.code, 0);
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert!(said.contains("b2") && said.to_lowercase().contains("refused"), "{said}");
}

/// Two stores in one place pass for two copies, and the shorter `keep` removes both.
#[test]
fn doctor_tells_of_two_stores_that_are_one_place() {
    let mut site = Site::new();
    // One bucket under two addresses, which the configuration alone does not show.
    let fault = FaultServer::start(site.r2.server, Manners::Plain);
    let mut again = site.config.store("r2").clone();
    again.insert("name".to_owned(), "again".into());
    again.insert("endpoint".to_owned(), format!("http://{}", fault.address).into());
    site.config.add_store(again);
    let call = site.pgkeep(["--json", "doctor"]).code(1).any_stdout();
    let call = call.stderr_has("store again: it is the same place as store `r2`").stderr_has("of its own");
    let findings = call.run().json();
    for (store, is_ok) in [("local", true), ("r2", true), ("b2", true), ("again", false)] {
        let is_it = |finding: &&Value| finding["what"] == format!("store {store}");
        let finding = findings.as_array().unwrap().iter().find(is_it).unwrap();
        assert_eq!(finding["ok"], is_ok, "{finding}");
    }
    assert_eq!(site.r2.keys(), [""; 0], "a probe was left");
    // Another prefix is another place.
    site.config.keep_stores(&["r2", "again"]);
    site.config.store("again").insert("prefix".to_owned(), "elsewhere".into());
    site.pgkeep(["doctor"]).any_stdout().run();
}

/// A store that does not answer while another one is tried is not that one's fault.
#[test]
fn doctor_does_not_blame_the_wrong_store() {
    let mut site = Site::new();
    let fault = site.fault("r2", Manners::Plain);
    site.pgkeep(["doctor"]).any_stdout().run();
    // The last of them looks for what was written to the store after it.
    let looks = fault.count("HEAD", ".pgkeep-doctor");
    fault.rule(Rule::on("HEAD", ".pgkeep-doctor").after(looks - 1).refuse(403, "AccessDenied"));
    let ran =
        site.pgkeep(["doctor"]).any_stdout().stderr_has("store `r2`: whether it is the same place").run();
    assert!(ran.stdout.contains("ok    store b2: written, read, deleted"), "{}", ran.stdout);
}
