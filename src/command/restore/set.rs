//! A config backup that is brought back: listed, put into a folder, its roles and tablespaces made. Its archive is read to
//! its proven end, into a file without a name, before anything is made of it.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use jiff::Timestamp;
use serde_json::json;

use super::file;
use super::globals::Globals;
use super::reading::{Attempt, Reading};
use crate::backup::Backup;
use crate::cli;
use crate::command::context::Context;
use crate::command::output::printable;
use crate::config::environment;
use crate::exit::{Code, Failure, wrap};
use crate::files;
use crate::interrupt::Interrupt;
use crate::source::config_set::entries::{self, Entry, What};
use crate::source::config_set::{GLOBALS, NOTES, Notes};

pub(super) const NO_ROOM: &str = "free some, or let TMPDIR name another folder";

/// What is made of a config backup.
pub(super) struct Set<'a> {
    context: &'a Context,
    backup: &'a Backup,
    what: Wanted<'a>,
    /// What was found in it.
    shown: Option<serde_json::Value>,
}

enum Wanted<'a> {
    /// Its contents are shown.
    List,
    /// They become this folder, which is new or empty.
    Folder(&'a Path),
    /// Its roles and tablespaces are made.
    Globals(Box<Globals<'a>>),
}

impl<'a> Set<'a> {
    /// What the flags mean, looked at as far as that can be done before the archive is read.
    pub(super) fn prepare(context: &'a Context, flags: &'a cli::Restore, backup: &'a Backup) -> Result<Self> {
        let what = match (flags.into.as_deref(), flags.output.as_deref()) {
            (Some(_), _) if !flags.globals => {
                let what = format!("`{}` is no dump: nothing of it goes into a database", backup.id);
                let hint = "--globals makes its roles and tablespaces; --output DIR gives all that is in it";
                return Err(Failure::usage(what).hint(hint).into());
            }
            (Some(url), _) => Wanted::Globals(Box::new(Globals::prepare(context, url, flags.dry_run)?)),
            (None, Some(folder)) => {
                ensure_new_folder(folder)?;
                Wanted::Folder(folder)
            }
            (None, None) => Wanted::List,
        };
        let set = Self { context, backup, what, shown: None };
        let size_bytes = backup.metadata_u64("dump_bytes").unwrap_or_default();
        let hint = if matches!(set.what, Wanted::Folder(_)) { "name a folder elsewhere" } else { NO_ROOM };
        file::ensure_room(&set.working_folder(), size_bytes, hint)?;
        Ok(set)
    }

    fn working_folder(&self) -> PathBuf {
        match &self.what {
            Wanted::Folder(folder) => files::parent_of(folder).to_path_buf(),
            Wanted::List | Wanted::Globals(_) => file::temporary_folder(self.context),
        }
    }

    /// Whether it changes nothing.
    pub(super) fn is_a_look(&self) -> bool {
        match &self.what {
            Wanted::List => true,
            Wanted::Folder(_) => false,
            Wanted::Globals(globals) => globals.is_dry_run(),
        }
    }

    /// What was found, for `--json`.
    pub(super) fn shown(&self) -> Option<&serde_json::Value> {
        self.shown.as_ref()
    }

    /// What is about to be done, where anything is to be changed.
    pub(super) fn describe(&self) -> Option<String> {
        match &self.what {
            Wanted::Folder(folder) => Some(format!("into the new folder `{}`", folder.display())),
            Wanted::Globals(globals) if !globals.is_dry_run() => Some(globals.describe()),
            Wanted::List | Wanted::Globals(_) => None,
        }
    }

    /// Takes the archive from its first block to its last, and then does what is to be done.
    pub(super) fn take(&mut self, dump: &mut Reading<'_>) -> Attempt<()> {
        let mut archive = file::into_nameless(&self.working_folder(), dump)?;
        if self.context.interrupt.is_raised() {
            return Err(anyhow!(Failure::failed("interrupted")).into());
        }
        Ok(self.use_archive(&mut archive)?)
    }

    fn use_archive(&mut self, archive: &mut File) -> Result<()> {
        let sound = |error| wrap_hostile(error, self.backup);
        let notes = notes_of(archive).map_err(sound)?;
        self.tell(&notes);
        match &mut self.what {
            Wanted::List => {
                let entries = entries::list(archive).map_err(sound)?;
                self.context.out.line(&table(&entries))?;
                self.shown = Some(json!({ "id": self.backup.id, "notes": notes, "entries": entries }));
                Ok(())
            }
            Wanted::Folder(folder) => into_folder(archive, folder, &self.context.interrupt).map_err(sound),
            Wanted::Globals(globals) => {
                let script = entries::document(archive, GLOBALS).map_err(sound)?;
                let script = String::from_utf8(script).map_err(|_| {
                    let hint = "--output DIR gives it to psql, which speaks any encoding";
                    Failure::failed(format!("`{GLOBALS}` is not in UTF-8")).hint(hint)
                })?;
                self.shown = Some(globals.apply(&script)?);
                Ok(())
            }
        }
    }

    /// Says what is not in it.
    fn tell(&self, notes: &Notes) {
        if !notes.has_passwords {
            log::warn!(
                "`{}` holds roles without their passwords: set them anew, for none can log in with one",
                self.backup.id
            );
        }
        for missing in &notes.missing {
            log::warn!("not in it: {missing}");
        }
        for unread in &notes.unread {
            log::warn!("not in it, for neither the server nor its host let it be read: {unread}");
        }
        for key in &notes.keys {
            self.context.out.say(&format!("a key is not in it, as always: {key}"));
        }
        for changed in &notes.changed {
            log::warn!("changed while it was read: {changed}");
        }
    }
}

fn notes_of(archive: &mut File) -> Result<Notes> {
    let notes = entries::document(archive, NOTES)?;
    serde_json::from_slice(&notes).with_context(|| format!("`{NOTES}` in it is damaged"))
}

/// Whatever is wrong with what the archive holds, another copy holds the same.
fn wrap_hostile(error: anyhow::Error, backup: &Backup) -> anyhow::Error {
    if error.chain().any(<dyn std::error::Error>::is::<std::io::Error>) {
        return wrap(error, format!("`{}` can't be brought back", backup.id));
    }
    error.context(Failure::new(
        Code::Verification,
        format!("`{}` is no config backup as it should be", backup.id),
    ))
}

/// A folder that is not there yet, or holds nothing.
fn ensure_new_folder(folder: &Path) -> Result<()> {
    let taken = |why: &str| {
        let what = format!("`{}` {why} and is left as it is", folder.display());
        Err(Failure::failed(what)
            .hint("a config backup becomes a folder: name a new one, or an empty one")
            .into())
    };
    match folder.symlink_metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let parent = files::parent_of(folder);
            if parent.is_dir() {
                return Ok(());
            }
            let what = format!("there is no folder `{}`", parent.display());
            Err(Failure::failed(what).hint("make it first").into())
        }
        Err(error) => bail!("`{}` can't be looked at: {error}", folder.display()),
        Ok(about) if !about.is_dir() => taken("exists already"),
        Ok(_) => match fs::read_dir(folder).map(|mut entries| entries.next().is_none()) {
            Ok(true) => Ok(()),
            Ok(false) => taken("is not empty"),
            Err(error) => bail!("`{}` can't be looked at: {error}", folder.display()),
        },
    }
}

