//! One call from a client to a verified export.

use countersign_tests::audit::hold_against_world;
use countersign_tests::auditor::Log;
use countersign_tests::machine::Machine;
use serde_json::json;

#[test]
fn a_call_leaves_a_record_that_the_verifier_accepts() {
    let machine = Machine::enrolled();
    let mut gateway = machine.start();
    let answers = vec![
        gateway
            .alpha()
            .call("effects.append", json!({ "line": "one" }))
            .unwrap(),
        gateway
            .beta()
            .call("effects.append", json!({ "line": "two" }))
            .unwrap(),
    ];
    assert!(answers.iter().all(|a| a.is_ok()), "{answers:?}");
    assert_eq!(machine.effects(), ["one", "two"]);
    let export = gateway.export();
    let receipts: Vec<_> = answers
        .iter()
        .filter_map(|a| a.receipt().map(str::to_owned))
        .collect();
    machine
        .auditor()
        .verify_with(&export, &receipts)
        .assert_verified();
    hold_against_world(&Log::read(&export), &machine.effects(), &answers);
    assert!(gateway.stop().success(), "{}", gateway.process.said());
}
