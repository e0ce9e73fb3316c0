//! The upstreams of a site, and what their tools look like at this moment.
//!
//! In: adapters of the bundle. Out: calls carried out, and the digest of each tool's descriptor
//! as the upstream lists it now. A listing is read at the start and again every so often; a tool
//! that changed is refused from then on. One dead upstream never affects another.

use crate::telemetry::Onward;
use anyhow::Context as _;
use bytes::Bytes;
use countersign_adapters::{
    Answer, Bounds, CallError, CallRequest, CallResponse, EraChoice, HttpSettings, Lost, Progress,
    StdioSettings, Transport, Upstream, UpstreamSettings,
};
use countersign_gateway::execute::{Dispatch, NoAnswer, NotSent, Report, ToolError};
use countersign_gateway::surface::Observed;
use countersign_json::descriptor::descriptor_digest;
use countersign_json::{Json, Limits};
use countersign_policies::Content;
use countersign_policies::site::people;
use countersign_record::digest::ArtifactDigest;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// Time between two readings of a listing.
pub const LISTING_INTERVAL: Duration = Duration::from_secs(30);

/// Longest time that a call may take at an upstream.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// A tool as its upstream lists it.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The digest that a bundle pins.
    pub digest: ArtifactDigest,
    /// The descriptor, as it arrived.
    pub descriptor: Bytes,
}

type Listing = Arc<HashMap<String, Listed>>;

struct Entry {
    upstream: Upstream,
    listing: RwLock<Option<Listing>>,
}

/// All upstreams of a site.
pub struct Upstreams(BTreeMap<String, Entry>);

impl Upstreams {
    /// The upstreams that a bundle names; nothing is started yet.
    ///
    /// # Errors
    /// If an address is none that may be used.
    pub fn new(content: &Content) -> anyhow::Result<Self> {
        let mut out = BTreeMap::new();
        for (name, adapter) in &content.adapters {
            let settings = UpstreamSettings {
                transport: transport(adapter)?,
                era: EraChoice::Detect,
                bounds: Bounds::STANDARD,
            };
            let entry = Entry {
                upstream: Upstream::new(settings),
                listing: RwLock::new(None),
            };
            out.insert(name.clone(), entry);
        }
        Ok(Self(out))
    }

    /// Names of all upstreams.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Whether there is such an adapter.
    #[must_use]
    pub fn has(&self, adapter: &str) -> bool {
        self.0.contains_key(adapter)
    }

    /// Reads the listing of one upstream anew. A failure forgets the old one: what cannot be seen cannot be called.
    pub async fn refresh(&self, adapter: &str) -> Result<(), String> {
        let Some(entry) = self.0.get(adapter) else {
            return Ok(());
        };
        let listed = entry
            .upstream
            .list_tools()
            .await
            .map_err(|e| e.to_string())
            .and_then(|tools| {
                tools
                    .iter()
                    .map(|tool| {
                        let digest = descriptor_digest(tool).map_err(|e| e.to_string())?;
                        Ok((
                            tool.name().to_owned(),
                            Listed {
                                digest,
                                descriptor: tool.descriptor().clone(),
                            },
                        ))
                    })
                    .collect::<Result<HashMap<_, _>, String>>()
            });
        let (listing, outcome) = match listed {
            Ok(tools) => (Some(Arc::new(tools)), Ok(())),
            Err(error) => (None, Err(error)),
        };
        *entry
            .listing
            .write()
            .unwrap_or_else(PoisonError::into_inner) = listing;
        outcome
    }

