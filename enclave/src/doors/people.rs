//! What the doors of people share: who signed a request or a statement, and whether it may be used now.
//!
//! Looking is a signed request; doing is a signed statement, whose signature is all the authentication
//! that its delivery needs.

use super::{Taken, json, status_of};
use crate::serve::Gateway;
use axum::http::StatusCode;
use axum::response::Response;
use countersign_policies::site::people::Approver;
use countersign_record::cose::Sign1;
use countersign_record::digest::{GatewayId, KeyId, TenantId, UnixMillis};
use countersign_signatures::ed25519;
use serde_json::{Value, json as object};

/// Longest time that a statement may be handed in (one hour).
const MAX_VALID_MILLIS: u64 = 60 * 60 * 1000;

pub(super) type Answer = Result<Value, (StatusCode, Value)>;

/// A refusal in words.
pub(super) fn no(status: StatusCode, why: &str) -> (StatusCode, Value) {
    (status, object!({ "message": why }))
}

pub(super) fn answer(result: Answer) -> Response {
    match result {
        Ok(body) => json(StatusCode::OK, body.to_string().into_bytes()),
        Err((status, body)) => json(status, body.to_string().into_bytes()),
    }
}

/// The person who signed a request, if in one of these groups.
pub(super) fn signed_request(
    gateway: &Gateway,
    taken: &Taken,
    groups: &[&str],
) -> Result<Approver, (StatusCode, Value)> {
    let who = gateway
        .recognize(taken, &gateway.people)
        .map_err(|refusal| {
            let code = refusal.code();
            no(status_of(code), code.sentence())
        })?;
    let person = gateway.engine.content().approvers.get(&who.agent);
    person
        .filter(|p| groups.iter().any(|g| p.groups.iter().any(|has| has == g)))
        .cloned()
        .ok_or_else(|| no(StatusCode::FORBIDDEN, "this person may not do this"))
}

pub(super) fn expect_usable(
    gateway: &Gateway,
    named: GatewayId,
    (issued, expires): (UnixMillis, UnixMillis),
) -> Result<(), (StatusCode, Value)> {
    if gateway.serving.is_none() {
        return Err(no(
            StatusCode::SERVICE_UNAVAILABLE,
            "the gateway is held and changes nothing",
        ));
    }
    let now = gateway.clock.now().at;
    let usable = expires > now
        && expires.0.saturating_sub(now.0) <= MAX_VALID_MILLIS
        && issued.0 <= now.0.saturating_add(60_000);
    if named == gateway.id && usable {
        Ok(())
    } else {
        Err(no(
            StatusCode::BAD_REQUEST,
            "statement is for another gateway, or not valid at this time",
        ))
    }
}

/// The person of a group whose key signed a statement.
pub(super) fn verified<'g>(
    gateway: &'g Gateway,
    sign1: &Sign1<'_>,
    signer: KeyId,
    group: &str,
) -> Result<&'g Approver, (StatusCode, Value)> {
    let unknown = || {
        no(
            StatusCode::UNAUTHORIZED,
            "the key is not enrolled, or its signature does not hold",
        )
    };
    let people = &gateway.engine.content().approvers;
    let person = people
        .values()
        .find(|p| p.key.id() == sign1.kid() && signer == sign1.kid())
        .ok_or_else(unknown)?;
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
        .ok_or_else(unknown)?;
    if person.groups.iter().any(|g| g == group) {
        Ok(person)
    } else {
        Err(no(StatusCode::FORBIDDEN, "this person may not do this"))
    }
}

/// The tenant of that name, if it is one of the person's.
pub(super) fn tenant_of(
    gateway: &Gateway,
    person: &Approver,
    name: &str,
) -> Result<TenantId, (StatusCode, Value)> {
    let tenants = &gateway.engine.content().head.tenants;
    let tenant = tenants
        .iter()
        .find(|t| t.name == name && person.tenants.contains(&t.name));
    tenant
        .map(|t| t.id)
        .ok_or_else(|| no(StatusCode::FORBIDDEN, "this person has no such tenant"))
}
