//! The entries of a config set as they are read from an archive that lies in a file: each is looked at before anything is
//! made of it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};
use tar::EntryType;

use super::{DATABASES, GLOBALS, NOTES, SERVER_FILES, SETTINGS};
use crate::interrupt::Interrupt;
use crate::key::hex;
use crate::process::Names;

/// No document that is read whole is larger.
const DOCUMENT_LIMIT_BYTES: u64 = 256 * 1024 * 1024;

/// No message shows more of a name.
const NAME_CHARACTERS: usize = 200;
const BLOCK_BYTES: usize = 64 * 1024;
/// No path is longer, its end included.
const PATH_LIMIT_BYTES: u64 = 4097;
/// Two blocks of zeros end an archive.
const END_BYTES: u64 = 1024;
const TAR_BLOCK_BYTES: u64 = 512;
/// Bits of a mode that give the rights of the owner to whoever runs the file.
const SET_ID_BITS: u32 = 0o6000;
/// No set has more entries: so many files, and what pgkeep adds.
const MOST_ENTRIES: usize = 200_000;

/// That an archive is not as pgkeep makes it, whatever copy it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the archive is not as pgkeep makes it")]
pub struct Unsound;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// A file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its path in the set, in which nothing but plain names stands.
    #[serde(serialize_with = "as_text")]
    pub path: PathBuf,
    /// What it is.
    pub what: What,
    /// The bytes of a file.
    pub size_bytes: u64,
    /// Its permissions.
    pub mode: u32,
    /// The number of the user whose it was.
    pub uid: u32,
    /// The number of its group.
    pub gid: u32,
    /// The name of the user, where its host had one.
    pub user: Option<String>,
    /// The name of the group.
    pub group: Option<String>,
    /// When it was last changed, in seconds since 1970.
    pub modified_at: u64,
    /// Where a link leads.
    #[serde(serialize_with = "as_text_if_any")]
    pub target: Option<PathBuf>,
}

/// A name may be any bytes, and JSON has text alone.
fn as_text<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

#[allow(clippy::ref_option, reason = "serde hands it over so")]
fn as_text_if_any<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    path.as_ref().map(|path| path.to_string_lossy()).serialize(serializer)
}

/// Every entry of an archive, from its beginning on, in its order. Nothing is made of any.
///
/// # Errors
/// As [`check`].
pub fn list(archive: &mut File) -> Result<Vec<Entry>> {
    archive.rewind()?;
    check(archive)
}

/// Every entry of an archive that is read to its end, in its order.
///
/// # Errors
/// [`Unsound`] when it can't be read, does not end as an archive does, or one of the entries is none that pgkeep puts in: a
/// name that leads elsewhere, something else than a file, a folder or a link, something below what is no folder, the same
/// name twice, more of them than any set has.
pub fn check(archive: impl Read) -> Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut archive = Counted { archive, count: 0 };
    let read = walk(&mut archive, |entry, from| {
        if entries.len() >= MOST_ENTRIES {
            bail!("it holds more than {MOST_ENTRIES} entries");
        }
        io::copy(from, &mut io::sink()).with_context(|| named(&entry.path))?;
        entries.push(entry);
        Ok(())
    });
    let checked = read.and_then(|end| {
        ensure_end(&mut archive, end)?;
        ensure_names(&entries)
    });
    checked.map_err(|error| error.context(Unsound))?;
    Ok(entries)
}

/// Makes sure that it ends with two blocks of zeros, and nothing else after them.
fn ensure_end(archive: &mut Counted<impl Read>, end: u64) -> Result<()> {
    let mut block = vec![0u8; BLOCK_BYTES];
    loop {
        let count = archive.read(&mut block)?;
        let Some(read) = block.get(..count).filter(|read| !read.is_empty()) else { break };
        if read.iter().any(|byte| *byte != 0) {
            bail!("something follows its end");
        }
    }
    if archive.count < end.saturating_add(END_BYTES) {
        bail!("its end is missing");
    }
    Ok(())
}

