//! What becomes of each message and of each answer.
//!
//! In: lines of the client. Out: its lines to the gateway, one request each, many at a time; the gateway's answers and
//! what streams bring, as lines to the client. A message is sent once. Where there is no answer, the client gets an
//! error that says whether its request can have been carried out.
//!
//! SPEC: MCP 2025-11-25 and 2026-07-28, "Streamable HTTP". In the first of them a session's name is kept from the
//! answer to `initialize`, a stream is opened for what the server says by itself, and the session is ended at the end.
//! In the second, headers repeat the body, and who wants a request no more ends its stream.

use super::lines::{Line, MAX_LINE_BYTES, on_one_line};
use super::message::{Kind, Message};
use super::way::{Answer, Ask, Way, WayError};
use crate::output;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use countersign_adapters::Events;
use countersign_json::mirrored::Mirrored;
use http::{Method, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde_json::json;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinHandle};

/// Requests under way at one time. More are refused: whoever waited here could not cancel, either.
const MAX_UNDER_WAY: u32 = 1024;

/// Requests of those that have left; the others wait for a connection.
const MAX_SENT: usize = 64;

/// Tools that are remembered.
const MAX_TOOLS: usize = 10_000;

/// Longest message of the gateway, in bytes (16 MiB): a result of a tool may be long.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// Longest wait for the gateway to take what wants no answer.
const TELLING: Duration = Duration::from_secs(30);

/// Longest wait for answers once the client has said its last.
const LAST_ANSWERS: Duration = Duration::from_secs(30);

/// Longest wait for the gateway to end a session.
const ENDING: Duration = Duration::from_secs(2);

/// Time between a stream of the server's own words that ended and the next one.
const NEXT_STREAM: Duration = Duration::from_secs(1);

/// JSON-RPC: what came is no JSON.
const PARSE_ERROR: i64 = -32700;
/// JSON-RPC: what came is no message.
const INVALID_REQUEST: i64 = -32600;
/// The bridge could not carry a message, or got no answer to it. Of those that JSON-RPC leaves to servers.
const NOT_CARRIED: i64 = -32000;

/// What the answer to `initialize` settled.
#[derive(Debug, Clone, Default)]
struct Session {
    name: Option<String>,
    version: Option<String>,
}

/// A request under way.
struct UnderWay {
    stateless: bool,
    task: AbortHandle,
}

/// What is shared by all that is under way.
pub(super) struct Relay(Arc<Shared>);

