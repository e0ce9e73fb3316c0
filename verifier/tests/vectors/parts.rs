//! Parts of a log that are complete in themselves: periods, tenants, runs, spans of what is withheld.

use super::case::*;
use super::common::*;
use countersign_record::body::{Decision, Intent, Mode, RunClosed, Verdict};
use countersign_record::digest::{CallId, EntryDigest, NodeHash, RunId, TenantId, UnixMillis};
use countersign_record::entry::{Body, EntryRef};
use countersign_record::export::{Period, Scope};
use countersign_record::statement::Choice;
use countersign_verify::ledger::State;

pub fn cases() -> Vec<Case> {
    [clocks(), tenants(), runs(), periods(), receipts()]
        .into_iter()
        .flatten()
        .collect()
}

const OTHER: TenantId = TenantId([8; 16]);
const OTHER_RUN: RunId = RunId([2; 16]);

/// Two tenants by turns: 0 base, 1 enrol, 2 own, 3 and 4 other, 5 own, 6 renewal, 7 own, 8 other, 9 renewal.
fn shared() -> Mini {
    let mut log = log(|log| {
        denied(log, 1);
        foreign(log, 2);
        foreign(log, 3);
        denied(log, 4);
    });
    denied(&mut log, 5);
    foreign(&mut log, 6);
    log.renew();
    log
}

fn denied(log: &mut Mini, number: u8) {
    log.decide(&call(number, Mode::Network), Verdict::Deny, None);
}

fn foreign(log: &mut Mini, number: u8) {
    log.tenant = OTHER;
    let call = Call {
        run: OTHER_RUN,
        ..call(number, Mode::Network)
    };
    log.decide(&call, Verdict::Deny, None);
    log.tenant = TENANT;
}

/// The shared log as one tenant gets it, with the proof after its last renewal.
fn tenant(change: impl FnOnce(&mut Parts, &Mini)) -> Vec<u8> {
    let mut log = shared();
    log.scope = Scope::Tenant;
    let mut parts = Parts::of(&log);
    parts.withheld = vec![3, 4, 8];
    parts.proofs = vec![log.proof(0, TENANT)];
    change(&mut parts, &log);
    parts.bytes()
}

fn clocks() -> Vec<Case> {
    vec![
        case(
            "clock-order-backwards",
            "An entry claims an earlier time than the one before it.",
            signed(|log| {
                log.event();
                log.edits.place = Some(|p| p.at = UnixMillis(p.at.0 - 5000));
                log.event();
            }),
        )
        .fails("clock-order"),
        case(
            "accept-equal-times",
            "Two entries claim the same time.",
            signed(|log| {
                log.event();
                log.edits.place = Some(|p| p.at = UnixMillis(p.at.0 - 1000));
                log.event();
            }),
        )
        .state("clock-order", State::Pass),
    ]
}

