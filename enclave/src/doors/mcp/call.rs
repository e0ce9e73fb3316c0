//! A call over MCP: one answer, or a stream if the upstream tells or asks something before.
//!
//! A client that goes away does not end its call. In the revision without sessions going away takes the
//! call back, as does `notifications/cancelled` in the other.

use super::tasks::{self, Waiting};
use super::{Asking, Place, SESSION, approval, pause, reply, stream};
use crate::calls::{Reply, Timings, carry_out};
use crate::doors::attended::Attended;
use crate::doors::calls::server_timing;
use crate::doors::{TRACEPARENT, Taken, json, seed, text};
use crate::serve::Gateway;
use crate::talk::pauses::{MAX_QUESTIONS, Pause, Wanted};
use crate::talk::running::Token;
use crate::talk::sessions::{NoSession, Subscribed};
use crate::talk::tasks::{Owner, Retained, View};
use crate::talk::{Awaited, Client, LINE_FRAMES, Line, Offer, Principal, Question, Questions};
use crate::telemetry::Heard;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use countersign_gateway::call::{Seed, Who};
use countersign_gateway::mcp::{Call, Declared, Era};
use countersign_gateway::refusal::Refused;
use countersign_gateway::request::{Request, Untrusted};
use countersign_policies::site::method::Method;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::mpsc;

pub(super) async fn call(
    gateway: Arc<Gateway>,
    taken: Taken,
    asking: Asking,
    call: Call,
) -> Response {
    if let Some(resumption) = call.resumption() {
        return pause::go_on(gateway, taken, asking, (&call, resumption)).await;
    }
    let seed = match seed() {
        Ok(seed) => seed,
        Err(refusal) => return reply::unknown_caller(&asking.id, &refusal),
    };
    let retained = Retained {
        body: taken.body.clone(),
        session: text(&taken.headers, &SESSION).map(str::to_owned),
    };
    let request = request(&gateway, retained.clone(), &asking.place, &call, seed);
    let identified = match request {
        Ok(request) => gateway.identify(request, &taken).await,
        Err(refused) => Err(refused),
    };
    let identified = match identified {
        Ok(identified) => identified,
        Err(refused) => {
            gateway.count_unknown();
            return reply::unknown_caller(&asking.id, refused.refusal());
        }
    };
    let of = Principal::of(identified.who());
    let takes = takes(&gateway, (&asking, &call), identified.who(), retained);
    let session = match asking.era {
        Era::Initialize => text(&taken.headers, &SESSION).map(str::to_owned),
        Era::Stateless => None,
    };
    let Ok(declared) = declared(&gateway, session.as_deref(), &of, &asking, &call) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let under_way = UnderWay {
        session,
        wanted: wanted(&call),
        of,
    };
    let (token, gone) = gateway.running.begin(
        under_way.of.clone(),
        under_way.session.clone(),
        asking.id.clone(),
    );
    let opens = declared.url.then(|| {
        let prefix = gateway.transport.prefix();
        format!("{prefix}{}", taken.authority)
    });
    let (frames, told) = mpsc::channel(LINE_FRAMES);
    let (questions, inside, asked) = match asking.era {
        Era::Initialize => (Questions::Taken, None, None),
        Era::Stateless => {
            let (inside, asked) = mpsc::channel(MAX_QUESTIONS);
            (Questions::Inside, Some(inside), Some(asked))
        }
    };
    let client = Client {
        stopped: tokio::sync::watch::channel(false).1,
        declared,
        progress: call.progress().map(str::to_owned),
        logs: asking.era == Era::Initialize || call.log_level().is_some(),
        others: call.others().to_vec(),
        log_level: call.log_level().map(str::to_owned),
        line: hears(&taken.headers).then_some(Line { frames, questions }),
        inside,
        offer: takes.offer,
        task: None,
        gone,
    };
    let heard = Heard::at(asking.started)
        .mcp(
            call.action().name(),
            asking.revision(),
            under_way.session.as_deref(),
            &asking.id,
        )
        .ambient(text(&taken.headers, &TRACEPARENT))
        .passed(call.passed());
    drop(taken);
    let going = Going {
        call: Attended::new(carry_out(Arc::clone(&gateway), identified, client, heard)),
        guard: Guard {
            token: Some(token),
            takes_back: asking.era == Era::Stateless,
        },
        awaited: takes.awaited,
        asked,
        open: BTreeMap::new(),
        waiting: takes.waiting,
        asking,
        under_way,
        gateway,
        opens,
    };
    going.answer(told).await
}

