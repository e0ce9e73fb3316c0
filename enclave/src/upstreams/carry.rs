//! One committed call at its upstream, with what is said in between.
//!
//! In: a [`Dispatch`], whose client may hear and answer. Out: the upstream's answer, or what is
//! certain about its effect. What the upstream tells or asks is released by the call's own rules before
//! the client hears it, and stands in the record's transcript as it came; a question that the
//! capability does not allow, or that the client cannot take, is refused by name.

use super::ResultKind;
use super::follow::Following;
use crate::talk::questions::Waiting;
use crate::talk::{self, Client, Principal, Questions};
use crate::telemetry::Onward;
use bytes::Bytes;
use countersign_adapters::{
    Answer, Asked, Barred, CallError, CallRequest, CallResponse, Heard, Lost, NotSent as Kept,
    Progress, Reply, StartError, Trail, Upstream,
};
use countersign_gateway::execute::{Dispatch, Dispatched, NoAnswer, NotSent, Report, ToolError};
use countersign_json::{Json, Kind, Limits, scan};
use countersign_policies::site::capability::Tasks;
use countersign_policies::site::method::{Ask, Method};
use std::collections::BTreeSet;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// How often a client is asked within one call.
const MAX_ROUNDS: usize = 8;

/// A call on its way, and who is behind it.
pub struct Carrying<'c> {
    /// Where to.
    pub upstream: Upstream,
    /// Its rules.
    pub dispatched: &'c Dispatched,
    /// Whose it is.
    pub of: &'c Principal,
    /// Where its client's answers come in.
    pub waiting: &'c Waiting,
    /// Headers that repeat arguments.
    pub headers: Vec<(String, String)>,
    /// What goes on of the trace.
    pub onward: &'c Onward,
    /// What the client can do, as far as this capability may use it, as JSON text.
    pub declared: String,
    /// Where the connections that it uses are remembered.
    pub trail: Trail,
}

/// The way that nothing is sent.
pub(super) fn nothing_sent(cause: NotSent) -> (Report, ResultKind) {
    (Report::NotSent { cause }, ResultKind::ToolResult)
}

/// What kept a connection from being used, if something did.
pub(super) fn barred(kept: &Kept) -> Option<Barred> {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "every other cause is an upstream that is not there"
    )]
    match kept {
        Kept::Barred(barred) | Kept::Start(StartError::Barred(barred)) => Some(*barred),
        Kept::Start(StartError::Sandbox { .. }) => Some(Barred::Sandbox),
        _ => None,
    }
}

fn cause(kept: &Kept) -> NotSent {
    match barred(kept) {
        Some(Barred::Destination) => NotSent::Barred,
        Some(Barred::Certificate) => NotSent::Untrusted,
        Some(Barred::Sandbox) => NotSent::Unsandboxed,
        None => NotSent::Unavailable,
    }
}

