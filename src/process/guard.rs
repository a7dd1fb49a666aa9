//! The guard: this binary, started in a program's place, which ties itself to its parent's life, gives up
//! rights that the program is not to have, and then becomes the program. It knows no pipe.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Gid, Signal, Uid, set_parent_process_death_signal};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use super::User;

/// The hidden first argument under which this binary runs another program that must not outlive it.
pub const GUARD: &str = "run-guarded";

/// What the guard is told: whose child it is, what signal comes when that one ends, whom to become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tie {
    pub(super) parent: u32,
    pub(super) signal: Signal,
    pub(super) user: Option<User>,
}

impl Tie {
    /// The tie as one argument: `PARENT/SIGNAL`, or `PARENT/SIGNAL/UID/GID`.
    pub(super) fn to_argument(self) -> String {
        let tie = format!("{}/{}", self.parent, self.signal.as_raw());
        match self.user {
            Some(User { uid, gid }) => format!("{tie}/{uid}/{gid}"),
            None => tie,
        }
    }

    pub(super) fn read(text: &str) -> Result<Self> {
        Self::parse(text).context("this is for pgkeep's own use")
    }

    fn parse(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split('/').collect();
        let (parent, signal, user) = match words.as_slice() {
            [parent, signal] => (parent, signal, None),
            [parent, signal, uid, gid] => {
                (parent, signal, Some(User { uid: uid.parse().ok()?, gid: gid.parse().ok()? }))
            }
            _ => return None,
        };
        let signal = Signal::from_named_raw(signal.parse().ok()?)?;
        Some(Self { parent: parent.parse().ok()?, signal, user })
    }
}

/// What a process that was started by [`GUARD`] does: becomes another user where it is told to, asks the
/// kernel to end it when its parent ends, then becomes the program. Comes back only when that failed.
#[must_use]
pub fn run_guarded(tie: &str, path: &Path, arguments: &[OsString]) -> anyhow::Error {
    match Tie::read(tie).and_then(bind) {
        Ok(()) => {
            let mut program = Command::new(path);
            program.args(arguments);
            become_program(program)
        }
        Err(error) => error,
    }
}

/// Closes all but stdin, stdout and stderr. What was open before a cage is shut stays open in it: a lock of
/// whoever called pgkeep, say.
pub(super) fn close_inherited() -> Result<()> {
    let open = std::fs::read_dir("/proc/self/fd").context("cannot tell which files are open")?;
    let numbers: Vec<i32> = open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    // The list has the folder itself at least.
    if numbers.is_empty() {
        bail!("cannot tell which files are open: `/proc/self/fd` names none");
    }
    for number in numbers.into_iter().filter(|number| *number > 2) {
        // The list has the folder itself, which is closed by now.
        if let Err(error) = nix::unistd::close(number) {
            log::trace!("descriptor {number}: {error}");
        }
    }
    Ok(())
}

pub(super) fn become_program(mut program: Command) -> anyhow::Error {
    let error = program.exec();
    let path = Path::new(program.get_program()).display().to_string();
    anyhow!(error).context(format!("cannot run `{path}`"))
}

pub(super) fn bind(tie: Tie) -> Result<()> {
    if let Some(user) = tie.user {
        // Before the call below: a change of user makes the kernel forget it.
        user.become_it().context("cannot give up the rights of root")?;
    }
    set_parent_process_death_signal(Some(tie.signal)).context("cannot tie the child to its parent")?;
    // A parent that died before the call above sends no signal.
    let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
    if now != Some(tie.parent) {
        bail!("the parent is gone");
    }
    Ok(())
}

impl User {
    /// Makes this process one of the user, for good. It has one thread only, which is all that these calls
    /// change.
    pub(super) fn become_it(self) -> std::io::Result<()> {
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        set_thread_groups(&[])?;
        set_thread_res_gid(gid, gid, gid)?;
        set_thread_res_uid(uid, uid, uid)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tie_reads_back_as_it_was_written() {
        let user = User { uid: 101, gid: 104 };
        for tie in [
            Tie { parent: 1, signal: Signal::TERM, user: None },
            Tie { parent: 77, signal: Signal::QUIT, user: Some(user) },
        ] {
            assert_eq!(Tie::parse(&tie.to_argument()), Some(tie));
        }
        for text in ["", "1", "1/x", "1/15/2", "1/15/2/3/4", "1/9999"] {
            assert_eq!(Tie::parse(text), None, "{text}");
        }
    }
}
