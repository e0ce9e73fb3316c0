//! Answers as bytes: results as the upstream wrote them, with our members added.

use super::approval::Page;
use crate::calls::{Audit, Outcome, Reply, Timings};
use crate::doors::calls::{audit_json, timing_json};
use crate::doors::{Refusing, json, status_of};
use crate::talk::tasks::{Ending, How, State, View};
use crate::upstreams::ResultKind;
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use countersign_gateway::mcp::{APPROVAL_STATE, Era, META_DECISION, META_REFUSAL, META_TIMING};
use countersign_gateway::refusal::{Code, Refusal, Told};
use countersign_json::{Document, Kind, Limits, scan};
use countersign_policies::site::method::Method;
use countersign_record::digest::UnixMillis;
use countersign_record::time;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// JSON-RPC error codes. SPEC: JSON-RPC 2.0 §5.1; MCP 2026-07-28, basic, "Error Codes".
pub(super) const METHOD_NOT_FOUND: i64 = -32601;
pub(super) const INVALID_REQUEST: i64 = -32600;
pub(super) const INVALID_PARAMS: i64 = -32602;
pub(super) const HEADER_MISMATCH: i64 = -32020;
pub(super) const MISSING_CAPABILITY: i64 = -32021;
pub(super) const UNSUPPORTED_VERSION: i64 = -32022;
/// A page has to be opened first. SPEC: MCP 2025-11-25, "Elicitation".
const URL_NEEDED: i64 = -32042;
/// A refusal of what is no tool. SPEC: JSON-RPC 2.0 §5.1, server errors.
pub(super) const REFUSED: i64 = -32000;

/// The JSON-RPC message that answers a call, and the status that it has when it is all of the answer.
pub(super) fn of_call(reply: Reply, id: &str, method: Method, era: Era) -> (StatusCode, String) {
    let status = match (&reply.outcome, era) {
        (Outcome::Result(error, ResultKind::ProtocolError), Era::Stateless) => status_for(error),
        (Outcome::Refused(told), Era::Stateless)
            if told.code == Code::UnknownCapability && method != Method::CallTool =>
        {
            StatusCode::NOT_FOUND
        }
        (Outcome::Result(..) | Outcome::Refused(_), _) => StatusCode::OK,
    };
    (status, message_of(reply, id, method, era))
}

/// The status that belongs to an upstream's error. SPEC: 2026-07-28, Streamable HTTP.
fn status_for(error: &[u8]) -> StatusCode {
    let code = serde_json::from_slice::<Value>(error)
        .ok()
        .and_then(|e| e.get("code")?.as_i64());
    match code {
        Some(HEADER_MISMATCH | MISSING_CAPABILITY | UNSUPPORTED_VERSION) => StatusCode::BAD_REQUEST,
        Some(METHOD_NOT_FOUND) => StatusCode::NOT_FOUND,
        Some(_) | None => StatusCode::OK,
    }
}

/// The answer to a call that waits for people, for a client that opens addresses for its user.
///
/// SPEC: 2026-07-28, "Elicitation", URL mode, inside a result; 2025-11-25, `URLElicitationRequiredError`.
pub(super) fn halted(reply: Reply, id: &str, era: Era, page: Page) -> String {
    let Reply {
        outcome,
        audit,
        timings,
    } = reply;
    let mut ours = ours(audit.as_ref(), timings);
    if let Outcome::Refused(told) = &outcome {
        ours = with_refusal(ours, told);
    }
    let Page {
        url,
        action,
        sentence,
    } = page;
    let params = json!({ "mode": "url", "url": url, "message": sentence });
    match era {
        Era::Stateless => {
            let result = json!({
                "resultType": "input_required",
                "inputRequests": { "approval": { "method": "elicitation/create", "params": params } },
                "requestState": format!("{APPROVAL_STATE}{action}"),
                "_meta": ours,
            });
            message(id, "result", &result.to_string())
        }
        Era::Initialize => {
            let mut asked = params;
            if let Value::Object(members) = &mut asked {
                members.insert("elicitationId".to_owned(), json!(action.to_string()));
            }
            let error = json!({
                "code": URL_NEEDED,
                "message": sentence,
                "data": { "elicitations": [asked], "_meta": ours },
            });
            message(id, "error", &error.to_string())
        }
    }
}

