//! What policy is given, and what it says.
//!
//! [`Facts`] are everything a verdict is computed from, besides the bundle: the same facts
//! and the same bundle give the same [`PolicyDecision`], at any time and on any machine. A
//! record commits to their encoding, so that a verdict can be computed again later.

use crate::input::Input;
use countersign_record::body::Mode;
use countersign_record::cbor_map;
use countersign_record::digest::{ArtifactDigest, UnixMillis};
use std::collections::BTreeSet;

/// Version of the facts' encoding.
pub const FACTS_VERSION: u64 = 1;

cbor_map! {
    /// An argument and the statement shape that it has.
    pub struct ShapeFact {
        /// Path of the argument.
        1 => argument: String,
        /// Name of the shape.
        2 => shape: String,
    }
}

cbor_map! {
    /// Calls of a capability by a tenant in the current window.
    pub struct BudgetFact {
        /// Calls before this one.
        1 => calls: u64,
        /// Calls that the window has.
        2 => limit: Option<u64>,
    }
}

cbor_map! {
    /// What the caller's token says.
    pub struct TokenFact {
        /// Short name of its issuer.
        1 => issuer: String,
        /// The client that it was issued to.
        2 => client: String,
        /// Its scopes, ascending.
        3 => scopes: Vec<String>,
        /// Who stands behind the call: whom it is about, then who acted, each as `<issuer's url>#<name there>`.
        4 => principals: Vec<String>,
    }
}

cbor_map! {
    /// What of the arguments repeats traced results.
    pub struct FlowFact {
        /// Classifications of what is repeated, ascending.
        1 => labels: Vec<String>,
        /// Ids of the capabilities whose results they are, ascending; at most 16.
        2 => sources: Vec<String>,
        /// Names of the arguments in which it is, ascending.
        3 => arguments: Vec<String>,
        /// Since when results are traced.
        4 => since: UnixMillis,
        /// Whether traces were dropped for want of room.
        5 => dropped: bool,
    }
}

cbor_map! {
    /// Everything a verdict is computed from, besides the bundle.
    pub struct Facts {
        /// [`FACTS_VERSION`].
        1 => version: u64,
        /// Name of the tenant.
        2 => tenant: String,
        /// URN of the agent.
        3 => agent: String,
        /// How sure the agent is known: 0 static token … 4 attested key.
        4 => assurance: u8,
        /// The person it acts for.
        5 => user: Option<String>,
        /// Id of the capability.
        6 => capability: String,
        /// Digest of the descriptor that the upstream lists now.
        7 => descriptor: ArtifactDigest,
        /// Mode that the request asked to run under; the declared mode where it asked for none.
        8 => requested: Mode,
        /// The arguments.
        9 => input: Input,
        /// Arguments with statement shapes, in order of their paths.
        10 => shapes: Vec<ShapeFact>,
        /// Ids of the people who have approved this very action, ascending.
        11 => approvers: Vec<String>,
        /// The budget.
        12 => budget: BudgetFact,
        /// Time of the decision, as claimed.
        13 => time: UnixMillis,
        /// What the caller's token says, if it showed one of an issuer.
        14 => token: Option<TokenFact>,
        /// What of the arguments repeats results, where the site traces any.
        15 => flow: Option<FlowFact>,
    }
}

/// What policy says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Carry it out.
    Allow,
    /// Refuse it.
    Deny,
    /// Halt it until people approve.
    StepUp(StepUp),
    /// Put it off.
    Defer,
    /// Carry it out and apply these redaction rules to the result, in order of their names.
    Modify {
        /// Names of the rules, all declared by the capability.
        redactions: Vec<String>,
    },
}

/// Who must approve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepUp {
    /// How many different people.
    pub quorum: u8,
    /// Each of them is a member of all these groups; none means anyone enrolled for the capability.
    pub approvers: Vec<String>,
}

