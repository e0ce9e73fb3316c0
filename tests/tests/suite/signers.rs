//! The signers of `clients/`, against a gateway.

use countersign_tests::machine::{Gateway, Machine};
use countersign_tests::process::outcome;
use countersign_tests::site::{BETA_KEY, OFFICER_KEY};
use countersign_tests::{fixture, python};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;

fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../clients")
}

/// What a program says of a call with this key: status and answer.
fn call(
    mut program: Command,
    machine: &Machine,
    gateway: &Gateway,
    key: &str,
    line: &str,
) -> String {
    let body = json!({ "capability": "effects.append", "arguments": { "line": line } });
    program.arg(machine.site().key_file(key));
    program
        .arg(format!("{}/v1/calls", gateway.url))
        .arg(body.to_string());
    let (status, out, err) = outcome(&mut program);
    assert!(status.success(), "{out}{err}");
    out
}

fn by_python() -> Command {
    let mut command = Command::new(python());
    command
        .arg(fixture("signed_call.py"))
        .arg(clients().join("python"));
    command
}

fn by_typescript() -> Command {
    let mut command = Command::new("node");
    command.arg(fixture("signed_call.mjs"));
    command.arg(clients().join("typescript/index.js"));
    command
}

/// One call by an agent is taken, and one with a key that is no agent's is not.
fn taken(program: fn() -> Command, machine: &Machine, gateway: &Gateway, line: &str) {
    let said = call(program(), machine, gateway, BETA_KEY, line);
    assert!(said.starts_with("200 {\"status\":\"ok\""), "{said}");
    let said = call(program(), machine, gateway, OFFICER_KEY, "not an agent's");
    assert!(said.starts_with("401 "), "{said}");
}

#[test]
fn what_the_packaged_signers_sign_is_taken_recorded_and_verified() {
    let machine = Machine::enrolled();
    let gateway = machine.start();
    taken(by_python, &machine, &gateway, "python");
    taken(by_typescript, &machine, &gateway, "typescript");
    assert_eq!(machine.effects(), ["python", "typescript"]);
    machine
        .auditor()
        .verify(&gateway.export())
        .assert_verified();
}
