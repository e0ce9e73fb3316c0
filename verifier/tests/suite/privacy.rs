//! Withheld, erased and missing are three things; and nothing is erased that a hold covers.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "test code: a panic is a failed test"
)]

use crate::common::*;
use countersign_record::binding::Profile;
use countersign_record::body::{Classification, Erasure, Hold, HoldAct, IndexRange, Mode, Verdict};
use countersign_record::cbor::Cbor as _;
use countersign_record::commitment::{Disclosure, Field};
use countersign_record::digest::{KeyId, SubjectId, UnixMillis};
use countersign_record::entry::Body;
use countersign_record::profile::Disclosed;
use countersign_record::statement::{ERASURE_TYP, ErasureStatement};
use countersign_verify::codes::Code;
use countersign_verify::ledger::State;
use countersign_verify::report::Report;
use countersign_verify::text::{Detail, render};

/// A log of one carried-out call (entries 2 and 3) and one denial (4).
fn log() -> Mini {
    let mut log = Mini::new(Profile::Tpm);
    log.disclosed = Disclosed::everything();
    log.open();
    log.enrol();
    let read = Call {
        signed: true,
        ..call(1, Mode::ReadOnly)
    };
    let intent = log.intent(&read, vec![], None);
    log.decide(&read, Verdict::Allow, Some(intent));
    log.decide(&call(2, Mode::Network), Verdict::Deny, None);
    log.renew();
    log
}

/// The values that an export opened, withheld, found erased and missed.
fn counts(report: &Report) -> [u64; 4] {
    let c = &report.counts;
    [
        c.values_opened,
        c.values_withheld,
        c.values_erased,
        c.values_missing,
    ]
}

/// An export under a profile, with the disclosures that it promises.
fn under(log: &Mini, disclosed: &Disclosed, opens: impl Fn(Field) -> bool) -> Report {
    let mut parts = Parts::of(log);
    parts.manifest.disclosed = disclosed.clone();
    parts.manifest.profile = "mine".into();
    for (_, disclosures) in &mut parts.leaves {
        disclosures.retain(|d| opens(d.field));
    }
    check(&parts.bytes())
}

fn assert_verified(report: &Report) {
    assert_eq!(report.exit_code, 0, "{}", render(report, Detail::Full));
}

#[test]
fn an_export_of_everything_withholds_and_misses_nothing() {
    let report = check(&log().export());
    assert_verified(&report);
    assert_eq!(counts(&report), [11, 0, 0, 0]);
    assert_eq!(report.state(Code::MissingDisclosures), State::Pass);
}

#[test]
fn what_the_profile_does_not_promise_is_withheld_and_no_failure() {
    let agents = Disclosed::new(vec![Field::Agent], Classification::ALL.to_vec());
    let report = under(&log(), &agents, |f| f == Field::Agent);
    assert_verified(&report);
    assert_eq!(counts(&report), [2, 9, 0, 0]);
}

#[test]
fn a_check_that_needs_a_withheld_value_says_by_which_profile() {
    let agents = Disclosed::new(vec![Field::Agent], Classification::ALL.to_vec());
    let report = under(&log(), &agents, |f| f == Field::Agent);
    assert_eq!(report.state(Code::CallerProofs), State::NotChecked);
    let text = render(&report, Detail::Full);
    assert!(
        text.contains("the caller's signature is withheld by profile mine"),
        "{text}"
    );
}

#[test]
fn a_promised_value_that_is_left_out_is_missing() {
    let everything = Disclosed::everything();
    let report = under(&log(), &everything, |f| f != Field::Released);
    assert_eq!(
        (report.exit_code, failed(&report)),
        (1, vec!["missing-disclosures"])
    );
    assert_eq!(counts(&report), [10, 0, 0, 1]);
}

#[test]
fn content_of_another_classification_is_withheld_from_intent_and_decision() {
    // The calls are CONFIDENTIAL.
    let public = Disclosed::new(Field::ALL.to_vec(), vec![Classification::Public]);
    let report = under(&log(), &public, |f| !f.is_content());
    assert_verified(&report);
    assert_eq!(counts(&report), [2, 9, 0, 0]);
}

#[test]
fn content_of_a_promised_classification_is_missing_if_it_is_left_out() {
    let confidential = Disclosed::new(Field::ALL.to_vec(), vec![Classification::Confidential]);
    let report = under(&log(), &confidential, |f| f != Field::Forwarded);
    assert_eq!(failed(&report), ["missing-disclosures"]);
}

#[test]
fn an_intent_that_nothing_settles_has_no_classification() {
    let mut log = log();
    log.intent(&call(3, Mode::ReadOnly), vec![], None);
    let confidential = Disclosed::new(Field::ALL.to_vec(), vec![Classification::Confidential]);
    let mut parts = Parts::of(&log);
    parts.manifest.disclosed = confidential;
    parts.leaves[6].1.retain(|d| !d.field.is_content());
    assert_verified(&check(&parts.bytes()));
}

