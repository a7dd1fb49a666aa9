-- What the owner of a database, no superuser, puts before the server's own: functions, operators, types and relations
-- of the same names, each of which says in the server's log that it ran. That stays whatever becomes of the
-- transaction. {functions}, {operators} and {relations} are the names that stand in our SQL.
SET SESSION AUTHORIZATION tenant;
CREATE SCHEMA evil;
CREATE FUNCTION evil.mark(what text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    RAISE LOG 'shadow: % in %', what, pg_catalog.current_setting('application_name');
    RETURN true;
END $$;

DO $do$
DECLARE
    one record;
    body text := 'LANGUAGE plpgsql AS $f$ BEGIN PERFORM evil.mark(%L); RETURN %s; END $f$';
BEGIN
    FOR one IN SELECT p.*, pg_get_function_arguments(p.oid) AS arguments, pg_get_function_result(p.oid) AS result
        FROM pg_proc p WHERE pronamespace = 'pg_catalog'::regnamespace AND proname = ANY ({functions}) AND prokind = 'f'
    LOOP
        BEGIN
            EXECUTE format('CREATE FUNCTION evil.%I(%s) RETURNS %s ' || body, one.proname, one.arguments, one.result,
                'function ' || one.proname, CASE WHEN one.proretset OR one.result = 'void' OR one.proargmodes IS NOT NULL
                    THEN '' ELSE 'NULL' END);
        EXCEPTION WHEN OTHERS THEN NULL;  -- Some have arguments that no such function may have.
        END;
    END LOOP;
    FOR one IN SELECT p.oid, p.proname, pg_get_function_arguments(p.oid) AS arguments
        FROM pg_proc p JOIN pg_aggregate a ON a.aggfnoid = p.oid AND a.aggkind = 'n'
        WHERE pronamespace = 'pg_catalog'::regnamespace AND proname = ANY ({functions})
    LOOP
        BEGIN
            EXECUTE format('CREATE FUNCTION evil.step_%s(%s) RETURNS text ' || body, one.oid,
                concat_ws(', ', 'text', nullif(one.arguments, '')), 'aggregate ' || one.proname, 'NULL');
            EXECUTE format('CREATE AGGREGATE evil.%I(%s) (SFUNC = evil.step_%s, STYPE = text)', one.proname,
                coalesce(nullif(one.arguments, ''), '*'), one.oid);
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
    END LOOP;
    FOR one IN SELECT oid, oprname, oprleft::regtype AS l, oprright::regtype AS r, oprresult::regtype AS result
        FROM pg_operator WHERE oprname = ANY ({operators}) AND oprkind = 'b' AND oprnamespace = 'pg_catalog'::regnamespace
    LOOP
        BEGIN
            EXECUTE format('CREATE FUNCTION evil.op_%s(%s, %s) RETURNS %s ' || body, one.oid, one.l, one.r, one.result,
                'operator ' || one.oprname, 'NULL');
            EXECUTE format('CREATE OPERATOR evil.%s (FUNCTION = evil.op_%s, LEFTARG = %s, RIGHTARG = %s)', one.oprname,
                one.oid, one.l, one.r);
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
    END LOOP;
    FOR one IN SELECT typname FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype = 'b'
        AND typcategory NOT IN ('A', 'Z') AND typname !~ '^(pg_|reg[^c])'
    LOOP
        EXECUTE format('CREATE DOMAIN evil.%1$I AS pg_catalog.%1$I CHECK (evil.mark(%2$L))', one.typname,
            'type ' || one.typname);
    END LOOP;
    FOR one IN SELECT relname, string_agg(quote_ident(attname), ', ' ORDER BY attnum) AS columns
        FROM pg_class c JOIN pg_attribute a ON attrelid = c.oid AND attnum > 0 AND atttypid <> 'anyarray'::regtype
        WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind IN ('r', 'v') AND relname = ANY ({relations})
        GROUP BY relname
    LOOP
        EXECUTE format('CREATE VIEW evil.%1$I AS SELECT %2$s FROM pg_catalog.%1$I WHERE evil.mark(%3$L)', one.relname,
            one.columns, 'relation ' || one.relname);
    END LOOP;
END $do$;