/// By what a client that takes tasks may be given one.
struct Takes {
    waiting: Option<Waiting>,
    offer: Option<Offer>,
    awaited: Option<Awaited>,
}

fn takes(
    gateway: &Gateway,
    (asking, call): (&Asking, &Call),
    who: &Who,
    retained: Retained,
) -> Takes {
    let takes_tasks =
        asking.era == Era::Stateless && call.declared().tasks && call.action() == Method::CallTool;
    let owner = Owner {
        of: Principal::of(who),
        place: asking.place.adapter().map(str::to_owned),
    };
    // What proves a signed call proves it once; a later poll proves only itself.
    let waiting = (takes_tasks && who.proof.is_none()).then(|| Waiting {
        owner: owner.clone(),
        retained,
    });
    let offered = takes_tasks.then(|| {
        let (tasks, clock) = (Arc::clone(&gateway.tasks), Arc::clone(&gateway.clock));
        Offer::new(tasks, owner, clock)
    });
    let (offer, awaited) = offered.unzip();
    Takes {
        waiting,
        offer,
        awaited,
    }
}

/// Stage 1.
pub(super) fn request(
    gateway: &Gateway,
    retained: Retained,
    place: &Place,
    call: &Call,
    seed: Seed,
) -> Result<Request, Box<Refused>> {
    let Retained { body, session } = retained;
    let untrusted = Untrusted {
        body,
        moment: gateway.clock.now(),
        seed,
        session,
    };
    let (adapter, name) = match place {
        Place::Adapter(adapter) => (adapter.clone(), call.name().to_owned()),
        Place::Joint => joined(gateway, call),
    };
    Request::from_mcp(untrusted, &adapter, &name, call)
}

/// Which tool of which adapter a name at the joint path means. What means none is refused as any unknown tool is.
fn joined(gateway: &Gateway, call: &Call) -> (String, String) {
    let is_tool = call.action() == Method::CallTool;
    let tool = is_tool.then(|| gateway.joint.tool(call.name())).flatten();
    let (adapter, tool) = tool.unwrap_or(("", call.name()));
    (adapter.to_owned(), tool.to_owned())
}

/// What the client can do: as its session says, or the message itself.
fn declared(
    gateway: &Gateway,
    session: Option<&str>,
    of: &Principal,
    asking: &Asking,
    call: &Call,
) -> Result<Declared, NoSession> {
    match (asking.era, session) {
        (Era::Stateless, _) => Ok(call.declared().clone()),
        (Era::Initialize, Some(session)) => gateway
            .sessions
            .of(session, of, asking.place.adapter())
            .map(|declared| Declared::clone(&declared)),
        // A client without a session can be told, and not asked.
        (Era::Initialize, None) => Ok(Declared::default()),
    }
}

fn hears(headers: &HeaderMap) -> bool {
    text(headers, &header::ACCEPT).is_some_and(|accept| accept.contains("text/event-stream"))
}

/// What has to be the same when a request comes again with answers.
pub(super) fn wanted(call: &Call) -> Wanted {
    Wanted {
        method: call.action(),
        name: call.name().to_owned(),
        arguments: call.arguments().clone(),
    }
}

