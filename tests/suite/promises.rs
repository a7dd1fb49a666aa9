//! tests/README.md: each promise names tests that exist, or says that it has none.

use std::collections::BTreeSet;
use std::env;
use std::fs;

use crate::support::{project, tools};

/// The names of this crate's tests, as its own binary lists them.
fn tests() -> BTreeSet<String> {
    let listed = tools::run(env::current_exe().unwrap(), &["--list"]);
    let names = listed.lines().filter_map(|line| line.strip_suffix(": test"));
    names.map(str::to_owned).collect()
}

/// The rows of the tables, as promise and what holds it.
fn promises() -> Vec<(String, String)> {
    let text = fs::read_to_string(project().join("tests/README.md")).unwrap();
    let rows = text.lines().filter_map(|line| {
        let (promise, held) = line.strip_prefix("| ")?.strip_suffix(" |")?.rsplit_once(" | ")?;
        Some((promise.to_owned(), held.to_owned()))
    });
    rows.filter(|(promise, _)| promise != "promise" && !promise.starts_with("---")).collect()
}

/// The names between backticks: of one test, or `module::*` for all of a module.
fn named(held: &str) -> Vec<&str> {
    held.split('`').skip(1).step_by(2).filter(|word| word.contains("::")).collect()
}

#[test]
fn each_names_tests_that_exist_or_says_that_it_has_none() {
    let (tests, promises) = (tests(), promises());
    assert!(promises.len() > 60, "{}", promises.len());
    let exists = |name: &str| match name.strip_suffix('*') {
        Some(stem) => tests.iter().any(|test| test.starts_with(stem)),
        None => tests.contains(name),
    };
    let mut wrong = Vec::new();
    for (promise, held) in &promises {
        let names = named(held);
        if names.is_empty() && !held.contains("no test") {
            wrong.push(format!("nothing holds: {promise}"));
        }
        wrong.extend(
            names.iter().filter(|name| !exists(name)).map(|name| format!("{name} is no test: {promise}")),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A part of the suite that no promise names is one that nobody would miss.
#[test]
fn each_part_of_the_suite_is_named_by_one() {
    let promises = promises();
    let named: BTreeSet<_> = promises.iter().flat_map(|(_, held)| named(held)).collect();
    let parts: BTreeSet<_> = tests().iter().map(|test| test.split("::").next().unwrap().to_owned()).collect();
    let of = |part: &str| named.iter().any(|name| name.split("::").next() == Some(part));
    let left: Vec<_> = parts.iter().filter(|part| !of(part)).collect();
    assert!(left.is_empty(), "no promise names {left:?}");
}
