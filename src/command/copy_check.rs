//! A look at one copy, as deep as a level says, and what is found: a verdict, in words, with the offset
//! where it is known. It changes nothing.

use std::io::{self, Read, Write};

use serde::Serialize;

use super::agree::{self, Unproven};
use crate::backup::{Backup, CheckLevel, Copy, CopyState};
use crate::exit::one_line;
use crate::interrupt::Interrupt;
use crate::key::KeyRing;
use crate::manifest::{LIMIT_BYTES, Manifest};
use crate::name;
use crate::pipeline::digest::Sum;
use crate::pipeline::readback::{Unopened, open_and_sum, sum_of};
use crate::process::Killed;
use crate::source::clients::Client;
use crate::source::config_set::reader::Check;
use crate::source::restore::Restore;
use crate::store::{Store, is_missing};

const OTHER_TYPE: &str = "its manifest has another value for the type than the record";

/// How a copy fared: the first promise that it did not keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    /// It keeps all that were looked at.
    Ok,
    /// The artifact or its manifest is not there.
    Missing,
    /// It has more or fewer bytes than on record.
    Size,
    /// Its bytes are not those on record.
    Checksum,
    /// A chunk's tag, the end of the seal, or the manifest's mac is not what it was.
    Sealed,
    /// What is inside the seal does not unpack, or `pg_restore` does not read it.
    Content,
    /// It does not restore to what was there.
    Restore,
    /// It could not be looked at.
    Unknown,
}

/// Which of the two objects of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Artifact,
    Manifest,
}

/// What is wrong with a copy that was looked at.
#[derive(Clone, Debug)]
pub(super) struct CheckFailure {
    pub(super) verdict: Verdict,
    pub(super) part: Part,
    pub(super) message: String,
    /// Where in the artifact it begins.
    pub(super) offset_bytes: Option<u64>,
}

impl CheckFailure {
    pub(super) fn new(verdict: Verdict, message: impl Into<String>) -> Self {
        Self { verdict, part: Part::Artifact, message: message.into(), offset_bytes: None }
    }

    pub(super) fn unknown(message: impl Into<String>) -> Self {
        Self::new(Verdict::Unknown, message)
    }

    fn at(self, offset_bytes: impl Into<Option<u64>>) -> Self {
        Self { offset_bytes: offset_bytes.into(), ..self }
    }

    fn of_manifest(self) -> Self {
        Self { part: Part::Manifest, ..self }
    }

    /// Of an error of the store.
    pub(super) fn of_error(error: &anyhow::Error) -> Self {
        let verdict = if is_missing(error) { Verdict::Missing } else { Verdict::Unknown };
        Self::new(verdict, one_line(error))
    }

    /// Whether the bytes of the copy are at fault, so that those of another copy mend it.
    pub(super) fn is_damage(&self) -> bool {
        matches!(self.verdict, Verdict::Missing | Verdict::Size | Verdict::Checksum | Verdict::Sealed)
    }

    /// Writes what was found into the copy's record.
    pub(super) fn mark(&self, copy: &mut Copy) {
        copy.state = match self.verdict {
            Verdict::Missing => CopyState::Missing,
            Verdict::Size | Verdict::Checksum | Verdict::Sealed => CopyState::Corrupt,
            // Its bytes are those on record; what they hold falls short.
            Verdict::Content | Verdict::Restore => CopyState::Stored,
            Verdict::Ok | Verdict::Unknown => copy.state,
        };
        copy.error = Some(self.message.clone());
    }
}

/// What a copy is opened with.
#[derive(Clone, Copy)]
pub(super) struct OpenWith<'a> {
    pub(super) ring: &'a KeyRing,
    /// Cores to use.
    pub(super) threads: usize,
    /// What reads what is inside to its end, or why there is nothing that does.
    pub(super) reader: &'a Result<Reader, String>,
}

/// What reads what is inside an artifact.
pub(super) enum Reader {
    /// `pg_restore` reads a dump.
    Dump(Client),
    /// We read a config set ourselves.
    Set,
}

/// How a backup's copies are looked at.
#[derive(Clone, Copy)]
pub(super) struct CopyCheck<'a> {
    pub(super) backup: &'a Backup,
    pub(super) level: CheckLevel,
    /// The keys, where there are any at hand: without them nothing is opened, and manifests are compared
    /// without being proven.
    pub(super) opening: Option<OpenWith<'a>>,
    pub(super) interrupt: &'a Interrupt,
}

