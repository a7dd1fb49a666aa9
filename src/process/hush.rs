//! What a process keeps to itself: its memory, of which no core dump is made, and the secrets of its environment, which
//! no child is given. It knows no program.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Mutex;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// The variable that a password for libpq is in; who needs it is given it by name.
const PASSWORD: &str = "PGPASSWORD";
/// What a variable's name has in it when its value is a secret, whoever reads it.
const TELLING: [&str; 8] =
    ["PASSWORD", "PASSWD", "PASSPHRASE", "SECRET", "TOKEN", "ACCESS_KEY", "API_KEY", "CREDENTIAL"];

/// Variables that the configuration takes secrets from, and others that hold one by their names.
static WITHHELD: Mutex<(BTreeSet<String>, BTreeSet<String>)> = Mutex::new((BTreeSet::new(), BTreeSet::new()));

/// From now on no child is given the `named` variables, nor those of `all` whose names tell of a secret. A program that
/// fetches a secret is still given the latter.
pub fn withhold<'a>(named: &[String], all: impl IntoIterator<Item = &'a String>) {
    let named = named.iter().cloned().chain([PASSWORD.to_owned()]).collect();
    let telling = all.into_iter().filter(|name| {
        let name = name.to_ascii_uppercase();
        TELLING.iter().any(|word| name.contains(word))
    });
    if let Ok(mut withheld) = WITHHELD.lock() {
        *withheld = (named, telling.cloned().collect());
    }
}

/// Takes the secrets of our environment out of what a program is given; of those that only their names tell of, none
/// where it is trusted.
pub(super) fn without_secrets(command: &mut Command, is_trusted: bool) {
    let Ok(withheld) = WITHHELD.lock() else { return };
    let (named, telling) = &*withheld;
    for name in named.iter().chain(telling.iter().filter(|_| !is_trusted)) {
        command.env_remove(name);
    }
}

/// Has no core dump made of this process and its children, be it into a file or by a program that takes them; nor may
/// other processes of the same user look into this one's memory.
pub fn leave_no_core() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = setrlimit(Resource::Core, none) {
        log::debug!("core dumps stay allowed: {error}");
    }
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        log::debug!("core dumps stay allowed: {error}");
    }
}
