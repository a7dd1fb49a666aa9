//! Whether a session has one process of the server's to itself. Behind a pooler in transaction or statement mode it
//! has not: what it sets, and the locks it takes, stay on connections that other programs are given next. It is found
//! out before anything is set, and leaves nothing behind. It knows nothing of what the session is for.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use postgres::config::Host;
use postgres::{Client, Config, NoTls, SimpleQueryMessage};

use super::error::{ConnectErrorKind, Failure};
use super::transport::Transport;
use crate::bounded::{self, GivenUp};

/// So often two sessions are made to compete for one process.
const ROUNDS: usize = 4;
/// A server touches its socket and the lock file beside it in one go.
const ONE_GO_SECONDS: u64 = 2;

/// Ways that have been found good in this process; a pooler does not change its mode meanwhile.
static GOOD: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Makes sure that the session has a process to itself. A server that is spoken to directly costs one question:
/// poolers tell numbers of their own when a session begins. Where the number is another one (poolers in session mode,
/// and managed servers, do so too) a second session says which it is.
pub(super) fn ensure_own_process(
    client: &mut Client,
    config: &Config,
    transport: Option<&Transport>,
    time_limit: Duration,
) -> Result<(), Failure> {
    let is_direct = match transport {
        Some(transport) => match process_of(client)? {
            Some(process) => transport.process() == Some(process),
            None => false,
        },
        None => is_servers_own(config),
    };
    if is_direct {
        return Ok(());
    }
    let way = way_of(config);
    if GOOD.lock().is_ok_and(|good| good.contains(&way)) {
        return Ok(());
    }
    let mut rival = second(config, transport, time_limit / 2)?;
    let mut seen = None;
    for round in 0..ROUNDS {
        let ours = process_of(client)?;
        // At first without a transaction, which a pooler in statement mode ends the session for.
        let (back, held) = hold(rival, round > 0, time_limit / 3)?;
        rival = back;
        let held = match held {
            // The other session, which had been served, was ended, and this one goes on: it was not the server that ended.
            Err(failure) if round > 0 && failure.kind.is_transient() && process_of(client).is_ok() => {
                return Err(shared());
            }
            outcome => outcome?,
        };
        // First: where both are served by one process, the next question would wait for the other session.
        if ours.is_none() || ours == held || process_of(client)? != ours {
            return Err(shared());
        }
        if round > 0 {
            rival.batch_execute("ROLLBACK").map_err(|error| unclear(&error))?;
        }
        if seen.replace((ours, held)).is_some_and(|before| before != (ours, held)) {
            return Err(shared());
        }
    }
    if let Ok(mut good) = GOOD.lock() {
        good.insert(way);
    }
    Ok(())
}

fn shared() -> Failure {
    Failure::new(
        ConnectErrorKind::Pooled,
        "a connection pooler in transaction or statement mode answers there; settings and locks of this session would \
         stay on connections that other programs are given next"
            .to_owned(),
    )
}

/// A second session over the same way.
fn second(config: &Config, transport: Option<&Transport>, limit: Duration) -> Result<Client, Failure> {
    let (config, transport) = (config.clone(), transport.map(Transport::anew));
    let connected = bounded::within("second session", limit, move || match transport {
        Some(transport) => config.connect(transport),
        None => config.connect(NoTls),
    });
    match connected {
        Ok(Ok(client)) => Ok(client),
        Ok(Err(error)) => Err(unclear(&error)),
        Err(error) => Err(given_up(&error)),
    }
}

fn given_up(error: &GivenUp) -> Failure {
    match error {
        GivenUp::Late => Failure::new(
            ConnectErrorKind::NoSecondSession,
            "no second session, to find out whether a pooler in transaction mode answers there, within the time limit"
                .to_owned(),
        ),
        error => Failure::unreachable(error.to_string()),
    }
}

fn unclear(error: &postgres::Error) -> Failure {
    let failure = Failure::of(error);
    let cause = format!(
        "whether a pooler in transaction mode answers there could not be found out: {}",
        failure.cause
    );
    Failure { cause, ..failure }
}

/// The process of the other session; in a transaction, which keeps one for itself in every mode but that of statements.
/// A pooler may let a session in and give it no process before another one ends: it is not waited for.
fn hold(
    mut rival: Client,
    in_transaction: bool,
    limit: Duration,
) -> Result<(Client, Result<Option<i32>, Failure>), Failure> {
    let held = bounded::within("second session", limit, move || {
        let begun = if in_transaction { rival.batch_execute("BEGIN") } else { Ok(()) };
        let process = begun.map_err(|error| unclear(&error)).and_then(|()| process_of(&mut rival));
        (rival, process)
    });
    held.map_err(|error| given_up(&error))
}

fn process_of(client: &mut Client) -> Result<Option<i32>, Failure> {
    let answer =
        client.simple_query("SELECT pg_catalog.pg_backend_pid()").map_err(|error| Failure::of(&error))?;
    let number = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
        _ => None,
    });
    Ok(number)
}

/// Whether each socket is one that a server made: it keeps a lock file beside it, which poolers do not.
fn is_servers_own(config: &Config) -> bool {
    let ports = config.get_ports();
    config.get_hosts().iter().enumerate().all(|(index, host)| match host {
        Host::Unix(folder) => {
            let port = ports.get(index).or_else(|| ports.first()).copied().unwrap_or(5432);
            has_lock_file(&folder.join(format!(".s.PGSQL.{port}")))
        }
        Host::Tcp(_) => false,
    })
}

fn has_lock_file(socket: &Path) -> bool {
    let mut lock = socket.as_os_str().to_owned();
    lock.push(".lock");
    let (Ok(socket), Ok(lock)) = (socket.metadata(), PathBuf::from(lock).symlink_metadata()) else {
        return false;
    };
    // One that a crashed server left is older than the socket that a pooler put in its place.
    lock.is_file() && lock.uid() == socket.uid() && lock.mtime().abs_diff(socket.mtime()) <= ONE_GO_SECONDS
}

fn way_of(config: &Config) -> String {
    let (hosts, addresses, ports) = (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
    format!("{hosts:?} {addresses:?} {ports:?} {:?} {:?}", config.get_dbname(), config.get_user())
}
