//! Refusals: what a caller is told, in one shape for every way in.
//!
//! In: a code, and what a model can do about it. Out: a sentence, a retry rule, and a
//! [`Refused`] call that can only become a Decision Record. Argument values are never echoed.
//!
//! Spec: `docs/errors.md`, which a test compares with [`Code::ALL`].

use crate::call::Progress;
use countersign_policies::content::Content;
use serde_json::{Value, json};

/// Declares the codes, their words and their sentences in one table.
macro_rules! codes {
    ($($(#[$meta:meta])* $variant:ident = $name:literal : $sentence:literal),* $(,)?) => {
        /// Why a call was refused. The names are stable; `docs/errors.md` explains each.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $($(#[$meta])* $variant),* }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
            /// The stable name.
            #[must_use]
            pub fn name(self) -> &'static str { match self { $(Self::$variant => $name),* } }
            /// The code of this name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|code| code.name() == name)
            }
            /// A sentence that a model can act on.
            #[must_use]
            pub fn sentence(self) -> &'static str { match self { $(Self::$variant => $sentence),* } }
        }
    };
}

codes! {
    /// The request is not what the interface takes.
    MalformedRequest = "malformed_request": "The request is not well formed. Send one JSON object as the interface describes, without repeated keys.",
    /// The request is too large.
    RequestTooLarge = "request_too_large": "The request is larger than this gateway accepts. Send less in one call.",
    /// No valid credential.
    Unauthenticated = "unauthenticated": "The caller is not known here. Send a valid credential.",
    /// The request's signature is wrong.
    SignatureInvalid = "signature_invalid": "The signature of the request does not hold. Sign the exact request again.",
    /// The signature is too old, too new or used before.
    SignatureStale = "signature_stale": "The signature of the request is outside its time window or was used before. Sign again with a new nonce.",
    /// The access token does not count.
    TokenInvalid = "token_invalid": "The access token does not hold for this gateway. Get a new one from the issuer, for this resource.",
    /// The token lacks the scope that is needed here.
    InsufficientScope = "insufficient_scope": "The access token lacks the scope that is needed here. Ask the issuer for one that has it.",
    /// The token's key was not shown to be held.
    ProofInvalid = "proof_invalid": "The proof that the caller holds the key of its token does not hold. Make a new one for this very request.",
    /// The certificate of the connection names no agent.
    CertificateInvalid = "certificate_invalid": "The certificate of this connection names no agent of this gateway. Connect with the certificate of a registered workload.",
    /// The caller is not known as surely as the tool needs.
    AssuranceTooLow = "assurance_too_low": "This tool needs a caller that is known more surely. Call it with a bound token, the certificate of a workload, or a signed request.",
    /// The tool acts for a person, and nobody delegated.
    DelegationRequired = "delegation_required": "This tool acts for a person. Call it with an access token that says for whom.",
    /// The token of whom the tool acts for does not reach as far.
    DelegationScope = "delegation_scope": "The access token does not have the scope that this tool acts under. Ask the issuer for one that has it.",
    /// No such tool for this caller.
    UnknownCapability = "unknown_capability": "There is no such tool. List the tools and use one of them.",
    /// The tool differs from the one that was registered.
    DescriptorChanged = "descriptor_changed": "The tool differs from the one that was registered and is held until it is reviewed. Do not retry; report it.",
    /// The arguments break the tool's rules.
    InvalidArguments = "invalid_arguments": "An argument is not in a form that is permitted for this tool. Change that argument.",
    /// An argument names another tenant.
    CrossTenantDenied = "cross_tenant_denied": "An argument names another tenant than the caller's. Use the caller's own, or leave it out; this was reported.",
    /// An argument leads where calls of the tool may not go.
    DestinationDenied = "destination_denied": "An argument leads to a host that this tool may not reach. Do not try to reach it another way.",
    /// A number that cannot be judged exactly.
    UnrepresentableNumber = "unrepresentable_number": "A number cannot be represented exactly. Use a whole number of at most 64 bits, or text.",
    /// A person stopped calls like this one.
    Stopped = "stopped": "A person has stopped calls like this one, and nothing was sent to the tool. Do not repeat it; ask a person.",
    /// A person stopped it while it ran.
    StoppedRunning = "stopped_running": "A person stopped this call while it ran. It may have had its effect: do not repeat it; ask a person.",
    /// A higher mode than the tool has.
    ModeTooHigh = "mode_too_high": "The call asks for a higher approval mode than the tool has. Ask for the tool's mode or a lower one.",
    /// Too many calls.
    RateExceeded = "rate_exceeded": "The budget of calls for this tool is used up for now. Wait before calling it again.",
    /// The run has spent what it may.
    RunBudgetExceeded = "run_budget_exceeded": "This run has used up what it may spend. Stop here, and tell the person who started it.",
    /// The tool needs an idempotency key.
    IdempotencyKeyRequired = "idempotency_key_required": "This tool needs an idempotency key. Send the same key again if you repeat the call.",
    /// The key was used for another request.
    IdempotencyConflict = "idempotency_conflict": "This idempotency key belongs to another request. Use a new key for a new request.",
    /// The first call with this key is still running.
    IdempotencyInProgress = "idempotency_in_progress": "The first call with this idempotency key is still running. Wait for it.",
    /// The first call with this key has an unknown outcome.
    IdempotencyOutcomeUnknown = "idempotency_outcome_unknown": "The first call with this idempotency key has an unknown outcome and is not repeated. A person has to look at it.",
    /// Policy says no.
    PolicyDenied = "policy_denied": "Policy does not permit this call. Do not try to reach the same effect another way.",
    /// Policy could not be evaluated.
    PolicyError = "policy_error": "Policy could not be evaluated for this call, so it is refused. Report it.",
    /// A person has to approve first.
    ApprovalRequired = "approval_required": "A person has to approve this exact call first. Wait, then send the same call again, unchanged.",
    /// A person refused.
    ApprovalRefused = "approval_refused": "A person refused this call. Do not send it again.",
    /// Nobody can approve it.
    ApprovalImpossible = "approval_impossible": "A person would have to approve this call, and cannot be shown the answers that it carries. Send it without them.",
    /// Too many calls of this agent wait for people.
    TooManyWaiting = "too_many_waiting": "Too many calls wait for people already. Wait until they are decided, and do not send more.",
    /// Policy puts the call off.
    Deferred = "deferred": "Policy puts this call off. Try again later.",
    /// The log takes no more at the moment.
    AuditBackpressure = "audit_backpressure": "The gateway cannot record more calls at this moment, so it carries out none. Try again shortly.",
    /// The log cannot be written.
    AuditUnavailable = "audit_unavailable": "The gateway cannot record calls, so it carries out none. An operator has to look at it.",
    /// The platform has not vouched recently enough.
    LeaseExpired = "lease_expired": "The platform has not vouched for this gateway recently enough, so it takes no new calls.",
    /// The gateway waits for its owners.
    GatewayHeld = "gateway_held": "The gateway is held until its owners have looked at its state.",
    /// The gateway is in no fleet statement.
    NotEnrolled = "not_enrolled": "The gateway is not enrolled, so it takes no calls.",
    /// The clock cannot be trusted.
    ClockDrift = "clock_drift": "The gateway's clock disagrees with its log, so it takes no calls.",
    /// Witnesses did not confirm the log in time.
    NotWitnessed = "not_witnessed": "Independent witnesses have not confirmed the gateway's log in time, so nothing was sent to the tool. Try again later.",
    /// The tool cannot be reached; nothing was sent.
    UpstreamUnavailable = "upstream_unavailable": "The tool cannot be reached at this moment; nothing was sent to it. Try again later.",
    /// The way to the tool is not one that may be gone.
    EgressDenied = "egress_denied": "The tool's destination is not one that this gateway may reach, so nothing was sent to it. Do not retry; report it.",
    /// The tool's server did not show who it is.
    UpstreamUntrusted = "upstream_untrusted": "The tool's server did not show the certificate that is expected of it, so nothing was sent to it. Do not retry; report it.",
    /// The tool's server led elsewhere.
    RedirectRefused = "redirect_refused": "The tool's server sent the call elsewhere, which is not followed. The call may have had its effect; a person has to look.",
    /// The tool's sandbox cannot be had.
    SandboxUnavailable = "sandbox_unavailable": "The tool's sandbox cannot be set up on this machine, so the tool was not started. Do not retry; report it.",
    /// No answer; the call may have had an effect.
    OutcomeUnknown = "outcome_unknown": "The tool gave no usable answer, and the call may have had its effect. Do not repeat it; a person has to look.",
    /// The answer broke the protocol.
    UpstreamMalformed = "upstream_malformed": "The tool's answer is not well formed and is withheld. The call may have had its effect.",
    /// The answer is too large.
    ResultTooLarge = "result_too_large": "The tool's answer is larger than may be released. Ask for less.",
    /// The answer may not enter a prompt.
    RestrictedResult = "restricted_result": "The call was carried out. Its answer is restricted and is not given to agents; do not ask for it again.",
    /// Redaction failed.
    RedactionFailed = "redaction_failed": "The tool's answer could not be redacted and is withheld.",
    /// The outcome could not be recorded.
    ResultWithheld = "result_withheld": "The call was carried out, but its outcome could not be recorded, so the result is withheld.",
    /// The caller went away.
    Cancelled = "cancelled": "The call was cancelled.",
    /// A method that this gateway does not carry.
    MethodNotSupported = "method_not_supported": "This method is not carried by this gateway.",
}

