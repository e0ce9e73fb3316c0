//! Sends what waits, in a task of its own.
//!
//! In: the queue, and the metrics every so often. Out: OTLP over HTTP/1.1. A batch that the endpoint cannot take now
//! is tried again, with growing pauses, while the queue behind it fills and then drops; one that it refuses is dropped.
//! What goes wrong is one line in the gateway's log when it begins, and one when it is over.
//!
//! SPEC: OpenTelemetry Protocol 1.9, "OTLP/HTTP".

use super::otlp::{self, Sender};
use super::view::View;
use super::{Item, Queue};
use crate::boot::tracing_line;
use crate::serve::Gateway;
use crate::transport::reach::Target;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, timeout};

/// Most calls and lines in one message.
const BATCH: usize = 512;

/// How long the first of a batch waits for others.
const LINGER: Duration = Duration::from_millis(500);

/// Longest wait for an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Longest answer that is read, in bytes. It says how many spans were refused, in some words.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// First and longest pause before a batch is tried again.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// How long the end of the gateway waits for the last batch.
pub const LAST_WAIT: Duration = Duration::from_secs(2);

/// Sends until the gateway has stopped. Returns at once if the settings name no endpoint.
pub async fn keep(gateway: Arc<Gateway>) {
    let Some((sending, mut waiting)) = gateway.telemetry.take_waiting() else {
        return;
    };
    let sender = Sender {
        gateway: gateway.id.to_string(),
        started: gateway
            .clock
            .unix_micros()
            .saturating_sub(gateway.clock.micros()),
    };
    let mut courier = Courier {
        url: sending.collector.url().to_owned(),
        path: sending.collector.path().to_owned(),
        ca: sending.ca.clone(),
        headers: sending.headers.clone(),
        connection: None,
        trouble: None,
    };
    let mut ticks = tokio::time::interval(sending.collector.interval());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Nothing is taken from the queue by a wait that is given up.
        let next = tokio::select! {
            item = waiting.recv() => item,
            _ = ticks.tick() => {
                courier.send_metrics(&sender, &gateway).await;
                continue;
            }
        };
        let Some(first) = next else { return };
        let Batch { items, last } = gather(first, &mut waiting).await;
        courier.send_items(&sender, &items, &sending.queue).await;
        if let Some(last) = last {
            courier.send_metrics(&sender, &gateway).await;
            // Nobody waits any more if it took too long.
            let _unheard = last.send(());
            return;
        }
    }
}

/// What is sent at once.
struct Batch {
    items: Vec<Item>,
    last: Option<oneshot::Sender<()>>,
}

/// The first that waits, and what comes soon after it.
async fn gather(first: Item, waiting: &mut mpsc::Receiver<Item>) -> Batch {
    let mut batch = Batch {
        items: Vec::new(),
        last: None,
    };
    batch.take(first);
    let sleep = tokio::time::sleep(LINGER);
    tokio::pin!(sleep);
    while batch.last.is_none() && batch.items.len() < BATCH {
        tokio::select! {
            item = waiting.recv() => match item {
                Some(item) => batch.take(item),
                None => break,
            },
            () = &mut sleep => break,
        }
    }
    batch
}

impl Batch {
    fn take(&mut self, item: Item) {
        match item {
            Item::Last(done) => self.last = Some(done),
            Item::Call(_) | Item::Answer(_) | Item::Line(_) => self.items.push(item),
        }
    }
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delivery {
    /// It was taken.
    Taken,
    /// It may be taken later.
    Later(Trouble),
    /// It will not be taken.
    Refused(u16),
}

/// Why a message was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Trouble {
    #[error("it cannot be reached")]
    Unreachable,
    #[error("it does not answer in time")]
    Silent,
    #[error("it answers with status {0}")]
    Status(u16),
}

/// One endpoint, and a connection that is kept.
struct Courier {
    url: String,
    path: String,
    ca: Option<PathBuf>,
    headers: http::HeaderMap,
    connection: Option<SendRequest<Full<Bytes>>>,
    /// What the gateway's log says at this moment.
    trouble: Option<Trouble>,
}

impl Courier {
    async fn send_items(&mut self, sender: &Sender, items: &[Item], queue: &Queue) {
        let calls = || items.iter().filter_map(call_of);
        let answers = || items.iter().filter_map(answer_of);
        let lines = || items.iter().filter_map(line_of);
        let (mut traces, mut logs) = (true, true);
        if calls().next().is_some() || answers().next().is_some() {
            let body = otlp::traces(sender, calls(), answers());
            traces = self.insist("/v1/traces", body).await;
        }
        if lines().next().is_some() {
            logs = self.insist("/v1/logs", otlp::logs(sender, lines())).await;
        }
        let lost = |item: &&Item| match item {
            Item::Call(_) | Item::Answer(_) => !traces,
            Item::Line(_) => !logs,
            Item::Last(_) => false,
        };
        items.iter().filter(lost).for_each(|item| queue.lose(item));
    }

