-- One of everything that a logical dump must bring back. Loaded into a database named `my"db é` by the tests.
CREATE EXTENSION hstore;
CREATE EXTENSION citext;
CREATE EXTENSION pg_trgm;
CREATE EXTENSION pgcrypto;
CREATE SCHEMA "Odd ""Schema"" ü";
CREATE TYPE mood AS ENUM ('sad', 'it''s fine', 'glad');
CREATE DOMAIN email AS citext CHECK (VALUE ~ '@');
CREATE TYPE pair AS (a int, b text);

CREATE TABLE many_types (
    id bigint GENERATED ALWAYS AS IDENTITY (START WITH 1000 INCREMENT BY 7) PRIMARY KEY,
    small smallint, whole int, float float8, exact numeric(30, 10), money money, flag boolean,
    letters varchar(20), padded char(8), long text, bytes bytea, day date, clock time, clock_tz timetz,
    moment timestamp, moment_tz timestamptz, span interval, uuid uuid, doc json, docb jsonb, xml xml,
    net inet, cidr cidr, mac macaddr, bits bit(5), varbits bit varying, point point, box box, circle circle,
    tsv tsvector, ranges int4range, multi int4multirange, list int[], grid text[][], mood mood, mail email,
    pair pair, kv hstore
);
INSERT INTO many_types (small, whole, float, exact, money, flag, letters, padded, long, bytes, day, clock, clock_tz,
    moment, moment_tz, span, uuid, doc, docb, xml, net, cidr, mac, bits, varbits, point, box, circle, tsv, ranges,
    multi, list, grid, mood, mail, pair, kv)
VALUES
    (-32768, 2147483647, 'NaN', 12345678901234567890.0123456789, 12.34, true, 'ünïcödé', 'pad', E'tab\t newline\n back\\slash',
     '\x00ff10', '0044-03-15 BC', '24:00:00', '12:00:00+05:30', 'infinity', '2026-03-29 02:30:00+01', '1 year 2 mons -3 days',
     'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"a" : 1}', '{"b": [1, null, "x"]}', '<a>b</a>', '10.1.2.3/8', '192.168.0.0/16',
     '08:00:2b:01:02:03', B'10101', B'1', '(1,2)', '((0,0),(1,1))', '<(0,0),5>', 'fat:1 cat:2', '[1,10)', '{[1,3),[5,7)}',
     '{1,NULL,3}', '{{a,b},{c,"d,e"}}', 'it''s fine', 'A@example.org', '(1,"x y")', 'a=>1, b=>NULL'),
    (NULL, NULL, '-Infinity', 'NaN', NULL, NULL, '', '', '', '', NULL, NULL, NULL, NULL, '-infinity', NULL, NULL, NULL, NULL, NULL,
     NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'empty', '{}', '{}', '{}', NULL, NULL, NULL, NULL);

CREATE TABLE no_rows (id int PRIMARY KEY, note text);
CREATE TABLE no_columns ();
INSERT INTO no_columns DEFAULT VALUES;
INSERT INTO no_columns DEFAULT VALUES;

CREATE TABLE "Odd ""Schema"" ü"."Table with; 'all' ""of"" it" ("select" int, "ß 'x'" text);
INSERT INTO "Odd ""Schema"" ü"."Table with; 'all' ""of"" it" SELECT n, chr(8364) || n FROM generate_series(1, 50) n;

CREATE TABLE measurement (at date NOT NULL, sensor int NOT NULL, value real) PARTITION BY RANGE (at);
CREATE TABLE measurement_2025 PARTITION OF measurement FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE measurement_2026 PARTITION OF measurement FOR VALUES FROM ('2026-01-01') TO ('2027-01-01') PARTITION BY LIST (sensor);
CREATE TABLE measurement_2026_odd PARTITION OF measurement_2026 FOR VALUES IN (1, 3);
CREATE TABLE measurement_rest PARTITION OF measurement DEFAULT;
CREATE INDEX ON measurement (sensor, at);
INSERT INTO measurement SELECT date '2025-06-01' + n, 1 + 2 * (n % 2), n / 3.0 FROM generate_series(0, 400) n;
INSERT INTO measurement VALUES ('1999-12-31', 9, NULL);

