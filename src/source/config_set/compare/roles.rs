//! Roles and tablespaces, fact by fact, from the SQL that makes them.

use anyhow::{Context, Result};

use super::{Facts, Section};
use crate::source::config_set::GLOBALS;
use crate::source::globals::script::{Attribute, Deed, For, Object, Statement, is_secret, statements};

/// What a role is where nothing else is said.
const USUAL: [&str; 7] =
    ["NOSUPERUSER", "INHERIT", "NOCREATEROLE", "NOCREATEDB", "NOLOGIN", "NOREPLICATION", "NOBYPASSRLS"];

/// What a role's password is called here.
pub(super) const PASSWORD: &str = "password";
/// What is said of a role or tablespace in words.
const SAID: &str = "comment or label";

pub(super) fn add(facts: &mut Facts, script: &str) -> Result<()> {
    let statements = statements(script).with_context(|| format!("`{GLOBALS}` in it is damaged"))?;
    for statement in &statements {
        let whole = statement.deed.sql(For::Comparison);
        let terms = statement.deed.terms(For::Comparison);
        match &statement.deed {
            Deed::NewRole(name) => facts.add(Section::Roles, &name.text, None, "", false),
            Deed::Attributes { role, attributes } => {
                for attribute in attributes {
                    add_attribute(facts, &role.text, attribute);
                }
            }
            Deed::RoleSetting { role, database: None, name, .. } => {
                let hidden = is_secret(&name.text, &terms);
                facts.add(
                    Section::Roles,
                    &role.text,
                    Some(&format!("setting {}", name.text)),
                    &terms,
                    hidden,
                );
            }
            Deed::Membership { of, member, .. } => {
                let property = format!("member of {}", of.text);
                facts.add(Section::Roles, &member.text, Some(&property), &terms, false);
            }
            Deed::NewTablespace { name, .. } => {
                facts.add(Section::Tablespaces, &name.text, None, &terms, false);
            }
            Deed::TablespaceOptions { name, .. } => {
                facts.add(Section::Tablespaces, &name.text, Some(&whole), "", false);
            }
            // Whatever stands there is for those who may see it.
            Deed::Said { on, name, .. } => {
                let section = if *on == Object::Role { Section::Roles } else { Section::Tablespaces };
                facts.add(section, &name.text, Some(SAID), &whole, true);
            }
            Deed::Right { on: Object::Tablespace, name, .. } => {
                facts.add(Section::Tablespaces, &name.text, Some(&right(statement, &whole)), "", false);
            }
            Deed::Right { to, .. } => {
                let role = to.as_ref().map_or("public", |role| role.text.as_str());
                facts.add(Section::Roles, role, Some(&right(statement, &whole)), "", false);
            }
            // The settings in a database stand with the database, too.
            Deed::RoleSetting { .. }
            | Deed::EverybodysSetting { .. }
            | Deed::Session
            | Deed::Authorization(_)
            | Deed::Unknown(_) => {}
        }
    }
    Ok(())
}

/// A right, and who gave it.
fn right(statement: &Statement, whole: &str) -> String {
    let by = statement.by.as_ref().map(|by| format!(" (granted by {})", by.text));
    format!("{whole}{}", by.unwrap_or_default())
}

fn add_attribute(facts: &mut Facts, role: &str, attribute: &Attribute) {
    let (property, value, is_secret) = match attribute {
        Attribute::Is(word) if USUAL.contains(word) => return,
        Attribute::Is(word) => (*word, String::new(), false),
        Attribute::ConnectionLimit(limit) => ("CONNECTION LIMIT", limit.to_string(), false),
        Attribute::ValidUntil(until) => ("VALID UNTIL", format!("'{until}'"), false),
        Attribute::Password(password) => (PASSWORD, password.clone(), true),
    };
    facts.add(Section::Roles, role, Some(property), &value, is_secret);
}
