//! `pgkeep verify --level`: what each level sees, what it says of each copy, and what it leaves on record.

use std::fs;

use serde_json::Value;

use crate::support::command::Ran;
use crate::support::tools::pg_bin;
use crate::support::{FakeBin, FaultServer, Manners, Rule, Site, key};
use crate::verify::{bytes_of, site_with_backup, spoil};

const STORES: [&str; 3] = ["local", "r2", "b2"];
const MEGABYTES: usize = 1 << 20;

fn look(site: &Site, id: &str, level: &str, code: i32) -> Ran {
    let call = site.pgkeep(["--json", "verify", id, "--level", level]).code(code).any_stdout();
    if code == 0 { call.run() } else { call.any_stderr().run() }
}

/// What is said of the copy in a store.
pub(crate) fn copy_in(document: &Value, store: &str) -> Value {
    let copies = document["copies"].as_array().unwrap();
    copies.iter().find(|copy| copy["store"] == store).unwrap().clone()
}

fn path_of(site: &Site, id: &str, store: &str) -> String {
    site.row(id)[format!("{store}_path")].as_str().unwrap().to_owned()
}

fn remove_manifest(site: &Site, id: &str, store: &str) {
    let manifest = format!("{}.json", path_of(site, id, store));
    match store {
        "local" => fs::remove_file(manifest).unwrap(),
        "r2" => site.r2.delete(&manifest),
        _ => site.b2.delete(&manifest),
    }
}

/// What it is, the bytes that are left, the verdict, the offset.
type Damage = (&'static str, Option<Vec<u8>>, &'static str, Option<usize>);

/// Each kind of damage, the verdict of a level that reads, and the offset that is told.
fn damages(good: &[u8]) -> Vec<Damage> {
    let header = 12 + u32::from_le_bytes(good[8..12].try_into().unwrap()) as usize;
    let changed = |at: usize| {
        let mut bytes = good.to_vec();
        bytes[at] ^= 0x10;
        Some(bytes)
    };
    vec![
        ("first byte", changed(0), "checksum", Some(0)),
        ("length of the header", changed(11), "checksum", Some(8)),
        ("first chunk", changed(header + 5), "checksum", Some(header)),
        ("last byte", changed(good.len() - 1), "checksum", Some(last_chunk(good.len(), header))),
        ("cut", Some(good[..good.len() - 7].to_vec()), "size", Some(last_chunk(good.len(), header))),
        ("cut in the header", Some(good[..20].to_vec()), "size", Some(20)),
        ("appended", Some([good, b"x"].concat()), "size", Some(last_chunk(good.len(), header))),
        ("empty", Some(Vec::new()), "size", Some(0)),
        ("gone", None, "missing", None),
    ]
}

/// Where the last chunk of an artifact begins.
fn last_chunk(size: usize, header: usize) -> usize {
    header + (size - header) / 65553 * 65553
}

#[test]
fn each_damage_has_its_verdict_and_its_place() {
    let (site, id) = site_with_backup();
    let good = bytes_of(&site, &id, "local");
    for (number, (what, bytes, verdict, offset)) in damages(&good).into_iter().enumerate() {
        let store = STORES[number % 3];
        spoil(&site, &id, store, bytes.as_deref());
        for level in ["checksum", "content"] {
            let document = look(&site, &id, level, 4).json();
            let copy = copy_in(&document, store);
            assert_eq!(copy["verdict"], verdict, "{what}, {level}: {copy:#}");
            assert_eq!(copy["offset"].as_u64(), offset.map(|at| at as u64), "{what}, {level}: {copy:#}");
            for other in STORES.iter().filter(|other| **other != store) {
                let copy = copy_in(&document, other);
                assert_eq!(copy["verdict"], "ok", "{what}, {level}: {copy:#}");
                assert_eq!(copy["verified_level"], level, "{what}: {copy:#}");
            }
        }
        spoil(&site, &id, store, Some(&good));
    }
    look(&site, &id, "content", 0);
    assert_eq!(site.row(&id)["status"], "verified");
}

/// Size and presence are seen without a byte of an artifact; what stands in its place with the same size is
/// seen by its `ETag`.
#[test]
fn stat_downloads_nothing() {
    let (mut site, id) = site_with_backup();
    let good = bytes_of(&site, &id, "r2");
    let fault: FaultServer = site.fault("r2", Manners::Plain);
    look(&site, &id, "stat", 0);
    assert_eq!(fault.count("GET", "") - fault.count("GET", "uploads"), 0, "{:?}", fault.requests());
    assert!(fault.count("HEAD", "") >= 2);
    let copies = site.copies(&id);
    assert_eq!(copies["r2"]["verified_level"], "checksum", "what was read is worth more: {:#}", copies["r2"]);
    let mut changed = good.clone();
    *changed.last_mut().unwrap() ^= 1;
    for (bytes, verdict) in [(Some(&changed[..]), "checksum"), (Some(&good[1..]), "size"), (None, "missing")]
    {
        spoil(&site, &id, "r2", bytes);
        let copy = copy_in(&look(&site, &id, "stat", 4).json(), "r2");
        assert_eq!(copy["verdict"], verdict, "{copy:#}");
    }
    assert_eq!(site.row(&id)["status"], "degraded");
}

