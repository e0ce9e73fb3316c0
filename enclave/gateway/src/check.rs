//! The checks of a call, in the order in which they are made.
//!
//! Of two that a call fails, the earlier one refuses it. The stages hold this order by their types, and
//! within a stage by the order of its lines; a test calls each pair of neighbours with a call that fails both.

use crate::refusal::Code;

/// Declares the checks in their order, each with the codes by which it refuses.
macro_rules! checks {
    ($($(#[$meta:meta])* $variant:ident = $name:literal : $($code:ident)|+),* $(,)?) => {
        /// A check of a call.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Check { $($(#[$meta])* $variant),* }

        impl Check {
            /// Every check, in order.
            pub const ORDER: &'static [Self] = &[$(Self::$variant),*];
            /// The word in `docs/architecture.md`.
            #[must_use]
            pub fn name(self) -> &'static str { match self { $(Self::$variant => $name),* } }
            /// The codes by which it refuses.
            #[must_use]
            pub fn codes(self) -> &'static [Code] { match self { $(Self::$variant => &[$(Code::$code),+]),* } }
        }
    };
}

checks! {
    /// The bytes are a request.
    Request = "request": MalformedRequest | RequestTooLarge | UnrepresentableNumber | MethodNotSupported,
    /// The caller is known.
    Identity = "identity": Unauthenticated | SignatureInvalid | SignatureStale | TokenInvalid | InsufficientScope | ProofInvalid | CertificateInvalid,
    /// The gateway is open, and of the fleet.
    Enrolment = "enrolment": GatewayHeld | NotEnrolled,
    /// No stop that covers the call is on its way into the log.
    Stopping = "stopping": Stopped,
    /// The clock agrees with the log.
    Clock = "clock": ClockDrift,
    /// The platform's word has not run out.
    Lease = "lease": LeaseExpired,
    /// Witnesses know the log.
    Witnesses = "witnesses": NotWitnessed,
    /// The tool exists for this tenant.
    Capability = "capability": UnknownCapability,
    /// The tool is the one that was registered.
    Descriptor = "descriptor": DescriptorChanged | UpstreamUnavailable | EgressDenied | UpstreamUntrusted | SandboxUnavailable,
    /// The arguments keep to types, schema, rules and shapes.
    Arguments = "arguments": InvalidArguments | UnrepresentableNumber | DestinationDenied,
    /// No argument names another tenant than the caller's.
    Tenancy = "tenancy": CrossTenantDenied,
    /// No stop of the log covers the call.
    Stop = "stop": Stopped,
    /// The call is no repetition that has to be refused.
    Repetition = "repetition": IdempotencyKeyRequired | IdempotencyConflict | IdempotencyInProgress | IdempotencyOutcomeUnknown,
    /// The tenant has a call of this capability left.
    Rate = "rate": RateExceeded,
    /// The run has something left.
    RunBudget = "run budget": RunBudgetExceeded,
    /// The caller is known surely enough.
    Assurance = "assurance": AssuranceTooLow,
    /// A person delegated, where the tool acts for one.
    Delegation = "delegation": DelegationRequired | DelegationScope,
    /// The mode is not above the declared one.
    Mode = "mode": ModeTooHigh,
    /// Policy permits.
    Policy = "policy": PolicyDenied | PolicyError | Deferred,
    /// People approved, where they have to.
    Approval = "approval": ApprovalRequired | ApprovalRefused | ApprovalImpossible | TooManyWaiting,
    /// The intent is in the log.
    Seal = "seal": AuditBackpressure | AuditUnavailable | NotWitnessed,
    /// The tool answers, and nobody stops the call before.
    Execute = "execute": UpstreamUnavailable | EgressDenied | UpstreamUntrusted | SandboxUnavailable | RedirectRefused | OutcomeUnknown | UpstreamMalformed | Cancelled | Stopped | StoppedRunning,
    /// The result may be seen, and its record is in the log.
    Release = "release": ResultTooLarge | RestrictedResult | RedactionFailed | ResultWithheld,
}
