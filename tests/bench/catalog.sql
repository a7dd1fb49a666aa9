-- A catalog with the backups of years in it: psql -v backups=N -f catalog.sql DATABASE, where pgkeep has made its tables.
-- One backup every 21 minutes up to now, of 24 databases in turn, three copies each; one in 200 has failed, and has none.
\set ON_ERROR_STOP on
SET search_path = pgkeep;
SET timezone = 'UTC';

INSERT INTO backup (id, backup_type, source, database, filename, size_bytes, checksum, local_path, r2_path, b2_path, status, compression_ratio,
    backup_duration_seconds, metadata, created_at, finished_at, verified_at, error)
SELECT id, 'full', 'demo', database, id || '.dump.gz.pgk', CASE WHEN is_whole THEN size END, CASE WHEN is_whole THEN encode(sha256(id::bytea), 'hex') END,
    CASE WHEN is_whole THEN '/var/backups/pgkeep/' || path END, CASE WHEN is_whole THEN 'pg/' || path END, CASE WHEN is_whole THEN 'pg/' || path END,
    CASE WHEN is_whole THEN 'verified' ELSE 'failed' END, CASE WHEN is_whole THEN 0.7 + n % 100 / 1000.0 END, 20 + n % 300,
    jsonb_build_object('host', 'db1', 'pgkeep_version', '0.1.0', 'server_version', '15.8', 'pg_dump_version', '15.8', 'dump_bytes', size * 4,
        'dump_checksum', encode(sha256(('dump' || id)::bytea), 'hex'), 'compression', 'gzip', 'keys', jsonb_build_array(left(md5('key'), 16))),
    at, at + (20 + n % 300) * interval '1 second', CASE WHEN is_whole THEN at + (20 + n % 300) * interval '1 second' END,
    CASE WHEN NOT is_whole THEN 'pg_dump: error: connection to server at "db.internal" (10.0.0.7), port 5432 failed: Connection refused' END
FROM (SELECT *, format('demo/%s/full/%s/%s.dump.gz.pgk', database, to_char(at, 'YYYY/MM'), id) AS path
    FROM (SELECT *, format('full-%s-%s-%s', database, to_char(at, 'YYYYMMDD"T"HH24MISS"Z"'), left(md5(n::text), 4)) AS id
        FROM (SELECT n, n % 200 <> 77 AS is_whole, 'tenant' || n % 24 AS database, 50000000 + n::bigint * 7919 % 90000000 AS size,
                date_trunc('second', now() - n * interval '21 minutes') AS at
            FROM generate_series(1, :backups) n) numbers) named) placed;

INSERT INTO copy (backup, store, position, path, state, size, etag, stored_at, verified_at, verified_level, expires_at)
SELECT id, store, position, CASE store WHEN 'local' THEN local_path ELSE r2_path END, 'verified', size_bytes,
    CASE WHEN store <> 'local' THEN md5(id || store) || '-7' END, finished_at, finished_at, 'checksum', created_at + interval '365 days'
FROM backup, (VALUES ('local', 0), ('r2', 1), ('b2', 2)) AS stores (store, position)
WHERE status = 'verified';
ANALYZE backup, copy;
