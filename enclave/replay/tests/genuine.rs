//! Replay of logs that the verifier finds genuine: the stages are the gateway's, the keys are a test's.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking; the lints know test functions but not their helpers"
)]

#[path = "../../../verifier/tests/common/mod.rs"]
#[expect(
    dead_code,
    reason = "shared with the verifier's tests, which use more of it"
)]
mod common;
mod gateway;

use common::{NOW, trust};
use countersign_policies::bundle::UnsignedBundle;
use countersign_record::body::Verdict;
use countersign_record::commitment::Field;
use countersign_record::entry::Body;
use countersign_replay::compare::Stage;
use countersign_replay::report::CallReplay;
use countersign_replay::whatif::Candidate;
use countersign_replay::{Options, Replay, Status, replay};
use countersign_verify::trust::Trust;
use gateway::{Gateway, PERMISSIVE, SELECT, site, with_policy};
use std::io::Cursor;

fn replay_with(export: &[u8], options: &Options) -> Replay {
    replay(Cursor::new(export), &trust(), options, NOW, &mut |_| ()).unwrap()
}

fn replayed(export: &[u8]) -> Replay {
    replay_with(export, &Options::default())
}

#[track_caller]
fn only(replay: &Replay) -> &CallReplay {
    match replay.calls.as_slice() {
        [call] => call,
        calls => panic!("{calls:?}"),
    }
}

fn diverged(replay: &Replay) -> Vec<(Stage, &str)> {
    replay
        .calls
        .iter()
        .filter_map(|c| c.difference.as_ref())
        .map(|d| (d.stage, d.field.as_str()))
        .collect()
}

/// A log with one call that policy allows and one that it denies.
fn two_calls() -> Gateway {
    let mut gateway = Gateway::new(&site());
    gateway.call("read_query", SELECT, "");
    gateway.call("secret", SELECT, "");
    gateway
}

#[test]
fn calls_of_the_same_stages_come_out_the_same() {
    let export = two_calls().export();
    let replay = replayed(&export);
    assert_eq!(
        (replay.status, replay.exit_code, replay.counts.matched),
        (Status::Match, 0, 2),
        "{}",
        replay.to_text()
    );
    let carried_out = [
        Stage::Request,
        Stage::Identity,
        Stage::Surface,
        Stage::Budget,
        Stage::Policy,
        Stage::Approval,
        Stage::Seal,
        Stage::Release,
        Stage::Decision,
    ];
    assert_eq!(replay.calls[0].recomputed, carried_out);
}

#[test]
fn without_a_trust_file_the_export_is_checked_against_itself() {
    let nobody = Trust::parse(b"version = 1\n").unwrap();
    let export = two_calls().export();
    let replay = replay(
        Cursor::new(&export),
        &nobody,
        &Options::default(),
        NOW,
        &mut |_| (),
    )
    .unwrap();
    assert_eq!(replay.status, Status::Match, "{}", replay.to_text());
    assert_eq!(replay.verification.exit_code, 3);
}

#[test]
fn two_replays_say_the_same_in_every_byte() {
    let export = two_calls().export();
    let (one, other) = (replayed(&export), replayed(&export));
    assert_eq!(one.to_json().unwrap(), other.to_json().unwrap());
    assert_eq!(one.to_text(), other.to_text());
}

#[test]
fn a_verdict_that_the_genuine_key_signed_and_policy_did_not_give_is_found() {
    let mut gateway = Gateway::new(&site());
    // Somebody runs other rules and signs in the name of those in force.
    gateway.decide_by(&with_policy(PERMISSIVE));
    gateway.call("secret", SELECT, "");
    let export = gateway.export();
    assert_eq!(
        common::check(&export).exit_code,
        0,
        "the verifier sees a genuine log"
    );
    let replay = replayed(&export);
    assert_eq!((replay.status, replay.exit_code), (Status::Diverged, 2));
    assert_eq!(diverged(&replay), [(Stage::Policy, "decision.verdict")]);
}

#[test]
fn policies_that_did_not_fire_are_found() {
    let mut gateway = Gateway::new(&site());
    gateway.change(|body| {
        if let Body::Decision(decision) = body {
            decision.policy.as_mut().unwrap().fired = vec!["somebody-else".to_owned()];
        }
    });
    gateway.call("read_query", SELECT, "");
    let replay = replayed(&gateway.export());
    assert_eq!(
        diverged(&replay),
        [(Stage::Policy, "decision.policy.fired")]
    );
}

