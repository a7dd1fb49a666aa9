//! Connection parameters as libpq understands them: read from a string, filled up from service files, the
//! environment and defaults, and written out again for a child process. It opens no connection, reads no
//! process environment, and shows no password.

mod error;
mod keyword;
mod parse;
mod passfile;
mod resolve;
mod service;
mod target;
#[cfg(test)]
mod tests;
mod uri;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

pub use error::ConnInfoError;
pub use resolve::Environment;
pub use target::Target;

use passfile::PassFile;

/// How many entries the bytes of a password file have.
pub(crate) fn pass_file_entries(bytes: &[u8]) -> usize {
    passfile::entries_of(bytes).len()
}

/// How many parameters a service of the text of a service file has.
///
/// # Errors
/// As [`ConnInfo::resolve`] for that service.
pub(crate) fn service_parameters(text: &str, service: &str) -> Result<Option<usize>, ConnInfoError> {
    Ok(service::find(text, Path::new("pg_service.conf"), service)?.map(|parameters| parameters.len()))
}

/// The parameters of a connection, by libpq's keywords (its chapter "Database Connection Control Functions").
///
/// Secrets are held apart from the rest, zeroized on drop, and shown by neither `Debug` nor `Display`.
#[derive(Clone, Default)]
pub struct ConnInfo {
    values: BTreeMap<&'static str, String>,
    secrets: BTreeMap<&'static str, Zeroizing<String>>,
    pass_file: Option<PassFile>,
    client_files: Option<PathBuf>,
    warnings: Vec<String>,
}

impl ConnInfo {
    /// Reads a connection string: a URI, a `key=value` string, or the bare name of a database, told apart as
    /// libpq does.
    ///
    /// # Errors
    /// When the text is malformed or has an unknown keyword. The error repeats no part of the text that could be a password.
    pub fn parse(text: &str) -> Result<Self, ConnInfoError> {
        parse::parse(text)
    }

    /// Fills in what the parameters leave open, in libpq's order: the connection service, the environment,
    /// the defaults, and, where no password is given, the password file.
    ///
    /// # Errors
    /// When a service is not found or malformed, when the lists of hosts and ports do not fit, or when no user is known.
    pub fn resolve(self, environment: &Environment) -> Result<Self, ConnInfoError> {
        resolve::resolve(self, environment)
    }

    /// The value of a parameter; none for one that is absent, empty, or a secret.
    #[must_use]
    pub fn get(&self, keyword: &str) -> Option<&str> {
        self.values.get(keyword).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The database, once resolved never empty.
    #[must_use]
    pub fn dbname(&self) -> &str {
        self.get("dbname").unwrap_or_default()
    }

    /// The user, once resolved never empty.
    #[must_use]
    pub fn user(&self) -> &str {
        self.get("user").unwrap_or_default()
    }

    /// The host name, address or socket directory; where several are given, the first.
    #[must_use]
    pub fn host(&self) -> String {
        self.first_target().map(|target| target.name().to_owned()).unwrap_or_default()
    }

    /// The port; where several hosts are given, that of the first.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.first_target().map_or(target::DEFAULT_PORT, |target| target.port)
    }

    fn first_target(&self) -> Option<Target> {
        self.targets().ok()?.into_iter().next()
    }

    /// The places to connect to, in their order.
    ///
    /// # Errors
    /// When the lists of hosts, addresses and ports do not fit, or a port is no port.
    pub fn targets(&self) -> Result<Vec<Target>, ConnInfoError> {
        target::targets(self)
    }

    /// The password: the one given, or else what the password file says of the first host.
    #[must_use]
    pub fn password(&self) -> Option<&str> {
        self.given_password().or_else(|| self.filed_password(&self.first_target()?))
    }

    /// The password for one of several hosts; a password file may tell them apart.
    #[must_use]
    pub fn password_for(&self, target: &Target) -> Option<&str> {
        self.given_password().or_else(|| self.filed_password(target))
    }

    fn given_password(&self) -> Option<&str> {
        self.secret("password")
    }

    fn filed_password(&self, target: &Target) -> Option<&str> {
        let port = target.port.to_string();
        self.pass_file.as_ref()?.password(target.pass_file_host(), &port, self.dbname(), self.user())
    }

