//! No name in our SQL is looked for: functions, types and relations stand with their schema.

use std::collections::BTreeSet;
use std::path::Path;

use super::sql::{Text, Token, is_sql, literals, texts, tokens};
use crate::support::cluster;

/// Never looked at: migrations that have run are not changed, and run with a search path of the schema's own, once it
/// is known to be ours.
const MIGRATIONS: &str = "src/catalog/migrations";

/// What SQL's grammar itself knows before a parenthesis; nobody can put anything in its place.
const GRAMMAR: &str = "all and any array as between by case cast check coalesce conflict distinct else except exists \
    extract filter from greatest grouping having in interval intersect into join key lateral least \
    not nullif on operator or over overlay position row select set some substring then using values \
    when";

/// Types that the grammar knows, and takes from `pg_catalog`.
const TYPES: &str = "bigint bit boolean char character decimal double float int integer interval numeric real \
    smallint timestamp varchar";

fn is_among(name: &str, list: &str) -> bool {
    list.split(' ').any(|one| one == name)
}

/// What is wrong with a text, in words. `functions` are those that the server has.
fn faults(text: &str, functions: &BTreeSet<String>) -> Vec<String> {
    let tokens = tokens(text);
    let is_sql = is_sql(&tokens);
    let mut faults = unqualified_calls(text, &tokens, is_sql, functions);
    if is_sql {
        faults.extend(unqualified_types(&tokens));
        faults.extend(unqualified_relations(&tokens));
    }
    faults
}

fn unqualified_calls(
    text: &str,
    tokens: &[Token],
    is_sql: bool,
    functions: &BTreeSet<String>,
) -> Vec<String> {
    let mut faults = Vec::new();
    for (at, pair) in tokens.windows(2).enumerate() {
        let [Token::Word(word), Token::Other('(')] = pair else { continue };
        let before = at.checked_sub(1).map(|at| &tokens[at]);
        let name = word.to_lowercase();
        if before == Some(&Token::Other('.')) || word.starts_with('{') || is_among(&name, GRAMMAR) {
            continue;
        }
        // `INSERT INTO t (a)`, `WITH t (a)`, `AS t (a)`, `VARCHAR(3)`.
        let names = ["INTO", "WITH", "RECURSIVE", "AS"];
        if before.is_some_and(|before| names.iter().any(|name| before.is(name)))
            && !text.contains(&format!("{word}("))
        {
            continue;
        }
        // `varchar(255)`.
        if is_among(&name, TYPES) || !functions.contains(&name) {
            continue;
        }
        if is_sql || text.contains(&format!("{word}(")) {
            faults.push(format!("the function `{word}` is looked for"));
        }
    }
    faults
}

fn unqualified_types(tokens: &[Token]) -> Vec<String> {
    let mut faults = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let is_cast = *token == Token::Operator("::".to_owned());
        // `CAST (x AS text)`, and the types of columns that a function is said to give.
        let is_as = token.is("AS") && tokens.get(at + 2) == Some(&Token::Other(')'));
        let is_cast = is_cast || is_as && tokens.iter().take(at).any(|token| token.is("CAST"));
        let Some(Token::Word(name)) = tokens.get(at + 1).filter(|_| is_cast) else { continue };
        let is_qualified = tokens.get(at + 2) == Some(&Token::Other('.'));
        if !is_qualified && !is_among(&name.to_lowercase(), TYPES) {
            faults.push(format!("the type `{name}` is looked for"));
        }
    }
    faults
}

/// The names that a statement gives to parts of its own.
fn own_names(tokens: &[Token]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let is_with = tokens.iter().any(|token| token.is("WITH"));
    for (at, token) in tokens.iter().enumerate() {
        let Some(name) = token.word().filter(|_| is_with) else { continue };
        let before = at.checked_sub(1).map(|at| &tokens[at]);
        let begins = before.is_some_and(|before| {
            before.is("WITH") || before.is("RECURSIVE") || *before == Token::Other(',')
        });
        let open = tokens.get(at + 1) == Some(&Token::Other('('));
        if begins && (open || tokens.get(at + 1).is_some_and(|token| token.is("AS"))) {
            names.insert(name.to_owned());
        }
    }
    names
}

