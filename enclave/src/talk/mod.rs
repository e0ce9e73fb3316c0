//! What passes between a call under way and the client that made it.
//!
//! In: interim messages of an upstream, released by the call's own rules. Out: frames on the call's
//! [`Line`], and the client's answers. A client that cannot hear, such as one of `POST /v1/calls`,
//! has no line: it is told nothing, and asked nothing.
//!
//! [`sessions`] remembers clients of the revision with sessions, [`questions`] what waits for an
//! answer, [`running`] which calls a client can take back, [`tasks`] calls that were not answered at once,
//! [`pauses`] calls whose clients were asked something in the place of an answer.

pub mod pauses;
pub mod questions;
pub mod running;
pub mod sessions;
pub mod tasks;

use crate::clock::Clock;
use bytes::Bytes;
use countersign_gateway::call::Who;
use countersign_gateway::execute::NoAnswer;
use countersign_gateway::mcp::Declared;
use countersign_json::{Limits, scan, write_string};
use countersign_record::digest::TenantId;
use std::collections::HashSet;
use std::sync::Arc;
use tasks::{Owner, Tasks, View};
use tokio::sync::{mpsc, oneshot, watch};

/// How many frames may wait for a client that reads slowly. What is over is lost to it; the record has it.
pub const LINE_FRAMES: usize = 1024;

/// Whose call it is, as far as upstreams and sessions are kept apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Principal {
    /// The tenant.
    pub tenant: TenantId,
    /// The agent's URN.
    pub agent: String,
    /// The person it acts for.
    pub user: Option<String>,
}

impl Principal {
    /// Of who was recognized.
    #[must_use]
    pub fn of(who: &Who) -> Self {
        Self {
            tenant: who.tenant,
            agent: who.agent.clone(),
            user: who.user.clone(),
        }
    }
}

/// Whether a client takes requests of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Questions {
    /// On the stream of its call: the revision with sessions.
    Taken,
    /// Only inside a result: the revision without.
    Inside,
}

/// The way to a client while its call goes on.
#[derive(Debug, Clone)]
pub struct Line {
    /// Frames, in order.
    pub frames: mpsc::Sender<Bytes>,
    /// Whether it takes requests.
    pub questions: Questions,
}

/// A question that is read in the place of an answer.
#[derive(Debug)]
pub struct Question {
    /// Its name.
    pub name: String,
    /// Its method and parameters, an object as JSON.
    pub object: Bytes,
}

impl Question {
    /// `id` is its name as JSON text.
    fn new(id: &str, method: &str, params: &[u8]) -> Option<Self> {
        let mut object = b"{\"method\":".to_vec();
        write_string(method, &mut object);
        object.extend_from_slice(b",\"params\":");
        object.extend_from_slice(params);
        object.push(b'}');
        Some(Self {
            name: serde_json::from_str(id).ok()?,
            object: Bytes::from(object),
        })
    }
}

/// A call's client.
#[derive(Debug)]
pub struct Client {
    /// What it can do.
    pub declared: Declared,
    /// The token by which it wants to hear of progress, as JSON text.
    pub progress: Option<String>,
    /// Whether it wants log messages.
    pub logs: bool,
    /// Entries of its `_meta` that are handed on.
    pub others: Vec<(String, Bytes)>,
    /// How much a client without a session wants the upstream to tell.
    pub log_level: Option<String>,
    /// The way to it, if it can hear.
    pub line: Option<Line>,
    /// Where it is asked in the place of an answer, if it reads questions there.
    pub inside: Option<mpsc::Sender<Question>>,
    /// The task that its call may become.
    pub offer: Option<Offer>,
    /// The task that its call has become.
    pub task: Option<Handed>,
    /// Turns true when it waits no longer.
    pub gone: watch::Receiver<bool>,
    /// Turns true when a person stops the call.
    pub stopped: watch::Receiver<bool>,
}

impl Client {
    /// A client that hears nothing until the end, and cannot be asked.
    #[must_use]
    pub fn silent() -> Self {
        Self {
            declared: Declared::default(),
            progress: None,
            logs: false,
            others: Vec::new(),
            log_level: None,
            line: None,
            inside: None,
            offer: None,
            task: None,
            gone: watch::channel(false).1,
            stopped: watch::channel(false).1,
        }
    }