struct Shared {
    way: Arc<Way>,
    out: mpsc::Sender<Bytes>,
    session: Mutex<Session>,
    under_way: Mutex<HashMap<String, UnderWay>>,
    /// One for each request that is under way.
    places: Arc<Semaphore>,
    /// One for each that has left.
    sending: Semaphore,
    listening: Mutex<Option<JoinHandle<()>>>,
    /// Which arguments of which tool headers repeat.
    tools: Mutex<HashMap<String, Mirrored>>,
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Relay {
    pub(super) fn new(way: Arc<Way>, out: mpsc::Sender<Bytes>) -> Self {
        Self(Arc::new(Shared {
            way,
            out,
            session: Mutex::default(),
            under_way: Mutex::default(),
            places: Arc::new(Semaphore::new(
                usize::try_from(MAX_UNDER_WAY).unwrap_or(MAX_SENT),
            )),
            sending: Semaphore::new(MAX_SENT),
            listening: Mutex::default(),
            tools: Mutex::default(),
        }))
    }

    /// Takes all that the client says, and waits for the answers to it.
    pub(super) async fn take_all(&self, input: &mut mpsc::Receiver<Line>) {
        while let Some(line) = input.recv().await {
            match line {
                Line::Whole(line) => self.take(line).await,
                Line::TooLong => {
                    let text = format!(
                        "a message is longer than {MAX_LINE_BYTES} bytes, and was not sent"
                    );
                    self.0.refuse("null", INVALID_REQUEST, &text).await;
                }
            }
        }
        // A stream that never ends is not waited for.
        let all = self.0.places.acquire_many(MAX_UNDER_WAY);
        let _rest = tokio::time::timeout(LAST_ANSWERS, all).await;
    }

    async fn take(&self, line: Bytes) {
        let Some(message) = Message::read(&line) else {
            let text =
                "this is no message that the bridge can carry: one JSON-RPC 2.0 object on a line";
            return self.0.refuse("null", PARSE_ERROR, text).await;
        };
        match message.kind.clone() {
            Kind::Request { id, method } => self.request(line, message, id, &method).await,
            Kind::Notification { .. } | Kind::Response { .. } => self.tell(line, message).await,
        }
    }

    async fn request(&self, line: Bytes, message: Message, id: String, method: &str) {
        let Ok(place) = Arc::clone(&self.0.places).try_acquire_owned() else {
            let text = format!("{MAX_UNDER_WAY} requests are under way; this one was not sent");
            return self.0.refuse(&id, NOT_CARRIED, &text).await;
        };
        let task = self.start(line, message, id, place);
        if method == "initialize" {
            // What follows needs the session that it begins. How it went was told to the client.
            let _told = task.await;
        }
    }

    /// Begins to carry a request, among those under way.
    fn start(
        &self,
        line: Bytes,
        message: Message,
        id: String,
        place: OwnedSemaphorePermit,
    ) -> JoinHandle<()> {
        let shared = Arc::clone(&self.0);
        let stateless = message.version.is_some();
        let known = id.clone();
        // ORDER: it cannot leave before it is among those under way, because it needs the lock for that.
        let mut under_way = locked(&self.0.under_way);
        let task = tokio::spawn(async move {
            let sent = shared.sending.acquire().await;
            let answered = shared.carry(&line, &message, &id).await;
            drop(sent);
            if let Err(error) = answered {
                shared.refuse(&id, NOT_CARRIED, &error.to_string()).await;
            }
            locked(&shared.under_way).remove(&id);
            drop(place);
        });
        under_way.insert(
            known,
            UnderWay {
                stateless,
                task: task.abort_handle(),
            },
        );
        task
    }

    /// Passes on what wants no answer. One after the other, so that none overtakes another.
    async fn tell(&self, line: Bytes, message: Message) {
        if let Some(cancelled) = &message.cancels
            && let Kind::Notification { method } = &message.kind
            && method == "notifications/cancelled"
        {
            let mut under_way = locked(&self.0.under_way);
            if under_way.get(cancelled).is_some_and(|u| u.stateless)
                && let Some(UnderWay { task, .. }) = under_way.remove(cancelled)
            {
                // Without a session there is no other word for it than to end the request's own connection.
                task.abort();
                return;
            }
        }
        let telling = tokio::time::timeout(TELLING, self.0.told(&line, &message)).await;
        let problem = match telling {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("the gateway does not take it in time".to_owned()),
        };
        if let Some(problem) = problem {
            // There is no id to answer to.
            output::line(format_args!(
                "countersign bridge: a message that wants no answer was not taken: {problem}"
            ));
        }
        let begun = matches!(&message.kind, Kind::Notification { method } if method == "notifications/initialized");
        if begun && message.version.is_none() {
            let shared = Arc::clone(&self.0);
            let listening = tokio::spawn(async move { shared.listen().await });
            if let Some(before) = locked(&self.0.listening).replace(listening) {
                before.abort();
            }
        }
    }

    /// Ends what is under way, and the session.
    pub(super) async fn end(&self) {
        if let Some(listening) = locked(&self.0.listening).take() {
            listening.abort();
        }
        let all: Vec<UnderWay> = locked(&self.0.under_way).drain().map(|(_, u)| u).collect();
        all.iter().for_each(|u| u.task.abort());
        let session = locked(&self.0.session).clone();
        if session.name.is_none() {
            return;
        }
        let ask = Ask {
            method: Method::DELETE,
            headers: session.headers(),
            body: Bytes::new(),
        };
        // A gateway that has no such session, or does not answer, has nothing to end.
        let _ended = tokio::time::timeout(ENDING, self.0.way.ask(&ask)).await;
    }
}

impl Session {
    fn headers(&self) -> Vec<(Cow<'static, str>, String)> {
        let name = self
            .name
            .iter()
            .map(|n| ("mcp-session-id".into(), n.clone()));
        let version = self
            .version
            .iter()
            .map(|v| ("mcp-protocol-version".into(), v.clone()));
        name.chain(version).collect()
    }
}

impl Shared {
    /// The request that carries a message.
    fn post(&self, line: &Bytes, message: &Message) -> Ask {
        let mut headers = vec![
            ("content-type".into(), "application/json".to_owned()),
            (
                "accept".into(),
                "application/json, text/event-stream".to_owned(),
            ),
        ];
        match &message.version {
            Some(version) => {
                headers.push(("mcp-protocol-version".into(), version.clone()));
                if let Kind::Request { method, .. } | Kind::Notification { method } = &message.kind
                {
                    headers.push(("mcp-method".into(), in_header(method)));
                }
                headers.extend(
                    message
                        .name
                        .as_deref()
                        .map(|name| ("mcp-name".into(), in_header(name))),
                );
                let repeated = self.repeated(message).into_iter();
                headers.extend(repeated.map(|(name, value)| (name.into(), in_header(&value))));
            }
            None => headers.extend(locked(&self.session).headers()),
        }
        Ask {
            method: Method::POST,
            headers,
            body: line.clone(),
        }
    }

