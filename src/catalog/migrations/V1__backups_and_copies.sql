-- Which catalog this is: a dump of the database that holds it leaves its schema out.
CREATE TABLE {schema}.identity (
    id uuid PRIMARY KEY
);
INSERT INTO {schema}.identity VALUES (pg_catalog.md5(pg_catalog.random()::text || pg_catalog.clock_timestamp()::text
    || pg_catalog.pg_backend_pid()::text)::uuid);

CREATE TABLE {schema}.backup (
    id                      text PRIMARY KEY,
    backup_type             text NOT NULL,
    source                  text NOT NULL,
    database                text NOT NULL,
    tenant                  text,
    filename                text NOT NULL,
    size_bytes              bigint CHECK (size_bytes >= 0),
    checksum                text,
    local_path              text,
    r2_path                 text,
    b2_path                 text,
    status                  text NOT NULL CHECK (status IN
        ('in_progress', 'completed', 'verified', 'degraded', 'failed', 'expired')),
    compression_ratio       double precision,
    backup_duration_seconds double precision,
    metadata                jsonb NOT NULL DEFAULT '{}',
    created_at              timestamptz NOT NULL,
    finished_at             timestamptz,
    verified_at             timestamptz,
    error                   text,
    heartbeat_at            timestamptz NOT NULL DEFAULT pg_catalog.now()
);
CREATE INDEX backup_created_at ON {schema}.backup (created_at DESC, id DESC);
CREATE INDEX backup_of_database ON {schema}.backup (source, database, backup_type, created_at DESC);
CREATE INDEX backup_unfinished ON {schema}.backup (source, database) WHERE status = 'in_progress';
-- An id may be given by any unique prefix.
CREATE INDEX backup_id_prefix ON {schema}.backup (id pg_catalog.text_pattern_ops);

CREATE TABLE {schema}.copy (
    backup         text NOT NULL REFERENCES {schema}.backup (id) ON DELETE CASCADE,
    store          text NOT NULL,
    position       integer NOT NULL,
    path           text NOT NULL,
    state          text NOT NULL CHECK (state IN
        ('stored', 'verified', 'failed', 'missing', 'corrupt', 'expired')),
    size           bigint CHECK (size >= 0),
    etag           text,
    stored_at      timestamptz,
    verified_at    timestamptz,
    verified_level text,
    expires_at     timestamptz,
    error          text,
    PRIMARY KEY (backup, store)
);

COMMENT ON TABLE {schema}.backup IS 'pgkeep: a row for each backup';
COMMENT ON TABLE {schema}.copy IS 'pgkeep: a row for each copy of a backup''s artifact';
