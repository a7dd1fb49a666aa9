//! A schema of the catalog's name that somebody else made, or put something into, and rows that are none.

use std::fs;

use postgres::Client;

use crate::support::cluster::unique;
use crate::support::{FakeBin, Site};

mod grants;
mod rows;

/// What leaves a mark when any role runs it, and a table with an owner of its own.
const EVIL: &str = "
    CREATE SCHEMA evil;
    CREATE TABLE evil.log (who text DEFAULT current_user);
    GRANT USAGE ON SCHEMA evil TO PUBLIC;
    GRANT INSERT, SELECT ON evil.log TO PUBLIC;
    CREATE FUNCTION evil.mark() RETURNS text LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO evil.log DEFAULT VALUES; RETURN gen_random_uuid()::text; END $$;
    CREATE FUNCTION evil.is_marked() RETURNS boolean LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO evil.log DEFAULT VALUES; RETURN true; END $$;
    CREATE FUNCTION evil.trigger() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO evil.log DEFAULT VALUES; RETURN NEW; END $$;
    CREATE FUNCTION evil.constant(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS
        $$ BEGIN PERFORM evil.mark(); RETURN $1; END $$;";

/// What is put into a catalog, and the words for it.
const TRAPS: [(&str, &str); 13] = [
    (
        "ALTER TABLE pgkeep.identity RENAME TO other; ALTER TABLE pgkeep.other SET SCHEMA evil;
         CREATE VIEW pgkeep.identity AS SELECT evil.mark()::uuid AS id",
        "`identity` is a view",
    ),
    (
        "ALTER TABLE pgkeep.refinery_schema_history SET SCHEMA evil;
         CREATE VIEW pgkeep.refinery_schema_history AS
            SELECT * FROM evil.refinery_schema_history WHERE evil.is_marked()",
        "`refinery_schema_history` is a view",
    ),
    (
        "CREATE TRIGGER t BEFORE INSERT OR UPDATE ON pgkeep.backup FOR EACH ROW EXECUTE FUNCTION evil.trigger()",
        "`backup` has the trigger `t`",
    ),
    ("CREATE RULE r AS ON INSERT TO pgkeep.backup DO ALSO SELECT evil.mark()", "`backup` has the rule `r`"),
    (
        "CREATE POLICY p ON pgkeep.backup USING (evil.is_marked()); ALTER TABLE pgkeep.backup ENABLE ROW LEVEL SECURITY",
        "`backup` has row security",
    ),
    (
        "ALTER TABLE pgkeep.backup ALTER COLUMN heartbeat_at SET DEFAULT now() + length(evil.mark()) * interval '0 s'",
        "`backup` uses function evil.mark()",
    ),
    ("ALTER TABLE pgkeep.copy ADD CHECK (evil.is_marked())", "`copy` uses function evil.is_marked()"),
    ("CREATE INDEX ON pgkeep.backup (evil.constant(id))", "`backup` uses function evil.constant(text)"),
    (
        "CREATE INDEX ON pgkeep.backup (id) WHERE evil.constant(id) <> ''",
        "`backup` uses function evil.constant(text)",
    ),
    (
        "ALTER TABLE pgkeep.delivery ADD COLUMN odd text GENERATED ALWAYS AS (evil.constant(event)) STORED",
        "`delivery` uses function evil.constant(text)",
    ),
    (
        "CREATE DOMAIN evil.domain AS text CHECK (evil.is_marked()); ALTER TABLE pgkeep.delivery ADD COLUMN odd evil.domain",
        "`delivery` uses type evil.domain",
    ),
    (
        "CREATE TABLE evil.child () INHERITS (pgkeep.backup)",
        "`backup` inherits from a table, or is inherited from",
    ),
    (
        "CREATE TABLE evil.reference (id text REFERENCES pgkeep.backup ON DELETE CASCADE)",
        "`backup` has a foreign key from or to a table elsewhere",
    ),
];

/// A role that owns the site's database, and no more, with what leaves marks in it.
fn tenant(site: &Site) -> String {
    let role = unique("tenant");
    site.cluster.execute("postgres", &format!("CREATE ROLE {role} LOGIN"));
    site.cluster.execute("postgres", &format!("ALTER DATABASE \"{}\" OWNER TO {role}", site.database));
    as_tenant(site, &role, EVIL);
    role
}

fn session_of(site: &Site, role: &str) -> Client {
    let mut config = postgres::Config::new();
    config.host_path(&site.cluster.socket_dir).port(site.cluster.port).user(role).dbname(&site.database);
    config.connect(postgres::NoTls).unwrap()
}

fn as_tenant(site: &Site, role: &str, statements: &str) {
    session_of(site, role)
        .batch_execute(statements)
        .unwrap_or_else(|error| panic!("{statements}: {error:?}"));
}

/// A URL of a role that may read all and make a schema, as the README has it.
fn ordinary(site: &Site) -> String {
    let role = unique("reader");
    let grant = format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'reader'; GRANT pg_read_all_data TO {role}; \
         GRANT CONNECT, CREATE ON DATABASE \"{}\" TO {role}",
        site.database
    );
    site.cluster.execute("postgres", &grant);
    format!("postgresql://{role}:reader@127.0.0.1:{}/{}", site.cluster.port, site.database)
}