fn tenants() -> Vec<Case> {
    vec![
        case("accept-tenant-with-proof", "An export of one tenant proves that the tenant's newest entries are there, without the others'.", tenant(|_, _| ())).state("tenant-heads", State::Pass),
        case("accept-tenant-in-spans", "Others' entries are given as a span.", tenant(|p, _| {
            p.withheld = vec![8];
            p.spans = vec![(3, 2)];
        })).state("tenant-heads", State::Pass),
        case("tenant-heads-no-proof", "An export of one tenant withholds others' entries and proves nothing of the tenant's last number.", tenant(|p, _| p.proofs.clear())).cannot("tenant-heads"),
        case("tenant-heads-newest-entry-withheld", "The tenant's newest entry is withheld; the proof names its number.", tenant(|p, _| p.withheld.push(7))).fails("tenant-heads"),
        case("tenant-heads-made-up-number", "The proof has a last number that the renewal did not cover.", tenant(|p, _| p.proofs[0].1.head.seq -= 1)).fails("tenant-heads"),
        case("tenant-heads-of-another-tenant", "The proof is of another tenant.", tenant(|p, log| p.proofs = vec![log.proof(0, OTHER)])).fails("tenant-heads"),
        case("tenant-heads-broken-path", "A hash of the proof is another.", tenant(|p, _| {
            let proof = &mut p.proofs[0].1;
            assert!(!proof.path.is_empty());
            proof.path[0] = NodeHash([5; 32]);
        })).fails("tenant-heads"),
        case("tenant-heads-after-another-entry", "The proof stands after an entry that is no renewal.", tenant(|p, _| p.proofs[0].0 = 7)).fails("tenant-heads"),
        case("tenant-heads-all-entries-withheld", "All entries of the tenant are withheld; the proof names the number of the last.", tenant(|p, _| p.withheld = (2..=5).chain(7..=8).collect())).fails("tenant-heads"),
        case("tenant-heads-none-in-the-period", "All entries of the tenant are withheld; they may stand before the period.", tenant(|p, _| {
            p.withheld = (2..=5).chain(7..=8).collect();
            p.manifest.period = Some(Period { from: UnixMillis(START + 9500), until: UnixMillis(START + 100_000) });
        })).cannot("tenant-heads").state("period", State::CannotTell),
        case("tenant-heads-proof-before-the-end-of-the-period", "The proof stands in the middle of the period; the tenant's entry after it is withheld.", tenant(|p, log| {
            p.manifest.period = Some(Period { from: UnixMillis(START + 1500), until: UnixMillis(START + 9500) });
            p.withheld.push(7);
            p.proofs = vec![log.proof(1, TENANT)];
        })).cannot("tenant-heads"),
        case("accept-tenant-with-proof-at-the-end-of-the-period", "The period ends before a renewal, whose proof reaches all of it.", tenant(|p, log| {
            p.manifest.period = Some(Period { from: UnixMillis(START + 1500), until: UnixMillis(START + 6500) });
            p.withheld.push(7);
            p.proofs = vec![log.proof(1, TENANT)];
        })).state("tenant-heads", State::Pass),
        case("tenant-heads-proof-before-the-period", "The last renewal stands before the period; the tenant's newest entry is withheld.", {
            let mut log = log(|log| denied(log, 1));
            denied(&mut log, 2);
            denied(&mut log, 3);
            log.scope = Scope::Tenant;
            let mut parts = Parts::of(&log);
            // 2 own, 3 renewal, 4 and 5 own.
            parts.manifest.period = Some(Period { from: UnixMillis(START + 4500), until: UnixMillis(START + 100_000) });
            parts.withheld = vec![5];
            parts.proofs = vec![log.proof(0, TENANT)];
            parts.bytes()
        }).cannot("tenant-heads"),
        case("period-proof-as-it-begins", "No call of the tenant is in the period, which begins at the moment of the last renewal, whose proof counts.", tenant(|p, _| {
            p.manifest.period = Some(Period { from: UnixMillis(START + 10_000), until: UnixMillis(START + 100_000) });
        })).cannot("period").state("tenant-heads", State::Pass),
        case("accept-tenant-newer-entries-withheld", "Another's entry after the last renewal is withheld: whether the tenant has newer ones is not provable.", {
            let mut log = shared();
            foreign(&mut log, 7);
            log.scope = Scope::Tenant;
            let mut parts = Parts::of(&log);
            parts.withheld = vec![3, 4, 8, 10];
            parts.proofs = vec![log.proof(0, TENANT)];
            parts.bytes()
        }).state("tenant-heads", State::Pass),
        case("tenant-sequences-of-the-tenant-lack-more-than-withheld", "The tenant's numbers before the period lack two where one entry is withheld.", {
            let log = log(|log| {
                denied(log, 1);
                *log.tenants.get_mut(&TENANT).unwrap() += 1;
                (2..=3).for_each(|n| denied(log, n));
            });
            let mut parts = Parts::of(&log);
            (parts.manifest.scope, parts.manifest.tenant) = (Scope::Tenant, Some(TENANT));
            parts.manifest.period = Some(Period { from: UnixMillis(START + 4500), until: UnixMillis(START + 100_000) });
            parts.withheld = vec![2];
            parts.proofs = vec![log.proof(0, TENANT)];
            parts.bytes()
        }).fails("tenant-sequences"),
        case("accept-tenant-of-a-period", "Entries of the tenant before the period are withheld; the last that is earlier is there.", tenant(|p, _| {
            p.manifest.period = Some(Period { from: UnixMillis(START + 6500), until: UnixMillis(START + 8500) });
            p.withheld.push(2);
        })).state("tenant-sequences", State::Pass),
        case("approvals-of-another-tenant-withheld", "The approval of a call stands among another tenant's entries, which are withheld.", approved_among_others(|log, parts| {
            parts.manifest.scope = Scope::Tenant;
            parts.manifest.tenant = Some(TENANT);
            parts.proofs = vec![log.proof(0, TENANT)];
        })).fails("approval-required").state("approvals", State::Fail),
        case("settlement-never-beside-withheld-entries", "A call was sealed in an epoch that ended, and never settled; others' entries after it are withheld.", {
            let mut log = log(|log| {
                log.intent(&call(1, Mode::ReadOnly), vec![], None);
                foreign(log, 2);
            });
            log.close();
            log.scope = Scope::Tenant;
            let mut parts = Parts::of(&log);
            parts.withheld = vec![3];
            parts.proofs = vec![log.proof(0, TENANT)];
            parts.bytes()
        }).fails("settlement"),
        case("tenant-sequences-entry-withheld", "An entry in the middle of the tenant's is withheld.", tenant(|p, _| p.withheld.push(5))).fails("run-chains").state("tenant-sequences", State::Fail),
        case("scope-entry-of-another-tenant", "An export of one tenant has an entry of another.", tenant(|p, _| p.withheld = vec![4, 8])).fails("scope"),
        case("scope-tenant-not-named", "An export of one tenant does not say of which.", tenant(|p, _| p.manifest.tenant = None)).fails("tenant-heads").state("scope", State::Fail),
        case("scope-whole-names-a-tenant", "An export of everything names a tenant.", changed(|p| p.manifest.tenant = Some(TENANT))).fails("scope"),
        case("root-span-with-another-root", "A span has another root than the entries it stands for.", {
            let bytes = tenant(|p, _| {
                p.withheld = vec![8];
                p.spans = vec![(3, 2)];
            });
            let mut items = items(&bytes);
            let span = items.iter_mut().find(|i| i.0 == 7).unwrap();
            *span.1.last_mut().unwrap() ^= 1;
            super::log::retrailed(&file(&items))
        }).fails("renewals").state("root", State::Fail),
        case("framing-span-in-a-late-export", "A span stands in an export that does not start at entry 0.", tenant(|p, _| {
            p.manifest.first = 1;
            p.withheld = vec![8];
            p.spans = vec![(3, 2)];
        })).fails("framing"),
        case("framing-span-of-one", "A span stands for one entry.", {
            let bytes = tenant(|p, _| {
                p.withheld = vec![8];
                p.spans = vec![(3, 2)];
            });
            let mut items = items(&bytes);
            let span = items.iter_mut().find(|i| i.0 == 7).unwrap();
            // {1: count, 2: roots}
            assert_eq!(span.1[..3], [0xa2, 0x01, 0x02]);
            span.1[2] = 1;
            super::log::retrailed(&file(&items))
        }).fails("framing"),
    ]
}

