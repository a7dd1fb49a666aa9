//! Programs that are neither read from nor written to: one that goes on until it is ended, and one that is
//! waited for. They know nothing of what the programs do.

use std::process::Stdio;

use anyhow::Result;

use super::running::Running;
use super::{Manner, Program};
use crate::interrupt::Interrupt;

/// A child that goes on until it is ended: when this is dropped, and when pgkeep ends, however it does.
pub struct Service {
    running: Running,
}

impl Service {
    /// Starts the program. The thread that does so must live as long as the service: the kernel ends the
    /// child with it.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(program: &Program, manner: &Manner) -> Result<Self> {
        Ok(Self { running: Running::start(program, manner, Stdio::null(), Stdio::null())? })
    }

    /// The number of its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.running.child.id()
    }

    /// Makes sure that it runs.
    ///
    /// # Errors
    /// When it has ended; what it said is in the error.
    pub fn ensure_running(&mut self) -> Result<()> {
        match self.running.poll()? {
            None => Ok(()),
            Some(status) => match self.running.verdict(status) {
                Ok(said) => anyhow::bail!("it ended by itself: {said}"),
                Err(error) => Err(error),
            },
        }
    }
}

/// Runs a program to its end, without its stdout.
///
/// # Errors
/// When it can't be started, exits with anything but 0 (what it said is in the error), or the interrupt is
/// raised.
pub fn run_to_end(program: &Program, manner: &Manner, interrupt: &Interrupt) -> Result<()> {
    let mut running = Running::start(program, manner, Stdio::null(), Stdio::null())?;
    running.finish(interrupt).map(drop)
}