impl Carrying<'_> {
    /// Carries the call out, once.
    pub async fn carry_out(self, dispatch: Dispatch, client: &mut Client) -> (Report, ResultKind) {
        if client.is_stopped() {
            return nothing_sent(NotSent::Stopped);
        }
        let (asks, tasks) = (dispatch.asks.clone(), dispatch.tasks);
        let began = Instant::now();
        let Some(mut request) = self.request(dispatch, client) else {
            return nothing_sent(NotSent::Unavailable);
        };
        let mut earlier: Vec<Bytes> = Vec::new();
        // Of an answer that fails to come, this is what there is: method and parameters, in order.
        let mut told: Vec<Bytes> = Vec::new();
        for _ in 0..MAX_ROUNDS {
            let response = match self.once(request.clone(), &asks, client, &mut told).await {
                Exchange::GivenUp(cause) => return no_answer(cause, told),
                Exchange::Over(outcome) => outcome,
            };
            let response = match response {
                Ok(response) => response,
                // What was answered before has its effect already.
                Err(CallError::NotSent(kept)) if earlier.is_empty() => {
                    return nothing_sent(cause(&kept));
                }
                Err(CallError::NotSent(_)) => return no_answer(NoAnswer::Crashed, told),
                Err(CallError::OutcomeUnknown(lost)) => return no_answer(why(&lost), told),
            };
            if response.answer == Answer::Task && tasks == Tasks::Followed {
                let following = Following {
                    request,
                    asks: &asks,
                    end: began.checked_add(super::CALL_TIMEOUT).unwrap_or(began),
                    earlier,
                    told,
                };
                return self.follow(response, following, client).await;
            }
            if response.answer != Answer::InputRequired {
                return answered(response, earlier);
            }
            match self.questions(&response, &asks, client).await {
                Further::HandOn => return asking(response, earlier),
                Further::Refuse => return no_answer(NoAnswer::Malformed, told),
                Further::GivenUp(cause) => return no_answer(cause, told),
                Further::Again(answers, said) => {
                    earlier.extend(response.interim.messages().iter().cloned());
                    earlier.extend(said.iter().cloned());
                    told.extend(said);
                    request.answers = Some(answers);
                }
            }
        }
        no_answer(NoAnswer::Malformed, told)
    }

    fn request(&self, dispatch: Dispatch, client: &Client) -> Option<CallRequest> {
        let limits =
            Limits::of_bytes(countersign_gateway::request::MAX_BODY_BYTES.saturating_mul(2));
        let method = dispatch.method;
        let asked = if method == Method::CallTool {
            Asked::Tool(dispatch.tool)
        } else {
            let named = |member| text_of(&dispatch.arguments, member);
            Asked::Method {
                name: method.name(),
                named: method.named_by().and_then(named),
            }
        };
        let json = |bytes| Json::parse(bytes, &limits).ok();
        let answers = match dispatch.answers {
            None => None,
            Some(members) => Some(json(Bytes::from([b"{", &members[..], b"}"].concat()))?),
        };
        let mut meta = self.onward.meta();
        for (name, value) in &client.others {
            meta.push((name.clone(), json(value.clone())?));
        }
        Some(CallRequest {
            asked,
            arguments: json(dispatch.arguments)?,
            answers,
            meta,
            timeout: super::CALL_TIMEOUT,
            progress: match (&client.progress, &client.line) {
                (Some(_), Some(_)) => Progress::Wanted,
                (None, _) | (_, None) => Progress::Unwanted,
            },
            declared: json(Bytes::from(self.declared.clone()))?,
            log_level: client.log_level.clone(),
            headers: self.headers.clone(),
            ears: None,
            trail: self.trail.clone(),
        })
    }

    /// One exchange; what is told in between goes to the client as it comes.
    async fn once(
        &self,
        mut request: CallRequest,
        asks: &BTreeSet<Ask>,
        client: &mut Client,
        told: &mut Vec<Bytes>,
    ) -> Exchange {
        let (ears, mut heard) = mpsc::channel(talk::LINE_FRAMES);
        request.ears = Some(ears);
        let mut call = std::pin::pin!(self.upstream.call(request));
        let outcome = loop {
            tokio::select! {
                biased;
                Some(message) = heard.recv() => self.hear(message, asks, client, told),
                outcome = &mut call => break outcome,
                cause = client.given_up() => return Exchange::GivenUp(cause),
            }
        };
        while let Ok(message) = heard.try_recv() {
            self.hear(message, asks, client, told);
        }
        Exchange::Over(outcome)
    }

    fn hear(
        &self,
        message: Heard,
        asks: &BTreeSet<Ask>,
        client: &mut Client,
        told: &mut Vec<Bytes>,
    ) {
        let (Heard::Notification { method, params } | Heard::Question { method, params, .. }) =
            &message;
        told.push(talk::notification(method, params));
        match message {
            Heard::Notification { method, params } => self.tell(&method, &params, client),
            Heard::Question {
                method,
                params,
                reply,
            } => {
                let ask = Ask::of_method(&method).filter(|ask| asks.contains(ask));
                if let Some(ask) = ask {
                    // Not put to the client, the reply is dropped, and the question refused.
                    let _put = self.put(ask, &params, reply, client);
                }
            }
        }
    }

    fn tell(&self, method: &str, params: &Bytes, client: &Client) {
        let Some(line) = &client.line else { return };
        let Some(released) = self.dispatched.interim(params) else {
            return;
        };
        let params = match method {
            "notifications/progress" => client
                .progress
                .as_ref()
                .and_then(|token| talk::with_token(&released, token)),
            "notifications/message" => client.logs.then_some(released),
            _ => None,
        };
        if let Some(params) = params {
            // A client that does not read loses it; the record has it.
            drop(line.frames.try_send(talk::notification(method, &params)));
        }
    }

    /// Puts a question to the client, if it takes questions and can answer this one. `false` if it was not put.
    pub(super) fn put(
        &self,
        ask: Ask,
        params: &Bytes,
        reply: oneshot::Sender<Reply>,
        client: &mut Client,
    ) -> bool {
        if !client.declared.asks.contains_key(&ask) || !client.takes_questions() {
            return false;
        }
        let Some(params) = self.dispatched.interim(params) else {
            return false;
        };
        let id = self.waiting.ask(self.of, reply);
        id.is_some_and(|id| client.ask(&id, ask.method(), &params))
    }

    /// What becomes of questions inside a result. SPEC: 2026-07-28, "Multi Round-Trip Requests".
    async fn questions(
        &self,
        response: &CallResponse,
        asks: &BTreeSet<Ask>,
        client: &mut Client,
    ) -> Further {
        let Some((questions, state)) = inside(&response.body) else {
            return Further::Refuse;
        };
        let may = |ask: &Ask| asks.contains(ask) && client.declared.asks.contains_key(ask);
        if asks.is_empty() || questions.iter().any(|(_, ask, _)| !may(ask)) {
            return Further::Refuse;
        }
        match &client.line {
            Some(line) if line.questions == Questions::Taken => {}
            Some(_) | None => return Further::HandOn,
        }
        let mut answers = serde_json::Map::new();
        let mut said = vec![response.body.clone()];
        for (name, ask, params) in questions {
            let (reply, answered) = oneshot::channel();
            if !self.put(ask, &params, reply, client) {
                return Further::Refuse;
            }
            let answered = tokio::select! {
                answered = answered => answered,
                cause = client.given_up() => return Further::GivenUp(cause),
                () = tokio::time::sleep(super::CALL_TIMEOUT) => return Further::Refuse,
            };
            // An error of the client answers nothing; the upstream could only ask again.
            let Ok(Reply::Result(object)) = answered else {
                return Further::Refuse;
            };
            let Ok(value) = serde_json::from_slice(&object) else {
                return Further::Refuse;
            };
            said.push(object);
            answers.insert(name, value);
        }
        again(answers, state).map_or(Further::Refuse, |answers| Further::Again(answers, said))
    }
}

