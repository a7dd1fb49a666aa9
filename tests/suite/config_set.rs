//! `pgkeep backup config`: what is in no database's dump, as a backup of its own.
//! In clusters of their own: in the shared one there are hundreds of databases, each of which is asked.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::cluster::unique;
use crate::support::{Site, shim};

mod differences;
mod nightly;
mod restoring;

/// What is in a config backup, by its name there: taken apart by tar itself.
fn taken_apart(site: &Site, id: &str) -> PathBuf {
    let (archive, folder) = (site.path("set.tar"), site.path("set"));
    let script = format!("exec \"$@\" >'{}'", archive.display());
    let call = site.pgkeep(["restore", id, "--output", "-"]).through(&["/usr/bin/env"], &script);
    call.any_stderr().run();
    fs::create_dir(&folder).unwrap();
    let status = Command::new("tar").arg("xpf").arg(&archive).arg("-C").arg(&folder).status().unwrap();
    assert!(status.success());
    folder
}

fn json_of(path: &PathBuf) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn it_holds_roles_settings_databases_and_files() {
    let mut site = Site::alone();
    let role = unique("Odd role; \"x\"");
    let quoted = format!("\"{}\"", role.replace('"', "\"\""));
    site.cluster.execute(
        "postgres",
        &format!("CREATE ROLE {quoted} LOGIN PASSWORD 'pw'; ALTER ROLE {quoted} SET work_mem = '7MB'"),
    );
    let etc = site.path("etc");
    fs::create_dir_all(etc.join("conf.d")).unwrap();
    fs::write(etc.join("conf.d/site.conf"), "listen 80;\n").unwrap();
    fs::set_permissions(etc.join("conf.d/site.conf"), fs::Permissions::from_mode(0o640)).unwrap();
    symlink("conf.d/site.conf", etc.join("enabled")).unwrap();
    fs::write(etc.join("other"), "").unwrap();
    site.config.set(
        "config.files",
        vec![format!("{}/**/*.conf", etc.display()), format!("{}/enabled", etc.display())],
    );
    let id = site.pgkeep(["backup", "config"]).any_stdout().run().id();
    assert!(id.starts_with("config-cluster-"), "{id}");
    let row = site.row(&id);
    assert_eq!((&row["status"], &row["backup_type"]), (&json!("verified"), &json!("config")), "{row:#}");
    assert!(row["filename"].as_str().unwrap().ends_with(".tar.gz.pgk"), "{row:#}");
    site.assert_copies(&id, &["local", "r2", "b2"]);
    let folder = taken_apart(&site, &id);
    let globals = fs::read_to_string(folder.join("globals.sql")).unwrap();
    assert!(globals.contains(&format!("CREATE ROLE {quoted};")), "{globals}");
    assert!(globals.contains("SCRAM-SHA-256$") && globals.contains("7MB"), "{globals}");
    let settings = json_of(&folder.join("settings.json"));
    let names: Vec<&str> =
        settings.as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"port") && !names.contains(&"application_name"), "{names:?}");
    let databases = json_of(&folder.join("databases.json"));
    let all: BTreeMap<&str, &Value> = databases["databases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["name"].as_str().unwrap(), it))
        .collect();
    let own = all[site.database.as_str()];
    assert_eq!((&own["encoding"], &own["owner"]), (&json!("UTF8"), &json!("postgres")), "{own:#}");
    assert!(own["size_bytes"].as_u64().unwrap() > 0, "{own:#}");
    let extensions = own["extensions"].as_array().unwrap();
    assert!(extensions.iter().any(|it| it["name"] == "plpgsql" && it["version"] == "1.0"), "{own:#}");
    assert!(databases["system_identifier"].is_string(), "{databases:#}");
    let kept = folder.join("files").join(etc.strip_prefix("/").unwrap());
    assert_eq!(fs::read_to_string(kept.join("conf.d/site.conf")).unwrap(), "listen 80;\n");
    let mode = fs::metadata(kept.join("conf.d/site.conf")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o640);
    assert_eq!(fs::read_link(kept.join("enabled")).unwrap(), PathBuf::from("conf.d/site.conf"));
    assert!(!kept.join("other").exists());
    let own = fs::read_to_string(folder.join("pgkeep/config.toml")).unwrap();
    assert!(own.contains("[[store]]"), "{own}");
    for secret in site.secrets() {
        assert!(!own.contains(&secret), "{own}");
    }
    let notes = json_of(&folder.join("notes.json"));
    assert_eq!((&notes["has_passwords"], &notes["missing"]), (&json!(true), &json!([])), "{notes:#}");
    let server = all_below(&folder.join("server"));
    for name in ["postgresql.conf", "pg_hba.conf", "pg_ident.conf", "postgresql.auto.conf"] {
        assert!(server.iter().any(|path| path.ends_with(name)), "{name}: {server:?}");
    }
    site.assert_no_secret();
}

