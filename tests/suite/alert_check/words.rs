//! What a check says where it can't begin, and how names stand in its line.

use super::{check, seen};
use crate::support::Site;
use crate::support::cluster::SAMPLE;

#[test]
fn what_can_not_begin_is_unknown() {
    let mut site = Site::new().local_only();
    for (arguments, word) in [
        (vec!["--max-age", "nonsense"], "nonsense"),
        (vec!["--splendid"], "--splendid"),
        (vec!["--database", ""], "--database"),
    ] {
        let call = check(&site, 3).args(&arguments).stdout_has("PGKEEP UNKNOWN - ").stdout_has(word);
        let ran = call.stderr_has(word).run();
        assert_eq!(ran.stdout.lines().count(), 1, "{}", ran.stdout);
        let call = check(&site, 3).args(&arguments).args(["--json"]).any_stdout().stderr_has(word);
        assert_eq!(call.run().json()["state"], "UNKNOWN");
    }
    // Other commands end as ever.
    site.pgkeep(["alert", "list", "--splendid"]).code(2).stderr_has("--splendid").run();
    std::fs::write(site.path("pgkeep.key"), "no key\n").unwrap();
    check(&site, 3).stdout_has("pgkeep.key").stderr_has("pgkeep.key").run();
    site.config.set("alert.max_age", "never");
    check(&site, 3).stdout_has("PGKEEP UNKNOWN - ").stderr_has("max_age").run();
}

#[test]
fn names_do_not_break_the_line() {
    let name = crate::support::cluster::unique("it's a=b|c\n\u{e4}");
    let site = Site::of(name.clone(), SAMPLE).local_only();
    site.backup();
    let line = check(&site, 0).any_stdout().run().stdout;
    assert_eq!(line.lines().count(), 1, "{line}");
    let (text, figures) = line.split_once('|').unwrap();
    assert!(text.contains("it's a=b/c \u{e4}"), "{line}");
    assert!(figures.contains("'age_it%27s%20a%3Db%7Cc%0A%C3%A4"), "{line}");
    for figure in figures.split_whitespace() {
        let (label, value) = figure.split_once('=').unwrap();
        assert!(
            label.starts_with('\'') && label.ends_with('\'') && label.matches('\'').count() == 2,
            "{figure}"
        );
        assert!(value.starts_with(|c: char| c.is_ascii_digit()), "{figure}");
    }
}

#[test]
fn only_the_databases_that_are_meant() {
    let site = Site::new().local_only();
    site.backup();
    let line = check(&site, 2).args(["--database", "nowhere"]).any_stdout().run().stdout;
    assert!(
        line.contains("there is no good backup of `nowhere`") && !line.contains(&site.database),
        "{line}"
    );
    let both = check(&site, 2).args(["--database", "nowhere", "--database", &site.database, "--json"]);
    let both = both.any_stdout().run().json();
    assert_eq!(both["databases"].as_array().unwrap().len(), 2, "{both:#}");
    // What was raised of the other one stays, until somebody says that it is none.
    let usual = seen(&site, 2);
    assert_eq!(usual["databases"].as_array().unwrap().len(), 1);
    let id = usual["alerts"][0]["id"].as_str().unwrap();
    site.pgkeep(["alert", "resolve", id]).any_stdout().run();
    assert_eq!(seen(&site, 0)["alerts"].as_array().unwrap().len(), 0);
}
