//! Several gateways of one fleet, each on its own machine: what can be said of all of them together.

use super::*;
use countersign_tests::auditor::Auditor;
use std::fs;
use std::path::PathBuf;

/// Three enrolled machines of one fleet, and its newest statement.
fn three() -> (Vec<Machine>, PathBuf) {
    let first = Machine::new(&countersign_tests::site::SiteOptions::default());
    let mut machines = vec![first];
    for _ in 0..2 {
        machines.push(machines[0].replacement());
    }
    let statement = machines[0].path().join("all.cose");
    let previous = machines[0].path().join("previous.cose");
    for (number, machine) in (1..).zip(&machines) {
        if statement.exists() {
            fs::rename(&statement, &previous).unwrap();
        }
        let name = format!("gateway-{number}");
        let known = (number > 1).then_some(previous.as_path());
        machine.list_in_fleet(&machines[0], &name, number, known, &statement);
    }
    for machine in &machines {
        machine.install_statement(&statement);
    }
    (machines, statement)
}

/// What an auditor of all of them knows.
fn auditor(machines: &[Machine]) -> Auditor {
    machines[1..]
        .iter()
        .fold(machines[0].auditor(), |all, m| all.knowing(&m.auditor()))
}

/// Exports of machines that each served a call and were stopped.
fn exports(machines: &[Machine]) -> Vec<PathBuf> {
    let serve = |(number, machine): (usize, &Machine)| {
        let mut gateway = machine.start();
        serve_calls(&gateway, &[&format!("line {number}")]);
        let export = gateway.export();
        assert!(gateway.stop().success(), "{}", gateway.process.said());
        export
    };
    machines.iter().enumerate().map(serve).collect()
}

#[test]
fn a_fleet_of_real_gateways_is_complete_and_whoever_is_kept_back_is_named() {
    let (machines, statement) = three();
    let exports = exports(&machines);
    let auditor = auditor(&machines);
    let all = auditor.verify_fleet(&exports, &statement);
    assert_eq!(all.exit_code, 0, "{}", all.text);
    assert_eq!(
        all.report["fleet"]["answer"],
        "complete for 3 of 3 gateways of fleet statement 3 of tests"
    );
    let some = auditor.verify_fleet(&exports[..2], &statement);
    assert_eq!(some.exit_code, 3, "{}", some.text);
    assert!(some.text.contains("gateway-3"), "{}", some.text);
    assert_eq!(
        some.report["fleet"]["answer"],
        "complete for 2 of 3 gateways of fleet statement 3 of tests"
    );
}

/// An operator who runs a fourth gateway beside the fleet cannot pass its log off as one of the fleet's.
#[test]
fn a_gateway_beside_the_fleet_is_named() {
    let (mut machines, statement) = three();
    let mut exports = exports(&machines);
    let beside = Machine::enrolled();
    let mut gateway = beside.start();
    serve_calls(&gateway, &["beside"]);
    exports.push(gateway.export());
    assert!(gateway.stop().success());
    machines.push(beside);
    let verdict = auditor(&machines).verify_fleet(&exports, &statement);
    assert_eq!(verdict.exit_code, 1, "{}", verdict.text);
}

/// On a software TPM the operator can put disk and chip back, and let one gateway live twice.
#[test]
fn two_lives_of_one_gateway_are_two_histories_to_whoever_has_both() {
    let mut machine = Machine::enrolled();
    let mut gateway = machine.start();
    serve_calls(&gateway, &["one"]);
    assert!(gateway.stop().success(), "{}", gateway.process.said());
    let statement = machine.path().join("fleet.cose");
    machine.stop_tpm();
    let (state, tpm) = (machine.snapshot_state(), machine.snapshot_tpm());
    machine.start_tpm();
    let mut live = |line: &str| {
        let mut gateway = machine.start();
        serve_calls(&gateway, &[line]);
        let export = gateway.export();
        gateway.kill();
        machine.stop_tpm();
        state.restore();
        tpm.restore();
        machine.start_tpm();
        export
    };
    let exports = [live("shown to one auditor"), live("shown to another")];
    let auditor = machine
        .auditor()
        .trusting("[log]\nmax_unquoted_tail_seconds = 3600");
    for export in &exports {
        expect_verdict(&auditor.verify(export), 0, "VERIFIED", "");
    }
    let together = auditor.verify_fleet(&exports, &statement);
    assert_eq!(together.exit_code, 1, "{}", together.text);
    assert!(together.text.contains("histories"), "{}", together.text);
}
