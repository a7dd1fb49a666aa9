//! The SQL that `pg_dumpall --globals-only` writes, taken apart into statements: what each is about decides whether it is
//! applied. Quotes and comments are PostgreSQL's (its documentation, "Lexical Structure"). It asks no server.

use std::ops::Range;

mod grammar;

/// What stands in place of a password.
const HIDDEN: &str = "'(hidden)'";
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

/// What a statement is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// The session that it runs in, which is made what it has to be anyway.
    Session,
    /// The role that grants from here on; none is the one that connects.
    Authorization(Option<String>),
    /// A role that is made.
    NewRole(String),
    /// What one role is.
    Role(String),
    /// That one role is a member of another.
    Membership {
        /// The role that has members.
        of: String,
        /// The member.
        member: String,
    },
    /// What a role may do with a parameter of the server.
    Parameter {
        /// The role.
        role: String,
    },
    /// A tablespace that is made.
    NewTablespace(String),
    /// What one tablespace is.
    Tablespace(String),
    /// Nothing that `pg_dumpall` writes there.
    Unknown,
}

/// One statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The SQL, without the semicolon.
    pub sql: String,
    /// What it is about.
    pub about: About,
    /// The role in whose name it is said; none is the one that connects.
    pub by: Option<String>,
}

/// Takes a script apart. Comments between statements go, and so do commands to psql, which are no SQL.
#[must_use]
pub fn statements(script: &str) -> Vec<Statement> {
    let mut found = Vec::new();
    let mut by = None;
    let mut rest = script;
    while let Some(statement) = next(&mut rest) {
        let about = grammar::about(&words(statement));
        if let About::Authorization(role) = &about {
            by.clone_from(role);
        }
        found.push(Statement { sql: statement.to_owned(), about, by: by.clone() });
    }
    found
}

/// The keywords that a statement begins with: no name, and nothing that may be secret.
#[must_use]
pub fn beginning(sql: &str) -> String {
    let words = words(sql);
    let keywords = words.iter().map_while(|word| match &word.token {
        Token::Name { name, is_quoted: false } => Some(name.to_uppercase()),
        _ => None,
    });
    keywords.take(2).collect::<Vec<_>>().join(" ")
}

/// The statement without the password, or its hash, that it sets, and without what else [`is_secret`].
#[must_use]
pub fn without_secrets(sql: &str) -> String {
    let words = words(sql);
    let mut hidden: Vec<Range<usize>> = Vec::new();
    let rest = |at: usize| words.get(at..).unwrap_or_default();
    let all_of = |words: &[Word]| Some(words.first()?.range.start..words.last()?.range.end);
    let text_of = |range: &Range<usize>| sql.get(range.clone()).unwrap_or_default();
    for (at, word) in words.iter().enumerate() {
        let after = rest(at.saturating_add(1));
        if word.is("PASSWORD") {
            let end = after.iter().position(|word| word.is("VALID")).unwrap_or(after.len());
            hidden.extend(all_of(after.get(..end).unwrap_or_default()));
        } else if (word.is("TO") || word.is("=")) && rest(0).first().is_some_and(|word| word.is("ALTER")) {
            let name =
                at.checked_sub(1).and_then(|at| words.get(at)).and_then(Word::name).unwrap_or_default();
            hidden.extend(all_of(after).filter(|range| is_secret(&name, text_of(range))));
        } else if word.token == Token::Text
            && !is_in(&hidden, word)
            && speaks_of_secrets(text_of(&word.range))
        {
            hidden.push(word.range.clone());
        }
    }
    let mut text = sql.to_owned();
    for range in hidden.into_iter().rev() {
        text.replace_range(range, HIDDEN);
    }
    text
}

fn is_in(ranges: &[Range<usize>], word: &Word) -> bool {
    ranges.iter().any(|range| range.contains(&word.range.start))
}

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

/// What a word of a statement is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// A word or a quoted name, as PostgreSQL understands it.
    Name {
        /// The name, in lower case unless it stands in quotes.
        name: String,
        /// Whether it stands in quotes.
        is_quoted: bool,
    },
    /// A string.
    Text,
    /// Anything else.
    Sign(char),
}

