//! Traces, metrics and logs: what an operator watches, beside the log that an auditor reads.
//!
//! | module | what it does |
//! |---|---|
//! | [`heard`] | what came with a request beside the call: trace context, identifiers |
//! | [`metrics`] | what is counted and timed, by capability |
//! | [`view`] | the numbers of a moment |
//! | [`prometheus`] | those as text |
//! | [`otlp`] | spans, metrics and log records as OTLP messages, by [`protobuf`] |
//! | [`courier`] | sends them, and drops what it cannot send |
//! | [`headers`] | what shows the endpoint who sends |
//!
//! In: calls that have ended, lines of the gateway's log, events. Out: OTLP over HTTP to one endpoint, if the settings
//! name one; text for whoever asks. **Never** arguments, results, tokens or names from requests: a span says what its
//! Decision Record says in the clear, and what the bundle says of the capability.
//!
//! Telemetry neither slows nor stops a call: what ends is put into a bounded queue, or dropped and counted. It is no
//! evidence: nothing of it is signed, and the operator can change it.
//!
//! Spec: `docs/telemetry.md`. Why this is not a library: decision 0030.

pub mod courier;
mod headers;
pub mod heard;
mod metrics;
mod otlp;
pub(crate) mod prometheus;
mod protobuf;
pub(crate) mod view;

pub use heard::{Heard, Onward};
pub use prometheus::MEDIA_TYPE;

use crate::calls::Timings;
use crate::clock::Clock;
use crate::serve::Gateway;
use countersign_gateway::request::parse_traceparent;
use countersign_gateway::security::SecurityEvent;
use countersign_policies::Content;
use countersign_policies::site::telemetry::{Collector, TelemetrySettings};
use countersign_record::body::{Decision, EventKind, Trace, Verdict};
use countersign_record::digest::{ArtifactDigest, CallId, EntryDigest};
use countersign_record::egress::EgressConnection;
use heard::{Part, SpanId, trace_id};
use metrics::Metrics;
use otlp::Severity;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tokio::sync::{mpsc, oneshot};

/// Calls and lines that may wait to be sent.
///
/// Bounds memory: one takes some 600 bytes (assumed), so all of them 5 MiB. At 16,000 calls/s it is half a second.
pub const QUEUE: usize = 8192;

/// What waits to be sent.
enum Item {
    Call(Box<Ended>),
    Answer(Box<Answered>),
    Line(Line),
    /// Nothing comes after this; whoever stops the gateway waits for the answer.
    Last(oneshot::Sender<()>),
}

/// A line of the gateway's log, or an event.
#[derive(Debug)]
struct Line {
    /// Microseconds since 1970.
    at: u64,
    severity: Severity,
    text: String,
    event: Option<Happened>,
}

/// What a line is about, if it is an event.
#[derive(Debug)]
enum Happened {
    /// Something outside of calls, and how often.
    Counted(&'static str, u64),
    /// A security event of a call.
    Security(SecurityEvent, Box<Concerned>),
}

/// The call that a security event is about, as its record says it in the clear.
#[derive(Debug)]
struct Concerned {
    call: CallId,
    capability: Option<String>,
    code: Option<String>,
    recorded: Option<(u64, EntryDigest)>,
    trace: [u8; 16],
    /// The call's span.
    span: [u8; 8],
}

/// A call that has ended, as telemetry sees it.
#[derive(Debug)]
pub struct Ended {
    call: CallId,
    verdict: Verdict,
    code: Option<String>,
    capability: Option<String>,
    adapter: Option<String>,
    /// What the upstream is asked.
    method: &'static str,
    tool: Option<String>,
    bundle: Option<ArtifactDigest>,
    recorded: Option<(u64, EntryDigest)>,
    events: Vec<SecurityEvent>,
    claimed: Option<Trace>,
    heard: Heard,
    timings: Timings,
    /// Whether it was sent to the upstream.
    left: bool,
    tool_error: bool,
    /// Where it went.
    went: Vec<EgressConnection>,
    /// How long it took, in microseconds.
    total: u64,
    /// When it ended, in microseconds since 1970.
    at: u64,
}

/// A message that was answered here, as telemetry sees it: it was no call, and left no record.
#[derive(Debug)]
struct Answered {
    /// By what its span is known.
    id: CallId,
    method: &'static str,
    heard: Heard,
    claimed: Option<Trace>,
    /// Status of the answer, where it is an error.
    failed: Option<u16>,
    /// How long it took, in microseconds.
    total: u64,
    /// When it ended, in microseconds since 1970.
    at: u64,
}

/// What the call's record says in the clear, before the record is in the log.
#[derive(Debug)]
pub struct Seen(Ended);

impl Seen {
    /// Of a record, and of how the call came.
    #[must_use]
    pub fn of(body: &Decision, heard: &Heard) -> Self {
        let capability = body.capability.as_ref();
        Self(Ended {
            call: body.call,
            verdict: body.verdict,
            code: body.code.clone(),
            capability: capability.map(|c| c.id.clone()),
            adapter: capability.map(|c| c.adapter.clone()),
            method: "tools/call",
            tool: None,
            bundle: body.policy.as_ref().map(|p| p.bundle),
            recorded: None,
            events: body
                .controls
                .iter()
                .filter_map(|control| SecurityEvent::of_control(control))
                .collect(),
            claimed: body.trace.clone(),
            heard: heard.clone(),
            timings: Timings::default(),
            left: body.times.dispatched.is_some(),
            tool_error: false,
            went: Vec::new(),
            total: 0,
            at: 0,
        })
    }

