//! The artifact's format 1, seen from outside: its header, and that no change of it opens.

use std::fs;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::support::{Site, key};

const MAGIC: &[u8] = b"PGKEEP\0\x01";
const SEALED_CHUNK: usize = 65536 + 17;

/// A site with one backup of several chunks in its local store.
fn site_with_chunks() -> (Site, String, PathBuf) {
    let site = Site::new().local_only();
    site.cluster.execute(
        &site.database,
        "CREATE TABLE noise AS SELECT gen_random_bytes(1000) FROM generate_series(1, 400)",
    );
    let id = site.backup();
    let path = PathBuf::from(site.row(&id)["local_path"].as_str().unwrap());
    (site, id, path)
}

fn header_length(artifact: &[u8]) -> usize {
    12 + usize::try_from(u32::from_le_bytes(artifact[8..12].try_into().unwrap())).unwrap()
}

fn header(artifact: &[u8]) -> Value {
    serde_json::from_slice(&artifact[12..header_length(artifact)]).unwrap()
}

#[test]
fn the_header_is_what_the_format_says() {
    let (site, id, path) = site_with_chunks();
    let artifact = fs::read(path).unwrap();
    assert!(artifact.starts_with(MAGIC));
    let header = header(&artifact);
    assert_eq!(header["id"], id.as_str());
    assert_eq!(header["cipher"], "xchacha20poly1305-secretstream");
    assert_eq!(header["chunk"], 65536);
    assert_eq!(header["compression"], "gzip");
    assert_eq!(STANDARD.decode(header["nonce"].as_str().unwrap()).unwrap().len(), 24);
    let keys = header["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 1);
    assert_eq!(keys[0]["type"], "shared");
    assert_eq!(keys[0]["id"], key::id(&site.key));
    assert_eq!(STANDARD.decode(keys[0]["wrapped"].as_str().unwrap()).unwrap().len(), 24 + 32 + 16);
    let body = artifact.len() - header_length(&artifact);
    assert!(body % SEALED_CHUNK >= 17, "the last chunk is whole or has at least its tag");
}

/// Two backups of the same rows share no data key and no nonce: nothing in them is equal.
#[test]
fn each_artifact_has_a_data_key_of_its_own() {
    let site = Site::new().local_only();
    let artifacts = [site.backup(), site.backup()]
        .map(|id| fs::read(site.row(&id)["local_path"].as_str().unwrap()).unwrap());
    let [first, second] = artifacts.each_ref().map(|artifact| header(artifact));
    assert_ne!(first["nonce"], second["nonce"]);
    assert_ne!(first["keys"][0]["wrapped"], second["keys"][0]["wrapped"]);
    let bodies = artifacts.each_ref().map(|artifact| &artifact[header_length(artifact)..]);
    assert_ne!(bodies[0][..64], bodies[1][..64]);
    // Sealed bytes look like noise: gzip finds nothing in them, and no name of a table shows.
    assert!(!bodies[0].windows(7).any(|window| window == b"invoice"));
}

/// Restores from a changed artifact: that must fail, and leave nothing.
fn assert_does_not_open(site: &Site, id: &str, name: &str) {
    let out = site.path("out.dump");
    let call = site.pgkeep(["restore", id, "--from", "local", "--output", out.to_str().unwrap()]);
    let ran = call.any_code().any_stdout().any_stderr().run();
    assert!([1, 4].contains(&ran.code), "{name}: {ran:?}");
    assert!(!out.exists(), "{name} left a file");
    assert!(!ran.stderr.contains("panicked"), "{name}: {ran:?}");
}

#[test]
fn changes_of_the_order_and_number_of_chunks_do_not_open() {
    let (site, id, path) = site_with_chunks();
    let artifact = fs::read(&path).unwrap();
    let start = header_length(&artifact);
    let head = &artifact[..start];
    let chunks: Vec<&[u8]> = artifact[start..].chunks(SEALED_CHUNK).collect();
    assert!(chunks.len() > 4);
    let last = chunks.len() - 1;
    let changed =
        |order: &[usize]| [head, &order.iter().map(|at| chunks[*at]).collect::<Vec<_>>().concat()].concat();
    let all: Vec<usize> = (0..=last).collect();
    let mut swapped = all.clone();
    swapped.swap(1, 2);
    for (name, order) in [
        ("swapped chunks", swapped),
        ("a chunk is missing", all.iter().copied().filter(|at| *at != 2).collect()),
        ("the first chunk is missing", all[1..].to_vec()),
        ("the final chunk is missing", all[..last].to_vec()),
        ("a chunk is there twice", [&all[..2], &all[1..]].concat()),
        ("something follows the final chunk", [&all[..], &[last]].concat()),
        ("only the final chunk", vec![last]),
        ("no chunk at all", Vec::new()),
    ] {
        fs::write(&path, changed(&order)).unwrap();
        assert_does_not_open(&site, &id, name);
    }
}

#[test]
fn a_changed_header_does_not_open() {
    let (site, id, path) = site_with_chunks();
    let artifact = fs::read(&path).unwrap();
    let (start, original) = (header_length(&artifact), header(&artifact));
    let rebuilt = |bytes: &[u8]| {
        let length = u32::try_from(bytes.len()).unwrap().to_le_bytes();
        [MAGIC, &length, bytes, &artifact[start..]].concat()
    };
    let with = |name: &str, value: Value| {
        let mut header = original.clone();
        header[name] = value;
        rebuilt(header.to_string().as_bytes())
    };
    let text = String::from_utf8(artifact[12..start].to_vec()).unwrap();
    let mut long_length = artifact.clone();
    long_length[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
    let mut version = artifact.clone();
    version[7] = 2;
    for (name, bytes) in [
        ("another id", with("id", "full-other-20260101T000000Z-0000".into())),
        ("another compression", with("compression", "none".into())),
        ("another chunk size", with("chunk", 1024.into())),
        ("a chunk size of 0", with("chunk", 0.into())),
        ("a huge chunk size", with("chunk", u64::MAX.into())),
        ("another cipher", with("cipher", "rot13".into())),
        ("no keys", with("keys", Value::Array(Vec::new()))),
        ("a nonce that is too short", with("nonce", "AAAA".into())),
        ("the same header with a space more", rebuilt(format!("{text} ").as_bytes())),
        ("no JSON", rebuilt(b"PGKEEP")),
        ("an empty header", rebuilt(b"")),
        ("a length of 4 GiB", long_length),
        ("a later format", version),
    ] {
        fs::write(&path, bytes).unwrap();
        assert_does_not_open(&site, &id, name);
    }
}