impl CopyCheck<'_> {
    /// Looks at a copy and its manifest.
    pub(super) fn at(&self, store: &dyn Store, copy: &Copy) -> Result<(), CheckFailure> {
        match self.level {
            CheckLevel::Stat => return self.stat(store, copy),
            CheckLevel::Checksum | CheckLevel::Restore => self.read_back(store, &copy.path)?,
            CheckLevel::Content => self.open(store, &copy.path)?,
        }
        self.manifest(store, &copy.path).map_err(CheckFailure::of_manifest)
    }

    /// Whether artifact and manifest are there, the artifact with the size and the tag on record.
    pub(super) fn stat(&self, store: &dyn Store, copy: &Copy) -> Result<(), CheckFailure> {
        let path = &copy.path;
        let missing = |path: &str| CheckFailure::new(Verdict::Missing, format!("`{path}` is not there"));
        let found = store.stat(path).map_err(|error| CheckFailure::of_error(&error))?;
        let found = found.ok_or_else(|| missing(path))?;
        if let Some(size) = self.backup.size_bytes.filter(|size| *size != found.size_bytes) {
            let message = format!("it has {} bytes, not {size}", found.size_bytes);
            return Err(CheckFailure::new(Verdict::Size, message).at(size.min(found.size_bytes)));
        }
        let tags = copy.etag.as_ref().zip(found.etag.as_ref());
        if let Some((on_record, found)) = tags.filter(|(on_record, found)| on_record != found) {
            let message = format!("its ETag is {}, not {on_record}", found.escape_default());
            return Err(CheckFailure::new(Verdict::Checksum, message));
        }
        let path = name::manifest_path(path);
        let found = store.stat(&path).map_err(|error| CheckFailure::of_error(&error).of_manifest())?;
        found.map(drop).ok_or_else(|| missing(&path).of_manifest())
    }

    /// Reads a copy to its end and compares it with the record; one that differs is opened, where that can be
    /// done, to find where.
    pub(super) fn read_back(&self, store: &dyn Store, path: &str) -> Result<(), CheckFailure> {
        let source = self.source(store, path)?;
        let sum = sum_of(source, self.interrupt).map_err(|error| CheckFailure::of_error(&error))?;
        let Err(fault) = self.same_sum(&sum) else { return Ok(()) };
        let Some(OpenWith { ring, threads, .. }) = self.opening else { return Err(fault) };
        let source = self.source(store, path).map_err(|_| fault.clone())?;
        let nobody = &mut io::sink();
        match open_and_sum(source, ring, &self.backup.id, threads, nobody, self.interrupt) {
            Ok(opened) => Err(with_place(fault, opened.dump.err())),
            Err(_) => Err(fault),
        }
    }

    /// The bytes of a copy, and not more than one beyond what is on record: a store must not keep us for ever.
    fn source(&self, store: &dyn Store, path: &str) -> Result<Box<dyn Read + Send>, CheckFailure> {
        let source = store.open(path).map_err(|error| CheckFailure::of_error(&error))?;
        let limit = self.backup.size_bytes.map_or(u64::MAX, |size| size.saturating_add(1));
        Ok(Box::new(source.take(limit)))
    }

    /// Reads a copy to its end, opens it, and lets `pg_restore` read what is inside.
    pub(super) fn open(&self, store: &dyn Store, path: &str) -> Result<(), CheckFailure> {
        let Some(OpenWith { ring, threads, reader }) = self.opening else {
            return Err(CheckFailure::unknown("there is no key at hand to open it with"));
        };
        let child = match reader.as_ref().map_err(CheckFailure::unknown)? {
            Reader::Dump(client) => Restore::into_nothing(client, self.interrupt.clone()).map(Inside::Dump),
            Reader::Set => Check::start().map(Inside::Set),
        };
        let mut child = Tolerant::new(child.map_err(|error| CheckFailure::unknown(one_line(&error)))?);
        let source = self.source(store, path)?;
        let opened = open_and_sum(source, ring, &self.backup.id, threads, &mut child, self.interrupt)
            .map_err(|error| CheckFailure::of_error(&error))?;
        if let Err(fault) = self.same_sum(&opened.artifact) {
            return Err(with_place(fault, opened.dump.err()));
        }
        match opened.dump {
            // The bytes are those on record: what is missing is a key, not the copy.
            Err(why @ Unopened::NoKey(_)) => Err(CheckFailure::unknown(format!("it does not open: {why}"))),
            Err(Unopened::Sealed(damage)) => {
                let message = format!("it does not open: {damage}");
                Err(CheckFailure::new(Verdict::Sealed, message).at(damage.offset_bytes))
            }
            Err(why) => Err(CheckFailure::new(Verdict::Content, format!("it does not unpack: {why}"))),
            Ok(dump) if Some(dump.sha256.as_str()) != self.backup.metadata_str("dump_checksum") => {
                Err(CheckFailure::new(Verdict::Content, "the dump inside is not the one on record"))
            }
            Ok(_) => self.was_read(child),
        }
    }

    /// What came of it for who was given all that is inside.
    fn was_read(&self, child: Tolerant) -> Result<(), CheckFailure> {
        let Tolerant { child, refused } = child;
        let who = match &child {
            Inside::Dump(_) => "pg_restore",
            Inside::Set(_) => "the reader of the archive",
        };
        let ended = child.finish();
        if self.interrupt.is_raised() {
            return Err(CheckFailure::unknown("interrupted"));
        }
        match (ended, refused) {
            (Err(error), _) if Killed::is(&error) => {
                Err(CheckFailure::unknown(format!("the dump was not read to its end: {}", one_line(&error))))
            }
            (Err(error), _) => Err(CheckFailure::new(
                Verdict::Content,
                format!("the dump does not read: {}", one_line(&error)),
            )),
            (Ok(()), Some(error)) => {
                let message = format!("{who} stopped before the end of the dump: {error}");
                Err(CheckFailure::new(Verdict::Content, message))
            }
            (Ok(()), None) => Ok(()),
        }
    }

    /// Reads the manifest of a copy, proves it where a key is at hand, and compares it with the record.
    pub(super) fn manifest(&self, store: &dyn Store, path: &str) -> Result<(), CheckFailure> {
        self.read_manifest(store, path).map(drop)
    }

    /// The same; gives the manifest, and its bytes.
    pub(super) fn read_manifest(
        &self,
        store: &dyn Store,
        path: &str,
    ) -> Result<(Manifest, Vec<u8>), CheckFailure> {
        let path = name::manifest_path(path);
        let read = store.get_small(&path, LIMIT_BYTES).map_err(|error| match store.stat(&path) {
            Ok(Some(stat)) if stat.size_bytes > LIMIT_BYTES => {
                let message = format!("its manifest has {} bytes: it is none", stat.size_bytes);
                CheckFailure::new(Verdict::Size, message)
            }
            _ => CheckFailure::of_error(&error),
        })?;
        let Some(bytes) = read else {
            let message = format!("its manifest `{path}` is not there");
            return Err(CheckFailure::new(Verdict::Missing, message));
        };
        let ring = self.opening.map(|opening| opening.ring);
        let manifest = agree::open(&bytes, self.backup, ring).map_err(|why| match why {
            Unproven::Damaged(message) => CheckFailure::new(Verdict::Sealed, message),
            // A key that is not at hand is no fault of the copy.
            Unproven::NoKey(message) => CheckFailure::unknown(message),
        })?;
        let backup = self.backup;
        if manifest.id != backup.id {
            let message = format!("its manifest is that of `{}`", manifest.id);
            return Err(CheckFailure::new(Verdict::Sealed, message));
        }
        let same = Some(&manifest.checksum) == backup.checksum.as_ref()
            && Some(manifest.size_bytes) == backup.size_bytes;
        if !same {
            return Err(CheckFailure::new(Verdict::Checksum, "its manifest is that of another artifact"));
        }
        let told = manifest.record();
        let is_other_type = manifest.backup_type != backup.backup_type;
        let difference = agree::difference(&told, backup);
        if let Some(message) = difference.or_else(|| is_other_type.then(|| OTHER_TYPE.to_owned())) {
            return Err(CheckFailure::new(Verdict::Sealed, message));
        }
        Ok((manifest, bytes))
    }

    fn same_sum(&self, sum: &Sum) -> Result<(), CheckFailure> {
        let expected = self.backup.size_bytes.zip(self.backup.checksum.as_ref());
        let Some((size, sha256)) = expected else {
            return Err(CheckFailure::unknown("the record has no size and no checksum to compare it with"));
        };
        if sum.size_bytes != size {
            let message = if sum.size_bytes > size {
                format!("it has more than the {size} bytes on record")
            } else {
                format!("it has {} bytes, not {size}", sum.size_bytes)
            };
            return Err(CheckFailure::new(Verdict::Size, message).at(size.min(sum.size_bytes)));
        }
        if sum.sha256 != *sha256 {
            let message = format!("its SHA-256 is {}, not {sha256}", sum.sha256);
            return Err(CheckFailure::new(Verdict::Checksum, message));
        }
        Ok(())
    }
}