    /// The tool says that it failed.
    #[must_use]
    pub fn failed(mut self, tool_error: bool) -> Self {
        self.0.tool_error = tool_error;
        self
    }

    /// Where it went.
    #[must_use]
    pub fn went(mut self, went: Vec<EgressConnection>) -> Self {
        self.0.went = went;
        self
    }

    /// Where the record stands.
    #[must_use]
    pub fn recorded(mut self, index: u64, digest: EntryDigest) -> Self {
        self.0.recorded = Some((index, digest));
        self
    }

    /// The record could not be written, and the caller was told so.
    #[must_use]
    pub fn unrecorded(mut self, code: &str) -> Self {
        self.0.code = Some(code.to_owned());
        self
    }
}

/// Who is told about calls.
#[derive(Debug)]
pub struct Telemetry {
    metrics: Metrics,
    clock: Arc<Clock>,
    scrape: Option<SocketAddr>,
    sending: Option<Sending>,
}

/// The way to an endpoint.
#[derive(Debug)]
struct Sending {
    collector: Collector,
    ca: Option<PathBuf>,
    headers: http::HeaderMap,
    queue: Arc<Queue>,
    /// Taken by whoever sends.
    waiting: Mutex<Option<mpsc::Receiver<Item>>>,
}

/// The end of the queue where things are put in.
#[derive(Debug)]
struct Queue {
    sender: mpsc::Sender<Item>,
    lost_calls: AtomicU64,
    lost_lines: AtomicU64,
}

/// Where [`line`] puts lines, once somebody takes them: there is one log of a process, as there is one standard error.
static LINES: OnceLock<(Arc<Queue>, Arc<Clock>)> = OnceLock::new();

impl Queue {
    fn put(&self, item: Item) {
        if let Err(refused) = self.sender.try_send(item) {
            self.lose(&refused.into_inner());
        }
    }