/// Whether the same call can succeed later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retry {
    /// Not as it is.
    Never,
    /// Once a person has approved.
    AfterApproval,
    /// After so many seconds.
    After(u64),
    /// With another value of an argument.
    WithChanges(String),
}

impl std::fmt::Display for Retry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Never => f.write_str("never"),
            Self::AfterApproval => f.write_str("after_approval"),
            Self::After(seconds) => write!(f, "after:{seconds}"),
            Self::WithChanges(argument) => write!(f, "with_changes:{argument}"),
        }
    }
}

/// A refusal without its call: what to say and when to retry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    code: Code,
    retry: Retry,
    cause: Option<Cause>,
    policies: Vec<String>,
}

/// What a refusal comes from, besides policies.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Cause {
    /// A rule of the bundle.
    Rule(String),
    /// The order of a person, under the name that they gave it.
    Order(String),
}

impl Refusal {
    /// A refusal.
    #[must_use]
    pub fn new(code: Code, retry: Retry) -> Self {
        Self {
            code,
            retry,
            cause: None,
            policies: Vec::new(),
        }
    }

    /// A refusal for good.
    #[must_use]
    pub fn never(code: Code) -> Self {
        Self::new(code, Retry::Never)
    }

    /// Names the rule that fired: for the record, and for agents where the bundle says so.
    #[must_use]
    pub fn by_rule(mut self, rule: String) -> Self {
        self.cause = Some(Cause::Rule(rule));
        self
    }