#[test]
fn a_refusal_by_another_rule_is_found() {
    let mut gateway = Gateway::new(&site());
    gateway.call("write_query", SELECT, "");
    let mut other = Gateway::new(&site());
    other.change(|body| {
        if let Body::Decision(decision) = body {
            decision.verdict = Verdict::Deny;
            decision.code = Some("policy_denied".to_owned());
            decision.controls.pop();
        }
    });
    other.call("write_query", SELECT, "");
    assert_eq!(replayed(&gateway.export()).status, Status::Match);
    let replay = replayed(&other.export());
    assert_eq!(replay.status, Status::Diverged, "{}", replay.to_text());
    assert_eq!(
        only(&replay).difference.as_ref().unwrap().stage,
        Stage::Surface
    );
}

#[test]
fn a_redaction_that_was_left_out_is_found() {
    let mut gateway = Gateway::new(&site());
    gateway.call("redacted", SELECT, "");
    assert_eq!(replayed(&gateway.export()).status, Status::Match);
    let mut other = Gateway::new(&site());
    other.release_all();
    other.call("redacted", SELECT, "");
    let replay = replayed(&other.export());
    assert_eq!(
        only(&replay).difference.as_ref().unwrap().stage,
        Stage::Release,
        "{}",
        replay.to_text()
    );
}

#[test]
fn a_budget_that_was_not_counted_is_found() {
    let mut gateway = Gateway::new(&site());
    for _ in 0..2 {
        gateway.call("few", SELECT, "");
    }
    assert_eq!(replayed(&gateway.export()).status, Status::Match);
    gateway.forget();
    gateway.call("few", SELECT, "");
    let replay = replayed(&gateway.export());
    assert_eq!(
        diverged(&replay),
        [(Stage::Budget, "decision.basis")],
        "{}",
        replay.to_text()
    );
}

#[test]
fn a_budget_that_was_counted_wrong_on_a_true_basis_is_found() {
    let mut gateway = Gateway::new(&site());
    gateway.call("few", SELECT, "");
    gateway.forget_budgets();
    gateway.call("few", SELECT, "");
    let replay = replayed(&gateway.export());
    assert_eq!(
        diverged(&replay),
        [(Stage::Budget, "facts.budget.calls")],
        "{}",
        replay.to_text()
    );
}

#[test]
fn a_refusal_for_a_budget_that_nobody_used_is_found() {
    let mut gateway = Gateway::new(&site());
    gateway.busy(2);
    gateway.call("few", SELECT, "");
    let replay = replayed(&gateway.export());
    assert_eq!(
        only(&replay).difference.as_ref().map(|d| d.stage),
        Some(Stage::Budget),
        "{}",
        replay.to_text()
    );
}

