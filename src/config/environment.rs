//! The process environment: the only place that reads it.
#![allow(clippy::disallowed_methods, reason = "this module is where the environment is read")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::conninfo::Environment;

/// What the process was given: variables that are text, the home directory, the user's name.
#[must_use]
pub fn of_process() -> Environment {
    let variables: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let account = account(rustix::process::geteuid().as_raw());
    let variable = |name: &str| variables.get(name).filter(|value| !value.is_empty()).cloned();
    let home = variable("HOME").map(PathBuf::from).or_else(|| Some(account.as_ref()?.home.clone()));
    let user = account.map(|account| account.user);
    let user = user.or_else(|| variable("LOGNAME")).or_else(|| variable("USER"));
    Environment { variables, home, user }
}

/// Whether the process runs as root.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The name of this host.
#[must_use]
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

struct Account {
    user: String,
    home: PathBuf,
}

/// The user of that number, as `/etc/passwd` has it (its format: passwd(5)).
fn account(number: u32) -> Option<Account> {
    let text = std::fs::read_to_string("/etc/passwd").ok()?;
    let wanted = number.to_string();
    text.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        match fields.as_slice() {
            [user, _, id, _, _, home, ..] if *id == wanted => {
                Some(Account { user: (*user).to_owned(), home: PathBuf::from(home) })
            }
            _ => None,
        }
    })
}
