-- Rows of types that the owner of a database made, with casts of the owner's own.
SET SESSION AUTHORIZATION tenant;
CREATE TYPE evil.pair AS (a integer, b pg_catalog.text);
CREATE TYPE evil.mood AS ENUM ('good', 'bad');
CREATE TABLE public.owned (id serial PRIMARY KEY, pair evil.pair, mood evil.mood, moods evil.mood[]);
INSERT INTO public.owned (pair, mood, moods) VALUES ((1, 'x'), 'good', '{bad}'), (NULL, 'bad', NULL);
DO $do$
DECLARE
    source pg_catalog.text;
    target pg_catalog.text;
BEGIN
    FOREACH source IN ARRAY ARRAY['evil.pair', 'evil.mood', 'evil.mood[]', 'public.owned'] LOOP
        FOREACH target IN ARRAY ARRAY['text', 'json', 'jsonb', 'bytea', 'bigint'] LOOP
            EXECUTE format('CREATE FUNCTION evil.cast(%s) RETURNS %s LANGUAGE plpgsql AS $f$
                BEGIN PERFORM evil.mark(%L); RETURN NULL; END $f$', source, target, 'cast to ' || target);
            EXECUTE format('CREATE CAST (%s AS %s) WITH FUNCTION evil.cast(%1$s) AS IMPLICIT', source, target);
            EXECUTE format('ALTER FUNCTION evil.cast(%s) RENAME TO %I', source, 'cast to ' || target);
        END LOOP;
    END LOOP;
END $do$;
