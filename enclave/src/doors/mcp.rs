//! `POST /mcp/<adapter>`: MCP over Streamable HTTP, for tools, in both eras.
//!
//! In: one JSON-RPC message. Out: its answer. The method comes from the body; headers are only
//! compared with it. Methods that this gateway does not carry are refused by name.

use super::calls::{audit_json, server_timing, timing_json};
use super::{TRACEPARENT, Taken, json, seed, status_of, text};
use crate::calls::{Outcome, Reply, carry_out};
use crate::serve::Gateway;
use crate::telemetry::Heard;
use crate::upstreams::ResultKind;
use axum::extract::{Path, Request as HttpRequest, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use countersign_gateway::call::Who;
use countersign_gateway::mcp::{
    Era, INITIALIZE_ERA, META_DECISION, META_TIMING, Message, Method, STATELESS_ERA, ToolCall,
};
use countersign_gateway::refusal::{Code, Refusal};
use countersign_gateway::request::{Request, Untrusted};
use serde_json::{Value, json};
use std::sync::Arc;

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");

/// JSON-RPC error codes. SPEC: JSON-RPC 2.0 §5.1; MCP 2026-07-28 for −32020.
const METHOD_NOT_FOUND: i64 = -32601;
const INVALID_REQUEST: i64 = -32600;
const HEADER_MISMATCH: i64 = -32020;

pub(super) async fn message(
    State(gateway): State<Arc<Gateway>>,
    Path(adapter): Path<String>,
    request: HttpRequest,
) -> Response {
    let heard = Heard::at(gateway.clock.micros());
    let taken = match Taken::from(request).await {
        Ok(taken) => taken,
        Err(response) => return response,
    };
    if !gateway.upstreams.has(&adapter) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let message = match Message::parse(&taken.body) {
        Ok(message) => message,
        Err(refusal) => {
            gateway.count_unknown();
            return rpc_error(
                StatusCode::BAD_REQUEST,
                "null",
                INVALID_REQUEST,
                refusal.code().sentence(),
            );
        }
    };
    let Message::Request { id, method, era } = message else {
        // A notification asks for nothing; none reaches an upstream.
        return StatusCode::ACCEPTED.into_response();
    };
    if let Err(mismatch) = compare_headers(&taken, &method) {
        return rpc_error(StatusCode::BAD_REQUEST, &id, HEADER_MISMATCH, mismatch);
    }
    if let Method::ToolsCall(call) = &method {
        let heard = heard
            .mcp(
                "tools/call",
                revision(era),
                text(&taken.headers, &SESSION),
                &id,
            )
            .ambient(text(&taken.headers, &TRACEPARENT))
            .passed(call.passed());
        return tools_call(gateway, taken, &adapter, call, &id, heard).await;
    }
    match gateway.recognize(&taken, &gateway.callers) {
        Ok(who) => answer(&gateway, &adapter, &who, method, &id, era),
        Err(refusal) => unknown_caller(&id, &refusal),
    }
}

/// The revision that an era's messages are of, as far as they say.
fn revision(era: Era) -> &'static str {
    match era {
        Era::Initialize => INITIALIZE_ERA,
        Era::Stateless => STATELESS_ERA,
    }
}

/// Headers that repeat the body have to agree with it. SPEC: MCP 2026-07-28, Streamable HTTP.
fn compare_headers(taken: &Taken, method: &Method) -> Result<(), &'static str> {
    let name = match method {
        Method::Initialize { .. } => "initialize",
        Method::Discover => "server/discover",
        Method::Ping => "ping",
        Method::ToolsList => "tools/list",
        Method::ToolsCall(_) => "tools/call",
        Method::Other(name) => name,
    };
    if text(&taken.headers, &METHOD).is_some_and(|found| found != name) {
        return Err("Mcp-Method differs from the method in the body");
    }
    match method {
        Method::ToolsCall(call)
            if text(&taken.headers, &NAME).is_some_and(|found| found != call.name()) =>
        {
            Err("Mcp-Name differs from the name in the body")
        }
        Method::ToolsCall(_)
        | Method::Initialize { .. }
        | Method::Discover
        | Method::Ping
        | Method::ToolsList
        | Method::Other(_) => Ok(()),
    }
}

fn answer(
    gateway: &Gateway,
    adapter: &str,
    who: &Who,
    method: Method,
    id: &str,
    era: Era,
) -> Response {
    match method {
        Method::Initialize { offered } => {
            let version = if offered == INITIALIZE_ERA {
                offered
            } else {
                INITIALIZE_ERA.to_owned()
            };
            let result = json!({
                "protocolVersion": version,
                "capabilities": { "tools": { "listChanged": false } },
                "serverInfo": { "name": "countersign", "version": env!("CARGO_PKG_VERSION") },
            });
            let mut response = rpc_result(id, &result.to_string());
            let session = crate::keys::random::<16>()
                .map(|b| hex::encode(*b))
                .unwrap_or_default();
            if let (Ok(session), Ok(version)) = (
                HeaderValue::from_str(&session),
                HeaderValue::from_str(&version),
            ) {
                response.headers_mut().insert(SESSION, session);
                response.headers_mut().insert(VERSION, version);
            }
            response
        }
        Method::Discover => {
            let result = json!({
                "resultType": "complete",
                "supportedVersions": [STATELESS_ERA, INITIALIZE_ERA],
                "capabilities": { "tools": {} },
                "serverInfo": { "name": "countersign", "version": env!("CARGO_PKG_VERSION") },
                "ttlMs": 0,
                "cacheScope": "private",
            });
            rpc_result(id, &result.to_string())
        }
        Method::Ping => rpc_result(id, "{}"),
        Method::ToolsList => rpc_result(id, &tools_list(gateway, adapter, who, era)),
        Method::ToolsCall(_) => rpc_error(
            StatusCode::OK,
            id,
            INVALID_REQUEST,
            "a call cannot be answered here",
        ),
        Method::Other(_) => rpc_error(
            StatusCode::OK,
            id,
            METHOD_NOT_FOUND,
            Code::MethodNotSupported.sentence(),
        ),
    }
}

