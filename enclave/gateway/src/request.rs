//! Stage 1: untrusted bytes become a well-formed request.
//!
//! In: a method's bytes from a socket, with the shell's clock and randomness. Out: a
//! [`Request`], or what is wrong. The arguments are a slice of the bytes that arrived: what
//! is authorized is what is forwarded and committed to. JSON is read once, strictly
//! (duplicate keys, and numbers that do not survive a round trip, are refused).

use crate::call::{Moment, Progress, Seed};
use crate::mcp::Call;
use crate::refusal::{Code, Refusal, Refused};
use bytes::Bytes;
use countersign_json::{Document, Kind, Limits, ScanError, Value, canonical, scan};
use countersign_policies::site::method::Method;
use countersign_record::body::{Lineage, Mode, Trace};

/// Largest request body, in bytes (1 MiB). Arguments of tools in use are a few KiB; files go by reference.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

/// Longest label that a client may choose (run, session, idempotency key, pack, model), in bytes.
pub const MAX_LABEL_BYTES: usize = 256;

/// Bytes from a socket and what surrounds them.
#[derive(Debug)]
pub struct Untrusted {
    /// The body.
    pub body: Bytes,
    /// When it had arrived.
    pub moment: Moment,
    /// Unpredictable bytes for this call.
    pub seed: Seed,
    /// Session, as the transport names it.
    pub session: Option<String>,
}

/// Which tool is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tool {
    /// By capability identifier, `<adapter>.<action>`.
    Capability(String),
    /// By adapter and the upstream's own name.
    Upstream {
        /// The adapter.
        adapter: String,
        /// What of MCP it is.
        method: Method,
        /// The tool's name there.
        name: String,
    },
}

/// A well-formed request of an unknown caller.
#[derive(Debug)]
pub struct Request {
    pub(crate) progress: Progress,
    pub(crate) tool: Tool,
    pub(crate) arguments: Bytes,
    pub(crate) value: Arguments,
    pub(crate) answers: Option<Bytes>,
    pub(crate) run: Option<String>,
}

/// The control of a record whose request was kept, and decided again when its client asked after it.
pub const KEPT: &str = "request:kept";

/// Most tokens that one call can declare (a thousand millions).
pub const MAX_TOKENS: u64 = 1_000_000_000;

/// Arguments as policy reads them.
pub(crate) type Arguments = serde_json::Map<String, serde_json::Value>;

impl Request {
    /// Parses the body of `POST /v1/calls`.
    ///
    /// # Errors
    /// A refusal, already a call that has to be recorded or counted.
    pub fn parse_call(untrusted: Untrusted) -> Result<Self, Box<Refused>> {
        let progress = begin(&untrusted);
        match session_of(&untrusted).and_then(|()| call_fields(&untrusted.body)) {
            Ok(fields) => Ok(Self::from_fields(progress, fields, untrusted.body)),
            Err(refusal) => Err(Box::new(Refused { progress, refusal })),
        }
    }

    /// Takes a call that [`crate::mcp`] has parsed from the body. `name` is the tool's at the adapter.
    ///
    /// # Errors
    /// A refusal, as in [`Self::parse_call`].
    pub fn from_mcp(
        untrusted: Untrusted,
        adapter: &str,
        name: &str,
        call: &Call,
    ) -> Result<Self, Box<Refused>> {
        let mut progress = begin(&untrusted);
        let refused = |progress, refusal| Err(Box::new(Refused { progress, refusal }));
        let arguments = call.arguments().clone();
        let value = match session_of(&untrusted).and_then(|()| exact_arguments(&arguments)) {
            Ok(value) => value,
            Err(refusal) => return refused(progress, refusal),
        };
        progress.trace = call.trace().and_then(parse_traceparent);
        progress.idempotency = call.idempotency().map(str::to_owned);
        progress.tokens = call.tokens();
        Ok(Self {
            progress,
            tool: Tool::Upstream {
                adapter: adapter.to_owned(),
                method: call.action(),
                name: name.to_owned(),
            },
            arguments,
            value,
            answers: call.answers().cloned(),
            run: call.run().map(str::to_owned),
        })
    }

    fn from_fields(mut progress: Progress, fields: CallFields, body: Bytes) -> Self {
        let CallFields {
            capability,
            arguments,
            value,
            run,
            session,
            idempotency,
            mode,
            tokens,
            trace,
            lineage,
        } = fields;
        progress.trace = trace;
        progress.lineage = lineage;
        progress.session = session.or(progress.session);
        progress.idempotency = idempotency;
        progress.requested_mode = mode;
        progress.tokens = tokens;
        let arguments =
            arguments.map_or_else(|| Bytes::from_static(b"{}"), |range| body.slice(range));
        Self {
            progress,
            tool: Tool::Capability(capability),
            arguments,
            value,
            answers: None,
            run,
        }
    }

