//! The SQL that stands in the source: its string literals and `.sql` files, taken apart into words.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::project;
use crate::support::tools::files_under;

/// A text of the source, with the line it begins at.
#[derive(Clone, Debug)]
pub(super) struct Text {
    pub(super) file: PathBuf,
    pub(super) line: usize,
    pub(super) body: String,
}

/// A word of SQL. What `format!` fills in is a word too: `{name}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Word(String),
    /// In double quotes.
    Quoted,
    /// In single quotes, a number, a parameter.
    Value,
    Operator(String),
    Other(char),
}

impl Token {
    pub(super) fn word(&self) -> Option<&str> {
        match self {
            Self::Word(word) => Some(word),
            _ => None,
        }
    }

    pub(super) fn is(&self, keyword: &str) -> bool {
        self.word().is_some_and(|word| word == keyword)
    }
}

/// Every literal of the program's source, tests left out, and every `.sql` file of it.
pub(super) fn texts() -> Vec<Text> {
    let mut texts = Vec::new();
    for path in files_under(&project().join("src")) {
        let file = path.strip_prefix(project()).unwrap().to_owned();
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        if ending == "sql" {
            texts.push(Text { file, line: 1, body: fs::read_to_string(&path).unwrap() });
        } else if ending == "rs" && !path.ends_with("tests.rs") {
            let whole = fs::read_to_string(&path).unwrap();
            texts.extend(literals(&file, whole.split("#[cfg(test)]\nmod ").next().unwrap()));
        }
    }
    assert!(texts.len() > 1000, "{}", texts.len());
    texts
}

/// The string literals of a Rust file, as the program sees them.
pub(super) fn literals(file: &Path, source: &str) -> Vec<Text> {
    let letters: Vec<char> = source.chars().collect();
    let (mut at, mut line, mut found) = (0, 1, Vec::new());
    let ahead =
        |at: usize, text: &str| letters[at..].iter().copied().take(text.chars().count()).eq(text.chars());
    while at < letters.len() {
        let begun = at;
        if ahead(at, "//") {
            while at < letters.len() && letters[at] != '\n' {
                at += 1;
            }
        } else if ahead(at, "'\"'") || ahead(at, "'\\'") {
            // The letters `"` and `\'`.
            at += if ahead(at, "'\\'") { 4 } else { 3 };
        } else if letters[at] == 'r' && (ahead(at + 1, "\"") || ahead(at + 1, "#\"")) {
            let end: String = if letters[at + 1] == '#' { "\"#".to_owned() } else { "\"".to_owned() };
            at += 1 + end.len();
            let start = at;
            while !ahead(at, &end) {
                at += 1;
            }
            found.push(Text { file: file.to_owned(), line, body: letters[start..at].iter().collect() });
            at += end.len();
        } else if letters[at] == '"' {
            at += 1;
            let mut text = String::new();
            while letters[at] != '"' {
                if letters[at] != '\\' {
                    text.push(letters[at]);
                    at += 1;
                } else if letters[at + 1] == '\n' {
                    at += 2;
                    while letters[at].is_whitespace() {
                        at += 1;
                    }
                } else {
                    text.push(match letters[at + 1] {
                        'n' => '\n',
                        other => other,
                    });
                    at += 2;
                }
            }
            found.push(Text { file: file.to_owned(), line, body: text });
            at += 1;
        } else {
            at += 1;
        }
        line += letters[begun..at].iter().filter(|letter| **letter == '\n').count();
    }
    found
}

/// The words of a statement or a part of one, comments left out.
pub(super) fn tokens(sql: &str) -> Vec<Token> {
    const OPERATORS: &str = "+-*/<>=~!@#%^&|`?";
    let letters: Vec<char> = sql.chars().collect();
    let (mut at, mut found) = (0, Vec::new());
    let end_of = |mut at: usize, of: &dyn Fn(char) -> bool| {
        while at < letters.len() && of(letters[at]) {
            at += 1;
        }
        at
    };
    while at < letters.len() {
        let letter = letters[at];
        let next = letters.get(at + 1).copied();
        let end = if letter == '-' && next == Some('-') {
            at = end_of(at, &|letter| letter != '\n');
            continue;
        } else if letter.is_whitespace() {
            at += 1;
            continue;
        } else if letter == '\'' || letter == '"' {
            let end = end_of(at + 1, &|other| other != letter) + 1;
            found.push(if letter == '"' { Token::Quoted } else { Token::Value });
            end
        } else if letter == '{' {
            let end = end_of(at, &|letter| letter != '}') + 1;
            found.push(Token::Word(letters[at..end.min(letters.len())].iter().collect()));
            end
        } else if letter.is_alphabetic() || letter == '_' {
            let end = end_of(at, &|letter| letter.is_alphanumeric() || letter == '_');
            found.push(Token::Word(letters[at..end].iter().collect()));
            end
        } else if letter.is_ascii_digit() || letter == '$' {
            found.push(Token::Value);
            end_of(at + 1, &|letter| letter.is_ascii_digit() || letter == '.')
        } else if letter == ':' && next == Some(':') {
            found.push(Token::Operator("::".to_owned()));
            at + 2
        } else if OPERATORS.contains(letter) {
            let end = end_of(at, &|letter| OPERATORS.contains(letter));
            found.push(Token::Operator(letters[at..end].iter().collect()));
            end
        } else {
            found.push(Token::Other(letter));
            at + 1
        };
        at = end;
    }
    found
}

/// Whether a text is a statement or a part of one rather than a message.
pub(super) fn is_sql(tokens: &[Token]) -> bool {
    const TELLING: [&str; 9] =
        ["SELECT", "INSERT", "UPDATE", "DELETE", "JOIN", "WHERE", "VALUES", "EXISTS", "CREATE"];
    tokens.len() > 1
        && (tokens.iter().any(|token| token.word().is_some_and(|word| TELLING.contains(&word)))
            || tokens.iter().any(|token| token.is("pg_catalog"))
            || tokens.windows(3).any(|three| {
                // A cast, and no path of Rust.
                let is_name = three[0].word().is_some_and(|word| word.starts_with(char::is_uppercase));
                three[1] == Token::Operator("::".to_owned()) && three[2].word().is_some() && !is_name
            }))
}
