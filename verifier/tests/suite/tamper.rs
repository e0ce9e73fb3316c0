//! The tamper matrix: one change at a time to a genuine export, and the check that names it first.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "test code: a panic is a failed test, and numbers are small"
)]

use crate::common::*;
use countersign_record::binding::Profile;
use countersign_record::body::{Effect, Mode, Verdict};
use countersign_record::cbor::{Bytes, Cbor as _, Reader, Writer};
use countersign_record::cose::{Sign1, Unsigned};
use countersign_record::digest::*;
use countersign_record::entry::{Body, EntryRef, Extensions, Kind};
use countersign_record::export::{Manifest, Scope};
use countersign_record::statement::Choice;
use countersign_verify::Options;
use countersign_verify::report::Report;
use countersign_verify::text::{Detail, render};

// ---- every field of every kind of entry -------------------------------------------------

/// A CBOR value of this format, to be changed in one place.
#[derive(Clone, Debug)]
enum Value {
    Uint(u64),
    Int(i64),
    Bytes(Vec<u8>),
    Text(String),
    Bool(bool),
    Array(Vec<Value>),
    Map(Vec<(i64, Value)>),
}

fn read(r: &mut Reader<'_>, first: u8) -> Value {
    match first >> 5 {
        0 => Value::Uint(r.uint().unwrap()),
        1 => Value::Int(r.int().unwrap()),
        2 => Value::Bytes(r.bytes().unwrap().to_vec()),
        3 => Value::Text(r.text().unwrap().to_owned()),
        4 => Value::Array(
            r.array(|r, n| (0..n).map(|_| Ok(item(r))).collect())
                .unwrap(),
        ),
        5 => Value::Map(r.pairs(|r| Ok((r.int()?, item(r)))).unwrap()),
        _ => Value::Bool(r.boolean().unwrap()),
    }
}

fn item(r: &mut Reader<'_>) -> Value {
    let bytes = r.any().unwrap();
    read(&mut Reader::new(bytes), bytes[0])
}

fn write(value: &Value, w: &mut Writer) {
    match value {
        Value::Uint(n) => w.uint(*n),
        Value::Int(n) => w.int(*n),
        Value::Bytes(b) => w.bytes(b),
        Value::Text(t) => w.text(t),
        Value::Bool(b) => w.boolean(*b),
        Value::Array(items) => {
            w.array(items.len());
            items.iter().for_each(|i| write(i, w));
        }
        Value::Map(pairs) => {
            w.map(pairs.len());
            pairs.iter().for_each(|(k, v)| {
                w.int(*k);
                write(v, w);
            });
        }
    }
}

