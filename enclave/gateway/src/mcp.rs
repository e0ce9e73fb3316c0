//! MCP messages as clients send them, of both eras.
//!
//! In: the body of one POST to a Streamable HTTP endpoint. Out: a [`Message`] whose arguments are
//! bytes of that body. The method comes from the body; headers are only compared with it.
//!
//! Spec: Model Context Protocol 2025-11-25 and 2026-07-28.

pub mod tasks;

use crate::refusal::{Code, Refusal};
use crate::request::{MAX_LABEL_BYTES, is_label, read, tokens};
use bytes::Bytes;
use countersign_json::{Document, Kind, Limits, Value, scan, write_string};
use countersign_policies::site::method::{Ask, Method as Action};
use std::collections::BTreeMap;

/// The revision in which a client opens a session with `initialize`.
pub const INITIALIZE_ERA: &str = "2025-11-25";
/// The revision without sessions.
pub const STATELESS_ERA: &str = "2026-07-28";
/// Revisions with sessions that are spoken, newest first. They differ in what this gateway does not carry.
pub const SESSION_VERSIONS: [&str; 3] = [INITIALIZE_ERA, "2025-06-18", "2025-03-26"];

/// Prefix of keys of `_meta` that belong to the protocol.
const PROTOCOL: &str = "io.modelcontextprotocol/";
/// Prefix of keys of `_meta` that are ours.
const OURS: &str = "dev.countersign/";
/// Key of `_meta` that a stateless request carries.
const META_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// Key of `_meta` for what a stateless client can do.
const META_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
/// Key of `_meta` for how much a stateless client wants to hear.
const META_LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
/// Key of `_meta` for tokens that a client declares.
pub const META_TOKENS: &str = "dev.countersign/tokens";
/// Key of `_meta` for our idempotency keys.
pub const META_IDEMPOTENCY: &str = "dev.countersign/idempotency-key";
/// Key of `_meta` for the run that a client names.
pub const META_RUN: &str = "dev.countersign/run";
/// Key of `_meta` of our answers.
pub const META_DECISION: &str = "dev.countersign/decision";
/// Key of `_meta` for the refusal of a call.
pub const META_REFUSAL: &str = "dev.countersign/refusal";
/// Key of `_meta` for where the time of a call went, in milliseconds.
pub const META_TIMING: &str = "dev.countersign/timing";

/// Most entries of a client's `_meta` that are handed on.
const MAX_META: usize = 64;

/// Longest declaration of one of a client's abilities, in bytes; real ones are a few words.
const MAX_DECLARED_BYTES: usize = 4096;

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
        /// The revision that the message itself declares, if it declares one.
        version: Option<String>,
        /// Whether it says what its client can do, as every message without a session must.
        declares: Declares,
        /// The trace that it claims to belong to.
        trace: Option<String>,
    },
    /// A notification; it gets no answer.
    Notification(Notification),
    /// The answer to a question that was put to the client.
    Answer {
        /// Identifier of the question, as JSON text.
        id: String,
        /// `result` and what it holds, or `error` and what it holds.
        answer: Answer,
    },
}

/// Whether a message says what its client can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Declares {
    /// It does.
    Yes,
    /// It does not.
    #[default]
    No,
}

/// A notification of a client.
#[derive(Debug, PartialEq, Eq)]
pub enum Notification {
    /// It waits no longer for the request with this identifier, as JSON text.
    Cancelled(String),
    /// Anything else.
    Other(String),
}

/// What a client answers to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A result object.
    Result(Bytes),
    /// An error object.
    Error(Bytes),
}

/// What a client asks.
#[derive(Debug, PartialEq, Eq)]
pub enum Method {
    /// `initialize`.
    Initialize {
        /// The revision that the client offers.
        offered: String,
        /// What it can do.
        declared: Declared,
    },
    /// `server/discover`.
    Discover,
    /// `ping`.
    Ping,
    /// `tools/list`.
    ToolsList,
    /// `subscriptions/listen`.
    Listen(Filter),
    /// How a call stands that was not answered at once.
    Task(Box<tasks::Asked>),
    /// What an upstream is asked: a tool, or another method that can be a capability.
    Call(Box<Call>),
    /// Anything else; refused by name.
    Other(String),
}