    /// The same request, said to be one that the gateway kept: it did not arrive at this moment, somebody asked after it.
    #[must_use]
    pub fn kept(mut self) -> Self {
        self.progress.controls.push(KEPT.to_owned());
        self
    }

    /// The call's identifier.
    #[must_use]
    pub fn call(&self) -> countersign_record::digest::CallId {
        self.progress.call
    }
}

/// The transport's session is a label that a client may have chosen, too.
fn session_of(untrusted: &Untrusted) -> Result<(), Refusal> {
    match &untrusted.session {
        Some(session) if !is_label(session) => Err(malformed()),
        Some(_) | None => Ok(()),
    }
}

fn begin(untrusted: &Untrusted) -> Progress {
    Progress {
        call: untrusted.seed.call_id(),
        seed: untrusted.seed.clone(),
        received_at: untrusted.moment.at,
        decided_at: None,
        received: untrusted.body.clone(),
        trace: None,
        lineage: None,
        session: untrusted.session.clone(),
        idempotency: None,
        requested_mode: None,
        run: None,
        tokens: None,
        who: None,
        what: None,
        judged: None,
        controls: Vec::new(),
        parent: None,
        action: None,
        approvals: Vec::new(),
        basis: None,
    }
}

struct CallFields {
    capability: String,
    arguments: Option<std::ops::Range<usize>>,
    value: Arguments,
    run: Option<String>,
    session: Option<String>,
    idempotency: Option<String>,
    mode: Option<Mode>,
    tokens: Option<u64>,
    trace: Option<Trace>,
    lineage: Option<Lineage>,
}

/// Keys of the body of `POST /v1/calls`; any other is refused, so that a misspelt limit is noticed.
const CALL_KEYS: &[&str] = &[
    "capability",
    "arguments",
    "run",
    "session",
    "idempotency_key",
    "mode",
    "tokens",
    "traceparent",
    "lineage",
];

fn call_fields(body: &Bytes) -> Result<CallFields, Refusal> {
    let document = read(body)?;
    if document.root().kind != Kind::Object
        || document.names().any(|name| !CALL_KEYS.contains(&name))
    {
        return Err(malformed());
    }
    let (arguments, value) = match document.member("arguments") {
        None => (None, Arguments::new()),
        Some(value) => (Some(value.range), exact_arguments(value.text.as_bytes())?),
    };
    let mode = match label(&document, "mode")? {
        None => None,
        Some(name) => Some(Mode::from_name(&name).ok_or_else(malformed)?),
    };
    let trace = match label(&document, "traceparent")? {
        None => None,
        Some(text) => Some(parse_traceparent(&text).ok_or_else(malformed)?),
    };
    Ok(CallFields {
        capability: label(&document, "capability")?.ok_or_else(malformed)?,
        arguments,
        value,
        run: label(&document, "run")?,
        session: label(&document, "session")?,
        idempotency: label(&document, "idempotency_key")?,
        mode,
        tokens: document.member("tokens").map(tokens).transpose()?,
        trace,
        lineage: lineage(&document)?,
    })
}

/// Tokens that a client declares: a whole number of at most [`MAX_TOKENS`].
pub(crate) fn tokens(value: Value<'_>) -> Result<u64, Refusal> {
    let digits = value.text.bytes().all(|b| b.is_ascii_digit());
    let found = value.text.parse::<u64>().ok();
    found
        .filter(|n| digits && *n <= MAX_TOKENS)
        .ok_or_else(malformed)
}

fn malformed() -> Refusal {
    Refusal::never(Code::MalformedRequest)
}

/// One strict parse of a body, within the limits of this interface.
pub(crate) fn read(body: &[u8]) -> Result<Document<'_>, Refusal> {
    scan(body, &Limits::of_bytes(MAX_BODY_BYTES)).map_err(|e| match e {
        ScanError::TooLarge { .. } => Refusal::never(Code::RequestTooLarge),
        ScanError::NotUtf8 { .. }
        | ScanError::Unexpected { .. }
        | ScanError::Ended
        | ScanError::Trailing { .. }
        | ScanError::DuplicateKey { .. }
        | ScanError::TooDeep { .. }
        | ScanError::Escape { .. }
        | ScanError::Control { .. }
        | ScanError::Number { .. }
        | ScanError::TooManyMembers { .. } => malformed(),
    })
}

/// A short text member; absent is absent, anything else than short text is malformed.
fn label(document: &Document<'_>, name: &str) -> Result<Option<String>, Refusal> {
    let Some(value) = document.member(name) else {
        return Ok(None);
    };
    text(value.text).map(Some)
}

