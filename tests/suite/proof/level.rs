//! `pgkeep verify --level restore`: what it says of each copy, and what it leaves on record.

use serde_json::Value;

use super::objects::meddle;
use super::{assert_nothing_left, proven, with_pg_restore};
use crate::levels::copy_in;
use crate::support::command::Ran;
use crate::support::tools::pg_bin;
use crate::support::{Site, key};
use crate::verify::{bytes_of, spoil};

const STORES: [&str; 3] = ["local", "r2", "b2"];

/// A site whose backup was read back, and not restored yet.
fn site_with_backup() -> (Site, String) {
    with_backup(Site::new())
}

fn with_backup(site: Site) -> (Site, String) {
    let mut site = proven(site);
    site.config.set("verify.after_backup", "checksum");
    let id = site.backup();
    (site, id)
}

fn restore(site: &Site, id: &str, code: i32) -> Ran {
    let call = site.pgkeep(["--json", "verify", id, "--level", "restore"]).code(code).any_stdout();
    if code == 0 { call.run() } else { call.any_stderr().run() }
}

#[test]
fn a_good_backup_is_proven_whatever_copy_is_read() {
    let (site, id) = site_with_backup();
    let mut damaged = bytes_of(&site, &id, "local");
    damaged[300] ^= 1;
    for (spoiled, code) in [(None, 0), (Some("local"), 4)] {
        if let Some(store) = spoiled {
            spoil(&site, &id, store, Some(&damaged));
        }
        let document = restore(&site, &id, code).json();
        for store in STORES {
            let copy = copy_in(&document, store);
            if Some(store) == spoiled {
                assert_eq!(copy["verdict"], "checksum", "{copy:#}");
            } else {
                assert_eq!(
                    (&copy["verdict"], &copy["verified_level"]),
                    (&"ok".into(), &"restore".into()),
                    "{copy:#}"
                );
            }
        }
        assert!(document["metadata"]["restored_at"].is_string(), "{document:#}");
        assert_nothing_left(&site);
    }
    site.pgkeep(["verify", &id, "--level", "restore", "--repair"]).any_stdout().any_stderr().run();
    assert_eq!(site.row(&id)["status"], "verified");
}

/// What restores to something else is found, named with both figures, and not forgotten by a check that sees less.
#[test]
fn a_row_that_is_changed_is_found_and_kept_in_mind() {
    let (mut site, id) = site_with_backup();
    meddle(&mut site, "DELETE FROM invoice WHERE id = 7");
    let ran = restore(&site, &id, 4);
    assert!(ran.stderr.contains("table `public.invoice` has 2999 rows, not 3000"), "{}", ran.stderr);
    for store in STORES {
        let copy = copy_in(&ran.json(), store);
        assert_eq!((&copy["verdict"], &copy["state"]), (&"restore".into(), &"stored".into()), "{copy:#}");
    }
    assert_eq!(site.row(&id)["status"], "degraded");
    site.config.set("source.pg_bin", pg_bin().to_str().unwrap());
    for level in ["stat", "checksum", "content"] {
        site.pgkeep(["verify", &id, "--level", level]).code(3).any_stdout().stderr_has("2999 rows").run();
        assert_eq!(site.row(&id)["status"], "degraded", "{level}");
    }
    restore(&site, &id, 0);
    let row = site.row(&id);
    assert_eq!((&row["status"], &row["error"]), (&"verified".into(), &Value::Null), "{row:#}");
    site.pgkeep(["verify", &id]).any_stdout().run();
}

/// What could not be tried is no finding: the copies stay what they were read to be.
#[test]
fn what_can_not_be_tried_is_no_bad_backup() {
    let (mut site, id) = site_with_backup();
    site.config.set("verify.scratch_dir", "/proc");
    let ran = restore(&site, &id, 3);
    for store in STORES {
        let copy = copy_in(&ran.json(), store);
        assert_eq!((&copy["verdict"], &copy["state"]), (&"unknown".into(), &"verified".into()), "{copy:#}");
        assert_eq!(copy["verified_level"], "checksum", "{copy:#}");
    }
    assert_eq!(site.row(&id)["status"], "verified");
    with_pg_restore(&mut site, "echo 'pg_restore: error: could not open extension control file' >&2; exit 1");
    restore(&site, &id, 3);
}

