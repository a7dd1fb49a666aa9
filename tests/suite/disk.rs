//! The local disk in trouble: full, read-only, broken or gone. The buckets are whole then, the error names
//! the cause, and nothing half-made stands where a copy would.

use std::fs;
use std::path::Path;

use crate::support::tools::files_under;
use crate::support::{FakeBin, Pgkeep, Site, shim};

/// A script that mounts `$OPTIONS` over the local store for the call alone, and lists what is left in it.
const ON_A_MOUNT: &str = "mount -t tmpfs -o \"$OPTIONS\" tmpfs \"$FOLDER\" || exit 99; \"$@\"; code=$?; \
    find \"$FOLDER\" -type f >\"$LISTING\"; exit $code";

fn on_a_mount(site: &Site, options: &str, script: &str) -> Pgkeep {
    fs::create_dir_all(site.local()).unwrap();
    let call = site.pgkeep(["backup", "full"]).with_mounts(script);
    call.env("OPTIONS", options).env("FOLDER", site.local()).env("LISTING", site.path("listing"))
}

/// The local copy is missing, and said to be; the buckets are whole and verified.
fn assert_only_the_disk_failed(site: &Site, id: &str) {
    let row = site.row(id);
    assert_eq!(row["status"], "degraded", "{row:#}");
    assert!(row["local_path"].is_null(), "{row:#}");
    site.assert_copies(id, &["r2", "b2"]);
    let copies = site.copies(id);
    for store in ["r2", "b2"] {
        assert_eq!(copies[store]["state"], "verified", "{:#}", copies[store]);
    }
    assert_eq!(copies["local"]["state"], "failed", "{:#}", copies["local"]);
}

/// From a disk that takes nothing to one that takes all but the last file: whatever it is that has no room.
#[test]
fn a_disk_that_is_full_at_any_moment() {
    let mut site = Site::new();
    // Each try gets an empty disk, which a prune would miss the older copies on.
    site.config.set("retention.after_backup", false);
    let sizes = (1..16).map(|pages| format!("size={}k", pages * 4));
    let inodes = (2..16).map(|count| format!("nr_inodes={count}"));
    for mut options in [Box::new(sizes) as Box<dyn Iterator<Item = String>>, Box::new(inodes)] {
        let mut failed = 0;
        let fits = options.find(|options| {
            let ran = on_a_mount(&site, options, ON_A_MOUNT).any_code().any_stdout().any_stderr().run();
            let id = ran.id();
            let left = fs::read_to_string(site.path("listing")).unwrap();
            if ran.code == 0 {
                assert_eq!(left.lines().count(), 2, "{options}: {left}");
                return true;
            }
            assert_eq!((ran.code, left.as_str()), (3, ""), "{options}: {}", ran.stderr);
            for part in ["store `local`", "No space left", site.local().to_str().unwrap()] {
                assert!(ran.stderr.contains(part), "{options}: no {part} in {}", ran.stderr);
            }
            // A second try runs into the same, which is not told twice.
            assert_eq!(ran.stderr.matches("No space left").count(), 1, "{options}: {}", ran.stderr);
            assert_only_the_disk_failed(&site, &id);
            failed += 1;
            false
        });
        assert!(fits.is_some() && failed > 2, "{failed} before {fits:?}");
    }
    assert_eq!(files_under(&site.local()), Vec::<std::path::PathBuf>::new());
}

