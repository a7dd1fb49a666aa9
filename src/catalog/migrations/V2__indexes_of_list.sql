-- The newest of one status, or of one database, without a look at all the others.
CREATE INDEX backup_of_status ON {schema}.backup (status, created_at DESC, id DESC);
CREATE INDEX backup_of_name ON {schema}.backup (database, created_at DESC, id DESC);
