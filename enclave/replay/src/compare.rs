//! Where two records first differ.
//!
//! In: a call as recorded and as rebuilt. Out: the first [`Difference`] in the order of the
//! stages. Every field of the records has a row; a new field does not compile without one.
//! Values of a call's arguments, results and names are never shown, only that they differ.

use crate::again::Rebuilt;
use crate::call::Recorded;
use countersign_gateway::refusal::Code;
use countersign_policies::decision::Facts;
use countersign_record::body::{
    Action, Caller, CapabilityRef, Decision, Intent, PolicyOutcome, Times,
};
use countersign_record::cbor::Cbor as _;
use countersign_record::commitment::Field;
use countersign_record::digest::Commitment;
use serde::Serialize;

/// A stage of the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// 1: the body.
    Request,
    /// 2: who called.
    Identity,
    /// 3: which tool, with which arguments.
    Surface,
    /// 4: budget and idempotency.
    Budget,
    /// 5: policy.
    Policy,
    /// 6: people.
    Approval,
    /// 7: the intent.
    Seal,
    /// 8: what the upstream did. Never run again: it is taken from the record.
    Execute,
    /// 9: what may be seen of the result.
    Release,
    /// 10: the Decision Record.
    Decision,
}

impl Stage {
    /// The stage that refuses by this code.
    #[must_use]
    pub fn of_code(code: Code) -> Self {
        match code {
            Code::MalformedRequest | Code::RequestTooLarge => Self::Request,
            Code::Unauthenticated
            | Code::SignatureInvalid
            | Code::SignatureStale
            | Code::TokenInvalid
            | Code::InsufficientScope
            | Code::ProofInvalid
            | Code::CertificateInvalid
            | Code::LeaseExpired
            | Code::GatewayHeld
            | Code::NotEnrolled
            | Code::ClockDrift
            | Code::MethodNotSupported => Self::Identity,
            Code::UnknownCapability
            | Code::DescriptorChanged
            | Code::CrossTenantDenied
            | Code::InvalidArguments
            | Code::DestinationDenied
            | Code::UnrepresentableNumber => Self::Surface,
            Code::Stopped
            | Code::RateExceeded
            | Code::RunBudgetExceeded
            | Code::IdempotencyKeyRequired
            | Code::IdempotencyConflict
            | Code::IdempotencyInProgress
            | Code::IdempotencyOutcomeUnknown => Self::Budget,
            Code::PolicyDenied
            | Code::PolicyError
            | Code::ModeTooHigh
            | Code::AssuranceTooLow
            | Code::DelegationRequired
            | Code::DelegationScope
            | Code::Deferred => Self::Policy,
            Code::ApprovalRequired
            | Code::ApprovalRefused
            | Code::ApprovalImpossible
            | Code::TooManyWaiting => Self::Approval,
            Code::AuditBackpressure | Code::AuditUnavailable | Code::NotWitnessed => Self::Seal,
            Code::UpstreamUnavailable
            | Code::EgressDenied
            | Code::SandboxUnavailable
            | Code::UpstreamUntrusted
            | Code::RedirectRefused
            | Code::OutcomeUnknown
            | Code::UpstreamMalformed
            | Code::Cancelled
            | Code::StoppedRunning => Self::Execute,
            Code::ResultTooLarge
            | Code::RestrictedResult
            | Code::RedactionFailed
            | Code::ResultWithheld => Self::Release,
        }
    }

    /// The word in the output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Identity => "identity",
            Self::Surface => "surface",
            Self::Budget => "budget",
            Self::Policy => "policy",
            Self::Approval => "approval",
            Self::Seal => "seal",
            Self::Execute => "execute",
            Self::Release => "release",
            Self::Decision => "decision",
        }
    }
}

/// Where a call first came out differently.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// At which stage.
    pub stage: Stage,
    /// Which field.
    pub field: String,
    /// What the record says.
    pub recorded: String,
    /// What comes out now.
    pub recomputed: String,
}