    /// Arguments that the tool wants repeated as headers, as far as its listing has passed by.
    fn repeated(&self, message: &Message) -> Vec<(String, String)> {
        let (Some(name), Some(arguments)) = (&message.name, &message.arguments) else {
            return Vec::new();
        };
        let tools = locked(&self.tools);
        let mirrored = tools.get(name).map(|m| m.of(arguments.as_bytes()));
        mirrored.unwrap_or_default()
    }

    async fn carry(&self, line: &Bytes, message: &Message, id: &str) -> Result<(), WayError> {
        let begins =
            matches!(&message.kind, Kind::Request { method, .. } if method == "initialize");
        if begins {
            *locked(&self.session) = Session::default();
        }
        let answer = self.way.ask(&self.post(line, message)).await?;
        if begins {
            let name = answer.response.headers().get("mcp-session-id");
            let name = name.and_then(|n| n.to_str().ok()).map(str::to_owned);
            locked(&self.session).name = name;
        }
        self.pass(answer, id, begins).await
    }

    /// Passes an answer on.
    async fn pass(&self, answer: Answer, id: &str, begins: bool) -> Result<(), WayError> {
        let (parts, body, sender) = answer.open();
        if parts.status.is_success() && is_stream(&parts.headers) {
            let answered = self.stream(body, Some(id), begins).await?;
            if !answered {
                return Err(WayError::Broke);
            }
            self.way.keep(sender);
            return Ok(());
        }
        let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
        let body = body.map_err(|_| WayError::Broke)?.to_bytes();
        self.way.keep(sender);
        let message = Message::read(&body).filter(|m| m.answers(id));
        match message {
            Some(message) => self.say(&body, &message, begins).await,
            None => {
                self.refuse(id, NOT_CARRIED, &words(parts.status, &body))
                    .await
            }
        }
        Ok(())
    }

    /// Passes a stream's messages on; whether the request's own answer was among them.
    async fn stream(
        &self,
        mut body: Incoming,
        id: Option<&str>,
        begins: bool,
    ) -> Result<bool, WayError> {
        let mut events = Events::new(MAX_ANSWER_BYTES);
        let mut answered = false;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { break };
            let Ok(piece) = frame.into_data() else {
                continue;
            };
            if events.push(&piece).is_err() {
                break;
            }
            while let Some(event) = events.next_event() {
                // What is no message is nobody's.
                let Some(message) = Message::read(&event) else {
                    continue;
                };
                answered |= id.is_some_and(|id| message.answers(id));
                self.say(&event, &message, begins).await;
            }
        }
        Ok(answered)
    }

    async fn say(&self, bytes: &[u8], message: &Message, begins: bool) {
        if begins && message.settled.is_some() {
            locked(&self.session).version.clone_from(&message.settled);
        }
        for tool in &message.tools {
            // One that asks for headers in a way that is none has none; clients leave it out.
            let mirrored = Mirrored::of_tool(tool).unwrap_or_default();
            let mut tools = locked(&self.tools);
            if tools.len() < MAX_TOOLS || tools.contains_key(tool.name()) {
                tools.insert(tool.name().to_owned(), mirrored);
            }
        }
        self.line(on_one_line(bytes)).await;
    }

