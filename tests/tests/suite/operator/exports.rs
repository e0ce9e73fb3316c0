//! What an exporter can do to an export: cut, drop, swap, splice, exchange, add. Manifest, counts and checksum are made to fit.

use super::parts::{Leaf, Parts, verify_by, verify_with_trust};
use super::*;
use countersign_record::cbor::Bytes;
use countersign_record::digest::NodeHash;
use countersign_record::entry::{Entry, Kind};
use countersign_record::export::{Artifact, BUNDLE_KIND, SIGNED_BUNDLE_KIND};
use std::fs;
use std::path::PathBuf;

/// Three epochs of two calls each; the last is open.
fn exported() -> (Machine, PathBuf, Vec<String>) {
    let machine = Machine::enrolled();
    let mut receipts = Vec::new();
    for epoch in 1..=3 {
        let mut gateway = machine.start();
        let answers = serve_calls(&gateway, &[&format!("{epoch} a"), &format!("{epoch} b")]);
        receipts.extend(
            answers
                .iter()
                .filter_map(|a| a.receipt().map(str::to_owned)),
        );
        if epoch == 3 {
            return (machine, gateway.export(), receipts);
        }
        assert!(gateway.stop().success(), "{}", gateway.process.said());
    }
    unreachable!("the third epoch returns");
}

/// The verdict over an export that was changed.
fn judged(change: impl FnOnce(&mut Parts)) -> (Machine, Verdict) {
    let (machine, export, _) = exported();
    let mut parts = Parts::read(&export);
    change(&mut parts);
    let verdict = machine.auditor().verify(&parts.write(&export));
    (machine, verdict)
}

/// Where the epochs begin, and the end.
fn epochs(parts: &Parts) -> Vec<usize> {
    let mut out = parts.all(Kind::Base);
    out.push(parts.leaves.len());
    out
}

#[test]
fn an_export_taken_apart_and_put_together_is_verified() {
    let (_, verdict) = judged(|_| ());
    expect_verdict(&verdict, 0, "VERIFIED", "");
    assert_eq!(
        (verdict.count("epochs"), verdict.count("carried_out")),
        (3, 6)
    );
}

#[test]
fn a_cut_tail_is_named() {
    let (_, verdict) = judged(|parts| parts.leaves.truncate(parts.leaves.len() - 2));
    expect_altered(&verdict, "leaves", "its end was cut off");
}

#[test]
fn a_dropped_epoch_is_named() {
    // An epoch may have an event more or less, such as of a tool server that was slow to start.
    let mut missing = String::new();
    let (_, verdict) = judged(|parts| {
        let at = epochs(parts);
        parts.leaves.drain(at[1]..at[2]);
        missing = format!(
            "entries {} to {} are missing: entry {} stands in their place",
            at[1],
            at[2] - 1,
            at[2]
        );
    });
    expect_altered(&verdict, "leaves", &missing);
}

#[test]
fn a_dropped_first_epoch_is_named() {
    let (_, verdict) = judged(|parts| {
        let at = epochs(parts);
        parts.leaves.drain(..at[1]);
    });
    // The enrolment stood in it.
    expect_altered(&verdict, "enrolment", "this gateway was never enrolled");
    expect_reason(
        &verdict,
        "leaves",
        "entries 0 to 9 are missing: entry 10 stands in their place",
    );
}

#[test]
fn a_dropped_last_epoch_is_named() {
    let (_, verdict) = judged(|parts| {
        let at = epochs(parts);
        parts.leaves.truncate(at[2]);
    });
    expect_altered(&verdict, "leaves", "its end was cut off");
}

#[test]
fn swapped_epochs_are_named() {
    let (_, verdict) = judged(|parts| {
        let at = epochs(parts);
        let (middle, length) = (parts.leaves[at[1]..at[2]].to_vec(), at[1]);
        parts.leaves.drain(at[1]..at[2]);
        parts.leaves.splice(0..0, middle);
        assert!(length > 0);
    });
    expect_altered(&verdict, "leaves", "");
}

#[test]
fn an_entry_taken_out_is_named() {
    let (_, verdict) = judged(|parts| {
        let decision = parts.all(Kind::Decision)[2];
        parts.leaves.remove(decision);
    });
    expect_altered(&verdict, "leaves", "");
}

