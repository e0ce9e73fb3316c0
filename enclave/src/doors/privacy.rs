//! `/v1/subjects`, `/v1/erasures`, `/v1/holds`: what is forgotten, and what must be kept.
//!
//! People of group `privacy` erase, people of group `legal` place and lift holds; the operator is
//! neither, unless the signed bundle says so. Looking is a signed request, as for approvals; doing
//! is a signed statement, whose signature is all the authentication that its delivery needs.

use super::Taken;
use super::people::{Answer, answer, expect_usable, no, signed_request, tenant_of, verified};
use crate::erasing::{self, Target};
use crate::serve::Gateway;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use countersign_gateway::call::Seed;
use countersign_gateway::state::holds::Placed;
use countersign_journal::Draft;
use countersign_policies::site::people::Approver;
use countersign_record::body::privacy::{in_order, ranges_of};
use countersign_record::body::{Hold, HoldAct, IndexRange};
use countersign_record::cbor::{Bytes, Cbor as _};
use countersign_record::commitment::{Disclosure, Field};
use countersign_record::cose::Sign1;
use countersign_record::digest::{CallId, TenantId, UnixMillis};
use countersign_record::entry::Body;
use countersign_record::statement::{ERASURE_TYP, ErasureStatement, HOLD_TYP, HoldStatement};
use serde_json::{Value, json as object};
use std::sync::Arc;

/// Group of people who may have values erased.
const PRIVACY: &str = "privacy";

/// Group of people who may place and lift holds.
const LEGAL: &str = "legal";

/// Longest basis, name of a hold and reason, in bytes.
const MAX_BASIS_BYTES: usize = 64;
const MAX_ID_BYTES: usize = 64;
const MAX_REASON_BYTES: usize = 1024;

/// `POST /v1/subjects`: the pseudonym of a name or the entries of a call, and what stands against erasing them.
pub(super) async fn look(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let taken = match Taken::from(request).await {
        Ok(taken) => taken,
        Err(response) => return response,
    };
    let person = match signed_request(&gateway, &taken, &[PRIVACY, LEGAL]) {
        Ok(person) => person,
        Err(refused) => return answer(Err(refused)),
    };
    answer(find(&gateway, &person, &taken.body).await)
}

async fn find(gateway: &Arc<Gateway>, person: &Approver, body: &[u8]) -> Answer {
    let bad = |why| no(StatusCode::BAD_REQUEST, why);
    let unavailable = || no(StatusCode::SERVICE_UNAVAILABLE, "the log cannot be read");
    let asked: Value = serde_json::from_slice(body).map_err(|_| bad("the request is not JSON"))?;
    let text = |name: &str| asked.get(name).and_then(Value::as_str);
    let (target, subject) = match (text("call"), text("tenant"), text("subject")) {
        (Some(call), None, None) => {
            let call = CallId::from_hex(call).ok_or_else(|| bad("call is not 32 digits"))?;
            (Target::Call(call), None)
        }
        (None, Some(tenant), Some(name)) => {
            let tenant = tenant_of(gateway, person, tenant)?;
            let subject = gateway
                .subjects
                .find(tenant, name)
                .map_err(|_| unavailable())?
                .ok_or_else(|| no(StatusCode::NOT_FOUND, "nobody of that name is known"))?;
            (Target::Subject(subject), Some(subject))
        }
        _ => return Err(bad("ask for a call, or for a tenant and a subject")),
    };
    let looking = Arc::clone(gateway);
    let found = tokio::task::spawn_blocking(move || erasing::find(&looking, &target)).await;
    let found = found
        .map_err(|_| unavailable())?
        .map_err(|_| unavailable())?;
    expect_tenants(gateway, person, found.tenants.iter())?;
    let entries = ranges_of(found.entries.iter().copied());
    Ok(object!({
        "gateway": gateway.id.to_string(),
        "subject": subject.map(|s| s.to_string()),
        "entries": entries.iter().map(|r| [r.first, r.last]).collect::<Vec<_>>(),
        "count": found.entries.len(),
        "under_way": found.open,
        "holds": found.holds,
    }))
}

fn expect_tenants<'t>(
    gateway: &Gateway,
    person: &Approver,
    tenants: impl Iterator<Item = &'t TenantId>,
) -> Result<(), (StatusCode, Value)> {
    let known = &gateway.engine.content().head.tenants;
    for tenant in tenants {
        let theirs = known
            .iter()
            .any(|t| t.id == *tenant && person.tenants.contains(&t.name));
        if !theirs {
            return Err(no(
                StatusCode::FORBIDDEN,
                "these entries belong to a tenant that is not this person's",
            ));
        }
    }
    Ok(())
}