    /// Names the order of a person: for the record alone. People name orders in a hurry, and for each other.
    #[must_use]
    pub fn by_order(mut self, order: String) -> Self {
        self.cause = Some(Cause::Order(order));
        self
    }

    /// Names the policies that led here: for agents where the bundle says so. The record has them in its verdict.
    #[must_use]
    pub fn under(mut self, policies: Vec<String>) -> Self {
        self.policies = policies;
        self
    }

    /// Why.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// When to retry.
    #[must_use]
    pub fn retry(&self) -> &Retry {
        &self.retry
    }

    /// The rule that fired, or the order, as the record names it.
    #[must_use]
    pub fn rule(&self) -> Option<&str> {
        self.cause.as_ref().map(|cause| match cause {
            Cause::Rule(name) | Cause::Order(name) => name.as_str(),
        })
    }

    /// Ids of the bundle's rules that led here: policies, then the rule of an argument or a budget.
    fn rules(&self) -> Vec<String> {
        let rule = self.cause.as_ref().and_then(|cause| match cause {
            Cause::Rule(name) => Some(name.clone()),
            Cause::Order(_) => None,
        });
        self.policies.iter().cloned().chain(rule).collect()
    }
}

/// A call that goes no further. Its only use is [`crate::decision::settle_refused`].
#[derive(Debug)]
#[must_use = "a refused call has to be recorded"]
pub struct Refused {
    pub(crate) progress: Progress,
    pub(crate) refusal: Refusal,
}

