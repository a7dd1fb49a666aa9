//! The test restore: a good backup is found equal, a bad one is found, and nothing of a scratch server stays.

use crate::support::Site;

/// A site whose backups are restored once they are made, under a folder of its own.
fn site() -> Site {
    let mut site = Site::new().local_only();
    let folder = site.path("scratch");
    std::fs::create_dir(&folder).unwrap();
    site.config.set("verify.after_backup", "restore");
    site.config.set("verify.scratch_dir", folder.to_str().unwrap());
    site
}

#[test]
fn a_good_backup_restores() {
    let site = site();
    let id = site.pgkeep(["-v", "backup", "full"]).any_stdout().any_stderr().run();
    eprintln!("{id:?}");
    let id = id.id();
    assert_eq!(site.row(&id)["status"], "verified");
}
