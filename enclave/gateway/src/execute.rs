//! Stage 8: the committed call leaves, once, and something comes back.
//!
//! In: [`Committed`], by value. Out: a [`Dispatch`] for the adapter, and an [`Outcome`] made
//! from what the adapter reports. A call that may have left and has no answer is *unknown*;
//! it is never carried out again.

use crate::call::Moment;
use crate::seal::Committed;
use bytes::Bytes;
use countersign_policies::site::capability::{Capability, Tasks};
use countersign_policies::site::method::{Ask, Method};
use countersign_record::body::Effect;
use std::collections::BTreeSet;

/// What the adapter is to send. Made once, from a right that is spent.
#[derive(Debug)]
pub struct Dispatch {
    /// Id of the capability.
    pub capability: String,
    /// The adapter.
    pub adapter: String,
    /// What of MCP is asked.
    pub method: Method,
    /// The tool's name at the upstream.
    pub tool: String,
    /// The arguments, exactly as authorized.
    pub arguments: Bytes,
    /// Answers to the upstream's questions: members of the parameters, with commas between.
    pub answers: Option<Bytes>,
    /// What it may ask back.
    pub asks: BTreeSet<Ask>,
    /// Whether it may answer with a task first.
    pub tasks: Tasks,
}

/// A call on its way.
#[derive(Debug)]
#[must_use = "a dispatched call has to be settled"]
pub struct Dispatched {
    pub(crate) committed: Committed,
    pub(crate) at: Moment,
}

/// What the adapter reports.
#[derive(Debug)]
pub enum Report {
    /// An answer.
    Answered {
        /// The result object, as JSON bytes.
        result: Bytes,
        /// Whether the tool says that it failed.
        tool_error: ToolError,
        /// Interim messages, in order.
        transcript: Vec<Bytes>,
    },
    /// Nothing was sent.
    NotSent {
        /// Why.
        cause: NotSent,
    },
    /// Something may have been sent, and there is no usable answer.
    NoAnswer {
        /// Why.
        cause: NoAnswer,
        /// Interim messages, in order: what the caller heard before the answer failed to come.
        transcript: Vec<Bytes>,
    },
}

/// Whether the tool says that it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToolError {
    /// It does not.
    No,
    /// It does.
    Yes,
}

/// Why nothing was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotSent {
    /// The upstream is down, or refuses to start.
    Unavailable,
    /// The caller went away first.
    Cancelled,
    /// Witnesses did not cosign the intent in time.
    Unwitnessed,
    /// The way to the upstream is not one that may be gone.
    Barred,
    /// The upstream's certificate is not one that counts.
    Untrusted,
    /// A person stopped it first.
    Stopped,
    /// The upstream's sandbox cannot be had.
    Unsandboxed,
}

/// Why there is no usable answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoAnswer {
    /// The time was up.
    Timeout,
    /// The upstream went away.
    Crashed,
    /// The answer broke the protocol.
    Malformed,
    /// The answer was too large.
    TooLarge,
    /// The caller went away.
    Cancelled,
    /// The gateway was restarted.
    Restarted,
    /// The upstream led elsewhere.
    Redirected,
    /// A person stopped it.
    Stopped,
}

impl NoAnswer {
    /// The word in the record.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Crashed => "upstream-crashed",
            Self::Malformed => "upstream-malformed",
            Self::TooLarge => "result-too-large",
            Self::Cancelled => "cancelled",
            Self::Restarted => "restarted",
            Self::Redirected => "redirected",
            Self::Stopped => "stopped",
        }
    }
}

/// A call that left, and what came of it.
#[derive(Debug)]
#[must_use = "an outcome has to be released and recorded"]
pub struct Outcome {
    pub(crate) committed: Committed,
    pub(crate) dispatched: Moment,
    pub(crate) report: Report,
    pub(crate) around: Around,
}

/// What is known of how a call was carried out, beside what came back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Around {
    /// Where it went: encoded `EgressConnections`; nothing if the gateway made no connection.
    pub egress: Option<Vec<u8>>,
    /// Layers of the upstream's sandbox that are really in force.
    pub sandbox: Vec<String>,
}

impl Committed {
    /// Spends the right to carry the call out.
    pub fn dispatch(self, at: Moment) -> (Dispatch, Dispatched) {
        let capability = self.approved.capability();
        let dispatch = Dispatch {
            capability: capability.id.clone(),
            adapter: capability.adapter.clone(),
            method: capability.method,
            tool: capability.tool.clone(),
            arguments: self.arguments(),
            answers: self.approved.answers(),
            asks: capability.asks.clone(),
            tasks: capability.tasks,
        };
        (
            dispatch,
            Dispatched {
                committed: self,
                at,
            },
        )
    }
}

impl Dispatched {
    /// What is called.
    #[must_use]
    pub fn capability(&self) -> &Capability {
        self.committed.approved.capability()
    }

    /// What the caller may hear of an interim message while the call goes on: the parameters of a notification or a
    /// question, redacted like a result. `None` if they are to be withheld.
    #[must_use]
    pub fn interim(&self, params: &Bytes) -> Option<Bytes> {
        let approved = &self.committed.approved;
        let (released, _) =
            crate::release::releasable(approved.capability(), approved.redact(), params);
        released.ok()
    }

    /// What came of the call.
    pub fn outcome(self, report: Report) -> Outcome {
        Outcome {
            committed: self.committed,
            dispatched: self.at,
            report,
            around: Around::default(),
        }
    }
}

impl Outcome {
    /// What is known of how it was carried out.
    pub fn around(self, around: Around) -> Self {
        Self { around, ..self }
    }
}

impl Report {
    /// The result, if one came.
    #[must_use]
    pub fn result(&self) -> Option<&Bytes> {
        match self {
            Self::Answered { result, .. } => Some(result),
            Self::NotSent { .. } | Self::NoAnswer { .. } => None,
        }
    }

    /// Whether the tool says that it failed.
    #[must_use]
    pub fn is_tool_error(&self) -> bool {
        matches!(
            self,
            Self::Answered {
                tool_error: ToolError::Yes,
                ..
            }
        )
    }

    /// What may have happened to the world.
    #[must_use]
    pub fn effect(&self) -> Effect {
        match self {
            Self::Answered { .. } => Effect::Dispatched,
            Self::NotSent { .. } => Effect::None,
            Self::NoAnswer { .. } => Effect::Unknown,
        }
    }
}
