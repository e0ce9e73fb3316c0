//! What is not shown (withheld, erased, missing), what was erased by whose order, and what must be kept.

use super::case::*;
use super::common::*;
use countersign_record::binding::Profile;
use countersign_record::body::*;
use countersign_record::cbor::Cbor as _;
use countersign_record::commitment::{Disclosure, Field};
use countersign_record::digest::*;
use countersign_record::entry::Body;
use countersign_record::profile::Disclosed;
use countersign_record::statement::*;
use countersign_verify::ledger::State;

const OTHER: SubjectId = SubjectId([1; 32]);

pub fn cases() -> Vec<Case> {
    [shown(), erasures(), orders(), holds()]
        .into_iter()
        .flatten()
        .collect()
}

/// One call carried out (2 and 3), one denied (4), and a renewal (5); everything is promised and opened.
fn told() -> Mini {
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

/// The same under a profile, with the values of the fields that `opens` names.
fn under(disclosed: &Disclosed, opens: impl Fn(Field) -> bool) -> Vec<u8> {
    let mut parts = Parts::of(&told());
    parts.manifest.disclosed = disclosed.clone();
    for (_, disclosures) in &mut parts.leaves {
        disclosures.retain(|d| opens(d.field));
    }
    parts.bytes()
}

/// The log with more after it.
fn then(more: impl FnOnce(&mut Mini)) -> Vec<u8> {
    let mut log = told();
    more(&mut log);
    log.export()
}

fn shown() -> Vec<Case> {
    let all = Classification::ALL.to_vec();
    let confidential = Disclosed::new(Field::ALL.to_vec(), vec![Classification::Confidential]);
    vec![
        case(
            "missing-value-of-the-outcome-alone",
            "The outcome of a sealed call commits to another agent than its intent, and does not show which.",
            then(|log| {
                let read = call(3, Mode::ReadOnly);
                let intent = log.intent(&read, vec![], None);
                let mut body = log.decision_body(&read, Verdict::Allow, Some(intent));
                body.caller.agent = salted(Field::Agent, b"agent:acme/other@1").0;
                let disclosures = log.opened(&read, &body);
                log.push(Body::Decision(body), Some(read.run), disclosures);
            }),
        )
        .fails("missing-disclosures"),
        case(
            "accept-everything-opened",
            "Everything is promised and opened.",
            told().export(),
        )
        .state("missing-disclosures", State::Pass),
        case(
            "accept-withheld-fields",
            "Values of fields that are not promised are not there.",
            under(&Disclosed::new(vec![Field::Agent], all.clone()), |f| {
                f == Field::Agent
            }),
        )
        .state("missing-disclosures", State::Pass)
        .state("caller-proofs", State::NotChecked),
        case(
            "missing-field",
            "A promised value of each call is not there.",
            under(&Disclosed::everything(), |f| f != Field::Released),
        )
        .fails("missing-disclosures"),
        case(
            "missing-everything",
            "Everything is promised and nothing opened.",
            under(&Disclosed::everything(), |_| false),
        )
        .fails("missing-disclosures"),
        case(
            "missing-of-an-intent",
            "A promised value of an intent is not there.",
            then(|log| {
                log.leaves[2]
                    .disclosures
                    .retain(|d| d.field != Field::Forwarded)
            }),
        )
        .fails("missing-disclosures"),
        case(
            "missing-word",
            "A person's signed statement is promised and not there.",
            then(|log| {
                log.hold(HoldAct::Placed);
                log.leaves[6].disclosures.clear();
            }),
        )
        .fails("missing-disclosures")
        .state("holds", State::NotChecked),
        case(
            "accept-withheld-class",
            "Content of calls of another classification is not there.",
            under(
                &Disclosed::new(Field::ALL.to_vec(), vec![Classification::Public]),
                |f| !f.is_content(),
            ),
        ),
        case(
            "missing-of-a-class",
            "Content of calls of a promised classification is not there.",
            under(&confidential, |f| f != Field::Forwarded),
        )
        .fails("missing-disclosures"),
        case(
            "accept-unsettled-class",
            "An intent that nothing settles has no classification, so its content is not promised.",
            {
                let mut log = told();
                log.intent(&call(3, Mode::ReadOnly), vec![], None);
                let mut parts = Parts::of(&log);
                parts.manifest.disclosed = confidential.clone();
                parts.leaves[6].1.retain(|d| !d.field.is_content());
                parts.bytes()
            },
        ),
        case(
            "accept-another-subject",
            "Values of one subject are promised; the calls are of another.",
            under(&Disclosed::everything().of_subject(OTHER), |_| false),
        ),
        case(
            "missing-of-the-subject",
            "Values of one subject are promised, and those of its calls are not there.",
            under(&Disclosed::everything().of_subject(SUBJECT), |_| false),
        )
        .fails("missing-disclosures"),
        case(
            "accept-more-than-promised",
            "Nothing is promised, and everything opened.",
            under(&Disclosed::new(vec![], all), |_| true),
        ),
    ]
}

/// An export with an erasure of entries 2 and 3 that `change` made wrong.
fn erased(change: impl FnOnce(&mut Erasure)) -> Vec<u8> {
    then(|log| {
        let (mut body, disclosure) = log.erasure_body(&[2, 3]);
        change(&mut body);
        log.erase_with(body, disclosure);
    })
}

fn erasures() -> Vec<Case> {
    let mut without = bundle();
    without.registry.approvers[0].groups = vec!["legal".into(), "stop".into()];
    vec![
        case(
            "erasures-by-a-person-of-other-groups",
            "Whoever ordered the erasure may approve and stop calls, and not order erasures.",
            super::calls::under(&without, |log, _| {
                log.erase(&[1]);
            }),
        )
        .fails("erasures"),
        case(
            "erasures-of-its-own-entry",
            "An erasure covers the entry in which it stands.",
            then(|log| {
                let own = log.next();
                log.erase(&[2, 3, own]);
            }),
        )
        .fails("erasures"),
        case(
            "accept-erased",
            "Values of a call are not there: an erasure says so.",
            erased(|_| ()),
        )
        .state("erasures", State::Pass)
        .state("missing-disclosures", State::Pass),
        case(
            "missing-beside-an-erasure",
            "An erasure covers other entries than the one of which values are not there.",
            then(|log| {
                log.erase(&[2, 3]);
                log.leaves[4].disclosures.clear();
            }),
        )
        .fails("missing-disclosures"),
        case(
            "erasures-still-shown",
            "An entry's values are shown, and an erasure covers it.",
            then(|log| {
                let kept = log.leaves[4].disclosures.clone();
                log.erase(&[4]);
                log.leaves[4].disclosures = kept;
            }),
        )
        .fails("erasures"),
        case(
            "erasures-of-entries-to-come",
            "An erasure covers entries after it.",
            erased(|e| {
                e.entries.push(IndexRange {
                    first: 90,
                    last: 99,
                })
            }),
        )
        .fails("erasures"),
        case(
            "erasures-out-of-order",
            "The ranges of an erasure stand in another order.",
            erased(|e| {
                e.entries = vec![
                    IndexRange { first: 3, last: 3 },
                    IndexRange { first: 2, last: 2 },
                ];
            }),
        )
        .fails("erasures"),
        case(
            "erasures-older-key",
            "The version of the storage key goes back.",
            then(|log| {
                log.erase(&[2]);
                let (mut body, disclosure) = log.erasure_body(&[3]);
                body.ring = 1;
                log.erase_with(body, disclosure);
            }),
        )
        .fails("erasures"),
        case(
            "erasures-of-a-word",
            "An erasure covers a person's signed word.",
            then(|log| {
                log.hold(HoldAct::Placed);
                log.hold(HoldAct::Lifted);
                log.erase(&[7]);
            }),
        )
        .fails("erasures"),
        case(
            "accept-order-not-disclosed",
            "The order for an erasure is not disclosed, and not promised.",
            {
                let mut log = told();
                log.disclosed
                    .fields
                    .retain(|f| *f != Field::ErasureStatement);
                log.erase(&[2]);
                log.leaves[6].disclosures.clear();
                log.export()
            },
        )
        .state("erasures", State::NotChecked),
    ]
}

/// An erasure by a statement that `change` made, signed by `key`.
fn ordered(
    entries: &[u64],
    key: &Key,
    typ: &str,
    change: impl FnOnce(&mut ErasureStatement, &mut Erasure),
) -> Vec<u8> {
    then(|log| {
        let (mut body, _) = log.erasure_body(entries);
        let mut statement = ErasureStatement {
            gateway: gateway(),
            subject: None,
            entries: body.entries.clone(),
            basis: body.basis.clone(),
            signer: body.ordered_by,
            issued: UnixMillis(log.time),
            expires: UnixMillis(log.time + 600_000),
            nonce: Nonce([1; 32]),
        };
        change(&mut statement, &mut body);
        let signed = key.statement(typ, statement.to_bytes());
        let (statement, disclosure) = salted(Field::ErasureStatement, &signed);
        log.erase_with(Erasure { statement, ..body }, disclosure);
    })
}

fn orders() -> Vec<Case> {
    let by = approver();
    vec![
        case(
            "erasures-of-more",
            "An erasure covers an entry that the person did not name.",
            erased(|e| e.entries[0].last = 4),
        )
        .fails("erasures"),
        case(
            "erasures-on-another-basis",
            "An erasure has another basis than the person signed.",
            erased(|e| e.basis = "cleanup".into()),
        )
        .fails("erasures"),
        case(
            "erasures-by-nobody",
            "An erasure names a key that no person has.",
            erased(|e| e.ordered_by = KeyId([1; 32])),
        )
        .fails("erasures"),
        case(
            "erasures-unsigned-subject",
            "An erasure names a subject, and the person named entries.",
            erased(|e| e.subject = Some(SUBJECT)),
        )
        .fails("erasures"),
        case(
            "erasures-for-another-gateway",
            "The person's order is for another gateway.",
            ordered(&[2], &by, ERASURE_TYP, |s, _| {
                s.gateway = GatewayId([1; 32])
            }),
        )
        .fails("erasures"),
        case(
            "erasures-expired",
            "The person's order had expired more than a minute before.",
            ordered(&[2], &by, ERASURE_TYP, |s, _| {
                s.expires = UnixMillis(START - 100_000)
            }),
        )
        .fails("erasures"),
        case(
            "accept-erased-in-flight",
            "The person's order expired on its way to the log.",
            ordered(&[2], &by, ERASURE_TYP, |s, _| {
                s.expires = UnixMillis(s.issued.0 - 50_000)
            }),
        )
        .state("erasures", State::Pass),
        case(
            "erasures-signed-by-another",
            "The order is signed by a key that is not the person's.",
            ordered(&[2], &agent(), ERASURE_TYP, |_, _| ()),
        )
        .fails("erasures"),
        case(
            "erasures-another-kind-of-statement",
            "What the person signed is a statement of another kind.",
            ordered(&[2], &by, HOLD_TYP, |_, _| ()),
        )
        .fails("erasures"),
        case(
            "erasures-order-for-nothing",
            "The person's order names neither a subject nor entries.",
            ordered(&[], &by, ERASURE_TYP, |_, _| ()),
        )
        .fails("erasures"),
        case(
            "erasures-order-for-both",
            "The person's order names a subject and entries.",
            ordered(&[2], &by, ERASURE_TYP, |s, e| {
                s.subject = Some(SUBJECT);
                e.subject = Some(SUBJECT);
            }),
        )
        .fails("erasures"),
        case(
            "erasures-order-out-of-order",
            "The entries of the person's order stand in another order.",
            ordered(&[2], &by, ERASURE_TYP, |s, _| {
                s.entries.insert(0, IndexRange { first: 9, last: 9 })
            }),
        )
        .fails("erasures"),
        case(
            "accept-erased-subject",
            "Everything of a subject is erased by a person's order.",
            ordered(&[2, 3, 4], &by, ERASURE_TYP, |s, e| {
                (s.subject, e.subject, s.entries) = (Some(SUBJECT), Some(SUBJECT), vec![]);
            }),
        )
        .state("erasures", State::Pass),
        case(
            "erasures-of-another-subject",
            "An erasure in the name of one subject covers entries of another.",
            ordered(&[2], &by, ERASURE_TYP, |s, e| {
                (s.subject, e.subject, s.entries) = (Some(OTHER), Some(OTHER), vec![]);
            }),
        )
        .fails("erasures"),
    ]
}

/// A hold that `change` made, as nobody's word is promised, and an erasure of entry 2 after it.
fn held(change: impl FnOnce(&mut Hold)) -> Vec<u8> {
    let mut log = told();
    log.disclosed.fields.retain(|f| *f != Field::HoldStatement);
    let (mut body, _) = log.hold_body(HoldAct::Placed);
    change(&mut body);
    log.push(Body::Hold(body), None, vec![]);
    log.erase(&[2]);
    log.export()
}

/// A hold that says something else than the person signed.
fn placed(change: impl FnOnce(&mut Hold)) -> Vec<u8> {
    then(|log| {
        let (mut body, disclosure): (Hold, Disclosure) = log.hold_body(HoldAct::Placed);
        change(&mut body);
        log.push(Body::Hold(body), None, vec![disclosure]);
    })
}

fn holds() -> Vec<Case> {
    vec![
        case(
            "accept-hold-lifted",
            "What a hold covered is erased after it was lifted.",
            then(|log| {
                log.hold(HoldAct::Placed);
                log.hold(HoldAct::Lifted);
                log.erase(&[2]);
            }),
        )
        .state("holds", State::Pass),
        case(
            "holds-erased",
            "An erasure covers what a hold does.",
            then(|log| {
                log.hold(HoldAct::Placed);
                log.erase(&[2]);
            }),
        )
        .fails("holds"),
        case(
            "accept-erased-before-the-hold",
            "An erasure covers what a hold does, and an erasure before the hold did.",
            then(|log| {
                log.erase(&[2]);
                log.hold(HoldAct::Placed);
                log.erase(&[2]);
            }),
        )
        .state("holds", State::Pass),
        case(
            "accept-hold-on-others",
            "A hold on another subject.",
            held(|h| h.subject = Some(OTHER)),
        ),
        case(
            "accept-hold-on-another-tenant",
            "A hold on the subject in another tenant.",
            held(|h| h.tenant = Some(TenantId([9; 16]))),
        ),
        case(
            "holds-erased-by-index",
            "An erasure covers entries that a hold names.",
            held(|h| {
                h.subject = None;
                h.entries = Some(IndexRange { first: 2, last: 2 });
            }),
        )
        .fails("holds"),
        case(
            "accept-hold-on-other-entries",
            "A hold names other entries.",
            held(|h| {
                h.subject = None;
                h.entries = Some(IndexRange { first: 3, last: 9 });
            }),
        ),
        case(
            "holds-on-everything",
            "A hold that names nothing covers everything.",
            held(|h| h.subject = None),
        )
        .fails("holds"),
        case(
            "accept-hold-that-is-over",
            "A hold ended by itself before the erasure.",
            held(|h| h.until = Some(UnixMillis(START + 1))),
        ),
        case(
            "holds-placed-twice",
            "A name of a hold is used twice.",
            then(|log| {
                log.hold(HoldAct::Placed);
                log.hold(HoldAct::Placed);
            }),
        )
        .fails("holds"),
        case(
            "holds-lifted-unplaced",
            "A hold is lifted that was never placed.",
            then(|log| {
                log.hold(HoldAct::Lifted);
            }),
        )
        .fails("holds"),
        case(
            "holds-lifted-otherwise",
            "A hold is lifted for something else than it was placed for.",
            {
                let mut log = told();
                log.disclosed.fields.retain(|f| *f != Field::HoldStatement);
                log.hold(HoldAct::Placed);
                let (mut body, _) = log.hold_body(HoldAct::Lifted);
                body.subject = None;
                log.push(Body::Hold(body), None, vec![]);
                log.export()
            },
        )
        .fails("holds"),
        case(
            "holds-on-more",
            "A hold covers more than the person signed.",
            placed(|h| h.subject = None),
        )
        .fails("holds"),
        case(
            "holds-by-nobody",
            "A hold names a key that no person has.",
            placed(|h| h.ordered_by = KeyId([1; 32])),
        )
        .fails("holds"),
        case(
            "holds-until-otherwise",
            "A hold ends earlier than the person signed.",
            placed(|h| h.until = Some(UnixMillis(START + 1_000_000))),
        )
        .fails("holds"),
    ]
}
