//! What can be read: records with proofs, fresh evidence, the export, health.

use super::{Taken, json, status_of};
use crate::boot::epoch::SOFTWARE;
use crate::serve::{EXPORTERS, Gateway};
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_gateway::refusal::{Code, Refusal};
use countersign_record::binding::{FreshStatement, LogHead};
use countersign_record::body::EvidenceRef;
use countersign_record::cbor::Cbor as _;
use countersign_record::digest::{ArtifactDigest, EntryDigest, Nonce};
use countersign_record::entry::{Body as EntryBody, Entry};
use countersign_record::export::{ExportWriter, Manifest, SIGNED_BUNDLE_KIND, Scope};
use countersign_record::profile::Disclosed;
use serde_json::json as object;
use std::collections::BTreeSet;
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
    let nonce = request
        .uri()
        .query()
        .and_then(|q| q.strip_prefix("nonce="))
        .and_then(Nonce::from_hex);
    let Some(nonce) = nonce else {
        return (
            StatusCode::BAD_REQUEST,
            "nonce must be 64 hexadecimal digits\n",
        )
            .into_response();
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

/// `GET /healthz`: what the gateway does at this moment.
pub(super) async fn health(State(gateway): State<Arc<Gateway>>) -> Response {
    let head = gateway.journal.snapshot().head;
    let body = object!({
        "gateway": gateway.id.to_string(),
        "state": state_word(&gateway),
        "held": gateway.held.as_ref().map(ToString::to_string),
        "entries": head.size,
        "open_calls": gateway.journal.open_calls(),
    });
    json(StatusCode::OK, body.to_string().into_bytes())
}

/// `GET /readyz`: whether a call would be taken.
pub(super) async fn readiness(State(gateway): State<Arc<Gateway>>) -> Response {
    let word = state_word(&gateway);
    let status = if word == "serving" {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    json(status, object!({ "state": word }).to_string().into_bytes())
}

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
        Health::Open => "serving",
    }
}

