//! What someone who can write to a bucket, and has no key, may try.

use super::*;

/// A copy of the site's newest backup in r2 at another place, its manifest changed.
fn plant(site: &Site, id: &str, folder: &str, changes: &[(&str, &str)]) -> String {
    let path = site.row(id)["r2_path"].as_str().unwrap().to_owned();
    let text = String::from_utf8(site.r2.get(&format!("{path}.json"))).unwrap();
    let changed = changes.iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "{from}: {text}");
        text.replace(from, to)
    });
    let planted = path.replacen("/db1/", &format!("/{folder}/"), 1);
    site.r2.put(&planted, &site.r2.get(&path));
    site.r2.put(&format!("{planted}.json"), changed.as_bytes());
    planted
}

#[test]
fn no_word_of_a_bucket_commands_a_terminal() {
    let site = Site::new();
    let id = site.backup();
    plant(&site, &id, "%1B%5B31mred", &[("\"source\": \"db1\"", "\"source\": \"\\u001b[31mred\"")]);
    plant(&site, &id, "db2", &[("\"completed\"", "\"\\u001b[2Jdone\"")]);
    plant(&site, &id, "db3", &[(&format!("\"{id}\""), "\"\\u001b]0;title\\u0007\"")]);
    site.r2.put(&format!("pg/db4/\u{1b}[8m/{id}.dump.gz.pgk"), b"hidden");
    let hidden = site.local().join(format!("db4/\u{1b}[8m/{id}.dump.gz.pgk"));
    fs::create_dir_all(hidden.parent().unwrap()).unwrap();
    fs::write(hidden, b"hidden").unwrap();
    let listed = site.pgkeep(["list", "--from", "local"]).code(3).any_stdout().any_stderr().run();
    assert!(listed.stderr.contains("db4/\\u{1b}[8m/"), "{}", listed.stderr);
    let with_key = site.pgkeep(["list", "--from", "r2"]).code(3).any_stdout().any_stderr().run();
    fs::rename(site.path("pgkeep.key"), site.path("kept.key")).unwrap();
    let without = site.pgkeep(["list", "--from", "r2"]).code(3).any_stdout().any_stderr().run();
    for ran in [&listed, &with_key, &without] {
        for text in [&ran.stdout, &ran.stderr] {
            assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
        }
    }
    for ran in [&with_key, &without] {
        assert!(ran.stderr.contains("done") && ran.stderr.contains("db4"), "{}", ran.stderr);
    }
    assert!(without.stdout.contains("\\u{1b}[31mred"), "{}{}", without.stdout, without.stderr);
    assert!(!with_key.stdout.contains("31mred"), "{}", with_key.stdout);
}

/// A proven manifest at another place tells of no backup there: what it names is where it belongs.
#[test]
fn a_backup_that_was_moved_is_none() {
    let site = Site::new();
    let id = site.backup();
    let planted = plant(&site, &id, "db2", &[]);
    let ran = site.pgkeep(["list", "--from", "r2"]).code(3).any_stdout().stderr_has(&planted).run();
    assert_eq!(ran.stdout.matches(&id).count(), 1, "{}", ran.stdout);
    // It is not one of the source that `latest` is of, and says nothing there.
    let call = site.pgkeep(["restore", "latest", "--from", "r2", "--output", "-"]).any_stdout();
    let ran = call.any_stderr().any_code().run();
    assert!(!ran.stderr.contains("db2"), "{}", ran.stderr);
}

/// Trouble of other databases is not the business of a list of one.
#[test]
fn a_filter_holds_for_what_is_wrong_too() {
    let site = Site::new();
    let id = site.backup();
    site.r2.put("pg/db1/other/full/2026/11/full-other-20261101T020000Z-0000.dump.gz.pgk", b"bare");
    site.r2.put("pg/db1/other/full/2026/11/full-other-20261102T020000Z-0000.dump.gz.pgk.json", b"lost");
    let call = site.pgkeep(["list", "--from", "r2", "--database", &site.database]);
    assert!(call.any_stdout().run().stdout.contains(&id));
    let call = site.pgkeep(["list", "--from", "r2", "--database", "other"]).code(3);
    call.stdout("no backups\n").stderr_has("20261101").stderr_has("20261102").run();
    // Nor is what is older than the one that is chosen.
    let target = site.path("x");
    let output = target.to_str().unwrap();
    let ran =
        site.pgkeep(["restore", "latest", "--from", "r2", "--output", output]).any_stdout().any_stderr();
    assert!(!ran.run().stderr.contains("other"));
}
