//! Name spaces of the kernel's: a network without a way out, IPC of its own, and one for processes, which all end
//! with the first of them. Whoever is not root needs one for users to have them.

use std::fs::OpenOptions;
use std::io::{self, Write};

use nix::sched::CloneFlags;

pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Moves this process into name spaces of its own, in which it is the same user; that for processes is the one of
/// its next child.
pub(super) fn unshare() -> io::Result<()> {
    let wanted = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWPID;
    if is_root() {
        return Ok(nix::sched::unshare(wanted)?);
    }
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    nix::sched::unshare(wanted | CloneFlags::CLONE_NEWUSER)?;
    // user_namespaces(7): without this nobody but root may map groups.
    tell("/proc/self/setgroups", "deny")?;
    tell("/proc/self/uid_map", &format!("{uid} {uid} 1"))?;
    tell("/proc/self/gid_map", &format!("{gid} {gid} 1"))
}

/// Writes in one call, which is what these files want.
fn tell(file: &str, text: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(file)?.write_all(text.as_bytes())
}
