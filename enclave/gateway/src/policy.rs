//! Stage 5: policy decides.
//!
//! In: [`Budgeted`], the compiled bundle, and who has approved this action so far. Out:
//! [`Permitted`], [`Escalated`], or a refusal. The exact facts that policy was given stay
//! with the call, so that the verdict can be computed again.

use crate::approval::{is_same, standing};
use crate::budget::Budgeted;
use crate::call::{Judged, Moment, Progress};
use crate::refusal::{Code, Refusal, Refused, Retry};
use crate::state::State;
use countersign_policies::decision::Facts;
use countersign_policies::decision::{Outcome, PolicyDecision, StepUp, builtin};
use countersign_policies::engine::{CallFacts, Engine, Viewer};
use countersign_record::body::{PolicyOutcome, Verdict};
use countersign_record::cbor::Cbor;
use std::collections::BTreeSet;
use std::sync::Arc;

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
    pub(crate) duty: Duty,
}

/// What has to happen between a durable intent and the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duty {
    /// Nothing.
    None,
    /// Independent witnesses cosign a checkpoint over the intent.
    Witnessed,
}

impl Decided {
    pub(crate) fn progress(&self) -> &Progress {
        &self.budgeted.surfaced.progress
    }

    pub(crate) fn into_progress(self) -> Progress {
        self.budgeted.surfaced.progress
    }
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
    let approvers = approvers(&budgeted, engine, state, now);
    let facts = facts(&budgeted, &approvers, now);
    let decision = engine.decide(&facts);
    let progress = &mut budgeted.surfaced.progress;
    progress.judged = Some(Arc::new(Judged {
        outcome: outcome(engine, &decision),
        facts: facts.to_bytes(),
        verdict: if decision.obligations.redact.is_empty() {
            Verdict::Allow
        } else {
            Verdict::Modify
        },
    }));
    let redact = decision.obligations.redact.clone();
    let duty = if decision.obligations.witnessed {
        Duty::Witnessed
    } else {
        Duty::None
    };
    match decision.outcome {
        // A permit that was told who approved uses these approvals up, as one that asks for them does.
        Outcome::Allow | Outcome::Modify { .. } if !approvers.is_empty() => {
            Ok(Judgement::Escalated(Escalated {
                decided: Decided {
                    budgeted,
                    redact,
                    duty,
                },
                step_up: StepUp {
                    quorum: u8::try_from(approvers.len()).unwrap_or(u8::MAX),
                    approvers: Vec::new(),
                },
            }))
        }
        Outcome::Allow | Outcome::Modify { .. } => Ok(Judgement::Permitted(Permitted(Decided {
            budgeted,
            redact,
            duty,
        }))),
        Outcome::StepUp(step_up) => Ok(Judgement::Escalated(Escalated {
            decided: Decided {
                budgeted,
                redact,
                duty,
            },
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
            let refusal =
                Refusal::new(Code::Deferred, Retry::After(DEFER_SECONDS)).under(decision.policies);
            Err(Box::new(Refused {
                progress: budgeted.surfaced.progress,
                refusal,
            }))
        }
    }
}

/// What policy would say if these people had approved: to compare bundles. Gives no right to go on.
#[must_use]
pub fn consider(
    budgeted: &Budgeted,
    engine: &Engine,
    approvers: &BTreeSet<String>,
    now: Moment,
) -> PolicyDecision {
    engine.decide(&facts(budgeted, approvers, now))
}

/// Who has approved this very action, by approvals that hold now. None for a repetition, which uses none.
fn approvers(budgeted: &Budgeted, engine: &Engine, state: &State, now: Moment) -> BTreeSet<String> {
    let surfaced = &budgeted.surfaced;
    let (who, capability) = (&surfaced.who, &surfaced.capability);
    let mode = surfaced.progress.requested_mode.unwrap_or(capability.mode);
    let halted = state
        .halted(&budgeted.request)
        .filter(|h| budgeted.earlier.is_none() && !h.refused && is_same(h, engine, mode, now.at));
    halted.map_or_else(BTreeSet::new, |halted| {
        let people = engine
            .content()
            .eligible(&who.tenant_name, &capability.id, &[]);
        standing(halted, &people, who, now.at)
            .map(|(person, _)| person.id.clone())
            .collect()
    })
}

fn facts(budgeted: &Budgeted, approvers: &BTreeSet<String>, now: Moment) -> Facts {
    let surfaced = &budgeted.surfaced;
    Facts::of_call(CallFacts {
        viewer: Viewer {
            tenant: &surfaced.who.tenant_name,
            agent: &surfaced.who.agent,
            assurance: surfaced.who.assurance,
        },
        user: surfaced.who.user.as_deref(),
        token: surfaced.who.token.as_ref(),
        capability: &surfaced.capability,
        descriptor: surfaced.descriptor,
        requested: surfaced.progress.requested_mode,
        constrained: &surfaced.constrained,
        approvers,
        budget: budgeted.budget.clone(),
        time: now.at,
        flow: surfaced.flow.as_ref(),
    })
}

/// What a record says of a decision of policy.
#[must_use]
pub fn outcome(engine: &Engine, decision: &PolicyDecision) -> PolicyOutcome {
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
    } else if fired(builtin::DELEGATION_REQUIRED) {
        Code::DelegationRequired
    } else if fired(builtin::SCOPE_MISSING) {
        Code::DelegationScope
    } else if fired(builtin::ASSURANCE_TOO_LOW) {
        Code::AssuranceTooLow
    } else {
        Code::PolicyDenied
    })
    .under(decision.policies.clone())
}
