//! What a tool gave back and comes again as an argument: a policy forbids it, the record says why, and its twin goes on.

use countersign_tests::auditor::Log;
use countersign_tests::client::Client;
use countersign_tests::machine::Machine;
use countersign_tests::process::outcome;
use countersign_tests::site::SiteOptions;
use serde_json::json;
use std::fs;

const POLICY: &str = r#"
@id("nothing-confidential-leaves")
forbid (principal, action == Action::"effects.append", resource)
when { context.flow.labels.contains("CONFIDENTIAL") };
"#;

/// A machine whose tool `northern` gives confidential results, which are traced, and another agent of the north.
fn machine() -> Machine {
    let machine = Machine::new(&SiteOptions::default());
    let site = machine.site();
    site.classify("northern", "CONFIDENTIAL");
    let path = site.file("capabilities/northern.toml");
    let text = fs::read_to_string(path).unwrap();
    site.write(
        "capabilities/northern.toml",
        &text.replacen("retention", "trace_results = true\nretention", 1),
    );
    let policies = fs::read_to_string(site.file("policies/tests.cedar")).unwrap();
    site.write("policies/tests.cedar", &(policies + POLICY));
    site.add_agent("gamma", "tenant = \"north\"\ngroups = [\"north\"]");
    site.build();
    machine.enrol(1);
    machine
}

#[track_caller]
fn append(client: &mut Client, line: &str) -> String {
    let answer = client
        .call("effects.append", json!({ "line": line }))
        .unwrap();
    if answer.is_ok() {
        "ok".to_owned()
    } else {
        answer.code().to_owned()
    }
}

#[test]
fn a_value_of_a_confidential_result_does_not_go_into_a_tool_that_policy_keeps_it_from() {
    let machine = machine();
    let gateway = machine.start();
    let mut alpha = gateway.alpha();
    let mut gamma = gateway.client_with("gamma.key");
    // Before it was read, it is a text like any other.
    assert_eq!(append(&mut alpha, "account 4711-0815"), "ok");
    let read = alpha.call("effects.northern", json!({ "line": "4711-0815" }));
    assert_eq!(read.unwrap().text(), "4711-0815");
    assert_eq!(append(&mut alpha, "send 4711-0815 away"), "policy_denied");
    // Its twin without the value goes on, and so does another agent, who has not read it.
    assert_eq!(append(&mut alpha, "send something away"), "ok");
    assert_eq!(append(&mut gamma, "send 4711-0815 away"), "ok");
    assert_eq!(
        machine.effects(),
        [
            "account 4711-0815",
            "send something away",
            "send 4711-0815 away"
        ]
    );

    let export = gateway.export();
    machine.auditor().verify(&export).assert_verified();
    let log = Log::read(&export);
    let denied: Vec<_> = log
        .decisions()
        .map(|(_, decision)| decision)
        .filter(|d| d.code.as_deref() == Some("policy_denied"))
        .collect();
    assert_eq!(denied.len(), 1);
    let policy = denied[0].policy.as_ref().unwrap();
    assert_eq!(policy.fired, ["nothing-confidential-leaves"]);

    // The facts say what was found, and policy says the same of them again.
    let (trust, _) = machine.auditor().files();
    let mut replay = machine.command(&["replay"]);
    replay.arg(&export).arg("--trust").arg(&trust).arg("--json");
    let (_, text, _) = outcome(&mut replay);
    let replayed: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(replayed["status"], "match", "{text}");
}