/// What of a server's changes a client wants to hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Filter {
    /// Whether it wants to hear of changed tools.
    pub tools: bool,
    /// Of changed prompts.
    pub prompts: bool,
    /// Of changed lists of resources.
    pub resources: bool,
    /// Whether it names tasks, and does not say that it takes any.
    pub undeclared_tasks: bool,
}

/// What a client says that it can do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Declared {
    /// What it answers, with what it says of that, as JSON text.
    pub asks: BTreeMap<Ask, String>,
    /// Whether it opens addresses for its user.
    pub url: bool,
    /// Whether it takes a task in the place of an answer.
    pub tasks: bool,
}

/// A request that an upstream is to answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Call {
    action: Action,
    name: String,
    named: Option<String>,
    arguments: Bytes,
    answers: Option<Bytes>,
    resumption: Option<Resumption>,
    meta: Meta,
}

/// Answers to the questions of a call that pauses. They carry on that call, and are no call of their own.
#[derive(Debug, PartialEq, Eq)]
pub struct Resumption {
    /// The state that the client was given with the questions.
    pub state: String,
    /// Objects, each under the name of its question.
    pub answers: Vec<(String, Bytes)>,
}

/// What a call's `_meta` says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Meta {
    version: Option<String>,
    traceparent: Option<String>,
    idempotency: Option<String>,
    run: Option<String>,
    tokens: Option<u64>,
    progress: Option<String>,
    log_level: Option<String>,
    declared: Declared,
    declares: Declares,
    passed: Passed,
    others: Vec<(String, Bytes)>,
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

impl Call {
    /// What is asked.
    #[must_use]
    pub fn action(&self) -> Action {
        self.action
    }

    /// The tool's name, as the client sees it; the method's for what is no tool.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the header `Mcp-Name` has to say, where the method has one.
    #[must_use]
    pub fn named(&self) -> Option<&str> {
        self.named.as_deref()
    }

    /// The arguments: a tool's, or all parameters of another method; `{}` if there are none.
    #[must_use]
    pub fn arguments(&self) -> &Bytes {
        &self.arguments
    }

    /// Entries of `_meta` that are neither the protocol's nor ours, nor of a trace.
    #[must_use]
    pub fn others(&self) -> &[(String, Bytes)] {
        &self.meta.others
    }

    /// Parts of the trace context that go on to the upstream as they came.
    #[must_use]
    pub fn passed(&self) -> &Passed {
        &self.meta.passed
    }

    /// The token by which the client wants to hear of progress, as JSON text.
    #[must_use]
    pub fn progress(&self) -> Option<&str> {
        self.meta.progress.as_deref()
    }

    /// How much a stateless client wants to hear.
    #[must_use]
    pub fn log_level(&self) -> Option<&str> {
        self.meta.log_level.as_deref()
    }

    /// What a stateless client can do.
    #[must_use]
    pub fn declared(&self) -> &Declared {
        &self.meta.declared
    }

    /// Members of the parameters that answer a server's questions, with commas between.
    pub(crate) fn answers(&self) -> Option<&Bytes> {
        self.answers.as_ref()
    }

    /// What it answers, if it is a call sent again because the one before pauses.
    #[must_use]
    pub fn resumption(&self) -> Option<&Resumption> {
        self.resumption.as_ref()
    }

    pub(crate) fn trace(&self) -> Option<&str> {
        self.meta.traceparent.as_deref()
    }

    pub(crate) fn idempotency(&self) -> Option<&str> {
        self.meta.idempotency.as_deref()
    }