    /// Waits until the call is to be given up, because the client takes it back or a person stops it.
    pub async fn given_up(&mut self) -> NoAnswer {
        let (gone, stopped) = (&mut self.gone, &mut self.stopped);
        tokio::select! {
            biased;
            () = turned(stopped) => NoAnswer::Stopped,
            () = turned(gone) => NoAnswer::Cancelled,
        }
    }

    /// Its call takes longer: a client that takes tasks gets one in the place of an answer, and hears nothing more on
    /// its line. Without an offer, or without room, it goes on waiting.
    pub fn goes_on_as_a_task(&mut self) {
        self.task = self.offer.take().and_then(Offer::take);
        if self.task.is_some() {
            self.line = None;
        }
    }

    /// Whether it can be asked anything.
    #[must_use]
    pub fn takes_questions(&self) -> bool {
        self.task.is_some() || self.inside.is_some() || self.stream().is_some()
    }

    /// Puts a question to it; `id` is the question's, as JSON text. `false` if it takes none any more.
    ///
    /// On the stream of its call, or where its call has become a task, there; else in the place of an answer, after which it
    /// hears nothing more on its line: that ends with the answer.
    #[must_use]
    pub fn ask(&mut self, id: &str, method: &str, params: &[u8]) -> bool {
        if let Some(task) = &self.task {
            return task.ask(id, method, params);
        }
        if let Some(line) = self.stream() {
            return line.frames.try_send(request(id, method, params)).is_ok();
        }
        let Some(inside) = &self.inside else {
            return false;
        };
        let question = Question::new(id, method, params);
        let put = question.is_some_and(|question| inside.try_send(question).is_ok());
        if put {
            self.line = None;
        }
        put
    }

    /// Its line, if it takes questions there.
    fn stream(&self) -> Option<&Line> {
        let takes = |line: &&Line| line.questions == Questions::Taken;
        self.line.as_ref().filter(takes)
    }

    /// Whether a person stopped the call.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        *self.stopped.borrow()
    }
}

/// A task that a call may become.
#[derive(Debug)]
pub struct Offer {
    /// Where tasks are kept.
    tasks: Arc<Tasks>,
    /// Whose it would be.
    owner: Owner,
    /// When it is.
    clock: Arc<Clock>,
    /// Where the client is told of it.
    handed: oneshot::Sender<View>,
}

/// Where a client waits for the task that its call may become. A task that is still there when this goes is one that
/// nobody was told of, and is forgotten.
#[derive(Debug)]
pub struct Awaited {
    tasks: Arc<Tasks>,
    handed: oneshot::Receiver<View>,
}

impl Awaited {
    /// The task; `None` if the call becomes none.
    pub async fn task(&mut self) -> Option<View> {
        (&mut self.handed).await.ok()
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        // ORDER: closed first, so that nothing is handed over after the look.
        self.handed.close();
        if let Ok(view) = self.handed.try_recv() {
            self.tasks.forget(&view.id);
        }
    }
}

impl Offer {
    /// A task of this owner, and where it comes in.
    #[must_use]
    pub fn new(tasks: Arc<Tasks>, owner: Owner, clock: Arc<Clock>) -> (Self, Awaited) {
        let (hand, handed) = oneshot::channel();
        let awaited = Awaited {
            tasks: Arc::clone(&tasks),
            handed,
        };
        let offer = Self {
            tasks,
            owner,
            clock,
            handed: hand,
        };
        (offer, awaited)
    }

    fn take(self) -> Option<Handed> {
        let view = self.tasks.begin(&self.owner, self.clock.now().at)?;
        let id = view.id.clone();
        if self.handed.send(view).is_err() {
            self.tasks.forget(&id);
            return None;
        }
        Some(Handed {
            tasks: self.tasks,
            clock: self.clock,
            id,
        })
    }
}

/// The task that a call has become.
#[derive(Debug)]
pub struct Handed {
    tasks: Arc<Tasks>,
    clock: Arc<Clock>,
    id: String,
}

impl Handed {
    /// Puts a question to its client; `name` is the question's, as JSON text. `false` if it takes none any more.
    #[must_use]
    pub fn ask(&self, name: &str, method: &str, params: &[u8]) -> bool {
        let Some(Question { name, object }) = Question::new(name, method, params) else {
            return false;
        };
        let now = self.clock.now().at;
        self.tasks.ask(&self.id, &name, object, now)
    }
}

