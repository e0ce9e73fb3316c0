//! A call, its answer, and what is known of its effect when there is none.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::dial::{Barred, Trail};
use crate::frame::{FrameError, Progress, RESERVED_META};
use countersign_json::{Json, Kind, Lines};

/// One committed call.
#[derive(Debug, Clone)]
pub struct CallRequest {
    /// What is asked.
    pub asked: Asked,
    /// The arguments, an object; these bytes stand in the message unchanged.
    pub arguments: Json,
    /// Answers to questions of the upstream, an object; its members stand beside the arguments.
    pub answers: Option<Json>,
    /// Entries of `_meta` beside ours, such as `traceparent`. Keys of the protocol and
    /// `progressToken` are refused.
    pub meta: Vec<(String, Json)>,
    /// Longest wait, from this moment to the answer, a start of the upstream included.
    pub timeout: Duration,
    /// Whether to ask for progress messages.
    pub progress: Progress,
    /// What the caller can do, an object as JSON text; told with the call where there are no sessions.
    pub declared: Json,
    /// How much the caller wants to be told, for upstreams without sessions.
    pub log_level: Option<String>,
    /// Headers that repeat arguments, for upstreams without sessions.
    pub headers: Vec<(String, String)>,
    /// Who hears interim messages; kept for the response all the same.
    pub ears: Option<mpsc::Sender<Heard>>,
    /// Where the connections that it uses are remembered.
    pub trail: Trail,
}

/// What is asked of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// A tool, by its name there.
    Tool(String),
    /// Another method; the arguments are its parameters.
    Method {
        /// Its name in MCP.
        name: &'static str,
        /// What the header `Mcp-Name` says.
        named: Option<String>,
    },
}

impl Asked {
    /// Its name in MCP.
    pub(crate) const fn method(&self) -> &'static str {
        match self {
            Self::Tool(_) => "tools/call",
            Self::Method { name, .. } => name,
        }
    }

    /// What the header `Mcp-Name` says.
    pub(crate) fn named(&self) -> Option<&str> {
        match self {
            Self::Tool(name) => Some(name),
            Self::Method { named, .. } => named.as_deref(),
        }
    }
}

/// An interim message of a call.
#[derive(Debug)]
pub enum Heard {
    /// The upstream tells something.
    Notification {
        /// Its method.
        method: String,
        /// Its parameters, an object, as they arrived.
        params: Bytes,
    },
    /// The upstream asks something, and waits.
    Question {
        /// Its method.
        method: String,
        /// Its parameters, an object, as they arrived.
        params: Bytes,
        /// Where the answer goes; dropped, the question is refused.
        reply: oneshot::Sender<Reply>,
    },
}

/// The caller's answer to an upstream's question: an object, as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// A result.
    Result(Bytes),
    /// A JSON-RPC error.
    Error(Bytes),
}

impl CallRequest {
    /// What can be told before anything is started or sent.
    pub(crate) fn refuse_unfit(&self) -> Result<(), NotSent> {
        let objects = [
            Some(&self.arguments),
            self.answers.as_ref(),
            Some(&self.declared),
        ];
        if objects
            .into_iter()
            .flatten()
            .any(|o| o.kind() != Kind::Object)
        {
            return Err(NotSent::ArgumentsNotAnObject);
        }
        let mut names: Vec<&str> = self.meta.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        if names
            .windows(2)
            .any(|pair| matches!(pair, [first, second] if first == second))
        {
            return Err(NotSent::MetaTwice);
        }
        if names
            .iter()
            .any(|name| name.starts_with(RESERVED_META) || *name == "progressToken")
        {
            return Err(NotSent::MetaReserved);
        }
        Ok(())
    }

    /// A message on a line of its own cannot hold a line break.
    pub(crate) fn refuse_several_lines(&self) -> Result<(), NotSent> {
        let one = |json: &Json| json.lines() == Lines::One;
        if one(&self.arguments)
            && one(&self.declared)
            && self.answers.iter().all(one)
            && self.meta.iter().all(|(_, value)| one(value))
        {
            Ok(())
        } else {
            Err(NotSent::LineBreak)
        }
    }
}

/// What the upstream answered. There being one means that the call was dispatched and answered.
#[derive(Clone, PartialEq, Eq)]
pub struct CallResponse {
    /// What sort of answer.
    pub answer: Answer,
    /// The `result` object, or the `error` object of [`Answer::Refused`]; as it arrived.
    pub body: Bytes,
    /// Interim messages of this call.
    pub interim: Interim,
}

/// Without what the upstream said.
impl std::fmt::Debug for CallResponse {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "CallResponse({:?}, {} bytes, {:?})",
            self.answer,
            self.body.len(),
            self.interim
        )
    }
}

/// What sort of answer an upstream gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// A result.
    Complete,
    /// A result with `isError: true`: the tool ran and failed, or says that it did not run.
    ToolError,
    /// `resultType: "input_required"`: the tool wants more before it goes on.
    InputRequired,
    /// `resultType: "task"`: the result comes later, and is asked for by the task's name. Of upstreams without
    /// sessions; whether it was allowed is the caller's to say.
    Task,
    /// A `resultType` that nobody asked for.
    Unrecognised,
    /// A JSON-RPC error.
    Refused {
        /// Its code.
        code: i64,
    },
}

