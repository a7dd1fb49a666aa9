//! A restore into a database: what is looked at before, the stream into `pg_restore` or the file that several
//! of its sessions share, and what is cleared away before another copy is tried.

use std::io::{ErrorKind, Write};

use anyhow::{Context as _, Result};

use super::file;
use super::reading::{Attempt, CopyFault, Reading};
use super::scope;
use super::with_state;
use crate::backup::Backup;
use crate::cli;
use crate::command::clock::now;
use crate::command::context::Context;
use crate::command::progress::Phase;
use crate::conninfo::ConnInfo;
use crate::exit::{Failure, wrap};
use crate::source::clients::Client;
use crate::source::restore::{
    Content, Existing, Ownership, Place, Restore, RestorePlan, Selection, restore_file,
};
use crate::source::server::{Facts, Server};
use crate::testpoint::{self, Step};

pub(super) struct Database<'a> {
    context: &'a Context,
    flags: &'a cli::Restore,
    backup: &'a Backup,
    /// The database to connect to.
    info: ConnInfo,
    server: Facts,
    client: Client,
    selection: Selection,
    place: Place,
    existing: Existing,
    session: String,
    is_checked: bool,
    is_begun: bool,
}

impl<'a> Database<'a> {
    /// Looks at tools, versions, roles, room, and what is there already.
    pub(super) fn prepare(
        context: &'a Context,
        flags: &'a cli::Restore,
        url: &str,
        backup: &'a Backup,
    ) -> Result<Self> {
        if url.trim().is_empty() {
            return Err(Failure::usage("`--into` needs a connection string: it is empty").into());
        }
        let info = context.connection(url)?;
        let mut server = Server::connect(&info, &context.connect_options())?;
        let facts = server.facts()?;
        let of_server = major(backup.metadata_str("server_version"));
        ensure_not_older(&facts, of_server, backup)?;
        let of_dump = major(backup.metadata_str("pg_dump_version")).or(of_server);
        let client = context.client("pg_restore", of_dump.unwrap_or(facts.major))?;
        let database = Self {
            context,
            flags,
            backup,
            info,
            server: facts,
            client,
            selection: scope::selection(flags),
            place: if flags.create { Place::New } else { Place::Connected },
            existing: if flags.clean && !flags.create { Existing::Replace } else { Existing::Keep },
            session: format!("pgkeep restore {}-{:x}", std::process::id(), now().as_microsecond()),
            is_checked: false,
            is_begun: false,
        };
        if let Some(role) = &flags.role {
            server.become_role(role)?;
        }
        if database.jobs().is_some() {
            let size_bytes = backup.metadata_u64("dump_bytes").unwrap_or_default();
            let hint = "free some, let TMPDIR name another folder, or go without --jobs";
            file::ensure_room(&file::temporary_folder(context), size_bytes, hint)?;
        }
        database.ensure_free(&mut server)?;
        Ok(database)
    }

    /// More than one session.
    fn jobs(&self) -> Option<u16> {
        self.flags.jobs.filter(|jobs| *jobs > 1)
    }

    /// Makes sure that nothing is in the way of a whole dump.
    fn ensure_free(&self, server: &mut Server) -> Result<()> {
        if self.flags.clean {
            return Ok(());
        }
        if self.place == Place::New {
            let name = &self.backup.database;
            if server.has_database(name)? {
                let what = format!("{} has a database `{name}` already", self.info.describe_place());
                let hint =
                    "give --clean too to drop it first, or name it with --into and go without --create";
                return Err(Failure::failed(what).hint(hint).into());
            }
            return Ok(());
        }
        if self.selection.is_by_name() || self.selection.content == Content::Data {
            return Ok(());
        }
        let held = server.held(&self.context.config.catalog.schema, None)?;
        if held.is_empty() {
            return Ok(());
        }
        let what = format!("{} is not empty: it has {held}", self.info.describe());
        let hint = "name an empty database, or give --clean to drop what the dump has first";
        Err(Failure::failed(what).hint(hint).into())
    }

