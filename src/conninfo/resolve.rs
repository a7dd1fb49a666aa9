//! What libpq fills in where connection parameters are left open. It reads service and password files, but
//! the environment only as it is handed in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::error::ConnInfoError;
use super::passfile::{PassFile, Reading};
use super::{ConnInfo, keyword, service, target};

/// Debian's place for `pg_service.conf`, where PGSYSCONFDIR names no other.
const SYSTEM_CONFIGURATION_DIRECTORY: &str = "/etc/postgresql-common";

/// What libpq would take from the process it runs in.
///
/// It may hold PGPASSWORD, so it has no `Debug`.
#[derive(Clone, Default)]
pub struct Environment {
    /// The environment variables.
    pub variables: BTreeMap<String, String>,
    /// The home directory, for `~/.pgpass`, `~/.pg_service.conf` and `~/.postgresql`.
    pub home: Option<PathBuf>,
    /// The name of the operating system user, the default for `user`.
    pub user: Option<String>,
}

impl Environment {
    fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }
}

/// Fills in what `info` leaves open.
pub(super) fn resolve(mut info: ConnInfo, environment: &Environment) -> Result<ConnInfo, ConnInfoError> {
    apply_service(&mut info, environment)?;
    for known in keyword::all() {
        if let Some(value) = known.variable.and_then(|name| environment.variable(name)) {
            info.set_default(known.name, value);
        }
    }
    if environment.variable("PGREQUIRESSL").is_some_and(|value| value.starts_with('1')) {
        info.set_default("sslmode", "require");
    }
    if info.get("sslrootcert") == Some("system") {
        info.set_default("sslmode", "verify-full");
    }
    apply_defaults(&mut info, environment)?;
    info.targets()?;
    info.client_files = environment.home.as_ref().map(|home| home.join(".postgresql"));
    apply_pass_file(&mut info, environment);
    Ok(info)
}

fn apply_service(info: &mut ConnInfo, environment: &Environment) -> Result<(), ConnInfoError> {
    let wanted =
        info.get("service").or_else(|| environment.variable("PGSERVICE")).filter(|name| !name.is_empty());
    let Some(name) = wanted.map(str::to_owned) else {
        return Ok(());
    };
    let named_file =
        info.get("servicefile").or_else(|| environment.variable("PGSERVICEFILE")).map(PathBuf::from);
    let parameters = find_service(&name, named_file, environment)?;
    for (keyword, value) in parameters.ok_or(ConnInfoError::ServiceNotFound(name))? {
        info.set_default(keyword, &value);
    }
    Ok(())
}

/// A service of the user's own file, or, where that has none of this name, of the system's.
fn find_service(
    name: &str,
    named_file: Option<PathBuf>,
    environment: &Environment,
) -> Result<service::Service, ConnInfoError> {
    // A file that was named must be there; the one of the home directory need not.
    let own_file = named_file.or_else(|| {
        environment.home.as_ref().map(|home| home.join(".pg_service.conf")).filter(|file| file.exists())
    });
    if let Some(found) = own_file.map(|file| service::read(&file, name)).transpose()?.flatten() {
        return Ok(Some(found));
    }
    let directory = environment.variable("PGSYSCONFDIR").unwrap_or(SYSTEM_CONFIGURATION_DIRECTORY);
    let system_file = Path::new(directory).join("pg_service.conf");
    if system_file.exists() { service::read(&system_file, name) } else { Ok(None) }
}

fn apply_defaults(info: &mut ConnInfo, environment: &Environment) -> Result<(), ConnInfoError> {
    if info.get("host").is_none() && info.get("hostaddr").is_none() {
        info.set("host", target::default_socket_directory().to_owned());
    }
    if info.get("port").is_none() {
        info.set("port", target::DEFAULT_PORT.to_string());
    }
    if info.get("user").is_none() {
        let user = environment.user.as_deref().filter(|user| !user.is_empty());
        info.set("user", user.ok_or(ConnInfoError::NoUser)?.to_owned());
    }
    if info.get("dbname").is_none() {
        let user = info.user().to_owned();
        info.set("dbname", user);
    }
    // As PGDATABASE, or in a service, it is not read as one.
    if info.dbname().split_once("://").is_some_and(|(_, rest)| rest.contains('@')) {
        return Err(ConnInfoError::UriAsDatabase);
    }
    Ok(())
}

fn apply_pass_file(info: &mut ConnInfo, environment: &Environment) {
    if info.password().is_some() {
        return;
    }
    let default = || environment.home.as_ref().map(|home| home.join(".pgpass"));
    let Some(path) = info.get("passfile").map(PathBuf::from).or_else(default) else {
        return;
    };
    match PassFile::read(&path) {
        Reading::Missing => {}
        Reading::Ignored(warning) => info.warnings.push(warning),
        Reading::Read(file) => info.pass_file = Some(file),
    }
}
