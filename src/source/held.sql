-- What users have made in a database, by kind: $1 is the first object id of theirs, $2 a schema to leave
-- out, $3 the schemas to look in, or null for all.
WITH made (rank, kind, class, oid, namespace) AS (
    SELECT 1, 'relation', 'pg_catalog.pg_class'::pg_catalog.regclass, oid, relnamespace FROM pg_catalog.pg_class
        WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
    UNION ALL SELECT 2, 'function', 'pg_catalog.pg_proc'::pg_catalog.regclass, oid, pronamespace FROM pg_catalog.pg_proc
    UNION ALL SELECT 3, 'type', 'pg_catalog.pg_type'::pg_catalog.regclass, oid, typnamespace FROM pg_catalog.pg_type
    UNION ALL SELECT 4, 'schema', 'pg_catalog.pg_namespace'::pg_catalog.regclass, oid, oid FROM pg_catalog.pg_namespace
    UNION ALL SELECT 5, 'large object', 'pg_catalog.pg_largeobject'::pg_catalog.regclass, oid, NULL FROM pg_catalog.pg_largeobject_metadata
    UNION ALL SELECT 6, 'other object', 'pg_catalog.pg_operator'::pg_catalog.regclass, oid, oprnamespace FROM pg_catalog.pg_operator
    UNION ALL SELECT 6, 'other object', 'pg_catalog.pg_collation'::pg_catalog.regclass, oid, collnamespace FROM pg_catalog.pg_collation
    UNION ALL SELECT 6, 'other object', 'pg_catalog.pg_conversion'::pg_catalog.regclass, oid, connamespace FROM pg_catalog.pg_conversion
    UNION ALL SELECT 6, 'other object', 'pg_catalog.pg_ts_config'::pg_catalog.regclass, oid, cfgnamespace FROM pg_catalog.pg_ts_config
    UNION ALL SELECT 6, 'other object', 'pg_catalog.pg_ts_dict'::pg_catalog.regclass, oid, dictnamespace FROM pg_catalog.pg_ts_dict
    UNION ALL SELECT 6, 'other object', 'pg_catalog.pg_cast'::pg_catalog.regclass, oid, NULL FROM pg_catalog.pg_cast
    UNION ALL SELECT 6, 'other object', 'pg_catalog.pg_foreign_server'::pg_catalog.regclass, oid, NULL FROM pg_catalog.pg_foreign_server
    UNION ALL SELECT 6, 'other object', 'pg_catalog.pg_publication'::pg_catalog.regclass, oid, NULL FROM pg_catalog.pg_publication
)
SELECT made.kind, pg_catalog.count(*)
FROM made LEFT JOIN pg_catalog.pg_namespace n ON n.oid = made.namespace
-- A large object's id may be any number, for users may choose it.
WHERE (made.oid::pg_catalog.int8 >= $1 OR made.kind = 'large object')
    AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_depend d
        WHERE d.classid = made.class AND d.objid = made.oid AND d.deptype IN ('e', 'i')
    )
    AND (n.nspname IS NULL OR (n.nspname NOT LIKE 'pg\_%' AND n.nspname <> $2))
    -- A role may drop and make the schema public anew; it is in the way of nothing.
    AND NOT (made.kind = 'schema' AND n.nspname = 'public')
    AND ($3::pg_catalog.text[] IS NULL OR (n.nspname = ANY ($3) AND made.kind <> 'schema'))
GROUP BY made.rank, made.kind
ORDER BY made.rank