#[test]
fn a_manifest_that_is_gone_or_changed_is_found_at_each_level() {
    let (site, id) = site_with_backup();
    for store in STORES {
        remove_manifest(&site, &id, store);
    }
    for level in ["stat", "checksum", "content"] {
        let document = look(&site, &id, level, 4).json();
        for store in STORES {
            assert_eq!(copy_in(&document, store)["verdict"], "missing", "{level}, {store}");
        }
    }
    let (site, id) = site_with_backup();
    let path = format!("{}.json", path_of(&site, &id, "local"));
    let manifest = fs::read_to_string(&path).unwrap();
    fs::write(&path, manifest.replace("\"tenant\": null", "\"tenant\": \"x\"")).unwrap();
    let copy = copy_in(&look(&site, &id, "checksum", 4).json(), "local");
    assert_eq!(copy["verdict"], "sealed", "{copy:#}");
    fs::write(&path, "not json").unwrap();
    assert_eq!(copy_in(&look(&site, &id, "checksum", 4).json(), "local")["verdict"], "sealed");
}

/// A server that runs `verify` need not hold the key.
#[test]
fn checksum_needs_no_key_and_content_does() {
    let (mut site, id) = site_with_backup();
    fs::remove_file(site.path("pgkeep.key")).unwrap();
    look(&site, &id, "stat", 0);
    look(&site, &id, "checksum", 0);
    look(&site, &id, "content", 2);
    let mut changed = bytes_of(&site, &id, "b2");
    changed[100] ^= 1;
    spoil(&site, &id, "b2", Some(&changed));
    let copy = copy_in(&look(&site, &id, "checksum", 4).json(), "b2");
    assert_eq!((&copy["verdict"], &copy["offset"]), (&"checksum".into(), &Value::Null), "{copy:#}");
    // A key that is another one's opens nothing, and is no fault of the copies.
    let other = site.path("other.key");
    key::write_private(&other, &format!("{}\n", key::made_up(9)));
    site.config.set("encryption.key_file", other.to_str().unwrap());
    let ran = look(&site, &id, "content", 4);
    assert!(ran.stderr.contains(&key::id(&site.key)), "{}", ran.stderr);
    let copy = copy_in(&ran.json(), "local");
    assert_eq!(copy["verdict"], "unknown", "{copy:#}");
    assert_eq!(copy["state"], "verified", "{copy:#}");
}

/// What `pg_restore` can't read is found although every sum is right, and no copy is called corrupt for it.
#[test]
fn content_lets_pg_restore_read_the_dump_to_its_end() {
    let (mut site, id) = site_with_backup();
    let bin = FakeBin::of(
        "pg_restore",
        &site.path(""),
        "echo \"$*\" >>\"$HERE/calls\"\ncat | wc -c >>\"$HERE/bytes\"",
    );
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    look(&site, &id, "content", 0);
    let dumped = site.row(&id)["metadata"]["dump_bytes"].as_u64().unwrap().to_string();
    let read = fs::read_to_string(bin.folder.join("bytes")).unwrap();
    assert_eq!(
        read.split_whitespace().collect::<Vec<_>>(),
        vec![dumped.as_str(); 3],
        "each copy, to its end"
    );
    let calls = fs::read_to_string(bin.folder.join("calls")).unwrap();
    assert!(calls.lines().all(|call| call == "-f /dev/null"), "{calls}");
    let script = "cat >/dev/null; echo 'pg_restore: error: broken' >&2; exit 1";
    let bin = FakeBin::of("pg_restore", &site.path(""), script);
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    let document = look(&site, &id, "content", 4).json();
    for store in STORES {
        let copy = copy_in(&document, store);
        assert_eq!((&copy["verdict"], &copy["state"]), (&"content".into(), &"stored".into()), "{copy:#}");
    }
    // A check that sees less does not take it back.
    let ran = look(&site, &id, "checksum", 3);
    assert!(ran.stderr.contains("broken"), "{}", ran.stderr);
    assert_eq!(site.row(&id)["status"], "degraded");
    site.config.set("source.pg_bin", pg_bin().to_str().unwrap());
    look(&site, &id, "content", 0);
    assert_eq!(site.row(&id)["status"], "verified");
    look(&site, &id, "checksum", 0);
}

