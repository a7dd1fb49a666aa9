-- A few ordinary rows: what most tests back up.
CREATE EXTENSION pgcrypto;
CREATE TABLE customer (
    id bigserial PRIMARY KEY,
    name text NOT NULL,
    country char(2) NOT NULL DEFAULT 'DE',
    born date
);
CREATE TABLE invoice (
    id bigserial PRIMARY KEY,
    customer_id bigint NOT NULL REFERENCES customer,
    total numeric(12, 2) NOT NULL,
    note text,
    at timestamptz NOT NULL
);
CREATE INDEX ON invoice (customer_id, at);
INSERT INTO customer (name, born)
SELECT 'Customer ' || n, date '1950-01-01' + n FROM generate_series(1, 500) n;
INSERT INTO invoice (customer_id, total, note, at)
SELECT 1 + n % 500, n * 1.37, repeat('thank you for your order ', n % 9), timestamptz '2026-01-01 00:00+00' + n * interval '1 minute'
FROM generate_series(1, 3000) n;
CREATE VIEW turnover AS
SELECT customer_id, sum(total) AS total FROM invoice GROUP BY customer_id;
