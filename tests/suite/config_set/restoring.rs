//! `pgkeep restore` of a config backup: listed, into a folder, its roles and tablespaces into a cluster.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use flate2::write::GzEncoder;
use pgkeep::key::Key;
use pgkeep::name::BackupId;
use pgkeep::pipeline::header::{self, Packing};
use pgkeep::pipeline::seal::Sealer;
use serde_json::{Value, json};

use crate::support::cluster::{Cluster, unique};
use crate::support::tools::{give_to_postgres, is_root, sha256_hex};
use crate::support::{FakeBin, Site};

/// A site with a folder of a few files to keep, and a config backup of it.
fn kept() -> (Site, String, PathBuf) {
    let mut site = Site::alone().local_only();
    let etc = site.path("etc");
    fs::create_dir(&etc).unwrap();
    fs::write(etc.join("site.conf"), "listen 80;\n").unwrap();
    fs::set_permissions(etc.join("site.conf"), fs::Permissions::from_mode(0o640)).unwrap();
    symlink("/etc/hostname", etc.join("link")).unwrap();
    if is_root() {
        give_to_postgres(&etc.join("site.conf"));
    }
    site.config.set("config.files", vec![etc.to_str().unwrap()]);
    let id = site.pgkeep(["backup", "config"]).any_stdout().run().id();
    (site, id, etc)
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

/// Where root restores, owners come back: nobody else may have a hand in that.
#[test]
fn root_restores_into_nobody_elses_folder() {
    let (site, id, _) = kept();
    let shared = site.path("shared");
    fs::create_dir(&shared).unwrap();
    give_to_postgres(&shared);
    let out = shared.join("out");
    let call = site.pgkeep(["restore", &id, "--output", out.to_str().unwrap()]).any_stdout().any_stderr();
    let ran = call.any_code().run();
    let is_refused = ran.code == 1 && ran.stderr.contains("is not root's alone");
    assert_eq!(is_refused, is_root(), "{}", ran.stderr);
    assert_eq!(out.exists(), !is_root());
}

#[test]
fn its_list_shows_each_file() {
    let (site, id, etc) = kept();
    let name = format!("files{}/site.conf", etc.display());
    let text = site.pgkeep(["restore", &id, "--list"]).any_stdout().run().stdout;
    let line = text.lines().find(|line| line.ends_with(&name)).unwrap_or_else(|| panic!("{text}"));
    assert!(line.starts_with("-rw-r-----") && line.contains(" 11 "), "{line}");
    assert!(text.contains(&format!("files{}/link -> /etc/hostname", etc.display())), "{text}");
    let document = site.pgkeep(["restore", "latest", "--list", "--json"]).any_stdout().run().json();
    let entries = document["entries"].as_array().unwrap();
    let entry = entries.iter().find(|entry| entry["path"] == name.as_str()).unwrap();
    assert_eq!(
        (&entry["size_bytes"], &entry["mode"], &entry["what"]),
        (&json!(11), &json!(0o640), &json!("file"))
    );
    assert_eq!((&document["id"], &document["notes"]["missing"]), (&json!(id), &json!([])), "{document:#}");
}

/// Everything under the folder, as it was; nothing anywhere else, and nothing that is there is written over.
#[test]
fn its_files_become_a_folder() {
    let (site, id, etc) = kept();
    let out = site.path("out");
    let target = out.to_str().unwrap();
    site.pgkeep(["restore", &id, "--output", target])
        .stdout_has("restored")
        .stderr_has("into the new folder")
        .run();
    assert_eq!(mode(&out), 0o700);
    let file = out.join("files").join(etc.strip_prefix("/").unwrap()).join("site.conf");
    assert_eq!((fs::read_to_string(&file).unwrap().as_str(), mode(&file)), ("listen 80;\n", 0o640));
    let (was, is) = (fs::metadata(etc.join("site.conf")).unwrap(), fs::metadata(&file).unwrap());
    assert_eq!((was.uid(), was.gid(), was.mtime()), (is.uid(), is.gid(), is.mtime()));
    assert_eq!(mode(&out.join("globals.sql")), 0o600);
    assert_eq!(fs::read_link(file.with_file_name("link")).unwrap(), Path::new("/etc/hostname"));
    // Neither over what is there, nor into what is no folder, nor where there is no place.
    site.pgkeep(["restore", &id, "--output", target]).code(1).stderr_has("is not empty").run();
    site.pgkeep(["restore", &id, "--output", file.to_str().unwrap()])
        .code(1)
        .stderr_has("exists already")
        .run();
    let nowhere = site.path("no/where");
    site.pgkeep(["restore", &id, "--output", nowhere.to_str().unwrap()])
        .code(1)
        .stderr_has("make it first")
        .run();
    let empty = site.path("empty");
    fs::create_dir(&empty).unwrap();
    fs::set_permissions(&empty, fs::Permissions::from_mode(0o750)).unwrap();
    site.pgkeep(["restore", &id, "--output", empty.to_str().unwrap()]).any_stdout().any_stderr().run();
    // It stays the folder that it was.
    assert!(empty.join("notes.json").exists());
    assert_eq!(mode(&empty), 0o750);
    let link = fs::symlink_metadata(file.with_file_name("link")).unwrap();
    assert_eq!(link.mtime(), fs::symlink_metadata(etc.join("link")).unwrap().mtime());
    // Of a copy that is damaged nothing is made.
    let artifact = PathBuf::from(site.copies(&id)["local"]["path"].as_str().unwrap());
    let mut bytes = fs::read(&artifact).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&artifact, bytes).unwrap();
    let damaged = site.path("damaged");
    site.pgkeep(["restore", &id, "--output", damaged.to_str().unwrap()]).code(4).stderr_has("damaged").run();
    let left: Vec<String> = fs::read_dir(site.path(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains(".part") || name == "damaged")
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// An artifact that opens, and whose archive leads elsewhere: whoever made it had the key, and nothing is made all the same.
#[test]
fn an_archive_that_leads_elsewhere_is_refused() {
    let (site, id, _) = kept();
    let name = BackupId::parse(&id).unwrap();
    let artifact = PathBuf::from(site.copies(&id)["local"]["path"].as_str().unwrap());
    let escaped = site.path("escaped");
    let file = tar::EntryType::Regular;
    let link = tar::EntryType::Symlink;
    let absolute = escaped.to_str().unwrap().to_owned();
    for (what, entries) in [
        ("up", vec![("../escaped", file, "")]),
        ("up deeper", vec![("files/../../escaped", file, "")]),
        ("absolute", vec![(absolute.as_str(), file, "")]),
        (
            "through a link",
            vec![("files", link, site.path("").to_str().unwrap()), ("files/escaped", file, "")],
        ),
        ("a device", vec![("files/x", tar::EntryType::Block, "")]),
        ("a hard link", vec![("files/x", tar::EntryType::Link, "/etc/passwd")]),
        ("a server's link", vec![("server/etc/x", link, "/etc/passwd")]),
        ("below a file", vec![("files/x", file, ""), ("files/x/y", file, "")]),
        ("twice", vec![("globals.sql", file, "CREATE ROLE twice;")]),
        ("no notes", vec![("files/x", file, "")]),
        ("no end", vec![("files/x", file, "")]),
    ] {
        let mut archive = tar::Builder::new(Vec::new());
        let always = [
            ("notes.json", file, "{\"has_passwords\":true}"),
            ("globals.sql", file, "CREATE ROLE made_by_it;"),
            ("settings.json", file, "[]"),
            ("databases.json", file, "{}"),
        ];
        let is_there = |it: &&(&str, tar::EntryType, &str)| what != "no notes" || it.0 != "notes.json";
        for (path, kind, text) in always.iter().filter(is_there).chain(&entries) {
            let mut entry = tar::Header::new_gnu();
            entry.set_entry_type(*kind);
            entry.set_mode(0o644);
            entry.set_uid(0);
            entry.set_gid(0);
            entry.set_mtime(0);
            let bytes = if *kind == file { text.as_bytes() } else { b"" };
            entry.set_size(bytes.len() as u64);
            let raw = entry.as_old_mut();
            raw.name[..path.len()].copy_from_slice(path.as_bytes());
            if *kind != file {
                raw.linkname[..text.len()].copy_from_slice(text.as_bytes());
            }
            entry.set_cksum();
            archive.append(&entry, bytes).unwrap();
        }
        let mut plain = archive.into_inner().unwrap();
        if what == "no end" {
            plain.truncate(plain.len() - 1024);
        }
        let mut gz = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(&plain).unwrap();
        let secrets = header::create(&name, Packing::Gzip, &Key::parse(&site.key).unwrap()).unwrap();
        let mut sealed = Vec::new();
        let mut sealer = Sealer::new(secrets, |block| {
            sealed.extend_from_slice(&block);
            Ok(())
        });
        sealer.write(&gz.finish().unwrap()).unwrap();
        sealer.finish().unwrap();
        fs::write(&artifact, &sealed).unwrap();
        let row = format!(
            "UPDATE pgkeep.backup SET metadata = metadata || '{}' WHERE id = '{id}'",
            json!({ "dump_checksum": sha256_hex(&plain), "dump_bytes": plain.len() })
        );
        site.cluster.execute(&site.catalog, &row);
        let out = site.path("out");
        let into = ["--output", out.to_str().unwrap()];
        let said = site
            .pgkeep(["restore", &id])
            .args(into)
            .code(4)
            .stderr_has("no config backup as it should be")
            .run();
        assert!(!out.exists() && !escaped.exists(), "{what}: {}", said.stderr);
        site.pgkeep(["restore", &id, "--list"]).code(4).stderr_has("no config backup as it should be").run();
        let url = site.cluster.url(&site.database);
        let call = site.pgkeep(["restore", &id, "--globals", "--into", &url]).code(4).any_stderr();
        call.stderr_has("no config backup as it should be").run();
        site.pgkeep(["verify", &id, "--level", "content"]).code(4).any_stdout().any_stderr().run();
        site.pgkeep(["diff", &id]).code(4).stderr_has("no config backup as it should be").run();
    }
}

/// Roles, memberships and tablespaces in a cluster that has some of them.
#[test]
fn its_globals_are_made_where_they_are_missing() {
    let site = Site::alone().local_only();
    let spaces = tempfile::Builder::new().prefix("pgkeep-spaces").tempdir().unwrap();
    let space = spaces.path().join("fast");
    fs::create_dir(&space).unwrap();
    give_to_postgres(spaces.path());
    give_to_postgres(&space);
    site.cluster.execute(
        "postgres",
        "CREATE ROLE staff; CREATE ROLE \"odd \"\"; DROP ROLE staff; --\" LOGIN PASSWORD 'pw' CONNECTION LIMIT 3; \
         GRANT staff TO \"odd \"\"; DROP ROLE staff; --\" WITH ADMIN OPTION; ALTER ROLE staff SET work_mem TO '7MB'; \
         CREATE ROLE there LOGIN PASSWORD 'one'; CREATE ROLE deputy; GRANT staff TO there; COMMENT ON ROLE staff IS 'it''s; a comment'",
    );
    let make = format!("CREATE TABLESPACE fast OWNER staff LOCATION '{}'", space.display());
    site.cluster.execute("postgres", &make);
    // Who granted a right is a part of it.
    site.cluster.execute(
        "postgres",
        "GRANT CREATE ON TABLESPACE fast TO deputy WITH GRANT OPTION; SET SESSION AUTHORIZATION deputy; \
         GRANT CREATE ON TABLESPACE fast TO there; RESET SESSION AUTHORIZATION",
    );
    let id = site.pgkeep(["backup", "config"]).any_stdout().run().id();
    let other = Cluster::start();
    other.execute("postgres", "CREATE ROLE there NOLOGIN");
    let before = globals(&other);
    let into = other.url("postgres");
    let call = |more: &[&str]| site.pgkeep(["restore", &id, "--globals", "--into", &into]).args(more);
    // What would be done, without a hash, and nothing done.
    let shown = call(&["--dry-run"]).any_stdout().run().stdout;
    assert!(shown.contains("CREATE ROLE staff;") && shown.contains("PASSWORD '(hidden)'"), "{shown}");
    assert!(!shown.contains("SCRAM"), "{shown}");
    for name in ["there", "keeper", "postgres"] {
        assert!(shown.contains(&format!("-- role `{name}` is there, and left as it is")), "{shown}");
    }
    assert_eq!(globals(&other), before);
    // Its folder is gone on the new host: the roles stand, and what to do is said.
    fs::rename(&space, spaces.path().join("away")).unwrap();
    call(&[]).code(1).stderr_has("the roles are made").stderr_has("make that folder").run();
    fs::create_dir(&space).unwrap();
    give_to_postgres(&space);
    let told = call(&["--json"]).any_stdout().any_stderr().run().json();
    assert_eq!((&told["roles"], &told["tablespaces"]), (&json!([]), &json!(["fast"])), "{told:#}");
    let left: Vec<&str> =
        told["left_roles"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    assert!(left.contains(&"staff") && left.contains(&"there"), "{told:#}");
    let lines = |text: &str| {
        let is_same =
            |line: &&str| !line.contains("there") && !line.contains("keeper") && !line.starts_with("--");
        text.lines().filter(is_same).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(lines(&globals(&other)), lines(&globals(site.cluster)));
    // What is there is as it was, and a member now.
    let login: bool = other
        .connect("postgres")
        .query_one("SELECT rolcanlogin FROM pg_roles WHERE rolname = 'there'", &[])
        .unwrap()
        .get(0);
    assert!(!login);
    assert!(globals(&other).contains("GRANT staff TO there"), "{}", globals(&other));
    let rights = "SELECT string_agg(a.grantor::regrole || ' ' || a.grantee::regrole, ', ' ORDER BY 1) \
                  FROM pg_tablespace t, aclexplode(spcacl) a WHERE spcname = 'fast'";
    let of =
        |cluster: &Cluster| -> String { cluster.connect("postgres").query_one(rights, &[]).unwrap().get(0) };
    assert!(of(&other).contains("deputy there"), "{}", of(&other));
    assert_eq!(of(&other), of(site.cluster));
    // A second time nothing is left to do.
    call(&[]).stdout_has("made 0 roles, 0 tablespaces").stderr_has("its roles and tablespaces, into").run();
}

fn globals(cluster: &Cluster) -> String {
    let output = cluster.client_program("pg_dumpall", "postgres").arg("--globals-only").output().unwrap();
    assert!(output.status.success());
    // Newer ones have a word of their own in every dump.
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter(|line| !line.contains("restrict")).flat_map(|line| [line, "\n"]).collect()
}

/// Whatever stands there that `pg_dumpall` does not write: none of it is done.
#[test]
fn globals_that_are_more_than_roles_are_refused() {
    let mut site = Site::alone().local_only();
    let (victim, boss, evil) = (unique("victim"), unique("boss"), unique("evil"));
    site.cluster.execute("postgres", &format!("CREATE ROLE {victim}; CREATE ROLE {boss} SUPERUSER"));
    site.cluster.execute(&site.database, "CREATE TABLE precious ()");
    let before = globals(site.cluster);
    for more in [
        "ALTER ROLE SESSION_USER PASSWORD 'pwned'".to_owned(),
        format!("ALTER ROLE U&\"\\0{:x}{}\" WITH SUPERUSER", b'v', &victim[1..]),
        "ALTER ROLE ALL SET work_mem TO '1GB'".to_owned(),
        format!("GRANT {boss}, pg_execute_server_program TO {victim}"),
        "DROP TABLE precious".to_owned(),
        "ROLLBACK".to_owned(),
        "COMMIT; SELECT 1/0".to_owned(),
        "COPY (SELECT 1) TO PROGRAM 'true'".to_owned(),
    ] {
        let script = site.path("hostile.sql");
        fs::write(&script, format!("CREATE ROLE {evil};\n{more};\n")).unwrap();
        let bin = FakeBin::of("pg_dumpall", &site.path(""), &format!("cat '{}'", script.display()));
        site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
        let id = site.pgkeep(["backup", "config"]).any_stdout().run().id();
        let into = site.cluster.url(&site.database);
        for dry_run in [&["--dry-run"][..], &[]] {
            let call = site.pgkeep(["restore", &id, "--globals", "--into", &into]).args(dry_run);
            let said = call.code(4).any_stderr().stderr_has("pg_dumpall does not write").run();
            assert!(!said.stderr.contains("pwned"), "{}", said.stderr);
        }
        assert!(globals(site.cluster).lines().all(|line| !line.contains(&evil)), "{more}");
    }
    // A membership of two that are there is theirs.
    let granted = format!("CREATE ROLE {boss};\nCREATE ROLE {victim};\nGRANT {boss} TO {victim};\n");
    fs::write(site.path("hostile.sql"), granted).unwrap();
    let id = site.pgkeep(["backup", "config"]).any_stdout().run().id();
    let into = site.cluster.url(&site.database);
    let call = site.pgkeep(["restore", &id, "--globals", "--into", &into]).any_stderr();
    call.stdout_has(&format!(
        "not done, for it changes what is there or comes with a database: GRANT {boss} TO {victim}"
    ))
    .run();
    let ours = |text: &str| {
        text.lines().filter(|line| line.contains(&victim)).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(ours(&globals(site.cluster)), ours(&before));
    site.cluster.execute(&site.database, "SELECT FROM precious");
}

/// A date is the same date wherever it is read.
#[test]
fn a_date_style_of_the_server_changes_no_date() {
    let site = Site::alone().local_only();
    site.cluster.execute("postgres", "CREATE ROLE until VALID UNTIL '2031-02-01 03:04:05+00'");
    site.cluster.execute("postgres", "ALTER DATABASE shop SET datestyle = 'SQL, DMY'");
    let id = site.pgkeep(["backup", "config"]).any_stdout().run().id();
    let out = site.path("out");
    site.pgkeep(["restore", &id, "--output", out.to_str().unwrap()]).any_stdout().any_stderr().run();
    let text = fs::read_to_string(out.join("globals.sql")).unwrap();
    assert!(text.contains("VALID UNTIL '2031-02-01 03:04:05+00'"), "{text}");
}

/// The first statement that fails ends it, and takes all before it back; what it hides stays hidden.
#[test]
fn globals_are_made_as_a_whole_or_not() {
    let site = Site::alone().local_only();
    site.cluster.execute("postgres", "CREATE ROLE first; CREATE ROLE second SUPERUSER PASSWORD 'pw'");
    let id = site.pgkeep(["backup", "config"]).any_stdout().run().id();
    let other = Cluster::start();
    let weak = unique("weak");
    other.execute("postgres", &format!("CREATE ROLE {weak} LOGIN CREATEROLE PASSWORD 'weak'"));
    let before = globals(&other);
    let into = format!("postgresql://{weak}:weak@127.0.0.1:{}/postgres", other.port);
    let call = site.pgkeep(["restore", &id, "--globals", "--into", &into]).code(1);
    // What any role may make is made, and taken back with the rest.
    let said = call.stderr_has("nothing was changed").stderr_has("ALTER ROLE second").run().stderr;
    assert!(!said.contains("SCRAM"), "{said}");
    assert_eq!(globals(&other), before);
}

/// Each refusal says what would be right.
#[test]
fn what_does_not_fit_is_refused() {
    let site = Site::alone().local_only();
    let full = site.backup();
    let id = site.pgkeep(["backup", "config"]).any_stdout().run().id();
    let url = site.cluster.url(&site.database);
    let out = site.path("x").to_str().unwrap().to_owned();
    for (arguments, told) in [
        (vec!["restore", &full, "--list"], "is a dump"),
        (vec!["restore", &full, "--globals", "--into", &url], "is a dump"),
        (vec!["restore", &id, "--into", &url], "is no dump"),
        (vec!["restore", &id, "--globals"], "--into"),
        (vec!["restore", &id, "--dry-run", "--into", &url], "--globals"),
        (vec!["restore", &id, "--list", "--output", &out], "cannot be used with"),
        (vec!["restore", &id, "--globals", "--into", &url, "--clean"], "cannot be used with"),
        (vec!["restore", &id, "--globals", "--into", ""], "it is empty"),
        (vec!["diff", &full], "is no config backup"),
    ] {
        site.pgkeep(arguments).code(2).stderr_has(told).run();
    }
    // What only config backups can do means the newest of those.
    let shown = site.pgkeep(["restore", "latest", "--list", "--json"]).any_stdout().run().json();
    assert_eq!(shown["id"], Value::from(id));
}
