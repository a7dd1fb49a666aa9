//! The files that a configuration's patterns mean.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// No set has more of them: a pattern that means more is a slip.
const MOST_FILES: usize = 100_000;
/// No path leads through more links.
const MOST_LINKS: usize = 40;
/// What makes a pattern of a path.
const WILD: [char; 4] = ['*', '?', '[', ']'];

/// What a pattern means.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// Its path on this host.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
}

/// What is to be kept of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A folder: its owner and mode.
    Folder,
    /// A file: its bytes.
    File,
    /// A symbolic link: where it leads.
    Link,
}

/// What patterns mean, as it is found.
#[derive(Default)]
struct Search {
    found: BTreeSet<Found>,
    missing: Vec<String>,
}

/// Everything that the patterns mean, in order, and what is not to be had, each with the reason. A folder that is named
/// without a wildcard, or with `/**` after it, means all that is in it. Nothing stands below a link: where a path leads
/// through one, the link is there, and what it leads to under its own name.
#[must_use]
pub fn find(patterns: &[String]) -> (Vec<Found>, Vec<String>) {
    let mut search = Search::default();
    for pattern in patterns {
        search.add_all(pattern);
        if search.is_full() {
            search.missing.push(format!("{pattern}: more than {MOST_FILES} files: the rest is left out"));
            break;
        }
    }
    (search.found.into_iter().collect(), search.missing)
}

impl Search {
    fn is_full(&self) -> bool {
        self.found.len() > MOST_FILES
    }

    fn add_all(&mut self, pattern: &str) {
        let before = self.missing.len();
        // The library takes `**` at the end for folders alone.
        let (pattern, is_below) = match pattern.strip_suffix("/**") {
            Some(folder) => (if folder.is_empty() { "/" } else { folder }, true),
            None => (pattern, false),
        };
        let is_plain = !pattern.contains(WILD);
        let options = glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::new() };
        let paths = match glob::glob_with(pattern, options) {
            Ok(paths) => paths,
            Err(error) => return self.missing.push(format!("{pattern}: {error}")),
        };
        let mut is_any = false;
        for path in paths {
            match path {
                Ok(path) => {
                    is_any = true;
                    self.add(&path, is_plain || is_below, is_below);
                }
                Err(error) => self.missing.push(format!("{}: {}", error.path().display(), error.error())),
            }
            if self.is_full() {
                return;
            }
        }
        // A link that leads nowhere is there all the same.
        if !is_any && is_plain && Path::new(pattern).symlink_metadata().is_ok() {
            self.add(Path::new(pattern), true, is_below);
        } else if !is_any && self.missing.len() == before {
            let why = if is_plain { "it is not there" } else { "no file fits" };
            self.missing.push(format!("{pattern}: {why}"));
        }
    }

    /// Adds a path; with all that is in it where it is a folder and that is wanted, and where it is a link to one and that
    /// is wanted too.
    fn add(&mut self, path: &Path, with_contents: bool, through_link: bool) {
        let Some(path) = self.beside_links(path) else { return };
        let kind = match path.symlink_metadata() {
            Ok(about) => about.file_type(),
            Err(error) => return self.missing.push(format!("{}: {error}", path.display())),
        };
        let kept = if kind.is_symlink() {
            Kind::Link
        } else if kind.is_dir() {
            Kind::Folder
        } else if kind.is_file() {
            Kind::File
        } else {
            let what = match () {
                () if kind.is_fifo() => "a FIFO",
                () if kind.is_socket() => "a socket",
                () => "a device",
            };
            return self.missing.push(format!("{}: {what} is no file that can be kept", path.display()));
        };
        self.found.insert(Found { path: path.clone(), kind: kept });
        if kept == Kind::Link && through_link && path.is_dir() {
            match path.canonicalize() {
                Ok(folder) => self.add(&folder, true, false),
                Err(error) => self.missing.push(format!("{}: {error}", path.display())),
            }
        }
        if kept == Kind::Folder && with_contents {
            self.add_contents(&path);
        }
    }

    fn add_contents(&mut self, folder: &Path) {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => return self.missing.push(format!("{}: {error}", folder.display())),
        };
        for entry in entries {
            if self.is_full() {
                return;
            }
            match entry {
                Ok(entry) => self.add(&entry.path(), true, false),
                Err(error) => self.missing.push(format!("{}: {error}", folder.display())),
            }
        }
    }

    /// The same place without a link on the way; each such link is found as well.
    fn beside_links(&mut self, path: &Path) -> Option<PathBuf> {
        let mut path = path.to_path_buf();
        for _ in 0..MOST_LINKS {
            let mut above: Vec<&Path> = path.ancestors().skip(1).collect();
            above.reverse();
            let is_link = |path: &&&Path| path.symlink_metadata().is_ok_and(|about| about.is_symlink());
            let Some(link) = above.iter().find(is_link) else { return Some(path) };
            self.found.insert(Found { path: link.to_path_buf(), kind: Kind::Link });
            let led = link
                .canonicalize()
                .and_then(|to| Ok(to.join(path.strip_prefix(link).map_err(std::io::Error::other)?)));
            path = match led {
                Ok(led) => led,
                Err(error) => {
                    self.missing.push(format!("{}: {error}", path.display()));
                    return None;
                }
            };
        }
        self.missing.push(format!("{}: too many links on the way", path.display()));
        None
    }
}
