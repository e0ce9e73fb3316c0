//! The way out of a sandboxed program: `CONNECT`, while one of its calls is carried out, to what that call's
//! capability lists.
//!
//! In: connections from a program's own network. Out: a tunnel to the very address that the guard judged, or an answer that
//! says in one word why not. Nothing leaves without a sealed intent: outside of calls everything is refused, and a
//! tunnel ends with the calls that it was opened under. TLS ends in the program; what is said inside is not seen here.
//!
//! SPEC: RFC 9110 9.3.6 (CONNECT), RFC 9112 2.1 and 3.2.3 (its form).

use super::{Guard, Refused};
use countersign_adapters::{Met, Network, Trail, Tunnels};
use countersign_policies::endpoint::{Endpoint, EndpointList};
use std::collections::BTreeMap;
use std::net::TcpListener as StdListener;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// Most connections of one program at a time.
const MAX_TUNNELS: usize = 64;

/// Longest head of a request, in bytes. A client sends its name and the destination.
const MAX_HEAD_BYTES: usize = 8 * 1024;

/// Longest wait for the head of a request.
const HEAD: Duration = Duration::from_secs(5);

/// What a call may reach, as it stands in the call's trail.
#[derive(Debug)]
pub struct Reaches(pub Arc<EndpointList>);

/// Makes a proxy for each process of one adapter.
#[derive(Debug)]
pub struct Proxies {
    guard: Arc<Guard>,
}

impl Proxies {
    /// Proxies whose connections this guard judges.
    #[must_use]
    pub fn new(guard: Arc<Guard>) -> Self {
        Self { guard }
    }
}

impl Network for Proxies {
    fn serve(&self, listener: OwnedFd) -> std::io::Result<Arc<dyn Tunnels>> {
        let listener = StdListener::from(listener);
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let shared = Arc::new(Shared {
            guard: Arc::clone(&self.guard),
            calls: Mutex::default(),
            next: AtomicU64::new(0),
            changed: watch::channel(0).0,
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Arc::new(Proxy {
            shared,
            accepting: accepting.abort_handle(),
        }))
    }
}

/// The proxy of one process.
#[derive(Debug)]
struct Proxy {
    shared: Arc<Shared>,
    accepting: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    guard: Arc<Guard>,
    /// Calls under way.
    calls: Mutex<BTreeMap<u64, Trail>>,
    next: AtomicU64,
    /// Moves when a call ends.
    changed: watch::Sender<u64>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.shared.calls().clear();
        self.shared.changed.send_modify(|n| *n = n.wrapping_add(1));
    }
}

impl Tunnels for Proxy {
    fn begin(&self, trail: &Trail) -> u64 {
        let id = self.shared.next.fetch_add(1, Ordering::Relaxed);
        self.shared.calls().insert(id, trail.clone());
        id
    }

    fn end(&self, call: u64) {
        self.shared.calls().remove(&call);
        self.shared.changed.send_modify(|n| *n = n.wrapping_add(1));
    }
}

impl Shared {
    fn calls(&self) -> MutexGuard<'_, BTreeMap<u64, Trail>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The calls under way, and what all of them together may reach at this endpoint.
    fn under_way(&self, endpoint: &Endpoint) -> (BTreeMap<u64, Trail>, Option<EndpointList>) {
        let calls = self.calls().clone();
        let mut list: Option<EndpointList> = None;
        for trail in calls.values() {
            if let Some(Reaches(listed)) = trail.pass::<Reaches>()
                && listed.has(endpoint)
            {
                list = Some(list.unwrap_or_default().and(listed));
            }
        }
        (calls, list)
    }

    fn any_of(&self, ids: &[u64]) -> bool {
        let calls = self.calls();
        ids.iter().any(|id| calls.contains_key(id))
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let places = Arc::new(Semaphore::new(MAX_TUNNELS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            // Out of files, say; a program that asks on gets its turn later.
            tokio::time::sleep(HEAD).await;
            continue;
        };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            serve(stream, &shared).await;
            drop(place);
        });
    }
}

