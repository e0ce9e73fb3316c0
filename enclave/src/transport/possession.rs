//! Client certificates: asked for, never required, and taken as no more than the possession of a key.
//!
//! In: what a client shows in its handshake. Out: a handshake that goes on, if the client signed it with the key of
//! its first certificate. Who issued that certificate, for whom and until when is not looked at here: that is the
//! identity stage's, which knows the bundle's trust. So a client whose certificate nobody trusts can connect, as one
//! without any can, and is nobody.

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::HandshakeSignatureValid, crypto::verify_tls13_signature,
};

/// Longest chain that a client may show: its own certificate, and issuers up to a root.
///
/// Bounds what a connection keeps. Chains of workloads have two or three.
pub const MAX_CHAIN: usize = 6;

/// Longest certificate, in bytes (8 KiB). One for a workload has about 1 KiB.
pub const MAX_CERTIFICATE_BYTES: usize = 8 * 1024;

/// Asks for a certificate, and lets anybody through who possesses the key of the one that is shown.
#[derive(Debug)]
pub(super) struct PossessionAlone {
    algorithms: WebPkiSupportedAlgorithms,
}

impl PossessionAlone {
    pub(super) fn new(algorithms: WebPkiSupportedAlgorithms) -> Self {
        Self { algorithms }
    }
}

impl ClientCertVerifier for PossessionAlone {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    /// Only what a connection may keep is decided here; nothing is said about who the client is.
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let bad = || Error::InvalidCertificate(CertificateError::BadEncoding);
        let long = intermediates.len() >= MAX_CHAIN
            || std::iter::once(end_entity)
                .chain(intermediates)
                .any(|c| c.len() > MAX_CERTIFICATE_BYTES);
        if long {
            return Err(bad());
        }
        let _readable = ParsedCertificate::try_from(end_entity)?;
        Ok(ClientCertVerified::assertion())
    }

    /// TLS 1.2 is not spoken.
    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.3 alone is spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