/// `POST /v1/erasures`: a person's signed statement. Values are gone, on this disk and on every copy, when it answers.
pub(super) async fn erase(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let taken = match Taken::from(request).await {
        Ok(taken) => taken,
        Err(response) => return response,
    };
    // A task of its own: a client that goes away does not leave the erasure half done.
    let task = tokio::spawn(async move { carry_out(&gateway, &taken.body).await });
    let lost = Err(no(
        StatusCode::INTERNAL_SERVER_ERROR,
        "the erasure broke off",
    ));
    answer(task.await.unwrap_or(lost))
}

async fn carry_out(gateway: &Arc<Gateway>, bytes: &[u8]) -> Answer {
    let bad = |why| no(StatusCode::BAD_REQUEST, why);
    let sign1 = Sign1::parse(bytes).map_err(|_| bad("not a signed statement"))?;
    if sign1.typ() != ERASURE_TYP {
        return Err(bad("not an erasure statement"));
    }
    let statement =
        ErasureStatement::from_bytes(sign1.payload()).map_err(|_| bad("statement is malformed"))?;
    let person = verified(gateway, &sign1, statement.signer, PRIVACY)?;
    let times = (statement.issued, statement.expires);
    expect_usable(gateway, statement.gateway, times)?;
    let named = !statement.basis.is_empty()
        && statement.basis.len() <= MAX_BASIS_BYTES
        && statement.basis.bytes().all(|b| b.is_ascii_graphic());
    if !named {
        return Err(bad(
            "basis is a code of at most 64 letters, digits and signs",
        ));
    }
    let target = match (statement.subject, statement.entries.as_slice()) {
        (Some(subject), []) => Target::Subject(subject),
        (None, [_, ..]) if in_order(&statement.entries) => {
            Target::Entries(statement.entries.clone())
        }
        (_, _) => return Err(bad("statement names a subject, or entries in order")),
    };
    let _one_at_a_time = gateway.forgetting.lock().await;
    let unavailable = || {
        no(
            StatusCode::SERVICE_UNAVAILABLE,
            "the erasure is not complete; hand the statement in again, or restart the gateway",
        )
    };
    let looking = Arc::clone(gateway);
    let found = tokio::task::spawn_blocking(move || erasing::find(&looking, &target)).await;
    let found = found
        .map_err(|_| unavailable())?
        .map_err(|_| no(StatusCode::SERVICE_UNAVAILABLE, "the log cannot be read"))?;
    expect_tenants(gateway, person, found.tenants.iter())?;
    let conflict = |why: &str, holds: &std::collections::BTreeSet<String>| {
        let body = object!({ "code": "erasure_conflict", "message": why, "holds": holds });
        (StatusCode::CONFLICT, body)
    };
    if !found.holds.is_empty() {
        let names: Vec<&str> = found.holds.iter().map(String::as_str).collect();
        let why = format!(
            "nothing was erased: hold {} covers some of these entries",
            names.join(", ")
        );
        return Err(conflict(&why, &found.holds));
    }
    if found.open > 0 {
        let why = "nothing was erased: a call of these entries is under way";
        return Err(conflict(why, &found.holds));
    }
    if found.entries.is_empty() && statement.subject.is_none() {
        let why = "nothing was erased: none of these entries has values";
        return Err(conflict(why, &found.holds));
    }
    let count = found.entries.len();
    let done = erasing::erase(gateway, &statement, bytes, found.entries).await;
    let done = done.map_err(|error| {
        crate::boot::tracing_line(&format!("an erasure is not complete: {error:#}"));
        unavailable()
    })?;
    Ok(
        object!({ "index": done.entries.first(), "indexes": done.entries, "count": count, "ring": done.ring }),
    )
}

/// `POST /v1/holds`: a person's signed statement.
pub(super) async fn hold(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let taken = match Taken::from(request).await {
        Ok(taken) => taken,
        Err(response) => return response,
    };
    answer(enter_hold(&gateway, &taken.body).await)
}