/// Gives the catalog, the schema with all that is in it, to a role.
fn give_catalog(site: &Site, role: &str) {
    let give = format!(
        "DO $$ DECLARE name text; BEGIN
            EXECUTE 'ALTER SCHEMA pgkeep OWNER TO {role}';
            FOR name IN SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'pgkeep'::regnamespace
                AND relkind IN ('r', 'v') LOOP EXECUTE 'ALTER TABLE ' || name || ' OWNER TO {role}'; END LOOP;
         END $$"
    );
    site.cluster.execute(&site.database, &give);
}

fn assert_no_mark(site: &Site) {
    let rows = site.cluster.connect(&site.database).query("SELECT who FROM evil.log", &[]).unwrap();
    let marks: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(marks, Vec::<String>::new());
}

/// Each trap: in a catalog that the tenant owns, and in one that is ours by now, as after a restore.
fn assert_no_trap_is_sprung(is_superuser: bool) {
    let mut site = Site::new().local_only();
    if !is_superuser {
        let url = ordinary(&site);
        site.config.set("source.url", url);
    }
    let role = tenant(&site);
    for (trap, words) in TRAPS {
        site.pgkeep(["list"]).any_stdout().any_stderr().run();
        let owner: String = session_of(&site, &role)
            .query_one("SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'pgkeep'", &[])
            .unwrap()
            .get(0);
        give_catalog(&site, &role);
        as_tenant(&site, &role, trap);
        let refused = || site.pgkeep(["list"]).code(1).stderr_has("is not trusted with the catalog");
        refused().stderr_has(&format!("it belongs to role `{role}`")).run();
        give_catalog(&site, &owner);
        refused().stderr_has(words).run();
        site.pgkeep(["alert", "check"]).any_code().any_stdout().any_stderr().run();
        assert_no_mark(&site);
        let clean = "DROP SCHEMA pgkeep CASCADE; DROP SCHEMA evil CASCADE";
        site.cluster.execute(&site.database, clean);
        as_tenant(&site, &role, EVIL);
    }
}

#[test]
fn no_trap_in_a_catalog_is_sprung_by_a_superuser() {
    assert_no_trap_is_sprung(true);
}

#[test]
fn no_trap_in_a_catalog_is_sprung_by_an_ordinary_role() {
    assert_no_trap_is_sprung(false);
}

/// Functions in the schema that are called as the server's own are: no path leads to them.
#[test]
fn functions_in_the_schema_take_nobodys_place() {
    let site = Site::new().local_only();
    let role = tenant(&site);
    let shadows = "
        CREATE FUNCTION pgkeep.now() RETURNS timestamptz LANGUAGE sql AS
            $$ INSERT INTO evil.log DEFAULT VALUES; SELECT clock_timestamp() $$;
        CREATE FUNCTION pgkeep.md5(text) RETURNS text LANGUAGE sql AS $$ SELECT evil.mark() $$;
        CREATE FUNCTION pgkeep.same(text, text) RETURNS boolean LANGUAGE sql AS $$ SELECT evil.is_marked() $$;
        CREATE OPERATOR pgkeep.= (FUNCTION = pgkeep.same, LEFTARG = text, RIGHTARG = text);";
    as_tenant(&site, &role, &format!("CREATE SCHEMA pgkeep; {shadows}"));
    site.pgkeep(["list"]).code(1).stderr_has(&format!("it belongs to role `{role}`")).run();
    // Ours by now, and the functions still the tenant's: before the tables are made.
    site.cluster.execute(&site.database, "ALTER SCHEMA pgkeep OWNER TO postgres");
    site.pgkeep(["list"]).code(1).stderr_has(&format!("function `now` belongs to role `{role}`")).run();
    // All of it ours: nothing of it is called.
    site.cluster.execute(&site.database, &format!("REASSIGN OWNED BY {role} TO postgres"));
    site.pgkeep(["backup", "full"]).any_stdout().run();
    site.pgkeep(["list"]).any_stdout().run();
    assert_no_mark(&site);
}

