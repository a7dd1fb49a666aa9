//! Rows that somebody wrote by hand, or a newer pgkeep: they hide no other, and are not what they pretend to be.

use crate::support::Site;

/// Rows that are none, one for each column that holds more than a word.
const ODD: &str = "
    INSERT INTO pgkeep.backup (id, backup_type, source, database, filename, status, metadata, created_at)
        SELECT 'odd', backup_type, source, database, filename, status, metadata, created_at + interval '1 s'
        FROM pgkeep.backup;
    INSERT INTO pgkeep.backup (id, backup_type, source, database, filename, status, metadata, created_at)
        SELECT regexp_replace(id, '....$', number), backup_type, source, database, filename, status, odd,
            created_at + later * interval '1 s'
        FROM pgkeep.backup, (VALUES ('0001', '[1]'::jsonb, 2), ('0002', '7', 2), ('0003', '{
            \"dump_bytes\": \"many\", \"tables\": \"few\", \"keys\": 3, \"checked\": {\"local\": \"never\"},
            \"fingerprint\": {\"level\": \"counts\", \"skipped\": {}, \"tables\": []}, \"host\": [], \"lacks\": {}}', -1))
            it(number, odd, later)
        WHERE id <> 'odd';
    INSERT INTO pgkeep.backup (id, backup_type, source, database, filename, status, created_at)
        SELECT regexp_replace(id, '....$', '0004'), backup_type, source, database, filename, status, 'infinity'
        FROM pgkeep.backup WHERE id <> 'odd' AND id !~ '000.$'";

#[test]
fn an_odd_row_hides_no_other() {
    let site = Site::new().local_only();
    let id = site.backup();
    site.cluster.execute(&site.catalog, ODD);
    let words = "a row of the catalog is passed over";
    site.pgkeep(["list"]).stdout_has(&id).stderr_has(words).stderr_has("`odd`").run();
    site.pgkeep(["list", "--limit", "2"]).stdout_has(&id).any_stderr().run();
    site.pgkeep(["verify", "latest"]).any_stdout().any_stderr().run();
    site.pgkeep(["verify", "--all"]).any_code().stdout_has(&id).any_stderr().run();
    site.pgkeep(["alert", "check"]).any_code().any_stdout().any_stderr().run();
    // Nobody knows what the copies are that an odd row tells of: nothing is removed.
    site.pgkeep(["prune"]).code(3).any_stdout().stderr_has("a row of the catalog can't be read: `").run();
    let call = site.pgkeep(["backup", "full"]).code(3).any_stdout();
    let next = call.stderr_has("old copies were not removed").run().id();
    assert_eq!(site.row(&next)["status"], "verified");
    site.pgkeep(["verify", "latest"]).any_stdout().any_stderr().run();
    assert!(site.row(&next)["metadata"]["checked"].is_object());
}

/// Other databases of the source are pruned all the same, and a backup whose copies are gone holds nothing up.
#[test]
fn an_odd_row_stops_the_prune_of_its_database_alone() {
    let mut site = Site::new().local_only();
    site.config.set("retention.min_keep", 1);
    site.backup();
    let old = site.backup();
    site.backup();
    let odd = |database: &str, status: &str| {
        let text = format!(
            "INSERT INTO pgkeep.backup (id, backup_type, source, database, filename, status, created_at)
             SELECT 'odd-{status}', backup_type, source, {database}, filename, '{status}', 'infinity'
             FROM pgkeep.backup LIMIT 1"
        );
        site.cluster.execute(&site.catalog, &text);
    };
    odd("database", "expired");
    odd("'other'", "verified");
    site.cluster.execute(&site.catalog, "UPDATE pgkeep.backup SET pinned_at = NULL");
    let ran = site
        .pgkeep(["prune", "--json"])
        .code(3)
        .stderr_has("`other`")
        .stderr_has("`odd-verified`")
        .any_stdout()
        .run();
    assert!(
        ran.json()["copies"].as_array().unwrap().iter().any(|copy| copy["id"] == old.as_str()),
        "{ran:?}"
    );
}

#[test]
fn latest_goes_by_no_time_that_the_name_denies() {
    let site = Site::new().local_only();
    let older = site.backup();
    let newer = site.backup();
    let latest = || {
        let ran = site.pgkeep(["verify", "latest", "--json"]).any_stdout().any_stderr().run();
        (ran.json()["id"].as_str().unwrap().to_owned(), ran.stderr)
    };
    assert_eq!(latest(), (newer.clone(), String::new()));
    let execute = |text: &str| site.cluster.execute(&site.catalog, text);
    execute(&format!(
        "UPDATE pgkeep.backup SET created_at = created_at + interval '2 minutes' WHERE id = '{older}'"
    ));
    let (id, told) = latest();
    assert_eq!(id, newer);
    assert!(told.contains(&format!("`{older}` is not `latest`")), "{told}");
    execute(&format!(
        "UPDATE pgkeep.backup SET created_at = created_at - interval '2 minutes' WHERE id = '{older}'"
    ));
    execute(&format!(
        "UPDATE pgkeep.backup SET created_at = created_at - interval '2 days' WHERE id = '{newer}'"
    ));
    let (id, told) = latest();
    assert_eq!(id, older);
    assert!(told.contains(&format!("`{newer}` is not `latest`")), "{told}");
}
