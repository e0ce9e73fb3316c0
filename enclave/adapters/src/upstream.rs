//! A handle to one upstream server, for one principal.
//!
//! *In:* listings and committed calls. *Out:* raw answers, or what is certain about the effect.
//! The server is started by the first call and again by the first call after a failure and its
//! pause; nothing runs while nobody calls. Handles share nothing with each other: one dead
//! upstream takes no other down, and a server with state of its own is seen by one principal if
//! each principal is given its own handle.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::broadcast;
use tokio::time::{Instant, timeout, timeout_at};

use crate::breaker::Breaker;
use crate::call::{
    Answer, Asked, Bounds, CallError, CallRequest, CallResponse, Interim, ListError, Lost, NotSent,
    StartError,
};
use crate::event::Event;
use crate::frame::{
    Body, CLIENT_INFO, Era, INITIALIZED, IsError, LEGACY_VERSIONS, MODERN_VERSION, Method,
    NOTHING_DECLARED, Progress, Request, ResultType,
};
use crate::http::{Beside, HttpSettings, Session};
use crate::stdio::{Common, Connection, Counts, StdioSettings, locked};
use countersign_json::descriptor::RawTool;
use countersign_json::write_string;

/// How an upstream is reached.
#[derive(Debug, Clone)]
pub enum Transport {
    /// A child process.
    Stdio(StdioSettings),
    /// An HTTP endpoint.
    Http(HttpSettings),
}

/// Which era is spoken with an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EraChoice {
    /// Find out: `server/discover` first, `initialize` if that is not understood.
    Detect,
    /// This one, nothing else.
    Only(Era),
}

/// All there is to say about an upstream.
#[derive(Debug, Clone)]
pub struct UpstreamSettings {
    /// How it is reached.
    pub transport: Transport,
    /// What is spoken with it.
    pub era: EraChoice,
    /// What callers of this handle can do, an object as JSON text; told when a session is opened.
    pub declared: String,
    /// What it may cost.
    pub bounds: Bounds,
}

/// What an upstream says that it offers, beside tools.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Features {
    names: BTreeSet<String>,
    subscribe: bool,
}

impl Features {
    /// Whether it names this member of `capabilities`, such as `resources`.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Whether it tells of changed resources.
    #[must_use]
    pub fn subscribes(&self) -> bool {
        self.subscribe
    }

    /// Of the answer to a handshake.
    fn of(raw: &Bytes) -> Self {
        let Ok(offered) = serde_json::from_slice::<Offered<'_>>(raw) else {
            return Self::default();
        };
        let resources = offered.capabilities.get("resources");
        let subscribe = resources.is_some_and(|r| {
            serde_json::from_str::<Subscribing>(r.get()).is_ok_and(|r| r.subscribe)
        });
        Self {
            names: offered
                .capabilities
                .into_keys()
                .take(MAX_FEATURES)
                .collect(),
            subscribe,
        }
    }
}

/// Most features that are taken note of.
const MAX_FEATURES: usize = 64;

/// What an upstream is doing, and what it has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// What it is doing.
    pub state: State,
    /// Processes started.
    pub starts: u64,
    /// Messages that nobody had asked for.
    pub unsolicited: u64,
    /// Requests that it made of us.
    pub refused_requests: u64,
    /// Bytes on its error stream; they are not kept.
    pub stderr_bytes: u64,
}

/// What an upstream is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Not started; the next call starts it.
    Idle,
    /// Up.
    Serving(Era),
    /// Failed; calls are refused for this long.
    Pausing(Duration),
}

/// A handle to one upstream server. Clones share the server; when the last one goes, its process
/// is killed and reaped.
#[derive(Debug, Clone)]
pub struct Upstream {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: UpstreamSettings,
    common: Common,
    live: RwLock<Option<Live>>,
    /// Of the process that was started last.
    sandbox: RwLock<Vec<String>>,
    /// Held by who starts it. Remembers the era that was found.
    starting: tokio::sync::Mutex<Option<Era>>,
}

