//! Child processes: the only place that starts one. A child is a reader or a writer whose end means
//! that it exited with 0, or a service that goes on; it ends when we end. It knows nothing of what the
//! programs do.
#![allow(clippy::disallowed_methods, reason = "this module is where processes are started")]

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::fs::OFlags;
use rustix::process::{Pid, Signal};

use crate::interrupt::Interrupt;

pub mod cage;
mod caged;
pub mod feed;
mod guard;
mod hush;
mod leftover;
mod pipes;
mod running;
mod service;
mod statement;
mod user;

pub use caged::{CAGE, INSIDE, run_caged, run_inside};
pub use guard::{GUARD, run_guarded};
pub use hush::{leave_no_core, withhold};
pub use leftover::{Leftovers, is_used};
pub use pipes::{ChildReader, ChildWriter, IdleTimer, wait_ready, wait_ready_within};
pub use running::Killed;
pub use service::{Service, run_to_end};
pub use user::{Names, User};

use cage::{Cage, Confinement};
use guard::Tie;
use running::Running;

/// A short program writes no more, and takes no longer.
const OUTPUT_LIMIT_BYTES: usize = 64 * 1024;
const OUTPUT_TIME: Duration = Duration::from_secs(30);
/// How long a child may take to end after its last signal.
const GRACE: Duration = Duration::from_secs(3);

/// A program to run.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its file.
    pub path: PathBuf,
    /// Its arguments: no secret may stand here.
    pub arguments: Vec<OsString>,
    /// Variables added to its environment.
    pub environment: Vec<(String, String)>,
}

/// What else of pgkeep's environment a program gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surroundings {
    /// All of it but the secrets.
    Inherited,
    /// All of it but what the configuration names as secrets: what fetches one may need others for that.
    Trusted,
    /// Nothing.
    Bare,
}

/// As whom, where and in what surroundings a program runs, and how it is ended. By default as pgkeep itself
/// does, until SIGTERM.
#[derive(Clone, Debug)]
pub struct Manner {
    /// The user it runs as, where that is another; only root may say so.
    pub user: Option<User>,
    /// The folder it starts in.
    pub folder: Option<PathBuf>,
    /// What it gets of pgkeep's environment.
    pub surroundings: Surroundings,
    /// What is left to it, where that is not all that its user may do.
    pub cage: Option<Cage>,
    /// The signal that ends it; the kernel sends it too when pgkeep, or the thread that started it, ends.
    pub last_signal: Signal,
    /// How long it may take to end after that, before it is killed.
    pub grace: Duration,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            user: None,
            folder: None,
            surroundings: Surroundings::Inherited,
            cage: None,
            last_signal: Signal::TERM,
            grace: GRACE,
        }
    }
}

impl Program {
    fn name(&self) -> String {
        self.path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    }

    /// The command that runs it in a process group of its own, by way of [`run_guarded`] or [`run_caged`].
    fn guarded(&self, manner: &Manner) -> Result<Command> {
        let tie = Tie { parent: std::process::id(), signal: manner.last_signal, user: manner.user };
        let mut command = Command::new("/proc/self/exe");
        match &manner.cage {
            Some(cage) => command.arg(CAGE).arg(tie.to_argument()).arg(cage.to_argument()?),
            None => command.arg(GUARD).arg(tie.to_argument()),
        };
        command.arg(&self.path).args(&self.arguments);
        match manner.surroundings {
            Surroundings::Bare => {
                command.env_clear();
            }
            kind => hush::without_secrets(&mut command, kind == Surroundings::Trusted),
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(folder) = &manner.folder {
            command.current_dir(folder);
        }
        command.process_group(0);
        Ok(command)
    }
}

/// Runs a short program to its end and gives back what it wrote on stdout, at most 64 KiB.
///
/// # Errors
/// When it can't be run, exits with anything but 0, takes longer than 30 s, or the interrupt is raised;
/// stdout is never repeated in the error.
pub fn output_of(path: &Path, arguments: &[String], interrupt: &Interrupt) -> Result<Vec<u8>> {
    let program = Program {
        path: path.to_path_buf(),
        arguments: arguments.iter().map(OsString::from).collect(),
        environment: Vec::new(),
    };
    let manner = Manner { surroundings: Surroundings::Trusted, ..Manner::default() };
    output_in(&program, &manner, interrupt)
}

/// Puts a cage on a process that does nothing in it, and says how far it holds.
///
/// # Errors
/// When it can't be put on.
pub fn try_cage(cage: &Cage, user: Option<User>, interrupt: &Interrupt) -> Result<Confinement> {
    let nothing = Program { path: PathBuf::new(), arguments: Vec::new(), environment: Vec::new() };
    let surroundings = Surroundings::Bare;
    let manner = Manner { user, surroundings, cage: Some(cage.clone()), ..Manner::default() };
    let told = output_in(&nothing, &manner, interrupt)?;
    serde_json::from_slice(&told).context("it does not say how far the cage holds")
}

fn output_in(program: &Program, manner: &Manner, interrupt: &Interrupt) -> Result<Vec<u8>> {
    let mut running = Running::start(program, manner, Stdio::null(), Stdio::piped())?;
    let mut out = Vec::new();
    let begun = Instant::now();
    if let Some(mut stdout) = running.child.stdout.take() {
        rustix::fs::fcntl_setfl(&stdout, OFlags::NONBLOCK)?;
        loop {
            let mut block = [0u8; 4096];
            match stdout.read(&mut block) {
                Ok(0) => break,
                Ok(count) if out.len() < OUTPUT_LIMIT_BYTES => {
                    out.extend_from_slice(block.get(..count).unwrap_or_default());
                }
                Ok(_) => bail!("{} wrote more than 64 KiB", program.name()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if begun.elapsed() > OUTPUT_TIME {
                        bail!("{} did not end within {OUTPUT_TIME:?}", program.name());
                    }
                    if interrupt.wait(Duration::from_millis(5)) {
                        bail!("interrupted");
                    }
                }
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot read from {}", program.name()));
                }
            }
        }
    }
    // It may have closed its stdout and go on.
    loop {
        if let Some(status) = running.poll()? {
            running.verdict(status)?;
            return Ok(out);
        }
        if begun.elapsed() > OUTPUT_TIME {
            bail!("{} did not end within {OUTPUT_TIME:?}", program.name());
        }
        if interrupt.wait(Duration::from_millis(2)) {
            bail!("interrupted");
        }
    }
}

/// The numbers of the signals that whoever started this process has set to be ignored (proc(5)).
#[must_use]
pub fn ignored_signals() -> Vec<i32> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    (1..=64).filter(|signal| mask >> (signal - 1) & 1 == 1).collect()
}

/// Whether there is a process of that number on this host.
#[must_use]
pub fn is_running(pid: i32) -> bool {
    // No right to signal it also means that it is there.
    let missing = Err(rustix::io::Errno::SRCH);
    let is_there = Pid::from_raw(pid).is_some_and(|pid| rustix::process::test_kill_process(pid) != missing);
    is_there && !has_ended(pid)
}

/// Whether it has ended, and only waits for whoever started it to hear of it (proc(5)).
fn has_ended(pid: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Its name stands in brackets, and may hold anything.
    status.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with(['Z', 'X']))
}