/// Everything goes into a folder beside, which takes the name once it is whole.
fn into_folder(archive: &mut File, folder: &Path, interrupt: &Interrupt) -> Result<()> {
    let parent = files::parent_of(folder);
    let made = tempfile::Builder::new()
        .prefix(".pgkeep-")
        .suffix(".part")
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in(parent)
        .with_context(|| format!("cannot make a folder in `{}`", parent.display()))?;
    let taken = entries::extract(archive, made.path(), environment::is_root(), interrupt)?;
    fs::rename(made.path(), folder).with_context(|| format!("cannot make `{}`", folder.display()))?;
    drop(made.keep());
    files::sync_parent(folder)?;
    log::info!("{} files, folders and links", taken.len());
    Ok(())
}

fn table(entries: &[Entry]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["MODE", "OWNER", "SIZE", "CHANGED (UTC)", "NAME"]);
    for entry in entries {
        let owner = |name: &Option<String>, number: u32| name.clone().unwrap_or_else(|| number.to_string());
        let owners = format!("{}/{}", owner(&entry.user, entry.uid), owner(&entry.group, entry.gid));
        let at = i64::try_from(entry.modified_at).ok().and_then(|at| Timestamp::from_second(at).ok());
        let at = at.map_or_else(|| "-".to_owned(), |at| at.strftime("%Y-%m-%d %H:%M").to_string());
        let name = entry.path.display().to_string();
        let name = match &entry.target {
            Some(target) => format!("{name} -> {}", target.display()),
            None => name,
        };
        table.add_row([
            Cell::new(mode(entry)),
            Cell::new(printable(&owners)),
            Cell::new(entry.size_bytes).set_alignment(CellAlignment::Right),
            Cell::new(at),
            Cell::new(printable(&name).replace('\n', "\\n")),
        ]);
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.iter().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

/// As `ls -l` shows it.
fn mode(entry: &Entry) -> String {
    let kind = match entry.what {
        What::File => '-',
        What::Folder => 'd',
        What::Link => 'l',
    };
    let bits = ['r', 'w', 'x'].into_iter().cycle().take(9).enumerate();
    let bits = bits.map(|(at, letter)| if entry.mode >> (8 - at) & 1 == 1 { letter } else { '-' });
    std::iter::once(kind).chain(bits).collect()
}
