//! What `pg_dumpall` says of a cluster beside its databases: roles, memberships, tablespaces, as SQL.

use std::ffi::OsString;
use std::io::Read;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::clients::Client;
use super::dump::child_connection;
use super::watch::Watch;
use crate::conninfo::ConnInfo;
use crate::interrupt::Interrupt;
use crate::process::{ChildReader, IdleTimer, Program};

pub mod apply;
mod everybody;
pub mod script;

/// No cluster has more to say: a hundred thousand roles take a tenth of it.
const LIMIT_BYTES: u64 = 256 * 1024 * 1024;

/// The first version that may be told an encoding.
const ENCODING_SINCE: u32 = 11;

/// How it is asked.
#[derive(Debug)]
pub struct GlobalsPlan<'a> {
    /// `pg_dumpall`.
    pub client: &'a Client,
    /// A database of the cluster.
    pub connection: &'a ConnInfo,
    /// How long it may take to connect.
    pub connect_timeout: Duration,
    /// How long it may give nothing before the server is asked whether it is still there.
    pub stall: Duration,
    /// Whether the hashes of passwords are wanted, which only some roles may read.
    pub with_passwords: bool,
}

/// The SQL that makes them again.
///
/// # Errors
/// When it can't be run, or exits with anything but 0.
pub fn globals(plan: &GlobalsPlan<'_>, interrupt: &Interrupt) -> Result<Vec<u8>> {
    let mut arguments: Vec<OsString> = ["--globals-only", "--no-password"].map(OsString::from).to_vec();
    if plan.client.major >= ENCODING_SINCE {
        arguments.push("--encoding=UTF8".into());
    }
    if !plan.with_passwords {
        arguments.push("--no-role-passwords".into());
    }
    let connection = child_connection(plan.connection, plan.connect_timeout, plan.client.major)?;
    // The first names a server, the second the database to ask.
    arguments.push(format!("--dbname={}", connection.to_keyword_string()).into());
    arguments.push(format!("--database={}", plan.connection.dbname()).into());
    let mut environment = plan.connection.child_environment();
    // What stands in it means the same wherever it is read.
    for (name, value) in [("LC_ALL", "C"), ("PGDATESTYLE", "ISO"), ("PGTZ", "UTC")] {
        environment.retain(|(known, _)| known != name);
        environment.push((name.to_owned(), value.to_owned()));
    }
    let program = Program { path: plan.client.path.clone(), arguments, environment };
    let mut watch = Watch::of(plan.connection, plan.connect_timeout, interrupt.clone());
    let idle_timer = IdleTimer { after: plan.stall, ask: Box::new(move |times| watch.ask(times)) };
    let child = ChildReader::start(&program, interrupt.clone())?.when_idle(idle_timer);
    let mut said = Vec::new();
    child.take(LIMIT_BYTES).read_to_end(&mut said).context("roles and tablespaces can't be read")?;
    if said.len() as u64 == LIMIT_BYTES {
        bail!("pg_dumpall wrote more than {LIMIT_BYTES} bytes of roles and tablespaces");
    }
    if said.is_empty() {
        bail!("pg_dumpall wrote nothing");
    }
    Ok(said)
}
