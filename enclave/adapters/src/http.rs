//! MCP over Streamable HTTP: to an address of this machine, or by connections that somebody else makes.
//!
//! *In:* requests. *Out:* answers, from a JSON body or from the event stream of that request.
//! Connections are kept alive and shared by the requests of one upstream handle; every request
//! has its own response, so answers cannot cross.
//!
//! What is certain about sending: hyper asks for the body after the head is in its buffer and
//! before anything is flushed. As long as it has not asked, nothing has left.
//!
//! SPEC: MCP 2026-07-28 and 2025-11-25, basic/transports, "Streamable HTTP".

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method as HttpMethod, StatusCode, Uri};
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, Incoming as ResponseBody, SizeHint};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{CaptureConnection, capture_connection};
use hyper_util::rt::TokioExecutor;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use crate::call::{Bounds, CallError, Heard, Interim, Kept, Lost, NotSent, Reply};
use crate::dial::{Barred, Connector, Dial, DialError, Loopback, Met, Trail};
use crate::event::Event;
use crate::frame::{
    Body, Era, FrameError, Incoming, LEGACY_VERSIONS, LISTEN, LISTENING, MODERN_VERSION, Method,
    Request, answer_to, cancelled, reply_to,
};
use crate::sse::Events;
use crate::stdio::{Common, locked};
use countersign_json::Limits;

/// An MCP endpoint, and how connections to it are made.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    endpoint: Uri,
    dial: Arc<dyn Dial>,
}

impl HttpSettings {
    /// Takes a plain `http` address of a loopback interface, such as `http://127.0.0.1:8080/mcp`.
    ///
    /// # Errors
    /// [`EndpointError`]; names are refused, as the resolver is not in the gateway's hands.
    pub fn parse(endpoint: &str) -> Result<Self, EndpointError> {
        let endpoint: Uri = endpoint.parse().map_err(|_| EndpointError::NotAnAddress)?;
        if endpoint.scheme_str() != Some("http") {
            return Err(EndpointError::Scheme);
        }
        let authority = endpoint.authority().ok_or(EndpointError::NotAnAddress)?;
        if authority.as_str().contains('@') {
            return Err(EndpointError::Credentials);
        }
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']');
        match host.parse::<IpAddr>() {
            Ok(address) if address.is_loopback() => {
                let port = authority.port_u16().unwrap_or(80);
                let dial = Arc::new(Loopback(SocketAddr::new(address, port)));
                Ok(Self { endpoint, dial })
            }
            Ok(_) | Err(_) => Err(EndpointError::NotLoopback),
        }
    }

    /// Takes an address whose connections somebody else makes, and answers for.
    ///
    /// # Errors
    /// [`EndpointError`] if it is no address of HTTP.
    pub fn over(endpoint: &str, dial: Arc<dyn Dial>) -> Result<Self, EndpointError> {
        let endpoint: Uri = endpoint.parse().map_err(|_| EndpointError::NotAnAddress)?;
        if !matches!(endpoint.scheme_str(), Some("http" | "https")) {
            return Err(EndpointError::Scheme);
        }
        let authority = endpoint.authority().ok_or(EndpointError::NotAnAddress)?;
        if authority.as_str().contains('@') {
            return Err(EndpointError::Credentials);
        }
        Ok(Self { endpoint, dial })
    }
}

/// Why an endpoint was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Not an absolute address.
    #[error("endpoint is not an absolute address")]
    NotAnAddress,
    /// Another scheme.
    #[error("endpoint's scheme is not one that is spoken here")]
    Scheme,
    /// A user name or password in it.
    #[error("endpoint holds credentials")]
    Credentials,
    /// Plain HTTP leaves the machine nowhere.
    #[error("endpoint's host is not a loopback address such as 127.0.0.1")]
    NotLoopback,
}

/// How long a kept connection may lie idle.
const IDLE: Duration = Duration::from_secs(60);

/// Longest session id, in bytes.
const MAX_SESSION_BYTES: usize = 512;

/// Most requests of the upstream that are refused within one response.
const MAX_FOREIGN_REQUESTS: u32 = 16;

/// How often the stream of a session is taken up again.
const MAX_STREAMS: u32 = 100;

/// Pause after such a stream ended; longer after each.
const BETWEEN_STREAMS: Duration = Duration::from_millis(500);