/// The answer to a call whose upstream asks, and waits. SPEC: 2026-07-28, "Multi Round-Trip Requests".
pub(super) fn asks(id: &str, state: &str, questions: &BTreeMap<String, Bytes>) -> String {
    let asked = object(questions.iter());
    let result = format!(
        "{{\"resultType\":\"input_required\",\"inputRequests\":{asked},\"requestState\":{}}}",
        json!(state)
    );
    message(id, "result", &result)
}

/// The answer to a call of which nothing more can be said.
pub(super) fn failure(id: &str, sentence: &str) -> String {
    let error = json!({ "code": REFUSED, "message": sentence });
    message(id, "error", &error.to_string())
}

/// Members whose values are JSON already, as an object.
fn object<'m>(members: impl Iterator<Item = (&'m String, &'m Bytes)>) -> String {
    let all =
        members.map(|(name, value)| format!("{}:{}", json!(name), String::from_utf8_lossy(value)));
    format!("{{{}}}", all.collect::<Vec<_>>().join(","))
}

/// The answer to a call for which there is a task now. SPEC: extension `io.modelcontextprotocol/tasks`, "Task Creation".
pub(super) fn task(id: &str, view: &View, reply: Option<&Reply>) -> String {
    let ours = reply.map(|reply| {
        let ours = ours(reply.audit.as_ref(), reply.timings);
        match &reply.outcome {
            Outcome::Refused(told) => with_refusal(ours, told),
            Outcome::Result(..) => ours,
        }
    });
    let mut task = head(view, "task");
    if let Some(ours) = ours {
        task.insert("_meta".to_owned(), ours);
    }
    message(id, "result", &Value::Object(task).to_string())
}

/// A task with all that belongs to its status. SPEC: extension `io.modelcontextprotocol/tasks`, "Task Polling".
pub(super) fn detailed(view: &View) -> String {
    let head = Value::Object(head(view, "complete")).to_string();
    let mut out = head.strip_suffix('}').unwrap_or(&head).to_owned();
    let mut put = |name: &str, json: &str| out.push_str(&format!(",\"{name}\":{json}"));
    match &view.state {
        State::Waits(..) | State::Runs => {}
        State::Asks(questions) => {
            let asked = object(questions.iter().map(|(name, question)| (name, question)));
            put("inputRequests", &asked);
        }
        State::Over(ending) => {
            match ending.how {
                How::Completed => put("result", &String::from_utf8_lossy(&ending.object)),
                How::Failed => put("error", &String::from_utf8_lossy(&ending.object)),
                How::Cancelled => {}
            }
            if let Some(meta) = &ending.meta {
                put("_meta", meta);
            }
        }
    }
    out.push('}');
    out
}

fn head(view: &View, result_type: &str) -> serde_json::Map<String, Value> {
    let (status, sentence) = match &view.state {
        State::Waits(..) => ("working", Some(super::tasks::WAITS)),
        State::Runs => ("working", None),
        State::Asks(_) => ("input_required", None),
        State::Over(ending) => {
            let status = match ending.how {
                How::Completed => "completed",
                How::Failed => "failed",
                How::Cancelled => "cancelled",
            };
            (status, ending.sentence.as_deref())
        }
    };
    let mut head = serde_json::Map::new();
    let mut put = |name: &str, value| drop(head.insert(name.to_owned(), value));
    put("resultType", json!(result_type));
    put("taskId", json!(view.id));
    put("status", json!(status));
    put("createdAt", json!(iso(view.created)));
    put("lastUpdatedAt", json!(iso(view.updated)));
    put("ttlMs", json!(view.ttl));
    put("pollIntervalMs", json!(view.poll));
    if let Some(sentence) = sentence {
        put("statusMessage", json!(sentence));
    }
    head
}

/// SPEC: ISO 8601.
fn iso(at: UnixMillis) -> String {
    time::format(at).replacen(' ', "T", 1)
}

/// How a task ends whose call ended so.
pub(super) fn ending(reply: Reply) -> Ending {
    let Reply {
        outcome,
        audit,
        timings,
    } = reply;
    let ours = ours(audit.as_ref(), timings);
    match outcome {
        Outcome::Result(bytes, ResultKind::ToolResult) => Ending {
            how: How::Completed,
            object: Bytes::from(with_ours(&bytes, &ours, Method::CallTool, Era::Stateless)),
            meta: None,
            sentence: None,
        },
        Outcome::Result(bytes, ResultKind::ProtocolError) => Ending {
            how: How::Failed,
            object: bytes,
            meta: Some(ours.to_string()),
            sentence: Some("The tool's server answered with an error.".to_owned()),
        },
        Outcome::Refused(told) => {
            let ours = with_refusal(ours, &told);
            Ending {
                how: How::Failed,
                object: Bytes::from(refused(&told, &ours).to_string()),
                meta: Some(ours.to_string()),
                sentence: Some(told.message.clone()),
            }
        }
    }
}

