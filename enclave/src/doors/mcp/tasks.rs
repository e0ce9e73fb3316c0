//! A call that is not answered at once: the task that stands for it, and what its client asks about it.
//!
//! In: a call that waits for people, or `tasks/get`, `tasks/update`, `tasks/cancel`. Out: a task of the caller's own.
//! When people have said something since the call was last tried, the next poll has the kept request decided anew,
//! as if it came again at that moment and from whoever polls: nothing is carried out for somebody who is not here,
//! and every check is made again. So a poll has to show a credential that may make the call; and a signed caller gets
//! no such task, since what it signs by polling is not its call ([0048]).
//!
//! SPEC: extension `io.modelcontextprotocol/tasks`, 2026-07-28.
//!
//! [0048]: ../../../../docs/decisions/0048-tasks.md

use super::{Asking, Place, approval, call, reply};
use crate::calls::{self, Reply, Timings, carry_out};
use crate::doors::{Taken, seed};
use crate::serve::Gateway;
use crate::talk::tasks::{Ending, How, NoTask, Owner, Retained, Said, State, View};
use crate::talk::{Client, Principal};
use crate::telemetry::Heard;
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use countersign_adapters::Reply as Answer;
use countersign_gateway::identity::Recognized;
use countersign_gateway::mcp::tasks::{Asked, EXTENSION, What};
use countersign_gateway::mcp::{Declares, Era, Message, Method, STATELESS_ERA};
use countersign_gateway::refusal::{Code, Refusal};
use countersign_record::digest::ActionDigest;
use serde_json::json;
use std::sync::Arc;
use tokio::sync::watch;

/// What a person or a model is told while people are waited for.
pub(super) const WAITS: &str =
    "A person has to approve this exact call first. It goes on by itself when they have.";

/// What is told where a task is asked for that is not there.
const NO_TASK: &str = "There is no such task here: it was never, is over for long, or the gateway was started anew. \
     If the call waited for people, send it again, unchanged; what they approved still counts. If it was under way or over, \
     it may have had its effect: look at its record first.";

/// What is told where a signed poll comes after what people said.
const SIGNED: &str = "People have said something, and a signed poll cannot carry the call on: it proves only itself. Poll \
     with the credential of the call, or send the call itself again, unchanged.";

/// What is told where the action of a call waits no more.
const GONE: &str = "What people were asked about waits no more: the same call was sent again and used what they said, \
     or it was forgotten. Nothing was done for this task.";

/// What is told where the action was gone when a call was about to be carried on.
const ANEW: &str = "What people had approved was not there any more when this call was tried again: the same call, sent \
     again, used it, or other approval is wanted now. Nothing was done for this task, and it does not go on.";