/// Longest wait for the acknowledgement of a message that nobody waits for.
const SIDE_MESSAGE: Duration = Duration::from_secs(5);

const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const MCP_METHOD: HeaderName = HeaderName::from_static("mcp-method");
const MCP_NAME: HeaderName = HeaderName::from_static("mcp-name");
const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");

/// The endpoint, its connections, and what of a session there is.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    client: Client<Connector, Tracked>,
    endpoint: Uri,
    common: Common,
    next_id: Arc<AtomicU64>,
    /// Of the handshake; `None` before it.
    version: Option<&'static str>,
    id: Option<HeaderValue>,
}

/// What goes with a request beside its message.
#[derive(Debug, Default)]
pub(crate) struct Beside<'a> {
    /// What the header `Mcp-Name` says.
    pub(crate) name: Option<&'a str>,
    /// Headers that repeat arguments.
    pub(crate) headers: &'a [(String, String)],
    /// Who hears interim messages.
    pub(crate) ears: Option<mpsc::Sender<Heard>>,
    /// Where its connection is remembered.
    pub(crate) trail: Trail,
}

/// What a session's handshake brought.
pub(crate) struct Exchanged {
    pub(crate) body: Body,
    pub(crate) interim: Interim,
    pub(crate) session: Option<HeaderValue>,
}

