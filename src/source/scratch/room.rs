//! The room on a scratch server's file system: what the server runs may fill it, which is no matter of the server's
//! alone. It knows no database.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::fs::statvfs;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::exit::Failure;

/// So much is left to others.
pub(super) const FLOOR_BYTES: u64 = 256 << 20;
/// How often it is looked at: a fast disk takes less than half of that meanwhile.
const PERIOD: Duration = Duration::from_millis(50);

/// Ends a process where room gets short, for as long as this lives.
#[derive(Debug)]
pub(super) struct Watch {
    folder: PathBuf,
    is_short: Arc<AtomicBool>,
    _stop: Sender<()>,
}

impl Watch {
    /// Watches the file system of `folder` for the process of that number, which has not been waited for yet.
    pub(super) fn start(folder: &Path, pid: u32) -> Result<Self> {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("a process without a number")?;
        let process = pidfd_open(pid, PidfdFlags::empty()).context("cannot watch the scratch server")?;
        let is_short = Arc::new(AtomicBool::new(false));
        let (stop, stopped) = channel();
        let watch = Self { folder: folder.to_path_buf(), is_short: Arc::clone(&is_short), _stop: stop };
        let folder = watch.folder.clone();
        std::thread::Builder::new().name("room".to_owned()).spawn(move || {
            while stopped.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
                if free_bytes(&folder).is_ok_and(|free| free < FLOOR_BYTES) {
                    is_short.store(true, Ordering::SeqCst);
                    if let Err(error) = pidfd_send_signal(&process, Signal::QUIT) {
                        log::debug!("the scratch server: {error}");
                    }
                    return;
                }
            }
        })?;
        Ok(watch)
    }

    /// Makes sure that nothing was ended.
    ///
    /// # Errors
    /// When the process was.
    pub(super) fn ensure_enough(&self) -> Result<()> {
        if !self.is_short.load(Ordering::SeqCst) {
            return Ok(());
        }
        let what = format!(
            "the scratch server was ended: less than {} were left free in `{}`",
            indicatif::HumanBytes(FLOOR_BYTES),
            self.folder.display()
        );
        Err(Failure::failed(what).hint(HINT).into())
    }
}

const HINT: &str = "make room, or name a folder of another file system in `[verify] scratch_dir`";

fn free_bytes(folder: &Path) -> std::io::Result<u64> {
    let about = statvfs(folder)?;
    Ok(about.f_bavail.saturating_mul(about.f_frsize))
}

/// Makes sure that the file system of `folder` has room for `need_bytes`, and some is left.
pub(super) fn ensure_room(folder: &Path, need_bytes: u64) -> Result<()> {
    let have_bytes = free_bytes(folder)
        .with_context(|| format!("cannot ask how much is free in `{}`", folder.display()))?;
    let need_bytes = need_bytes.saturating_add(FLOOR_BYTES);
    if have_bytes >= need_bytes {
        return Ok(());
    }
    let (need, have) = (indicatif::HumanBytes(need_bytes), indicatif::HumanBytes(have_bytes));
    let what = format!("a test restore needs {need} in `{}`, which has {have} free", folder.display());
    Err(Failure::failed(what).hint(HINT).into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn too_little_room_is_told_with_both_figures() {
        let folder = tempfile::tempdir().unwrap();
        ensure_room(folder.path(), 1).unwrap();
        let text = ensure_room(folder.path(), u64::MAX).unwrap_err().to_string();
        assert!(text.contains(&folder.path().display().to_string()) && text.contains("free"), "{text}");
    }
}
