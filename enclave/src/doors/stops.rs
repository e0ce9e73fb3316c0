//! `/v1/stops`: calls that people put an end to.
//!
//! People of group `stop` stop calls and let them go on; the operator does not, unless the signed bundle
//! says so. A stop counts from the moment its signature held: new calls are refused, running ones are
//! told, and only then its entry is written. If the entry cannot be written, calls stay stopped until a
//! restart, and the answer says so.

use super::Taken;
use super::people::{Answer, answer, expect_usable, no, signed_request, verified};
use crate::serve::Gateway;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use countersign_gateway::call::Seed;
use countersign_gateway::state::stops::{Covers, Ordered};
use countersign_journal::{AppendError, Appended, Draft};
use countersign_policies::site::people::Approver;
use countersign_record::body::{Stop, StopAct};
use countersign_record::cbor::{Bytes, Cbor as _};
use countersign_record::commitment::{Disclosure, Field};
use countersign_record::cose::Sign1;
use countersign_record::digest::TenantId;
use countersign_record::entry::Body;
use countersign_record::statement::{STOP_TYP, StopStatement};
use serde_json::{Value, json as object};
use std::sync::Arc;
use std::time::Duration;

/// Group of people who may stop calls.
const STOP: &str = "stop";

/// Longest name of a stop and longest reason, in bytes.
const MAX_ID_BYTES: usize = 64;
const MAX_REASON_BYTES: usize = 1024;

/// How often a full queue is asked again, and how long is waited in between: 5 s in all.
const ATTEMPTS: u32 = 100;
const PAUSE: Duration = Duration::from_millis(50);

/// `POST /v1/stops`: a person's signed statement. Calls are stopped when it answers.
pub(super) async fn order(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let taken = match Taken::from(request).await {
        Ok(taken) => taken,
        Err(response) => return response,
    };
    // A task of its own: a client that goes away does not keep the entry from being written.
    let task = tokio::spawn(async move { enter(&gateway, &taken.body).await });
    let lost = Err(no(StatusCode::INTERNAL_SERVER_ERROR, "the order broke off"));
    answer(task.await.unwrap_or(lost))
}

async fn enter(gateway: &Gateway, bytes: &[u8]) -> Answer {
    let bad = |why| no(StatusCode::BAD_REQUEST, why);
    let sign1 = Sign1::parse(bytes).map_err(|_| bad("not a signed statement"))?;
    if sign1.typ() != STOP_TYP {
        return Err(bad("not a stop statement"));
    }
    let statement =
        StopStatement::from_bytes(sign1.payload()).map_err(|_| bad("statement is malformed"))?;
    let person = verified(gateway, &sign1, statement.signer, STOP)?;
    let times = (statement.issued, statement.expires);
    expect_usable(gateway, statement.gateway, times)?;
    let sized = |text: &str, most: usize| !text.is_empty() && text.len() <= most;
    let id =
        sized(&statement.id, MAX_ID_BYTES) && statement.id.bytes().all(|b| b.is_ascii_graphic());
    if !id || !sized(&statement.reason, MAX_REASON_BYTES) {
        return Err(bad(
            "a stop has a name of at most 64 letters, digits and signs, and a reason of at most 1024 bytes",
        ));
    }
    let covers = covered(gateway, person, &statement)?;
    let told = match statement.act {
        StopAct::Stopped => {
            begin(gateway, &statement.id, &covers)?;
            gateway.stoppable.stop(&covers)
        }
        StopAct::Resumed => 0,
    };
    // One at a time, so that no name is used twice. Whoever waits here is stopped already.
    let _one_at_a_time = gateway.ordering.lock().await;
    expect_place(gateway, &statement, &covers)?;
    let act = statement.act;
    let appended = record(gateway, statement, bytes).await?;
    Ok(object!({
        "act": act.name(),
        "index": appended.index,
        "digest": appended.digest.to_string(),
        "told": told,
    }))
}

