//! Files that change their owner: root goes through a folder that another user may still write to, so nothing is
//! reached by its path. It knows no server.

use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::{Context, Result, bail};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Uid, chownat, fstat, openat};

use crate::process::User;

/// Makes a folder, and all that is in it, one of the user's; links are not followed.
///
/// # Errors
/// When that fails, or a file has another name elsewhere.
pub(super) fn give(path: &Path, user: Option<User>) -> Result<()> {
    let Some(user) = user else { return Ok(()) };
    walk(path, user).with_context(|| format!("cannot give `{}` away", path.display()))
}

fn walk(path: &Path, user: User) -> Result<()> {
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    let name_only = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut left: Vec<OwnedFd> = vec![openat(CWD, path, name_only, Mode::empty())?];
    while let Some(file) = left.pop() {
        let about = fstat(&file)?;
        let is_dir = FileType::from_raw_mode(about.st_mode) == FileType::Directory;
        if !is_dir && about.st_nlink != 1 {
            bail!("a file in it has another name elsewhere");
        }
        chownat(&file, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?;
        if !is_dir {
            continue;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        for entry in Dir::new(openat(&file, ".", flags, Mode::empty())?)? {
            let entry = entry?;
            let name = entry.file_name();
            if name.to_bytes() != b"." && name.to_bytes() != b".." {
                left.push(openat(&file, name, name_only, Mode::empty())?);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_file_with_two_names_is_not_given_away() {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("tree");
        std::fs::create_dir_all(tree.join("deep/er")).unwrap();
        drop(std::fs::File::create_new(tree.join("deep/file")).unwrap());
        std::os::unix::fs::symlink("/etc/passwd", tree.join("deep/link")).unwrap();
        let us = User { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() };
        give(&tree, Some(us)).unwrap();
        std::fs::hard_link(tree.join("deep/file"), folder.path().join("other")).unwrap();
        assert!(give(&tree, Some(us)).is_err());
    }
}
