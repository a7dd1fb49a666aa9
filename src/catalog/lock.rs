//! Locks that nobody but those who may write to the catalog can take, or hold against them: a row says which session
//! holds one, and an advisory lock of a random number that this session is still there. An advisory lock of a number that
//! anybody can guess would be anybody's to take.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use anyhow::{Result, anyhow};
use jiff::Timestamp;
use postgres::Client;

use super::Catalog;
use super::session::Schema;
use crate::config::environment;
use crate::name::BackupId;
use crate::params;

/// How often a run says that it is alive; also keeps its idle connection open through firewalls.
const BEAT: Duration = Duration::from_secs(10);
/// A heartbeat this young is that of a run which lives.
pub(super) const FRESH: Duration = BEAT.saturating_mul(9);
/// How long the end of a run waits for a beat that is on its way.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a lock is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Runs and prunes of a database.
    Run,
    /// Copies of a backup, that somebody looks at or takes away.
    Copies,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Copies => "copies",
        }
    }
}

/// The lock of a run, or of a prune. It goes with the session that holds it, however that ends.
pub struct RunLock {
    catalog: Catalog,
    name: String,
    /// Since when, whatever connections it went with meanwhile.
    since: Timestamp,
    /// False once it went with a connection, until it is taken again.
    is_held: bool,
}

impl RunLock {
    /// Takes the lock of that name on a connection of its own; gives the connection back, and who holds it, when another
    /// one does.
    ///
    /// # Errors
    /// When the catalog can't be asked.
    pub fn take(mut catalog: Catalog, name: &str) -> Result<Result<Self, (Catalog, Holder)>> {
        Ok(match catalog.hold(Kind::Run, name, false, None)? {
            Ok(since) => Ok(Self { catalog, name: name.to_owned(), since, is_held: true }),
            Err(holder) => Err((catalog, holder)),
        })
    }

    /// Beats for a backup until the heartbeat is dropped; the lock is held as long.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn beat(mut self, id: BackupId) -> Result<Heartbeat> {
        let (stop, stopped) = channel::<()>();
        let (ended, end) = channel::<Self>();
        std::thread::Builder::new().name("heartbeat".to_owned()).spawn(move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(BEAT) {
                if let Err(error) = self.beat_once(&id) {
                    log::info!("no heartbeat for `{id}`: {error:#}");
                }
            }
            // Nobody waits any more when a dead network held the last beat up.
            drop(ended.send(self));
        })?;
        Ok(Heartbeat { stop, end })
    }

    fn beat_once(&mut self, id: &BackupId) -> Result<()> {
        if let Err(error) = self.catalog.beat(id) {
            log::info!("`{id}` has lost its connection to the catalog, and its lock with it: {error:#}");
            self.is_held = false;
            self.catalog.revive()?;
        }
        if !self.is_held {
            // The server may not have noticed yet that the old session is gone: the next beat tries again.
            self.is_held = self.catalog.hold(Kind::Run, &self.name, false, Some(self.since))?.is_ok();
        }
        self.catalog.beat(id)
    }
}

/// Who holds a lock, by what it has said of itself and what the catalog's server says of its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The server's process.
    pub server_pid: i32,
    /// The host that it runs on.
    pub host: String,
    /// Its process there.
    pub process: i64,
    /// Since when it holds the lock.
    pub since: Timestamp,
}

impl Catalog {
    /// Has this session hold a lock until it lets go or ends, and gives since when; gives who holds it instead, if somebody
    /// else does. Several may share one. `since` is for one that is held anew.
    ///
    /// # Errors
    /// When the catalog can't be asked.
    pub(super) fn hold(
        &mut self,
        kind: Kind,
        name: &str,
        is_shared: bool,
        since: Option<Timestamp>,
    ) -> Result<Result<Timestamp, Holder>> {
        let mut bytes = [0u8; 8];
        orion::util::secure_rand_bytes(&mut bytes)
            .map_err(|_| anyhow!("the operating system gave no random bytes"))?;
        let wanted = Wanted { key: i64::from_le_bytes(bytes), kind, name: name.to_owned(), is_shared, since };
        self.client.ask(move |client, schema| hold(client, schema, &wanted))
    }

