//! JSON-RPC messages as bytes, outgoing and incoming.
//!
//! *Out:* a request is written by placing the caller's bytes between ours; they are neither
//! parsed into values nor written again. *In:* one strict scan tells what a message is and
//! where its result stands; the result is a slice of what arrived.
//!
//! Specification: MCP 2026-07-28 and 2025-11-25, "Messages". Pure.

use bytes::Bytes;

use crate::call::Reply;

use countersign_json::{Document, Json, Kind, Limits, ScanError, Value, scan, write_string};

/// The modern revision that is spoken: stateless, metadata in every request.
pub const MODERN_VERSION: &str = "2026-07-28";

/// Legacy revisions that are accepted, newest first; the first is the one offered.
pub const LEGACY_VERSIONS: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];

/// Longest method name and longest foreign request id, in bytes.
const MAX_NAME_BYTES: usize = 256;

/// Prefix of `_meta` keys that belong to the protocol.
pub(crate) const RESERVED_META: &str = "io.modelcontextprotocol/";

/// Which family of revisions an upstream speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Era {
    /// 2026-07-28: `server/discover`, no session.
    Modern,
    /// 2025-11-25 and before: `initialize`, a session.
    Legacy,
}

/// What is asked of an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Discover,
    Initialize,
    ListTools,
    /// What a committed call asks, by its name in MCP.
    Call(&'static str),
}

impl Method {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Discover => "server/discover",
            Self::Initialize => "initialize",
            Self::ListTools => "tools/list",
            Self::Call(name) => name,
        }
    }
}

/// A request before it has its id.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    /// Members of `params`, each name with its JSON text.
    pub(crate) params: &'a [(&'static str, &'a [u8])],
    /// Further members of `params`, as they are written, with commas between.
    pub(crate) members: &'a [u8],
    /// Further entries of `_meta`.
    pub(crate) meta: &'a [(String, Json)],
    pub(crate) progress: Progress,
    /// What the caller can do, an object as JSON text; told to upstreams without sessions.
    pub(crate) declared: &'a str,
    /// How much the caller wants to be told; told to upstreams without sessions.
    pub(crate) log_level: Option<&'a str>,
    pub(crate) era: Era,
}

/// What opens a stream of changes where there are no sessions, and what is wanted of it.
pub(crate) const LISTEN: &str = "subscriptions/listen";
/// SPEC: MCP 2026-07-28, "Subscriptions".
const EVERY_LIST: &[u8] =
    br#"{"toolsListChanged":true,"promptsListChanged":true,"resourcesListChanged":true}"#;

/// What is sent to hear of changed lists.
pub(crate) const LISTENING: Request<'static> = Request {
    method: Method::Call(LISTEN),
    params: &[("notifications", EVERY_LIST)],
    members: b"",
    meta: &[],
    progress: Progress::Unwanted,
    declared: NOTHING_DECLARED,
    log_level: None,
    era: Era::Modern,
};

/// Nothing that an upstream could ask for.
pub(crate) const NOTHING_DECLARED: &str = "{}";

/// Whether interim progress is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// A progress token of our own is sent; answers to it come with the response.
    Wanted,
    /// No token is sent.
    Unwanted,
}

