//! `pg_restore`: the child that takes a dump on its stdin, as a stream or as a file, and what it is told to
//! make of it. It knows nothing of where the dump comes from.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};

use anyhow::Result;

use super::clients::Client;
use super::scratch::ScratchDatabase;
use crate::conninfo::ConnInfo;
use crate::interrupt::Interrupt;
use crate::process::feed::{ChildFilter, STDIN_FILE, run_on_file};
use crate::process::{ChildWriter, Program};

/// No table of contents is longer; a database of a million tables has one of some 300 MB.
const LISTING_LIMIT_BYTES: u64 = 1024 * 1024 * 1024;
/// From this version on `pg_restore` can leave out subscriptions; older ones know of none.
const SUBSCRIPTIONS_SINCE: u32 = 10;
/// What a server keeps of the name that a session goes by.
const SESSION_NAME_LEN: usize = 63;

/// What is done with what the target has already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Nothing: the target is empty.
    Keep,
    /// What the dump has is dropped first, in one transaction with what takes its place.
    Replace,
    /// What is there was left by a restore of the same dump that broke off: it is dropped first.
    Leftovers,
}

/// Who owns what is restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// The roles that the dump names; they must exist.
    Original,
    /// The role that connects; grants are left out too.
    Connected,
}

/// Where a restore goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The database connected to.
    Connected,
    /// A database of the dump's own name, made by way of the one connected to. It must not exist.
    New,
}

/// Which kinds of things are restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// All of them.
    All,
    /// Definitions, no rows.
    Schema,
    /// Rows, large objects and the values of sequences; what they go into is there.
    Data,
}

/// What of a dump is restored. Names stand as they are, without quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Which kinds of things.
    pub content: Content,
    /// What is in these schemas; in all where none is named.
    pub schemas: Vec<String>,
    /// These tables, views and sequences; all where none is named.
    pub tables: Vec<String>,
}

impl Selection {
    /// Whether it leaves out some of the dump by its name.
    #[must_use]
    pub fn is_by_name(&self) -> bool {
        !self.schemas.is_empty() || !self.tables.is_empty()
    }

    fn arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        match self.content {
            Content::All => {}
            Content::Schema => arguments.push("--schema-only".into()),
            Content::Data => arguments.push("--data-only".into()),
        }
        arguments.extend(self.schemas.iter().map(|name| format!("--schema={name}").into()));
        arguments.extend(self.tables.iter().map(|name| format!("--table={name}").into()));
        if self.is_by_name() {
            // Without it a name that the dump lacks is passed over in silence.
            arguments.push("--strict-names".into());
        }
        arguments
    }
}

/// What `pg_restore` is to do.
#[derive(Clone, Copy, Debug)]
pub struct RestorePlan<'a> {
    /// The program.
    pub client: &'a Client,
    /// The database to connect to.
    pub target: &'a ConnInfo,
    /// What the names of its sessions on the server start with.
    pub session: &'a str,
    /// Where it goes.
    pub place: Place,
    /// What is done with what is there.
    pub existing: Existing,
    /// Who owns it.
    pub ownership: Ownership,
    /// What of the dump.
    pub selection: &'a Selection,
    /// The role that does it, where it is not the one that connects.
    pub role: Option<&'a str>,
}

/// How a restore is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    Stream,
    Jobs(u16),
}

impl RestorePlan<'_> {
    /// Whether a restore as a stream leaves nothing where it breaks off.
    #[must_use]
    pub fn is_one_transaction(&self) -> bool {
        self.existing == Existing::Replace || self.selection.content == Content::Data
    }

    fn program(&self, course: Course) -> Result<Program> {
        let mut arguments = vec![OsString::from("--no-password")];
        if self.existing != Existing::Keep {
            arguments.extend(["--clean", "--if-exists"].map(OsString::from));
        }
        match course {
            // All or nothing: a table that could not be dropped must not get its rows twice.
            Course::Stream if self.is_one_transaction() => arguments.push("--single-transaction".into()),
            // Several sessions have no transaction in common; the next best is to stop in time.
            Course::Jobs(_) if self.existing == Existing::Replace => arguments.push("--exit-on-error".into()),
            Course::Stream | Course::Jobs(_) => {}
        }
        if self.place == Place::New {
            arguments.push("--create".into());
        }
        if self.ownership == Ownership::Connected {
            arguments.extend(["--no-owner", "--no-privileges"].map(OsString::from));
        }
        arguments.extend(self.role.map(|role| format!("--role={role}").into()));
        arguments.extend(self.selection.arguments());
        let target = self.target.with("application_name", &self.session_name())?;
        arguments.push(format!("--dbname={}", target.to_keyword_string()).into());
        if let Course::Jobs(jobs) = course {
            arguments.push(format!("--jobs={jobs}").into());
            arguments.push(STDIN_FILE.into());
        }
        let mut environment = self.target.child_environment();
        environment.push(("LC_ALL".to_owned(), "C".to_owned()));
        Ok(Program { path: self.client.path.clone(), arguments, environment })
    }

    /// A name by which the sessions can be found, with the one that was asked for behind it.
    fn session_name(&self) -> String {
        let mut name = self.session.to_owned();
        if let Some(given) = self.target.get("application_name") {
            name.push(' ');
            name.push_str(given);
        }
        let end = (0..=name.len().min(SESSION_NAME_LEN)).rev().find(|end| name.is_char_boundary(*end));
        name.truncate(end.unwrap_or_default());
        name
    }
}