#[derive(Debug, Clone)]
struct Live {
    link: Link,
    era: Era,
    features: Arc<Features>,
    /// Hears what a session tells outside of calls; over when the last handle is.
    _listener: Option<Arc<Listener>>,
}

#[derive(Debug)]
struct Listener(tokio::task::AbortHandle);

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[derive(Debug, Clone)]
enum Link {
    Stdio(Arc<Connection>),
    Http(Arc<Session>),
}

impl Upstream {
    /// Nothing is started yet. Must be used within a tokio runtime.
    #[must_use]
    pub fn new(settings: UpstreamSettings) -> Self {
        let bounds = settings.bounds;
        let common = Common {
            bounds,
            breaker: Arc::new(Mutex::new(Breaker::new(
                bounds.first_pause,
                bounds.longest_pause,
            ))),
            counts: Arc::new(Counts::default()),
            events: broadcast::channel(EVENTS).0,
        };
        let inner = Inner {
            settings,
            common,
            live: RwLock::default(),
            sandbox: RwLock::default(),
            starting: tokio::sync::Mutex::new(None),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Carries out one call, once: it is never sent again here, whatever happens. Dropping the
    /// future gives the call up and tells the upstream so; its outcome is then unknown.
    ///
    /// # Errors
    /// [`CallError`] says whether anything left.
    pub async fn call(&self, request: CallRequest) -> Result<CallResponse, CallError> {
        let deadline = deadline(request.timeout);
        request.refuse_unfit().map_err(CallError::NotSent)?;
        match self.inner.settings.transport {
            Transport::Stdio(_) => request.refuse_several_lines().map_err(CallError::NotSent)?,
            Transport::Http(_) => {}
        }
        let live = self.live(deadline).await.map_err(CallError::NotSent)?;
        let mut name = Vec::new();
        let (params, mut members): (&[(&'static str, &[u8])], Vec<u8>) = match &request.asked {
            Asked::Tool(tool) => {
                write_string(tool, &mut name);
                (
                    &[("name", &name), ("arguments", request.arguments.as_bytes())],
                    Vec::new(),
                )
            }
            Asked::Method { .. } => (&[], inside(request.arguments.as_bytes()).to_vec()),
        };
        if let Some(answers) = request.answers.as_ref().map(|a| inside(a.as_bytes())) {
            if !members.is_empty() && !answers.is_empty() {
                members.push(b',');
            }
            members.extend_from_slice(answers);
        }
        let message = Request {
            method: Method::Call(request.asked.method()),
            params,
            members: &members,
            meta: &request.meta,
            progress: request.progress,
            declared: std::str::from_utf8(request.declared.as_bytes()).unwrap_or(NOTHING_DECLARED),
            log_level: request.log_level.as_deref(),
            era: live.era,
        };
        let beside = Beside {
            name: request.asked.named(),
            headers: &request.headers,
            ears: request.ears,
            trail: request.trail,
        };
        let (body, interim) = self.exchange(&live, &message, beside, deadline).await?;
        Ok(match body {
            Body::Error { raw, code } => CallResponse {
                answer: Answer::Refused { code },
                body: raw,
                interim,
            },
            Body::Result {
                raw,
                is_error,
                result_type,
            } => CallResponse {
                answer: answer_of(is_error, result_type, live.era),
                body: raw,
                interim,
            },
        })
    }

    /// All tools, in the upstream's order, as it describes them.
    ///
    /// # Errors
    /// [`ListError`]; there is no partial listing.
    pub async fn list_tools(&self) -> Result<Vec<RawTool>, ListError> {
        let bounds = &self.inner.common.bounds;
        let deadline = deadline(bounds.listing.saturating_add(bounds.start));
        let live = self
            .live(deadline)
            .await
            .map_err(|error| ListError::Call(CallError::NotSent(error)))?;
        let mut listing = Listing {
            tools: Vec::new(),
            bytes: 0,
            names: std::collections::HashSet::new(),
        };
        let mut cursor: Option<Vec<u8>> = None;
        for page in 1..=bounds.pages {
            let params: &[(&'static str, &[u8])] = match &cursor {
                Some(cursor) => &[("cursor", cursor)],
                None => &[],
            };
            let message = Request {
                method: Method::ListTools,
                params,
                members: b"",
                meta: &[],
                progress: Progress::Unwanted,
                declared: NOTHING_DECLARED,
                log_level: None,
                era: live.era,
            };
            let (body, _) = self
                .exchange(&live, &message, Beside::default(), deadline)
                .await
                .map_err(ListError::Call)?;
            match body {
                Body::Error { code, .. } => return Err(ListError::Refused { code }),
                Body::Result { raw, .. } => cursor = listing.add(&raw, page, bounds)?,
            }
            if cursor.is_none() {
                return Ok(listing.tools);
            }
        }
        Err(ListError::TooManyPages {
            limit: bounds.pages,
        })
    }

    /// What it tells without a call. A server that is started while nobody listens is not asked to tell.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.inner.common.events.subscribe()
    }

    /// Layers of the sandbox that its process runs in, after what they were made from; of the one that was started last.
    #[must_use]
    pub fn sandbox(&self) -> Vec<String> {
        let told = self.inner.sandbox.read();
        told.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What it said that it offers, if it is up.
    #[must_use]
    pub fn features(&self) -> Option<Arc<Features>> {
        self.inner.current().map(|live| live.features)
    }

    /// What it is doing, and what it has done so far.
    #[must_use]
    pub fn health(&self) -> Health {
        let common = &self.inner.common;
        let pause = locked(&common.breaker).pause(Instant::now());
        let state = match (self.inner.current(), pause) {
            (Some(live), _) => State::Serving(live.era),
            (None, Some(left)) => State::Pausing(left),
            (None, None) => State::Idle,
        };
        Health {
            state,
            starts: common.counts.starts.load(Ordering::Relaxed),
            unsolicited: common.counts.unsolicited.load(Ordering::Relaxed),
            refused_requests: common.counts.refused_requests.load(Ordering::Relaxed),
            stderr_bytes: common.counts.stderr_bytes.load(Ordering::Relaxed),
        }
    }

    /// Ends the server in an orderly way: its input is closed, and it is killed after `grace`.
    /// Calls under way lose their answers. A later call starts it again.
    pub async fn close(&self, grace: Duration) {
        let live = self
            .inner
            .live
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match live.map(|live| live.link) {
            Some(Link::Stdio(connection)) => connection.close(grace).await,
            Some(Link::Http(session)) => drop(timeout(grace, session.end()).await),
            None => {}
        }
    }

    async fn exchange(
        &self,
        live: &Live,
        message: &Request<'_>,
        beside: Beside<'_>,
        deadline: Instant,
    ) -> Result<(Body, Interim), CallError> {
        let outcome = live.link.exchange(message, beside, deadline).await;
        match &outcome {
            Ok(_) => locked(&self.inner.common.breaker).answered(),
            Err(error) => self.inner.note(live, error),
        }
        outcome
    }

    /// The running server, started if need be. The start goes on if the caller stops waiting, so
    /// that impatient callers do not keep a slow server from ever coming up.
    async fn live(&self, deadline: Instant) -> Result<Live, NotSent> {
        if let Some(live) = self.inner.current() {
            return Ok(live);
        }
        let inner = self.inner.clone();
        match timeout_at(deadline, tokio::spawn(async move { inner.start().await })).await {
            Ok(Ok(started)) => started,
            // The task panicked or the runtime is going down.
            Ok(Err(_)) => Err(NotSent::Closed),
            Err(_) => Err(NotSent::TimedOut),
        }
    }
}

impl Inner {
    fn current(&self) -> Option<Live> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        live.as_ref().filter(|live| live.link.is_up()).cloned()
    }

    async fn start(&self) -> Result<Live, NotSent> {
        let mut known = self.starting.lock().await;
        if let Some(live) = self.current() {
            return Ok(live);
        }
        if let Some(retry_in) = locked(&self.common.breaker).pause(Instant::now()) {
            return Err(NotSent::Pausing { retry_in });
        }
        let remembered = match self.settings.era {
            EraChoice::Only(_) => self.settings.era,
            EraChoice::Detect => known.map_or(EraChoice::Detect, EraChoice::Only),
        };
        let opening = Opening {
            common: &self.common,
            declared: &self.settings.declared,
            deadline: deadline(self.common.bounds.start),
        };
        let started = timeout(self.common.bounds.start, async {
            match &self.settings.transport {
                Transport::Stdio(settings) => opening.stdio(settings, remembered).await,
                Transport::Http(settings) => opening.http(settings, remembered).await,
            }
        })
        .await
        .unwrap_or(Err(StartError::TimedOut));
        match started {
            Ok(live) => {
                *known = Some(live.era);
                if let Link::Stdio(connection) = &live.link {
                    let mut told = self.sandbox.write().unwrap_or_else(PoisonError::into_inner);
                    *told = connection.layers().to_vec();
                }
                *self.live.write().unwrap_or_else(PoisonError::into_inner) = Some(live.clone());
                Ok(live)
            }
            Err(error) => {
                // It may have been replaced by one of another era.
                *known = None;
                locked(&self.common.breaker).failed(Instant::now());
                Err(NotSent::Start(error))
            }
        }
    }

    /// HTTP has no process whose end would be noticed: what an exchange says is all there is.
    fn note(&self, failed: &Live, error: &CallError) {
        let Link::Http(session) = &failed.link else {
            return;
        };
        let lost = match error {
            CallError::NotSent(NotSent::Unreachable | NotSent::Barred(_)) => &Lost::Ended,
            CallError::NotSent(_) => return,
            CallError::OutcomeUnknown(lost) => lost,
        };
        let verdict = match lost {
            Lost::TimedOut | Lost::HttpStatus { .. } | Lost::Redirected { .. } | Lost::Closed => {
                return;
            }
            Lost::SessionEnded => Verdict::Forget,
            Lost::Ended
            | Lost::WriteFailed
            | Lost::Dripping { .. }
            | Lost::TooLarge { .. }
            | Lost::Malformed(_)
            | Lost::Flooding { .. }
            | Lost::ForeignRequest
            | Lost::ContentType
            | Lost::OtherId => Verdict::Pause,
        };
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        let same = matches!(live.as_ref().map(|live| &live.link), Some(Link::Http(now)) if Arc::ptr_eq(now, session));
        if !same {
            return;
        }
        *live = None;
        match verdict {
            Verdict::Forget => {}
            Verdict::Pause => locked(&self.common.breaker).failed(Instant::now()),
        }
    }
}

enum Verdict {
    Forget,
    Pause,
}

impl Link {
    fn is_up(&self) -> bool {
        match self {
            Self::Stdio(connection) => connection.over().is_none(),
            Self::Http(_) => true,
        }
    }

    async fn exchange(
        &self,
        message: &Request<'_>,
        beside: Beside<'_>,
        deadline: Instant,
    ) -> Result<(Body, Interim), CallError> {
        match self {
            Self::Stdio(connection) => {
                let trail = Some(&beside.trail);
                connection
                    .exchange(message, beside.ears, trail, deadline)
                    .await
            }
            Self::Http(session) => {
                let exchanged = session.exchange(message, beside, deadline).await?;
                Ok((exchanged.body, exchanged.interim))
            }
        }
    }
}

/// The first words with an upstream.
struct Opening<'a> {
    common: &'a Common,
    declared: &'a str,
    deadline: Instant,
}

/// What `server/discover` told.
enum Discovered {
    Modern(Features),
    /// It names legacy revisions only.
    LegacyOnly,
    /// It does not know the question; the connection is usable.
    NotUnderstood,
    /// No answer, or it ended over it; the connection is not usable.
    Silent,
}

impl Opening<'_> {
    /// Whether anybody wants to know what the server tells outside of calls.
    fn is_heard(&self) -> bool {
        self.common.events.receiver_count() > 0
    }

    fn listen(&self, hearing: impl Future<Output = ()> + Send + 'static) -> Option<Arc<Listener>> {
        self.is_heard()
            .then(|| Arc::new(Listener(tokio::spawn(hearing).abort_handle())))
    }

    /// SPEC: 2026-07-28 stdio, "Backward Compatibility": probe with `server/discover`, fall back
    /// on any error that is not a modern one. Beyond it: a server that answered the probe may
    /// refuse `initialize` in that process, and one that was silent may still answer late; both
    /// get a new process for the legacy handshake.
    async fn stdio(&self, settings: &StdioSettings, era: EraChoice) -> Result<Live, StartError> {
        if era == EraChoice::Only(Era::Legacy) {
            return self
                .legacy_stdio(Connection::spawn(settings, self.common).await?)
                .await;
        }
        let connection = Connection::spawn(settings, self.common).await?;
        let probe_deadline = match era {
            EraChoice::Detect => deadline(self.common.bounds.probe).min(self.deadline),
            EraChoice::Only(_) => self.deadline,
        };
        let answer = connection
            .exchange(&PROBE, None, None, probe_deadline)
            .await
            .map(|(body, _)| body);
        match (discovered(answer, era)?, era) {
            (Discovered::Modern(features), _) => {
                connection.serve();
                if self.is_heard() {
                    connection.subscribe(self.deadline).await;
                }
                Ok(Live {
                    link: Link::Stdio(Arc::new(connection)),
                    era: Era::Modern,
                    features: Arc::new(features),
                    _listener: None,
                })
            }
            (_, EraChoice::Only(_)) => Err(StartError::NoCommonVersion),
            (Discovered::LegacyOnly | Discovered::Silent, EraChoice::Detect) => {
                drop(connection);
                self.legacy_stdio(Connection::spawn(settings, self.common).await?)
                    .await
            }
            (Discovered::NotUnderstood, EraChoice::Detect) => {
                match self.legacy_stdio(connection).await {
                    Ok(live) => Ok(live),
                    Err(_) => {
                        self.legacy_stdio(Connection::spawn(settings, self.common).await?)
                            .await
                    }
                }
            }
        }
    }

    async fn legacy_stdio(&self, connection: Connection) -> Result<Live, StartError> {
        let params = initialize_params(self.declared);
        let (body, _) = connection
            .exchange(&initialize(&params), None, None, self.deadline)
            .await
            .map_err(start_error)?;
        let (_, features) = negotiated(&body)?;
        connection
            .notify(INITIALIZED.to_vec(), self.deadline)
            .await
            .map_err(|error| start_error(CallError::NotSent(error)))?;
        connection.serve();
        Ok(Live {
            link: Link::Stdio(Arc::new(connection)),
            era: Era::Legacy,
            features: Arc::new(features),
            _listener: None,
        })
    }

    /// SPEC: 2026-07-28 Streamable HTTP, "Backward Compatibility". Every request stands alone, so
    /// the legacy handshake can follow on any connection.
    async fn http(&self, settings: &HttpSettings, era: EraChoice) -> Result<Live, StartError> {
        let session = Session::new(settings, self.common);
        if era == EraChoice::Only(Era::Legacy) {
            return self.legacy_http(&session).await;
        }
        let probe_deadline = deadline(self.common.bounds.probe).min(self.deadline);
        let answer = match session
            .exchange(&PROBE, Beside::default(), probe_deadline)
            .await
        {
            Ok(exchanged) => Ok(exchanged.body),
            Err(CallError::NotSent(error)) => return Err(start_error(CallError::NotSent(error))),
            // A status without a message is how most legacy servers refuse an unknown request.
            Err(error) => Err(error),
        };
        match (discovered(answer, era)?, era) {
            (Discovered::Modern(features), _) => {
                let session = Arc::new(session.opened(MODERN_VERSION, None));
                let hearing = session.clone();
                let listener = self.listen(async move { hearing.subscribe().await });
                Ok(Live {
                    link: Link::Http(session),
                    era: Era::Modern,
                    features: Arc::new(features),
                    _listener: listener,
                })
            }
            (_, EraChoice::Only(_)) => Err(StartError::NoCommonVersion),
            (_, EraChoice::Detect) => self.legacy_http(&session).await,
        }
    }

    async fn legacy_http(&self, session: &Session) -> Result<Live, StartError> {
        let params = initialize_params(self.declared);
        let exchanged = session
            .exchange(&initialize(&params), Beside::default(), self.deadline)
            .await
            .map_err(start_error)?;
        let (version, features) = negotiated(&exchanged.body)?;
        let session = Arc::new(session.opened(version, exchanged.session));
        session
            .notify(Era::Legacy, INITIALIZED.to_vec())
            .await
            .map_err(StartError::Handshake)?;
        let hearing = session.clone();
        let listener = self.listen(async move { hearing.listen().await });
        Ok(Live {
            link: Link::Http(session),
            era: Era::Legacy,
            features: Arc::new(features),
            _listener: listener,
        })
    }
}

const PROBE: Request<'static> = Request {
    method: Method::Discover,
    params: &[],
    members: b"",
    meta: &[],
    progress: Progress::Unwanted,
    declared: NOTHING_DECLARED,
    log_level: None,
    era: Era::Modern,
};

/// The newest of [`LEGACY_VERSIONS`] is offered.
const fn initialize_params(declared: &str) -> [(&'static str, &[u8]); 3] {
    [
        ("protocolVersion", b"\"2025-11-25\""),
        ("capabilities", declared.as_bytes()),
        ("clientInfo", CLIENT_INFO.as_bytes()),
    ]
}

const fn initialize<'a>(params: &'a [(&'static str, &'a [u8])]) -> Request<'a> {
    Request {
        method: Method::Initialize,
        params,
        members: b"",
        meta: &[],
        progress: Progress::Unwanted,
        declared: NOTHING_DECLARED,
        log_level: None,
        era: Era::Legacy,
    }
}

