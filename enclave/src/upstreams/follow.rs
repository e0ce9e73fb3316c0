//! A task of an upstream, followed to its end within the call that it answers.
//!
//! In: a result that names a task. Out: what the call would have had for an answer, so that it has one outcome and
//! one record. Until then the upstream is asked how the task stands, as often as it wants to be, and for no longer than
//! a call may take. Its questions go the way of questions inside a result. A call that is given up, or whose task breaks
//! the protocol, is cancelled there, once, and its effect is unknown.
//!
//! SPEC: extension `io.modelcontextprotocol/tasks`, 2026-07-28.

use super::ResultKind;
use super::carry::{Carrying, Inside, answered, inside, no_answer, why};
use crate::talk::Client;
use bytes::Bytes;
use countersign_adapters::{
    Answer, Asked, Bounds, CallError, CallRequest, CallResponse, Interim, Progress, Reply,
};
use countersign_gateway::execute::{NoAnswer, Report};
use countersign_json::{Document, Json, Kind, Limits, scan, write_string};
use countersign_policies::site::method::Ask;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::time::Instant;

/// The shortest and the longest pause between two questions after a task, whatever its server says.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// The pause where its server says nothing.
const PAUSE: Duration = Duration::from_secs(1);
/// How long an upstream has to hear that nobody waits for its task.
const CANCELLING: Duration = Duration::from_secs(2);
/// Longest name of a task, in bytes.
const MAX_ID_BYTES: usize = 256;
/// Most questions of one task.
const MAX_QUESTIONS: usize = 64;

/// A call whose task is followed.
pub(super) struct Following<'f> {
    /// The call as it was sent.
    pub(super) request: CallRequest,
    /// What it may ask.
    pub(super) asks: &'f BTreeSet<Ask>,
    /// When its time is up.
    pub(super) end: Instant,
    /// What was said before, of an answer that comes.
    pub(super) earlier: Vec<Bytes>,
    /// The same, of one that does not.
    pub(super) told: Vec<Bytes>,
}

/// What was said about a task, for the transcript; bounded as interim messages are.
#[derive(Default)]
struct Said {
    messages: Vec<Bytes>,
    bytes: usize,
    /// How the task stood last.
    stood: Bytes,
}

/// Over the bounds. What is not kept is neither asked nor answered.
struct Full;

impl Said {
    fn keep(&mut self, message: &Bytes) -> Result<(), Full> {
        let bounds = Bounds::STANDARD;
        let bytes = self.bytes.saturating_add(message.len());
        if self.messages.len() >= bounds.interim_messages || bytes > bounds.interim_bytes {
            return Err(Full);
        }
        self.bytes = bytes;
        self.messages.push(message.clone());
        Ok(())
    }

    /// Takes down how the task stands, if that is new. What is over the bounds is lost; nobody hears it either.
    fn note(&mut self, body: &Bytes) {
        if self.stood != *body {
            let _full = self.keep(body);
            self.stood = body.clone();
        }
    }

    /// Takes down what was said beside an answer, of which nothing depends: half of the bounds is left to questions.
    fn beside(&mut self, messages: &[Bytes]) {
        let bounds = Bounds::STANDARD;
        for message in messages {
            let bytes = self.bytes.saturating_add(message.len());
            let fits = self.messages.len() < bounds.interim_messages / 2
                && bytes <= bounds.interim_bytes / 2;
            if fits {
                let _full = self.keep(message);
            }
        }
    }
}

/// How a task stands.
struct Standing {
    pause: Duration,
    status: Status,
}

enum Status {
    Working,
    Asks(Inside),
    /// With a tool's result, or a JSON-RPC error.
    Over(Answer, Bytes),
    Cancelled,
}

/// A task on its way.
struct Task<'t> {
    id: String,
    following: &'t Following<'t>,
    said: Said,
    /// Names of questions that were put: one is put once.
    known: BTreeSet<String>,
    /// Those whose answers are not there yet.
    open: Vec<(String, oneshot::Receiver<Reply>)>,
}