/// A call that a client waits for.
pub(super) struct Going {
    call: Attended,
    guard: Guard,
    asking: Asking,
    under_way: UnderWay,
    gateway: Arc<Gateway>,
    /// Where this client can show its user a page of ours, if it shows pages.
    opens: Option<String>,
    /// Where the task comes in that the call may become.
    awaited: Option<Awaited>,
    /// Where questions come in that are put in the place of an answer.
    asked: Option<mpsc::Receiver<Question>>,
    /// Those that the client has not answered, by name.
    open: BTreeMap<String, Bytes>,
    /// The task that stands for the call if people are waited for, where the client takes one.
    waiting: Option<Waiting>,
}

/// What its client is told.
enum End {
    /// An answer; none if the call broke off inside the gateway.
    Answered(Option<Box<Reply>>),
    /// The task that it has become.
    Became(Box<View>),
    /// Questions, which it is to answer.
    Asked,
}

/// What its answer has to do with the client's session.
struct UnderWay {
    session: Option<String>,
    wanted: Wanted,
    of: Principal,
}

/// Takes the call back when the client goes away before its answer.
struct Guard {
    token: Option<Token>,
    takes_back: bool,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let (Some(token), true) = (&self.token, self.takes_back) {
            token.take_back();
        }
    }
}

/// The task that a call becomes, if it may become one.
async fn became(awaited: &mut Option<Awaited>) -> Option<View> {
    match awaited {
        Some(awaited) => awaited.task().await,
        None => std::future::pending().await,
    }
}

/// The next question; none, once there are no more.
async fn next(asked: &mut Option<mpsc::Receiver<Question>>) -> Option<Question> {
    match asked {
        Some(asked) => asked.recv().await,
        None => std::future::pending().await,
    }
}

impl Going {
    /// One answer if nothing is told before it, else a stream.
    async fn answer(mut self, mut told: mpsc::Receiver<Bytes>) -> Response {
        tokio::select! {
            biased;
            Some(first) = told.recv() => {
                // A client may be slow to read: what it waits for is not.
                self.call.go_apart();
                stream::response(Some(first), told, async move {
                    let end = self.end().await;
                    self.over(end).map(|(message, ..)| Bytes::from(message))
                })
            }
            end = self.end() => {
                // What was told in the same moment comes before the answer.
                if let Ok(first) = told.try_recv() {
                    let message = self.over(end).map(|(message, ..)| Bytes::from(message));
                    return stream::response(Some(first), told, async move { message });
                }
                match self.over(end) {
                    Some((message, status, timings)) => {
                        let mut response = json(status, message.into_bytes());
                        server_timing(response.headers_mut(), timings);
                        response
                    }
                    None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
                }
            }
        }
    }

    /// The answer to a client that is told nothing before it.
    pub(super) async fn answer_alone(self) -> Response {
        self.answer(mpsc::channel(1).1).await
    }

    async fn end(&mut self) -> End {
        loop {
            let asks_again = !self.open.is_empty();
            tokio::select! {
                biased;
                // Handed over as a task, or asking, and done at once: the answer is here, and nobody is told of either.
                reply = &mut self.call => {
                    self.awaited = None;
                    return End::Answered(reply.map(Box::new));
                }
                view = became(&mut self.awaited) => {
                    self.awaited = None;
                    if let Some(view) = view {
                        return End::Became(Box::new(view));
                    }
                }
                question = next(&mut self.asked) => self.take_down(question),
                () = std::future::ready(()), if asks_again => return End::Asked,
            }
        }
    }

    fn take_down(&mut self, question: Option<Question>) {
        match question {
            Some(Question { name, object }) => drop(self.open.insert(name, object)),
            None => self.asked = None,
        }
    }

    fn over(self, end: End) -> Option<(String, StatusCode, Timings)> {
        match end {
            End::Became(view) => Some(self.goes_on(&view)),
            End::Asked => self.pauses(),
            End::Answered(reply) => self.answered(*reply?),
        }
    }