impl Session {
    pub(crate) fn new(settings: &HttpSettings, common: &Common) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(common.bounds.calls)
            .build(Connector(Arc::clone(&settings.dial)));
        Self {
            client,
            endpoint: settings.endpoint.clone(),
            common: common.clone(),
            next_id: Arc::new(AtomicU64::new(1)),
            version: None,
            id: None,
        }
    }

    /// The session after its handshake.
    pub(crate) fn opened(&self, version: &'static str, id: Option<HeaderValue>) -> Self {
        Self {
            version: Some(version),
            id,
            ..self.clone()
        }
    }

    /// One request and its answer.
    pub(crate) async fn exchange(
        &self,
        request: &Request<'_>,
        beside: Beside<'_>,
        deadline: Instant,
    ) -> Result<Exchanged, CallError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let body = Bytes::from(request.write(id));
        let limit = self.common.bounds.frame_bytes;
        if body.len() > limit {
            return Err(CallError::NotSent(NotSent::TooLarge {
                found: body.len(),
                limit,
            }));
        }
        let mut headers = self.headers(request.era, request.method);
        if request.era == Era::Modern {
            headers.insert(MCP_METHOD, HeaderValue::from_static(request.method.name()));
            if let Some(name) = beside.name {
                headers.insert(MCP_NAME, header_text(name));
            }
            for (name, value) in beside.headers {
                if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
                    headers.insert(name, header_text(value));
                }
            }
        }
        let sent = Arc::new(Sending::on(beside.trail));
        let mut giving_up = GivingUp {
            session: self,
            id,
            era: request.era,
            method: request.method,
            sent: &sent,
            done: false,
        };
        let outcome = timeout_at(
            deadline,
            self.ask(headers, body, (id, request.era), beside.ears, &sent),
        )
        .await;
        match outcome {
            Ok(Ok(exchanged)) => {
                giving_up.done = true;
                Ok(exchanged)
            }
            Ok(Err(lost)) => {
                giving_up.done = true;
                Err(what_is_certain(&sent, lost, NotSent::Unreachable))
            }
            Err(_) => Err(what_is_certain(&sent, Lost::TimedOut, NotSent::TimedOut)),
        }
    }

    /// Posts a message that has no answer; whether it arrived is seen in the status.
    pub(crate) async fn notify(&self, era: Era, frame: Vec<u8>) -> Result<(), Lost> {
        let headers = self.headers(era, Method::ListTools);
        let sent = Arc::new(Sending::default());
        match timeout(SIDE_MESSAGE, self.post(headers, Bytes::from(frame), &sent)).await {
            Ok(Ok(response)) if response.status().is_success() => Ok(()),
            Ok(Ok(response)) => Err(Lost::HttpStatus {
                status: response.status().as_u16(),
            }),
            Ok(Err(lost)) => Err(lost),
            Err(_) => Err(Lost::TimedOut),
        }
    }

    fn headers(&self, era: Era, method: Method) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(
            ACCEPT,
            HeaderValue::from_static("application/json, text/event-stream"),
        );
        let version = match era {
            Era::Modern => Some(MODERN_VERSION),
            // SPEC: 2025-11-25: from the handshake on, with the version that it brought.
            Era::Legacy if method == Method::Initialize => None,
            Era::Legacy => self.version.or(LEGACY_VERSIONS.first().copied()),
        };
        if let Some(version) = version {
            headers.insert(PROTOCOL_VERSION, HeaderValue::from_static(version));
        }
        if let Some(id) = &self.id {
            headers.insert(SESSION_ID, id.clone());
        }
        headers
    }

    async fn post(
        &self,
        headers: HeaderMap,
        body: Bytes,
        sent: &Arc<Sending>,
    ) -> Result<http::Response<ResponseBody>, Lost> {
        let mut request = http::Request::new(Tracked {
            body: Some(body),
            sent: sent.clone(),
        });
        *request.method_mut() = HttpMethod::POST;
        *request.uri_mut() = self.endpoint.clone();
        *request.headers_mut() = headers;
        let connection = capture_connection(&mut request);
        let answered = self.client.request(request).await;
        sent.met(&connection);
        answered.map_err(|error| {
            sent.failed(&error);
            Lost::Ended
        })
    }

    async fn ask(
        &self,
        headers: HeaderMap,
        body: Bytes,
        (id, era): (u64, Era),
        ears: Option<mpsc::Sender<Heard>>,
        sent: &Arc<Sending>,
    ) -> Result<Exchanged, Lost> {
        let response = self.post(headers, body, sent).await?;
        let (head, body) = response.into_parts();
        let session = head
            .headers
            .get(SESSION_ID)
            .filter(|id| id.len() <= MAX_SESSION_BYTES)
            .cloned();
        let status = head.status.as_u16();
        if head.status.is_redirection() {
            return Err(Lost::Redirected { status });
        }
        let format = Format::of(&head.headers);
        if !head.status.is_success() {
            let refused = self.refusal(body, format, id).await;
            return match refused {
                Some(body) => Ok(Exchanged {
                    body,
                    interim: Interim::default(),
                    session,
                }),
                None if head.status == StatusCode::NOT_FOUND && self.id.is_some() => {
                    Err(Lost::SessionEnded)
                }
                None => Err(Lost::HttpStatus { status }),
            };
        }
        match format {
            Format::Json => {
                let body = whole(body, self.common.bounds.frame_bytes).await?;
                let body = self.answer_to(id, &body)?;
                Ok(Exchanged {
                    body,
                    interim: Interim::default(),
                    session,
                })
            }
            Format::Events => {
                let (body, interim) = self.stream(body, id, era, ears).await?;
                Ok(Exchanged {
                    body,
                    interim,
                    session,
                })
            }
            Format::Other => Err(Lost::ContentType),
        }
    }

    /// The JSON-RPC error in an unsuccessful response, if there is one for this request.
    async fn refusal(&self, body: ResponseBody, format: Format, id: u64) -> Option<Body> {
        if format != Format::Json {
            return None;
        }
        let body = whole(body, self.common.bounds.frame_bytes).await.ok()?;
        match self.answer_to(id, &body).ok()? {
            refused @ Body::Error { .. } => Some(refused),
            // A result under a status of failure says two things at once.
            Body::Result { .. } => None,
        }
    }

    fn answer_to(&self, wanted: u64, frame: &Bytes) -> Result<Body, Lost> {
        match self.parse(frame)? {
            Incoming::Response { id, body } if id == Some(wanted) => Ok(body),
            Incoming::Response { .. } => Err(Lost::OtherId),
            Incoming::Request { .. } | Incoming::Notification { .. } => {
                Err(Lost::Malformed(FrameError::Nothing))
            }
        }
    }

    fn parse(&self, frame: &Bytes) -> Result<Incoming, Lost> {
        Incoming::parse(frame, &Limits::of_bytes(self.common.bounds.frame_bytes))
            .map_err(Lost::Malformed)
    }

    async fn stream(
        &self,
        mut body: ResponseBody,
        wanted: u64,
        era: Era,
        ears: Option<mpsc::Sender<Heard>>,
    ) -> Result<(Body, Interim), Lost> {
        let bounds: &Bounds = &self.common.bounds;
        let mut events = Events::new(bounds.frame_bytes);
        let mut told = Told {
            session: self,
            era,
            interim: Arc::default(),
            ears,
            messages: 0,
            refused: 0,
        };
        while let Some(frame) = body.frame().await {
            let Ok(piece) = frame.map_err(|_| Lost::Ended)?.into_data() else {
                continue;
            };
            events
                .push(&piece)
                .map_err(|error| Lost::TooLarge { limit: error.limit })?;
            while let Some(event) = events.next_event() {
                match self.parse(&event)? {
                    Incoming::Response { id, body } if id == Some(wanted) => {
                        let interim = std::mem::take(&mut *locked(&told.interim));
                        return Ok((body, interim));
                    }
                    told_before @ (Incoming::Response { .. }
                    | Incoming::Notification { .. }
                    | Incoming::Request { .. }) => told.take(told_before).await?,
                }
            }
        }
        Err(Lost::Ended)
    }

    /// Hears what a session tells outside of calls, for as long as it is asked to. Streams are taken up again a few
    /// times; a server that has none says so, and is not asked again.
    pub(crate) async fn listen(&self) {
        let mut ended = 0u32;
        while ended < MAX_STREAMS {
            let headers = self.headers(Era::Legacy, Method::ListTools);
            let Some(body) = self.open_stream(headers).await else {
                return;
            };
            if self.heard_all(body).await.is_err() {
                return;
            }
            ended = ended.saturating_add(1);
            tokio::time::sleep(BETWEEN_STREAMS.saturating_mul(ended)).await;
        }
    }

    async fn open_stream(&self, mut headers: HeaderMap) -> Option<ResponseBody> {
        headers.remove(CONTENT_TYPE);
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        let mut request = http::Request::new(Tracked::default());
        *request.uri_mut() = self.endpoint.clone();
        *request.headers_mut() = headers;
        let response = self.client.request(request).await.ok()?;
        let fits =
            response.status().is_success() && Format::of(response.headers()) == Format::Events;
        fits.then(|| response.into_body())
    }

    /// Hears what a server without sessions tells outside of calls: changed lists. One that has no such stream is not
    /// asked again.
    pub(crate) async fn subscribe(&self) {
        let mut ended = 0u32;
        while ended < MAX_STREAMS {
            let id = self.next_id.fetch_add(1, Ordering::Relaxed);
            let mut headers = self.headers(Era::Modern, LISTENING.method);
            headers.insert(MCP_METHOD, HeaderValue::from_static(LISTEN));
            let body = Bytes::from(LISTENING.write(id));
            let Ok(response) = self.post(headers, body, &Arc::default()).await else {
                return;
            };
            let fits =
                response.status().is_success() && Format::of(response.headers()) == Format::Events;
            if !fits || self.heard_all(response.into_body()).await.is_err() {
                return;
            }
            ended = ended.saturating_add(1);
            tokio::time::sleep(BETWEEN_STREAMS.saturating_mul(ended)).await;
        }
    }

    async fn heard_all(&self, mut body: ResponseBody) -> Result<(), Lost> {
        let mut events = Events::new(self.common.bounds.frame_bytes);
        let mut told = Told {
            session: self,
            era: Era::Legacy,
            interim: Arc::default(),
            ears: None,
            messages: 0,
            refused: 0,
        };
        while let Some(Ok(frame)) = body.frame().await {
            let Ok(piece) = frame.into_data() else {
                continue;
            };
            events
                .push(&piece)
                .map_err(|error| Lost::TooLarge { limit: error.limit })?;
            while let Some(event) = events.next_event() {
                told.take(self.parse(&event)?).await?;
            }
        }
        Ok(())
    }

    /// Tells the server that its session is over. Whether it hears that changes nothing here.
    pub(crate) async fn end(&self) {
        if self.id.is_none() {
            return;
        }
        let mut request = http::Request::new(Tracked::default());
        *request.method_mut() = HttpMethod::DELETE;
        *request.uri_mut() = self.endpoint.clone();
        *request.headers_mut() = self.headers(Era::Legacy, Method::ListTools);
        drop(timeout(SIDE_MESSAGE, self.client.request(request)).await);
    }
}

