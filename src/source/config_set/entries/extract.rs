//! The entries of a config set made below a folder: files, folders and links, as they were.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::Path;

use anyhow::{Context, Result, bail};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

use super::{Entry, What, each, list};
use crate::interrupt::Interrupt;
use crate::process::Names;

/// Bits of a mode that give the rights of the owner to whoever runs the file.
const SET_ID_BITS: u32 = 0o6000;

/// Makes every entry below a folder that is new and nobody else's; owners where `with_owners` says so.
///
/// # Errors
/// When one can't be made, or is none that pgkeep puts in, and when it is interrupted.
pub fn extract(
    archive: &mut File,
    folder: &Path,
    with_owners: bool,
    interrupt: &Interrupt,
) -> Result<Vec<Entry>> {
    let entries = list(archive)?;
    each(archive, |entry, from| {
        let path = folder.join(&entry.path);
        let told = || format!("cannot make `{}`", path.display());
        if interrupt.is_raised() {
            bail!("interrupted");
        }
        match entry.what {
            What::Folder => private_folder(&path).with_context(told)?,
            What::File => {
                private_folder(path.parent().unwrap_or(folder)).with_context(told)?;
                let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
                let mut file = file.with_context(told)?;
                io::copy(from, &mut file).with_context(told)?;
                file.sync_all().with_context(told)?;
            }
            // Made last: nothing is ever written through one.
            What::Link => {}
        }
        Ok(())
    })?;
    for entry in &entries {
        let path = folder.join(&entry.path);
        if let Some(target) = &entry.target {
            private_folder(path.parent().unwrap_or(folder))?;
            symlink(target, &path).with_context(|| format!("cannot make `{}`", path.display()))?;
        }
    }
    let owners = with_owners.then(Names::of_host);
    // The deepest first: a folder that may not be written to any more is done with.
    for entry in entries.iter().rev() {
        let path = folder.join(&entry.path);
        dress(entry, &path, owners.as_ref())
            .with_context(|| format!("cannot make `{}` what it was", path.display()))?;
    }
    Ok(entries)
}

/// Owner, mode and time as they were.
fn dress(entry: &Entry, path: &Path, owners: Option<&Names>) -> Result<()> {
    if let Some(names) = owners {
        // By name where this host has that name, as tar does it.
        let uid = entry.user.as_ref().and_then(|user| names.uid(user)).unwrap_or(entry.uid);
        let gid = entry.group.as_ref().and_then(|group| names.gid(group)).unwrap_or(entry.gid);
        std::os::unix::fs::lchown(path, Some(uid), Some(gid))?;
    }
    if entry.what != What::Link {
        // Whoever is not the owner that was must not lend the rights of another one.
        let hidden = if owners.is_some() { 0 } else { SET_ID_BITS };
        fs::set_permissions(path, Permissions::from_mode(entry.mode & !hidden))?;
    }
    let at = Timespec { tv_sec: i64::try_from(entry.modified_at)?, tv_nsec: 0 };
    let times = Timestamps { last_access: at, last_modification: at };
    Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

fn private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}
