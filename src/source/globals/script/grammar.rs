//! The statements that `pg_dumpall --globals-only` writes, and no others: what is none of these is known as nothing, so that
//! an archive can't have anything else done. Each names one role or one tablespace, as it is written there.

use super::{About, Token, Word};

/// What stands for a role and is none.
const NO_NAMES: [&str; 6] = ["ALL", "CURRENT_ROLE", "CURRENT_USER", "SESSION_USER", "NONE", "USER"];
/// What a session is told before anything else.
const OF_SESSION: [&str; 5] = [
    "default_transaction_read_only",
    "client_encoding",
    "standard_conforming_strings",
    "escape_string_warning",
    "search_path",
];
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
/// What a right on a parameter or a tablespace is made of.
const RIGHTS: [&str; 9] = ["SET", "ALTER", "SYSTEM", "ALL", "PRIVILEGES", "CREATE", "GRANT", "OPTION", "FOR"];
/// What follows the member in a membership.
const OF_MEMBERSHIP: [&str; 10] =
    ["WITH", "ADMIN", "OPTION", "INHERIT", "SET", "TRUE", "FALSE", ",", "GRANTED", "BY"];

/// What a statement is about.
pub(super) fn about(words: &[Word]) -> About {
    let found = match words {
        [set, rest @ ..] if set.is("SET") => session(rest),
        [reset, session, authorization]
            if reset.is("RESET") && session.is("SESSION") && authorization.is("AUTHORIZATION") =>
        {
            Some(About::Authorization(None))
        }
        [create, role, name] if create.is("CREATE") && role.is("ROLE") => one(name).map(About::NewRole),
        [alter, role, name, rest @ ..] if alter.is("ALTER") && role.is("ROLE") => {
            one(name).filter(|_| is_attributes(rest) || is_setting(rest)).map(About::Role)
        }
        [create, tablespace, name, owner, of, location, Word { token: Token::Text, .. }]
            if create.is("CREATE")
                && tablespace.is("TABLESPACE")
                && owner.is("OWNER")
                && one(of).is_some()
                && location.is("LOCATION") =>
        {
            one(name).map(About::NewTablespace)
        }
        [alter, tablespace, name, set, open, .., close]
            if alter.is("ALTER")
                && tablespace.is("TABLESPACE")
                && set.is("SET")
                && open.is("(")
                && close.is(")") =>
        {
            one(name).map(About::Tablespace)
        }
        [comment, rest @ ..] if comment.is("COMMENT") => said(rest),
        [security, label, by, _, rest @ ..]
            if security.is("SECURITY") && label.is("LABEL") && by.is("FOR") =>
        {
            said(rest)
        }
        [grant, rest @ ..] if grant.is("GRANT") || grant.is("REVOKE") => {
            membership(rest).or_else(|| right(rest))
        }
        _ => None,
    };
    found.unwrap_or(About::Unknown)
}

/// The name of one role or tablespace.
fn one(word: &Word) -> Option<String> {
    let stands_for_others = NO_NAMES.iter().any(|keyword| word.is(keyword));
    word.name().filter(|name| !stands_for_others && !name.is_empty())
}

/// `client_encoding = 'UTF8'`, `SESSION AUTHORIZATION name`.
fn session(words: &[Word]) -> Option<About> {
    match words {
        [session, authorization, name] if session.is("SESSION") && authorization.is("AUTHORIZATION") => {
            one(name).map(|name| About::Authorization(Some(name)))
        }
        [name, equals, _] if equals.is("=") || equals.is("TO") => {
            let is_of_session = OF_SESSION.iter().any(|known| name.is(known));
            is_of_session.then_some(About::Session)
        }
        _ => None,
    }
}

/// `WITH LOGIN CONNECTION LIMIT 5 PASSWORD '...' VALID UNTIL '...'`.
fn is_attributes(words: &[Word]) -> bool {
    let [with, rest @ ..] = words else { return false };
    let is_text = |word: &Word| word.token == Token::Text;
    let mut rest = rest;
    while let Some((word, after)) = rest.split_first() {
        rest = match after {
            _ if ATTRIBUTES.iter().any(|attribute| word.is(attribute)) => after,
            [limit, minus, number, after @ ..]
                if word.is("CONNECTION") && limit.is("LIMIT") && minus.is("-") && is_number(number) =>
            {
                after
            }
            [limit, number, after @ ..]
                if word.is("CONNECTION") && limit.is("LIMIT") && is_number(number) =>
            {
                after
            }
            [text, after @ ..] if word.is("PASSWORD") && is_text(text) => after,
            [until, text, after @ ..] if word.is("VALID") && until.is("UNTIL") && is_text(text) => after,
            _ => return false,
        };
    }
    with.is("WITH")
}

fn is_number(word: &Word) -> bool {
    word.name().is_some_and(|name| name.chars().all(|c| c.is_ascii_digit()))
}

/// `SET name TO value, value`, perhaps `IN DATABASE name` before it.
fn is_setting(words: &[Word]) -> bool {
    let words = match words {
        [in_, database, name, rest @ ..]
            if in_.is("IN") && database.is("DATABASE") && one(name).is_some() =>
        {
            rest
        }
        words => words,
    };
    let [set, name, to, values @ ..] = words else { return false };
    let is_value = |word: &Word| word.token != Token::Sign('(') && word.token != Token::Sign(')');
    let is_head = set.is("SET") && name.name().is_some() && (to.is("TO") || to.is("="));
    is_head && !values.is_empty() && values.iter().all(is_value)
}

