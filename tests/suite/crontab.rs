//! `crontab.example` is one that cron takes, and its command line runs.

use std::fs;
use std::process::Command;

use crate::docs::assert_exists;
use crate::support::tools::{binary, finish};
use crate::support::{Site, project};

fn lines() -> Vec<String> {
    let text = fs::read_to_string(project().join("crontab.example")).unwrap();
    assert!(text.ends_with('\n'), "cron ignores a last line without its end");
    let kept = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    kept.map(str::to_owned).collect()
}

fn variable(name: &str) -> String {
    let start = format!("{name}=");
    let found = lines().into_iter().find_map(|line| line.strip_prefix(&start).map(str::to_owned));
    found.unwrap_or_else(|| panic!("no {name} in crontab.example"))
}

/// The five fields and the command of each entry.
fn entries() -> Vec<(Vec<String>, String)> {
    lines()
        .into_iter()
        .filter(|line| line.starts_with(|letter: char| letter.is_ascii_digit() || letter == '*'))
        .map(|line| {
            let fields: Vec<String> = line.split_whitespace().take(5).map(str::to_owned).collect();
            let mut rest = line.as_str();
            for field in &fields {
                rest = rest.trim_start().strip_prefix(field.as_str()).unwrap();
            }
            (fields, rest.trim().to_owned())
        })
        .collect()
}

#[test]
fn it_has_a_path_an_address_and_a_night() {
    assert!(variable("PATH").split(':').any(|folder| folder == "/usr/bin"));
    assert!(!variable("MAILTO").is_empty());
    let entries = entries();
    assert!(!entries.is_empty());
    let limits = [59, 23, 31, 12, 7];
    for (fields, command) in &entries {
        assert_eq!(fields.len(), 5, "{command}");
        for (field, limit) in fields.iter().zip(limits) {
            let numbers =
                field.split(|letter: char| "*,-/".contains(letter)).filter(|number| !number.is_empty());
            for number in numbers {
                assert!(number.parse::<u32>().unwrap() <= limit, "`{field}` of `{command}`");
            }
        }
        assert!(!command.contains('%'), "cron reads `%` as a line's end: {command}");
    }
    let nightly =
        entries.iter().find(|(_, command)| command.contains("pgkeep") && command.contains("backup full"));
    assert_eq!(nightly.unwrap().0[..2], ["0", "2"], "at 02:00");
}

/// Each entry's command exists; the nightly one runs as cron would run it, and has nothing to mail.
#[test]
fn its_command_lines_run() {
    let site = Site::new();
    for (_, command) in entries() {
        let words: Vec<&str> = command.split_whitespace().collect();
        let at = words.iter().position(|word| *word == "pgkeep" || word.ends_with("/pgkeep")).unwrap();
        assert_exists(&format!("pgkeep {}", words[at + 1..].join(" ")));
    }
    let nightly = entries().into_iter().find(|(_, command)| command.contains("backup full")).unwrap().1;
    let folder = site.path("bin");
    fs::create_dir(&folder).unwrap();
    std::os::unix::fs::symlink(binary(), folder.join("pgkeep")).unwrap();
    site.pgkeep(["list"]).any_stdout().any_stderr().run();
    let nightly: Vec<&str> = nightly
        .split_whitespace()
        .map(|word| if word.ends_with("/pgkeep") { "pgkeep" } else { word })
        .collect();
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &nightly.join(" ")]).env_clear().env("HOME", site.path("")).current_dir(site.path(""));
    shell.env("PATH", format!("{}:{}", folder.display(), variable("PATH")));
    shell.env("PGKEEP_CONFIG", site.path("config.toml")).env("R2_SECRET", &site.r2.server.credentials.secret);
    let output = finish(&mut shell);
    assert!(output.is_empty(), "cron would mail this: {output}");
    assert_eq!(site.rows()[0]["status"], "verified");
}
