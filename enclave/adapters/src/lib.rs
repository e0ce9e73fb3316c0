//! Carrying out a committed call: MCP over stdio and HTTP.
//!
//! *In:* a tool's name and the argument bytes that were authorized. *Out:* the result bytes that
//! the upstream sent, or an error that says whether anything had left. Unknown members survive in
//! both directions, because nothing on the way is a typed structure.
//!
//! An upstream is hostile: each of its messages is bounded in size, depth, number and time, and
//! one that breaks the rules costs it the connection. This crate knows nothing of policy, records
//! or principals; it must never decide, retry a call that may have left, or log what a message
//! says.
//!
//! Start reading at [`Upstream`]. Reading JSON is `countersign_json`'s.

mod breaker;
mod call;
mod dial;
mod event;
mod frame;
mod http;
mod launcher;
mod sse;
mod stdio;
mod upstream;

pub use call::{
    Answer, Asked, Bounds, CallError, CallRequest, CallResponse, Effect, Heard, Interim, ListError,
    Lost, NotSent, Reply, StartError,
};
pub use dial::{
    Barred, Dial, DialError, Dialled, Dialling, Met, Network, Pass, Trail, Tunnels, Wire,
};
pub use event::Event;
pub use frame::{Era, FrameError, LEGACY_VERSIONS, MODERN_VERSION, Progress};
pub use http::{EndpointError, HttpSettings};
pub use launcher::Launcher;
pub use sse::{EventTooLarge, Events};
pub use stdio::StdioSettings;
pub use upstream::{EraChoice, Features, Health, State, Transport, Upstream, UpstreamSettings};
