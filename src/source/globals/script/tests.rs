//! What is read, and what is written of it.
#![allow(clippy::unwrap_used)]

use super::*;

fn sql(script: &str, reader: For) -> Vec<String> {
    statements(script).unwrap().iter().map(|statement| statement.deed.sql(reader)).collect()
}

#[test]
fn a_script_is_taken_apart_whatever_names_hold() {
    let script = "--\n-- a; comment '\n--\n\n\\restrict abC1\n\nSET client_encoding = 'UTF8';\n\
        CREATE ROLE \"odd \"\"; DROP ROLE x; --\";\nALTER ROLE plain WITH LOGIN PASSWORD 'a;''b';\n\
        ALTER ROLE plain SET search_path TO E'a\\\\'';b', 'c';\nCREATE ROLE \"new\n-- line\\! x\";\n\
        GRANT \"a TO b\" TO plain WITH ADMIN OPTION, INHERIT TRUE GRANTED BY postgres;\n\
        COMMENT ON ROLE plain IS 'x\n--;y';\nSECURITY LABEL FOR p ON ROLE plain IS 'x';\n\
        CREATE TABLESPACE \"T s\" OWNER plain LOCATION '/x;y';\n\n\\unrestrict abC1\n\n--\n-- end";
    let expected = [
        "",
        "CREATE ROLE \"odd \"\"; DROP ROLE x; --\"",
        "ALTER ROLE \"plain\" WITH LOGIN",
        "ALTER ROLE \"plain\" SET \"search_path\" TO E'a\\\\'';b', 'c'",
        "CREATE ROLE \"new\n-- line\\! x\"",
        "GRANT \"a TO b\" TO \"plain\" WITH ADMIN OPTION, INHERIT TRUE GRANTED BY \"postgres\"",
        "COMMENT ON ROLE \"plain\" IS 'x\n--;y'",
        "SECURITY LABEL FOR \"p\" ON ROLE \"plain\" IS 'x'",
        "CREATE TABLESPACE \"T s\" OWNER \"plain\" LOCATION '/x;y'",
    ];
    assert_eq!(sql(script, For::Server), expected);
    let lines: Vec<usize> = statements(script).unwrap().iter().map(|statement| statement.line).collect();
    assert_eq!(lines, [7, 8, 9, 10, 11, 13, 14, 16, 17]);
    let found = statements(script).unwrap();
    assert_eq!(found.get(2).unwrap().deed.password(), Some(("plain", "a;'b")));
    assert_eq!(statements("\n--x").unwrap(), []);
}

/// What PostgreSQL reads otherwise than it looks, and what it does not read at all.
#[test]
fn what_pg_dumpall_does_not_write_is_no_script() {
    for script in [
        "-- x\rDROP ROLE a;\n",
        "CREATE ROLE a;\r\n",
        "CREATE\tROLE a;",
        "CREATE ROLE\u{a0}a;",
        "CREATE ROLE \u{212a}a;",
        "CREATE ROLE ünder;",
        "CREATE ROLE a -- x\n;",
        "CREATE ROLE a; -- x",
        " -- x\nCREATE ROLE a;",
        "/* x */ CREATE ROLE a;",
        "CREATE ROLE /* x */ a;",
        "CREATE ROLE Plain;",
        "Create ROLE a;",
        "CREATE ROLE U&\"\\0061\";",
        "CREATE ROLE \"\";",
        "CREATE ROLE \"a\0b\";",
        "CREATE ROLE \"unended;",
        "CREATE ROLE unended",
        "ALTER ROLE a WITH PASSWORD 'a\\'b';",
        "ALTER ROLE a WITH PASSWORD E'a\\'b';",
        "ALTER ROLE a WITH PASSWORD E'\\x41';",
        "ALTER ROLE a WITH PASSWORD e'a';",
        "ALTER ROLE a WITH PASSWORD $$a$$;",
        "ALTER ROLE a WITH PASSWORD $x$a$x$;",
        "ALTER ROLE a WITH PASSWORD'a';",
        "ALTER ROLE a SET b TO 'a'\"c\";",
        "ALTER ROLE a SET b.c TO 'a';",
        "\\! id\n",
        "\\restrict a b\n",
        "\\restrict a\\! id\n",
        "CREATE ROLE\n\\restrict a\n b;",
        "CREATE ROLE a; \\restrict a\n",
        "ALTER TABLESPACE a SET (b=1-1);",
        "ALTER TABLESPACE a SET (b=0x);",
        "ALTER TABLESPACE a SET (b=0x1g);",
        "ALTER TABLESPACE a SET (b=0x100000000);",
    ] {
        assert!(statements(script).is_err(), "{script:?}: {:?}", statements(script));
    }
    // What is longer than a name can be is another's, cut off.
    let longest = "x".repeat(63);
    assert!(statements(&format!("CREATE ROLE {longest};")).is_ok());
    assert!(statements(&format!("CREATE ROLE {longest}x;")).is_err());
    assert!(statements(&format!("CREATE ROLE \"{longest}x\";")).is_err());
    let error = statements("CREATE ROLE a;\n\nCREATE ROLE b;\r\n").unwrap_err().to_string();
    assert_eq!(error, "line 3: it holds what pg_dumpall does not write: `\\r`");
}

/// As it was set, which servers before 16 don't read back.
#[test]
fn a_number_may_be_hexadecimal() {
    let script = "ALTER TABLESPACE a SET (effective_io_concurrency=0x10, random_page_cost=0XfF);";
    let read = "ALTER TABLESPACE \"a\" SET (\"effective_io_concurrency\"=16, \"random_page_cost\"=255)";
    assert_eq!(sql(script, For::Server), [read]);
}

#[test]
fn passwords_are_hidden_and_nothing_else() {
    let script = "ALTER ROLE \"PASSWORD\" WITH LOGIN PASSWORD 'SCRAM-SHA-256$4096:x''y' VALID UNTIL '2030-01-01';\n\
        ALTER ROLE a SET \"app.jwt_secret\" TO 's3cret';\nALTER ROLE a SET work_mem TO '7MB';\n\
        COMMENT ON ROLE a IS 'its token is x';\nALTER ROLE a SET search_path TO 'a', 'b c';\n";
    let expected = [
        "ALTER ROLE \"PASSWORD\" WITH LOGIN PASSWORD '(hidden)' VALID UNTIL '2030-01-01'",
        "ALTER ROLE a SET \"app.jwt_secret\" TO '(hidden)'",
        "ALTER ROLE a SET work_mem TO '7MB'",
        "COMMENT ON ROLE a IS '(hidden)'",
        "ALTER ROLE a SET search_path TO 'a', 'b c'",
    ];
    assert_eq!(sql(script, For::Person), expected);
    assert_eq!(sql(script, For::Comparison).join(";\n") + ";\n", script);
    assert!(sql(script, For::Server).iter().all(|sql| !sql.contains("PASSWORD '")));
}
