//! A store in a directory of this host: temporary file, fsync, rename, fsync of the folder. It must
//! not know what the bytes are, nor reach outside the path it is given.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail, ensure};
use tempfile::NamedTempFile;

use crate::testpoint::{self, Step};

use self::listing::{RANDOM_CHARACTERS, TEMPORARY_SUFFIX, published_path};
use self::removing::remove_file;
use super::{Handle, Kind, Listed, Missing, Part, Removal, Stale, Stat, Store, Stored, Traffic, Upload};

mod listing;
mod removing;
mod timeout;

pub use timeout::TimeoutStore;

/// How often a folder that went away is made again.
const FOLDER_TRIES: usize = 10;

/// A store that keeps each object as a file below one directory.
///
/// Folders are made 0700 and files 0600. While an upload runs its bytes stand in
/// `.<artifact>.<random>.part` beside the place they will be published at.
#[derive(Clone, Debug)]
pub struct LocalStore {
    name: String,
    root: PathBuf,
}

impl LocalStore {
    /// A store called `name` in the directory `root`, which is made at the first write. A relative
    /// `root` counts from the working directory. Paths that are not UTF-8 can't be told to the catalog
    /// and are replaced character by character, so the configuration should refuse them.
    #[must_use]
    pub fn new(name: String, root: PathBuf) -> Self {
        let root = std::path::absolute(&root).unwrap_or(root);
        Self { name, root }
    }
}

impl Store for LocalStore {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> Kind {
        Kind::Local
    }

    fn path_of(&self, key: &str) -> String {
        self.root.join(key.trim_start_matches('/')).to_string_lossy().into_owned()
    }

    fn begin(&self, path: &str, part_size_bytes: u64) -> Result<Box<dyn Upload>> {
        let upload = LocalUpload::begin(path, part_size_bytes, Existing::Refused)?;
        if upload.target.symlink_metadata().is_ok() {
            bail!("`{path}` is there already");
        }
        Ok(Box::new(upload))
    }

    fn replace(&self, path: &str, part_size_bytes: u64) -> Result<Box<dyn Upload>> {
        Ok(Box::new(LocalUpload::begin(path, part_size_bytes, Existing::Replaced)?))
    }

    fn open(&self, path: &str) -> Result<Box<dyn Read + Send>> {
        let (file, size_bytes) = open_file(path)?;
        Ok(Box::new(WholeFile { file, path: path.to_owned(), read_bytes: 0, size_bytes }))
    }

    fn stat(&self, path: &str) -> Result<Option<Stat>> {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_file() => Ok(Some(Stat { size_bytes: metadata.len(), etag: None })),
            Ok(_) => bail!("`{path}` is not a file"),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("can't look at `{path}`")),
        }
    }

    fn put_small(&self, path: &str, bytes: &[u8]) -> Result<()> {
        let target = Path::new(path);
        let mut temporary = temporary_beside(target)?;
        temporary
            .as_file_mut()
            .write_all(bytes)
            .and_then(|()| temporary.as_file().sync_all())
            .with_context(|| format!("can't write `{path}`"))?;
        temporary
            .persist(target)
            .map_err(|error| error.error)
            .with_context(|| format!("can't write `{path}`"))?;
        sync_directory(directory_of(target)?)
    }

    fn replace_small(&self, path: &str, bytes: &[u8]) -> Result<()> {
        self.put_small(path, bytes)
    }

    fn get_small(&self, path: &str, limit_bytes: u64) -> Result<Option<Vec<u8>>> {
        let mut reader = match self.open(path) {
            Ok(reader) => reader.take(limit_bytes.saturating_add(1)),
            Err(error) if super::is_missing(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).with_context(|| format!("can't read `{path}`"))?;
        ensure!(
            bytes.len() as u64 <= limit_bytes,
            "`{path}` is larger than the {limit_bytes} bytes that are read of such an object"
        );
        Ok(Some(bytes))
    }

    fn hide(&self, path: &str) -> Result<()> {
        remove_file(Path::new(path))
    }

    fn delete_versions(&self, paths: &[&str]) -> Result<Removal> {
        for path in paths {
            removing::delete(&self.root, path)?;
            super::report_deleted(path);
        }
        Ok(Removal::Gone)
    }

    fn rollback(&self, paths: &[&str]) -> Result<Removal> {
        // A disk that breaks lets the one go and not the other: nothing is left for that.
        let outcomes: Vec<Result<()>> = paths.iter().map(|path| removing::delete(&self.root, path)).collect();
        outcomes.into_iter().collect::<Result<()>>()?;
        Ok(Removal::Gone)
    }

    fn each(
        &self,
        path_prefix: &str,
        is_wanted: &dyn Fn(&str) -> bool,
        found: &mut dyn FnMut(Listed),
    ) -> Result<()> {
        let is_object = |path: &str| is_wanted(path) && published_path(Path::new(path)).is_none();
        listing::each(&self.root, path_prefix, &is_object, found)
    }

    fn room(&self) -> Result<Option<super::Room>> {
        listing::room(&self.root).map(Some)
    }

    fn each_stale(
        &self,
        path_prefix: &str,
        is_wanted: &dyn Fn(&str) -> bool,
        found: &mut dyn FnMut(Stale),
    ) -> Result<()> {
        let Some(folder) = listing::folder_of(&self.root, path_prefix) else { return Ok(()) };
        listing::walk(&folder, path_prefix, &mut |file, path| {
            let published = published_path(file).filter(|published| published.starts_with(path_prefix));
            if let Some(published) = published.filter(|published| is_wanted(published)) {
                let begun_at = file.symlink_metadata().ok().as_ref().and_then(listing::modified_at);
                found(Stale { path: published, handle: Handle::File(path.to_owned()), begun_at });
            }
        })
    }

    fn delete_stale_upload(&self, stale: &Stale) -> Result<()> {
        match &stale.handle {
            Handle::File(file) if published_path(Path::new(file)).as_ref() == Some(&stale.path) => {
                remove_file(Path::new(file))
            }
            handle => bail!("{handle:?} is not a temporary file of `{}`", stale.path),
        }
    }
}

