-- What somebody wants kept, whatever the rules of retention say; no end is for good.
ALTER TABLE {schema}.backup ADD COLUMN pinned_at timestamptz, ADD COLUMN pinned_until timestamptz;
-- Until when the store was asked to lock the copy.
ALTER TABLE {schema}.copy ADD COLUMN locked_until timestamptz;
