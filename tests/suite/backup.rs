//! `pgkeep backup full`: what it leaves, what it says, and what it records.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::catalog::COLUMNS;
use crate::support::tools::{files_under, is_root};
use crate::support::{FakeBin, Gate, Site, sha256_hex, wait_until};

#[test]
fn three_equal_copies_with_a_manifest_beside_each() {
    let site = Site::new();
    let id = site.backup();
    site.assert_copies(&id, &["local", "r2", "b2"]);
    let row = site.row(&id);
    let year_and_month = format!("{}/{}", &stamp(&id)[..4], &stamp(&id)[4..6]);
    let key = format!("db1/{}/full/{year_and_month}/{id}.dump.gz.pgk", site.database);
    assert_eq!(row["local_path"], site.local().join(&key).to_str().unwrap());
    for (column, bucket) in [("r2_path", &site.r2), ("b2_path", &site.b2)] {
        assert_eq!(row[column], format!("pg/{key}"));
        assert_eq!(bucket.keys(), [format!("pg/{key}"), format!("pg/{key}.json")]);
    }
    assert_eq!(
        files_under(&site.local()),
        [site.local().join(&key), site.local().join(format!("{key}.json"))]
    );
    site.assert_no_uploads();
    site.assert_no_secret();
}

/// The stamp in an id, e.g. `20261122T020000Z`.
fn stamp(id: &str) -> &str {
    id.rsplit('-').nth(1).unwrap()
}

#[test]
fn the_manifest_says_what_a_rebuild_of_the_catalog_needs() {
    let site = Site::new();
    let id = site.backup();
    let row = site.row(&id);
    for (column, bucket) in [("r2_path", &site.r2), ("b2_path", &site.b2)] {
        let bytes = bucket.get(&format!("{}.json", row[column].as_str().unwrap()));
        let manifest: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        for field in ["format", "compression", "started_at", "finished_at", "mac", "status"] {
            assert!(!manifest[field].is_null(), "`{field}` is not in {manifest:#}");
        }
        assert_eq!(manifest["id"], id.as_str());
        assert_eq!(manifest["type"], "full");
        assert_eq!(manifest["source"], "db1");
        assert_eq!(manifest["database"], site.database.as_str());
        assert_eq!(manifest["filename"], format!("{id}.dump.gz.pgk"));
        assert_eq!(manifest["size_bytes"], row["size_bytes"]);
        assert_eq!(manifest["checksum"], row["checksum"]);
        assert!(manifest["dump_bytes"].as_u64().unwrap() > 50_000);
        assert_eq!(manifest["dump_checksum"].as_str().unwrap().len(), 64);
        let text = manifest.to_string();
        assert!(text.contains(&crate::support::key::id(&site.key)), "no key id in {manifest:#}");
        assert!(text.contains(env!("CARGO_PKG_VERSION")), "no version of pgkeep in {manifest:#}");
        assert!(text.contains("etag"), "no etag in {manifest:#}");
    }
}

/// The hash of the dump in the manifest is the hash of what `restore --output` gives back.
#[test]
fn the_dump_checksum_is_that_of_the_archive() {
    let site = Site::new().local_only();
    let id = site.backup();
    let archive = site.path("archive");
    site.pgkeep(["restore", &id, "--output", archive.to_str().unwrap()]).any_stdout().any_stderr().run();
    let dump = std::fs::read(archive).unwrap();
    let manifest = std::fs::read(format!("{}.json", site.row(&id)["local_path"].as_str().unwrap())).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["dump_checksum"], sha256_hex(&dump));
    assert_eq!(manifest["dump_bytes"], dump.len());
}