/// What publishing does with what is there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Existing {
    Refused,
    Replaced,
}

struct LocalUpload {
    temporary: NamedTempFile,
    target: PathBuf,
    existing: Existing,
    written_bytes: u64,
    traffic: Arc<Traffic>,
    parts: u32,
}

impl LocalUpload {
    fn begin(path: &str, part_size_bytes: u64, existing: Existing) -> Result<Self> {
        ensure!(part_size_bytes > 0, "a part must have at least one byte");
        let target = PathBuf::from(path);
        let temporary = temporary_beside(&target)?;
        Ok(Self { temporary, target, existing, written_bytes: 0, traffic: Arc::default(), parts: 0 })
    }
}

impl Upload for LocalUpload {
    fn write(&mut self, part: Arc<Part>) -> Result<()> {
        ensure!(
            self.parts.checked_add(1) == Some(part.number),
            "part {} came after part {}",
            part.number,
            self.parts
        );
        let mut part_bytes = 0_u64;
        for block in &part.blocks {
            // Not by the temporary file itself: its errors name a path that nobody knows.
            self.temporary
                .as_file_mut()
                .write_all(block)
                .with_context(|| format!("can't write `{}`", self.target.display()))?;
            part_bytes = part_bytes.saturating_add(block.len() as u64);
            self.traffic.add(block.len() as u64);
        }
        ensure!(
            part_bytes == part.size_bytes,
            "part {} has {part_bytes} bytes and was announced with {}",
            part.number,
            part.size_bytes
        );
        self.parts = part.number;
        self.written_bytes = self.written_bytes.saturating_add(part_bytes);
        Ok(())
    }

    fn traffic(&self) -> Arc<Traffic> {
        Arc::clone(&self.traffic)
    }

    fn publish(self: Box<Self>) -> Result<Stored> {
        let Self { temporary, target, existing, written_bytes, .. } = *self;
        let shown = target.display();
        let directory = directory_of(&target)?;
        let size_bytes = temporary
            .as_file()
            .metadata()
            .with_context(|| format!("can't look at the temporary file of `{shown}`"))?
            .len();
        ensure!(
            size_bytes == written_bytes,
            "`{shown}` has {size_bytes} bytes where {written_bytes} were written"
        );
        temporary.as_file().sync_all().with_context(|| format!("can't make `{shown}` durable"))?;
        testpoint::reached(Step::FileDurable);
        match existing {
            Existing::Refused => temporary.persist_noclobber(&target),
            Existing::Replaced => temporary.persist(&target),
        }
        .map_err(|error| error.error)
        .with_context(|| format!("can't publish `{shown}`"))?;
        if let Err(error) = sync_directory(directory) {
            if existing == Existing::Replaced {
                // What was there is gone already; what is whole stays.
                return Err(error);
            }
            // A failed publish promises that nothing is visible.
            return match fs::remove_file(&target) {
                Ok(()) => Err(error),
                Err(left) => Err(error.context(format!("can't take back `{shown}`: {left}"))),
            };
        }
        Ok(Stored { size_bytes, etag: None, part_size_bytes: None, locked_until: None })
    }

