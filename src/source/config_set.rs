//! A config set: what a cluster is made again from beside its databases, in one tar archive. Documents come from the
//! server, files from this host. It is written as a stream, and no file of any size is held in memory.

use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::AsFd;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rustix::event::PollFlags;
use serde::{Deserialize, Serialize};

use crate::interrupt::Interrupt;
use crate::process::wait_ready_within;

pub mod compare;
pub mod contents;
pub mod entries;
mod files;
pub mod reader;
mod writer;

pub use files::{Found, find};

use writer::Writer;

/// Roles, memberships and tablespaces, as SQL.
pub const GLOBALS: &str = "globals.sql";
/// Settings that are not the default.
pub const SETTINGS: &str = "settings.json";
/// Databases, and what the cluster says of itself.
pub const DATABASES: &str = "databases.json";
/// The rules of `pg_hba.conf` as the server understands them.
pub const HBA: &str = "hba.json";
/// pgkeep's own configuration, without secrets.
pub const OWN: &str = "pgkeep/config.toml";
/// What was left out, and why. The last of all.
pub const NOTES: &str = "notes.json";
/// The folder of the files that the server is configured by.
pub const SERVER_FILES: &str = "server";
/// The folder of the files that the configuration names.
pub const FILES: &str = "files";

/// What a config set says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Notes {
    /// The server's version, in words.
    pub server_version: String,
    /// The cluster's own identifier, where it is known.
    pub system_identifier: Option<String>,
    /// Whether roles come with the hashes of their passwords.
    pub has_passwords: bool,
    /// Whether the role saw only some of the settings.
    pub hides_settings: bool,
    /// Files of the server that could not be read.
    pub unread: Vec<String>,
    /// What was asked for and is not in it, each with the reason.
    pub missing: Vec<String>,
    /// Files that changed while they were read.
    pub changed: Vec<String>,
    /// Files that hold keys of pgkeep's: sealed with themselves they would help nobody.
    pub keys: Vec<String>,
}

/// A document to be put in under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Where it stands in the archive.
    pub name: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// What is set for all roles, as [`DATABASES`] says; older sets say nothing of it.
///
/// # Errors
/// When the document is damaged.
pub fn settings_of_all_roles(databases: &[u8]) -> Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Said {
        #[serde(default)]
        settings_of_all_roles: Vec<String>,
    }
    let said: Result<Said, _> = serde_json::from_slice(databases);
    let said = said.map_err(|error| anyhow!(error).context(format!("`{DATABASES}` in it is damaged")));
    Ok(said.map_err(|error| error.context(entries::Unsound))?.settings_of_all_roles)
}

/// A set that is being written: its archive comes out as it is read.
pub struct Stream {
    pipe: PipeReader,
    writer: Option<JoinHandle<Result<Notes>>>,
    notes: Option<Notes>,
    interrupt: Interrupt,
    stall: Duration,
}

/// What goes into a set.
pub struct Contents {
    /// What was made for it.
    pub documents: Vec<Document>,
    /// When that was, in seconds since 1970.
    pub made_at: u64,
    /// Files of this host.
    pub files: Vec<Found>,
    /// What it says of itself, as far as that is known before.
    pub notes: Notes,
}

impl Stream {
    /// Starts to write one. No file may give nothing for longer than `stall`.
    ///
    /// # Errors
    /// When there is no pipe or no thread to be had.
    pub fn start(contents: Contents, stall: Duration, interrupt: Interrupt) -> Result<Self> {
        let (pipe, into) = io::pipe().context("there is no pipe to be had")?;
        let writer =
            thread::Builder::new().name("config set".to_owned()).spawn(move || write(into, contents))?;
        Ok(Self { pipe, writer: Some(writer), notes: None, interrupt, stall })
    }

    /// What was written, once all of it was read.
    #[must_use]
    pub fn notes(&self) -> Option<&Notes> {
        self.notes.as_ref()
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // A disk that is away may hold up whoever reads a file for ever.
        let ready = wait_ready_within(self.pipe.as_fd(), PollFlags::IN, &self.interrupt, self.stall);
        if !ready.map_err(|error| io::Error::new(error.kind(), format!("a file can't be read: {error}")))? {
            return Err(io::Error::other("interrupted"));
        }
        let count = self.pipe.read(buffer)?;
        if count == 0
            && !buffer.is_empty()
            && let Some(writer) = self.writer.take()
        {
            // Its end may be that of a thread that failed.
            let written = writer.join().map_err(|_| io::Error::other("the config set was not written"))?;
            self.notes = Some(written.map_err(io::Error::other)?);
        }
        Ok(count)
    }
}

fn write(into: PipeWriter, contents: Contents) -> Result<Notes> {
    let Contents { documents, made_at, files, mut notes } = contents;
    let mut writer = Writer::new(io::BufWriter::with_capacity(64 * 1024, into), made_at);
    for document in &documents {
        writer.document(&document.name, &document.bytes)?;
    }
    for found in &files {
        writer.file(found, &mut notes)?;
    }
    let bytes = serde_json::to_vec_pretty(&notes).map_err(|error| anyhow!(error))?;
    writer.document(NOTES, &bytes)?;
    writer.finish()?;
    Ok(notes)
}
