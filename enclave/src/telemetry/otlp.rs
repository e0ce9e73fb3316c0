//! OTLP messages: spans, metrics, log records.
//!
//! In: calls that have ended, lines, a [`View`]. Out: the bodies of OTLP over HTTP. The numbers of fields stand here as
//! in the `.proto` files; a test decodes what arrives with those files' own classes.
//!
//! SPEC: opentelemetry-proto 1.9, `trace.proto`, `metrics.proto`, `logs.proto`, `common.proto`; names of attributes:
//! the GenAI and MCP semantic conventions, and ours under `countersign.`.

use super::heard::{Heard, Part, SpanId, trace_id};
use super::metrics::{Counts, EDGES_MICROS};
use super::protobuf::Message;
use super::view::{CAPABILITY, Data, Metric, Point, View};
use super::{Answered, Concerned, Ended, Happened, Line};
use crate::calls::Timings;
use countersign_record::body::{Trace, Verdict};
use countersign_record::egress::EgressConnection;
use std::time::Duration;

/// Who sends: attributes of the resource.
#[derive(Debug, Clone)]
pub(super) struct Sender {
    /// The gateway's id, hexadecimal.
    pub(super) gateway: String,
    /// When it started, in microseconds since 1970.
    pub(super) started: u64,
}

/// Kinds of spans. SPEC: `Span.SpanKind`.
const INTERNAL: u64 = 1;
const SERVER: u64 = 2;
const CLIENT: u64 = 3;

/// The method that is a call of a tool.
const CALL: &str = "tools/call";

/// SPEC: `Status.StatusCode`.
const STATUS_ERROR: u64 = 2;

/// SPEC: `AggregationTemporality`.
const CUMULATIVE: u64 = 2;

/// SPEC: `SeverityNumber`.
const INFO: u64 = 9;
const WARN: u64 = 13;
const ERROR: u64 = 17;

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Severity {
    Info,
    Warn,
    Error,
}

/// The body of `POST /v1/traces`.
pub(super) fn traces<'e>(
    sender: &Sender,
    ended: impl Iterator<Item = &'e Ended>,
    answered: impl Iterator<Item = &'e Answered>,
) -> Vec<u8> {
    let mut scope = scope();
    ended
        .flat_map(spans)
        .chain(answered.map(answered_span))
        .for_each(|span| scope.message(2, span));
    envelope(sender, scope)
}

/// The body of `POST /v1/metrics`.
pub(super) fn metrics(sender: &Sender, view: &View, now: u64) -> Vec<u8> {
    let mut scope = scope();
    // A metric without values says nothing yet.
    let some = view.0.iter().filter(|m| m.data.len() > 0);
    scope.each(2, some, |m| metric(m, sender, now));
    envelope(sender, scope)
}

/// The body of `POST /v1/logs`.
pub(super) fn logs<'l>(sender: &Sender, lines: impl Iterator<Item = &'l Line>) -> Vec<u8> {
    let mut scope = scope();
    scope.each(2, lines, log_record);
    envelope(sender, scope)
}

/// Resource and scope around what is sent; the three requests have the same shape.
fn envelope(sender: &Sender, scope: Message) -> Vec<u8> {
    let mut resource = Message::default();
    let attributes = [
        ("service.name", "countersign"),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("service.instance.id", &sender.gateway),
        ("countersign.gateway.id", &sender.gateway),
    ];
    resource.each(1, attributes, |(key, text)| {
        attribute(key, Value::Text(text))
    });
    let mut of_resource = Message::default();
    of_resource.message(1, resource);
    of_resource.message(2, scope);
    let mut request = Message::default();
    request.message(1, of_resource);
    request.into_bytes()
}

fn scope() -> Message {
    let mut named = Message::default();
    named.text(1, "countersign");
    named.text(2, env!("CARGO_PKG_VERSION"));
    let mut out = Message::default();
    out.message(1, named);
    out
}

enum Value<'t> {
    Text(&'t str),
    Number(u64),
}

fn attribute(key: &str, value: Value<'_>) -> Message {
    let mut any = Message::default();
    match value {
        Value::Text(text) => any.opt_text(1, text),
        Value::Number(number) => any.opt_number(3, number),
    }
    let mut out = Message::default();
    out.text(1, key);
    out.message(2, any);
    out
}

