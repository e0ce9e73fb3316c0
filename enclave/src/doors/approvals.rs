//! `/v1/approvals`: what waits for people, and their word on it.
//!
//! A person proves who they are by signing the request (RFC 9421) with their enrolled key, and
//! signs the digest of the exact action and its preview. The statement is verified here and,
//! from the export, by everyone else.

use super::{Taken, json, status_of};
use crate::serve::Gateway;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_gateway::call::Seed;
use countersign_gateway::refusal::Refusal;
use countersign_gateway::state::{Behind, Halted};
use countersign_journal::Draft;
use countersign_policies::site::people::Approver;
use countersign_record::body::Approval;
use countersign_record::cbor::{Bytes, Cbor as _};
use countersign_record::commitment::{Disclosure, Field};
use countersign_record::cose::Sign1;
use countersign_record::digest::UnixMillis;
use countersign_record::entry::Body;
use countersign_record::statement::{APPROVAL_TYP, ApprovalStatement};
use countersign_signatures::ed25519;
use serde_json::json as object;
use std::sync::Arc;

/// Longest time that an approval may be usable (one hour).
const MAX_VALID_MILLIS: u64 = 60 * 60 * 1000;

/// `GET`: the actions that this person may approve, with everything that opens them.
pub(super) async fn waiting(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let taken = match Taken::from(request).await {
        Ok(taken) => taken,
        Err(response) => return response,
    };
    let who = match gateway.recognize(&taken, &gateway.people) {
        Ok(who) => who,
        Err(refusal) => return refused(&refusal),
    };
    let Some(person) = gateway.engine.content().approvers.get(&who.agent) else {
        return StatusCode::FORBIDDEN.into_response();
    };
    let state = gateway.state();
    let waiting: Vec<_> = state
        .waiting()
        .into_iter()
        .filter(|h| may_approve(&gateway, person, h.action.tenant, &h.action.capability.id))
        .map(shown)
        .collect();
    drop(state);
    let body = object!({ "gateway": gateway.id.to_string(), "waiting": waiting });
    json(StatusCode::OK, body.to_string().into_bytes())
}

/// An action with what opens it; beside it, and no part of it, for whom the agent asks.
fn shown(halted: &Halted) -> serde_json::Value {
    let Behind { user, principals } = &halted.behind;
    let principals = principals.as_ref().map(|chain| {
        let named = chain.iter();
        let named = named.map(|p| object!({ "issuer": p.issuer, "subject": p.subject }));
        named.collect::<Vec<_>>()
    });
    let opening = halted.disclosures.iter();
    let opening = opening.map(|d| STANDARD.encode(d.to_bytes()));
    object!({
        "action": halted.digest.to_string(),
        "statement": STANDARD.encode(halted.action.to_bytes()),
        "at": halted.at.0,
        "approvals": halted.approvals.len(),
        "refused": halted.refused,
        "user": user,
        "principals": principals,
        "disclosures": opening.collect::<Vec<_>>(),
    })
}

fn may_approve(
    gateway: &Gateway,
    person: &Approver,
    tenant: countersign_record::digest::TenantId,
    capability: &str,
) -> bool {
    let content = gateway.engine.content();
    let Some(tenant) = content.head.tenants.iter().find(|t| t.id == tenant) else {
        return false;
    };
    content
        .eligible(&tenant.name, capability, &[])
        .iter()
        .any(|p| p.id == person.id)
}

/// `POST`: a person's signed statement. Its signature is all the authentication it needs.
pub(super) async fn give(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let taken = match Taken::from(request).await {
        Ok(taken) => taken,
        Err(response) => return response,
    };
    match accept(&gateway, &taken.body).await {
        Ok(body) => json(StatusCode::OK, body.to_string().into_bytes()),
        Err((status, why)) => json(status, object!({ "message": why }).to_string().into_bytes()),
    }
}

type Why = (StatusCode, &'static str);

async fn accept(gateway: &Gateway, bytes: &[u8]) -> Result<serde_json::Value, Why> {
    let bad = |why| (StatusCode::BAD_REQUEST, why);
    let sign1 = Sign1::parse(bytes).map_err(|_| bad("not a signed statement"))?;
    if sign1.typ() != APPROVAL_TYP {
        return Err(bad("not an approval statement"));
    }
    let statement = ApprovalStatement::from_bytes(sign1.payload())
        .map_err(|_| bad("statement is malformed"))?;
    let person = verified_person(gateway, &sign1, &statement)?;
    let now = gateway.clock.now();
    let usable = statement.expires > now.at
        && statement.expires.0.saturating_sub(now.at.0) <= MAX_VALID_MILLIS
        && statement.issued.0 <= now.at.0.saturating_add(60_000);
    if statement.gateway != gateway.id || !usable {
        return Err(bad(
            "statement is for another gateway, or not valid at this time",
        ));
    }
    let halted = gateway.state().halted_action(&statement.action).cloned();
    let halted = halted.ok_or((StatusCode::NOT_FOUND, "no such action waits"))?;
    if halted.action.preview != statement.preview {
        return Err(bad("statement is about another preview"));
    }
    if !may_approve(
        gateway,
        person,
        halted.action.tenant,
        &halted.action.capability.id,
    ) {
        return Err((
            StatusCode::FORBIDDEN,
            "this person may not approve this action",
        ));
    }
    let unavailable = (
        StatusCode::SERVICE_UNAVAILABLE,
        "the statement cannot be recorded",
    );
    let seed = Seed::fresh(*crate::keys::random::<32>().map_err(|_| unavailable)?);
    let disclosure = Disclosure {
        field: Field::ApprovalStatement,
        salt: seed.salt(Field::ApprovalStatement),
        value: Bytes(bytes.to_vec()),
    };
    let body = Body::Approval(Approval {
        action: statement.action,
        call: halted.call,
        approver: statement.approver,
        choice: statement.choice,
        statement: disclosure.commitment(),
        expires: UnixMillis(statement.expires.0),
    });
    let draft = Draft {
        tenant: Some(halted.action.tenant),
        run: None,
        body,
        at: now.at,
        since_boot: now.since_boot,
        disclosures: vec![disclosure],
    };
    let appended = crate::calls::append(gateway, draft)
        .await
        .map_err(|_| unavailable)?;
    Ok(object!({ "index": appended.index, "digest": appended.digest.to_string() }))
}

fn verified_person<'g>(
    gateway: &'g Gateway,
    sign1: &Sign1<'_>,
    statement: &ApprovalStatement,
) -> Result<&'g Approver, Why> {
    let unknown = (
        StatusCode::UNAUTHORIZED,
        "the key is not enrolled, or its signature does not hold",
    );
    let people = &gateway.engine.content().approvers;
    let person = people
        .values()
        .find(|p| p.key.id() == sign1.kid())
        .ok_or(unknown)?;
    if statement.approver != sign1.kid() {
        return Err(unknown);
    }
    let message = sign1.to_be_signed();
    let signature = sign1.signature();
    ed25519::PublicKey::parse(&person.key.0)
        .ok()
        .and_then(|key| {
            key.verify(ed25519::Signed {
                message: &message,
                signature: &signature.0,
            })
            .ok()
        })
        .ok_or(unknown)?;
    Ok(person)
}

fn refused(refusal: &Refusal) -> Response {
    let body = object!({ "code": refusal.code().name(), "message": refusal.code().sentence() });
    json(status_of(refusal.code()), body.to_string().into_bytes())
}
