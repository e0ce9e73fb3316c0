//! What can be read: records with proofs, fresh evidence, health.

use super::{Taken, json, status_of};
use crate::keys::sign_statement;
use crate::serve::{Gateway, Serving};
use crate::transport::connection::Connection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_gateway::refusal::{Code, Refusal};
use countersign_record::binding::{FreshStatement, LogHead};
use countersign_record::cbor::Cbor as _;
use countersign_record::channel::{CHANNEL_TYP, ChannelStatement};
use countersign_record::digest::{EntryDigest, Nonce};
use countersign_record::entry::Entry;
use serde_json::json as object;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Time between two answers with fresh evidence, in milliseconds. A TPM that is asked without pause cannot renew.
const FRESH_INTERVAL_MILLIS: u64 = 200;

/// `GET /v1/records/<digest>`: an entry, with a proof that it is in the log.
pub(super) async fn record(
    State(gateway): State<Arc<Gateway>>,
    Path(digest): Path<String>,
    request: Request,
) -> Response {
    let taken = match Taken::from(request).await {
        Ok(taken) => taken,
        Err(response) => return response,
    };
    let known = gateway
        .recognize(&taken, &gateway.callers)
        .or_else(|_| gateway.recognize(&taken, &gateway.people));
    let who = match known {
        Ok(who) => who,
        Err(refusal) => return refused(&refusal),
    };
    let Some(digest) = EntryDigest::from_hex(&digest) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let Ok(Some(stored)) = gateway.journal.find(digest) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    // A record of another tenant does not exist for this caller.
    let tenant = Entry::parse(&stored.bytes)
        .ok()
        .and_then(|e| e.place().tenant.as_ref().map(|t| t.tenant));
    if tenant.is_some_and(|t| t != who.tenant) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let proof = prove(&gateway, stored.index);
    match proof {
        Ok((checkpoint, path)) => {
            let path: Vec<String> = path.iter().map(ToString::to_string).collect();
            let body = object!({
                "index": stored.index,
                "entry": STANDARD.encode(&stored.bytes),
                "checkpoint": checkpoint,
                "inclusion": path,
            });
            json(StatusCode::OK, body.to_string().into_bytes())
        }
        Err(()) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

fn prove(
    gateway: &Gateway,
    index: u64,
) -> Result<(String, Vec<countersign_record::digest::NodeHash>), ()> {
    let size = index.saturating_add(1);
    let covering = gateway.journal.checkpoint_over(size).map_err(|_| ())?;
    let checkpoint = match covering {
        Some(checkpoint) => checkpoint,
        None => gateway.journal.checkpoint().map_err(|_| ())?,
    };
    let parsed =
        countersign_record::checkpoint::Checkpoint::parse(checkpoint.as_bytes(), &gateway.id)
            .map_err(|_| ())?;
    let path = gateway
        .journal
        .inclusion(index, parsed.head().size)
        .map_err(|_| ())?;
    Ok((checkpoint, path))
}

/// `GET /attestation?nonce=<64 hex>`: evidence over the caller's challenge, in this epoch.
pub(super) async fn attestation(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let Some(nonce) = challenge(&request) else {
        return no_challenge();
    };
    let Some(serving) = &gateway.serving else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let now = gateway.clock.since_boot();
    let free = gateway
        .last_fresh
        .fetch_update(Ordering::AcqRel, Ordering::Acquire, |last| {
            (last == 0 || now.saturating_sub(last) >= FRESH_INTERVAL_MILLIS).then_some(now.max(1))
        });
    if free.is_err() {
        let mut response = StatusCode::TOO_MANY_REQUESTS.into_response();
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        return response;
    }
    let head = gateway.journal.snapshot().head;
    let statement = FreshStatement {
        base: serving.base.digest,
        nonce,
        head: LogHead {
            size: head.size,
            root: head.root,
        },
    };
    let qualifying = statement.qualifying().0;
    let asking = Arc::clone(&gateway);
    let evidence = tokio::task::spawn_blocking(move || asking.fresh_evidence(qualifying)).await;
    let Ok(Ok(evidence)) = evidence else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let base = gateway
        .journal
        .entry(serving.base.index)
        .map(|e| STANDARD.encode(&e.bytes))
        .unwrap_or_default();
    let body = object!({
        "gateway": gateway.id.to_string(),
        "identity_key": gateway.identity.to_string(),
        "statement": STANDARD.encode(statement.to_bytes()),
        "evidence": STANDARD.encode(evidence),
        "base": base,
    });
    json(StatusCode::OK, body.to_string().into_bytes())
}

/// The caller's challenge.
fn challenge(request: &Request) -> Option<Nonce> {
    let query = request.uri().query();
    let nonce = query.and_then(|q| q.strip_prefix("nonce="));
    nonce.and_then(Nonce::from_hex)
}

fn no_challenge() -> Response {
    (
        StatusCode::BAD_REQUEST,
        "nonce must be 64 hexadecimal digits\n",
    )
        .into_response()
}

/// `GET /attestation/connection?nonce=<64 hex>`: the epoch key's word that this very connection ends here, with what
/// vouches for that key. It costs no step of the platform, so there is no pace to keep.
pub(super) async fn connection(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let Some(nonce) = challenge(&request) else {
        return no_challenge();
    };
    let connection = request.extensions().get::<Connection>();
    let Some(session) = connection.and_then(Connection::session) else {
        return (
            StatusCode::BAD_REQUEST,
            "this connection is in the clear: nobody can vouch for where it ends\n",
        )
            .into_response();
    };
    let Some(serving) = &gateway.serving else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let statement = ChannelStatement {
        gateway: gateway.id,
        base: serving.base.digest,
        nonce,
        channel: session.binding(),
        at: gateway.clock.now().at,
    };
    let Some((base, evidence)) = opening(&gateway, serving) else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let signed = sign_statement(&serving.key, CHANNEL_TYP, statement.to_bytes());
    let body = object!({
        "statement": STANDARD.encode(signed),
        "base": STANDARD.encode(base),
        "evidence": evidence.iter().map(|piece| STANDARD.encode(piece)).collect::<Vec<_>>(),
        "fleet": gateway.fleet.get().map(|f| STANDARD.encode(f)),
    });
    json(StatusCode::OK, body.to_string().into_bytes())
}

/// The entry that opened the epoch, and every piece of evidence that it names, in its order. A part of them would show
/// nothing.
fn opening(gateway: &Gateway, serving: &Serving) -> Option<(Vec<u8>, Vec<Vec<u8>>)> {
    let entry = gateway.journal.entry(serving.base.index).ok()?;
    let parsed = Entry::parse(&entry.bytes).ok()?;
    let named = parsed.body().evidence().iter();
    let pieces = named.map(|named| {
        let piece = gateway.journal.artifact(named.digest).ok()??;
        Some(piece.bytes.0)
    });
    let pieces = pieces.collect::<Option<Vec<_>>>()?;
    Some((entry.bytes, pieces))
}

/// `GET /healthz`: what the gateway does at this moment.
pub(super) async fn health(State(gateway): State<Arc<Gateway>>) -> Response {
    let head = gateway.journal.snapshot().head;
    let body = object!({
        "gateway": gateway.id.to_string(),
        "state": state_word(&gateway),
        "held": gateway.held.as_ref().map(ToString::to_string),
        "entries": head.size,
        "open_calls": gateway.journal.open_calls(),
        "witnesses": gateway.witnesses.health(),
        "timestamping": gateway.timestamps.health(),
    });
    json(StatusCode::OK, body.to_string().into_bytes())
}

/// `GET /readyz`: whether a call would be taken.
pub(super) async fn readiness(State(gateway): State<Arc<Gateway>>) -> Response {
    let word = state_word(&gateway);
    let status = if word == SERVING {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    json(status, object!({ "state": word }).to_string().into_bytes())
}

/// Whether a call would be taken.
pub(crate) fn is_serving(gateway: &Gateway) -> bool {
    state_word(gateway) == SERVING
}

/// The word for a gateway that takes calls.
const SERVING: &str = "serving";

fn state_word(gateway: &Gateway) -> &'static str {
    use countersign_journal::Health;
    if gateway.serving.is_none() {
        return "held";
    }
    if gateway.state().enrolled().is_none() {
        return "not enrolled";
    }
    match gateway.journal.health() {
        Health::Refusing(_) => "log refuses",
        Health::Stopped(_) => "log stopped",
        Health::Open if !gateway.lease.holds(gateway.clock.since_boot()) => "lease expired",
        Health::Open if gateway.clock.drifts() => "clock drifts",
        Health::Open if !gateway.witnesses.have_confirmed() => "not witnessed",
        Health::Open => SERVING,
    }
}

pub(super) fn refused(refusal: &Refusal) -> Response {
    let forbidden = refusal.code() == Code::PolicyDenied;
    let status = if forbidden {
        StatusCode::FORBIDDEN
    } else {
        status_of(refusal.code())
    };
    json(
        status,
        object!({ "code": refusal.code().name(), "message": refusal.code().sentence() })
            .to_string()
            .into_bytes(),
    )
}
