//! The statements that `pg_dumpall --globals-only` of PostgreSQL 9.6 to 18 writes (`pg_dumpall.c`, `dumputils.c`), and no
//! others: what is none of these is known as nothing, so that an archive can't have anything else done.

use super::lexer::{Name, Token};
use super::statement::{Attribute, Deed, MemberOption, Object};

/// What stands for a role and is none, where it is in no quotes.
const NO_NAMES: [&str; 6] = ["all", "current_role", "current_user", "session_user", "user", "authorization"];
/// What stands for a role and is none even where it is in quotes (`RoleSpec` in PostgreSQL's grammar).
const NEVER_NAMES: [&str; 2] = ["public", "none"];
/// What a session is told before anything else; its encoding beside these.
const OF_SESSION: [(&str, &str); 4] = [
    ("default_transaction_read_only", "off"),
    ("standard_conforming_strings", "on"),
    ("standard_conforming_strings", "off"),
    ("escape_string_warning", "off"),
];
const ENCODING: &str = "client_encoding";
/// What a role is or is not.
const ATTRIBUTES: [&str; 14] = [
    "SUPERUSER",
    "NOSUPERUSER",
    "INHERIT",
    "NOINHERIT",
    "CREATEROLE",
    "NOCREATEROLE",
    "CREATEDB",
    "NOCREATEDB",
    "LOGIN",
    "NOLOGIN",
    "REPLICATION",
    "NOREPLICATION",
    "BYPASSRLS",
    "NOBYPASSRLS",
];

/// What the words of a statement say, up to its semicolon, in a script of which something is known: whether it means the
/// same in every encoding.
pub(super) fn deed(tokens: &[Token], is_ascii: bool) -> Option<Deed> {
    let mut words = Words(tokens);
    let found = match words.keyword()? {
        "SET" if words.is_next("SESSION") => {
            words.are(&["SESSION", "AUTHORIZATION"])?;
            Deed::Authorization(Some(words.role()?))
        }
        "SET" => session(&mut words, is_ascii)?,
        "RESET" => {
            words.are(&["SESSION", "AUTHORIZATION"])?;
            Deed::Authorization(None)
        }
        "CREATE" => match words.keyword()? {
            "ROLE" => Deed::NewRole(words.role()?),
            "TABLESPACE" => new_tablespace(&mut words)?,
            _ => return None,
        },
        "ALTER" => match words.keyword()? {
            "ROLE" => alter_role(&mut words)?,
            "TABLESPACE" => alter_tablespace(&mut words)?,
            _ => return None,
        },
        "COMMENT" => said(&mut words, None)?,
        "SECURITY" => {
            words.are(&["LABEL", "FOR"])?;
            let provider = words.name()?;
            said(&mut words, Some(provider))?
        }
        "GRANT" if words.is_name() => membership(&mut words)?,
        "GRANT" => right(&mut words, true)?,
        "REVOKE" => right(&mut words, false)?,
        _ => return None,
    };
    words.0.is_empty().then_some(found)
}

/// What is left of a statement's words.
struct Words<'a>(&'a [Token]);

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a Token> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    fn keyword(&mut self) -> Option<&'a str> {
        if let Token::Keyword(word) = self.next()? { Some(word) } else { None }
    }

    fn is_next(&self, keyword: &str) -> bool {
        matches!(self.0.first(), Some(Token::Keyword(word)) if word == keyword)
    }

    fn is_name(&self) -> bool {
        matches!(self.0.first(), Some(Token::Name(_)))
    }

    /// Takes a keyword, if it comes next.
    fn has(&mut self, keyword: &str) -> bool {
        let is_next = self.is_next(keyword);
        if is_next {
            self.next();
        }
        is_next
    }

    /// Takes these keywords, which must come next.
    fn are(&mut self, keywords: &[&str]) -> Option<()> {
        keywords.iter().all(|keyword| self.has(keyword)).then_some(())
    }

    fn has_sign(&mut self, sign: char) -> bool {
        let is_next = self.0.first() == Some(&Token::Sign(sign));
        if is_next {
            self.next();
        }
        is_next
    }

    fn name(&mut self) -> Option<Name> {
        if let Token::Name(name) = self.next()? { Some(name.clone()) } else { None }
    }

    /// The name of one role, and nothing that stands for others.
    fn role(&mut self) -> Option<Name> {
        self.name().filter(|name| {
            let text = name.text.as_str();
            !NEVER_NAMES.contains(&text) && (name.is_quoted || !NO_NAMES.contains(&text))
        })
    }

    fn text(&mut self) -> Option<String> {
        if let Token::Text(text) = self.next()? { Some(text.clone()) } else { None }
    }

    fn number(&mut self) -> Option<String> {
        if let Token::Number(number) = self.next()? { Some(number.clone()) } else { None }
    }
}

/// `client_encoding = 'UTF8'`.
fn session(words: &mut Words<'_>, is_ascii: bool) -> Option<Deed> {
    let name = words.name().filter(|name| !name.is_quoted)?;
    let is_so = words.has_sign('=');
    let is_known = match words.next()? {
        Token::Text(encoding) => name.text == ENCODING && (encoding == "UTF8" || is_ascii),
        Token::Name(value) => {
            !value.is_quoted && OF_SESSION.contains(&(name.text.as_str(), value.text.as_str()))
        }
        _ => false,
    };
    (is_so && is_known).then_some(Deed::Session)
}

/// `name OWNER role LOCATION '...'`.
fn new_tablespace(words: &mut Words<'_>) -> Option<Deed> {
    let name = words.name()?;
    words.are(&["OWNER"])?;
    let owner = words.role()?;
    words.are(&["LOCATION"])?;
    Some(Deed::NewTablespace { name, owner, location: words.text()? })
}