/// Raw interim messages, bounded.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Interim {
    messages: Vec<Bytes>,
    bytes: usize,
    dropped: u64,
}

/// Without what the upstream said.
impl std::fmt::Debug for Interim {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "Interim({} kept, {} dropped)",
            self.messages.len(),
            self.dropped
        )
    }
}

impl Interim {
    /// The messages that were kept, in order, as they arrived.
    #[must_use]
    pub fn messages(&self) -> &[Bytes] {
        &self.messages
    }

    /// How many were over the bounds and are lost.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether it is kept: what is not, nobody gets to hear.
    pub(crate) fn keep(&mut self, message: Bytes, bounds: &Bounds) -> Kept {
        let bytes = self.bytes.saturating_add(message.len());
        if self.messages.len() >= bounds.interim_messages || bytes > bounds.interim_bytes {
            self.dropped = self.dropped.saturating_add(1);
            Kept::No
        } else {
            self.bytes = bytes;
            self.messages.push(message);
            Kept::Yes
        }
    }
}

/// Whether an interim message is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    Yes,
    No,
}

/// What a call has done outside, as far as can be known here. The words of a record's `effect`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// No byte of it left.
    None,
    /// It was sent, and answered.
    Dispatched,
    /// Some byte of it left, and there is no usable answer. It must not be sent again.
    Unknown,
}

impl CallResponse {
    /// Always [`Effect::Dispatched`]; beside [`CallError::effect`].
    #[must_use]
    pub const fn effect(&self) -> Effect {
        Effect::Dispatched
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Nothing left this process: the call may be made again.
    #[error("not sent: {0}")]
    NotSent(NotSent),
    /// It left, whole or in part, and what became of it is not known.
    #[error("sent, outcome unknown: {0}")]
    OutcomeUnknown(Lost),
}

impl CallError {
    /// For the record.
    #[must_use]
    pub const fn effect(&self) -> Effect {
        match self {
            Self::NotSent(_) => Effect::None,
            Self::OutcomeUnknown(_) => Effect::Unknown,
        }
    }
}

/// Why nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    /// The arguments are not an object.
    #[error("arguments are not an object")]
    ArgumentsNotAnObject,
    /// An upstream over stdio takes one message a line, and the bytes may not be changed.
    #[error("arguments or meta hold a line break, which this upstream's transport cannot carry")]
    LineBreak,
    /// One `_meta` key twice.
    #[error("a meta key is given twice")]
    MetaTwice,
    /// A `_meta` key of the protocol.
    #[error("a meta key is reserved to the protocol")]
    MetaReserved,
    /// The message is over the limit.
    #[error("message is {found} bytes, limit is {limit}")]
    TooLarge {
        /// Its size in bytes.
        found: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// It failed a short while ago.
    #[error("upstream failed, next attempt in {} ms", retry_in.as_millis())]
    Pausing {
        /// The pause that is left.
        retry_in: Duration,
    },
    /// It did not come up.
    #[error("upstream did not start: {0}")]
    Start(StartError),
    /// It was closed by us.
    #[error("upstream is closed")]
    Closed,
    /// It failed before the message's turn came.
    #[error("upstream failed before the message was sent: {0}")]
    Failed(Lost),
    /// As many calls as allowed are under way.
    #[error("{limit} calls are under way")]
    Busy {
        /// The limit.
        limit: usize,
    },
    /// Time ran out before the message's turn came.
    #[error("time ran out before the message was sent")]
    TimedOut,
    /// No connection.
    #[error("no connection to the upstream")]
    Unreachable,
    /// A connection that may not be used.
    #[error("no connection to the upstream: {0}")]
    Barred(Barred),
}

/// What became of an upstream that had something to answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// No answer in time.
    #[error("no answer in time")]
    TimedOut,
    /// Its process ended, or it closed the connection.
    #[error("upstream ended")]
    Ended,
    /// Writing to it failed or took too long.
    #[error("upstream does not take messages")]
    WriteFailed,
    /// It began a message and did not end it in time.
    #[error("upstream began a message and did not end it in {} ms", limit.as_millis())]
    Dripping {
        /// The limit.
        limit: Duration,
    },
    /// It sent a message over the limit.
    #[error("upstream sent a message over {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// It sent a malformed message; nothing more is read from that connection.
    #[error("upstream sent a malformed message: {0}")]
    Malformed(FrameError),
    /// It sent too much that nobody asked for.
    #[error("upstream sent {limit} messages that nobody asked for")]
    Flooding {
        /// The limit.
        limit: u32,
    },
    /// It made a request on a stream that may hold none, or too many where some are allowed.
    #[error("upstream made a request where none is allowed")]
    ForeignRequest,
    /// Its answer to an HTTP request is not one of the protocol.
    #[error("upstream answered with http status {status} and no usable message")]
    HttpStatus {
        /// The status.
        status: u16,
    },
    /// It sent the request elsewhere. Nothing is followed: elsewhere is another destination, which nobody decided on.
    #[error(
        "upstream answered with http status {status}, which leads elsewhere; it is not followed"
    )]
    Redirected {
        /// The status.
        status: u16,
    },
    /// It no longer knows the session; the next call opens another.
    #[error("upstream ended the session")]
    SessionEnded,
    /// The body's type is neither JSON nor an event stream, or it is compressed.
    #[error("upstream answered with a content type that was not asked for")]
    ContentType,
    /// The response's id is not that of the request.
    #[error("upstream answered another request")]
    OtherId,
    /// The upstream was closed by us meanwhile.
    #[error("upstream was closed meanwhile")]
    Closed,
}

