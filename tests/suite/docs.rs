//! What the documents say is what the program does: each command they name exists, each help has an example.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::{Pgkeep, Site, project};

mod configuration;
pub(crate) mod documents;
mod exit_codes;

use documents::documents;

fn help(words: &[&str]) -> String {
    let home = tempfile::tempdir().unwrap();
    Pgkeep::new(home.path()).args(words).args(["--help"]).any_stdout().run().stdout
}

/// The subcommands that a help text lists.
fn subcommands(text: &str) -> Vec<String> {
    let list =
        text.split("\nCommands:\n").nth(1).unwrap_or_default().split("\n\n").next().unwrap_or_default();
    let named = list.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    named
        .filter_map(|line| line.split_whitespace().next())
        .filter(|word| *word != "help")
        .map(str::to_owned)
        .collect()
}

/// Every command, as its words, e.g. `["backup", "full"]`; leaves only.
fn commands() -> Vec<Vec<String>> {
    let mut waiting: Vec<Vec<String>> = vec![Vec::new()];
    let mut leaves = Vec::new();
    while let Some(words) = waiting.pop() {
        let text = help(&words.iter().map(String::as_str).collect::<Vec<_>>());
        let below = subcommands(&text);
        if below.is_empty() {
            leaves.push(words);
        } else {
            waiting.extend(below.into_iter().map(|word| [words.as_slice(), &[word]].concat()));
        }
    }
    leaves.sort();
    leaves
}

fn flags(words: &[&str]) -> BTreeSet<String> {
    let text = help(words);
    text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-')
        .filter(|word| word.starts_with('-') && word.len() > 1)
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_help_of_each_command_has_an_example() {
    let commands = commands();
    for wanted in [
        &["backup", "full"][..],
        &["list"],
        &["verify"],
        &["restore"],
        &["key", "new"],
        &["key", "show"],
        &["doctor"],
    ] {
        assert!(commands.iter().any(|words| words == wanted), "{wanted:?} is not in {commands:?}");
    }
    for words in commands {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let text = help(&words);
        assert!(text.contains("Example"), "`pgkeep {} --help` has no example:\n{text}", words.join(" "));
        let shown = text.split("Example").nth(1).unwrap();
        assert!(shown.contains(&format!("pgkeep {}", words.join(" "))), "{text}");
    }
}

/// The `pgkeep` command lines in the fenced blocks of a document.
fn command_lines(document: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut is_shell = None;
    for line in document.lines() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            is_shell = if is_shell.is_some() {
                None
            } else {
                Some(["console", "sh", "bash"].contains(&language.trim()))
            };
        } else if is_shell == Some(true) {
            let line =
                line.trim().trim_start_matches("$ ").trim_start_matches("# ").trim_start_matches("sudo ");
            if line.starts_with("pgkeep ") {
                lines.push(line.split(" #").next().unwrap().to_owned());
            }
        }
    }
    lines
}

/// Fails unless the command line's subcommands and flags exist.
pub(crate) fn assert_exists(line: &str) {
    let mut words: Vec<&str> = line
        .split_whitespace()
        .take_while(|word| !["|", ">", ">>", "&&", "||", ";"].contains(word))
        .collect();
    // The one flag that may stand before the subcommand with a value of its own.
    if words.get(1) == Some(&"--config") {
        words.drain(1..3);
    }
    let mut path = Vec::new();
    let mut known = subcommands(&help(&[]));
    for word in &words[1..] {
        if known.is_empty() || word.starts_with('-') {
            continue;
        }
        assert!(known.iter().any(|name| name == word), "`{line}`: there is no `{word}` among {known:?}");
        path.push(*word);
        known = subcommands(&help(&path));
    }
    assert!(known.is_empty() || words.contains(&"--help"), "`{line}` names no whole command");
    let flags = flags(&path);
    for word in words.iter().filter(|word| word.starts_with('-') && word.len() > 1) {
        let flag = word.split('=').next().unwrap();
        assert!(flags.contains(flag) || flag == "--version", "`{line}`: `{flag}` is not in its help");
    }
}

