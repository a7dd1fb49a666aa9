//! TLS by libpq's parameters: which certificates are trusted, which is shown, which versions are spoken. It
//! opens no connection.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::ClientConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, SupportedProtocolVersion, version};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::{ConnectErrorKind, Failure};
use super::settings::{bad_value, unsupported};
use super::verify::{ServerVerifier, Trust};
use crate::conninfo::ConnInfo;
use crate::files;

/// No certificate file is larger, root certificates included; what is, is something else.
const FILE_LIMIT_BYTES: u64 = 16 * 1024 * 1024;

/// libpq's `sslmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub(super) enum SslMode {
    Disable,
    Allow,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl SslMode {
    pub(super) fn of(info: &ConnInfo) -> Result<Self, Failure> {
        let mode = match info.get("sslmode") {
            Some("disable") => Self::Disable,
            Some("allow") => Self::Allow,
            None | Some("prefer") => Self::Prefer,
            Some("require") => Self::Require,
            Some("verify-ca") => Self::VerifyCa,
            Some("verify-full") => Self::VerifyFull,
            Some(other) => return Err(bad_value("sslmode", other)),
        };
        if info.get("sslrootcert") == Some("system") && mode != Self::VerifyFull {
            return Err(Failure::configuration(
                "`sslrootcert=system` needs `sslmode=verify-full`: anyone can have a certificate of a public authority".to_owned(),
            ));
        }
        if info.get("sslnegotiation") == Some("direct") && mode < Self::Require {
            return Err(Failure::configuration(
                "`sslnegotiation=direct` needs `sslmode=require` or stronger".to_owned(),
            ));
        }
        Ok(mode)
    }
}

/// TLS made ready for a connection.
pub(super) struct Tls {
    pub(super) mode: SslMode,
    config: ClientConfig,
}

impl Tls {
    pub(super) fn new(info: &ConnInfo, mode: SslMode) -> Result<Self, Failure> {
        // The provider is named here, since the one of the process is for whoever owns the process to choose.
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = ServerVerifier::new(trust(info, mode)?, &provider);
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions(info)?)
            .map_err(|error| tls_failure(format!("cannot set up TLS: {error}")))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match client_certificate(info, &provider)? {
            Some((chain, key)) => builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| tls_failure(format!("cannot use the client certificate: {error}")))?,
            None => builder.with_no_client_auth(),
        };
        config.enable_sni = info.get("sslsni") != Some("0");
        if info.get("sslnegotiation") == Some("direct") {
            config.alpn_protocols = vec![b"postgresql".to_vec()];
        }
        Ok(Self { mode, config })
    }

    pub(super) fn connector(&self) -> MakeRustlsConnect {
        MakeRustlsConnect::new(self.config.clone())
    }
}

fn tls_failure(cause: String) -> Failure {
    Failure::new(ConnectErrorKind::Tls, cause)
}

fn versions(info: &ConnInfo) -> Result<Vec<&'static SupportedProtocolVersion>, Failure> {
    let minimum = match info.get("ssl_min_protocol_version") {
        None | Some("TLSv1" | "TLSv1.1" | "TLSv1.2") => &[&version::TLS12, &version::TLS13][..],
        Some("TLSv1.3") => &[&version::TLS13],
        Some(other) => return Err(bad_value("ssl_min_protocol_version", other)),
    };
    let has_newest = match info.get("ssl_max_protocol_version") {
        None | Some("TLSv1.3") => true,
        Some("TLSv1.2") => false,
        Some("TLSv1" | "TLSv1.1") => {
            return Err(unsupported("ssl_max_protocol_version", "TLS before 1.2 is not spoken"));
        }
        Some(other) => return Err(bad_value("ssl_max_protocol_version", other)),
    };
    let chosen: Vec<_> =
        minimum.iter().copied().filter(|version| has_newest || **version != version::TLS13).collect();
    if chosen.is_empty() {
        return Err(Failure::configuration(
            "`ssl_min_protocol_version` is above `ssl_max_protocol_version`".to_owned(),
        ));
    }
    Ok(chosen)
}

/// A file that was named, or else the one of this name in `~/.postgresql`.
fn file(info: &ConnInfo, keyword: &str, default: &str) -> Option<PathBuf> {
    info.get(keyword).map(PathBuf::from).or_else(|| Some(info.client_files()?.join(default)))
}