    /// Checks what only the dump's table of contents can tell; once, for all copies have the same.
    pub(super) fn check(&mut self, dump: &mut Reading<'_>) -> Attempt<()> {
        let needs_look = self.selection.is_by_name() || self.selection.content == Content::Data;
        if self.is_checked || !needs_look {
            return Ok(());
        }
        let interrupt = self.context.interrupt.clone();
        let entries = scope::entries(&self.client, &self.selection, dump, interrupt)?;
        let mut server = self.connect()?;
        let scope = scope::Scope {
            selection: &self.selection,
            entries: &entries,
            place: self.place,
            catalog_schema: &self.context.config.catalog.schema,
        };
        scope.ensure_schemas(&mut server)?;
        if self.selection.content == Content::Data {
            scope.ensure_tables(&mut server)?;
        } else if !self.flags.clean && self.place == Place::Connected {
            scope.ensure_free(&mut server)?;
        }
        self.is_checked = true;
        Ok(())
    }

    /// What is about to be done.
    pub(super) fn describe(&self) -> String {
        let name = &self.backup.database;
        let into = match (self.place, self.flags.clean) {
            (Place::Connected, _) => format!("into {}", self.info.describe()),
            (Place::New, false) => {
                format!("into a new database `{name}`, by way of {}", self.info.describe())
            }
            (Place::New, true) => format!(
                "into the database `{name}`, dropped if it is there and made anew, by way of {}",
                self.info.describe()
            ),
        };
        let (server, client) = (&self.server.version, &self.client.version);
        let server = server.split_whitespace().next().unwrap_or_default();
        format!("{into} (PostgreSQL {server}), by pg_restore {client}{}", scope::in_words(self.flags))
    }

    /// What it holds after a restore that came to no end; none when nothing was touched.
    pub(super) fn state(&self) -> Option<String> {
        let is_all_or_nothing = self.jobs().is_none() && self.plan().is_one_transaction();
        let how = if is_all_or_nothing { "is as it was" } else { "may hold a part of it" };
        self.is_begun.then(|| format!("{} {how}", self.in_words()))
    }

    /// The database that the dump goes into.
    fn in_words(&self) -> String {
        match self.place {
            Place::New => {
                format!("the database `{}` on {}", self.backup.database, self.info.describe_place())
            }
            Place::Connected => self.info.describe(),
        }
    }

    /// Restores a dump from its first block to its last.
    pub(super) fn take(&mut self, dump: &mut Reading<'_>) -> Attempt<()> {
        let said = match self.jobs() {
            None => self.stream(dump)?,
            Some(jobs) => {
                let folder = file::temporary_folder(self.context);
                let file = file::into_nameless(&folder, dump)?;
                self.clear_away()?;
                self.is_begun = true;
                let phase = Phase::start(&self.context.out.bars, "pg_restore is at work");
                let said = restore_file(&self.plan(), jobs, file, &self.context.interrupt);
                drop(phase);
                said.map_err(|error| self.failed(error))?
            }
        };
        if !said.is_empty() {
            log::warn!("{said}");
        }
        Ok(())
    }

    fn stream(&mut self, dump: &mut Reading<'_>) -> Attempt<String> {
        self.clear_away()?;
        let mut child = Restore::start(&self.plan(), self.context.interrupt.clone())?;
        self.is_begun = true;
        testpoint::reached(Step::RestoreBegun);
        loop {
            match dump.next() {
                Ok(Some(block)) => {
                    if let Err(error) = child.write_all(&block) {
                        return self.after_it_stopped_reading(child, error, dump);
                    }
                }
                Ok(None) => break,
                Err(CopyFault::Copy(error)) => return Err(self.break_off(child, error)),
                Err(final_problem) => return Err(final_problem),
            }
        }
        let phase =
            Phase::start(&self.context.out.bars, "pg_restore has all, and makes indexes and constraints");
        let said = child.finish();
        drop(phase);
        said.map_err(|error| self.failed(error))
    }