fn unqualified_relations(tokens: &[Token]) -> Vec<String> {
    let own = own_names(tokens);
    let mut faults = Vec::new();
    // The lists after FROM that are open, by their depth; what else is in parentheses.
    let (mut depth, mut lists, mut openers): (usize, Vec<usize>, Vec<String>) = (0, Vec::new(), Vec::new());
    for (at, token) in tokens.iter().enumerate() {
        let before = |keyword: &str| at > 0 && tokens[at - 1].is(keyword);
        let mut is_expected = false;
        match token {
            Token::Other('(') => {
                depth += 1;
                let opener = at.checked_sub(1).and_then(|at| tokens[at].word()).unwrap_or_default();
                openers.push(opener.to_lowercase());
            }
            Token::Other(')') => {
                depth = depth.saturating_sub(1);
                openers.pop();
                lists.retain(|list| *list <= depth);
            }
            Token::Other(';') => lists.clear(),
            Token::Other(',') => is_expected = lists.contains(&depth),
            Token::Word(word) => match word.as_str() {
                "FROM" => {
                    let is_part = openers.last().is_some_and(|opener| {
                        ["extract", "substring", "trim", "overlay"].contains(&opener.as_str())
                    });
                    is_expected = !is_part && !before("DISTINCT");
                    if is_expected {
                        lists.push(depth);
                    }
                }
                "JOIN" | "INTO" => is_expected = true,
                "UPDATE" => is_expected = !before("FOR") && !before("DO") && !before("ON"),
                "WHERE" | "ORDER" | "GROUP" | "LIMIT" | "LOOP" | "SET" | "UNION" | "SELECT" | "VALUES"
                | "RETURNING" => {
                    lists.retain(|list| *list != depth);
                }
                _ => {}
            },
            _ => {}
        }
        if is_expected {
            let rest = tokens[at + 1..].iter().skip_while(|token| token.is("ONLY") || token.is("LATERAL"));
            let rest: Vec<&Token> = rest.take(2).collect();
            let Some(Token::Word(name)) = rest.first() else { continue };
            let is_free =
                rest.get(1).is_none_or(|next| **next != Token::Other('.') && **next != Token::Other('('));
            let is_name = name.starts_with(|letter: char| letter.is_ascii_lowercase());
            // A column list may stand after it: a name before a parenthesis is a function but for `INTO t (a)`.
            let is_table = tokens[at].is("INTO") && rest.get(1) == Some(&&Token::Other('('));
            if is_name && (is_free || is_table) && !own.contains(name) {
                faults.push(format!("the relation `{name}` is looked for"));
            }
        }
    }
    faults
}

/// The names of all functions of the server.
pub(super) fn functions() -> BTreeSet<String> {
    let asked = "SELECT DISTINCT proname::text FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace";
    let rows = cluster().connect("postgres").query(asked, &[]).unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[test]
fn every_name_in_our_sql_stands_with_its_schema() {
    let functions = functions();
    let mut found = Vec::new();
    for Text { file, line, body } in texts() {
        let path = file.to_str().unwrap();
        if path.starts_with(MIGRATIONS) {
            continue;
        }
        found.extend(
            faults(&body, &functions).into_iter().map(|fault| format!("{}:{line}: {fault}", file.display())),
        );
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

/// The check can fail: it finds what it looks for in texts made for it, and nothing in others.
#[test]
fn the_check_finds_what_it_looks_for() {
    let functions = functions();
    for sql in [
        "SELECT current_setting('x')",
        "SELECT pg_catalog.lower(Version())",
        "left(application_name, 3) = $1",
        "pid <> pg_backend_pid()",
        "SELECT $1::text",
        "d.provider::regclass",
        "SELECT CAST(a AS text)",
        "SELECT a FROM pg_class c",
        "SELECT a FROM pg_catalog.pg_class c, pg_namespace n",
        "SELECT a FROM pg_catalog.pg_class c JOIN pg_namespace n ON true",
        "SELECT a FROM pg_catalog.unnest(b) c JOIN ONLY d ON true",
        "INSERT INTO alert (id) VALUES ($1)",
        "DELETE FROM delivery WHERE true",
        "UPDATE backup SET a = 1",
        "WITH made AS (SELECT 1) SELECT a FROM made JOIN other ON true",
    ] {
        assert_eq!(faults(sql, &functions).len(), 1, "{sql}: {:?}", faults(sql, &functions));
    }
    for sql in [
        "SELECT a::pg_catalog.text, coalesce(b, 0)::bigint FROM pg_catalog.pg_class c WHERE c.a IN (1)",
        "WITH made (a, b) AS (SELECT 1, pg_catalog.now()) SELECT a FROM made LEFT JOIN {schema}.alert b USING (a)",
        "INSERT INTO {schema}.alert (id) VALUES ($1) ON CONFLICT (id) DO UPDATE SET id = excluded.id",
        "SELECT extract(epoch FROM a), b IS DISTINCT FROM c FROM \"s\".\"t\" FOR UPDATE",
        "CREATE TABLE {schema}.a (b varchar(255)); FOR one IN SELECT b FROM pg_temp.a LOOP f = 1, g = h; END LOOP",
        "cannot read the catalog (see `format (x)` of it)",
        "the time (in seconds) from now on, and text",
    ] {
        assert_eq!(faults(sql, &functions), [""; 0], "{sql}");
    }
    let source =
        "let a = \"SELECT \\\"x\\\" \\\n        FROM t\"; // \"no\"\nlet b = '\"'; let c = r#\"raw \"x\"\"#;";
    let texts = literals(Path::new("a.rs"), source);
    let texts: Vec<(usize, &str)> = texts.iter().map(|text| (text.line, text.body.as_str())).collect();
    assert_eq!(texts, [(1, "SELECT \"x\" FROM t"), (3, "raw \"x\"")]);
}