#[test]
fn a_subject_is_promised_its_own_calls_alone() {
    let other = Disclosed::everything().of_subject(SubjectId([1; 32]));
    let report = under(&log(), &other, |_| false);
    assert_verified(&report);
    let own = Disclosed::everything().of_subject(SUBJECT);
    assert_eq!(
        failed(&under(&log(), &own, |_| false)),
        ["missing-disclosures"]
    );
}

#[test]
fn erased_values_are_not_missing() {
    let mut log = log();
    log.erase(&[2, 3]);
    let report = check(&log.export());
    assert_verified(&report);
    assert_eq!(counts(&report), [4, 0, 8, 0]);
    assert_eq!(report.state(Code::Erasures), State::Pass);
}

#[test]
fn values_missing_beside_an_erasure_of_other_entries_are_named() {
    let mut log = log();
    log.erase(&[2]);
    log.leaves[4].disclosures.clear();
    let report = check(&log.export());
    assert_eq!(failed(&report), ["missing-disclosures"]);
}

#[test]
fn values_of_an_erased_entry_that_are_still_shown_are_named() {
    let mut log = log();
    let kept = log.leaves[4].disclosures.clone();
    log.erase(&[4]);
    log.leaves[4].disclosures = kept;
    assert_eq!(failed(&check(&log.export())), ["erasures"]);
}

/// The report on a log with an erasure that `change` made wrong.
fn erased_wrongly(change: impl FnOnce(&mut Erasure)) -> Report {
    let mut log = log();
    let (mut body, disclosure) = log.erasure_body(&[2, 3]);
    change(&mut body);
    log.erase_with(body, disclosure);
    check(&log.export())
}

#[test]
fn an_erasure_of_entries_that_the_person_did_not_name_is_named() {
    let report = erased_wrongly(|e| e.entries[0].last = 4);
    assert_eq!(failed(&report), ["erasures"]);
}

#[test]
fn an_erasure_on_another_basis_than_the_person_signed_is_named() {
    assert_eq!(
        failed(&erased_wrongly(|e| e.basis = "cleanup".into())),
        ["erasures"]
    );
}

#[test]
fn an_erasure_in_the_name_of_somebody_unknown_is_named() {
    assert_eq!(
        failed(&erased_wrongly(|e| e.ordered_by = KeyId([1; 32]))),
        ["erasures"]
    );
}

#[test]
fn an_erasure_of_a_subject_that_the_person_did_not_name_is_named() {
    assert_eq!(
        failed(&erased_wrongly(|e| e.subject = Some(SUBJECT))),
        ["erasures"]
    );
}

#[test]
fn an_erasure_of_entries_to_come_is_named() {
    let report = erased_wrongly(|e| {
        e.entries.push(IndexRange {
            first: 90,
            last: 99,
        });
    });
    assert!(failed(&report).contains(&"erasures"));
}

#[test]
fn a_storage_key_that_goes_back_is_named() {
    let mut log = log();
    log.erase(&[2]);
    let (mut body, disclosure) = log.erasure_body(&[3]);
    body.ring = 1;
    log.erase_with(body, disclosure);
    assert_eq!(failed(&check(&log.export())), ["erasures"]);
}

/// An erasure by a statement that `change` made wrong, signed all the same.
fn signed_wrongly(change: impl FnOnce(&mut ErasureStatement), key: &Key) -> Report {
    let mut log = log();
    let (body, disclosure) = log.erasure_body(&[2]);
    let mut statement = ErasureStatement {
        gateway: gateway(),
        subject: None,
        entries: body.entries.clone(),
        basis: body.basis.clone(),
        signer: body.ordered_by,
        issued: UnixMillis(log.time),
        expires: UnixMillis(log.time + 600_000),
        nonce: countersign_record::digest::Nonce([1; 32]),
    };
    drop(disclosure);
    change(&mut statement);
    let signed = key.statement(ERASURE_TYP, statement.to_bytes());
    let (statement, disclosure) = salted(Field::ErasureStatement, &signed);
    log.erase_with(Erasure { statement, ..body }, disclosure);
    check(&log.export())
}

#[test]
fn a_statement_for_another_gateway_orders_nothing_here() {
    let wrong = |s: &mut ErasureStatement| s.gateway = Key::new(77).public().gateway();
    assert_eq!(failed(&signed_wrongly(wrong, &approver())), ["erasures"]);
}

#[test]
fn an_expired_statement_orders_nothing() {
    let wrong = |s: &mut ErasureStatement| s.expires = UnixMillis(START - 100_000);
    assert_eq!(failed(&signed_wrongly(wrong, &approver())), ["erasures"]);
}

#[test]
fn a_statement_signed_by_another_key_orders_nothing() {
    assert_eq!(failed(&signed_wrongly(|_| (), &agent())), ["erasures"]);
}

#[test]
fn a_genuine_statement_orders_what_it_says() {
    assert_verified(&signed_wrongly(|_| (), &approver()));
}