    /// Lets this session's locks of that name go.
    ///
    /// # Errors
    /// When the catalog can't be asked.
    pub(super) fn let_go(&mut self, kind: Kind, name: &str) -> Result<()> {
        self.client.query(LET_GO, params![kind.as_str(), name]).map(drop)
    }
}

/// A lock that somebody wants to hold.
struct Wanted {
    key: i64,
    kind: Kind,
    name: String,
    is_shared: bool,
    since: Option<Timestamp>,
}

/// In two steps, one caller after the other: the second one sees what whoever came before has done.
fn hold(client: &mut Client, schema: &Schema, wanted: &Wanted) -> Result<Result<Timestamp, Holder>> {
    let Wanted { key, kind, name, is_shared, since } = wanted;
    let (kind, host, process) = (kind.as_str(), environment::host_name(), i64::from(std::process::id()));
    let mut transaction = client.transaction()?;
    transaction.batch_execute(SHORT)?;
    transaction.query_one(&schema.sql(TURN), &[&kind])?;
    let hold = schema.sql(&HOLD.replace("{alive}", ALIVE));
    let row = transaction.query_one(&hold, &[&kind, name, is_shared, key, &host, &process, since])?;
    let held = match row.try_get::<_, Option<i32>>("pid")? {
        Some(server_pid) => Err(Holder {
            server_pid,
            host: row.try_get("host")?,
            process: row.try_get("process")?,
            since: row.try_get("since")?,
        }),
        None => match row.try_get("held_since")? {
            Some(since) => Ok(since),
            None => return Err(anyhow!("the catalog's server gives no lock")),
        },
    };
    transaction.commit()?;
    Ok(held)
}

/// A client that is frozen in such a transaction keeps the others waiting no longer.
pub(super) const SHORT: &str = "SET LOCAL idle_in_transaction_session_timeout TO '15s'";

/// One caller after the other.
pub(super) const TURN: &str = "SELECT kind FROM {schema}.lock WHERE kind = $1 FOR UPDATE";

/// Whether the session of a row `h` of holders is there, and holds its number: any role may wait for the number of
/// another, and be given it when that one has gone.
pub(super) const ALIVE: &str = "\
EXISTS (
    SELECT FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.pid = h.pid AND a.usesysid = h.role
        AND (l.classid::bigint << 32) | l.objid::bigint = h.key
        AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()))";

const HOLD: &str = "\
WITH other AS (
    SELECT pid, host, process, since FROM {schema}.lock_holder h
    WHERE kind = $1 AND name = $2 AND NOT (is_shared AND $3) AND pid <> pg_catalog.pg_backend_pid() AND {alive}
    ORDER BY since LIMIT 1
), gone AS (
    DELETE FROM {schema}.lock_holder h WHERE kind = $1 AND NOT {alive}
), taken AS (
    INSERT INTO {schema}.lock_holder (key, kind, name, is_shared, pid, role, host, process, since)
    SELECT $4, $1, $2, $3, pg_catalog.pg_backend_pid(), r.oid, $5, $6, coalesce($7, pg_catalog.now())
    FROM pg_catalog.pg_roles r
    WHERE r.rolname = session_user
        AND CASE WHEN EXISTS (SELECT FROM other) THEN false ELSE pg_catalog.pg_try_advisory_lock($4) END
    RETURNING since
)
SELECT other.*, (SELECT since FROM taken) AS held_since
FROM (VALUES (1)) one LEFT JOIN other ON true";

const LET_GO: &str = "\
DELETE FROM {schema}.lock_holder
WHERE kind = $1 AND name = $2 AND pid = pg_catalog.pg_backend_pid()
RETURNING pg_catalog.pg_advisory_unlock(key)";

/// A run that says it is alive, and holds its lock.
pub struct Heartbeat {
    stop: Sender<()>,
    end: Receiver<RunLock>,
}

impl Heartbeat {
    /// Stops the beating and lets the lock go.
    pub fn stop(self) {
        drop(self.stop);
        // Its session ends with it; one that hangs in a dead network is left to end with the process.
        drop(self.end.recv_timeout(PATIENCE));
    }
}