/// Each write and each sync in turn is the first that fails: of the artifact, of its folder, of the manifest.
#[test]
fn a_disk_that_breaks_at_any_call() {
    let mut site = Site::new();
    site.config.set("retention.after_backup", false);
    for (call, least) in [("write", 2), ("fsync", 6)] {
        let mut failed = 0;
        loop {
            fs::remove_dir_all(site.local()).ok();
            let broken = shim::breaking(site.pgkeep(["backup", "full"]), &site.local(), call, failed + 1);
            let ran = broken.any_code().any_stdout().any_stderr().run();
            let id = ran.id();
            if ran.code == 0 {
                site.assert_copies(&id, &["local", "r2", "b2"]);
                break;
            }
            assert_eq!(ran.code, 3, "{call} {failed}: {}", ran.stderr);
            assert!(ran.stderr.contains("store `local`"), "{call} {failed}: {}", ran.stderr);
            assert!(ran.stderr.contains("Input/output error"), "{call} {failed}: {}", ran.stderr);
            assert_only_the_disk_failed(&site, &id);
            assert_eq!(files_under(&site.local()), Vec::<std::path::PathBuf>::new(), "{call} {failed}");
            failed += 1;
        }
        assert!(failed >= least, "{call}: only {failed} failed");
    }
}