fn text(json: &str) -> Result<String, Refusal> {
    let text: String = serde_json::from_str(json).map_err(|_| malformed())?;
    if is_label(&text) {
        Ok(text)
    } else {
        Err(malformed())
    }
}

/// Whether a text can be a label: not empty, short, without control characters.
pub(crate) fn is_label(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_LABEL_BYTES && !text.chars().any(char::is_control)
}

/// `{"pack", "model", "snapshot", "confidence"}`, each optional; confidence from 0 to 1 with at most three decimals.
fn lineage(document: &Document<'_>) -> Result<Option<Lineage>, Refusal> {
    let Some(outer) = document.member("lineage") else {
        return Ok(None);
    };
    if outer.kind != Kind::Object {
        return Err(malformed());
    }
    let inner = |name| match document.inner("lineage", name) {
        None => Ok(None),
        Some(value) => text(value.text).map(Some),
    };
    let confidence = match document.inner("lineage", "confidence") {
        None => None,
        Some(value) => Some(thousandths(value.text).ok_or_else(malformed)?),
    };
    Ok(Some(Lineage {
        pack: inner("pack")?,
        pack_digest: None,
        model: inner("model")?,
        model_digest: None,
        snapshot: inner("snapshot")?,
        confidence,
    }))
}

/// A number from 0 to 1 with at most three decimals, in thousandths. The record has no floats.
fn thousandths(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let n: u64 = format!("{whole}{fraction:0<3}").parse().ok()?;
    (n <= 1000 && !whole.starts_with('+')).then_some(n)
}

/// `00-<32 hex>-<16 hex>-<2 hex>`. SPEC: W3C Trace Context §3.2.
#[must_use]
pub fn parse_traceparent(text: &str) -> Option<Trace> {
    let mut parts = text.split('-');
    let (version, id, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let hexadecimal = |c: char| matches!(c, '0'..='9' | 'a'..='f');
    if version != "00" || flags.len() != 2 || parts.next().is_some() {
        return None;
    }
    if ![id, span, flags].iter().all(|p| p.chars().all(hexadecimal)) {
        return None;
    }
    let mut trace = Trace {
        id: [0; 16],
        span: [0; 8],
    };
    hex::decode_to_slice(id, &mut trace.id).ok()?;
    hex::decode_to_slice(span, &mut trace.span).ok()?;
    (trace.id != [0; 16] && trace.span != [0; 8]).then_some(trace)
}

/// Reads arguments, and refuses numbers that change when a reader parses and prints them: policy would judge one
/// value and the tool get another. Whole numbers of 64 bits are exact everywhere.
fn exact_arguments(json: &[u8]) -> Result<Arguments, Refusal> {
    let arguments: Arguments = serde_json::from_slice(json).map_err(|_| malformed())?;
    if may_pose(json) && !reads_back(json, &arguments) {
        return Err(malformed());
    }
    let holds = |n: &serde_json::Number| {
        let text = n.as_str();
        let whole = text.parse::<i64>().is_ok_and(|i| i.to_string() == text);
        whole
            || text
                .parse::<f64>()
                .is_ok_and(|f| f.is_finite() && prints_back(f, text))
    };
    if arguments.values().all(|v| every_number(v, &holds)) {
        Ok(arguments)
    } else {
        Err(Refusal::never(Code::UnrepresentableNumber))
    }
}

/// Whether an object of these arguments could pose as a number. The JSON reader marks numbers that it keeps as text
/// by an object with one key of a fixed name; a client that sends such an object would have policy judge a number
/// where the tool gets an object.
fn may_pose(json: &[u8]) -> bool {
    const MARK: &[u8] = b"$serde_json";
    json.windows(MARK.len()).any(|w| w == MARK) || json.windows(2).any(|w| w == b"\\u")
}

fn reads_back(json: &[u8], arguments: &Arguments) -> bool {
    let limits = Limits::of_bytes(MAX_BODY_BYTES.saturating_mul(6));
    let read = serde_json::to_vec(arguments)
        .ok()
        .and_then(|read| canonical(&read, &limits).ok());
    canonical(json, &limits).is_ok_and(|sent| Some(sent) == read)
}

fn prints_back(f: f64, text: &str) -> bool {
    serde_json::Number::from_f64(f).is_some_and(|n| n.as_str() == text)
}

fn every_number(value: &serde_json::Value, holds: &impl Fn(&serde_json::Number) -> bool) -> bool {
    match value {
        serde_json::Value::Number(n) => holds(n),
        serde_json::Value::Array(items) => items.iter().all(|v| every_number(v, holds)),
        serde_json::Value::Object(members) => members.values().all(|v| every_number(v, holds)),
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::String(_) => true,
    }
}
