//! Whether an archive is one that pgkeep made: its entries, its end, and what every set holds.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};

use super::{BLOCK_BYTES, Entry, What, named, walk};
use crate::source::config_set::{DATABASES, GLOBALS, NOTES, SERVER_FILES, SETTINGS};

/// No set has more entries: so many files, and what pgkeep adds.
const MOST_ENTRIES: usize = 200_000;
/// Two blocks of zeros end an archive.
const END_BYTES: u64 = 1024;

/// That an archive is not as pgkeep makes it, whatever copy it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the archive is not as pgkeep makes it")]
pub struct Unsound;

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
