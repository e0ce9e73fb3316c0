//! Handshakes: from TCP connections to TLS ones.
//!
//! In: connections, about whose other end nothing is known. Out: those whose handshake is done, in the order in which
//! it was done: one that is slow keeps nobody waiting. A handshake that fails, or takes too long, ends its own
//! connection and nothing else. None is logged: whoever knocks must not be able to fill the log.

use super::certificate::Certificate;
use super::{CLASSICAL, HYBRID};
use crate::boot::tracing_line;
use axum::serve::Listener;
use rustls::ServerConfig;
use rustls::server::Acceptor;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

/// Longest handshake. It takes two round trips, three if the client guessed another key exchange.
pub const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);

/// Handshakes at one time. Those beyond wait in the kernel's queue until one ends: who opens more than a hundred
/// silent connections a second (512 in [`HANDSHAKE_LIMIT`]) keeps others waiting, but no call that is under way.
///
/// Bounds memory: one holds at most some 20 KiB of messages (assumed), so all of them 10 MiB.
pub const MAX_HANDSHAKES: usize = 512;

/// What the gateway does with a client that has the hybrid key exchange, and with others.
///
/// Two, because one would leave the choice to the order of the client's list.
struct Sides {
    hybrid: Arc<ServerConfig>,
    classical: Arc<ServerConfig>,
}

impl Sides {
    async fn shake(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let begun = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let groups = begun.client_hello().named_groups();
        let side = if groups.is_some_and(|g| g.contains(&HYBRID.name())) {
            &self.hybrid
        } else {
            &self.classical
        };
        begun.into_stream(Arc::clone(side)).await
    }
}

type Connection = (TlsStream<TcpStream>, SocketAddr);

/// Gives connections whose handshake is done.
pub struct TlsListener {
    local: SocketAddr,
    done: mpsc::Receiver<Connection>,
    accepting: JoinHandle<()>,
}

impl TlsListener {
    /// Begins to accept.
    ///
    /// # Errors
    /// If the socket has no address, or the cryptography lacks what TLS 1.3 needs.
    pub fn start(listener: TcpListener, certificate: &Arc<Certificate>) -> anyhow::Result<Self> {
        let local = listener.local_addr()?;
        let sides = Arc::new(Sides {
            hybrid: Arc::new(certificate.server(vec![HYBRID])?),
            classical: Arc::new(certificate.server(CLASSICAL.to_vec())?),
        });
        let (say, done) = mpsc::channel(1);
        Ok(Self {
            local,
            done,
            accepting: tokio::spawn(accept(listener, sides, say)),
        })
    }
}

impl Drop for TlsListener {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.done.recv().await {
            Some(connection) => connection,
            None => {
                tracing_line("error: no connection is accepted any more");
                std::future::pending().await
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(self.local)
    }
}

async fn accept(mut listener: TcpListener, sides: Arc<Sides>, done: mpsc::Sender<Connection>) {
    let slots = Arc::new(Semaphore::new(MAX_HANDSHAKES));
    while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
        // What the system refuses here is tried again after a while, as for plain connections.
        let (stream, peer) = Listener::accept(&mut listener).await;
        // Answers leave at once; without it they are late, not wrong.
        let _slower = stream.set_nodelay(true);
        let (sides, done) = (Arc::clone(&sides), done.clone());
        tokio::spawn(async move {
            let shaken = tokio::time::timeout(HANDSHAKE_LIMIT, sides.shake(stream)).await;
            if let Ok(Ok(stream)) = shaken {
                // Nobody takes it only if the gateway is stopping.
                let _stopping = done.send((stream, peer)).await;
            }
            drop(slot);
        });
    }
}
