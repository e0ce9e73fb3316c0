//! `POST /v1/calls`: one call over plain HTTP.

use super::attended::Attended;
use super::{Refusing, TRACEPARENT, Taken, json, seed, status_of, text};
use crate::calls::{Audit, Outcome, Reply, Timings, carry_out, unrecorded};
use crate::serve::Gateway;
use crate::talk::Client;
use crate::telemetry::Heard;
use crate::upstreams::ResultKind;
use axum::extract::{Request as HttpRequest, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_gateway::refusal::{Besides, Refusal};
use countersign_gateway::request::{Request, Untrusted};
use serde_json::json;
use std::sync::Arc;

/// The interface, as OpenAPI 3.1.
pub const OPENAPI: &str = include_str!("openapi.json");

pub(super) async fn openapi() -> Response {
    json(StatusCode::OK, OPENAPI.as_bytes().to_vec())
}

pub(super) async fn call(State(gateway): State<Arc<Gateway>>, request: HttpRequest) -> Response {
    let heard = Heard::at(gateway.clock.micros());
    let taken = match Taken::from(request).await {
        Ok(taken) => taken,
        Err(response) => return response,
    };
    let request = match parse(&gateway, &taken) {
        Ok(request) => request,
        Err(refusal) => return refused(&gateway, &refusal, Besides::STRANGER),
    };
    let identified = gateway.identify(request, &taken).await;
    let identified = match identified {
        Ok(identified) => identified,
        Err(refused_call) => {
            let besides = match refused_call.is_of_a_known_caller() {
                true => gateway.besides(None),
                false => Besides::STRANGER,
            };
            return refused(&gateway, refused_call.refusal(), besides);
        }
    };
    let heard = heard.ambient(text(&taken.headers, &TRACEPARENT));
    drop(taken);
    let call = carry_out(gateway, identified, Client::silent(), heard);
    match Attended::new(call).await {
        Some(reply) => respond(reply),
        None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn parse(gateway: &Gateway, taken: &Taken) -> Result<Request, Refusal> {
    let untrusted = Untrusted {
        body: taken.body.clone(),
        moment: gateway.clock.now(),
        seed: seed()?,
        session: None,
    };
    Request::parse_call(untrusted).map_err(|refused| refused.refusal().clone())
}

/// A refusal of a request that is no call of anybody's: counted, not recorded.
fn refused(gateway: &Gateway, refusal: &Refusal, besides: Besides<'_>) -> Response {
    gateway.count_unknown();
    let status = status_of(refusal.code());
    let told = Refusing(refusal.clone());
    let mut response = respond(unrecorded(refusal, besides, Timings::default()));
    response.extensions_mut().insert(told);
    *response.status_mut() = status;
    response
}

fn respond(reply: Reply) -> Response {
    let Reply {
        outcome,
        audit,
        timings,
    } = reply;
    let mut body = Vec::with_capacity(1024);
    match &outcome {
        Outcome::Result(bytes, kind) => {
            // The result's bytes are the upstream's JSON, strictly read; they go out as they are.
            body.extend_from_slice(match kind {
                ResultKind::ToolResult => b"{\"status\":\"ok\",\"result\":",
                ResultKind::ProtocolError => b"{\"status\":\"ok\",\"upstream_error\":",
            });
            body.extend_from_slice(bytes);
        }
        Outcome::Refused(told) => {
            body.extend_from_slice(b"{\"status\":\"refused\",\"refusal\":");
            body.extend_from_slice(told.to_json().to_string().as_bytes());
        }
    }
    body.extend_from_slice(b",\"audit\":");
    body.extend_from_slice(
        audit
            .as_ref()
            .map_or(json!(null), audit_json)
            .to_string()
            .as_bytes(),
    );
    body.push(b'}');
    let mut response = json(StatusCode::OK, body);
    server_timing(response.headers_mut(), timings);
    response
}

/// Where the record stands, for clients that keep receipts.
pub(super) fn audit_json(audit: &Audit) -> serde_json::Value {
    json!({
        "call": audit.call.to_string(),
        "index": audit.index,
        "digest": audit.digest.to_string(),
        "verdict": audit.verdict.name(),
        "receipt": STANDARD.encode(&audit.receipt),
    })
}

/// Where the time went, in milliseconds.
pub(super) fn timing_json(timings: Timings) -> serde_json::Value {
    let Timings {
        decide,
        seal,
        upstream,
        release,
    } = timings;
    let parts = [
        ("decide", decide),
        ("seal", seal),
        ("upstream", upstream),
        ("release", release),
    ];
    let number =
        |micros: u64| serde_json::from_str::<serde_json::Value>(&ms(micros)).unwrap_or_default();
    parts
        .into_iter()
        .map(|(name, micros)| (name.to_owned(), number(micros)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// Microseconds as milliseconds with three decimals.
fn ms(micros: u64) -> String {
    format!("{}.{:03}", micros / 1000, micros % 1000)
}

/// `Server-Timing`, in milliseconds. SPEC: W3C Server Timing.
pub(super) fn server_timing(headers: &mut HeaderMap, timings: Timings) {
    let Timings {
        decide,
        seal,
        upstream,
        release,
    } = timings;
    let text = format!(
        "decide;dur={}, seal;dur={}, upstream;dur={}, release;dur={}",
        ms(decide),
        ms(seal),
        ms(upstream),
        ms(release)
    );
    if let Ok(value) = HeaderValue::from_str(&text) {
        headers.insert("server-timing", value);
    }
}