/// What came on one stream beside the answer.
struct Told<'a> {
    session: &'a Session,
    era: Era,
    interim: Arc<Mutex<Interim>>,
    ears: Option<mpsc::Sender<Heard>>,
    messages: u32,
    refused: u32,
}

impl Told<'_> {
    async fn take(&mut self, message: Incoming) -> Result<(), Lost> {
        let common = &self.session.common;
        match message {
            Incoming::Response { .. } => {
                common.counts.unsolicited.fetch_add(1, Ordering::Relaxed);
            }
            Incoming::Notification {
                method,
                token: _,
                params,
                raw,
            } => match Event::of(&method, &params) {
                // Nobody may be listening.
                Some(event) => drop(common.events.send(event)),
                None => {
                    self.hear(raw, Heard::Notification { method, params });
                }
            },
            Incoming::Request {
                id,
                method,
                params,
                raw,
            } => self.asked(id, method, params, raw).await?,
        }
        self.messages = self.messages.saturating_add(1);
        let limit = common.bounds.unsolicited;
        if self.messages > limit {
            return Err(Lost::Flooding { limit });
        }
        Ok(())
    }

    fn hear(&self, raw: Bytes, heard: Heard) -> Kept {
        let kept = locked(&self.interim).keep(raw, &self.session.common.bounds);
        match (&self.ears, kept) {
            (Some(ears), Kept::Yes) if ears.try_send(heard).is_ok() => Kept::Yes,
            _ => Kept::No,
        }
    }

    async fn asked(
        &mut self,
        id: Bytes,
        method: String,
        params: Bytes,
        raw: Bytes,
    ) -> Result<(), Lost> {
        // SPEC: 2026-07-28: no requests on this stream, and no responses from us.
        if self.era == Era::Modern {
            self.refuse();
            return Err(Lost::ForeignRequest);
        }
        let (reply, answered) = oneshot::channel();
        let question = Heard::Question {
            method: method.clone(),
            params,
            reply,
        };
        if method != "ping" && self.hear(raw, question) == Kept::Yes {
            let (session, interim) = (self.session.clone(), self.interim.clone());
            tokio::spawn(session.pass_on(interim, (id, method), answered));
            return Ok(());
        }
        self.refuse();
        if self.refused > MAX_FOREIGN_REQUESTS {
            return Err(Lost::ForeignRequest);
        }
        // If the refusal does not arrive, the call runs into its own timeout.
        drop(self.session.notify(self.era, reply_to(&id, &method)).await);
        Ok(())
    }

    fn refuse(&mut self) {
        let counts = &self.session.common.counts;
        counts.refused_requests.fetch_add(1, Ordering::Relaxed);
        self.refused = self.refused.saturating_add(1);
    }
}

