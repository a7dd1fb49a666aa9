//! Files that go for good, and the folders that become empty with them. It must not leave the store's directory.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::{directory_of, is_absent, listing, sync_directory};
/// Removes a file below `root`, then the folders above it that hold nothing any more, but for `root` itself.
pub(super) fn delete(root: &Path, path: &str) -> Result<()> {
    let file = Path::new(path);
    ensure!(
        file != root && file.starts_with(root) && !listing::climbs(path),
        "`{path}` is no file of the store in `{}`",
        root.display()
    );
    remove_file(file)?;
    remove_empty_folders(root, file);
    Ok(())
}

pub(super) fn remove_file(file: &Path) -> Result<()> {
    match fs::remove_file(file) {
        Ok(()) => match sync_directory(directory_of(file)?) {
            // Another run has removed the folder since.
            Err(error) if error.downcast_ref().is_some_and(is_absent) => Ok(()),
            synced => synced,
        },
        Err(error) if is_absent(&error) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("can't remove `{}`", file.display())),
    }
}

/// Goes up as long as that goes well: a folder that holds something stays, and so does a link, which `rmdir`
/// refuses. What stays empty is no problem for anybody.
fn remove_empty_folders(root: &Path, file: &Path) {
    for folder in file.ancestors().skip(1).take_while(|folder| *folder != root) {
        match fs::remove_dir(folder) {
            Ok(()) => log::debug!("removed the empty folder `{}`", folder.display()),
            // Another run may have removed it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) => return,
        }
    }
}
