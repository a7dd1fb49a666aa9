//! Connections as libpq makes them: hosts, files, time limits, and errors that say whether another try may
//! help. It knows the two modules by their public face only.

mod psql;
mod tls;

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use pgkeep::connect::{ConnectError, ConnectErrorKind, ConnectOptions, connect, is_transient};
use pgkeep::conninfo::{ConnInfo, Environment};

use crate::support::cluster::{PASSWORD, PASSWORD_IN_URI, ROLE};
use crate::support::tools::{finish, free_port, give_to_postgres};
use crate::support::{Cluster, cluster, wait_until};

const OPTIONS: ConnectOptions<'_> = ConnectOptions {
    connect_timeout: Duration::from_secs(20),
    answer_timeout: Duration::from_mins(1),
    application_name: "suite",
};

const RULES: &str = "local all all trust\n\
    hostssl all certified 127.0.0.1/32 cert\n\
    hostnossl all certified 127.0.0.1/32 reject\n\
    hostssl all encrypted 127.0.0.1/32 trust\n\
    hostnossl all encrypted 127.0.0.1/32 reject\n\
    hostssl all plain 127.0.0.1/32 reject\n\
    hostnossl all plain 127.0.0.1/32 trust\n\
    host all all 127.0.0.1/32 scram-sha-256\n";

/// A cluster with TLS, and the certificates around it. The server's own is for `localhost`, not for its
/// address.
struct Secured {
    cluster: Cluster,
    folder: tempfile::TempDir,
}

impl Secured {
    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn start(certificate: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        make_certificates(folder.path());
        let cluster = Cluster::start();
        let data = cluster.socket_dir.join("data");
        for (from, to) in [
            ("ca.crt", "ca.crt"),
            (&format!("{certificate}.crt"), "server.crt"),
            (&format!("{certificate}.key"), "server.key"),
        ] {
            let to = data.join(to);
            fs::copy(folder.path().join(from), &to).unwrap();
            fs::set_permissions(&to, fs::Permissions::from_mode(0o600)).unwrap();
            give_to_postgres(&to);
        }
        fs::write(data.join("pg_hba.conf"), RULES).unwrap();
        cluster.execute(
            "postgres",
            "CREATE ROLE certified LOGIN; CREATE ROLE encrypted LOGIN; CREATE ROLE plain LOGIN",
        );
        cluster.execute("postgres", "ALTER SYSTEM SET ssl_ca_file = 'ca.crt'");
        cluster.execute("postgres", "ALTER SYSTEM SET ssl = on");
        cluster.execute("postgres", "SELECT pg_reload_conf()");
        let secured = Self { cluster, folder };
        let info = secured.info("user=encrypted sslmode=require", &[]);
        wait_until("the server speaks TLS", || {
            psql::psql(&info.to_keyword_string(), &[], "SELECT 1").is_some()
        });
        secured
    }

    /// Opens a session over TCP; `text` comes on top of the host, the port, the user and the password.
    fn open(&self, text: &str) -> Result<postgres::Client, ConnectError> {
        connect(&self.info(text, &[]), &OPTIONS)
    }

    fn info(&self, text: &str, variables: &[(&str, &str)]) -> ConnInfo {
        let port = self.cluster.port;
        resolve(
            &format!("host=127.0.0.1 port={port} user={ROLE} dbname=postgres password='{PASSWORD}' {text}"),
            variables,
            self.folder.path(),
        )
    }
}

fn secured() -> &'static Secured {
    static SHARED: OnceLock<Secured> = OnceLock::new();
    SHARED.get_or_init(|| Secured::start("server"))
}

fn make_certificates(folder: &Path) {
    let openssl = |arguments: &str| {
        finish(Command::new("openssl").current_dir(folder).args(arguments.split(' ')));
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    for name in ["ca", "other", "selfmade"] {
        openssl(&format!(
            "req -x509 {key} -days 30 -subj /CN={name} -addext subjectAltName=DNS:localhost -keyout {name}.key -out {name}.crt"
        ));
    }
    fs::write(folder.join("server.ext"), "subjectAltName=DNS:localhost\n").unwrap();
    fs::write(folder.join("certified.ext"), "basicConstraints=CA:FALSE\n").unwrap();
    for name in ["server", "certified"] {
        openssl(&format!("req -new {key} -subj /CN={name} -keyout {name}.key -out {name}.csr"));
        openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -extfile {name}.ext -out {name}.crt"
        ));
        fs::set_permissions(folder.join(format!("{name}.key")), fs::Permissions::from_mode(0o600)).unwrap();
    }
    openssl(&format!("req -new {key} -subj /CN=localhost -keyout old.key -out old.csr"));
    openssl("x509 -req -in old.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -out old.crt");
}