#[test]
fn a_doubled_entry_is_named() {
    let (_, verdict) = judged(|parts| {
        let decision = parts.all(Kind::Decision)[2];
        parts
            .leaves
            .insert(decision, parts.leaves[decision].clone());
    });
    expect_altered(&verdict, "settled-twice", "");
}

/// An entry of another gateway, at the same place of its log.
#[test]
fn an_entry_of_another_gateway_is_named() {
    let (_other, other, _) = exported();
    let (_, verdict) = judged(|parts| {
        let decision = parts.all(Kind::Decision)[2];
        parts.leaves[decision] = Parts::read(&other).leaves[decision].clone();
    });
    expect_altered(
        &verdict,
        "signatures",
        "it is signed by a key that no epoch of this export vouches for",
    );
}

/// All entries of one gateway, under the name of another.
#[test]
fn the_log_of_another_gateway_under_this_ones_name_is_named() {
    let (_other, other, _) = exported();
    let (_, verdict) = judged(|parts| {
        let manifest = parts.manifest.clone();
        *parts = Parts::read(&other);
        parts.manifest = manifest;
    });
    expect_altered(
        &verdict,
        "gateway",
        "the epoch is of another gateway than the export",
    );
}

#[test]
fn the_log_of_another_gateway_is_not_of_this_fleet() {
    let (machine, _, _) = exported();
    let (_other, other, _) = exported();
    let verdict = machine.auditor().verify(&other);
    expect_altered(&verdict, "enrolment", "");
}

#[test]
fn exchanged_evidence_is_named() {
    let (_, verdict) = judged(|parts| {
        let (first, second) = (parts.evidence_of_renewal(0), parts.evidence_of_renewal(1));
        parts.artifacts[first].bytes = parts.artifacts[second].bytes.clone();
    });
    expect_altered(&verdict, "evidence-set", "does not stand before the entry");
}

#[test]
fn evidence_left_out_is_named() {
    let (_, verdict) = judged(|parts| {
        let place = parts.evidence_of_renewal(0);
        parts.artifacts.remove(place);
    });
    expect_altered(&verdict, "evidence-set", "does not stand before the entry");
}

#[test]
fn a_bundle_left_out_is_named() {
    let (_, verdict) = judged(|parts| {
        parts
            .artifacts
            .retain(|a| a.kind != BUNDLE_KIND && a.kind != SIGNED_BUNDLE_KIND);
    });
    expect_altered(&verdict, "bundle", "was in force, and is not in the export");
}

#[test]
fn the_signatures_of_a_bundle_left_out_are_missed() {
    let (_, verdict) = judged(|parts| parts.artifacts.retain(|a| a.kind != SIGNED_BUNDLE_KIND));
    expect_against_policy(
        &verdict,
        "bundle-signers",
        "has 0 signatures of yours, 1 are needed",
    );
}

#[test]
fn exchanged_disclosures_are_named() {
    let (_, verdict) = judged(|parts| {
        let intents = parts.all(Kind::Intent);
        let opened = |leaf: &Leaf| match leaf {
            Leaf::Entry(_, opened) => opened.clone(),
            Leaf::Hash(_) | Leaf::Span(_) => Vec::new(),
        };
        let (first, second) = (
            opened(&parts.leaves[intents[0]]),
            opened(&parts.leaves[intents[1]]),
        );
        for (place, disclosures) in [(intents[0], second), (intents[1], first)] {
            if let Leaf::Entry(_, opened) = &mut parts.leaves[place] {
                *opened = disclosures;
            }
        }
    });
    expect_altered(&verdict, "disclosures", "");
}

#[test]
fn disclosures_left_out_are_missed() {
    let (_, verdict) = judged(|parts| {
        for leaf in &mut parts.leaves {
            if let Leaf::Entry(_, opened) = leaf {
                opened.clear();
            }
        }
    });
    expect_altered(
        &verdict,
        "missing-disclosures",
        "values that the export's profile promises are not there",
    );
}