#[test]
fn a_pg_restore_that_stops_early_or_is_not_there_is_no_success() {
    let site = Site::of_parts();
    let id = site.backup();
    let mut site = site;
    let bin = FakeBin::of("pg_restore", &site.path(""), "exec head -c 1 >/dev/null");
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    assert!(site.row(&id)["metadata"]["dump_bytes"].as_u64().unwrap() > 4 * MEGABYTES as u64);
    let copy = copy_in(&look(&site, &id, "content", 4).json(), "local");
    assert!(copy["error"].as_str().unwrap().contains("before the end"), "{copy:#}");
    fs::remove_file(bin.folder.join("pg_restore")).unwrap();
    let copy = copy_in(&look(&site, &id, "content", 3).json(), "local");
    assert_eq!(copy["verdict"], "unknown", "{copy:#}");
}

/// Two artifacts of one key, each in the other's place with the other's manifest.
#[test]
fn swapped_artifacts_are_found() {
    let site = Site::new().local_only();
    let (one, two) = (site.backup(), site.backup());
    let (first, second) = (path_of(&site, &one, "local"), path_of(&site, &two, "local"));
    for suffix in ["", ".json"] {
        let (a, b) = (format!("{first}{suffix}"), format!("{second}{suffix}"));
        let (of_a, of_b) = (fs::read(&a).unwrap(), fs::read(&b).unwrap());
        fs::write(&a, of_b).unwrap();
        fs::write(&b, of_a).unwrap();
    }
    for id in [&one, &two] {
        for level in ["checksum", "content"] {
            let copy = copy_in(&look(&site, id, level, 4).json(), "local");
            assert!(["checksum", "size"].contains(&copy["verdict"].as_str().unwrap()), "{copy:#}");
        }
    }
}

#[test]
fn only_the_stores_that_are_named_are_looked_at() {
    let (mut site, id) = site_with_backup();
    let fault: FaultServer = site.fault("r2", Manners::Plain);
    spoil(&site, &id, "b2", None);
    let document = site.pgkeep(["--json", "verify", &id, "--store", "local"]).any_stdout().run().json();
    assert_eq!(copy_in(&document, "local")["verdict"], "ok");
    assert_eq!(copy_in(&document, "b2")["verdict"], Value::Null);
    assert_eq!(fault.requests().len(), 0);
    let call = site.pgkeep(["--json", "verify", &id, "--store", "b2", "--store", "local"]);
    let document = call.code(4).any_stdout().any_stderr().run().json();
    assert_eq!(copy_in(&document, "b2")["verdict"], "missing");
    site.pgkeep(["verify", &id, "--store", "s4"])
        .code(2)
        .stderr_has("`s4`")
        .stderr_has("local, r2, b2")
        .run();
}

/// An endless object in an artifact's place keeps nobody for ever.
#[test]
fn a_copy_that_is_much_too_large_is_not_read_to_its_end() {
    let (mut site, id) = site_with_backup();
    let huge = vec![7u8; 40 * MEGABYTES];
    spoil(&site, &id, "r2", Some(&huge));
    let fault: FaultServer = site.fault("r2", Manners::Plain);
    let copy = copy_in(&look(&site, &id, "checksum", 4).json(), "r2");
    assert_eq!(copy["verdict"], "size", "{copy:#}");
    let windows = fault.requests().iter().filter(|request| request.method == "GET").count();
    assert!(windows <= 3, "{windows} windows were asked for");
}

/// `list` and the rows show when each copy was checked, and how deep.
#[test]
fn the_level_is_on_record() {
    let (site, id) = site_with_backup();
    let before = site.copies(&id)["r2"]["verified_at"].clone();
    look(&site, &id, "content", 0);
    for store in STORES {
        let copy = &site.copies(&id)[store];
        assert_eq!(copy["verified_level"], "content", "{copy:#}");
        assert_ne!(copy["verified_at"], before);
    }
    let listed = site.pgkeep(["list"]).any_stdout().run();
    assert!(listed.stdout.contains("content"), "{}", listed.stdout);
}

#[test]
fn what_is_no_level_and_no_choice_is_refused() {
    let site = Site::new().local_only();
    let call = site.pgkeep(["verify", "latest", "--level", "deep"]).code(2);
    call.stderr_has("stat, checksum, content, restore").run();
    site.pgkeep(["verify"]).code(2).any_stderr().run();
    site.pgkeep(["verify", "latest", "--all"]).code(2).any_stderr().run();
    site.pgkeep(["verify", "latest", "--max-time", "1h"]).code(2).stderr_has("--max-time").run();
    site.pgkeep(["verify", "--all", "--max-bytes", "lots"]).code(2).stderr_has("`lots`").run();
}

/// A store that breaks off while it is read is not damaged.
#[test]
fn a_copy_that_can_not_be_read_is_unknown() {
    let (mut site, id) = site_with_backup();
    let fault: FaultServer = site.fault("b2", Manners::Plain);
    fault.rule(Rule::on("GET", "").refuse(403, "AccessDenied"));
    for level in ["checksum", "content"] {
        let copy = copy_in(&look(&site, &id, level, 3).json(), "b2");
        assert_eq!((&copy["verdict"], &copy["state"]), (&"unknown".into(), &"verified".into()), "{copy:#}");
    }
}