fn ensure_names(entries: &[Entry]) -> Result<()> {
    let mut names: BTreeSet<&Path> = BTreeSet::new();
    let is_closed = |entry: &&Entry| entry.what != What::Folder;
    let closed: BTreeSet<&Path> =
        entries.iter().filter(is_closed).map(|entry| entry.path.as_path()).collect();
    for entry in entries {
        let name = named(&entry.path);
        if !names.insert(&entry.path) {
            bail!("{name} stands in it twice");
        }
        if entry.path.ancestors().skip(1).any(|above| closed.contains(above)) {
            bail!("{name} stands below what is no folder");
        }
        if entry.path.starts_with(SERVER_FILES) && entry.what != What::File {
            bail!("{name} is no file, as all of the server's are");
        }
    }
    Ok(())
}

/// Makes sure that what every set holds is there.
///
/// # Errors
/// [`Unsound`] when it is not.
pub fn ensure_complete(entries: &[Entry]) -> Result<()> {
    for name in [GLOBALS, SETTINGS, DATABASES, NOTES] {
        if !entries.iter().any(|entry| entry.path == Path::new(name) && entry.what == What::File) {
            return Err(anyhow!("there is no `{name}` in it").context(Unsound));
        }
    }
    Ok(())
}

/// A name for a message: no longer than anybody reads.
fn named(path: &Path) -> String {
    let text = path.display().to_string();
    match text.char_indices().nth(NAME_CHARACTERS) {
        Some((at, _)) => format!("`{} ...`", text.get(..at).unwrap_or_default()),
        None => format!("`{text}`"),
    }
}

/// How far an archive was read.
struct Counted<R> {
    archive: R,
    count: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.archive.read(buffer)?;
        self.count = self.count.saturating_add(count as u64);
        Ok(count)
    }
}

/// The bytes of one document.
///
/// # Errors
/// When it is not there, is too large, or the archive can't be read.
pub fn document(archive: &mut File, name: &str) -> Result<Vec<u8>> {
    let mut found = None;
    each(archive, |entry, from| {
        if entry.path == Path::new(name) && entry.what == What::File {
            if entry.size_bytes > DOCUMENT_LIMIT_BYTES {
                bail!("`{name}` has {} bytes: it is no document of pgkeep's", entry.size_bytes);
            }
            let mut bytes = Vec::new();
            from.read_to_end(&mut bytes)?;
            found = Some(bytes);
        }
        Ok(())
    })?;
    found.ok_or_else(|| anyhow!("there is no `{name}` in it").context(Unsound))
}

/// Every entry, a file with its SHA-256 in hex.
///
/// # Errors
/// When the archive can't be read.
pub fn digests(archive: &mut File) -> Result<Vec<(Entry, Option<String>)>> {
    let mut found = Vec::new();
    each(archive, |entry, from| {
        let mut digest = Sha256::new();
        let mut block = vec![0u8; BLOCK_BYTES];
        loop {
            let count = from.read(&mut block)?;
            let Some(read) = block.get(..count).filter(|read| !read.is_empty()) else { break };
            digest.update(read);
        }
        let digest = (entry.what == What::File).then(|| hex(digest.finalize().as_slice()));
        found.push((entry, digest));
        Ok(())
    })?;
    Ok(found)
}

/// Makes every entry below a folder that is new and nobody else's; owners where `with_owners` says so.
///
/// # Errors
/// When one can't be made, or is none that pgkeep puts in, and when it is interrupted.
pub fn extract(
    archive: &mut File,
    folder: &Path,
    with_owners: bool,
    interrupt: &Interrupt,
) -> Result<Vec<Entry>> {
    let entries = list(archive)?;
    each(archive, |entry, from| {
        let path = folder.join(&entry.path);
        let told = || format!("cannot make `{}`", path.display());
        if interrupt.is_raised() {
            bail!("interrupted");
        }
        match entry.what {
            What::Folder => private_folder(&path).with_context(told)?,
            What::File => {
                private_folder(path.parent().unwrap_or(folder)).with_context(told)?;
                let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
                let mut file = file.with_context(told)?;
                io::copy(from, &mut file).with_context(told)?;
                file.sync_all().with_context(told)?;
            }
            // Made last: nothing is ever written through one.
            What::Link => {}
        }
        Ok(())
    })?;
    for entry in &entries {
        let path = folder.join(&entry.path);
        if let Some(target) = &entry.target {
            private_folder(path.parent().unwrap_or(folder))?;
            symlink(target, &path).with_context(|| format!("cannot make `{}`", path.display()))?;
        }
    }
    let owners = with_owners.then(Names::of_host);
    // The deepest first: a folder that may not be written to any more is done with.
    for entry in entries.iter().rev() {
        let path = folder.join(&entry.path);
        dress(entry, &path, owners.as_ref())
            .with_context(|| format!("cannot make `{}` what it was", path.display()))?;
    }
    Ok(entries)
}