/// The records stay the same, and what cannot be judged without the values is said.
#[test]
fn disclosures_that_the_profile_is_made_not_to_promise_are_withheld() {
    let (_, verdict) = judged(|parts| {
        parts.manifest.disclosed.fields.clear();
        for leaf in &mut parts.leaves {
            if let Leaf::Entry(_, opened) = leaf {
                opened.clear();
            }
        }
    });
    expect_verdict(&verdict, 0, "VERIFIED", "");
    assert_eq!(
        verdict.state("disclosures"),
        "not-checked",
        "{}",
        verdict.text
    );
}

#[test]
fn a_withheld_entry_in_a_whole_export_is_named() {
    let (_, verdict) = judged(|parts| {
        let decision = parts.all(Kind::Decision)[2];
        let Leaf::Entry(bytes, _) = &parts.leaves[decision] else {
            panic!("it is an entry");
        };
        let digest = Entry::parse(bytes).unwrap().digest();
        parts.leaves[decision] = Leaf::Hash(NodeHash(digest.0));
    });
    assert_eq!(verdict.exit_code, 1, "{}", verdict.complaints());
    expect_reason(
        &verdict,
        "scope",
        "the export is said to be whole, and 1 entries are given by hash only",
    );
}

#[test]
fn an_export_without_its_checkpoint_cannot_be_evaluated() {
    let (_, verdict) = judged(|parts| parts.checkpoints.clear());
    expect_unevaluated(&verdict, "root");
}

#[test]
fn an_export_that_begins_later_cannot_be_evaluated() {
    let (_, verdict) = judged(|parts| {
        let first = epochs(parts)[1];
        parts.leaves.drain(..first);
        parts.manifest.first = u64::try_from(first).unwrap();
    });
    assert_ne!(verdict.exit_code, 0, "{}", verdict.complaints());
}

#[track_caller]
fn expect_unevaluated(verdict: &Verdict, check: &str) {
    let headline = format!("CANNOT BE EVALUATED ({check}){SOFTWARE}");
    let found = (
        verdict.exit_code,
        verdict.headline(),
        verdict.first_failure(),
    );
    assert_eq!(
        found,
        (3, headline.as_str(), ""),
        "{}",
        verdict.complaints()
    );
}

/// Nothing that travels with an export is trusted; a trust file among it says who wrote it.
#[test]
fn a_trust_file_inside_the_export_is_flagged() {
    let (machine, export, _) = exported();
    let (trust, reference) = machine.auditor().files();
    let mut parts = Parts::read(&export);
    parts.artifacts.push(Artifact {
        kind: "application/toml".to_owned(),
        bytes: Bytes(fs::read(&trust).unwrap()),
    });
    let verdict = verify_by(&parts.write(&export), &trust, &reference);
    expect_against_policy(
        &verdict,
        "trust-source",
        "the export contains your trust file",
    );
}

#[test]
fn without_anybody_to_trust_there_is_no_verdict() {
    let (machine, export, _) = exported();
    let verdict = verify_with_trust(&machine, &export, |_| {
        "version = 1\n[evidence]\naccept = [\"software\"]\n".to_owned()
    });
    expect_unevaluated(&verdict, "trust-anchor");
}

/// The exporter chooses when to export: an older export is genuine, ends earlier, and a receipt convicts it.
#[test]
fn an_older_export_is_genuine_and_a_receipt_convicts_it() {
    let machine = Machine::enrolled();
    let gateway = machine.start();
    serve_calls(&gateway, &["one"]);
    let older = gateway.export();
    let answers = serve_calls(&gateway, &["two"]);
    expect_verified(&machine, &older);
    let receipts = [answers[0].receipt().unwrap().to_owned()];
    let verdict = machine.auditor().verify_with(&older, &receipts);
    expect_altered(
        &verdict,
        "receipt-missing",
        "that you hold a receipt for is not in the export",
    );
    machine
        .auditor()
        .verify_with(&gateway.export(), &receipts)
        .assert_verified();
}

#[test]
fn receipts_of_every_epoch_are_found() {
    let (machine, export, receipts) = exported();
    assert_eq!(receipts.len(), 6);
    let verdict = machine.auditor().verify_with(&export, &receipts);
    expect_verdict(&verdict, 0, "VERIFIED", "");
    assert_eq!(verdict.state("receipt-missing"), "pass");
}