/// What policy could permit this caller, as the upstream describes it. Never shared between callers.
fn tools_list(gateway: &Gateway, adapter: &str, who: &Who, era: Era) -> String {
    let listing = gateway.upstreams.listing(adapter).unwrap_or_default();
    let mut tools = String::new();
    for capability in gateway.visible(who).iter().filter(|c| c.adapter == adapter) {
        let Some(listed) = listing.get(&capability.tool) else {
            continue;
        };
        if listed.digest != capability.descriptor {
            continue;
        }
        if !tools.is_empty() {
            tools.push(',');
        }
        tools.push_str(&String::from_utf8_lossy(&listed.descriptor));
    }
    let tail = match era {
        Era::Initialize => "",
        Era::Stateless => ",\"resultType\":\"complete\",\"ttlMs\":0,\"cacheScope\":\"private\"",
    };
    format!("{{\"tools\":[{tools}]{tail}}}")
}

async fn tools_call(
    gateway: Arc<Gateway>,
    taken: Taken,
    adapter: &str,
    call: &ToolCall,
    id: &str,
    heard: Heard,
) -> Response {
    let seed = match seed() {
        Ok(seed) => seed,
        Err(refusal) => return unknown_caller(id, &refusal),
    };
    let session = text(&taken.headers, &SESSION).map(str::to_owned);
    let untrusted = Untrusted {
        body: taken.body.clone(),
        moment: gateway.clock.now(),
        seed,
        session,
    };
    let request = match Request::from_mcp(untrusted, adapter, call) {
        Ok(request) => request,
        Err(refused) => {
            gateway.count_unknown();
            return unknown_caller(id, refused.refusal());
        }
    };
    let identified = gateway.identify(request, &taken).await;
    let identified = match identified {
        Ok(identified) => identified,
        Err(refused) => {
            gateway.count_unknown();
            return unknown_caller(id, refused.refusal());
        }
    };
    drop(taken);
    match tokio::spawn(carry_out(gateway, identified, heard)).await {
        Ok(reply) => respond(reply, id),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn respond(reply: Reply, id: &str) -> Response {
    let Reply {
        outcome,
        audit,
        timings,
    } = reply;
    let decision = audit.as_ref().map_or(Value::Null, audit_json);
    let ours = json!({ META_DECISION: decision, META_TIMING: timing_json(timings) });
    let mut response = match outcome {
        Outcome::Result(bytes, ResultKind::ToolResult) => rpc_result(id, &with_meta(&bytes, &ours)),
        Outcome::Result(bytes, ResultKind::ProtocolError) => {
            let text = String::from_utf8_lossy(&bytes);
            json(
                StatusCode::OK,
                format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{text}}}").into_bytes(),
            )
        }
        Outcome::Refused(told) => {
            let result = json!({
                "isError": true,
                "resultType": "complete",
                "content": [{ "type": "text", "text": told.message }],
                "structuredContent": told.to_json(),
                "_meta": ours,
            });
            rpc_result(id, &result.to_string())
        }
    };
    server_timing(response.headers_mut(), timings);
    response
}

/// Adds our entries to the result's `_meta`; every other byte of the result stays as it came.
fn with_meta(result: &[u8], ours: &Value) -> String {
    let text = String::from_utf8_lossy(result);
    let limits = countersign_json::Limits::of_bytes(result.len());
    let object = ours.to_string();
    // The members of an object that is never empty, without its braces; the last member may end with one, too.
    let entry = object
        .strip_prefix('{')
        .and_then(|o| o.strip_suffix('}'))
        .unwrap_or_default()
        .to_owned();
    let Ok(document) = countersign_json::scan(result, &limits) else {
        return text.into_owned();
    };
    let (at, inserted) = match document.member("_meta") {
        Some(meta) if meta.kind == countersign_json::Kind::Object => {
            let empty = meta
                .text
                .chars()
                .filter(|c| !c.is_ascii_whitespace())
                .count()
                == 2;
            (
                meta.range.start.saturating_add(1),
                if empty { entry } else { format!("{entry},") },
            )
        }
        Some(_) => return text.into_owned(),
        None => {
            let root = document.root();
            let empty = document.names().next().is_none();
            let member = format!("\"_meta\":{{{entry}}}");
            (
                root.range.start.saturating_add(1),
                if empty { member } else { format!("{member},") },
            )
        }
    };
    match (text.get(..at), text.get(at..)) {
        (Some(head), Some(tail)) => format!("{head}{inserted}{tail}"),
        _ => text.into_owned(),
    }
}

fn unknown_caller(id: &str, refusal: &Refusal) -> Response {
    rpc_error(
        status_of(refusal.code()),
        id,
        INVALID_REQUEST,
        refusal.code().sentence(),
    )
}

fn rpc_result(id: &str, result: &str) -> Response {
    json(
        StatusCode::OK,
        format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{result}}}").into_bytes(),
    )
}

fn rpc_error(status: StatusCode, id: &str, code: i64, message: &str) -> Response {
    let error = json!({ "code": code, "message": message });
    json(
        status,
        format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{error}}}").into_bytes(),
    )
}