    /// Sends until it is taken or refused; whether it was taken.
    async fn insist(&mut self, path: &str, body: Vec<u8>) -> bool {
        let (mut pause, longest) = PAUSES;
        let body = Bytes::from(body);
        loop {
            match self.deliver(path, body.clone()).await {
                Delivery::Taken => return true,
                Delivery::Refused(_) => return false,
                Delivery::Later(_) => {
                    tokio::time::sleep(pause).await;
                    pause = pause.saturating_mul(2).min(longest);
                }
            }
        }
    }

    /// The next set says all that one says which was not taken.
    async fn send_metrics(&mut self, sender: &Sender, gateway: &Gateway) {
        let now = gateway.clock.unix_micros();
        let body = otlp::metrics(sender, &View::of(gateway), now);
        let _next_time = self.deliver("/v1/metrics", Bytes::from(body)).await;
    }

    async fn deliver(&mut self, path: &str, body: Bytes) -> Delivery {
        let answered = timeout(ANSWER_LIMIT, self.post(path, body)).await;
        let delivery = match answered {
            Ok(Ok(status)) => delivery_of(status),
            Ok(Err(trouble)) => Delivery::Later(trouble),
            Err(_) => Delivery::Later(Trouble::Silent),
        };
        if delivery != Delivery::Taken {
            self.connection = None;
        }
        self.tell(delivery);
        delivery
    }

    /// One line when something begins to go wrong, and one when it is over.
    fn tell(&mut self, delivery: Delivery) {
        let trouble = match delivery {
            Delivery::Taken => None,
            Delivery::Later(trouble) => Some(trouble),
            Delivery::Refused(status) => Some(Trouble::Status(status)),
        };
        match (self.trouble, trouble) {
            (None, Some(trouble)) => {
                tracing_line(&format!(
                    "telemetry is not taken by its endpoint: {trouble}"
                ));
            }
            (Some(_), None) => tracing_line("telemetry is taken again"),
            (None, None) | (Some(_), Some(_)) => (),
        }
        self.trouble = trouble;
    }

    async fn post(&mut self, path: &str, body: Bytes) -> Result<u16, Trouble> {
        let mut connection = match self.connection.take().filter(|c| !c.is_closed()) {
            Some(kept) => kept,
            None => self.connect().await?,
        };
        let authority = self.url.split_once("://").map_or("", |(_, rest)| rest);
        let mut request = http::Request::post(format!("{}{path}", self.path))
            .header(http::header::HOST, authority)
            .header(http::header::CONTENT_TYPE, "application/x-protobuf")
            .body(Full::new(body))
            .map_err(|_| Trouble::Unreachable)?;
        request.headers_mut().extend(self.headers.clone());
        let unreachable = |_| Trouble::Unreachable;
        connection.ready().await.map_err(unreachable)?;
        let response = connection
            .send_request(request)
            .await
            .map_err(unreachable)?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES);
        // What it says beside the status is for people who look at the endpoint. Read to its end, the connection serves again.
        if body.collect().await.is_ok() {
            self.connection = Some(connection);
        }
        Ok(status)
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Trouble> {
        let target = Target::parse(&self.url, self.ca.as_deref());
        let stream = match target {
            Ok(target) => target.connect().await,
            Err(error) => Err(error),
        };
        let stream = stream.map_err(|_| Trouble::Unreachable)?;
        let (sender, connection) = handshake(TokioIo::new(stream.wire))
            .await
            .map_err(|_| Trouble::Unreachable)?;
        tokio::spawn(connection);
        Ok(sender)
    }
}

/// SPEC: "OTLP/HTTP Response", "Retryable Response Codes".
fn delivery_of(status: u16) -> Delivery {
    match status {
        200..=299 => Delivery::Taken,
        429 | 502 | 503 | 504 => Delivery::Later(Trouble::Status(status)),
        other => Delivery::Refused(other),
    }
}

fn call_of(item: &Item) -> Option<&super::Ended> {
    match item {
        Item::Call(ended) => Some(ended),
        Item::Answer(_) | Item::Line(_) | Item::Last(_) => None,
    }
}

fn answer_of(item: &Item) -> Option<&super::Answered> {
    match item {
        Item::Answer(answered) => Some(answered),
        Item::Call(_) | Item::Line(_) | Item::Last(_) => None,
    }
}

fn line_of(item: &Item) -> Option<&super::Line> {
    match item {
        Item::Line(line) => Some(line),
        Item::Call(_) | Item::Answer(_) | Item::Last(_) => None,
    }
}
