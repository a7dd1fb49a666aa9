//! Verification of a server's certificate as libpq's `sslmode` means it. The signature of the handshake is
//! verified in every mode. It reads no files.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// Whose certificates are good.
#[derive(Debug)]
pub(super) enum Trust {
    /// Everybody's: encryption without knowing to whom.
    Anything,
    /// Those with a chain to a root.
    Roots {
        /// The roots.
        roots: RootCertStore,
        /// The same as they stand in the file: a server may show one of them itself.
        pinned: Vec<CertificateDer<'static>>,
        /// Whether the certificate must also be for the host that was asked for.
        checks_name: bool,
    },
}

/// A verifier by libpq's rules.
#[derive(Debug)]
pub(super) struct ServerVerifier {
    trust: Trust,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerVerifier {
    pub(super) fn new(trust: Trust, provider: &CryptoProvider) -> Self {
        Self { trust, algorithms: provider.signature_verification_algorithms }
    }
}

/// Whether the only thing wrong is that a certificate of an authority is used by a server. The error inside
/// is of a crate that is not named here, so its words must do; should they change, such servers are refused.
fn is_authority_as_server(error: &Error) -> bool {
    matches!(error, Error::InvalidCertificate(CertificateError::Other(other)) if format!("{:?}", other.0) == "CaUsedAsEndEntity")
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Trust::Roots { roots, pinned, checks_name } = &self.trust else {
            return Ok(ServerCertVerified::assertion());
        };
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let outcome = verify_server_cert_signed_by_trust_anchor(
            &certificate,
            roots,
            intermediates,
            now,
            self.algorithms.all,
        );
        if let Err(error) = outcome {
            // `openssl req -x509` makes a certificate that is its own authority. libpq takes it from a server
            // whose user has that very certificate as a root; its dates were found good before this was found
            // odd.
            if !(is_authority_as_server(&error) && pinned.contains(end_entity)) {
                return Err(error);
            }
        }
        if *checks_name {
            verify_server_name(&certificate, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
