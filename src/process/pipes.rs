//! Children that are read from or written to: their end of file means that they exited with 0. They know
//! nothing of what the bytes are.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::process::{ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use anyhow::Result;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;

use super::running::Running;
use super::{Manner, Program};
use crate::exit::Failure;
use crate::interrupt::Interrupt;

/// A child read from: its end of file means that it exited with 0.
pub struct ChildReader {
    running: Running,
    stdout: Option<ChildStdout>,
    interrupt: Interrupt,
    warnings: String,
    is_whole: bool,
    idle_timer: Option<IdleTimer>,
}

/// What is done about a child that gives nothing.
pub struct IdleTimer {
    /// How long it gives nothing before that, and between two times.
    pub after: Duration,
    /// Told how many times in a row; an error ends the child.
    pub ask: Box<dyn FnMut(u32) -> Result<()> + Send>,
}

impl ChildReader {
    /// Starts the program. It ends early when the interrupt is raised, and when this is dropped.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(program: &Program, interrupt: Interrupt) -> Result<Self> {
        let mut running = Running::start(program, &Manner::default(), Stdio::null(), Stdio::piped())?;
        let stdout = running.child.stdout.take();
        Ok(Self { running, stdout, interrupt, warnings: String::new(), is_whole: false, idle_timer: None })
    }

    /// Has something done about a child that gives nothing while it is read from.
    #[must_use]
    pub fn when_idle(self, idle_timer: IdleTimer) -> Self {
        Self { idle_timer: Some(idle_timer), ..self }
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
        if let Err(error) = wait_for_bytes(stdout, &self.interrupt, self.idle_timer.as_mut()) {
            self.end();
            return Err(error);
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

fn wait_for_bytes(
    stdout: &ChildStdout,
    interrupt: &Interrupt,
    idle_timer: Option<&mut IdleTimer>,
) -> io::Result<()> {
    let interrupted = || io::Error::other(Failure::failed("interrupted"));
    let Some(idle_timer) = idle_timer else {
        return if wait_ready(stdout, PollFlags::IN, interrupt)? { Ok(()) } else { Err(interrupted()) };
    };
    let mut times: u32 = 0;
    let mut since = Instant::now();
    loop {
        match look(stdout, PollFlags::IN, interrupt)? {
            Look::Ready => return Ok(()),
            Look::Interrupted => return Err(interrupted()),
            Look::NotYet if since.elapsed() >= idle_timer.after => {
                times = times.saturating_add(1);
                (idle_timer.ask)(times)
                    .map_err(|error| io::Error::other(Failure::failed(format!("{error:#}"))))?;
                since = Instant::now();
            }
            Look::NotYet => {}
        }
    }
}

/// Waits until a pipe can be read from or written to; false when the interrupt was raised first.
/// # Errors
/// When it can't be waited for.
pub fn wait_ready(pipe: impl AsFd, wanted: PollFlags, interrupt: &Interrupt) -> io::Result<bool> {
    loop {
        match look(&pipe, wanted, interrupt)? {
            Look::Ready => return Ok(true),
            Look::Interrupted => return Ok(false),
            Look::NotYet => {}
        }
    }
}

/// The same, no longer than `limit`.
///
/// # Errors
/// When it can't be waited for, or was waited for in vain.
pub fn wait_ready_within(
    pipe: impl AsFd,
    wanted: PollFlags,
    interrupt: &Interrupt,
    limit: Duration,
) -> io::Result<bool> {
    let begun = Instant::now();
    loop {
        match look(&pipe, wanted, interrupt)? {
            Look::Ready => return Ok(true),
            Look::Interrupted => return Ok(false),
            Look::NotYet if begun.elapsed() > limit => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, format!("nothing came for {limit:?}")));
            }
            Look::NotYet => {}
        }
    }
}

enum Look {
    Ready,
    Interrupted,
    NotYet,
}

/// Waits a moment.
fn look(pipe: impl AsFd, wanted: PollFlags, interrupt: &Interrupt) -> io::Result<Look> {
    let moment = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    if interrupt.is_raised() {
        return Ok(Look::Interrupted);
    }
    match poll(&mut [PollFd::new(&pipe, wanted)], Some(&moment)) {
        Ok(0) | Err(rustix::io::Errno::INTR) => Ok(Look::NotYet),
        Ok(_) => Ok(Look::Ready),
        Err(error) => Err(error.into()),
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
        Self::start_in(program, &Manner::default(), interrupt)
    }

    /// The same in a manner of its own.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start_in(program: &Program, manner: &Manner, interrupt: Interrupt) -> Result<Self> {
        Ok(Self::start_with(program, manner, Stdio::null(), interrupt)?.0)
    }

    /// The same with a stdout, which is given back where it is a pipe.
    pub(super) fn start_with(
        program: &Program,
        manner: &Manner,
        stdout: Stdio,
        interrupt: Interrupt,
    ) -> Result<(Self, Option<ChildStdout>)> {
        let mut running = Running::start(program, manner, Stdio::piped(), stdout)?;
        let (stdin, stdout) = (running.child.stdin.take(), running.child.stdout.take());
        if let Some(pipe) = stdin.as_ref() {
            // A child that hangs must not hang us: a full pipe is waited for with an eye on the interrupt.
            rustix::fs::fcntl_setfl(pipe, OFlags::NONBLOCK)?;
        }
        Ok((Self { running, stdin, interrupt }, stdout))
    }

    /// Ends the child before its time, with its input still open; true when it had come to its own end
    /// with exit code 0 by then.
    #[must_use]
    pub fn stop(mut self) -> bool {
        let own_end = self.running.poll();
        self.running.end();
        matches!(own_end, Ok(Some(status)) if status.success())
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
