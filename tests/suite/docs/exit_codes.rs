//! The README's table of exit codes says what `src/exit.rs` says: the same numbers, each with the meaning that
//! stands there beside its code.

use std::collections::BTreeMap;
use std::fs;

use pgkeep::exit::Code;
use rustix::process::Signal;

use crate::support::project;

const SIGNALS: [(&str, Signal); 3] =
    [("SIGHUP", Signal::HUP), ("SIGINT", Signal::INT), ("SIGTERM", Signal::TERM)];

/// A code's name in the source; a code that is new there does not compile here until it is in [`codes`] too.
fn name(code: Code) -> &'static str {
    match code {
        Code::Done => "Done",
        Code::Failed => "Failed",
        Code::Usage => "Usage",
        Code::Degraded => "Degraded",
        Code::Verification => "Verification",
        Code::NoSuchBackup => "NoSuchBackup",
        Code::Locked => "Locked",
        Code::Interrupted(_) => "Interrupted",
        // Those of `alert check` are no part of the table.
        Code::Plugin(_) => "Plugin",
    }
}

fn codes() -> [Code; 7] {
    use Code::{Degraded, Done, Failed, Locked, NoSuchBackup, Usage, Verification};
    [Done, Failed, Usage, Degraded, Verification, NoSuchBackup, Locked]
}

/// The doc comment of a code.
fn documented(source: &str, code: Code) -> String {
    let body = source.split("pub enum Code {\n").nth(1).unwrap().split("\n}\n").next().unwrap();
    let mut text = Vec::new();
    for line in body.lines().map(str::trim) {
        if let Some(said) = line.strip_prefix("/// ") {
            text.push(said);
        } else if line.split(['(', ',']).next() == Some(name(code)) {
            return text.join(" ");
        } else {
            text.clear();
        }
    }
    panic!("{code:?} has no doc comment in src/exit.rs");
}

/// A text as it is compared: without its capital, its full stop, and the one word before a colon.
fn meaning(text: &str) -> String {
    let text = text.trim().trim_end_matches('.').to_lowercase();
    match text.split_once(": ") {
        Some((word, said)) if !word.contains(' ') => said.to_owned(),
        _ => text,
    }
}

/// Rows of the README's table: the cell of codes, and the meaning.
fn rows(readme: &str) -> BTreeMap<String, String> {
    let table = readme.split("\n| code | meaning |\n").nth(1).expect("the README has no table of exit codes");
    let lines = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    lines
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            assert_eq!(cells.len(), 2, "{line}");
            (cells[0].to_owned(), cells[1].to_owned())
        })
        .collect()
}

#[test]
fn the_readme_says_what_each_exit_code_means() {
    let source = fs::read_to_string(project().join("src/exit.rs")).unwrap();
    let mut rows = rows(&fs::read_to_string(project().join("README.md")).unwrap());
    for code in codes() {
        let number = code.number().to_string();
        let said = rows.remove(&number).unwrap_or_else(|| panic!("{number} ({code:?}) is not in the README"));
        assert_eq!(meaning(&said), meaning(&documented(&source, code)), "{number}: {code:?}");
    }
    let (numbers, said) = rows.pop_first().expect("no row for signals");
    for (name, signal) in SIGNALS {
        let number = Code::Interrupted(signal.as_raw()).number().to_string();
        let place = numbers.split(", ").position(|one| one == number).expect(&number);
        let named = said.split([' ', ',', ';']).filter(|word| word.starts_with("SIG")).nth(place);
        assert_eq!(named, Some(name), "{numbers}: {said}");
    }
    assert_eq!(numbers.split(", ").count(), SIGNALS.len(), "{numbers}");
    assert!(said.contains("interrupted by"), "{said}");
    assert!(rows.is_empty(), "the program has no such exit codes: {rows:?}");
}
