//! `pgkeep restore`: into a database or into a file, and never a wrong one.

mod checks;
mod failover;
mod interrupted;
mod jobs;
mod options;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::support::compare::{assert_same, contents};
use crate::support::{FakeBin, Manners, Rule, Site, key};

fn site_with_backup() -> (Site, String) {
    let site = Site::new();
    let id = site.backup();
    (site, id)
}

/// A site with 4000 rows more that do not compress: so much that `pg_restore` has begun, and has not read all,
/// when a fault in the middle is met.
fn site_of_rows() -> Site {
    let site = Site::new();
    let fill =
        "CREATE TABLE blob AS SELECT n, gen_random_bytes(1024) AS bytes FROM generate_series(1, 4000) n";
    site.cluster.execute(&site.database, fill);
    site
}

#[test]
fn the_file_is_for_its_owner_and_never_written_over() {
    let (site, id) = site_with_backup();
    let file = site.path("out.dump");
    let file_name = file.to_str().unwrap();
    site.pgkeep(["restore", &id, "--output", file_name]).any_stdout().any_stderr().run();
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let before = fs::read(&file).unwrap();
    assert!(before.starts_with(b"PGDMP"));
    let ran = site.pgkeep(["restore", &id, "--output", file_name]).any_code().stderr_has("out.dump").run();
    assert!([1, 2].contains(&ran.code), "{ran:?}");
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[test]
fn a_database_with_tables_is_left_alone_unless_told() {
    let (site, id) = site_with_backup();
    let (name, url) = site.target();
    site.cluster.execute(&name, "CREATE TABLE precious (answer int); INSERT INTO precious VALUES (42)");
    let before = contents(site.cluster, &name);
    let ran = site
        .pgkeep(["restore", &id, "--into", &url])
        .any_code()
        .stderr_has(&name)
        .stderr_has("--clean")
        .run();
    assert!([1, 2].contains(&ran.code), "{ran:?}");
    assert_eq!(contents(site.cluster, &name), before);
}

#[test]
fn clean_makes_the_database_what_the_backup_says() {
    let (site, id) = site_with_backup();
    let (name, url) = site.target();
    for _ in 0..2 {
        site.pgkeep(["restore", &id, "--into", &url, "--clean"]).any_stdout().any_stderr().run();
        assert_same(site.cluster, &site.database, &name);
        site.cluster.execute(&name, "DROP TABLE invoice CASCADE; UPDATE customer SET name = 'nobody'");
    }
}

#[test]
fn latest_and_a_prefix_name_a_backup_too() {
    let (site, id) = site_with_backup();
    for name in ["latest", &id[..id.len() - 1]] {
        let (database, url) = site.target();
        site.pgkeep(["restore", name, "--into", &url]).any_stdout().any_stderr().run();
        assert_same(site.cluster, &site.database, &database);
    }
}

/// `latest` is that of a source: where it has several databases, one must not take the place of another.
#[test]
fn latest_of_several_databases_goes_into_none() {
    let site = Site::new();
    site.backup();
    let second = crate::support::cluster::unique("second");
    site.cluster.create_database(&second, "template0");
    site.pgkeep(["backup", "full", "--database", &second]).any_stdout().run();
    let (name, url) = site.target();
    for from in [&[][..], &["--from", "r2"]] {
        let call = site.pgkeep([&["restore", "latest", "--into", &url, "--clean"], from].concat()).code(2);
        call.stderr_has(&format!("`{second}`")).stderr_has("--database NAME").run();
        let words = ["restore", "latest", "--into", &url, "--clean", "--database", &site.database];
        site.pgkeep([&words[..], from].concat()).any_stdout().any_stderr().run();
        assert_same(site.cluster, &site.database, &name);
    }
}

/// One bad copy is passed by for a good one; all bad is an error. In no case does a wrong byte get through.
#[test]
fn a_damaged_copy_is_never_restored() {
    let (site, id) = site_with_backup();
    let path = site.row(&id)["local_path"].as_str().unwrap().to_owned();
    let good = fs::read(&path).unwrap();
    for (name, bytes) in [
        ("flipped", flip(&good, good.len() / 2)),
        ("flipped in the header", flip(&good, 40)),
        ("flipped in the magic", flip(&good, 0)),
        ("flipped at the end", flip(&good, good.len() - 1)),
        ("cut", good[..good.len() / 2].to_vec()),
        ("without its last byte", good[..good.len() - 1].to_vec()),
        ("longer", [good.as_slice(), b"x"].concat()),
        ("empty", Vec::new()),
    ] {
        fs::write(&path, &bytes).unwrap();
        let out = site.path("out.dump");
        let call = site.pgkeep(["restore", &id, "--from", "local", "--output", out.to_str().unwrap()]);
        let ran = call.any_code().any_stdout().any_stderr().run();
        assert!([1, 4].contains(&ran.code), "{name}: {ran:?}");
        assert!(!ran.stderr.is_empty());
        assert!(!out.exists(), "{name}: a file was left");
        let (target, url) = site.target();
        let call = site.pgkeep(["restore", &id, "--from", "local", "--into", &url]);
        let ran = call.any_code().any_stdout().any_stderr().run();
        assert!([1, 4].contains(&ran.code), "{name}: {ran:?}");
        site.cluster.execute("postgres", &format!("DROP DATABASE {target}"));
    }
}

/// A folder of client programs whose `pg_restore` notes how it is called, then does as the script says.
fn noting_bin(site: &mut Site, script: &str) -> FakeBin {
    let script = format!("echo \"$*\" >>\"$HERE/calls\"\n{script}");
    let bin = FakeBin::of("pg_restore", &site.path(""), &script);
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    bin
}

/// How `pg_restore` was called, each time.
fn calls(bin: &FakeBin) -> Vec<String> {
    let text = fs::read_to_string(bin.folder.join("calls")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn flip(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 4;
    bytes
}

/// An artifact in another's place is sound in itself, but not what was asked for.
#[test]
fn an_artifact_in_the_place_of_another_is_refused() {
    let site = Site::new().local_only();
    let first = site.backup();
    site.cluster.execute(&site.database, "DELETE FROM invoice");
    let second = site.backup();
    let path = |id: &str| site.row(id)["local_path"].as_str().unwrap().to_owned();
    fs::copy(path(&first), path(&second)).unwrap();
    let (_, url) = site.target();
    let ran = site.pgkeep(["restore", &second, "--into", &url]).any_code().any_stdout().any_stderr().run();
    assert!([1, 4].contains(&ran.code), "{ran:?}");
    site.pgkeep(["verify", &second]).code(4).any_stdout().any_stderr().run();
}

#[test]
fn a_store_that_is_away_is_passed_by() {
    let (mut site, id) = site_with_backup();
    fs::remove_file(site.row(&id)["local_path"].as_str().unwrap()).unwrap();
    let fault = site.fault("r2", Manners::Plain);
    fault.rule(Rule::on("", "").refuse(403, "AccessDenied"));
    let (name, url) = site.target();
    site.pgkeep(["restore", &id, "--into", &url]).any_stdout().any_stderr().run();
    assert_same(site.cluster, &site.database, &name);
}

#[test]
fn a_missing_key_is_named() {
    let (mut site, id) = site_with_backup();
    let other = site.path("other.key");
    key::write_private(&other, &format!("{}\n", key::made_up(7)));
    site.config.set("encryption.key_file", other.to_str().unwrap());
    let (_, url) = site.target();
    site.pgkeep(["restore", &id, "--into", &url]).code(1).stderr_has(&key::id(&site.key)).run();
    site.config.set("encryption.open_with", vec![site.path("pgkeep.key").to_str().unwrap().to_owned()]);
    let (name, url) = site.target();
    site.pgkeep(["restore", &id, "--into", &url]).any_stdout().any_stderr().run();
    assert_same(site.cluster, &site.database, &name);
}

#[test]
fn what_pg_restore_says_is_told() {
    let (site, id) = site_with_backup();
    let (name, url) = site.target();
    site.pgkeep(["restore", &id, "--into", &url]).any_stdout().any_stderr().run();
    let before = contents(site.cluster, &name);
    let ran = site.pgkeep(["restore", &id, "--into", &url, "--data-only"]).code(1).any_stderr().run();
    assert!(ran.stderr.contains("already exists"), "the first error is the one that counts: {ran:?}");
    assert!(ran.stderr.contains("as it was"), "{ran:?}");
    assert_eq!(contents(site.cluster, &name), before);
}

#[test]
fn a_target_that_does_not_exist_is_an_error() {
    let (site, id) = site_with_backup();
    let url = site.cluster.url("no_such_target");
    site.pgkeep(["restore", &id, "--into", &url]).code(1).stderr_has("no_such_target").run();
}

#[test]
fn what_to_do_must_be_said() {
    let (site, id) = site_with_backup();
    site.pgkeep(["restore", &id]).code(2).any_stderr().run();
    let (_, url) = site.target();
    site.pgkeep(["restore", &id, "--into", &url, "--output", "x"]).code(2).any_stderr().run();
    site.pgkeep(["restore", &id, "--from", "nowhere", "--into", &url]).code(2).stderr_has("nowhere").run();
    site.pgkeep(["restore", "full-x-20200101T000000Z-0000", "--into", &url]).code(5).any_stderr().run();
}

/// Another's rights and owners need not exist where a backup is tried out.
#[test]
fn without_owners() {
    let site = Site::new().local_only();
    let role = crate::support::cluster::unique("owner");
    site.cluster.execute(&site.database, &format!("CREATE ROLE {role}; ALTER TABLE invoice OWNER TO {role}"));
    let id = site.backup();
    site.cluster.execute(&site.database, &format!("ALTER TABLE invoice OWNER TO postgres; DROP ROLE {role}"));
    let (_, url) = site.target();
    site.pgkeep(["restore", &id, "--into", &url]).code(1).stderr_has(&role).run();
    let (name, url) = site.target();
    site.pgkeep(["restore", &id, "--into", &url, "--no-owner"]).any_stdout().any_stderr().run();
    assert!(contents(site.cluster, &name)["r public.invoice"].starts_with("3000 "));
}