impl Session {
    /// Waits for the caller's answer and posts it.
    async fn pass_on(
        self,
        interim: Arc<Mutex<Interim>>,
        (id, method): (Bytes, String),
        answered: oneshot::Receiver<Reply>,
    ) {
        let frame = match answered.await {
            Ok(reply) => answer_to(&id, &reply),
            Err(_) => reply_to(&id, &method),
        };
        let raw = Bytes::copy_from_slice(&frame);
        locked(&interim).keep(raw, &self.common.bounds);
        drop(self.notify(Era::Legacy, frame).await);
    }
}

/// Cancels a legacy request that nobody waits for. In the modern era closing the response is the
/// cancellation, and dropping the future does that.
struct GivingUp<'a> {
    session: &'a Session,
    id: u64,
    era: Era,
    method: Method,
    sent: &'a Sending,
    done: bool,
}

impl Drop for GivingUp<'_> {
    fn drop(&mut self) {
        let may_cancel = match self.method {
            Method::Call(_) | Method::ListTools => self.era == Era::Legacy,
            Method::Discover | Method::Initialize => false,
        };
        if self.done || !may_cancel || !self.sent.has_begun() {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let session = self.session.clone();
            let id = self.id;
            runtime.spawn(async move { drop(session.notify(Era::Legacy, cancelled(id)).await) });
        }
    }
}

fn what_is_certain(sent: &Sending, lost: Lost, not_sent: NotSent) -> CallError {
    match (sent.has_begun(), sent.barred.get()) {
        (true, _) => CallError::OutcomeUnknown(lost),
        (false, Some(barred)) => CallError::NotSent(NotSent::Barred(*barred)),
        (false, None) => CallError::NotSent(not_sent),
    }
}

/// What is known of a request on its way.
#[derive(Debug, Default)]
struct Sending {
    begun: AtomicBool,
    barred: OnceLock<Barred>,
    trail: Trail,
}

impl Sending {
    fn on(trail: Trail) -> Self {
        Self {
            trail,
            ..Self::default()
        }
    }

    fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Acquire)
    }

    /// Remembers the connection that the request was given, if it was given one.
    fn met(&self, connection: &CaptureConnection) {
        let mut extras = http::Extensions::new();
        if let Some(connected) = connection.connection_metadata().as_ref() {
            connected.get_extras(&mut extras);
        }
        if let Some(met) = extras.remove::<Met>() {
            self.trail.add(met);
        }
    }

    /// Remembers why there was no connection.
    fn failed(&self, error: &hyper_util::client::legacy::Error) {
        let mut cause = std::error::Error::source(error);
        while let Some(error) = cause {
            match error.downcast_ref::<DialError>() {
                Some(DialError::Barred { barred, met }) => {
                    // The first reason stands; there is one attempt.
                    let _first = self.barred.set(*barred);
                    self.trail.add(met.clone());
                    return;
                }
                Some(DialError::Unreachable(_)) => return,
                None => cause = error.source(),
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Events,
    Other,
}

impl Format {
    fn of(headers: &HeaderMap) -> Self {
        if headers.contains_key(CONTENT_ENCODING) {
            return Self::Other;
        }
        let kind = headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if kind.eq_ignore_ascii_case("application/json") {
            Self::Json
        } else if kind.eq_ignore_ascii_case("text/event-stream") {
            Self::Events
        } else {
            Self::Other
        }
    }
}

/// The whole body; one that came in one piece is not copied.
async fn whole(mut body: ResponseBody, limit: usize) -> Result<Bytes, Lost> {
    let mut first = Bytes::new();
    let mut more = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame.map_err(|_| Lost::Ended)?.into_data() else {
            continue;
        };
        let held = first
            .len()
            .saturating_add(more.len())
            .saturating_add(piece.len());
        if held > limit {
            return Err(Lost::TooLarge { limit });
        }
        if first.is_empty() && more.is_empty() {
            first = piece;
        } else {
            if more.is_empty() {
                more.extend_from_slice(&std::mem::take(&mut first));
            }
            more.extend_from_slice(&piece);
        }
    }
    Ok(if more.is_empty() {
        first
    } else {
        more.freeze()
    })
}

/// SPEC: MCP 2026-07-28, Streamable HTTP, "Value Encoding".
fn header_text(text: &str) -> HeaderValue {
    let plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        && text.trim() == text
        && !(text.starts_with("=?base64?") && text.ends_with("?="));
    let encoded = || format!("=?base64?{}?=", base64(text.as_bytes()));
    let value = if plain { text.to_owned() } else { encoded() };
    // Both are visible ASCII.
    HeaderValue::from_str(&value).unwrap_or_else(|_| HeaderValue::from_static(""))
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// A body that notes when hyper asks for it.
#[derive(Debug, Default)]
struct Tracked {
    body: Option<Bytes>,
    sent: Arc<Sending>,
}

impl HttpBody for Tracked {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.sent.begun.store(true, Ordering::Release);
        Poll::Ready(self.body.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let left = self.body.as_ref().map_or(0, Bytes::len);
        SizeHint::with_exact(u64::try_from(left).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_loopback_addresses_are_endpoints() {
        for (endpoint, error) in [
            ("https://127.0.0.1/mcp", EndpointError::Scheme),
            ("http://10.0.0.1/mcp", EndpointError::NotLoopback),
            ("http://localhost/mcp", EndpointError::NotLoopback),
            ("http://127.0.0.1.example/mcp", EndpointError::NotLoopback),
            ("http://[::2]/mcp", EndpointError::NotLoopback),
            ("http://a:b@127.0.0.1/mcp", EndpointError::Credentials),
            ("/mcp", EndpointError::Scheme),
            ("", EndpointError::NotAnAddress),
        ] {
            assert_eq!(
                HttpSettings::parse(endpoint).unwrap_err(),
                error,
                "{endpoint}"
            );
        }
        assert!(HttpSettings::parse("http://127.0.0.1:9/mcp").is_ok());
        assert!(HttpSettings::parse("http://[::1]:9/mcp").is_ok());
    }

    #[test]
    fn names_that_are_not_plain_are_encoded_as_the_protocol_says() {
        for (name, value) in [
            ("us-west1", "us-west1"),
            ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
            (" padded ", "=?base64?IHBhZGRlZCA=?="),
            ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
            ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
        ] {
            assert_eq!(header_text(name), value);
        }
    }
}
