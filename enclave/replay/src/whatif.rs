//! What another bundle would have said.
//!
//! In: a recorded call, two bundles, the state on which the call was decided. Out: what each
//! bundle says on the same inputs, so that like is compared with like. Each call is judged on
//! the recorded state: what an earlier change would have changed for later calls is not
//! followed. People who had approved by then are taken to have approved.

use crate::again::{UnderWay, budgeted_under};
use crate::call::Recorded;
use crate::compare::Stage;
use crate::rules::Rules;
use countersign_gateway::policy::consider;
use countersign_gateway::state::State;
use countersign_policies::bundle::UnsignedBundle;
use countersign_policies::decision::{Outcome, PolicyDecision, StepUp};
use countersign_record::commitment::Field;
use countersign_record::digest::PublicKey;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// A bundle to compare with.
#[derive(Debug)]
pub struct Candidate {
    /// The bundle.
    pub bundle: UnsignedBundle,
    /// Keys of bundle signers that the auditor trusts.
    pub signers: Vec<PublicKey>,
}

/// What a bundle says of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Weighed {
    /// `allow`, `modify`, `step_up`, `defer` or `deny`.
    pub verdict: &'static str,
    /// Code of the refusal, where the call does not get as far as policy.
    pub code: Option<String>,
    /// Policies and built-in rules that determined it.
    pub policies: Vec<String>,
    /// Obligations.
    pub obligations: Vec<String>,
}

/// A call of which another bundle says something else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The call.
    pub call: String,
    /// Leaf index of its Decision Record.
    pub entry: u64,
    /// The capability.
    pub capability: Option<String>,
    /// The bundle that was in force.
    pub before: Weighed,
    /// The other one.
    pub after: Weighed,
}

/// All calls against another bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Against {
    /// Digest of the bundle, hexadecimal.
    pub bundle: String,
    /// Name of its site.
    pub name: String,
    /// Its environment.
    pub environment: String,
    /// Its version.
    pub version: u64,
    /// Signatures on it.
    pub signatures: usize,
    /// Keys of the trust file's bundle signers that signed it.
    pub signed_by: Vec<String>,
    /// Calls of which it says the same.
    pub same: u64,
    /// Calls of which it says something else.
    pub changed: u64,
    /// How many changed which way, such as `allow → deny`.
    pub ways: BTreeMap<String, u64>,
    /// Calls that could not be compared, by reason.
    pub not_compared: BTreeMap<String, u64>,
    /// What changed.
    pub changes: Vec<Change>,
}

impl Against {
    /// Before the first call.
    #[must_use]
    pub fn new(candidate: &Candidate) -> Self {
        let statement = candidate.bundle.statement();
        Self {
            bundle: statement.digest.to_string(),
            name: statement.name.clone(),
            environment: statement.environment.clone(),
            version: statement.version,
            signatures: candidate.bundle.signature_count(),
            signed_by: candidate
                .bundle
                .signed_by(&candidate.signers)
                .iter()
                .map(ToString::to_string)
                .collect(),
            same: 0,
            changed: 0,
            ways: BTreeMap::new(),
            not_compared: BTreeMap::new(),
            changes: Vec::new(),
        }
    }

    /// A call that cannot be compared.
    pub fn skip(&mut self, reason: &str) {
        let count = self.not_compared.entry(reason.to_owned()).or_default();
        *count = count.saturating_add(1);
    }

    /// A call of which both bundles said something.
    pub fn take(&mut self, recorded: &Recorded, before: Weighed, after: Weighed) {
        if before == after {
            self.same = self.same.saturating_add(1);
            return;
        }
        self.changed = self.changed.saturating_add(1);
        let way = if (before.verdict, &before.code) != (after.verdict, &after.code) {
            format!("{} → {}", before.word(), after.word())
        } else if before.obligations == after.obligations {
            format!("{}, by other policies", before.verdict)
        } else {
            format!("{}, with other obligations", before.verdict)
        };
        let count = self.ways.entry(way).or_default();
        *count = count.saturating_add(1);
        self.changes.push(Change {
            call: recorded.decision.call.to_string(),
            entry: recorded.index,
            capability: recorded.decision.capability.as_ref().map(|c| c.id.clone()),
            before,
            after,
        });
    }
}

impl Weighed {
    /// Verdict and code.
    #[must_use]
    pub fn word(&self) -> String {
        match &self.code {
            Some(code) => format!("{} ({code})", self.verdict),
            None => self.verdict.to_owned(),
        }
    }

    fn refused(code: &str, rule: Option<&str>) -> Self {
        Self {
            verdict: "deny",
            code: Some(code.to_owned()),
            policies: rule.map(str::to_owned).into_iter().collect(),
            obligations: Vec::new(),
        }
    }

    fn of(decision: PolicyDecision, satisfied: impl FnOnce(&StepUp) -> bool) -> Self {
        let verdict = match &decision.outcome {
            Outcome::Deny => "deny",
            Outcome::Defer => "defer",
            Outcome::StepUp(step_up) if !satisfied(step_up) => "step_up",
            Outcome::StepUp(_) | Outcome::Allow if decision.obligations.redact.is_empty() => {
                "allow"
            }
            Outcome::StepUp(_) | Outcome::Allow | Outcome::Modify { .. } => "modify",
        };
        Self {
            verdict,
            code: None,
            obligations: decision.obligations.words(),
            policies: decision.policies,
        }
    }
}

/// What a bundle says of a call, from the request on; from the facts on, where the request is withheld.
///
/// # Errors
/// In words, why nothing can be said.
pub fn weigh(
    recorded: &Recorded,
    rules: &Rules,
    state: Option<&mut State>,
    under_way: &UnderWay<'_>,
) -> Result<Weighed, String> {
    let facts = recorded.facts();
    let approvers: BTreeSet<String> = facts
        .iter()
        .flat_map(|f| f.approvers.iter().cloned())
        .collect();
    let approved = |tenant: &str, capability: &str, step_up: &StepUp| {
        let eligible = rules.engine.eligible_approvers(tenant, capability, step_up);
        let count = eligible
            .iter()
            .filter(|p| approvers.contains(&p.id))
            .count();
        count >= usize::from(step_up.quorum)
    };
    let whole = recorded.agent().is_some()
        && recorded
            .value(Field::Received, recorded.decision.received)
            .is_some();
    let (Some(state), true) = (state, whole) else {
        let facts = facts.ok_or("neither request nor facts are disclosed")?;
        let (decision, _) = rules.decide(&facts);
        return Ok(Weighed::of(decision, |step_up| {
            approved(&facts.tenant, &facts.capability, step_up)
        }));
    };
    let tenant = recorded
        .agent()
        .and_then(|urn| rules.agent(urn))
        .map(|(agent, _)| agent.tenant.clone())
        .unwrap_or_default();
    let judged = budgeted_under(
        recorded,
        rules,
        state,
        under_way,
        |budgeted, now| match budgeted {
            Err(refused) => {
                let refusal = refused.refusal();
                Weighed::refused(refusal.code().name(), refusal.rule())
            }
            Ok(budgeted) => {
                let decision = consider(&budgeted, &rules.engine, &approvers, now);
                let capability = budgeted.capability().id.clone();
                Weighed::of(decision, |step_up| approved(&tenant, &capability, step_up))
            }
        },
    );
    match judged {
        Ok(weighed) => Ok(weighed),
        Err(difference) if difference.stage == Stage::Identity => {
            Ok(Weighed::refused("unauthenticated", None))
        }
        Err(difference) => Err(format!("the request is refused: {}", difference.recomputed)),
    }
}
