//! Names and words that stand in a store and that no key proves: none of them ends a line, commands a terminal or turns
//! what follows it.

use std::fs;

use super::{path_in, site};
use crate::support::Site;

const FAKE: &str = "FAKE full-shop-20990101T000000Z-0000 verified";

/// A copy of a backup in the bucket, under another source, its manifest as changed.
fn plant(site: &Site, id: &str, folder: &str, changes: &[(&str, &str)]) {
    let path = path_in(site, id, "r2");
    let text = String::from_utf8(site.r2.get(&format!("{path}.json"))).unwrap();
    let changed = changes.iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "{from}: {text}");
        text.replace(from, to)
    });
    let planted = path.replacen("/db1/", &format!("/{folder}/"), 1);
    site.r2.put(&planted, &site.r2.get(&path));
    site.r2.put(&format!("{planted}.json"), changed.as_bytes());
}

fn assert_safe(text: &str, what: &str) {
    let is_turned = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    assert!(!text.chars().any(|c| (c.is_control() && c != '\n') || is_turned(c)), "{what}: {text:?}");
    assert!(!text.lines().any(|line| line.trim_start().starts_with("FAKE")), "{what}: {text}");
}

#[test]
fn a_name_of_a_store_ends_no_line() {
    let site = site();
    let id = site.backup();
    let encoded = "db1%0A".to_owned() + &FAKE.replace(' ', "%20");
    let source = format!("\"source\": \"db1\\n{FAKE}\"");
    plant(&site, &id, &encoded, &[("\"source\": \"db1\"", &source)]);
    plant(&site, &id, "db1%E2%80%AE", &[("\"source\": \"db1\"", "\"source\": \"db1\\u202e\"")]);
    plant(&site, &id, "db3", &[("\"completed\"", &format!("\"done\\n{FAKE}\\u001b[2J\""))]);
    plant(&site, &id, "db4", &[(&format!("\"{id}\""), &format!("\"x\\n{FAKE}\""))]);
    let odd_key = super::NOBODYS.to_owned() + "\\n" + FAKE;
    plant(&site, &id, "db5", &[(&crate::support::key::id(&site.key), &odd_key)]);
    let bare = format!("db6/x\n{FAKE}\u{202e}/{id}.dump.gz.pgk");
    let hidden = site.local().join(&bare);
    fs::create_dir_all(hidden.parent().unwrap()).unwrap();
    fs::write(hidden, b"bare").unwrap();
    let out = site.path("out.dump");
    let restore = ["-v", "restore", &id, "--from", "r2", "--output", out.to_str().unwrap()];
    let mut shown: Vec<(&[&str], crate::support::command::Ran)> = Vec::new();
    for words in [
        &["list", "--from", "r2"][..],
        &["list", "--from", "local"],
        &["catalog", "rebuild", "--from", "r2"],
        &["catalog", "rebuild", "--from", "local"],
        &["verify", "--all"],
        &["alert", "check"],
        &["prune", "--dry-run"],
        &restore,
    ] {
        shown.push((words, site.pgkeep(words).any_code().any_stdout().any_stderr().run()));
    }
    fs::rename(site.path("pgkeep.key"), site.path("kept.key")).unwrap();
    for words in [&["list", "--from", "r2"][..], &["list", "--from", "local"]] {
        shown.push((words, site.pgkeep(words).any_code().any_stdout().any_stderr().run()));
    }
    for (words, ran) in &shown {
        assert_safe(&ran.stdout, &words.join(" "));
        assert_safe(&ran.stderr, &words.join(" "));
    }
    let without = &shown.last_chunk::<2>().unwrap()[0].1;
    assert!(
        without.stdout.contains("db1\\n") && without.stdout.contains("db1\\u{202e}"),
        "{}",
        without.stdout
    );
}

/// Databases whose names no key proves stand in an error.
#[test]
fn a_database_that_only_a_folder_names_ends_no_line() {
    let site = site();
    let id = site.backup();
    let path = path_in(&site, &id, "r2");
    let folder = "a%0A".to_owned() + &FAKE.replace(' ', "%20");
    let planted = path.replacen(&format!("/{}/", site.database), &format!("/{folder}/"), 1);
    site.r2.put(&planted, b"x");
    site.r2.put(&format!("{planted}.json"), b"{}");
    let (_, url) = site.target();
    let call = site.pgkeep(["restore", "latest", "--from", "r2", "--into", &url]).code(2);
    let ran = call.any_stderr().run();
    assert!(ran.stderr.contains("a\\nFAKE"), "{}", ran.stderr);
    assert_safe(&ran.stderr, "restore");
}