/// The answer about a task.
pub(super) async fn task(
    gateway: Arc<Gateway>,
    taken: Taken,
    asking: Asking,
    asked: Asked,
) -> Response {
    let recognized = match gateway.recognized(&taken, &gateway.callers) {
        Ok(recognized) => recognized,
        Err(refusal) => return reply::unknown_caller(&asking.id, &refusal),
    };
    if asking.era == Era::Initialize {
        return super::not_found(&asking.id, asking.era);
    }
    let Asked { id, what, declares } = asked;
    if declares == Declares::No {
        return undeclared(&asking.id);
    }
    let owner = Owner {
        of: Principal::of(recognized.who()),
        place: asking.place.adapter().map(str::to_owned),
    };
    let now = gateway.clock.now().at;
    let done = match what {
        What::Get => match look(&gateway, recognized, &owner, &id) {
            Ok(view) => return reply::result(&asking.id, &reply::detailed(&view)),
            Err(Unseen::Signed) => {
                return reply::error(StatusCode::OK, &asking.id, reply::REFUSED, SIGNED);
            }
            Err(Unseen::None) => Err(NoTask),
        },
        What::Update(answers) => update(&gateway, (&owner, &id), answers),
        What::Cancel => gateway.tasks.cancel(&id, &owner, now),
    };
    match done {
        Ok(()) => reply::result(&asking.id, r#"{"resultType":"complete"}"#),
        Err(NoTask) => reply::error(StatusCode::OK, &asking.id, reply::INVALID_PARAMS, NO_TASK),
    }
}

/// SPEC: extension `io.modelcontextprotocol/tasks`, "Capability Negotiation".
pub(super) fn undeclared(id: &str) -> Response {
    reply::error_with(
        StatusCode::BAD_REQUEST,
        id,
        reply::MISSING_CAPABILITY,
        "this is for clients that declare the extension for tasks",
        Some(json!({ "requiredCapabilities": { "extensions": { EXTENSION: {} } } })),
    )
}

/// A call that may come to wait, and whose client then gets a task.
pub(super) struct Waiting {
    pub(super) owner: Owner,
    pub(super) retained: Retained,
}

impl Waiting {
    /// The task of a call that waits for people.
    pub(super) fn task(&self, gateway: &Gateway, reply: &Reply) -> Option<View> {
        let action = approval::awaited(reply)?;
        let now = gateway.clock.now().at;
        gateway
            .tasks
            .wait(&self.owner, self.retained.clone(), action, now)
    }
}

/// Why it is not told how a task stands.
enum Unseen {
    /// There is no such task.
    None,
    /// It would go on, and this poll cannot carry it.
    Signed,
}

impl From<NoTask> for Unseen {
    fn from(NoTask: NoTask) -> Self {
        Self::None
    }
}

/// How a task stands, after what people said meanwhile was looked at.
fn look(
    gateway: &Arc<Gateway>,
    recognized: Recognized,
    owner: &Owner,
    id: &str,
) -> Result<View, Unseen> {
    let now = gateway.clock.now().at;
    let view = gateway.tasks.look(id, owner, now)?;
    let State::Waits(action, tried) = view.state else {
        return Ok(view);
    };
    match heard(gateway, &action, tried) {
        Word::None => return Ok(view),
        // Another poll may have taken the call up since the look; then that is what used the approvals.
        Word::Gone => gateway.tasks.end_waiting(id, action, failed(GONE), now),
        // An agent calls in one way, and who signs gets no such task. If that ever changes: a signed poll proves no call.
        Word::New(_) if recognized.who().proof.is_some() => return Err(Unseen::Signed),
        Word::New(said) => go_on(gateway, recognized, (owner, id), (action, said)),
    }
    Ok(gateway.tasks.look(id, owner, now)?)
}

/// What people said of an action since its call was last tried.
enum Word {
    None,
    New(Said),
    Gone,
}

fn heard(gateway: &Gateway, action: &ActionDigest, tried: Said) -> Word {
    let state = gateway.state();
    let Some(halted) = state.halted_action(action) else {
        return Word::Gone;
    };
    let said = Said {
        newest: halted.approvals.iter().map(|a| a.entry.index).max(),
        given_back: halted.given_back,
    };
    match halted.refused || (said.newest.is_some() && said != tried) {
        true => Word::New(said),
        false => Word::None,
    }
}

/// The end of a task of which nothing was done, or nothing is known.
fn failed(sentence: &str) -> Ending {
    let error = json!({ "code": reply::REFUSED, "message": sentence });
    Ending {
        how: How::Failed,
        object: Bytes::from(error.to_string()),
        meta: None,
        sentence: Some(sentence.to_owned()),
    }
}

/// Has the kept request decided anew, in a task of its own. Of two polls that come at once, one does.
///
/// A call that is halted for another action than it waited for goes no further here: its client decides whether people
/// are to be asked again.
fn go_on(
    gateway: &Arc<Gateway>,
    recognized: Recognized,
    (owner, id): (&Owner, &str),
    (waited, said): (ActionDigest, Said),
) {
    let named = json!(id).to_string();
    let (token, taken_back) = gateway.running.begin(owner.of.clone(), None, named);
    let now = gateway.clock.now().at;
    let Some(retained) = gateway.tasks.take_up(id, owner, (said, token), now) else {
        return;
    };
    let place = match &owner.place {
        Some(adapter) => Place::Adapter(adapter.clone()),
        None => Place::Joint,
    };
    let running = again(
        Arc::clone(gateway),
        retained,
        (recognized, place),
        taken_back,
    );
    let (gateway, id) = (Arc::clone(gateway), id.to_owned());
    tokio::spawn(async move {
        let ended = tokio::spawn(running).await;
        let now = gateway.clock.now().at;
        match ended {
            Ok(Ok(reply)) => match approval::awaited(&reply) {
                Some(action) if action == waited => gateway.tasks.wait_on(&id, action, now),
                Some(_) => gateway.tasks.end(&id, failed(ANEW), now),
                None => gateway.tasks.end(&id, reply::ending(reply), now),
            },
            Ok(Err(refusal)) => gateway.tasks.end(&id, unrecorded(&gateway, &refusal), now),
            Err(_) => gateway.tasks.end(&id, broken(&gateway), now),
        }
    });
}

/// Stages 1 to 10 of the kept request.
async fn again(
    gateway: Arc<Gateway>,
    retained: Retained,
    (recognized, place): (Recognized, Place),
    gone: watch::Receiver<bool>,
) -> Result<Reply, Refusal> {
    let started = gateway.clock.micros();
    let malformed = || Refusal::never(Code::MalformedRequest);
    let Ok(Message::Request {
        id,
        method: Method::Call(call),
        ..
    }) = Message::parse(&retained.body)
    else {
        return Err(malformed());
    };
    let request = call::request(&gateway, retained, &place, &call, seed()?);
    let request = request.map_err(|refused| refused.refusal().clone())?.kept();
    let identified = gateway.known(request, recognized).await;
    let identified = identified.map_err(|refused| refused.refusal().clone())?;
    // It can be asked nothing: answers to questions would go beside what people approved.
    let client = Client {
        others: call.others().to_vec(),
        gone,
        ..Client::silent()
    };
    let heard = Heard::at(started)
        .mcp(call.action().name(), STATELESS_ERA, None, &id)
        .passed(call.passed());
    Ok(carry_out(gateway, identified, client, heard).await)
}

/// The end of a task whose call could not even be looked at.
fn unrecorded(gateway: &Gateway, refusal: &Refusal) -> Ending {
    let besides = gateway.besides(None);
    reply::ending(calls::unrecorded(refusal, besides, Timings::default()))
}

/// The end of a task whose call broke off inside the gateway.
pub(super) fn broken(gateway: &Gateway) -> Ending {
    unrecorded(gateway, &Refusal::never(Code::ResultWithheld))
}

/// Gives answers to the questions of a task. What was not asked, or is answered already, is left alone.
fn update(
    gateway: &Gateway,
    (owner, id): (&Owner, &str),
    answers: Vec<(String, Bytes)>,
) -> Result<(), NoTask> {
    let now = gateway.clock.now().at;
    gateway.tasks.is_there(id, owner, now)?;
    for (name, answer) in answers {
        if gateway.tasks.answered(id, owner, &name, now) {
            let asked = json!(name).to_string();
            // Nobody may want to know any more.
            let _late = gateway
                .questions
                .answer(&asked, &owner.of, Answer::Result(answer));
        }
    }
    Ok(())
}
