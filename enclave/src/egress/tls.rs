//! TLS 1.3 to an upstream: to whom the site's roots vouch for, and to no other key than those that it pins.
//!
//! A pin is SHA-256 of the SubjectPublicKeyInfo of the upstream's own certificate, DER, as RFC 7469 has it: a renewed
//! certificate over the same key keeps it. It counts beside the roots, never in their place.

use super::Refused;
use crate::transport::{HTTP_1_1, client_of};
use anyhow::Context as _;
use countersign_policies::endpoint::Host;
use countersign_policies::site::people::UpstreamTls;
use countersign_record::digest::sha256;
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, IpAddr as TlsAddress, ServerName};
use rustls::server::ParsedCertificate;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// What is done in handshakes with one upstream.
#[derive(Debug, Clone)]
pub(crate) struct UpstreamHandshake {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    pins: Vec<[u8; 32]>,
}

/// A connection over which only the upstream hears, and SHA-256 of the certificate that it showed.
pub(crate) type Shaken = (TlsStream<TcpStream>, [u8; 32]);

impl UpstreamHandshake {
    /// # Errors
    /// If the roots cannot be read, or there is none.
    pub(crate) fn new(host: &Host, tls: &UpstreamTls) -> anyhow::Result<Self> {
        let certificates = CertificateDer::pem_slice_iter(tls.roots.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .context("the file of roots is not pem")?;
        let mut config = client_of(certificates)?;
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        // Each connection shows a certificate of its own, which is judged and recorded.
        config.resumption = Resumption::disabled();
        let name = match host {
            Host::Name(name) => ServerName::try_from(name.clone()).context("host is no name")?,
            Host::Address(address) => ServerName::IpAddress(TlsAddress::from(*address)),
        };
        Ok(Self {
            config: Arc::new(config),
            name,
            pins: tls.pins.clone(),
        })
    }

    /// Shakes hands; nothing of a request was sent before this is over.
    pub(crate) async fn shake(&self, stream: TcpStream) -> Result<Shaken, Refused> {
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let stream = connector
            .connect(self.name.clone(), stream)
            .await
            .map_err(|error| why(&error))?;
        let shown = stream.get_ref().1.peer_certificates();
        let certificate = shown.and_then(<[_]>::first).ok_or(Refused::Certificate)?;
        let digest = sha256(certificate);
        if !self.pins.is_empty() {
            let parsed = ParsedCertificate::try_from(certificate);
            let parsed = parsed.map_err(|_| Refused::Certificate)?;
            let key = sha256(&parsed.subject_public_key_info());
            if !self.pins.contains(&key) {
                return Err(Refused::Pin);
            }
        }
        Ok((stream, digest))
    }
}

/// Who does not speak TLS 1.3, or speaks it badly, is not the upstream either; who goes away is not there.
fn why(error: &std::io::Error) -> Refused {
    let inner = error
        .get_ref()
        .and_then(|e| e.downcast_ref::<rustls::Error>());
    match inner {
        Some(_) => Refused::Certificate,
        None => Refused::Unreachable,
    }
}
