//! Clients in a closed loop: each waits for its answer, then sends the next request.
//!
//! One thread drives all clients over kept connections, with requests that were put together
//! before the clock starts, so that the load takes as little of the two cores as possible.

use crate::figures::{micros, percentile};
use anyhow::{Context as _, Result, bail};
use bytes::{Buf as _, BytesMut};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::LocalSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Requests, whole, as they go over the wire.
pub enum Requests {
    /// One, again and again.
    Same(Vec<u8>),
    /// Each is sent once.
    Once(Vec<Vec<u8>>),
}

/// What to do.
pub struct Load {
    /// `host:port`.
    pub to: String,
    /// Over TLS, with an authority that is believed. Connections are made before the clock starts.
    pub tls: Option<Arc<ClientConfig>>,
    /// Requests.
    pub requests: Requests,
    /// Clients.
    pub clients: usize,
    /// How long.
    pub lasting: Duration,
    /// What an answer has to contain: one of these.
    pub expected: &'static [&'static str],
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Run {
    /// Time of each call in microseconds, sorted.
    pub times: Vec<u32>,
    /// When each call began and ended, in microseconds since 1970; in the order of their ends per client.
    pub spans: Vec<(u64, u64)>,
    /// Which of what was expected each answer has, in the order of [`Self::spans`].
    pub answers: Vec<usize>,
    /// How long it took.
    pub elapsed: Duration,
    /// Stages by `Server-Timing`, in microseconds: name and values.
    pub stages: Vec<(String, Vec<u32>)>,
}

impl Run {
    /// Calls a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.times.len() as f64 / self.elapsed.as_secs_f64()
    }

    /// Time of a call that `percent` of the calls do not exceed, in microseconds.
    #[must_use]
    pub fn at(&self, percent: f64) -> u32 {
        percentile(&self.times, percent)
    }
}

/// Wall-clock time, in microseconds.
#[must_use]
pub fn wall_micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_micros()).unwrap_or(u64::MAX)
}

struct Shared {
    requests: Requests,
    next: Cell<usize>,
    until: Instant,
    expected: &'static [&'static str],
}

impl Shared {
    fn next(&self) -> Option<&[u8]> {
        if Instant::now() >= self.until {
            return None;
        }
        match &self.requests {
            Requests::Same(request) => Some(request),
            Requests::Once(all) => {
                let at = self.next.get();
                self.next.set(at + 1);
                all.get(at).map(Vec::as_slice)
            }
        }
    }
}

/// Runs the load to its end.
///
/// # Errors
/// If an answer is not what it should be.
pub fn run(load: Load) -> Result<Run> {
    let Load {
        to,
        tls,
        requests,
        clients,
        lasting,
        expected,
    } = load;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, async {
        let mut connections = Vec::new();
        for _ in 0..clients {
            let stream = TcpStream::connect(&to).await.context("cannot connect")?;
            stream.set_nodelay(true)?;
            connections.push(match &tls {
                None => Either::Clear(stream),
                Some(config) => {
                    let host = to.rsplit_once(':').map_or(to.as_str(), |(host, _)| host);
                    let name = ServerName::try_from(host.to_owned())?;
                    let connector = TlsConnector::from(Arc::clone(config));
                    Either::Tls(Box::new(connector.connect(name, stream).await?))
                }
            });
        }
        let began = Instant::now();
        let shared = Rc::new(Shared {
            requests,
            next: Cell::new(0),
            until: began + lasting,
            expected,
        });
        let tasks: Vec<_> = connections
            .into_iter()
            .map(|stream| {
                let shared = Rc::clone(&shared);
                tokio::task::spawn_local(async move {
                    match stream {
                        Either::Clear(stream) => client(stream, shared).await,
                        Either::Tls(stream) => client(*stream, shared).await,
                    }
                })
            })
            .collect();
        let mut all = Run::default();
        for task in tasks {
            let one = task.await??;
            all.times.extend(one.times);
            all.spans.extend(one.spans);
            all.answers.extend(one.answers);
            for (name, values) in one.stages {
                match all.stages.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, known)) => known.extend(values),
                    None => all.stages.push((name, values)),
                }
            }
        }
        all.elapsed = began.elapsed();
        all.times.sort_unstable();
        Ok(all)
    })
}

enum Either {
    Clear(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

async fn client(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    shared: Rc<Shared>,
) -> Result<Run> {
    let mut run = Run::default();
    let mut buffer = BytesMut::with_capacity(16 * 1024);
    while let Some(request) = shared.next() {
        let (began, wall) = (Instant::now(), wall_micros());
        stream.write_all(request).await?;
        stream.flush().await?;
        let (head, body) = answer(&mut stream, &mut buffer).await?;
        let time = micros(began.elapsed());
        run.times.push(time);
        run.spans.push((wall, wall + u64::from(time)));
        let head = std::str::from_utf8(buffer.get(..head).unwrap_or_default())?;
        let text = std::str::from_utf8(
            buffer
                .get(head.len()..head.len() + body)
                .unwrap_or_default(),
        )?;
        let known = shared.expected.iter().position(|e| text.contains(e));
        let known = known.filter(|_| head.starts_with("HTTP/1.1 200"));
        run.answers
            .push(known.with_context(|| format!("unexpected answer: {head}{text}"))?);
        stages(head, &mut run.stages);
        let whole = head.len() + body;
        buffer.advance(whole);
    }
    Ok(run)
}

/// Reads one answer into the buffer; lengths of its head and body.
async fn answer(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
) -> Result<(usize, usize)> {
    let mut head = None;
    loop {
        if head.is_none() {
            head = find(buffer, b"\r\n\r\n").map(|at| at + 4);
        }
        if let Some(head) = head {
            let text = std::str::from_utf8(buffer.get(..head).unwrap_or_default())?;
            let body = field(text, "content-length: ").context("answer without a length")?;
            let body: usize = body.parse()?;
            if buffer.len() >= head + body {
                return Ok((head, body));
            }
        }
        if stream.read_buf(buffer).await? == 0 {
            bail!("the connection was closed");
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|w| w == what)
}

fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().find_map(|l| l.strip_prefix(name))
}

/// `server-timing: decide;dur=0.123, seal;dur=0.4`, in milliseconds.
fn stages(head: &str, into: &mut Vec<(String, Vec<u32>)>) {
    let Some(text) = field(head, "server-timing: ") else {
        return;
    };
    for part in text.split(", ") {
        let Some((name, milliseconds)) = part.split_once(";dur=") else {
            continue;
        };
        let value = milliseconds
            .parse::<f64>()
            .map_or(0, |ms| (ms * 1000.0).round() as u32);
        match into.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => known.push(value),
            None => into.push((name.to_owned(), vec![value])),
        }
    }
}