/// `name SET (random_page_cost=1.1, seq_page_cost=1)`.
fn alter_tablespace(words: &mut Words<'_>) -> Option<Deed> {
    let name = words.name()?;
    words.are(&["SET"])?;
    let mut options = Vec::new();
    let mut is_more = words.has_sign('(');
    while is_more {
        let option = words.name()?;
        if !words.has_sign('=') {
            return None;
        }
        options.push((option, words.number()?));
        is_more = words.has_sign(',');
    }
    (words.has_sign(')') && !options.is_empty()).then_some(Deed::TablespaceOptions { name, options })
}

/// `name WITH ...`, `name SET ... TO ...`, `name IN DATABASE name SET ... TO ...`.
fn alter_role(words: &mut Words<'_>) -> Option<Deed> {
    let role = words.role()?;
    if words.has("WITH") {
        return Some(Deed::Attributes { role, attributes: attributes(words)? });
    }
    let database = if words.has("IN") {
        words.are(&["DATABASE"])?;
        Some(words.name()?)
    } else {
        None
    };
    words.are(&["SET"])?;
    let name = words.name()?;
    words.are(&["TO"])?;
    let mut values = Vec::new();
    // An empty list is NULL, since version 19.
    let mut is_more = !words.has("NULL");
    while is_more {
        values.push(words.text()?);
        is_more = words.has_sign(',');
    }
    Some(Deed::RoleSetting { role, database, name, values })
}

/// `LOGIN CONNECTION LIMIT 5 PASSWORD '...' VALID UNTIL '...'`, each at most once.
fn attributes(words: &mut Words<'_>) -> Option<Vec<Attribute>> {
    let mut found = Vec::new();
    let mut kinds = Vec::new();
    while !words.0.is_empty() {
        let keyword = words.keyword()?;
        found.push(match keyword {
            "CONNECTION" => {
                words.are(&["LIMIT"])?;
                Attribute::ConnectionLimit(words.number()?.parse().ok()?)
            }
            "PASSWORD" => Attribute::Password(words.text()?),
            "VALID" => {
                words.are(&["UNTIL"])?;
                Attribute::ValidUntil(words.text()?)
            }
            keyword => Attribute::Is(ATTRIBUTES.iter().find(|known| **known == keyword)?),
        });
        let kind = keyword.strip_prefix("NO").unwrap_or(keyword);
        if kinds.contains(&kind) {
            return None;
        }
        kinds.push(kind);
    }
    Some(found)
}

/// `ON ROLE name IS '...'`.
fn said(words: &mut Words<'_>, label_of: Option<Name>) -> Option<Deed> {
    words.are(&["ON"])?;
    let (on, name) = match words.keyword()? {
        "ROLE" => (Object::Role, words.role()?),
        "TABLESPACE" => (Object::Tablespace, words.name()?),
        _ => return None,
    };
    words.are(&["IS"])?;
    Some(Deed::Said { on, name, label_of, text: words.text()? })
}

/// `of TO member WITH ADMIN OPTION, INHERIT FALSE, SET FALSE GRANTED BY name`.
fn membership(words: &mut Words<'_>) -> Option<Deed> {
    let of = words.role()?;
    words.are(&["TO"])?;
    let member = words.role()?;
    let mut options: Vec<MemberOption> = Vec::new();
    let mut is_more = words.has("WITH");
    while is_more {
        let option = match (words.keyword()?, words.keyword()?) {
            ("ADMIN", "OPTION") => MemberOption::Admin,
            ("INHERIT", "TRUE") => MemberOption::Inherit(true),
            ("INHERIT", "FALSE") => MemberOption::Inherit(false),
            ("SET", "TRUE") => MemberOption::Set(true),
            ("SET", "FALSE") => MemberOption::Set(false),
            _ => return None,
        };
        let kind = std::mem::discriminant(&option);
        if options.iter().any(|known| std::mem::discriminant(known) == kind) {
            return None;
        }
        options.push(option);
        is_more = words.has_sign(',');
    }
    let by = if words.has("GRANTED") {
        words.are(&["BY"])?;
        Some(words.role()?)
    } else {
        None
    };
    Some(Deed::Membership { of, member, options, by })
}

/// `CREATE ON TABLESPACE name TO role WITH GRANT OPTION`.
fn right(words: &mut Words<'_>, is_grant: bool) -> Option<Deed> {
    let mut rights = Vec::new();
    let mut is_more = true;
    while is_more {
        rights.push(match words.keyword()? {
            "ALL" => "ALL",
            "CREATE" => "CREATE",
            "SET" => "SET",
            "ALTER" if words.has("SYSTEM") => "ALTER SYSTEM",
            _ => return None,
        });
        is_more = words.has_sign(',');
    }
    words.are(&["ON"])?;
    let on = match words.keyword()? {
        "TABLESPACE" => Object::Tablespace,
        "PARAMETER" => Object::Parameter,
        _ => return None,
    };
    let is_fitting = |right: &&str| match *right {
        "ALL" => rights.len() == 1,
        "CREATE" => on == Object::Tablespace,
        _ => on == Object::Parameter,
    };
    if !rights.iter().all(is_fitting) {
        return None;
    }
    let name = words.name()?;
    words.are(&[if is_grant { "TO" } else { "FROM" }])?;
    let to = if words.has("PUBLIC") { None } else { Some(words.role()?) };
    let may_grant = is_grant && words.has("WITH");
    if may_grant {
        words.are(&["GRANT", "OPTION"])?;
    }
    Some(Deed::Right { is_grant, rights, on, name, to, may_grant })
}

#[cfg(test)]
mod tests;