fn trust(info: &ConnInfo, mode: SslMode) -> Result<Trust, Failure> {
    let checks_name = mode == SslMode::VerifyFull;
    let mut roots = RootCertStore::empty();
    if info.get("sslrootcert") == Some("system") {
        let (count, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if count == 0 {
            return Err(tls_failure(
                "the system has no root certificates for `sslrootcert=system`; install them (`ca-certificates`)".to_owned(),
            ));
        }
        return Ok(Trust::Roots { roots, pinned: Vec::new(), checks_name });
    }
    let path = file(info, "sslrootcert", "root.crt");
    let Some(path) = path.filter(|path| path.exists()) else {
        // As in libpq a missing file matters only to the modes that promise to verify.
        return if mode < SslMode::VerifyCa { Ok(Trust::Anything) } else { Err(no_roots(info)) };
    };
    refuse_revocation_lists(info)?;
    let pinned = certificates(&path, "root certificate")?;
    for certificate in &pinned {
        roots.add(certificate.clone()).map_err(|error| {
            tls_failure(format!(
                "cannot use a certificate of root certificate file `{}`: {error}",
                path.display()
            ))
        })?;
    }
    Ok(Trust::Roots { roots, pinned, checks_name })
}

fn no_roots(info: &ConnInfo) -> Failure {
    let path = file(info, "sslrootcert", "root.crt");
    let path = path.map_or_else(|| "~/.postgresql/root.crt".to_owned(), |path| path.display().to_string());
    tls_failure(format!(
        "root certificate file `{path}` does not exist; put the certificate of the server's authority there or name it in \
         `sslrootcert`, trust the system's roots with `sslrootcert=system`, or change `sslmode` not to verify the server"
    ))
}

fn refuse_revocation_lists(info: &ConnInfo) -> Result<(), Failure> {
    let default_list = info.client_files().map(|folder| folder.join("root.crl")).filter(|path| path.exists());
    let is_asked_for =
        info.get("sslcrl").is_some() || info.get("sslcrldir").is_some() || default_list.is_some();
    if is_asked_for {
        let why =
            "revocation lists are not checked; remove it, or `~/.postgresql/root.crl`, to connect without";
        return Err(unsupported("sslcrl", why));
    }
    Ok(())
}

fn certificates(path: &Path, what: &str) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let failed = |why: String| tls_failure(format!("cannot read {what} file `{}`: {why}", path.display()));
    let text = files::read_at_most(path, FILE_LIMIT_BYTES).map_err(|error| failed(error.to_string()))?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| failed(error.to_string()))?;
    if found.is_empty() { Err(failed("it holds no PEM certificate".to_owned())) } else { Ok(found) }
}

type CertificateAndKey = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn client_certificate(
    info: &ConnInfo,
    provider: &CryptoProvider,
) -> Result<Option<CertificateAndKey>, Failure> {
    if info.get("sslcertmode") == Some("disable") {
        return Ok(None);
    }
    let Some(path) = file(info, "sslcert", "postgresql.crt").filter(|path| path.exists()) else {
        return Ok(None);
    };
    let chain = certificates(&path, "client certificate")?;
    let Some(key_path) = file(info, "sslkey", "postgresql.key").filter(|path| path.exists()) else {
        return Err(tls_failure(format!(
            "client certificate `{}` has no private key file; name it in `sslkey`",
            path.display()
        )));
    };
    let key = private_key(&key_path)?;
    provider.key_provider.load_private_key(key.clone_key()).map_err(|error| {
        tls_failure(format!("cannot use private key file `{}`: {error}", key_path.display()))
    })?;
    Ok(Some((chain, key)))
}

/// Reads a key by libpq's rule: 0600 or stricter, or 0640 where it belongs to root.
fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, Failure> {
    let shown = path.display();
    let unreadable =
        |error: std::io::Error| tls_failure(format!("cannot read private key file `{shown}`: {error}"));
    let metadata = fs::metadata(path).map_err(unreadable)?;
    let forbidden = if metadata.uid() == 0 { 0o037 } else { 0o077 };
    if !metadata.is_file() {
        return Err(tls_failure(format!("private key file `{shown}` is not a plain file")));
    }
    if metadata.mode() & forbidden != 0 {
        return Err(tls_failure(format!(
            "private key file `{shown}` can be read by others; it must be 0600, or 0640 if root owns it: `chmod 0600 {shown}`"
        )));
    }
    let text = zeroize::Zeroizing::new(files::read_at_most(path, FILE_LIMIT_BYTES).map_err(unreadable)?);
    let is_encrypted = String::from_utf8_lossy(&text).lines().any(|line| line.contains("ENCRYPTED"));
    if is_encrypted {
        return Err(tls_failure(format!(
            "private key file `{shown}` is encrypted, which is not supported; decrypt it (`openssl pkey`) and keep it 0600"
        )));
    }
    PrivateKeyDer::from_pem_slice(&text)
        .map_err(|error| tls_failure(format!("cannot read private key file `{shown}`: {error}")))
}
