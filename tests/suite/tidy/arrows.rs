//! Which file uses which: arrows point down from floor to floor, and no files go round in a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{assert_none, rust_files, without_tests};

/// The floor of every module of `src`: it may use modules of lower floors alone.
const FLOORS: [(&str, u8); 31] = [
    ("main", 9),
    ("lib", 8),
    ("fuzzing", 8),
    ("command", 7),
    ("alert", 6),
    ("catalog", 6),
    ("source", 6),
    ("store", 6),
    ("https", 5),
    ("retention", 5),
    ("schema", 5),
    ("config", 4),
    ("connect", 4),
    ("manifest", 4),
    ("pipeline", 4),
    ("backup", 3),
    ("conninfo", 3),
    ("key", 3),
    ("alert_record", 2),
    ("files", 2),
    ("name", 2),
    ("process", 2),
    ("testpoint", 2),
    ("bounded", 1),
    ("cli", 1),
    ("exit", 1),
    ("finding", 1),
    ("fingerprint", 1),
    ("interrupt", 1),
    ("object_lock", 1),
    ("part", 1),
];

/// A file of `src` by its place among the modules: `src/store/s3.rs` is `["store", "s3"]`.
type Place = Vec<String>;

fn place(file: &Path) -> Place {
    let file = file.with_extension("");
    file.iter().skip(1).map(|part| part.to_str().unwrap().to_owned()).collect()
}

/// The code of a file without comments and literals: what stands in those is no use of anything.
fn code(text: &str) -> String {
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// All paths that a text names from `crate` or `super` on, groups in braces taken apart.
fn paths(text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for start in ["crate::", "super::"] {
        for (at, _) in text.match_indices(start) {
            let before = text[..at].chars().next_back();
            if before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_' || letter == ':') {
                continue;
            }
            take(&text[at..], &[], &mut found);
        }
    }
    found
}

/// Reads one path or group; what is left of the text after it.
fn take<'a>(text: &'a str, before: &[String], found: &mut Vec<Vec<String>>) -> &'a str {
    let mut path = before.to_vec();
    let mut text = text.trim_start();
    loop {
        if let Some(inside) = text.strip_prefix('{') {
            let mut rest = inside;
            loop {
                rest = take(rest, &path, found).trim_start();
                match rest.strip_prefix(',') {
                    Some(more) if !more.trim_start().starts_with('}') => rest = more,
                    Some(more) => return more.trim_start().strip_prefix('}').unwrap_or_default(),
                    None => return rest.strip_prefix('}').unwrap_or(rest),
                }
            }
        }
        let length =
            text.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(text.len());
        path.push(text[..length].to_owned());
        text = &text[length..];
        match text.strip_prefix("::") {
            Some(rest)
                if rest
                    .starts_with(|letter: char| letter.is_alphabetic() || letter == '_' || letter == '{') =>
            {
                text = rest;
            }
            _ => break,
        }
    }
    found.push(path);
    text
}

/// The file that a path leads to from the file at `from`, if it leads to one of ours.
fn target(from: &Place, path: &[String], files: &BTreeSet<Place>) -> Option<Place> {
    let mut at: Place = Vec::new();
    let mut rest = path;
    if path.first()? == "super" {
        at.clone_from(from);
        while let Some(tail) = rest.strip_prefix(&["super".to_owned()][..]) {
            at.pop();
            rest = tail;
        }
    } else {
        rest = rest.get(1..)?;
    }
    let mut best = files.contains(&at).then(|| at.clone());
    for name in rest {
        at.push(name.clone());
        if files.contains(&at) {
            best = Some(at.clone());
        }
    }
    best
}

/// Whether one of two files lies in the other's folder: a module and what it is made of stand for one another.
fn is_within(one: &Place, other: &Place) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

