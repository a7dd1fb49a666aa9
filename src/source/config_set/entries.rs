//! The entries of a config set as they are read from an archive that lies in a file: each is looked at before anything is
//! made of it.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};
use tar::EntryType;

use crate::key::hex;

mod extract;
mod sound;

pub use extract::extract;
pub use sound::{Unsound, check, ensure_complete};

/// No document that is read whole is larger.
const DOCUMENT_LIMIT_BYTES: u64 = 256 * 1024 * 1024;

/// No message shows more of a name.
const NAME_CHARACTERS: usize = 200;
const BLOCK_BYTES: usize = 64 * 1024;
/// No path is longer, its end included.
const PATH_LIMIT_BYTES: u64 = 4097;
const TAR_BLOCK_BYTES: u64 = 512;

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

/// A name for a message: no longer than anybody reads.
fn named(path: &Path) -> String {
    let text = path.display().to_string();
    match text.char_indices().nth(NAME_CHARACTERS) {
        Some((at, _)) => format!("`{} ...`", text.get(..at).unwrap_or_default()),
        None => format!("`{text}`"),
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
    use std::fs;
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;
    use std::time::SystemTime;

    use super::*;
    use crate::interrupt::Interrupt;

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
        followed.seek(std::io::SeekFrom::End(0)).unwrap();
        followed.write_all(b"more").unwrap();
        assert!(list(&mut followed).is_err());
        assert!(ensure_complete(&list(&mut archive(&good)).unwrap()).is_err());
    }
}
