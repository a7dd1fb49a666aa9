//! The script that `pg_dumpall --globals-only` writes, taken apart into what each statement says. Nothing of its text is kept:
//! SQL is made anew from that. It asks no server.

mod grammar;
mod lexer;
mod secret;
mod statement;

use lexer::{Lexer, Token};

pub use lexer::{Name, Unreadable};
pub use secret::{is_secret, speaks_of_secrets};
pub use statement::{Attribute, Deed, For, MemberOption, Object};

/// How many keywords name a statement that is not known.
const BEGINNING: usize = 2;

/// One statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// What it says.
    pub deed: Deed,
    /// The role in whose name it is said; none is the one that connects.
    pub by: Option<Name>,
    /// Where it begins, from 1.
    pub line: usize,
}

/// Takes a script apart. Comments between statements go, and so do the commands to psql that `pg_dumpall` writes. A
/// statement that is none of its own is [`Deed::Unknown`].
///
/// # Errors
/// When there is what `pg_dumpall` does not write in any statement, or the last one does not end.
pub fn statements(script: &str) -> Result<Vec<Statement>, Unreadable> {
    let mut lexer = Lexer::new(script);
    let (mut found, mut tokens) = (Vec::new(), Vec::new());
    let (mut by, mut line) = (None, 1);
    while let Some(token) = lexer.next()? {
        if tokens.is_empty() {
            line = lexer.line;
        }
        if token != Token::Sign(';') {
            tokens.push(token);
            continue;
        }
        let deed = grammar::deed(&tokens, script.is_ascii());
        let deed = deed.unwrap_or_else(|| Deed::Unknown(beginning(&tokens)));
        tokens.clear();
        if let Deed::Authorization(role) = &deed {
            by.clone_from(role);
        }
        found.push(Statement { deed, by: by.clone(), line });
    }
    if tokens.is_empty() { Ok(found) } else { Err(lexer.unreadable("a statement that does not end")) }
}

/// The keywords that a statement begins with: no name, and nothing that may be secret.
fn beginning(tokens: &[Token]) -> String {
    let keywords = tokens.iter().map_while(|token| match token {
        Token::Keyword(word) => Some(word.as_str()),
        _ => None,
    });
    keywords.take(BEGINNING).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
