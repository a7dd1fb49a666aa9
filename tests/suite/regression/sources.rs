//! Several sources, and several hosts, that share what is theirs.

use std::process::Command;

use crate::support::tools::finish;
use crate::support::{FakeBin, Manners, Site, wait_until};

/// `latest` once was the newest of all sources in the catalog: a restore on one host brought another's data.
#[test]
fn latest_stays_within_its_source() {
    let mut site = Site::new().local_only().with_own_catalog();
    site.config.set("source.name", "a");
    let of_a = site.backup();
    site.config.set("source.name", "b");
    site.pgkeep(["verify", "latest"]).code(5).stderr_has("latest").run();
    let (target, url) = site.target();
    site.pgkeep(["restore", "latest", "--into", &url]).code(5).stderr_has("latest").run();
    let query = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    let tables: i64 = site.cluster.connect(&target).query_one(query, &[]).unwrap().get(0);
    assert_eq!(tables, 0);
    let alone = site.pgkeep(["list"]).any_stdout().run();
    assert!(!alone.stdout.contains("SOURCE"), "{}", alone.stdout);

    let of_b = site.backup();
    let newest = |site: &Site| site.pgkeep(["--json", "verify", "latest"]).any_stdout().run().json();
    assert_eq!(newest(&site)["id"], of_b.as_str());
    let both = site.pgkeep(["list"]).any_stdout().run();
    assert!(both.stdout.lines().next().unwrap().ends_with("SOURCE"), "{}", both.stdout);
    for (id, source) in [(&of_a, "a"), (&of_b, "b")] {
        let line = both.stdout.lines().find(|line| line.starts_with(id.as_str())).unwrap();
        assert_eq!(line.split_whitespace().last(), Some(source), "{}", both.stdout);
    }
    site.config.set("source.name", "a");
    assert_eq!(newest(&site)["id"], of_a.as_str());
}

/// A run once swept every open upload of its database, and with it the one that another host was busy with.
#[test]
fn a_living_upload_of_another_host_is_left_alone() {
    let mut site = Site::of_parts().with_own_catalog();
    let quick = site.config.clone();
    let fault = site.fault("r2", Manners::Plain);
    let script = "set -o pipefail\n\"$REAL\" \"$@\" | { head -c 30000000; echo $$ >\"$HERE/draft\"; \
        mv \"$HERE/draft\" \"$HERE/pid\"; read -r _ <\"$HERE/gate\"; cat; }";
    let bin = FakeBin::new(&site.path(""), script);
    finish(Command::new("mkfifo").arg(bin.folder.join("gate")));
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    let held = site.pgkeep(["backup", "full"]).any_stdout().start();
    bin.wait_for_start();
    wait_until("a part is on its way", || fault.count("PUT", "partNumber=1") == 1);
    wait_until("both uploads are open", || site.r2.uploads().len() == 1 && site.b2.uploads().len() == 1);

    // The other host: the same names and stores, a catalog and a state of its own.
    let mut other = quick;
    other.set("catalog.url", site.cluster.url(&site.cluster.fresh_database()));
    other.set("state_dir", site.path("other-state").to_str().unwrap());
    let file = site.path("other.toml");
    other.write(&file);
    let call = site.bare().args(["--config".as_ref(), file.as_os_str()]).args(["backup", "full"]);
    let others = call.any_stdout().run().id();

    assert_eq!(site.r2.uploads().len(), 1, "the upload that lives is gone");
    bin.release();
    let id = held.finish().id();
    assert_ne!(id, others);
    assert_eq!(site.row(&id)["status"], "verified");
    site.assert_copies(&id, &["local", "r2", "b2"]);
    assert_eq!(fault.count("POST", "uploads"), 1, "the upload was begun anew");
    site.assert_no_uploads();
}