    /// A secret parameter other parts of the crate must not show.
    pub(crate) fn secret(&self, keyword: &str) -> Option<&str> {
        self.secrets.get(keyword).map(|value| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Whether any secret is given.
    pub(crate) fn has_secret(&self) -> bool {
        !self.secrets.is_empty()
    }

    /// The directory of the user's certificates (`~/.postgresql`), once resolved and where the home directory
    /// is known.
    pub(crate) fn client_files(&self) -> Option<&Path> {
        self.client_files.as_deref()
    }

    /// What a person should hear of: a password file that was ignored, and why.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The same connection to another database. A password file is asked anew for it.
    #[must_use]
    pub fn with_dbname(&self, dbname: &str) -> Self {
        let mut changed = self.clone();
        changed.set("dbname", dbname.to_owned());
        changed
    }

    /// The same with one parameter changed or added.
    ///
    /// # Errors
    /// When libpq has no such keyword.
    pub fn with(&self, keyword: &str, value: &str) -> Result<Self, ConnInfoError> {
        let known = keyword::find(keyword).ok_or_else(|| error::unknown(keyword, false, 1))?;
        let mut changed = self.clone();
        changed.set(known.name, value.to_owned());
        Ok(changed)
    }

    /// The same without one parameter.
    #[must_use]
    pub fn without(&self, keyword: &str) -> Self {
        let mut changed = self.clone();
        changed.values.remove(keyword);
        changed.secrets.remove(keyword);
        changed
    }

    /// The same without any secret, and without the password file.
    #[must_use]
    pub fn without_password(&self) -> Self {
        let mut changed = self.clone();
        changed.secrets.clear();
        changed.pass_file = None;
        changed
    }

    /// A `key=value` string for `pg_dump --dbname=` and its like: everything but the secrets, and but the
    /// service and the password file, which are resolved by then. What the child needs of those:
    /// [`ConnInfo::child_environment`].
    #[must_use]
    pub fn to_keyword_string(&self) -> String {
        let resolved = ["service", "servicefile", "passfile"];
        let pairs: Vec<String> = self
            .values
            .iter()
            .filter(|(keyword, _)| !resolved.contains(keyword))
            .map(|(keyword, value)| format!("{keyword}={}", parse::quote(value)))
            .collect();
        pairs.join(" ")
    }

    /// The variables that hand the password to a child process: PGPASSWORD, or, where a password file tells
    /// several hosts apart, PGPASSFILE. Nothing where there is no password.
    #[must_use]
    pub fn child_environment(&self) -> Vec<(String, String)> {
        let targets = self.targets().unwrap_or_default();
        let passwords: Vec<Option<&str>> = targets.iter().map(|target| self.password_for(target)).collect();
        let differ = passwords.windows(2).any(|pair| matches!(pair, [one, other] if one != other));
        match (&self.pass_file, self.password()) {
            (Some(file), _) if differ => {
                vec![("PGPASSFILE".to_owned(), file.path().to_string_lossy().into_owned())]
            }
            (_, Some(password)) => vec![("PGPASSWORD".to_owned(), password.to_owned())],
            _ => Vec::new(),
        }
    }

    /// The connection in words, without secrets: `shop on db.internal:5432 as backup`.
    #[must_use]
    pub fn describe(&self) -> String {
        format!("{} on {} as {}", self.dbname(), self.describe_place(), self.user())
    }

    /// The server in words: `db.internal:5432`.
    #[must_use]
    pub fn describe_place(&self) -> String {
        let places: Vec<String> =
            self.targets().unwrap_or_default().iter().map(ToString::to_string).collect();
        places.join(", ")
    }

    fn set(&mut self, keyword: &'static str, value: String) {
        if keyword::is_secret(keyword) {
            self.secrets.insert(keyword, Zeroizing::new(value));
        } else {
            self.values.insert(keyword, value);
        }
    }

    fn set_default(&mut self, keyword: &'static str, value: &str) {
        if !self.values.contains_key(keyword) && !self.secrets.contains_key(keyword) {
            self.set(keyword, value.to_owned());
        }
    }
}

impl fmt::Display for ConnInfo {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.describe())
    }
}

impl fmt::Debug for ConnInfo {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden: Vec<&str> = self.secrets.keys().copied().collect();
        formatter
            .debug_struct("ConnInfo")
            .field("values", &self.values)
            .field("hidden", &hidden)
            .field("pass_file", &self.pass_file.as_ref().map(PassFile::path))
            .finish_non_exhaustive()
    }
}
