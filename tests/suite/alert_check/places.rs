//! Stores that are down or full, servers that can't name their databases.

use super::{assert_verdicts, check, seen};
use crate::support::{Gate, Site};

#[test]
fn a_store_that_is_down_is_a_finding_and_hides_nothing_else() {
    let mut site = Site::new();
    site.config.keep_stores(&["local", "r2"]);
    site.backup();
    site.config.set("timeouts.request", "3s");
    site.set_endpoint("r2", "127.0.0.1:9");
    check(&site, 1).stdout_has("store `r2` can't be asked").run();
    let wanted = [
        ("store_unreachable", Some("r2"), "warning"),
        ("copy_missing", Some("r2"), ""),
        ("copy_missing", Some("local"), "well"),
        ("no_good_backup", None, "well"),
    ];
    assert_verdicts(&seen(&site, 1), &wanted);
    // The one that is young enough may be there still: nobody knows.
    super::empty(&site.local());
    let wanted = [("copy_missing", Some("local"), "critical"), ("no_good_backup", None, "")];
    assert_verdicts(&seen(&site, 2), &wanted);
}

/// A disk of so few pages, for the check alone: what is in it then was never backed up, but its room is real.
#[test]
fn a_disk_that_is_nearly_full() {
    let site = Site::new();
    site.backup();
    let script = "mount -t tmpfs -o size=400k tmpfs \"$FOLDER\" || exit 99; cp -a \"$KEPT\"/. \"$FOLDER\"/; \
                  head -c \"$FILL\" /dev/zero >\"$FOLDER/fill\" 2>/dev/null; exec \"$@\"";
    let kept = site.path("kept");
    let copied = std::process::Command::new("cp").arg("-a").arg(site.local()).arg(&kept).status().unwrap();
    assert!(copied.success());
    let filled = |code: i32, bytes: &str| {
        let call = check(&site, code).args(["--json"]).with_mounts(script).env("FOLDER", site.local());
        call.env("KEPT", &kept).env("FILL", bytes).any_stdout().run().json()
    };
    let roomy = filled(0, "0");
    assert_verdicts(
        &roomy,
        &[("store_nearly_full", Some("local"), "well"), ("store_nearly_full", Some("r2"), "")],
    );
    assert!(roomy["stores"][0]["total_bytes"].as_u64().unwrap() <= 400 * 1024, "{roomy:#}");
    assert_verdicts(&filled(2, "1000000"), &[("store_nearly_full", Some("local"), "critical")]);
}

#[test]
fn a_server_that_can_not_name_its_databases() {
    let mut site = Site::new().local_only().with_own_catalog();
    site.backup();
    let gate = Gate::open_to(site.cluster.port);
    site.config.set("source.url", site.cluster.url_through(gate.port, &site.database));
    site.config.set("source.databases", vec!["*"]);
    gate.shut();
    let told = seen(&site, 1);
    assert_eq!(told["databases"][0]["database"], site.database.as_str(), "{told:#}");
    assert!(told["warnings"][0].as_str().unwrap().contains("can't be asked for its databases"), "{told:#}");
    assert_verdicts(&told, &[("no_good_backup", None, "well")]);
}
