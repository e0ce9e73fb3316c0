//! MCP messages as clients send them, of both eras, and the answers that need no tool.
//!
//! In: the body of one POST to a Streamable HTTP endpoint. Out: a [`Message`] with ranges
//! into that body, so that arguments stay the bytes that arrived. The method comes from the
//! body; headers are only compared with it.
//!
//! Spec: Model Context Protocol 2025-11-25 and 2026-07-28.

use crate::refusal::{Code, Refusal};
use crate::request::{MAX_LABEL_BYTES, is_label, read};
use bytes::Bytes;
use countersign_json::{Document, Kind};
use std::ops::Range;

/// The revision in which a client opens a session with `initialize`.
pub const INITIALIZE_ERA: &str = "2025-11-25";
/// The revision without sessions.
pub const STATELESS_ERA: &str = "2026-07-28";

/// Key of `_meta` that a stateless request carries.
const META_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// Key of `_meta` for our idempotency keys.
pub const META_IDEMPOTENCY: &str = "dev.countersign/idempotency-key";
/// Key of `_meta` for the run that a client names.
pub const META_RUN: &str = "dev.countersign/run";
/// Key of `_meta` of our answers.
pub const META_DECISION: &str = "dev.countersign/decision";
/// Key of `_meta` for where the time of a call went, in milliseconds.
pub const META_TIMING: &str = "dev.countersign/timing";

/// Which protocol era a message belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Era {
    /// [`INITIALIZE_ERA`] and before.
    Initialize,
    /// [`STATELESS_ERA`].
    Stateless,
}

/// A message from a client.
#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    /// A request.
    Request {
        /// Its identifier, as JSON text.
        id: String,
        /// What is asked.
        method: Method,
        /// Era that the message itself declares.
        era: Era,
    },
    /// A notification; it gets no answer.
    Notification {
        /// Its method.
        method: String,
    },
}

/// What a client asks.
#[derive(Debug, PartialEq, Eq)]
pub enum Method {
    /// `initialize`, with the revision that the client offers.
    Initialize {
        /// The revision.
        offered: String,
    },
    /// `server/discover`.
    Discover,
    /// `ping`.
    Ping,
    /// `tools/list`.
    ToolsList,
    /// `tools/call`.
    ToolsCall(ToolCall),
    /// Anything else; refused by name.
    Other(String),
}

/// A `tools/call`.
#[derive(Debug, PartialEq, Eq)]
pub struct ToolCall {
    name: String,
    arguments: Option<Range<usize>>,
    meta: Meta,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Meta {
    version: Option<String>,
    traceparent: Option<String>,
    idempotency: Option<String>,
    run: Option<String>,
    passed: Passed,
}

/// Parts of a trace context that are passed on and never looked into.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Passed {
    /// `tracestate`. SPEC: W3C Trace Context §3.3.
    pub tracestate: Option<String>,
    /// `baggage`. SPEC: W3C Baggage §3.
    pub baggage: Option<String>,
}

/// Longest `tracestate` that is passed on, in bytes: what every party must be able to carry.
const MAX_TRACESTATE_BYTES: usize = 512;
/// Longest `baggage` that is passed on, in bytes: what every party must be able to carry.
const MAX_BAGGAGE_BYTES: usize = 8192;

impl ToolCall {
    /// The tool's name, as the client sees it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The bytes of the arguments; `{}` if there are none.
    #[must_use]
    pub fn arguments(&self, body: &Bytes) -> Option<Bytes> {
        match &self.arguments {
            None => Some(Bytes::from_static(b"{}")),
            Some(range) => body.get(range.clone()).map(|_| body.slice(range.clone())),
        }
    }

    /// Parts of the trace context that go on to the upstream as they came.
    #[must_use]
    pub fn passed(&self) -> &Passed {
        &self.meta.passed
    }

    pub(crate) fn trace(&self) -> Option<&str> {
        self.meta.traceparent.as_deref()
    }

    pub(crate) fn idempotency(&self) -> Option<&str> {
        self.meta.idempotency.as_deref()
    }

    pub(crate) fn run(&self) -> Option<&str> {
        self.meta.run.as_deref()
    }
}

impl Message {
    /// Parses a body.
    ///
    /// # Errors
    /// If it is not one JSON-RPC 2.0 request or notification. Batches are not part of either revision.
    pub fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let document = read(body)?;
        if text(&document, "jsonrpc").as_deref() != Some("2.0") {
            return Err(malformed());
        }
        let method = text(&document, "method").ok_or_else(malformed)?;
        let Some(id) = document.member("id") else {
            return Ok(Self::Notification { method });
        };
        if !matches!(id.kind, Kind::Number | Kind::String) || id.text.len() > MAX_LABEL_BYTES {
            return Err(malformed());
        }
        let meta = meta(&document)?;
        let era = match meta.version.as_deref() {
            Some(STATELESS_ERA) => Era::Stateless,
            _ => Era::Initialize,
        };
        let id = id.text.to_owned();
        let method = match method.as_str() {
            "initialize" => Method::Initialize {
                offered: inner_text(&document, "protocolVersion").ok_or_else(malformed)?,
            },
            "server/discover" => Method::Discover,
            "ping" => Method::Ping,
            "tools/list" => Method::ToolsList,
            "tools/call" => Method::ToolsCall(tool_call(&document, meta)?),
            _ => Method::Other(method),
        };
        Ok(Self::Request { id, method, era })
    }
}

fn tool_call(document: &Document<'_>, meta: Meta) -> Result<ToolCall, Refusal> {
    let arguments = match document.inner("params", "arguments") {
        None => None,
        Some(value) if value.kind == Kind::Object => Some(value.range),
        Some(_) => return Err(malformed()),
    };
    let name = inner_text(document, "name").ok_or_else(malformed)?;
    Ok(ToolCall {
        name,
        arguments,
        meta,
    })
}

fn meta(document: &Document<'_>) -> Result<Meta, Refusal> {
    let Some(value) = document.inner("params", "_meta") else {
        return Ok(Meta::default());
    };
    let map: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(value.text).map_err(|_| malformed())?;
    let get = |key: &str| match map.get(key) {
        None => Ok(None),
        Some(serde_json::Value::String(s)) if is_label(s) => Ok(Some(s.clone())),
        Some(_) => Err(malformed()),
    };
    // What is only passed on refuses no call: a text that nobody could carry is left out.
    let passed = |key: &str, limit: usize| {
        let text = map.get(key)?.as_str()?;
        let carried = |c: char| c.is_ascii_graphic() || c == ' ';
        let good = !text.is_empty() && text.len() <= limit && text.chars().all(carried);
        good.then(|| text.to_owned())
    };
    Ok(Meta {
        version: get(META_VERSION)?,
        traceparent: get("traceparent")?,
        idempotency: get(META_IDEMPOTENCY)?,
        run: get(META_RUN)?,
        passed: Passed {
            tracestate: passed("tracestate", MAX_TRACESTATE_BYTES),
            baggage: passed("baggage", MAX_BAGGAGE_BYTES),
        },
    })
}

fn text(document: &Document<'_>, name: &str) -> Option<String> {
    document.member(name).and_then(|v| short(v.text))
}

fn inner_text(document: &Document<'_>, name: &str) -> Option<String> {
    document.inner("params", name).and_then(|v| short(v.text))
}

fn short(json: &str) -> Option<String> {
    serde_json::from_str::<String>(json)
        .ok()
        .filter(|s| is_label(s))
}

fn malformed() -> Refusal {
    Refusal::never(Code::MalformedRequest)
}