impl Request<'_> {
    /// The message as one line without its line feed.
    pub(crate) fn write(&self, id: u64) -> Vec<u8> {
        let size: usize = self.params.iter().map(|(_, value)| value.len()).sum();
        let mut out = Vec::with_capacity(size.saturating_add(384));
        out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
        out.extend_from_slice(id.to_string().as_bytes());
        out.extend_from_slice(b",\"method\":\"");
        out.extend_from_slice(self.method.name().as_bytes());
        out.extend_from_slice(b"\",\"params\":{");
        let mut separator: &[u8] = b"";
        for (name, value) in self.params {
            out.extend_from_slice(separator);
            separator = b",";
            write_string(name, &mut out);
            out.push(b':');
            out.extend_from_slice(value);
        }
        if !self.members.is_empty() {
            out.extend_from_slice(separator);
            separator = b",";
            out.extend_from_slice(self.members);
        }
        self.write_meta(id, separator, &mut out);
        out.extend_from_slice(b"}}");
        out
    }

    fn write_meta(&self, id: u64, before: &[u8], out: &mut Vec<u8>) {
        if self.era == Era::Legacy && self.meta.is_empty() && self.progress == Progress::Unwanted {
            return;
        }
        out.extend_from_slice(before);
        out.extend_from_slice(b"\"_meta\":{");
        let mut separator: &[u8] = b"";
        if self.era == Era::Modern {
            out.extend_from_slice(MODERN_META.as_bytes());
            out.extend_from_slice(self.declared.as_bytes());
            if let Some(level) = self.log_level {
                out.extend_from_slice(b",\"io.modelcontextprotocol/logLevel\":");
                write_string(level, out);
            }
            separator = b",";
        }
        if self.progress == Progress::Wanted {
            out.extend_from_slice(separator);
            separator = b",";
            out.extend_from_slice(b"\"progressToken\":");
            out.extend_from_slice(id.to_string().as_bytes());
        }
        for (name, value) in self.meta {
            out.extend_from_slice(separator);
            separator = b",";
            write_string(name, out);
            out.push(b':');
            out.extend_from_slice(value.as_bytes());
        }
        out.push(b'}');
    }
}

/// SPEC: MCP 2026-07-28, basic/index "_meta". What the caller can do is written behind it.
const MODERN_META: &str = concat!(
    "\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\",",
    "\"io.modelcontextprotocol/clientInfo\":{\"name\":\"countersign\",\"version\":\"",
    env!("CARGO_PKG_VERSION"),
    "\"},",
    "\"io.modelcontextprotocol/clientCapabilities\":"
);

/// `clientInfo` of the legacy handshake.
pub(crate) const CLIENT_INFO: &str = concat!(
    "{\"name\":\"countersign\",\"version\":\"",
    env!("CARGO_PKG_VERSION"),
    "\"}"
);

/// The second half of the legacy handshake.
pub(crate) const INITIALIZED: &[u8] =
    b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}";

/// Tells the upstream that nobody waits any more.
pub(crate) fn cancelled(id: u64) -> Vec<u8> {
    format!("{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{{\"requestId\":{id},\"reason\":\"caller stopped waiting\"}}}}")
        .into_bytes()
}

/// The answer to a request that an upstream makes of us.
///
/// `ping` is answered; all else is refused, the three known ones by name, as a foreign name is
/// not repeated.
pub(crate) fn reply_to(id: &[u8], method: &str) -> Vec<u8> {
    let refused = match method {
        "ping" => None,
        "sampling/createMessage" => Some("sampling/createMessage is not offered"),
        "elicitation/create" => Some("elicitation/create is not offered"),
        "roots/list" => Some("roots/list is not offered"),
        _ => Some("method is not offered"),
    };
    let mut out = b"{\"jsonrpc\":\"2.0\",\"id\":".to_vec();
    out.extend_from_slice(id);
    match refused {
        None => out.extend_from_slice(b",\"result\":{}}"),
        Some(message) => {
            out.extend_from_slice(b",\"error\":{\"code\":-32601,\"message\":\"");
            out.extend_from_slice(message.as_bytes());
            out.extend_from_slice(b"\"}}");
        }
    }
    out
}

/// The caller's answer to a request of an upstream.
pub(crate) fn answer_to(id: &[u8], reply: &Reply) -> Vec<u8> {
    let (name, object): (&[u8], &Bytes) = match reply {
        Reply::Result(object) => (b"result", object),
        Reply::Error(object) => (b"error", object),
    };
    [
        b"{\"jsonrpc\":\"2.0\",\"id\":",
        id,
        b",\"",
        name,
        b"\":",
        object,
        b"}",
    ]
    .concat()
}

/// A message from an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// `id` is `None` when it cannot be one of ours (`null`, a string, not an integer).
    Response { id: Option<u64>, body: Body },
    /// A request of the upstream; `id` and `params` as they were written.
    Request {
        id: Bytes,
        method: String,
        params: Bytes,
        raw: Bytes,
    },
    /// `token` is the progress token when it can be one of ours.
    Notification {
        method: String,
        token: Option<u64>,
        params: Bytes,
        raw: Bytes,
    },
}