/// A word of a statement.
#[derive(Clone, Debug)]
pub struct Word {
    /// What it is.
    pub token: Token,
    /// Where it stands in the statement, in bytes.
    pub range: Range<usize>,
}

impl Word {
    /// Whether it is that keyword, or that sign.
    #[must_use]
    pub fn is(&self, keyword: &str) -> bool {
        match &self.token {
            Token::Name { name, is_quoted: false } => name.eq_ignore_ascii_case(keyword),
            Token::Sign(sign) => keyword.chars().eq([*sign]),
            Token::Name { .. } | Token::Text => false,
        }
    }

    /// The name that it is, if it is one.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        match &self.token {
            Token::Name { name, .. } => Some(name.clone()),
            Token::Text | Token::Sign(_) => None,
        }
    }
}

/// Takes the next statement off the front.
fn next<'a>(rest: &mut &'a str) -> Option<&'a str> {
    loop {
        *rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ';');
        if rest.is_empty() {
            return None;
        }
        if rest.starts_with('\\') {
            *rest = rest.split_once('\n').map_or("", |(_, after)| after);
        } else if let Some(length) = comment(rest) {
            *rest = rest.get(length..).unwrap_or_default();
        } else {
            break;
        }
    }
    let mut end = 0;
    while let Some(text) = rest.get(end..).filter(|text| !text.is_empty()) {
        if text.starts_with(';') {
            break;
        }
        end = end.saturating_add(piece(text));
    }
    let (statement, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
    *rest = after;
    Some(statement.trim_end())
}

/// How long what stands at the front is: a comment, a string, a quoted name, a word, or one character.
fn piece(text: &str) -> usize {
    let first = text.chars().next().unwrap_or(' ');
    if let Some(length) = comment(text) {
        return length;
    }
    match first {
        '\'' => quoted(text, '\'', false),
        '"' => quoted(text, '"', false),
        'e' | 'E' if text.get(1..).is_some_and(|text| text.starts_with('\'')) => {
            text.get(1..).map_or(1, |text| 1 + quoted(text, '\'', true))
        }
        '$' => dollar_quoted(text).unwrap_or(1),
        c if is_of_word(c) => text.find(|c| !is_of_word(c)).unwrap_or(text.len()),
        c => c.len_utf8(),
    }
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.' | '$') || !c.is_ascii()
}

fn comment(text: &str) -> Option<usize> {
    if text.starts_with("--") {
        return Some(text.find('\n').map_or(text.len(), |at| at + 1));
    }
    if !text.starts_with("/*") {
        return None;
    }
    // They nest.
    let (mut depth, mut at) = (0u32, 0usize);
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let (change, length) = match rest {
            rest if rest.starts_with("/*") => (depth.saturating_add(1), 2),
            rest if rest.starts_with("*/") => (depth.saturating_sub(1), 2),
            rest => (depth, rest.chars().next().map_or(1, char::len_utf8)),
        };
        (depth, at) = (change, at.saturating_add(length));
        if depth == 0 {
            break;
        }
    }
    Some(at)
}

/// The length of what stands in quotes; a quote that is doubled does not end it.
fn quoted(text: &str, quote: char, has_escapes: bool) -> usize {
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if has_escapes && c == '\\' {
            chars.next();
        } else if c == quote && chars.next_if(|(_, next)| *next == quote).is_none() {
            return at + 1;
        }
    }
    text.len()
}

fn dollar_quoted(text: &str) -> Option<usize> {
    let after = text.get(1..)?;
    let tag_end = after.find('$')?;
    let tag = after.get(..tag_end)?;
    if !tag.chars().all(|c| c.is_alphanumeric() || c == '_') || tag.starts_with(|c: char| c.is_ascii_digit())
    {
        return None;
    }
    let mark = text.get(..tag_end + 2)?;
    let body = text.get(mark.len()..)?;
    Some(body.find(mark).map_or(text.len(), |at| mark.len() + at + mark.len()))
}

