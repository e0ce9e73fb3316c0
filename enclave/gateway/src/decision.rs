//! Stage 10: every call ends as a Decision Record, and only then is answered.
//!
//! In: a settled, refused, halted or repeated call. Out: a [`Record`]: the body to append,
//! what opens its commitments, and the [`Answer`] that the caller gets once the body is
//! durable. There is no other way from a call to an answer.

use crate::approval::Halt;
use crate::budget::Repeated;
use crate::call::{Moment, Progress};
use crate::execute::NoAnswer;
use crate::refusal::{Code, Refusal, Refused, Retry};
use crate::release::{Settled, releasable};
use crate::seal::Progressed;
use crate::security::SecurityEvent;
use bytes::Bytes;
use countersign_record::body::{Action, Decision, Effect, Intent, Times, Verdict};
use countersign_record::cbor::{Cbor, Writer};
use countersign_record::commitment::{Disclosure, Field};
use countersign_record::digest::{CallId, TenantId, UnixMillis};
use countersign_record::entry::EntryRef;

/// A Decision Record before it is durable.
#[derive(Debug)]
#[must_use = "a record has to be appended before its answer is given"]
pub struct Record {
    /// The body to append.
    pub body: Decision,
    /// What opens its commitments.
    pub disclosures: Vec<Disclosure>,
    /// The tenant, if the caller is known.
    pub tenant: Option<TenantId>,
    /// What the caller gets.
    pub answer: Answer,
    /// Which halted action the call waits for or took up.
    pub halted: Option<Halt>,
}

/// What a caller gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The tool's result, released.
    Result(Bytes),
    /// A refusal.
    Refused(Refusal),
}

/// Settles a call that was carried out, or at least committed.
pub fn settle(settled: Settled, in_force: EntryRef, now: Moment) -> Record {
    let Settled {
        committed,
        dispatched,
        effect,
        raw,
        released,
        transcript,
        redactions,
        cancelled,
        around,
    } = settled;
    let verdict = if redactions.is_empty() {
        committed.verdict()
    } else {
        Verdict::Modify
    };
    let (intent, forwarded, digest) = (
        committed.intent.clone(),
        committed.action.forwarded,
        committed.action.digest(),
    );
    let witnessed = committed.witnessed;
    let progress = committed.approved.into_progress();
    let mut record = begin(&progress, in_force, verdict, now);
    // The intent's row has what opens its commitments; the decision adds the results.
    record.disclosures.clear();
    let open = &mut record.disclosures;
    record.body.raw_result = raw.map(|bytes| progress.put(open, Field::RawResult, &bytes));
    if let Ok(bytes) = &released {
        record.body.released = Some(progress.put(open, Field::Released, bytes));
    }
    if !transcript.is_empty() {
        record.body.transcript =
            Some(progress.put(open, Field::Transcript, &transcript_bytes(&transcript)));
    }
    let on_its_way = SecurityEvent::of_way(&around);
    record.body.egress = around
        .egress
        .map(|bytes| progress.put(open, Field::Egress, &bytes));
    record.body.sandbox = around.sandbox;
    record.body.intent = Some(intent);
    record.body.witnessed = witnessed;
    record.body.effect = effect;
    record.body.cancelled = cancelled.map(str::to_owned);
    record.body.times.dispatched = Some(dispatched);
    record.body.forwarded = Some(forwarded);
    record.body.redactions = redactions;
    record.body.action = Some(digest);
    record.body.code = released.as_ref().err().map(|r| r.code().name().to_owned());
    let refused = released.as_ref().err().map(Refusal::code);
    note(&mut record, refused.and_then(SecurityEvent::of_code));
    note(&mut record, on_its_way);
    record.answer = released.map_or_else(Answer::Refused, Answer::Result);
    record
}

/// Settles a call that was refused.
pub fn settle_refused(refused: Refused, in_force: EntryRef, now: Moment) -> Record {
    let Refused { progress, refusal } = refused;
    let verdict = if refusal.code() == Code::Deferred {
        Verdict::Defer
    } else {
        Verdict::Deny
    };
    let mut record = begin(&progress, in_force, verdict, now);
    record.body.code = Some(refusal.code().name().to_owned());
    if let Some(rule) = refusal.rule() {
        record.body.controls.push(rule.to_owned());
    }
    note(&mut record, SecurityEvent::of_code(refusal.code()));
    record.answer = Answer::Refused(refusal);
    record
}

/// Settles a call whose intent could not be made durable: nothing has left.
pub fn settle_abandoned(
    given_up: Progressed,
    refusal: Refusal,
    in_force: EntryRef,
    now: Moment,
) -> Record {
    settle_refused(
        Refused {
            progress: given_up.0,
            refusal,
        },
        in_force,
        now,
    )
}

/// Settles a call that waits for people.
pub fn settle_halted(halt: Halt, in_force: EntryRef, now: Moment) -> Record {
    let mut record = begin(halt.progress(), in_force, Verdict::StepUp, now);
    let action = halt.action();
    record.body.forwarded = Some(action.forwarded);
    record.body.preview = Some(action.preview);
    record.body.action = Some(action.digest());
    record.body.caller.agent = action.agent;
    record.body.code = Some(Code::ApprovalRequired.name().to_owned());
    if action.call == record.body.call {
        record.disclosures.extend(
            halt.disclosures()
                .iter()
                .filter(|d| d.field != Field::Agent)
                .cloned(),
        );
    } else {
        // The action was halted before; its record opens the commitments, this one refers to it.
        record.body.parent = Some(action.call);
        record.disclosures.retain(|d| d.field != Field::Agent);
        record
            .disclosures
            .extend(halt.disclosures().iter().cloned());
    }
    let judged = record.body.policy.as_ref();
    let fired = judged.map_or_else(Vec::new, |policy| policy.fired.clone());
    let refusal = Refusal::new(Code::ApprovalRequired, Retry::AfterApproval).under(fired);
    record.answer = Answer::Refused(refusal);
    record.halted = Some(halt);
    record
}

