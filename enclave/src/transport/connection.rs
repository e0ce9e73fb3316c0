//! What is known of the connection that a request came by.
//!
//! In: a handshake that is done, or a plain connection. Out: [`Connection`], which each request of it carries among
//! its extensions. It says who is at the other end only as far as TLS does: that somebody has a key. Whether the
//! certificate means anything is the identity stage's to judge.

use super::pace::Pace;
use countersign_record::channel::EXPORTER_LABEL;
use countersign_record::digest::ChannelBinding;
use rustls::ServerConnection;
use rustls::pki_types::CertificateDer;
use std::net::SocketAddr;
use std::sync::Arc;

/// The connection that a request came by.
#[derive(Debug, Clone)]
pub struct Connection(Arc<Facts>);

#[derive(Debug)]
struct Facts {
    peer: SocketAddr,
    session: Option<Session>,
    pace: Pace,
}

/// What TLS says of a connection.
#[derive(Debug)]
pub struct Session {
    binding: ChannelBinding,
    unjudged: Vec<CertificateDer<'static>>,
}

impl Session {
    /// What a handshake that is done left behind.
    ///
    /// # Errors
    /// If it is not done.
    pub(super) fn of(tls: &ServerConnection) -> Result<Self, rustls::Error> {
        Ok(Self {
            binding: ChannelBinding(tls.export_keying_material([0; 32], EXPORTER_LABEL, None)?),
            unjudged: tls.peer_certificates().unwrap_or_default().to_vec(),
        })
    }

    /// The name of this very connection, which both of its ends can compute and nobody else: a relay in the middle
    /// has two connections, with two names.
    #[must_use]
    pub fn binding(&self) -> ChannelBinding {
        self.binding
    }

    /// The certificates that the client showed, its own first; none if it showed none.
    ///
    /// The client has the key of the first. Nothing else was judged: not who issued them, nor for whom or until when.
    #[must_use]
    pub fn unjudged_certificates(&self) -> &[CertificateDer<'static>] {
        &self.unjudged
    }
}

impl Connection {
    pub(super) fn new(peer: SocketAddr, session: Option<Session>, pace: Pace) -> Self {
        Self(Arc::new(Facts {
            peer,
            session,
            pace,
        }))
    }

    /// The address at the other end, which may be a proxy's.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.0.peer
    }

    /// What TLS says; nothing over plain HTTP.
    #[must_use]
    pub fn session(&self) -> Option<&Session> {
        self.0.session.as_ref()
    }

    /// Says that a caller who is known has spoken on it: it may be silent for longer, and those of strangers end first.
    pub fn is_of_a_known_caller(&self) {
        self.0.pace.known();
    }

    /// Whether a known caller has spoken on it.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.0.pace.is_known()
    }
}
