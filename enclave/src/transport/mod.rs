//! How requests come to the gateway, and how its own commands reach one: TLS 1.3, or plain HTTP on loopback.
//!
//! | module | what it does |
//! |---|---|
//! | [`certificate`] | the gateway's certificate and key: from files, read again while it runs |
//! | [`possession`] | client certificates: asked for, and taken as the possession of a key alone |
//! | [`listener`] | connections: accepted, shaken hands with, served, ended; bounded in number and time |
//! | [`pace`] | how long a connection may be silent, and on what |
//! | [`connection`] | what a request can know of the connection that it came by |
//! | [`files`] | how many connections the system allows for |
//! | [`attested`] | the same, and whether the gateway at its other end is the one that evidence vouches for |
//! | [`reach`] | the other side: a connection to a gateway, whose certificate is verified |
//!
//! In: the settings' [`Listen`]. Out: [`Transport`], which says under which scheme and names requests come.
//! TLS keeps what is said from others on the way, and lets a caller know whom it calls as far as it trusts who
//! issued the certificate. It vouches for nothing else: entries are signed, whatever carried them.

pub mod attested;
pub mod certificate;
pub mod connection;
pub mod files;
pub mod listener;
pub mod pace;
pub mod possession;
pub mod reach;

pub(crate) use reach::client_of;

use certificate::{Certificate, CertificateError};
use countersign_policies::site::settings::{Listen, Protection, TlsFiles};
use countersign_signatures::http::Scheme;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use std::path::Path;
use std::sync::Arc;

/// Versions that are spoken.
static VERSIONS: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// The one protocol that is offered over TLS (ALPN, RFC 7301).
pub(crate) const HTTP_1_1: &[u8] = b"http/1.1";

/// The key exchange that is taken wherever both sides have it.
///
/// Who keeps the bytes of today needs more than a quantum computer to read them later.
static HYBRID: &dyn SupportedKxGroup = kx_group::X25519MLKEM768;

/// Those for clients that do not have it.
static CLASSICAL: [&dyn SupportedKxGroup; 2] = [kx_group::X25519, kx_group::SECP256R1];

/// The cryptography of both sides, written out so that no feature of a library chooses it.
fn provider(kx_groups: Vec<&'static dyn SupportedKxGroup>) -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        kx_groups,
        cipher_suites: vec![
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        ..default_provider()
    })
}

/// How requests come to this gateway.
#[derive(Debug, Clone)]
pub enum Transport {
    /// In the clear, from this machine.
    Loopback,
    /// Over TLS, under the names of this certificate.
    Tls(Arc<Certificate>),
}

impl Transport {
    /// Opens what the settings name; paths begin at the site directory.
    ///
    /// # Errors
    /// Why the certificate or its key cannot be used.
    pub fn open(listen: &Listen, site: &Path) -> Result<Self, CertificateError> {
        match listen.protection() {
            Protection::Loopback => Ok(Self::Loopback),
            Protection::Tls(TlsFiles { certificate, key }) => Certificate::open(TlsFiles {
                certificate: site.join(certificate),
                key: site.join(key),
            })
            .map(|certificate| Self::Tls(Arc::new(certificate))),
        }
    }

    /// The scheme of its addresses, as signatures see it.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        match self {
            Self::Loopback => Scheme::Http,
            Self::Tls(_) => Scheme::Https,
        }
    }

    /// What its addresses begin with.
    #[must_use]
    pub fn prefix(&self) -> &'static str {
        match self {
            Self::Loopback => "http://",
            Self::Tls(_) => "https://",
        }
    }

    /// Whether an authority is one of this gateway's: a name of its certificate, or of loopback where there is none.
    #[must_use]
    pub fn is_ours(&self, authority: &str) -> bool {
        let (host, _) = host_and_port(authority);
        match self {
            Self::Loopback => is_loopback(host),
            Self::Tls(certificate) => certificate.is_for(host),
        }
    }
}

/// Whether a host is this machine, by a name or address that leads nowhere else.
fn is_loopback(host: &str) -> bool {
    matches!(host, "localhost" | "127.0.0.1" | "[::1]")
}

/// The parts of an authority. An IPv6 address keeps its brackets.
fn host_and_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.chars().all(|c| c.is_ascii_digit()) => (host, Some(port)),
        _ => (authority, None),
    }
}

/// The name that a certificate has to be for; nothing if the host is none.
fn server_name(host: &str) -> Option<rustls::pki_types::ServerName<'_>> {
    let inner = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    inner.unwrap_or(host).try_into().ok()
}
