//! Policy that the operator puts in place: unsigned, by others, older, other, ill-typed; and newer, by those who may.

use super::*;
use countersign_record::body::{Change, ChangeKind};
use countersign_record::entry::Body;
use countersign_tests::auditor::Log;
use countersign_tests::process::{outcome, run};
use std::fs;

fn build(machine: &Machine) {
    run(machine
        .command(&["bundle", "build", "--site"])
        .arg(machine.site().path()));
}

fn sign(machine: &Machine, key: &str) {
    let mut sign = machine.command(&["bundle", "sign", "--site"]);
    run(sign
        .arg(machine.site().path())
        .arg("--key")
        .arg(machine.site().key_file(key)));
}

/// Permits nothing at all, under another policy id.
const NOTHING: &str = "@id(\"nobody\")\nforbid (principal, action, resource);\n";

/// A machine that has served version 2.
fn at_version_2() -> Machine {
    let machine = Machine::enrolled();
    machine
        .site()
        .edit("version = 1\nminimum", "version = 2\nminimum");
    machine.site().build();
    let mut gateway = machine.start();
    serve_calls(&gateway, &["one"]);
    assert!(gateway.stop().success(), "{}", gateway.process.said());
    machine
}

#[test]
fn an_unsigned_bundle_is_refused() {
    let machine = Machine::enrolled();
    build(&machine);
    expect_no_start(&machine, "build/bundle.cbor is refused: ");
}

#[test]
fn a_bundle_signed_by_somebody_else_is_refused() {
    let machine = Machine::enrolled();
    machine.site().write("policies/tests.cedar", NOTHING);
    build(&machine);
    sign(&machine, "governance.key");
    expect_no_start(&machine, "build/bundle.cbor is refused: ");
}

#[test]
fn a_changed_bundle_is_refused() {
    let machine = Machine::enrolled();
    let path = machine.site().file("build/bundle.cbor");
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(10).position(|w| w == b"north-only").unwrap();
    bytes[at] ^= 0x20;
    fs::write(&path, bytes).unwrap();
    expect_no_start(&machine, "build/bundle.cbor is refused: ");
}

#[test]
fn a_missing_bundle_is_named() {
    let machine = Machine::enrolled();
    fs::remove_file(machine.site().file("build/bundle.cbor")).unwrap();
    expect_no_start(&machine, "no signed bundle at ");
}

#[test]
fn an_older_bundle_than_was_in_force_is_refused() {
    let machine = at_version_2();
    machine
        .site()
        .edit("version = 2\nminimum", "version = 1\nminimum");
    machine.site().build();
    expect_no_start(&machine, "bundle is version 1, version 2 was in force");
}

#[test]
fn another_bundle_of_the_version_that_was_in_force_is_refused() {
    let machine = at_version_2();
    machine.site().write("policies/tests.cedar", NOTHING);
    machine.site().build();
    expect_no_start(
        &machine,
        "another bundle of version 2 was in force; raise bundle.version",
    );
}

#[test]
fn a_version_below_the_settings_minimum_is_refused() {
    let machine = Machine::enrolled();
    machine
        .site()
        .edit("minimum_version = 1", "minimum_version = 2");
    expect_no_start(&machine, "version");
}

#[test]
fn an_ill_typed_policy_is_refused_by_file_and_line() {
    let machine = Machine::enrolled();
    let policy = "@id(\"odd\")\npermit (principal, action in Action::\"call\", resource)\nwhen { resource.weight > 3 };\n";
    machine.site().write("policies/tests.cedar", policy);
    let mut command = machine.command(&["bundle", "build", "--site"]);
    let (status, _, said) = outcome(command.arg(machine.site().path()));
    assert_eq!(status.code(), Some(1));
    assert!(said.contains("policies/tests.cedar:3:"), "{said}");
}

#[test]
fn a_newer_bundle_by_those_who_may_sign_is_entered_as_a_change() {
    let machine = Machine::enrolled();
    let auditor = machine.auditor();
    let mut gateway = machine.start();
    serve_calls(&gateway, &["one"]);
    assert!(gateway.stop().success(), "{}", gateway.process.said());
    machine
        .site()
        .edit("version = 1\nminimum", "version = 2\nminimum");
    machine.site().write("policies/tests.cedar", NOTHING);
    machine.site().build();
    let gateway = machine.start();
    expect_refusal(&gateway, "policy_denied");
    let export = gateway.export();
    let versions: Vec<_> = Log::read(&export)
        .0
        .iter()
        .filter_map(|e| match &e.payload.body {
            Body::Change(Change {
                kind: ChangeKind::Bundle,
                version,
                ..
            }) => Some(*version),
            _ => None,
        })
        .collect();
    assert_eq!(versions, [1, 2]);
    expect_verdict(
        &auditor.knowing(&machine.auditor()).verify(&export),
        0,
        "VERIFIED",
        "",
    );
}