/// A call whose approval (2) was written into another tenant's run, and is withheld.
fn approved_among_others(change: impl FnOnce(&Mini, &mut Parts)) -> Vec<u8> {
    let log = log(|log| {
        let wanted = call(1, Mode::Destructive);
        let elsewhere = Call {
            run: OTHER_RUN,
            ..call(1, Mode::Destructive)
        };
        // The person's word is on our action; only the place of its entry is another's.
        let (body, disclosure) = log.approval_body(&wanted, Choice::Approve);
        log.tenant = OTHER;
        let approval = log.push(Body::Approval(body), Some(elsewhere.run), vec![disclosure]);
        log.tenant = TENANT;
        let intent = log.intent(&wanted, vec![approval], None);
        log.decide(&wanted, Verdict::Allow, Some(intent));
        log.close_run(RUN);
    });
    let mut parts = Parts::of(&log);
    parts.withheld = vec![2];
    change(&log, &mut parts);
    parts.bytes()
}

fn runs() -> Vec<Case> {
    let run = |close: bool, change: &dyn Fn(&mut Parts)| {
        let mut log = log(|log| {
            denied(log, 1);
            foreign(log, 2);
            denied(log, 3);
            if close {
                log.close_run(RUN);
            }
        });
        log.scope = Scope::Run;
        let mut parts = Parts::of(&log);
        parts.manifest.run = Some(RUN);
        parts.withheld = vec![3];
        change(&mut parts);
        parts.bytes()
    };
    vec![
        case(
            "accept-closed-run-alone",
            "An export of one run has all its entries, to the close.",
            run(true, &|_| ()),
        )
        .state("run-closes", State::Pass),
        case(
            "run-closes-open-run",
            "An export of one run ends before the run is closed.",
            run(false, &|_| ()),
        )
        .cannot("run-closes"),
        case(
            "run-chains-entry-withheld",
            "An entry in the middle of the run is withheld.",
            run(true, &|p| p.withheld.push(4)),
        )
        .fails("run-chains"),
        case(
            "accept-run-of-a-period",
            "An export of one run, open, has an entry of it from after the period.",
            run(false, &|p| {
                p.manifest.period = Some(Period {
                    from: UnixMillis(START),
                    until: UnixMillis(START + 4500),
                });
            }),
        )
        .state("run-closes", State::Pass),
        case(
            "run-closes-no-entry-of-it",
            "All entries of the run that the export is of are withheld.",
            run(false, &|p| p.withheld = vec![2, 3, 4]),
        )
        .cannot("run-closes"),
        case(
            "approvals-of-another-run-withheld",
            "The approval of a call stands in another run, whose entries are withheld.",
            approved_among_others(|_, parts| {
                parts.manifest.scope = Scope::Run;
                parts.manifest.tenant = Some(TENANT);
                parts.manifest.run = Some(RUN);
            }),
        )
        .cannot("approvals")
        .state("approval-required", State::CannotTell),
        case(
            "scope-run-not-named",
            "An export of one run does not say of which.",
            run(true, &|p| p.manifest.run = None),
        )
        .fails("scope"),
    ]
}