#[test]
fn the_catalog_row_says_it_all() {
    let site = Site::new();
    let id = site.backup();
    let row = site.row(&id);
    assert_eq!(row["backup_type"], "full");
    assert_eq!(row["source"], "db1");
    assert_eq!(row["database"], site.database.as_str());
    assert_eq!(row["tenant"], serde_json::Value::Null);
    assert_eq!(row["filename"], format!("{id}.dump.gz.pgk"));
    assert_eq!(row["status"], "verified");
    assert_eq!(row["error"], serde_json::Value::Null);
    let ratio = row["compression_ratio"].as_f64().unwrap();
    assert!(ratio > 0.3 && ratio < 1.0, "{ratio}: 3000 rows of prose save more than that");
    assert!(row["backup_duration_seconds"].as_f64().unwrap() >= 0.0);
    assert!(row["metadata"].is_object());
    for column in ["created_at", "finished_at", "verified_at"] {
        assert!(row[column].is_string(), "{column} in {row:#}");
    }
    let copies = site.copies(&id);
    assert_eq!(copies.keys().collect::<Vec<_>>(), ["b2", "local", "r2"]);
    for copy in copies.values() {
        assert_eq!(copy["size"], row["size_bytes"], "{copy:#}");
        assert!(copy["stored_at"].is_string() && copy["verified_at"].is_string(), "{copy:#}");
        assert!(copy["error"].is_null(), "{copy:#}");
    }
}

/// Nothing but the id, and nothing on stderr: cron has nothing to mail.
#[test]
fn a_clean_run_under_cron_prints_the_id_and_no_more() {
    let site = Site::new();
    let id = site.pgkeep(["backup", "full"]).stdout_has(&format!("full-{}-", site.database)).run().id();
    site.pgkeep(["--quiet", "backup", "full"]).run();
    site.pgkeep(["backup", "full", "-q"]).run();
    assert_eq!(site.rows().len(), 3);
    assert_eq!(site.rows()[0]["id"], id.as_str());
}

#[test]
fn json_is_one_document_with_the_columns_and_the_copies() {
    let site = Site::new();
    let document = site.pgkeep(["--json", "backup", "full"]).any_stdout().run().json();
    let row = site.row(document["id"].as_str().unwrap());
    for column in COLUMNS {
        let value = &row[column];
        let shown = document.get(column).unwrap_or_else(|| panic!("no `{column}` in {document:#}"));
        if !value.is_object() && !column.ends_with("_at") && !value.is_f64() {
            assert_eq!(shown, value, "{column}");
        }
    }
    let copies = document["copies"].as_array().unwrap();
    assert_eq!(copies.len(), 3);
    let fields = [
        "store",
        "path",
        "state",
        "size_bytes",
        "etag",
        "stored_at",
        "verified_at",
        "verified_level",
        "expires_at",
        "error",
    ];
    for copy in copies {
        for field in fields {
            assert!(copy.get(field).is_some(), "no `{field}` in {copy:#}");
        }
    }
}

#[test]
fn what_is_made_is_for_its_owner_alone() {
    let site = Site::new().local_only();
    site.backup();
    for root in [site.local(), site.path("state")] {
        assert_private(&root);
    }
}

fn assert_private(path: &Path) {
    let mode = path.metadata().unwrap().permissions().mode() & 0o777;
    if path.is_dir() {
        assert_eq!(mode, 0o700, "{}", path.display());
        for entry in std::fs::read_dir(path).unwrap() {
            assert_private(&entry.unwrap().path());
        }
    } else {
        assert_eq!(mode, 0o600, "{}", path.display());
    }
}

#[test]
fn several_databases_in_one_run() {
    let mut site = Site::new().with_own_catalog();
    let second = crate::support::cluster::unique("second");
    site.cluster.create_database(&second, "sample");
    site.config.set("source.databases", vec![site.database.clone(), second.clone()]);
    let ids = site.pgkeep(["backup", "full"]).any_stdout().run().ids();
    assert_eq!(ids.len(), 2);
    let databases: Vec<_> = ids.iter().map(|id| site.row(id)["database"].clone()).collect();
    assert_eq!(databases, [site.database.as_str(), second.as_str()]);
    let ids = site.pgkeep(["backup", "full", "--database", &second]).any_stdout().run().ids();
    assert_eq!(site.row(&ids[0])["database"], second.as_str());
}

