//! The crash matrix: killed anywhere between receipt and response, and anywhere in a boot.
//!
//! More rounds: `cargo run -p countersign-tests --example crash_rounds N`.

use countersign_record::body::{Effect, Verdict};
use countersign_tests::audit::hold_against_world;
use countersign_tests::auditor::{Log, Verdict as Judged};
use countersign_tests::client::Answer;
use countersign_tests::crash::{rounds_of_boots, rounds_under_load};
use countersign_tests::gate::Gate;
use countersign_tests::machine::{Gateway, Machine};
use serde_json::{Value, json};

/// Boots, exports, and holds the export against effects and answers.
fn judge(machine: &Machine, answers: &[Answer]) -> (Gateway, Log, Judged) {
    let gateway = machine.start();
    let export = gateway.export();
    let receipts: Vec<_> = answers
        .iter()
        .filter_map(|a| a.receipt().map(str::to_owned))
        .collect();
    let verdict = machine.auditor().verify_with(&export, &receipts);
    verdict.assert_verified();
    let log = Log::read(&export);
    hold_against_world(&log, &machine.effects(), answers);
    (gateway, log, verdict)
}

fn many_under_load() {
    for _ in 0..5 {
        let seen = rounds_under_load(10);
        assert_eq!(seen.kills, 10);
    }
}

#[test]
fn fifty_kills_under_load_leave_nothing_unsettled_invented_or_done_twice() {
    many_under_load();
}

#[test]
fn fifty_more_kills_under_load_leave_nothing_unsettled_invented_or_done_twice() {
    many_under_load();
}

#[test]
fn boots_killed_anywhere_never_hold_the_gateway_and_are_told_in_the_log() {
    let seen = (0..3)
        .map(|_| rounds_of_boots(10))
        .reduce(countersign_tests::crash::Seen::and)
        .unwrap();
    // Each boot is killed at a random moment of its time, so some fall between opening and base.
    assert!(seen.abandoned > 0, "{}", seen.sentence());
}

/// Has the tool kill the gateway; the caller's connection breaks.
fn killed_by_tool(machine: &Machine, when: &str) {
    let mut gateway = machine.start();
    let mut call = json!({ "capability": "effects.kill", "idempotency_key": "only-once" });
    call["arguments"] = json!({ "line": "deed", "when": when });
    assert!(gateway.alpha().call_with(call).is_err());
    assert!(!gateway.process.end().success());
}

fn outcome_is_unknown_and_never_rerun(when: &str, effects: &[&str]) {
    let machine = Machine::enrolled();
    killed_by_tool(&machine, when);
    assert_eq!(machine.effects(), effects);
    let (gateway, log, verdict) = judge(&machine, &[]);
    let (_, decision) = log.decisions().next().unwrap();
    assert_eq!(decision.effect, Effect::Unknown);
    assert_eq!(decision.verdict, Verdict::Allow);
    assert_eq!(verdict.count("unknown"), 1);
    let mut again = json!({ "capability": "effects.kill", "idempotency_key": "only-once" });
    again["arguments"] = json!({ "line": "deed", "when": when });
    let answer = gateway.alpha().call_with(again).unwrap();
    assert_eq!(answer.code(), "idempotency_outcome_unknown");
    assert_eq!(machine.effects(), effects);
}

#[test]
fn a_kill_between_dispatch_and_effect_leaves_an_unknown_outcome_that_is_never_rerun() {
    outcome_is_unknown_and_never_rerun("before", &[]);
}

#[test]
fn a_kill_between_effect_and_answer_leaves_an_unknown_outcome_that_is_never_rerun() {
    outcome_is_unknown_and_never_rerun("after", &["deed"]);
}

#[test]
fn a_kill_right_after_the_response_loses_nothing_of_it() {
    let machine = Machine::enrolled();
    let mut gateway = machine.start();
    let line = json!({ "line": "answered" });
    let answer = gateway.beta().call("effects.append", line).unwrap();
    gateway.kill();
    let (_, _, verdict) = judge(&machine, &[answer]);
    assert_eq!(verdict.count("unknown"), 0);
    assert_eq!(verdict.state("receipt-missing"), "pass");
}

#[test]
fn calls_in_the_middle_of_their_tool_are_settled_as_unknown_after_a_kill() {
    let machine = Machine::enrolled();
    let gate = Gate::at(&machine.tools());
    let mut gateway = machine.start();
    let callers: Vec<_> = [gateway.alpha(), gateway.beta()]
        .into_iter()
        .map(|mut agent| {
            let line = json!({ "line": countersign_tests::unique("held") });
            std::thread::spawn(move || agent.call("effects.slow", line).is_err())
        })
        .collect();
    let held = [gate.next(), gate.next()];
    gateway.kill();
    assert!(callers.into_iter().all(|c| c.join().unwrap()));
    drop(held);
    let (_, log, verdict) = judge(&machine, &[]);
    assert_eq!(verdict.count("unknown"), 2);
    assert!(log.decisions().all(|(_, d)| d.effect == Effect::Unknown));
    assert_eq!(machine.effects().len(), 2);
}

