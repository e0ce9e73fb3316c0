//! Calls that a person puts an end to, against the real programs.

use countersign_record::body::{Effect, StopAct, Verdict};
use countersign_record::entry::Body;
use countersign_tests::auditor::Log;
use countersign_tests::client::{Answer, Client};
use countersign_tests::gate::Gate;
use countersign_tests::machine::{Gateway, Machine};
use countersign_tests::site::{ALPHA, SiteOptions};
use serde_json::json;

fn started() -> (Machine, Gateway) {
    let machine = Machine::enrolled_with(&SiteOptions::default());
    let gateway = machine.start();
    (machine, gateway)
}

#[track_caller]
fn append(client: &mut Client, line: &str) -> Answer {
    let arguments = json!({ "line": line });
    client.call("effects.append", arguments).unwrap()
}

#[track_caller]
fn expect_stopped(answer: &Answer) {
    assert_eq!(
        (answer.is_ok(), answer.code()),
        (false, "stopped"),
        "{answer:?}"
    );
}

#[test]
fn a_stop_refuses_new_calls_cancels_the_running_one_and_survives_a_kill() {
    let (machine, mut gateway) = started();
    let gate = Gate::at(&machine.tools());
    let mut alpha = gateway.alpha();
    assert!(append(&mut alpha, "before").is_ok());
    let mut running = gateway.alpha();
    let body = json!({ "capability": "effects.slow", "arguments": { "line": "late" } });
    running
        .send("POST", "/v1/calls", &[], body.to_string().as_bytes())
        .unwrap();
    let held = gate.next();
    let order = [
        "stop",
        "--everything",
        "--reason",
        "it runs wild",
        "--id",
        "wild",
    ];
    let said = gateway.order(&order).unwrap();
    assert!(said.contains("1 running calls were told"), "{said}");
    let told = running.receive().unwrap().json();
    assert_eq!(told["refusal"]["code"], "stopped_running", "{told}");
    held.release();
    expect_stopped(&append(&mut alpha, "stopped"));
    gateway.kill();
    let mut gateway = machine.start();
    let mut alpha = gateway.alpha();
    expect_stopped(&append(&mut alpha, "still stopped"));
    let listed = gateway.order(&["stops"]).unwrap();
    assert!(
        listed.contains("wild  everything") && listed.contains("it runs wild"),
        "{listed}"
    );
    gateway
        .order(&["resume", "--id", "wild", "--reason", "it was a test"])
        .unwrap();
    assert!(append(&mut alpha, "after").is_ok());
    assert_eq!(machine.effects(), ["before", "late", "after"]);
    let export = gateway.export();
    let verdict = machine.auditor().verify(&export);
    verdict.assert_verified();
    assert_eq!(verdict.state("stops"), "pass", "{}", verdict.text);
    let log = Log::read(&export);
    let cancelled = |d: &&countersign_record::body::Decision| d.cancelled.is_some();
    let (_, decision) = log.decisions().find(|(_, d)| cancelled(d)).unwrap();
    assert_eq!(decision.cancelled.as_deref(), Some("stopped"));
    assert_eq!(decision.effect, Effect::Unknown);
    let acts: Vec<StopAct> = log
        .0
        .iter()
        .filter_map(|e| {
            if let Body::Stop(stop) = &e.payload.body {
                Some(stop.act)
            } else {
                None
            }
        })
        .collect();
    assert_eq!(acts, [StopAct::Stopped, StopAct::Resumed]);
    let denied = log
        .decisions()
        .filter(|(_, d)| d.code.as_deref() == Some("stopped"))
        .inspect(|(_, d)| assert_eq!(d.verdict, Verdict::Deny))
        .count();
    assert_eq!(denied, 2);
    assert!(gateway.stop().success());
}

