//! The scratch server: a throwaway cluster on a socket of its own, or a server that was named, for databases
//! that are made to be looked at and dropped again. It knows nothing of backups.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::Signal;

use super::clients::{Client, INITDB};
use crate::connect::{self, ConnectError, ConnectOptions};
use crate::conninfo::{ConnInfo, Environment};
use crate::exit::{Failure, wrap};
use crate::interrupt::Interrupt;
use crate::process::{Leftovers, Manner, Names, Program, Service, Surroundings, User, run_to_end};

mod cage;
mod database;
mod folder;
mod give;
mod room;

pub use cage::{Guard, LIBRARY};
pub use database::{Recipe, ScratchDatabase};

use folder::Folder;
use room::Watch;

const SUPERUSER: &str = "postgres";
/// It is a part of the socket's name; nothing listens on it.
const PORT: &str = "5432";
/// The longest path of a socket (unix(7): 108 bytes, the last one NUL).
const SOCKET_PATH_BYTES: usize = 107;
/// Where the socket goes when the path of the server's folder is too long for it.
const SHORT_DIR: &str = "/tmp";
/// The folder of the socket in the server's own one: nobody but the server and pgkeep can reach into it.
const SOCKET_FOLDER: &str = "run";
/// How long a server of no data may take to come up.
const START_TIME: Duration = Duration::from_mins(1);
/// How long it may take to answer a question.
const ANSWER_TIME: Duration = Duration::from_mins(5);
/// How long an immediate shutdown may take; after 5 s the server kills what is left of its own.
const STOP_TIME: Duration = Duration::from_millis(6500);

/// Nothing here has to survive a crash, and nobody else connects. One transaction of a restore may lock very
/// many objects. Shared memory that has a name of its own would outlive a kill.
const SETTINGS: [&str; 22] = [
    "listen_addresses=",
    "unix_socket_permissions=0700",
    "port=5432",
    "ssl=off",
    "fsync=off",
    "full_page_writes=off",
    "synchronous_commit=off",
    "wal_level=minimal",
    "max_wal_senders=0",
    "max_wal_size=192MB",
    "checkpoint_timeout=1h",
    "autovacuum=off",
    "jit=off",
    "max_connections=20",
    "max_locks_per_transaction=4096",
    "max_logical_replication_workers=0",
    "shared_buffers=128MB",
    "maintenance_work_mem=128MB",
    "dynamic_shared_memory_type=mmap",
    "logging_collector=off",
    "log_destination=stderr",
    "lc_messages=C",
];

/// What a throwaway cluster is made of.
#[derive(Clone, Copy, Debug)]
pub struct ScratchPlan<'a> {
    /// Its `postgres`; `initdb` stands beside it.
    pub server: &'a Client,
    /// The folder that its own folder is made in.
    pub scratch_dir: &'a Path,
    /// What it will need there.
    pub need_bytes: u64,
    /// What else it may read and run.
    pub readable: &'a [PathBuf],
    /// Whether it may run where the kernel does not confine it.
    pub unconfined: bool,
    /// What ends it.
    pub interrupt: &'a Interrupt,
}

/// A server for scratch databases. Dropping it ends it and removes all that is its own.
pub struct ScratchServer {
    info: ConnInfo,
    connect_timeout: Duration,
    /// Declared before the folders: it ends before they are removed.
    cluster: Option<Service>,
    room: Option<Watch>,
    /// What it started ends with it.
    leftovers: Leftovers,
    _folders: Vec<Folder>,
}

