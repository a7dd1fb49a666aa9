//! What the dump is packed with: the size that a level promises, and that others open it.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use pgkeep::pipeline::compress::{BLOCK_LEN, Compression, Packer};
use pgkeep::pipeline::header::Packing;

use crate::support::cluster::unique;
use crate::support::compare::assert_same;
use crate::support::tools::{python, run};
use crate::support::{Site, project};

#[path = "../bench/kinds.rs"]
mod kinds;

/// What level 9 may come to, as a share of what `gzip -9` makes.
const PROMISE: f64 = 1.01;
/// Several blocks, and a piece of one.
const KIND_LEN: usize = 8 * BLOCK_LEN + 4321;

/// What a program makes of its stdin.
fn through(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).unwrap());
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success(), "{program} {arguments:?}");
    output.stdout
}

/// Packs as a run does on two cores: the blocks go to the packers in turn.
fn pack(packing: Packing, level: u8, plain: &[u8]) -> Vec<u8> {
    let mut team = Packer::team(Compression { packing, level, threads: 2 }).unwrap();
    let count = team.len();
    let mut packed = Vec::new();
    for (number, block) in plain.chunks(BLOCK_LEN).enumerate() {
        packed.extend_from_slice(&team[number % count].pack(Bytes::copy_from_slice(block)).unwrap());
    }
    packed.extend_from_slice(&team[0].finish().unwrap());
    packed
}

#[allow(clippy::cast_precision_loss, reason = "a share")]
fn share(packed: usize, reference: usize) -> f64 {
    packed as f64 / reference as f64
}

#[test]
fn level_9_is_never_more_than_1_percent_above_gzip_9() {
    for (kind, make) in kinds::KINDS {
        let plain = make(KIND_LEN);
        let reference = through("gzip", &["-9"], &plain).len();
        let packed = pack(Packing::Gzip, 9, &plain);
        let share = share(packed.len(), reference);
        assert!(share <= PROMISE, "{kind}: {share:.4} of gzip -9");
    }
}

#[test]
fn lower_levels_keep_their_promise_too() {
    for (kind, make) in kinds::KINDS {
        let plain = make(KIND_LEN / 2);
        for level in 1..=8 {
            let reference = through("gzip", &[&format!("-{level}")], &plain).len();
            let share = share(pack(Packing::Gzip, level, &plain).len(), reference);
            assert!(share <= PROMISE, "{kind}: {share:.4} of gzip -{level}");
        }
    }
}

/// Data that changes from block to block is the hardest to choose for.
#[test]
fn the_promise_holds_where_every_block_is_of_another_kind() {
    let length = 2 * BLOCK_LEN;
    let made: Vec<Vec<u8>> = kinds::KINDS.iter().map(|(_, make)| make(length)).collect();
    let slices = (0..2).flat_map(|half| made.iter().map(move |data| &data[half * BLOCK_LEN..][..BLOCK_LEN]));
    let plain = slices.collect::<Vec<_>>().concat();
    let reference = through("gzip", &["-9"], &plain).len();
    let share = share(pack(Packing::Gzip, 9, &plain).len(), reference);
    assert!(share <= PROMISE, "{share:.4} of gzip -9");
}

/// Rows of keys with the same words after each: what stands before them says little of other tables.
fn keys(length: usize, words: &str) -> Vec<u8> {
    let mut noise = kinds::Noise::new(11);
    let mut text = String::with_capacity(length + 100);
    while text.len() < length {
        let (a, b) = (noise.next(), noise.next());
        text.push_str(&format!(
            "{:08x}-{:04x}-4{:03x}-{:016x}\t{words}\n",
            a >> 32,
            a & 0xffff,
            a >> 20 & 0xfff,
            b
        ));
    }
    text.into_bytes()
}

/// Tables follow one another in any order: an easy one, however it was packed, must not decide for a hard one.
#[test]
fn an_easy_table_does_not_decide_for_the_one_after_it() {
    let kind = |name: &str, blocks: usize| {
        let (_, make) = kinds::KINDS.iter().find(|(kind, _)| *kind == name).unwrap();
        make(blocks * BLOCK_LEN)
    };
    let short = keys(9 * BLOCK_LEN, "active\tEUR\t2026-11-01");
    let long = keys(9 * BLOCK_LEN, "active\tEUR\t2026-11-01\tdefault\tcreated by import job\t\\N\t\\N");
    for (name, tables) in [
        ("keys, prose", vec![short.clone(), kind("prose", 24)]),
        ("keys, logs", vec![long.clone(), kind("logs", 40)]),
        ("keys, logs, keys, prose", vec![long, kind("logs", 9), short, kind("prose", 12)]),
        ("bytea, logs", vec![kind("bytea", 8), kind("logs", 24)]),
        ("rows, numerics, json", vec![kind("rows", 10), kind("numerics", 10), kind("json", 10)]),
    ] {
        let plain = tables.concat();
        let reference = through("gzip", &["-9"], &plain).len();
        let share = share(pack(Packing::Gzip, 9, &plain).len(), reference);
        assert!(share <= PROMISE, "{name}: {share:.4} of gzip -9");
    }
}

