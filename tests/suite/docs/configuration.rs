//! Each block of configuration in the documents is one that the program takes as it stands, and refuses with any key
//! of it misspelled.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::support::command::Ran;
use crate::support::key::write_private;
use crate::support::{Site, project};

use super::documents::documents;

/// Taken for each secret, whatever it is for.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// The `toml` blocks of a document.
fn blocks(document: &str) -> Vec<&str> {
    document.split("```toml\n").skip(1).map(|block| block.split("```").next().unwrap()).collect()
}

/// The block with its paths below a folder, and with one form of each secret: what is commented out is the form in
/// place of the same key above it, and each such form makes a block of its own.
fn forms(block: &str, folder: &Path) -> Vec<String> {
    let root = format!("\"{}/", folder.display());
    let block = block.replace("\"/", &root).replace(r#""pass", "show""#, r#""echo""#);
    let (mut lines, mut others) = (Vec::new(), Vec::new());
    for line in block.lines() {
        match line.strip_prefix("# ").filter(|other| other.contains(" = ")) {
            Some(other) => others.push((lines.len(), other)),
            None => lines.push(line),
        }
    }
    let mut found = vec![lines.join("\n")];
    for (place, other) in others {
        let key = |line: &str| line.split('=').next().unwrap().trim().to_owned();
        let mut lines = lines.clone();
        let above = lines[..place].iter().rposition(|line| key(line) == key(other)).expect(other);
        lines[above] = other;
        found.push(lines.join("\n"));
    }
    found
}

/// Each way to misspell one key of a text: what is wrong then, and the text.
fn misspelled(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let code = line.split(" #").next().unwrap();
        // Headers end with their key, others stand before ` =` (behind `{ ` in an inline table).
        let header = code.trim_end().strip_suffix(['\n', ']']).map(|code| code.trim_end_matches(']').len());
        let equals = code.match_indices('=').map(|(place, _)| code[..place].trim_end().len());
        let is_header = code.starts_with('[');
        let ends: Vec<usize> = if is_header { header.into_iter().collect() } else { equals.collect() };
        for end in ends {
            let key = code[..end].rsplit(['[', '{', '.', ' ']).next().unwrap();
            // `=` in a string is no key's.
            if key.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_') {
                let place = at + end;
                found.push((format!("{key}x"), format!("{}x{}", &text[..place], &text[place..])));
            }
        }
        at += line.len();
    }
    found
}

fn list(site: &Site, text: &str) -> Ran {
    let file = site.path("readme.toml");
    write_private(&file, text);
    let call = site.bare().args(["--config", file.to_str().unwrap(), "list"]);
    let call =
        ["R2_SECRET", "SMTP_PASSWORD", "HOOK_SECRET"].iter().fold(call, |call, name| call.env(name, SECRET));
    call.any_code().any_stdout().any_stderr().run()
}

#[test]
fn configurations_in_the_documents_are_ones_the_program_takes() {
    let site = Site::new();
    let folder = site.path("root");
    let keys = folder.join("etc/pgkeep");
    fs::create_dir_all(&keys).unwrap();
    for name in ["r2.secret", "b2.secret", "twilio.secret"] {
        write_private(&keys.join(name), SECRET);
    }
    fs::copy(site.path("pgkeep.key"), keys.join("pgkeep.key")).unwrap();
    let mut keys = 0;
    let documents = documents();
    let blocks = documents.iter().flat_map(|document| blocks(&document.text));
    for text in blocks.flat_map(|block| forms(block, &folder)) {
        let taken = list(&site, &text);
        // Its servers are not here: that is no fault of the configuration.
        assert!(taken.code != 2 && !taken.stderr.contains("configuration"), "{}\n{text}", taken.stderr);
        for (word, text) in misspelled(&text) {
            let refused = list(&site, &text);
            assert_eq!(refused.code, 2, "`{word}` was taken: {}\n{text}", refused.stderr);
            let line = 1 + text.split(&word).next().unwrap().matches('\n').count();
            let is_named =
                refused.stderr.contains(&word) || refused.stderr.contains(&format!("line {line}:"));
            assert!(is_named, "`{word}` is not named: {}\n{text}", refused.stderr);
            keys += 1;
        }
    }
    assert!(keys >= 10, "{keys} keys");
}

#[test]
fn each_key_of_a_block_is_found() {
    let text = "a = \"x=y\" # b = 1\n[c]\n[[d.e]]\nf = { g = 1, h = [\"i\"] }\n";
    let words: Vec<String> = misspelled(text).into_iter().map(|(word, _)| word).collect();
    assert_eq!(words, ["ax", "cx", "ex", "fx", "gx", "hx"]);
}

/// pgkeep.toml(5) has every key that the program knows, and no other.
#[test]
fn the_page_has_every_key() {
    let raw = fs::read_to_string(project().join("src/config/raw.rs")).unwrap();
    let known: BTreeSet<&str> = raw
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub(super) ")?.split_once(": "))
        .map(|(key, _)| key)
        .filter(|key| key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
        .collect();
    assert!(known.len() > 50, "{known:?}");
    let page = fs::read_to_string(project().join("man/pgkeep.toml.5")).unwrap();
    let mut named = BTreeSet::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if line == ".TP" {
            let term = lines.next().unwrap();
            named.extend(term.split(", ").map(|key| key.trim_start_matches("\\fB").trim_end_matches("\\fR")));
        } else if let Some(section) = line.strip_prefix(".SS [") {
            let name = section.trim_start_matches('[').trim_end_matches(']');
            named.insert(name.rsplit('.').next().unwrap());
        }
    }
    // What stands in inline tables is told where their key is.
    let inner = ["mode", "days"];
    let lacking: Vec<_> = known.iter().filter(|key| !named.contains(*key) && !inner.contains(key)).collect();
    assert!(lacking.is_empty(), "pgkeep.toml(5) lacks {lacking:?}");
    for key in inner {
        assert!(page.contains(&format!("{key} =")), "pgkeep.toml(5) does not show `{key}`");
    }
    let unknown: Vec<_> = named.iter().filter(|key| !known.contains(*key)).collect();
    assert!(unknown.is_empty(), "pgkeep.toml(5) has {unknown:?}, which the program does not know");
}