    fn lose(&self, item: &Item) {
        let counter = match item {
            Item::Call(_) | Item::Answer(_) => &self.lost_calls,
            Item::Line(_) => &self.lost_lines,
            Item::Last(_) => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl Ended {
    /// A security event of this call, as a log record of its own.
    fn security(&self, event: SecurityEvent) -> Line {
        let ambient = self.heard.ambient.as_ref();
        let concerned = Concerned {
            call: self.call,
            capability: self.capability.clone(),
            code: self.code.clone(),
            recorded: self.recorded,
            trace: trace_id(self.call, self.claimed.as_ref(), ambient),
            span: SpanId::of(self.call, Part::Call).0,
        };
        Line {
            at: self.at,
            severity: Severity::Warn,
            text: format!("security event {}", event.name()),
            event: Some(Happened::Security(event, Box::new(concerned))),
        }
    }
}

impl Telemetry {
    /// As the settings say; paths begin at the site directory. Nothing is sent before [`courier::keep`] runs.
    ///
    /// # Errors
    /// If the endpoint's headers cannot be had.
    pub fn new(
        settings: &TelemetrySettings,
        site: &Path,
        content: &Content,
        clock: &Arc<Clock>,
    ) -> anyhow::Result<Self> {
        let wanted = settings.collector.as_ref().and_then(Collector::headers);
        let headers = match wanted {
            Some(file) => headers::read(&site.join(file))?,
            None => http::HeaderMap::new(),
        };
        let sending = settings.collector.as_ref().map(|collector| {
            let (sender, waiting) = mpsc::channel(QUEUE);
            let queue = Arc::new(Queue {
                sender,
                lost_calls: AtomicU64::new(0),
                lost_lines: AtomicU64::new(0),
            });
            // Set once; a second gateway in one process would keep its lines to itself.
            let _first = LINES.set((Arc::clone(&queue), Arc::clone(clock)));
            Sending {
                ca: collector.ca().map(|ca| site.join(ca)),
                collector: collector.clone(),
                headers,
                queue,
                waiting: Mutex::new(Some(waiting)),
            }
        });
        Ok(Self {
            metrics: Metrics::new(content),
            clock: Arc::clone(clock),
            scrape: settings.scrape,
            sending,
        })
    }

    /// Where metrics can be fetched without showing who one is.
    #[must_use]
    pub fn scrape(&self) -> Option<SocketAddr> {
        self.scrape
    }

    /// What goes to the upstream beside a call, of the trace that the call belongs to.
    #[must_use]
    pub fn onward(&self, call: CallId, claimed: Option<&Trace>, heard: &Heard) -> Onward {
        match &self.sending {
            Some(_) => Onward::under_our_span(call, claimed, heard),
            None => Onward::as_it_came(claimed, heard),
        }
    }

    /// Takes note of a call that has ended.
    pub fn ended(&self, seen: Seen, timings: Timings) {
        let Seen(mut ended) = seen;
        let started = ended.heard.started();
        ended.timings = timings;
        ended.total = self.clock.micros().saturating_sub(started);
        self.metrics.count(&ended);
        if let Some(sending) = &self.sending {
            let series = self.metrics.series(ended.capability.as_deref());
            ended.method = series.method;
            ended.tool = Some(series.tool.clone()).filter(|tool| !tool.is_empty());
            ended.at = self.clock.unix_micros();
            for event in &ended.events {
                sending.queue.put(Item::Line(ended.security(*event)));
            }
            sending.queue.put(Item::Call(Box::new(ended)));
        }
    }

    /// Takes note of a message that was answered here. `claimed` is the trace that it names.
    pub fn answered(
        &self,
        method: &'static str,
        (heard, claimed): (Heard, Option<&str>),
        failed: Option<u16>,
    ) {
        let Some(sending) = &self.sending else { return };
        // Without randomness there is no span; nothing depends on one.
        let Ok(id) = crate::keys::random::<16>() else {
            return;
        };
        let answered = Answered {
            id: CallId(*id),
            method,
            claimed: claimed.and_then(parse_traceparent),
            failed,
            total: self.clock.micros().saturating_sub(heard.started()),
            at: self.clock.unix_micros(),
            heard,
        };
        sending.queue.put(Item::Answer(Box::new(answered)));
    }

    /// Takes note of a request that was refused before its caller was known.
    pub fn stranger(&self) {
        self.metrics.strangers.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes note of an event that stands in the log.
    pub fn event(&self, kind: EventKind, count: u64) {
        if let Some(sending) = &self.sending {
            sending.queue.put(Item::Line(Line {
                at: self.clock.unix_micros(),
                severity: Severity::Warn,
                text: format!("event {} ({count})", kind.name()),
                event: Some(Happened::Counted(kind.name(), count)),
            }));
        }
    }

    /// What was dropped, by signal.
    #[must_use]
    pub fn dropped(&self) -> Vec<(&'static str, u64)> {
        self.sending.as_ref().map_or_else(Vec::new, |sending| {
            let of = |n: &AtomicU64| n.load(Ordering::Relaxed);
            vec![
                ("traces", of(&sending.queue.lost_calls)),
                ("logs", of(&sending.queue.lost_lines)),
            ]
        })
    }

    /// Waits a moment for what is still to be sent. Nothing ends after this.
    pub async fn last_words(&self) {
        if let Some(sending) = &self.sending {
            let (done, wait) = oneshot::channel();
            sending.queue.put(Item::Last(done));
            // An endpoint that is not there does not keep the gateway from stopping.
            let _late = tokio::time::timeout(courier::LAST_WAIT, wait).await;
        }
    }

    fn take_waiting(&self) -> Option<(&Sending, mpsc::Receiver<Item>)> {
        let sending = self.sending.as_ref()?;
        let mut waiting = sending
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        waiting.take().map(|waiting| (sending, waiting))
    }
}

/// A line of the gateway's log, for those who read it elsewhere.
pub(crate) fn line(text: &str) {
    if let Some((queue, clock)) = LINES.get() {
        queue.put(Item::Line(Line {
            at: clock.unix_micros(),
            severity: if text.contains("error:") {
                Severity::Error
            } else {
                Severity::Info
            },
            text: text.to_owned(),
            event: None,
        }));
    }
}

/// All metrics, as text.
#[must_use]
pub fn text(gateway: &Gateway) -> String {
    prometheus::text(&view::View::of(gateway))
}