/// A running `pg_restore`.
pub struct Restore {
    child: ChildWriter,
}

impl Restore {
    /// Starts `pg_restore`, to be written to. Unless it is one transaction it goes on after an error, as it
    /// does by itself, so that all that can come back does, and says so by its exit code.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(plan: &RestorePlan<'_>, interrupt: Interrupt) -> Result<Self> {
        Ok(Self { child: ChildWriter::start(&plan.program(Course::Stream)?, interrupt)? })
    }

    /// Starts `pg_restore` into nothing: it reads the archive to its end and writes it nowhere.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn into_nothing(client: &Client, interrupt: Interrupt) -> Result<Self> {
        let arguments = ["-f", "/dev/null"].map(OsString::from).to_vec();
        let environment = vec![("LC_ALL".to_owned(), "C".to_owned())];
        let program = Program { path: client.path.clone(), arguments, environment };
        Ok(Self { child: ChildWriter::start(&program, interrupt)? })
    }

    /// Starts `pg_restore` into a scratch database. It stops at the first error: the restore is a proof.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn into_scratch(
        client: &Client,
        database: &ScratchDatabase<'_>,
        ownership: Ownership,
        interrupt: Interrupt,
    ) -> Result<Self> {
        let mut arguments =
            ["--exit-on-error", "--no-tablespaces", "--no-password"].map(OsString::from).to_vec();
        if ownership == Ownership::Connected {
            arguments.extend(["--no-owner", "--no-privileges"].map(OsString::from));
        }
        // A server of others can't drop a database with a subscription, and whoever drops the subscription
        // first drops the slot that the source lives by.
        if !database.is_throwaway() && client.major >= SUBSCRIPTIONS_SINCE {
            arguments.push("--no-subscriptions".into());
        }
        let target = database.connection().with("application_name", "pgkeep")?;
        arguments.push(format!("--dbname={}", target.to_keyword_string()).into());
        let mut environment = target.child_environment();
        environment.push(("LC_ALL".to_owned(), "C".to_owned()));
        let program = Program { path: client.path.clone(), arguments, environment };
        Ok(Self { child: ChildWriter::start_in(&program, &database.manner(), interrupt)? })
    }

    /// Ends the input and waits for `pg_restore`; gives back what it said.
    ///
    /// # Errors
    /// When it exits with anything but 0; what it said is in the error.
    pub fn finish(self) -> Result<String> {
        self.child.finish()
    }

    /// Ends `pg_restore` before the dump's end; true when it had done all it was to do by then.
    #[must_use]
    pub fn stop(self) -> bool {
        self.child.stop()
    }
}

impl Write for Restore {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.child.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.child.flush()
    }
}

/// Restores a dump that is a file on `jobs` sessions at once; gives back what `pg_restore` said.
///
/// # Errors
/// When it can't be started, or exits with anything but 0; what it said is in the error.
pub fn restore_file(plan: &RestorePlan<'_>, jobs: u16, dump: File, interrupt: &Interrupt) -> Result<String> {
    run_on_file(&plan.program(Course::Jobs(jobs))?, dump, interrupt)
}

/// A `pg_restore` that is written to, and tells what of the dump it would restore. It needs the dump's
/// beginning only: writing ends with a broken pipe once it has read enough.
pub struct Listing {
    child: ChildFilter,
}

impl Listing {
    /// Starts it.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(client: &Client, selection: &Selection, interrupt: Interrupt) -> Result<Self> {
        let mut arguments = vec![OsString::from("--list")];
        arguments.extend(selection.arguments());
        let environment = vec![("LC_ALL".to_owned(), "C".to_owned())];
        let program = Program { path: client.path.clone(), arguments, environment };
        Ok(Self { child: ChildFilter::start(&program, LISTING_LIMIT_BYTES, interrupt)? })
    }

    /// The entries that would be restored, each as kind, schema, name and owner with a space between.
    ///
    /// # Errors
    /// When `pg_restore` exits with anything but 0: the dump lacks a name, or is none.
    pub fn finish(self) -> Result<Vec<String>> {
        let text = String::from_utf8_lossy(&self.child.finish()?).into_owned();
        Ok(text.lines().filter_map(entry).collect())
    }
}

impl Write for Listing {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.child.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.child.flush()
    }
}

/// What follows the numbers in `215; 1259 16386 TABLE public customer postgres`.
pub(crate) fn entry(line: &str) -> Option<String> {
    let mut words = line.splitn(4, ' ');
    let id = words.next()?;
    (!id.starts_with(';') && id.ends_with(';')).then_some(())?;
    words.nth(2).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_told_from_comments() {
        let line = "216; 1259 16396 TABLE public Weird Name postgres";
        assert_eq!(entry(line).as_deref(), Some("TABLE public Weird Name postgres"));
        assert_eq!(entry("; Selected TOC Entries:"), None);
        assert_eq!(entry(";     Dump Version: 1.14-0 a b"), None);
        assert_eq!(entry(""), None);
    }
}