/// How many events a slow listener may be behind.
const EVENTS: usize = 256;

/// What stands between the braces of an object.
fn inside(object: &[u8]) -> &[u8] {
    let text = object.trim_ascii();
    let text = text.strip_prefix(b"{").unwrap_or(text);
    text.strip_suffix(b"}").unwrap_or(text).trim_ascii()
}

fn discovered(answer: Result<Body, CallError>, era: EraChoice) -> Result<Discovered, StartError> {
    match answer {
        Ok(Body::Result { raw, .. }) => {
            let discover: Discover =
                serde_json::from_slice(&raw).map_err(|_| StartError::Answer)?;
            of_versions(&discover.supported, Features::of(&raw))
        }
        // SPEC: 2026-07-28, UnsupportedProtocolVersionError; the list stands in its data.
        Ok(Body::Error { code: -32022, raw }) => {
            let refused: Unsupported =
                serde_json::from_slice(&raw).map_err(|_| StartError::NoCommonVersion)?;
            of_versions(&refused.data.supported, Features::default())
        }
        // HeaderMismatch, MissingRequiredClientCapability: modern, and nothing we could mend.
        Ok(Body::Error {
            code: code @ (-32021 | -32020),
            ..
        }) => Err(StartError::Refused { code }),
        Ok(Body::Error { code, .. }) => match era {
            EraChoice::Detect => Ok(Discovered::NotUnderstood),
            EraChoice::Only(_) => Err(StartError::Refused { code }),
        },
        Err(CallError::OutcomeUnknown(
            lost @ (Lost::Malformed(_)
            | Lost::TooLarge { .. }
            | Lost::Flooding { .. }
            | Lost::Dripping { .. }
            | Lost::OtherId),
        )) => Err(StartError::Handshake(lost)),
        Err(error @ (CallError::OutcomeUnknown(_) | CallError::NotSent(_))) => match era {
            EraChoice::Detect => Ok(Discovered::Silent),
            EraChoice::Only(_) => Err(start_error(error)),
        },
    }
}

