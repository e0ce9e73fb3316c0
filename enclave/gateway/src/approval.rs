//! Stage 6: where people have to approve, they have, this very action.
//!
//! In: what policy decided, and the control state. Out: [`Approved`]; or a [`Halt`], whose
//! action waits; or a refusal. An approval covers one action, once, for a short time, and
//! comes from an enrolled person who is not the one asking.

use crate::budget::Repeated;
use crate::call::{Judged, Moment, Progress, Who};
use crate::policy::{Decided, Duty, Escalated, Permitted};
use crate::refusal::{Code, Refusal, Refused};
use crate::state::keys::Owner;
use crate::state::{Behind, Given, Halted, Spent, State};
use bytes::Bytes;
use countersign_policies::engine::Engine;
use countersign_policies::site::capability::Capability;
use countersign_policies::site::people::Approver;
use countersign_record::body::{Action, Mode};
use countersign_record::commitment::{Disclosure, Field};
use countersign_record::digest::{GatewayId, UnixMillis};
use countersign_record::entry::EntryRef;
use countersign_record::preview::Preview;
use std::collections::BTreeSet;
use std::sync::Arc;

/// How long a halted action waits before it is forgotten (24 hours).
pub const WAIT_MILLIS: u64 = 24 * 60 * 60 * 1000;

/// How long an approval must still hold when it is used (5 seconds), so that it holds when the intent stands in the log.
///
/// The way there takes milliseconds; the verifier compares with the time of the entry.
pub const SEAL_MILLIS: u64 = 5_000;

/// Largest arguments that a person is asked to approve, in bytes (64 KiB). Nobody reads more.
pub const MAX_SHOWN_BYTES: usize = 64 * 1024;

/// A call that may be sealed.
#[derive(Debug)]
pub struct Approved {
    decided: Decided,
    judged: Arc<Judged>,
    /// The halted action that this call takes up, with what opens its commitments.
    taken_up: Option<(Action, Vec<Disclosure>)>,
    gateway: GatewayId,
}

/// A call that waits for people.
#[derive(Debug)]
#[must_use = "a halted call has to be recorded"]
pub struct Halt {
    progress: Progress,
    action: Action,
    disclosures: Vec<Disclosure>,
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
    let Some(judged) = decided.progress().judged.clone() else {
        return refuse(decided, Code::PolicyError);
    };
    if decided.budgeted.surfaced.answers.is_some() {
        // A person approves arguments; what is sent beside them would be sent unseen.
        return refuse(decided, Code::ApprovalImpossible);
    }
    let key = decided.budgeted.request;
    let Some(halted) = state.halted(&key).filter(|h| h.waits(now.at)) else {
        return halt(decided, &judged, state, now.at);
    };
    // Asking under another mode does not undo a person's word.
    if halted.refused && halted.action.bundle == engine.bundle() {
        return refuse(decided, Code::ApprovalRefused);
    }
    if !is_same(halted, engine, judged.outcome.effective, now.at) {
        return halt(decided, &judged, state, now.at);
    }
    let surfaced = &decided.budgeted.surfaced;
    let (tenant, capability) = (&surfaced.who.tenant_name, &surfaced.capability.id);
    let eligible = engine.eligible_approvers(tenant, capability, &step_up);
    let entries: Vec<EntryRef> = standing(halted, &eligible, &surfaced.who, now.at)
        .map(|(_, given)| given.entry.clone())
        .collect();
    let (digest, action) = (halted.digest, halted.action.clone());
    let disclosures = halted.disclosures.clone();
    let call = surfaced.progress.call;
    // ORDER: the approvals are taken before the intent is sealed, so that no second call can use them.
    if entries.len() < usize::from(step_up.quorum) || state.spend(digest, call) == Spent::ByAnother
    {
        return Ok(wait(decided, action, disclosures));
    }
    clearance(decided, Some((action, disclosures, entries)), state)
}

/// Whether a halted action is the one that is decided now: the same bundle, the same mode, not too long ago.
pub(crate) fn is_same(halted: &Halted, engine: &Engine, mode: Mode, now: UnixMillis) -> bool {
    halted.action.bundle == engine.bundle() && halted.action.mode == mode && halted.waits(now)
}