    pub(crate) fn tokens(&self) -> Option<u64> {
        self.meta.tokens
    }

    pub(crate) fn run(&self) -> Option<&str> {
        self.meta.run.as_deref()
    }
}

impl Message {
    /// Parses a body.
    ///
    /// # Errors
    /// If it is not one JSON-RPC 2.0 message. Batches are not part of either revision.
    pub fn parse(body: &Bytes) -> Result<Self, Refusal> {
        let document = read(body)?;
        if text(document.member("jsonrpc")).as_deref() != Some("2.0") {
            return Err(malformed());
        }
        let id = document.member("id");
        let Some(method) = document.member("method") else {
            return answer(body, &document, id);
        };
        let method = text(Some(method)).ok_or_else(malformed)?;
        let Some(id) = id else {
            return Ok(Self::Notification(notification(&document, method)));
        };
        let id = identifier(&id)?;
        let meta = Meta::of(document.inner("params", "_meta"))?;
        let (version, declares) = (meta.version.clone(), meta.declares);
        let trace = meta.traceparent.clone();
        let method = self::method(body, &document, method, meta)?;
        Ok(Self::Request {
            id,
            method,
            version,
            declares,
            trace,
        })
    }
}

/// The identifier of a message that is refused, as JSON text, so that its sender knows which one it was.
#[must_use]
pub fn id_of(body: &[u8]) -> Option<String> {
    let document = read(body).ok()?;
    document.member("method")?;
    identifier(&document.member("id")?).ok()
}

fn answer(
    body: &Bytes,
    document: &Document<'_>,
    id: Option<Value<'_>>,
) -> Result<Message, Refusal> {
    let id = identifier(&id.ok_or_else(malformed)?)?;
    let object = |value: Value<'_>| {
        (value.kind == Kind::Object)
            .then(|| body.slice(value.range))
            .ok_or_else(malformed)
    };
    let answer = match (document.member("result"), document.member("error")) {
        (Some(result), None) => Answer::Result(object(result)?),
        (None, Some(error)) => Answer::Error(object(error)?),
        (Some(_), Some(_)) | (None, None) => return Err(malformed()),
    };
    Ok(Message::Answer { id, answer })
}

fn identifier(id: &Value<'_>) -> Result<String, Refusal> {
    let fits = matches!(id.kind, Kind::Number | Kind::String) && id.text.len() <= MAX_LABEL_BYTES;
    fits.then(|| id.text.to_owned()).ok_or_else(malformed)
}

fn notification(document: &Document<'_>, method: String) -> Notification {
    let cancelled = (method == "notifications/cancelled")
        .then(|| document.inner("params", "requestId"))
        .flatten();
    match cancelled.map(|id| identifier(&id)) {
        Some(Ok(id)) => Notification::Cancelled(id),
        Some(Err(_)) | None => Notification::Other(method),
    }
}

fn method(
    body: &Bytes,
    document: &Document<'_>,
    method: String,
    meta: Meta,
) -> Result<Method, Refusal> {
    let inner = |name| text(document.inner("params", name));
    let takes_tasks = match meta.declared.tasks {
        true => Declares::Yes,
        false => Declares::No,
    };
    if let Some(asked) = tasks::asked(&method, (body, document), takes_tasks)? {
        return Ok(Method::Task(Box::new(asked)));
    }
    Ok(match method.as_str() {
        // A message that declares a revision is of the one that has no sessions to open.
        "initialize" if meta.version.is_some() => Method::Other(method),
        "initialize" => Method::Initialize {
            offered: inner("protocolVersion").ok_or_else(malformed)?,
            declared: Declared::of(document.inner("params", "capabilities"))?,
        },
        "server/discover" => Method::Discover,
        "ping" => Method::Ping,
        "tools/list" => Method::ToolsList,
        "subscriptions/listen" => Method::Listen(filter(document, takes_tasks)?),
        other => match Action::from_name(other) {
            Some(action) => Method::Call(Box::new(call(body, document, action, meta)?)),
            None => Method::Other(method),
        },
    })
}