impl Difference {
    /// A difference.
    #[must_use]
    pub fn new(stage: Stage, field: &str, recorded: String, recomputed: String) -> Self {
        Self {
            stage,
            field: field.to_owned(),
            recorded,
            recomputed,
        }
    }
}

/// A field, its stage, and what may be shown of its value.
type Row = (Stage, &'static str, String);

/// The first difference, if there is one.
#[must_use]
pub fn compare(recorded: &Recorded, rebuilt: &Rebuilt) -> Option<Difference> {
    let sealed = recorded.sealed.as_ref().map(|s| &s.intent);
    if recorded.decision == rebuilt.decision
        && sealed == rebuilt.intent.as_ref()
        && recorded.tenant == rebuilt.tenant
    {
        return None;
    }
    let mut found: Vec<Difference> = Vec::new();
    let tenant = |t: Option<countersign_record::digest::TenantId>| {
        vec![(
            Stage::Identity,
            "place.tenant",
            t.map_or("none".to_owned(), |t| t.to_string()),
        )]
    };
    differences(tenant(recorded.tenant), tenant(rebuilt.tenant), &mut found);
    // Which facts differ says more than that their commitments do.
    let facts = |bytes: Option<&[u8]>| {
        bytes
            .and_then(|b| Facts::from_bytes(b).ok())
            .map_or_else(Vec::new, |f| facts_rows(&f))
    };
    let was = recorded
        .decision
        .facts
        .and_then(|c| recorded.value(Field::Facts, c));
    let is = rebuilt
        .disclosures
        .iter()
        .find(|d| d.field == Field::Facts)
        .map(|d| d.value.0.as_slice());
    differences(facts(was), facts(is), &mut found);
    let (refused_was, refused_is) = (stage_of(&recorded.decision), stage_of(&rebuilt.decision));
    let end = refused_was.min(refused_is);
    differences(
        decision_rows(&recorded.decision, end),
        decision_rows(&rebuilt.decision, end),
        &mut found,
    );
    match (sealed, &rebuilt.intent) {
        (Some(was), Some(is)) => differences(intent_rows(was), intent_rows(is), &mut found),
        (None, None) => (),
        (was, is) => {
            let words = |there: bool| if there { "sealed" } else { "not sealed" }.to_owned();
            found.push(Difference::new(
                Stage::Seal.min(end),
                "intent",
                words(was.is_some()),
                words(is.is_some()),
            ));
        }
    }
    let bytes = || {
        Difference::new(
            Stage::Decision,
            "bytes",
            "as recorded".to_owned(),
            "others".to_owned(),
        )
    };
    Some(
        found
            .into_iter()
            .min_by_key(|d| d.stage)
            .unwrap_or_else(bytes),
    )
}

/// The stage at which a call ended.
fn stage_of(decision: &Decision) -> Stage {
    match decision.code.as_deref() {
        Some(name) => Code::from_name(name).map_or(Stage::Decision, Stage::of_code),
        None => Stage::Decision,
    }
}

/// Policy's outcome, field by field, as another computation gives it.
#[must_use]
pub fn compare_policy(was: &PolicyOutcome, is: &PolicyOutcome) -> Option<Difference> {
    let mut found = Vec::new();
    differences(policy_rows(Some(was)), policy_rows(Some(is)), &mut found);
    found.into_iter().next()
}

/// Rows of the same fields in the same order; where one side has none, all of the other differ.
fn differences(was: Vec<Row>, is: Vec<Row>, found: &mut Vec<Difference>) {
    if was.len() == is.len() {
        let differ = was.into_iter().zip(is).filter(|(w, i)| w.2 != i.2);
        found.extend(differ.map(|((stage, field, w), (_, _, i))| {
            let (w, i) = readable(w, i);
            Difference::new(stage, field, w, i)
        }));
    } else if let Some((stage, field, _)) = was.first().or(is.first()) {
        let words = |rows: &[Row]| if rows.is_empty() { "absent" } else { "present" }.to_owned();
        found.push(Difference::new(*stage, field, words(&was), words(&is)));
    }
}

/// Commitments and digests of values say nothing to a reader.
fn readable(was: String, is: String) -> (String, String) {
    match (was.strip_prefix(HIDDEN), is.strip_prefix(HIDDEN)) {
        (None, None) => (was, is),
        (was, is) => {
            let word = |hidden: Option<&str>| {
                match hidden {
                    Some("") => "absent",
                    Some(_) => "another value",
                    None => "absent",
                }
                .to_owned()
            };
            (word(was), word(is))
        }
    }
}

/// A field of policy's outcome, as text.
type OfPolicy = fn(&PolicyOutcome) -> String;

/// Marks what is compared and not shown.
const HIDDEN: &str = "\u{0}";

fn hidden(commitment: Option<Commitment>) -> String {
    format!(
        "{HIDDEN}{}",
        commitment.map_or(String::new(), |c| c.to_string())
    )
}

fn show<T: std::fmt::Debug>(value: &T) -> String {
    format!("{value:?}")
}

fn word(value: Option<&str>) -> String {
    value.unwrap_or("none").to_owned()
}

fn caller_rows(caller: &Caller) -> Vec<Row> {
    let Caller {
        assurance,
        key,
        agent,
        user,
        session,
        proof,
        claims,
        principal_chain,
        subject,
    } = caller;
    vec![
        (Stage::Request, "caller.session", hidden(*session)),
        (Stage::Identity, "caller.assurance", assurance.to_string()),
        (Stage::Identity, "caller.key", show(key)),
        (Stage::Identity, "caller.agent", hidden(Some(*agent))),
        (Stage::Identity, "caller.user", hidden(*user)),
        (Stage::Identity, "caller.proof", hidden(*proof)),
        (Stage::Identity, "caller.subject", show(subject)),
        (Stage::Identity, "caller.claims", hidden(*claims)),
        (
            Stage::Identity,
            "caller.principal_chain",
            hidden(*principal_chain),
        ),
    ]
}

fn capability_rows(capability: Option<&CapabilityRef>) -> Vec<Row> {
    let Some(CapabilityRef {
        id,
        descriptor,
        adapter,
        upstream,
    }) = capability
    else {
        return Vec::new();
    };
    vec![
        (Stage::Surface, "capability.id", id.clone()),
        (Stage::Surface, "capability.descriptor", show(descriptor)),
        (Stage::Surface, "capability.adapter", adapter.clone()),
        (Stage::Surface, "capability.upstream", show(upstream)),
    ]
}

fn policy_rows(policy: Option<&PolicyOutcome>) -> Vec<Row> {
    let Some(PolicyOutcome {
        bundle,
        fired,
        obligations,
        errors,
        requested,
        effective,
        highest,
    }) = policy
    else {
        return Vec::new();
    };
    vec![
        (Stage::Policy, "policy.bundle", bundle.to_string()),
        (Stage::Policy, "policy.fired", fired.join(", ")),
        (Stage::Policy, "policy.obligations", obligations.join(", ")),
        (Stage::Policy, "policy.errors", errors.join(", ")),
        (
            Stage::Policy,
            "policy.requested",
            requested.name().to_owned(),
        ),
        (
            Stage::Policy,
            "policy.effective",
            effective.name().to_owned(),
        ),
        (Stage::Policy, "policy.highest", highest.name().to_owned()),
    ]
}

fn facts_rows(facts: &Facts) -> Vec<Row> {
    let Facts {
        version,
        tenant,
        agent,
        assurance,
        user,
        capability,
        descriptor,
        requested,
        input,
        shapes,
        approvers,
        budget,
        time,
        token,
        flow,
    } = facts;
    let secret = |value: &dyn std::fmt::Debug| format!("{HIDDEN}{value:?}");
    vec![
        (Stage::Policy, "facts.version", version.to_string()),
        (Stage::Identity, "facts.tenant", secret(tenant)),
        (Stage::Identity, "facts.agent", secret(agent)),
        (Stage::Identity, "facts.assurance", assurance.to_string()),
        (Stage::Identity, "facts.user", secret(user)),
        (Stage::Surface, "facts.capability", capability.clone()),
        (Stage::Surface, "facts.descriptor", descriptor.to_string()),
        (
            Stage::Surface,
            "facts.requested",
            requested.name().to_owned(),
        ),
        (Stage::Surface, "facts.input", secret(input)),
        (Stage::Surface, "facts.shapes", show(shapes)),
        (Stage::Policy, "facts.approvers", approvers.join(", ")),
        (
            Stage::Budget,
            "facts.budget.calls",
            budget.calls.to_string(),
        ),
        (Stage::Budget, "facts.budget.limit", show(&budget.limit)),
        (Stage::Policy, "facts.time", time.0.to_string()),
        (Stage::Identity, "facts.token", secret(token)),
        (Stage::Surface, "facts.flow", show(flow)),
    ]
}

fn intent_rows(intent: &Intent) -> Vec<Row> {
    let Intent {
        call,
        in_force,
        action,
        caller,
        verdict,
        policy,
        facts,
        received,
        approvals,
        idempotency,
        controls,
        parent,
        basis,
    } = intent;
    let mut out = vec![
        (Stage::Request, "intent.call", call.to_string()),
        (Stage::Request, "intent.received", hidden(Some(*received))),
        (Stage::Request, "intent.idempotency", hidden(*idempotency)),
    ];
    out.extend(caller_rows(caller));
    out.push((Stage::Budget, "intent.basis", basis.to_string()));
    out.extend(policy_rows(Some(policy)));
    out.extend([
        (Stage::Policy, "intent.facts", hidden(Some(*facts))),
        (Stage::Policy, "intent.verdict", verdict.name().to_owned()),
        (Stage::Policy, "intent.controls", controls.join(", ")),
        (Stage::Approval, "intent.approvals", show(approvals)),
        (Stage::Approval, "intent.parent", show(parent)),
        (Stage::Seal, "intent.in_force", show(in_force)),
    ]);
    if let Ok(action) = Action::from_bytes(&action.0) {
        out.extend(action_rows(&action));
    }
    out.push((
        Stage::Seal,
        "intent.action",
        countersign_record::statement::action_digest(&action.0).to_string(),
    ));
    out
}

fn action_rows(action: &Action) -> Vec<Row> {
    let Action {
        gateway,
        tenant,
        agent,
        capability,
        mode,
        forwarded,
        preview,
        bundle,
        call,
    } = action;
    let mut out = vec![
        (Stage::Identity, "action.gateway", gateway.to_string()),
        (Stage::Identity, "action.tenant", tenant.to_string()),
        (Stage::Identity, "action.agent", hidden(Some(*agent))),
    ];
    out.extend(capability_rows(Some(capability)));
    out.extend([
        (Stage::Policy, "action.mode", mode.name().to_owned()),
        (Stage::Policy, "action.bundle", bundle.to_string()),
        (Stage::Approval, "action.call", call.to_string()),
        (Stage::Seal, "action.forwarded", hidden(Some(*forwarded))),
        (Stage::Seal, "action.preview", hidden(Some(*preview))),
    ]);
    out
}

/// `end` is the stage at which the call ended, as recorded or as rebuilt, whichever comes first.
#[expect(clippy::too_many_lines, reason = "one row for each field")]
fn decision_rows(decision: &Decision, end: Stage) -> Vec<Row> {
    let Decision {
        call,
        in_force,
        intent,
        parent,
        verdict,
        code,
        effect,
        cancelled,
        times:
            Times {
                received: received_at,
                decided,
                dispatched,
                settled,
            },
        trace,
        caller,
        capability,
        policy,
        lineage,
        facts,
        received,
        forwarded,
        raw_result,
        released,
        transcript,
        evidence,
        redactions,
        action,
        approvals,
        idempotency,
        controls,
        handling,
        plan,
        egress,
        sandbox,
        probes,
        correlation,
        witnessed,
        preview,
        basis,
    } = decision;
    let mut out = vec![
        (Stage::Request, "decision.call", call.to_string()),
        (
            Stage::Request,
            "decision.times.received",
            received_at.0.to_string(),
        ),
        (Stage::Request, "decision.trace", show(trace)),
        (Stage::Request, "decision.lineage", show(lineage)),
        (Stage::Request, "decision.received", hidden(Some(*received))),
        (Stage::Request, "decision.idempotency", hidden(*idempotency)),
    ];
    out.extend(caller_rows(caller));
    // Shown as a list of its own, because a call without one has no rows.
    out.push((
        Stage::Surface,
        "decision.capability",
        capability.as_ref().map_or(String::new(), |c| {
            let rows: Vec<String> = capability_rows(Some(c)).into_iter().map(|r| r.2).collect();
            rows.join(" ")
        }),
    ));
    out.extend([
        (Stage::Surface, "decision.handling", show(handling)),
        (Stage::Budget, "decision.basis", show(basis)),
        (end, "decision.verdict", verdict.name().to_owned()),
        (end, "decision.code", word(code.as_deref())),
        (
            end.min(Stage::Policy),
            "decision.times.decided",
            decided.0.to_string(),
        ),
        (end, "decision.controls", controls.join(", ")),
    ]);
    let fields: [(&'static str, OfPolicy); 7] = [
        ("decision.policy.bundle", |p| p.bundle.to_string()),
        ("decision.policy.fired", |p| p.fired.join(", ")),
        ("decision.policy.obligations", |p| p.obligations.join(", ")),
        ("decision.policy.errors", |p| p.errors.join(", ")),
        ("decision.policy.requested", |p| {
            p.requested.name().to_owned()
        }),
        ("decision.policy.effective", |p| {
            p.effective.name().to_owned()
        }),
        ("decision.policy.highest", |p| p.highest.name().to_owned()),
    ];
    out.extend(fields.into_iter().map(|(field, of)| {
        (
            Stage::Policy.min(end),
            field,
            policy.as_ref().map_or("none".to_owned(), of),
        )
    }));
    out.extend([
        (Stage::Policy.min(end), "decision.facts", hidden(*facts)),
        (Stage::Approval.min(end), "decision.parent", show(parent)),
        (Stage::Approval.min(end), "decision.action", show(action)),
        (
            Stage::Approval.min(end),
            "decision.preview",
            hidden(*preview),
        ),
        (
            Stage::Approval.min(end),
            "decision.approvals",
            show(approvals),
        ),
        (Stage::Seal.min(end), "decision.intent", show(intent)),
        (
            Stage::Seal.min(end),
            "decision.forwarded",
            hidden(*forwarded),
        ),
        (
            Stage::Execute.min(end),
            "decision.effect",
            effect.name().to_owned(),
        ),
        (
            Stage::Execute.min(end),
            "decision.cancelled",
            word(cancelled.as_deref()),
        ),
        (
            Stage::Execute.min(end),
            "decision.times.dispatched",
            show(dispatched),
        ),
        (
            Stage::Execute.min(end),
            "decision.raw_result",
            hidden(*raw_result),
        ),
        (
            Stage::Execute.min(end),
            "decision.transcript",
            hidden(*transcript),
        ),
        (
            Stage::Release.min(end),
            "decision.released",
            hidden(*released),
        ),
        (
            Stage::Release.min(end),
            "decision.redactions",
            redactions.join(", "),
        ),
        (
            Stage::Decision,
            "decision.times.settled",
            settled.0.to_string(),
        ),
        (Stage::Decision, "decision.in_force", show(in_force)),
        (Stage::Decision, "decision.evidence", show(evidence)),
        (Stage::Decision, "decision.plan", show(plan)),
        (Stage::Decision, "decision.egress", hidden(*egress)),
        (Stage::Decision, "decision.sandbox", sandbox.join(", ")),
        (Stage::Decision, "decision.probes", show(probes)),
        (Stage::Decision, "decision.correlation", show(correlation)),
        (Stage::Decision, "decision.witnessed", witnessed.to_string()),
    ]);
    out
}
