//! A gateway that speaks TLS, and the authority that its certificate is from.
//!
//! In: nothing. Out: the machine, and clients that believe the authority.

use crate::PATIENCE;
use crate::certificates::{Ca, Pair, knock};
use crate::client::Client;
use crate::machine::{Gateway, Machine};
use rustls::{ClientConfig, ClientConnection};
use std::net::TcpStream;
use std::sync::Arc;

/// Names under which tests reach a gateway.
pub const HERE: &str = "DNS:localhost,IP:127.0.0.1";

/// A machine whose gateway speaks TLS.
pub struct Protected {
    /// The machine.
    pub machine: Machine,
    /// The authority.
    pub ca: Ca,
    /// The pair that the settings name.
    pub pair: Pair,
}

impl Default for Protected {
    fn default() -> Self {
        Self::new()
    }
}

impl Protected {
    /// An enrolled machine with a certificate.
    #[must_use]
    pub fn new() -> Self {
        Self::of(Machine::enrolled())
    }

    /// A certificate for a machine whose gateway is not running.
    #[must_use]
    pub fn of(machine: Machine) -> Self {
        let ca = Ca::make(machine.path());
        let pair = ca.issue("gateway", HERE);
        machine.site().edit("plain_http = true", "");
        let section = format!(
            "[tls]\ncertificate = \"../gateway.pem\"\nkey = {:?}\n\n[tpm]",
            pair.key.display().to_string()
        );
        machine.site().edit("[tpm]", &section);
        Self { machine, ca, pair }
    }

    /// The same, and its gateway.
    #[must_use]
    pub fn started() -> (Self, Gateway) {
        let this = Self::new();
        let gateway = this.machine.start();
        (this, gateway)
    }

    /// The agent that signs, over TLS.
    #[must_use]
    pub fn beta(&self, gateway: &Gateway) -> Client {
        gateway.beta().over_tls(self.ca.client())
    }

    /// Ends a handshake; what the client knows then.
    ///
    /// # Panics
    /// If it fails.
    #[must_use]
    pub fn shake(&self, gateway: &Gateway, config: &Arc<ClientConfig>) -> ClientConnection {
        shake(gateway, config).unwrap()
    }

    /// The certificate that a new connection gets.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn shown(&self, gateway: &Gateway) -> Vec<u8> {
        let connection = self.shake(gateway, &self.ca.client());
        connection.peer_certificates().unwrap()[0].to_vec()
    }
}

/// A connection on which nothing was said yet.
///
/// # Panics
/// If nobody is there.
#[must_use]
pub fn tcp(gateway: &Gateway) -> TcpStream {
    let stream = TcpStream::connect(gateway.authority()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Ends a handshake; what the client knows then.
///
/// # Errors
/// If it fails.
pub fn shake(gateway: &Gateway, config: &Arc<ClientConfig>) -> std::io::Result<ClientConnection> {
    let mut connection = knock(config, gateway.authority());
    let mut stream = tcp(gateway);
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    Ok(connection)
}