async fn serve(mut stream: TcpStream, shared: &Shared) {
    let asked = timeout(HEAD, head(&mut stream)).await;
    let Ok(Some(head)) = asked else { return };
    let answer = match destination(&head) {
        Err(status) => status.to_owned(),
        Ok(endpoint) => match opened(&endpoint, shared).await {
            Ok((upstream, calls)) => {
                let established = b"HTTP/1.1 200 Connection established\r\n\r\n";
                if stream.write_all(established).await.is_ok() {
                    carry(stream, upstream, &calls, shared).await;
                }
                return;
            }
            Err(word) => format!("403 Forbidden\r\nx-countersign-refused: {word}"),
        },
    };
    let answer = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    // Whoever has gone away does not hear why.
    let _unheard = stream.write_all(answer.as_bytes()).await;
}

/// The head of a request; nothing, if it is too long or does not end.
async fn head(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        if bytes.len() >= MAX_HEAD_BYTES {
            return None;
        }
        // One at a time: what follows the head is the tunnel's.
        bytes.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(bytes).ok()
}

/// Where a request wants to go; otherwise the status that it is answered with.
fn destination(head: &str) -> Result<Endpoint, &'static str> {
    let line = head.split("\r\n").next().unwrap_or_default();
    let mut parts = line.split(' ');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some("CONNECT"), Some(authority), Some("HTTP/1.1" | "HTTP/1.0"), None) => {
            Endpoint::parse(authority).map_err(|_| "400 Bad Request")
        }
        // In the clear nothing goes out.
        (Some(_), Some(_), Some("HTTP/1.1" | "HTTP/1.0"), None) => {
            Err("405 Method Not Allowed\r\nallow: CONNECT")
        }
        (_, _, _, _) => Err("400 Bad Request"),
    }
}

/// A connection that the guard made, and the calls that it is made for; each call's trail has it.
async fn opened(
    endpoint: &Endpoint,
    shared: &Shared,
) -> Result<(TcpStream, Vec<u64>), &'static str> {
    let (calls, list) = shared.under_way(endpoint);
    if calls.is_empty() {
        return Err("no-call-under-way");
    }
    let connected = match list {
        Some(list) => shared.guard.connect(endpoint, &list).await,
        None => Err(Refused::NotListed),
    };
    let met = Met {
        destination: endpoint.to_string(),
        address: connected.as_ref().ok().map(|(_, address)| *address),
        certificate: None,
        refused: connected.as_ref().err().map(|why| why.name()),
    };
    // Which of several calls it is for cannot be known.
    calls.values().for_each(|trail| trail.add(met.clone()));
    match connected {
        Ok((stream, _)) => Ok((stream, calls.into_keys().collect())),
        Err(why) => Err(why.name()),
    }
}

