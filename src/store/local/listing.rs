//! A walk through the files of a local store. It must not leave the store's directory, nor follow links.

use std::collections::BinaryHeap;
use std::fs::{self, DirEntry, FileType, Metadata};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;

use super::is_absent;
use crate::store::{Listed, Room};

/// Length of the random piece of a temporary file's name.
pub(super) const RANDOM_CHARACTERS: usize = 6;
pub(super) const TEMPORARY_SUFFIX: &str = ".part";
const LOST_AND_FOUND: &str = "lost+found";
/// Paths of one folder that are held at once, in bytes, and what one takes besides its characters.
const WINDOW_BYTES: usize = 16 * 1024 * 1024;
const PATH_BYTES: usize = 40;
/// Folders within folders that are walked through, each of which is held open: those of a store are five deep.
const MOST_DEPTH: usize = 32;

/// How much room the file system of a folder has, for a user without special rights.
pub(super) fn room(folder: &Path) -> Result<Room> {
    let about = rustix::fs::statvfs(folder)
        .with_context(|| format!("cannot ask how much is free in `{}`", folder.display()))?;
    let bytes = |blocks: u64| blocks.saturating_mul(about.f_frsize);
    Ok(Room { free_bytes: bytes(about.f_bavail), total_bytes: bytes(about.f_blocks) })
}

/// Gives every object below `root` whose path starts with `path_prefix`, as far as `is_object` knows it for one:
/// those of one folder in the order of their names.
pub(super) fn each(
    root: &Path,
    path_prefix: &str,
    is_object: &dyn Fn(&str) -> bool,
    found: &mut dyn FnMut(Listed),
) -> Result<()> {
    ensure!(root.is_dir(), "there is no folder `{}`", root.display());
    ensure!(!climbs(path_prefix), "`{path_prefix}` leads out of the store");
    let mut look = |file: &Path, path: &str| {
        match fs::symlink_metadata(file) {
            Ok(metadata) => found(Listed {
                path: path.to_owned(),
                size_bytes: metadata.len(),
                modified_at: modified_at(&metadata),
            }),
            // It was removed since its folder was read.
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(error).with_context(|| format!("can't look at `{path}`")),
        }
        Ok(())
    };
    let is_object = |path: &str| path.starts_with(path_prefix) && is_object(path);
    // From the root, and never from a folder of the prefix: one of those may be a link.
    folders(root, path_prefix, MOST_DEPTH, &mut |folder| in_order(folder, &is_object, &mut look))
}

/// Gives the files of one folder in the order of their names. They come in no order from the system, and there may be
/// more than memory should hold: the folder is read again for each window of them.
fn in_order(
    folder: &Path,
    is_object: &dyn Fn(&str) -> bool,
    found: &mut dyn FnMut(&Path, &str) -> Result<()>,
) -> Result<bool> {
    let mut after: Option<String> = None;
    let mut has_folders = false;
    loop {
        let mut window = Window::default();
        each_entry(folder, &mut |entry, kind| {
            if kind.is_dir() {
                has_folders = true;
            } else if kind.is_file()
                && let Some(path) = entry.path().to_str().filter(|path| is_object(path))
                && after.as_deref().is_none_or(|after| path > after)
            {
                window.push(path);
            }
            Ok(())
        })?;
        let Window { paths, is_full, .. } = window;
        let paths = paths.into_sorted_vec();
        for path in &paths {
            found(Path::new(path.as_ref()), path)?;
        }
        match paths.into_iter().next_back() {
            Some(last) if is_full => after = Some(last.into()),
            _ => return Ok(has_folders),
        }
    }
}

/// The first of the paths that come, in their order, as many as are worth the memory.
#[derive(Default)]
struct Window {
    paths: BinaryHeap<Box<str>>,
    bytes: usize,
    /// Whether some were left out.
    is_full: bool,
}

