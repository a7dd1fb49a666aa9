//! Roles and tablespaces, fact by fact, from the SQL that makes them.

use super::{Facts, Section};
use crate::source::globals::script::{About, Statement, Word, is_secret, statements, words};

/// What a role is where nothing else is said.
const USUAL: [&str; 7] =
    ["NOSUPERUSER", "INHERIT", "NOCREATEROLE", "NOCREATEDB", "NOLOGIN", "NOREPLICATION", "NOBYPASSRLS"];

pub(super) fn add(facts: &mut Facts, script: &str) {
    for statement in statements(script) {
        let words = words(&statement.sql);
        match &statement.about {
            About::Role(name) => role(facts, name, &statement, &words),
            About::Membership { of, member } => {
                // GRANT a TO b WITH ... GRANTED BY c
                let rest = words.get(4..).unwrap_or_default();
                let end = rest.iter().position(|word| word.is("GRANTED")).unwrap_or(rest.len());
                let how = text(&statement, rest.get(..end).unwrap_or_default());
                facts.add(Section::Roles, member, Some(&format!("member of {of}")), &how, false);
            }
            About::Parameter { role } => {
                facts.add(Section::Roles, role, Some(&statement.sql), "", false);
            }
            About::Tablespace(name) => {
                let is_made = words.first().is_some_and(|word| word.is("CREATE"));
                let property = (!is_made).then_some(statement.sql.as_str());
                let value = if is_made {
                    text(&statement, words.get(3..).unwrap_or_default())
                } else {
                    String::new()
                };
                facts.add(Section::Tablespaces, name, property, &value, false);
            }
            About::Session | About::Other => {}
        }
    }
}

fn role(facts: &mut Facts, name: &str, statement: &Statement, words: &[Word]) {
    let is = |at: usize, keyword: &str| words.get(at).is_some_and(|word| word.is(keyword));
    if is(0, "CREATE") {
        facts.add(Section::Roles, name, None, "", false);
    } else if is(0, "ALTER") && is(3, "SET") {
        // ALTER ROLE a SET b TO c
        let setting = words.get(4).and_then(Word::name).unwrap_or_default();
        let value = text(statement, words.get(6..).unwrap_or_default());
        let hidden = is_secret(&setting) || is_secret(&value);
        facts.add(Section::Roles, name, Some(&format!("setting {setting}")), &value, hidden);
    } else if is(0, "ALTER") && is(3, "WITH") {
        attributes(facts, name, statement, words.get(4..).unwrap_or_default());
    } else {
        facts.add(Section::Roles, name, Some("comment or label"), &statement.sql, false);
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
                facts.add(Section::Roles, role, Some("password"), &value.unwrap_or_default(), true);
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
