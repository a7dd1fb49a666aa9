//! HTTP over TLS: whom to trust. It sends nothing.

use std::sync::Arc;

use anyhow::{Result, ensure};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// TLS with the roots of the system, which is also where `SSL_CERT_FILE` is honoured.
///
/// # Errors
/// When there are no roots at all.
pub fn tls_config() -> Result<TlsConfig> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        log::debug!("root certificates: {error}");
    }
    ensure!(
        !found.certs.is_empty(),
        "this host has no root certificates (install `ca-certificates`, or set SSL_CERT_FILE)"
    );
    let roots: RootCerts = found.certs.iter().map(|root| Certificate::from_der(root).to_owned()).into();
    Ok(TlsConfig::builder()
        .root_certs(roots)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .build())
}
