//! What every session is made to be before anything else is asked in it. Whoever owns a database sets what its
//! sessions begin with (`ALTER DATABASE ... SET`), a `search_path` with functions and operators of their own in it
//! too. It knows nothing of what is asked.

use postgres::Client;

use super::error::Failure;

/// The very first statement: from here on only `pg_catalog` is searched. It has no operator, no relation and no
/// function that is looked for. What follows may take longer than the shortest of time limits; the second one is
/// known since version 17.
const SEARCH_PATH: &str = "\
SELECT pg_catalog.set_config('search_path', '', false), pg_catalog.set_config('statement_timeout', '60s', false),
    CASE WHEN pg_catalog.current_setting('transaction_timeout', true) IS NOT NULL
        THEN pg_catalog.set_config('transaction_timeout', '0', false) END";

/// A role that the database sets for all its sessions is none of ours; one that our own role is set to is.
const ROLE: &str = "\
SELECT pg_catalog.set_config('role', 'none', false)
FROM pg_catalog.pg_database d JOIN pg_catalog.pg_db_role_setting s ON s.setdatabase = d.oid AND s.setrole = 0
WHERE d.datname = pg_catalog.current_database()
    AND EXISTS (SELECT FROM pg_catalog.unnest(s.setconfig) AS one WHERE pg_catalog.left(one, 5) = 'role=')
    AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_roles r JOIN pg_catalog.pg_db_role_setting o ON o.setrole = r.oid,
            pg_catalog.unnest(o.setconfig) AS one
        WHERE r.rolname = SESSION_USER AND o.setdatabase IN (0, d.oid) AND pg_catalog.left(one, 5) = 'role='
    )";

/// What changes the meaning, the text or the end of a statement, and may be set by anybody. `default_transaction_read_only`
/// stays: it refuses in words. Where tables and their parts are kept, how a query is planned and how
/// surely a commit is written is for those to say who run the server.
const SETTINGS: [(&str, &str); 18] = [
    // How our statements are read.
    ("standard_conforming_strings", "on"),
    ("client_encoding", "UTF8"),
    ("transform_null_equals", "off"),
    ("array_nulls", "on"),
    // What they do: rows are never left out in silence, nothing is read through a view of somebody's, who waits
    // for a lock sees what its holder wrote, and a table can be updated.
    ("row_security", "off"),
    ("restrict_nonsystem_relation_kind", "view, foreign-table"),
    ("default_transaction_isolation", "read committed"),
    ("default_table_access_method", "heap"),
    // How long they and the session may take.
    ("lock_timeout", "30s"),
    ("idle_in_transaction_session_timeout", "0"),
    ("idle_session_timeout", "0"),
    // A refusal ends no session.
    ("exit_on_error", "off"),
    ("client_min_messages", "notice"),
    // What the text of a value looks like.
    ("datestyle", "ISO, MDY"),
    ("intervalstyle", "postgres"),
    ("extra_float_digits", "1"),
    ("bytea_output", "hex"),
    ("quote_all_identifiers", "off"),
];

/// Sets what a session must be, in one round trip. `options` are those of the connection parameters: a role that
/// is named there is meant.
///
/// # Errors
/// When the server refuses or is gone.
pub(super) fn pin(client: &mut Client, options: Option<&str>) -> Result<(), Failure> {
    client.simple_query(&statements(options)).map(drop).map_err(|error| Failure::of(&error))
}

fn statements(options: Option<&str>) -> String {
    let wanted: Vec<String> = SETTINGS.iter().map(|(name, value)| format!("('{name}', '{value}')")).collect();
    let settings = format!(
        "SELECT pg_catalog.set_config(s.name, v.wanted, false) FROM (VALUES {}) AS v (name, wanted) \
         JOIN pg_catalog.pg_settings s ON pg_catalog.lower(s.name COLLATE pg_catalog.\"C\") = v.name WHERE s.context = 'user'",
        wanted.join(", ")
    );
    let role = if options.is_some_and(names_a_role) { "" } else { ROLE };
    [SEARCH_PATH, role, &settings].join(";\n")
}

/// Whether there is a `-c role=...` or `--role=...` among the options for a server.
fn names_a_role(options: &str) -> bool {
    options.split_whitespace().any(|word| {
        let word = word.trim_start_matches("-c").trim_start_matches('-');
        word.split_once('=').is_some_and(|(name, _)| name.eq_ignore_ascii_case("role"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_among_the_options_is_found() {
        for options in ["-c role=app", "-crole=app", "--role=app", "-c work_mem=1MB -c ROLE=app"] {
            assert!(names_a_role(options), "{options}");
        }
        for options in ["", "-c session_replication_role=replica", "-c search_path=role", "--role"] {
            assert!(!names_a_role(options), "{options}");
        }
    }

    #[test]
    fn the_path_is_pinned_before_anything_else() {
        assert!(statements(None).starts_with(SEARCH_PATH));
        assert!(!statements(Some("-c role=app")).contains("'role'"));
    }
}
