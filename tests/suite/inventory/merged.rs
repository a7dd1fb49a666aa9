//! `catalog rebuild` where the catalog knows something already.

use super::*;

fn rebuild(site: &Site, code: i32) -> crate::support::command::Ran {
    let call =
        site.pgkeep(["catalog", "rebuild", "--from", "local", "--from", "r2", "--from", "b2"]).code(code);
    if code == 0 { call.any_stdout().run() } else { call.any_stdout().any_stderr().run() }
}

fn set(site: &Site, statement: &str) {
    site.cluster.execute(&site.catalog, statement);
}

#[test]
fn what_is_on_record_as_lost_is_set_right_and_the_rest_is_left() {
    let site = Site::new().with_own_catalog();
    let id = site.backup();
    set(&site, "UPDATE pgkeep.copy SET state = 'missing', error = 'gone' WHERE store = 'r2'");
    set(&site, "UPDATE pgkeep.copy SET state = 'corrupt', error = 'bent' WHERE store = 'b2'");
    let before = site.copies(&id);
    let told = rebuild(&site, 0).stdout;
    assert!(told.contains("0 new on record, 1 set right"), "{told}");
    let after = site.copies(&id);
    assert_eq!((&after["local"], &after["b2"]), (&before["local"], &before["b2"]));
    assert_eq!((&after["r2"]["state"], &after["r2"]["error"]), (&"stored".into(), &serde_json::Value::Null));
    assert_eq!(after["r2"]["position"], before["r2"]["position"]);
    assert_eq!(site.row(&id)["status"], "degraded");
    site.pgkeep(["verify", &id]).any_stdout().run();
    assert_eq!(site.row(&id)["status"], "verified");
    let told = rebuild(&site, 0).stdout;
    assert!(told.contains("0 new on record, 0 set right"), "{told}");
}

#[test]
fn an_expired_copy_is_reported_and_never_revived() {
    let site = Site::new().with_own_catalog();
    let (one, all) = (site.backup(), site.backup());
    set(&site, &format!("UPDATE pgkeep.copy SET state = 'expired' WHERE store = 'r2' AND backup = '{one}'"));
    set(&site, &format!("UPDATE pgkeep.copy SET state = 'expired' WHERE backup = '{all}'"));
    set(&site, &format!("UPDATE pgkeep.backup SET status = 'expired' WHERE id = '{all}'"));
    let before = (site.copies(&one), site.copies(&all), site.rows());
    let ran = rebuild(&site, 3);
    assert!(ran.stdout.contains("0 new on record, 0 set right"), "{}", ran.stdout);
    assert!(ran.stderr.contains(&one) && ran.stderr.contains(&all), "{}", ran.stderr);
    assert_eq!((site.copies(&one), site.copies(&all), site.rows()), before);
}

/// A new host has its backups in another folder.
#[test]
fn a_store_that_has_moved_is_found_where_it_is() {
    let mut site = Site::new().with_own_catalog();
    let id = site.backup();
    let moved = site.path("moved");
    fs::rename(site.local(), &moved).unwrap();
    site.config.store("local").insert("path".to_owned(), moved.to_str().unwrap().into());
    let told = rebuild(&site, 0).stdout;
    assert!(told.contains("1 set right"), "{told}");
    let path = site.row(&id)["local_path"].as_str().unwrap().to_owned();
    assert!(path.starts_with(moved.to_str().unwrap()), "{path}");
    site.assert_copies(&id, &STORES);
    site.pgkeep(["verify", &id]).any_stdout().run();
}

/// A run that failed is taken up by what is whole of it, and by nothing else.
#[test]
fn a_failed_run_without_a_whole_copy_stays_failed() {
    let site = Site::new().with_own_catalog();
    let id = site.backup();
    let path = site.row(&id)["local_path"].as_str().unwrap().to_owned();
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[1..]).unwrap();
    set(&site, "UPDATE pgkeep.copy SET state = 'failed', error = 'it broke', path = ''");
    set(&site, "UPDATE pgkeep.backup SET status = 'failed', error = 'it broke', checksum = NULL");
    let call = site.pgkeep(["catalog", "rebuild", "--from", "local"]).code(3);
    call.stdout_has("0 set right").stderr_has("no copy that was found of it is whole").run();
    assert_eq!(site.row(&id)["status"], "failed");
    fs::write(&path, &whole).unwrap();
    site.pgkeep(["catalog", "rebuild", "--from", "local"]).stdout_has("1 set right").run();
    let (row, copies) = (site.row(&id), site.copies(&id));
    assert_eq!((&row["status"], &copies["local"]["state"]), (&"degraded".into(), &"stored".into()));
    assert_eq!((&copies["r2"]["state"], &copies["r2"]["error"]), (&"failed".into(), &"it broke".into()));
    rebuild(&site, 0);
    assert_eq!(site.row(&id)["status"], "completed");
    site.assert_copies(&id, &STORES);
}