fn erase(line: &str) -> Value {
    json!({ "capability": "effects.erase", "arguments": { "line": line } })
}

/// The id by which the command line knows the one action that waits.
fn waiting(gateway: &Gateway) -> String {
    let list = gateway.approve(&["list"]);
    let id = list.split_whitespace().next().unwrap_or_default();
    assert_eq!(id.len(), 32, "{list}");
    id.to_owned()
}

#[test]
fn an_action_that_waits_and_its_approval_survive_kills_and_are_spent_once() {
    let machine = Machine::enrolled();
    let mut answers = Vec::new();
    let mut gateway = machine.start();
    answers.push(gateway.alpha().call_with(erase("x")).unwrap());
    gateway.kill();
    let mut gateway = machine.start();
    let id = waiting(&gateway);
    let _shown = gateway.approve(&["yes", &id]);
    gateway.kill();
    let mut gateway = machine.start();
    answers.push(gateway.alpha().call_with(erase("x")).unwrap());
    gateway.kill();
    let mut gateway = machine.start();
    answers.push(gateway.alpha().call_with(erase("x")).unwrap());
    let codes: Vec<_> = answers.iter().map(Answer::code).collect();
    assert_eq!(codes, ["approval_required", "", "approval_required"]);
    assert_eq!(machine.effects(), ["x"]);
    gateway.kill();
    let (_, _, verdict) = judge(&machine, &answers);
    assert_eq!(verdict.state("approvals"), "pass");
    assert_eq!(verdict.count("carried_out_approved"), 1);
}

#[test]
fn a_repeated_idempotency_key_after_a_kill_gives_the_first_result_and_no_second_effect() {
    let machine = Machine::enrolled();
    let mut gateway = machine.start();
    let call = json!({ "capability": "effects.append", "arguments": { "line": "once" }, "idempotency_key": "k" });
    let first = gateway.alpha().call_with(call.clone()).unwrap();
    gateway.kill();
    let mut gateway = machine.start();
    let second = gateway.alpha().call_with(call).unwrap();
    assert_eq!(first.body["result"], second.body["result"]);
    assert_ne!(first.digest(), second.digest());
    assert_eq!(machine.effects(), ["once"]);
    gateway.kill();
    judge(&machine, &[first, second]);
}

#[test]
fn a_budget_that_is_used_up_stays_used_up_after_a_kill() {
    let machine = Machine::enrolled();
    let mut gateway = machine.start();
    let scarce = |gateway: &Gateway, n: u64| {
        let line = json!({ "line": format!("scarce-{n}") });
        gateway.alpha().call("effects.scarce", line).unwrap()
    };
    let mut answers: Vec<_> = (0..countersign_tests::site::SCARCE_CALLS)
        .map(|n| scarce(&gateway, n))
        .collect();
    assert!(answers.iter().all(Answer::is_ok), "{answers:?}");
    gateway.kill();
    let mut gateway = machine.start();
    answers.push(scarce(&gateway, 99));
    assert_eq!(answers.last().unwrap().code(), "rate_exceeded");
    gateway.kill();
    judge(&machine, &answers);
}

#[test]
fn a_graceful_stop_writes_a_close_and_the_next_epoch_goes_on_from_it() {
    let machine = Machine::enrolled();
    let mut gateway = machine.start();
    let line = json!({ "line": "before" });
    let mut answers = vec![gateway.alpha().call("effects.append", line).unwrap()];
    assert!(gateway.stop().success(), "{}", gateway.process.said());
    gateway.process.wait_said("epoch closed");
    let mut gateway = machine.start();
    let line = json!({ "line": "after" });
    answers.push(gateway.alpha().call("effects.append", line).unwrap());
    assert!(gateway.stop().success(), "{}", gateway.process.said());
    let (_, _, verdict) = judge(&machine, &answers);
    assert_eq!(verdict.count("epochs"), 3);
    assert_eq!(
        verdict.state("epoch-ends"),
        "pass",
        "{}",
        verdict.reason("epoch-ends")
    );
    assert_eq!(verdict.count("unknown"), 0);
}

#[test]
fn an_epoch_that_was_killed_is_said_to_have_no_close() {
    let machine = Machine::enrolled();
    machine.start().kill();
    let (_, _, verdict) = judge(&machine, &[]);
    assert!(
        verdict.reason("epoch-ends").contains("without a close"),
        "{}",
        verdict.reason("epoch-ends")
    );
}