async fn enter_hold(gateway: &Gateway, bytes: &[u8]) -> Answer {
    let bad = |why| no(StatusCode::BAD_REQUEST, why);
    let sign1 = Sign1::parse(bytes).map_err(|_| bad("not a signed statement"))?;
    if sign1.typ() != HOLD_TYP {
        return Err(bad("not a hold statement"));
    }
    let statement =
        HoldStatement::from_bytes(sign1.payload()).map_err(|_| bad("statement is malformed"))?;
    let person = verified(gateway, &sign1, statement.signer, LEGAL)?;
    expect_usable(
        gateway,
        statement.gateway,
        (statement.issued, statement.expires),
    )?;
    let sized = |text: &str, most: usize| !text.is_empty() && text.len() <= most;
    let id =
        sized(&statement.id, MAX_ID_BYTES) && statement.id.bytes().all(|b| b.is_ascii_graphic());
    if !id || !sized(&statement.reason, MAX_REASON_BYTES) {
        return Err(bad(
            "a hold has a name of at most 64 letters, digits and signs, and a reason of at most 1024 bytes",
        ));
    }
    let range = |r: &IndexRange| r.first <= r.last;
    if !statement.entries.as_ref().is_none_or(range) {
        return Err(bad("the entries are not in order"));
    }
    expect_tenants(gateway, person, statement.tenant.iter())?;
    // ORDER: an erasure and a hold are never decided at the same time; whichever is first holds.
    let _one_at_a_time = gateway.forgetting.lock().await;
    let now = gateway.clock.now();
    expect_place(gateway, &statement, now.at)?;
    let unavailable = || {
        no(
            StatusCode::SERVICE_UNAVAILABLE,
            "the hold cannot be recorded",
        )
    };
    let seed = Seed::fresh(*crate::keys::random::<32>().map_err(|_| unavailable())?);
    let disclosure = Disclosure {
        field: Field::HoldStatement,
        salt: seed.salt(Field::HoldStatement),
        value: Bytes(bytes.to_vec()),
    };
    let HoldStatement {
        gateway: _,
        act,
        id,
        subject,
        tenant,
        entries,
        until,
        reason: _,
        signer,
        issued: _,
        expires: _,
        nonce: _,
    } = statement;
    let body = Body::Hold(Hold {
        act,
        id,
        subject,
        tenant,
        entries,
        until,
        ordered_by: signer,
        statement: disclosure.commitment(),
    });
    let draft = Draft {
        tenant: None,
        run: None,
        body,
        at: now.at,
        since_boot: now.since_boot,
        disclosures: vec![disclosure],
    };
    let appended = crate::calls::append(gateway, draft)
        .await
        .map_err(|_| unavailable())?;
    Ok(object!({ "index": appended.index, "digest": appended.digest.to_string() }))
}

/// Whether a hold may be placed or lifted now.
fn expect_place(
    gateway: &Gateway,
    statement: &HoldStatement,
    now: UnixMillis,
) -> Result<(), (StatusCode, Value)> {
    let state = gateway.state();
    let holds = state.holds();
    let conflict = |why| Err(no(StatusCode::CONFLICT, why));
    match (statement.act, holds.named(&statement.id)) {
        (HoldAct::Placed, Some(_)) => conflict("a hold of this name was placed before"),
        (HoldAct::Placed, None) if !holds.has_room() => conflict("there are too many holds"),
        (HoldAct::Placed, None) if statement.until.is_some_and(|until| until <= now) => {
            conflict("the hold would be over already")
        }
        (HoldAct::Placed, None) => Ok(()),
        (HoldAct::Lifted, Some(placed)) if placed.is_in_force(now) => {
            let Hold {
                act: _,
                id: _,
                subject,
                tenant,
                entries,
                until,
                ordered_by: _,
                statement: _,
            } = &placed.hold;
            let same = *subject == statement.subject
                && *tenant == statement.tenant
                && *entries == statement.entries
                && *until == statement.until;
            if same {
                Ok(())
            } else {
                conflict("the hold of this name covers something else")
            }
        }
        (HoldAct::Lifted, _) => conflict("no hold of this name is in force"),
    }
}

/// `GET /v1/holds`: the holds in force.
pub(super) async fn holds(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let taken = match Taken::from(request).await {
        Ok(taken) => taken,
        Err(response) => return response,
    };
    if let Err(refused) = signed_request(&gateway, &taken, &[PRIVACY, LEGAL]) {
        return answer(Err(refused));
    }
    let now = gateway.clock.now().at;
    let state = gateway.state();
    let holds: Vec<Value> = state.holds().in_force(now).map(shown).collect();
    drop(state);
    answer(Ok(
        object!({ "gateway": gateway.id.to_string(), "holds": holds }),
    ))
}

fn shown(placed: &Placed) -> Value {
    let Placed {
        hold,
        entry,
        at,
        lifted: _,
    } = placed;
    object!({
        "id": hold.id,
        "subject": hold.subject.map(|s| s.to_string()),
        "tenant": hold.tenant.map(|t| t.to_string()),
        "entries": hold.entries.as_ref().map(|r| [r.first, r.last]),
        "until": hold.until.map(|u| u.0),
        "ordered_by": hold.ordered_by.to_string(),
        "index": entry.index,
        "at": at.0,
    })
}
