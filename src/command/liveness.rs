//! Whether the run of a backup that is not finished is still alive.

use anyhow::Result;

use crate::backup::Backup;
use crate::catalog::Catalog;
use crate::config::environment;
use crate::process;

/// Whether the run of an unfinished backup still shows signs of life: a fresh heartbeat by the catalog's own
/// clock, and a process where we can look.
///
/// # Errors
/// When the catalog can't be asked.
pub(super) fn is_alive(catalog: &mut Catalog, backup: &Backup) -> Result<bool> {
    Ok(!is_dead_here(backup) && catalog.is_beating(&backup.id)?)
}

/// Whether the run of an unfinished backup was one of this host, and its process is gone. One of our own
/// number is that of an earlier run: in a container each may have the same.
pub(super) fn is_dead_here(backup: &Backup) -> bool {
    let here = backup.metadata_str("host") == Some(environment::host_name().as_str());
    let pid = backup.metadata_u64("pid").and_then(|pid| i32::try_from(pid).ok());
    let is_gone = |pid: i32| pid.unsigned_abs() == std::process::id() || !process::is_running(pid);
    here && pid.is_some_and(is_gone)
}
