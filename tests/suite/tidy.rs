//! The shape of the source: headers, sizes, the direction of imports, and words that have no place in it.

use std::fs;
use std::path::PathBuf;

use crate::support::project;
use crate::support::tools::files_under;

mod arrows;

/// Lines of a file, and of a function of the program, at most.
const FILE_LINES: usize = 400;
const FUNCTION_LINES: usize = 70;

fn rust_files(folder: &str) -> Vec<(PathBuf, String)> {
    let files = files_under(&project().join(folder));
    let rust = files.into_iter().filter(|file| file.extension().is_some_and(|end| end == "rs"));
    let read = rust
        .map(|file| (file.strip_prefix(project()).unwrap().to_owned(), fs::read_to_string(&file).unwrap()));
    let found: Vec<_> = read.collect();
    assert!(!found.is_empty());
    found
}

fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// The part of a file before its unit tests.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap()
}

#[test]
fn each_file_says_what_it_is() {
    let mut faults = Vec::new();
    for (file, text) in [rust_files("src"), rust_files("tests")].concat() {
        if !text.starts_with("//! ") {
            faults.push(format!("{}: the first line does not say what it is (`//! ...`)", file.display()));
        }
    }
    assert_none(&faults);
}

#[test]
fn files_and_functions_stay_small() {
    let mut faults = Vec::new();
    for (file, text) in [rust_files("src"), rust_files("tests")].concat() {
        let count = text.lines().count();
        if count > FILE_LINES {
            faults.push(format!("{}: {count} lines, at most {FILE_LINES}", file.display()));
        }
        let is_source = file.starts_with("src");
        for (line, length) in functions(&text) {
            if is_source && length > FUNCTION_LINES {
                faults.push(format!(
                    "{}:{line}: a function of {length} lines, at most {FUNCTION_LINES}",
                    file.display()
                ));
            }
        }
    }
    assert_none(&faults);
}

/// The first line and the length of each function, by the indentation that rustfmt gives.
fn functions(text: &str) -> Vec<(usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let words = ["fn ", "pub fn ", "pub(crate) fn ", "pub(super) fn ", "const fn ", "pub const fn "];
        if words.iter().any(|word| code.starts_with(word)) {
            let end = format!("{}}}", &line[..line.len() - code.len()]);
            if let Some(length) = lines[start..].iter().position(|line| *line == end) {
                found.push((start + 1, length + 1));
            }
        }
    }
    found
}

#[test]
fn words_that_have_no_place() {
    let mut faults = Vec::new();
    // Put together here, so that this file does not hold them itself.
    let everywhere = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("#[ig", "nore")];
    let in_source = [".unwrap()", ".expect(", "todo!", "unimplemented!", "panic!(", "dbg!(", "unreachable!("];
    for (file, text) in [rust_files("src"), rust_files("tests")].concat() {
        let is_source = file.starts_with("src") && !file.ends_with("tests.rs");
        let code = if is_source { without_tests(&text) } else { "" };
        for (number, line) in text.lines().enumerate() {
            for word in everywhere.iter().filter(|word| line.contains(**word)) {
                faults.push(format!("{}:{}: `{word}`", file.display(), number + 1));
            }
        }
        for (number, line) in code.lines().enumerate() {
            let is_comment = line.trim_start().starts_with("//");
            for word in in_source.iter().filter(|word| !is_comment && line.contains(**word)) {
                faults.push(format!("{}:{}: `{word}`", file.display(), number + 1));
            }
        }
    }
    assert_none(&faults);
}

/// The checks above can fail: each of them finds what it looks for in a text made for it.
#[test]
fn the_checks_find_what_they_look_for() {
    let text = format!("    fn long() {{\n{}    }}\n", "        x();\n".repeat(80));
    assert_eq!(functions(&text), [(1, 82)]);
}