/// What a statement covers, if the person may speak for it, and it is there.
fn covered(
    gateway: &Gateway,
    person: &Approver,
    statement: &StopStatement,
) -> Result<Covers, (StatusCode, Value)> {
    let content = gateway.engine.content();
    let bad = |why| no(StatusCode::BAD_REQUEST, why);
    let theirs = |name: &str| person.tenants.iter().any(|t| t == name);
    let tenants = &content.head.tenants;
    let named = match statement.tenant {
        None => None,
        Some(id) => {
            let tenant = tenants.iter().find(|t| t.id == id);
            Some(tenant.ok_or_else(|| bad("there is no such tenant"))?)
        }
    };
    let agent = match &statement.agent {
        None => None,
        Some(urn) => {
            let agent = content.agents.get(urn);
            Some(agent.ok_or_else(|| bad("there is no such agent"))?)
        }
    };
    if let (Some(tenant), Some(agent)) = (named, agent)
        && agent.tenant != tenant.name
    {
        return Err(bad("the agent is of another tenant"));
    }
    if let Some(id) = &statement.capability
        && !content.capabilities.contains_key(id)
    {
        return Err(bad("there is no such capability"));
    }
    let may = match (named, agent) {
        (Some(tenant), _) => theirs(&tenant.name),
        (None, Some(agent)) => theirs(&agent.tenant),
        (None, None) => tenants.iter().all(|t| theirs(&t.name)),
    };
    if !may {
        return Err(no(
            StatusCode::FORBIDDEN,
            "this covers calls of a tenant that is not this person's",
        ));
    }
    Ok(Covers {
        tenant: statement.tenant,
        capability: statement.capability.clone(),
        agent: statement.agent.clone(),
    })
}

fn conflict(why: &str) -> (StatusCode, Value) {
    no(StatusCode::CONFLICT, why)
}

/// From here on nothing new that the stop covers is admitted.
fn begin(gateway: &Gateway, id: &str, covers: &Covers) -> Result<(), (StatusCode, Value)> {
    let mut state = gateway.state();
    if state.stops().named(id).is_some() {
        return Err(conflict("a stop of this name was ordered before"));
    }
    if !state.stops().has_room() {
        return Err(conflict("there are too many stops"));
    }
    // Whoever ends what was taken over by ordering it here has to speak for all that it covers.
    let taken_over = state.stops().taken_over_as(id);
    if taken_over.is_some_and(|known| !known.contains(covers)) {
        return Err(conflict(
            "a stop of this name was taken over with another gateway's log, and covers something else",
        ));
    }
    if state.stop(id, covers) {
        Ok(())
    } else {
        Err(conflict("a stop of this name is on its way into the log"))
    }
}

/// Whether a stop may be entered or resumed now.
fn expect_place(
    gateway: &Gateway,
    statement: &StopStatement,
    covers: &Covers,
) -> Result<(), (StatusCode, Value)> {
    let state = gateway.state();
    match (statement.act, state.stops().named(&statement.id)) {
        (StopAct::Stopped, None) => Ok(()),
        (StopAct::Stopped, Some(_)) => Err(conflict("a stop of this name was ordered before")),
        (StopAct::Resumed, Some(ordered)) if !ordered.resumed => {
            if ordered.covers == *covers {
                Ok(())
            } else {
                Err(conflict("the stop of this name covers something else"))
            }
        }
        (StopAct::Resumed, None) if state.stops().taken_over_as(&statement.id).is_some() => {
            Err(conflict(
                "this stop was taken over with another gateway's log: order it here, then resume it",
            ))
        }
        (StopAct::Resumed, _) => Err(conflict("no stop of this name is in force")),
    }
}