/// What a response says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body {
    Result {
        raw: Bytes,
        is_error: IsError,
        result_type: ResultType,
    },
    Error {
        raw: Bytes,
        code: i64,
    },
}

/// `isError` of a tool's result; absent counts as [`IsError::No`], as the protocol says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IsError {
    Yes,
    No,
}

/// `resultType`; absent counts as [`ResultType::Complete`], as the protocol says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResultType {
    Complete,
    InputRequired,
    Task,
    Unrecognised,
}

/// Why a message of an upstream was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Not strict JSON.
    #[error("not strict JSON: {0}")]
    NotJson(ScanError),
    /// Not an object; batches left the protocol in 2025-06-18.
    #[error("message is not an object")]
    NotAnObject,
    /// `jsonrpc` is absent or not `"2.0"`.
    #[error("jsonrpc is not \"2.0\"")]
    Version,
    /// Two answers in one.
    #[error("message has both result and error")]
    ResultAndError,
    /// Neither request, notification nor response.
    #[error("message has no method, result or error")]
    Nothing,
    /// A method beside a result or an error.
    #[error("message has a method and a result or error")]
    MethodAndAnswer,
    /// A response without an id.
    #[error("response has no id")]
    NoId,
    /// The id is neither string nor number, or too long.
    #[error("id is not a string or number of at most 256 bytes")]
    Id,
    /// The method is not a string, or too long.
    #[error("method is not a string of at most 256 bytes")]
    Method,
    /// The parameters are not an object.
    #[error("params is not an object")]
    Params,
    /// The result is not an object.
    #[error("result is not an object")]
    Result,
    /// The error is not an object with an integer code and a message.
    #[error("error is not an object with code and message")]
    Error,
    /// `isError` is not a boolean.
    #[error("isError is not a boolean")]
    IsError,
    /// `resultType` is not a string.
    #[error("resultType is not a string")]
    ResultType,
}

impl Incoming {
    /// Reads one message; slices of `frame` are kept, nothing is copied but names.
    pub(crate) fn parse(frame: &Bytes, limits: &Limits) -> Result<Self, FrameError> {
        let document = scan(frame, limits).map_err(FrameError::NotJson)?;
        if document.root().kind != Kind::Object {
            return Err(FrameError::NotAnObject);
        }
        if document
            .member("jsonrpc")
            .is_none_or(|version| version.text != "\"2.0\"")
        {
            return Err(FrameError::Version);
        }
        match (
            document.member("method"),
            document.member("result"),
            document.member("error"),
        ) {
            (None, Some(_), Some(_)) => Err(FrameError::ResultAndError),
            (Some(_), _, Some(_)) | (Some(_), Some(_), None) => Err(FrameError::MethodAndAnswer),
            (None, None, None) => Err(FrameError::Nothing),
            (Some(method), None, None) => question(frame, &document, &method),
            (None, Some(result), None) => Ok(Self::Response {
                id: answer_id(&document)?,
                body: success(frame, &document, &result)?,
            }),
            (None, None, Some(error)) => Ok(Self::Response {
                id: answer_id(&document)?,
                body: failure(frame, &document, &error)?,
            }),
        }
    }
}

fn question(
    frame: &Bytes,
    document: &Document<'_>,
    method: &Value<'_>,
) -> Result<Incoming, FrameError> {
    let method = short_string(method).ok_or(FrameError::Method)?;
    let params = match document.member("params") {
        Some(params) if params.kind == Kind::Object => frame.slice(params.range),
        None => Bytes::from_static(b"{}"),
        Some(_) => return Err(FrameError::Params),
    };
    let Some(id) = document.member("id") else {
        let token = document
            .inner("params", "progressToken")
            .and_then(|token| integer(&token));
        return Ok(Incoming::Notification {
            method,
            token,
            params,
            raw: frame.clone(),
        });
    };
    match id.kind {
        Kind::String | Kind::Number if id.text.len() <= MAX_NAME_BYTES => Ok(Incoming::Request {
            id: frame.slice(id.range),
            method,
            params,
            raw: frame.clone(),
        }),
        Kind::String
        | Kind::Number
        | Kind::Object
        | Kind::Array
        | Kind::True
        | Kind::False
        | Kind::Null => Err(FrameError::Id),
    }
}

