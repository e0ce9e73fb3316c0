//! Bodies about calls: [`Intent`], [`Approval`], [`Decision`], [`RunClosed`].

use crate::cbor::{Bytes, Cbor};
use crate::digest::{
    ActionDigest, ArtifactDigest, CallId, Commitment, EntryDigest, GatewayId, KeyId, RunId,
    SubjectId, TenantId, UnixMillis,
};
use crate::entry::EntryRef;
use crate::{cbor_enum, cbor_map};

cbor_enum! {
    /// What was decided.
    pub enum Verdict ("verdict") {
        /// Carried out as asked.
        Allow = 1: "allow",
        /// Refused.
        Deny = 2: "deny",
        /// Carried out, narrowed or redacted.
        Modify = 3: "modify",
        /// Halted until people approve.
        StepUp = 4: "step_up",
        /// Put off.
        Defer = 5: "defer",
    }
}

cbor_enum! {
    /// What may have happened to the world.
    pub enum Effect ("effect") {
        /// Nothing left the gateway.
        None = 0: "none",
        /// The call left and an answer came back; whether the answer is true is not known here.
        Dispatched = 1: "dispatched",
        /// A second observation agrees with the answer.
        Confirmed = 2: "confirmed",
        /// The call may have left, and no answer is known.
        Unknown = 3: "unknown",
    }
}

cbor_enum! {
    /// Approval mode of a capability, from harmless to final.
    pub enum Mode ("approval mode") {
        /// Changes nothing.
        ReadOnly = 1: "read_only",
        /// Changes local state that can be restored.
        LocalWrite = 2: "local_write",
        /// Reaches beyond the site.
        Network = 3: "network",
        /// Acts through somebody else.
        Delegated = 4: "delegated",
        /// Cannot be undone.
        Destructive = 5: "destructive",
    }
}

cbor_enum! {
    /// How far data may spread.
    pub enum Classification ("classification") {
        /// Anyone may know.
        Public = 1: "PUBLIC",
        /// People of the organization.
        Internal = 2: "INTERNAL",
        /// People who need it.
        Confidential = 3: "CONFIDENTIAL",
        /// Named people; never enters a prompt or memory.
        Restricted = 4: "RESTRICTED",
    }
}

cbor_map! {
    /// Who called, as far as the gateway could tell.
    pub struct Caller {
        /// How sure: 0 static token, 1 OAuth token, 2 bound token, 3 signed request, 4 attested key.
        1 => assurance: u8,
        /// Key that signed the request.
        2 => key: Option<KeyId>,
        /// The agent's URN.
        3 => agent: Commitment,
        /// The person it acts for.
        4 => user: Option<Commitment>,
        /// The session, as the client names it.
        5 => session: Option<Commitment>,
        /// The signature of the request (see [`crate::commitment::CallerProof`]).
        6 => proof: Option<Commitment>,
        /// What the caller's token or certificate said (see [`crate::claims::CallerClaims`]).
        7 => claims: Option<Commitment>,
        /// Principals behind the caller (see [`crate::claims::PrincipalChain`]).
        8 => principal_chain: Option<Commitment>,
        /// Pseudonym of the user, or of the agent where it acts for nobody; what a subject's entries are found by.
        9 => subject: Option<SubjectId>,
    }
}

cbor_map! {
    /// The tool action that was asked for.
    pub struct CapabilityRef {
        /// `<adapter>.<action>`.
        1 => id: String,
        /// Digest of the tool's pinned descriptor.
        2 => descriptor: Option<ArtifactDigest>,
        /// The adapter.
        3 => adapter: String,
        /// What is known of the upstream: digest of its program or certificate.
        4 => upstream: Option<ArtifactDigest>,
    }
}

cbor_map! {
    /// What policy said.
    pub struct PolicyOutcome {
        /// The bundle that was asked.
        1 => bundle: ArtifactDigest,
        /// Policies that determined the verdict, in order of their identifiers.
        2 => fired: Vec<String>,
        /// Obligations of those policies.
        3 => obligations: Vec<String>,
        /// Policies that could not be evaluated.
        4 => errors: Vec<String>,
        /// Mode that the request asked to run under.
        5 => requested: Mode,
        /// Mode that it runs under.
        6 => effective: Mode,
        /// Highest mode that policy would have let it have.
        7 => highest: Mode,
    }
}