async fn record(
    gateway: &Gateway,
    statement: StopStatement,
    bytes: &[u8],
) -> Result<Appended, (StatusCode, Value)> {
    let unavailable = || {
        let why = match statement.act {
            StopAct::Stopped => {
                "the stop cannot be recorded; calls stay stopped until a restart: hand it in again"
            }
            StopAct::Resumed => "this cannot be recorded; calls stay stopped",
        };
        no(StatusCode::SERVICE_UNAVAILABLE, why)
    };
    let seed = Seed::fresh(*crate::keys::random::<32>().map_err(|_| unavailable())?);
    let disclose = |field, value: &[u8]| Disclosure {
        field,
        salt: seed.salt(field),
        value: Bytes(value.to_vec()),
    };
    let word = disclose(Field::StopStatement, bytes);
    let agent = statement.agent.as_ref();
    let agent = agent.map(|urn| disclose(Field::Agent, urn.as_bytes()));
    let body = Stop {
        act: statement.act,
        id: statement.id.clone(),
        tenant: statement.tenant,
        capability: statement.capability.clone(),
        agent: agent.as_ref().map(Disclosure::commitment),
        ordered_by: statement.signer,
        statement: word.commitment(),
    };
    let disclosures: Vec<Disclosure> = agent.into_iter().chain([word]).collect();
    for _ in 0..ATTEMPTS {
        let now = gateway.clock.now();
        let draft = Draft {
            tenant: None,
            run: None,
            body: Body::Stop(body.clone()),
            at: now.at,
            since_boot: now.since_boot,
            disclosures: disclosures.clone(),
        };
        match crate::calls::append(gateway, draft).await {
            Ok(appended) => return Ok(appended),
            // The queue is full of calls; none of them is longer in it than a flush takes.
            Err(AppendError::Backpressure { .. }) => tokio::time::sleep(PAUSE).await,
            Err(
                AppendError::Refusing(_)
                | AppendError::NotDurable(_)
                | AppendError::Refused(_)
                | AppendError::TooLarge { .. }
                | AppendError::Disclosure { .. }
                | AppendError::Side(_),
            ) => break,
        }
    }
    Err(unavailable())
}

/// `GET /v1/stops`: the stops in force, and what the person may name in one.
pub(super) async fn list(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let taken = match Taken::from(request).await {
        Ok(taken) => taken,
        Err(response) => return response,
    };
    let person = match signed_request(&gateway, &taken, &[STOP]) {
        Ok(person) => person,
        Err(refused) => return answer(Err(refused)),
    };
    let tenants = &gateway.engine.content().head.tenants;
    let own: Vec<_> = tenants
        .iter()
        .filter(|t| person.tenants.contains(&t.name))
        .collect();
    let concerns = |tenant: Option<TenantId>| tenant.is_none_or(|t| own.iter().any(|o| o.id == t));
    let (in_force, taken_over): (Vec<(String, Ordered)>, Vec<Value>) = {
        let state = gateway.state();
        let stops = state.stops();
        let of_theirs = stops.in_force().filter(|(_, o)| concerns(o.covers.tenant));
        let taken_over = stops.taken_over().filter(|(_, c)| concerns(c.tenant));
        (
            of_theirs
                .map(|(id, o)| (id.to_owned(), o.clone()))
                .collect(),
            taken_over.map(|(id, c)| covering(id, c)).collect(),
        )
    };
    let stops: Vec<Value> = in_force
        .iter()
        .map(|(id, ordered)| shown(&gateway, id, ordered))
        .collect();
    answer(Ok(object!({
        "gateway": gateway.id.to_string(),
        "tenants": own
            .iter()
            .map(|t| object!({ "name": t.name, "id": t.id.to_string() }))
            .collect::<Vec<_>>(),
        "stops": stops,
        "taken_over": taken_over,
    })))
}

fn covering(id: &str, covers: &Covers) -> Value {
    object!({
        "id": id,
        "tenant": covers.tenant.map(|t| t.to_string()),
        "capability": covers.capability,
        "agent": covers.agent,
    })
}

fn shown(gateway: &Gateway, id: &str, ordered: &Ordered) -> Value {
    let Ordered {
        covers,
        entry,
        at,
        ordered_by,
        resumed: _,
    } = ordered;
    object!({
        "id": id,
        "tenant": covers.tenant.map(|t| t.to_string()),
        "capability": covers.capability,
        "agent": covers.agent,
        "reason": reason(gateway, entry.index),
        "ordered_by": ordered_by.to_string(),
        "index": entry.index,
        "at": at.0,
    })
}

/// The reason that the person signed; absent if the log cannot be read.
fn reason(gateway: &Gateway, index: u64) -> Option<String> {
    let disclosures = gateway.journal.disclosures(index).ok()?;
    let word = disclosures
        .into_iter()
        .find(|d| d.field == Field::StopStatement)?;
    let sign1 = Sign1::parse(&word.value.0).ok()?;
    let statement = StopStatement::from_bytes(sign1.payload()).ok()?;
    Some(statement.reason)
}
