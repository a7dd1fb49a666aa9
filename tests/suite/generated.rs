//! The manual pages and completions in the repository are those that the command definitions give.
//! `PGKEEP_UPDATE_GENERATED=1` writes them anew.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::docs::documents::is_by_hand;
use crate::support::project;

mod pages;

fn files(folder: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut found = BTreeMap::new();
    for entry in entries.flatten() {
        let name = entry.file_name().into_string().unwrap();
        if !is_by_hand(&name) {
            found.insert(name, fs::read_to_string(entry.path()).unwrap());
        }
    }
    found
}

#[test]
fn man_pages_and_completions_are_fresh() {
    let made = tempfile::tempdir().unwrap();
    pages::write(made.path()).unwrap();
    for name in ["man", "completions"] {
        let committed = project().join(name);
        if std::env::var_os("PGKEEP_UPDATE_GENERATED").is_some() {
            fs::create_dir_all(&committed).unwrap();
            for (file, _) in files(&committed) {
                fs::remove_file(committed.join(file)).unwrap();
            }
            for (file, text) in files(&made.path().join(name)) {
                fs::write(committed.join(file), text).unwrap();
            }
        }
        let (wanted, found) = (files(&made.path().join(name)), files(&committed));
        let again = "run `PGKEEP_UPDATE_GENERATED=1 cargo test generated` and commit what changes";
        assert_eq!(
            found.keys().collect::<Vec<_>>(),
            wanted.keys().collect::<Vec<_>>(),
            "in {name}/: {again}"
        );
        for (file, text) in wanted {
            assert!(found[&file] == text, "{name}/{file} is stale: {again}");
        }
    }
}

#[test]
fn there_is_a_page_for_each_command_and_a_completion_for_each_shell() {
    let pages = files(&project().join("man"));
    for page in [
        "pgkeep.1",
        "pgkeep-backup-full.1",
        "pgkeep-list.1",
        "pgkeep-verify.1",
        "pgkeep-restore.1",
        "pgkeep-key-new.1",
    ] {
        assert!(pages.contains_key(page), "{page} is not among {:?}", pages.keys());
    }
    assert_eq!(files(&project().join("completions")).len(), 3, "bash, zsh and fish");
}