fn of_versions(supported: &[String], features: Features) -> Result<Discovered, StartError> {
    if supported.iter().any(|version| version == MODERN_VERSION) {
        Ok(Discovered::Modern(features))
    } else if supported
        .iter()
        .any(|version| LEGACY_VERSIONS.contains(&version.as_str()))
    {
        Ok(Discovered::LegacyOnly)
    } else {
        Err(StartError::NoCommonVersion)
    }
}

fn negotiated(body: &Body) -> Result<(&'static str, Features), StartError> {
    match body {
        Body::Error { code, .. } => Err(StartError::Refused { code: *code }),
        Body::Result { raw, .. } => {
            let answer: Initialized =
                serde_json::from_slice(raw).map_err(|_| StartError::Answer)?;
            LEGACY_VERSIONS
                .into_iter()
                .find(|version| *version == answer.version)
                .map(|version| (version, Features::of(raw)))
                .ok_or(StartError::NoCommonVersion)
        }
    }
}

fn start_error(error: CallError) -> StartError {
    match error {
        CallError::OutcomeUnknown(lost) | CallError::NotSent(NotSent::Failed(lost)) => {
            StartError::Handshake(lost)
        }
        CallError::NotSent(NotSent::TimedOut) => StartError::TimedOut,
        CallError::NotSent(NotSent::Barred(barred)) => StartError::Barred(barred),
        CallError::NotSent(_) => StartError::Unreachable,
    }
}

