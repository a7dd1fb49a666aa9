//! What nobody is to see of settings and of texts. It knows no statement.

/// No number is longer, nor is a unit.
const MOST_PLAIN: usize = 24;
const UNIT: usize = 3;
/// What names of secrets are made of, and texts that hold some.
const SECRET_WORDS: [&str; 14] = [
    "pass",
    "pwd",
    "secret",
    "token",
    "credential",
    "conninfo",
    "api_key",
    "apikey",
    "access_key",
    "private_key",
    "encryption_key",
    "bearer",
    "authorization",
    "scram-sha",
];
/// A name that is none for all the words in it.
const NO_SECRET: &str = "password_encryption";

/// Whether nobody is to see what a setting of that name is. Settings of applications, and commands, hold whatever their
/// users put in: of these only numbers and switches are shown.
#[must_use]
pub fn is_secret(name: &str, value: &str) -> bool {
    let name = name.to_lowercase();
    let is_open = name.contains('.') || name.ends_with("_command");
    let is_told_by_name = name != NO_SECRET && (speaks_of_secrets(&name) || name.ends_with("_key"));
    (is_open && !is_plain(value)) || is_told_by_name || speaks_of_secrets(value)
}

/// A number, perhaps with a unit, or a switch.
fn is_plain(value: &str) -> bool {
    let value = value.trim().trim_matches('\'');
    let is_number = value.starts_with(|c: char| c.is_ascii_digit() || c == '-')
        && value.len() <= MOST_PLAIN
        && value.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, '-' | '.')).len() <= UNIT;
    is_number || ["", "on", "off", "true", "false", "none", "all", "(disabled)"].contains(&value)
}

/// Whether a text is, or may hold, what opens something.
#[must_use]
pub fn speaks_of_secrets(text: &str) -> bool {
    let text = text.to_lowercase();
    let has_login = text.split_once("://").is_some_and(|(_, rest)| rest.contains('@'));
    has_login || SECRET_WORDS.iter().any(|word| text.contains(word))
}
