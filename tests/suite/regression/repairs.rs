//! Repairs and verdicts that came out wrong.

use std::fs;

use crate::levels::copy_in;
use crate::support::rule::Action;
use crate::support::{FakeBin, Manners, Rule, Site, wait_until};
use crate::verify::{bytes_of, site_with_backup, spoil};

fn flipped(good: &[u8]) -> Vec<u8> {
    let mut bytes = good.to_vec();
    bytes[good.len() / 2] ^= 1;
    bytes
}

/// A repair once gave up when the copy that it read from went away, although a third one was whole.
#[test]
fn a_repair_goes_on_to_the_next_copy_that_passed() {
    let (mut site, id) = site_with_backup();
    let good = bytes_of(&site, &id, "local");
    spoil(&site, &id, "local", Some(&flipped(&good)));
    let fault = site.fault("r2", Manners::Plain);
    // The look reads the artifact and its manifest, the repair the manifest, and then the artifact again.
    fault.rule(Rule::on("GET", "pgk").after(3).refuse(403, "AccessDenied"));
    let call = site.pgkeep(["verify", &id, "--repair"]).any_stdout();
    call.stderr_has("from `r2`: ").stderr_has("AccessDenied").stderr_has("repaired from `b2`").run();
    assert_eq!(bytes_of(&site, &id, "local"), good);
}

/// A manifest that was gone was once written again beside an artifact that nobody had read: a rotten copy then
/// looked whole to `list --from`.
#[test]
fn no_manifest_is_written_beside_an_artifact_that_is_rotten() {
    for store in ["local", "r2"] {
        let (site, id) = site_with_backup();
        let good = bytes_of(&site, &id, store);
        spoil(&site, &id, store, Some(&flipped(&good)));
        let manifest = format!("{}.json", site.row(&id)[format!("{store}_path")].as_str().unwrap());
        if store == "local" {
            fs::remove_file(&manifest).unwrap();
        } else {
            site.r2.delete(&manifest);
        }
        site.pgkeep(["verify", &id, "--repair", "--level", "stat"])
            .any_code()
            .any_stdout()
            .any_stderr()
            .run();
        assert_eq!(bytes_of(&site, &id, store), good, "{store}");
        site.pgkeep(["verify", &id]).any_stdout().run();
    }
}

/// A `pg_restore` that the system killed for want of memory once made every copy count as unreadable.
#[test]
fn a_pg_restore_that_was_killed_says_nothing_of_the_copy() {
    let (mut site, id) = site_with_backup();
    let real = site.config.clone();
    let bin = FakeBin::of("pg_restore", &site.path(""), "head -c 1000 >/dev/null; kill -9 $$");
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    for level in ["content", "restore"] {
        let ran = site.pgkeep(["--json", "verify", &id, "--level", level]).code(3).any_stdout().any_stderr();
        let document = ran.run().json();
        let copy = copy_in(&document, "local");
        assert_eq!((&copy["verdict"], &copy["state"]), (&"unknown".into(), &"verified".into()), "{copy:#}");
    }
    site.config = real;
    site.pgkeep(["verify", &id]).any_stdout().run();
    assert_eq!(site.row(&id)["status"], "verified");
}

/// The folder that `fsck` keeps at the root of a file system is for root alone: a store at a mount point
/// could not be listed by anybody else.
#[test]
fn what_fsck_saved_is_no_part_of_a_store() {
    let site = Site::new().local_only();
    let id = site.backup();
    let folder = site.local().join("lost+found");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join(format!("{id}.dump.gz.pgk")), "what was saved").unwrap();
    site.pgkeep(["list", "--from", "local"]).stdout_has(&id).run();
}

/// A bucket that was copied over by other means has other tags on the same bytes: `checksum` passed, and
/// `stat` called the copy corrupt for ever.
#[test]
fn the_tag_of_a_copy_that_was_read_and_found_whole_is_put_on_record() {
    let (site, id) = site_with_backup();
    let good = bytes_of(&site, &id, "r2");
    spoil(&site, &id, "r2", Some(&good));
    let before = site.copies(&id)["r2"]["etag"].clone();
    site.pgkeep(["verify", &id, "--level", "stat"]).code(4).any_stdout().stderr_has("ETag").run();
    site.pgkeep(["verify", &id]).any_stdout().run();
    assert_ne!(site.copies(&id)["r2"]["etag"], before);
    site.pgkeep(["verify", &id, "--level", "stat"]).any_stdout().run();
}

/// Sweeps of two stores in turn, each with a budget, shared one clock: each store's sweep came to the same half
/// of the backups again and again.
#[test]
fn sweeps_of_different_stores_do_not_get_into_each_others_way() {
    let site = Site::new();
    let ids: Vec<String> = (0..2).map(|_| site.backup()).collect();
    for id in &ids {
        for store in ["local", "r2"] {
            let sweep = ["--json", "verify", "--all", "--store", store, "--max-bytes", "1"];
            let document = site.pgkeep(sweep).any_stdout().run().json();
            assert_eq!(document["backups"][0]["id"], id.as_str(), "{store}");
        }
    }
}

