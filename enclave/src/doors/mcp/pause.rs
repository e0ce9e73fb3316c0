//! A call sent again with answers: it carries on the call that asked, and is no call of its own.
//!
//! A server of the revision with sessions asks while the call runs, and waits. A client of the revision without is asked in
//! the place of an answer. Between the two the call pauses: one request upstream, one intent, one record, and as many
//! messages of the client as it takes ([0051]).
//!
//! SPEC: 2026-07-28, "Multi Round-Trip Requests".
//!
//! [0051]: ../../../../docs/decisions/0051-pauses.md

use super::call::{Going, wanted};
use super::{Asking, reply};
use crate::doors::Taken;
use crate::serve::Gateway;
use crate::talk::Principal;
use crate::talk::tasks::Owner;
use axum::http::StatusCode;
use axum::response::Response;
use countersign_adapters::Reply as Answer;
use countersign_gateway::mcp::{Call, Resumption};
use serde_json::json;
use std::sync::Arc;

/// What is told where nothing of this state pauses.
const NO_PAUSE: &str = "No call of this state waits for answers to this request: it was never, is over, was answered already, or the \
     gateway was started anew. It may have had its effect: look at its record before you call again.";

/// What is told where too many calls pause.
pub(super) const TOO_MANY: &str = "Too many calls of this agent wait for answers to questions already, so this one was given up. \
     It may have had its effect: look at its record before you call again.";

/// The answer to a call that carries on another.
pub(super) async fn go_on(
    gateway: Arc<Gateway>,
    taken: Taken,
    asking: Asking,
    (call, resumption): (&Call, &Resumption),
) -> Response {
    let who = match gateway.recognize(&taken, &gateway.callers) {
        Ok(who) => who,
        Err(refusal) => return reply::unknown_caller(&asking.id, &refusal),
    };
    drop(taken);
    let owner = Owner {
        of: Principal::of(&who),
        place: asking.place.adapter().map(str::to_owned),
    };
    let found = gateway
        .pauses
        .take(&resumption.state, &owner, &wanted(call));
    let Some(mut pause) = found else {
        return reply::error(StatusCode::OK, &asking.id, reply::INVALID_PARAMS, NO_PAUSE);
    };
    for (name, answer) in &resumption.answers {
        if pause.open.remove(name).is_some() {
            let asked = json!(name).to_string();
            // The call may be over; then nobody wants to know.
            let _late = gateway
                .questions
                .answer(&asked, &owner.of, Answer::Result(answer.clone()));
        }
    }
    Going::resumed(gateway, asking, pause).answer_alone().await
}
