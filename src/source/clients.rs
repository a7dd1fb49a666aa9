//! The client programs on this host: which there are, and which fits a server.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::exit::Failure;
use crate::interrupt::Interrupt;
use crate::process;

/// Where Debian and its like install the programs of each major version.
const VERSIONED_DIRS: &str = "/usr/lib/postgresql";

/// What makes the files of a new server.
pub(super) const INITDB: &str = "initdb";

/// A client program of a known version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its file.
    pub path: PathBuf,
    /// Its version, as it tells it: `15.18`.
    pub version: String,
    /// The first number of that.
    pub major: u32,
}

/// Finds `program`: the oldest that is not older than `least_major`, in `pg_bin` alone where that is
/// given, else among Debian's versioned folders and in `search_path`.
///
/// # Errors
/// When there is none, or none is new enough; says which there are.
pub fn find(
    program: &str,
    least_major: u32,
    pg_bin: Option<&Path>,
    search_path: Option<&str>,
    interrupt: &Interrupt,
) -> Result<Client> {
    let folders = match pg_bin {
        Some(folder) => vec![folder.to_path_buf()],
        None => usual_folders(search_path),
    };
    look(&folders, program, least_major, interrupt).map_err(|known| {
        let place = pg_bin.map_or_else(usual_places, |folder| format!("`{}`", folder.display()));
        Failure::failed(format!("no {program} of version {least_major} or newer in {place}: {known}"))
            .hint(format!(
                "install the client programs of PostgreSQL {least_major} (Debian: `apt install \
                 postgresql-client-{least_major}`), or name their folder in `[source] pg_bin`"
            ))
            .into()
    })
}

/// Finds the programs of a server, `postgres` and `initdb` beside it: those of `major`, else the oldest that
/// are newer. `pg_bin` is looked into first; it may hold client programs alone.
///
/// # Errors
/// When there are none, or none is new enough; says which there are, and what to install.
pub fn find_server(
    major: u32,
    pg_bin: Option<&Path>,
    search_path: Option<&str>,
    interrupt: &Interrupt,
) -> Result<Client> {
    let mut folders: Vec<PathBuf> = pg_bin.map(Path::to_path_buf).into_iter().collect();
    folders.extend(usual_folders(search_path));
    folders.retain(|folder| folder.join(INITDB).is_file());
    look(&folders, "postgres", major, interrupt).map_err(|known| {
        let mut place = pg_bin.map_or_else(String::new, |folder| format!("`{}`, ", folder.display()));
        place.push_str(&usual_places());
        let what = format!(
            "no server programs (initdb, postgres) of PostgreSQL {major} or newer in {place}: {known}"
        );
        Failure::failed(what)
            .hint(format!(
                "install them (Debian: `apt install postgresql-{major}`); a test restore starts a throwaway \
                 server of its own"
            ))
            .into()
    })
}

/// The best of `program` in the folders, or which ones there are.
fn look(
    folders: &[PathBuf],
    program: &str,
    least_major: u32,
    interrupt: &Interrupt,
) -> Result<Client, String> {
    let mut found: Vec<Client> = Vec::new();
    let mut broken = Vec::new();
    for folder in folders {
        let path = folder.join(program);
        if !path.is_file() {
            continue;
        }
        match version_of(&path, interrupt) {
            // None fits better. What PATH has may be a script of Debian's that takes longer to answer
            // than a small dump.
            Ok(client) if client.major == least_major => return Ok(client),
            Ok(client) => found.push(client),
            Err(error) => broken.push(format!("{error:#}")),
        }
    }
    found.sort_by_key(|client| client.major);
    if let Some(fitting) = found.iter().find(|client| client.major >= least_major) {
        return Ok(fitting.clone());
    }
    let known = found.iter().map(|client| format!("{} is {}", client.path.display(), client.version));
    let known: Vec<String> = known.chain(broken).collect();
    Err(if known.is_empty() { "there is none".to_owned() } else { known.join(", ") })
}

fn usual_places() -> String {
    format!("{VERSIONED_DIRS}/*/bin or PATH")
}

fn usual_folders(search_path: Option<&str>) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    if let Ok(entries) = std::fs::read_dir(VERSIONED_DIRS) {
        folders.extend(entries.filter_map(|entry| Some(entry.ok()?.path().join("bin"))));
    }
    folders.sort();
    let listed = search_path.unwrap_or_default().split(':').filter(|folder| folder.starts_with('/'));
    folders.extend(listed.map(PathBuf::from));
    folders
}

fn version_of(path: &Path, interrupt: &Interrupt) -> Result<Client> {
    let said = process::output_of(path, &["--version".to_owned()], interrupt)?;
    let said = String::from_utf8_lossy(&said).into_owned();
    let (version, major) = parse_version(&said)
        .ok_or_else(|| anyhow::anyhow!("`{}` tells no version: {}", path.display(), said.trim()))?;
    Ok(Client { path: path.to_path_buf(), version, major })
}

/// The version in `pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`, and its first number.
pub(crate) fn parse_version(said: &str) -> Option<(String, u32)> {
    let version = said.split_once("(PostgreSQL)")?.1.split_whitespace().next()?;
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    Some((version.to_owned(), digits.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_read_as_the_programs_tell_them() {
        let told = "pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n";
        assert_eq!(parse_version(told), Some(("15.18".to_owned(), 15)));
        assert_eq!(parse_version("pg_restore (PostgreSQL) 19beta1"), Some(("19beta1".to_owned(), 19)));
        assert_eq!(parse_version("pg_dump 12"), None);
    }

    #[test]
    fn a_server_that_is_not_here_is_named_with_its_package() {
        let error = find_server(9999, Some(Path::new("/nonexistent")), None, &Interrupt::new()).err();
        let text = error.as_ref().map(ToString::to_string).unwrap_or_default();
        assert!(
            text.contains("initdb") && text.contains("9999") && text.contains("`/nonexistent`"),
            "{text}"
        );
        let hint = error.as_ref().and_then(|error| error.downcast_ref::<Failure>()?.hint.as_deref());
        assert!(hint.is_some_and(|hint| hint.contains("postgresql-9999")), "{hint:?}");
    }

    #[test]
    fn none_that_fits_says_where_it_looked() {
        let error = find("pg_dump", 15, Some(Path::new("/nonexistent")), None, &Interrupt::new()).err();
        let text = error.map(|error| error.to_string()).unwrap_or_default();
        assert!(text.contains("no pg_dump of version 15") && text.contains("`/nonexistent`"), "{text}");
    }
}