/// One table of another owner is enough, and so is a right to create.
#[test]
fn whose_each_thing_is_counts() {
    let site = Site::new().local_only();
    let role = tenant(&site);
    site.pgkeep(["list"]).any_stdout().run();
    let execute = |text: &str| site.cluster.execute(&site.database, &text.replace("TENANT", &role));
    let refused = || site.pgkeep(["list"]).code(1).stderr_has("is not trusted").stderr_has("hint");
    execute("ALTER TABLE pgkeep.delivery OWNER TO TENANT");
    refused().stderr_has(&format!("`delivery` belongs to role `{role}`")).run();
    execute("ALTER TABLE pgkeep.delivery OWNER TO postgres; GRANT CREATE ON SCHEMA pgkeep TO TENANT");
    refused().stderr_has(&format!("role `{role}` may create in it")).run();
    // Who may read, or was let write, runs nothing.
    execute("REVOKE CREATE ON SCHEMA pgkeep FROM TENANT; GRANT USAGE ON SCHEMA pgkeep TO PUBLIC");
    execute("GRANT SELECT ON ALL TABLES IN SCHEMA pgkeep TO PUBLIC; GRANT UPDATE ON pgkeep.alert TO TENANT");
    site.pgkeep(["list"]).any_stdout().run();
    site.pgkeep(["doctor"])
        .any_code()
        .any_stderr()
        .stdout_has(&format!("may forge what is on record: role `{role}`"))
        .run();
    // Nor does a view of ours beside the tables.
    execute("CREATE VIEW pgkeep.mine AS SELECT id FROM pgkeep.backup");
    site.pgkeep(["list"]).any_stdout().run();
    // A role that was made a member of the owner is as good as it.
    let url = ordinary(&site);
    let reader = url.split("//").nth(1).unwrap().split(':').next().unwrap();
    let group = unique("keepers");
    execute(&format!("CREATE ROLE {group}; GRANT {group} TO {reader}"));
    give_catalog(&site, &group);
    let mut member = site.config.clone();
    member.set("source.url", url.as_str());
    let file = site.path("member.toml");
    member.write(&file);
    site.bare().args(["--config".as_ref(), file.as_os_str(), "list".as_ref()]).any_stdout().run();
}

/// What `pg_dump` is told to leave out.
fn arguments_of_dump(site: &mut Site) -> FakeBin {
    let bin = FakeBin::new(&site.path(""), "echo \"$*\" >\"$HERE/arguments\"; exec \"$REAL\" \"$@\"");
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    bin
}

fn leaves_out(bin: &FakeBin) -> bool {
    fs::read_to_string(bin.folder.join("arguments")).unwrap().contains("--exclude-schema")
}

/// Where the catalog is elsewhere, and where it should be here: nothing of the schema is read, and all of it is dumped.
#[test]
fn a_schema_of_somebody_elses_is_dumped_and_not_read() {
    for is_elsewhere in [true, false] {
        let mut site = Site::new().local_only();
        if is_elsewhere {
            site = site.with_own_catalog();
        }
        let bin = arguments_of_dump(&mut site);
        let role = tenant(&site);
        let made = "CREATE SCHEMA pgkeep; CREATE VIEW pgkeep.identity AS SELECT evil.mark()::uuid AS id;
            CREATE TABLE pgkeep.treasure AS SELECT 7 AS n";
        as_tenant(&site, &role, made);
        let call = site.pgkeep(["backup", "full"]).code(if is_elsewhere { 0 } else { 3 });
        let call = call.any_stdout().stderr_has("is not taken for a catalog, and is dumped like any other");
        call.stderr_has(&format!("it belongs to role `{role}`")).run();
        assert_no_mark(&site);
        assert!(!leaves_out(&bin));
    }
}

/// The catalog's own schema stays out, also where the role that dumps is not the one that keeps the catalog.
#[test]
fn the_catalog_of_another_role_stays_out_of_the_dump() {
    let mut site = Site::new().local_only();
    let bin = arguments_of_dump(&mut site);
    site.backup();
    assert!(leaves_out(&bin));
    let keeper = unique("keeper");
    site.cluster.execute("postgres", &format!("CREATE ROLE {keeper} LOGIN PASSWORD 'keeper'"));
    give_catalog(&site, &keeper);
    let url = format!("postgresql://{keeper}:keeper@127.0.0.1:{}/{}", site.cluster.port, site.database);
    site.config.set("catalog.url", url);
    site.backup();
    assert!(leaves_out(&bin));
}

/// A catalog as the versions before made it: it opens, and is brought up to date.
#[test]
fn a_catalog_of_an_older_pgkeep_opens() {
    let site = Site::new().local_only();
    let made = [
        include_str!("../../../src/catalog/migrations/V1__backups_and_copies.sql"),
        include_str!("../../../src/catalog/migrations/V2__indexes_of_list.sql"),
        include_str!("../../../src/catalog/migrations/V3__pins_and_locks.sql"),
        include_str!("../../../src/catalog/migrations/V4__alerts.sql"),
    ];
    let mut old = "CREATE SCHEMA pgkeep; SET search_path TO pgkeep; CREATE TABLE refinery_schema_history (
        version int4 PRIMARY KEY, name varchar(255), applied_on varchar(255), checksum varchar(255));"
        .to_owned();
    for (number, text) in made.iter().enumerate() {
        old.push_str(&text.replace("{schema}.", "").replace("pg_catalog.", ""));
        let version = number + 1;
        old.push_str(&format!(
            "INSERT INTO refinery_schema_history VALUES ({version}, 'old', '2026-01-01T00:00:00Z', '{version}');"
        ));
    }
    site.cluster.execute(&site.catalog, &old);
    let id = site.backup();
    assert_eq!(site.row(&id)["status"], "verified");
}