    /// The call goes on without a client that waits: the task is what it can be taken back by, and asked about.
    fn goes_on(mut self, view: &View) -> (String, StatusCode, Timings) {
        let message = reply::task(&self.asking.id, view, None);
        let (gateway, id, call) = (self.gateway, view.id.clone(), self.call);
        if let Some(token) = self.guard.token.take() {
            gateway.tasks.hold(&id, token);
        }
        tokio::spawn(async move {
            let ending = match call.await {
                Some(reply) => reply::ending(reply),
                None => tasks::broken(&gateway),
            };
            gateway.tasks.end(&id, ending, gateway.clock.now().at);
        });
        (message, StatusCode::OK, Timings::default())
    }

    /// The call runs on while its client asks its user, and is found again by what the client sends then.
    fn pauses(mut self) -> Option<(String, StatusCode, Timings)> {
        let call = self.call.into_task()?;
        let open = self.open.clone();
        let pause = Pause {
            owner: Owner {
                of: self.under_way.of,
                place: self.asking.place.adapter().map(str::to_owned),
            },
            wanted: self.under_way.wanted,
            call,
            asked: self.asked.unwrap_or_else(|| mpsc::channel(1).1),
            open: self.open,
            token: self.guard.token.take(),
        };
        let id = &self.asking.id;
        let message = match self.gateway.pauses.keep(pause) {
            Some(state) => reply::asks(id, &state, &open),
            None => reply::failure(id, pause::TOO_MANY),
        };
        Some((message, StatusCode::OK, Timings::default()))
    }

    /// A call that paused, and whose client is back.
    pub(super) fn resumed(gateway: Arc<Gateway>, asking: Asking, pause: Pause<Reply>) -> Self {
        let Pause {
            owner,
            wanted,
            call,
            asked,
            open,
            token,
        } = pause;
        Self {
            call: Attended::of(call),
            guard: Guard {
                token,
                takes_back: true,
            },
            asking,
            under_way: UnderWay {
                session: None,
                wanted,
                of: owner.of,
            },
            gateway,
            opens: None,
            awaited: None,
            asked: Some(asked),
            open,
            waiting: None,
        }
    }

    fn answered(mut self, reply: Reply) -> Option<(String, StatusCode, Timings)> {
        self.guard.token = None;
        let timings = reply.timings;
        self.under_way.note(&self.gateway, &reply);
        let Asking { id, era, .. } = &self.asking;
        let waiting = self.waiting.as_ref();
        if let Some(view) = waiting.and_then(|w| w.task(&self.gateway, &reply)) {
            let message = reply::task(id, &view, Some(&reply));
            return Some((message, StatusCode::OK, timings));
        }
        let halted = self.opens.as_ref().and_then(|o| approval::told(o, &reply));
        let (status, message) = match halted {
            Some(question) => (StatusCode::OK, reply::halted(reply, id, *era, question)),
            None => reply::of_call(reply, id, self.under_way.wanted.method, *era),
        };
        Some((message, status, timings))
    }
}

impl UnderWay {
    /// A session that subscribed hears of the resource from now on.
    fn note(&self, gateway: &Gateway, reply: &Reply) {
        let subscribed = match self.wanted.method {
            Method::Subscribe => Subscribed::Yes,
            Method::Unsubscribe => Subscribed::No,
            Method::CallTool
            | Method::ListResources
            | Method::ListTemplates
            | Method::ReadResource
            | Method::ListPrompts
            | Method::GetPrompt
            | Method::Complete
            | Method::SetLevel => return,
        };
        let uri = serde_json::from_slice::<serde_json::Value>(&self.wanted.arguments)
            .ok()
            .and_then(|v| v.get("uri")?.as_str().map(str::to_owned));
        if let (Some(session), Some(uri), true) = (&self.session, uri, reply.is_result()) {
            gateway
                .sessions
                .subscribe(session, &self.of, &uri, subscribed);
        }
    }
}
