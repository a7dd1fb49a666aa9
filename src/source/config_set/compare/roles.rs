//! Roles and tablespaces, fact by fact, from the SQL that makes them.

use super::facts::PASSWORD;
use super::{Facts, Section};
use crate::source::globals::script::{About, Statement, Word, is_secret, statements, words};

/// What a role is where nothing else is said.
const USUAL: [&str; 7] =
    ["NOSUPERUSER", "INHERIT", "NOCREATEROLE", "NOCREATEDB", "NOLOGIN", "NOREPLICATION", "NOBYPASSRLS"];

/// What is said of a role or tablespace in words.
const SAID: &str = "comment or label";

pub(super) fn add(facts: &mut Facts, script: &str) {
    for statement in statements(script) {
        let words = words(&statement.sql);
        match &statement.about {
            About::NewRole(name) | About::Role(name) => role(facts, name, &statement, &words),
            About::Membership { of, member } => {
                // GRANT a TO b WITH ... GRANTED BY c
                let how = text(&statement, words.get(4..).unwrap_or_default());
                facts.add(Section::Roles, member, Some(&format!("member of {of}")), &how, false);
            }
            About::Parameter { role } => {
                facts.add(Section::Roles, role, Some(&right(&statement)), "", false);
            }
            About::NewTablespace(name) => {
                let what = text(&statement, words.get(3..).unwrap_or_default());
                facts.add(Section::Tablespaces, name, None, &what, false);
            }
            About::Tablespace(name) if is_said(&words) => {
                facts.add(Section::Tablespaces, name, Some(SAID), &statement.sql, true);
            }
            About::Tablespace(name) => {
                facts.add(Section::Tablespaces, name, Some(&right(&statement)), "", false);
            }
            About::Session | About::Authorization(_) | About::Unknown => {}
        }
    }
}

/// A right, and who gave it.
fn right(statement: &Statement) -> String {
    let by = statement.by.as_ref().map_or_else(String::new, |by| format!(" (granted by {by})"));
    format!("{}{by}", statement.sql)
}

/// Whether it is a comment or a label: whatever stands there is for those who may see it.
fn is_said(words: &[Word]) -> bool {
    words.first().is_some_and(|word| word.is("COMMENT") || word.is("SECURITY"))
}

fn role(facts: &mut Facts, name: &str, statement: &Statement, words: &[Word]) {
    let is = |at: usize, keyword: &str| words.get(at).is_some_and(|word| word.is(keyword));
    if is(0, "CREATE") {
        facts.add(Section::Roles, name, None, "", false);
    } else if is(0, "ALTER") && is(3, "IN") {
        // It stands with the database, too.
    } else if is(0, "ALTER") && is(3, "SET") {
        // ALTER ROLE a SET b TO c
        let setting = words.get(4).and_then(Word::name).unwrap_or_default();
        let value = text(statement, words.get(6..).unwrap_or_default());
        let hidden = is_secret(&setting, &value);
        facts.add(Section::Roles, name, Some(&format!("setting {setting}")), &value, hidden);
    } else if is(0, "ALTER") && is(3, "WITH") {
        attributes(facts, name, statement, words.get(4..).unwrap_or_default());
    } else {
        facts.add(Section::Roles, name, Some(SAID), &statement.sql, true);
    }
}

/// `LOGIN`, `NOLOGIN`, `CONNECTION LIMIT 5`, `PASSWORD '...'`, `VALID UNTIL '...'`.
fn attributes(facts: &mut Facts, role: &str, statement: &Statement, words: &[Word]) {
    let mut rest = words.iter().peekable();
    while let Some(word) = rest.next() {
        let keyword = word.name().unwrap_or_default().to_uppercase();
        match keyword.as_str() {
            "CONNECTION" | "VALID" => {
                let second = rest.next().and_then(Word::name).unwrap_or_default().to_uppercase();
                let mut value = String::new();
                // A limit may be negative.
                while let Some(word) = rest.next_if(|word| value.is_empty() || value == "-" || word.is("-")) {
                    value.push_str(&text(statement, std::slice::from_ref(word)));
                }
                facts.add(Section::Roles, role, Some(&format!("{keyword} {second}")), &value, false);
            }
            "PASSWORD" => {
                let value = rest.next().map(|word| text(statement, std::slice::from_ref(word)));
                facts.add(Section::Roles, role, Some(PASSWORD), &value.unwrap_or_default(), true);
            }
            _ if USUAL.contains(&keyword.as_str()) || keyword.is_empty() => {}
            _ => facts.add(Section::Roles, role, Some(&keyword), "", false),
        }
    }
}

fn text(statement: &Statement, words: &[Word]) -> String {
    let range = words.first().zip(words.last()).map(|(first, last)| first.range.start..last.range.end);
    range.and_then(|range| statement.sql.get(range)).unwrap_or_default().to_owned()
}
