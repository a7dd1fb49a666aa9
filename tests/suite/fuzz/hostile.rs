//! The binary, given files that are no such files, and told lies by a bucket or a catalog. It may hold only
//! so much memory: what it holds more, the kernel refuses it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::support::key::write_private;
use crate::support::tools::{binary, run};
use crate::support::{Pgkeep, Site};

/// What the binary may hold in these tests.
const MEMORY_KIB: u32 = 400 * 1024;

/// A file that runs the binary in little memory.
fn in_little_memory(site: &Site) -> PathBuf {
    let script = site.path("bounded");
    let text =
        format!("#!/bin/sh\nulimit -d {MEMORY_KIB} || exit 99\nexec '{}' \"$@\"\n", binary().display());
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).unwrap();
    script
}

fn bounded(site: &Site, call: Pgkeep) -> Pgkeep {
    call.program(in_little_memory(site))
}

/// A file of 2 GiB that takes no room.
fn huge(path: &Path) -> String {
    write_private(path, "");
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(2 << 30).unwrap();
    path.to_str().unwrap().to_owned()
}

fn pipe(path: &Path) -> String {
    run("mkfifo", &["-m", "600", path.to_str().unwrap()]);
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_configuration_without_end_is_refused() {
    let site = Site::new().local_only();
    let huge = huge(&site.path("huge.toml"));
    for file in ["/dev/zero", huge.as_str()] {
        let call = site.bare().args(["--config", file, "list"]).code(2);
        bounded(&site, call).stderr_has(file).stderr_has("larger than 1024 KiB").run();
    }
}

#[test]
fn a_key_file_that_is_none_is_refused() {
    let mut site = Site::new().local_only();
    let (huge, pipe) = (huge(&site.path("huge.key")), pipe(&site.path("pipe.key")));
    for (file, what) in [
        ("/dev/zero", "not a regular file"),
        (pipe.as_str(), "not a regular file"),
        (huge.as_str(), "larger than 64 KiB"),
    ] {
        site.config.set("encryption.key_file", file);
        let call = site.pgkeep(["backup", "full"]).any_code();
        let ran = bounded(&site, call).stderr_has(file).stderr_has(what).run();
        assert!([1, 2].contains(&ran.code), "{ran:?}");
    }
    site.assert_nothing_stored();
}

#[test]
fn files_of_libpq_without_end_are_refused_or_left_alone() {
    let mut site = Site::new().local_only();
    let url = site.cluster.url(&site.database);
    let with = |more: &str| format!("{url}{}{more}", if url.contains('?') { '&' } else { '?' });
    for more in ["service=x&servicefile=/dev/zero", "sslmode=verify-full&sslrootcert=/dev/zero"] {
        site.config.set("source.url", with(more));
        let call = site.pgkeep(["list"]).any_code();
        let ran = bounded(&site, call).stderr_has("/dev/zero").stderr_has("larger than").run();
        assert!([1, 2].contains(&ran.code), "{ran:?}");
    }
    let file = huge(&site.path("huge.pgpass"));
    site.config.set("source.url", format!("host=127.0.0.1 port=1 user=u dbname=d passfile={file}"));
    let call = site.pgkeep(["list"]).code(1);
    bounded(&site, call).stderr_has(&file).stderr_has("larger than 4096 KiB").run();
}

/// Each was once looked for on the disk again for each one after it.
#[test]
fn a_configuration_of_ten_thousand_stores_is_read() {
    let site = Site::new();
    let mut text = format!("state_dir = \"{}\"\n", site.path("state").display());
    for n in 0..10_000 {
        text.push_str(&format!("[[store]]\nname = \"s{n}\"\nkind = \"local\"\npath = \"/nowhere/{n}\"\n"));
    }
    text.push_str("[source]\nurl = \"host=127.0.0.1 port=1 user=u dbname=d\"\n");
    let file = site.path("many.toml");
    write_private(&file, &text);
    let call = site.bare().args(["--config", file.to_str().unwrap(), "list"]);
    bounded(&site, call).code(1).stderr_has("127.0.0.1").run();
    write_private(&file, &text.replace("/nowhere/9999", "/nowhere/./77/"));
    let call = site.bare().args(["--config", file.to_str().unwrap(), "list"]).code(2);
    bounded(&site, call).stderr_has("`s77` and `s9999`").run();
}

/// A record that waits is a file of this host, and yet whoever can write there must not stop every command.
#[test]
fn records_that_are_none_are_left_and_named() {
    let site = Site::new().local_only();
    let id = site.backup();
    let record = site.pgkeep(["--json", "list"]).any_stdout().run().json()[0].clone();
    let folder = site.path("state").join("pending");
    fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, value: &serde_json::Value| write_private(&folder.join(name), &value.to_string());
    let changed = |field: &str, value: serde_json::Value| {
        let mut changed = record.clone();
        changed[field] = value;
        changed
    };
    huge(&folder.join("huge.json"));
    pipe(&folder.join("pipe.json"));
    write("other.json", &changed("status", "failed".into()));
    write("path.json", &changed("id", "../../../planted".into()));
    write("nested.json", &serde_json::Value::Null);
    fs::write(folder.join("nested.json"), "[".repeat(1 << 20)).unwrap();
    write("long.json", &changed("status", "x".repeat(1 << 20).into()));
    let before = files(&folder);
    let call = site.pgkeep(["list"]).any_stdout();
    let ran = bounded(&site, call)
        .stderr_has("huge.json")
        .stderr_has("larger than")
        .stderr_has("pipe.json` is not a regular file")
        .stderr_has("has another name")
        .run();
    for name in ["huge", "pipe", "other", "path", "nested", "long"] {
        assert!(ran.stderr.contains(&format!("{name}.json")), "{name}: {}", ran.stderr);
    }
    assert!(ran.stderr.len() < 10_000, "{} bytes of warnings", ran.stderr.len());
    assert_eq!(files(&folder), before);
    assert_eq!(site.row(&id)["status"], record["status"]);
    assert_eq!(site.rows().len(), 1);
}

fn files(folder: &Path) -> Vec<PathBuf> {
    crate::support::tools::files_under(folder)
}

/// A document of small objects once stood in memory a hundred times its length.
#[test]
fn large_manifests_do_not_fill_the_memory() {
    let site = Site::new().local_only();
    let id = site.backup();
    let path = site.row(&id)["local_path"].as_str().unwrap().to_owned();
    let manifest = fs::read_to_string(format!("{path}.json")).unwrap();
    let mut large = manifest.trim_end().strip_suffix('}').unwrap().trim_end().to_owned();
    large.push_str(",\"more\":[0");
    while large.len() < 6 << 20 {
        large.push_str(",{\"a\":0}");
    }
    large.push_str("]}");
    for n in 0..2 {
        let other = path.replace(&id[id.len() - 4..], &format!("000{n}"));
        fs::copy(&path, &other).unwrap();
        fs::write(format!("{other}.json"), &large).unwrap();
    }
    let call = site.pgkeep(["list", "--from", "local"]).code(3).stdout_has(&id);
    let ran = bounded(&site, call).stderr_has("mac differs").run();
    assert_eq!(ran.stderr.matches("mac differs").count(), 2, "{}", ran.stderr);
}

/// Each is damage of the artifact, told with its offset; a length is never believed before it is looked at.
#[test]
fn a_header_that_lies_is_damage_with_an_offset() {
    let site = Site::new().local_only();
    let id = site.backup();
    let path = site.row(&id)["local_path"].as_str().unwrap().to_owned();
    let artifact = fs::read(&path).unwrap();
    let length = u32::from_le_bytes(artifact[8..12].try_into().unwrap());
    let (start, rest) = artifact[12..].split_at(length as usize);
    let with = |length: u32, header: &[u8]| [&artifact[..8], &length.to_le_bytes(), header, rest].concat();
    let header = String::from_utf8(start.to_vec()).unwrap();
    let nonce = header.split("\"nonce\":\"").nth(1).unwrap().split('"').next().unwrap();
    let short = header.replace(nonce, "AAAA");
    for (bytes, offset) in [
        (with(u32::MAX, start), "offset 8)"),
        (with(64 * 1024 + 1, start), "offset 8)"),
        (with(u32::try_from(short.len()).unwrap(), short.as_bytes()), "offset 12)"),
        (with(length, &b"[".repeat(length as usize)), "offset 12)"),
        (b"x".repeat(artifact.len()), "offset 0)"),
    ] {
        fs::write(&path, bytes).unwrap();
        let call = site.pgkeep(["verify", &id, "--level", "content"]).code(4).any_stdout();
        bounded(&site, call).stderr_has(offset).run();
        let call = site.pgkeep(["restore", &id, "--output", "-"]).any_code();
        let ran = bounded(&site, call).stderr_has(offset).run();
        assert!([1, 4].contains(&ran.code), "{ran:?}");
    }
}

#[test]
fn a_manifest_s_words_do_not_fill_the_screen() {
    let site = Site::new().local_only();
    let id = site.backup();
    let path = site.row(&id)["local_path"].as_str().unwrap().to_owned();
    let manifest = fs::read_to_string(format!("{path}.json")).unwrap();
    let long = "\\u001b[31mx".repeat(100_000);
    for (from, to) in [
        (format!("\"{id}\""), format!("\"{long}\"")),
        ("\"completed\"".to_owned(), format!("\"{long}\"")),
        ("\"format\": 1".to_owned(), format!("\"format\": \"{long}\"")),
        ("\"keys\": [".to_owned(), format!("\"keys\": [\"{long}\", ")),
    ] {
        let changed = manifest.replacen(&from, &to, 1);
        assert_ne!(changed, manifest, "{from}");
        fs::write(format!("{path}.json"), changed).unwrap();
        for call in [
            site.pgkeep(["list", "--from", "local"]),
            site.pgkeep(["verify", &id]),
            site.pgkeep(["verify", &id, "--level", "stat"]),
        ] {
            let ran = bounded(&site, call.any_code().any_stdout().any_stderr()).run();
            assert!([1, 3, 4].contains(&ran.code), "{from}: {ran:?}");
            let length = ran.stdout.len() + ran.stderr.len();
            assert!(length < 10_000, "{from}: {length} bytes");
            assert!(!ran.stderr.chars().any(|c| c.is_control() && c != '\n'), "{from}: {:?}", ran.stderr);
        }
        let row = site.row(&id).to_string().len();
        assert!(row < 20_000, "{from}: the row has {row} bytes");
    }
}

#[test]
fn no_word_of_a_catalog_commands_a_terminal() {
    let site = Site::new().local_only();
    let id = site.backup();
    let hostile = "E'\\u001b[2Jx\\u009b31m\\u007f'";
    site.cluster.execute(
        &site.catalog,
        &format!("UPDATE pgkeep.copy SET store = {hostile}, error = {hostile}; UPDATE pgkeep.backup SET error = {hostile}"),
    );
    let text = site.pgkeep(["list"]).stdout_has(&id).run();
    let json = site.pgkeep(["--json", "list"]).stdout_has(&id).run();
    for ran in [&text, &json] {
        assert!(!ran.stdout.chars().any(|c| c.is_control() && c != '\n'), "{:?}", ran.stdout);
    }
    assert!(text.stdout.contains("\\u{1b}[2Jx"), "{}", text.stdout);
    assert_eq!(json.json()[0]["copies"][0]["store"], "\u{1b}[2Jx\u{9b}31m\u{7f}");
}
