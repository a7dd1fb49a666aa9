//! Why a session could not be opened, and whether another try may help. It shows hosts, users and causes,
//! never passwords.

use std::error::Error as _;
use std::io;

use postgres::error::SqlState;

use crate::exit;

/// What to do about a pooler.
const POOLED_HINT: &str = "name the server itself, or a port of the pooler in session mode (PgBouncer: `pool_mode = session`; \
    Supabase: port 5432 in place of 6543; Neon: the host without `-pooler`)";

/// What to do about a pooler that has room for one session.
const CROWDED_HINT: &str =
    "give the pooler a pool of two sessions or more for this database and user, or name the server itself";

/// The kind of a [`ConnectError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectErrorKind {
    /// Nobody answers there: refused, reset, no route, no socket.
    Unreachable,
    /// The time limit passed.
    TimedOut,
    /// The server is there and takes no session now: it starts, stops, or has too many.
    NotReady,
    /// No host is what `target_session_attrs` asks for; after a failover one may be.
    Session,
    /// The password is wrong or missing, or no line of `pg_hba.conf` lets this user in.
    Authentication,
    /// The server has no such database.
    NoSuchDatabase,
    /// The server has no TLS, or its certificate or ours was refused.
    Tls,
    /// The parameters are wrong, or ask for what cannot be done.
    Configuration,
    /// A pooler answers there that gives a session no process of its own.
    Pooled,
    /// A pooler answers there, and there was no second session to find out its mode.
    NoSecondSession,
    /// The server refused for another reason.
    Refused,
}

impl ConnectErrorKind {
    /// Whether the same call may succeed later, without anybody mending anything.
    #[must_use]
    pub fn is_transient(self) -> bool {
        matches!(
            self,
            Self::Unreachable | Self::TimedOut | Self::NotReady | Self::Session | Self::NoSecondSession
        )
    }
}

/// A session could not be opened. Its text names the database, hosts, ports and user, and the cause once.
#[derive(Clone, Debug, thiserror::Error)]
#[error("cannot connect to `{place}`: {cause}")]
pub struct ConnectError {
    place: String,
    cause: String,
    kind: ConnectErrorKind,
    sql_state: Option<String>,
}

impl ConnectError {
    pub(super) fn new(place: &str, failure: Failure) -> Self {
        Self {
            place: place.to_owned(),
            cause: failure.cause,
            kind: failure.kind,
            sql_state: failure.sql_state,
        }
    }

    /// What kind of failure it was.
    #[must_use]
    pub fn kind(&self) -> ConnectErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later, without anybody mending anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.kind.is_transient()
    }

    /// The error of a command that needs the session: a pooler that gives none is a matter of the configuration.
    #[must_use]
    pub fn told(self) -> anyhow::Error {
        if self.kind == ConnectErrorKind::Pooled {
            return exit::Failure::usage(self.to_string()).hint(POOLED_HINT).into();
        }
        if self.kind == ConnectErrorKind::NoSecondSession {
            let failure = exit::Failure::failed(self.to_string()).hint(CROWDED_HINT);
            return anyhow::Error::new(self).context(failure);
        }
        self.into()
    }

    /// The SQLSTATE, where it was the server that refused.
    #[must_use]
    pub fn sql_state(&self) -> Option<&str> {
        self.sql_state.as_deref()
    }
}

/// Whether an error of a session or of opening one may pass by itself: the connection broke or was refused,
/// or the server is starting, stopping or full (SQLSTATE class 08, 57P01 to 57P03, 57P05, 53300).
#[must_use]
pub fn is_transient(error: &postgres::Error) -> bool {
    Failure::of(error).kind.is_transient()
}

/// One failed attempt.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) kind: ConnectErrorKind,
    pub(super) cause: String,
    pub(super) sql_state: Option<String>,
    /// Whether the other way (without TLS for with, with for without) may do, as libpq holds it.
    pub(super) may_differ_without_tls: bool,
}

impl Failure {
    pub(super) fn new(kind: ConnectErrorKind, cause: String) -> Self {
        Self { kind, cause, sql_state: None, may_differ_without_tls: false }
    }

    pub(super) fn configuration(cause: String) -> Self {
        Self::new(ConnectErrorKind::Configuration, cause)
    }

    pub(super) fn unreachable(cause: String) -> Self {
        Self::new(ConnectErrorKind::Unreachable, cause)
    }

