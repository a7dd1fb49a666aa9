-- What users have made in a database, by kind: $1 is the first object id of theirs, $2 a schema to leave
-- out, $3 the schemas to look in, or null for all.
WITH made (rank, kind, class, oid, namespace) AS (
    SELECT 1, 'relation', 'pg_class'::regclass, oid, relnamespace FROM pg_class
        WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
    UNION ALL SELECT 2, 'function', 'pg_proc'::regclass, oid, pronamespace FROM pg_proc
    UNION ALL SELECT 3, 'type', 'pg_type'::regclass, oid, typnamespace FROM pg_type
    UNION ALL SELECT 4, 'schema', 'pg_namespace'::regclass, oid, oid FROM pg_namespace
    UNION ALL SELECT 5, 'large object', 'pg_largeobject'::regclass, oid, NULL FROM pg_largeobject_metadata
    UNION ALL SELECT 6, 'other object', 'pg_operator'::regclass, oid, oprnamespace FROM pg_operator
    UNION ALL SELECT 6, 'other object', 'pg_collation'::regclass, oid, collnamespace FROM pg_collation
    UNION ALL SELECT 6, 'other object', 'pg_conversion'::regclass, oid, connamespace FROM pg_conversion
    UNION ALL SELECT 6, 'other object', 'pg_ts_config'::regclass, oid, cfgnamespace FROM pg_ts_config
    UNION ALL SELECT 6, 'other object', 'pg_ts_dict'::regclass, oid, dictnamespace FROM pg_ts_dict
    UNION ALL SELECT 6, 'other object', 'pg_cast'::regclass, oid, NULL FROM pg_cast
    UNION ALL SELECT 6, 'other object', 'pg_foreign_server'::regclass, oid, NULL FROM pg_foreign_server
    UNION ALL SELECT 6, 'other object', 'pg_publication'::regclass, oid, NULL FROM pg_publication
)
SELECT made.kind, count(*)
FROM made LEFT JOIN pg_namespace n ON n.oid = made.namespace
-- A large object's id may be any number, for users may choose it.
WHERE (made.oid::bigint >= $1 OR made.kind = 'large object')
    AND NOT EXISTS (
        SELECT FROM pg_depend d
        WHERE d.classid = made.class AND d.objid = made.oid AND d.deptype IN ('e', 'i')
    )
    AND (n.nspname IS NULL OR (n.nspname NOT LIKE 'pg\_%' AND n.nspname <> $2))
    -- A role may drop and make the schema public anew; it is in the way of nothing.
    AND NOT (made.kind = 'schema' AND n.nspname = 'public')
    AND ($3::text[] IS NULL OR (n.nspname = ANY ($3) AND made.kind <> 'schema'))
GROUP BY made.rank, made.kind
ORDER BY made.rank