/// An attribute of a span.
fn put(span: &mut Message, key: &str, value: Value<'_>) {
    span.message(9, attribute(key, value));
}

fn nanos(micros: u64) -> u64 {
    micros.saturating_mul(1000)
}

// Spans.

/// The spans of a call. Parts that a call did not have are no spans.
fn spans(ended: &Ended) -> Vec<Message> {
    let Timings {
        decide,
        seal,
        upstream,
        release,
    } = ended.timings;
    let start = ended.at.saturating_sub(ended.total);
    let sealed = start.saturating_add(decide);
    let left = sealed.saturating_add(seal);
    let back = left.saturating_add(upstream);
    let mut out = vec![server_span(ended, start)];
    let mut child = |part, kind, from, until| out.push(child_span(ended, part, kind, from, until));
    child(Part::Decide, INTERNAL, start, sealed);
    if seal > 0 {
        child(Part::Seal, INTERNAL, sealed, left);
    }
    if ended.left {
        child(Part::Upstream, CLIENT, left, back);
    }
    child(
        Part::Release,
        INTERNAL,
        ended.at.saturating_sub(release),
        ended.at,
    );
    out
}

/// The call itself, under the client's span if it named one.
fn server_span(ended: &Ended, start: u64) -> Message {
    let heard = &ended.heard;
    let parent = ended.claimed.as_ref().or(heard.ambient.as_ref());
    let mut span = begin(ended, Part::Call, parent.map(|p| p.span));
    span.text(5, &ended.name());
    span.number(6, SERVER);
    span.opt_fixed64(7, nanos(start));
    span.opt_fixed64(8, nanos(ended.at));
    put_mcp(&mut span, heard);
    if ended.method == CALL {
        put(
            &mut span,
            "gen_ai.operation.name",
            Value::Text("execute_tool"),
        );
    }
    if let Some(tool) = &ended.tool {
        put(&mut span, "gen_ai.tool.name", Value::Text(tool));
    }
    if let Some(capability) = &ended.capability {
        put(&mut span, CAPABILITY, Value::Text(capability));
    }
    put(
        &mut span,
        "countersign.decision.id",
        Value::Text(&ended.call.to_string()),
    );
    put(
        &mut span,
        "countersign.decision.verdict",
        Value::Text(ended.verdict.name()),
    );
    if let Some(code) = &ended.code {
        put(&mut span, "countersign.decision.code", Value::Text(code));
    }
    if let Some(bundle) = &ended.bundle {
        put(
            &mut span,
            "countersign.policy.digest",
            Value::Text(&bundle.to_string()),
        );
    }
    if let Some((index, digest)) = &ended.recorded {
        put(&mut span, "countersign.record.index", Value::Number(*index));
        put(
            &mut span,
            "countersign.record.digest",
            Value::Text(&digest.to_string()),
        );
    }
    let error = ended.error();
    if let Some(error) = error {
        put(&mut span, "error.type", Value::Text(error));
    }
    put_link(&mut span, heard, ended.claimed.as_ref());
    status(&mut span, error);
    span
}

/// A message that was answered here, under the client's span if it named one.
fn answered_span(answered: &Answered) -> Message {
    let Answered {
        id, method, heard, ..
    } = answered;
    let (claimed, ambient) = (answered.claimed.as_ref(), heard.ambient.as_ref());
    let mut span = Message::default();
    span.bytes(1, &trace_id(*id, claimed, ambient));
    span.bytes(2, &SpanId::of(*id, Part::Call).0);
    if let Some(parent) = claimed.or(ambient) {
        span.bytes(4, &parent.span);
    }
    span.text(5, method);
    span.number(6, SERVER);
    span.opt_fixed64(7, nanos(answered.at.saturating_sub(answered.total)));
    span.opt_fixed64(8, nanos(answered.at));
    put_mcp(&mut span, heard);
    let failed = answered.failed.map(|status| status.to_string());
    if let Some(failed) = &failed {
        put(&mut span, "error.type", Value::Text(failed));
    }
    put_link(&mut span, heard, claimed);
    status(&mut span, failed.as_deref());
    span
}

/// What the message says of itself.
fn put_mcp(span: &mut Message, heard: &Heard) {
    let Some(mcp) = &heard.mcp else { return };
    put(span, "mcp.method.name", Value::Text(mcp.method));
    put(span, "mcp.protocol.version", Value::Text(mcp.version));
    if let Some(session) = &mcp.session {
        put(span, "mcp.session.id", Value::Text(session.as_str()));
    }
    if let Some(request) = &mcp.request {
        put(span, "jsonrpc.request.id", Value::Text(request.as_str()));
    }
}