fn message_of(reply: Reply, id: &str, method: Method, era: Era) -> String {
    let Reply {
        outcome,
        audit,
        timings,
    } = reply;
    let ours = ours(audit.as_ref(), timings);
    match outcome {
        Outcome::Result(bytes, ResultKind::ToolResult) => {
            let has_to_be_empty = era == Era::Initialize && method.needs_session();
            match has_to_be_empty {
                true => message(id, "result", &String::from_utf8_lossy(&bytes)),
                false => message(id, "result", &with_ours(&bytes, &ours, method, era)),
            }
        }
        Outcome::Result(bytes, ResultKind::ProtocolError) => {
            message(id, "error", &String::from_utf8_lossy(&bytes))
        }
        Outcome::Refused(told) => {
            let ours = with_refusal(ours, &told);
            match method == Method::CallTool {
                true => message(id, "result", &refused_tool(&told, &ours).to_string()),
                false => message(id, "error", &refused(&told, &ours).to_string()),
            }
        }
    }
}

/// What an answer says of its record and its time.
fn ours(audit: Option<&Audit>, timings: Timings) -> Value {
    let decision = audit.map_or(Value::Null, audit_json);
    json!({ META_DECISION: decision, META_TIMING: timing_json(timings) })
}

fn with_refusal(mut ours: Value, told: &Told) -> Value {
    if let Value::Object(members) = &mut ours {
        members.insert(META_REFUSAL.to_owned(), told.to_json());
    }
    ours
}

/// A refused tool is a result that a model reads. Nothing of it is structured content: clients hold that against the
/// tool's own schema, also where it says that it is an error.
fn refused_tool(told: &Told, ours: &Value) -> Value {
    json!({
        "isError": true,
        "resultType": "complete",
        "content": [{ "type": "text", "text": told.message }],
        "_meta": ours,
    })
}

/// What is no tool has no result that could say that it was refused.
fn refused(told: &Told, ours: &Value) -> Value {
    let code = if told.code == Code::UnknownCapability {
        METHOD_NOT_FOUND
    } else {
        REFUSED
    };
    json!({ "code": code, "message": told.message, "data": { "_meta": ours } })
}

/// Adds our entries to the result's `_meta`, and what the revision of the client needs where the upstream speaks
/// another; every other byte of the result stays as it came.
fn with_ours(result: &[u8], ours: &Value, method: Method, era: Era) -> String {
    let read = (
        scan(result, &Limits::of_bytes(result.len())),
        std::str::from_utf8(result),
    );
    let (Ok(document), Ok(text)) = read else {
        return String::from_utf8_lossy(result).into_owned();
    };
    let object = ours.to_string();
    // The members of an object that is never empty, without its braces; the last member may end with one, too.
    let entry = object
        .strip_prefix('{')
        .and_then(|o| o.strip_suffix('}'))
        .unwrap_or_default();
    let mut members = needed(&document, method, era);
    let mut insertions: Vec<(usize, String)> = Vec::new();
    match document.member("_meta") {
        Some(meta) if meta.kind == Kind::Object => {
            let at = meta.range.start.saturating_add(1);
            insertions.push((at, before(entry, meta.text)));
        }
        Some(_) => {}
        None => members.push(format!("\"_meta\":{{{entry}}}")),
    }
    if !members.is_empty() {
        let at = document.root().range.start.saturating_add(1);
        insertions.push((at, before(&members.join(","), document.root().text)));
    }
    insertions.sort_by_key(|(at, _)| *at);
    let mut pieces = Vec::with_capacity(5);
    let mut from = 0;
    for (at, inserted) in &insertions {
        pieces.extend([text.get(from..*at).unwrap_or_default(), inserted]);
        from = *at;
    }
    pieces.push(text.get(from..).unwrap_or_default());
    pieces.concat()
}

/// New members in front of those of an object.
fn before(members: &str, object: &str) -> String {
    let mut inside = object.bytes().filter(|b| !b.is_ascii_whitespace());
    // More than its braces.
    match inside.nth(2).is_some() {
        true => format!("{members},"),
        false => members.to_owned(),
    }
}

