//! Connections: accepted, shaken hands with, served, ended.
//!
//! In: connections, about whose other end nothing is known. Out: requests, each with its [`Connection`] among the
//! extensions, and their answers on the way back.
//! All is bounded. Handshakes: [`MAX_HANDSHAKES`] at a time, [`HANDSHAKE_LIMIT`] each; one that is slow or fails ends
//! its own connection and nothing else. Connections: as many as the system has files for ([`super::files`]), each
//! silent for no longer than [`super::pace`] says. Where there are no more, those end whose client would be missed
//! least: strangers before known callers, then who has been waited for longest, and nobody whose request is being
//! answered. None is logged: whoever knocks must not be able to fill the log.

use super::Transport;
use super::certificate::Certificate;
use super::connection::{Connection, Session};
use super::pace::{Given, Heard, Pace, Paced};
use super::{CLASSICAL, HYBRID};
use axum::Router;
use axum::body::Body;
use axum::serve::Listener;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls::server::Acceptor;
use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, Sleep};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

/// Longest handshake. It takes two round trips, three if the client guessed another key exchange.
pub const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);

/// Handshakes at one time. Those beyond wait in the kernel's queue until one ends: who opens more than a hundred
/// silent connections a second (512 in [`HANDSHAKE_LIMIT`]) keeps others waiting, but no call that is under way.
///
/// Bounds memory: one holds at most some 20 KiB of messages (assumed), so all of them 10 MiB.
pub const MAX_HANDSHAKES: usize = 512;

/// Longest time that open connections get to end when the gateway stops: longer than any call may take by default.
pub const STOP_LIMIT: Duration = Duration::from_secs(120);

/// Longest head of a request, in bytes (64 KiB). Tokens and signatures have some KiB; it bounds what a stranger can
/// make the gateway keep.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Connections that end together where there are no more: looking for them costs a look at all.
const ENDED_TOGETHER: usize = 128;

/// Time after which a place is looked for again, where every connection is in use.
const FULL_INTERVAL: Duration = Duration::from_millis(50);

/// Silence on a connection after which the system asks whether anybody is there: an answer may take as long as it
/// likes, but not for somebody whose machine is gone.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// What the gateway does with a client that has the hybrid key exchange, and with others.
///
/// Two, because one would leave the choice to the order of the client's list.
struct Sides {
    hybrid: Arc<ServerConfig>,
    classical: Arc<ServerConfig>,
}

impl Sides {
    fn new(certificate: &Arc<Certificate>) -> Result<Self, rustls::Error> {
        Ok(Self {
            hybrid: Arc::new(certificate.server(vec![HYBRID])?),
            classical: Arc::new(certificate.server(CLASSICAL.to_vec())?),
        })
    }

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

/// Serves connections until `stop` ends; then lets those end on which a request is being answered.
///
/// # Errors
/// If the cryptography lacks what TLS 1.3 needs.
pub async fn serve(
    listener: TcpListener,
    transport: &Transport,
    router: Router,
    places: usize,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let sides = match transport {
        Transport::Loopback => None,
        Transport::Tls(certificate) => Some(Arc::new(Sides::new(certificate)?)),
    };
    let (say_stop, stopping) = watch::channel(false);
    let served = Served {
        sides,
        router,
        open: Open::default(),
        places: Arc::new(Semaphore::new(places)),
        handshakes: Arc::new(Semaphore::new(MAX_HANDSHAKES)),
        stopping,
    };
    tokio::select! {
        () = served.accept(listener) => (),
        () = stop => (),
    }
    // Nobody hears it only if there is no connection.
    let _nobody = say_stop.send(true);
    let all = u32::try_from(places).unwrap_or(u32::MAX);
    let ended = served.places.acquire_many(all);
    if tokio::time::timeout(STOP_LIMIT, ended).await.is_err() {
        served.open.end_all();
    }
    Ok(())
}

/// What connections are served with.
struct Served {
    sides: Option<Arc<Sides>>,
    router: Router,
    open: Open,
    places: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
    stopping: watch::Receiver<bool>,
}

impl Served {
    async fn accept(&self, mut listener: TcpListener) {
        while let Ok(handshake) = Arc::clone(&self.handshakes).acquire_owned().await {
            let Some(place) = self.place().await else {
                return;
            };
            // What the system refuses here is tried again after a while.
            let (stream, peer) = Listener::accept(&mut listener).await;
            // Answers leave at once; without it they are late, not wrong.
            let _slower = stream.set_nodelay(true);
            // Without it a connection to a machine that is gone may stay, and counts.
            let _stays = ask_whether_somebody_is_there(&stream);
            let pace = Pace::new(Instant::now());
            let knock = Knock {
                stream,
                peer,
                pace: pace.clone(),
                place,
                handshake,
            };
            let (sides, router) = (self.sides.clone(), self.router.clone());
            let stopping = self.stopping.clone();
            self.open.enter(pace, knock.answer(sides, router, stopping));
        }
    }

    /// A place for one more connection; where there is none, others end.
    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        loop {
            if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
                return Some(place);
            }
            self.open.end_some();
            let next = Arc::clone(&self.places).acquire_owned();
            if let Ok(place) = tokio::time::timeout(FULL_INTERVAL, next).await {
                return place.ok();
            }
        }
    }
}

fn ask_whether_somebody_is_there(stream: &TcpStream) -> rustix::io::Result<()> {
    rustix::net::sockopt::set_socket_keepalive(stream, true)?;
    rustix::net::sockopt::set_tcp_keepidle(stream, KEEPALIVE)
}

/// The connections that are open: how each can be ended, and whether it would be missed.
#[derive(Debug, Clone, Default)]
struct Open(Arc<Mutex<OpenOnes>>);