fn all_below(folder: &std::path::Path) -> Vec<PathBuf> {
    crate::support::tools::files_under(folder)
}

/// Looked at as deep as there is a way, listed, and never what `latest` means by itself.
#[test]
fn it_is_verified_and_listed_as_what_it_is() {
    let site = Site::alone();
    let full = site.backup();
    let id = site.pgkeep(["backup", "config"]).any_stdout().run().id();
    site.pgkeep(["verify", &id, "--level", "content"]).any_stdout().run();
    site.pgkeep(["verify", &id, "--level", "restore"]).any_stdout().run();
    assert_eq!(site.copies(&id)["r2"]["verified_level"], "content");
    site.pgkeep(["verify", "latest", "--json"]).stdout_has(&full).run();
    site.pgkeep(["verify", "latest", "--type", "config", "--json"]).stdout_has(&id).run();
    site.pgkeep(["list", "--type", "config"]).stdout_has(&id).run();
    site.pgkeep(["list", "--from", "r2", "--type", "config"]).stdout_has(&id).run();
    let into = site.cluster.url(&site.database);
    site.pgkeep(["restore", &id, "--into", &into]).code(2).stderr_has("is no dump").run();
    site.pgkeep(["verify", "--all"]).any_stdout().run();
    // What is not a set any more is told.
    let key = site.copies(&id)["r2"]["path"].as_str().unwrap().to_owned();
    let mut bytes = site.r2.get(&key);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    site.r2.put(&key, &bytes);
    site.pgkeep(["verify", &id, "--level", "content"]).code(4).any_stdout().stderr_has("corrupt").run();
}

/// What was asked for and is not to be had is named, and makes the exit code 3; the rest is kept.
#[test]
fn what_is_missing_is_named() {
    let mut site = Site::alone().local_only();
    let folder = site.path("etc");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("kept"), "x").unwrap();
    let sparse = fs::File::create(folder.join("sparse")).unwrap();
    sparse.set_len(1 << 20).unwrap();
    let made = Command::new("mkfifo").arg(folder.join("pipe")).status().unwrap();
    assert!(made.success());
    let gone = folder.join("gone");
    // What the kernel makes up as it is read.
    let made_up = "/proc/version".to_owned();
    site.config.set("config.files", vec![folder.display().to_string(), gone.display().to_string(), made_up]);
    let call = site.pgkeep(["backup", "config"]).code(3).any_stdout().stderr_has("it says that it is empty");
    let id = call.stderr_has("gone: it is not there").stderr_has("a FIFO").stderr_has("sparse").run().id();
    let missing = site.row(&id)["metadata"]["missing"].as_array().unwrap().len();
    assert_eq!(missing, 4);
    let query = "SELECT message FROM pgkeep.alert WHERE rule = 'backup_degraded' AND database = 'cluster'";
    let told: String = site.cluster.connect(&site.catalog).query_one(query, &[]).unwrap().get(0);
    assert!(told.contains("does not hold all that was asked for"), "{told}");
    let kept = taken_apart(&site, &id).join("files").join(folder.strip_prefix("/").unwrap());
    assert_eq!(fs::read_to_string(kept.join("kept")).unwrap(), "x");
    assert!(!kept.join("sparse").exists() && !kept.join("pipe").exists());
}

/// A role that may not read the hashes of passwords, nor the server's files: both are said.
#[test]
fn a_role_that_may_not_see_passwords() {
    let mut site = Site::alone().local_only().with_own_catalog();
    let (role, port, database) = (unique("weak"), site.cluster.port, site.database.clone());
    site.cluster.execute(&database, &format!("CREATE ROLE {role} LOGIN PASSWORD 'weak'"));
    site.config.set("source.url", format!("postgresql://{role}:weak@127.0.0.1:{port}/{database}"));
    let id = site
        .pgkeep(["backup", "config"])
        .any_stdout()
        .stderr_has("may not read the hashes of passwords")
        .run()
        .id();
    assert_eq!(site.row(&id)["metadata"]["has_passwords"], false);
    for target in [vec!["--list"], vec!["--output", site.path("out").to_str().unwrap()]] {
        let call = site.pgkeep(["restore", &id]).args(target).any_stdout();
        call.stderr_has("without their passwords").run();
    }
    let folder = taken_apart(&site, &id);
    assert!(!fs::read_to_string(folder.join("globals.sql")).unwrap().contains("SCRAM"));
}