/// A copy that differs, with what opening it says of the place.
fn with_place(fault: CheckFailure, why: Option<Unopened>) -> CheckFailure {
    match why {
        Some(Unopened::Sealed(damage)) => CheckFailure {
            offset_bytes: damage.offset_bytes.or(fault.offset_bytes),
            message: format!("{}; {damage}", fault.message),
            ..fault
        },
        Some(Unopened::Packed(why)) => CheckFailure { message: format!("{}; {why}", fault.message), ..fault },
        Some(Unopened::NoKey(_)) | None => fault,
    }
}

/// Who reads what is inside.
enum Inside {
    Dump(Restore),
    Set(Check),
}

impl Inside {
    fn finish(self) -> anyhow::Result<()> {
        match self {
            Self::Dump(child) => child.finish().map(drop),
            Self::Set(check) => check.finish().map(drop),
        }
    }
}

/// Who may stop reading: what is wrong with the artifact is found all the same.
struct Tolerant {
    child: Inside,
    refused: Option<io::Error>,
}

impl Tolerant {
    fn new(child: Inside) -> Self {
        Self { child, refused: None }
    }
}

impl Write for Tolerant {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if self.refused.is_none()
            && let Err(error) = match &mut self.child {
                Inside::Dump(child) => child.write_all(buffer),
                Inside::Set(check) => check.write_all(buffer),
            }
        {
            self.refused = Some(error);
        }
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
