//! Files of the backup host that somebody else could change or read: refused, as ssh does, with what mends it.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};

use crate::support::cluster::{PASSWORD, ROLE};
use crate::support::tools::{files_under, is_root};
use crate::support::{Pgkeep, Site};

/// A user who is neither this one nor root.
const STRANGER: u32 = 65534;

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A site whose configuration holds no secret, written into a folder of its own; the call that lists by it.
struct Quiet {
    site: Site,
    folder: PathBuf,
    file: PathBuf,
}

impl Quiet {
    fn new() -> Self {
        let mut site = Site::new().local_only();
        let url = format!("postgresql://{ROLE}@127.0.0.1:{}/{}", site.cluster.port, site.database);
        site.config.set("source.url", url);
        let folder = site.path("etc");
        fs::create_dir(&folder).unwrap();
        let file = folder.join("config.toml");
        site.config.write(&file);
        Self { site, folder, file }
    }

    fn list(&self, file: &Path) -> Pgkeep {
        self.site
            .bare()
            .env("PGPASSWORD", PASSWORD)
            .args(["--config".as_ref(), file.as_os_str()])
            .args(["list"])
    }

    fn good(&self, file: &Path) {
        self.list(file).any_stdout().run();
    }

    /// Refused with these words, one of which is what mends it.
    fn refused(&self, file: &Path, words: &[&str]) {
        let call = self.list(file).code(2);
        let ran = words.iter().fold(call, |call, word| call.stderr_has(word)).run();
        assert!(ran.stderr.contains("\nhint: "), "{ran:?}");
    }
}

#[test]
fn a_configuration_that_others_can_change_is_refused() {
    let quiet = Quiet::new();
    for mode in [0o600, 0o640, 0o644, 0o444] {
        set_mode(&quiet.file, mode);
        quiet.good(&quiet.file);
    }
    for mode in [0o620, 0o602, 0o664, 0o666] {
        set_mode(&quiet.file, mode);
        quiet.refused(&quiet.file, &["chmod go-w", quiet.file.to_str().unwrap()]);
    }
    set_mode(&quiet.file, 0o644);
    for mode in [0o770, 0o775, 0o707, 0o777] {
        set_mode(&quiet.folder, mode);
        quiet.refused(&quiet.file, &["chmod go-w", quiet.folder.to_str().unwrap()]);
    }
    // As /tmp: each file there is for its owner alone to change.
    set_mode(&quiet.folder, 0o1777);
    quiet.good(&quiet.file);
}

#[test]
fn links_to_a_configuration_are_followed_to_where_it_stands() {
    let quiet = Quiet::new();
    let (elsewhere, link) = (quiet.site.path("elsewhere"), quiet.site.path("link.toml"));
    fs::create_dir(&elsewhere).unwrap();
    let there = elsewhere.join("config.toml");
    fs::rename(&quiet.file, &there).unwrap();
    symlink(&there, &link).unwrap();
    quiet.good(&link);
    set_mode(&elsewhere, 0o777);
    quiet.refused(&link, &["chmod go-w", elsewhere.to_str().unwrap()]);
    set_mode(&elsewhere, 0o755);
    symlink(&there, &quiet.file).unwrap();
    set_mode(&quiet.folder, 0o777);
    quiet.refused(&quiet.file, &["chmod go-w", quiet.folder.to_str().unwrap()]);
}

#[test]
fn a_configuration_by_way_of_a_pipe_is_taken() {
    let quiet = Quiet::new();
    let script = format!("cat '{}' | \"$@\"", quiet.file.display());
    quiet.list(Path::new("/dev/stdin")).through(&["/usr/bin/env"], &script).any_stdout().run();
}

#[test]
fn secrets_in_a_configuration_are_for_its_owner_alone() {
    let site = Site::new().local_only();
    let file = site.path("config.toml");
    site.pgkeep(["list"]).any_stdout().run();
    // A group may read what is root's: so a service gets what root alone may change.
    let group = if is_root() { 0o660 } else { 0o640 };
    for mode in [group, 0o604, 0o644] {
        set_mode(&file, mode);
        let call = site.bare().args(["--config", file.to_str().unwrap(), "list"]).code(2);
        let word = if mode == 0o660 { "chmod go-w" } else { "chmod 600" };
        call.stderr_has("can be ").stderr_has("by others").stderr_has(word).run();
    }
    if is_root() {
        set_mode(&file, 0o640);
        site.bare().args(["--config", file.to_str().unwrap(), "list"]).any_stdout().run();
    }
}

