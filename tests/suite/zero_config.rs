//! Without a configuration: a database's owner, not root, types two words and has a backup.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use crate::support::cluster::{cluster, unique};
use crate::support::compare::assert_same;
use crate::support::tools::{binary, files_under, give_to_postgres};
use crate::support::{Pgkeep, key};

pub(crate) struct Visitor {
    pub(crate) home: tempfile::TempDir,
    program: PathBuf,
    pub(crate) database: String,
}

impl Visitor {
    pub(crate) fn new() -> Self {
        let home = tempfile::Builder::new().prefix("pgkeep-home").tempdir().unwrap();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let program = home.path().join("pgkeep");
        // The build's folder may be closed to other users.
        if fs::hard_link(binary(), &program).is_err() {
            fs::copy(binary(), &program).unwrap();
        }
        give_to_postgres(home.path());
        let database = unique("zero");
        cluster().create_database(&database, "sample");
        Self { home, program, database }
    }

    pub(crate) fn call(&self, arguments: &[&str]) -> Pgkeep {
        let call = Pgkeep::new(self.home.path()).program(&self.program).by_postgres().args(arguments);
        let call = call.env("PGHOST", &cluster().socket_dir).env("PGPORT", cluster().port.to_string());
        call.env("PGUSER", "postgres").env("PGDATABASE", &self.database)
    }
}

#[test]
fn two_words_make_a_backup_and_a_key() {
    let visitor = Visitor::new();
    let state = visitor.home.path().join(".local/state/pgkeep");
    let key_file = state.join("pgkeep.key");
    let call = visitor.call(&["backup", "full"]).any_stdout().stderr_has(key_file.to_str().unwrap());
    let ran = call.run();
    let id = ran.id();
    assert!(id.starts_with(&format!("full-{}-", visitor.database)));
    assert_eq!(key_file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&key_file).unwrap();
    assert!(text.starts_with(key::MARK));
    assert!(!ran.stderr.contains(text.trim()), "the key itself is on the screen");
    let kept = files_under(&state.join("backups"));
    // The dump, and what is in none, each with its manifest.
    assert_eq!(kept.len(), 4, "{kept:?}");
    let mut client = cluster().connect(&visitor.database);
    let status: String =
        client.query_one("SELECT status::text FROM pgkeep.backup WHERE id = $1", &[&id]).unwrap().get(0);
    assert_eq!(status, "verified");

    // The word about the key comes once only.
    let second = visitor.call(&["backup", "full"]).any_stdout().run().id();
    assert_eq!(fs::read_to_string(&key_file).unwrap(), text);
    visitor.call(&["list"]).stdout_has(&id).stdout_has(&second).run();
    visitor.call(&["verify", "latest"]).any_stdout().run();
    let target = cluster().fresh_database();
    let socket = format!("host={} port={} dbname={target}", cluster().socket_dir.display(), cluster().port);
    visitor.call(&["restore", "latest", "--into", &socket]).any_stdout().any_stderr().run();
    assert_same(cluster(), &visitor.database, &target);
}

#[test]
fn the_database_can_be_named() {
    let visitor = Visitor::new();
    let call = visitor.call(&["backup", "full", "--database", &visitor.database]).without_env("PGDATABASE");
    let id = call.any_stdout().any_stderr().run().id();
    assert!(id.starts_with(&format!("full-{}-", visitor.database)));
}

#[test]
fn a_role_that_does_not_exist_is_told() {
    let visitor = Visitor::new();
    let call = visitor.call(&["backup", "full"]).env("PGUSER", "no_such_role").code(1);
    call.stderr_has("no_such_role").stderr_has("does not exist").run();
}

#[test]
fn without_a_server_it_says_where_it_looked() {
    let visitor = Visitor::new();
    let nowhere = visitor.home.path().join("nowhere");
    let call = visitor.call(&["backup", "full"]).env("PGHOST", &nowhere).code(1);
    call.stderr_has("nowhere").stderr_has("No such file").run();
}
