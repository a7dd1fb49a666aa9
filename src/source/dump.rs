//! `pg_dump`: the child whose stdout is the only copy of the dump. Its end of file means that it exited
//! with 0 and wrote a dump.

use std::ffi::OsString;
use std::io::{self, Read};
use std::time::Duration;

use anyhow::Result;

use super::clients::Client;
use super::watch::Watch;
use crate::conninfo::ConnInfo;
use crate::exit::Failure;
use crate::interrupt::Interrupt;
use crate::process::{ChildReader, IdleTimer, Program};

/// What each archive of `pg_dump -Fc` starts with.
const MAGIC: &[u8; 5] = b"PGDMP";

/// What is to be dumped, and how.
#[derive(Debug)]
pub struct DumpPlan<'a> {
    /// The program.
    pub client: &'a Client,
    /// The database.
    pub connection: &'a ConnInfo,
    /// How long it waits for a table's lock.
    pub lock_wait_timeout: Duration,
    /// How long it may take to connect.
    pub connect_timeout: Duration,
    /// How long it may give nothing before the server is asked whether it is still there; one that does not
    /// answer several times in a row ends the dump.
    pub stall: Duration,
    /// A schema to leave out: the catalog's, where it stands in this database.
    pub without_schema: Option<&'a str>,
    /// The snapshot that it is taken on, where another session shares its own.
    pub snapshot: Option<&'a str>,
}

/// A running `pg_dump`.
pub struct Dump {
    child: ChildReader,
    start: Vec<u8>,
}

impl Dump {
    /// Starts `pg_dump -Fc -Z0`.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(plan: &DumpPlan<'_>, interrupt: Interrupt) -> Result<Self> {
        let mut arguments: Vec<OsString> =
            ["-Fc", "-Z0", "--blobs", "--no-password"].map(OsString::from).to_vec();
        arguments.push(format!("--lock-wait-timeout={}", plan.lock_wait_timeout.as_millis()).into());
        if let Some(schema) = plan.without_schema {
            // A pattern: quoted, so that no letter of the name means anything else.
            let quoted = schema.replace('"', "\"\"");
            arguments.push(format!("--exclude-schema=\"{quoted}\"").into());
        }
        if let Some(snapshot) = plan.snapshot {
            arguments.push(format!("--snapshot={snapshot}").into());
        }
        arguments.push(
            format!(
                "--dbname={}",
                child_connection(plan.connection, plan.connect_timeout, plan.client.major)?
                    .to_keyword_string()
            )
            .into(),
        );
        let mut environment = plan.connection.child_environment();
        // Messages are read for what they mean; they must not depend on the caller's language.
        environment.push(("LC_ALL".to_owned(), "C".to_owned()));
        let program = Program { path: plan.client.path.clone(), arguments, environment };
        let mut watch = Watch::of(plan.connection, plan.connect_timeout, interrupt.clone());
        let idle_timer = IdleTimer { after: plan.stall, ask: Box::new(move |times| watch.ask(times)) };
        let child = ChildReader::start(&program, interrupt)?.when_idle(idle_timer);
        Ok(Self { child, start: Vec::new() })
    }

    /// What `pg_dump` said on stderr although it exited with 0.
    #[must_use]
    pub fn warnings(&self) -> &str {
        self.child.warnings()
    }
}

/// How a client program of a major version is told to connect.
pub(super) fn child_connection(
    connection: &ConnInfo,
    connect_timeout: Duration,
    major: u32,
) -> Result<ConnInfo> {
    let mut wanted = vec![
        ("application_name", "pgkeep".to_owned()),
        ("connect_timeout", connect_timeout.as_secs().max(2).to_string()),
        ("keepalives", "1".to_owned()),
        ("keepalives_idle", "60".to_owned()),
        ("keepalives_interval", "10".to_owned()),
        ("keepalives_count", "6".to_owned()),
    ];
    if major >= 12 {
        // Keepalives are not sent while a question is on its way into nowhere.
        wanted.push(("tcp_user_timeout", "60000".to_owned()));
    }
    let mut info = connection.clone();
    for (keyword, value) in wanted {
        if info.get(keyword).is_none() {
            info = info.with(keyword, &value)?;
        }
    }
    Ok(info)
}

impl Read for Dump {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.child.read(buffer)?;
        if self.start.len() < MAGIC.len() && !buffer.is_empty() {
            let wanted = MAGIC.len() - self.start.len();
            self.start.extend(buffer.iter().take(count.min(wanted)));
            let so_far = MAGIC.get(..self.start.len()).unwrap_or_default();
            if self.start != so_far || count == 0 {
                let wrote = if count == 0 { "wrote nothing" } else { "wrote something else" };
                let message = format!("pg_dump {wrote} where an archive was expected");
                return Err(io::Error::other(Failure::failed(message)));
            }
        }
        Ok(count)
    }
}