/// Every value that differs in one place: a scalar changed, an item or a pair taken out.
fn mutations(value: &Value, path: &str) -> Vec<(String, Value)> {
    let one = |v| vec![(path.to_owned(), v)];
    match value {
        Value::Uint(n) => one(Value::Uint(n + 1)),
        Value::Int(n) => one(Value::Int(n - 1)),
        Value::Bytes(b) => {
            let mut b = b.clone();
            match b.last_mut() {
                Some(last) => *last ^= 1,
                None => b.push(0),
            }
            one(Value::Bytes(b))
        }
        Value::Text(t) => one(Value::Text(format!("{t}x"))),
        Value::Bool(b) => one(Value::Bool(!b)),
        Value::Array(items) => {
            let mut out = Vec::new();
            for (i, v) in items.iter().enumerate() {
                let at = format!("{path}[{i}]");
                out.extend(mutations(v, &at).into_iter().map(|(p, v)| {
                    let mut copy = items.clone();
                    copy[i] = v;
                    (p, Value::Array(copy))
                }));
                let mut shorter = items.clone();
                shorter.remove(i);
                out.push((format!("{at} taken out"), Value::Array(shorter)));
            }
            out
        }
        Value::Map(pairs) => {
            let mut out = Vec::new();
            for (i, (key, v)) in pairs.iter().enumerate() {
                let at = format!("{path}.{key}");
                out.extend(mutations(v, &at).into_iter().map(|(p, v)| {
                    let mut copy = pairs.clone();
                    copy[i].1 = v;
                    (p, Value::Map(copy))
                }));
                let mut shorter = pairs.clone();
                shorter.remove(i);
                out.push((format!("{at} taken out"), Value::Map(shorter)));
            }
            out
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signed {
    /// The old signature stays.
    Not,
    /// By another key, under the epoch key's name.
    ByAnotherKey,
    /// By the epoch key itself: whoever stole it, after the checkpoint was made.
    ByTheEpochKey,
}

fn resign(original: &[u8], payload: Vec<u8>, epoch: u64, signed: Signed) -> Vec<u8> {
    let old = Sign1::parse(original).unwrap();
    let unsigned = Unsigned::new(old.typ(), old.kid(), payload);
    let message = unsigned.to_be_signed();
    unsigned.with_signature(match signed {
        Signed::Not => old.signature(),
        Signed::ByAnotherKey => Key::new(99).sign(&message),
        Signed::ByTheEpochKey => epoch_key(epoch).sign(&message),
    })
}

/// Mutates each field of the first entry of a kind; gives what was not caught as it should be.
fn matrix(kind: Kind, signed: Signed, expected: &[&str]) -> Vec<String> {
    let log = sample(Profile::Tpm);
    let (index, leaf) = log
        .leaves
        .iter()
        .enumerate()
        .find(|(_, l)| l.payload.body.kind() == kind)
        .unwrap();
    let payload = leaf.payload.to_bytes();
    let value = read(&mut Reader::new(&payload), payload[0]);
    let mutations = mutations(&value, kind.name());
    assert!(mutations.len() > 8, "{kind}: {}", mutations.len());
    let mut wrong = Vec::new();
    for (path, mutated) in mutations {
        let mut w = Writer::new();
        write(&mutated, &mut w);
        let mut parts = Parts::of(&log);
        parts.leaves[index].0 = resign(&leaf.bytes, w.into_bytes(), leaf.epoch, signed);
        let report = check(&parts.bytes());
        let first = report.first_failure.unwrap_or("nothing");
        if report.exit_code != 1 || !expected.is_empty() && !expected.contains(&first) {
            wrong.push(format!("{path}: exit {} first {first}", report.exit_code));
        }
    }
    wrong
}

/// What catches an entry whose field was changed without its key: its signature, or its form. An entry of
/// another format version cannot be read, and is missed where it should stand.
const UNSIGNED: &[&str] = &["signatures", "entries", "root"];

macro_rules! field_tests {
    ($($name:ident: $kind:ident),* $(,)?) => { $(
        mod $name {
            use super::*;
            #[test]
            fn a_changed_field_breaks_the_signature() {
                assert_eq!(matrix(Kind::$kind, Signed::Not, UNSIGNED), Vec::<String>::new());
            }
            #[test]
            fn a_changed_field_signed_by_another_key_breaks_the_signature() {
                assert_eq!(matrix(Kind::$kind, Signed::ByAnotherKey, UNSIGNED), Vec::<String>::new());
            }
            #[test]
            fn a_changed_field_signed_by_the_epoch_key_itself_is_still_found() {
                assert_eq!(matrix(Kind::$kind, Signed::ByTheEpochKey, &[]), Vec::<String>::new());
            }
        }
    )* };
}

field_tests! {
    enrol: Enrol, base: Base, intent: Intent, decision: Decision, approval: Approval, run: Run, change: Change,
    event: Event, renewal: Renewal, adopt: Adopt, gap: Gap, erasure: Erasure, close: Close,
}

// ---- what stands in byte strings within entries ------------------------------------------

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Vouched {
    /// The identity key's signature stays the old one.
    Not,
    /// The identity key signs the changed binding; its evidence stays the old one.
    ByTheIdentityKey,
}

/// Mutates each field of the first epoch's binding, in a log that the epoch key signs anew, checkpoint and all.
fn bindings(vouched: Vouched, expected: &[&str]) -> Vec<String> {
    let mut log = Mini::new(Profile::Tpm);
    log.open();
    log.enrol();
    let Body::Base(base) = log.leaves[0].payload.body.clone() else {
        return vec!["no base".into()];
    };
    let value = read(&mut Reader::new(&base.binding.0), base.binding.0[0]);
    let mut wrong = Vec::new();
    for (path, mutated) in mutations(&value, "binding") {
        let mut w = Writer::new();
        write(&mutated, &mut w);
        let mut base = base.clone();
        base.binding = Bytes(w.into_bytes());
        if vouched == Vouched::ByTheIdentityKey {
            base.identity_signature =
                identity().sign(&countersign_record::binding::epoch_message(&base.binding.0));
        }
        let mut changed = log.leaves.clone();
        changed[0].payload.body = Body::Base(base);
        changed[0].bytes = sign(&changed[0].payload, &epoch_key(1));
        let digest = countersign_record::merkle::entry_digest(&changed[0].bytes);
        changed[1].payload.place.base = Some(digest);
        changed[1].bytes = sign(&changed[1].payload, &epoch_key(1));
        let mut parts = Parts::of(&log);
        parts.leaves = changed.iter().map(|l| (l.bytes.clone(), vec![])).collect();
        parts.checkpoints = vec![checkpoint(&changed)];
        let report = check(&parts.bytes());
        let first = report.first_failure.unwrap_or("nothing");
        if report.exit_code != 1 || !expected.contains(&first) {
            wrong.push(format!("{path}: exit {} first {first}", report.exit_code));
        }
    }
    wrong
}

#[test]
fn a_changed_field_of_the_binding_breaks_the_identity_keys_word() {
    // Another epoch key in the binding is one that did not sign the entries.
    assert_eq!(
        bindings(Vouched::Not, &["identity", "signatures"]),
        Vec::<String>::new()
    );
}

#[test]
fn a_changed_field_of_the_binding_is_not_what_the_chip_signed() {
    let caught = [
        "evidence",
        "evidence-set",
        "attestation-key",
        "identity",
        "signatures",
        "gateway",
    ];
    assert_eq!(
        bindings(Vouched::ByTheIdentityKey, &caught),
        Vec::<String>::new()
    );
}

// ---- entries moved about -----------------------------------------------------------------

/// The report on a sample whose parts were changed.
fn changed(change: impl FnOnce(&mut Parts)) -> Report {
    let mut parts = Parts::of(&sample(Profile::Tpm));
    change(&mut parts);
    check(&parts.bytes())
}

/// Asserts that the change was caught by this check first.
fn caught(report: &Report, first: &str) {
    let text = render(report, Detail::Brief);
    assert_eq!(
        (report.exit_code, report.first_failure),
        (1, Some(first)),
        "{text}"
    );
}

#[test]
fn an_entry_taken_out_is_missed() {
    let report = changed(|p| {
        p.leaves.remove(4);
        p.manifest.end -= 1;
    });
    caught(&report, "leaves");
    let leaves = report.checks.iter().find(|c| c.code == "leaves").unwrap();
    assert!(
        leaves.reason.contains("entry 4 is missing"),
        "{}",
        leaves.reason
    );
}

#[test]
fn every_single_entry_is_missed_when_taken_out() {
    let count = sample(Profile::Tpm).leaves.len();
    for index in 0..count {
        let report = changed(|p| {
            p.leaves.remove(index);
            p.manifest.end -= 1;
        });
        assert_eq!(report.exit_code, 1, "entry {index}");
    }
}

#[test]
fn a_doubled_entry_is_named() {
    caught(
        &changed(|p| p.leaves.insert(4, p.leaves[3].clone())),
        "leaves",
    );
}

#[test]
fn swapped_entries_are_named() {
    caught(&changed(|p| p.leaves.swap(2, 3)), "leaves");
}

#[test]
fn an_entry_of_another_epoch_put_in_this_ones_place_is_named() {
    let log = sample(Profile::Tpm);
    let mut payload = log.leaves[12].payload.clone();
    let other = log.leaves.iter().rev().find(|l| l.epoch == 2).unwrap();
    payload.place.base = other.payload.place.base;
    let mut parts = Parts::of(&log);
    parts.leaves[12].0 = sign(&payload, &epoch_key(2));
    // Nobody vouched for that key yet at this place of the log.
    let report = check(&parts.bytes());
    assert_eq!(report.exit_code, 1);
    assert!(
        failed(&report).contains(&"base-reference"),
        "{:?}",
        failed(&report)
    );
}

#[test]
fn an_entry_signed_by_an_older_epochs_key_is_named() {
    let log = sample(Profile::Tpm);
    let mut parts = Parts::of(&log);
    let last = log.leaves.len() - 1;
    parts.leaves[last].0 = sign(&log.leaves[last].payload, &epoch_key(1));
    caught(&check(&parts.bytes()), "base-reference");
}

#[test]
fn a_cut_tail_is_missed() {
    let report = changed(|p| {
        p.leaves.pop();
        p.manifest.end -= 1;
    });
    caught(&report, "leaves");
}

#[test]
fn a_file_cut_short_is_no_export() {
    let export = sample(Profile::Tpm).export();
    caught(&check(&export[..export.len() - 40]), "framing");
}

#[test]
fn bytes_after_the_trailer_are_named() {
    let export = [sample(Profile::Tpm).export(), vec![0]].concat();
    caught(&check(&export), "framing");
}

#[test]
fn any_flipped_byte_of_the_file_is_found() {
    let export = sample(Profile::Tpm).export();
    for at in (0..export.len()).step_by(211) {
        let mut bytes = export.clone();
        bytes[at] ^= 1;
        assert_ne!(check(&bytes).exit_code, 0, "byte {at}");
    }
}

#[test]
fn a_tail_cut_with_its_checkpoint_is_seen_as_a_shorter_log_that_hardware_does_not_contradict() {
    // What nobody quoted and no receipt names can be cut; the report says so.
    let mut log = sample(Profile::Tpm);
    log.leaves.pop();
    let report = check(&log.export());
    assert_eq!(report.exit_code, 0);
    assert!(
        report
            .not_proved
            .iter()
            .any(|t| t.contains("nothing follows the last entry"))
    );
}

#[test]
fn a_receipt_for_a_cut_call_finds_the_cut() {
    let mut log = sample(Profile::Tpm);
    let last = log.leaves.last().unwrap();
    let entry = EntryRef {
        index: last.payload.place.index,
        digest: countersign_record::merkle::entry_digest(&last.bytes),
    };
    let receipt = log.receipt(&entry, CallId([6; 16]), Verdict::Deny);
    let options = || Options {
        receipts: vec![receipt.clone()],
        ..Options::default()
    };
    assert_eq!(check_with(&log.export(), &trust(), options()).exit_code, 0);
    log.leaves.pop();
    caught(
        &check_with(&log.export(), &trust(), options()),
        "receipt-missing",
    );
}

#[test]
fn a_receipt_with_another_verdict_than_the_record_is_found() {
    let log = sample(Profile::Tpm);
    let last = log.leaves.last().unwrap();
    let entry = EntryRef {
        index: last.payload.place.index,
        digest: countersign_record::merkle::entry_digest(&last.bytes),
    };
    let receipts = vec![log.receipt(&entry, CallId([6; 16]), Verdict::Allow)];
    caught(
        &check_with(
            &log.export(),
            &trust(),
            Options {
                receipts,
                ..Options::default()
            },
        ),
        "receipt-missing",
    );
}

#[test]
fn receipts_with_two_outcomes_of_one_call_are_found() {
    let log = sample(Profile::Tpm);
    let last = log.leaves.last().unwrap();
    let entry = EntryRef {
        index: last.payload.place.index,
        digest: countersign_record::merkle::entry_digest(&last.bytes),
    };
    let other = EntryRef {
        index: entry.index + 1,
        digest: EntryDigest([1; 32]),
    };
    let receipts = vec![
        log.receipt(&entry, CallId([6; 16]), Verdict::Deny),
        log.receipt(&other, CallId([6; 16]), Verdict::Allow),
    ];
    caught(
        &check_with(
            &log.export(),
            &trust(),
            Options {
                receipts,
                ..Options::default()
            },
        ),
        "settled-twice",
    );
}

#[test]
fn a_forged_receipt_proves_nothing_either_way() {
    let log = sample(Profile::Tpm);
    let mut receipt = log.receipt(
        &EntryRef {
            index: 1,
            digest: EntryDigest([1; 32]),
        },
        CallId([6; 16]),
        Verdict::Deny,
    );
    *receipt.last_mut().unwrap() ^= 1;
    let report = check_with(
        &log.export(),
        &trust(),
        Options {
            receipts: vec![receipt],
            ..Options::default()
        },
    );
    assert_eq!(report.exit_code, 3);
}

// ---- what stands beside the entries ------------------------------------------------------

#[test]
fn missing_evidence_is_named() {
    caught(
        &changed(|p| {
            p.artifacts.remove(1);
        }),
        "evidence-set",
    );
}

#[test]
fn altered_evidence_is_other_evidence() {
    caught(
        &changed(|p| *p.artifacts[1].bytes.0.last_mut().unwrap() ^= 1),
        "evidence-set",
    );
}

#[test]
fn the_same_bytes_under_another_kind_hide_no_evidence() {
    let report = changed(|p| {
        let mut other = p.artifacts[1].clone();
        other.kind = "application/octet-stream".into();
        p.artifacts.push(other);
    });
    assert_eq!((report.exit_code, failed(&report)), (0, vec![]));
}

#[test]
fn a_missing_bundle_is_named() {
    let report = changed(|p| {
        p.artifacts.remove(0);
    });
    assert_eq!(report.exit_code, 1);
    assert!(failed(&report).contains(&"bundle"));
}

#[test]
fn a_checkpoint_of_other_keys_is_refused() {
    let report = changed(|p| {
        p.checkpoints[0] = p.checkpoints[0]
            .replace(" epoch", " ")
            .replace("/epoch ", "/other ")
    });
    caught(&report, "checkpoint-signatures");
}

#[test]
fn an_export_without_a_checkpoint_has_no_verdict() {
    assert_eq!(changed(|p| p.checkpoints.clear()).exit_code, 3);
}

#[test]
fn an_altered_disclosure_is_named() {
    let report = changed(|p| {
        let disclosures = p
            .leaves
            .iter_mut()
            .map(|l| &mut l.1)
            .find(|d| !d.is_empty())
            .unwrap();
        disclosures[0].value = Bytes(b"another".to_vec());
    });
    caught(&report, "disclosures");
}

#[test]
fn an_export_said_to_be_whole_with_withheld_entries_is_named() {
    let report = changed(|p| p.withheld = vec![12]);
    assert!(failed(&report).contains(&"scope"), "{:?}", failed(&report));
}

#[test]
fn a_withheld_entry_of_the_tenant_itself_is_missed() {
    let report = changed(|p| (p.manifest.scope, p.withheld) = (Scope::Tenant, vec![2]));
    assert_eq!(report.exit_code, 1);
    assert!(
        failed(&report).contains(&"tenant-sequences"),
        "{:?}",
        failed(&report)
    );
}

#[test]
fn a_made_up_last_number_of_a_tenant_is_no_proof() {
    let mut log = sample(Profile::Tpm);
    log.scope = Scope::Tenant;
    let (place, mut proof) = log.proof(0, TENANT);
    proof.head.seq -= 1;
    let mut parts = Parts::of(&log);
    parts.withheld = vec![12];
    parts.proofs = vec![(place, proof)];
    caught(&check(&parts.bytes()), "tenant-heads");
}

#[test]
fn an_export_of_another_gateway_under_this_name_is_refused() {
    let report = changed(|p| {
        p.manifest = Manifest {
            identity_key: Key::new(77).public(),
            gateway: Key::new(77).public().gateway(),
            ..p.manifest.clone()
        }
    });
    assert!(
        failed(&report).contains(&"gateway"),
        "{:?}",
        failed(&report)
    );
}

// ---- genuine signatures over a log that is wrong -----------------------------------------

/// The report on a log that the true keys signed, checkpoint and all.
fn misled(build: impl FnOnce(&mut Mini)) -> Report {
    let mut log = Mini::new(Profile::Tpm);
    log.open();
    log.enrol();
    build(&mut log);
    log.renew();
    check(&log.export())
}

#[test]
fn evidence_of_another_chip_is_refused() {
    let report = misled(|log| {
        log.device.ak_seed = 2;
        log.renew();
    });
    caught(&report, "attestation-key");
}

#[test]
fn an_epoch_on_a_chip_that_was_not_enrolled_is_refused() {
    let report = misled(|log| {
        log.close();
        log.device.ak_seed = 2;
        log.open();
    });
    caught(&report, "attestation-key");
}

#[test]
fn evidence_of_one_renewal_does_not_serve_another() {
    let report = misled(|log| {
        log.renew();
        let first = log.artifacts.last().unwrap().clone();
        log.renew();
        *log.artifacts.last_mut().unwrap() = first;
    });
    caught(&report, "evidence-set");
}

#[test]
fn a_jump_of_the_counter_within_an_epoch_is_named() {
    let report = misled(|log| log.device.counter += 2);
    caught(&report, "counter");
    let counter = report.checks.iter().find(|c| c.code == "counter").unwrap();
    assert!(
        counter.reason.contains("2 steps are unexplained"),
        "{}",
        counter.reason
    );
}

#[test]
fn a_jump_of_the_counter_between_epochs_is_named() {
    let report = misled(|log| {
        log.close();
        log.device.counter += 3;
        log.open();
    });
    caught(&report, "counter");
}

#[test]
fn a_jump_that_governance_signed_for_is_a_matter_of_policy() {
    let report = misled(|log| {
        log.close();
        let explained = log.device.counter;
        log.device.counter += 3;
        log.open();
        log.gap(explained, explained + 3);
    });
    assert_eq!((report.exit_code, failed(&report)), (2, vec!["gaps"]));
}

#[test]
fn a_jump_beyond_what_governance_saw_is_named() {
    let report = misled(|log| {
        log.close();
        let explained = log.device.counter;
        log.device.counter += 3;
        log.open();
        log.gap(explained, explained + 2);
    });
    caught(&report, "epochs");
}

#[test]
fn a_restart_within_an_epoch_is_named() {
    caught(&misled(|log| log.device.reset_count += 1), "reset-counts");
}

#[test]
fn a_renewal_over_another_log_is_named() {
    let report = misled(|log| {
        let mut statement = log.renewal_statement();
        statement.head.root = NodeHash([1; 32]);
        log.renew_with(&statement);
    });
    caught(&report, "renewals");
}

#[test]
fn an_epoch_over_another_log_is_named() {
    let report = misled(|log| {
        log.close();
        let mut binding = log.binding();
        binding.previous.root = NodeHash([1; 32]);
        log.open_with(binding);
    });
    caught(&report, "epochs");
}

#[test]
fn an_entry_after_the_close_is_named() {
    let report = misled(|log| {
        log.close();
        log.event();
        log.open();
    });
    assert!(
        failed(&report).contains(&"base-reference"),
        "{:?}",
        failed(&report)
    );
}

#[test]
fn a_call_after_the_lease_is_named() {
    let report = misled(|log| {
        log.renew();
        // Ten seconds are allowed between acceptance and seal.
        log.time += LEASE + 10_000;
        let read = call(1, Mode::ReadOnly);
        let intent = log.intent(&read, vec![], None);
        log.decide(&read, Verdict::Allow, Some(intent));
    });
    caught(&report, "leases");
}

#[test]
fn a_destructive_call_without_an_approval_is_named() {
    let report = misled(|log| {
        let erase = call(1, Mode::Destructive);
        let intent = log.intent(&erase, vec![], None);
        log.decide(&erase, Verdict::Allow, Some(intent));
    });
    caught(&report, "approval-required");
}

#[test]
fn a_refusal_is_no_approval() {
    let report = misled(|log| {
        let erase = call(1, Mode::Destructive);
        let word = log.approve(&erase, Choice::Refuse);
        let intent = log.intent(&erase, vec![word], None);
        log.decide(&erase, Verdict::Allow, Some(intent));
    });
    caught(&report, "approval-required");
}

#[test]
fn an_approval_serves_once() {
    let report = misled(|log| {
        let erase = call(1, Mode::Destructive);
        let word = log.approve(&erase, Choice::Approve);
        let intent = log.intent(&erase, vec![word.clone()], None);
        log.decide(&erase, Verdict::Allow, Some(intent));
        let again = Call {
            action: Some(erase.id),
            ..call(2, Mode::Destructive)
        };
        let intent = log.intent(&again, vec![word], Some(erase.id));
        log.decide(&again, Verdict::Allow, Some(intent));
    });
    caught(&report, "approval-required");
}

#[test]
fn an_approval_of_another_action_does_not_serve() {
    let report = misled(|log| {
        let word = log.approve(&call(9, Mode::Destructive), Choice::Approve);
        let erase = call(1, Mode::Destructive);
        let intent = log.intent(&erase, vec![word], None);
        log.decide(&erase, Verdict::Allow, Some(intent));
    });
    caught(&report, "approval-required");
}

#[test]
fn an_expired_approval_does_not_serve() {
    let report = misled(|log| {
        let erase = call(1, Mode::Destructive);
        let word = log.approve(&erase, Choice::Approve);
        log.time += 700_000;
        let intent = log.intent(&erase, vec![word], None);
        log.decide(&erase, Verdict::Allow, Some(intent));
    });
    caught(&report, "approval-required");
}

#[test]
fn a_call_that_was_sealed_and_never_settled_is_named() {
    let report = misled(|log| {
        log.intent(&call(1, Mode::ReadOnly), vec![], None);
        log.close();
        log.open();
    });
    caught(&report, "settlement");
}

#[test]
fn a_call_under_way_at_the_end_is_said_and_not_blamed() {
    let report = misled(|log| {
        log.intent(&call(1, Mode::ReadOnly), vec![], None);
    });
    assert_eq!((report.exit_code, report.counts.open), (0, 1));
}

#[test]
fn two_outcomes_of_one_call_are_named() {
    let report = misled(|log| {
        log.decide(&call(1, Mode::Network), Verdict::Deny, None);
        log.decide(&call(1, Mode::Network), Verdict::Deny, None);
    });
    caught(&report, "settled-twice");
}

#[test]
fn an_effect_without_an_intent_is_named() {
    let report = misled(|log| {
        let read = call(1, Mode::ReadOnly);
        let mut body = log.decision_body(&read, Verdict::Allow, None);
        body.effect = Effect::Unknown;
        log.push(Body::Decision(body), Some(read.run), vec![]);
    });
    caught(&report, "intent-before-effect");
}

#[test]
fn an_outcome_that_shows_another_request_than_its_intent_is_named() {
    let report = misled(|log| {
        let read = call(1, Mode::ReadOnly);
        let intent = log.intent(&read, vec![], None);
        let mut body = log.decision_body(&read, Verdict::Allow, Some(intent));
        body.received = Commitment([0; 32]);
        log.push(Body::Decision(body), Some(read.run), vec![]);
    });
    caught(&report, "settlement");
}

#[test]
fn an_outcome_that_was_decided_on_another_state_than_its_intent_is_named() {
    let report = misled(|log| {
        let read = call(1, Mode::ReadOnly);
        let intent = log.intent(&read, vec![], None);
        let mut body = log.decision_body(&read, Verdict::Allow, Some(intent));
        body.basis = Some(0);
        log.push(Body::Decision(body), Some(read.run), vec![]);
    });
    caught(&report, "settlement");
}

#[test]
fn a_verdict_that_was_decided_on_leaves_after_it_is_named() {
    let report = misled(|log| {
        let read = call(1, Mode::ReadOnly);
        let mut body = log.decision_body(&read, Verdict::Deny, None);
        body.basis = Some(1_000_000);
        log.push(Body::Decision(body), Some(read.run), vec![]);
    });
    caught(&report, "settlement");
}

#[test]
fn a_bundle_that_was_not_in_force_is_named() {
    let report = misled(|log| {
        let read = call(1, Mode::ReadOnly);
        let mut body = log.decision_body(&read, Verdict::Deny, None);
        body.policy.as_mut().unwrap().bundle = ArtifactDigest([0; 32]);
        log.push(Body::Decision(body), Some(read.run), vec![]);
    });
    caught(&report, "in-force");
}

#[test]
fn a_signature_over_another_request_is_no_proof_of_this_one() {
    let report = misled(|log| {
        let read = Call {
            signed: true,
            ..call(1, Mode::ReadOnly)
        };
        let mut body = log.decision_body(&read, Verdict::Deny, None);
        let (proof, disclosure) = salted(
            countersign_record::commitment::Field::CallerProof,
            &caller_proof(b"another body").to_bytes(),
        );
        body.caller.proof = Some(proof);
        let (_, _, mut disclosures) = log.caller(&read);
        disclosures.truncate(2);
        disclosures.push(disclosure);
        log.push(Body::Decision(body), Some(read.run), disclosures);
    });
    caught(&report, "caller-proofs");
}

#[test]
fn a_run_that_goes_on_after_its_close_is_named() {
    let report = misled(|log| {
        log.decide(&call(1, Mode::Network), Verdict::Deny, None);
        log.close_run(RunId([1; 16]));
        log.decide(&call(2, Mode::Network), Verdict::Deny, None);
    });
    caught(&report, "run-chains");
}

#[test]
fn an_unknown_critical_extension_needs_a_newer_verifier() {
    let mut log = sample(Profile::Tpm);
    let last = log.leaves.last_mut().unwrap();
    last.payload.critical = Extensions::new(vec![(7, Bytes(vec![1]))]);
    last.bytes = sign(&last.payload, &epoch_key(2));
    let report = check(&log.export());
    assert_eq!((report.exit_code, report.first_failure), (3, None));
}

#[test]
fn an_entry_of_a_newer_version_is_not_called_altered_for_its_disclosures() {
    let mut log = sample(Profile::Tpm);
    log.event();
    let last = log.leaves.last_mut().unwrap();
    let mut payload = last.payload.to_bytes();
    assert_eq!(payload[..3], [0xa3, 0x01, 0x01]);
    payload[2] = 2;
    last.bytes = resign(&last.bytes, payload, 2, Signed::ByTheEpochKey);
    let report = check(&log.export());
    assert_eq!((report.exit_code, report.first_failure), (3, None));
}

#[test]
fn an_unknown_optional_extension_is_printed_and_changes_nothing() {
    let mut log = sample(Profile::Tpm);
    let last = log.leaves.last_mut().unwrap();
    last.payload.optional = Extensions::new(vec![(7, Bytes(vec![0xab]))]);
    last.bytes = sign(&last.payload, &epoch_key(2));
    let report = check(&log.export());
    assert_eq!(report.exit_code, 0);
    assert!(render(&report, Detail::Full).contains("7 = ab"));
}
