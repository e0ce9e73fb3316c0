//! `countersign bridge`: an MCP server over stdio for any client, whose every message goes to a gateway as a signed
//! request.
//!
//! | module | what it does |
//! |---|---|
//! | [`lines`] | lines of standard input and output, bounded |
//! | [`message`] | what has to be known of a message: its kind, id, method and era |
//! | [`way`] | connections to the gateway, appraised, and requests over them, signed |
//! | [`relay`] | what becomes of each message and of each answer |
//!
//! In: lines of JSON from a client that knows nothing of gateways. Out: the same lines to the gateway, and what it
//! answers, unchanged but for line breaks between tokens. Both eras of MCP pass; the bridge has no opinion of what a
//! message asks for. What cannot be passed on is told to the client as a JSON-RPC error of the message's own id.
//! It relies on [`crate::transport`] for who is at the other end: over TLS the gateway's evidence is appraised on each
//! connection before a message goes over it (PLAT-8).

mod lines;
mod message;
mod relay;
mod way;

pub use way::{Trusting, Way, WayError};

use relay::Relay;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Longest wait for the client to read what was said last.
const LAST_LINES: Duration = Duration::from_secs(5);

/// Relays between standard input and output and the gateway, until the client has nothing more to say.
///
/// # Errors
/// If signals cannot be heard.
pub async fn run(way: Way) -> anyhow::Result<()> {
    let (out, written) = lines::output();
    let relay = Relay::new(Arc::new(way), out);
    let mut input = lines::input();
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    tokio::select! {
        () = relay.take_all(&mut input) => (),
        _ = term.recv() => (),
        _ = int.recv() => (),
    }
    relay.end().await;
    drop(relay);
    // What was said last is out before the program ends, unless nobody reads it.
    let _all = tokio::time::timeout(LAST_LINES, written).await;
    Ok(())
}
