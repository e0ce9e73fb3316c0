//! Somebody between a client and a gateway: ends the client's TLS with a certificate and key of its choice, and
//! speaks TLS of its own to the gateway. What passes stands there in the clear.
//!
//! In: where the gateway is, a certificate and its key. Out: an address, and how many requests passed.

use crate::PATIENCE;
use crate::certificates::{Ca, Pair, knock};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ServerConfig, ServerConnection, StreamOwned};
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A relay that runs until the test ends.
pub struct Relay {
    /// Host and port.
    pub authority: String,
    passed: Arc<AtomicU64>,
}

impl Relay {
    /// Starts to relay to `gateway`.
    ///
    /// # Panics
    /// If it cannot.
    #[must_use]
    pub fn start(gateway: &str, ca: &Ca, pair: &Pair) -> Self {
        let certificate = CertificateDer::from_pem_file(&pair.certificate).expect("PEM");
        let key = PrivateKeyDer::from_pem_file(&pair.key).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("a pair");
        let (config, there) = (Arc::new(config), ca.client());
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let authority = listener.local_addr().expect("an address").to_string();
        let passed = Arc::new(AtomicU64::new(0));
        let (counting, gateway) = (Arc::clone(&passed), gateway.to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (config, there) = (Arc::clone(&config), Arc::clone(&there));
                let (counting, gateway) = (Arc::clone(&counting), gateway.clone());
                std::thread::spawn(move || {
                    // It ends when either side does.
                    let _ended = relay(client, &config, &there, &gateway, &counting);
                });
            }
        });
        Self { authority, passed }
    }

    /// Requests that passed so far.
    #[must_use]
    pub fn passed(&self) -> u64 {
        self.passed.load(Ordering::SeqCst)
    }
}

fn relay(
    client: TcpStream,
    config: &Arc<ServerConfig>,
    there: &Arc<ClientConfig>,
    gateway: &str,
    passed: &AtomicU64,
) -> io::Result<()> {
    client.set_read_timeout(Some(PATIENCE))?;
    let session = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
    let mut client = BufReader::new(StreamOwned::new(session, client));
    let onward = TcpStream::connect(gateway)?;
    onward.set_read_timeout(Some(PATIENCE))?;
    let mut onward = BufReader::new(StreamOwned::new(knock(there, gateway), onward));
    loop {
        let request = message(&mut client)?;
        // The gateway's own name, as it would be if the name led here.
        let request = renamed(&request, gateway);
        passed.fetch_add(1, Ordering::SeqCst);
        onward.get_mut().write_all(&request)?;
        let answer = message(&mut onward)?;
        client.get_mut().write_all(&answer)?;
    }
}

fn renamed(request: &[u8], gateway: &str) -> Vec<u8> {
    let end = request.windows(4).position(|w| w == b"\r\n\r\n");
    let (head, body) = request.split_at(end.unwrap_or(request.len()));
    let head = String::from_utf8_lossy(head);
    let lines = head.split("\r\n").map(|line| {
        if line.to_ascii_lowercase().starts_with("host:") {
            format!("host: {gateway}")
        } else {
            line.to_owned()
        }
    });
    let head = lines.collect::<Vec<_>>().join("\r\n");
    [head.as_bytes(), body].concat()
}

/// A request or an answer with a `content-length`, or without a body.
fn message(from: &mut BufReader<impl Read>) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut length = 0;
    loop {
        let begun = out.len();
        if from.read_until(b'\n', &mut out)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = String::from_utf8_lossy(&out[begun..]).to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
        if line == "\r\n" {
            break;
        }
    }
    let head = out.len();
    out.resize(head + length, 0);
    from.read_exact(&mut out[head..])?;
    Ok(out)
}