impl ScratchServer {
    /// Makes a cluster and starts it, after a sweep of what killed runs left. It is ended by the kernel when
    /// the thread that called this ends. What it may reach is its own folder and the system's programs.
    ///
    /// # Errors
    /// When there is too little room (nothing was started then), no user for it to run as, nothing that
    /// confines it where that is asked for, or the programs fail.
    pub fn start(plan: &ScratchPlan<'_>) -> Result<Self> {
        let guard = Guard::find(plan.interrupt)?;
        guard.ensure(plan.unconfined)?;
        log::info!("the scratch server is confined: {}", guard.confinement);
        for parent in [plan.scratch_dir, Path::new(SHORT_DIR)] {
            folder::sweep(parent, guard.maker);
        }
        room::ensure_room(plan.scratch_dir, plan.need_bytes)?;
        let is_shared = guard.server.is_some();
        let home = Folder::make(plan.scratch_dir, is_shared)?;
        let beside = if can_hold_socket(home.path()) {
            None
        } else {
            Some(Folder::make(Path::new(SHORT_DIR), is_shared)?)
        };
        let socket_dir = beside.as_ref().unwrap_or(&home).path().join(SOCKET_FOLDER);
        let data = home.path().join("data");
        for folder in [&data, &socket_dir] {
            folder::make_private(folder)?;
        }
        give::give(&data, guard.maker)?;
        let initdb = initdb(plan.server, &data)?;
        run_to_end(&initdb, &manner(home.path(), guard.maker), plan.interrupt)
            .map_err(|error| not_made(error, home.path(), guard.maker))?;
        give::give(&data, guard.server)?;
        give::give(&socket_dir, guard.server)?;
        let program = postgres(plan.server, &data, &socket_dir)?;
        let cage = guard.cage(&program.path, &data, &socket_dir, plan.readable);
        let manner = Manner { cage: Some(cage), ..manner(home.path(), guard.server) };
        let cluster = Service::start(&program, &manner)?;
        let room = Some(Watch::start(home.path(), cluster.pid())?);
        let info = connection(&socket_dir)?;
        let leftovers = Leftovers::of_user(guard.server.map(|user| user.uid));
        let home_path = home.path().to_path_buf();
        let folders = std::iter::once(home).chain(beside).collect();
        let connect_timeout = START_TIME;
        let cluster = Some(cluster);
        let mut server = Self { info, connect_timeout, cluster, room, leftovers, _folders: folders };
        server.await_start(plan.interrupt).map_err(|error| not_reached(error, &home_path, guard.server))?;
        if let Some(cluster) = &server.cluster {
            server.leftovers.add_network_of(cluster.pid());
        }
        log::info!(
            "a scratch server of PostgreSQL {} runs in `{}`",
            plan.server.version,
            socket_dir.display()
        );
        Ok(server)
    }

    /// A server that is there already: databases are made in it, and nothing else of it is touched.
    #[must_use]
    pub fn at(info: ConnInfo, connect_timeout: Duration) -> Self {
        let leftovers = Leftovers::of_user(None);
        Self { info, connect_timeout, cluster: None, room: None, leftovers, _folders: Vec::new() }
    }

    /// Whether it is a throwaway cluster, which is made for one restore and goes with all it has.
    #[must_use]
    pub fn is_throwaway(&self) -> bool {
        self.cluster.is_some()
    }

    /// Makes sure that it still answers.
    ///
    /// # Errors
    /// When it does not; what a throwaway cluster said when it ended is in the error.
    pub fn ensure_answers(&mut self) -> Result<()> {
        self.ensure_running()?;
        self.connect(&self.info).map(drop).context("the scratch server does not answer any more")
    }

    fn ensure_running(&mut self) -> Result<()> {
        if let Some(room) = &self.room {
            room.ensure_enough()?;
        }
        match &mut self.cluster {
            Some(cluster) => {
                cluster.ensure_running().map_err(|error| wrap(error, "the scratch server ended by itself"))
            }
            None => Ok(()),
        }
    }

    /// The programs that work on it do so in this manner.
    fn manner(&self) -> Manner {
        match self.cluster {
            // Nothing of the host's settings for libpq is meant for it.
            Some(_) => Manner { surroundings: Surroundings::Bare, ..Manner::default() },
            None => Manner::default(),
        }
    }

    fn connect(&self, info: &ConnInfo) -> Result<postgres::Client> {
        let mut client = connect::connect(info, &self.connect_options()).map_err(ConnectError::told)?;
        // Databases are made and dropped in their own time.
        client.batch_execute("SET statement_timeout TO 0; SET lock_timeout TO 0")?;
        Ok(client)
    }

    /// How sessions with it are opened.
    #[must_use]
    pub fn connect_options(&self) -> ConnectOptions<'static> {
        ConnectOptions {
            connect_timeout: self.connect_timeout,
            answer_timeout: ANSWER_TIME,
            application_name: "pgkeep",
        }
    }

    fn await_start(&mut self, interrupt: &Interrupt) -> Result<()> {
        let begun = Instant::now();
        loop {
            self.ensure_running()?;
            let Err(error) = connect::connect(&self.info, &self.connect_options()) else {
                return Ok(());
            };
            if interrupt.wait(Duration::from_millis(20)) {
                return Err(Failure::failed("interrupted").into());
            }
            if begun.elapsed() > START_TIME || !error.is_transient() {
                return Err(error).context("the scratch server does not come up");
            }
        }
    }
}

