//! `/mcp/<adapter>` and `/mcp`: MCP over Streamable HTTP, in both eras.
//!
//! In: one JSON-RPC message a POST. Out: its answer, as one object, or as a stream if the upstream
//! has something to tell before. The method comes from the body; headers are only compared with it.
//! What reaches an upstream is a capability, and goes the way of a call; a few methods are answered here.
//!
//! | file | what |
//! |---|---|
//! | `mod.rs` | which message it is, and whose |
//! | `headers.rs` | what headers have to say |
//! | `call.rs` | a call, as one answer or as a stream |
//! | `approval.rs` | a call that waits for people, told in band |
//! | `lists.rs` | what there is for this caller |
//! | `session.rs` | GET and DELETE of clients with sessions, `subscriptions/listen` of those without |
//! | `tasks.rs` | a call that is not answered at once |
//! | `pause.rs` | a call that is sent again with answers |
//! | `reply.rs` | answers as bytes |
//!
//! SPEC: Model Context Protocol 2025-11-25 and 2026-07-28.

mod approval;
mod call;
mod headers;
mod lists;
mod pause;
mod reply;
mod session;
mod stream;
mod tasks;

use super::{TRACEPARENT, Taken, text};
use crate::serve::Gateway;
use crate::talk::Principal;
use crate::talk::questions::Answered;
use crate::telemetry::Heard;
use axum::extract::{Path, Request as HttpRequest, State};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse as _, Response};
use countersign_adapters::Reply as Said;
use countersign_gateway::call::Who;
use countersign_gateway::mcp::{
    Answer, Call, Declared, Declares, Era, INITIALIZE_ERA, Message, Method, Notification,
    SESSION_VERSIONS, STATELESS_ERA, id_of,
};
use countersign_gateway::refusal::Code;
use reply::{
    HEADER_MISMATCH, INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, UNSUPPORTED_VERSION,
};
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) use approval::page;
pub(super) use session::{close, close_joint, listen, listen_joint};

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");

/// Where a message came in.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// At one adapter's path, under its own names.
    Adapter(String),
    /// At the path that joins all.
    Joint,
}

impl Place {
    fn of(gateway: &Gateway, adapter: String) -> Option<Self> {
        let there = gateway.upstreams.has(&adapter);
        there.then_some(Self::Adapter(adapter))
    }

    fn adapter(&self) -> Option<&str> {
        match self {
            Self::Adapter(name) => Some(name),
            Self::Joint => None,
        }
    }
}

/// A request, and who makes it.
struct Asking {
    id: String,
    era: Era,
    place: Place,
    started: u64,
    /// The trace that it claims to belong to.
    trace: Option<String>,
}

impl Asking {
    /// The revision that the message is of, as far as it says.
    fn revision(&self) -> &'static str {
        match self.era {
            Era::Initialize => INITIALIZE_ERA,
            Era::Stateless => STATELESS_ERA,
        }
    }
}

