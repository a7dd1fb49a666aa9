//! Targets that are left as they were.

use crate::support::Site;
use crate::support::compare::contents;

/// `--clean` once went on when a table could not be dropped for a view that hangs on it, and each row came in
/// a second time.
#[test]
fn a_view_in_the_way_of_clean_leaves_the_rows_as_they_were() {
    let site = Site::new().local_only();
    let id = site.backup();
    let (target, url) = site.target();
    site.pgkeep(["restore", &id, "--into", &url]).any_stdout().any_stderr().run();
    site.cluster.execute(&target, "CREATE VIEW of_others AS SELECT count(*) FROM invoice");
    let before = contents(site.cluster, &target);
    assert!(before["r public.invoice"].starts_with("3000 "), "{before:?}");
    let call = site.pgkeep(["restore", &id, "--into", &url, "--clean"]);
    let ran = call.any_code().any_stdout().stderr_has("of_others").run();
    assert_ne!(ran.code, 0, "{ran:?}");
    assert_eq!(contents(site.cluster, &target), before);
}