    /// The listing as it was read last.
    #[must_use]
    pub fn listing(&self, adapter: &str) -> Option<Listing> {
        self.0
            .get(adapter)?
            .listing
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// What is known of one tool.
    #[must_use]
    pub fn observe(&self, adapter: &str, tool: &str) -> Observed {
        match self.listing(adapter) {
            None => Observed::Unreachable,
            Some(listing) => match listing.get(tool) {
                Some(listed) => Observed::Descriptor(listed.digest),
                None => Observed::Unlisted,
            },
        }
    }

    /// Carries out a committed call, once.
    pub async fn carry_out(&self, dispatch: Dispatch, onward: &Onward) -> (Report, ResultKind) {
        let nothing_sent = (
            Report::NotSent {
                cause: NotSent::Unavailable,
            },
            ResultKind::ToolResult,
        );
        let Some(entry) = self.0.get(&dispatch.adapter) else {
            return nothing_sent;
        };
        let limits = Limits::of_bytes(countersign_gateway::request::MAX_BODY_BYTES);
        let Ok(arguments) = Json::parse(dispatch.arguments, &limits) else {
            return nothing_sent;
        };
        let request = CallRequest {
            tool: dispatch.tool,
            arguments,
            meta: onward.meta(),
            timeout: CALL_TIMEOUT,
            progress: Progress::Unwanted,
        };
        match entry.upstream.call(request).await {
            Ok(response) => answered(response),
            Err(CallError::NotSent(_)) => nothing_sent,
            Err(CallError::OutcomeUnknown(lost)) => (
                Report::NoAnswer {
                    cause: no_answer(&lost),
                },
                ResultKind::ToolResult,
            ),
        }
    }

    /// Stops all upstreams.
    pub async fn close(&self) {
        for entry in self.0.values() {
            entry.upstream.close(Duration::from_secs(2)).await;
        }
    }
}

/// What kind of object an answer's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResultKind {
    /// A tool result, `isError` or not.
    ToolResult,
    /// A JSON-RPC error object.
    ProtocolError,
}

impl ResultKind {
    /// The kind of an answer that was released before: an error object has a numeric `code`, a tool result never.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let limits = Limits::of_bytes(bytes.len());
        let code = countersign_json::scan(bytes, &limits)
            .ok()
            .and_then(|d| d.member("code").map(|c| c.kind));
        match code {
            Some(countersign_json::Kind::Number) => Self::ProtocolError,
            _ => Self::ToolResult,
        }
    }
}

fn answered(response: CallResponse) -> (Report, ResultKind) {
    let CallResponse {
        answer,
        body,
        interim,
    } = response;
    let transcript = interim.messages().to_vec();
    match answer {
        Answer::Complete => (
            Report::Answered {
                result: body,
                tool_error: ToolError::No,
                transcript,
            },
            ResultKind::ToolResult,
        ),
        Answer::ToolError => (
            Report::Answered {
                result: body,
                tool_error: ToolError::Yes,
                transcript,
            },
            ResultKind::ToolResult,
        ),
        Answer::Refused { code: _ } => (
            Report::Answered {
                result: body,
                tool_error: ToolError::Yes,
                transcript,
            },
            ResultKind::ProtocolError,
        ),
        // A question back to the client is not carried yet; what the tool did so far is unknown.
        Answer::InputRequired | Answer::Unrecognised => (
            Report::NoAnswer {
                cause: NoAnswer::Malformed,
            },
            ResultKind::ToolResult,
        ),
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "every other loss is an upstream that went away"
)]
fn no_answer(lost: &Lost) -> NoAnswer {
    match lost {
        Lost::TimedOut | Lost::Dripping { .. } => NoAnswer::Timeout,
        Lost::TooLarge { .. } => NoAnswer::TooLarge,
        Lost::Malformed(_) | Lost::Flooding { .. } | Lost::ForeignRequest => NoAnswer::Malformed,
        _ => NoAnswer::Crashed,
    }
}

/// How an adapter is reached. A pinned program is compared here, before anything of it runs.
fn transport(adapter: &people::Adapter) -> anyhow::Result<Transport> {
    match &adapter.transport {
        people::Transport::McpHttp { url } => Ok(Transport::Http(HttpSettings::parse(url)?)),
        people::Transport::McpStdio {
            command,
            args,
            entry_sha256,
            environment,
        } => {
            if let Some(expected) = entry_sha256 {
                let program = std::fs::read(command)
                    .with_context(|| format!("adapter {}: {command}", adapter.name))?;
                let found = countersign_record::digest::sha256(&program);
                anyhow::ensure!(
                    found == *expected,
                    "adapter {}: {command} has SHA-256 {}, pinned is {}",
                    adapter.name,
                    hex::encode(found),
                    hex::encode(expected),
                );
            }
            Ok(Transport::Stdio(StdioSettings {
                program: command.into(),
                arguments: args.iter().map(Into::into).collect(),
                directory: None,
                environment: environment
                    .iter()
                    .map(|(k, v)| (k.into(), v.into()))
                    .collect(),
            }))
        }
    }
}