#[test]
fn a_repeated_call_comes_out_as_the_first_outcome() {
    let mut gateway = Gateway::new(&site());
    for _ in 0..2 {
        gateway.call("read_query", SELECT, r#","idempotency_key":"k""#);
    }
    let replay = replayed(&gateway.export());
    assert_eq!(
        (replay.status, replay.counts.matched),
        (Status::Match, 2),
        "{}",
        replay.to_text()
    );
}

#[test]
fn a_repeated_call_with_another_outcome_is_found() {
    let mut gateway = Gateway::new(&site());
    gateway.call("read_query", SELECT, r#","idempotency_key":"k""#);
    gateway.repeat_with(r#"{"content":[{"type":"text","text":"something else"}]}"#);
    gateway.call("read_query", SELECT, r#","idempotency_key":"k""#);
    let replay = replayed(&gateway.export());
    assert_eq!(
        diverged(&replay),
        [(Stage::Release, "decision.released")],
        "{}",
        replay.to_text()
    );
}

#[test]
fn a_changed_byte_is_tampering_and_nothing_is_recomputed() {
    let mut export = two_calls().export();
    let middle = export.len() * 2 / 3;
    export[middle] ^= 1;
    let replay = replayed(&export);
    assert_eq!(
        (replay.status, replay.exit_code, replay.calls.len()),
        (Status::TamperDetected, 1, 0)
    );
    assert!(replay.to_text().contains("nothing was computed"));
}

#[test]
fn withheld_arguments_leave_policy_to_be_asked_by_its_facts() {
    let mut gateway = two_calls();
    gateway.withhold(Field::Received);
    let replay = replayed(&gateway.export());
    assert_eq!(
        (replay.status, replay.exit_code),
        (Status::NotReplayable, 3)
    );
    let call = &replay.calls[0];
    assert_eq!(
        call.reason.as_deref(),
        Some("not in the export: received-input")
    );
    assert_eq!(call.recomputed, [Stage::Policy]);
}

#[test]
fn withheld_facts_leave_nothing_to_ask_policy_by() {
    let mut gateway = two_calls();
    gateway.withhold(Field::Facts);
    let replay = replayed(&gateway.export());
    assert_eq!(replay.status, Status::NotReplayable);
    assert!(replay.calls[0].recomputed.is_empty());
}

#[test]
fn a_withheld_first_outcome_makes_its_repetition_not_replayable() {
    let mut gateway = Gateway::new(&site());
    for _ in 0..2 {
        gateway.call("read_query", SELECT, r#","idempotency_key":"k""#);
    }
    gateway.withhold_of_first(Field::Released);
    let replay = replayed(&gateway.export());
    let statuses: Vec<_> = replay.calls.iter().map(|c| c.status).collect();
    assert_eq!(statuses, [Status::NotReplayable, Status::NotReplayable]);
    assert!(
        replay.calls[1]
            .reason
            .as_ref()
            .unwrap()
            .starts_with("the outcome that it repeats")
    );
}

#[test]
fn a_withheld_key_makes_later_calls_with_keys_not_replayable() {
    let mut gateway = Gateway::new(&site());
    gateway.call("read_query", SELECT, r#","idempotency_key":"a""#);
    gateway.call("read_query", SELECT, r#","idempotency_key":"b""#);
    gateway.call("read_query", SELECT, "");
    gateway.withhold_of_first(Field::Idempotency);
    let replay = replayed(&gateway.export());
    let statuses: Vec<_> = replay.calls.iter().map(|c| c.status).collect();
    assert_eq!(
        statuses,
        [Status::NotReplayable, Status::NotReplayable, Status::Match]
    );
}

#[test]
fn an_export_without_calls_is_no_match() {
    let replay = replayed(&Gateway::new(&site()).export());
    assert_eq!(
        (replay.status, replay.exit_code),
        (Status::NotReplayable, 3)
    );
}

#[test]
fn a_call_that_nobody_made_is_no_match() {
    let options = Options {
        call: Some("00".repeat(16)),
        ..Options::default()
    };
    assert_eq!(replay_with(&two_calls().export(), &options).exit_code, 3);
}

#[test]
fn one_call_alone_is_replayed_on_the_whole_log() {
    let mut gateway = Gateway::new(&site());
    for _ in 0..3 {
        gateway.call("few", SELECT, "");
    }
    let export = gateway.export();
    let last = replayed(&export).calls[2].call.clone();
    let options = Options {
        call: Some(last.clone()),
        ..Options::default()
    };
    let replay = replay_with(&export, &options);
    assert_eq!(
        (replay.status, only(&replay).call.as_str()),
        (Status::Match, last.as_str())
    );
}

fn against(export: &[u8], bundle: UnsignedBundle) -> Replay {
    let options = Options {
        against: Some(Candidate {
            bundle,
            signers: vec![common::bundle_signer().public()],
        }),
        ..Options::default()
    };
    replay_with(export, &options)
}

#[test]
fn the_bundle_in_force_says_what_it_said() {
    let mut gateway = two_calls();
    let replay = against(&gateway.export(), gateway.bundle());
    let against = replay.against.unwrap();
    assert_eq!(
        (against.same, against.changed),
        (2, 0),
        "{:?}",
        against.changes
    );
    assert_eq!((against.signatures, against.signed_by.len()), (1, 1));
}

#[test]
fn another_bundle_shows_which_verdicts_change() {
    let mut gateway = two_calls();
    let other = with_policy(PERMISSIVE);
    let replay = against(&gateway.export(), gateway::unsigned(&other));
    assert_eq!(
        replay.status,
        Status::Match,
        "another bundle changes nothing of the replay"
    );
    let against = replay.against.unwrap();
    assert_eq!(against.signatures, 0);
    let ways: Vec<_> = against
        .ways
        .iter()
        .map(|(way, n)| (way.as_str(), *n))
        .collect();
    assert_eq!(ways, [("deny → allow", 1)]);
    assert_eq!(against.changes[0].after.policies, ["everyone-may-look"]);
}