impl Carrying<'_> {
    /// Follows the task that `created` names.
    pub(super) async fn follow(
        &self,
        created: CallResponse,
        following: Following<'_>,
        client: &mut Client,
    ) -> (Report, ResultKind) {
        let Some((id, pause)) = named(&created.body) else {
            return no_answer(NoAnswer::Malformed, following.told);
        };
        client.goes_on_as_a_task();
        let mut task = Task {
            id,
            following: &following,
            said: Said::default(),
            known: BTreeSet::new(),
            open: Vec::new(),
        };
        let ended = match task.said.keep(&created.body) {
            Ok(()) => self.to_its_end(&mut task, pause, client).await,
            Err(Full) => Err(NoAnswer::Malformed),
        };
        if ended.is_err() {
            self.cancel(&task).await;
        }
        let said = task.said.messages;
        let Following {
            mut earlier,
            mut told,
            ..
        } = following;
        match ended {
            Ok((answer, body)) => {
                earlier.extend(created.interim.messages().iter().cloned());
                earlier.extend(said);
                let response = CallResponse {
                    answer,
                    body,
                    interim: Interim::default(),
                };
                answered(response, earlier)
            }
            Err(cause) => {
                told.extend(said);
                no_answer(cause, told)
            }
        }
    }

    async fn to_its_end(
        &self,
        task: &mut Task<'_>,
        mut pause: Duration,
        client: &mut Client,
    ) -> Result<(Answer, Bytes), NoAnswer> {
        loop {
            wait(pause, task.following.end, client).await?;
            let answers = task.answers()?;
            if !answers.is_empty() {
                let parameters = task.parameters(&answers)?;
                let _taken = self.about(task, "tasks/update", parameters, client).await?;
            }
            let parameters = task.parameters(&[])?;
            let body = self.about(task, "tasks/get", parameters, client).await?;
            let standing = Standing::of(&body, &task.id).ok_or(NoAnswer::Malformed)?;
            pause = standing.pause;
            match standing.status {
                Status::Over(answer, object) => return Ok((answer, object)),
                Status::Working => task.said.note(&body),
                Status::Asks(questions) => self.put_all(task, &body, questions, client)?,
                Status::Cancelled => {
                    task.said.note(&body);
                    return Err(NoAnswer::Crashed);
                }
            }
        }
    }

    /// Puts the questions that are new to the client. One that may not be put ends the call.
    fn put_all(
        &self,
        task: &mut Task<'_>,
        body: &Bytes,
        (questions, _): Inside,
        client: &mut Client,
    ) -> Result<(), NoAnswer> {
        let fresh: Vec<_> = questions
            .into_iter()
            .filter(|(name, ..)| !task.known.contains(name))
            .collect();
        if fresh.is_empty() {
            task.said.note(body);
            return Ok(());
        }
        task.said.keep(body).map_err(|Full| NoAnswer::Malformed)?;
        task.said.stood = body.clone();
        for (name, ask, params) in fresh {
            let may = task.following.asks.contains(&ask) && client.declared.asks.contains_key(&ask);
            let (reply, answered) = oneshot::channel();
            if !may || task.known.len() >= MAX_QUESTIONS {
                return Err(NoAnswer::Malformed);
            }
            if !self.put(ask, &params, reply, client) {
                return Err(NoAnswer::Malformed);
            }
            task.known.insert(name.clone());
            task.open.push((name, answered));
        }
        Ok(())
    }

    /// One exchange about a task.
    async fn about(
        &self,
        task: &mut Task<'_>,
        method: &'static str,
        parameters: Json,
        client: &mut Client,
    ) -> Result<Bytes, NoAnswer> {
        let left = task.following.end.duration_since(Instant::now());
        let request = task.request(method, parameters, left);
        let outcome = tokio::select! {
            biased;
            cause = client.given_up() => return Err(cause),
            outcome = self.upstream.call(request) => outcome,
        };
        if let Ok(response) = &outcome {
            task.said.beside(response.interim.messages());
        }
        match outcome {
            Ok(response) if response.answer == Answer::Complete => Ok(response.body),
            // It does not know its own task any more.
            Ok(CallResponse {
                answer: Answer::Refused { .. },
                ..
            })
            | Err(CallError::NotSent(_)) => Err(NoAnswer::Crashed),
            Ok(_) => Err(NoAnswer::Malformed),
            Err(CallError::OutcomeUnknown(lost)) => Err(why(&lost)),
        }
    }

    /// Tells the upstream that nobody waits for its task. What it answers changes nothing.
    async fn cancel(&self, task: &Task<'_>) {
        if let Ok(parameters) = task.parameters(&[]) {
            let request = task.request("tasks/cancel", parameters, CANCELLING);
            drop(self.upstream.call(request).await);
        }
    }
}