    /// Reads the kind and the one telling sentence out of an error of the client library.
    pub(super) fn of(error: &postgres::Error) -> Self {
        if let Some(refusal) = error.as_db_error() {
            return Self::of_server(refusal);
        }
        let outer = error.to_string();
        let asking = error.source().and_then(|source| source.downcast_ref::<Asking>());
        let is_handshake = outer == "error performing TLS handshake" && asking.is_none();
        let io_error = error.source().and_then(|source| source.downcast_ref::<io::Error>());
        let io_error = io_error.or_else(|| asking.map(|Asking(error)| error));
        let mut failure = match io_error {
            Some(io_error) => Self::of_io(io_error),
            None if error.is_closed() || outer == "timeout waiting for server" => {
                Self::unreachable(outer.clone())
            }
            None => Self::of_words(&outer, error.source().map_or(outer.clone(), ToString::to_string)),
        };
        failure.may_differ_without_tls = is_handshake || failure.kind == ConnectErrorKind::Tls;
        failure
    }

    /// The library tells these kinds apart by its words only.
    fn of_words(outer: &str, cause: String) -> Self {
        match (outer, cause.as_str()) {
            ("invalid configuration", "password missing") => Self::new(
                ConnectErrorKind::Authentication,
                "the server asks for a password, and none is given; add it to the password file or set PGPASSWORD".to_owned(),
            ),
            ("invalid configuration", _) => Self::configuration(cause),
            ("authentication error", _) => Self::new(ConnectErrorKind::Authentication, cause),
            ("error performing TLS handshake", _) => Self::new(ConnectErrorKind::Tls, cause),
            _ => Self::new(ConnectErrorKind::Refused, cause),
        }
    }

    fn of_server(refusal: &postgres::error::DbError) -> Self {
        let state = refusal.code();
        let kind = if *state == SqlState::INVALID_CATALOG_NAME {
            ConnectErrorKind::NoSuchDatabase
        } else if state.code().starts_with("28") {
            ConnectErrorKind::Authentication
        } else if state.code().starts_with("08")
            || matches!(state.code(), "57P01" | "57P02" | "57P03" | "57P05" | "53300")
        {
            ConnectErrorKind::NotReady
        } else {
            ConnectErrorKind::Refused
        };
        Self {
            kind,
            cause: refusal.message().to_owned(),
            sql_state: Some(state.code().to_owned()),
            // A line of `pg_hba.conf` may be for one of the two ways only; a password is wrong in both.
            may_differ_without_tls: *state == SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
        }
    }

    fn of_io(error: &io::Error) -> Self {
        if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return Self::new(ConnectErrorKind::Tls, tls_words(tls));
        }
        let (kind, cause) = match error.kind() {
            io::ErrorKind::TimedOut => {
                (ConnectErrorKind::TimedOut, "no answer within the time limit".to_owned())
            }
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
                (ConnectErrorKind::Configuration, error.to_string())
            }
            io::ErrorKind::PermissionDenied => (ConnectErrorKind::Refused, error.to_string()),
            io::ErrorKind::UnexpectedEof => {
                (ConnectErrorKind::Unreachable, "the server closed the connection".to_owned())
            }
            _ => (ConnectErrorKind::Unreachable, error.to_string()),
        };
        Self::new(kind, cause)
    }

    /// The failures of several hosts as one: of the last one's kind, since only the last can be final.
    pub(super) fn joined(mut failures: Vec<(String, Failure)>) -> Self {
        let several = failures.len() > 1;
        let causes: Vec<String> = failures
            .iter()
            .map(
                |(place, failure)| {
                    if several { format!("{place}: {}", failure.cause) } else { failure.cause.clone() }
                },
            )
            .collect();
        match failures.pop() {
            Some((_, last)) => Self { cause: causes.join("; "), ..last },
            None => Self::configuration("no host to connect to".to_owned()),
        }
    }

    /// Both ways failed: the second decides the kind, the text tells both where they differ.
    pub(super) fn or_else_of(self, second: Self) -> Self {
        let cause = if self.cause == second.cause {
            second.cause
        } else {
            format!("{}; then: {}", self.cause, second.cause)
        };
        Self { cause, ..second }
    }
}

fn tls_words(error: &rustls::Error) -> String {
    use rustls::CertificateError as Certificate;
    match error {
        rustls::Error::InvalidCertificate(Certificate::UnknownIssuer) => {
            "the server's certificate is not signed by any trusted root certificate (see `sslrootcert`)"
                .to_owned()
        }
        rustls::Error::InvalidCertificate(
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. },
        ) => format!("the server's certificate is not for this host name: {error}"),
        rustls::Error::InvalidCertificate(Certificate::Other(other))
            if format!("{:?}", other.0) == "UnsupportedCertVersion" =>
        {
            "the server's certificate is of X.509 version 1, which is not supported; make it a new one with a `subjectAltName`"
                .to_owned()
        }
        rustls::Error::AlertReceived(alert) => format!("the server ended TLS with the alert {alert:?}"),
        other => format!("TLS failed: {other}"),
    }
}

/// The network failed while TLS was asked for: no fault of TLS.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Asking(#[source] pub(super) io::Error);