fn filter(document: &Document<'_>, takes_tasks: Declares) -> Result<Filter, Refusal> {
    let Some(notifications) = document.inner("params", "notifications") else {
        return Ok(Filter::default());
    };
    let limits = Limits::of_bytes(notifications.text.len());
    let inner = scan(notifications.text.as_bytes(), &limits).map_err(|_| malformed())?;
    let wants = |name| inner.member(name).map(|v| v.kind) == Some(Kind::True);
    Ok(Filter {
        tools: wants("toolsListChanged"),
        prompts: wants("promptsListChanged"),
        resources: wants("resourcesListChanged"),
        undeclared_tasks: takes_tasks == Declares::No && inner.member("taskIds").is_some(),
    })
}

/// Members of the parameters of a retried call. SPEC: 2026-07-28, "Multi Round-Trip Requests".
const ANSWERS: [&str; 2] = ["inputResponses", "requestState"];

fn call(
    body: &Bytes,
    document: &Document<'_>,
    action: Action,
    meta: Meta,
) -> Result<Call, Refusal> {
    let params = document.member("params");
    if params.as_ref().is_some_and(|p| p.kind != Kind::Object) {
        return Err(malformed());
    }
    let named = match action.named_by() {
        None => None,
        // An address may be longer than a label.
        Some(member) => {
            let value = document.inner("params", member).ok_or_else(malformed)?;
            let name = serde_json::from_str::<String>(value.text).map_err(|_| malformed())?;
            Some(name)
        }
    };
    let mut answers = Vec::new();
    let mut rest = Vec::new();
    for (name, value) in document.members_of("params") {
        match name {
            "_meta" => {}
            name if ANSWERS.contains(&name) => append(&mut answers, name, value.text),
            // A task of 2025-11-25, which this gateway does not offer, is ignored as that revision has it.
            "name" | "arguments" | "task" if action == Action::CallTool => {}
            // What policy could not be shown is not handed on.
            _ if action == Action::CallTool => return Err(malformed()),
            name => append(&mut rest, name, value.text),
        }
    }
    let (name, arguments) = match action {
        Action::CallTool => (
            named
                .clone()
                .filter(|n| is_label(n))
                .ok_or_else(malformed)?,
            tool_arguments(body, document)?,
        ),
        Action::ListResources
        | Action::ListTemplates
        | Action::ReadResource
        | Action::Subscribe
        | Action::Unsubscribe
        | Action::ListPrompts
        | Action::GetPrompt
        | Action::Complete
        | Action::SetLevel => (
            action.name().to_owned(),
            Bytes::from([b"{", rest.as_slice(), b"}"].concat()),
        ),
    };
    let (answers, resumption) = match text(document.inner("params", "requestState")) {
        // A person was asked: what the call answers is this gateway's own question.
        Some(state) if state.starts_with(APPROVAL_STATE) => (None, None),
        Some(state) if state.starts_with(PAUSE_STATE) => {
            let answers = tasks::answers(body, document)?;
            (None, Some(Resumption { state, answers }))
        }
        Some(_) | None => ((!answers.is_empty()).then(|| Bytes::from(answers)), None),
    };
    Ok(Call {
        action,
        name,
        named,
        arguments,
        answers,
        resumption,
        meta,
    })
}

/// Begins the state of a call that waits for people; it belongs to no upstream and says nothing that is relied on.
pub const APPROVAL_STATE: &str = "countersign-approval:";

/// Begins the state of a call that pauses until its client has answered; it belongs to no upstream either.
pub const PAUSE_STATE: &str = "countersign-pause:";

fn tool_arguments(body: &Bytes, document: &Document<'_>) -> Result<Bytes, Refusal> {
    match document.inner("params", "arguments") {
        None => Ok(Bytes::from_static(b"{}")),
        Some(value) if value.kind == Kind::Object => Ok(body.slice(value.range)),
        Some(_) => Err(malformed()),
    }
}

