//! A running child: its end, and what it says on stderr. It knows no other pipe of it.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStderr, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process_group};

use super::statement::Statement;
use super::{Manner, Program};
use crate::exit::Failure;
use crate::interrupt::Interrupt;

/// What a child says on stderr is kept to so many of its first lines and of its last ones.
const KEPT_FIRST_LINES: usize = 8;
const KEPT_LAST_LINES: usize = 16;
const KEPT_LINE_BYTES: u64 = 2000;
/// How long what a child said is waited for once it has ended; its own children may hold the pipe open.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Signals that no program brings upon itself: a person's, or those of a system that is short of memory.
const FROM_OUTSIDE: [Signal; 4] = [Signal::KILL, Signal::TERM, Signal::INT, Signal::HUP];

/// A child that somebody else ended, which says nothing of what it was given.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Killed(String);

impl Killed {
    /// Whether that is what an error tells of.
    #[must_use]
    pub fn is(error: &anyhow::Error) -> bool {
        error.downcast_ref::<Self>().is_some()
    }
}

/// A running child, and what it says on stderr.
pub(super) struct Running {
    name: String,
    pub(super) child: Child,
    stderr: Option<Receiver<String>>,
    ended: Option<ExitStatus>,
    last_signal: Signal,
    grace: Duration,
}

impl Running {
    pub(super) fn start(program: &Program, manner: &Manner, stdin: Stdio, stdout: Stdio) -> Result<Self> {
        let mut child = program
            .guarded(manner)?
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
        Ok(Self {
            name: program.name(),
            child,
            stderr,
            ended: None,
            last_signal: manner.last_signal,
            grace: manner.grace,
        })
    }

    /// Waits for the end; an error unless it exited with 0. Gives back what it said on stderr.
    pub(super) fn finish(&mut self, interrupt: &Interrupt) -> Result<String> {
        loop {
            if let Some(status) = self.poll()? {
                return self.verdict(status);
            }
            if interrupt.wait(Duration::from_millis(2)) {
                self.end();
                return Err(Failure::failed("interrupted").into());
            }
        }
    }

    /// How it ended, if it did.
    pub(super) fn poll(&mut self) -> Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().with_context(|| format!("cannot wait for {}", self.name))?;
        }
        Ok(self.ended)
    }

    /// What it said on stderr; an error unless it exited with 0.
    pub(super) fn verdict(&mut self, status: ExitStatus) -> Result<String> {
        let said = self.stderr.take().and_then(|said| said.recv_timeout(LAST_WORDS).ok()).unwrap_or_default();
        if status.success() {
            return Ok(said);
        }
        let said = if said.is_empty() { "it said nothing".to_owned() } else { said };
        let message = format!("{} ended with {}: {said}", self.name, describe(status));
        if status.signal().is_some_and(|signal| FROM_OUTSIDE.iter().any(|one| one.as_raw() == signal)) {
            return Err(Killed(message).into());
        }
        Err(Failure::failed(message).into())
    }

    /// Ends the child and all it started: its last signal (SIGTERM), a moment, SIGKILL.
    pub(super) fn end(&mut self) {
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
        signal(self.last_signal);
        let begun = Instant::now();
        while begun.elapsed() < self.grace {
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

/// What a child says on stderr: its first lines, where the cause often stands, and its last ones.
fn told(pipe: ChildStderr) -> String {
    let mut reader = BufReader::new(pipe);
    let mut first: Vec<String> = Vec::new();
    let mut last: VecDeque<String> = VecDeque::new();
    let mut left_out = 0usize;
    let mut statement = Statement::default();
    loop {
        let mut line = Vec::new();
        match reader.by_ref().take(KEPT_LINE_BYTES).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        let Some(text) = statement.shown(text).filter(|text| !text.is_empty()) else { continue };
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