pub(super) async fn message(
    State(gateway): State<Arc<Gateway>>,
    Path(adapter): Path<String>,
    request: HttpRequest,
) -> Response {
    match Place::of(&gateway, adapter) {
        Some(place) => post(gateway, place, request).await,
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

pub(super) async fn joint_message(
    State(gateway): State<Arc<Gateway>>,
    request: HttpRequest,
) -> Response {
    post(gateway, Place::Joint, request).await
}

async fn post(gateway: Arc<Gateway>, place: Place, request: HttpRequest) -> Response {
    let started = gateway.clock.micros();
    let taken = match Taken::from(request).await {
        Ok(taken) => taken,
        Err(response) => return response,
    };
    match Message::parse(&taken.body) {
        Ok(Message::Request {
            id,
            method,
            version,
            declares,
            trace,
        }) => {
            let said = (version.as_deref(), declares);
            let era = match era(&taken, &id, said, &method) {
                Ok(era) => era,
                Err(response) => return *response,
            };
            let asking = Asking {
                id,
                era,
                place,
                started,
                trace,
            };
            asked(gateway, taken, asking, method).await
        }
        Ok(Message::Notification(notification)) => notified(&gateway, &taken, notification),
        Ok(Message::Answer { id, answer }) => answered(&gateway, &taken, &id, answer),
        Err(refusal) => {
            gateway.count_unknown();
            let status = super::status_of(refusal.code());
            let (id, code) = match id_of(&taken.body) {
                Some(id) => (id, INVALID_PARAMS),
                None => ("null".to_owned(), INVALID_REQUEST),
            };
            reply::error(status, &id, code, refusal.code().sentence())
        }
    }
}

/// Which revision is spoken: the body says it, and the header has to agree.
fn era(
    taken: &Taken,
    id: &str,
    (version, declares): (Option<&str>, Declares),
    method: &Method,
) -> Result<Era, Box<Response>> {
    let header = text(&taken.headers, &headers::VERSION).map(str::trim);
    let refuse = |code, sentence| {
        let refused = reply::error(StatusCode::BAD_REQUEST, id, code, sentence);
        Err(Box::new(refused))
    };
    let gone = match method {
        Method::Initialize { .. } | Method::Ping | Method::Other(_) => true,
        Method::Call(call) => call.action().needs_session(),
        Method::Discover | Method::ToolsList | Method::Listen(_) | Method::Task(_) => false,
    };
    match (version, header) {
        // What the revision does not have is not found, whatever else is wrong with it.
        (Some(STATELESS_ERA) | None, Some(STATELESS_ERA)) if gone => Ok(Era::Stateless),
        (Some(said), found) if found != Some(said) => refuse(
            HEADER_MISMATCH,
            "MCP-Protocol-Version is absent or differs from the body",
        ),
        (Some(STATELESS_ERA), _) if declares == Declares::Yes => Ok(Era::Stateless),
        (Some(STATELESS_ERA), _) | (None, Some(STATELESS_ERA)) => refuse(
            INVALID_PARAMS,
            "_meta lacks protocolVersion or clientCapabilities, which this revision needs",
        ),
        (Some(other), _) => Err(Box::new(unsupported(id, other))),
        // The header of a client that offers a revision is not agreed yet.
        (None, _) if matches!(method, Method::Initialize { .. }) => Ok(Era::Initialize),
        (None, Some(other)) if !SESSION_VERSIONS.contains(&other) => {
            Err(Box::new(unsupported(id, other)))
        }
        (None, Some(_) | None) => Ok(Era::Initialize),
    }
}

fn unsupported(id: &str, asked: &str) -> Response {
    reply::error_with(
        StatusCode::BAD_REQUEST,
        id,
        UNSUPPORTED_VERSION,
        "this revision of MCP is not spoken here",
        Some(json!({ "supported": supported(), "requested": asked })),
    )
}

fn supported() -> Vec<&'static str> {
    let mut all = vec![STATELESS_ERA];
    all.extend(SESSION_VERSIONS);
    all
}

async fn asked(gateway: Arc<Gateway>, taken: Taken, asking: Asking, method: Method) -> Response {
    if let Err(mismatch) = headers::compare(&gateway, &taken, &asking, &method) {
        return reply::error(
            StatusCode::BAD_REQUEST,
            &asking.id,
            HEADER_MISMATCH,
            mismatch,
        );
    }
    let there = |call: &Call| asking.era == Era::Initialize || !call.action().needs_session();
    if let Method::Call(call) = method {
        if !there(&call) {
            return not_found(&asking.id, asking.era);
        }
        return call::call(gateway, taken, asking, *call).await;
    }
    if let Method::Task(asked) = method {
        return tasks::task(gateway, taken, asking, *asked).await;
    }
    let who = match gateway.recognize(&taken, &gateway.callers) {
        Ok(who) => who,
        Err(refusal) => return reply::unknown_caller(&asking.id, &refusal),
    };
    let name = answered_here(&method);
    let response = answer(&gateway, &taken, &who, method, &asking);
    if let Some(name) = name {
        note(&gateway, &taken, &asking, (name, response.status()));
    }
    response
}

/// The name of a method that is answered at once, from what is known here.
fn answered_here(method: &Method) -> Option<&'static str> {
    match method {
        Method::Initialize { .. } => Some("initialize"),
        Method::Discover => Some("server/discover"),
        Method::ToolsList => Some("tools/list"),
        // One that only shows that somebody is there tells nobody anything, and a subscription has no end to tell of.
        Method::Ping | Method::Listen(_) => None,
        Method::Task(_) | Method::Call(_) | Method::Other(_) => None,
    }
}

