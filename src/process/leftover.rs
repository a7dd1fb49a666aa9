//! What a caged program started and left behind: processes that took themselves out of its process group. They
//! are known by their user or by their network, which nobody else has.

use std::fs::{self, File, Metadata};
use std::os::unix::fs::MetadataExt;
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
    network: Option<Network>,
}

/// A network, held for as long as its number must not be given to another one: the kernel gives the number of one that
/// is gone to the next that is made.
#[derive(Debug)]
struct Network {
    number: (u64, u64),
    _held: File,
}

impl Network {
    fn of(process: &Path) -> Option<Self> {
        let held = File::open(process.join("ns/net")).ok()?;
        Some(Self { number: number(&held.metadata().ok()?), _held: held })
    }
}

impl Leftovers {
    /// Those of a user that nobody else is.
    #[must_use]
    pub fn of_user(uid: Option<u32>) -> Self {
        Self { uid, network: None }
    }

    /// Those of a running program as well that has a network of its own.
    pub fn add_network_of(&mut self, pid: u32) {
        let network = Network::of(Path::new(&format!("/proc/{pid}")));
        self.network = network.filter(|network| !is_in(Path::new("/proc/self"), network));
    }

    fn is_any(&self) -> bool {
        self.uid.is_some() || self.network.is_some()
    }

    fn is_one(&self, process: &Path) -> bool {
        self.uid.is_some_and(|uid| uid_of(process) == Some(uid))
            || self.network.as_ref().is_some_and(|network| is_in(process, network))
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

/// Whether a process has that network.
fn is_in(process: &Path, network: &Network) -> bool {
    process.join("ns/net").metadata().is_ok_and(|about| number(&about) == network.number)
}

/// What tells name spaces apart (namespaces(7)).
fn number(about: &Metadata) -> (u64, u64) {
    (about.dev(), about.ino())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::{BufRead, BufReader};
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// A process with a network of its own, and the network's number, once it is there.
    fn in_own_network() -> (Child, String) {
        let mut child = Command::new("unshare")
            .args(["--map-root-user", "--net", "sh", "-c", "readlink /proc/self/ns/net; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut number = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut number).unwrap();
        assert!(number.starts_with("net:["), "{number}");
        (child, number)
    }

    /// Another run's server may come up with the number of a network that is gone.
    #[test]
    fn what_has_a_network_that_came_later_is_nobodys_leftover() {
        let (mut child, number) = in_own_network();
        let mut leftovers = Leftovers::of_user(None);
        leftovers.add_network_of(child.id());
        assert!(leftovers.is_one(Path::new(&format!("/proc/{}", child.id()))));
        drop(child.stdin.take());
        child.wait().unwrap();
        for _ in 0..50 {
            let (mut later, of_later) = in_own_network();
            assert!(!leftovers.is_one(Path::new(&format!("/proc/{}", later.id()))));
            assert_ne!(of_later, number);
            drop(later.stdin.take());
            later.wait().unwrap();
        }
    }
}