/// A disk that does not answer is left behind like any other store: nobody waits for it longer than the limits say.
/// The first sync is of its folder, the sixth of the artifact, then come its folder, the manifest, and that one's.
#[test]
fn a_disk_that_hangs_at_any_call() {
    let lanes = [
        [("write", 1), ("write", 2)],
        [("fsync", 1), ("fsync", 6)],
        [("fsync", 7), ("fsync", 8)],
        [("fsync", 9), ("read", 1)],
    ];
    let walk = |calls: [(&'static str, usize); 2]| {
        for (call, from) in calls {
            let mut site = Site::new();
            site.config.keep_stores(&["local", "r2"]);
            site.config.set("timeouts.stall", "5s");
            site.config.set("timeouts.request", "8s");
            let hangs = shim::hanging(site.pgkeep(["backup", "full"]), &site.local(), call, from);
            let ran = hangs.code(3).any_stdout().stderr_has("store `local`").run();
            let told =
                ran.stderr.contains("the disk gave no answer") || ran.stderr.contains("timeouts.stall");
            assert!(told, "{call} {from}: {}", ran.stderr);
            let id = ran.id();
            assert_eq!(site.row(&id)["status"], "degraded", "{call} {from}");
            assert_eq!(site.copies(&id)["r2"]["state"], "verified", "{call} {from}");
            assert!(site.copies(&id)["local"]["verified_at"].is_null(), "{call} {from}");
            // Once it answers again, the next run clears up what was left there.
            site.backup();
            let left = files_under(&site.local());
            assert!(left.iter().all(|file| file.extension().is_some_and(|end| end != "part")), "{left:?}");
        }
    };
    let walks: Vec<_> = lanes.map(|calls| std::thread::spawn(move || walk(calls))).into();
    for walk in walks {
        walk.join().unwrap();
    }
}

/// What was written and can't be read back is no proven copy, and not thrown away either.
#[test]
fn a_disk_that_can_not_be_read_back() {
    let site = Site::new();
    let broken = shim::breaking(site.pgkeep(["backup", "full"]), &site.local(), "read", 1);
    let call = broken.code(3).any_stdout().stderr_has("store `local`").stderr_has("Input/output error");
    let id = call.run().id();
    assert_eq!(site.row(&id)["status"], "degraded");
    assert!(site.copies(&id)["local"]["verified_at"].is_null());
    assert_eq!(files_under(&site.local()).len(), 2);
    site.pgkeep(["verify", &id]).any_stdout().run();
    assert_eq!(site.row(&id)["status"], "verified");
}

#[test]
fn a_disk_that_is_read_only() {
    let site = Site::new();
    let call = on_a_mount(&site, "ro", ON_A_MOUNT).code(3).any_stdout();
    let id = call.stderr_has("store `local`").stderr_has("Read-only file system").run().id();
    assert_only_the_disk_failed(&site, &id);
}

/// What happens to the folder while the dump is under way, what the run ends with, and its words.
const GONE: [(&str, i32, &str); 4] = [
    ("umount -l \"$FOLDER\"", 0, "No such file"),
    ("umount -l \"$FOLDER\"; rmdir \"$FOLDER\"", 0, "No such file"),
    ("umount -l \"$FOLDER\"; rmdir \"$FOLDER\"; echo >\"$FOLDER\"", 3, "Not a directory"),
    ("umount -l \"$FOLDER\"; rmdir \"$FOLDER\"; ln -s /nowhere \"$FOLDER\"", 3, "File exists"),
];

/// A folder that goes away half-way is made anew and filled from a bucket where that can be, and named where
/// it can't.
#[test]
fn a_disk_that_goes_away_half_way() {
    for (action, code, words) in GONE {
        let mut site = Site::new();
        let bin = FakeBin::held(&site.path(""));
        site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
        let script = format!(
            "mount -t tmpfs tmpfs \"$FOLDER\" || exit 99; \"$@\" & \
             until [ -n \"$(find \"$FOLDER\" -name '*.part')\" ] && [ -e \"$BIN/pid\" ]; do sleep 0.02; done; \
             {action}; echo go >\"$BIN/gate\"; wait $!"
        );
        let call = on_a_mount(&site, "", &script).env("BIN", &bin.folder).code(code).any_stdout();
        let id = call.stderr_has("store `local`").stderr_has(words).run().id();
        if code == 0 {
            assert_eq!(site.row(&id)["status"], "verified", "{action}");
            site.assert_copies(&id, &["local", "r2", "b2"]);
        } else {
            assert_only_the_disk_failed(&site, &id);
        }
    }
}

/// A limit on the size of files once would have ended the whole run with SIGXFSZ.
#[test]
fn a_file_that_may_not_grow() {
    let site = Site::new();
    let call = site.pgkeep(["backup", "full"]).limited("--fsize=6000").code(3).any_stdout();
    let id = call.stderr_has("store `local`").stderr_has("File too large").run().id();
    assert_only_the_disk_failed(&site, &id);
    assert_eq!(files_under(&site.local()), Vec::<std::path::PathBuf>::new());
}

/// Too few open files once ended in a panic of a library below. The least that is let through does.
#[test]
fn too_few_files_may_be_open() {
    let site = Site::of_parts();
    for most in [5, 20, 63] {
        let call = site.pgkeep(["backup", "full"]).limited(&format!("--nofile={most}")).code(2);
        call.stderr_has(&format!("{most} open files")).stderr_has("ulimit -n").run();
        site.assert_nothing_stored();
    }
    for limit in ["--nofile=64", "--nofile=5:1024"] {
        let id = site.pgkeep(["backup", "full"]).limited(limit).any_stdout().run().id();
        site.assert_copies(&id, &["local", "r2", "b2"]);
    }
}

/// A folder that belongs to somebody else. Root may write everywhere, unless that is taken from it.
#[test]
fn a_folder_of_somebody_else() {
    let site = Site::new();
    fs::create_dir(site.local()).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o500);
    fs::set_permissions(site.local(), mode).unwrap();
    let call = without_rights(site.pgkeep(["backup", "full"])).code(3).any_stdout();
    let call = call.stderr_has("store `local`").stderr_has("Permission denied");
    let id = call.stderr_has(site.local().to_str().unwrap()).run().id();
    assert_only_the_disk_failed(&site, &id);
}

/// Names of the greatest length that a database may have, in letters that take three bytes each.
#[test]
fn the_longest_name_fits() {
    let name = "\u{20ac}".repeat(21);
    let site = Site::of(name.clone(), crate::support::cluster::SAMPLE);
    let id = site.backup();
    let path = site.row(&id)["local_path"].as_str().unwrap().to_owned();
    assert!(Path::new(&path).file_name().unwrap().len() > 200, "{path}");
    assert_eq!(site.row(&id)["database"], name.as_str());
}

/// Takes from root what makes it more than another user on its own files.
pub(crate) fn without_rights(call: Pgkeep) -> Pgkeep {
    if !crate::support::tools::is_root() {
        return call;
    }
    call.through(&["/usr/bin/setpriv", "--bounding-set=-dac_override,-dac_read_search"], "exec \"$@\"")
}