#[test]
fn a_stop_covers_what_it_names_and_nothing_else() {
    let (machine, mut gateway) = started();
    let (mut alpha, mut beta) = (gateway.alpha(), gateway.beta());
    let works = |client: &mut Client| append(client, "on").is_ok();
    let stop = |names: &[&str], id: &str| {
        let order = [&["stop", "--reason", "a test", "--id", id][..], names].concat();
        gateway.order(&order).unwrap();
    };
    stop(&["--agent", ALPHA], "agent");
    expect_stopped(&append(&mut alpha, "no"));
    assert!(works(&mut beta));
    stop(
        &["--tenant", "south", "--capability", "effects.append"],
        "both",
    );
    expect_stopped(&append(&mut beta, "no"));
    let other = beta.call("effects.other", json!({ "line": "x" })).unwrap();
    assert_ne!(other.code(), "stopped", "{other:?}");
    let resume = |id| gateway.order(&["resume", "--id", id, "--reason", "it was"]);
    resume("agent").unwrap();
    assert!(works(&mut alpha));
    resume("both").unwrap();
    assert!(works(&mut beta));
    machine
        .auditor()
        .verify(&gateway.export())
        .assert_verified();
    assert!(gateway.stop().success());
}

#[test]
fn a_stop_needs_a_person_of_the_group_a_reason_and_a_name_of_its_own() {
    let (machine, mut gateway) = started();
    let everything = ["stop", "--everything", "--reason", "none"];
    let refused = gateway.order_as("governance.key", &everything).unwrap_err();
    assert!(refused.contains("not known"), "{refused}");
    let complaint = |order: &[&str]| gateway.order(order).unwrap_err();
    let text = complaint(&["stop", "--everything", "--reason", ""]);
    assert!(text.contains("a reason of at most 1024 bytes"), "{text}");
    let long = "x".repeat(1025);
    let text = complaint(&["stop", "--everything", "--reason", &long]);
    assert!(text.contains("a reason of at most 1024 bytes"), "{text}");
    let text = complaint(&["stop", "--reason", "what?"]);
    assert!(text.contains("say what to stop"), "{text}");
    let text = complaint(&[
        "stop",
        "--agent",
        "agent:tests/nobody@1",
        "--reason",
        "who?",
    ]);
    assert!(text.contains("there is no such agent"), "{text}");
    let text = complaint(&["resume", "--id", "never", "--reason", "who?"]);
    assert!(text.contains("no stop \"never\" is in force"), "{text}");
    assert!(append(&mut gateway.alpha(), "nothing is stopped").is_ok());
    let named = [
        "stop",
        "--capability",
        "effects.slow",
        "--reason",
        "once",
        "--id",
        "x",
    ];
    gateway.order(&named).unwrap();
    let text = complaint(&named);
    assert!(
        text.contains("a stop of this name was ordered before"),
        "{text}"
    );
    machine
        .auditor()
        .verify(&gateway.export())
        .assert_verified();
    assert!(gateway.stop().success());
}

#[test]
fn metrics_are_counted_from_the_log_with_what_they_are_counted_out_of() {
    let (machine, mut gateway) = started();
    let mut alpha = gateway.alpha();
    assert!(append(&mut alpha, "one").is_ok());
    assert!(append(&mut alpha, "two").is_ok());
    let erase = alpha
        .call("effects.erase", json!({ "line": "one" }))
        .unwrap();
    assert!(!erase.is_ok());
    let export = gateway.export();
    let export = export.to_str().unwrap();
    let run = |arguments: &[&str]| {
        let out = machine.command(arguments).output().unwrap();
        (
            out.status.success(),
            String::from_utf8(out.stdout).unwrap(),
            String::from_utf8(out.stderr).unwrap(),
        )
    };
    let (done, text, said) = run(&["metrics", export]);
    assert!(done, "{said}");
    for line in [
        "policy_compliance     2 of 2 calls that left",
        "approval_honoured     nothing to measure: no calls that left and needed people",
        "cross_tenant_denials  0 of 3 settled calls",
        "audit_coverage_calls  2 of 2 calls that were sealed",
        "replay_determinism    3 of 3 calls that could be run again",
        "attack_success_rate   not computed",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    let (done, text, _) = run(&["metrics", export, "--json"]);
    let metrics: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(done && metrics["metrics"] == 1, "{text}");
    // An altered export gives no numbers.
    let mut bytes = std::fs::read(export).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let altered = machine.path().join("altered.cbor");
    std::fs::write(&altered, bytes).unwrap();
    let (done, text, said) = run(&["metrics", altered.to_str().unwrap()]);
    assert!(!done && text.is_empty(), "{text}");
    assert!(
        said.contains("nothing is computed") || said.contains("altered.cbor"),
        "{said}"
    );
    assert!(gateway.stop().success());
}
