-- A trouble, from when it was first seen until it is over.
CREATE TABLE {schema}.alert (
    id              text PRIMARY KEY,
    rule            text NOT NULL,
    severity        text NOT NULL CHECK (severity IN ('info', 'warning', 'critical')),
    status          text NOT NULL CHECK (status IN ('open', 'acknowledged', 'resolved')),
    source          text NOT NULL,
    backup_id       text,
    database        text,
    tenant          text,
    store           text,
    channel         text,
    message         text NOT NULL,
    detail          text,
    first_seen      timestamptz NOT NULL,
    last_seen       timestamptz NOT NULL,
    count           bigint NOT NULL CHECK (count > 0),
    acknowledged_at timestamptz,
    note            text,
    resolved_at     timestamptz
);
-- The same trouble is one alert, as long as it goes on.
CREATE UNIQUE INDEX alert_open ON {schema}.alert (source, rule, coalesce(database, ''), coalesce(tenant, ''),
    coalesce(store, ''), coalesce(channel, '')) WHERE status <> 'resolved';
CREATE INDEX alert_last_seen ON {schema}.alert (last_seen DESC, id);
CREATE INDEX alert_id_prefix ON {schema}.alert (id pg_catalog.text_pattern_ops);

-- What is to be sent, is tried, and was sent: one letter to one receiver.
CREATE TABLE {schema}.delivery (
    id         text PRIMARY KEY,
    alert      text REFERENCES {schema}.alert (id) ON DELETE CASCADE,
    source     text NOT NULL,
    channel    text NOT NULL,
    recipient  text,
    event      text NOT NULL,
    letter     jsonb NOT NULL,
    status     text NOT NULL CHECK (status IN ('waiting', 'sent', 'given_up', 'superseded')),
    created_at timestamptz NOT NULL,
    due_at     timestamptz NOT NULL,
    attempts   integer NOT NULL DEFAULT 0,
    tried_at   timestamptz,
    sent_at    timestamptz,
    error      text
);
CREATE INDEX delivery_waiting ON {schema}.delivery (source, created_at) WHERE status = 'waiting';
CREATE INDEX delivery_of_alert ON {schema}.delivery (alert);

COMMENT ON TABLE {schema}.alert IS 'pgkeep: a row for each alert';
COMMENT ON TABLE {schema}.delivery IS 'pgkeep: a row for each letter about one, to each receiver';
