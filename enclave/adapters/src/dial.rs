//! How a connection to an upstream comes about, and what is remembered of it.
//!
//! Where connections may go, how names are resolved and how certificates are judged is not this
//! crate's matter: whoever makes an upstream hands in a [`Dial`]. Its connections are the only way
//! out of an upstream over HTTP; nothing is resolved, redirected or proxied here.

use std::any::Any;
use std::fmt::Debug;
use std::future::Future;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::stdio::locked;

/// Longest time to open a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// What bytes go over.
pub trait Wire: AsyncRead + AsyncWrite + Debug + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Debug + Unpin + Send> Wire for T {}

/// A connection that is being made.
pub type Dialling = Pin<Box<dyn Future<Output = Result<Dialled, DialError>> + Send>>;

/// Makes connections to the one place that it was made for.
pub trait Dial: Debug + Send + Sync {
    /// A new connection, to the place and to nobody else.
    fn dial(&self) -> Dialling;
}

/// A connection, and what is known of it.
#[derive(Debug)]
pub struct Dialled {
    /// What bytes go over.
    pub wire: Box<dyn Wire>,
    /// What is known of it.
    pub met: Met,
}

/// What is known of a connection, or of an attempt that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Met {
    /// Where it was to go: host and port.
    pub destination: String,
    /// Where it went.
    pub address: Option<SocketAddr>,
    /// SHA-256 of the certificate (DER) that was shown; nothing where TLS does not end here.
    pub certificate: Option<[u8; 32]>,
    /// Why it was refused, in one word.
    pub refused: Option<&'static str>,
}

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// Nobody answers there.
    #[error("no connection to {}", .0.destination)]
    Unreachable(Met),
    /// Nobody may go there, or whoever is there is not the one.
    #[error("connection to {} refused: {}", met.destination, met.refused.unwrap_or("barred"))]
    Barred {
        /// What was wrong.
        barred: Barred,
        /// Where it was to go.
        met: Met,
    },
}

/// What kept a connection from being used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Barred {
    /// The way there is not one that may be gone.
    #[error("the destination is not one that may be reached")]
    Destination,
    /// The certificate is not one that counts.
    #[error("the certificate is not one that counts")]
    Certificate,
    /// The program's sandbox cannot be had.
    #[error("the sandbox cannot be had")]
    Sandbox,
}

/// Most connections that are remembered of one call.
const MAX_MET: usize = 64;

/// Connections that a call used or was refused; clones are one trail.
#[derive(Debug, Clone, Default)]
pub struct Trail {
    trodden: Arc<Mutex<Trodden>>,
    pass: Option<Arc<dyn Pass>>,
}

/// What a call may reach: of whoever makes calls, for whoever makes connections. Not looked at here.
pub trait Pass: Any + Debug + Send + Sync {}

impl<T: Any + Debug + Send + Sync> Pass for T {}

#[derive(Debug, Default)]
struct Trodden {
    met: Vec<Met>,
    left_out: u64,
}

impl Trail {
    /// A trail of a call that has a pass.
    #[must_use]
    pub fn with(pass: Arc<dyn Pass>) -> Self {
        Self {
            pass: Some(pass),
            ..Self::default()
        }
    }

    /// The call's pass, if it is of this type.
    #[must_use]
    pub fn pass<T: Any>(&self) -> Option<&T> {
        let pass: &dyn Any = &**self.pass.as_ref()?;
        pass.downcast_ref()
    }

    /// Remembers a connection; once, if it is used again.
    pub fn add(&self, met: Met) {
        let mut trodden = locked(&self.trodden);
        if trodden.met.contains(&met) {
            return;
        }
        if trodden.met.len() >= MAX_MET {
            trodden.left_out = trodden.left_out.saturating_add(1);
        } else {
            trodden.met.push(met);
        }
    }

    /// What is remembered, in order, and how much is not.
    #[must_use]
    pub fn taken(&self) -> (Vec<Met>, u64) {
        let trodden = locked(&self.trodden);
        (trodden.met.clone(), trodden.left_out)
    }
}

/// The way out of a program that has a network of its own.
pub trait Network: Debug + Send + Sync {
    /// Serves whoever connects to this listening socket, for as long as what comes back is held.
    ///
    /// # Errors
    /// If it is no such socket.
    fn serve(&self, listener: OwnedFd) -> std::io::Result<Arc<dyn Tunnels>>;
}

/// Connections of one process, each for as long as a call lasts.
pub trait Tunnels: Debug + Send + Sync {
    /// A call is carried out from now on.
    fn begin(&self, trail: &Trail) -> u64;
    /// It is over.
    fn end(&self, call: u64);
}

/// Connections in the clear to an address of this machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Loopback(pub(crate) SocketAddr);

impl Dial for Loopback {
    fn dial(&self) -> Dialling {
        let address = self.0;
        Box::pin(async move {
            let met = Met {
                destination: address.to_string(),
                address: Some(address),
                certificate: None,
                refused: None,
            };
            let stream = TcpStream::connect(address).await;
            match stream.and_then(|stream| stream.set_nodelay(true).map(|()| stream)) {
                Ok(stream) => Ok(Dialled {
                    wire: Box::new(stream),
                    met,
                }),
                Err(_) => Err(DialError::Unreachable(met)),
            }
        })
    }
}

/// A [`Dial`] as hyper wants it.
#[derive(Debug, Clone)]
pub(crate) struct Connector(pub(crate) Arc<dyn Dial>);

impl tower_service::Service<Uri> for Connector {
    type Response = Line;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Line, DialError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    /// The address is not looked at: there is one place only, and the dial knows it.
    fn call(&mut self, uri: Uri) -> Self::Future {
        let dialling = self.0.dial();
        Box::pin(async move {
            let late = || {
                DialError::Unreachable(Met {
                    destination: uri.authority().map(ToString::to_string).unwrap_or_default(),
                    address: None,
                    certificate: None,
                    refused: None,
                })
            };
            let Dialled { wire, met } = timeout(CONNECT, dialling).await.map_err(|_| late())??;
            Ok(Line {
                wire: TokioIo::new(wire),
                met,
            })
        })
    }
}

/// A connection that says what is known of it.
#[derive(Debug)]
pub(crate) struct Line {
    wire: TokioIo<Box<dyn Wire>>,
    met: Met,
}

impl Connection for Line {
    fn connected(&self) -> Connected {
        Connected::new().extra(self.met.clone())
    }
}

impl hyper::rt::Read for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.wire).poll_read(context, buffer)
    }
}

impl hyper::rt::Write for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.wire).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.wire).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.wire.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.wire).poll_write_vectored(context, slices)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trail_is_bounded_and_says_what_it_left_out() {
        let trail = Trail::default();
        let met = |n: usize| Met {
            destination: format!("host-{n}:443"),
            address: None,
            certificate: None,
            refused: None,
        };
        for n in 0..MAX_MET {
            trail.add(met(n));
            trail.add(met(n));
        }
        assert_eq!(trail.taken().0.len(), MAX_MET);
        assert_eq!(trail.taken().1, 0);
        trail.add(met(MAX_MET));
        assert_eq!((trail.taken().0.len(), trail.taken().1), (MAX_MET, 1));
    }
}
