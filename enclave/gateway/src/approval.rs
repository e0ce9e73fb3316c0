//! Stage 6: where people have to approve, they have, this very action.
//!
//! In: what policy decided, and the control state. Out: [`Approved`]; or a [`Halt`], whose
//! action waits; or a refusal. An approval covers one action, once, for a short time, and
//! comes from an enrolled person who is not the one asking.

use crate::budget::Repeated;
use crate::call::{Judged, Moment, Progress};
use crate::policy::{Decided, Escalated, Permitted};
use crate::refusal::{Code, Refusal, Refused};
use crate::state::{Halted, State};
use bytes::Bytes;
use countersign_policies::engine::Engine;
use countersign_policies::site::capability::Redaction;
use countersign_record::body::{Action, Mode};
use countersign_record::commitment::{Disclosure, Field};
use countersign_record::digest::UnixMillis;
use countersign_record::entry::EntryRef;
use countersign_record::preview::Preview;

/// How long a halted action waits before it is forgotten (24 hours).
pub const WAIT_MILLIS: u64 = 24 * 60 * 60 * 1000;

/// A call that may be sealed.
#[derive(Debug)]
pub struct Approved {
    decided: Decided,
    judged: Judged,
    /// The halted action that this call takes up, with what opens its commitments.
    taken_up: Option<(Action, Vec<Disclosure>)>,
    gateway: countersign_record::digest::GatewayId,
}

/// A call that waits for people.
#[derive(Debug)]
#[must_use = "a halted call has to be recorded"]
pub struct Halt {
    progress: Progress,
    action: Action,
    disclosures: Vec<Disclosure>,
    key: crate::state::MatchKey,
}

/// What becomes of a call after stage 6.
#[derive(Debug)]
pub enum Clearance {
    /// It may be sealed.
    Approved(Box<Approved>),
    /// It waits for people.
    Halted(Box<Halt>),
    /// It repeats a settled call.
    Repeated(Repeated),
}

/// Stage 6 for a call that policy lets through.
///
/// # Errors
/// A refusal, if the call got here without a verdict.
pub fn clear(permitted: Permitted, state: &State) -> Result<Clearance, Box<Refused>> {
    clearance(permitted.0, None, state)
}

/// Stage 6 for a call that people have to approve.
///
/// # Errors
/// A refusal, if a person refused or no more actions can wait.
pub fn approve(
    escalated: Escalated,
    engine: &Engine,
    state: &mut State,
    now: Moment,
) -> Result<Clearance, Box<Refused>> {
    let Escalated { decided, step_up } = escalated;
    if decided.budgeted.earlier.is_some() {
        // The first call with this key was approved and carried out; repeating its outcome does nothing.
        return clearance(decided, None, state);
    }
    let key = decided.budgeted.request;
    let surfaced = &decided.budgeted.surfaced;
    let who = &surfaced.who;
    let eligible: Vec<_> = engine
        .eligible_approvers(&who.tenant_name, &surfaced.capability.id, &step_up)
        .into_iter()
        .filter(|a| Some(&a.id) != who.user.as_ref())
        .map(|a| a.key.id())
        .collect();
    drop_outdated(state, &decided, engine, now.at);
    let Some(halted) = state.halted(&key) else {
        return halt_anew(decided, state, now.at);
    };
    if halted.refused {
        return refuse(decided, Code::ApprovalRefused);
    }
    let valid: Vec<_> = halted
        .approvals
        .iter()
        .filter(|g| g.expires >= now.at && eligible.contains(&g.approver))
        .map(|g| g.entry.clone())
        .collect();
    let action = halted.action.clone();
    let disclosures = halted.disclosures.clone();
    let call = decided.budgeted.surfaced.progress.call;
    // ORDER: the approvals are spent before the intent is sealed, so that no second call can use them.
    if valid.len() < usize::from(step_up.quorum) || !state.spend(&key, call) {
        let progress = decided.budgeted.surfaced.progress;
        return Ok(Clearance::Halted(Box::new(Halt {
            progress,
            action,
            disclosures,
            key,
        })));
    }
    clearance(decided, Some((action, disclosures, valid)), state)
}

/// A halted action that waited too long, or was decided by another bundle, waits no more.
fn drop_outdated(state: &mut State, decided: &Decided, engine: &Engine, now: UnixMillis) {
    let key = decided.budgeted.request;
    let outdated = |h: &Halted| {
        h.action.bundle != engine.bundle()
            || Some(h.action.mode) != effective(decided)
            || now.0.saturating_sub(h.at.0) > WAIT_MILLIS
    };
    if state.halted(&key).is_some_and(outdated) {
        state.drop_halted(&key);
    }
}

fn effective(decided: &Decided) -> Option<Mode> {
    decided
        .budgeted
        .surfaced
        .progress
        .judged
        .as_ref()
        .map(|j| j.outcome.effective)
}