impl Window {
    fn push(&mut self, path: &str) {
        if self.is_full && self.paths.peek().is_some_and(|last| path >= last.as_ref()) {
            return;
        }
        self.bytes = self.bytes.saturating_add(path.len()).saturating_add(PATH_BYTES);
        self.paths.push(path.into());
        while self.bytes > WINDOW_BYTES && self.paths.len() > 1 {
            self.is_full = true;
            let left_out = self.paths.pop().map_or(0, |path| path.len());
            self.bytes = self.bytes.saturating_sub(left_out).saturating_sub(PATH_BYTES);
        }
    }
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
pub(super) fn walk(directory: &Path, path_prefix: &str, found: &mut dyn FnMut(&Path, &str)) -> Result<()> {
    folders(directory, path_prefix, MOST_DEPTH, &mut |folder| {
        let mut has_folders = false;
        each_entry(folder, &mut |entry, kind| {
            has_folders |= kind.is_dir();
            let path = entry.path();
            if kind.is_file()
                && let Some(text) = path.to_str()
            {
                found(&path, text);
            }
            Ok(())
        })?;
        Ok(has_folders)
    })
}

/// Gives `directory`, and each of its folders that may lead to a path that starts with `path_prefix`, down to
/// `depth`; `visit` looks at one, and says whether there are folders in it.
fn folders(
    directory: &Path,
    path_prefix: &str,
    depth: usize,
    visit: &mut dyn FnMut(&Path) -> Result<bool>,
) -> Result<()> {
    if !visit(directory)? || depth == 0 {
        return Ok(());
    }
    each_entry(directory, &mut |entry, kind| {
        // It stands at the root of a file system, for root alone; a name of ours would have its `+` encoded.
        if !kind.is_dir() || entry.file_name() == LOST_AND_FOUND {
            return Ok(());
        }
        let path = entry.path();
        let folder = format!("{}/", path.display());
        if folder.starts_with(path_prefix) || path_prefix.starts_with(&folder) {
            folders(&path, path_prefix, depth.saturating_sub(1), visit)?;
        }
        Ok(())
    })
}

/// Gives what stands in a folder, one after the other; one that is not there any more has nothing in it.
fn each_entry(folder: &Path, found: &mut dyn FnMut(&DirEntry, FileType) -> Result<()>) -> Result<()> {
    let context = || format!("can't list `{}`", folder.display());
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if is_absent(&error) => return Ok(()),
        Err(error) => return Err(error).with_context(context),
    };
    for entry in entries {
        let entry = entry.with_context(context)?;
        let kind = entry.file_type().with_context(context)?;
        found(&entry, kind)?;
    }
    Ok(())
}

/// The path that a temporary file would have been published under; `None` for any other file.
pub(super) fn published_path(file: &Path) -> Option<String> {
    let (artifact, random) =
        file.file_name()?.to_str()?.strip_prefix('.')?.strip_suffix(TEMPORARY_SUFFIX)?.rsplit_once('.')?;
    let is_random = random.len() == RANDOM_CHARACTERS
        && random.bytes().all(|character| character.is_ascii_alphanumeric());
    if artifact.is_empty() || !is_random {
        return None;
    }
    file.with_file_name(artifact).to_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_window_holds_the_first_of_the_paths() {
        let mut window = Window::default();
        let path = |number: usize| format!("{number:0>1000}");
        let most = WINDOW_BYTES / (1000 + PATH_BYTES);
        for number in (0..2 * most).rev() {
            window.push(&path(number));
        }
        assert!(window.is_full);
        let paths = window.paths.into_sorted_vec();
        assert_eq!(paths.len(), most);
        assert_eq!(paths.last().unwrap().as_ref(), path(most - 1));
    }

    #[test]
    fn folders_are_not_followed_for_ever() {
        let root = tempfile::tempdir().unwrap();
        let mut folder = root.path().to_owned();
        let place = |folder: &Path| fs::File::create_new(folder.join("file")).unwrap();
        for _ in 0..=MOST_DEPTH + 3 {
            place(&folder);
            folder.push("a");
            fs::create_dir(&folder).unwrap();
        }
        let mut listed = 0;
        each(root.path(), "", &|_| true, &mut |_| listed += 1).unwrap();
        let mut walked = 0;
        walk(root.path(), "", &mut |_, _| walked += 1).unwrap();
        assert_eq!((listed, walked), (MOST_DEPTH + 1, MOST_DEPTH + 1));
    }
}