fn answer_of(is_error: IsError, result_type: ResultType, era: Era) -> Answer {
    match (is_error, result_type) {
        (IsError::Yes, ResultType::Complete) => Answer::ToolError,
        (IsError::No, ResultType::Complete) => Answer::Complete,
        (IsError::Yes | IsError::No, ResultType::InputRequired) => Answer::InputRequired,
        (IsError::No, ResultType::Task) if era == Era::Modern => Answer::Task,
        (IsError::Yes | IsError::No, ResultType::Task | ResultType::Unrecognised) => {
            Answer::Unrecognised
        }
    }
}

fn deadline(after: Duration) -> Instant {
    let now = Instant::now();
    // A sum that does not exist is a mistake of the caller; it ends at once rather than never.
    now.checked_add(after).unwrap_or(now)
}

#[derive(Deserialize)]
struct Discover {
    #[serde(rename = "supportedVersions")]
    supported: Vec<String>,
}

#[derive(Deserialize)]
struct Unsupported {
    data: UnsupportedVersions,
}

#[derive(Deserialize)]
struct UnsupportedVersions {
    supported: Vec<String>,
}

#[derive(Deserialize)]
struct Initialized {
    #[serde(rename = "protocolVersion")]
    version: String,
}

#[derive(Deserialize)]
struct Offered<'a> {
    #[serde(borrow)]
    capabilities: BTreeMap<String, &'a RawValue>,
}

