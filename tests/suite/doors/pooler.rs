//! A connection pooler between pgkeep and its server: refused in the modes that share a server's sessions among clients,
//! before anything is set that others would get; at home in session mode.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crate::support::cluster::ROLE;
use crate::support::tools::{as_postgres, free_port, give_to_postgres, pgbouncer, wait_until};
use crate::support::watchdog::Watched;
use crate::support::{Cluster, Pgkeep, Site};

/// What a refusal says.
const WORDS: &str = "pooler in transaction or statement mode";
/// Sessions of the server's that are shared.
const SHARED: usize = 3;
/// What a session that nobody touched has.
const UNTOUCHED: [(&str, &str); 4] = [
    ("search_path", "\"$user\", public"),
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("client_min_messages", "notice"),
];

/// A running `PgBouncer` in front of a cluster.
struct Pooler {
    port: u16,
    folder: PathBuf,
    _watched: Watched,
}

impl Pooler {
    fn start(cluster: &Cluster, mode: &str, more: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("pgkeep-pool").tempdir().unwrap().keep();
        give_to_postgres(&folder);
        let port = free_port();
        let text = format!(
            "[databases]\n* = host={} port={} user={ROLE}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir = {}\nauth_type = any\npool_mode = {mode}\n{more}",
            cluster.socket_dir.display(),
            cluster.port,
            folder.display(),
        );
        fs::write(folder.join("pgbouncer.ini"), text).unwrap();
        let mut server = as_postgres(pgbouncer());
        server.arg(folder.join("pgbouncer.ini"));
        let pooler = Self { port, _watched: Watched::start(&server, "INT", &folder), folder };
        wait_until("PgBouncer answers", || pooler.try_connect("postgres").is_ok());
        pooler
    }

    fn url(&self, database: &str) -> String {
        format!("postgresql://{ROLE}@127.0.0.1:{}/{database}", self.port)
    }

    fn try_connect(&self, database: &str) -> Result<postgres::Client, postgres::Error> {
        self.url(database).parse::<postgres::Config>().unwrap().connect(postgres::NoTls)
    }

    /// Fails where a session that clients share is not as it was made.
    fn assert_untouched(&self, database: &str) {
        // Each holds a session of its own as long as its transaction lasts.
        let mut clients: Vec<_> = (0..SHARED).map(|_| self.try_connect(database).unwrap()).collect();
        let mut transactions: Vec<_> =
            clients.iter_mut().map(|client| client.transaction().unwrap()).collect();
        for transaction in &mut transactions {
            for (name, wanted) in UNTOUCHED {
                let rows = transaction.simple_query(&format!("SHOW {name}")).unwrap();
                let found = rows.iter().find_map(|message| match message {
                    postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                    _ => None,
                });
                assert_eq!(found.as_deref(), Some(wanted), "{name} of a shared session");
            }
        }
    }
}

/// An application that finds its tables by the search path, over and over, in short sessions and long ones.
struct Application {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(usize, Vec<String>)>,
}

impl Application {
    fn start(pooler: &Pooler, database: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (ends, url) = (Arc::clone(&stop), pooler.url(database));
        let thread = std::thread::spawn(move || {
            let config: postgres::Config = url.parse().unwrap();
            let (mut asked, mut failed) = (0, Vec::new());
            while !ends.load(Ordering::SeqCst) || asked < 20 {
                let Ok(mut client) = config.connect(postgres::NoTls) else { break };
                for _ in 0..10 {
                    asked += 1;
                    if let Err(error) = client.simple_query("SELECT count(*) FROM customer") {
                        failed.push(error.to_string());
                    }
                }
            }
            (asked, failed)
        });
        Self { stop, thread }
    }

    fn finish(self) {
        self.stop.store(true, Ordering::SeqCst);
        let (asked, failed) = self.thread.join().unwrap();
        assert!(asked >= 20, "{asked}");
        assert_eq!(failed, Vec::<String>::new(), "of {asked} questions of the application");
    }
}

/// A site whose source, and with it its catalog, is reached through a pooler; a first backup was made without one.
fn site_behind(pooler: &Pooler) -> Site {
    let mut site = Site::new().local_only();
    site.backup();
    let url = pooler.url(&site.database);
    site.config.set("source.url", url);
    site
}

fn refused(call: Pgkeep, pooler: &Pooler) {
    let ran = call.code(2).any_stdout().stderr_has(WORDS).stderr_has("hint:").run();
    assert!(ran.stderr.contains(&format!("127.0.0.1:{}", pooler.port)), "{}", ran.stderr);
}