/// On a server that is named: a database is made and dropped again, and no other is touched. The server is this
/// test's own: on a shared one the scratch databases of others come and go.
#[test]
fn a_named_server_is_left_as_it_was() {
    let (site, id) = with_backup(Site::alone());
    let all = || {
        let mut client = site.cluster.connect("postgres");
        let rows = client.query("SELECT datname FROM pg_database WHERE datname LIKE 'pgkeep_scratch%'", &[]);
        rows.unwrap().len()
    };
    let url = site.cluster.url("postgres");
    let call = site.pgkeep(["--json", "verify", &id, "--level", "restore", "--scratch", &url]);
    let document = call.any_stdout().run().json();
    assert_eq!(copy_in(&document, "local")["verified_level"], "restore", "{document:#}");
    assert_eq!(all(), 0);
    assert_nothing_left(&site);
    let call = site.pgkeep(["verify", &id, "--level", "restore", "--scratch", "host=127.0.0.1 port=1"]);
    call.code(3).any_stdout().stderr_has("could not be made").run();
    site.pgkeep(["verify", &id, "--scratch", &url]).code(2).stderr_has("--level restore").run();
    site.assert_no_secret();
}

/// Two test restores at once on a named server: the first to end drops the roles that it made, and the other
/// one once called its copy bad.
#[test]
fn a_role_that_another_run_dropped_says_nothing_of_the_copy() {
    let (mut site, id) = site_with_backup();
    with_pg_restore(&mut site, "echo 'pg_restore: error: ERROR:  role \"app\" does not exist' >&2; exit 1");
    let url = site.cluster.url("postgres");
    let call = site.pgkeep(["verify", &id, "--level", "restore", "--scratch", &url]);
    call.code(3).any_stdout().stderr_has("may have dropped it").run();
    assert_eq!(site.row(&id)["status"], "verified");
}

/// A database with a subscription can't be dropped: a whole copy of the source once stayed on the server.
#[test]
fn a_subscription_does_not_keep_the_scratch_database() {
    let mut site = Site::alone().local_only();
    site.config.set("catalog.url", site.cluster.url("postgres"));
    let subscription = "CREATE SUBSCRIPTION news CONNECTION 'host=127.0.0.1 port=1' PUBLICATION p \
                        WITH (connect = false, slot_name = 'news')";
    site.cluster.execute(&site.database, subscription);
    let id = site.backup();
    // As where one cluster takes what another one had.
    site.cluster.execute(&site.database, "ALTER SUBSCRIPTION news SET (slot_name = NONE)");
    site.cluster.execute(&site.database, "DROP SUBSCRIPTION news");
    let url = site.cluster.url("postgres");
    site.pgkeep(["verify", &id, "--level", "restore", "--scratch", &url]).any_stdout().run();
    let query = "SELECT count(*) FROM pg_database WHERE datname LIKE 'pgkeep\\_scratch%'";
    let left: i64 = site.cluster.connect("postgres").query_one(query, &[]).unwrap().get(0);
    assert_eq!(left, 0);
}

/// A sweep may restore too; and all that it needs of a backup that was put on record again is in its manifest.
#[test]
fn a_backup_of_a_rebuilt_catalog_is_compared_all_the_same() {
    let (site, id) = site_with_backup();
    site.cluster.execute(&site.catalog, "DROP SCHEMA pgkeep CASCADE");
    site.pgkeep(["catalog", "rebuild", "--from", "r2"]).any_stdout().run();
    let call = site.pgkeep(["-v", "verify", "--all", "--level", "restore", "--store", "r2"]);
    call.code(0).any_stdout().stderr_has("equal in").run();
    assert_eq!(site.copies(&id)["r2"]["verified_level"], "restore");
}

/// Who reads a manifest in a bucket, and has no key, can't try what the rows of a small table might be: their
/// hash is another with another key. A key that was rotated out still proves what it sealed.
#[test]
fn hashes_of_rows_are_salted_by_the_key() {
    let mut site = proven(Site::new().local_only());
    site.config.set("verify.fingerprint", "content");
    site.config.set("verify.after_backup", "checksum");
    let tables = |site: &Site, id: &str| site.row(id)["metadata"]["fingerprint"]["tables"].clone();
    let (one, again) = (site.backup(), site.backup());
    assert_eq!(tables(&site, &one), tables(&site, &again));
    let newer = site.path("newer.key");
    key::write_private(&newer, &format!("{}\n", key::made_up(5)));
    site.config.set("encryption.key_file", newer.to_str().unwrap());
    site.config.set("encryption.open_with", vec![site.path("pgkeep.key").to_str().unwrap().to_owned()]);
    let other = site.backup();
    let (before, after) = (tables(&site, &one), tables(&site, &other));
    let invoice = |tables: &Value| tables["public.invoice"].clone();
    assert_eq!(invoice(&before)["rows"], invoice(&after)["rows"]);
    assert_ne!(invoice(&before)["hash"], invoice(&after)["hash"]);
    for id in [&one, &other] {
        restore(&site, id, 0);
    }
}