/// One that could not even begin is an alert like any backup that failed, until one is made.
#[test]
fn what_could_not_begin_is_told() {
    let site = Site::alone().local_only().with_own_catalog();
    let (key, away) = (site.path("pgkeep.key"), site.path("away"));
    fs::rename(&key, &away).unwrap();
    site.pgkeep(["backup", "config"]).code(2).stderr_has("pgkeep.key").run();
    fs::rename(&away, &key).unwrap();
    site.pgkeep(["list"]).any_stdout().run();
    let open = || -> i64 {
        let query = "SELECT count(*) FROM pgkeep.alert \
                     WHERE rule = 'backup_failed' AND database = 'cluster' AND status = 'open'";
        site.cluster.connect(&site.catalog).query_one(query, &[]).unwrap().get(0)
    };
    assert_eq!(open(), 1);
    site.pgkeep(["backup", "config"]).any_stdout().run();
    assert_eq!(open(), 0);
}

/// A disk that breaks, or is away, takes the files on it along; it holds nothing up.
#[test]
fn a_disk_that_breaks_takes_its_files_along_and_nothing_else() {
    let mut site = Site::alone().local_only();
    let (good, bad) = (site.path("good"), site.path("bad"));
    for folder in [&good, &bad] {
        fs::create_dir(folder).unwrap();
        fs::write(folder.join("file"), "x".repeat(1000)).unwrap();
    }
    site.config.set("config.files", vec![bad.display().to_string(), good.display().to_string()]);
    let broken = shim::breaking(site.pgkeep(["backup", "config"]), &bad, "read", 1);
    let call = broken.code(3).any_stdout().stderr_has("bad/file: it can't be read to its end");
    let id = call.run().id();
    let out = site.path("out");
    let into = ["--output", out.to_str().unwrap()];
    site.pgkeep(["restore", &id]).args(into).any_stdout().stderr_has("can't be read to its end").run();
    let kept = out.join("files").join(good.strip_prefix("/").unwrap()).join("file");
    assert_eq!(fs::read_to_string(kept).unwrap(), "x".repeat(1000));
    site.config.set("timeouts.stall", "2s");
    site.config.set("config.with_full", true);
    let hanging = shim::hanging(site.pgkeep(["backup", "full"]), &bad, "read", 1);
    let call = hanging.code(3).any_stdout().stderr_has("a file can't be read: nothing came for 2s");
    assert_eq!(site.row(&call.run().id())["status"], "verified");
}

/// All below a folder, whatever leads to it, and never a key; an archive that holds links is brought back all the same.
#[test]
fn patterns_mean_what_they_say() {
    let mut site = Site::alone().local_only();
    let etc = site.path("etc");
    fs::create_dir_all(etc.join("releases/42/deep")).unwrap();
    fs::create_dir_all(etc.join("all/one/two")).unwrap();
    fs::write(etc.join("all/one/two/leaf"), "leaf").unwrap();
    fs::write(etc.join("all/.hidden"), "hidden").unwrap();
    fs::copy(site.path("pgkeep.key"), etc.join("all/spare")).unwrap();
    fs::write(etc.join("releases/42/.env"), "env").unwrap();
    fs::write(etc.join("releases/42/deep/\u{e4} \n\"x\""), "odd").unwrap();
    symlink("releases/42", etc.join("current")).unwrap();
    symlink("nowhere", etc.join("all/dangling")).unwrap();
    let of = |pattern: &str| format!("{}/{pattern}", etc.display());
    site.config.set("config.files", vec![of("all/**"), of("current/**"), of("current/.env"), of("current")]);
    let id = site.pgkeep(["backup", "config"]).any_stdout().run().id();
    let out = site.path("out");
    let call = site.pgkeep(["restore", &id, "--output", out.to_str().unwrap()]).any_stdout();
    call.stderr_has("a key is not in it, as always").run();
    let kept = out.join("files").join(etc.strip_prefix("/").unwrap());
    for (name, text) in [
        ("all/one/two/leaf", "leaf"),
        ("all/.hidden", "hidden"),
        ("releases/42/.env", "env"),
        ("releases/42/deep/\u{e4} \n\"x\"", "odd"),
    ] {
        assert_eq!(fs::read_to_string(kept.join(name)).unwrap(), text, "{name}");
    }
    assert_eq!(fs::read_link(kept.join("current")).unwrap(), PathBuf::from("releases/42"));
    assert_eq!(fs::read_link(kept.join("all/dangling")).unwrap(), PathBuf::from("nowhere"));
    assert!(!kept.join("all/spare").exists());
    let notes = json_of(&out.join("notes.json"));
    assert_eq!((&notes["missing"], notes["keys"].as_array().unwrap().len()), (&json!([]), 1), "{notes:#}");
}

#[test]
fn patterns_that_are_none_are_refused() {
    for (pattern, told) in [
        ("etc/x", "must start with `/`"),
        ("/etc/[", "is no pattern"),
        ("/a***", "is no pattern"),
        ("/etc/../x", "may not hold `.` or `..`"),
    ] {
        let mut site = Site::alone().local_only();
        site.config.set("config.files", vec![pattern]);
        site.pgkeep(["backup", "config"]).code(2).stderr_has("line ").stderr_has(told).run();
    }
}