    async fn line(&self, line: Bytes) {
        // Nobody reads any more; the end of standard input comes next.
        let _gone = self.out.send(line).await;
    }

    async fn refuse(&self, id: &str, code: i64, text: &str) {
        let error = json!({ "code": code, "message": format!("countersign bridge: {text}") });
        let line = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{error}}}");
        self.line(Bytes::from(line)).await;
    }

    /// Sends what wants no answer.
    async fn told(&self, line: &Bytes, message: &Message) -> Result<(), WayError> {
        let answer = self.way.ask(&self.post(line, message)).await?;
        let (parts, body, sender) = answer.open();
        let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
        let body = body.map_err(|_| WayError::Broke)?.to_bytes();
        self.way.keep(sender);
        if parts.status.is_success() {
            return Ok(());
        }
        Err(WayError::NotSent(anyhow::anyhow!(words(
            parts.status,
            &body
        ))))
    }

    /// Listens to what the server says by itself, for as long as there is a server that does.
    async fn listen(&self) {
        loop {
            let mut headers = locked(&self.session).headers();
            headers.push(("accept".into(), "text/event-stream".to_owned()));
            let ask = Ask {
                method: Method::GET,
                headers,
                body: Bytes::new(),
            };
            if let Ok(answer) = self.way.ask(&ask).await {
                let (parts, body, _ends_with_the_stream) = answer.open();
                // Most say by this that they have nothing to say.
                if !parts.status.is_success() || !is_stream(&parts.headers) {
                    return;
                }
                // How it ended is of no interest: the next one is another.
                let _ended = self.stream(body, None, false).await;
            }
            tokio::time::sleep(NEXT_STREAM).await;
        }
    }
}

fn is_stream(headers: &http::HeaderMap) -> bool {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok());
    kind.is_some_and(|k| {
        k.trim_start()
            .to_ascii_lowercase()
            .starts_with("text/event-stream")
    })
}

/// What a gateway says that answers with no message of JSON-RPC, or with one about no request.
fn words(status: StatusCode, body: &[u8]) -> String {
    let said: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let message = said.as_ref().and_then(|v| {
        let of_error = v.pointer("/error/message");
        of_error
            .or_else(|| v.pointer("/message"))
            .and_then(|m| m.as_str())
    });
    match message {
        Some(message) => format!("the gateway answers {status}: {message}"),
        None => format!("the gateway answers {status}, and no message"),
    }
}

/// A value as a header carries it. SPEC: MCP 2026-07-28, Streamable HTTP, "Value Encoding".
fn in_header(value: &str) -> String {
    let blank = [' ', '\t'];
    let encoded = value.starts_with("=?base64?") && value.ends_with("?=");
    let padded = value.starts_with(blank) || value.ends_with(blank);
    let plain = value.bytes().all(|b| matches!(b, b' '..=b'~')) && !padded && !encoded;
    if plain {
        value.to_owned()
    } else {
        format!("=?base64?{}?=", STANDARD.encode(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_no_header_can_carry_is_encoded() {
        assert_eq!(in_header("get_weather"), "get_weather");
        assert_eq!(in_header("Grüße"), "=?base64?R3LDvMOfZQ==?=");
        assert_eq!(in_header(" a"), "=?base64?IGE=?=");
        assert_eq!(in_header("=?base64?x?="), "=?base64?PT9iYXNlNjQ/eD89?=");
        assert_eq!(in_header("a\nb"), "=?base64?YQpi?=");
    }

    #[test]
    fn a_refusal_in_other_words_is_told_by_what_it_says() {
        let status = StatusCode::UNAUTHORIZED;
        let said = words(status, br#"{"error":{"message":"no"}}"#);
        assert_eq!(said, "the gateway answers 401 Unauthorized: no");
        let said = words(status, b"<html>");
        assert_eq!(said, "the gateway answers 401 Unauthorized, and no message");
    }
}