/// Where the body names a trace, that of the HTTP request beside it is a link.
fn put_link(span: &mut Message, heard: &Heard, claimed: Option<&Trace>) {
    if let (Some(_), Some(ambient)) = (claimed, &heard.ambient) {
        let mut link = Message::default();
        link.bytes(1, &ambient.id);
        link.bytes(2, &ambient.span);
        span.message(13, link);
    }
}

fn child_span(ended: &Ended, part: Part, kind: u64, from: u64, until: u64) -> Message {
    let mut span = begin(ended, part, Some(SpanId::of(ended.call, Part::Call).0));
    let failed = match part {
        Part::Upstream => ended.error(),
        Part::Call | Part::Decide | Part::Seal | Part::Release => None,
    };
    match (part, &ended.tool) {
        (Part::Upstream, Some(tool)) => span.text(5, &format!("{} {tool}", ended.method)),
        (Part::Upstream, None) => span.text(5, ended.method),
        (_, _) => span.text(5, part.name()),
    }
    span.number(6, kind);
    span.opt_fixed64(7, nanos(from));
    span.opt_fixed64(8, nanos(until.max(from)));
    if part == Part::Upstream {
        put(&mut span, "mcp.method.name", Value::Text(ended.method));
        if let Some(tool) = &ended.tool {
            put(&mut span, "gen_ai.tool.name", Value::Text(tool));
        }
        if let Some(adapter) = &ended.adapter {
            put(&mut span, "countersign.adapter", Value::Text(adapter));
        }
        put_went(&mut span, &ended.went);
        if let Some(error) = failed {
            put(&mut span, "error.type", Value::Text(error));
        }
    }
    status(&mut span, failed);
    span
}

/// Where a call went. Of what passes through the proxy only how much there was: a program chooses those names.
fn put_went(span: &mut Message, went: &[EgressConnection]) {
    if went.is_empty() {
        return;
    }
    let count = u64::try_from(went.len()).unwrap_or(u64::MAX);
    put(span, "countersign.egress.connections", Value::Number(count));
    for connection in went {
        let Some(certificate) = connection.certificate else {
            continue;
        };
        let destination = Value::Text(&connection.destination);
        put(span, "countersign.egress.destination", destination);
        if let Some(address) = &connection.address {
            put(span, "countersign.egress.address", Value::Text(address));
        }
        let certificate = hex::encode(certificate);
        put(
            span,
            "countersign.egress.certificate",
            Value::Text(&certificate),
        );
        // An attribute stands once; an upstream over HTTP goes to one place.
        return;
    }
}

fn begin(ended: &Ended, part: Part, parent: Option<[u8; 8]>) -> Message {
    let mut span = Message::default();
    let ambient = ended.heard.ambient.as_ref();
    span.bytes(1, &trace_id(ended.call, ended.claimed.as_ref(), ambient));
    span.bytes(2, &SpanId::of(ended.call, part).0);
    if let Some(parent) = parent {
        span.bytes(4, &parent);
    }
    span
}

/// A status, where something went wrong; and that the span is sampled.
fn status(span: &mut Message, error: Option<&str>) {
    if error.is_some() {
        let mut status = Message::default();
        status.number(3, STATUS_ERROR);
        span.message(15, status);
    }
    span.fixed32(16, 1);
}

impl Ended {
    /// `{method} {tool}`, as the conventions have it. A tool that the site does not know has no name here.
    fn name(&self) -> String {
        let method = self.heard.mcp.as_ref().map_or("execute_tool", |m| m.method);
        match &self.tool {
            Some(tool) => format!("{method} {tool}"),
            None => method.to_owned(),
        }
    }

    /// `error.type`: why there is no result, or that the tool says it failed.
    fn error(&self) -> Option<&str> {
        match (&self.code, self.tool_error) {
            (Some(code), _) => Some(code),
            (None, true) => Some("tool_error"),
            (None, false) => match self.verdict {
                // What was refused and not recorded has no code.
                Verdict::Deny | Verdict::StepUp | Verdict::Defer => Some("refused"),
                Verdict::Allow | Verdict::Modify => None,
            },
        }
    }
}

// Metrics.

