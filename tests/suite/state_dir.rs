//! The state directory in trouble, with the catalog and without it; and nobody who listens.

use std::fs;
use std::path::Path;

use rustix::process::Signal;

use crate::disk::without_rights;
use crate::support::tools::free_port;
use crate::support::{FakeBin, Pgkeep, Site, shim};

/// What may be wrong with the state directory: how it gets so, and the words for it.
const TROUBLES: [(&str, &str); 6] = [
    ("mount -t tmpfs -o ro tmpfs \"$STATE\"", "Read-only file system"),
    // Taken up by the folders themselves: there is no inode left for a file.
    ("mount -t tmpfs -o nr_inodes=3 tmpfs \"$STATE\"", "No space left"),
    ("mount -t tmpfs -o size=4k tmpfs \"$STATE\" && echo x >\"$STATE/x\"", "No space left"),
    ("rmdir \"$STATE\" && echo >\"$STATE\"", "Not a directory"),
    ("chmod 500 \"$STATE\"", "Permission denied"),
    ("rmdir \"$STATE\" && ln -s /nowhere \"$STATE\"", "File exists"),
];

fn in_trouble(site: &Site, trouble: &str) -> Pgkeep {
    let state = site.path("state");
    fs::create_dir(&state).unwrap();
    let call = without_rights(site.pgkeep(["backup", "full"]));
    call.with_mounts(&format!("{trouble} || exit 99; exec \"$@\"")).env("STATE", state)
}

fn put_right(site: &Site) {
    let state = site.path("state");
    fs::remove_dir_all(&state).or_else(|_| fs::remove_file(&state)).ok();
    assert!(state.symlink_metadata().is_err());
}

/// Nothing of it is needed while the catalog is up; what is amiss is told all the same.
#[test]
fn the_catalog_alone_is_enough() {
    let site = Site::new().local_only();
    for (trouble, words) in TROUBLES {
        let ran = in_trouble(&site, trouble).any_stdout().any_stderr().run();
        let row = site.row(&ran.id());
        assert_eq!(row["status"], "verified", "{trouble}: {row:#}");
        assert!(ran.stderr.is_empty() || ran.stderr.contains(words), "{trouble}: {}", ran.stderr);
        put_right(&site);
    }
}

/// Neither the catalog nor a file takes the record. That once ended the run before it made anything, or let a
/// whole backup pass for a failed one; its manifests bring the record back.
#[test]
fn a_backup_that_is_on_record_nowhere_stands() {
    let mut site = Site::new().with_own_catalog();
    let good = site.cluster.url(&site.catalog);
    for (trouble, words) in TROUBLES {
        site.config.set("catalog.url", site.cluster.url_through(free_port(), &site.catalog));
        let call = in_trouble(&site, trouble).code(3).any_stdout();
        let call = call.stderr_has("refused").stderr_has(words).stderr_has("can be kept nowhere");
        let id = call.stderr_has("pgkeep catalog rebuild --from local").run().id();
        put_right(&site);
        site.config.set("catalog.url", good.as_str());
        for store in ["local", "r2", "b2"] {
            site.pgkeep(["catalog", "rebuild", "--from", store]).any_stdout().any_stderr().run();
        }
        site.pgkeep(["verify", &id]).any_stdout().run();
        site.assert_copies(&id, &["local", "r2", "b2"]);
        put_right(&site);
    }
}

/// It does not answer: the run goes on without it, and a signal ends it in time all the same.
#[test]
fn a_state_directory_that_hangs() {
    let mut site = Site::new().local_only();
    site.config.set("timeouts.stall", "2s");
    let hanging = shim::hanging(site.pgkeep(["backup", "full"]), &site.path("state"), "fsync", 1);
    let ran = hanging.any_stdout().any_stderr().run();
    assert_eq!(site.row(&ran.id())["status"], "verified");
    let bin = FakeBin::held(&site.path(""));
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    let hanging = shim::hanging(site.pgkeep(["backup", "full"]), &site.path("state"), "fsync", 1);
    let running = hanging.code(143).any_stdout().any_stderr().start();
    bin.wait_for_start();
    crate::signals::end_by(running, Signal::TERM);
    site.config.set("source.pg_bin", crate::support::tools::pg_bin().to_str().unwrap());
    site.backup();
    assert!(site.rows().iter().all(|row| row["status"] != "in_progress"));
}

/// The last word can't be said: the backup stands, and the code tells that whoever asked did not get the id.
#[test]
fn nobody_listens() {
    let site = Site::new().local_only();
    for (script, code, words) in [
        ("exec \"$@\" >/dev/full", 3, "No space left"),
        ("exec \"$@\" --json >/dev/full", 3, "No space left"),
        ("exec \"$@\" --quiet >/dev/full", 0, ""),
        ("exec \"$@\" >&-", 0, ""),
        ("exec \"$@\" 2>/dev/full >/dev/null", 0, ""),
        ("exec \"$@\" 2>&- >/dev/null", 0, ""),
        ("exec \"$@\" <&- >&- 2>&-", 0, ""),
    ] {
        let call = site.pgkeep(["backup", "full"]).through(&["/usr/bin/env"], script).code(code);
        call.stderr_has(words).any_stdout().run();
        let row = site.rows().pop().unwrap();
        assert_eq!(row["status"], "verified", "{script}");
        assert!(Path::new(row["local_path"].as_str().unwrap()).exists(), "{script}");
    }
    assert_eq!(site.rows().len(), 7);
    let mut lone = Site::new().local_only();
    lone.config.store("local").insert("path".to_owned(), "/proc/nowhere".into());
    // Nor does a failure need anybody who listens.
    for script in ["exec \"$@\" 2>/dev/full", "exec \"$@\" 2>&-"] {
        lone.pgkeep(["backup", "full"]).through(&["/usr/bin/env"], script).code(1).run();
    }
    assert!(lone.rows().iter().all(|row| row["status"] == "failed"));
}