/// Approvals that still hold when the intent reaches the log, each with its person, of whom none is the one asking.
pub(crate) fn standing<'h, 'p>(
    halted: &'h Halted,
    people: &'p [&'p Approver],
    who: &'p Who,
    now: UnixMillis,
) -> impl Iterator<Item = (&'p Approver, &'h Given)> {
    let sealed_by = now.0.saturating_add(SEAL_MILLIS);
    people
        .iter()
        .filter(|p| Some(&p.id) != who.user.as_ref() && Some(p.key.id()) != who.key)
        .filter_map(move |person| {
            let theirs = |g: &&Given| g.approver == person.key.id() && g.expires.0 >= sealed_by;
            Some((*person, halted.approvals.iter().find(theirs)?))
        })
}

fn refuse(decided: Decided, code: Code) -> Result<Clearance, Box<Refused>> {
    Err(Box::new(Refused {
        progress: decided.into_progress(),
        refusal: Refusal::never(code),
    }))
}

/// Halts a call that no recorded action waits for.
fn halt(
    decided: Decided,
    judged: &Judged,
    state: &mut State,
    now: UnixMillis,
) -> Result<Clearance, Box<Refused>> {
    let key = decided.budgeted.request;
    let same = |h: &&Halted| {
        h.action.bundle == judged.outcome.bundle && h.action.mode == judged.outcome.effective
    };
    if let Some(first) = state.halting(&key).filter(same) {
        // The same call is being halted at this moment; this one waits for the same action.
        let (action, disclosures) = (first.action.clone(), first.disclosures.clone());
        return Ok(wait(decided, action, disclosures));
    }
    let surfaced = &decided.budgeted.surfaced;
    if surfaced.arguments.len() > MAX_SHOWN_BYTES {
        return refuse(decided, Code::RequestTooLarge);
    }
    let owner = Owner::new(surfaced.who.tenant, &surfaced.who.agent);
    let (action, disclosures) = fresh_action(&decided, judged, state.gateway());
    let behind = Behind::of(&surfaced.who);
    let bytes = disclosures
        .iter()
        .fold(behind.bytes(), |n, d| n.saturating_add(d.value.0.len()));
    if !state.may_halt(owner, bytes) {
        return refuse(decided, Code::TooManyWaiting);
    }
    let halted = Halted {
        action: action.clone(),
        digest: action.digest(),
        call: action.call,
        at: now,
        disclosures: disclosures.clone(),
        approvals: Vec::new(),
        refused: false,
        given_back: 0,
        behind,
        owner,
    };
    state.halt(key, halted);
    Ok(wait(decided, action, disclosures))
}

fn wait(decided: Decided, action: Action, disclosures: Vec<Disclosure>) -> Clearance {
    Clearance::Halted(Box::new(Halt {
        progress: decided.into_progress(),
        action,
        disclosures,
    }))
}

type TakenUp = (Action, Vec<Disclosure>, Vec<EntryRef>);

fn clearance(
    mut decided: Decided,
    taken_up: Option<TakenUp>,
    state: &State,
) -> Result<Clearance, Box<Refused>> {
    if let Some(first) = decided.budgeted.earlier {
        // A repetition carries nothing out, so there is nothing to witness.
        let Decided {
            budgeted,
            redact,
            duty: _,
        } = decided;
        return Ok(Clearance::Repeated(Repeated {
            progress: Box::new(budgeted.surfaced.progress),
            first,
            capability: budgeted.surfaced.capability,
            redact,
        }));
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
    gateway: GatewayId,
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
        self.decided.progress()
    }

    pub(crate) fn into_progress(self) -> Progress {
        self.decided.into_progress()
    }

    pub(crate) fn judged(&self) -> &Judged {
        &self.judged
    }

    pub(crate) fn arguments(&self) -> Bytes {
        self.decided.budgeted.surfaced.arguments.clone()
    }

    pub(crate) fn answers(&self) -> Option<Bytes> {
        self.decided.budgeted.surfaced.answers.clone()
    }

    pub(crate) fn capability(&self) -> &Capability {
        &self.decided.budgeted.surfaced.capability
    }

    /// What has to happen before the call leaves.
    pub(crate) fn duty(&self) -> Duty {
        self.decided.duty
    }

    /// Names of the redaction rules that policy obliges to.
    pub(crate) fn redact(&self) -> &BTreeSet<String> {
        &self.decided.redact
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
        state.release(self.progress.call);
    }
}