impl fmt::Debug for ScratchServer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ScratchServer").field("info", &self.info).finish_non_exhaustive()
    }
}

/// Whether a socket can stand there and be named to libpq, which splits the names of hosts at commas.
fn can_hold_socket(folder: &Path) -> bool {
    let is_short =
        folder.join(SOCKET_FOLDER).join(format!(".s.PGSQL.{PORT}")).as_os_str().len() <= SOCKET_PATH_BYTES;
    is_short && folder.to_str().is_some_and(|text| !text.contains(','))
}

fn manner(folder: &Path, user: Option<User>) -> Manner {
    Manner {
        user,
        folder: Some(folder.to_path_buf()),
        surroundings: Surroundings::Bare,
        cage: None,
        last_signal: Signal::QUIT,
        grace: STOP_TIME,
    }
}

fn program(path: &Path, arguments: Vec<OsString>) -> Result<Program> {
    // The user it runs as may not be able to follow a link that we can.
    let path = path.canonicalize().with_context(|| format!("cannot find `{}`", path.display()))?;
    Ok(Program { path, arguments, environment: vec![("LC_ALL".to_owned(), "C".to_owned())] })
}

fn initdb(server: &Client, data: &Path) -> Result<Program> {
    let mut arguments: Vec<OsString> =
        ["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"].map(OsString::from).to_vec();
    arguments.push(format!("--username={SUPERUSER}").into());
    if server.major >= 18 {
        arguments.push("--no-data-checksums".into());
    }
    arguments.extend([OsString::from("--pgdata"), data.into()]);
    // A folder of links may lead to a real one with `initdb` under another name: the one beside counts.
    program(&server.path.with_file_name(INITDB), arguments)
}

fn postgres(server: &Client, data: &Path, socket_dir: &Path) -> Result<Program> {
    let mut arguments = vec![OsString::from("-D"), data.into()];
    for setting in SETTINGS {
        arguments.extend(["-c", setting].map(OsString::from));
    }
    if server.major >= 17 {
        // One of the dump's that fires at a login would meet those who look at what was restored.
        arguments.extend(["-c", "event_triggers=off"].map(OsString::from));
    }
    let sockets =
        format!("unix_socket_directories=\"{}\"", socket_dir.display().to_string().replace('"', "\"\""));
    arguments.extend(["-c".into(), sockets.into()]);
    program(&server.path, arguments)
}

fn connection(socket_dir: &Path) -> Result<ConnInfo> {
    let host = socket_dir.to_str().context("the path of the scratch folder is no text")?;
    let mut info = ConnInfo::default();
    for (keyword, value) in
        [("host", host), ("port", PORT), ("user", SUPERUSER), ("dbname", "postgres"), ("sslmode", "disable")]
    {
        info = info.with(keyword, value)?;
    }
    Ok(info.resolve(&Environment::default())?)
}

/// Says more of an `initdb` that failed.
fn not_made(error: anyhow::Error, folder: &Path, user: Option<User>) -> anyhow::Error {
    let failure = Failure::failed("the scratch server can't be made");
    let names = Names::of_host();
    let maker = user.and_then(|user| names.user(user.uid)).unwrap_or_default();
    error_with_folder(error, failure, folder, user, &format!("its files are made by `{maker}`"))
}

/// Says more of a server that does not come up.
fn not_reached(error: anyhow::Error, folder: &Path, user: Option<User>) -> anyhow::Error {
    let failure = Failure::failed("the scratch server can't be started");
    if format!("{error:#}").contains("error while loading shared libraries") {
        return error.context(failure.hint(LIBRARY));
    }
    error_with_folder(error, failure, folder, user, "it runs as a user of its own")
}

fn error_with_folder(
    error: anyhow::Error,
    mut failure: Failure,
    folder: &Path,
    user: Option<User>,
    who: &str,
) -> anyhow::Error {
    if user.is_some() && format!("{error:#}").contains("Permission denied") {
        let parent: PathBuf = folder.parent().map(Path::to_path_buf).unwrap_or_default();
        failure = failure.hint(format!(
            "{who}, who must be able to reach `{}` (and PostgreSQL's programs): name another folder in \
             `[verify] scratch_dir`",
            parent.display()
        ));
    }
    error.context(failure)
}
