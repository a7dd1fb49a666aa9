-- A cluster as a host has it that nobody wants to lose: forty roles with memberships, passwords, settings and odd names.
-- `{space}` is a folder of the server's own.
DO $$
BEGIN
    FOR i IN 1..8 LOOP
        EXECUTE format('CREATE ROLE team_%s', i);
    END LOOP;
    FOR i IN 1..24 LOOP
        EXECUTE format('CREATE ROLE user_%s LOGIN PASSWORD %L CONNECTION LIMIT %s', i, 'pw-' || i, i % 5 + 1);
        EXECUTE format('GRANT team_%s TO user_%s', i % 8 + 1, i);
    END LOOP;
END $$;
GRANT team_1 TO team_2 WITH ADMIN OPTION;
GRANT team_2 TO team_3;
GRANT pg_monitor, pg_read_all_data TO team_4;
GRANT team_5 TO postgres;
CREATE ROLE "Odd ""role""; DROP ROLE team_1; --" LOGIN PASSWORD 'it''s "odd"; \' VALID UNTIL '2031-02-03 04:05:06+00';
CREATE ROLE "ärger'lich" LOGIN NOINHERIT CREATEDB PASSWORD 'pä''ß';
CREATE ROLE "UPPER lower" CREATEROLE REPLICATION BYPASSRLS;
CREATE ROLE "two
lines" LOGIN;
CREATE ROLE " space " IN ROLE team_6;
CREATE ROLE "$1" LOGIN PASSWORD 'md5aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa';
CREATE ROLE dba SUPERUSER LOGIN PASSWORD 'dba';
COMMENT ON ROLE dba IS 'it''s; "the" one -- really';
ALTER ROLE user_1 SET work_mem TO '7MB';
ALTER ROLE user_2 SET search_path TO 'a b', "C", public;
ALTER ROLE user_3 SET app.greeting TO E'it''s; a \\ word';
ALTER ROLE "ärger'lich" SET statement_timeout TO '5min';
CREATE TABLESPACE fast OWNER user_1 LOCATION '{space}/fast';
CREATE TABLESPACE "Slow; space" OWNER "ärger'lich" LOCATION '{space}/slow one';
ALTER TABLESPACE fast SET (random_page_cost = 1.1);
GRANT CREATE ON TABLESPACE fast TO team_1, "UPPER lower" WITH GRANT OPTION;
COMMENT ON TABLESPACE fast IS 'SSD';
CREATE DATABASE crm OWNER "ärger'lich" TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'
    TABLESPACE "Slow; space" CONNECTION LIMIT 50;
REVOKE ALL ON DATABASE crm FROM PUBLIC;
GRANT CONNECT ON DATABASE crm TO team_1, "Odd ""role""; DROP ROLE team_1; --";
GRANT TEMPORARY ON DATABASE crm TO team_2 WITH GRANT OPTION;
ALTER DATABASE crm SET timezone TO 'Europe/Berlin';
ALTER ROLE user_4 IN DATABASE crm SET work_mem TO '9MB';
COMMENT ON DATABASE crm IS 'customers';
GRANT CONNECT ON DATABASE shop TO team_7;
ALTER DATABASE shop OWNER TO user_5;
