//! One attempt at one address, in bounded time. It knows no order of hosts and no fallback.

use std::net::{IpAddr, ToSocketAddrs};
use std::time::Duration;

use postgres::config::Host;
use postgres::{Client, Config, NoTls, SimpleQueryMessage};

use super::cancel::Canceller;
use super::error::{ConnectErrorKind, Failure};
use super::pooler;
use super::session;
use super::settings::Session;
use super::tls::Tls;
use super::transport::{Encryption, Transport};
use crate::bounded::{self, GivenUp};
use crate::conninfo::Target;

/// Connects, authenticates, and checks that the session is what is asked for.
pub(super) fn connect(
    mut config: Config,
    tls: Option<&Tls>,
    encryption: Encryption,
    session: Session,
    time_limit: Duration,
) -> Result<(Client, Canceller), Failure> {
    let connector = match (encryption, tls) {
        (Encryption::Off, _) | (_, None) => None,
        (_, Some(tls)) => Some(tls.connector()),
    };
    let is_socket = config.get_hosts().iter().any(|host| matches!(host, Host::Unix(_)));
    let transport = if is_socket {
        config.ssl_mode(postgres::config::SslMode::Disable);
        None
    } else {
        Some(Transport::over(&mut config, connector, encryption))
    };
    within(time_limit, move || {
        let connected = match &transport {
            Some(transport) => config.connect(transport.clone()),
            None => config.connect(NoTls),
        };
        let mut client = connected.map_err(|error| Failure::of(&error))?;
        // Before anything is set: it might be set for others.
        pooler::ensure_own_process(&mut client, &config, transport.as_ref(), time_limit)?;
        session::pin(&mut client, config.get_options())?;
        ensure_session(&mut client, session)?;
        let canceller = Canceller::of(&client, transport);
        Ok((client, canceller))
    })
}

/// The addresses of a host, in the resolver's order.
pub(super) fn addresses(target: &Target, time_limit: Duration) -> Result<Vec<IpAddr>, Failure> {
    if let Some(address) = &target.address {
        let parsed = address.parse().map_err(|_| super::settings::bad_value("hostaddr", address))?;
        return Ok(vec![parsed]);
    }
    let (host, port) = (target.host.clone(), target.port);
    within(time_limit, move || match (host.as_str(), port).to_socket_addrs() {
        Ok(found) => Ok(found.map(|address| address.ip()).collect()),
        Err(error) => Err(Failure::unreachable(format!("cannot find the address of host `{host}`: {error}"))),
    })
}

/// Runs work that may block for ever on a thread of its own, and waits for it no longer than the limit.
///
/// The library's own limit covers the network connection only: a host that accepts and then says nothing
/// would hold the caller for ever. A thread that is given up ends with the connection or the process; what it
/// may still open is closed at once, since nobody is left to take it.
fn within<T: Send + 'static>(
    time_limit: Duration,
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    match bounded::within("connect", time_limit, work) {
        Ok(outcome) => outcome,
        Err(GivenUp::Late) => Err(Failure::new(
            ConnectErrorKind::TimedOut,
            format!("no answer within {} s", time_limit.as_secs_f64()),
        )),
        Err(GivenUp::Lost) => {
            Err(Failure::new(ConnectErrorKind::Refused, "the connecting thread failed".to_owned()))
        }
        Err(error @ GivenUp::NoThread(_)) => Err(Failure::unreachable(error.to_string())),
    }
}

fn ensure_session(client: &mut Client, wanted: Session) -> Result<(), Failure> {
    let (query, expected, otherwise) = match wanted {
        Session::Any | Session::PreferStandby => return Ok(()),
        Session::ReadWrite => ("SHOW transaction_read_only", "off", "session is read-only"),
        Session::ReadOnly => ("SHOW transaction_read_only", "on", "session is not read-only"),
        Session::Primary => ("SELECT pg_catalog.pg_is_in_recovery()", "f", "server is in hot standby mode"),
        Session::Standby => {
            ("SELECT pg_catalog.pg_is_in_recovery()", "t", "server is not in hot standby mode")
        }
    };
    let answer = client.simple_query(query).map_err(|error| Failure::of(&error))?;
    let is_so = answer.iter().any(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0) == Some(expected),
        _ => false,
    });
    if is_so { Ok(()) } else { Err(Failure::new(ConnectErrorKind::Session, otherwise.to_owned())) }
}