cbor_map! {
    /// Where a request comes from, as claimed.
    pub struct Lineage {
        /// Pack.
        1 => pack: Option<String>,
        /// Digest of the pack.
        2 => pack_digest: Option<ArtifactDigest>,
        /// Model.
        3 => model: Option<String>,
        /// Digest of the model.
        4 => model_digest: Option<ArtifactDigest>,
        /// Snapshot of the data that the agent worked on.
        5 => snapshot: Option<String>,
        /// The agent's confidence, in thousandths.
        6 => confidence: Option<u64>,
    }
}

cbor_map! {
    /// W3C trace context, as claimed by the client.
    pub struct Trace {
        /// Trace id.
        1 => id: [u8; 16],
        /// Span id.
        2 => span: [u8; 8],
    }
}

cbor_map! {
    /// How data of a call is to be handled.
    pub struct Handling {
        /// Classification.
        1 => classification: Classification,
        /// Retention band.
        2 => retention: String,
        /// Where the data may be.
        3 => residency: String,
    }
}

cbor_map! {
    /// What is about to be done: everything an approver answers for, and nothing that changes between halt and retry.
    pub struct Action {
        /// Where.
        1 => gateway: GatewayId,
        /// For whom.
        2 => tenant: TenantId,
        /// The asking agent.
        3 => agent: Commitment,
        /// What.
        4 => capability: CapabilityRef,
        /// Mode that it runs under.
        5 => mode: Mode,
        /// The exact bytes of the arguments.
        6 => forwarded: Commitment,
        /// What approvers are shown.
        7 => preview: Commitment,
        /// The bundle under which it was decided.
        8 => bundle: ArtifactDigest,
        /// The call that asked for it: the halted one, where a later call takes it up.
        9 => call: CallId,
    }
}

impl Action {
    /// What an approver signs.
    #[must_use]
    pub fn digest(&self) -> ActionDigest {
        crate::statement::action_digest(&self.to_bytes())
    }
}

cbor_map! {
    /// A call that is about to be carried out. Durable before anything leaves.
    pub struct Intent {
        /// The call.
        1 => call: CallId,
        /// Base or last change: what was in force.
        2 => in_force: EntryRef,
        /// An encoded [`Action`].
        3 => action: Bytes,
        /// Who asked.
        4 => caller: Caller,
        /// What policy said; [`Verdict::Allow`] or [`Verdict::Modify`].
        5 => verdict: Verdict,
        /// By which policies.
        6 => policy: PolicyOutcome,
        /// The facts that policy was given.
        7 => facts: Commitment,
        /// The request as received.
        8 => received: Commitment,
        /// Approvals that this call spends.
        9 => approvals: Vec<EntryRef>,
        /// The caller's idempotency key.
        10 => idempotency: Option<Commitment>,
        /// Controls that were active.
        11 => controls: Vec<String>,
        /// The halted call that this one takes up.
        12 => parent: Option<CallId>,
        /// How many leaves of the log had been taken into the control state that decided.
        13 => basis: u64,
    }
}

cbor_map! {
    /// A person's word on an action.
    pub struct Approval {
        /// The action.
        1 => action: ActionDigest,
        /// The halted call.
        2 => call: CallId,
        /// The person's enrolled key.
        3 => approver: KeyId,
        /// What was chosen.
        4 => choice: crate::statement::Choice,
        /// The signed statement (see [`crate::statement::ApprovalStatement`]).
        5 => statement: Commitment,
        /// Until when it may be used.
        6 => expires: UnixMillis,
    }
}

cbor_map! {
    /// When things happened, as claimed.
    pub struct Times {
        /// The request had arrived.
        1 => received: UnixMillis,
        /// The verdict was reached.
        2 => decided: UnixMillis,
        /// The call left.
        3 => dispatched: Option<UnixMillis>,
        /// The call was settled.
        4 => settled: UnixMillis,
    }
}