/// `ON ROLE name IS '...'`.
fn said(words: &[Word]) -> Option<About> {
    let [on, kind, name, is, Word { token: Token::Text, .. }] = words else { return None };
    if !on.is("ON") || !is.is("IS") {
        return None;
    }
    match kind {
        kind if kind.is("ROLE") => one(name).map(About::Role),
        kind if kind.is("TABLESPACE") => one(name).map(About::Tablespace),
        _ => None,
    }
}

/// `of TO member WITH ADMIN OPTION GRANTED BY name`.
fn membership(words: &[Word]) -> Option<About> {
    let [of, to, member, rest @ ..] = words else { return None };
    let is_known = |word: &Word| OF_MEMBERSHIP.iter().any(|keyword| word.is(keyword));
    let rest = match rest {
        [before @ .., by, grantor] if by.is("BY") && one(grantor).is_some() => before,
        rest => rest,
    };
    let (of, member) = (one(of)?, one(member)?);
    (to.is("TO") && rest.iter().all(is_known)).then_some(About::Membership { of, member })
}

/// `CREATE ON TABLESPACE name TO role WITH GRANT OPTION`.
fn right(words: &[Word]) -> Option<About> {
    let on = words.iter().position(|word| word.is("ON"))?;
    let (rights, rest) = words.split_at_checked(on)?;
    let is_right = |word: &Word| word.is(",") || RIGHTS.iter().any(|right| word.is(right));
    let [_, kind, name, to, role, end @ ..] = rest else { return None };
    let is_end = match end {
        [] => true,
        [with, grant, option] => with.is("WITH") && grant.is("GRANT") && option.is("OPTION"),
        [cascade] => cascade.is("CASCADE"),
        _ => false,
    };
    if !rights.iter().all(is_right) || !(to.is("TO") || to.is("FROM")) || !is_end {
        return None;
    }
    let (name, role) = (one(name)?, one(role)?);
    match kind {
        kind if kind.is("TABLESPACE") => Some(About::Tablespace(name)),
        kind if kind.is("PARAMETER") => Some(About::Parameter { role }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{About, statements};

    #[test]
    fn nothing_else_is_known() {
        for sql in [
            "ALTER ROLE SESSION_USER PASSWORD 'pwned'",
            "ALTER ROLE current_user WITH SUPERUSER",
            "ALTER ROLE U&\"\\0076ictim\" WITH SUPERUSER",
            "ALTER ROLE ALL SET work_mem TO '1GB'",
            "ALTER ROLE a RENAME TO b",
            "ALTER ROLE a WITH LOGIN IN ROLE b",
            "ALTER ROLE a WITH PASSWORD U&'x'",
            "CREATE ROLE a SUPERUSER",
            "CREATE ROLE a ADMIN b",
            "CREATE ROLE a, b",
            "CREATE USER a",
            "GRANT a, b TO c",
            "GRANT a TO b, c",
            "GRANT a TO CURRENT_USER",
            "GRANT SELECT ON t TO a",
            "GRANT ALL ON TABLESPACE s, t TO a",
            "GRANT ALL ON TABLESPACE s TO a, b",
            "DROP TABLE precious",
            "ROLLBACK",
            "COMMIT",
            "BEGIN",
            "SELECT 1/0",
            "SET ROLE a",
            "SET session_replication_role = replica",
            "RESET ALL",
            "COPY (SELECT 1) TO PROGRAM 'id'",
            "CREATE TABLESPACE s LOCATION '/s'",
            "ALTER TABLESPACE s OWNER TO a",
            "COMMENT ON TABLE a IS 'x'",
            "DO $$ BEGIN END $$",
        ] {
            let found = statements(sql);
            assert!(matches!(found.as_slice(), [one] if one.about == About::Unknown), "{sql}: {found:?}");
        }
    }

    #[test]
    fn what_pg_dumpall_writes_is_known() {
        for sql in [
            "ALTER ROLE a WITH NOSUPERUSER INHERIT LOGIN CONNECTION LIMIT 5 PASSWORD 'x' VALID UNTIL '2030-01-01'",
            "ALTER ROLE a WITH CONNECTION LIMIT -1",
            "ALTER ROLE a IN DATABASE b SET work_mem TO '1MB'",
            "ALTER ROLE a SET search_path TO 'a b', \"C\", public",
            "GRANT a TO b WITH ADMIN OPTION, INHERIT FALSE, SET TRUE GRANTED BY \"by\"",
            "GRANT SET, ALTER SYSTEM ON PARAMETER work_mem TO a WITH GRANT OPTION",
            "REVOKE ALL ON TABLESPACE s FROM PUBLIC",
            "ALTER TABLESPACE s SET (random_page_cost = 1.1)",
            "SECURITY LABEL FOR 'p' ON TABLESPACE s IS 'x'",
            "SET SESSION AUTHORIZATION a",
        ] {
            let found = statements(sql);
            assert!(matches!(found.as_slice(), [one] if one.about != About::Unknown), "{sql}: {found:?}");
        }
        let by: Vec<Option<String>> = statements(
            "SET SESSION AUTHORIZATION a;GRANT CREATE ON TABLESPACE s TO b;RESET SESSION AUTHORIZATION;CREATE ROLE c",
        )
        .into_iter()
        .map(|statement| statement.by)
        .collect();
        assert_eq!(by, [Some("a".to_owned()), Some("a".to_owned()), None, None]);
    }
}
