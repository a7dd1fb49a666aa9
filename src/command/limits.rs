//! What the system must allow a run before it begins: files enough for its stores and servers.

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::exit::Failure;

/// With fewer, libraries below end in ways that nobody can read.
const LEAST_OPEN_FILES: u64 = 64;
/// What several stores may want, with several parts on their way to each.
const GOOD_OPEN_FILES: u64 = 256;

/// Makes sure that so many files may be open, and raises a soft limit that is lower.
///
/// # Errors
/// Exit code 2 when the hard limit is too low.
pub(super) fn ensure() -> Result<(), Failure> {
    let mut limit = getrlimit(Resource::Nofile);
    let soft = limit.current.unwrap_or(u64::MAX);
    let wanted = GOOD_OPEN_FILES.min(limit.maximum.unwrap_or(u64::MAX));
    if soft >= wanted {
        return if soft < LEAST_OPEN_FILES { Err(too_low(soft)) } else { Ok(()) };
    }
    limit.current = Some(wanted);
    let now = if setrlimit(Resource::Nofile, limit).is_ok() { wanted } else { soft };
    if now < LEAST_OPEN_FILES { Err(too_low(now)) } else { Ok(()) }
}

fn too_low(limit: u64) -> Failure {
    Failure::usage(format!("a process may have {limit} open files here, and pgkeep needs {LEAST_OPEN_FILES}"))
        .hint("raise the limit: `ulimit -n 1024` (systemd: `LimitNOFILE=`)")
}