/// The path of a local store was changed, and a repair wrote the copy to where the store had been.
#[test]
fn a_repair_writes_to_where_the_store_is_now() {
    let (mut site, id) = site_with_backup();
    let (old, new) = (site.local(), site.path("elsewhere"));
    fs::remove_dir_all(&old).unwrap();
    fs::create_dir(&new).unwrap();
    site.config.store("local").insert("path".to_owned(), new.to_str().unwrap().into());
    site.pgkeep(["verify", &id, "--repair"]).any_stdout().stderr_has("repaired").run();
    assert!(!old.exists());
    assert!(site.row(&id)["local_path"].as_str().unwrap().starts_with(new.to_str().unwrap()));
    site.assert_copies(&id, &["local", "r2", "b2"]);
}

/// A run that died after it had published had its copies in the other stores struck from its row.
#[test]
fn a_rebuild_from_one_store_keeps_what_is_on_record_of_the_others() {
    let (site, id) = site_with_backup();
    site.cluster.execute(&site.catalog, "UPDATE pgkeep.backup SET status = 'failed', error = 'its run died'");
    site.pgkeep(["catalog", "rebuild", "--from", "r2"]).any_stdout().run();
    site.assert_copies(&id, &["local", "r2", "b2"]);
}

/// What a repair left that was killed half-way stayed for ever: a backup run clears up only after other runs.
#[test]
fn a_repair_clears_what_one_before_it_left() {
    let (site, id) = site_with_backup();
    let path = std::path::PathBuf::from(site.row(&id)["local_path"].as_str().unwrap());
    let name = path.file_name().unwrap().to_str().unwrap();
    let left = path.with_file_name(format!(".{name}.abc123.part"));
    fs::write(&left, "half of it").unwrap();
    let r2 = site.row(&id)["r2_path"].as_str().unwrap().to_owned();
    site.r2.begin_upload(&r2);
    for store in ["local", "r2"] {
        spoil(&site, &id, store, None);
    }
    site.pgkeep(["verify", &id, "--repair"]).any_stdout().any_stderr().run();
    assert!(!left.exists());
    site.assert_no_uploads();
    site.assert_copies(&id, &["local", "r2", "b2"]);
}

/// A manifest that was too large to be one counted as one that could not be read, and was never mended.
#[test]
fn a_manifest_that_is_too_large_is_damaged() {
    let (site, id) = site_with_backup();
    let path_in = |store: &str| format!("{}.json", site.row(&id)[format!("{store}_path")].as_str().unwrap());
    let huge = vec![b' '; 17 * 1024 * 1024];
    fs::write(path_in("local"), &huge).unwrap();
    site.r2.put(&path_in("r2"), &huge);
    let document = site.pgkeep(["--json", "verify", &id]).code(4).any_stdout().any_stderr().run().json();
    for store in ["local", "r2"] {
        assert_eq!(copy_in(&document, store)["verdict"], "size", "{document:#}");
    }
    site.pgkeep(["verify", &id, "--repair"]).any_stdout().any_stderr().run();
    site.pgkeep(["verify", &id]).any_stdout().run();
}

/// A named pipe in the place of a copy held a verification for ever.
#[test]
fn a_pipe_in_the_place_of_a_copy_is_not_waited_for() {
    let site = Site::new().local_only();
    let id = site.backup();
    let path = site.row(&id)["local_path"].as_str().unwrap().to_owned();
    for path in [format!("{path}.json"), path] {
        fs::remove_file(&path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        site.pgkeep(["verify", &id]).any_code().any_stdout().stderr_has("is not a file").run();
    }
}

/// A store that was away for one check left its copies with an error that no look from outside took back: `stat`
/// said `ok` while the backup stayed on record as degraded.
#[test]
fn a_store_that_is_back_is_forgiven_by_a_look_from_outside() {
    let (mut site, id) = site_with_backup();
    let real = site.config.clone();
    let fault = site.fault("r2", Manners::Plain);
    fault.rule(Rule::on("GET", ".pgk").refuse(403, "AccessDenied"));
    site.pgkeep(["verify", &id]).code(3).any_stdout().stderr_has("r2").run();
    assert_eq!(site.row(&id)["status"], "degraded");
    site.config = real;
    site.pgkeep(["verify", &id, "--level", "stat"]).any_stdout().run();
    assert_eq!(site.row(&id)["status"], "verified");
}

/// A signal in the middle of a repair threw away what was on record of the copies that were done by then: their
/// new tags were taken for damage later.
#[test]
fn what_was_repaired_before_a_signal_is_on_record() {
    let (mut site, id) = site_with_backup();
    let before = site.copies(&id)["local"]["stored_at"].clone();
    spoil(&site, &id, "local", None);
    spoil(&site, &id, "b2", Some(b"damaged"));
    let fault = site.fault("b2", Manners::Plain);
    fault.rule(Rule::on("PUT", "partNumber=1").does(Action::Hang));
    let running = site.pgkeep(["verify", &id, "--repair"]).code(143).any_stdout().any_stderr().start();
    wait_until("the part is on its way", || fault.count("PUT", "partNumber=1") > 0);
    running.signal(rustix::process::Signal::TERM);
    running.finish();
    let local = &site.copies(&id)["local"];
    assert_eq!(local["state"], "verified", "{local:#}");
    assert_ne!(local["stored_at"], before);
}