/// The report on an erasure of everything of a subject, that covers these entries.
fn erased_of(subject: SubjectId, entries: &[u64]) -> Report {
    let mut log = log();
    let (body, _) = log.erasure_body(entries);
    let statement = ErasureStatement {
        gateway: gateway(),
        subject: Some(subject),
        entries: vec![],
        basis: body.basis.clone(),
        signer: body.ordered_by,
        issued: UnixMillis(log.time),
        expires: UnixMillis(log.time + 600_000),
        nonce: countersign_record::digest::Nonce([1; 32]),
    };
    let signed = approver().statement(ERASURE_TYP, statement.to_bytes());
    let (statement, disclosure) = salted(Field::ErasureStatement, &signed);
    let body = Erasure {
        statement,
        subject: Some(subject),
        ..body
    };
    log.erase_with(body, disclosure);
    check(&log.export())
}

#[test]
fn everything_of_a_subject_may_be_erased_in_its_name() {
    assert_verified(&erased_of(SUBJECT, &[2, 3, 4]));
}

#[test]
fn an_entry_of_another_subject_is_not_to_be_erased_in_ones_name() {
    let report = erased_of(SubjectId([1; 32]), &[2]);
    assert_eq!(failed(&report), ["erasures"]);
}

#[test]
fn a_persons_signed_word_is_not_to_be_erased() {
    let mut log = log();
    log.hold(HoldAct::Placed);
    log.hold(HoldAct::Lifted);
    let word = u64::try_from(log.leaves.len()).unwrap() - 1;
    log.erase(&[word]);
    assert_eq!(failed(&check(&log.export())), ["erasures"]);
}

#[test]
fn what_was_erased_before_a_hold_may_be_named_again_after_it() {
    let mut log = log();
    log.erase(&[2]);
    log.hold(HoldAct::Placed);
    log.erase(&[2]);
    assert_verified(&check(&log.export()));
}

#[test]
fn a_hold_that_is_placed_and_lifted_in_order_passes() {
    let mut log = log();
    log.hold(HoldAct::Placed);
    log.hold(HoldAct::Lifted);
    log.erase(&[2]);
    let report = check(&log.export());
    assert_verified(&report);
    assert_eq!(report.state(Code::Holds), State::Pass);
}

#[test]
fn an_erasure_of_what_a_hold_covers_is_named() {
    let mut log = log();
    log.hold(HoldAct::Placed);
    log.erase(&[2]);
    assert_eq!(failed(&check(&log.export())), ["holds"]);
}

/// The report on a log with a hold that `change` made wrong, and an erasure after it.
fn held(change: impl FnOnce(&mut Hold)) -> Report {
    let mut log = log();
    let (mut body, disclosure) = log.hold_body(HoldAct::Placed);
    change(&mut body);
    // Not signed for, so the person's word is left out.
    drop(disclosure);
    log.push(Body::Hold(body), None, vec![]);
    log.erase(&[2]);
    let mut parts = Parts::of(&log);
    parts
        .manifest
        .disclosed
        .fields
        .retain(|f| *f != Field::HoldStatement);
    check(&parts.bytes())
}

#[test]
fn a_hold_on_others_does_not_keep_an_entry() {
    assert_verified(&held(|h| h.subject = Some(SubjectId([1; 32]))));
}

#[test]
fn a_hold_on_entries_keeps_those_alone() {
    let on = |first, last| {
        held(|h| {
            h.subject = None;
            h.entries = Some(IndexRange { first, last });
        })
    };
    assert_verified(&on(3, 4));
    assert_eq!(failed(&on(2, 2)), ["holds"]);
}

#[test]
fn a_hold_that_is_over_keeps_nothing() {
    assert_verified(&held(|h| h.until = Some(UnixMillis(START + 1))));
}

#[test]
fn a_hold_of_a_name_that_was_used_before_is_named() {
    let mut log = log();
    log.hold(HoldAct::Placed);
    log.hold(HoldAct::Placed);
    assert_eq!(failed(&check(&log.export())), ["holds"]);
}

#[test]
fn a_hold_that_was_never_placed_cannot_be_lifted() {
    let mut log = log();
    log.hold(HoldAct::Lifted);
    assert_eq!(failed(&check(&log.export())), ["holds"]);
}

#[test]
fn a_hold_that_was_lifted_cannot_be_lifted_again() {
    let mut log = log();
    log.hold(HoldAct::Placed);
    log.hold(HoldAct::Lifted);
    log.hold(HoldAct::Lifted);
    assert_eq!(failed(&check(&log.export())), ["holds"]);
}

#[test]
fn holds_in_force_at_the_end_are_named_and_lifted_ones_are_not() {
    let mut log = log();
    log.hold(HoldAct::Placed);
    let text = render(&check(&log.export()), Detail::Full);
    assert!(text.contains("in force at the end: 2026-17"), "{text}");
    log.hold(HoldAct::Lifted);
    let text = render(&check(&log.export()), Detail::Full);
    assert!(!text.contains("in force at the end"), "{text}");
}

#[test]
fn a_hold_that_says_something_else_than_the_person_signed_is_named() {
    let mut log = log();
    let (mut body, disclosure): (Hold, Disclosure) = log.hold_body(HoldAct::Placed);
    body.subject = None;
    log.push(Body::Hold(body), None, vec![disclosure]);
    assert_eq!(failed(&check(&log.export())), ["holds"]);
}
