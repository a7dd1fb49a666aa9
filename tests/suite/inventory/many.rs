//! A store with more backups than anyone wants to read the manifests of.

use pgkeep::backup::Backup;
use pgkeep::key::Key;
use pgkeep::manifest::Manifest;
use pgkeep::name::{BackupId, artifact, object_key};

use super::*;

const COUNT: u32 = 320;

/// Fills r2 and the local store with backups of `shop`, the second oldest is of `crm`; the ids, the oldest first.
fn fill(site: &Site) -> Vec<String> {
    let key = Key::parse(&site.key).unwrap();
    let sum = crate::support::sha256_hex(b"artifact");
    let begin: jiff::Timestamp = "2026-01-01T02:00:00Z".parse().unwrap();
    let made = (0..COUNT).map(|number| {
        let at = begin + jiff::SignedDuration::from_hours(24 * i64::from(number));
        let database = if number == 1 { "crm" } else { "shop" };
        let id = BackupId::new("full", database, at, 0x3f9a);
        let filename = artifact(&id, ".dump.gz");
        let path = object_key("db1", database, &id, &filename);
        let mut backup = Backup::begin(id.clone(), "db1", database, filename, at);
        (backup.size_bytes, backup.checksum, backup.finished_at) = (Some(8), Some(sum.clone()), Some(at));
        for (name, value) in [("dump_checksum", "cd"), ("compression", "gzip")] {
            backup.metadata.insert(name.to_owned(), value.into());
        }
        backup.metadata.insert("dump_bytes".to_owned(), 20.into());
        let manifest = Manifest::of(&backup, &key).unwrap().seal(&key).unwrap();
        let file = site.local().join(&path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        for (suffix, bytes) in [("", &b"artifact"[..]), (".json", &manifest)] {
            fs::write(file.with_file_name(format!("{}{suffix}", file.file_name().unwrap().display())), bytes)
                .unwrap();
            site.r2.put(&format!("pg/{path}{suffix}"), bytes);
        }
        id.as_str().to_owned()
    });
    made.collect()
}

#[test]
fn only_the_manifests_that_are_needed_are_read() {
    let mut site = Site::new().with_own_catalog();
    let ids = fill(&site);
    let fault: FaultServer = site.fault("r2", Manners::Plain);
    let newest: Vec<String> = ids.iter().rev().take(3).cloned().collect();
    let call = |more: &[&str]| site.pgkeep([&["--json", "list", "--from", "r2"], more].concat());
    let ids_of = |ran: crate::support::command::Ran| -> Vec<String> {
        let document = ran.json();
        let backups = document.as_array().unwrap().iter();
        backups.map(|backup| backup["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids_of(call(&["--limit", "3"]).any_stdout().run()), newest);
    let crm = call(&["--limit", "1", "--database", "crm"]).any_stdout().run();
    assert_eq!(ids_of(crm), [ids[1].clone()]);
    let read = fault.count("GET", ".json");
    assert!((4..=17).contains(&read), "{read} manifests were read");
    // No artifact is read at all, and each page of the list once.
    assert_eq!(fault.count("GET", "list-type"), 2);
    assert_eq!(fault.requests().len(), read + 2);
    let since = call(&["--since", "2026-11-10"]).any_stdout().run();
    assert!(ids_of(since).iter().all(|id| id.contains("-202611")));
    // What is written, and begun, says which it is: the name alone is not enough to be restored.
    let call = site.pgkeep(["restore", "latest", "--from", "r2", "--database", "shop", "--output", "x"]);
    call.code(4).any_stderr().run();
}

#[test]
fn all_of_them_are_written_again() {
    let site = Site::new().with_own_catalog();
    let ids = fill(&site);
    let rebuild = || site.pgkeep(["catalog", "rebuild", "--from", "local", "--from", "r2"]);
    rebuild()
        .stdout(
            "320 backups found, 320 new on record, 0 set right\n\
             pins stand in no manifest: pin again what is to stay whatever the rules say\n",
        )
        .run();
    let rows = site.rows();
    assert_eq!(rows.len(), ids.len());
    assert!(rows.iter().all(|row| row["status"] == "completed" && row["r2_path"].is_string()));
    rebuild().stdout("320 backups found, 0 new on record, 0 set right\n").run();
    assert_eq!(site.rows(), rows);
}