impl Task<'_> {
    fn request(&self, method: &'static str, parameters: Json, timeout: Duration) -> CallRequest {
        CallRequest {
            asked: Asked::Method {
                name: method,
                named: Some(self.id.clone()),
            },
            arguments: parameters,
            answers: None,
            timeout,
            progress: Progress::Unwanted,
            headers: Vec::new(),
            ears: None,
            ..self.following.request.clone()
        }
    }

    /// Parameters that name it, with answers, if there are any.
    fn parameters(&self, answers: &[(String, Bytes)]) -> Result<Json, NoAnswer> {
        let mut out = b"{\"taskId\":".to_vec();
        write_string(&self.id, &mut out);
        if !answers.is_empty() {
            out.extend_from_slice(b",\"inputResponses\":{");
            for (n, (name, answer)) in answers.iter().enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                write_string(name, &mut out);
                out.push(b':');
                out.extend_from_slice(answer);
            }
            out.push(b'}');
        }
        out.push(b'}');
        let limits = Limits::of_bytes(out.len());
        Json::parse(Bytes::from(out), &limits).map_err(|_| NoAnswer::Malformed)
    }

    /// Answers that came since. An error of the client answers nothing; the upstream could only ask again.
    fn answers(&mut self) -> Result<Vec<(String, Bytes)>, NoAnswer> {
        let mut answers = Vec::new();
        let mut open = Vec::new();
        for (name, mut answered) in std::mem::take(&mut self.open) {
            match answered.try_recv() {
                Ok(Reply::Result(object)) => {
                    self.said
                        .keep(&object)
                        .map_err(|Full| NoAnswer::Malformed)?;
                    answers.push((name, object));
                }
                Err(TryRecvError::Empty) => open.push((name, answered)),
                Ok(Reply::Error(_)) | Err(TryRecvError::Closed) => return Err(NoAnswer::Malformed),
            }
        }
        self.open = open;
        Ok(answers)
    }
}

async fn wait(pause: Duration, end: Instant, client: &mut Client) -> Result<(), NoAnswer> {
    let until = Instant::now()
        .checked_add(pause)
        .map_or(end, |u| u.min(end));
    tokio::select! {
        biased;
        cause = client.given_up() => return Err(cause),
        () = tokio::time::sleep_until(until) => {}
    }
    match Instant::now() < end {
        true => Ok(()),
        false => Err(NoAnswer::Timeout),
    }
}

/// The name of a task, and the pause before it is asked after.
fn named(created: &Bytes) -> Option<(String, Duration)> {
    let document = scan(created, &Limits::of_bytes(created.len())).ok()?;
    let id = text(&document, "taskId")?;
    let fits = !id.is_empty() && id.len() <= MAX_ID_BYTES && !id.chars().any(char::is_control);
    let known = [
        "working",
        "input_required",
        "completed",
        "failed",
        "cancelled",
    ];
    let status = text(&document, "status")?;
    (fits && known.contains(&status.as_str())).then_some((id, pause(&document)?))
}

impl Standing {
    /// Reads how the task `id` stands; `None` if it is another's standing, or none.
    fn of(body: &Bytes, id: &str) -> Option<Self> {
        let document = scan(body, &Limits::of_bytes(body.len())).ok()?;
        if text(&document, "taskId")? != id {
            return None;
        }
        let status = match text(&document, "status")?.as_str() {
            "working" => Status::Working,
            "input_required" => Status::Asks(inside(body)?),
            "completed" => {
                let (answer, result) = result(body, &document)?;
                Status::Over(answer, result)
            }
            "failed" => {
                let (answer, error) = error(body, &document)?;
                Status::Over(answer, error)
            }
            "cancelled" => Status::Cancelled,
            _ => return None,
        };
        Some(Self {
            pause: pause(&document)?,
            status,
        })
    }
}

/// The result of a task, as strictly read as one that comes at once.
fn result(body: &Bytes, document: &Document<'_>) -> Option<(Answer, Bytes)> {
    let result = document
        .member("result")
        .filter(|r| r.kind == Kind::Object)?;
    let complete = document
        .inner("result", "resultType")
        .is_none_or(|t| t.text == "\"complete\"");
    let answer = match document.inner("result", "isError").map(|e| e.kind) {
        None | Some(Kind::False) => Answer::Complete,
        Some(Kind::True) => Answer::ToolError,
        Some(Kind::Object | Kind::Array | Kind::String | Kind::Number | Kind::Null) => return None,
    };
    complete.then(|| (answer, body.slice(result.range)))
}

fn error(body: &Bytes, document: &Document<'_>) -> Option<(Answer, Bytes)> {
    let error = document
        .member("error")
        .filter(|e| e.kind == Kind::Object)?;
    let code = document
        .inner("error", "code")
        .filter(|c| c.kind == Kind::Number)?;
    let code = code.text.parse().ok()?;
    document
        .inner("error", "message")
        .filter(|m| m.kind == Kind::String)?;
    Some((Answer::Refused { code }, body.slice(error.range)))
}

fn pause(document: &Document<'_>) -> Option<Duration> {
    let (shortest, longest) = PAUSES;
    let pause = match document.member("pollIntervalMs") {
        None => PAUSE,
        Some(said) => Duration::from_millis(said.text.parse().ok()?),
    };
    Some(pause.clamp(shortest, longest))
}