/// Carries bytes for as long as one of the calls lasts.
async fn carry(mut stream: TcpStream, mut upstream: TcpStream, calls: &[u64], shared: &Shared) {
    let mut changed = shared.changed.subscribe();
    let over = async {
        while shared.any_of(calls) {
            if changed.changed().await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        _ = copy_bidirectional(&mut stream, &mut upstream) => {}
        () = over => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct World {
        tunnels: Arc<dyn Tunnels>,
        proxy: std::net::SocketAddr,
        far: TcpListener,
    }

    impl World {
        async fn new() -> Self {
            let listener = StdListener::bind("127.0.0.1:0").unwrap();
            let proxy = listener.local_addr().unwrap();
            let proxies = Proxies::new(Arc::new(Guard::default()));
            Self {
                tunnels: proxies.serve(OwnedFd::from(listener)).unwrap(),
                proxy,
                far: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            }
        }

        fn far(&self) -> String {
            self.far.local_addr().unwrap().to_string()
        }

        async fn ask(&self, request: &str) -> (TcpStream, String) {
            let mut stream = TcpStream::connect(self.proxy).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let answer = head(&mut stream).await.unwrap();
            (stream, answer)
        }

        async fn connect(&self, to: &str) -> (TcpStream, String) {
            self.ask(&format!("CONNECT {to} HTTP/1.1\r\nhost: {to}\r\n\r\n"))
                .await
        }
    }

    fn trail(entries: &[&str]) -> Trail {
        let mut list = EndpointList::default();
        entries.iter().for_each(|e| list.add(e).unwrap());
        Trail::with(Arc::new(Reaches(Arc::new(list))))
    }

    fn refused(answer: &str) -> &str {
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
        let word = answer.split("x-countersign-refused: ").nth(1).unwrap();
        word.split("\r\n").next().unwrap()
    }

    #[tokio::test]
    async fn a_tunnel_carries_bytes_while_its_call_lasts_and_stands_in_its_trail() {
        let world = World::new().await;
        let (to, trail) = (world.far(), trail(&[&world.far()]));
        let call = world.tunnels.begin(&trail);
        let (mut near, answer) = world.connect(&to).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let (mut far, _) = world.far.accept().await.unwrap();
        near.write_all(b"there").await.unwrap();
        let mut heard = [0; 5];
        far.read_exact(&mut heard).await.unwrap();
        far.write_all(b"back!").await.unwrap();
        near.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"back!");
        let (met, _) = trail.taken();
        assert_eq!(met.len(), 1);
        assert_eq!(met[0].destination, to);
        assert_eq!(met[0].address, world.far.local_addr().ok());
        world.tunnels.end(call);
        // Both ends see that it is over.
        assert_eq!(near.read(&mut heard).await.unwrap_or(0), 0);
        assert_eq!(far.read(&mut heard).await.unwrap_or(0), 0);
    }

    #[tokio::test]
    async fn outside_of_calls_nothing_leaves() {
        let world = World::new().await;
        let trail = trail(&[&world.far()]);
        let (_, before) = world.connect(&world.far()).await;
        assert_eq!(refused(&before), "no-call-under-way");
        let call = world.tunnels.begin(&trail);
        world.tunnels.end(call);
        let (_, after) = world.connect(&world.far()).await;
        assert_eq!(refused(&after), "no-call-under-way");
    }

    #[tokio::test]
    async fn what_the_call_does_not_list_is_refused_and_stands_in_its_trail() {
        let world = World::new().await;
        for (entries, to, word) in [
            (&["api.example:443"][..], world.far(), "endpoint-not-listed"),
            (
                &["0.0.0.0/0:80"],
                "169.254.169.254:80".to_owned(),
                "address-not-listed",
            ),
            (&[], world.far(), "endpoint-not-listed"),
        ] {
            let trail = trail(entries);
            let call = world.tunnels.begin(&trail);
            let (_, answer) = world.connect(&to).await;
            world.tunnels.end(call);
            assert_eq!(refused(&answer), word, "{to}");
            let (met, _) = trail.taken();
            assert_eq!(met[0].refused, Some(word));
        }
    }

    #[tokio::test]
    async fn a_request_in_the_clear_is_not_carried() {
        let world = World::new().await;
        let call = world.tunnels.begin(&trail(&[&world.far()]));
        for (request, status) in [
            ("GET http://127.0.0.1/ HTTP/1.1\r\n\r\n", "405"),
            ("CONNECT 127.1:80 HTTP/1.1\r\n\r\n", "400"),
            ("CONNECT user@127.0.0.1:80 HTTP/1.1\r\n\r\n", "400"),
            ("CONNECT 127.0.0.1 HTTP/1.1\r\n\r\n", "400"),
            ("nonsense\r\n\r\n", "400"),
        ] {
            let (_, answer) = world.ask(request).await;
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status} ")),
                "{request} {answer}"
            );
        }
        world.tunnels.end(call);
    }
}
