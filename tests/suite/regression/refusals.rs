//! What is refused before anything is touched.

use crate::support::Site;
use crate::support::config::{local_store, s3_store, secret_env};

/// The configuration is refused with the line of the second store, and nothing was made anywhere.
fn assert_refused(site: &Site, twin: &str) {
    let config = site.path("config.toml");
    site.config.write(&config);
    let text = std::fs::read_to_string(config).unwrap();
    let name = format!("name = \"{twin}\"");
    let line = text.lines().position(|line| line == name).unwrap() + 1;
    let call = site.pgkeep(["backup", "full"]).code(2).stderr_has(&format!("line {line}:"));
    call.stderr_has(twin).stderr_has("same place").run();
    assert!(!site.path("state").exists(), "something was kept");
    let query = "SELECT count(*) FROM pg_namespace WHERE nspname = 'pgkeep'";
    let schemas: i64 = site.cluster.connect(&site.catalog).query_one(query, &[]).unwrap().get(0);
    assert_eq!(schemas, 0, "the catalog was made");
    site.assert_nothing_stored();
}

/// Two names for one folder once shared one copy, and a fill that made room for its own deleted the only one.
#[test]
fn two_local_stores_in_one_folder() {
    let mut site = Site::new().with_own_catalog();
    site.config.add_store(local_store("twin", &site.local().join("")));
    let path = site.config.store("twin")["path"].as_str().unwrap().to_owned();
    assert!(path.ends_with('/'), "`{path}` is to differ from the first store's by its slash");
    assert_refused(&site, "twin");
}

/// The same with one prefix of one bucket.
#[test]
fn two_s3_stores_in_one_bucket() {
    let mut site = Site::new().with_own_catalog();
    let twin = s3_store("twin", &site.r2, secret_env("R2_SECRET"));
    site.config.add_store(twin);
    assert_refused(&site, "twin");
}

/// A script whose variable was empty once restored into whatever database the defaults led to.
#[test]
fn an_empty_connection_string_as_the_target() {
    let site = Site::new().local_only();
    let id = site.backup();
    for target in ["", " "] {
        site.pgkeep(["restore", &id, "--into", target, "--clean"]).code(2).stderr_has("--into").run();
    }
}