#[test]
fn the_commands_of_the_documents_exist() {
    for document in documents() {
        let lines = command_lines(&document.text);
        for line in &lines {
            assert_exists(line);
        }
        let wanted: &[&str] = match document.name.as_str() {
            "README.md" => &["pgkeep backup full", "pgkeep list", "pgkeep verify", "pgkeep restore"],
            "pgkeep-setup.7" => &["pgkeep key new", "pgkeep doctor"],
            "pgkeep-retention.7" => &["pgkeep prune", "pgkeep pin", "pgkeep unpin"],
            "pgkeep-restore.7" => &["pgkeep verify", "pgkeep restore", "pgkeep diff", "pgkeep backup config"],
            "pgkeep-recovery.7" => &["pgkeep catalog rebuild"],
            "pgkeep-alerts.7" => &["pgkeep alert ack", "pgkeep alert test"],
            _ => &[],
        };
        for wanted in wanted {
            let is_there = lines.iter().any(|line| line.contains(wanted));
            assert!(is_there, "{} does not show `{wanted}`: {lines:?}", document.name);
        }
    }
}

/// The README names each page that people write, and each of those pages names pages that exist.
#[test]
fn pages_are_named_and_exist() {
    let pages: BTreeSet<String> = fs::read_dir(project().join("man"))
        .unwrap()
        .flatten()
        .map(|page| page.file_name().into_string().unwrap())
        .collect();
    let readme = fs::read_to_string(project().join("README.md")).unwrap();
    for page in pages.iter().filter(|page| documents::is_by_hand(page)) {
        let (name, section) = page.rsplit_once('.').unwrap();
        assert!(readme.contains(&format!("{name}({section})")), "the README does not name {page}");
        let text = fs::read_to_string(project().join("man").join(page)).unwrap();
        let text = documents::plain(&text).replace("\\fB", "").replace("\\fR", "").replace("\" (", "(");
        for (at, _) in text.match_indices("pgkeep") {
            let rest = &text[at..];
            let end =
                rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-' && letter != '.');
            let (name, after) = rest.split_at(end.unwrap_or(rest.len()));
            if let Some(section) = after.strip_prefix('(').and_then(|after| after.split(')').next())
                && section.chars().all(|digit| digit.is_ascii_digit())
            {
                assert!(pages.contains(&format!("{name}.{section}")), "{page} names {name}({section})");
            }
        }
    }
}

#[test]
fn the_commands_of_the_helps_exist() {
    for words in commands() {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let text = help(&words);
        let examples = text.split("Example").nth(1).unwrap_or_default();
        for line in examples.lines().map(|line| line.trim().trim_start_matches("$ ")) {
            if line.starts_with("pgkeep ") {
                assert_exists(line.split("  ").next().unwrap());
            }
        }
    }
}

#[test]
fn the_readme_names_the_scripts() {
    let readme = fs::read_to_string(project().join("README.md")).unwrap();
    for script in ["tests/demo.sh", "crontab.example"] {
        assert!(readme.contains(script), "the README does not name {script}");
    }
}

/// The script of pgkeep-recovery(7), as it stands on the page.
pub(crate) fn recovery_script() -> String {
    let page = fs::read_to_string(project().join("man/pgkeep-recovery.7")).unwrap();
    let start = page.find("#!/usr/bin/env python3").unwrap();
    let length = page[start..].find("\n.EE").unwrap();
    page[start..start + length].replace("\\-", "-").replace("\\e", "\\") + "\n"
}

#[test]
fn the_recovery_pages_script_opens_what_each_method_packed() {
    let mut site = Site::new().local_only();
    let script = site.path("open.py");
    fs::write(&script, recovery_script()).unwrap();
    for method in ["gzip", "zstd", "none"] {
        site.config.set("compression.method", method);
        let id = site.backup();
        let artifact = site.row(&id)["local_path"].as_str().unwrap().to_owned();
        let (key, opened) = (site.path("pgkeep.key"), site.path(&format!("{method}.dump")));
        let words = [&script, &key, Path::new(&artifact), &opened].map(|word| word.to_str().unwrap());
        crate::support::tools::run(crate::support::tools::python(), &words);
        let expected = site.path(&format!("{method}.restored"));
        let call = site.pgkeep(["restore", &id, "--output", expected.to_str().unwrap()]);
        call.any_stdout().any_stderr().run();
        assert!(fs::read(opened).unwrap() == fs::read(expected).unwrap(), "{method}");
        // Cut, it must not pass for whole.
        let bytes = fs::read(&artifact).unwrap();
        fs::write(site.path("cut.pgk"), &bytes[..bytes.len() - 1]).unwrap();
        let cut = Command::new(crate::support::tools::python())
            .args([&script, &key, &site.path("cut.pgk"), &site.path("cut.dump")])
            .output()
            .unwrap();
        assert!(!cut.status.success() && !site.path("cut.dump").exists(), "{method}: {cut:?}");
    }
}
