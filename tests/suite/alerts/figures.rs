//! A dump that is not what the last ones were.

use super::{alerts, open, open_rules};
use crate::support::Site;

/// Says of the backups on record that they were otherwise.
fn rewrite(site: &Site, what: &str) {
    site.cluster.execute(&site.catalog, &format!("UPDATE pgkeep.backup SET {what}"));
}

#[test]
fn tables_that_have_vanished_are_no_success() {
    let site = Site::new().local_only().with_own_catalog();
    site.backup();
    site.cluster.execute(&site.database, "DROP SCHEMA public CASCADE; CREATE SCHEMA public");
    let id = site.pgkeep(["backup", "full"]).code(3).any_stdout().stderr_has("holds no table").run().id();
    let alert = open(&site, "empty_dump");
    assert_eq!(
        (&alert["severity"], &alert["backup_id"]),
        (&"critical".into(), &id.as_str().into()),
        "{alert:#}"
    );
    site.cluster.execute(&site.database, "CREATE TABLE a ()");
    site.pgkeep(["backup", "full"]).any_stdout().any_stderr().run();
    assert!(!open_rules(&site).contains(&"empty_dump".to_owned()), "{:#?}", alerts(&site));
}

/// A database that never had one is told of once, and is no failure each night.
#[test]
fn a_database_without_tables_is_told_of() {
    let mut site = Site::new().local_only().with_own_catalog();
    let (name, url) = site.target();
    site.config.set("source.url", url);
    for count in 1..=3 {
        site.pgkeep(["backup", "full"]).stdout_has(&name).run();
        let alert = open(&site, "empty_dump");
        assert_eq!(
            (&alert["database"], &alert["count"]),
            (&name.as_str().into(), &count.into()),
            "{alert:#}"
        );
    }
}

#[test]
fn sizes_and_times_are_compared_with_the_last_seven() {
    let mut site = Site::new().local_only().with_own_catalog();
    // One is enough to see a drop.
    site.backup();
    rewrite(&site, "metadata = metadata || '{\"dump_bytes\": 90000000}'");
    let id = site.backup();
    let alert = open(&site, "size_changed");
    assert_eq!(
        (&alert["severity"], &alert["backup_id"]),
        (&"warning".into(), &id.as_str().into()),
        "{alert:#}"
    );
    assert!(alert["message"].as_str().unwrap().contains("% less"), "{alert:#}");
    rewrite(&site, "metadata = metadata || '{\"dump_bytes\": 1}'");
    // Two are too few to see a growth; what is small does not count.
    site.backup();
    assert_eq!(open_rules(&site), Vec::<String>::new());
    let newest = "(SELECT metadata->'dump_bytes' FROM pgkeep.backup ORDER BY created_at DESC LIMIT 1)";
    rewrite(&site, &format!("metadata = metadata || jsonb_build_object('dump_bytes', {newest})"));
    rewrite(&site, "backup_duration_seconds = 7200");
    site.backup();
    assert_eq!(open_rules(&site), ["duration_changed"]);
    rewrite(&site, "backup_duration_seconds = 1");
    site.cluster
        .execute(&site.database, "CREATE TABLE big AS SELECT md5(n::text) FROM generate_series(1, 40000) n");
    site.backup();
    assert_eq!(open_rules(&site), ["size_changed"]);
    let alert = open(&site, "size_changed");
    assert!(alert["message"].as_str().unwrap().contains("more"), "{alert:#}");
    site.config.set("alert.size_growth", "off");
    site.backup();
    assert_eq!(open_rules(&site), Vec::<String>::new());
}
