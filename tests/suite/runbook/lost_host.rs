//! The host is gone: a bucket, a key and a machine that knows nothing are all there is, and everything comes back.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::{commands, type_in};
use crate::support::Site;
use crate::support::cluster::Cluster;
use crate::support::compare::{contents, schema};
use crate::support::tools::{finish, give_to_postgres, is_root};

const DATABASES: [&str; 2] = ["shop", "crm"];

/// All that a cluster is, each thing by its name.
fn all_of(cluster: &Cluster) -> BTreeMap<String, Vec<String>> {
    let mut found = BTreeMap::new();
    found.insert("globals".to_owned(), globals(cluster));
    let list = |database: &str, query: &str| -> Vec<String> {
        cluster.connect(database).query(query, &[]).unwrap().iter().map(|row| row.get(0)).collect()
    };
    for (name, query) in [
        (
            "settings",
            "SELECT concat_ws(' ', name, setting, sourcefile) FROM pg_settings \
             WHERE source = 'configuration file' ORDER BY name",
        ),
        ("hba", "SELECT to_jsonb(t)::text FROM pg_hba_file_rules t ORDER BY line_number"),
        ("ident", "SELECT to_jsonb(t)::text FROM pg_ident_file_mappings t ORDER BY line_number"),
        (
            "databases",
            "SELECT concat_ws(' ', datname, pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype, \
             datconnlimit, spcname, shobj_description(d.oid, 'pg_database')) \
             FROM pg_database d JOIN pg_tablespace t ON t.oid = dattablespace ORDER BY datname",
        ),
        (
            "rights on databases",
            "SELECT concat_ws(' ', datname, grantor::regrole, grantee::regrole, privilege_type, is_grantable) \
             FROM pg_database, aclexplode(datacl) ORDER BY 1",
        ),
        (
            "settings of databases",
            "SELECT concat_ws(' ', datname, setrole::regrole, setconfig) FROM pg_db_role_setting \
             LEFT JOIN pg_database d ON d.oid = setdatabase ORDER BY 1",
        ),
    ] {
        found.insert(name.to_owned(), list("postgres", query));
    }
    for database in DATABASES {
        let rows = contents(cluster, database).into_iter().map(|(name, hash)| format!("{name} {hash}"));
        found.insert(format!("rows of {database}"), rows.collect());
        // Owners, rights, policies, extensions, tablespaces.
        let lines = schema(cluster, database).lines().map(str::to_owned).collect();
        found.insert(format!("schema of {database}"), lines);
        let rights = "SELECT concat_ws(' ', c.oid::regclass, c.relowner::regrole, acl.grantor::regrole, acl.grantee::regrole, \
             acl.privilege_type, acl.is_grantable) FROM pg_class c, aclexplode(c.relacl) acl \
             WHERE c.relnamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema', 'pgkeep') ORDER BY 1";
        found.insert(format!("rights in {database}"), list(database, rights));
        let extensions = "SELECT concat_ws(' ', extname, extversion, extnamespace::regnamespace) FROM pg_extension ORDER BY 1";
        found.insert(format!("extensions of {database}"), list(database, extensions));
    }
    found
}

fn globals(cluster: &Cluster) -> Vec<String> {
    let text = finish(cluster.client_program("pg_dumpall", "postgres").arg("--globals-only"));
    // Newer ones have a word of their own in every dump.
    text.lines().filter(|line| !line.contains("restrict ")).map(str::to_owned).collect()
}