/// Which files each file uses.
fn arrows(files: &[(Place, String)]) -> BTreeMap<Place, BTreeSet<Place>> {
    let known: BTreeSet<Place> = files.iter().map(|(place, _)| place.clone()).collect();
    let uses = |(from, text): &(Place, String)| {
        let paths = paths(&code(without_tests(text)));
        let targets = paths.iter().filter_map(|path| target(from, path, &known));
        (from.clone(), targets.filter(|to| !is_within(from, to)).collect())
    };
    files.iter().map(uses).collect()
}

/// A circle of files, if there is one, each using the next.
fn circle(arrows: &BTreeMap<Place, BTreeSet<Place>>) -> Option<Vec<Place>> {
    let mut done = BTreeSet::new();
    arrows.keys().find_map(|start| walk(start, arrows, &mut Vec::new(), &mut done))
}

fn walk(
    at: &Place,
    arrows: &BTreeMap<Place, BTreeSet<Place>>,
    way: &mut Vec<Place>,
    done: &mut BTreeSet<Place>,
) -> Option<Vec<Place>> {
    if let Some(begin) = way.iter().position(|place| place == at) {
        return Some(way[begin..].to_vec());
    }
    if done.contains(at) {
        return None;
    }
    way.push(at.clone());
    let found = arrows.get(at).into_iter().flatten().find_map(|next| walk(next, arrows, way, done));
    way.pop();
    done.insert(at.clone());
    found
}

fn sources() -> Vec<(Place, String)> {
    let files = rust_files("src").into_iter().filter(|(file, _)| !file.ends_with("tests.rs"));
    files.map(|(file, text)| (place(&file), text)).collect()
}

#[test]
fn arrows_point_down() {
    let floors: BTreeMap<&str, u8> = FLOORS.into_iter().collect();
    let files = sources();
    let mut faults = Vec::new();
    for (from, targets) in arrows(&files) {
        let Some(floor) = floors.get(from[0].as_str()) else {
            faults.push(format!("`{}` has no floor in the table", from[0]));
            continue;
        };
        for to in targets.iter().filter(|to| to[0] != from[0]) {
            if floors.get(to[0].as_str()).is_none_or(|below| below >= floor) {
                faults.push(format!("{} uses {}", from.join("/"), to.join("/")));
            }
        }
    }
    for module in floors.keys() {
        if !files.iter().any(|(place, _)| place[0] == *module) {
            faults.push(format!("the table has a floor for `{module}`, which is not there"));
        }
    }
    assert_none(&faults);
}

#[test]
fn no_files_go_round_in_a_circle() {
    let found = circle(&arrows(&sources()));
    let shown =
        found.map(|circle| circle.iter().map(|place| place.join("/")).collect::<Vec<_>>().join(" -> "));
    assert_eq!(shown, None);
}

/// The checks find what they look for in texts made for them.
#[test]
fn circles_and_arrows_are_found() {
    let file =
        |place: &str, text: &str| (place.split('/').map(str::to_owned).collect::<Place>(), text.to_owned());
    let files = [
        file("a", "use crate::{b::{self, One}, c};"),
        file("b", "fn x() { crate::c::y() }"),
        file("c", "mod d;\nuse d::Z;"),
        file("c/d", "use super::super::b::One; // crate::a"),
        file("c/e", "use super::d::Z;\n#[cfg(test)]\nuse crate::a;"),
    ];
    let found = arrows(&files);
    let uses = |from: &str| -> Vec<String> {
        let from: Place = from.split('/').map(str::to_owned).collect();
        found[&from].iter().map(|to| to.join("/")).collect()
    };
    assert_eq!(uses("a"), ["b", "c"]);
    assert_eq!(
        (uses("b"), uses("c/d"), uses("c/e")),
        (vec!["c".to_owned()], vec!["b".into()], vec!["c/d".into()])
    );
    assert_eq!(circle(&found), None);
    let mut files = files.to_vec();
    files[4].1 = "use crate::a::X;".to_owned();
    files[1].1 = "use crate::c::e::Y;".to_owned();
    assert_eq!(circle(&arrows(&files)).map(|circle| circle.len()), Some(3));
}