/// SPEC: 2026-07-28: every result has a `resultType`, and what can be cached says for how long and for whom.
fn needed(document: &Document<'_>, method: Method, era: Era) -> Vec<String> {
    if era == Era::Initialize {
        return Vec::new();
    }
    let mut needed = vec![("resultType", "\"complete\"")];
    match method {
        Method::ListResources
        | Method::ListTemplates
        | Method::ReadResource
        | Method::ListPrompts => {
            needed.extend([("ttlMs", "0"), ("cacheScope", "\"private\"")]);
        }
        Method::CallTool
        | Method::Subscribe
        | Method::Unsubscribe
        | Method::GetPrompt
        | Method::Complete
        | Method::SetLevel => {}
    }
    needed
        .into_iter()
        .filter(|(name, _)| document.member(name).is_none())
        .map(|(name, value)| format!("\"{name}\":{value}"))
        .collect()
}

fn message(id: &str, member: &str, object: &str) -> String {
    // A result of any size is copied once.
    let begun = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"{member}\":");
    [&begun, object, "}"].concat()
}

pub(super) fn unknown_caller(id: &str, refusal: &Refusal) -> Response {
    let (status, sentence) = (status_of(refusal.code()), refusal.code().sentence());
    let mut response = error(status, id, INVALID_REQUEST, sentence);
    let told = Refusing(refusal.clone());
    response.extensions_mut().insert(told);
    response
}

pub(super) fn result(id: &str, result: &str) -> Response {
    json(StatusCode::OK, message(id, "result", result).into_bytes())
}

pub(super) fn error(status: StatusCode, id: &str, code: i64, message: &str) -> Response {
    error_with(status, id, code, message, None)
}

pub(super) fn error_with(
    status: StatusCode,
    id: &str,
    code: i64,
    sentence: &str,
    data: Option<Value>,
) -> Response {
    let mut error = json!({ "code": code, "message": sentence });
    if let (Value::Object(members), Some(data)) = (&mut error, data) {
        members.insert("data".to_owned(), data);
    }
    json(
        status,
        message(id, "error", &error.to_string()).into_bytes(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours(result: &str, method: Method, era: Era) -> String {
        with_ours(result.as_bytes(), &json!({ "o": 1 }), method, era)
    }

    #[test]
    fn every_byte_of_a_result_stays_beside_what_is_added() {
        for (result, with) in [
            ("{}", r#"{"_meta":{"o":1}}"#),
            (r#"{ "a":1.50 }"#, r#"{"_meta":{"o":1}, "a":1.50 }"#),
            (r#"{"a":1,"_meta":{}}"#, r#"{"a":1,"_meta":{"o":1}}"#),
            (
                r#"{"a":1,"_meta":{"x":[]}}"#,
                r#"{"a":1,"_meta":{"o":1,"x":[]}}"#,
            ),
        ] {
            assert_eq!(ours(result, Method::CallTool, Era::Initialize), with);
        }
    }

    #[test]
    fn what_the_newer_revision_needs_is_added_where_it_is_absent() {
        for (result, with) in [
            (
                r#"{"a":1,"_meta":{"x":1},"b":2}"#,
                r#"{"resultType":"complete","a":1,"_meta":{"o":1,"x":1},"b":2}"#,
            ),
            (
                r#" {"_meta":{ }} "#,
                r#" {"resultType":"complete","_meta":{"o":1 }} "#,
            ),
        ] {
            assert_eq!(ours(result, Method::CallTool, Era::Stateless), with);
        }
        assert_eq!(
            ours(r#"{"a":1}"#, Method::CallTool, Era::Stateless),
            r#"{"resultType":"complete","_meta":{"o":1},"a":1}"#
        );
        assert_eq!(
            ours(
                r#"{"resultType":"input_required","_meta":{"x":1}}"#,
                Method::CallTool,
                Era::Stateless
            ),
            r#"{"resultType":"input_required","_meta":{"o":1,"x":1}}"#
        );
        assert_eq!(
            ours(
                r#"{"resources":[],"ttlMs":5}"#,
                Method::ListResources,
                Era::Stateless
            ),
            r#"{"resultType":"complete","cacheScope":"private","_meta":{"o":1},"resources":[],"ttlMs":5}"#
        );
    }
}
