//! What has to be known of a message to carry it: its kind, id, method and era.
//!
//! In: bytes of a client or a gateway. Out: a few words of it; the bytes stay as they are. The stateless era
//! (2026-07-28) repeats some of them in headers; the one before keeps a session.

use bytes::Bytes;
use countersign_json::descriptor::RawTool;
use serde::Deserialize;
use serde_json::value::RawValue;

/// A message, as far as it is looked at.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// What it is.
    pub(super) kind: Kind,
    /// The version that it names itself, in the stateless era.
    pub(super) version: Option<String>,
    /// What it is about: a tool, a prompt, a resource.
    pub(super) name: Option<String>,
    /// Its arguments, as they stand there.
    pub(super) arguments: Option<String>,
    /// The request that it cancels, its id as it stands there.
    pub(super) cancels: Option<String>,
    /// The version that an answer to `initialize` settles upon.
    pub(super) settled: Option<String>,
    /// Tools that an answer lists.
    pub(super) tools: Vec<RawTool>,
}

/// Kinds of messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// Wants an answer.
    Request {
        /// Its id, as it stands there.
        id: String,
        /// What is asked for.
        method: String,
    },
    /// Wants none.
    Notification {
        /// What it is about.
        method: String,
    },
    /// An answer.
    Response {
        /// Of the request with this id, as it stands there; `null` if nobody could tell.
        id: String,
    },
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    method: Option<String>,
    params: Option<&'a RawValue>,
    result: Option<&'a RawValue>,
    error: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
struct Params<'a> {
    name: Option<String>,
    uri: Option<String>,
    #[serde(rename = "taskId")]
    task: Option<String>,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
    #[serde(borrow, rename = "requestId")]
    request_id: Option<&'a RawValue>,
    #[serde(rename = "_meta")]
    meta: Option<Meta>,
}

#[derive(Deserialize, Default)]
struct Answered<'a> {
    #[serde(rename = "protocolVersion")]
    protocol_version: Option<String>,
    #[serde(borrow, default)]
    tools: Vec<&'a RawValue>,
}

/// What is of another shape is the gateway's to refuse.
fn read<'a, T: Deserialize<'a> + Default>(part: Option<&'a RawValue>) -> T {
    part.and_then(|p| serde_json::from_str(p.get()).ok())
        .unwrap_or_default()
}

#[derive(Deserialize)]
struct Meta {
    #[serde(rename = "io.modelcontextprotocol/protocolVersion")]
    version: Option<String>,
}

impl Message {
    /// Reads a message; `None` if it is none.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let head: Head<'_> = serde_json::from_slice(bytes).ok()?;
        let id = head.id.map(|id| id.get().to_owned());
        let kind = match (head.method, id) {
            (Some(method), Some(id)) => Kind::Request { id, method },
            (Some(method), None) => Kind::Notification { method },
            (None, id) if head.result.is_some() || head.error.is_some() => Kind::Response {
                id: id.unwrap_or_else(|| "null".to_owned()),
            },
            (None, _) => return None,
        };
        let about: Params<'_> = read(head.params);
        let answered: Answered<'_> = read(head.result);
        let tools = answered.tools.iter();
        let tools = tools.map(|t| RawTool::parse(Bytes::copy_from_slice(t.get().as_bytes())));
        Some(Self {
            kind,
            version: about.meta.and_then(|m| m.version),
            name: about.name.or(about.uri).or(about.task),
            arguments: about.arguments.map(|a| a.get().to_owned()),
            cancels: about.request_id.map(|id| id.get().to_owned()),
            settled: answered.protocol_version,
            tools: tools.filter_map(Result::ok).collect(),
        })
    }

    /// Whether it is an answer to the request with this id.
    pub(super) fn answers(&self, request: &str) -> bool {
        matches!(&self.kind, Kind::Response { id } if id == request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> Message {
        Message::read(text.as_bytes()).unwrap()
    }

    #[test]
    fn messages_are_told_apart_by_what_they_have() {
        let request = message(r#"{"jsonrpc":"2.0","id": "a\u0041" ,"method":"ping"}"#);
        let (id, method) = (r#""a\u0041""#.to_owned(), "ping".to_owned());
        assert_eq!(request.kind, Kind::Request { id, method });
        let told = message(r#"{"method":"notifications/cancelled","params":{"requestId":7}}"#);
        assert_eq!(told.cancels.as_deref(), Some("7"));
        assert!(message(r#"{"id":7,"result":{}}"#).answers("7"));
        assert!(message(r#"{"id":7,"error":{"code":1,"message":""}}"#).answers("7"));
        assert!(!message(r#"{"id":"7","result":{}}"#).answers("7"));
        assert!(message(r#"{"id":null,"error":{}}"#).answers("null"));
    }

    #[test]
    fn what_headers_repeat_is_found_in_the_body() {
        let call = message(
            r#"{"id":1,"method":"tools/call","params":{"name":"t","arguments":{"name":"x"},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","other":1}}}"#,
        );
        assert_eq!(call.version.as_deref(), Some("2026-07-28"));
        assert_eq!(call.name.as_deref(), Some("t"));
        assert_eq!(call.arguments.as_deref(), Some(r#"{"name":"x"}"#));
        let resource = message(r#"{"id":1,"method":"resources/read","params":{"uri":"a:b"}}"#);
        assert_eq!(resource.name.as_deref(), Some("a:b"));
        let task = message(r#"{"id":1,"method":"tasks/get","params":{"taskId":"t1"}}"#);
        assert_eq!(task.name.as_deref(), Some("t1"));
        let settled = message(r#"{"id":1,"result":{"protocolVersion":"2025-11-25"}}"#);
        assert_eq!(settled.settled.as_deref(), Some("2025-11-25"));
        let listed = message(r#"{"id":1,"result":{"tools":[{"name":"t","inputSchema":{}},{}]}}"#);
        assert_eq!(
            listed.tools.iter().map(RawTool::name).collect::<Vec<_>>(),
            ["t"]
        );
    }

    #[test]
    fn what_is_no_message_is_none() {
        for text in [
            "",
            "[]",
            "1",
            "{}",
            r#"{"id":1}"#,
            r#"{"id":1,"id":2,"method":"x"}"#,
            "[{}]",
        ] {
            assert_eq!(Message::read(text.as_bytes()), None, "{text}");
        }
    }
}