/// Waits until a word turns true; for ever, if nobody can say it any more.
async fn turned(word: &mut watch::Receiver<bool>) {
    if word.wait_for(|turned| *turned).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// A notification as a message.
#[must_use]
pub fn notification(method: &str, params: &[u8]) -> Bytes {
    let mut out = b"{\"jsonrpc\":\"2.0\",\"method\":".to_vec();
    write_string(method, &mut out);
    out.extend_from_slice(b",\"params\":");
    out.extend_from_slice(params);
    out.push(b'}');
    Bytes::from(out)
}

/// A request as a message; `id` is JSON text.
#[must_use]
pub fn request(id: &str, method: &str, params: &[u8]) -> Bytes {
    let mut out = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":").into_bytes();
    write_string(method, &mut out);
    out.extend_from_slice(b",\"params\":");
    out.extend_from_slice(params);
    out.push(b'}');
    Bytes::from(out)
}

/// The parameters of a progress notification with the client's token in place of ours.
#[must_use]
pub fn with_token(params: &Bytes, token: &str) -> Option<Bytes> {
    let document = scan(params, &Limits::of_bytes(params.len())).ok()?;
    let ours = document.member("progressToken")?.range;
    let (before, after) = (params.get(..ours.start)?, params.get(ours.end..)?);
    Some(Bytes::from([before, token.as_bytes(), after].concat()))
}

/// Resources that a client wants to hear of.
pub type Subscriptions = HashSet<String>;

#[cfg(test)]
mod tests {
    use super::*;

    /// A client that hears, and takes a task.
    fn offered() -> (Client, mpsc::Receiver<Bytes>, Awaited) {
        let (frames, told) = mpsc::channel(1);
        let of = Principal {
            tenant: TenantId([1; 16]),
            agent: "a".to_owned(),
            user: None,
        };
        let owner = Owner { of, place: None };
        let (offer, awaited) = Offer::new(Arc::default(), owner, Arc::new(Clock::start()));
        let questions = Questions::Inside;
        let client = Client {
            line: Some(Line { frames, questions }),
            offer: Some(offer),
            ..Client::silent()
        };
        (client, told, awaited)
    }

    #[tokio::test]
    async fn a_call_that_becomes_a_task_is_told_of_there_and_on_its_line_no_more() {
        let (mut client, mut told, mut awaited) = offered();
        client.goes_on_as_a_task();
        assert!(client.line.is_none() && told.try_recv().is_err());
        let id = awaited.task().await.unwrap().id;
        drop(awaited);
        let task = client.task.unwrap();
        assert!(task.ask("\"q\"", "elicitation/create", b"{\"a\":1}"));
        let owner = Owner {
            of: Principal {
                tenant: TenantId([1; 16]),
                agent: "a".to_owned(),
                user: None,
            },
            place: None,
        };
        let now = task.clock.now().at;
        let question = r#"{"method":"elicitation/create","params":{"a":1}}"#;
        let asked = vec![("q".to_owned(), Bytes::from_static(question.as_bytes()))];
        let view = task.tasks.look(&id, &owner, now).unwrap();
        assert_eq!(view.state, tasks::State::Asks(asked));
    }

    #[test]
    fn a_call_whose_client_is_gone_or_takes_none_becomes_no_task() {
        let (mut client, _told, awaited) = offered();
        drop(awaited);
        client.goes_on_as_a_task();
        assert!(client.task.is_none() && client.line.is_some());
        let mut silent = Client::silent();
        silent.goes_on_as_a_task();
        assert!(silent.task.is_none());
    }

    #[test]
    fn a_task_that_its_client_was_not_told_of_is_forgotten() {
        let (mut client, _told, awaited) = offered();
        client.goes_on_as_a_task();
        let task = client.task.unwrap();
        assert!(task.ask("\"q\"", "elicitation/create", b"{}"));
        drop(awaited);
        assert!(!task.ask("\"r\"", "elicitation/create", b"{}"));
    }

    #[test]
    fn only_the_token_of_a_progress_message_is_changed() {
        let params = Bytes::from_static(br#"{ "progressToken":7, "progress":1.50,"x":"7" }"#);
        assert_eq!(
            with_token(&params, r#""a\"b""#).unwrap(),
            r#"{ "progressToken":"a\"b", "progress":1.50,"x":"7" }"#
        );
        assert_eq!(with_token(&Bytes::from_static(b"{}"), "1"), None);
    }
}
