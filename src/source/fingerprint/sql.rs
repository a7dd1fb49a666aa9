//! The statements of a fingerprint. It runs none of them.

/// How long a lock is waited for: a table behind a queued `ALTER` is skipped rather than waited for.
pub(super) const LOCK_TIME: &str = "2s";
/// A look into the system's own tables takes no longer.
const USUAL_TIME: &str = "60s";

/// From this version on a server says all that a sequence knows of itself.
pub(super) const SEQUENCE_DATA_SINCE: u32 = 180_000;

/// What every session must have in common, whatever roles and databases have set: first what shapes the
/// text of a value, then what a session that works beside others must not do.
const SETTINGS: [(&str, &str); 21] = [
    ("search_path", ""),
    ("datestyle", "ISO, MDY"),
    ("intervalstyle", "postgres"),
    ("timezone", "UTC"),
    ("extra_float_digits", "3"),
    ("bytea_output", "hex"),
    ("xmlbinary", "base64"),
    ("lc_monetary", "C"),
    ("client_encoding", "UTF8"),
    ("quote_all_identifiers", "off"),
    ("standard_conforming_strings", "on"),
    ("row_security", "off"),
    ("statement_timeout", USUAL_TIME),
    ("lock_timeout", LOCK_TIME),
    ("idle_in_transaction_session_timeout", "0"),
    ("idle_session_timeout", "0"),
    ("transaction_timeout", "0"),
    ("max_parallel_workers_per_gather", "0"),
    ("jit", "off"),
    // A view that stands where something else was listed runs nothing of its owner's.
    ("restrict_nonsystem_relation_kind", "view, foreign-table"),
    // A count whose client was killed ends too.
    ("client_connection_check_interval", "2s"),
];

/// Version and facts of the database; what only newer servers have is read by way of JSON.
pub(super) const DATABASE: &str = "SELECT pg_catalog.current_setting('server_version_num'), \
    pg_catalog.pg_encoding_to_char(d.encoding), d.datcollate, d.datctype, \
    pg_catalog.to_jsonb(d)->>'datlocprovider', \
    coalesce(pg_catalog.to_jsonb(d)->>'datlocale', pg_catalog.to_jsonb(d)->>'daticulocale'), \
    pg_catalog.to_jsonb(d)->>'daticurules' \
    FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()";

pub(super) const EXTENSIONS: &str = "SELECT extname, extversion FROM pg_catalog.pg_extension";

/// Begins a transaction, and sets what this server knows of the settings until it ends.
pub(super) fn begin() -> String {
    let values: Vec<String> = SETTINGS.iter().map(|(name, value)| format!("('{name}', '{value}')")).collect();
    format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL search_path = ''; \
         SET LOCAL statement_timeout = '{USUAL_TIME}'; \
         SELECT pg_catalog.set_config(s.name, v.value, true) FROM (VALUES {}) v(name, value) \
         JOIN pg_catalog.pg_settings s ON pg_catalog.lower(s.name COLLATE pg_catalog.\"C\") = v.name \
         WHERE s.name <> 'client_connection_check_interval' OR pg_catalog.version() LIKE '%linux%'",
        values.join(", ")
    )
}

/// The name of a table as people read it: each part in quotes where it has more than small letters, digits
/// and underscores. Unlike the server's own `quote_ident` it does not change with the list of reserved words.
pub(super) fn shown(schema: &str, name: &str) -> String {
    let part = |part: &str| {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let is_plain = part.chars().all(plain) && !part.starts_with(|c: char| c.is_ascii_digit());
        if is_plain && !part.is_empty() { part.to_owned() } else { identifier(part) }
    };
    format!("{}.{}", part(schema), part(name))
}

