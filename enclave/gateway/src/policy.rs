//! Stage 5: policy decides.
//!
//! In: [`Budgeted`], the compiled bundle, and who has approved this action so far. Out:
//! [`Permitted`], [`Escalated`], or a refusal. The exact facts that policy was given stay
//! with the call, so that the verdict can be computed again.

use crate::budget::Budgeted;
use crate::call::{Judged, Moment};
use crate::refusal::{Code, Refusal, Refused, Retry};
use crate::state::State;
use countersign_policies::decision::Facts;
use countersign_policies::decision::{Outcome, PolicyDecision, StepUp, builtin};
use countersign_policies::engine::{CallFacts, Engine, Viewer};
use countersign_record::body::{PolicyOutcome, Verdict};
use countersign_record::cbor::Cbor;
use std::collections::BTreeSet;

/// Seconds after which a deferred call may be tried again.
const DEFER_SECONDS: u64 = 60;

/// A call that policy lets through.
#[derive(Debug)]
pub struct Permitted(pub(crate) Decided);

/// A call that people have to approve.
#[derive(Debug)]
pub struct Escalated {
    pub(crate) decided: Decided,
    pub(crate) step_up: StepUp,
}

/// What either way shares.
#[derive(Debug)]
pub(crate) struct Decided {
    pub(crate) budgeted: Budgeted,
    pub(crate) redact: BTreeSet<String>,
}

/// Which way a call goes.
#[derive(Debug)]
pub enum Judgement {
    /// Through.
    Permitted(Permitted),
    /// To people first.
    Escalated(Escalated),
}

/// Stage 5.
///
/// # Errors
/// A refusal, if policy denies, defers, or could not be evaluated.
pub fn decide(
    mut budgeted: Budgeted,
    engine: &Engine,
    state: &State,
    now: Moment,
) -> Result<Judgement, Box<Refused>> {
    let facts = facts(&budgeted, engine, state, now);
    let decision = engine.decide(&facts);
    let progress = &mut budgeted.surfaced.progress;
    progress.decided_at = Some(now.at);
    progress.judged = Some(Judged {
        outcome: outcome(engine, &decision),
        facts: facts.to_bytes(),
        verdict: if decision.obligations.redact.is_empty() {
            Verdict::Allow
        } else {
            Verdict::Modify
        },
    });
    let redact = decision.obligations.redact.clone();
    match decision.outcome {
        Outcome::Allow | Outcome::Modify { .. } => Ok(Judgement::Permitted(Permitted(Decided {
            budgeted,
            redact,
        }))),
        Outcome::StepUp(step_up) => Ok(Judgement::Escalated(Escalated {
            decided: Decided { budgeted, redact },
            step_up,
        })),
        Outcome::Deny => {
            let refusal = denial(&decision);
            Err(Box::new(Refused {
                progress: budgeted.surfaced.progress,
                refusal,
            }))
        }
        Outcome::Defer => {
            let refusal = Refusal::new(Code::Deferred, Retry::After(DEFER_SECONDS));
            Err(Box::new(Refused {
                progress: budgeted.surfaced.progress,
                refusal,
            }))
        }
    }
}

fn facts(budgeted: &Budgeted, engine: &Engine, state: &State, now: Moment) -> Facts {
    let surfaced = &budgeted.surfaced;
    let approvers = state
        .halted(&budgeted.request)
        .map_or_else(BTreeSet::new, |halted| {
            let people = engine.content().approvers.values();
            people
                .filter(|p| halted.approvals.iter().any(|g| g.approver == p.key.id()))
                .map(|p| p.id.clone())
                .collect()
        });
    Facts::of_call(CallFacts {
        viewer: Viewer {
            tenant: &surfaced.who.tenant_name,
            agent: &surfaced.who.agent,
            assurance: surfaced.who.assurance,
        },
        user: surfaced.who.user.as_deref(),
        capability: &surfaced.capability,
        descriptor: surfaced.descriptor,
        requested: surfaced.progress.requested_mode,
        constrained: &surfaced.constrained,
        approvers: &approvers,
        budget: budgeted.budget.clone(),
        time: now.at,
    })
}

fn outcome(engine: &Engine, decision: &PolicyDecision) -> PolicyOutcome {
    PolicyOutcome {
        bundle: engine.bundle(),
        fired: decision.policies.clone(),
        obligations: decision.obligations.words(),
        errors: decision
            .errors
            .iter()
            .map(countersign_policies::decision::PolicyFault::word)
            .collect(),
        requested: decision.modes.requested,
        effective: decision.modes.effective,
        highest: decision.modes.highest,
    }
}

fn denial(decision: &PolicyDecision) -> Refusal {
    let fired = |rule: &str| decision.policies.iter().any(|p| p == rule);
    Refusal::never(if !decision.errors.is_empty() {
        Code::PolicyError
    } else if fired(builtin::MODE_ABOVE_DECLARED) {
        Code::ModeTooHigh
    } else {
        Code::PolicyDenied
    })
}