/// A call that a person approved before the period, whose approval (4) is withheld; the entry before the period (5) is there.
fn approved_before(
    intent: impl FnOnce(&mut Intent, &EntryRef),
    decision: impl FnOnce(&mut Decision, &EntryRef),
) -> Vec<u8> {
    let mut from = UnixMillis(0);
    let log = log(|log| {
        (1..=2).for_each(|n| denied(log, n));
        let halted = call(3, Mode::Destructive);
        let approval = log.approve(&halted, Choice::Approve);
        denied(log, 4);
        let edge = reference(log, 5);
        from = UnixMillis(log.time + 500);
        let retry = Call {
            action: Some(halted.id),
            ..call(5, Mode::Destructive)
        };
        let (mut body, disclosures) = intent_body(log, &retry, vec![approval], Some(halted.id));
        intent(&mut body, &edge);
        let sealed = log.push(Body::Intent(body), Some(retry.run), disclosures);
        let mut body = log.decision_body(&retry, Verdict::Allow, Some(sealed));
        decision(&mut body, &edge);
        log.push(Body::Decision(body), Some(retry.run), vec![]);
    });
    let mut parts = Parts::of(&log);
    parts.manifest.period = Some(Period {
        from,
        until: UnixMillis(from.0 + 100_000),
    });
    parts.withheld = vec![2, 3, 4];
    parts.bytes()
}

/// A sealed call (4) in a period, and entries up to the end of its epoch: 3 stands before the period, 5 after it.
fn sealed_at_the_end(settled: bool, withheld: &[usize]) -> Vec<u8> {
    let mut log = log(|log| {
        denied(log, 1);
        denied(log, 4);
        let read = call(2, Mode::ReadOnly);
        let intent = log.intent(&read, vec![], None);
        denied(log, 3);
        if settled {
            log.decide(&read, Verdict::Allow, Some(intent));
        }
    });
    log.close();
    let mut parts = Parts::of(&log);
    parts.manifest.period = Some(Period {
        from: UnixMillis(START + 4500),
        until: UnixMillis(START + 5500),
    });
    parts.withheld = withheld.to_vec();
    parts.bytes()
}

