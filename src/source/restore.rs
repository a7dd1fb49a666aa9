//! `pg_restore`: the child that takes a dump on its stdin.

use std::ffi::OsString;
use std::io::{self, Write};

use anyhow::Result;

use super::clients::Client;
use super::scratch::ScratchDatabase;
use crate::conninfo::ConnInfo;
use crate::interrupt::Interrupt;
use crate::process::{ChildWriter, Program};

/// What is done with what the target has already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Nothing: the target is empty.
    Keep,
    /// What the dump has is dropped first, in one transaction with what takes its place.
    Replace,
}

/// Who owns what is restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// The roles that the dump names; they must exist.
    Original,
    /// The role that connects; grants are left out too.
    Connected,
}

/// A running `pg_restore`.
pub struct Restore {
    child: ChildWriter,
}

impl Restore {
    /// Starts `pg_restore` into a database. As it does by itself it goes on after an error, so that all
    /// that can come back does, and says so by its exit code.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn into_database(
        client: &Client,
        target: &ConnInfo,
        existing: Existing,
        ownership: Ownership,
        interrupt: Interrupt,
    ) -> Result<Self> {
        let mut arguments = vec![OsString::from("--no-password")];
        if existing == Existing::Replace {
            // All or nothing: a table that could not be dropped must not get its rows twice.
            arguments.extend(["--clean", "--if-exists", "--single-transaction"].map(OsString::from));
        }
        if ownership == Ownership::Connected {
            arguments.extend(["--no-owner", "--no-privileges"].map(OsString::from));
        }
        let target_info = match target.get("application_name") {
            Some(_) => target.clone(),
            None => target.with("application_name", "pgkeep")?,
        };
        arguments.push(format!("--dbname={}", target_info.to_keyword_string()).into());
        let mut environment = target.child_environment();
        environment.push(("LC_ALL".to_owned(), "C".to_owned()));
        let program = Program { path: client.path.clone(), arguments, environment };
        Ok(Self { child: ChildWriter::start(&program, interrupt)? })
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
}

impl Write for Restore {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.child.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.child.flush()
    }
}