/// Why an upstream did not come up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The program could not be started.
    #[error("program could not be started: {kind}")]
    Spawn {
        /// What the system said.
        kind: std::io::ErrorKind,
    },
    /// The handshake was not sent.
    #[error("no connection to the upstream")]
    Unreachable,
    /// There is a connection that may not be used.
    #[error("{0}")]
    Barred(Barred),
    /// The program was not started, because its sandbox cannot be had.
    #[error("program was not started: {reason}")]
    Sandbox {
        /// Why, in the launcher's words.
        reason: String,
    },
    /// The handshake was not answered.
    #[error("handshake failed: {0}")]
    Handshake(Lost),
    /// The handshake was refused.
    #[error("handshake refused with code {code}")]
    Refused {
        /// JSON-RPC error code.
        code: i64,
    },
    /// The two have no revision in common.
    #[error("upstream speaks no revision that is spoken here")]
    NoCommonVersion,
    /// The answer to the handshake lacks what it must have.
    #[error("handshake was answered without a usable version or session id")]
    Answer,
    /// The start as a whole took too long, or was broken off.
    #[error("start was not complete in time")]
    TimedOut,
}

/// Why there is no listing of tools.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// A page was not answered.
    #[error("{0}")]
    Call(CallError),
    /// A page was refused.
    #[error("tools/list was refused with code {code}")]
    Refused {
        /// JSON-RPC error code.
        code: i64,
    },
    /// A page has no array `tools`, or a cursor that is not a string.
    #[error("page {page} of tools/list is malformed")]
    Page {
        /// Which page, from 1.
        page: usize,
    },
    /// More tools than the limit.
    #[error("more than {limit} tools")]
    TooManyTools {
        /// The limit.
        limit: usize,
    },
    /// More text than the limit.
    #[error("descriptors are over {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The pages do not end.
    #[error("more than {limit} pages")]
    TooManyPages {
        /// The limit.
        limit: usize,
    },
    /// A descriptor cannot be used.
    #[error("tool {position}: {error}")]
    Descriptor {
        /// Which tool, from 1.
        position: usize,
        /// What is wrong with it.
        error: countersign_json::descriptor::DescriptorError,
    },
    /// Two tools of one name: which would be called?
    #[error("tool {position} has the name of an earlier one")]
    NameTwice {
        /// Which tool, from 1.
        position: usize,
    },
}

/// What an upstream may cost. All limits are on; each can be made tighter or wider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Largest message in either direction, in bytes.
    pub frame_bytes: usize,
    /// Most interim messages kept for one call.
    pub interim_messages: usize,
    /// Most bytes of interim messages kept for one call.
    pub interim_bytes: usize,
    /// Most messages without a waiting request between two answers.
    pub unsolicited: u32,
    /// Most calls under way.
    pub calls: usize,
    /// Most tools in a listing.
    pub tools: usize,
    /// Most bytes of descriptors in a listing.
    pub listing_bytes: usize,
    /// Most pages of a listing.
    pub pages: usize,
    /// How long a silent upstream is given to answer `server/discover` before it counts as legacy.
    pub probe: Duration,
    /// Longest start, handshake included.
    pub start: Duration,
    /// Longest time from a message's first byte to its last.
    pub message: Duration,
    /// Longest write of one batch of messages.
    pub write: Duration,
    /// Longest listing of tools.
    pub listing: Duration,
    /// Pause after the first failure; doubled by each that follows.
    pub first_pause: Duration,
    /// Longest pause.
    pub longest_pause: Duration,
}

impl Bounds {
    /// 4 MiB a message, 256 calls under way, 1,000 interim messages of a call, 1,000 tools in 4 MiB; starts within 45 s, as a
    /// first run of a Python server may compile its libraries (assumed).
    pub const STANDARD: Self = Self {
        frame_bytes: 4 * 1024 * 1024,
        interim_messages: 1000,
        interim_bytes: 256 * 1024,
        unsolicited: 10_000,
        calls: 256,
        tools: 1000,
        listing_bytes: 4 * 1024 * 1024,
        pages: 100,
        probe: Duration::from_secs(10),
        start: Duration::from_secs(45),
        message: Duration::from_secs(30),
        write: Duration::from_secs(10),
        listing: Duration::from_secs(30),
        first_pause: Duration::from_millis(250),
        longest_pause: Duration::from_secs(30),
    };
}