impl Data {
    fn len(&self) -> usize {
        match self {
            Self::Sum(points) | Self::Gauge(points) => points.len(),
            Self::Histogram(points) => points.len(),
        }
    }
}

fn metric(metric: &Metric, sender: &Sender, now: u64) -> Message {
    let Metric {
        name,
        unit,
        about,
        data,
    } = metric;
    let mut out = Message::default();
    out.text(1, name);
    out.text(2, about);
    out.text(3, unit);
    let mut inner = Message::default();
    match data {
        Data::Gauge(points) => {
            inner.each(1, points, |p| number_point(p, sender, now));
            out.message(5, inner);
        }
        Data::Sum(points) => {
            inner.each(1, points, |p| number_point(p, sender, now));
            inner.number(2, CUMULATIVE);
            // is_monotonic
            inner.number(3, 1);
            out.message(7, inner);
        }
        Data::Histogram(points) => {
            inner.each(1, points, |p| histogram_point(p, sender, now));
            inner.number(2, CUMULATIVE);
            out.message(9, inner);
        }
    }
    out
}

fn number_point(point: &Point<u64>, sender: &Sender, now: u64) -> Message {
    let mut out = times(sender, now);
    out.opt_fixed64(6, point.value);
    labels(&mut out, 7, point);
    out
}

fn histogram_point(point: &Point<Counts>, sender: &Sender, now: u64) -> Message {
    let Counts {
        buckets,
        sum_micros,
    } = &point.value;
    let seconds = |micros: u64| Duration::from_micros(micros).as_secs_f64();
    let mut out = times(sender, now);
    out.opt_fixed64(4, point.value.total());
    out.opt_double(5, seconds(*sum_micros));
    out.packed(6, buckets.iter().map(|n| n.to_le_bytes()));
    out.packed(7, EDGES_MICROS.iter().map(|e| seconds(*e).to_le_bytes()));
    labels(&mut out, 9, point);
    out
}

fn times(sender: &Sender, now: u64) -> Message {
    let mut out = Message::default();
    out.opt_fixed64(2, nanos(sender.started));
    out.opt_fixed64(3, nanos(now));
    out
}

fn labels<T>(out: &mut Message, field: u32, point: &Point<T>) {
    let all = point.labels.iter();
    out.each(field, all, |(key, text)| attribute(key, Value::Text(text)));
}

// Log records.

fn log_record(line: &Line) -> Message {
    let Line {
        at,
        severity,
        text,
        event,
    } = line;
    let (number, word) = match severity {
        Severity::Info => (INFO, "INFO"),
        Severity::Warn => (WARN, "WARN"),
        Severity::Error => (ERROR, "ERROR"),
    };
    let mut body = Message::default();
    body.opt_text(1, text);
    let mut out = Message::default();
    out.opt_fixed64(1, nanos(*at));
    out.number(2, number);
    out.text(3, word);
    out.message(5, body);
    let name = match event {
        None => None,
        Some(Happened::Counted(name, count)) => {
            out.message(
                6,
                attribute("countersign.event.count", Value::Number(*count)),
            );
            Some(format!("countersign.{name}"))
        }
        Some(Happened::Security(event, concerned)) => {
            put_concerned(&mut out, concerned);
            Some(format!("countersign.security.{}", event.name()))
        }
    };
    out.opt_fixed64(11, nanos(*at));
    if let Some(name) = name {
        out.text(12, &name);
    }
    out
}

/// Which call a security event is about: where its record stands, and its span.
fn put_concerned(out: &mut Message, concerned: &Concerned) {
    let Concerned {
        call,
        capability,
        code,
        recorded,
        trace,
        span,
    } = concerned;
    let call = call.to_string();
    let mut put = |key: &str, value: Value<'_>| out.message(6, attribute(key, value));
    put("countersign.decision.id", Value::Text(&call));
    if let Some(capability) = capability {
        put(CAPABILITY, Value::Text(capability));
    }
    if let Some(code) = code {
        put("countersign.decision.code", Value::Text(code));
    }
    if let Some((index, digest)) = recorded {
        put("countersign.record.index", Value::Number(*index));
        put(
            "countersign.record.digest",
            Value::Text(&digest.to_string()),
        );
    }
    // As the span has it: sampled.
    out.fixed32(8, 1);
    out.bytes(9, trace);
    out.bytes(10, span);
}
