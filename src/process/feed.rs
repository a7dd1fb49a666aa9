//! Children that are fed and asked: one that answers on stdout while it is written to, one that reads a file.
//! They know nothing of what the bytes are.

use std::fs::File;
use std::io::{self, Read, Write};
use std::process::Stdio;
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow, bail};

use super::pipes::ChildWriter;
use super::running::Running;
use super::{Manner, Program};
use crate::interrupt::Interrupt;

/// A child that is written to and whose stdout is the answer. It may stop reading before all is written.
pub struct ChildFilter {
    writer: ChildWriter,
    answer: JoinHandle<io::Result<Vec<u8>>>,
    limit_bytes: u64,
}

impl ChildFilter {
    /// Starts the program; its answer may be so long. It is ended when this is dropped unfinished.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(program: &Program, limit_bytes: u64, interrupt: Interrupt) -> Result<Self> {
        let (writer, stdout) =
            ChildWriter::start_with(program, &Manner::default(), Stdio::piped(), interrupt)?;
        let mut stdout = stdout.context("the child has no stdout")?;
        let answer = std::thread::Builder::new().name("answer".to_owned()).spawn(move || {
            let mut answer = Vec::new();
            stdout.by_ref().take(limit_bytes.saturating_add(1)).read_to_end(&mut answer)?;
            // What goes beyond the limit is no answer, but the child must come to its end.
            io::copy(&mut stdout, &mut io::sink())?;
            Ok(answer)
        })?;
        Ok(Self { writer, answer, limit_bytes })
    }

    /// Ends the input, waits for the child's end, and gives what it wrote on stdout.
    ///
    /// # Errors
    /// When it exits with anything but 0 (what it said on stderr is in the error), or its answer is too long.
    pub fn finish(self) -> Result<Vec<u8>> {
        self.writer.finish()?;
        let answer = self.answer.join().map_err(|_| anyhow!("the reading thread is gone"))??;
        if answer.len() as u64 > self.limit_bytes {
            bail!("the answer is longer than {} bytes", self.limit_bytes);
        }
        Ok(answer)
    }
}

impl Write for ChildFilter {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.writer.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// What a child's own stdin is called, as a file that it may open once more. That works for a file without
/// a name too.
pub const STDIN_FILE: &str = "/proc/self/fd/0";

/// Runs a program to its end with `input` as its stdin; gives back what it said on stderr.
///
/// # Errors
/// When it can't be started, exits with anything but 0 (what it said is in the error), or the interrupt is
/// raised.
pub fn run_on_file(program: &Program, input: File, interrupt: &Interrupt) -> Result<String> {
    let mut running = Running::start(program, &Manner::default(), Stdio::from(input), Stdio::null())?;
    running.finish(interrupt)
}