fn resolve(text: &str, variables: &[(&str, &str)], home: &Path) -> ConnInfo {
    let variables: BTreeMap<String, String> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let environment =
        Environment { variables, home: Some(home.to_owned()), user: Some("postgres".to_owned()) };
    ConnInfo::parse(text).unwrap().resolve(&environment).unwrap()
}

/// Resolves in a home directory that holds nothing.
fn plainly(text: &str) -> ConnInfo {
    resolve(text, &[], Path::new("/nonexistent"))
}

fn is_encrypted(client: &mut postgres::Client) -> bool {
    client.query_one("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", &[]).unwrap().get(0)
}

/// What came of an attempt: encrypted or not, or the kind of its error.
fn outcome(result: Result<postgres::Client, ConnectError>) -> Result<bool, ConnectErrorKind> {
    match result {
        Ok(mut client) => Ok(is_encrypted(&mut client)),
        Err(error) => {
            assert_tells_no_password(&error);
            Err(error.kind())
        }
    }
}

fn assert_tells_no_password(error: &ConnectError) {
    let shown = format!("{error} {error:?}");
    for secret in [PASSWORD, PASSWORD_IN_URI, "s3cr3t", "wr0ng"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

fn failure(result: Result<postgres::Client, ConnectError>) -> ConnectError {
    let error = result.err().expect("the connection must fail");
    assert_tells_no_password(&error);
    error
}

#[test]
fn passwords_and_services_come_from_their_files() {
    let port = cluster().port;
    let home = tempfile::tempdir().unwrap();
    let escaped = PASSWORD.replace(':', "\\:");
    let passfile = home.path().join(".pgpass");
    fs::write(&passfile, format!("127.0.0.1:{port}:sample:{ROLE}:{escaped}\n*:*:*:*:wr0ng\n")).unwrap();
    fs::set_permissions(&passfile, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(
        home.path().join(".pg_service.conf"),
        format!("[shop]\nhost=127.0.0.1\nport={port}\nuser={ROLE}\ndbname=sample\n"),
    )
    .unwrap();
    let info = resolve("", &[("PGSERVICE", "shop")], home.path());
    assert_eq!(info.describe(), format!("sample on 127.0.0.1:{port} as {ROLE}"));
    assert!(connect(&info, &OPTIONS).is_ok());
    assert!(connect(&resolve("service=shop", &[], home.path()), &OPTIONS).is_ok());
    let elsewhere = failure(connect(&info.with_dbname("postgres"), &OPTIONS));
    assert_eq!(elsewhere.sql_state(), Some("28P01"));

    fs::set_permissions(&passfile, fs::Permissions::from_mode(0o644)).unwrap();
    let open = resolve("service=shop", &[], home.path());
    assert_eq!(open.warnings().len(), 1);
    assert_eq!(failure(connect(&open, &OPTIONS)).kind(), ConnectErrorKind::Authentication);
}

#[test]
fn a_refusal_is_final_and_tells_no_password() {
    let server = cluster();
    let base = format!("host=127.0.0.1 port={} user={ROLE}", server.port);
    let error = failure(connect(&plainly(&format!("{base} dbname=sample password=wr0ng")), &OPTIONS));
    assert_eq!(
        (error.kind(), error.sql_state(), error.is_transient()),
        (ConnectErrorKind::Authentication, Some("28P01"), false)
    );
    let expected = format!(
        "cannot connect to `sample on 127.0.0.1:{} as {ROLE}`: password authentication failed for user \"{ROLE}\"",
        server.port
    );
    assert_eq!(error.to_string(), expected);

    let error = failure(connect(&plainly(&format!("{base} dbname=sample")), &OPTIONS));
    assert_eq!((error.kind(), error.is_transient()), (ConnectErrorKind::Authentication, false));

    let error = failure(connect(&plainly(&format!("{base} dbname=absent password='{PASSWORD}'")), &OPTIONS));
    assert_eq!(
        (error.kind(), error.sql_state(), error.is_transient()),
        (ConnectErrorKind::NoSuchDatabase, Some("3D000"), false)
    );
}

#[test]
fn what_may_pass_by_itself_is_told_apart() {
    let server = cluster();
    let error = failure(connect(&plainly(&format!("host=127.0.0.1 port={} user=u", free_port())), &OPTIONS));
    assert_eq!((error.kind(), error.is_transient()), (ConnectErrorKind::Unreachable, true), "{error}");
    let error = failure(connect(&plainly("host=/nonexistent user=u"), &OPTIONS));
    assert_eq!((error.kind(), error.is_transient()), (ConnectErrorKind::Unreachable, true), "{error}");

    server.execute("postgres", "CREATE ROLE crowded LOGIN CONNECTION LIMIT 0");
    let socket = server.socket_dir.to_str().unwrap();
    let text = format!("host={socket} port={} dbname=postgres user=crowded", server.port);
    let error = failure(connect(&plainly(&text), &OPTIONS));
    assert_eq!((error.sql_state(), error.is_transient()), (Some("53300"), true));

    let mut ended = connect(&plainly(&server.url("postgres")), &OPTIONS).unwrap();
    let session: i32 = ended.query_one("SELECT pg_backend_pid()", &[]).unwrap().get(0);
    server.execute("postgres", &format!("SELECT pg_terminate_backend({session}, 20000)"));
    assert!(is_transient(&ended.simple_query("SELECT 1").err().unwrap()));
    let mut alive = connect(&plainly(&server.url("postgres")), &OPTIONS).unwrap();
    assert!(!is_transient(&alive.simple_query("SELECT nonsense").err().unwrap()));
}

#[test]
fn a_host_that_accepts_and_says_nothing_is_given_up_in_time() {
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = mute.local_addr().unwrap().port();
    for mode in ["disable", "prefer", "require"] {
        let info = plainly(&format!("host=127.0.0.1 port={port} user=u sslmode={mode}"));
        let options = ConnectOptions { connect_timeout: Duration::from_millis(300), ..OPTIONS };
        let start = Instant::now();
        let error = failure(connect(&info, &options));
        assert_eq!((error.kind(), error.is_transient()), (ConnectErrorKind::TimedOut, true), "{error}");
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    }
    let info = plainly(&format!("host=127.0.0.1 port={port} user=u connect_timeout=1"));
    let options = ConnectOptions { connect_timeout: Duration::from_hours(1), ..OPTIONS };
    assert_eq!(failure(connect(&info, &options)).kind(), ConnectErrorKind::TimedOut);
}

#[test]
fn the_next_host_is_tried_after_a_dead_one_and_not_after_a_refusal() {
    let server = cluster();
    let (dead, alive) = (free_port(), server.port);
    let common = format!("user={ROLE} dbname=sample password='{PASSWORD}'");
    for order in ["disable", "random"] {
        let info = plainly(&format!(
            "host=127.0.0.1,127.0.0.1 port={dead},{alive} load_balance_hosts={order} {common}"
        ));
        let mut client = connect(&info, &OPTIONS).unwrap();
        let port: i32 = client.query_one("SELECT current_setting('port')::int", &[]).unwrap().get(0);
        assert_eq!(port, i32::from(alive));
    }
    let both_dead = failure(connect(
        &plainly(&format!("host=127.0.0.1,localhost hostaddr=127.0.0.1,127.0.0.1 port={dead} {common}")),
        &OPTIONS,
    ));
    assert!(
        both_dead.is_transient() && both_dead.to_string().contains(&format!("; localhost:{dead}: ")),
        "{both_dead}"
    );
    let refused = plainly(&format!(
        "host=127.0.0.1,127.0.0.1 port={alive},{dead} user={ROLE} dbname=absent password='{PASSWORD}'"
    ));
    assert_eq!(failure(connect(&refused, &OPTIONS)).kind(), ConnectErrorKind::NoSuchDatabase);
}

#[test]
fn the_session_is_what_was_asked_for() {
    let server = cluster();
    let open = |text: &str| {
        let info = plainly(&format!(
            "host=127.0.0.1 port={} user={ROLE} dbname=sample password='{PASSWORD}' {text}",
            server.port
        ));
        outcome(connect(&info, &OPTIONS))
    };
    let read_only = "options='-c default_transaction_read_only=on'";
    let session = Err(ConnectErrorKind::Session);
    for (text, expected) in [
        ("target_session_attrs=any".to_owned(), Ok(false)),
        ("target_session_attrs=read-write".to_owned(), Ok(false)),
        (format!("target_session_attrs=read-write {read_only}"), session),
        ("target_session_attrs=read-only".to_owned(), session),
        (format!("target_session_attrs=read-only {read_only}"), Ok(false)),
        ("target_session_attrs=primary".to_owned(), Ok(false)),
        ("target_session_attrs=standby".to_owned(), session),
        ("target_session_attrs=prefer-standby".to_owned(), Ok(false)),
        ("target_session_attrs=nonsense".to_owned(), Err(ConnectErrorKind::Configuration)),
        ("gssencmode=require".to_owned(), Err(ConnectErrorKind::Configuration)),
        ("gssencmode=prefer".to_owned(), Ok(false)),
        ("require_auth=scram-sha-256".to_owned(), Err(ConnectErrorKind::Configuration)),
        ("replication=database".to_owned(), Err(ConnectErrorKind::Configuration)),
        ("sslmode=strict".to_owned(), Err(ConnectErrorKind::Configuration)),
        ("sslmode=prefer sslrootcert=system".to_owned(), Err(ConnectErrorKind::Configuration)),
        ("keepalives_idle=soon".to_owned(), Err(ConnectErrorKind::Configuration)),
        ("keepalives=0 tcp_user_timeout=9000".to_owned(), Ok(false)),
    ] {
        assert_eq!(open(&text), expected, "{text}");
    }
}