fn refuse(decided: Decided, code: Code) -> Result<Clearance, Box<Refused>> {
    let progress = decided.budgeted.surfaced.progress;
    Err(Box::new(Refused {
        progress,
        refusal: Refusal::never(code),
    }))
}

fn halt_anew(
    decided: Decided,
    state: &mut State,
    now: UnixMillis,
) -> Result<Clearance, Box<Refused>> {
    if !state.may_halt() {
        return refuse(decided, Code::AuditBackpressure);
    }
    let Some(judged) = decided.budgeted.surfaced.progress.judged.clone() else {
        return refuse(decided, Code::PolicyError);
    };
    let (action, disclosures) = fresh_action(&decided, &judged, state.gateway());
    let key = decided.budgeted.request;
    state.halt(key, action.clone(), now, disclosures.clone());
    let progress = decided.budgeted.surfaced.progress;
    Ok(Clearance::Halted(Box::new(Halt {
        progress,
        action,
        disclosures,
        key,
    })))
}

type TakenUp = (Action, Vec<Disclosure>, Vec<EntryRef>);

fn clearance(
    mut decided: Decided,
    taken_up: Option<TakenUp>,
    state: &State,
) -> Result<Clearance, Box<Refused>> {
    if let Some(first) = decided.budgeted.earlier {
        let progress = decided.budgeted.surfaced.progress;
        return Ok(Clearance::Repeated(Repeated { progress, first }));
    }
    let progress = &mut decided.budgeted.surfaced.progress;
    let Some(judged) = progress.judged.clone() else {
        return refuse(decided, Code::PolicyError);
    };
    let taken_up = taken_up.map(|(action, disclosures, approvals)| {
        progress.parent = Some(action.call);
        progress.approvals = approvals;
        (action, disclosures)
    });
    Ok(Clearance::Approved(Box::new(Approved {
        decided,
        judged,
        taken_up,
        gateway: state.gateway(),
    })))
}

/// The action of a call that was not halted before, and what opens its commitments.
fn fresh_action(
    decided: &Decided,
    judged: &Judged,
    gateway: countersign_record::digest::GatewayId,
) -> (Action, Vec<Disclosure>) {
    let surfaced = &decided.budgeted.surfaced;
    let progress = &surfaced.progress;
    let mut open = Vec::with_capacity(3);
    let preview = Preview {
        tenant: &surfaced.who.tenant_name,
        agent: &surfaced.who.agent,
        capability: &surfaced.capability.id,
        mode: judged.outcome.effective,
        arguments: &surfaced.arguments,
    };
    let action = Action {
        gateway,
        tenant: surfaced.who.tenant,
        agent: progress.put(&mut open, Field::Agent, surfaced.who.agent.as_bytes()),
        capability: crate::surface::capability_ref(&surfaced.capability),
        mode: judged.outcome.effective,
        forwarded: progress.put(&mut open, Field::Forwarded, &surfaced.arguments),
        preview: progress.put(&mut open, Field::Preview, preview.text().as_bytes()),
        bundle: judged.outcome.bundle,
        call: progress.call,
    };
    (action, open)
}

impl Approved {
    pub(crate) fn action(&self) -> (Action, Vec<Disclosure>) {
        match &self.taken_up {
            Some((action, disclosures)) => (action.clone(), disclosures.clone()),
            None => fresh_action(&self.decided, &self.judged, self.gateway),
        }
    }

    pub(crate) fn progress(&self) -> &Progress {
        &self.decided.budgeted.surfaced.progress
    }

    pub(crate) fn into_progress(self) -> Progress {
        self.decided.budgeted.surfaced.progress
    }

    pub(crate) fn judged(&self) -> &Judged {
        &self.judged
    }

    pub(crate) fn arguments(&self) -> Bytes {
        self.decided.budgeted.surfaced.arguments.clone()
    }

    pub(crate) fn adapter(&self) -> &str {
        &self.decided.budgeted.surfaced.capability.adapter
    }

    pub(crate) fn tool(&self) -> &str {
        &self.decided.budgeted.surfaced.capability.tool
    }

    pub(crate) fn is_restricted(&self) -> bool {
        self.progress()
            .what
            .as_ref()
            .is_none_or(crate::call::What::is_restricted)
    }

    pub(crate) fn redactions(&self) -> impl Iterator<Item = &Redaction> {
        let capability = &self.decided.budgeted.surfaced.capability;
        self.decided
            .redact
            .iter()
            .filter_map(|name| capability.redaction(name))
    }
}

impl Halt {
    /// The action that waits.
    #[must_use]
    pub fn action(&self) -> &Action {
        &self.action
    }

    pub(crate) fn progress(&self) -> &Progress {
        &self.progress
    }

    pub(crate) fn disclosures(&self) -> &[Disclosure] {
        &self.disclosures
    }

    /// Makes the action wait no more, when its halting could not be recorded.
    pub fn undo(&self, state: &mut State) {
        if self.action.call == self.progress.call {
            state.drop_halted(&self.key);
        }
    }
}