/// A call that was sealed (2) before the period and settled (4) in it; the intent is withheld.
fn sealed_before() -> Vec<u8> {
    let log = log(|log| {
        let read = call(1, Mode::ReadOnly);
        let intent = log.intent(&read, vec![], None);
        denied(log, 2);
        log.decide(&read, Verdict::Allow, Some(intent));
    });
    let mut parts = Parts::of(&log);
    parts.manifest.period = Some(Period {
        from: UnixMillis(START + 4500),
        until: UnixMillis(START + 100_000),
    });
    parts.withheld = vec![2];
    parts.bytes()
}

/// A run whose first entry (2) is withheld: it stands before the period, in which the run is closed (4).
fn closed_in_a_period(edit: impl FnOnce(&mut RunClosed)) -> Vec<u8> {
    let log = log(|log| {
        (1..=2).for_each(|n| denied(log, n));
        let mut body = RunClosed {
            run: RUN,
            head: reference(log, 3).digest,
            count: 2,
            first: 2,
            last: 3,
        };
        edit(&mut body);
        log.push(Body::Run(body), Some(RUN), vec![]);
    });
    let mut parts = Parts::of(&log);
    parts.manifest.period = Some(Period {
        from: UnixMillis(START + 4500),
        until: UnixMillis(START + 100_000),
    });
    parts.withheld = vec![2];
    parts.bytes()
}