/// Owner, mode and time as they were.
fn dress(entry: &Entry, path: &Path, owners: Option<&Names>) -> Result<()> {
    if let Some(names) = owners {
        // By name where this host has that name, as tar does it.
        let uid = entry.user.as_ref().and_then(|user| names.uid(user)).unwrap_or(entry.uid);
        let gid = entry.group.as_ref().and_then(|group| names.gid(group)).unwrap_or(entry.gid);
        std::os::unix::fs::lchown(path, Some(uid), Some(gid))?;
    }
    if entry.what != What::Link {
        // Whoever is not the owner that was must not lend the rights of another one.
        let hidden = if owners.is_some() { 0 } else { SET_ID_BITS };
        fs::set_permissions(path, Permissions::from_mode(entry.mode & !hidden))?;
    }
    let at = Timespec { tv_sec: i64::try_from(entry.modified_at)?, tv_nsec: 0 };
    let times = Timestamps { last_access: at, last_modification: at };
    Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

fn private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Reads an archive from its beginning on.
fn each(archive: &mut File, work: impl FnMut(Entry, &mut dyn Read) -> Result<()>) -> Result<()> {
    archive.rewind()?;
    walk(archive, work).map(drop)
}

/// Gives where the last entry ended, in bytes. A name that does not fit a header stands before it, as GNU tar writes it
/// (its manual, "Basic Tar Format").
fn walk(archive: impl Read, mut work: impl FnMut(Entry, &mut dyn Read) -> Result<()>) -> Result<u64> {
    let mut archive = tar::Archive::new(archive);
    let (mut end, mut name, mut target) = (0, None, None);
    for entry in archive.entries().context("it is no tar archive")?.raw(true) {
        let mut entry = entry.context("it is no tar archive")?;
        let blocks = entry.size().div_ceil(TAR_BLOCK_BYTES);
        end = entry.raw_file_position().saturating_add(blocks.saturating_mul(TAR_BLOCK_BYTES));
        match entry.header().entry_type() {
            EntryType::GNULongName => name = Some(long(&mut entry)?),
            EntryType::GNULongLink => target = Some(long(&mut entry)?),
            _ => {
                let about = about(&entry, name.take(), target.take())?;
                work(about, &mut entry)?;
            }
        }
    }
    Ok(end)
}

fn long(entry: &mut impl Read) -> Result<PathBuf> {
    let mut bytes = Vec::new();
    entry.take(PATH_LIMIT_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > PATH_LIMIT_BYTES {
        bail!("a name in it is longer than any");
    }
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    bytes.truncate(end);
    Ok(PathBuf::from(OsString::from_vec(bytes)))
}

fn about(
    entry: &tar::Entry<'_, impl Read>,
    long_name: Option<PathBuf>,
    long_target: Option<PathBuf>,
) -> Result<Entry> {
    let header = entry.header();
    let path = match long_name {
        Some(name) => name,
        None => header.path().context("an entry has no name")?.into_owned(),
    };
    let path = plain(&path).with_context(|| format!("{} is no name below a folder", named(&path)))?;
    let what = match header.entry_type() {
        EntryType::Regular => What::File,
        EntryType::Directory => What::Folder,
        EntryType::Symlink => What::Link,
        other => bail!("{} is neither a file nor a folder nor a link: {other:?}", named(&path)),
    };
    let target = match long_target {
        Some(target) => Some(target),
        None => header.link_name()?.map(std::borrow::Cow::into_owned),
    };
    let target = target.filter(|_| what == What::Link);
    if what == What::Link && target.is_none() {
        bail!("the link {} leads nowhere", named(&path));
    }
    let text = |name: Result<Option<&str>, std::str::Utf8Error>| -> Result<Option<String>> {
        Ok(name?.filter(|name| !name.is_empty()).map(str::to_owned))
    };
    Ok(Entry {
        path,
        what,
        size_bytes: entry.size(),
        mode: header.mode()? & 0o7777,
        uid: u32::try_from(header.uid()?)?,
        gid: u32::try_from(header.gid()?)?,
        user: text(header.username())?,
        group: text(header.groupname())?,
        modified_at: header.mtime()?,
        target,
    })
}

/// The path, if it is made of plain names alone.
fn plain(path: &Path) -> Option<PathBuf> {
    let names: Option<PathBuf> = path
        .components()
        .map(|part| match part {
            Component::Normal(name) => Some(Path::new(name)),
            Component::CurDir | Component::ParentDir | Component::RootDir | Component::Prefix(_) => None,
        })
        .collect();
    names.filter(|path| !path.as_os_str().is_empty())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use std::io::Write;
    use std::time::SystemTime;

    fn archive(entries: &[(&str, EntryType, Option<&str>)]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        for (name, kind, target) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(0o644);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(1_700_000_000);
            header.set_size(0);
            // As somebody who means no good writes it: the library refuses such names.
            let bytes = &mut header.as_old_mut().name;
            bytes[..name.len()].copy_from_slice(name.as_bytes());
            if let Some(target) = target {
                header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
            }
            header.set_cksum();
            file.write_all(header.as_bytes()).unwrap();
        }
        file.write_all(&[0; 1024]).unwrap();
        file
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused_before_anything_is_made() {
        let file = EntryType::Regular;
        for hostile in [
            vec![("../x", file, None)],
            vec![("/etc/x", file, None)],
            vec![("files/../../x", file, None)],
            vec![("a", EntryType::Symlink, Some("/etc")), ("a/x", file, None)],
            vec![("a/x", file, None), ("a", EntryType::Symlink, Some("/etc"))],
            vec![("a", file, None), ("a/x", file, None)],
            vec![("a", EntryType::Link, Some("b"))],
            vec![("a", EntryType::Char, None)],
            vec![("a", EntryType::Fifo, None)],
            vec![("a", file, None), ("a", file, None)],
            vec![("a", EntryType::Symlink, None)],
        ] {
            let folder = tempfile::tempdir().unwrap();
            let below = folder.path().join("d");
            fs::create_dir(&below).unwrap();
            let told = extract(&mut archive(&hostile), &below, false, &Interrupt::new());
            assert!(told.is_err(), "{hostile:?}");
            assert_eq!(fs::read_dir(&below).unwrap().count(), 0, "{hostile:?}");
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "{hostile:?}");
        }
        let good = [("a/x", file, None), ("a/l", EntryType::Symlink, Some("/etc/x"))];
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(extract(&mut archive(&good), folder.path(), false, &Interrupt::new()).unwrap().len(), 2);
        assert_eq!(fs::read_link(folder.path().join("a/l")).unwrap(), Path::new("/etc/x"));
        let about = fs::symlink_metadata(folder.path().join("a/x")).unwrap();
        assert_eq!(about.permissions().mode() & 0o7777, 0o644);
        assert_eq!(
            about.modified().unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs(),
            1_700_000_000
        );
        for broken in [&b""[..], &[0; 512], &[b'x'; 1024]] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(broken).unwrap();
            let told = list(&mut file).unwrap_err();
            assert!(told.downcast_ref::<Unsound>().is_some(), "{told:?}");
        }
        let mut followed = archive(&good);
        followed.seek(io::SeekFrom::End(0)).unwrap();
        followed.write_all(b"more").unwrap();
        assert!(list(&mut followed).is_err());
        assert!(ensure_complete(&list(&mut archive(&good)).unwrap()).is_err());
    }
}