/// A host with all that a dump leaves out, and one night's backup of it.
fn host() -> (Site, tempfile::TempDir) {
    let mut site = Site::alone();
    // The tests' own, which is in no page.
    site.cluster.execute("postgres", "DROP DATABASE sample");
    let spaces = tempfile::Builder::new().prefix("pgkeep-spaces").tempdir().unwrap();
    give_to_postgres(spaces.path());
    for name in ["fast", "slow one"] {
        fs::create_dir(spaces.path().join(name)).unwrap();
        give_to_postgres(&spaces.path().join(name));
    }
    let text = include_str!("../../sql/host.sql").replace("{space}", spaces.path().to_str().unwrap());
    // Some of it stands in no transaction: each statement by itself.
    for statement in statements(&text) {
        site.cluster.execute("postgres", &statement);
    }
    site.cluster.execute("crm", include_str!("../../sql/crm.sql"));
    let data = site.cluster.socket_dir.join("data");
    let add = |file: &Path, lines: &str| fs::write(file, fs::read_to_string(file).unwrap() + lines).unwrap();
    add(
        &data.join("pg_hba.conf"),
        "host crm user_1,+team_1 10.0.0.0/8 scram-sha-256\nhost all dba 0.0.0.0/0 reject\n",
    );
    add(&data.join("pg_ident.conf"), "ops root dba\n");
    add(&data.join("postgresql.conf"), "include_if_exists = 'ours.conf'\nwork_mem = '6MB'\n");
    fs::write(
        data.join("ours.conf"),
        "log_min_duration_statement = '1500ms'\nshared_preload_libraries = 'pg_stat_statements'\n",
    )
    .unwrap();
    give_to_postgres(&data.join("ours.conf"));
    site.cluster.execute("postgres", "ALTER SYSTEM SET maintenance_work_mem = '99MB'");
    site.cluster.restart();
    site.config.set("config.with_full", true);
    site.config.set("source.databases", vec!["*"]);
    let url = site.cluster.url("postgres");
    site.config.set("source.url", url);
    "postgres".clone_into(&mut site.catalog);
    (site, spaces)
}

/// The statements of a script, a semicolon at the end of a line each.
fn statements(text: &str) -> Vec<String> {
    let is_block = |text: &str| text.matches("$$").count() == 1;
    let mut found: Vec<String> = Vec::new();
    let mut statement = String::new();
    for line in text.lines() {
        statement.push_str(line);
        statement.push('\n');
        if line.ends_with(';') && !is_block(&statement) {
            found.push(std::mem::take(&mut statement));
        }
    }
    found
}

#[test]
fn all_of_it_comes_back_from_a_bucket_and_a_key() {
    let (mut site, spaces) = host();
    site.pgkeep(["backup", "full"]).any_stdout().run();
    let before = all_of(site.cluster);
    let roles = before["globals"].iter().filter(|line| line.starts_with("CREATE ROLE")).count();
    assert!(roles >= 40, "{roles}");
    // Fire.
    site.cluster.destroy();
    for folder in
        [site.local(), site.path("state"), spaces.path().join("fast"), spaces.path().join("slow one")]
    {
        fs::remove_dir_all(folder).unwrap();
    }
    site.b2.remove();
    site.config.keep_stores(&["r2"]);
    let fresh = site.cluster.anew();
    assert_ne!(globals(&fresh), before["globals"]);
    let commands = commands("THE HOST IS LOST");
    let home = site.path("");
    let mut said = String::new();
    let mut headings: Vec<&String> = commands.keys().collect();
    for heading in [
        "What is there",
        "Settings and files",
        "Roles and tablespaces",
        "Each database",
        "The record",
        "Is it all there?",
    ] {
        let mut script = commands[heading].clone();
        if !is_root() {
            // Who is not root has a server of its own.
            script = script.replace(" -o postgres -g postgres", "");
        }
        said = type_in(&site, &home, &script);
        if heading == "Settings and files" {
            fresh.restart();
        }
        headings.retain(|known| *known != heading);
    }
    assert!(headings.is_empty(), "each block is run: {headings:?}");
    assert!(said.contains("nothing differs between"), "{said}");
    let after = all_of(&fresh);
    for (name, was) in &before {
        let is = &after[name];
        for line in was {
            assert!(is.contains(line), "{name}: `{line}` is lost: {is:#?}");
        }
        assert_eq!(was, is, "{name}");
    }
    fresh.destroy();
}