/// How one exchange ended.
enum Exchange {
    /// With an answer, or without one.
    Over(Result<CallResponse, CallError>),
    /// The client waits no longer, or a person stopped the call.
    GivenUp(NoAnswer),
}

/// What follows a result that asks.
enum Further {
    /// The client reads the questions, and sends the call again.
    HandOn,
    /// They may not be asked.
    Refuse,
    /// The client waits no longer, or a person stopped the call.
    GivenUp(NoAnswer),
    /// They were answered on the spot; what was said, for the transcript.
    Again(Json, Vec<Bytes>),
}

pub(super) type Inside = (Vec<(String, Ask, Bytes)>, Option<String>);

/// The questions of a result, and the state that belongs to them as JSON text.
pub(super) fn inside(body: &Bytes) -> Option<Inside> {
    let document = scan(body, &Limits::of_bytes(body.len())).ok()?;
    let state = document.member("requestState").map(|s| s.text.to_owned());
    let mut questions = Vec::new();
    for (name, question) in document.members_of("inputRequests") {
        let text = question.text.as_bytes();
        let inner = scan(text, &Limits::of_bytes(text.len())).ok()?;
        let method: String = serde_json::from_str(inner.member("method")?.text).ok()?;
        let params = match inner.member("params") {
            Some(params) if params.kind == Kind::Object => {
                Bytes::copy_from_slice(params.text.as_bytes())
            }
            Some(_) => return None,
            None => Bytes::from_static(b"{}"),
        };
        questions.push((name.to_owned(), Ask::of_method(&method)?, params));
    }
    Some((questions, state))
}

fn again(
    answers: serde_json::Map<String, serde_json::Value>,
    state: Option<String>,
) -> Option<Json> {
    let answers = serde_json::Value::Object(answers).to_string();
    let state = state.map_or_else(String::new, |s| format!(",\"requestState\":{s}"));
    let text = format!("{{\"inputResponses\":{answers}{state}}}");
    let limits = Limits::of_bytes(text.len());
    Json::parse(Bytes::from(text), &limits).ok()
}

fn text_of(object: &Bytes, member: &str) -> Option<String> {
    let document = scan(object, &Limits::of_bytes(object.len())).ok()?;
    serde_json::from_str(document.member(member)?.text).ok()
}

pub(super) fn answered(response: CallResponse, earlier: Vec<Bytes>) -> (Report, ResultKind) {
    let CallResponse {
        answer,
        body,
        interim,
    } = response;
    let mut transcript = earlier;
    transcript.extend(interim.messages().iter().cloned());
    let (tool_error, kind) = match answer {
        Answer::Complete => (ToolError::No, ResultKind::ToolResult),
        Answer::ToolError => (ToolError::Yes, ResultKind::ToolResult),
        Answer::Refused { code: _ } => (ToolError::Yes, ResultKind::ProtocolError),
        // A task is followed where the capability allows it, and nowhere else.
        Answer::InputRequired | Answer::Task | Answer::Unrecognised => {
            return no_answer(NoAnswer::Malformed, transcript);
        }
    };
    let report = Report::Answered {
        result: body,
        tool_error,
        transcript,
    };
    (report, kind)
}

/// A result that asks is the answer to this call; the client's next one carries the answers.
fn asking(response: CallResponse, earlier: Vec<Bytes>) -> (Report, ResultKind) {
    let response = CallResponse {
        answer: Answer::Complete,
        ..response
    };
    answered(response, earlier)
}

pub(super) fn no_answer(cause: NoAnswer, transcript: Vec<Bytes>) -> (Report, ResultKind) {
    let report = Report::NoAnswer { cause, transcript };
    (report, ResultKind::ToolResult)
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "every other loss is an upstream that went away"
)]
pub(super) fn why(lost: &Lost) -> NoAnswer {
    match lost {
        Lost::TimedOut | Lost::Dripping { .. } => NoAnswer::Timeout,
        Lost::TooLarge { .. } => NoAnswer::TooLarge,
        Lost::Redirected { .. } => NoAnswer::Redirected,
        Lost::Malformed(_) | Lost::Flooding { .. } | Lost::ForeignRequest => NoAnswer::Malformed,
        _ => NoAnswer::Crashed,
    }
}
