//! The password file (libpq's "The Password File"). It reads the one file it is given and knows nothing of
//! where that name came from.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::files;

/// No password file is larger; what is, is something else.
const FILE_LIMIT_BYTES: u64 = 4 * 1024 * 1024;

/// The entries of a password file. Passwords are zeroized on drop, and not shown.
#[derive(Clone)]
pub(super) struct PassFile {
    path: PathBuf,
    entries: Vec<Entry>,
}

#[derive(Clone)]
pub(super) struct Entry {
    /// Host, port, database and user; none stands for `*`.
    fields: [Option<String>; 4],
    password: Zeroizing<String>,
}

/// What became of a password file.
pub(super) enum Reading {
    /// It does not exist: nothing to say.
    Missing,
    /// It was left alone, for the reason given.
    Ignored(String),
    /// It was read.
    Read(PassFile),
}

impl PassFile {
    /// Reads a password file by libpq's rules: one that others can read, or that is no plain file, is left
    /// alone with a warning.
    pub(super) fn read(path: &Path) -> Reading {
        let shown = path.display();
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Reading::Missing;
            }
            Err(error) => return Reading::Ignored(format!("cannot read password file `{shown}`: {error}")),
        };
        if !metadata.is_file() {
            return Reading::Ignored(format!("password file `{shown}` is not a plain file; it is ignored"));
        }
        if metadata.permissions().mode() & 0o077 != 0 {
            return Reading::Ignored(format!(
                "password file `{shown}` can be read by its group or others; it is ignored until `chmod 0600 {shown}`"
            ));
        }
        match files::read_at_most(path, FILE_LIMIT_BYTES).map(Zeroizing::new) {
            Ok(bytes) => Reading::Read(PassFile { path: path.to_owned(), entries: entries_of(&bytes) }),
            Err(error) => Reading::Ignored(format!("cannot read password file `{shown}`: {error}")),
        }
    }

    /// The password of the first entry that fits.
    pub(super) fn password(&self, host: &str, port: &str, dbname: &str, user: &str) -> Option<&str> {
        let wanted = [host, port, dbname, user];
        self.entries
            .iter()
            .find(|entry| {
                entry
                    .fields
                    .iter()
                    .zip(wanted)
                    .all(|(field, value)| field.as_deref().is_none_or(|field| field == value))
            })
            .map(|entry| entry.password.as_str())
            .filter(|password| !password.is_empty())
    }

    /// Where it was read.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// A line that is not UTF-8 is no line for a host, database and user that are.
pub(super) fn entries_of(bytes: &[u8]) -> Vec<Entry> {
    bytes
        .split(|byte| *byte == b'\n')
        .filter_map(|line| std::str::from_utf8(line).ok())
        .filter_map(entry_of)
        .collect()
}

fn entry_of(line: &str) -> Option<Entry> {
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let mut rest = line;
    let mut fields = [const { None }; 4];
    for field in &mut fields {
        let (raw, text, tail) = take_field(rest);
        *field = (raw != "*").then_some(text);
        rest = tail?;
    }
    let (_, password, _) = take_field(rest);
    Some(Entry { fields, password: Zeroizing::new(password) })
}

/// The next field as it stands and without its backslashes, and what follows its colon.
fn take_field(text: &str) -> (&str, String, Option<&str>) {
    let mut value = String::with_capacity(text.len());
    let mut letters = text.char_indices();
    while let Some((index, letter)) = letters.next() {
        match letter {
            ':' => {
                let (raw, tail) = text.split_at(index);
                return (raw, value, tail.strip_prefix(':'));
            }
            '\\' => value.push(letters.next().map_or('\\', |(_, escaped)| escaped)),
            letter => value.push(letter),
        }
    }
    (text, value, None)
}
