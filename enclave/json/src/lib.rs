//! # countersign-json: JSON as bytes
//!
//! One strict reader for both sides of the gateway: what clients send, what upstreams
//! answer, and the tool descriptors that a bundle pins. It works on the bytes that arrived and
//! never writes them anew, so what is authorized, recorded and forwarded is the same.
//!
//! **May know:** bytes. **Must never know:** sockets, clocks, policy.
//!
//! **Start reading** at [`strict`]; [`descriptor`] and [`differences`] are its applications here.

pub mod descriptor;
pub mod differences;
pub mod mirrored;
pub mod strict;
pub mod texts;

pub use strict::{
    Document, Json, Kind, Limits, Lines, MAX_DEPTH, ScanError, Value, canonical, scan, write_string,
};
