//! Child processes: the only place that starts one. A child is a reader or a writer whose end means
//! that it exited with 0; it ends when we end. It knows nothing of what the programs do.
#![allow(clippy::disallowed_methods, reason = "this module is where processes are started")]

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, kill_process_group, set_parent_process_death_signal};

use crate::exit::Failure;
use crate::interrupt::Interrupt;

/// The hidden first argument under which this binary runs another program that must not outlive it.
pub const GUARD: &str = "run-guarded";
/// What a child says on stderr is kept to so many of its first lines and of its last ones.
const KEPT_FIRST_LINES: usize = 8;
const KEPT_LAST_LINES: usize = 16;
const KEPT_LINE_BYTES: u64 = 2000;
/// A short program writes no more, and takes no longer.
const OUTPUT_LIMIT_BYTES: usize = 64 * 1024;
const OUTPUT_TIME: Duration = Duration::from_secs(30);
/// How long what a child said is waited for once it has ended; its own children may hold the pipe open.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How long a child may take to end after SIGTERM.
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

impl Program {
    fn name(&self) -> String {
        self.path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    }

    /// The command that runs it in a process group of its own, by way of [`run_guarded`].
    fn guarded(&self) -> Command {
        let mut command = Command::new("/proc/self/exe");
        command.arg(GUARD).arg(std::process::id().to_string()).arg(&self.path);
        command.args(&self.arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.process_group(0);
        command
    }
}

/// What a process that was started by [`GUARD`] does: asks the kernel to end it when `parent` ends, then
/// becomes the program. Comes back only when that failed.
#[must_use]
pub fn run_guarded(parent: &str, path: &Path, arguments: &[OsString]) -> anyhow::Error {
    if let Err(error) = set_parent_process_death_signal(Some(Signal::TERM)) {
        return anyhow!(error).context("cannot tie the child to its parent");
    }
    // A parent that died before the call above sends no signal.
    let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().to_string());
    if now.as_deref() != Some(parent) {
        return anyhow!("the parent is gone");
    }
    let error = Command::new(path).args(arguments).exec();
    anyhow!(error).context(format!("cannot run `{}`", path.display()))
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
    let mut running = Running::start(&program, Stdio::null(), Stdio::piped())?;
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
    running.finish(interrupt)?;
    Ok(out)
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
    Pid::from_raw(pid).is_some_and(|pid| rustix::process::test_kill_process(pid) != missing)
}

/// A running child, and what it says on stderr.
struct Running {
    name: String,
    child: Child,
    stderr: Option<Receiver<String>>,
    ended: Option<ExitStatus>,
}

impl Running {
    fn start(program: &Program, stdin: Stdio, stdout: Stdio) -> Result<Self> {
        let mut child = program
            .guarded()
            .stdin(stdin)
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run `{}`", program.path.display()))?;
        let stderr = match child.stderr.take() {
            Some(pipe) => {
                let (say, said) = channel();
                std::thread::Builder::new()
                    .name("stderr".to_owned())
                    .spawn(move || drop(say.send(told(pipe))))?;
                Some(said)
            }
            None => None,
        };
        Ok(Self { name: program.name(), child, stderr, ended: None })
    }

    /// Waits for the end; an error unless it exited with 0. Gives back what it said on stderr.
    fn finish(&mut self, interrupt: &Interrupt) -> Result<String> {
        let status = loop {
            if let Some(status) = self.ended {
                break status;
            }
            self.ended = self.child.try_wait().with_context(|| format!("cannot wait for {}", self.name))?;
            if self.ended.is_none() && interrupt.wait(Duration::from_millis(2)) {
                self.end();
                return Err(Failure::failed("interrupted").into());
            }
        };
        let said = self.stderr.take().and_then(|said| said.recv_timeout(LAST_WORDS).ok()).unwrap_or_default();
        if status.success() {
            return Ok(said);
        }
        let said = if said.is_empty() { "it said nothing".to_owned() } else { said };
        let message = format!("{} ended with {}: {said}", self.name, describe(status));
        Err(Failure::failed(message).into())
    }

