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
//! Start reading at [`Upstream`]. [`strict_json`] and the descriptor digest are pure.

mod breaker;
mod call;
mod descriptor;
mod frame;
mod http;
mod sse;
mod stdio;
pub mod strict_json;
mod upstream;

pub use call::{
    Answer, Bounds, CallError, CallRequest, CallResponse, Effect, Interim, ListError, Lost,
    NotSent, StartError,
};
pub use descriptor::{
    DIGESTED_MEMBERS, DescriptorDigest, DescriptorError, MAX_DESCRIPTOR_BYTES, MAX_TOOL_NAME_BYTES,
    RawTool, descriptor_digest,
};
pub use frame::{Era, FrameError, LEGACY_VERSIONS, MODERN_VERSION, Progress};
pub use http::{EndpointError, HttpSettings};
pub use stdio::StdioSettings;
pub use upstream::{EraChoice, Health, State, Transport, Upstream, UpstreamSettings};
