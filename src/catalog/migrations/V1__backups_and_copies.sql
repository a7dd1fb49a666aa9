-- Which catalog this is: a dump of the database that holds it leaves its schema out.
CREATE TABLE identity (
    id uuid PRIMARY KEY
);
INSERT INTO identity VALUES (md5(random()::text || clock_timestamp()::text || pg_backend_pid()::text)::uuid);

CREATE TABLE backup (
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
    heartbeat_at            timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX backup_created_at ON backup (created_at DESC, id DESC);
CREATE INDEX backup_of_database ON backup (source, database, backup_type, created_at DESC);
CREATE INDEX backup_unfinished ON backup (source, database) WHERE status = 'in_progress';
-- An id may be given by any unique prefix.
CREATE INDEX backup_id_prefix ON backup (id text_pattern_ops);

CREATE TABLE copy (
    backup         text NOT NULL REFERENCES backup (id) ON DELETE CASCADE,
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

COMMENT ON TABLE backup IS 'pgkeep: a row for each backup';
COMMENT ON TABLE copy IS 'pgkeep: a row for each copy of a backup''s artifact';
