-- One of almost everything that a database can hold, for test restores. OWNER and GUEST stand for two roles.
CREATE SCHEMA "Zoo's" AUTHORIZATION "OWNER";
CREATE SCHEMA empty;
COMMENT ON SCHEMA empty IS 'nobody lives here';
CREATE EXTENSION hstore;
CREATE EXTENSION citext SCHEMA empty;
CREATE EXTENSION btree_gist;
CREATE EXTENSION postgres_fdw;

CREATE TYPE mood AS ENUM ('sad', 'it''s ok', 'happy');
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN even AS int CHECK (VALUE % 2 = 0);
CREATE COLLATION numeric_order (provider = icu, locale = 'en-u-kn-true');

CREATE TABLE "Zoo's"."Weird ""Table""" (
    "Select" int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    m mood, p pair, e even, h hstore, c empty.citext,
    sorted text COLLATE numeric_order,
    double_e int GENERATED ALWAYS AS (e * 2) STORED,
    gone int, bytes bytea, document jsonb, price money, at timestamptz, span interval, real_number float8
);
ALTER TABLE "Zoo's"."Weird ""Table""" DROP COLUMN gone;
INSERT INTO "Zoo's"."Weird ""Table""" (m, p, e, h, c, sorted, bytes, document, price, at, span, real_number)
SELECT 'it''s ok', format(E'(%s,"tab\there")', n)::pair, n * 2, 'a=>b', 'Ä', 'x' || n, '\x00ff', '{"b": 1, "a": [null]}', 1.5,
    '2026-01-01 00:00+03', '1 mon -2 days', CASE n % 3 WHEN 0 THEN '-0' WHEN 1 THEN 'NaN' ELSE 0.1 END
FROM generate_series(1, 40) n;
ALTER TABLE "Zoo's"."Weird ""Table""" OWNER TO "OWNER";
GRANT SELECT ("Select"), UPDATE (m) ON "Zoo's"."Weird ""Table""" TO "GUEST" WITH GRANT OPTION;
CREATE TABLE nothing ();
INSERT INTO nothing SELECT FROM generate_series(1, 5);
CREATE TABLE twins (a text);
INSERT INTO twins VALUES ('x'), ('x'), (NULL), (NULL), ('');
CREATE UNLOGGED TABLE fleeting AS SELECT 1 AS one;

CREATE TABLE measure (day date, value int, note text) PARTITION BY RANGE (day);
CREATE TABLE measure_old PARTITION OF measure FOR VALUES FROM (MINVALUE) TO ('2026-01-01') PARTITION BY HASH (value);
CREATE TABLE measure_old_0 PARTITION OF measure_old FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE measure_old_1 PARTITION OF measure_old FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE measure_rest PARTITION OF measure DEFAULT;
CREATE INDEX ON measure (day, value);
ALTER TABLE measure ADD CHECK (value >= 0);
INSERT INTO measure SELECT date '2025-06-01' + n, n, 'n' FROM generate_series(1, 400) n;
ALTER TABLE measure OWNER TO "GUEST";

CREATE TABLE animal (id serial PRIMARY KEY, name text UNIQUE);
CREATE TABLE bird (wings int NOT NULL DEFAULT 2) INHERITS (animal);
INSERT INTO animal (name) VALUES ('cow');
INSERT INTO bird (name) SELECT 'bird ' || n FROM generate_series(1, 9) n;
CREATE TABLE room (no int, during tsrange, EXCLUDE USING gist (no WITH =, during WITH &&));
CREATE TABLE lives_in (animal int REFERENCES animal ON DELETE CASCADE DEFERRABLE, CHECK (animal > 0) NOT VALID);

ALTER TABLE twins ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY mine ON twins FOR SELECT TO "GUEST" USING (a IS NOT NULL);
ALTER DEFAULT PRIVILEGES FOR ROLE "OWNER" IN SCHEMA "Zoo's" GRANT SELECT ON TABLES TO "GUEST";
GRANT USAGE ON SCHEMA "Zoo's" TO "GUEST";
GRANT EXECUTE ON FUNCTION pg_catalog.pg_ls_waldir() TO "GUEST";

CREATE SEQUENCE wild INCREMENT -3 MINVALUE -100 MAXVALUE 100 START 7 CYCLE OWNED BY twins.a;
SELECT nextval('wild'), nextval('wild');
CREATE SEQUENCE untouched START 42;

CREATE FUNCTION "say ""it""" (mood) RETURNS text LANGUAGE sql IMMUTABLE AS $$SELECT 'I am ' || $1::text$$;
ALTER FUNCTION "say ""it""" (mood) OWNER TO "OWNER";
CREATE PROCEDURE nap() LANGUAGE plpgsql AS $$BEGIN PERFORM 1; END$$;
CREATE AGGREGATE longest (text) (SFUNC = textcat, STYPE = text, INITCOND = '');
CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'not in a restore'; END$$;
CREATE TRIGGER watch BEFORE INSERT ON animal FOR EACH ROW EXECUTE FUNCTION watch();
CREATE FUNCTION on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN PERFORM 1; END$$;
CREATE EVENT TRIGGER on_ddl_of_UNIQUE ON ddl_command_end EXECUTE FUNCTION on_ddl();
CREATE VIEW birds AS SELECT name FROM bird WITH CHECK OPTION;
CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM measure;
CREATE UNIQUE INDEX ON counted (count);
CREATE INDEX weird_index ON measure_rest ((value + 1)) WHERE value > 3;
CREATE STATISTICS both_columns ON day, value FROM measure;
CREATE RULE no_rooms AS ON DELETE TO room DO INSTEAD NOTHING;
CREATE TEXT SEARCH CONFIGURATION plain (COPY = simple);
CREATE OPERATOR === (LEFTARG = text, RIGHTARG = text, FUNCTION = texteq);
CREATE CAST (pair AS bytea) WITH INOUT;
CREATE PUBLICATION news FOR TABLE animal;
CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'nowhere.invalid');
CREATE USER MAPPING FOR "OWNER" SERVER elsewhere OPTIONS (user 'x');
CREATE FOREIGN TABLE far_away (a int) SERVER elsewhere;
ALTER SERVER elsewhere OWNER TO "OWNER";

SELECT lo_from_bytea(4711, '\x00010203');
SELECT lo_from_bytea(4712, ''::bytea);
ALTER LARGE OBJECT 4711 OWNER TO "OWNER";
GRANT SELECT ON LARGE OBJECT 4712 TO "GUEST";
COMMENT ON LARGE OBJECT 4711 IS 'four bytes';