/// The words of a statement, without its comments.
#[must_use]
pub fn words(sql: &str) -> Vec<Word> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(text) = sql.get(at..).filter(|text| !text.is_empty()) {
        let length = piece(text);
        let range = at..at.saturating_add(length);
        at = range.end;
        let piece = sql.get(range.clone()).unwrap_or_default();
        let first = piece.chars().next().unwrap_or(' ');
        let token = match first {
            _ if comment(piece).is_some() || first.is_whitespace() => continue,
            '"' => {
                let inner = piece.get(1..piece.len().saturating_sub(1)).unwrap_or_default();
                Token::Name { name: inner.replace("\"\"", "\""), is_quoted: true }
            }
            '\'' => Token::Text,
            'e' | 'E' if piece.ends_with('\'') => Token::Text,
            '$' if length > 1 => Token::Text,
            c if is_of_word(c) => Token::Name { name: piece.to_lowercase(), is_quoted: false },
            c => Token::Sign(c),
        };
        found.push(Word { token, range });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(name: &str) -> About {
        About::Role(name.to_owned())
    }

    fn of(sql: &str) -> Vec<About> {
        statements(sql).into_iter().map(|statement| statement.about).collect()
    }

    #[test]
    fn a_script_is_taken_apart_whatever_names_hold() {
        let script = "--\n-- a; comment '\n--\n\\restrict abc\nSET client_encoding = 'UTF8';\n/* a /* nested; */ b; */\n\
            CREATE ROLE \"odd \"\"; DROP ROLE x; --\";\nALTER ROLE plain WITH LOGIN PASSWORD 'a;''b';\n\
            ALTER ROLE plain SET search_path TO E'a\\';b', 'c';\nCREATE ROLE \"new\nline\\! x\";\n\
            GRANT \"a TO b\" TO Plain WITH ADMIN OPTION GRANTED BY postgres;\n\
            GRANT SET ON PARAMETER work_mem TO plain;\n\
            COMMENT ON ROLE plain IS $x$;ON ROLE y$x$;\nSECURITY LABEL FOR 'p' ON ROLE plain IS 'x';\n\
            CREATE TABLESPACE \"T s\" OWNER plain LOCATION '/x;y';\nGRANT ALL ON TABLESPACE \"T s\" TO plain;\n\
            DO $$ BEGIN; END $$;\n\\unrestrict abc\nSELECT 1";
        let made = |name: &str| About::NewRole(name.to_owned());
        let expected = vec![
            About::Session,
            made("odd \"; DROP ROLE x; --"),
            role("plain"),
            role("plain"),
            made("new\nline\\! x"),
            About::Membership { of: "a TO b".to_owned(), member: "plain".to_owned() },
            About::Parameter { role: "plain".to_owned() },
            role("plain"),
            role("plain"),
            About::NewTablespace("T s".to_owned()),
            About::Tablespace("T s".to_owned()),
            About::Unknown,
            About::Unknown,
        ];
        assert_eq!(of(script), expected);
        assert_eq!(of(""), []);
        assert_eq!(of(";;\n--x"), []);
        assert_eq!(of("CREATE ROLE \"unended"), [made("unende")]);
    }

    #[test]
    fn passwords_are_hidden_and_nothing_else() {
        let sql =
            "ALTER ROLE \"PASSWORD\" WITH LOGIN PASSWORD 'SCRAM-SHA-256$4096:x''y' VALID UNTIL '2030-01-01'";
        let hidden = without_secrets(sql);
        assert_eq!(hidden, "ALTER ROLE \"PASSWORD\" WITH LOGIN PASSWORD '(hidden)' VALID UNTIL '2030-01-01'");
        let hidden = without_secrets("ALTER ROLE a SET \"app.jwt_secret\" TO 's3cret'");
        assert_eq!(hidden, "ALTER ROLE a SET \"app.jwt_secret\" TO '(hidden)'");
        let plain = "ALTER ROLE a SET work_mem TO '7MB'";
        assert_eq!(without_secrets(plain), plain);
    }
}