    /// Ends the child and all it started: SIGTERM, a moment, SIGKILL.
    fn end(&mut self) {
        if self.ended.is_some() {
            return;
        }
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let signal = |signal: Signal| {
            if let Some(group) = group
                && let Err(error) = kill_process_group(group, signal)
            {
                log::debug!("process group {group:?}: {error}");
            }
        };
        signal(Signal::TERM);
        let begun = Instant::now();
        while begun.elapsed() < GRACE {
            match self.child.try_wait() {
                Ok(Some(status)) => {
                    self.ended = Some(status);
                    break;
                }
                Ok(None) => std::thread::sleep(Duration::from_millis(5)),
                Err(_) => break,
            }
        }
        if self.ended.is_none() {
            signal(Signal::KILL);
            self.ended = self.child.wait().ok();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// A child read from: its end of file means that it exited with 0.
pub struct ChildReader {
    running: Running,
    stdout: Option<ChildStdout>,
    interrupt: Interrupt,
    warnings: String,
    is_whole: bool,
}

impl ChildReader {
    /// Starts the program. It ends early when the interrupt is raised, and when this is dropped.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(program: &Program, interrupt: Interrupt) -> Result<Self> {
        let mut running = Running::start(program, Stdio::null(), Stdio::piped())?;
        let stdout = running.child.stdout.take();
        Ok(Self { running, stdout, interrupt, warnings: String::new(), is_whole: false })
    }

    /// What the child said on stderr although it exited with 0.
    #[must_use]
    pub fn warnings(&self) -> &str {
        &self.warnings
    }

    /// Ends the child before its time.
    pub fn end(&mut self) {
        self.stdout = None;
        self.running.end();
    }
}

impl Read for ChildReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(stdout) = self.stdout.as_mut() else {
            // A pipe whose producer failed is broken, never just closed.
            return if self.is_whole { Ok(0) } else { Err(io::Error::from(io::ErrorKind::BrokenPipe)) };
        };
        if !wait_ready(&*stdout, PollFlags::IN, &self.interrupt)? {
            self.end();
            return Err(io::Error::other(Failure::failed("interrupted")));
        }
        let count = stdout.read(buffer)?;
        if count > 0 || buffer.is_empty() {
            return Ok(count);
        }
        self.stdout = None;
        match self.running.finish(&self.interrupt) {
            Ok(said) => {
                self.warnings = said;
                self.is_whole = true;
            }
            Err(error) => {
                let failure = Failure::failed(format!("{error:#}"));
                return Err(io::Error::other(failure));
            }
        }
        Ok(0)
    }
}

/// Waits until a pipe can be read from or written to; false when the interrupt was raised first.
/// # Errors
/// When it can't be waited for.
pub fn wait_ready(pipe: impl AsFd, wanted: PollFlags, interrupt: &Interrupt) -> io::Result<bool> {
    let look = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    loop {
        if interrupt.is_raised() {
            return Ok(false);
        }
        match poll(&mut [PollFd::new(&pipe, wanted)], Some(&look)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
    }
}

/// A child written to; [`ChildWriter::finish`] means that it took everything and exited with 0.
pub struct ChildWriter {
    running: Running,
    stdin: Option<ChildStdin>,
    interrupt: Interrupt,
}

impl ChildWriter {
    /// Starts the program. It is ended when this is dropped unfinished.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(program: &Program, interrupt: Interrupt) -> Result<Self> {
        let mut running = Running::start(program, Stdio::piped(), Stdio::null())?;
        let stdin = running.child.stdin.take();
        if let Some(pipe) = stdin.as_ref() {
            // A child that hangs must not hang us: a full pipe is waited for with an eye on the interrupt.
            rustix::fs::fcntl_setfl(pipe, OFlags::NONBLOCK)?;
        }
        Ok(Self { running, stdin, interrupt })
    }

    /// Closes the child's stdin and waits for its end.
    ///
    /// # Errors
    /// When it exits with anything but 0; what it said is in the error.
    pub fn finish(mut self) -> Result<String> {
        self.stdin = None;
        self.running.finish(&self.interrupt)
    }
}

impl Write for ChildWriter {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let Some(stdin) = self.stdin.as_mut() else {
            return Err(io::Error::from(io::ErrorKind::BrokenPipe));
        };
        loop {
            match stdin.write(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
            if !wait_ready(&*stdin, PollFlags::OUT, &self.interrupt)? {
                return Err(io::Error::other(Failure::failed("interrupted")));
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stdin.as_mut().map_or(Ok(()), Write::flush)
    }
}

/// What a child says on stderr: its first lines, where the cause often stands, and its last ones.
fn told(pipe: ChildStderr) -> String {
    let mut reader = BufReader::new(pipe);
    let mut first: Vec<String> = Vec::new();
    let mut last: VecDeque<String> = VecDeque::new();
    let mut left_out = 0usize;
    loop {
        let mut line = Vec::new();
        match reader.by_ref().take(KEPT_LINE_BYTES).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        if text.is_empty() {
            continue;
        }
        if first.len() < KEPT_FIRST_LINES {
            first.push(text);
            continue;
        }
        if last.len() == KEPT_LAST_LINES {
            last.pop_front();
            left_out += 1;
        }
        last.push_back(text);
    }
    if left_out > 0 {
        first.push(format!("[{left_out} lines left out]"));
    }
    first.extend(last);
    first.join("\n")
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "no exit code".to_owned(),
    }
}
