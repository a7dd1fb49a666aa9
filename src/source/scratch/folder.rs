//! The folder of a scratch server: private, locked for as long as its maker lives, removed with it, and swept
//! by the next one where its maker was killed. It knows nothing of servers.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rustix::fs::OFlags;

use crate::exit::Failure;
use crate::process::{Leftovers, User};

const PREFIX: &str = "pgkeep-scratch-";
const LOCK: &str = "lock";
/// Tries at making a folder that no sweep takes away before it is locked.
const TRIES: usize = 5;
/// Tries at removing one in which something may still be written.
const REMOVALS: usize = 20;

/// Such a folder. Dropping it removes it.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Held open: the lock goes with it.
    _lock: File,
}

impl Folder {
    /// Makes a folder in `parent`, of mode 0700, or 0711 where another user is to reach into what is in it.
    pub(super) fn make(parent: &Path, is_shared: bool) -> Result<Self> {
        for _ in 0..TRIES {
            let made = tempfile::Builder::new()
                .prefix(&format!("{PREFIX}{}-", std::process::id()))
                .rand_bytes(8)
                .permissions(Permissions::from_mode(if is_shared { 0o711 } else { 0o700 }))
                .tempdir_in(parent);
            let path = made
                .map_err(|error| {
                    let what = format!("cannot make a folder in `{}`", parent.display());
                    let failure = Failure::failed(what).hint("name another one in `[verify] scratch_dir`");
                    anyhow!(error).context(failure)
                })?
                .keep();
            // Another run that sweeps may have been quicker than the lock.
            let Some(lock) = lock_new(&path) else { continue };
            return Ok(Self { path, _lock: lock });
        }
        Err(anyhow!("each new folder in `{}` is taken away at once", parent.display()))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path) {
            log::warn!("`{}` stays: {error}; the next test restore removes it", self.path.display());
        }
    }
}

/// Makes a folder of mode 0700.
pub(super) fn make_private(folder: &Path) -> Result<()> {
    DirBuilder::new()
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("cannot make `{}`", folder.display()))
}

/// Lets folders be entered that whoever made them shut, as far as they are ours.
fn open_up(path: &Path) {
    let is_dir = path.symlink_metadata().is_ok_and(|about| about.is_dir());
    if !is_dir || std::fs::set_permissions(path, Permissions::from_mode(0o700)).is_err() {
        return;
    }
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        open_up(&entry.path());
    }
}

/// Ends what a killed run's server left running, where it had a user of its own.
fn end_left(folder: &Path) {
    let owner = folder.join("data").symlink_metadata().map(|about| about.uid());
    if let Some(uid) = owner.ok().filter(|uid| User::is_passing(*uid)) {
        drop(Leftovers::of_user(Some(uid)));
    }
}

fn remove(path: &Path) -> io::Result<()> {
    for _ in 0..REMOVALS {
        match std::fs::remove_dir_all(path) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => open_up(path),
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                std::thread::sleep(Duration::from_millis(50));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            done => return done,
        }
    }
    std::fs::remove_dir_all(path)
}

/// Locks a folder that was just made; `None` when a sweep has it.
fn lock_new(folder: &Path) -> Option<File> {
    let path = folder.join(LOCK);
    let lock = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).ok()?;
    lock.try_lock().ok()?;
    let (ours, there) = (lock.metadata().ok()?, path.metadata().ok()?);
    (ours.ino() == there.ino()).then_some(lock)
}

/// Removes the folders in `parent` whose makers are gone: those of this user, and of `owner`, alone.
pub(super) fn sweep(parent: &Path, owner: Option<User>) {
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX)) {
        let path = entry.path();
        let is_ours = path.symlink_metadata().is_ok_and(|about| {
            let us = rustix::process::geteuid().as_raw();
            about.is_dir() && (about.uid() == us || owner.is_some_and(|owner| owner.uid == about.uid()))
        });
        if !is_ours {
            continue;
        }
        match lock_left(&path) {
            Ok(Some(_lock)) => {
                end_left(&path);
                match remove(&path) {
                    Ok(()) => log::info!("removed `{}`, which a killed run left", path.display()),
                    Err(error) => log::warn!("cannot remove `{}`: {error}", path.display()),
                }
            }
            Ok(None) => {}
            Err(error) => log::info!("`{}` is left as it is: {error}", path.display()),
        }
    }
}

/// Locks a folder that was found; `None` when its maker lives.
fn lock_left(folder: &Path) -> io::Result<Option<File>> {
    // Whoever owns the folder may have put anything under that name.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let lock = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(i32::try_from(flags.bits()).unwrap_or_default())
        .open(folder.join(LOCK))?;
    match lock.try_lock() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_folder_goes_with_its_owner() {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::make(parent.path(), false).unwrap();
        let path = folder.path().to_owned();
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o700);
        std::fs::create_dir_all(path.join("data/deep")).unwrap();
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn a_sweep_takes_what_the_dead_left_and_nothing_else() {
        let parent = tempfile::tempdir().unwrap();
        let living = Folder::make(parent.path(), false).unwrap();
        let name = |end: &str| parent.path().join(format!("{PREFIX}{end}"));
        for folder in [name("1-dead"), name("2-young"), parent.path().join("other")] {
            std::fs::create_dir_all(folder.join("data")).unwrap();
        }
        drop(File::create_new(name("1-dead").join(LOCK)).unwrap());
        drop(File::create_new(name("file")).unwrap());
        std::os::unix::fs::symlink(parent.path().join("other"), name("link")).unwrap();
        sweep(parent.path(), None);
        assert!(living.path().exists());
        assert!(!name("1-dead").exists() && !name("2-young").exists());
        assert!(name("file").exists() && name("link").exists() && parent.path().join("other").exists());
        drop(living);
        sweep(parent.path(), None);
        let left = std::fs::read_dir(parent.path()).unwrap().count();
        assert_eq!(left, 3);
    }

    #[test]
    fn a_lock_that_is_a_trap_is_left_alone() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join(format!("{PREFIX}1-x"));
        std::fs::create_dir(&folder).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", folder.join(LOCK)).unwrap();
        sweep(parent.path(), None);
        assert!(folder.exists());
    }
}