#[test]
fn one_database_that_fails_does_not_stop_the_others() {
    let mut site = Site::new().with_own_catalog();
    let databases = vec!["no such database".to_owned(), site.database.clone()];
    site.config.set("source.databases", databases);
    let ran = site.pgkeep(["backup", "full"]).code(1).any_stdout().stderr_has("no such database").run();
    let id = ran.id();
    assert_eq!(site.row(&id)["status"], "verified");
    site.assert_copies(&id, &["local", "r2", "b2"]);
}

/// The password is in the connection string, and shows in no process's arguments while the dump runs.
#[test]
fn no_password_in_any_argument() {
    let mut site = Site::new().local_only();
    let bin = FakeBin::held(&site.path(""));
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    let running = site.pgkeep(["backup", "full"]).any_stdout().start();
    bin.wait_for_start();
    let secrets = site.secrets();
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let arguments = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        let found = crate::support::secrets::secret_in(&arguments, &secrets);
        assert!(found.is_none(), "{}", String::from_utf8_lossy(&arguments));
    }
    bin.release();
    running.finish();
    let arguments = std::fs::read_to_string(bin.folder.join("arguments")).unwrap();
    for wanted in ["-Fc", "-Z0", "--lock-wait-timeout", "--no-password"] {
        assert!(
            arguments.contains(wanted) || wanted == "-Fc" && arguments.contains("--format"),
            "{wanted}: {arguments}"
        );
    }
    site.assert_no_secret();
}

/// Every form of libpq's connection strings reaches the server.
#[test]
fn key_value_strings_services_and_passfiles_work() {
    let mut site = Site::new().local_only();
    let (port, database) = (site.cluster.port, site.database.clone());
    let password = crate::support::cluster::PASSWORD;
    let connect = format!("host=127.0.0.1 port={port} dbname={database} user=keeper");
    site.config.set("source.url", format!("{connect} password='{password}'"));
    site.backup();
    let socket = site.cluster.socket_dir.display();
    site.config.set("source.url", format!("host={socket} port={port} dbname={database} user=postgres"));
    site.backup();
    let encoded = crate::support::sigv4::encode(&socket.to_string());
    site.config.set("source.url", format!("postgresql://postgres@{encoded}:{port}/{database}"));
    site.backup();
    let passfile = site.path("passfile");
    let escaped = password.replace('\\', "\\\\").replace(':', "\\:");
    crate::support::key::write_private(&passfile, &format!("127.0.0.1:{port}:*:keeper:{escaped}\n"));
    site.config.set("source.url", connect.clone());
    site.pgkeep(["backup", "full"]).env("PGPASSFILE", &passfile).any_stdout().run();
    site.pgkeep(["backup", "full"]).env("PGPASSWORD", password).any_stdout().run();
    let services = site.path("services");
    let lines = connect.replace(' ', "\n");
    std::fs::write(&services, format!("[shop]\n{lines}\n")).unwrap();
    site.config.set("source.url", "service=shop");
    let call = site.pgkeep(["backup", "full"]).env("PGSERVICEFILE", &services).env("PGPASSFILE", &passfile);
    call.any_stdout().run();
    assert_eq!(site.rows().len(), 6);
    assert!(site.rows().iter().all(|row| row["status"] == "verified"), "{:#?}", site.rows());
}

#[test]
fn a_wrong_password_fails_with_what_the_server_said() {
    let mut site = Site::new().local_only();
    let url = site.cluster.url(&site.database).replace("keeper:", "keeper:wrong");
    site.config.set("source.url", url);
    site.pgkeep(["backup", "full"]).code(1).stderr_has("password authentication failed").run();
    assert_eq!(files_under(&site.local()).len(), 0);
}

#[test]
fn a_server_that_is_not_there_fails_with_its_address() {
    let mut site = Site::new().local_only();
    let gate = Gate::open_to(site.cluster.port);
    gate.shut();
    site.config.set("source.url", site.cluster.url_through(gate.port, &site.database));
    site.pgkeep(["backup", "full"]).code(1).stderr_has("127.0.0.1").run();
}