fn periods() -> Vec<Case> {
    // 0 base, 1 enrol, 2 to 4 refused calls, 5 renewal, 6 to 8 refused calls, 9 renewal; a second between any two.
    let with = |from: u64, until: u64, withheld: &[usize]| {
        let mut log = log(|log| (1..=3).for_each(|n| denied(log, n)));
        (4..=6).for_each(|n| denied(&mut log, n));
        log.renew();
        let mut parts = Parts::of(&log);
        parts.manifest.period = Some(Period {
            from: UnixMillis(START + from),
            until: UnixMillis(START + until),
        });
        parts.withheld = withheld.to_vec();
        parts.bytes()
    };
    vec![
        case(
            "accept-period",
            "An export of a period withholds calls before it, up to the last one that is earlier.",
            with(4500, 8500, &[2]),
        )
        .state("period", State::Pass),
        case(
            "accept-period-of-everything",
            "An export of a period in which all calls are withholds none.",
            with(0, 100_000, &[]),
        )
        .state("period", State::Pass),
        case(
            "accept-period-withheld-after-its-end",
            "An export of a period withholds calls after its end.",
            with(4500, 7500, &[8]),
        )
        .state("period", State::Pass),
        case(
            "period-entry-withheld",
            "An entry within the period is withheld.",
            with(2500, 8500, &[3]),
        )
        .fails("period"),
        case(
            "period-boundary-not-shown",
            "The entry that would show where the period begins is withheld.",
            with(4500, 8500, &[2, 3, 4]),
        )
        .fails("period"),
        case(
            "period-without-a-call",
            "No call is in the period.",
            with(100, 200, &[]),
        )
        .cannot("period"),
        case(
            "tenant-sequences-more-missing-than-withheld",
            "A tenant's numbers lack two where one entry is withheld.",
            {
                let log = log(|log| {
                    denied(log, 1);
                    *log.tenants.get_mut(&TENANT).unwrap() += 1;
                    (2..=3).for_each(|n| denied(log, n));
                });
                let mut parts = Parts::of(&log);
                parts.manifest.period = Some(Period {
                    from: UnixMillis(START + 4500),
                    until: UnixMillis(START + 100_000),
                });
                parts.withheld = vec![2];
                parts.bytes()
            },
        )
        .fails("tenant-sequences"),
        case(
            "scope-period-of-no-time",
            "The period ends when it begins.",
            with(4500, 4500, &[]),
        )
        .fails("scope"),
        case(
            "scope-period-backwards",
            "The period ends before it begins.",
            with(8500, 4500, &[]),
        )
        .fails("scope"),
        case(
            "accept-run-closed-in-a-period",
            "A run is closed in the period; its first entry, before the period, is withheld.",
            closed_in_a_period(|_| ()),
        )
        .state("run-closes", State::Pass),
        case(
            "run-closes-other-count-in-a-period",
            "The close of a run of which an entry is withheld has another count than its place.",
            closed_in_a_period(|c| c.count += 1),
        )
        .fails("run-closes"),
        case(
            "run-closes-other-head-in-a-period",
            "The close of a run of which an entry is withheld names another last entry than its place.",
            closed_in_a_period(|c| c.head = EntryDigest([5; 32])),
        )
        .fails("run-closes"),
        case(
            "accept-settled-after-the-period",
            "A call was sealed in the period; its outcome, after the period, is withheld.",
            sealed_at_the_end(true, &[6]),
        )
        .state("settlement", State::NotChecked),
        case(
            "settlement-never-in-a-period",
            "A call of the period was never settled; what is withheld stands before it.",
            sealed_at_the_end(false, &[2]),
        )
        .fails("settlement"),
        case(
            "accept-sealed-before-the-period",
            "A call was settled in the period; its intent, before the period, is withheld.",
            sealed_before(),
        )
        .state("settlement", State::NotChecked),
        case(
            "approvals-before-the-period",
            "The approval of a call is withheld: it stands before the period.",
            approved_before(|_, _| (), |_, _| ()),
        )
        .cannot("approvals")
        .state("approval-required", State::CannotTell),
        case(
            "approvals-none-where-it-is-named",
            "Entries before the period are withheld, and the approval is said to be an entry that is there.",
            approved_before(|i, shown| i.approvals.insert(0, shown.clone()), |_, _| ()),
        )
        .fails("approvals"),
        case(
            "settlement-none-where-it-is-named",
            "Entries before the period are withheld, and the intent is said to be an entry that is there.",
            approved_before(|_, _| (), |d, shown| d.intent = Some(shown.clone())),
        )
        .fails("settlement"),
        case(
            "scope-withheld-without-a-period",
            "An export of everything without a period withholds a call.",
            {
                let mut parts = Parts::of(&story());
                parts.withheld = vec![5];
                parts.bytes()
            },
        )
        .fails("scope"),
    ]
}

/// Receipts of calls that an export of one tenant withholds.
fn receipts() -> Vec<Case> {
    let log = shared();
    let receipt = |index: usize, call: u8| {
        log.receipt(&reference(&log, index), CallId([call; 16]), Verdict::Deny)
    };
    let calls = {
        let mut log = super::case::log(|log| (1..=3).for_each(|n| denied(log, n)));
        (4..=6).for_each(|n| denied(&mut log, n));
        log.renew();
        log
    };
    let other = EntryRef {
        index: 8,
        digest: EntryDigest([5; 32]),
    };
    vec![
        case("accept-receipt-of-a-withheld-call", "A receipt is of a call whose record is withheld, under the hash that the receipt names.", tenant(|_, _| ())).receipts(vec![receipt(8, 6)]).state("receipt-missing", State::NotChecked),
        case("accept-receipt-of-a-call-in-a-span", "A receipt is of a call before the period, whose record is withheld within a span.", {
            let mut parts = Parts::of(&calls);
            parts.manifest.period = Some(Period { from: UnixMillis(START + 5500), until: UnixMillis(START + 8500) });
            parts.spans = vec![(2, 2)];
            parts.bytes()
        }).receipts(vec![calls.receipt(&reference(&calls, 3), CallId([2; 16]), Verdict::Deny)]).state("receipt-missing", State::NotChecked),
        case("receipt-missing-another-hash-withheld", "A receipt is of a call in whose place another entry is withheld.", tenant(|_, _| ())).receipts(vec![log.receipt(&other, CallId([6; 16]), Verdict::Deny)]).fails("receipt-missing"),
    ]
}