fn answer_id(document: &Document<'_>) -> Result<Option<u64>, FrameError> {
    document
        .member("id")
        .map(|id| integer(&id))
        .ok_or(FrameError::NoId)
}

fn success(frame: &Bytes, document: &Document<'_>, result: &Value<'_>) -> Result<Body, FrameError> {
    if result.kind != Kind::Object {
        return Err(FrameError::Result);
    }
    let is_error = match document.inner("result", "isError").map(|value| value.kind) {
        None | Some(Kind::False) => IsError::No,
        Some(Kind::True) => IsError::Yes,
        Some(Kind::Object | Kind::Array | Kind::String | Kind::Number | Kind::Null) => {
            return Err(FrameError::IsError);
        }
    };
    let result_type = match document.inner("result", "resultType") {
        None => ResultType::Complete,
        Some(value) => match short_string(&value).ok_or(FrameError::ResultType)?.as_str() {
            "complete" => ResultType::Complete,
            "input_required" => ResultType::InputRequired,
            "task" => ResultType::Task,
            _ => ResultType::Unrecognised,
        },
    };
    Ok(Body::Result {
        raw: frame.slice(result.range.clone()),
        is_error,
        result_type,
    })
}

fn failure(frame: &Bytes, document: &Document<'_>, error: &Value<'_>) -> Result<Body, FrameError> {
    let code = document
        .inner("error", "code")
        .filter(|code| code.kind == Kind::Number)
        .and_then(|code| code.text.parse::<i64>().ok())
        .ok_or(FrameError::Error)?;
    document
        .inner("error", "message")
        .filter(|message| message.kind == Kind::String)
        .ok_or(FrameError::Error)?;
    Ok(Body::Error {
        raw: frame.slice(error.range.clone()),
        code,
    })
}

/// Only the spelling that we write ourselves: `1.0` and `"1"` are not the id 1.
fn integer(value: &Value<'_>) -> Option<u64> {
    if value.kind != Kind::Number {
        return None;
    }
    value
        .text
        .parse::<u64>()
        .ok()
        .filter(|number| number.to_string() == value.text)
}

