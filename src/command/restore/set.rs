//! A config backup that is brought back: listed, put into a folder, its roles and tablespaces made. Its archive is read to
//! its proven end, into a file without a name, before anything is made of it.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
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
use crate::source::config_set::entries::{self, Entry, Unsound, What};
use crate::source::config_set::{self, DATABASES, GLOBALS, NOTES, Notes};

const OTHERS_WRITE: u32 = 0o022;
const STICKY: u32 = 0o1000;
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
        // A folder is made beside the archive that it is made of.
        let (size_bytes, hint) = match set.what {
            Wanted::Folder(_) => (size_bytes.saturating_mul(2), "name a folder elsewhere"),
            Wanted::List | Wanted::Globals(_) => (size_bytes, NO_ROOM),
        };
        file::ensure_room(&set.working_folder(), size_bytes, hint)?;
        Ok(set)
    }

    fn working_folder(&self) -> PathBuf {
        match &self.what {
            Wanted::Folder(folder) if folder.is_dir() => folder.to_path_buf(),
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
        let sound = |error| unsound(error, self.backup);
        // Nothing is taken from an archive that holds what pgkeep does not put in.
        let entries = entries::list(archive).map_err(sound)?;
        entries::ensure_complete(&entries).map_err(sound)?;
        let notes = notes_of(archive).map_err(sound)?;
        self.tell(&notes);
        match &mut self.what {
            Wanted::List => {
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
                let databases = entries::document(archive, DATABASES).map_err(sound)?;
                let settings = config_set::settings_of_all_roles(&databases).map_err(sound)?;
                self.shown = Some(globals.apply(&script, &settings)?);
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
    let read = serde_json::from_slice(&notes);
    read.map_err(|error| anyhow!(error).context(format!("`{NOTES}` in it is damaged")).context(Unsound))
}

/// The error for what can't be done with an archive: where the archive itself is at fault, another copy holds the same.
pub(in crate::command) fn unsound(error: anyhow::Error, backup: &Backup) -> anyhow::Error {
    if error.downcast_ref::<Unsound>().is_none() {
        return wrap(error, format!("`{}` can't be brought back", backup.id));
    }
    let what = format!("`{}` is no config backup as it should be", backup.id);
    error.context(Failure::new(Code::Verification, what))
}

/// A folder that is not there yet, or holds nothing.
fn ensure_new_folder(folder: &Path) -> Result<()> {
    let taken = |why: &str| {
        let what = format!("`{}` {why} and is left as it is", folder.display());
        let hint = "a config backup becomes a folder: name a new one, or an empty one";
        Err(Failure::failed(what).hint(hint).into())
    };
    match folder.metadata() {
        // A link that leads nowhere is there as well.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && folder.symlink_metadata().is_err() => {
            ensure_safe_parent(files::parent_of(folder))
        }
        Err(error) => bail!("`{}` can't be looked at: {error}", folder.display()),
        Ok(about) if !about.is_dir() => taken("exists already"),
        Ok(_) => match fs::read_dir(folder).map(|mut entries| entries.next().is_none()) {
            Ok(true) => ensure_nobody_elses(folder),
            Ok(false) => taken("is not empty"),
            Err(error) => bail!("`{}` can't be looked at: {error}", folder.display()),
        },
    }
}

fn ensure_safe_parent(parent: &Path) -> Result<()> {
    if !parent.is_dir() {
        let what = format!("there is no folder `{}`", parent.display());
        return Err(Failure::failed(what).hint("make it first").into());
    }
    ensure_nobody_elses(parent)
}

/// Makes sure, where root restores, that nobody else can put something in the way of what root makes there.
fn ensure_nobody_elses(folder: &Path) -> Result<()> {
    let about = folder.metadata().with_context(|| format!("`{}` can't be looked at", folder.display()))?;
    let is_shared = about.mode() & OTHERS_WRITE != 0 && about.mode() & STICKY == 0;
    if !environment::is_root() || (about.uid() == 0 && !is_shared) {
        return Ok(());
    }
    let what = format!("`{}` is not root's alone: owners and modes come back there", folder.display());
    Err(Failure::failed(what).hint("name a folder below one of root's own, such as /root").into())
}

/// Everything goes into a folder beside, or inside of one that is there, and takes its place once it is whole.
fn into_folder(archive: &mut File, folder: &Path, interrupt: &Interrupt) -> Result<()> {
    let is_there = folder.is_dir();
    let place = if is_there { folder } else { files::parent_of(folder) };
    let made = tempfile::Builder::new()
        .prefix(".pgkeep-")
        .suffix(".part")
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in(place)
        .with_context(|| format!("cannot make a folder in `{}`", place.display()))?;
    let taken = entries::extract(archive, made.path(), environment::is_root(), interrupt)?;
    let told = || format!("cannot make `{}`", folder.display());
    if is_there {
        for entry in fs::read_dir(made.path()).with_context(told)? {
            let entry = entry.with_context(told)?;
            fs::rename(entry.path(), folder.join(entry.file_name())).with_context(told)?;
        }
    } else {
        fs::rename(made.path(), folder).with_context(told)?;
        drop(made.keep());
    }
    files::sync_parent(&place.join("any"))?;
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
    let bits = bits.map(|(at, letter)| {
        let is_set = entry.mode >> (8 - at) & 1 == 1;
        // Set-user-ID, set-group-ID, sticky: in the place of the `x` of owner, group and others.
        let special = entry.mode >> (11 - at / 3) & 1 == 1;
        match (letter, special, is_set) {
            ('x', true, is_set) => {
                let letter = if at == 8 { 't' } else { 's' };
                if is_set { letter } else { letter.to_ascii_uppercase() }
            }
            (letter, _, true) => letter,
            _ => '-',
        }
    });
    std::iter::once(kind).chain(bits).collect()
}