/// Obligations of the permits that determined the outcome.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Obligations {
    /// The highest quorum and all groups that were named.
    pub step_up: Option<StepUp>,
    /// Some permit puts it off.
    pub defer: bool,
    /// Some permit wants a witness before dispatch.
    pub witnessed: bool,
    /// Redaction rules: those of the permits, and those that the capability always applies.
    pub redact: BTreeSet<String>,
}

impl Obligations {
    /// As words, in a fixed order; what a record holds.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let mut out = Vec::new();
        if let Some(step_up) = &self.step_up {
            let groups = step_up.approvers.join("+");
            let of = if groups.is_empty() {
                String::new()
            } else {
                format!(":{groups}")
            };
            out.push(format!("step_up:{}{of}", step_up.quorum));
        }
        if self.defer {
            out.push("defer".to_owned());
        }
        if self.witnessed {
            out.push("witnessed".to_owned());
        }
        out.extend(self.redact.iter().map(|r| format!("redact:{r}")));
        out
    }
}

/// Modes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Modes {
    /// Mode that the request asked to run under.
    pub requested: Mode,
    /// Mode that it runs under.
    pub effective: Mode,
    /// The capability's own mode.
    pub highest: Mode,
}

/// A policy that could not be evaluated. The reason is not kept, because it can quote arguments.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum PolicyFault {
    /// Evaluating this policy failed.
    Evaluation {
        /// Its id.
        policy: String,
    },
    /// The facts are not of the schema's types.
    Facts,
}

impl PolicyFault {
    /// As a word; what a record holds.
    #[must_use]
    pub fn word(&self) -> String {
        match self {
            Self::Evaluation { policy } => format!("evaluation:{policy}"),
            Self::Facts => "facts".to_owned(),
        }
    }
}

/// The verdict of policy and how it came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyDecision {
    /// What is to happen.
    pub outcome: Outcome,
    /// Ids of the policies and built-in rules that determined it, ascending; never empty.
    pub policies: Vec<String>,
    /// Obligations of the determining permits; empty for a denial.
    pub obligations: Obligations,
    /// Policies that could not be evaluated; any of them denies.
    pub errors: Vec<PolicyFault>,
    /// Modes.
    pub modes: Modes,
}

/// Ids of the rules that stand in code.
pub mod builtin {
    /// No policy permits the call.
    pub const DEFAULT_DENY: &str = "builtin:default-deny";
    /// A policy could not be evaluated.
    pub const EVALUATION_ERROR: &str = "builtin:evaluation-error";
    /// The tenant does not exist.
    pub const UNKNOWN_TENANT: &str = "builtin:unknown-tenant";
    /// The agent does not exist, or is another tenant's.
    pub const UNKNOWN_AGENT: &str = "builtin:unknown-agent";
    /// The tenant has no such capability.
    pub const UNKNOWN_CAPABILITY: &str = "builtin:unknown-capability";
    /// The upstream's descriptor is not the pinned one.
    pub const DESCRIPTOR_NOT_PINNED: &str = "builtin:descriptor-not-pinned";
    /// The request asks for a mode above the capability's.
    pub const MODE_ABOVE_DECLARED: &str = "builtin:mode-above-declared";
    /// A destructive capability always needs people.
    pub const DESTRUCTIVE_NEEDS_APPROVAL: &str = "builtin:destructive-needs-approval";
    /// Fewer people are enrolled than must approve.
    pub const QUORUM_UNREACHABLE: &str = "builtin:quorum-unreachable";
    /// The caller is not known as surely as the capability needs.
    pub const ASSURANCE_TOO_LOW: &str = "builtin:assurance-too-low";
    /// A delegated capability acts for a person whose token says so.
    pub const DELEGATION_REQUIRED: &str = "builtin:delegation-required";
    /// The token of whom it acts for lacks a scope that the capability declares.
    pub const SCOPE_MISSING: &str = "builtin:scope-missing";
    /// The window's calls are used up.
    pub const BUDGET_SPENT: &str = "builtin:budget-spent";
    /// The facts are of another version of their encoding.
    pub const FACTS_VERSION: &str = "builtin:facts-version";
}
