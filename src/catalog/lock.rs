//! One run at a time for each source and database: an advisory lock of a session that beats while the
//! run goes on.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::Catalog;
use crate::name::BackupId;
use crate::params;

/// How often a run says that it is alive; also keeps its idle connection open through firewalls.
const BEAT: Duration = Duration::from_secs(10);
/// A heartbeat this young is that of a run which lives.
pub(super) const FRESH: Duration = BEAT.saturating_mul(9);
/// How long the end of a run waits for a beat that is on its way.
const PATIENCE: Duration = Duration::from_secs(5);

/// The advisory lock of a run, or of a prune. It goes with the session that holds it, however that ends.
pub struct RunLock {
    catalog: Catalog,
    key: i64,
    /// False once it went with a connection, until it is taken again.
    is_held: bool,
}

impl RunLock {
    /// Takes the lock of that name on a connection of its own; gives the connection back when another one holds it.
    ///
    /// # Errors
    /// When the catalog can't be asked.
    pub fn take(mut catalog: Catalog, source: &str, name: &str) -> Result<Result<Self, Catalog>> {
        let key = lock_key(source, name);
        let taken = try_lock(&mut catalog, key)?;
        Ok(if taken { Ok(Self { catalog, key, is_held: true }) } else { Err(catalog) })
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
            self.is_held = try_lock(&mut self.catalog, self.key)?;
        }
        self.catalog.beat(id)
    }
}

fn try_lock(catalog: &mut Catalog, key: i64) -> Result<bool> {
    let row = catalog.client.query_one("SELECT pg_try_advisory_lock($1)", params![key])?;
    Ok(row.try_get(0)?)
}

/// The session that holds a run's lock, as the catalog's server sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The server's process.
    pub server_pid: i32,
    /// The address that it came from; `None` is a socket of the server's own host.
    pub address: Option<String>,
    /// Since when it is connected.
    pub since: Timestamp,
}

/// Who holds the lock of that name, as far as the server tells.
///
/// # Errors
/// When the catalog can't be asked.
pub fn holder(catalog: &mut Catalog, source: &str, name: &str) -> Result<Option<Holder>> {
    let row = catalog.client.query_opt(HOLDER, params![lock_key(source, name)])?;
    let holder = |row: postgres::Row| -> Result<Holder> {
        Ok(Holder { server_pid: row.try_get(0)?, address: row.try_get(1)?, since: row.try_get(2)? })
    };
    row.map(holder).transpose()
}

const HOLDER: &str = "\
SELECT pid, host(client_addr), backend_start FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND granted AND objsubid = 1
    AND (classid::bigint << 32) | objid::bigint = $1
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
LIMIT 1";

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

fn lock_key(source: &str, name: &str) -> i64 {
    let digest = Sha256::new()
        .chain_update(b"pgkeep-run-lock\0")
        .chain_update(source)
        .chain_update(b"\0")
        .chain_update(name)
        .finalize();
    digest.iter().take(8).fold(0i64, |key, byte| (key << 8) | i64::from(*byte))
}
