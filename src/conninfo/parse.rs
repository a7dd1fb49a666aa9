//! Connection strings of the form `key=value ...`, and the choice between the forms. It knows no defaults and
//! reads no files.

use super::error::{ConnInfoError, unknown};
use super::{ConnInfo, keyword, uri};

/// Reads any form of connection string, by libpq's own test: a URI by its prefix, `key=value` by the `=`,
/// and anything else as the name of a database.
pub(super) fn parse(text: &str) -> Result<ConnInfo, ConnInfoError> {
    if text.contains('\0') {
        return Err(ConnInfoError::ZeroByte("text"));
    }
    if let Some(rest) = uri::strip_scheme(text) {
        return uri::parse(rest);
    }
    if text.contains('=') {
        return parse_pairs(text);
    }
    // A mistyped scheme would make the whole URI, its password included, the name of a database.
    if text.contains("://") {
        return Err(ConnInfoError::UnknownScheme);
    }
    // The same of one whose scheme is left out or broken.
    if text.split_once('@').is_some_and(|(before, _)| before.contains(':')) {
        return Err(ConnInfoError::UnknownScheme);
    }
    let mut info = ConnInfo::default();
    if !text.is_empty() {
        info.set("dbname", text.to_owned());
    }
    Ok(info)
}

fn is_space(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}')
}

fn parse_pairs(text: &str) -> Result<ConnInfo, ConnInfoError> {
    let mut info = ConnInfo::default();
    let mut after_secret = false;
    let mut rest = text.trim_start_matches(is_space);
    while !rest.is_empty() {
        // Counted only where something is wrong: a long text has many words.
        let begin = text.len() - rest.len();
        let position = || text.get(..begin).map_or(0, |before| before.chars().count()) + 1;
        let end = rest
            .find(|letter| letter == '=' || is_space(letter))
            .ok_or_else(|| ConnInfoError::MissingEquals(position()))?;
        let (word, tail) = rest.split_at(end);
        let value_text = tail
            .trim_start_matches(is_space)
            .strip_prefix('=')
            .ok_or_else(|| ConnInfoError::MissingEquals(position()))?
            .trim_start_matches(is_space);
        let known = keyword::find(word).ok_or_else(|| unknown(word, after_secret, position()))?;
        let (value, left) = match value_text.strip_prefix('\'') {
            Some(quoted) => take_quoted(quoted).ok_or(ConnInfoError::UnterminatedQuote(known.name))?,
            None => take_plain(value_text),
        };
        info.set(known.name, value);
        after_secret = keyword::is_secret(known.name);
        rest = left.trim_start_matches(is_space);
    }
    Ok(info)
}

/// A value up to the next space; a backslash takes the character behind it as it is.
fn take_plain(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut letters = text.chars();
    loop {
        let before = letters.as_str();
        match letters.next() {
            None => return (value, ""),
            Some(letter) if is_space(letter) => return (value, before),
            Some('\\') => value.extend(letters.next()),
            Some(letter) => value.push(letter),
        }
    }
}

/// A value up to the closing quote, which is eaten; none without one.
fn take_quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.chars();
    loop {
        match letters.next()? {
            '\'' => return Some((value, letters.as_str())),
            '\\' => value.push(letters.next()?),
            letter => value.push(letter),
        }
    }
}

/// A value in the single quotes of a `key=value` string.
pub(super) fn quote(value: &str) -> String {
    let mut quoted = String::with_capacity(value.len() + 2);
    quoted.push('\'');
    for letter in value.chars() {
        if matches!(letter, '\'' | '\\') {
            quoted.push('\\');
        }
        quoted.push(letter);
    }
    quoted.push('\'');
    quoted
}
