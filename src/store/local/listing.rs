//! A walk through the files of a local store. It must not leave the store's directory, nor follow links.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::is_absent;

const LOST_AND_FOUND: &str = "lost+found";

/// Gives each regular file whose folders may lead to a path that starts with `path_prefix`, and its path as
/// text: one that is no text is none of ours. What the walk may not look into is an error.
pub(super) fn walk(
    root: &Path,
    path_prefix: &str,
    found: &mut impl FnMut(&Path, &str) -> Result<()>,
) -> Result<()> {
    let mut base = match path_prefix.rfind('/') {
        Some(end) => PathBuf::from(path_prefix.get(..=end).unwrap_or_default()),
        None => PathBuf::new(),
    };
    while !base.is_dir() && base.pop() {}
    // A prefix whose folders are all missing must not become a walk through the whole host.
    if base.starts_with(root) { below(&base, path_prefix, found) } else { Ok(()) }
}

fn below(
    directory: &Path,
    path_prefix: &str,
    found: &mut impl FnMut(&Path, &str) -> Result<()>,
) -> Result<()> {
    let context = || format!("can't list `{}`", directory.display());
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if is_absent(&error) => return Ok(()),
        Err(error) => return Err(error).with_context(context),
    };
    for entry in entries {
        let entry = entry.with_context(context)?;
        let path = entry.path();
        let kind = entry.file_type().with_context(context)?;
        if kind.is_dir() {
            // It stands at the root of a file system, for root alone; a name of ours would have its `+` encoded.
            if entry.file_name() == LOST_AND_FOUND {
                continue;
            }
            let folder = format!("{}/", path.display());
            if folder.starts_with(path_prefix) || path_prefix.starts_with(&folder) {
                below(&path, path_prefix, found)?;
            }
        } else if kind.is_file()
            && let Some(text) = path.to_str()
        {
            found(&path, text)?;
        }
    }
    Ok(())
}
