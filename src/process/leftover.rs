//! What a caged program started and left behind: processes that took themselves out of its process group. They
//! are known by their user or by their network, which nobody else has.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// Rounds of looking for more; what goes on starting others is ended in one of them.
const ROUNDS: usize = 100;
const EMPTY_ROUNDS: usize = 3;
const PAUSE: Duration = Duration::from_millis(10);

/// Dropping it ends what is left of a program.
#[derive(Debug)]
pub struct Leftovers {
    uid: Option<u32>,
    network: Option<PathBuf>,
}

impl Leftovers {
    /// Those of a user that nobody else is.
    #[must_use]
    pub fn of_user(uid: Option<u32>) -> Self {
        Self { uid, network: None }
    }

    /// Those of a running program as well that has a network of its own.
    pub fn add_network_of(&mut self, pid: u32) {
        let network = network(Path::new(&format!("/proc/{pid}")));
        self.network =
            network.filter(|network| Some(network) != self::network(Path::new("/proc/self")).as_ref());
    }

    fn is_any(&self) -> bool {
        self.uid.is_some() || self.network.is_some()
    }

    fn is_one(&self, process: &Path) -> bool {
        self.uid.is_some_and(|uid| uid_of(process) == Some(uid))
            || self.network.is_some() && network(process) == self.network
    }
}

impl Drop for Leftovers {
    fn drop(&mut self) {
        // One look misses what is started while it goes on.
        let mut empty = 0;
        for _ in 0..ROUNDS {
            let left: Vec<Pid> =
                processes().filter(|process| self.is_one(process)).filter_map(|path| pid_of(&path)).collect();
            empty = if left.is_empty() { empty + 1 } else { 0 };
            if empty == EMPTY_ROUNDS || !self.is_any() {
                return;
            }
            for pid in left {
                if let Err(error) = kill_process(pid, Signal::KILL) {
                    log::debug!("process {pid:?}: {error}");
                }
            }
            std::thread::sleep(PAUSE);
        }
        log::warn!("processes of the scratch server are left");
    }
}

/// Whether a process runs as that user.
#[must_use]
pub fn is_used(uid: u32) -> bool {
    processes().any(|process| uid_of(&process) == Some(uid))
}

/// The processes whose parent that one is.
pub(super) fn children_of(parent: Pid) -> Vec<Pid> {
    let parent = parent.as_raw_nonzero().get().to_string();
    let is_child = |process: &PathBuf| {
        let status = fs::read_to_string(process.join("status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("PPid:"));
        line.is_some_and(|line| line.trim() == parent)
    };
    processes().filter(is_child).filter_map(|process| pid_of(&process)).collect()
}

fn processes() -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| pid_of(path).is_some())
}

fn pid_of(process: &Path) -> Option<Pid> {
    Pid::from_raw(process.file_name()?.to_str()?.parse().ok()?)
}

/// The real user of a living process (proc(5)).
fn uid_of(process: &Path) -> Option<u32> {
    let status = fs::read_to_string(process.join("status")).ok()?;
    let is_dead = status.lines().any(|line| line.starts_with("State:\tZ") || line.starts_with("State:\tX"));
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().next()?.parse().ok().filter(|_| !is_dead)
}

fn network(process: &Path) -> Option<PathBuf> {
    fs::read_link(process.join("ns/net")).ok()
}
