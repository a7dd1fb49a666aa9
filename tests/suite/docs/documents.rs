//! The documents that people write: the README, and the manual pages that are not made from the command definitions.

use std::fs;

use crate::support::project;

/// A document as Markdown has it: of a manual page the examples alone, each a fenced block.
pub(super) struct Document {
    pub(super) name: String,
    pub(super) text: String,
}

/// All of them, the README first.
pub(super) fn documents() -> Vec<Document> {
    let readme = fs::read_to_string(project().join("README.md")).unwrap();
    let mut found = vec![Document { name: "README.md".to_owned(), text: readme }];
    let mut pages: Vec<_> = fs::read_dir(project().join("man")).unwrap().flatten().collect();
    pages.sort_by_key(std::fs::DirEntry::file_name);
    for page in pages {
        let name = page.file_name().into_string().unwrap();
        if is_by_hand(&name) {
            found.push(Document { text: examples(&fs::read_to_string(page.path()).unwrap()), name });
        }
    }
    found
}

/// Whether people write that page: those of the commands are made from their definitions.
pub(crate) fn is_by_hand(page: &str) -> bool {
    page.ends_with(".5") || page.ends_with(".7")
}

/// A line of a page as a reader sees it.
pub(crate) fn plain(line: &str) -> String {
    let escapes = [("\\-", "-"), ("\\(aq", "'"), ("\\(ti", "~"), ("\\[ga]", "`"), ("\\e", "\\")];
    escapes.iter().fold(line.to_owned(), |line, (escape, letter)| line.replace(escape, letter))
}

/// The examples of a page, each as a fenced block: one that begins as a configuration does is called `toml`.
fn examples(page: &str) -> String {
    let mut text = String::new();
    for example in page.split("\n.EX\n").skip(1) {
        let example: Vec<String> = example.split("\n.EE").next().unwrap().lines().map(plain).collect();
        let first = example.first().map(String::as_str).unwrap_or_default();
        let is_configuration = first.starts_with('[') || first.starts_with("state_dir =");
        let language = if is_configuration { "toml" } else { "sh" };
        text.push_str(&format!("```{language}\n{}\n```\n", example.join("\n")));
    }
    text
}
