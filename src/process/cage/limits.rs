//! Limits of the system's on what a caged program takes. They leave room for the restore of a large database.

use std::io::{self, Write};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::spaces;

/// PostgreSQL cuts tables and temporary files into pieces of 1 GiB.
const FILE_BYTES: u64 = 8 << 30;
/// It opens 1,000 at most by itself.
const OPEN_FILES: u64 = 4096;
/// Sessions, their workers and what a function starts.
const PROCESSES: u64 = 512;

/// Sets them on this process; none is raised.
pub(super) fn set(has_own_spaces: bool) -> io::Result<()> {
    lower(Resource::Core, 0)?;
    lower(Resource::Fsize, FILE_BYTES)?;
    lower(Resource::Nofile, OPEN_FILES)?;
    lower(Resource::Msgqueue, 0)?;
    // It counts all processes of a user, also those that have nothing to do with this.
    if has_own_spaces || spaces::is_root() {
        lower(Resource::Nproc, PROCESSES)?;
    }
    Ok(())
}

/// Where memory runs out, the kernel ends this process and what comes of it before any other (proc(5)).
pub(super) fn end_first() {
    let file = std::fs::OpenOptions::new().write(true).open("/proc/self/oom_score_adj");
    if let Err(error) = file.and_then(|mut file| file.write_all(b"1000")) {
        log::debug!("it is not ended first where memory runs out: {error}");
    }
}

fn lower(resource: Resource, most: u64) -> io::Result<()> {
    let now = getrlimit(resource);
    let least = |limit: Option<u64>| Some(limit.map_or(most, |limit| limit.min(most)));
    Ok(setrlimit(resource, Rlimit { current: least(now.current), maximum: least(now.maximum) })?)
}
