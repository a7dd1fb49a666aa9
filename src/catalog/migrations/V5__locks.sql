-- Who changes the holders of a kind of lock, or alerts, locks its row for the moment.
CREATE TABLE {schema}.lock (
    kind text PRIMARY KEY
);
INSERT INTO {schema}.lock VALUES ('run'), ('copies'), ('alerts');

-- Who holds a lock for longer. It counts as long as the session of this role holds the advisory lock of this number,
-- which nobody knew before: a row that a dead session left holds nothing.
CREATE TABLE {schema}.lock_holder (
    key       bigint PRIMARY KEY,
    kind      text NOT NULL REFERENCES {schema}.lock (kind),
    name      text NOT NULL,
    is_shared boolean NOT NULL,
    pid       integer NOT NULL,
    role      oid NOT NULL,
    host      text NOT NULL,
    process   bigint NOT NULL,
    since     timestamptz NOT NULL DEFAULT pg_catalog.now()
);
CREATE INDEX lock_holder_of_name ON {schema}.lock_holder (kind, name);

COMMENT ON TABLE {schema}.lock IS 'pgkeep: a row for each kind of lock';
COMMENT ON TABLE {schema}.lock_holder IS 'pgkeep: a row for each session that holds one';