#[test]
fn every_gzip_reader_opens_what_is_packed() {
    let plain: Vec<u8> = kinds::KINDS.iter().flat_map(|(_, make)| make(BLOCK_LEN / 2)).collect();
    let packed = pack(Packing::Gzip, 9, &plain);
    assert!(through("gzip", &["-dc"], &packed) == plain, "gzip -d");
    assert!(through("pigz", &["-dc"], &packed) == plain, "pigz -d");
    let script = "import gzip, sys; sys.stdout.buffer.write(gzip.decompress(sys.stdin.buffer.read()))";
    assert!(through(python().to_str().unwrap(), &["-c", script], &packed) == plain, "Python");
    let mut opened = Vec::new();
    MultiGzDecoder::new(packed.as_slice()).read_to_end(&mut opened).unwrap();
    assert!(opened == plain, "flate2");
}

#[test]
fn the_reference_tool_opens_a_zstd_frame() {
    let plain: Vec<u8> = kinds::KINDS.iter().flat_map(|(_, make)| make(BLOCK_LEN)).collect();
    for level in [1, 3, 9] {
        let packed = pack(Packing::Zstd, level, &plain);
        assert!(through("zstd", &["-dc"], &packed) == plain, "level {level}");
        assert!(packed.len() < plain.len() / 2, "level {level}: {} bytes", packed.len());
    }
}

/// Rows that stand far apart are found again: farther than gzip's 32 KiB, and than a block.
#[test]
fn zstd_finds_what_stands_far_back() {
    let (_, packed_kind) = kinds::KINDS[5];
    let noise = packed_kind(9 * BLOCK_LEN);
    let plain = [noise.as_slice(), noise.as_slice()].concat();
    let packed = pack(Packing::Zstd, 3, &plain).len();
    assert!(packed < noise.len() + noise.len() / 20, "{packed} bytes");
}

/// A database of each kind of data that is text, and one with a bytea.
fn site_of_kinds() -> Site {
    let site = Site::of(unique("kinds"), "template0").local_only();
    site.cluster.execute(
        &site.database,
        "CREATE TABLE kind (name text, line text); CREATE TABLE packed (bytes bytea)",
    );
    let mut client = site.cluster.connect(&site.database);
    for (name, make) in kinds::KINDS {
        let plain = make(3 * BLOCK_LEN);
        if plain.is_ascii() {
            let mut copy = client.copy_in("COPY kind FROM STDIN (DELIMITER '|')").unwrap();
            for line in String::from_utf8(plain).unwrap().lines() {
                writeln!(copy, "{name}|{}", line.replace('\\', "\\\\").replace('|', "\\|")).unwrap();
            }
            copy.finish().unwrap();
        } else if name == "packed" {
            for piece in plain.chunks(100_000) {
                client.execute("INSERT INTO packed VALUES ($1)", &[&piece]).unwrap();
            }
        }
    }
    site
}

/// What `restore` says the dump was.
fn dump_of(site: &Site, id: &str) -> Vec<u8> {
    let file = site.path(&format!("{id}.dump"));
    site.pgkeep(["restore", id, "--output", file.to_str().unwrap()]).any_stdout().any_stderr().run();
    fs::read(file).unwrap()
}

fn artifact_of(site: &Site, id: &str) -> Vec<u8> {
    fs::read(site.row(id)["local_path"].as_str().unwrap()).unwrap()
}

#[test]
fn a_real_backup_is_no_larger_than_gzip_9_makes_it() {
    let site = site_of_kinds();
    let id = site.backup();
    let dump = dump_of(&site, &id);
    assert!(dump.starts_with(b"PGDMP") && dump.len() > 20 * BLOCK_LEN);
    let reference = through("gzip", &["-9"], &dump).len();
    // The seal adds 17 bytes to each 64 KiB and a header.
    let share = share(artifact_of(&site, &id).len(), reference);
    assert!(share <= PROMISE, "{share:.4} of gzip -9");
}

#[test]
fn a_backup_packed_by_zstd_comes_back_and_opens_without_pgkeep() {
    let mut site = site_of_kinds();
    site.config.set("compression.method", "zstd");
    site.config.set("verify.after_backup", "content");
    let id = site.backup();
    let row = site.row(&id);
    assert_eq!(row["filename"], format!("{id}.dump.zst.pgk"));
    assert_eq!(row["metadata"]["compression"], "zstd");
    site.pgkeep(["verify", &id]).any_stdout().run();
    let (name, url) = site.target();
    site.pgkeep(["restore", &id, "--into", &url]).any_stdout().any_stderr().run();
    assert_same(site.cluster, &site.database, &name);
    let (key, artifact, opened) =
        (site.path("pgkeep.key"), row["local_path"].as_str().unwrap(), site.path("opened"));
    let script = project().join("tests/open_artifact.py");
    let words: [&Path; 4] = [&script, &key, Path::new(artifact), &opened];
    let said = run(python(), &words.map(|word| word.to_str().unwrap()));
    assert!(said.contains("\"compression\": \"zstd\""), "{said}");
    assert!(fs::read(opened).unwrap() == dump_of(&site, &id), "another archive");
}

#[test]
fn each_method_has_its_levels() {
    let mut site = Site::new().local_only();
    for (method, level, range) in
        [("gzip", 10, "1 to 9"), ("gzip", 0, "1 to 9"), ("zstd", 10, "1 to 9"), ("zstd", 0, "1 to 9")]
    {
        site.config.set("compression.method", method);
        site.config.set("compression.level", level);
        site.pgkeep(["backup", "full"]).code(2).stderr_has(range).stderr_has("line").run();
    }
    site.config.set("compression.level", 9);
    site.backup();
}