cbor_map! {
    /// The Decision Record: one settles each call, whatever became of it.
    pub struct Decision {
        /// The call.
        1 => call: CallId,
        /// Base or last change: what was in force.
        2 => in_force: EntryRef,
        /// The intent that this settles; absent when nothing was to leave.
        3 => intent: Option<EntryRef>,
        /// The halted call that this one takes up, or the call whose outcome is repeated.
        4 => parent: Option<CallId>,
        /// What was decided.
        5 => verdict: Verdict,
        /// Why the caller got no result (see `docs/errors.md`).
        6 => code: Option<String>,
        /// What may have happened to the world.
        7 => effect: Effect,
        /// Why a running call was given up.
        8 => cancelled: Option<String>,
        /// When things happened.
        9 => times: Times,
        /// Trace, as claimed.
        10 => trace: Option<Trace>,
        /// Who asked.
        11 => caller: Caller,
        /// For what.
        12 => capability: Option<CapabilityRef>,
        /// What policy said; absent if the call did not get that far.
        13 => policy: Option<PolicyOutcome>,
        /// Where the request comes from.
        14 => lineage: Option<Lineage>,
        /// The facts that policy was given.
        15 => facts: Option<Commitment>,
        /// The request as received.
        16 => received: Commitment,
        /// The bytes that were forwarded.
        17 => forwarded: Option<Commitment>,
        /// The result as it came.
        18 => raw_result: Option<Commitment>,
        /// What the caller got.
        19 => released: Option<Commitment>,
        /// Interim messages.
        20 => transcript: Option<Commitment>,
        /// Digests of evidence that the call refers to.
        21 => evidence: Vec<ArtifactDigest>,
        /// Redaction rules that changed the result.
        22 => redactions: Vec<String>,
        /// The action that was halted or carried out.
        23 => action: Option<ActionDigest>,
        /// Approvals that were spent.
        24 => approvals: Vec<EntryRef>,
        /// The caller's idempotency key.
        25 => idempotency: Option<Commitment>,
        /// Controls that were active.
        26 => controls: Vec<String>,
        /// How the data is to be handled.
        27 => handling: Option<Handling>,
        /// The sealed plan and the step of it.
        28 => plan: Option<Plan>,
        /// Where the call went (see [`crate::egress::EgressConnections`]).
        29 => egress: Option<Commitment>,
        /// Layers of the sandbox that were really in force.
        30 => sandbox: Vec<String>,
        /// Observations before and after.
        31 => probes: Vec<Probe>,
        /// Calls of other gateways that this one belongs to.
        32 => correlation: Option<Correlation>,
        /// Whether a witness cosigned a checkpoint over the intent before dispatch.
        33 => witnessed: bool,
        /// What approvers are shown, where the call was halted.
        34 => preview: Option<Commitment>,
        /// How many leaves of the log had been taken into the control state that decided; absent if it was not asked.
        35 => basis: Option<u64>,
    }
}

cbor_map! {
    /// A step of a sealed plan.
    pub struct Plan {
        /// Digest of the plan.
        1 => digest: ArtifactDigest,
        /// Which step, from 0.
        2 => step: u64,
    }
}

cbor_map! {
    /// A read-only observation of what a call changed.
    pub struct Probe {
        /// The observing capability.
        1 => capability: String,
        /// What it saw before.
        2 => before: ArtifactDigest,
        /// What it saw after.
        3 => after: ArtifactDigest,
    }
}

cbor_map! {
    /// A link to another gateway's record.
    pub struct Correlation {
        /// Identifier that both records carry.
        1 => id: [u8; 16],
        /// The other record.
        2 => parent: Option<EntryDigest>,
    }
}

cbor_map! {
    /// A run is closed; it takes no further entries.
    pub struct RunClosed {
        /// Which run.
        1 => run: RunId,
        /// The last entry before this one.
        2 => head: EntryDigest,
        /// How many entries came before this one.
        3 => count: u64,
        /// Leaf index of the first.
        4 => first: u64,
        /// Leaf index of the last.
        5 => last: u64,
    }
}
