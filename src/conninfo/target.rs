//! The places a connection may go to: the lists of hosts, addresses and ports, put side by side. It resolves
//! no names.

use std::fmt;
use std::path::Path;

use super::ConnInfo;
use super::error::ConnInfoError;

/// The port of `PostgreSQL`.
pub(super) const DEFAULT_PORT: u16 = 5432;

/// Debian's socket directory, which its libpq takes where no host is named.
const DEBIAN_SOCKET_DIRECTORY: &str = "/var/run/postgresql";
/// The socket directory of `PostgreSQL` as its own source builds it.
const PLAIN_SOCKET_DIRECTORY: &str = "/tmp";

/// One host of a connection string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// A host name, an address or a socket directory; empty where only `address` is given.
    pub host: String,
    /// The address to connect to (`hostaddr`), which saves looking up the host name.
    pub address: Option<String>,
    /// The port, which is also part of a socket's name.
    pub port: u16,
}

impl Target {
    /// Whether it is a socket of this machine, by libpq's test: a path, or `@` for an abstract one.
    #[must_use]
    pub fn is_socket(&self) -> bool {
        self.address.is_none() && self.host.starts_with(['/', '@'])
    }

    /// The host, or the address where no host is given.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.address {
            Some(address) if self.host.is_empty() => address,
            _ => &self.host,
        }
    }

    /// What a password file calls this host: `localhost` for the default socket directories, as in libpq.
    pub(super) fn pass_file_host(&self) -> &str {
        match self.name() {
            DEBIAN_SOCKET_DIRECTORY | PLAIN_SOCKET_DIRECTORY => "localhost",
            name => name,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name().contains(':') {
            write!(formatter, "[{}]:{}", self.name(), self.port)
        } else {
            write!(formatter, "{}:{}", self.name(), self.port)
        }
    }
}

/// The directory to look for a socket in where no host is named.
pub(super) fn default_socket_directory() -> &'static str {
    if Path::new(DEBIAN_SOCKET_DIRECTORY).is_dir() { DEBIAN_SOCKET_DIRECTORY } else { PLAIN_SOCKET_DIRECTORY }
}

/// Puts the lists of hosts, addresses and ports side by side, by libpq's rules.
pub(super) fn targets(info: &ConnInfo) -> Result<Vec<Target>, ConnInfoError> {
    let list = |keyword| -> Vec<&str> {
        info.get(keyword).map(|text| text.split(',').collect()).unwrap_or_default()
    };
    let (hosts, addresses, ports) = (list("host"), list("hostaddr"), list("port"));
    let count = hosts.len().max(addresses.len()).max(1);
    let unequal = |others, what| Err(ConnInfoError::UnequalLists { hosts: count, others, what });
    if !hosts.is_empty() && !addresses.is_empty() && hosts.len() != addresses.len() {
        return unequal(hosts.len().min(addresses.len()), "host names or addresses to go with them");
    }
    if ports.len() > 1 && ports.len() != count {
        return unequal(ports.len(), "ports");
    }
    (0..count)
        .map(|index| {
            let host = hosts.get(index).copied().unwrap_or_default();
            // Only the name of a socket has one.
            if !host.starts_with(['/', '@']) && host.contains('@') {
                return Err(ConnInfoError::StrayAt);
            }
            let address = addresses.get(index).copied().filter(|address| !address.is_empty());
            let host = if host.is_empty() && address.is_none() { default_socket_directory() } else { host };
            let port = if ports.len() > 1 { ports.get(index) } else { ports.first() };
            Ok(Target {
                host: host.to_owned(),
                address: address.map(str::to_owned),
                port: port_of(port.copied().unwrap_or_default())?,
            })
        })
        .collect()
}

fn port_of(text: &str) -> Result<u16, ConnInfoError> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(DEFAULT_PORT);
    }
    text.parse().ok().filter(|port| *port > 0).ok_or(ConnInfoError::InvalidPort)
}