/// `GET /v1/export`: the log with what opens it, for people who may have it. Works while held, too.
pub(super) async fn export(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let taken = match Taken::from(request).await {
        Ok(taken) => taken,
        Err(response) => return response,
    };
    let who = match gateway.recognize(&taken, &gateway.people) {
        Ok(who) => who,
        Err(refusal) => return refused(&refusal),
    };
    let may = gateway
        .engine
        .content()
        .approvers
        .get(&who.agent)
        .is_some_and(|p| p.groups.iter().any(|g| g == EXPORTERS));
    if !may {
        return refused(&Refusal::never(Code::PolicyDenied));
    }
    let (tx, rx) = tokio::sync::mpsc::channel::<Result<bytes::Bytes, std::io::Error>>(16);
    tokio::task::spawn_blocking(move || {
        let mut sink = |bytes: Vec<u8>| {
            tx.blocking_send(Ok(bytes.into()))
                .map_err(|_| "the receiver went away".to_owned())
        };
        if let Err(error) = write_export(&gateway, &mut sink) {
            crate::boot::tracing_line(&format!("export broke off: {error}"));
            // The stream ends with an error, so that a cut export is never taken for a whole one.
            let _gone = tx.blocking_send(Err(std::io::Error::other("export broke off")));
        }
    });
    let stream = futures_stream(rx);
    let mut response = Response::new(Body::from_stream(stream));
    let kind = HeaderValue::from_static("application/countersign.export+cbor-seq");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn futures_stream(
    rx: tokio::sync::mpsc::Receiver<Result<bytes::Bytes, std::io::Error>>,
) -> impl futures_core::Stream<Item = Result<bytes::Bytes, std::io::Error>> {
    struct Receiving(tokio::sync::mpsc::Receiver<Result<bytes::Bytes, std::io::Error>>);
    impl futures_core::Stream for Receiving {
        type Item = Result<bytes::Bytes, std::io::Error>;
        fn poll_next(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Self::Item>> {
            self.0.poll_recv(cx)
        }
    }
    Receiving(rx)
}

/// Writes the whole log: manifest, artifacts that its entries name, entries with disclosures, checkpoint, trailer.
fn write_export(
    gateway: &Gateway,
    sink: &mut dyn FnMut(Vec<u8>) -> Result<(), String>,
) -> Result<(), String> {
    let text = |e: &dyn std::fmt::Display| e.to_string();
    let checkpoint = match gateway.serving {
        Some(_) => gateway.journal.checkpoint().map_err(|e| text(&e))?,
        None => gateway
            .journal
            .latest_checkpoint()
            .map_err(|e| text(&e))?
            .ok_or("there is no checkpoint")?,
    };
    let parsed =
        countersign_record::checkpoint::Checkpoint::parse(checkpoint.as_bytes(), &gateway.id)
            .map_err(|e| text(&e))?;
    let end = parsed.head().size;
    let manifest = Manifest {
        format: 1,
        gateway: gateway.id,
        identity_key: gateway.identity,
        first: 0,
        end,
        scope: Scope::Whole,
        profile: "everything".to_owned(),
        created: gateway.clock.now().at,
        software: SOFTWARE.to_owned(),
        disclosed: Disclosed::everything(),
        period: None,
        tenant: None,
        run: None,
    };
    let (mut writer, bytes) = ExportWriter::start(&manifest);
    sink(bytes)?;
    for digest in artifacts(gateway, end)? {
        let artifact = gateway.journal.artifact(digest).map_err(|e| text(&e))?;
        let artifact = artifact.ok_or_else(|| format!("artifact {digest} is missing"))?;
        sink(writer.artifact(&artifact))?;
    }
    for stored in gateway.journal.entries(0..end).map_err(|e| text(&e))? {
        let stored = stored.map_err(|e| text(&e))?;
        sink(writer.entry(&stored.bytes))?;
        if stored.disclosures > 0 {
            let disclosures = gateway
                .journal
                .disclosures(stored.index)
                .map_err(|e| text(&e))?;
            sink(writer.disclosures(&disclosures))?;
        }
    }
    sink(writer.checkpoint(checkpoint.as_bytes()))?;
    sink(writer.finish())
}

/// Artifacts that entries name, in order of their digests: evidence, bundles and their signatures.
fn artifacts(gateway: &Gateway, end: u64) -> Result<BTreeSet<ArtifactDigest>, String> {
    let mut out = BTreeSet::new();
    for stored in gateway.journal.entries(0..end).map_err(|e| e.to_string())? {
        let stored = stored.map_err(|e| e.to_string())?;
        let entry = Entry::parse(&stored.bytes).map_err(|e| e.to_string())?;
        let evidence = |refs: &[EvidenceRef]| refs.iter().map(|e| e.digest).collect::<Vec<_>>();
        match entry.body() {
            EntryBody::Base(base) => {
                out.extend(evidence(&base.evidence));
                let binding = countersign_record::binding::Binding::from_bytes(&base.binding.0);
                out.extend(binding.map(|b| b.bundles).unwrap_or_default());
            }
            EntryBody::Renewal(renewal) => out.extend(evidence(&renewal.evidence)),
            EntryBody::Close(close) => out.extend(evidence(&close.evidence)),
            EntryBody::Change(change) => {
                out.insert(change.digest);
            }
            EntryBody::Enrol(_)
            | EntryBody::Intent(_)
            | EntryBody::Decision(_)
            | EntryBody::Approval(_)
            | EntryBody::Run(_)
            | EntryBody::Event(_)
            | EntryBody::Adopt(_)
            | EntryBody::Gap(_)
            | EntryBody::Erasure(_)
            | EntryBody::Hold(_) => (),
        }
    }
    // Entries name a bundle's payload alone; its signatures are in the signed form, of every bundle that was in force.
    let signed = gateway.journal.artifacts_of(SIGNED_BUNDLE_KIND);
    out.extend(signed.map_err(|e| e.to_string())?);
    Ok(out)
}

fn refused(refusal: &Refusal) -> Response {
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
