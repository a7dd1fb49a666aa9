//! A config set that is read: to prove that it is one, to list it, to bring it back. What is in it is hostile until it has
//! been looked at: only plain names below the folder that it is brought to, and no more than the archive says.

use std::io::{self, PipeWriter, Read, Write};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, anyhow};

use super::entries;

/// Reads an archive to its end as it is written into this, and keeps nothing of it.
pub struct Check {
    pipe: Option<PipeWriter>,
    reader: Option<JoinHandle<Result<usize>>>,
}

impl Check {
    /// Starts it.
    ///
    /// # Errors
    /// When there is no pipe or no thread to be had.
    pub fn start() -> Result<Self> {
        let (from, pipe) = io::pipe().context("there is no pipe to be had")?;
        let reader = thread::Builder::new().name("config set".to_owned()).spawn(move || count(from))?;
        Ok(Self { pipe: Some(pipe), reader: Some(reader) })
    }

    /// How many entries there were.
    ///
    /// # Errors
    /// When it was no archive.
    pub fn finish(mut self) -> Result<usize> {
        drop(self.pipe.take());
        let reader = self.reader.take().context("it was read already")?;
        reader.join().map_err(|_| anyhow!("the archive was not read"))?
    }
}

impl Write for Check {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let pipe = self.pipe.as_mut().ok_or_else(|| io::Error::other("the archive has ended"))?;
        pipe.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn count(mut from: impl Read) -> Result<usize> {
    let entries = entries::check(&mut from)?;
    entries::ensure_complete(&entries)?;
    Ok(entries.len())
}
