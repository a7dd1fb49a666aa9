//! A session with `PostgreSQL`, opened as libpq would open it: host after host, with TLS by `sslmode`, in
//! bounded time. It knows connection parameters and nothing of what the session is for.

mod attempt;
mod bounded;
mod cancel;
mod error;
mod order;
mod pooler;
mod session;
mod settings;
mod tls;
mod transport;
mod verify;

use std::time::Duration;

use postgres::Client;

pub use bounded::{BoundedClient, NoAnswer, Param};
pub use cancel::Canceller;
pub use error::{ConnectError, ConnectErrorKind, is_transient};

use crate::conninfo::{ConnInfo, Target};
use error::Failure;
use settings::{Session, Settings};
use tls::{SslMode, Tls};
use transport::Encryption;

/// What the caller decides about a connection, besides its parameters.
#[derive(Clone, Copy, Debug)]
pub struct ConnectOptions<'a> {
    /// The time for one address: the network connection, TLS, authentication and the first questions
    /// together. `connect_timeout` of the parameters, where it is above zero, wins.
    pub connect_timeout: Duration,
    /// The time for each answer of a [`BoundedClient`].
    pub answer_timeout: Duration,
    /// The name the session goes by, where the parameters give none.
    pub application_name: &'a str,
}

/// Opens a session by resolved parameters ([`ConnInfo::resolve`]).
///
/// The hosts are tried in their order. As in libpq the next one is tried when a host cannot be reached, is
/// not ready, or is not what `target_session_attrs` asks for; a refusal (of the password, the database, the
/// certificate) is final.
///
/// TLS follows libpq's `sslmode` (its chapter "SSL Support"), over TCP only: `disable`; `allow` (without,
/// then with); `prefer` (with if the server has it, then without); `require`; `verify-ca`; `verify-full`. As
/// in libpq an existing `sslrootcert` or `~/.postgresql/root.crt` makes every mode check the chain. The name
/// of a server is sought in the subject alternative names of its certificate only, never in its common name,
/// and a certificate of X.509 version 1 is refused, so that `prefer` goes on without TLS there.
///
/// Before anything else is asked the session's settings are pinned, the `search_path` first, to an empty one: what
/// an owner has set for a database must not change what a statement means. Every name is looked for in `pg_catalog`
/// alone then; statements give way after 60 s, and waits for locks after 30 s.
///
/// Every attempt ends after its time limit, whatever the other side does. One that was given up may leave a
/// thread behind, until the other side closes the connection or the process ends.
///
/// # Errors
/// [`ConnectError`], which says whether another try may help. Parameters that cannot be honoured
/// (`gssencmode=require`, `sslcrl`, `require_auth`, ...) are refused rather than passed over, and so is a pooler in
/// transaction or statement mode.
pub fn connect(info: &ConnInfo, options: &ConnectOptions<'_>) -> Result<Client, ConnectError> {
    Ok(connect_cancellable(info, options)?.0)
}

/// The same, with what ends the session's queries from another thread.
///
/// # Errors
/// As [`connect`].
pub fn connect_cancellable(
    info: &ConnInfo,
    options: &ConnectOptions<'_>,
) -> Result<(Client, Canceller), ConnectError> {
    let place = info.describe();
    connect_anywhere(info, options).map_err(|failure| ConnectError::new(&place, failure))
}

fn connect_anywhere(info: &ConnInfo, options: &ConnectOptions<'_>) -> Result<(Client, Canceller), Failure> {
    let settings = Settings::new(info, options)?;
    let mut targets = info.targets().map_err(|error| Failure::configuration(error.to_string()))?;
    if settings.is_shuffled {
        order::shuffle(&mut targets);
    }
    let mode = SslMode::of(info)?;
    // Sockets carry no TLS, so its files need not be in order for them.
    let tls = if mode == SslMode::Disable || targets.iter().all(Target::is_socket) {
        None
    } else {
        Some(Tls::new(info, mode)?)
    };
    let mut failures = Vec::new();
    for session in settings.session.passes() {
        for target in &targets {
            match connect_to(info, &settings, tls.as_ref(), target, *session) {
                Ok(opened) => return Ok(opened),
                Err(failure) => {
                    let is_final = !failure.kind.is_transient();
                    failures.push((target.to_string(), failure));
                    if is_final {
                        return Err(Failure::joined(failures));
                    }
                }
            }
        }
    }
    Err(Failure::joined(failures))
}

/// Tries each address of one host.
fn connect_to(
    info: &ConnInfo,
    settings: &Settings,
    tls: Option<&Tls>,
    target: &Target,
    session: Session,
) -> Result<(Client, Canceller), Failure> {
    if target.is_socket() {
        let config = settings.socket_config(info, target)?;
        return attempt::connect(config, tls, Encryption::Off, session, settings.time_limit);
    }
    let mut addresses = attempt::addresses(target, settings.time_limit)?;
    if settings.is_shuffled {
        order::shuffle(&mut addresses);
    }
    let mut last = Failure::unreachable(format!("no address found for host `{}`", target.name()));
    for address in addresses {
        let config = settings.tcp_config(info, target, address);
        match connect_by_modes(&config, tls, session, settings.time_limit) {
            Err(failure) if failure.kind.is_transient() => last = failure,
            outcome => return outcome,
        }
    }
    Err(last)
}

/// Tries one address with and without TLS, as `sslmode` orders it.
fn connect_by_modes(
    config: &postgres::Config,
    tls: Option<&Tls>,
    session: Session,
    time_limit: Duration,
) -> Result<(Client, Canceller), Failure> {
    let mode = tls.map_or(SslMode::Disable, |tls| tls.mode);
    let try_with = |encryption| attempt::connect(config.clone(), tls, encryption, session, time_limit);
    let (first, second) = match mode {
        SslMode::Disable => (Encryption::Off, None),
        SslMode::Allow => (Encryption::Off, Some(Encryption::Required)),
        SslMode::Prefer => (Encryption::Offered, Some(Encryption::Off)),
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => (Encryption::Required, None),
    };
    match (try_with(first), second) {
        (Err(failure), Some(second)) if failure.may_differ_without_tls => {
            try_with(second).map_err(|other| failure.or_else_of(other))
        }
        (outcome, _) => outcome,
    }
}
