//! The operator, who has disk, power, clock, bus and network, played against the real programs.
//!
//! Each test is a row of `docs/threat-model.md`, under its own name, and ends in what is printed:
//! the gateway's words, or the verifier's headline, first failing check and exit code.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm,
    reason = "test code: a panic is a failed test, and numbers are small"
)]

mod adoption;
mod approvals;
mod bundles;
mod bus;
mod clock;
mod enrolment;
mod erasures;
mod exports;
mod files;
mod fleet;
mod foreign;
mod hidden;
pub(super) mod parts;
mod snapshots;
mod timestamps;
mod tpm;
mod witnesses;

use countersign_tests::auditor::Verdict;
use countersign_tests::client::Answer;
use countersign_tests::machine::{Gateway, Machine};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;

/// Ends every headline here: the machines of these tests have software TPMs.
const SOFTWARE: &str = " — no hardware vouches for this: the evidence comes from a software TPM";

pub(super) use snapshots::snapshot_of_running;

/// A call that has an effect.
#[track_caller]
fn append(gateway: &Gateway, line: &str) -> Answer {
    gateway
        .alpha()
        .call("effects.append", json!({ "line": line }))
        .unwrap()
}

/// Calls that must be carried out.
#[track_caller]
fn serve_calls(gateway: &Gateway, lines: &[&str]) -> Vec<Answer> {
    let answers: Vec<_> = lines.iter().map(|line| append(gateway, line)).collect();
    assert!(answers.iter().all(Answer::is_ok), "{answers:?}");
    answers
}

/// A call that must be refused, by this code.
#[track_caller]
fn expect_refusal(gateway: &Gateway, code: &str) {
    let answer = append(gateway, "refused");
    assert_eq!((answer.is_ok(), answer.code()), (false, code), "{answer:?}");
}

/// A gateway that is held, and says why.
#[track_caller]
fn expect_held(gateway: &Gateway, explained: u64, found: u64, entries: usize) {
    let words = format!(
        "held: the log of {entries} entries explains counter {explained}, the TPM shows {found}; entries may be missing"
    );
    assert_eq!(gateway.word, "held", "{}", gateway.process.said());
    gateway.process.wait_said(&words);
    let health = gateway.stranger().get("/healthz").unwrap().json();
    assert_eq!(
        (&health["state"], &health["held"]),
        (&json!("held"), &json!(words))
    );
    expect_refusal(gateway, "gateway_held");
}

/// A start that must fail, with these words among what it says.
#[track_caller]
fn expect_no_start(machine: &Machine, words: &str) {
    match machine.boot_with(&mut machine.serve_command()) {
        Ok(gateway) => panic!("it is {}:\n{}", gateway.word, gateway.process.said()),
        Err((status, said)) => {
            assert_eq!(status.code(), Some(1), "{said}");
            assert!(said.contains(words), "{words:?} was not said, but:\n{said}");
        }
    }
}

/// Exit code, headline and first failing check of a verdict, exactly.
#[track_caller]
fn expect_verdict(verdict: &Verdict, exit_code: i32, words: &str, check: &str) {
    let headline = match (words, check) {
        ("VERIFIED", _) => format!("{words}{SOFTWARE}"),
        _ => format!("{words} ({check}){SOFTWARE}"),
    };
    assert_eq!(
        (
            verdict.exit_code,
            verdict.headline(),
            verdict.first_failure()
        ),
        (
            exit_code,
            headline.as_str(),
            if words == "VERIFIED" { "" } else { check }
        ),
        "{}",
        verdict.complaints()
    );
}

#[track_caller]
fn expect_verified(machine: &Machine, export: &Path) -> Verdict {
    let verdict = machine.auditor().verify(export);
    expect_verdict(&verdict, 0, "VERIFIED", "");
    verdict
}

#[track_caller]
fn expect_altered(verdict: &Verdict, check: &str, reason: &str) {
    expect_verdict(verdict, 1, "ALTERED OR UNTRUSTED", check);
    expect_reason(verdict, check, reason);
}

#[track_caller]
fn expect_against_policy(verdict: &Verdict, check: &str, reason: &str) {
    expect_verdict(verdict, 2, "GENUINE, BUT AGAINST YOUR POLICY", check);
    expect_reason(verdict, check, reason);
}

#[track_caller]
fn expect_reason(verdict: &Verdict, check: &str, reason: &str) {
    assert_eq!(verdict.state(check), "fail", "{}", verdict.complaints());
    let found = verdict.reason(check);
    assert!(
        found.contains(reason),
        "{check}: {reason:?} is not said, but: {found}"
    );
}

/// The threat model names each test here, and no other.
#[test]
fn the_threat_model_names_every_test_of_the_operator() {
    let sources = [
        include_str!("adoption.rs"),
        include_str!("approvals.rs"),
        include_str!("bundles.rs"),
        include_str!("clock.rs"),
        include_str!("enrolment.rs"),
        include_str!("exports.rs"),
        include_str!("files.rs"),
        include_str!("hidden.rs"),
        include_str!("snapshots.rs"),
        include_str!("timestamps.rs"),
        include_str!("tpm.rs"),
        include_str!("witnesses.rs"),
    ];
    let tests: BTreeSet<&str> = sources
        .iter()
        .flat_map(|text| text.split("#[test]\nfn ").skip(1))
        .filter_map(|rest| rest.split_once('('))
        .map(|(name, _)| name)
        .collect();
    let document = include_str!("../../../../docs/threat-model.md");
    let named: BTreeSet<&str> = document
        .split('`')
        .filter_map(|word| word.split_once("::"))
        .filter(|(module, _)| MODULES.contains(module))
        .map(|(_, name)| name)
        .collect();
    assert_eq!(named, tests);
}

const MODULES: [&str; 12] = [
    "adoption",
    "approvals",
    "bundles",
    "clock",
    "enrolment",
    "exports",
    "files",
    "hidden",
    "snapshots",
    "timestamps",
    "tpm",
    "witnesses",
];
