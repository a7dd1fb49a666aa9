//! The SQL that `pg_dumpall --globals-only` writes, taken apart into statements: what each is about decides whether it is
//! applied. Quotes and comments are PostgreSQL's (its documentation, "Lexical Structure"). It asks no server.

use std::ops::Range;

/// What stands in place of a password.
const HIDDEN: &str = "'(hidden)'";
/// A statement is known by no more of its first words.
const FIRST_WORDS: usize = 64;

/// What a statement is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// The session that it runs in.
    Session,
    /// One role.
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
    /// One tablespace.
    Tablespace(String),
    /// Something else.
    Other,
}

/// One statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The SQL, without the semicolon.
    pub sql: String,
    /// What it is about.
    pub about: About,
}

/// Takes a script apart. Comments between statements go, and so do commands to psql, which are no SQL.
#[must_use]
pub fn statements(script: &str) -> Vec<Statement> {
    let mut found = Vec::new();
    let mut rest = script;
    while let Some(statement) = next(&mut rest) {
        let about = about(&words(statement));
        found.push(Statement { sql: statement.to_owned(), about });
    }
    found
}

/// The statement without the password, or its hash, that it sets, and without a setting's value whose name says that it is
/// secret.
#[must_use]
pub fn without_secrets(sql: &str) -> String {
    let words = words(sql);
    let mut hidden: Vec<Range<usize>> = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let value = words.get(at.saturating_add(1)).filter(|word| matches!(word.token, Token::Text));
        if word.is("PASSWORD") {
            hidden.extend(value.map(|value| value.range.clone()));
        }
        if (word.is("TO") || word.is("="))
            && let Some(name) = at.checked_sub(1).and_then(|at| words.get(at)).and_then(Word::name)
            && is_secret(&name)
        {
            hidden.extend(words.get(at + 1..).unwrap_or_default().iter().map(|word| word.range.clone()));
        }
    }
    let mut text = sql.to_owned();
    for range in hidden.into_iter().rev() {
        text.replace_range(range, HIDDEN);
    }
    text
}

/// Whether a setting of that name may hold what nobody is to see.
#[must_use]
pub fn is_secret(name: &str) -> bool {
    let name = name.to_lowercase();
    [
        "password",
        "passwd",
        "passphrase",
        "secret",
        "token",
        "credential",
        "conninfo",
        "api_key",
        "private_key",
    ]
    .iter()
    .any(|word| name.contains(word))
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

fn about(words: &[Word]) -> About {
    let first = words.get(..words.len().min(FIRST_WORDS)).unwrap_or_default();
    let is = |at: usize, keywords: &[&str]| {
        first.get(at).is_some_and(|word| keywords.iter().any(|keyword| word.is(keyword)))
    };
    let name = |at: usize| first.get(at).and_then(Word::name);
    if is(0, &["SET"]) {
        return About::Session;
    }
    let kinds = ["ROLE", "USER", "GROUP"];
    if is(0, &["CREATE", "ALTER", "DROP"]) && is(1, &kinds) {
        return name(2).map_or(About::Other, About::Role);
    }
    if is(0, &["CREATE", "ALTER", "DROP"]) && is(1, &["TABLESPACE"]) {
        return name(2).map_or(About::Other, About::Tablespace);
    }
    // COMMENT ON ..., SECURITY LABEL FOR ... ON ..., GRANT ... ON ... TO ...
    let on = first.iter().position(|word| word.is("ON"));
    if let Some(on) = on {
        let of = name(on.saturating_add(2));
        if is(on + 1, &kinds) {
            return of.map_or(About::Other, About::Role);
        }
        if is(on + 1, &["TABLESPACE"]) {
            return of.map_or(About::Other, About::Tablespace);
        }
        let to = first.iter().position(|word| word.is("TO") || word.is("FROM"));
        if is(on + 1, &["PARAMETER"]) {
            let role = to.and_then(|to| name(to.saturating_add(1)));
            return role.map_or(About::Other, |role| About::Parameter { role });
        }
    }
    if is(0, &["GRANT", "REVOKE"])
        && is(2, &["TO", "FROM"])
        && let (Some(of), Some(member)) = (name(1), name(3))
    {
        return About::Membership { of, member };
    }
    About::Other
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
        let space = || About::Tablespace("T s".to_owned());
        let expected = vec![
            About::Session,
            role("odd \"; DROP ROLE x; --"),
            role("plain"),
            role("plain"),
            role("new\nline\\! x"),
            About::Membership { of: "a TO b".to_owned(), member: "plain".to_owned() },
            About::Parameter { role: "plain".to_owned() },
            role("plain"),
            role("plain"),
            space(),
            space(),
            About::Other,
            About::Other,
        ];
        assert_eq!(of(script), expected);
        assert_eq!(of(""), []);
        assert_eq!(of(";;\n--x"), []);
        assert_eq!(of("CREATE ROLE \"unended"), [role("unende")]);
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