/// Settles a call that repeats an earlier one: the first outcome again, nothing carried out.
pub fn settle_repeated(
    repeated: Repeated,
    first: CallId,
    result: &Bytes,
    in_force: EntryRef,
    now: Moment,
) -> Record {
    let Repeated {
        progress,
        first: _,
        capability,
        redact,
    } = repeated;
    // What may be seen is decided by today's rules, not by those of the first call.
    let (released, redactions) = releasable(&capability, &redact, result);
    let verdict = match (&released, redactions.as_slice()) {
        (Err(_), _) => Verdict::Deny,
        (Ok(_), []) => Verdict::Allow,
        (Ok(_), [_, ..]) => Verdict::Modify,
    };
    let mut record = begin(&progress, in_force, verdict, now);
    record.body.parent = Some(first);
    record.body.redactions = redactions;
    match released {
        Ok(bytes) => {
            let commitment = progress.put(&mut record.disclosures, Field::Released, &bytes);
            record.body.released = Some(commitment);
            record.answer = Answer::Result(bytes);
        }
        Err(refusal) => {
            record.body.code = Some(refusal.code().name().to_owned());
            note(&mut record, SecurityEvent::of_code(refusal.code()));
            record.answer = Answer::Refused(refusal);
        }
    }
    record
}

/// A security event is a control of the record that it is about.
fn note(record: &mut Record, event: Option<SecurityEvent>) {
    record
        .body
        .controls
        .extend(event.map(SecurityEvent::control));
}

/// Settles an intent that a restart found open: the outcome is unknown, and the call is never carried out again.
#[must_use]
pub fn settle_unknown(
    intent: &Intent,
    entry: EntryRef,
    at: UnixMillis,
    in_force: EntryRef,
    now: Moment,
) -> Decision {
    let action = Action::from_bytes(&intent.action.0).ok();
    Decision {
        call: intent.call,
        in_force,
        intent: Some(entry),
        parent: intent.parent,
        verdict: intent.verdict,
        code: Some(Code::OutcomeUnknown.name().to_owned()),
        effect: Effect::Unknown,
        cancelled: Some(NoAnswer::Restarted.name().to_owned()),
        times: Times {
            received: at,
            decided: at,
            dispatched: None,
            settled: now.at,
        },
        trace: None,
        caller: intent.caller.clone(),
        capability: action.as_ref().map(|a| a.capability.clone()),
        policy: Some(intent.policy.clone()),
        lineage: None,
        facts: Some(intent.facts),
        received: intent.received,
        forwarded: action.as_ref().map(|a| a.forwarded),
        raw_result: None,
        released: None,
        transcript: None,
        evidence: Vec::new(),
        redactions: Vec::new(),
        action: action.as_ref().map(Action::digest),
        approvals: intent.approvals.clone(),
        idempotency: intent.idempotency,
        controls: intent.controls.clone(),
        handling: None,
        plan: None,
        egress: None,
        sandbox: Vec::new(),
        probes: Vec::new(),
        correlation: None,
        witnessed: false,
        preview: None,
        basis: Some(intent.basis),
    }
}

/// The record of what is known, to which each ending adds its own.
fn begin(progress: &Progress, in_force: EntryRef, verdict: Verdict, now: Moment) -> Record {
    let mut open = Vec::new();
    let caller = progress.caller(&mut open);
    let judged = progress.judged.as_deref();
    let body = Decision {
        call: progress.call,
        in_force,
        intent: None,
        parent: progress.parent,
        verdict,
        code: None,
        effect: Effect::None,
        cancelled: None,
        times: Times {
            received: progress.received_at,
            decided: progress.decided_at.unwrap_or(now.at),
            dispatched: None,
            settled: now.at,
        },
        trace: progress.trace.clone(),
        caller,
        capability: progress.what.as_ref().map(|w| w.capability.clone()),
        policy: judged.map(|j| j.outcome.clone()),
        lineage: progress.lineage.clone(),
        facts: judged.map(|j| progress.put(&mut open, Field::Facts, &j.facts)),
        received: progress.put(&mut open, Field::Received, &progress.received),
        forwarded: None,
        raw_result: None,
        released: None,
        transcript: None,
        evidence: Vec::new(),
        redactions: Vec::new(),
        action: progress.action,
        approvals: progress.approvals.clone(),
        idempotency: progress
            .idempotency
            .as_ref()
            .map(|key| progress.put(&mut open, Field::Idempotency, key.as_bytes())),
        controls: progress.controls.clone(),
        handling: progress.what.as_ref().map(|w| w.handling.clone()),
        plan: None,
        egress: None,
        sandbox: Vec::new(),
        probes: Vec::new(),
        correlation: None,
        witnessed: false,
        preview: None,
        basis: progress.basis,
    };
    Record {
        body,
        disclosures: open,
        tenant: progress.who.as_ref().map(|w| w.tenant),
        answer: Answer::Refused(Refusal::never(Code::PolicyDenied)),
        halted: None,
    }
}

/// Interim messages as one value: an array of byte strings.
fn transcript_bytes(messages: &[Bytes]) -> Vec<u8> {
    let mut w = Writer::new();
    w.array(messages.len());
    messages.iter().for_each(|m| w.bytes(m));
    w.into_bytes()
}
