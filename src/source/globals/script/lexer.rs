//! The words of a script of `pg_dumpall --globals-only`, and of no other: what PostgreSQL's scanner (`scan.l`) reads in a way
//! of its own, such as case folding, a carriage return that ends a comment, continued strings and escapes, `pg_dumpall` does
//! not write, and none of it is taken. It knows no statement.

use std::fmt;

/// The longest name there is (`NAMEDATALEN`): a server cuts off the rest, and would take it for another's.
const NAME_LIMIT_BYTES: usize = 63;
/// No number is longer.
const NUMBER_LIMIT_BYTES: usize = 32;
/// What may stand right after a word.
const ENDS: [char; 7] = [' ', '\n', ',', ';', '(', ')', '='];

/// A name, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// All of it.
    pub text: String,
    /// Whether it stands in quotes.
    pub is_quoted: bool,
}

/// A word of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A word in capitals.
    Keyword(String),
    /// A word in small letters, or what stands in double quotes.
    Name(Name),
    /// A string, without quotes and escapes.
    Text(String),
    Number(String),
    Sign(char),
}

/// What makes a text none of `pg_dumpall`'s.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Unreadable {
    /// Where, from 1.
    pub line: usize,
    what: String,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: it holds what pg_dumpall does not write: {}", self.line, self.what)
    }
}

/// Takes a script apart.
pub(super) struct Lexer<'a> {
    rest: &'a str,
    /// The line of what comes next.
    pub(super) line: usize,
    /// Whether nothing stands before it in its line.
    begins_line: bool,
    /// Whether it belongs to no statement yet.
    is_between: bool,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(script: &'a str) -> Self {
        Self { rest: script, line: 1, begins_line: true, is_between: true }
    }

    /// The next word, if there is one.
    pub(super) fn next(&mut self) -> Result<Option<Token>, Unreadable> {
        self.skip()?;
        let Some(first) = self.rest.chars().next() else { return Ok(None) };
        let token = match first {
            ',' | ';' | '(' | ')' | '=' => {
                self.take(1);
                Token::Sign(first)
            }
            '\'' => Token::Text(self.quoted(1, '\'', None)?),
            'E' if self.rest.starts_with("E'") => Token::Text(self.quoted(2, '\'', Some('\\'))?),
            '"' => Token::Name(self.quoted_name()?),
            'A'..='Z' => Token::Keyword(self.run(|c| c.is_ascii_uppercase()).to_owned()),
            'a'..='z' | '_' => {
                let is_of_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
                let text = self.run(is_of_word).to_owned();
                Token::Name(self.name(text, false)?)
            }
            '0'..='9' | '-' | '+' | '.' => Token::Number(self.number()?),
            other => return Err(self.unreadable(&format!("`{}`", other.escape_default()))),
        };
        self.is_between = token == Token::Sign(';');
        let is_apart = self.rest.chars().next().is_none_or(|c| ENDS.contains(&c));
        if is_apart || matches!(token, Token::Sign(_)) {
            Ok(Some(token))
        } else {
            Err(self.unreadable("words that nothing parts"))
        }
    }

    /// What stands between words: spaces, and lines that are comments or commands to psql.
    fn skip(&mut self) -> Result<(), Unreadable> {
        loop {
            let is_line = self.begins_line && self.is_between;
            match self.rest.as_bytes() {
                [b' ' | b'\n', ..] => self.take(1),
                [b'-', b'-', ..] if is_line => {
                    let comment = self.run(|c| c != '\n');
                    if comment.contains(['\r', '\0']) {
                        return Err(self.unreadable("a comment with a carriage return"));
                    }
                }
                [b'\\', ..] if is_line => {
                    let command = self.run(|c| c != '\n');
                    let key = ["\\restrict ", "\\unrestrict "].iter().find_map(|it| command.strip_prefix(it));
                    if !key.is_some_and(|key| key.chars().all(|c| c.is_ascii_alphanumeric())) {
                        return Err(self.unreadable("a command to psql"));
                    }
                }
                _ => return Ok(()),
            }
        }
    }

    /// What stands in quotes, of which a pair is one; `escape` stands in pairs, or not at all.
    fn quoted(&mut self, lead: usize, quote: char, escape: Option<char>) -> Result<String, Unreadable> {
        let mut text = String::new();
        let mut chars = self.rest.char_indices().skip(lead).peekable();
        let mut end = None;
        while let Some((at, c)) = chars.next() {
            let is_pair = chars.peek().is_some_and(|(_, next)| *next == c);
            if c == quote && !is_pair {
                end = Some(at.saturating_add(1));
                break;
            }
            if (c == '\\' && quote == '\'' && (escape != Some(c) || !is_pair)) || c == '\0' {
                return Err(self.unreadable("an escape"));
            }
            if c == quote || escape == Some(c) {
                chars.next();
            }
            text.push(c);
        }
        let end = end.ok_or_else(|| self.unreadable("quotes that do not end"))?;
        self.take(end);
        Ok(text)
    }

    fn quoted_name(&mut self) -> Result<Name, Unreadable> {
        let text = self.quoted(1, '"', None)?;
        self.name(text, true)
    }

    fn name(&self, text: String, is_quoted: bool) -> Result<Name, Unreadable> {
        if text.is_empty() || text.len() > NAME_LIMIT_BYTES {
            return Err(self.unreadable(&format!("a name of {} bytes", text.len())));
        }
        Ok(Name { text, is_quoted })
    }

    fn number(&mut self) -> Result<String, Unreadable> {
        // An option of a tablespace stands there as it was set; not every server reads such a number without quotes.
        if self.rest.starts_with("0x") || self.rest.starts_with("0X") {
            self.take(2);
            let number = u32::from_str_radix(self.run(|c| c.is_ascii_hexdigit()), 16);
            return number.map(|it| it.to_string()).map_err(|_| self.unreadable("a number that is none"));
        }
        let is_of_number = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E');
        let text = self.run(is_of_number).to_owned();
        let is_one = text.len() <= NUMBER_LIMIT_BYTES && text.parse::<f64>().is_ok();
        if is_one { Ok(text) } else { Err(self.unreadable("a number that is none")) }
    }

    /// Takes characters off the front.
    fn run(&mut self, is_of_it: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest;
        let end = rest.find(|c| !is_of_it(c)).unwrap_or(rest.len());
        self.take(end);
        rest.get(..end).unwrap_or_default()
    }

    fn take(&mut self, bytes: usize) {
        let (taken, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.line = self.line.saturating_add(taken.matches('\n').count());
        self.begins_line = taken.ends_with('\n') || (self.begins_line && taken.is_empty());
        self.rest = rest;
    }

    pub(super) fn unreadable(&self, what: &str) -> Unreadable {
        Unreadable { line: self.line, what: what.to_owned() }
    }
}
