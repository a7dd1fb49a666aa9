//! One throwaway `PostgreSQL` cluster for the whole test run; each test has databases of its own in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::tools::{as_postgres, finish, free_port, give_to_postgres, pg_bin, wait_until};
use super::watchdog::Watched;

/// The role of the tests' connection strings: its password needs escaping in each of them.
pub(crate) const ROLE: &str = "keeper";
/// The password of [`ROLE`].
pub(crate) const PASSWORD: &str = "pw5 s3cr3t@p/ss:w\u{f6}rd%";
/// The same, as it stands in a URI.
pub(crate) const PASSWORD_IN_URI: &str = "pw5%20s3cr3t%40p%2Fss%3Aw%C3%B6rd%25";
/// The database that tests copy when they want a few ordinary rows.
pub(crate) const SAMPLE: &str = "sample";

/// A running cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// Its port on 127.0.0.1, which asks for a password; also part of the socket's name.
    pub(crate) port: u16,
    /// The folder of its socket, which trusts everybody.
    pub(crate) socket_dir: PathBuf,
    _watched: Watched,
}

/// The cluster of this test run, started by the first test that asks.
pub(crate) fn cluster() -> &'static Cluster {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    SHARED.get_or_init(|| {
        let cluster = Cluster::start();
        cluster.create_database(SAMPLE, "template0");
        cluster.execute(SAMPLE, include_str!("../../sql/sample.sql"));
        cluster
    })
}

/// The name of a database like the sample, with some 20 MB more that do not compress: three parts of an upload.
pub(crate) fn sample_of_parts() -> &'static str {
    static MADE: OnceLock<&str> = OnceLock::new();
    MADE.get_or_init(|| {
        let name = "sample_of_parts";
        cluster().create_database(name, SAMPLE);
        let fill =
            "CREATE TABLE blob AS SELECT n, gen_random_bytes(1024) AS bytes FROM generate_series(1, 20000) n";
        cluster().execute(name, fill);
        name
    })
}

impl Cluster {
    /// Starts a cluster; tries again when another process took its port first.
    pub(crate) fn start() -> Self {
        for _ in 0..5 {
            if let Some(cluster) = Self::try_start() {
                let role = format!("CREATE ROLE {ROLE} SUPERUSER LOGIN PASSWORD '{PASSWORD}'");
                cluster.execute("postgres", &role);
                return cluster;
            }
        }
        panic!("the test cluster did not start in five tries");
    }

    fn try_start() -> Option<Self> {
        let folder = tempfile::Builder::new().prefix("pgkeep-pg").tempdir().unwrap().keep();
        Self::try_start_in(&folder, free_port())
    }

    /// The server is gone at once, with all that it had, as when its host burns down.
    pub(crate) fn destroy(&self) {
        let data = self.socket_dir.join("data");
        finish(as_postgres(pg_bin().join("pg_ctl")).args(["stop", "-m", "immediate", "-D"]).arg(&data));
        fs::remove_dir_all(data).unwrap();
    }

    /// A cluster that knows nothing of this one, which is destroyed, in its place and on its port.
    pub(crate) fn anew(&self) -> Self {
        Self::try_start_in(&self.socket_dir, self.port).expect("its port is free")
    }

    /// The server reads its files again, from its start on.
    pub(crate) fn restart(&self) {
        let data = self.socket_dir.join("data");
        let mut call = as_postgres(pg_bin().join("pg_ctl"));
        finish(
            call.args(["restart", "-w", "-l"]).arg(self.socket_dir.join("log.again")).arg("-D").arg(&data),
        );
    }

    fn try_start_in(folder: &Path, port: u16) -> Option<Self> {
        give_to_postgres(folder);
        let data = folder.join("data");
        finish(
            as_postgres(pg_bin().join("initdb"))
                .args(["--no-sync", "--username=postgres", "--auth-local=trust", "--auth-host=scram-sha-256"])
                .args(["--encoding=UTF8", "--locale=C.UTF-8", "--pgdata"])
                .arg(&data),
        );
        let mut settings = fs::read_to_string(data.join("postgresql.conf")).unwrap();
        settings.push_str(&format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{}'\n\
             fsync = off\nfull_page_writes = off\nsynchronous_commit = off\nautovacuum = off\n\
             max_connections = 200\nshared_buffers = 64MB\nmax_wal_size = 512MB\nlogging_collector = off\n",
            folder.display()
        ));
        fs::write(data.join("postgresql.conf"), settings).unwrap();
        let mut server = as_postgres(pg_bin().join("postgres"));
        server.arg("-D").arg(&data);
        let watched = Watched::start(&server, "QUIT", folder);
        let cluster = Self { port, socket_dir: folder.to_path_buf(), _watched: watched };
        let mut answer = None;
        wait_until("the test cluster answers", || {
            let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
            if log.contains("could not bind") || log.contains("FATAL:  could not create") {
                answer = Some(false);
            } else if cluster.is_ready() {
                answer = Some(true);
            }
            answer.is_some()
        });
        answer.filter(|ready| *ready).map(|_| cluster)
    }

    fn is_ready(&self) -> bool {
        Command::new(pg_bin().join("pg_isready"))
            .args(["--quiet", "--host"])
            .arg(&self.socket_dir)
            .args(["--port", &self.port.to_string()])
            .stdin(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }

    /// A URI over TCP, with the password in it.
    pub(crate) fn url(&self, database: &str) -> String {
        self.url_through(self.port, database)
    }

    /// The same, through another port that leads here.
    #[allow(clippy::unused_self, reason = "it is a URI of this cluster")]
    pub(crate) fn url_through(&self, port: u16, database: &str) -> String {
        let database = super::sigv4::encode(database);
        format!("postgresql://{ROLE}:{PASSWORD_IN_URI}@127.0.0.1:{port}/{database}")
    }

    /// A client of the superuser, over the socket.
    pub(crate) fn connect(&self, database: &str) -> postgres::Client {
        postgres::Config::new()
            .host_path(&self.socket_dir)
            .port(self.port)
            .user("postgres")
            .dbname(database)
            .connect(postgres::NoTls)
            .unwrap_or_else(|error| panic!("database `{database}`: {error:?}"))
    }

    /// Runs statements that must succeed.
    pub(crate) fn execute(&self, database: &str, statements: &str) {
        self.connect(database)
            .batch_execute(statements)
            .unwrap_or_else(|error| panic!("{statements}\nin `{database}`: {error:?}"));
    }

    /// Creates a database as a copy of `template`.
    pub(crate) fn create_database(&self, name: &str, template: &str) {
        let name = name.replace('"', "\"\"");
        self.execute("postgres", &format!("CREATE DATABASE \"{name}\" TEMPLATE {template}"));
    }

    /// Creates an empty database under a name of its own.
    pub(crate) fn fresh_database(&self) -> String {
        let name = unique("fresh");
        self.create_database(&name, "template0");
        name
    }

    /// A client program of `PostgreSQL`, pointed at `database` through the socket as the superuser.
    pub(crate) fn client_program(&self, program: &str, database: &str) -> Command {
        let mut command = Command::new(pg_bin().join(program));
        command.env("PGHOST", &self.socket_dir).env("PGPORT", self.port.to_string());
        command.env("PGUSER", "postgres").env("PGDATABASE", database).stdin(Stdio::null());
        command
    }
}

/// A name that no other test of this run uses.
pub(crate) fn unique(stem: &str) -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(1);
    format!("{stem}{}", COUNTER.fetch_add(1, Ordering::Relaxed))
}
