//! What goes in comes out: backup, restore into a fresh database, and nothing differs.

use crate::support::compare::{assert_same, contents};
use crate::support::tools::finish;
use crate::support::{Site, cluster};

/// Backs the site up, restores it into a fresh database, and compares both.
fn assert_comes_back(site: &Site) -> String {
    let id = site.backup();
    assert_eq!(site.row(&id)["database"], site.database.as_str());
    site.assert_copies(&id, &["local", "r2", "b2"]);
    let (name, url) = site.target();
    site.pgkeep(["restore", &id, "--into", &url]).any_stdout().any_stderr().run();
    assert_same(site.cluster, &site.database, &name);
    name
}

/// Large objects, partitions, views, sequences, extensions, rights, triggers, odd names and every type.
#[test]
fn a_database_with_one_of_everything_and_an_odd_name() {
    cluster().execute(
        "postgres",
        "DO $$ BEGIN CREATE ROLE auditor; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$",
    );
    let mut site = Site::of("my\"db é".to_owned(), "template0");
    site.cluster.execute(&site.database, include_str!("../sql/everything.sql"));
    site.config.set("source.name", "höst / 1");
    let name = assert_comes_back(&site);
    let restored = contents(site.cluster, &name);
    assert!(restored.len() > 25, "{restored:?}");
    assert_eq!(restored["r public.no_rows"], "0 ");
    assert_eq!(restored["S public.audit_at_seq"], "4711 false");
    assert!(restored.contains_key("large object 900002"));
    // The catalog lives in the source's database; it belongs to this cluster, not to the backup.
    let rows = site
        .cluster
        .connect(&name)
        .query("SELECT 1 FROM pg_namespace WHERE nspname = 'pgkeep'", &[])
        .unwrap();
    assert!(rows.is_empty(), "the catalog's schema is in the dump");
    site.assert_no_secret();
}

#[test]
fn an_empty_database() {
    let site = Site::of("Empty One".to_owned(), "template0");
    assert_comes_back(&site);
}

/// Three parts and more than a hundred chunks, so that each border is crossed.
#[test]
fn a_database_of_several_parts() {
    let site = Site::of_parts();
    assert_comes_back(&site);
}

#[test]
fn the_archive_of_restore_output_is_one_that_pg_restore_takes() {
    let site = Site::new();
    let id = site.backup();
    let archive = site.path("shop.dump");
    site.pgkeep(["restore", &id, "--output", archive.to_str().unwrap()]).any_stdout().any_stderr().run();
    let list = finish(site.cluster.client_program("pg_restore", "postgres").arg("--list").arg(&archive));
    assert!(list.contains("TABLE DATA public invoice"), "{list}");
    finish(site.cluster.client_program("pg_restore", "postgres").args(["-f", "/dev/null"]).arg(&archive));
    let (name, _) = site.target();
    finish(site.cluster.client_program("pg_restore", &name).args(["-d", &name]).arg(&archive));
    assert_same(site.cluster, &site.database, &name);
}

/// Bytes are the same whichever store they come from.
#[test]
fn each_store_alone_is_enough_to_restore() {
    let site = Site::new();
    let id = site.backup();
    for store in ["local", "r2", "b2"] {
        let (name, url) = site.target();
        site.pgkeep(["restore", &id, "--from", store, "--into", &url]).any_stdout().any_stderr().run();
        assert_same(site.cluster, &site.database, &name);
    }
}

/// Artifacts of each size around the borders of chunks come back; the archive grows byte by byte with a comment.
#[test]
fn sizes_around_the_border_of_a_chunk() {
    let mut site = Site::of("borders".to_owned(), "template0").local_only();
    site.config.set("compression.method", "none");
    site.cluster.execute("borders", "CREATE TABLE t (x text)");
    let comment = |length: usize| {
        site.cluster.execute("borders", &format!("COMMENT ON TABLE t IS '{}'", "c".repeat(length)));
        let id = site.backup();
        let row = site.row(&id);
        (id.clone(), manifest_of(&row)["dump_bytes"].as_u64().unwrap())
    };
    let (_, base) = comment(1);
    // The archive holds each comment a fixed number of times, so two points give its line.
    let (_, further) = comment(1001);
    let each = (further - base) / 1000;
    let wanted = (65536 - base) / each;
    for length in wanted - 1..=wanted + 2 {
        let (id, _) = comment(usize::try_from(length).unwrap());
        let (name, url) = site.target();
        site.pgkeep(["restore", &id, "--into", &url]).any_stdout().any_stderr().run();
        assert_same(site.cluster, "borders", &name);
    }
}

fn manifest_of(row: &serde_json::Value) -> serde_json::Value {
    let path = format!("{}.json", row["local_path"].as_str().unwrap());
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}
