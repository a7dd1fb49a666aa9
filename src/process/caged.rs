//! Caged programs: a keeper, which stays outside and ends all that came of the program, and inside this binary once
//! more, which shuts the cage and becomes the program, or, in a name space of processes, the first one there. It
//! knows no program.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, kill_process_group, set_child_subreaper,
    set_parent_process_death_signal, wait,
};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use super::User;
use super::cage::{Cage, Confinement};
use super::guard::{Tie, become_program, bind, close_inherited};
use super::leftover::children_of;

/// The hidden first argument under which this binary keeps a caged program; the words of the cage follow those of
/// the tie.
pub const CAGE: &str = "run-caged";
/// The same, of what the keeper starts inside.
pub const INSIDE: &str = "run-inside";

/// How long a program without name spaces may take to end by itself; a server removes its shared memory then.
const OWN_END: Duration = Duration::from_millis(5500);
/// How long what is left is looked for.
const LAST_LOOK: Duration = Duration::from_millis(800);
const PAUSE: Duration = Duration::from_millis(2);
/// What an exit code begins with that stands for a signal, as shells have it.
const SIGNALLED: i32 = 128;

/// What a process that was started by [`CAGE`] does: starts the program in a cage, and ends with it, by its exit
/// code or signal, once nothing is left of it. Without a program it is said on stdout how far the cage holds.
///
/// # Errors
/// When it can't be started, or the parent is gone.
pub fn run_caged(tie: &str, cage: &str, path: &Path, arguments: &[OsString]) -> Result<()> {
    close_inherited()?;
    let (tie, words) = (Tie::read(tie)?, cage);
    let cage = Cage::parse(words)?;
    cage.enter()?;
    let mut signals = Signals::new([SIGCHLD, SIGQUIT, SIGTERM, SIGINT, SIGHUP])?;
    // What loses its parent becomes a child of this process.
    set_child_subreaper(Some(getpid())).context("cannot become a reaper")?;
    let mut inside = Command::new("/proc/self/exe");
    inside.args([INSIDE, &tie.to_argument(), words]).arg(path).args(arguments);
    // The pipe is closed when this process ends, whenever that is.
    let inside = inside.stdin(Stdio::piped()).spawn().context("cannot start what goes into the cage")?;
    let pid =
        i32::try_from(inside.id()).ok().and_then(Pid::from_raw).context("a process without a number")?;
    bind(Tie { user: None, ..tie })?;
    let mut found = None;
    let mut is_to_end = false;
    while found.is_none() && !is_to_end {
        is_to_end = signals.wait().any(|signal| signal != SIGCHLD);
        found = reap(pid)?.0;
    }
    let status = end_all(pid, found, tie, cage.own_spaces)?;
    end_like(status)
}

/// What a process that was started by [`INSIDE`] does.
///
/// # Errors
/// When the cage can't be shut, the program can't be run, or the keeper is gone.
pub fn run_inside(tie: &str, cage: &str, path: &Path, arguments: &[OsString]) -> Result<()> {
    close_inherited()?;
    let (tie, cage) = (Tie::read(tie)?, Cage::parse(cage)?);
    if let Some(user) = tie.user {
        // Before the call below: a change of user makes the kernel forget it.
        user.become_it().context("cannot give up the rights of root")?;
    }
    set_parent_process_death_signal(Some(Signal::KILL)).context("cannot tie the child to its parent")?;
    // A keeper that died before the call above sends no signal; in a name space it has no number.
    let pipe = io::stdin();
    if poll(&mut [PollFd::new(&pipe, PollFlags::IN)], Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? > 0 {
        bail!("the keeper is gone");
    }
    let confinement = Confinement { own_user: tie.user.is_some(), ..cage.shut()? };
    if path.as_os_str().is_empty() {
        return Ok(io::stdout().write_all(serde_json::to_string(&confinement)?.as_bytes())?);
    }
    let mut program = Command::new(path);
    program.args(arguments).stdin(Stdio::null());
    if !cage.own_spaces {
        return Err(become_program(program));
    }
    let child = program.spawn().with_context(|| format!("cannot run `{}`", path.display()))?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    // The first process of a name space is given all that have lost their parents; they end with it.
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((ended, status))) if Some(ended) == pid => std::process::exit(code_of(status)),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot wait for the program"),
        }
    }
}

fn code_of(status: WaitStatus) -> i32 {
    let signal = status.terminating_signal().map_or(1, |signal| SIGNALLED.saturating_add(signal));
    status.exit_status().unwrap_or(signal)
}

/// Ends this process as that one ended.
fn end_like(status: Option<WaitStatus>) -> Result<()> {
    let code = status.map_or(SIGNALLED + Signal::KILL.as_raw(), code_of);
    if code > SIGNALLED {
        signal_hook::low_level::emulate_default_handler(code - SIGNALLED)?;
    }
    std::process::exit(code)
}

/// Takes note of the children that have ended: how the wanted one did, and whether any is left.
fn reap(wanted: Pid) -> io::Result<(Option<WaitStatus>, bool)> {
    let mut found = None;
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == wanted => found = Some(status),
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
            Ok(None) => return Ok((found, true)),
            Err(rustix::io::Errno::CHILD) => return Ok((found, false)),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Ends the program and all that came of it. With the first process of a name space all others in it end.
fn end_all(
    pid: Pid,
    mut found: Option<WaitStatus>,
    tie: Tie,
    has_spaces: bool,
) -> io::Result<Option<WaitStatus>> {
    let signal = |pid: Pid, signal: Signal| {
        if let Err(error) = kill_process(pid, signal) {
            log::debug!("process {pid:?}: {error}");
        }
    };
    if found.is_none() && !has_spaces {
        signal(pid, tie.signal);
        let begun = Instant::now();
        while found.is_none() && begun.elapsed() < OWN_END {
            std::thread::sleep(PAUSE);
            found = reap(pid)?.0;
        }
    }
    if found.is_none() {
        signal(pid, Signal::KILL);
    }
    if let Some(user) = tie.user.filter(|_| !has_spaces) {
        end_user(user)?;
    }
    let begun = Instant::now();
    loop {
        let (ended, is_any_left) = reap(pid)?;
        found = found.or(ended);
        if !is_any_left || begun.elapsed() > LAST_LOOK {
            return Ok(found);
        }
        if !has_spaces {
            for child in children_of(getpid()) {
                signal(child, Signal::KILL);
            }
        }
        std::thread::sleep(PAUSE);
    }
}

/// Ends all processes of a user that nobody else is, but for this one, which becomes one of it: in one call, which no
/// start of another one outruns.
fn end_user(user: User) -> io::Result<()> {
    if !User::is_passing(user.uid) {
        return Ok(());
    }
    user.become_it()?;
    // kill(2): the group -1 is everything that this process may signal.
    match kill_process_group(Pid::INIT, Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
