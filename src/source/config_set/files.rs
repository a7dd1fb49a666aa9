//! The files that a configuration's patterns mean.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// No set has more of them: a pattern that means more is a slip.
const MOST_FILES: usize = 100_000;
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

/// Everything that the patterns mean, in order, and what is not to be had, each with the reason. A path without a wildcard
/// that is a folder means all that is in it.
#[must_use]
pub fn find(patterns: &[String]) -> (Vec<Found>, Vec<String>) {
    let mut found = BTreeSet::new();
    let mut missing = Vec::new();
    for pattern in patterns {
        let before = found.len();
        let is_plain = !pattern.contains(WILD);
        let options = glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::new() };
        match glob::glob_with(pattern, options) {
            Err(error) => missing.push(format!("{pattern}: {error}")),
            Ok(paths) => {
                let mut is_any = false;
                for path in paths {
                    is_any = true;
                    match path {
                        Ok(path) => add(&path, is_plain, &mut found, &mut missing),
                        Err(error) => missing.push(format!("{}: {}", error.path().display(), error.error())),
                    }
                    if found.len() > MOST_FILES {
                        missing
                            .push(format!("{pattern}: more than {MOST_FILES} files: the rest is left out"));
                        return (found.into_iter().collect(), missing);
                    }
                }
                // A link that leads nowhere is there all the same.
                if !is_any && is_plain && Path::new(pattern).symlink_metadata().is_ok() {
                    add(Path::new(pattern), is_plain, &mut found, &mut missing);
                    is_any = true;
                }
                if !is_any && found.len() == before {
                    let why = if is_plain { "it is not there" } else { "no file fits" };
                    missing.push(format!("{pattern}: {why}"));
                }
            }
        }
    }
    (found.into_iter().collect(), missing)
}

fn add(path: &Path, with_contents: bool, found: &mut BTreeSet<Found>, missing: &mut Vec<String>) {
    let kind = match path.symlink_metadata() {
        Err(error) => {
            missing.push(format!("{}: {error}", path.display()));
            return;
        }
        Ok(about) => about.file_type(),
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
        missing.push(format!("{}: {what} is no file that can be kept", path.display()));
        return;
    };
    found.insert(Found { path: path.to_path_buf(), kind: kept });
    if kept == Kind::Folder && with_contents && found.len() <= MOST_FILES {
        match fs::read_dir(path) {
            Err(error) => missing.push(format!("{}: {error}", path.display())),
            Ok(entries) => {
                for entry in entries {
                    match entry {
                        Ok(entry) => add(&entry.path(), true, found, missing),
                        Err(error) => missing.push(format!("{}: {error}", path.display())),
                    }
                }
            }
        }
    }
}
