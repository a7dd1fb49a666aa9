-- What hangs on roles and tablespaces within a database.
CREATE EXTENSION pg_trgm;
CREATE SCHEMA sales AUTHORIZATION user_5;
CREATE EXTENSION hstore SCHEMA sales;
CREATE EXTENSION postgres_fdw;
CREATE TABLE sales.lead (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, owner name DEFAULT current_user, note text)
    TABLESPACE fast;
ALTER TABLE sales.lead OWNER TO "Odd ""role""; DROP ROLE team_1; --";
INSERT INTO sales.lead (owner, note) SELECT 'user_' || n % 24 + 1, repeat(md5(n::text), 3) FROM generate_series(1, 5000) n;
CREATE INDEX lead_note ON sales.lead USING gin (note public.gin_trgm_ops) TABLESPACE fast;
ALTER TABLE sales.lead ENABLE ROW LEVEL SECURITY;
ALTER TABLE sales.lead FORCE ROW LEVEL SECURITY;
-- One role each: in which order pg_dump names several is left to chance.
CREATE POLICY own ON sales.lead FOR ALL TO "UPPER lower" USING (owner = current_user) WITH CHECK (note <> '');
CREATE POLICY readers ON sales.lead AS RESTRICTIVE FOR SELECT TO PUBLIC USING (id > 0);
GRANT USAGE ON SCHEMA sales TO team_1, team_2;
GRANT SELECT, UPDATE (note) ON sales.lead TO team_1 WITH GRANT OPTION;
GRANT INSERT ON sales.lead TO "$1", "two
lines";
ALTER DEFAULT PRIVILEGES FOR ROLE user_5 IN SCHEMA sales GRANT SELECT ON TABLES TO team_3;
ALTER DEFAULT PRIVILEGES FOR ROLE "ärger'lich" REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
CREATE FUNCTION sales.secret() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 42';
ALTER FUNCTION sales.secret() OWNER TO dba;
REVOKE ALL ON FUNCTION sales.secret() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.secret() TO " space ";
CREATE TABLE sales.visit AS SELECT n AS id, n % 7 AS page FROM generate_series(1, 1000) n;
GRANT SELECT ON sales.visit TO team_8;
CREATE MATERIALIZED VIEW sales.summary TABLESPACE fast AS SELECT page, count(*) FROM sales.visit GROUP BY page;
ALTER MATERIALIZED VIEW sales.summary OWNER TO team_8;
