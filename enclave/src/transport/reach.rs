//! The other side: a connection to a gateway.
//!
//! In: its address, and for `https` a file of the certificates that its own must lead to. There are no roots that
//! are trusted unasked: whom a person's command believes is said on its command line.
//! Out: a connection, and the authority that requests over it are signed for.

use super::{
    CLASSICAL, HTTP_1_1, HYBRID, VERSIONS, host_and_port, is_loopback, provider, server_name,
};
use anyhow::{Context as _, bail, ensure};
use countersign_record::channel::EXPORTER_LABEL;
use countersign_record::digest::ChannelBinding;
use countersign_signatures::http::Scheme;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What bytes go over.
pub trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// A connection.
pub struct Reached {
    /// What bytes go over.
    pub wire: Box<dyn Wire>,
    /// Its name over TLS, which only its other end can compute too.
    pub channel: Option<ChannelBinding>,
}

/// Where a gateway is, and how to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// In the clear.
    Plain {
        /// Host and port.
        authority: &'a str,
    },
    /// Over TLS.
    Tls {
        /// Host and port.
        authority: &'a str,
        /// PEM file of certificates that the gateway's must lead to.
        ca: &'a Path,
    },
}

impl<'a> Target<'a> {
    /// Reads an address.
    ///
    /// # Errors
    /// If it is none, or if a file of certificates is missing or has no use.
    pub fn parse(url: &'a str, ca: Option<&'a Path>) -> anyhow::Result<Self> {
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        let authority = rest.trim_end_matches('/');
        ensure!(
            !authority.is_empty() && !authority.contains(['/', '@', '?', '#']),
            "{url} is not an address of the form https://host:port or http://host:port"
        );
        match (scheme, ca) {
            ("https", Some(ca)) => Ok(Self::Tls { authority, ca }),
            ("https", None) => bail!(
                "say with --ca FILE which certificates the gateway's own must lead to (PEM): none is trusted unasked"
            ),
            ("http", None) => Ok(Self::Plain { authority }),
            ("http", Some(_)) => bail!("{url} has no certificate that --ca could be for"),
            (_, _) => bail!("{url} does not begin with https:// or http://"),
        }
    }

    /// Host and port, as requests name them.
    #[must_use]
    pub fn authority(&self) -> &'a str {
        match self {
            Self::Plain { authority } | Self::Tls { authority, .. } => authority,
        }
    }

    /// Whether it is this machine, by a name or address that leads nowhere else.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        is_loopback(host_and_port(self.authority()).0)
    }

    /// The scheme, as signatures see it.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        match self {
            Self::Plain { .. } => Scheme::Http,
            Self::Tls { .. } => Scheme::Https,
        }
    }

    /// Connects; over TLS, to nobody but whom the certificates show.
    ///
    /// # Errors
    /// If nobody is there, or somebody else.
    pub async fn connect(&self) -> anyhow::Result<Reached> {
        match self {
            Self::Plain { authority } => Ok(Reached {
                wire: Box::new(tcp(authority, 80).await?),
                channel: None,
            }),
            Self::Tls { authority, ca } => {
                let (host, _) = host_and_port(authority);
                let name = server_name(host).with_context(|| format!("{host} is no name"))?;
                let connector = TlsConnector::from(Arc::new(client(ca)?));
                let stream = tcp(authority, 443).await?;
                let connected = connector.connect(name.to_owned(), stream).await;
                let stream = connected.with_context(|| {
                    format!(
                        "{authority} is not shown to be the gateway by {}",
                        ca.display()
                    )
                })?;
                let exported =
                    stream
                        .get_ref()
                        .1
                        .export_keying_material([0; 32], EXPORTER_LABEL, None);
                Ok(Reached {
                    channel: Some(ChannelBinding(
                        exported.context("the connection has no name")?,
                    )),
                    wire: Box::new(stream),
                })
            }
        }
    }
}

async fn tcp(authority: &str, default_port: u16) -> anyhow::Result<TcpStream> {
    let address = match host_and_port(authority) {
        (_, Some(_)) => authority.to_owned(),
        (host, None) => format!("{host}:{default_port}"),
    };
    TcpStream::connect(&address)
        .await
        .with_context(|| format!("nobody answers at {authority}"))
}

/// What a command does in handshakes.
fn client(ca: &Path) -> anyhow::Result<ClientConfig> {
    let unreadable = || format!("cannot read certificates from {}", ca.display());
    let certificates = CertificateDer::pem_file_iter(ca)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(unreadable)?;
    let mut out = client_of(certificates)
        .with_context(|| format!("there is no certificate in {}", ca.display()))?;
    out.alpn_protocols = vec![HTTP_1_1.to_vec()];
    Ok(out)
}

/// A side that believes these certificates, and what they vouch for; nobody else.
pub(crate) fn client_of(
    certificates: Vec<CertificateDer<'static>>,
) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    // One that cannot be read is believed by nobody; a system's own collection has such.
    let (added, _ignored) = roots.add_parsable_certificates(certificates);
    ensure!(added > 0, "no certificate that can be read");
    let provider = provider([&[HYBRID], &CLASSICAL[..]].concat());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(VERSIONS)?
        .with_root_certificates(roots)
        .with_no_client_auth())
}