#[test]
fn a_folder_without_clients_is_named() {
    let mut site = Site::new().local_only();
    let folder = site.path("no-clients");
    std::fs::create_dir(&folder).unwrap();
    site.config.set("source.pg_bin", folder.to_str().unwrap());
    site.pgkeep(["backup", "full"]).code(1).stderr_has("pg_dump").stderr_has("no-clients").run();
}

/// A disk on which nothing can be written is a dead store like any other.
#[test]
fn a_local_store_that_can_not_be_written_is_named() {
    let site = Site::new();
    std::fs::write(site.local(), "a file in the folder's place").unwrap();
    let ran = site.pgkeep(["backup", "full"]).code(3).any_stdout().stderr_has("local").run();
    let id = ran.id();
    assert_eq!(site.row(&id)["status"], "degraded");
    site.assert_copies(&id, &["r2", "b2"]);
    assert!(is_root() || site.local().is_file());
}

#[test]
fn two_runs_for_one_database_do_not_meet() {
    let mut site = Site::new().local_only();
    let bin = FakeBin::held(&site.path(""));
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    let first = site.pgkeep(["backup", "full"]).any_stdout().start();
    bin.wait_for_start();
    site.pgkeep(["backup", "full"]).code(6).stderr_has(&site.database).run();
    bin.release();
    let id = first.finish().id();
    assert_eq!(site.row(&id)["status"], "verified");
    assert_eq!(site.rows().len(), 1);
    // The lock is gone with the run.
    std::fs::remove_file(bin.folder.join("pid")).unwrap();
    let third = site.pgkeep(["backup", "full"]).any_stdout().start();
    bin.wait_for_start();
    bin.release();
    third.finish();
}

/// While the dump runs, the catalog has a row that says so.
#[test]
fn a_run_under_way_is_on_record() {
    let mut site = Site::new().local_only();
    let bin = FakeBin::held(&site.path(""));
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    let running = site.pgkeep(["backup", "full"]).any_stdout().start();
    bin.wait_for_start();
    wait_until("the row is there", || site.rows().len() == 1);
    assert_eq!(site.rows()[0]["status"], "in_progress");
    bin.release();
    let id = running.finish().id();
    assert_eq!(site.rows()[0]["id"], id.as_str());
    assert_eq!(site.rows()[0]["status"], "verified");
}

/// What `verify.after_backup` promises is what the record says, and no more.
#[test]
fn without_a_check_a_backup_is_completed_but_not_verified() {
    let mut site = Site::new();
    site.config.set("verify.after_backup", "none");
    let id = site.backup();
    let row = site.row(&id);
    assert_eq!(row["status"], "completed");
    assert!(row["verified_at"].is_null());
    site.assert_copies(&id, &["local", "r2", "b2"]);
    site.pgkeep(["verify", &id]).any_stdout().run();
    assert_eq!(site.row(&id)["status"], "verified");
    site.config.set("verify.after_backup", "content");
    let id = site.backup();
    assert_eq!(site.row(&id)["status"], "verified");
}

#[test]
fn a_star_means_every_database() {
    // In a cluster of its own, since the other tests' databases come and go.
    let cluster = crate::support::Cluster::start();
    for name in ["one", "two words", "closed"] {
        cluster.create_database(name, "template0");
    }
    cluster.execute("postgres", "ALTER DATABASE closed ALLOW_CONNECTIONS false");
    let mut site = Site::new().local_only();
    site.config.set("source.url", cluster.url("postgres"));
    site.config.set("source.databases", vec!["*".to_owned()]);
    site.config.set("catalog.url", site.cluster.url(&site.catalog));
    let ids = site.pgkeep(["backup", "full"]).any_stdout().any_stderr().run().ids();
    let mut names: Vec<_> =
        ids.iter().map(|id| site.row(id)["database"].as_str().unwrap().to_owned()).collect();
    names.sort();
    assert_eq!(names, ["one", "postgres", "two words"]);
}