    /// It ended before the dump did: because something went wrong, or because it had all that it wanted. Then
    /// the rest is read to its end nonetheless: no damage ends as success.
    fn after_it_stopped_reading(
        &self,
        child: Restore,
        error: std::io::Error,
        dump: &mut Reading<'_>,
    ) -> Attempt<String> {
        let said = child.finish().map_err(|error| self.failed(error))?;
        if error.kind() != ErrorKind::BrokenPipe {
            return Err(self.failed(error.into()));
        }
        loop {
            match dump.next() {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(said),
                Err(CopyFault::Copy(error)) => return Err(self.done_but(error)),
                Err(final_problem) => return Err(final_problem),
            }
        }
    }

    /// Ends `pg_restore` where the copy turns out to be bad. It is not told that the dump is complete.
    fn break_off(&self, child: Restore, error: anyhow::Error) -> CopyFault {
        if child.stop() {
            return self.done_but(error);
        }
        let may_have_ended = self.selection.is_by_name();
        if self.selection.content == Content::Data && may_have_ended && !self.context.interrupt.is_raised() {
            // What it wanted may have stood before the damage: a second time would double the rows.
            let target = self.in_words();
            let what = format!("{target} holds all of it or nothing: look, before it is tried again");
            return CopyFault::Final(wrap(error, what));
        }
        CopyFault::Copy(error)
    }

    fn done_but(&self, error: anyhow::Error) -> CopyFault {
        let what = format!("{} holds all that was asked for, but the copy is not whole", self.in_words());
        CopyFault::Final(wrap(error, what))
    }

    fn failed(&self, error: anyhow::Error) -> CopyFault {
        CopyFault::Final(with_state(error, self.state()))
    }

    /// Makes the target ready: what an attempt before left must neither stay nor double.
    fn clear_away(&mut self) -> Result<()> {
        if self.is_begun {
            // As the role that connects: another one may not be shown the names of its sessions.
            let mut server = Server::connect(&self.info, &self.context.connect_options())?;
            server
                .await_end_of(&self.session, &self.context.interrupt)
                .context("what the attempt before has begun on the server does not end")?;
            drop(server);
            if self.place == Place::New {
                self.connect()?.drop_database(&self.backup.database)?;
            } else if self.existing == Existing::Keep && self.selection.content != Content::Data {
                self.existing = Existing::Leftovers;
            }
        } else if self.place == Place::New && self.flags.clean {
            self.connect()?.drop_database(&self.backup.database)?;
        }
        Ok(())
    }

    fn connect(&self) -> Result<Server> {
        let mut server = Server::connect(&self.info, &self.context.connect_options())?;
        if let Some(role) = &self.flags.role {
            server.become_role(role)?;
        }
        Ok(server)
    }

    fn plan(&self) -> RestorePlan<'_> {
        RestorePlan {
            client: &self.client,
            target: &self.info,
            session: &self.session,
            place: self.place,
            existing: self.existing,
            ownership: if self.flags.no_owner { Ownership::Connected } else { Ownership::Original },
            selection: &self.selection,
            role: self.flags.role.as_deref(),
        }
    }
}

/// The first number of a version.
fn major(version: Option<&str>) -> Option<u32> {
    let digits: String = version?.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

fn ensure_not_older(server: &Facts, of_server: Option<u32>, backup: &Backup) -> Result<()> {
    let Some(needed) = of_server.filter(|needed| server.major < *needed) else {
        return Ok(());
    };
    let what = format!(
        "the target's server is PostgreSQL {}, older than {needed}, which `{}` was dumped from",
        server.version, backup.id
    );
    let hint =
        format!("restore into a server of PostgreSQL {needed} or newer, or write it to a file: --output");
    Err(Failure::failed(what).hint(hint).into())
}