/// An address may be a secret or not: it stops no backup.
#[test]
fn a_long_address_in_a_configuration_that_others_can_read_is_told() {
    let mut quiet = Quiet::new();
    let channel = "kind = \"webhook\"\nurl = \"https://am.example.org/prefix/api/v2/alerts\"\n";
    quiet.site.config.add_channel(&format!("name = \"am\"\n{channel}"));
    quiet.site.config.write(&quiet.file);
    set_mode(&quiet.file, 0o600);
    quiet.good(&quiet.file);
    set_mode(&quiet.file, 0o644);
    quiet.list(&quiet.file).any_stdout().stderr_has("can be read by others").stderr_has("an address").run();
    quiet.site.config.add_channel(&format!("name = \"other\"\ntoken = \"s3cret\"\n{channel}"));
    quiet.site.config.write(&quiet.file);
    set_mode(&quiet.file, 0o644);
    quiet.list(&quiet.file).code(2).stderr_has("can be read by others").any_stdout().run();
}

#[test]
fn what_belongs_to_somebody_else_is_refused() {
    if !is_root() {
        // Only root can give a file away; the rest of the rule is the same there and here.
        return;
    }
    let quiet = Quiet::new();
    let site = &quiet.site;
    site.backup_by(&quiet);
    for path in [quiet.file.clone(), quiet.folder.clone(), site.path("state")] {
        chown(&path, Some(STRANGER), None).unwrap();
        quiet.refused(&quiet.file, &["belongs to user 65534", "sudo -u ", path.to_str().unwrap()]);
        assert!(!quiet.list(&quiet.file).code(2).any_stderr().run().stderr.contains("chown"));
        chown(&path, Some(0), None).unwrap();
    }
    let key = site.path("pgkeep.key");
    chown(&key, Some(STRANGER), None).unwrap();
    let call = site.bare().env("PGPASSWORD", PASSWORD).args(["--config", quiet.file.to_str().unwrap()]);
    call.args(["backup", "full"]).code(2).stderr_has("belongs to user 65534").stderr_has("sudo -u ").run();
}

#[test]
fn a_state_folder_that_others_can_change_is_refused() {
    let quiet = Quiet::new();
    let state = quiet.site.path("state");
    fs::create_dir(&state).unwrap();
    set_mode(&state, 0o755);
    quiet.good(&quiet.file);
    for mode in [0o770, 0o777, 0o702] {
        set_mode(&state, mode);
        quiet.refused(&quiet.file, &["chmod go-w", state.to_str().unwrap()]);
    }
}

impl Site {
    /// A backup by a configuration that holds no secret.
    fn backup_by(&self, quiet: &Quiet) {
        let call = self.bare().env("PGPASSWORD", PASSWORD).args(["--config", quiet.file.to_str().unwrap()]);
        call.args(["backup", "full"]).stdout_has("full-").run();
    }
}

#[test]
fn a_lock_file_that_is_a_trap_is_left_alone() {
    let site = Site::new().local_only();
    site.backup();
    let state = site.path("state");
    let is_lock = |path: &PathBuf| path.extension().is_some_and(|end| end == "lock");
    let locks: Vec<PathBuf> = files_under(&state).into_iter().filter(is_lock).collect();
    assert!(!locks.is_empty(), "{:?}", files_under(&state));
    let victim = site.path("victim");
    for is_link in [true, false] {
        for lock in &locks {
            fs::write(&victim, "as it was\n").unwrap();
            fs::remove_file(lock).unwrap();
            if is_link {
                symlink(&victim, lock).unwrap();
            } else {
                fs::hard_link(&victim, lock).unwrap();
            }
        }
        site.pgkeep(["backup", "full"]).any_code().any_stdout().stderr_has("lock file").run();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "as it was\n");
        for lock in &locks {
            fs::remove_file(lock).unwrap();
            fs::write(lock, "").unwrap();
        }
    }
    let missing = site.path("not-there");
    for lock in &locks {
        fs::remove_file(lock).unwrap();
        symlink(&missing, lock).unwrap();
    }
    site.pgkeep(["backup", "full"]).any_code().any_stdout().stderr_has("lock file").run();
    assert!(!missing.exists(), "a file is made at the end of a link");
}
