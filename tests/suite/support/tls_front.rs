//! TLS in front of a server of the tests' own, with a certificate for `localhost`.

use std::path::PathBuf;
use std::process::Command;

use super::s3server::make_certificate;
use super::tools::{project, python, wait_until};
use super::watchdog::Watched;

/// A running front; it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct TlsFront {
    pub(crate) port: u16,
    /// The certificate of the authority that signed the front's.
    pub(crate) authority: PathBuf,
    _watched: Watched,
}

impl TlsFront {
    /// Starts one in front of `address`, which is a host and a port.
    pub(crate) fn start(address: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("pgkeep-tls").tempdir().unwrap().keep();
        make_certificate(&folder);
        let mut command = Command::new(python());
        command
            .arg(project().join("tests/tls_front.py"))
            .arg(address.rsplit(':').next().unwrap())
            .arg(&folder);
        let watched = Watched::start(&command, "KILL", &folder);
        let mut port = None;
        wait_until("the TLS front listens", || {
            let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
            let line =
                log.lines().find_map(|line| line.strip_prefix("port ")).filter(|_| log.ends_with('\n'));
            port = line.and_then(|digits| digits.parse().ok());
            port.is_some()
        });
        Self { port: port.unwrap(), authority: folder.join("authority.crt"), _watched: watched }
    }

    /// The address of a path behind it.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.port)
    }
}