fn text(document: &Document<'_>, name: &str) -> Option<String> {
    serde_json::from_str(document.member(name)?.text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(json: &str) -> Option<Standing> {
        Standing::of(&Bytes::copy_from_slice(json.as_bytes()), "t")
    }

    fn of(rest: &str) -> Option<Standing> {
        standing(&format!(r#"{{"taskId":"t",{rest}}}"#))
    }

    #[test]
    fn the_result_of_a_task_is_the_bytes_that_its_server_wrote() {
        let found = of(r#""status":"completed","result":{ "content":[], "x":1.50 }"#).unwrap();
        let Status::Over(Answer::Complete, result) = found.status else {
            panic!("not over");
        };
        assert_eq!(result, r#"{ "content":[], "x":1.50 }"#);
        let failed = of(r#""status":"failed","error":{"code":-5,"message":"m","data":1}"#).unwrap();
        let Status::Over(Answer::Refused { code: -5 }, error) = failed.status else {
            panic!("not failed");
        };
        assert_eq!(error, r#"{"code":-5,"message":"m","data":1}"#);
        let tool = of(r#""status":"completed","result":{"isError":true}"#).unwrap();
        assert!(matches!(tool.status, Status::Over(Answer::ToolError, _)));
    }

    #[test]
    fn what_is_no_standing_of_this_task_is_none() {
        for json in [
            r#"{"taskId":"other","status":"working"}"#,
            r#"{"status":"working"}"#,
            r#"{"taskId":1,"status":"working"}"#,
            r#"{"taskId":"t"}"#,
            r#"{"taskId":"t","status":"Working"}"#,
            r#"{"taskId":"t","status":"done"}"#,
            r#"{"taskId":"t","status":["working"]}"#,
            r#"{"taskId":"t","status":"working","status":"completed"}"#,
            r#"{"taskId":"t","status":"working","pollIntervalMs":"5"}"#,
            r#"{"taskId":"t","status":"working","pollIntervalMs":-1}"#,
            r#"{"taskId":"t","status":"completed"}"#,
            r#"{"taskId":"t","status":"completed","result":[]}"#,
            r#"{"taskId":"t","status":"completed","result":{"isError":"no"}}"#,
            r#"{"taskId":"t","status":"completed","result":{"resultType":"task"}}"#,
            r#"{"taskId":"t","status":"completed","result":{"resultType":"input_required"}}"#,
            r#"{"taskId":"t","status":"failed"}"#,
            r#"{"taskId":"t","status":"failed","error":{"code":1.5,"message":"m"}}"#,
            r#"{"taskId":"t","status":"failed","error":{"code":1}}"#,
            r#"{"taskId":"t","status":"input_required","inputRequests":{"a":{"method":"tools/call"}}}"#,
            r#"{"taskId":"t","status":"input_required","inputRequests":{"a":1}}"#,
        ] {
            assert!(standing(json).is_none(), "{json}");
        }
    }

    #[test]
    fn a_server_is_asked_neither_all_the_time_nor_never() {
        for (said, expected) in [
            (r#""pollIntervalMs":0,"#, PAUSES.0),
            (r#""pollIntervalMs":250,"#, Duration::from_millis(250)),
            (r#""pollIntervalMs":18446744073709551615,"#, PAUSES.1),
            ("", PAUSE),
        ] {
            let found = of(&format!(r#"{said}"status":"working""#)).unwrap();
            assert_eq!(found.pause, expected);
        }
    }

    #[test]
    fn a_task_has_a_name_and_a_status_from_its_beginning() {
        let created = |json: &str| named(&Bytes::copy_from_slice(json.as_bytes()));
        assert!(created(r#"{"taskId":"t","status":"working","ttlMs":null}"#).is_some());
        let long = format!(r#"{{"taskId":"{}","status":"working"}}"#, "t".repeat(257));
        for json in [
            r#"{"taskId":"","status":"working"}"#,
            r#"{"taskId":"a\nb","status":"working"}"#,
            r#"{"taskId":"t"}"#,
            r#"{"taskId":"t","status":"new"}"#,
            r#"{"task":{"taskId":"t","status":"working"}}"#,
            long.as_str(),
        ] {
            assert!(created(json).is_none(), "{json}");
        }
    }

    #[test]
    fn what_is_said_about_a_task_is_bounded() {
        let mut said = Said::default();
        let large = Bytes::from(vec![b'x'; Bounds::STANDARD.interim_bytes]);
        assert!(said.keep(&large).is_ok());
        assert!(said.keep(&Bytes::from_static(b"x")).is_err());
    }

    #[test]
    fn what_is_said_beside_the_answers_about_a_task_leaves_room_for_its_questions() {
        let mut said = Said::default();
        let most = Bounds::STANDARD.interim_messages;
        said.beside(&vec![Bytes::from_static(b"{}"); most]);
        assert_eq!(said.messages.len(), most / 2);
        let standing = Bytes::from_static(b"1");
        said.note(&standing);
        said.note(&standing);
        assert_eq!(said.messages.len(), most / 2 + 1);
    }
}
