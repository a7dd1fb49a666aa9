//! The connection service file (libpq's "The Connection Service File"). It reads one file for one service and
//! decides nothing about the precedence of what it finds.

use std::path::Path;

use super::error::ConnInfoError;
use super::keyword;
use crate::files;

/// No service file is larger; what is, is something else.
const FILE_LIMIT_BYTES: u64 = 1024 * 1024;

/// The parameters of a service, in the order they stand in the file; none when the file has no such service.
pub(super) type Service = Option<Vec<(&'static str, String)>>;

/// Reads the first section called `service` of a service file.
///
/// # Errors
/// When the file cannot be read, or has a line that is neither a section nor a known parameter before the end of that section.
pub(super) fn read(path: &Path, service: &str) -> Result<Service, ConnInfoError> {
    let text = files::read_text_at_most(path, FILE_LIMIT_BYTES)
        .map_err(|cause| ConnInfoError::ServiceFile { path: path.to_owned(), cause })?;
    find(&text, path, service)
}

/// The first section called `service` of the text of a service file; `path` is its name in errors.
pub(super) fn find(text: &str, path: &Path, service: &str) -> Result<Service, ConnInfoError> {
    let mut found: Service = None;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[') {
            if found.is_some() {
                break;
            }
            if name.split(']').next() == Some(service) {
                found = Some(Vec::new());
            }
        } else if let Some(parameters) = &mut found {
            let failed = |what| ConnInfoError::ServiceSyntax { path: path.to_owned(), line: index + 1, what };
            parameters.push(parameter(line).map_err(failed)?);
        }
    }
    Ok(found)
}

fn parameter(line: &str) -> Result<(&'static str, String), &'static str> {
    if line.starts_with("ldap") {
        return Err("LDAP look-ups are not supported; write the parameters out");
    }
    let (name, value) = line.split_once('=').ok_or("expected `parameter=value`")?;
    match keyword::find(name) {
        Some(known) if matches!(known.name, "service" | "servicefile") => {
            Err("a service may not name another service")
        }
        Some(known) => Ok((known.name, value.to_owned())),
        None => Err("unknown connection parameter (no spaces may stand around the `=`)"),
    }
}
