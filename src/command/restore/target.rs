//! Where a restore goes: stdout, a file, a database. It knows what is to be looked at before, and hands the
//! dump on.

use std::fs::File;
use std::path::Path;

use anyhow::Result;

use super::database::Database;
use super::file;
use super::reading::{Attempt, Reading};
use super::set::Set;
use super::with_state;
use crate::backup::{Backup, CONFIG};
use crate::cli;
use crate::command::context::Context;
use crate::exit::Failure;

pub(super) struct Target<'a> {
    context: &'a Context,
    place: Place<'a>,
    /// What a file of it is.
    what: &'static str,
    is_announced: bool,
}

enum Place<'a> {
    Stdout,
    File(&'a Path),
    Database(Box<Database<'a>>),
    Set(Box<Set<'a>>),
    /// A file without a name, once it is whole.
    Nameless(Option<File>),
}

impl<'a> Target<'a> {
    /// The target of the flags, checked as far as that can be done before the dump is read.
    pub(super) fn prepare(context: &'a Context, flags: &'a cli::Restore, backup: &'a Backup) -> Result<Self> {
        let is_stdout = flags.output.as_deref() == Some(Path::new("-"));
        if backup.backup_type == CONFIG && !is_stdout {
            let place = Place::Set(Box::new(Set::prepare(context, flags, backup)?));
            return Ok(Self { context, place, what: "", is_announced: false });
        }
        if flags.list || flags.globals {
            let flag = if flags.list { "--list" } else { "--globals" };
            let what = format!("`{}` is a dump, and `{flag}` is for config backups", backup.id);
            let hint =
                "--type config chooses among those; pg_restore --list shows what is in a dump: --output FILE";
            return Err(Failure::usage(what).hint(hint).into());
        }
        let size_bytes = backup.metadata_u64("dump_bytes").unwrap_or_default();
        let place = match (flags.into.as_deref(), flags.output.as_deref()) {
            (Some(url), _) => Place::Database(Box::new(Database::prepare(context, flags, url, backup)?)),
            (None, Some(path)) if path != Path::new("-") => {
                file::ensure_new(path, size_bytes)?;
                Place::File(path)
            }
            (None, _) => {
                file::ensure_no_terminal()?;
                Place::Stdout
            }
        };
        let what = if backup.backup_type == CONFIG { "as a tar archive" } else { "as a pg_dump archive" };
        if backup.metadata.get("has_passwords") == Some(&serde_json::Value::Bool(false)) {
            log::warn!("`{}` holds roles without their passwords: set them anew", backup.id);
        }
        Ok(Self { context, place, what, is_announced: false })
    }

    /// A file without a name.
    pub(super) fn nameless(context: &'a Context) -> Self {
        Self { context, place: Place::Nameless(None), what: "", is_announced: true }
    }

    /// That file.
    pub(super) fn into_file(self) -> Option<File> {
        match self.place {
            Place::Nameless(file) => file,
            _ => None,
        }
    }

    pub(super) fn is_stdout(&self) -> bool {
        matches!(self.place, Place::Stdout)
    }

    /// Whether nothing is restored.
    pub(super) fn is_a_look(&self) -> bool {
        match &self.place {
            Place::Set(set) => set.is_a_look(),
            Place::Stdout | Place::Nameless(_) => true,
            Place::File(_) | Place::Database(_) => false,
        }
    }

    /// What stands in place of the backup's record in `--json`.
    pub(super) fn shown(&self) -> Option<&serde_json::Value> {
        match &self.place {
            Place::Set(set) => set.shown(),
            Place::Stdout | Place::File(_) | Place::Database(_) | Place::Nameless(_) => None,
        }
    }

    /// Checks what only the dump's table of contents can tell.
    pub(super) fn check(&mut self, dump: &mut Reading<'_>) -> Attempt<()> {
        match &mut self.place {
            Place::Database(database) => database.check(dump),
            Place::Stdout | Place::File(_) | Place::Set(_) | Place::Nameless(_) => Ok(()),
        }
    }

    /// What is about to be done, the first time it is asked for.
    pub(super) fn announce(&mut self) -> Option<String> {
        if std::mem::replace(&mut self.is_announced, true) {
            return None;
        }
        Some(match &self.place {
            Place::Stdout => format!("to stdout, {}", self.what),
            Place::File(path) => format!("into the new file `{}`, {}", path.display(), self.what),
            Place::Database(database) => database.describe(),
            Place::Set(set) => return set.describe(),
            Place::Nameless(_) => return None,
        })
    }

    /// Takes a dump from its first block to its last.
    pub(super) fn take(&mut self, dump: &mut Reading<'_>) -> Attempt<()> {
        match &mut self.place {
            Place::Stdout => file::into_stdout(&self.context.interrupt, dump),
            Place::File(path) => file::into_file(self.context, path, dump),
            Place::Database(database) => database.take(dump),
            Place::Set(set) => set.take(dump),
            Place::Nameless(taken) => {
                *taken = Some(file::into_nameless(&file::temporary_folder(self.context), dump)?);
                Ok(())
            }
        }
    }

    /// What a restore that came to no end left in it.
    pub(super) fn state(&self) -> Option<String> {
        match &self.place {
            Place::Database(database) => database.state(),
            Place::Stdout | Place::File(_) | Place::Set(_) | Place::Nameless(_) => None,
        }
    }

    /// An error with a word on what the target holds now.
    pub(super) fn wrap(&self, error: anyhow::Error) -> anyhow::Error {
        with_state(error, self.state())
    }
}