#[derive(Deserialize)]
struct Subscribing {
    #[serde(default)]
    subscribe: bool,
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    tools: Vec<&'a RawValue>,
    #[serde(rename = "nextCursor")]
    cursor: Option<String>,
}

struct Listing {
    tools: Vec<RawTool>,
    bytes: usize,
    names: std::collections::HashSet<String>,
}

impl Listing {
    /// Adds a page; the next one's cursor as JSON text, if there is a next one.
    fn add(
        &mut self,
        raw: &Bytes,
        page: usize,
        bounds: &Bounds,
    ) -> Result<Option<Vec<u8>>, ListError> {
        let content: Page<'_> =
            serde_json::from_slice(raw).map_err(|_| ListError::Page { page })?;
        for tool in content.tools {
            let position = self.tools.len().saturating_add(1);
            if position > bounds.tools {
                return Err(ListError::TooManyTools {
                    limit: bounds.tools,
                });
            }
            let text = tool.get().as_bytes();
            self.bytes = self.bytes.saturating_add(text.len());
            if self.bytes > bounds.listing_bytes {
                return Err(ListError::TooLarge {
                    limit: bounds.listing_bytes,
                });
            }
            // Copied, as a slice would keep the whole page in memory.
            let tool = RawTool::parse(Bytes::copy_from_slice(text))
                .map_err(|error| ListError::Descriptor { position, error })?;
            if !self.names.insert(tool.name().to_owned()) {
                return Err(ListError::NameTwice { position });
            }
            self.tools.push(tool);
        }
        Ok(content.cursor.map(|cursor| {
            let mut text = Vec::with_capacity(cursor.len().saturating_add(2));
            write_string(&cursor, &mut text);
            text
        }))
    }
}