/// Puts a member behind others, its value as it arrived.
fn append(members: &mut Vec<u8>, name: &str, value: &str) {
    if !members.is_empty() {
        members.push(b',');
    }
    write_string(name, members);
    members.push(b':');
    members.extend_from_slice(value.as_bytes());
}

impl Meta {
    fn of(value: Option<Value<'_>>) -> Result<Self, Refusal> {
        let mut meta = Self::default();
        let Some(value) = value else {
            return Ok(meta);
        };
        let limits = Limits::of_bytes(value.text.len());
        let document = scan(value.text.as_bytes(), &limits).map_err(|_| malformed())?;
        if document.root().kind != Kind::Object {
            return Err(malformed());
        }
        for (name, value) in document.members() {
            meta.take(name, value)?;
        }
        Ok(meta)
    }

    fn take(&mut self, name: &str, value: Value<'_>) -> Result<(), Refusal> {
        let label = |value| text(Some(value)).map(Some).ok_or_else(malformed);
        match name {
            META_VERSION => self.version = label(value)?,
            META_CAPABILITIES => {
                self.declared = Declared::of(Some(value))?;
                self.declares = Declares::Yes;
            }
            META_LOG_LEVEL => self.log_level = label(value)?,
            META_IDEMPOTENCY => self.idempotency = label(value)?,
            META_RUN => self.run = label(value)?,
            META_TOKENS => self.tokens = Some(tokens(value)?),
            "progressToken" => self.progress = Some(identifier(&value)?),
            name if name.starts_with(PROTOCOL) || name.starts_with(OURS) => {}
            "traceparent" => self.traceparent = label(value)?,
            "tracestate" => self.passed.tracestate = carried(&value, MAX_TRACESTATE_BYTES),
            "baggage" => self.passed.baggage = carried(&value, MAX_BAGGAGE_BYTES),
            name => {
                if self.others.len() >= MAX_META || !is_label(name) {
                    return Err(malformed());
                }
                let value = Bytes::copy_from_slice(value.text.as_bytes());
                self.others.push((name.to_owned(), value));
            }
        }
        Ok(())
    }
}

/// What is only passed on refuses no call: a text that nobody could carry is left out.
fn carried(value: &Value<'_>, limit: usize) -> Option<String> {
    let text: String = serde_json::from_str(value.text).ok()?;
    let fits = |c: char| c.is_ascii_graphic() || c == ' ';
    let good = !text.is_empty() && text.len() <= limit && text.chars().all(fits);
    good.then_some(text)
}

impl Declared {
    fn of(value: Option<Value<'_>>) -> Result<Self, Refusal> {
        let mut declared = Self::default();
        let Some(value) = value else {
            return Ok(declared);
        };
        let limits = Limits::of_bytes(value.text.len());
        let document = scan(value.text.as_bytes(), &limits).map_err(|_| malformed())?;
        if document.root().kind != Kind::Object {
            return Err(malformed());
        }
        for ask in Ask::ALL {
            match document.member(ask.name()) {
                Some(said)
                    if said.kind == Kind::Object && said.text.len() <= MAX_DECLARED_BYTES =>
                {
                    declared.asks.insert(ask, said.text.to_owned());
                }
                Some(_) => return Err(malformed()),
                None => {}
            }
        }
        declared.url = document.inner(Ask::Elicitation.name(), "url").is_some();
        let tasks = document.inner("extensions", tasks::EXTENSION);
        declared.tasks = tasks.is_some_and(|said| said.kind == Kind::Object);
        Ok(declared)
    }
}

fn text(value: Option<Value<'_>>) -> Option<String> {
    serde_json::from_str::<String>(value?.text)
        .ok()
        .filter(|s| is_label(s))
}

fn malformed() -> Refusal {
    Refusal::never(Code::MalformedRequest)
}