fn advisory_locks(site: &Site) -> i64 {
    let query = "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database \
                 WHERE l.locktype = 'advisory' AND d.datname = $1";
    site.cluster.connect("postgres").query_one(query, &[&site.database]).unwrap().get(0)
}

#[test]
fn one_that_shares_sessions_is_refused_before_anything_is_set() {
    let cluster = crate::support::cluster();
    let pools = format!("default_pool_size = {SHARED}\n");
    for mode in ["transaction", "statement"] {
        let pooler = Pooler::start(cluster, mode, &pools);
        let site = site_behind(&pooler);
        let rows = site.rows();
        let application = Application::start(&pooler, &site.database);
        for words in
            [&["backup", "full"][..], &["list"], &["backup", "config"], &["verify", "--all"], &["prune"]]
        {
            refused(site.pgkeep(words), &pooler);
        }
        let doctor = site.pgkeep(["doctor"]).code(1).any_stdout().any_stderr().run();
        assert!(
            doctor.stderr.contains(&format!("source: cannot connect to `{}", site.database)),
            "{doctor:?}"
        );
        assert_eq!(doctor.stderr.matches(WORDS).count(), 2, "{doctor:?}");
        assert!(!doctor.stdout.contains("ok    source") && !doctor.stdout.contains("ok    catalog"));
        site.pgkeep(["alert", "check"]).any_code().any_stdout().stdout_has(WORDS).any_stderr().run();
        application.finish();
        if mode == "transaction" {
            pooler.assert_untouched(&site.database);
        }
        assert_eq!(advisory_locks(&site), 0);
        assert_eq!(site.rows(), rows, "nothing is on record");
    }
}

#[test]
fn one_before_the_source_or_a_target_alone_is_refused_too() {
    let cluster = crate::support::cluster();
    let pooler = Pooler::start(cluster, "transaction", "");
    let mut site = Site::new().local_only().with_own_catalog();
    let id = site.backup();
    let (name, _) = site.target();
    refused(site.pgkeep(["restore", &id, "--into", &pooler.url(&name)]), &pooler);
    refused(
        site.pgkeep(["verify", &id, "--level", "restore", "--scratch", &pooler.url("postgres")]),
        &pooler,
    );
    site.config.set("source.url", pooler.url(&site.database));
    refused(site.pgkeep(["backup", "full"]), &pooler);
    pooler.assert_untouched(&site.database);
    pooler.assert_untouched(&name);
}

#[test]
fn it_is_found_out_however_it_hands_its_sessions_out() {
    let cluster = crate::support::cluster();
    for more in ["server_round_robin = 1\n", "default_pool_size = 1\n", "min_pool_size = 5\n"] {
        let pooler = Pooler::start(cluster, "transaction", more);
        let mut site = site_behind(&pooler);
        refused(site.pgkeep(["list"]), &pooler);
        // By its socket, which has no lock file of a server beside it.
        let socket = format!(
            "host={} port={} user={ROLE} dbname={}",
            pooler.folder.display(),
            pooler.port,
            site.database
        );
        site.config.set("source.url", socket);
        site.pgkeep(["list"]).code(2).stderr_has(WORDS).run();
    }
}

#[test]
fn in_session_mode_it_is_at_home() {
    let cluster = crate::support::cluster();
    let pooler = Pooler::start(cluster, "session", "default_pool_size = 20\n");
    let site = site_behind(&pooler);
    let application = Application::start(&pooler, &site.database);
    site.pgkeep(["doctor"]).any_stdout().run();
    let id = site.backup();
    site.pgkeep(["list"]).stdout_has(&id).run();
    site.pgkeep(["alert", "check"]).any_code().any_stdout().run();
    application.finish();
    pooler.assert_untouched(&site.database);
    assert_eq!(advisory_locks(&site), 0);
}

#[test]
fn with_room_for_one_session_alone_it_is_said_in_time() {
    let cluster = crate::support::cluster();
    let pooler = Pooler::start(cluster, "session", "default_pool_size = 1\n");
    let mut site = site_behind(&pooler);
    site.config.set("timeouts.connect", "6s");
    let call = site.pgkeep(["list"]).code(1).stderr_has("no second session, to find out whether a pooler");
    call.stderr_has("a pool of two sessions or more").run();
}