/// A span of what was answered here; of a call there is more to say.
fn note(
    gateway: &Gateway,
    taken: &Taken,
    asking: &Asking,
    (name, status): (&'static str, StatusCode),
) {
    let session = match asking.era {
        Era::Initialize => text(&taken.headers, &SESSION),
        Era::Stateless => None,
    };
    let heard = Heard::at(asking.started)
        .mcp(name, asking.revision(), session, &asking.id)
        .ambient(text(&taken.headers, &TRACEPARENT));
    let failed = (!status.is_success()).then(|| status.as_u16());
    gateway
        .telemetry
        .answered(name, (heard, asking.trace.as_deref()), failed);
}

fn answer(
    gateway: &Arc<Gateway>,
    taken: &Taken,
    who: &Who,
    method: Method,
    asking: &Asking,
) -> Response {
    let Asking { id, era, place, .. } = asking;
    match method {
        // SPEC: 2026-07-28: neither is there any more.
        Method::Initialize { .. } | Method::Ping if *era == Era::Stateless => not_found(id, *era),
        Method::Initialize { offered, declared } => {
            initialize(gateway, who, place, (id, &offered), declared)
        }
        _ if *era == Era::Initialize && session::is_gone(gateway, taken, who, place) => {
            StatusCode::NOT_FOUND.into_response()
        }
        Method::Discover => {
            let result = json!({
                "resultType": "complete",
                "supportedVersions": supported(),
                "capabilities": lists::discovered(gateway, who, place),
                "_meta": { "io.modelcontextprotocol/serverInfo": server_info() },
                "ttlMs": 0,
                "cacheScope": "private",
            });
            reply::result(id, &result.to_string())
        }
        Method::Ping => reply::result(id, "{}"),
        Method::ToolsList => reply::result(id, &lists::tools(gateway, who, place, *era)),
        Method::Listen(filter) if *era == Era::Stateless && filter.undeclared_tasks => {
            tasks::undeclared(id)
        }
        Method::Listen(filter) if *era == Era::Stateless => {
            session::subscribe(gateway, who, place, id, filter)
        }
        Method::Listen(_) | Method::Call(_) | Method::Task(_) | Method::Other(_) => {
            not_found(id, *era)
        }
    }
}

/// SPEC: 2026-07-28: a method that is not there is 404; before, an error under 200.
fn not_found(id: &str, era: Era) -> Response {
    let status = match era {
        Era::Stateless => StatusCode::NOT_FOUND,
        Era::Initialize => StatusCode::OK,
    };
    let sentence = Code::MethodNotSupported.sentence();
    reply::error(status, id, METHOD_NOT_FOUND, sentence)
}

fn server_info() -> Value {
    json!({ "name": "countersign", "version": env!("CARGO_PKG_VERSION") })
}

fn initialize(
    gateway: &Gateway,
    who: &Who,
    place: &Place,
    (id, offered): (&str, &str),
    declared: Declared,
) -> Response {
    let version = match SESSION_VERSIONS.contains(&offered) {
        true => offered,
        false => INITIALIZE_ERA,
    };
    let of = Principal::of(who);
    let at = place.adapter().map(str::to_owned);
    let Some(session) = gateway.sessions.open(of, at, declared) else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let result = json!({
        "protocolVersion": version,
        "capabilities": lists::offered(gateway, who, place),
        "serverInfo": server_info(),
    });
    let mut response = reply::result(id, &result.to_string());
    headers::put(response.headers_mut(), SESSION, &session);
    headers::put(response.headers_mut(), headers::VERSION, version);
    response
}

fn notified(gateway: &Gateway, taken: &Taken, notification: Notification) -> Response {
    let who = match gateway.recognize(taken, &gateway.callers) {
        Ok(who) => who,
        Err(refusal) => return reply::unknown_caller("null", &refusal),
    };
    match notification {
        Notification::Cancelled(id) => {
            let session = text(&taken.headers, &SESSION).map(str::to_owned);
            gateway.running.take_back(Principal::of(&who), session, id);
        }
        // It asks for nothing; none reaches an upstream.
        Notification::Other(_) => {}
    }
    StatusCode::ACCEPTED.into_response()
}

fn answered(gateway: &Gateway, taken: &Taken, id: &str, answer: Answer) -> Response {
    let who = match gateway.recognize(taken, &gateway.callers) {
        Ok(who) => who,
        Err(refusal) => return reply::unknown_caller("null", &refusal),
    };
    let said = match answer {
        Answer::Result(object) => Said::Result(object),
        Answer::Error(object) => Said::Error(object),
    };
    match gateway.questions.answer(id, &Principal::of(&who), said) {
        Answered::Taken => StatusCode::ACCEPTED.into_response(),
        Answered::Unasked => reply::error(
            StatusCode::BAD_REQUEST,
            "null",
            INVALID_REQUEST,
            "nothing of this name was asked",
        ),
    }
}