impl Refused {
    /// Why.
    #[must_use]
    pub fn refusal(&self) -> &Refusal {
        &self.refusal
    }

    /// Whether it was found out whose call it is.
    #[must_use]
    pub fn is_of_a_known_caller(&self) -> bool {
        self.progress.who.is_some()
    }
}

/// How often the same refusal came before it tells the model to stop.
pub const REPEATS_BEFORE_STOP: u32 = 3;

/// Added to the sentence from the third repeat on.
const STOP: &str = " This was refused several times: stop, and ask a person.";

/// What the bundle has a refused caller told besides the refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Besides<'c> {
    pub(crate) contact: Option<&'c str>,
    pub(crate) rules: bool,
}

impl<'c> Besides<'c> {
    /// To somebody who is not known: nothing of the bundle.
    pub const STRANGER: Self = Self {
        contact: None,
        rules: false,
    };

    /// To a known caller, of the capability that the record names. Without one, what holds for the whole site.
    #[must_use]
    pub fn of(content: &'c Content, capability: Option<&str>) -> Self {
        let capability = capability.and_then(|id| content.capabilities.get(id));
        let own = capability.and_then(|c| c.contact.as_deref());
        Self {
            contact: own.or(content.contact.as_deref()),
            rules: capability.is_some_and(|c| c.tell_rules),
        }
    }
}

/// What a caller is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// A sentence that a model can act on.
    pub message: String,
    /// Why.
    pub code: Code,
    /// When to retry.
    pub retry: Retry,
    /// Digest of the Decision Record, hexadecimal.
    pub record: Option<String>,
    /// Whom to ask.
    pub contact: Option<String>,
    /// Ids of the rules that fired, where the bundle says that agents see them.
    pub rules: Option<Vec<String>>,
}

impl Told {
    /// What to tell about a refusal that came `repeats` times before.
    #[must_use]
    pub fn new(
        refusal: &Refusal,
        repeats: u32,
        record: Option<String>,
        besides: Besides<'_>,
    ) -> Self {
        let mut message = refusal.code.sentence().to_owned();
        if let Retry::WithChanges(argument) = &refusal.retry {
            message.push_str(&format!(" Argument: {argument}."));
        }
        if let Retry::After(seconds) = refusal.retry {
            message.push_str(&format!(" Retry after {seconds} s."));
        }
        if repeats.saturating_add(1) >= REPEATS_BEFORE_STOP {
            message.push_str(STOP);
            // A model reads the sentence, and seldom what stands beside it.
            if let Some(contact) = besides.contact {
                message.push_str(&format!(" Whom to ask: {contact}"));
            }
        }
        Self {
            message,
            code: refusal.code,
            retry: refusal.retry.clone(),
            record,
            contact: besides.contact.map(str::to_owned),
            rules: besides.rules.then(|| refusal.rules()),
        }
    }

    /// The one shape: message, code, retry, record, contact; and rules, where agents may see them.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut told = json!({
            "message": self.message,
            "code": self.code.name(),
            "retry": self.retry.to_string(),
            "record": self.record,
            "contact": self.contact,
        });
        if let (Some(rules), Value::Object(members)) = (&self.rules, &mut told) {
            members.insert("rules".to_owned(), json!(rules));
        }
        told
    }
}