CREATE TABLE parent (a int);
CREATE TABLE child (b int) INHERITS (parent);
INSERT INTO parent VALUES (1);
INSERT INTO child VALUES (2, 3);

CREATE TABLE computed (
    w numeric, h numeric, area numeric GENERATED ALWAYS AS (w * h) STORED,
    CHECK (w >= 0), EXCLUDE USING gist (int4range(w::int, w::int + 1) WITH &&)
);
INSERT INTO computed (w, h) SELECT n, n + 0.5 FROM generate_series(1, 20) n;
CREATE UNIQUE INDEX computed_part ON computed (h) WHERE w > 5;
CREATE INDEX many_types_trigrams ON many_types USING gin (long gin_trgm_ops);

CREATE TABLE audit (at bigserial, what text);
CREATE FUNCTION note_change() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    INSERT INTO audit (what) VALUES (TG_OP || ' ' || TG_TABLE_NAME);
    RETURN NEW;
END
$body$;
CREATE TRIGGER computed_changes AFTER INSERT OR UPDATE ON computed FOR EACH ROW EXECUTE FUNCTION note_change();
UPDATE computed SET h = h + 1 WHERE w < 4;
CREATE RULE no_delete AS ON DELETE TO no_rows DO INSTEAD NOTHING;

CREATE VIEW areas AS SELECT area FROM computed WHERE area > 10;
CREATE MATERIALIZED VIEW big_areas AS SELECT area, sqrt(area) AS root FROM computed WHERE area > 100;
CREATE UNIQUE INDEX ON big_areas (area);
CREATE MATERIALIZED VIEW not_filled AS SELECT 1 AS one WITH DATA;
CREATE VIEW over_view WITH (security_barrier) AS SELECT * FROM areas;

CREATE SEQUENCE counter AS smallint MINVALUE -5 MAXVALUE 100 START -5 CYCLE;
SELECT nextval('counter'), nextval('counter'), setval('audit_at_seq', 4711, false);

SELECT lo_from_bytea(900001, decode(repeat('deadbeef', 3000), 'hex'));
SELECT lo_from_bytea(900002, '');
SELECT lo_from_bytea(900003, convert_to('grüße', 'UTF8'));
COMMENT ON LARGE OBJECT 900003 IS 'a greeting';
CREATE TABLE letters (id int, body oid);
INSERT INTO letters VALUES (1, 900001), (2, 900002), (3, 900003);

CREATE TABLE secrets (owner text, note text);
ALTER TABLE secrets ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON secrets USING (owner = current_user);
INSERT INTO secrets VALUES ('postgres', 'x'), ('somebody', 'y');
GRANT SELECT (owner), UPDATE ON secrets TO auditor WITH GRANT OPTION;
GRANT USAGE ON SCHEMA "Odd ""Schema"" ü" TO auditor;
GRANT SELECT ON LARGE OBJECT 900001 TO auditor;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO auditor;
CREATE TABLE owned (n int);
ALTER TABLE owned OWNER TO auditor;
COMMENT ON TABLE owned IS 'comment with ''quotes'' and ünïcödé';
CREATE STATISTICS together (dependencies) ON whole, small FROM many_types;
CREATE FUNCTION note_nothing() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER watch ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION note_nothing();
CREATE PUBLICATION everything FOR TABLE no_rows, owned;
CREATE COLLATION german (provider = icu, locale = 'de-u-co-phonebk');
CREATE TABLE sorted (name text COLLATE german);
INSERT INTO sorted VALUES ('Müller'), ('Muller'), ('Mueller');
CREATE UNLOGGED TABLE scratch (n int);
INSERT INTO scratch SELECT generate_series(1, 5);
