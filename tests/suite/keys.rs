//! `pgkeep key`, and keys that rotate.

mod trouble;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::support::tools::{finish, is_root, project, python};
use crate::support::{Pgkeep, Site, key};

fn home() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn a_new_key_is_made_once_and_for_its_owner() {
    let home = home();
    let file = home.path().join("new.key");
    let name = file.to_str().unwrap();
    Pgkeep::new(home.path()).args(["key", "new", "--output", name]).any_stdout().any_stderr().run();
    let text = fs::read_to_string(&file).unwrap();
    let encoded = text.strip_suffix('\n').unwrap().strip_prefix("PGKEEP-KEY-1-").unwrap();
    assert_eq!(encoded.len(), 43);
    assert!(
        encoded.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_'),
        "{encoded}"
    );
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let ran = Pgkeep::new(home.path())
        .args(["key", "new", "--output", name])
        .any_code()
        .stderr_has("new.key")
        .run();
    assert!([1, 2].contains(&ran.code), "{ran:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
    let other = home.path().join("other.key");
    let call = Pgkeep::new(home.path()).args(["key", "new", "--output", other.to_str().unwrap()]);
    let ran = call.any_stdout().any_stderr().run();
    assert_ne!(fs::read_to_string(&other).unwrap(), text);
    let secret = fs::read_to_string(&other).unwrap();
    assert!(!ran.stdout.contains(secret.trim()) && !ran.stderr.contains(secret.trim()), "{ran:?}");
}

#[test]
fn a_key_is_shown_by_its_id_only() {
    let home = home();
    let file = home.path().join("k");
    let text = key::made_up(3);
    key::write_private(&file, &format!("{text}\n"));
    let ran = Pgkeep::new(home.path()).args(["key", "show"]).args([&file]).stdout_has(&key::id(&text)).run();
    assert!(!ran.stdout.contains(text.strip_prefix(key::MARK).unwrap()));
    let call = Pgkeep::new(home.path()).args(["--json", "key", "show"]).args([&file]).any_stdout();
    assert_eq!(call.run().json()["id"], key::id(&text));
}

#[test]
fn what_is_no_key_is_refused_without_being_shown() {
    let home = home();
    let file = home.path().join("k");
    let good = key::made_up(3);
    for bad in [
        "",
        "\n",
        "hello-s3cret",
        &good[..good.len() - 1],
        &good.replace("KEY-1", "KEY-2"),
        &format!("{good}A"),
    ] {
        key::write_private(&file, bad);
        let ran = Pgkeep::new(home.path()).args(["key", "show"]).args([&file]).any_code().any_stderr().run();
        assert!([1, 2].contains(&ran.code), "{bad}: {ran:?}");
        assert!(!ran.stderr.contains("s3cret") && !ran.stderr.contains(&good[20..50]), "{ran:?}");
    }
}

#[test]
fn a_key_file_that_others_can_read_is_refused_with_the_chmod() {
    let site = Site::new().local_only();
    let file = site.path("pgkeep.key");
    // A group may read what is root's.
    let group = if is_root() { 0o660 } else { 0o640 };
    for mode in [group, 0o604, 0o644] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let call = site.pgkeep(["backup", "full"]).code(2);
        call.stderr_has("chmod 600").stderr_has(file.to_str().unwrap()).run();
    }
    fs::set_permissions(&file, fs::Permissions::from_mode(0o400)).unwrap();
    site.backup();
}

#[test]
fn a_rotated_key_still_opens() {
    let mut site = Site::new().local_only();
    let old = site.backup();
    let new_key = key::made_up(2);
    key::write_private(&site.path("new.key"), &format!("{new_key}\n"));
    site.config.set("encryption.key_file", site.path("new.key").to_str().unwrap());
    site.config.set("encryption.open_with", vec![site.path("pgkeep.key").to_str().unwrap().to_owned()]);
    let new = site.backup();
    for id in [&old, &new] {
        site.pgkeep(["verify", id]).any_stdout().run();
        let (_, url) = site.target();
        site.pgkeep(["restore", id, "--into", &url]).any_stdout().any_stderr().run();
    }
    let header = |id: &str| {
        let bytes = fs::read(site.row(id)["local_path"].as_str().unwrap()).unwrap();
        String::from_utf8_lossy(&bytes[..2000.min(bytes.len())]).into_owned()
    };
    assert!(header(&old).contains(&key::id(&site.key)));
    assert!(header(&new).contains(&key::id(&new_key)));
    assert!(!header(&new).contains(&key::id(&site.key)), "the old key opens, it does not seal");
}

/// Python and libsodium alone, and nothing of this project's code, open an artifact and restore it.
#[test]
fn an_artifact_opens_with_libsodium_alone() {
    let site = Site::of_parts();
    let id = site.backup();
    let artifact = site.path("artifact.pgk");
    fs::write(&artifact, site.r2.get(site.row(&id)["r2_path"].as_str().unwrap())).unwrap();
    let archive = site.path("archive.dump");
    let mut command = std::process::Command::new(python());
    command
        .arg(project().join("tests/open_artifact.py"))
        .arg(site.path("pgkeep.key"))
        .arg(&artifact)
        .arg(&archive);
    let said = finish(&mut command);
    assert!(said.contains(&id), "{said}");
    let (name, _) = site.target();
    finish(site.cluster.client_program("pg_restore", &name).args(["-d", &name]).arg(&archive));
    crate::support::compare::assert_same(site.cluster, &site.database, &name);
}
