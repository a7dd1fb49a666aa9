//! With nothing but a store and a key: `list --from`, `restore --from`, `catalog rebuild --from`.

use std::fs;

use crate::support::compare::contents;
use crate::support::tools::free_port;
use crate::support::{FaultServer, Manners, Rule, Site, key};

mod hostile;
mod many;
mod merged;

const STORES: [&str; 3] = ["local", "r2", "b2"];

fn drop_catalog(site: &Site) {
    site.cluster.execute(&site.catalog, "DROP SCHEMA pgkeep CASCADE");
}

/// A site whose catalog nobody answers for.
fn without_catalog(site: &mut Site) {
    site.config.set("catalog.url", format!("postgresql://nobody@127.0.0.1:{}/none", free_port()));
}

fn listed(site: &Site, store: &str, code: i32) -> Vec<String> {
    let call = site.pgkeep(["--json", "list", "--from", store]).code(code).any_stdout();
    let document = if code == 0 { call.run().json() } else { call.any_stderr().run().json() };
    let ids = document.as_array().unwrap().iter();
    ids.map(|backup| backup["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn everything_comes_back_from_each_store_alone() {
    let site = Site::new().with_own_catalog();
    let ids = [site.backup(), site.backup()];
    let before: Vec<_> = ids.iter().map(|id| site.row(id)).collect();
    for store in STORES {
        drop_catalog(&site);
        let told = site.pgkeep(["catalog", "rebuild", "--from", store]).any_stdout().run().stdout;
        assert!(told.contains("2 new"), "{told}");
        for (id, before) in ids.iter().zip(&before) {
            let row = site.row(id);
            for column in [
                "backup_type",
                "source",
                "database",
                "filename",
                "size_bytes",
                "checksum",
                "compression_ratio",
                "created_at",
            ] {
                assert_eq!(row[column], before[column], "{column}");
            }
            assert_eq!(row["status"], "completed");
            assert_eq!(row[format!("{store}_path")], before[format!("{store}_path")]);
            for name in
                ["dump_checksum", "dump_bytes", "server_version", "pg_dump_version", "keys", "fingerprint"]
            {
                assert_eq!(row["metadata"][name], before["metadata"][name], "{name}");
            }
            assert_eq!(site.copies(id).keys().collect::<Vec<_>>(), [store]);
            site.pgkeep(["verify", id, "--level", "content"]).any_stdout().run();
        }
        let (name, url) = site.target();
        site.pgkeep(["restore", "latest", "--into", &url]).any_stdout().any_stderr().run();
        assert_eq!(contents(site.cluster, &name), contents(site.cluster, &site.database));
    }
    // The others are added, and what is known is left alone.
    let level = |id: &str| site.copies(id)["b2"]["verified_level"].clone();
    assert_eq!(level(&ids[0]), "content");
    let call = site.pgkeep(["catalog", "rebuild", "--from", "local", "--from", "r2", "--from", "b2"]);
    assert!(call.any_stdout().run().stdout.contains("0 new on record, 2 set right"));
    site.assert_copies(&ids[0], &STORES);
    assert_eq!(level(&ids[0]), "content");
    let call = site.pgkeep(["--json", "catalog", "rebuild", "--from", "b2", "--from", "r2"]);
    assert_eq!(call.any_stdout().run().json(), serde_json::json!([]));
}

#[test]
fn no_catalog_is_asked_for_what_a_store_knows() {
    let mut site = Site::new();
    let ids = [site.backup(), site.backup()];
    without_catalog(&mut site);
    for store in STORES {
        assert_eq!(listed(&site, store, 0), [ids[1].clone(), ids[0].clone()]);
        for id in ["latest", &ids[0]] {
            let (name, url) = site.target();
            let call = site.pgkeep(["restore", id, "--from", store, "--into", &url]).any_stderr();
            call.stdout_has("restored").run();
            assert_eq!(contents(site.cluster, &name), contents(site.cluster, &site.database));
        }
    }
    let table = site.pgkeep(["list", "--from", "b2", "--limit", "1"]).any_stdout().run().stdout;
    assert!(table.contains(&ids[1]) && !table.contains(&ids[0]) && table.contains("b2 (stored)"), "{table}");
    site.pgkeep(["list", "--from", "b2", "--status", "verified"]).code(2).stderr_has("--status").run();
    site.pgkeep(["list", "--from", "b2", "--database", "nothing"]).stdout("no backups\n").run();
    site.pgkeep(["restore", "latest", "--from", "r2", "--database", "nothing", "--output", "x"])
        .code(5)
        .stderr_has("nothing")
        .run();
    site.pgkeep(["restore", "full-no", "--from", "r2", "--output", "x"])
        .code(5)
        .stderr_has("list --from r2")
        .run();
    site.pgkeep(["restore", "full-", "--from", "r2", "--output", "x"]).code(2).stderr_has(&ids[0]).run();
    for words in [
        &["list", "--from", "s4"][..],
        &["restore", "latest", "--from", "s4", "--output", "x"],
        &["catalog", "rebuild", "--from", "s4"],
    ] {
        site.pgkeep(words).code(2).stderr_has("`s4`").stderr_has("local, r2, b2").run();
    }
    site.pgkeep(["catalog", "rebuild", "--from", "local"]).code(1).stderr_has("catalog").run();
}

/// A list comes without the key; nothing of it is proven, and nothing is restored by it.
#[test]
fn without_the_key_nothing_is_believed() {
    let site = Site::new();
    let id = site.backup();
    fs::rename(site.path("pgkeep.key"), site.path("kept.key")).unwrap();
    let ran = site.pgkeep(["list", "--from", "r2"]).code(3).any_stdout().stderr_has("not proven").run();
    assert!(ran.stdout.contains(&id));
    site.pgkeep(["restore", &id, "--from", "r2", "--output", "x"]).code(2).stderr_has("pgkeep.key").run();
    site.pgkeep(["catalog", "rebuild", "--from", "r2"]).code(2).stderr_has("pgkeep.key").run();
    // Another one's key proves nothing either.
    key::write_private(&site.path("pgkeep.key"), &format!("{}\n", key::made_up(9)));
    let ran =
        site.pgkeep(["list", "--from", "r2"]).code(3).any_stdout().stderr_has(&key::id(&site.key)).run();
    assert_eq!(ran.stdout, "no backups\n");
    site.pgkeep(["restore", &id, "--from", "r2", "--output", "x"])
        .code(5)
        .stderr_has(&key::id(&site.key))
        .run();
}

/// Whoever can write into a bucket has no key: what they put there is no backup.
#[test]
fn what_is_not_proven_is_named_and_left() {
    let mut site = Site::new().with_own_catalog();
    let (good, forged, swapped, bare, huge) =
        (site.backup(), site.backup(), site.backup(), site.backup(), site.backup());
    let path = |id: &str| site.row(id)["local_path"].as_str().unwrap().to_owned();
    let manifest = |id: &str| format!("{}.json", path(id));
    let text = fs::read_to_string(manifest(&forged)).unwrap();
    fs::write(manifest(&forged), text.replace("\"status\": \"completed\"", "\"status\": \"verified\""))
        .unwrap();
    fs::copy(manifest(&good), manifest(&swapped)).unwrap();
    fs::remove_file(manifest(&bare)).unwrap();
    fs::File::create(manifest(&huge)).unwrap().set_len(1 << 30).unwrap();
    let folder = std::path::PathBuf::from(path(&good)).parent().unwrap().to_owned();
    fs::write(folder.join("notes.json"), "{}").unwrap();
    fs::write(folder.join("full-x-20261101T020000Z-0000.dump.gz.pgk.json"), "{}").unwrap();
    let ran = site.pgkeep(["list", "--from", "local"]).code(3).any_stdout().any_stderr().run();
    assert!(ran.stdout.contains(&good), "{}", ran.stdout);
    for id in [&forged, &swapped, &bare, &huge] {
        assert!(!ran.stdout.contains(id.as_str()), "{}", ran.stdout);
        assert!(ran.stderr.contains(id.as_str()), "{id}: {}", ran.stderr);
    }
    assert!(
        ran.stderr.contains("a manifest without an artifact") && !ran.stderr.contains("notes"),
        "{}",
        ran.stderr
    );
    for (id, code) in [(&forged, 5), (&swapped, 5), (&bare, 5), (&huge, 1)] {
        site.pgkeep(["restore", id, "--from", "local", "--output", "x"]).code(code).any_stderr().run();
    }
    drop_catalog(&site);
    site.pgkeep(["catalog", "rebuild", "--from", "local"]).code(3).stdout_has("1 new").any_stderr().run();
    assert_eq!(site.rows().len(), 1);
    // `latest` goes by what is proven.
    without_catalog(&mut site);
    let call = site.pgkeep(["restore", "latest", "--from", "local", "--output", "y"]);
    assert!(call.any_stdout().any_stderr().run().stdout.contains(&good));
}

/// A copy that was cut is listed, as what it is, and restored by nobody.
#[test]
fn a_copy_of_another_size_is_no_whole_one() {
    let site = Site::new().with_own_catalog();
    let id = site.backup();
    let path = site.row(&id)["r2_path"].as_str().unwrap().to_owned();
    let bytes = site.r2.get(&path);
    site.r2.put(&path, &bytes[1..]);
    let ran =
        site.pgkeep(["list", "--from", "r2"]).code(3).any_stdout().stderr_has("its manifest says").run();
    assert!(ran.stdout.contains("degraded") && ran.stdout.contains("r2 (corrupt)"), "{}", ran.stdout);
    site.pgkeep(["restore", &id, "--from", "r2", "--output", "x"]).code(4).any_stderr().run();
    drop_catalog(&site);
    site.pgkeep(["catalog", "rebuild", "--from", "r2", "--from", "b2"])
        .code(3)
        .any_stdout()
        .any_stderr()
        .run();
    assert_eq!(site.copies(&id)["r2"]["state"], "corrupt");
    assert_eq!(site.row(&id)["status"], "degraded");
    site.pgkeep(["verify", &id, "--repair"]).any_stdout().any_stderr().run();
    assert_eq!(site.r2.get(&path), bytes);
}

/// What a run had published when it was killed is taken up; what one is making is not.
#[test]
fn what_a_dead_run_had_published_is_taken_up() {
    let site = Site::new().with_own_catalog();
    let (failed, dead, alive) = (site.backup(), site.backup(), site.backup());
    let set = |id: &str, status: &str, beat: &str| {
        site.cluster.execute(
            &site.catalog,
            &format!(
                "DELETE FROM pgkeep.copy WHERE backup = '{id}'; UPDATE pgkeep.backup SET status = '{status}', \
                 checksum = NULL, size_bytes = NULL, error = 'x', heartbeat_at = now() - interval '{beat}', \
                 metadata = metadata || '{{\"host\": \"elsewhere\"}}' WHERE id = '{id}'"
            ),
        );
    };
    set(&failed, "failed", "0");
    set(&dead, "in_progress", "3 days");
    set(&alive, "in_progress", "0");
    let call = site.pgkeep(["catalog", "rebuild", "--from", "local", "--from", "r2", "--from", "b2"]).code(3);
    call.stdout_has("0 new on record, 2 set right").stderr_has(&alive).stderr_has("a run is making it").run();
    for id in [&failed, &dead] {
        assert_eq!(site.row(id)["status"], "completed");
        assert_eq!(site.row(id)["error"], serde_json::Value::Null);
        site.assert_copies(id, &STORES);
        site.pgkeep(["verify", id]).any_stdout().run();
    }
    assert_eq!(site.row(&alive)["status"], "in_progress");
}

#[test]
fn odd_names_read_back() {
    let name = crate::support::cluster::unique("na\u{ef}ve/../\"x\" % 'q' ");
    let site = Site::of(name.clone(), crate::support::cluster::SAMPLE).with_own_catalog();
    let id = site.backup();
    drop_catalog(&site);
    for store in STORES {
        assert_eq!(listed(&site, store, 0), std::slice::from_ref(&id));
    }
    site.pgkeep(["catalog", "rebuild", "--from", "r2"]).any_stdout().run();
    assert_eq!(site.row(&id)["database"], name.as_str());
    let call = site.pgkeep(["--json", "list", "--from", "local", "--database", &name]);
    assert_eq!(call.any_stdout().run().json().as_array().unwrap().len(), 1);
}

/// A bucket has more objects than one page of its list.
#[test]
fn a_long_list_is_read_to_its_end() {
    let site = Site::new();
    let id = site.backup();
    let path = site.row(&id)["r2_path"].as_str().unwrap().to_owned();
    let folder = path.rsplit_once('/').unwrap().0;
    // They stand before the backup's own name.
    for number in 0..1005 {
        site.r2.put(&format!("{folder}/a-{number:04}"), b"");
    }
    assert_eq!(listed(&site, "r2", 0), [id]);
}

#[test]
fn a_store_that_is_away_says_why() {
    let mut site = Site::new();
    site.backup();
    let fault: FaultServer = site.fault("r2", Manners::Plain);
    fault.rule(Rule::on("GET", "list-type").refuse(403, "AccessDenied"));
    for words in [
        &["list", "--from", "r2"][..],
        &["restore", "latest", "--from", "r2", "--output", "x"],
        &["catalog", "rebuild", "--from", "r2"],
    ] {
        site.pgkeep(words).code(1).stderr_has("AccessDenied").run();
    }
    fs::remove_dir_all(site.local()).unwrap();
    site.pgkeep(["list", "--from", "local"]).code(1).stderr_has("there is no folder").run();
}
