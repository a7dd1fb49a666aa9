//! Each statement that is known, and many that are not.
#![allow(clippy::unwrap_used)]

use super::super::{Deed, For, statements};

const UNKNOWN: &[&str] = &[
    "ALTER ROLE SESSION_USER WITH PASSWORD 'pwned'",
    "ALTER ROLE a PASSWORD 'pwned'",
    "ALTER ROLE current_user WITH SUPERUSER",
    "ALTER ROLE \"public\" WITH SUPERUSER",
    "ALTER ROLE none WITH SUPERUSER",
    "ALTER ROLE all WITH SUPERUSER",
    "ALTER ROLE ALL SET work_mem TO '1GB'",
    "ALTER ROLE a RENAME TO b",
    "ALTER ROLE a WITH LOGIN IN ROLE b",
    "ALTER ROLE a WITH LOGIN NOLOGIN",
    "ALTER ROLE a WITH PASSWORD 'x' 'y'",
    "ALTER ROLE a WITH PASSWORD 'x'\n'y'",
    "ALTER ROLE a WITH PASSWORD E'x'\n'y'",
    "ALTER ROLE a WITH PASSWORD NULL",
    "ALTER ROLE a WITH CONNECTION LIMIT 1.5",
    "ALTER ROLE a SET b TO DEFAULT",
    "ALTER ROLE a SET b TO c",
    "ALTER ROLE a SET b FROM CURRENT",
    "ALTER ROLE a SET b = 'c'",
    "ALTER ROLE a SET b TO 'c',",
    "ALTER ROLE a RESET ALL",
    "CREATE ROLE a SUPERUSER",
    "CREATE ROLE a ADMIN b",
    "CREATE ROLE a, b",
    "CREATE ROLE public",
    "CREATE ROLE \"none\"",
    "CREATE USER a",
    "create role a",
    "GRANT a, b TO c",
    "GRANT a TO b, c",
    "GRANT a TO CURRENT_USER",
    "GRANT a TO PUBLIC",
    "GRANT a TO public",
    "GRANT a TO \"public\"",
    "GRANT a TO b WITH",
    "GRANT a TO b WITH ADMIN OPTION, ADMIN OPTION",
    "GRANT a TO b GRANTED BY CURRENT_USER",
    "GRANT SELECT ON t TO a",
    "GRANT CREATE ON PARAMETER work_mem TO a",
    "GRANT SET ON TABLESPACE a TO a",
    "GRANT ALL, CREATE ON TABLESPACE a TO a",
    "GRANT ALL PRIVILEGES ON TABLESPACE a TO a",
    "GRANT SET ON PARAMETER work_mem TO public",
    "GRANT ALL ON TABLESPACE s, t TO a",
    "GRANT ALL ON TABLESPACE s TO a, b",
    "REVOKE ALL ON TABLESPACE s FROM a CASCADE",
    "REVOKE a FROM b",
    "DROP TABLE precious",
    "ROLLBACK",
    "COMMIT",
    "BEGIN",
    "SET ROLE a",
    "SET session_replication_role = replica",
    "SET search_path = 'a'",
    "SET standard_conforming_strings = 'off'",
    "SET default_transaction_read_only = on",
    "SET SESSION AUTHORIZATION DEFAULT",
    "SET SESSION AUTHORIZATION 'a'",
    "RESET ALL",
    "CREATE TABLESPACE s LOCATION '/s'",
    "ALTER TABLESPACE s OWNER TO a",
    "ALTER TABLESPACE s SET ()",
    "ALTER TABLESPACE s SET (a='b')",
    "COMMENT ON TABLE a IS 'x'",
    "COMMENT ON ROLE a IS NULL",
    "SECURITY LABEL ON ROLE a IS 'x'",
    "",
    "CREATE",
];

#[test]
fn nothing_else_is_known() {
    for sql in UNKNOWN {
        // Some are not even read.
        let Ok(found) = statements(&format!("{sql};")) else { continue };
        let is_unknown = |deed: &Deed| matches!(deed, Deed::Unknown(_));
        assert!(matches!(found.as_slice(), [one] if is_unknown(&one.deed)), "{sql}: {found:?}");
    }
    // What is in no quotes is read by its encoding.
    assert!(matches!(known("SET client_encoding = 'LATIN1';\n"), Deed::Session));
    assert!(matches!(known("SET client_encoding = 'SJIS';\nCREATE ROLE \"ü\";\n"), Deed::Unknown(_)));
}

fn known(script: &str) -> Deed {
    statements(script).unwrap().remove(0).deed
}

#[test]
fn what_pg_dumpall_writes_is_known() {
    for sql in [
        "ALTER ROLE a WITH NOSUPERUSER INHERIT LOGIN CONNECTION LIMIT 5 PASSWORD 'x' VALID UNTIL '2030-01-01'",
        "ALTER ROLE a WITH CONNECTION LIMIT -1",
        "ALTER ROLE a IN DATABASE b SET work_mem TO '1MB'",
        "ALTER ROLE a SET search_path TO 'a b', 'C', E'b\\\\s'",
        "ALTER ROLE \"current_user\" SET search_path TO NULL",
        "GRANT a TO b",
        "GRANT a TO b WITH ADMIN OPTION, INHERIT FALSE, SET TRUE GRANTED BY \"by\"",
        "GRANT SET, ALTER SYSTEM ON PARAMETER work_mem TO a WITH GRANT OPTION",
        "GRANT ALL ON PARAMETER \"app.x\" TO PUBLIC",
        "REVOKE ALL ON TABLESPACE s FROM PUBLIC",
        "ALTER TABLESPACE s SET (random_page_cost=1.1, seq_page_cost=2)",
        "SECURITY LABEL FOR p ON TABLESPACE s IS 'x'",
        "COMMENT ON TABLESPACE s IS 'x'",
        "CREATE TABLESPACE s OWNER a LOCATION ''",
        "SET SESSION AUTHORIZATION a",
        "RESET SESSION AUTHORIZATION",
    ] {
        // It is written as it was read.
        assert_eq!(known(&format!("{sql};")).sql(For::Comparison), sql);
    }
    let by: Vec<Option<String>> = statements(
        "SET SESSION AUTHORIZATION a;GRANT CREATE ON TABLESPACE s TO b;RESET SESSION AUTHORIZATION;CREATE ROLE c;",
    )
    .unwrap()
    .into_iter()
    .map(|statement| statement.by.map(|name| name.text))
    .collect();
    assert_eq!(by, [Some("a".to_owned()), Some("a".to_owned()), None, None]);
}