/// The name of a table as SQL takes it.
pub(super) fn quoted(schema: &str, name: &str) -> String {
    format!("{}.{}", identifier(schema), identifier(name))
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// That the namespace `n` is dumped.
fn is_dumped(without: Option<&str>) -> String {
    let but = without
        .map_or_else(String::new, |schema| format!(" AND n.nspname <> '{}'", schema.replace('\'', "''")));
    format!("pg_catalog.left(n.nspname, 3) <> 'pg_' AND n.nspname <> 'information_schema'{but}")
}

/// That something is no part of an extension.
fn is_own(catalog: &str, oid: &str) -> String {
    has_no_dependency(catalog, oid, "'e'")
}

fn has_no_dependency(catalog: &str, oid: &str, types: &str) -> String {
    format!(
        "NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.classid = 'pg_catalog.{catalog}'::pg_catalog.regclass \
         AND e.objid = {oid} AND e.deptype IN ({types}))"
    )
}

/// Which column of a table is the cheapest to read and send: one of a short fixed length whose text is made
/// quickly, then another of fixed length, then a short one, then any.
const CHEAPEST: &str = "CASE \
    WHEN a.atttypid IN (16, 20, 21, 23, 26) THEN a.attlen \
    WHEN a.attlen > 0 THEN 100 + a.attlen \
    WHEN a.attstorage IN ('p', 'm') THEN 1000 \
    WHEN a.atttypmod > 4 THEN 1000 + least(a.atttypmod, 100000) \
    ELSE 1000000 END";

/// Schema, name, pages and columns of every table, the smallest table first. Where rows are hashed that is
/// all columns, in an order of their own, since a restore may bring those that were inherited in another
/// one; generated ones are not dumped. Else it is the one that is the cheapest to read.
pub(super) fn tables(version: u32, without: Option<&str>, is_hashed: bool) -> String {
    let stored = if version >= 120_000 { " AND a.attgenerated = ''" } else { "" };
    let name = "'\"' || pg_catalog.replace(a.attname::pg_catalog.text, '\"', '\"\"') || '\"'";
    let columns = format!(
        "FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped{stored}"
    );
    let columns = if is_hashed {
        format!(
            "SELECT pg_catalog.string_agg({name}, ', ' ORDER BY a.attname::pg_catalog.text COLLATE \"C\") {columns}"
        )
    } else {
        format!("SELECT {name} {columns} ORDER BY {CHEAPEST}, a.attnum LIMIT 1")
    };
    format!(
        "SELECT n.nspname, c.relname, greatest(c.relpages, 0), ({columns}) \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND {} AND {} \
         ORDER BY c.relpages, n.nspname, c.relname",
        is_dumped(without),
        is_own("pg_class", "c.oid")
    )
}

/// Sends the rows of one table, some of their columns; none where it has none. A query would be planned, and
/// the planner evaluates what a table's owner wrote: expressions and predicates of indexes, for one. This
/// form of COPY is not planned, reads an ordinary table and nothing else, and calls nothing but the output
/// functions of types. Bytes are sent as they are stored: none that has no place in another encoding fails.
pub(super) fn copy(table: &str, columns: Option<&str>) -> String {
    let columns = columns.map_or_else(String::new, |columns| format!(" ({columns})"));
    format!("COPY {table}{columns} TO STDOUT (FORMAT text, ENCODING 'SQL_ASCII')")
}

/// Schema, name, increment, whether it cycles, number, and whether its value can be read, of every sequence.
pub(super) fn sequences(without: Option<&str>) -> String {
    format!(
        "SELECT n.nspname, c.relname, s.seqincrement, s.seqcycle, c.oid, \
         coalesce(pg_catalog.has_sequence_privilege(c.oid, 'SELECT, USAGE'), false) \
         AND NOT (c.relpersistence = 'u' AND pg_catalog.pg_is_in_recovery()) \
         FROM pg_catalog.pg_sequence s \
         JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relpersistence <> 't' AND {} AND {} ORDER BY n.nspname, c.relname",
        is_dumped(without),
        is_own("pg_class", "c.oid")
    )
}

/// Where a sequence stands, if that is known, and whether it has given that out. It is asked by its number: by
/// its name it could be a view or a table meanwhile, and a plan over those runs what their owner wrote. Before
/// version 18 a server does not say where a sequence stands that has given out nothing.
pub(super) fn sequence(version: u32, oid: u32) -> String {
    if version >= SEQUENCE_DATA_SINCE {
        return format!("SELECT d.last_value, d.is_called FROM pg_catalog.pg_get_sequence_data({oid}) d");
    }
    format!(
        "SELECT v.last_value, v.last_value IS NOT NULL FROM pg_catalog.pg_sequence_last_value({oid}) v(last_value)"
    )
}

/// How many indexes, constraints, views, functions and large objects.
pub(super) fn objects(version: u32, without: Option<&str>) -> String {
    let dumped = is_dumped(without);
    let own_table = is_own("pg_class", "c.oid");
    // Those that a partition has by its parent come back with it.
    let not_inherited = if version >= 110_000 { " AND (k.contype <> 'f' OR k.conparentid = 0)" } else { "" };
    let namespace = |of: &str| format!("JOIN pg_catalog.pg_namespace n ON n.oid = {of} WHERE {dumped}");
    format!(
        "SELECT (SELECT pg_catalog.count(*) FROM pg_catalog.pg_index i \
           JOIN pg_catalog.pg_class c ON c.oid = i.indrelid AND c.relpersistence <> 't' {} \
           AND (i.indisvalid OR c.relkind = 'p') AND i.indisready AND {own_table}), \
         (SELECT pg_catalog.count(*) FROM pg_catalog.pg_constraint k \
           JOIN pg_catalog.pg_class c ON c.oid = k.conrelid AND c.relpersistence <> 't' {} \
           AND k.contype IN ('c', 'f', 'p', 'u', 'x'){not_inherited} AND {own_table}) + \
         (SELECT pg_catalog.count(*) FROM pg_catalog.pg_constraint k \
           JOIN pg_catalog.pg_type y ON y.oid = k.contypid {} AND k.contype = 'c' AND {}), \
         (SELECT pg_catalog.count(*) FROM pg_catalog.pg_class c {} \
           AND c.relkind IN ('v', 'm') AND c.relpersistence <> 't' AND {own_table}), \
         (SELECT pg_catalog.count(*) FROM pg_catalog.pg_proc p {} AND {}), \
         (SELECT pg_catalog.count(*) FROM pg_catalog.pg_largeobject_metadata)",
        namespace("c.relnamespace"),
        namespace("c.relnamespace"),
        namespace("y.typnamespace"),
        is_own("pg_type", "y.oid"),
        namespace("c.relnamespace"),
        namespace("p.pronamespace"),
        has_no_dependency("pg_proc", "p.oid", "'e', 'i'"),
    )
}

/// Every role that a dump can name, and whether it is a superuser: owners, grantors and grantees, and those of policies, as the server keeps
/// book of them. It keeps none of the role that made the cluster.
pub(super) fn roles(version: u32) -> String {
    let subscriptions = if version >= 100_000 {
        " OR r.oid IN (SELECT s.subowner FROM pg_catalog.pg_subscription s WHERE s.subdbid = d.oid)"
    } else {
        ""
    };
    format!(
        "SELECT r.rolname, r.rolsuper FROM pg_catalog.pg_roles r, pg_catalog.pg_database d \
         WHERE d.datname = pg_catalog.current_database() AND pg_catalog.left(r.rolname, 3) <> 'pg_' \
         AND (r.oid IN (10, d.datdba){subscriptions} OR r.oid IN (SELECT p.refobjid FROM pg_catalog.pg_shdepend p \
           WHERE p.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND (p.dbid = d.oid \
           OR p.classid = 'pg_catalog.pg_database'::pg_catalog.regclass AND p.objid = d.oid))) \
         ORDER BY r.rolname"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_where_they_need_it() {
        for (schema, name, wanted) in [
            ("public", "orders_2", "public.orders_2"),
            ("public", "user", "public.user"),
            ("a.b", "C", "\"a.b\".\"C\""),
            ("x", "1st", "x.\"1st\""),
            ("x", "say \"hi\"", "x.\"say \"\"hi\"\"\""),
            ("\u{f6}", "a-b", "\"\u{f6}\".\"a-b\""),
        ] {
            assert_eq!(shown(schema, name), wanted);
        }
        assert_eq!(quoted("a", "b\"c"), "\"a\".\"b\"\"c\"");
    }

    #[test]
    fn a_schema_to_leave_out_is_a_text_and_no_sql() {
        assert!(is_dumped(Some("o'clock")).ends_with("AND n.nspname <> 'o''clock'"));
    }
}
