//! What a report says of calls, beyond the states of checks: how many, why, and how often.

#![expect(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    reason = "test code: a panic is a failed test, and numbers are small"
)]

use crate::common::*;
use countersign_record::binding::Profile;
use countersign_record::body::{Mode, Verdict};
use countersign_record::digest::UnixMillis;
use countersign_record::entry::{Body, EntryRef};
use countersign_record::statement::Choice;
use countersign_verify::codes::Code;
use countersign_verify::report::{CheckResult, Report};

/// A log that the true keys signed, up to a renewal.
fn log(build: impl FnOnce(&mut Mini)) -> Mini {
    let mut log = Mini::new(Profile::Tpm);
    log.open();
    log.enrol();
    build(&mut log);
    log.renew();
    log
}

fn of(report: &Report, code: Code) -> &CheckResult {
    let name = code.info().name;
    report.checks.iter().find(|c| c.code == name).unwrap()
}

fn first_text(report: &Report, code: Code) -> &str {
    &of(report, code).findings.first().unwrap().text
}

/// A person's word that holds for so many seconds.
fn approve_for(log: &mut Mini, wanted: &Call, seconds: u64) -> EntryRef {
    let before = log.time;
    // The statement expires ten minutes after the log's clock.
    log.time = before + seconds * 1000 - 600_000;
    let (body, disclosure) = log.approval_body(wanted, Choice::Approve);
    log.time = before;
    log.push(Body::Approval(body), Some(wanted.run), vec![disclosure])
}

fn destroy(log: &mut Mini, number: u8, approval: EntryRef) {
    let erase = call(number, Mode::Destructive);
    let intent = log.intent(&erase, vec![approval], None);
    log.decide(&erase, Verdict::Allow, Some(intent));
}

#[test]
fn an_expired_approval_is_said_to_have_expired() {
    let log = log(|log| {
        let approval = approve_for(log, &call(1, Mode::Destructive), 2);
        log.time += 5000;
        // Another approval changes nothing about it.
        approve_for(log, &call(2, Mode::Destructive), 600);
        destroy(log, 1, approval);
    });
    let report = check(&log.export());
    assert_eq!(
        first_text(&report, Code::Approvals),
        "the approval in entry 2 had expired"
    );
}

/// A log with an approval (2), one that expires soon (3), and so many more; both are used when most have expired.
fn many_approvals(more: usize) -> Mini {
    log(|log| {
        let long = approve_for(log, &call(1, Mode::Destructive), 6000);
        let short = approve_for(log, &call(2, Mode::Destructive), 601);
        for _ in 0..more {
            approve_for(log, &call(3, Mode::Destructive), 601);
        }
        log.time += 610_000;
        approve_for(log, &call(3, Mode::Destructive), 601);
        destroy(log, 1, long);
        destroy(log, 2, short);
    })
}

#[test]
fn of_many_approvals_those_that_have_not_expired_are_kept() {
    let report = check(&many_approvals(1024).export());
    // The one that holds was found; the expired one had been forgotten with a thousand others.
    assert_eq!(of(&report, Code::ApprovalRequired).held, 1);
    assert_eq!(
        first_text(&report, Code::Approvals),
        "no unexpired approval is entry 3"
    );
}

#[test]
fn few_approvals_are_all_kept() {
    assert_eq!(
        first_text(&check(&many_approvals(1020).export()), Code::Approvals),
        "the approval in entry 3 had expired"
    );
}

#[test]
fn an_approval_of_a_call_that_was_not_halted_is_counted_as_carried_out_alone() {
    let log = log(|log| {
        let approval = log.approve(&call(1, Mode::Destructive), Choice::Approve);
        destroy(log, 1, approval);
    });
    let counts = check(&log.export()).counts;
    assert_eq!(
        (counts.carried_out_approved, counts.halted_approved),
        (1, 0)
    );
}

#[test]
fn a_halted_call_that_was_approved_is_counted_once_more() {
    let log = log(|log| {
        let halted = call(1, Mode::Destructive);
        log.decide(&halted, Verdict::StepUp, None);
        let approval = log.approve(&halted, Choice::Approve);
        let retry = Call {
            action: Some(halted.id),
            ..call(2, Mode::Destructive)
        };
        let intent = log.intent(&retry, vec![approval], Some(halted.id));
        log.decide(&retry, Verdict::Allow, Some(intent));
    });
    let counts = check(&log.export()).counts;
    assert_eq!(
        (
            counts.halted,
            counts.halted_approved,
            counts.carried_out_approved
        ),
        (1, 1, 1)
    );
}

#[test]
fn a_signature_that_is_not_disclosed_is_said_once_for_a_call() {
    let log = log(|log| {
        let read = Call {
            signed: true,
            ..call(1, Mode::ReadOnly)
        };
        let intent = log.intent(&read, vec![], None);
        log.leaves.last_mut().unwrap().disclosures.clear();
        log.decide(&read, Verdict::Allow, Some(intent));
        // Nobody signed this one: nothing is missing.
        log.decide(&call(2, Mode::Network), Verdict::Deny, None);
    });
    let proofs = of(&check(&log.export()), Code::CallerProofs).clone();
    assert_eq!((proofs.held, proofs.skipped), (0, 1));
    assert_eq!(proofs.findings.first().unwrap().entry, Some(2));
}

#[test]
fn times_are_those_that_entries_claim() {
    let log = log(|log| {
        log.decide(&call(1, Mode::Network), Verdict::Deny, None);
    });
    let subject = check(&log.export()).subject;
    let first = UnixMillis(START + 1000);
    assert_eq!(subject.first_at, Some(first.0));
    assert_eq!(subject.last_at, Some(log.time));
}
