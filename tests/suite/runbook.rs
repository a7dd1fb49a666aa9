//! pgkeep-recovery(7): each case of the page, its commands run word for word as they stand there.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::docs::documents::plain;
use crate::support::compare::{contents, schema};
use crate::support::tools::{binary, pg_bin};
use crate::support::{Site, key, project};

mod lost_host;

/// The page as plain text, a line of groff each.
fn page() -> Vec<String> {
    let text = fs::read_to_string(project().join("man/pgkeep-recovery.7")).unwrap();
    text.lines().map(plain).collect()
}

/// The commands of a section (`.SH`), by the heading they stand under (`.SS`, or the section's own).
fn commands(section: &str) -> BTreeMap<String, String> {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    let (mut is_here, mut is_example, mut heading) = (false, false, section.to_owned());
    for line in page() {
        if let Some(name) = line.strip_prefix(".SH ") {
            is_here = name == section;
        } else if let Some(name) = line.strip_prefix(".SS ").filter(|_| is_here) {
            name.clone_into(&mut heading);
        } else if line == ".EX" || line == ".EE" {
            is_example = is_here && line == ".EX";
        } else if is_example {
            let block = found.entry(heading.clone()).or_default();
            block.push_str(&line);
            block.push('\n');
        }
    }
    assert!(!found.is_empty(), "the page has no section `{section}` with commands");
    found
}

/// A shell as its reader has it: pgkeep and PostgreSQL's programs in the `PATH`, the configuration where it is
/// looked for, the server where libpq looks for it.
fn type_in(site: &Site, folder: &Path, script: &str) -> String {
    let bin = folder.join("bin");
    if !bin.exists() {
        fs::create_dir(&bin).unwrap();
        symlink(binary(), bin.join("pgkeep")).unwrap();
        for entry in fs::read_dir(pg_bin()).unwrap().flatten() {
            symlink(entry.path(), bin.join(entry.file_name())).unwrap();
        }
    }
    let config = folder.join(".config/pgkeep/config.toml");
    fs::create_dir_all(config.parent().unwrap()).unwrap();
    site.config.write(&config);
    let python = crate::support::tools::python();
    let path = [&bin, python.parent().unwrap(), Path::new("/usr/local/bin:/usr/bin:/bin")];
    let path: Vec<&str> = path.iter().map(|folder| folder.to_str().unwrap()).collect();
    let done = Command::new("bash")
        .args(["-euxc", script])
        .current_dir(folder)
        .env_clear()
        .env("HOME", folder)
        .env("PATH", path.join(":"))
        .env("LANG", "C.UTF-8")
        .env("PGHOST", &site.cluster.socket_dir)
        .env("PGPORT", site.cluster.port.to_string())
        .env("PGUSER", "postgres")
        .env("R2_SECRET", &site.r2.server.credentials.secret)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (out, said) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{script}\n--- stdout\n{out}\n--- stderr\n{said}");
    format!("{out}{said}")
}

/// A site as the page supposes it, with one backup; its folder to type in, and what the database holds.
fn shop() -> (Site, String, BTreeMap<String, String>) {
    let site = Site::alone().with_own_catalog();
    let id = site.backup();
    let held = contents(site.cluster, "shop");
    (site, id, held)
}

fn drop_catalog(site: &Site) {
    site.cluster.execute(&site.catalog, "DROP SCHEMA pgkeep CASCADE");
}

#[test]
fn the_database_is_lost() {
    let (site, _, held) = shop();
    let dumped = schema(site.cluster, "shop");
    let home = site.path("");
    site.cluster.execute("shop", "DROP TABLE customer CASCADE");
    let commands = commands("THE DATABASE IS LOST");
    for heading in ["What is there", "Into a new database", "Only one table", "When roles are missing"] {
        type_in(&site, &home, &commands[heading]);
    }
    assert_eq!(commands.len(), 4, "each block is run: {:?}", commands.keys());
    assert_eq!(contents(site.cluster, "shop"), held);
    assert_eq!(schema(site.cluster, "shop"), dumped);
    assert_eq!(contents(site.cluster, "shop_mine"), held);
    let one = contents(site.cluster, "shop_table");
    assert_eq!(one["r public.invoice"], held["r public.invoice"]);
}

#[test]
fn the_catalog_is_lost() {
    let (site, id, _) = shop();
    let before = site.row(&id);
    drop_catalog(&site);
    let said = type_in(&site, &site.path(""), &commands("THE CATALOG IS LOST")["THE CATALOG IS LOST"]);
    assert!(said.contains(&id), "{said}");
    let after = site.row(&id);
    for column in
        ["checksum", "size_bytes", "local_path", "r2_path", "b2_path", "created_at", "compression_ratio"]
    {
        assert_eq!(after[column], before[column], "{column}");
    }
    site.pgkeep(["verify", &id, "--level", "content"]).any_stdout().run();
}

#[test]
fn keys_are_lost_but_one() {
    let (mut site, old, _) = shop();
    let home = site.path("");
    fs::copy(site.path("pgkeep.key"), home.join("old.key")).unwrap();
    let newer = site.path("newer.key");
    key::write_private(&newer, &format!("{}\n", key::made_up(5)));
    site.config.set("encryption.key_file", newer.to_str().unwrap());
    site.config.set("encryption.open_with", vec![site.path("pgkeep.key").to_str().unwrap().to_owned()]);
    let new = site.backup();
    fs::remove_file(&newer).unwrap();
    drop_catalog(&site);
    site.config.write(&home.join("config.toml"));
    let said = type_in(&site, &home, &commands("KEYS ARE LOST")["KEYS ARE LOST"]);
    assert!(said.contains(&key::id(&site.key)), "{said}");
    assert!(said.contains(&format!("restored {old} from r2")), "{said}");
    assert!(!said.contains(&format!("restored {new}")), "{said}");
    assert!(fs::read(home.join("shop.dump")).unwrap().starts_with(b"PGDMP"));
}

#[test]
fn a_store_is_lost() {
    let (site, id, _) = shop();
    fs::remove_dir_all(site.local()).unwrap();
    for name in site.b2.keys() {
        site.b2.delete(&name);
    }
    let said = type_in(&site, &site.path(""), &commands("A STORE IS LOST")["A STORE IS LOST"]);
    assert!(said.contains("repaired"), "{said}");
    site.assert_copies(&id, &["local", "r2", "b2"]);
    site.pgkeep(["verify", &id, "--level", "content"]).any_stdout().run();
}

#[test]
fn pgkeep_itself_is_lost() {
    let (site, id, held) = shop();
    let folder = site.path("rescue");
    fs::create_dir(&folder).unwrap();
    let artifact = site.row(&id)["r2_path"].as_str().unwrap().to_owned();
    for (key, name) in [
        (artifact.clone(), format!("{id}.dump.gz.pgk")),
        (format!("{artifact}.json"), format!("{id}.dump.gz.pgk.json")),
    ] {
        fs::write(folder.join(name), site.r2.get(&key)).unwrap();
    }
    fs::copy(site.path("pgkeep.key"), folder.join("pgkeep.key")).unwrap();
    fs::write(folder.join("open.py"), crate::docs::recovery_script()).unwrap();
    let script = commands("WITHOUT PGKEEP")["WITHOUT PGKEEP"].clone();
    let said = type_in(&site, &folder, &script);
    assert!(
        said.contains("whole: shop.dump") && said.contains(site.row(&id)["checksum"].as_str().unwrap()),
        "{said}"
    );
    assert_eq!(contents(site.cluster, "shop_by_hand"), held);
}