#[derive(Debug, Default)]
struct OpenOnes {
    next: u64,
    by_number: HashMap<u64, (Pace, AbortHandle)>,
}

impl Open {
    fn ones(&self) -> MutexGuard<'_, OpenOnes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a connection among the open ones.
    fn enter(&self, pace: Pace, connection: impl Future<Output = ()> + Send + 'static) {
        // ORDER: it cannot leave before it is among them, because it needs the lock for that.
        let mut ones = self.ones();
        let number = ones.next;
        ones.next = number.wrapping_add(1);
        let place = InPlace {
            open: self.clone(),
            number,
        };
        let task = tokio::spawn(async move {
            let _until_the_end = place;
            connection.await;
        });
        ones.by_number.insert(number, (pace, task.abort_handle()));
    }

    /// Ends those whose client would be missed least.
    fn end_some(&self) {
        let ones = self.ones();
        let mut waiting: Vec<_> = ones
            .by_number
            .iter()
            .filter_map(|(number, (pace, _))| Some((pace.worth()?, *number)))
            .collect();
        waiting.sort_unstable();
        for (_, number) in waiting.into_iter().take(ENDED_TOGETHER) {
            if let Some((_, task)) = ones.by_number.get(&number) {
                task.abort();
            }
        }
    }

    fn end_all(&self) {
        for (_, task) in self.ones().by_number.values() {
            task.abort();
        }
    }
}

/// Takes a connection from the open ones when it ends, however it does.
struct InPlace {
    open: Open,
    number: u64,
}

impl Drop for InPlace {
    fn drop(&mut self) {
        self.open.ones().by_number.remove(&self.number);
    }
}

/// Somebody who connected.
struct Knock {
    stream: TcpStream,
    peer: SocketAddr,
    pace: Pace,
    place: OwnedSemaphorePermit,
    handshake: OwnedSemaphorePermit,
}

impl Knock {
    /// From the first byte to the last.
    async fn answer(
        self,
        sides: Option<Arc<Sides>>,
        router: Router,
        stopping: watch::Receiver<bool>,
    ) {
        let Self {
            stream,
            peer,
            pace,
            place,
            handshake,
        } = self;
        let _until_the_end = place;
        let Some(sides) = sides else {
            drop(handshake);
            let connection = Connection::new(peer, None, pace.clone());
            return carry(stream, connection, pace, router, stopping).await;
        };
        // In a box: what a handshake needs is not kept for as long as the connection is.
        let shaking = Box::pin(tokio::time::timeout(HANDSHAKE_LIMIT, sides.shake(stream)));
        let shaken = tokio::select! {
            shaken = shaking => shaken,
            () = said(stopping.clone()) => return,
        };
        drop(handshake);
        let Ok(Ok(stream)) = shaken else { return };
        let Ok(session) = Session::of(stream.get_ref().1) else {
            return;
        };
        let connection = Connection::new(peer, Some(session), pace.clone());
        carry(stream, connection, pace, router, stopping).await;
    }
}

/// Waits until the gateway stops.
async fn said(mut stopping: watch::Receiver<bool>) {
    // Whoever could say it is gone only when it was said.
    let _gone = stopping.wait_for(|stopping| *stopping).await;
}

/// Serves one connection, for as long as it is not silent for too long.
async fn carry<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    connection: Connection,
    pace: Pace,
    router: Router,
    stopping: watch::Receiver<bool>,
) {
    let answering = Answering {
        router: TowerToHyperService::new(router),
        connection,
        pace: pace.clone(),
    };
    let io = TokioIo::new(Paced::new(stream, pace.clone()));
    let mut serving = pin!(
        http1::Builder::new()
            // `pace` has its own for heads, which tells them from silence between requests.
            .header_read_timeout(None)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(io, answering)
    );
    let mut stop = pin!(said(stopping));
    let mut stopped = false;
    let mut alarm = pin!(Alarm::new());
    std::future::poll_fn(|cx| {
        if !stopped && stop.as_mut().poll(cx).is_ready() {
            stopped = true;
            serving.as_mut().graceful_shutdown();
        }
        // How it ends says nothing that anybody could act upon.
        if serving.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        alarm.as_mut().poll_rings(&pace, cx)
    })
    .await;
}

/// Rings when a connection was silent for too long.
///
/// It is set back only where a deadline comes nearer, so that a request costs no timer.
struct Alarm {
    sleep: Pin<Box<Sleep>>,
    armed: Option<Instant>,
}

impl Alarm {
    fn new() -> Self {
        Self {
            sleep: Box::pin(tokio::time::sleep(Duration::ZERO)),
            armed: None,
        }
    }

    fn poll_rings(
        mut self: Pin<&mut Self>,
        pace: &Pace,
        cx: &mut std::task::Context<'_>,
    ) -> Poll<()> {
        while let Some(deadline) = pace.deadline() {
            if self.armed.is_none_or(|armed| deadline < armed) {
                self.sleep.as_mut().reset(deadline);
                self.armed = Some(deadline);
            }
            if self.sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.armed = None;
            if deadline <= Instant::now() {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }
}

/// Hands requests to the router, with their connection, and keeps the pace.
struct Answering {
    router: TowerToHyperService<Router>,
    connection: Connection,
    pace: Pace,
}

impl Service<Request<Incoming>> for Answering {
    type Response = Response<Given<Body>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        parts.extensions.insert(self.connection.clone());
        let body = Heard::begin(body, self.pace.clone());
        let answer = self.router.call(Request::from_parts(parts, body));
        let pace = self.pace.clone();
        Box::pin(async move { Ok(answer.await?.map(|body| Given::new(body, pace))) })
    }
}
