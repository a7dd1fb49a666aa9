//! The cage: what is left to a program that runs code of people who are not trusted. This process puts it on
//! itself, with one thread, before it becomes the program. It knows no program and not what the cage is for.

use std::fmt;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

mod files;
mod filter;
mod limits;
mod spaces;

/// What a program may do, in words that go over the command line: no secret is among them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cage {
    /// Files and folders that it may read, and run programs from. Those that are not there are passed over.
    pub readable: Vec<PathBuf>,
    /// Folders that it may do anything in but run programs.
    pub writable: Vec<PathBuf>,
    /// Folders that it may put sockets and plain files into. Nothing that leads elsewhere is made there: others
    /// follow what they find.
    pub sockets: Vec<PathBuf>,
    /// Whether it gets name spaces of its own for networks, for what System V calls IPC, and for processes.
    pub own_spaces: bool,
}

/// How far a cage holds on this kernel, as it was put on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// The version of Landlock's interface that the kernel knows; 0 where it has none.
    pub landlock: u32,
    /// Whether there are name spaces of its own.
    pub spaces: bool,
    /// Whether system calls are filtered.
    pub filter: bool,
    /// Whether the program runs as a user that owns nothing.
    pub own_user: bool,
}

/// The versions of Landlock's interface (landlock(7)) since which ...
mod since {
    /// ... a file is not cut short by its name.
    pub(super) const TRUNCATE: u32 = 3;
    /// ... TCP is confined.
    pub(super) const TCP: u32 = 4;
    /// ... signals are.
    pub(super) const SIGNALS: u32 = 6;
}

impl Confinement {
    /// Whether files out of the cage are out of reach: without that it is none.
    #[must_use]
    pub fn holds(self) -> bool {
        self.landlock > 0
    }

    /// What is still in reach; empty where nothing is.
    fn gaps(self) -> Vec<&'static str> {
        let gap = |is_open: bool, what: &'static str| is_open.then_some(what);
        let no_network = self.spaces || self.filter;
        [
            gap(self.landlock == 0, "files"),
            gap(!no_network && self.landlock < since::TCP, "TCP"),
            gap(!no_network, "UDP"),
            gap(!self.filter, "the sockets of local services"),
            gap(!self.own_user && self.landlock < since::SIGNALS, "signals to all processes of this user"),
            gap(!self.own_user && !self.spaces, "shared memory (System V)"),
            gap(!self.own_user && !self.spaces, "processes that may go on afterwards"),
            gap(!self.own_user && !self.filter, "the modes of pgkeep's own files"),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

impl fmt::Display for Confinement {
    /// In words: `Landlock 7, name spaces of its own, system calls filtered; nothing else is in reach`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.landlock {
            0 => formatter.write_str("no Landlock")?,
            version => write!(formatter, "Landlock {version}")?,
        }
        let has = |is_there: bool, what| if is_there { format!(", {what}") } else { format!(", no {what}") };
        formatter.write_str(&has(self.own_user, "user of its own"))?;
        formatter.write_str(&has(self.spaces, "network of its own"))?;
        formatter.write_str(&has(self.filter, "filter of system calls"))?;
        match self.gaps().as_slice() {
            [] => formatter.write_str("; nothing of this host is in reach"),
            gaps => write!(formatter, "; still in reach: {}", gaps.join(", ")),
        }
    }
}

impl Cage {
    pub(super) fn to_argument(&self) -> Result<String> {
        serde_json::to_string(self).context("the path of a folder of a cage is no text")
    }

    pub(super) fn parse(text: &str) -> Result<Self> {
        serde_json::from_str(text).context("this is for pgkeep's own use")
    }

    /// Name spaces and limits: what takes the rights that are given up next.
    pub(super) fn enter(&self) -> Result<()> {
        limits::end_first();
        if self.own_spaces {
            spaces::unshare().context("no name spaces can be had")?;
        }
        limits::set(self.own_spaces).context("no limits can be set")
    }

    /// Shuts it, for good: files first, then system calls.
    pub(super) fn shut(&self) -> Result<Confinement> {
        let landlock = files::confine(self)?;
        let filter = filter::apply(landlock < since::TRUNCATE)?;
        Ok(Confinement { landlock, spaces: self.own_spaces, filter, own_user: false })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_cage_reads_back_as_it_was_written() {
        let cage = Cage {
            readable: vec!["/usr".into(), "/a \"b\"".into()],
            writable: vec!["/tmp/x,y".into()],
            sockets: vec!["/tmp/x,y/run".into()],
            own_spaces: true,
        };
        assert_eq!(Cage::parse(&cage.to_argument().unwrap()).unwrap(), cage);
        assert!(Cage::parse("{}x").is_err());
    }

    #[test]
    fn what_is_in_reach_is_named() {
        let debian_12 = Confinement { landlock: 2, spaces: false, filter: false, own_user: false };
        assert!(debian_12.holds());
        for gap in ["TCP", "UDP", "signals", "local services", "shared memory", "go on afterwards"] {
            assert!(debian_12.to_string().contains(gap), "{debian_12}");
        }
        let whole = Confinement { landlock: 7, spaces: true, filter: true, own_user: false };
        assert!(whole.to_string().ends_with("nothing of this host is in reach"), "{whole}");
        assert!(!Confinement { filter: true, ..Confinement::default() }.holds());
    }
}
