//! The archive itself: GNU tar, with owner, mode and time of each entry.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{OFlags, SeekFrom, seek};
use tar::{Builder, EntryType, Header};
use zeroize::Zeroizing;

use super::files::{Found, Kind};
use super::{FILES, Notes};
use crate::key::Key;
use crate::process::Names;

const DOCUMENT_MODE: u32 = 0o600;
/// The field of a name in a header, its end included.
const MOST_NAME_BYTES: usize = 32;
/// No file that holds a key and nothing else is larger.
const KEY_LIMIT_BYTES: u64 = 4096;
const FOLDER_MODE_MASK: u32 = 0o7777;

pub(super) struct Writer<W: Write> {
    tar: Builder<W>,
    names: Names,
    /// When the documents were made, in seconds since 1970.
    made_at: u64,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(into: W, made_at: u64) -> Self {
        Self { tar: Builder::new(into), names: Names::of_host(), made_at }
    }

    /// Puts a document in.
    pub(super) fn document(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(DOCUMENT_MODE);
        header.set_mtime(self.made_at);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(bytes.len() as u64);
        self.tar.append_data(&mut header, name, bytes).with_context(|| format!("cannot keep `{name}`"))
    }

    /// Puts a file, a folder or a link in. One that can't be read is named in the notes, and is no error.
    pub(super) fn file(&mut self, found: &Found, notes: &mut Notes) -> Result<()> {
        let name = name_of(&found.path);
        let missing = |error: &dyn std::fmt::Display| format!("{}: {error}", found.path.display());
        let about = match found.path.symlink_metadata() {
            Ok(about) => about,
            Err(error) => {
                notes.missing.push(missing(&error));
                return Ok(());
            }
        };
        let mut header = Header::new_gnu();
        header.set_mode(about.mode() & FOLDER_MODE_MASK);
        header.set_uid(about.uid().into());
        header.set_gid(about.gid().into());
        // Another host has other numbers for the same names. One that is too long stays a number.
        if let Some(user) = self.names.user(about.uid()).filter(|name| name.len() < MOST_NAME_BYTES) {
            header.set_username(user)?;
        }
        if let Some(group) = self.names.group(about.gid()).filter(|name| name.len() < MOST_NAME_BYTES) {
            header.set_groupname(group)?;
        }
        header.set_mtime(u64::try_from(about.mtime()).unwrap_or_default());
        match found.kind {
            Kind::Folder => {
                header.set_entry_type(EntryType::Directory);
                header.set_size(0);
                self.tar.append_data(&mut header, name, io::empty())?;
            }
            Kind::Link => match found.path.read_link() {
                Ok(target) => {
                    header.set_entry_type(EntryType::Symlink);
                    header.set_size(0);
                    self.tar.append_link(&mut header, name, target)?;
                }
                Err(error) => notes.missing.push(missing(&error)),
            },
            Kind::File => match open(&found.path) {
                Ok(file) if is_key(&file) => notes.keys.push(found.path.display().to_string()),
                Ok(mut file) => self.bytes(&mut header, &name, &found.path, &mut file, notes)?,
                Err(why) => notes.missing.push(missing(&why)),
            },
        }
        Ok(())
    }

    /// Puts the bytes of a file in: as many as it had when it was opened.
    fn bytes(
        &mut self,
        header: &mut Header,
        name: &Path,
        path: &Path,
        file: &mut File,
        notes: &mut Notes,
    ) -> Result<()> {
        let before = file.metadata().with_context(|| format!("cannot read `{}`", path.display()))?;
        header.set_entry_type(EntryType::Regular);
        header.set_size(before.len());
        let mut exact = Exact { file, left: before.len(), end: None };
        self.tar
            .append_data(header, name, &mut exact)
            .with_context(|| format!("cannot keep `{}`", path.display()))?;
        let end = exact.end;
        let name = path.display().to_string();
        let after = file.metadata().ok();
        let stamp = |about: &std::fs::Metadata| (about.len(), about.mtime(), about.mtime_nsec(), about.ino());
        let is_same = after.as_ref().is_some_and(|after| stamp(after) == stamp(&before));
        if let Some(End::Error(error)) = end {
            notes.missing.push(format!("{name}: it can't be read to its end: {error}"));
        } else if is_same && before.len() == 0 && file.read(&mut [0; 1]).is_ok_and(|count| count > 0) {
            // What the kernel makes up as it is read has no size.
            notes.missing.push(format!("{name}: it says that it is empty, and is not"));
        } else if end.is_some() || !is_same {
            notes.changed.push(name);
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<()> {
        let mut into = self.tar.into_inner().context("cannot end the archive")?;
        Ok(into.flush()?)
    }
}

/// Where a file of this host stands in the archive.
fn name_of(path: &Path) -> PathBuf {
    Path::new(FILES).join(path.strip_prefix("/").unwrap_or(path))
}

/// Opens what is a file still, and no link; the error says why it is not kept.
fn open(path: &Path) -> Result<File, String> {
    let flags =
        i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC).bits()).unwrap_or_default();
    let file =
        OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|error| error.to_string())?;
    let about = file.metadata().map_err(|error| error.to_string())?;
    if !about.is_file() {
        return Err("it is no file any more".to_owned());
    }
    let hole = seek(&file, SeekFrom::Hole(0));
    if hole.is_ok_and(|hole| hole < about.len()) {
        return Err("a sparse file is not kept".to_owned());
    }
    seek(&file, SeekFrom::Start(0)).map_err(|error| error.to_string())?;
    Ok(file)
}

/// Whether a file holds a key, whatever it is called.
fn is_key(file: &File) -> bool {
    let mut text = Zeroizing::new(String::new());
    let read = file.take(KEY_LIMIT_BYTES).read_to_string(&mut text);
    let is_back = seek(file, SeekFrom::Start(0)).is_ok();
    read.is_ok() && is_back && text.lines().any(|line| Key::parse(line).is_ok())
}

/// As many bytes of a file as it had, whatever it has become: the archive has said how many there are.
struct Exact<'a> {
    file: &'a mut File,
    left: u64,
    /// Why zeros follow.
    end: Option<End>,
}

enum End {
    Early,
    Error(io::Error),
}

impl Read for Exact<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let Some(wanted) = buffer.get_mut(..most).filter(|wanted| !wanted.is_empty()) else { return Ok(0) };
        let got = if self.end.is_some() { Ok(0) } else { self.file.read(wanted) };
        let count = match got {
            Ok(0) => {
                self.end.get_or_insert(End::Early);
                wanted.fill(0);
                wanted.len()
            }
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            Err(error) => {
                self.end = Some(End::Error(error));
                wanted.fill(0);
                wanted.len()
            }
        };
        self.left = self.left.saturating_sub(count as u64);
        Ok(count)
    }
}