    fn abort(self: Box<Self>) -> Result<()> {
        let Self { temporary, target, .. } = *self;
        temporary
            .close()
            .with_context(|| format!("can't remove the temporary file of `{}`", target.display()))
    }
}

/// Reads a file and takes an early end for the error it is: a copy that was cut must never pass for
/// a whole one.
struct WholeFile {
    file: File,
    path: String,
    read_bytes: u64,
    size_bytes: u64,
}

impl Read for WholeFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self
            .file
            .read(buffer)
            .map_err(|error| io::Error::new(error.kind(), format!("`{}`: {error}", self.path)))?;
        if count == 0 && !buffer.is_empty() && self.read_bytes < self.size_bytes {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("`{}` ended after {} of {} bytes", self.path, self.read_bytes, self.size_bytes),
            ));
        }
        self.read_bytes = self.read_bytes.saturating_add(count as u64);
        Ok(count)
    }
}

fn open_file(path: &str) -> Result<(File, u64)> {
    // Looked at first: to open a pipe is to wait for whoever writes to it.
    let opened = fs::metadata(path)
        .and_then(|metadata| if metadata.is_file() { File::open(path).map(Some) } else { Ok(None) });
    let file = match opened {
        Ok(Some(file)) => file,
        Ok(None) => bail!("`{path}` is not a file"),
        Err(error) if is_absent(&error) => return Err(Missing { path: path.to_owned() }.into()),
        Err(error) => return Err(error).with_context(|| format!("can't open `{path}`")),
    };
    let metadata = file.metadata().with_context(|| format!("can't look at `{path}`"))?;
    ensure!(metadata.is_file(), "`{path}` is not a file");
    Ok((file, metadata.len()))
}

/// A name below something that is not a directory can't be there either.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn temporary_beside(target: &Path) -> Result<NamedTempFile> {
    let shown = target.display();
    ensure!(
        target.is_absolute() && !target.components().any(|piece| matches!(piece, Component::ParentDir)),
        "`{shown}` is not an absolute path without `..`"
    );
    let directory = directory_of(target)?;
    let name = target
        .file_name()
        .and_then(|name| name.to_str())
        .ok_or_else(|| anyhow!("`{shown}` names no file"))?;
    let mut made = temporary_in(directory, name);
    // A folder that became empty may be removed just now, with the last object in it.
    for _ in 0..FOLDER_TRIES {
        match &made {
            Err(error) if error.downcast_ref().is_some_and(is_absent) => made = temporary_in(directory, name),
            _ => break,
        }
    }
    made.map_err(|error| error.context(format!("can't make a file in `{}`", directory.display())))
}

fn temporary_in(directory: &Path, name: &str) -> Result<NamedTempFile> {
    ensure_directory(directory)?;
    let made = tempfile::Builder::new()
        .prefix(&format!(".{name}."))
        .suffix(TEMPORARY_SUFFIX)
        .rand_bytes(RANDOM_CHARACTERS)
        .tempfile_in(directory);
    made.map_err(|error| if is_absent(&error) { error.into() } else { without_the_path(error) })
}

/// A temporary file's name is made up anew each time, and says nothing to anybody.
fn without_the_path(error: io::Error) -> anyhow::Error {
    let told = error.to_string();
    match told.split_once(" at path ") {
        Some((what, _)) => anyhow!("{what}"),
        None => error.into(),
    }
}

fn directory_of(path: &Path) -> Result<&Path> {
    path.parent().ok_or_else(|| anyhow!("`{}` is in no folder", path.display()))
}

/// Makes a folder and those above it, and makes each new name durable in the folder that holds it.
fn ensure_directory(directory: &Path) -> Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let above = directory_of(directory)?;
    ensure_directory(above)?;
    match DirBuilder::new().mode(0o700).create(directory) {
        Ok(()) => sync_directory(above),
        // Another upload may have made it in the meantime.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => Ok(()),
        Err(error) => Err(error).with_context(|| format!("can't make the folder `{}`", directory.display())),
    }
}

fn sync_directory(directory: &Path) -> Result<()> {
    File::open(directory)
        .and_then(|handle| handle.sync_all())
        .with_context(|| format!("can't make the folder `{}` durable", directory.display()))
}
