//! A walk through the files of a local store. It must not leave the store's directory, nor follow links.

use std::fs::{self, Metadata};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;

use super::is_absent;
use crate::store::{Listed, Room};

const LOST_AND_FOUND: &str = "lost+found";

/// How much room the file system of a folder has, for a user without special rights.
pub(super) fn room(folder: &Path) -> Result<Room> {
    let about = rustix::fs::statvfs(folder)
        .with_context(|| format!("cannot ask how much is free in `{}`", folder.display()))?;
    let bytes = |blocks: u64| blocks.saturating_mul(about.f_frsize);
    Ok(Room { free_bytes: bytes(about.f_bavail), total_bytes: bytes(about.f_blocks) })
}

/// Every object below `root` whose path starts with `path_prefix`, in the order of their paths, as far as
/// `is_object` knows it for one.
pub(super) fn list(root: &Path, path_prefix: &str, is_object: impl Fn(&Path) -> bool) -> Result<Vec<Listed>> {
    ensure!(root.is_dir(), "there is no folder `{}`", root.display());
    ensure!(!climbs(path_prefix), "`{path_prefix}` leads out of the store");
    let mut found = Vec::new();
    // From the root, and never from a folder of the prefix: one of those may be a link.
    walk(root, path_prefix, &mut |file, path| {
        if !path.starts_with(path_prefix) || !is_object(file) {
            return Ok(());
        }
        match fs::symlink_metadata(file) {
            Ok(metadata) => found.push(Listed {
                path: path.to_owned(),
                size_bytes: metadata.len(),
                modified_at: modified_at(&metadata),
            }),
            // It was removed since its folder was read.
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(error).with_context(|| format!("can't look at `{path}`")),
        }
        Ok(())
    })?;
    found.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

/// When a file was last written.
pub(super) fn modified_at(metadata: &Metadata) -> Option<Timestamp> {
    metadata.modified().ok().and_then(|at| Timestamp::try_from(at).ok())
}

/// The innermost folder below `root` that is there of those that `path_prefix` names.
pub(super) fn folder_of(root: &Path, path_prefix: &str) -> Option<PathBuf> {
    let mut base = match path_prefix.rfind('/') {
        Some(end) => PathBuf::from(path_prefix.get(..=end).unwrap_or_default()),
        None => PathBuf::new(),
    };
    while !base.is_dir() && base.pop() {}
    // A prefix whose folders are all missing must not become a walk through the whole host.
    (base.starts_with(root) && !climbs(path_prefix)).then_some(base)
}

pub(super) fn climbs(path_prefix: &str) -> bool {
    Path::new(path_prefix).components().any(|piece| piece == Component::ParentDir)
}

/// Gives each regular file of `directory`, and of its folders that may lead to a path that starts with
/// `path_prefix`, and its path as text: one that is no text is none of ours. What the walk may not look into
/// is an error.
pub(super) fn walk(
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
                walk(&path, path_prefix, found)?;
            }
        } else if kind.is_file()
            && let Some(text) = path.to_str()
        {
            found(&path, text)?;
        }
    }
    Ok(())
}