fn short_string(value: &Value<'_>) -> Option<String> {
    if value.kind != Kind::String || value.text.len() > MAX_NAME_BYTES {
        return None;
    }
    serde_json::from_str(value.text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits::of_bytes(4096);

    fn read(text: &'static str) -> Result<Incoming, FrameError> {
        Incoming::parse(&Bytes::from_static(text.as_bytes()), &LIMITS)
    }

    #[test]
    fn arguments_stand_in_the_frame_byte_for_byte() {
        let arguments = br#"{ "n":1.0e+02,  "s":"\u0041/\/" ,"z":-0.0}"#;
        let frame = Request {
            method: Method::Call("tools/call"),
            params: &[("name", b"\"t\""), ("arguments", arguments)],
            members: b"",
            meta: &[],
            progress: Progress::Unwanted,
            declared: NOTHING_DECLARED,
            log_level: None,
            era: Era::Legacy,
        }
        .write(7);
        assert_eq!(
            String::from_utf8(frame).unwrap(),
            r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"t","arguments":{ "n":1.0e+02,  "s":"\u0041/\/" ,"z":-0.0}}}"#
        );
    }

    #[test]
    fn a_modern_frame_carries_version_capabilities_client_token_and_further_meta() {
        let meta = [(
            "traceparent".to_owned(),
            Json::parse(Bytes::from_static(b"\"00-1-2-01\""), &LIMITS).unwrap(),
        )];
        let frame = Request {
            method: Method::ListTools,
            params: &[],
            members: b"",
            meta: &meta,
            progress: Progress::Wanted,
            declared: r#"{"roots":{}}"#,
            log_level: Some("info"),
            era: Era::Modern,
        }
        .write(9);
        let document = scan(&frame, &LIMITS).unwrap();
        let meta = document.inner("params", "_meta").unwrap().text;
        let meta = scan(meta.as_bytes(), &LIMITS).unwrap();
        assert_eq!(
            meta.member("io.modelcontextprotocol/protocolVersion")
                .unwrap()
                .text,
            "\"2026-07-28\""
        );
        assert_eq!(
            meta.member("io.modelcontextprotocol/clientCapabilities")
                .unwrap()
                .text,
            r#"{"roots":{}}"#
        );
        assert_eq!(
            meta.member("io.modelcontextprotocol/clientInfo")
                .unwrap()
                .kind,
            Kind::Object
        );
        assert_eq!(meta.member("progressToken").unwrap().text, "9");
        assert_eq!(meta.member("traceparent").unwrap().text, "\"00-1-2-01\"");
    }

    #[test]
    fn a_result_is_kept_with_unknown_members_and_white_space() {
        let frame = read(r#"{"jsonrpc":"2.0","id":3,"result":{ "content":[], "x-unknown":1.50 }}"#)
            .unwrap();
        let raw = Bytes::from_static(br#"{ "content":[], "x-unknown":1.50 }"#);
        let body = Body::Result {
            raw,
            is_error: IsError::No,
            result_type: ResultType::Complete,
        };
        assert_eq!(frame, Incoming::Response { id: Some(3), body });
    }

    #[test]
    fn result_beside_error_is_refused() {
        let text = r#"{"jsonrpc":"2.0","id":3,"result":{},"error":{"code":1,"message":""}}"#;
        assert_eq!(read(text), Err(FrameError::ResultAndError));
    }

    #[test]
    fn a_result_given_twice_is_refused() {
        let text = r#"{"jsonrpc":"2.0","id":3,"result":{"isError":true},"result":{}}"#;
        assert!(matches!(
            read(text),
            Err(FrameError::NotJson(ScanError::DuplicateKey { .. }))
        ));
    }

    #[test]
    fn other_malformed_messages_are_refused_by_name() {
        for (text, error) in [
            ("[]", FrameError::NotAnObject),
            (r#"{"id":1,"result":{}}"#, FrameError::Version),
            (
                r#"{"jsonrpc":"1.0","id":1,"result":{}}"#,
                FrameError::Version,
            ),
            (r#"{"jsonrpc":"2.0","id":1}"#, FrameError::Nothing),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"x","result":{}}"#,
                FrameError::MethodAndAnswer,
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"x","error":{}}"#,
                FrameError::MethodAndAnswer,
            ),
            (r#"{"jsonrpc":"2.0","result":{}}"#, FrameError::NoId),
            (r#"{"jsonrpc":"2.0","id":[],"method":"x"}"#, FrameError::Id),
            (r#"{"jsonrpc":"2.0","id":1,"method":5}"#, FrameError::Method),
            (r#"{"jsonrpc":"2.0","id":1,"result":5}"#, FrameError::Result),
            (
                r#"{"jsonrpc":"2.0","id":1,"result":{"isError":"true"}}"#,
                FrameError::IsError,
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":1}}"#,
                FrameError::ResultType,
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"error":"no"}"#,
                FrameError::Error,
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"error":{"code":1.5,"message":""}}"#,
                FrameError::Error,
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"error":{"code":1}}"#,
                FrameError::Error,
            ),
        ] {
            assert_eq!(read(text), Err(error), "{text}");
        }
    }

    #[test]
    fn an_id_in_another_spelling_is_not_ours() {
        for id in ["1.0", "\"1\"", "null", "1e0", "-1"] {
            let text = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{}}}}");
            let frame = Incoming::parse(&Bytes::from(text), &LIMITS).unwrap();
            assert!(matches!(frame, Incoming::Response { id: None, .. }), "{id}");
        }
    }

    #[test]
    fn requests_of_a_server_are_refused_by_name_and_a_ping_is_answered() {
        let text = |method| String::from_utf8(reply_to(b"\"a\"", method)).unwrap();
        assert_eq!(text("ping"), r#"{"jsonrpc":"2.0","id":"a","result":{}}"#);
        for method in ["sampling/createMessage", "elicitation/create", "roots/list"] {
            assert!(
                text(method).contains(&format!("-32601,\"message\":\"{method} is not offered\""))
            );
        }
        assert!(!text("evil\"").contains("evil"));
    }
}
