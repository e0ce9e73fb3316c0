//! Other gateways: on other TPMs, with the same image and site, under other people's keys.

use super::*;
use countersign_tests::machine::copy;
use countersign_tests::process::run;
use std::fs;

/// A gateway that nobody enrolled: no calls, and no verdict but one.
#[track_caller]
fn expect_stranger(judge: &Machine, gateway: &Gateway) {
    assert_eq!(gateway.word, "ready", "{}", gateway.process.said());
    expect_refusal(gateway, "not_enrolled");
    let ready = gateway.stranger().get("/readyz").unwrap();
    assert_eq!(
        (ready.status, ready.json()),
        (503, json!({ "state": "not enrolled" }))
    );
    let verdict = judge
        .auditor()
        .knowing(&judge.auditor())
        .verify(&gateway.export());
    expect_altered(
        &verdict,
        "enrolment",
        "no fleet statement of your governance key is in the log: this gateway was never enrolled",
    );
}

#[test]
fn a_disk_put_back_to_nothing_is_another_gateway_which_nobody_enrolled() {
    let machine = Machine::enrolled();
    let mut gateway = machine.start();
    serve_calls(&gateway, &["one"]);
    assert!(gateway.stop().success(), "{}", gateway.process.said());
    fs::remove_dir_all(machine.state()).unwrap();
    let other = machine.boot();
    assert_ne!(other.id, gateway.id);
    expect_stranger(&machine, &other);
}

#[test]
fn the_fleet_statement_of_another_gateway_enrols_nobody_else() {
    let machine = Machine::enrolled();
    let fleet = fs::read(machine.state().join("fleet.cose")).unwrap();
    fs::remove_dir_all(machine.state()).unwrap();
    fs::create_dir(machine.state()).unwrap();
    fs::write(machine.state().join("fleet.cose"), fleet).unwrap();
    expect_no_start(
        &machine,
        "the installed fleet statement 1 does not name this gateway",
    );
}

#[test]
fn a_second_tpm_does_not_open_the_keys_of_a_copied_disk() {
    let machine = Machine::enrolled();
    let mut gateway = machine.start();
    gateway.stop();
    let words = "the gateway's keys stay sealed: blob was sealed by another tpm (storage key 000b";
    expect_no_start(&machine.twin(), words);
}

#[test]
fn a_second_tpm_with_the_same_image_and_site_is_another_gateway_which_nobody_enrolled() {
    let machine = Machine::enrolled();
    let gateway = machine.start();
    let twin = machine.twin();
    fs::remove_dir_all(twin.state()).unwrap();
    let other = twin.start();
    assert_ne!(other.id, gateway.id);
    expect_stranger(&twin, &other);
}

#[test]
fn a_fleet_statement_by_another_key_does_not_enrol() {
    let machine = Machine::enrolled();
    enrol_by(&machine, "bundle.key", 1);
    let (found, expected) = (
        machine.site().public_key("bundle.key"),
        machine.site().public_key("governance.key"),
    );
    let words = format!(
        "fleet statement: statement is signed by key {}, expected {}",
        found.id(),
        expected.id()
    );
    expect_no_start(&machine, &words);
}

/// The configuration is the operator's; the trust file is not.
#[test]
fn a_gateway_under_the_operators_own_governance_key_serves_and_is_nobody_elses() {
    let machine = Machine::new(&Default::default());
    let customer = machine.site().public_key("governance.key").to_string();
    let own = machine.site().public_key("bundle.key").to_string();
    let settings = fs::read_to_string(machine.site().settings()).unwrap();
    let (before, after) = settings.split_once("[governance]").unwrap();
    let after = after.replacen(&customer, &own, 1);
    machine
        .site()
        .write("countersign.toml", &format!("{before}[governance]{after}"));
    enrol_by(&machine, "bundle.key", 1);
    let gateway = machine.start();
    serve_calls(&gateway, &["one"]);
    let export = gateway.export();
    let verdict = machine.auditor().verify(&export);
    expect_altered(&verdict, "enrolment", "signed by");
}

#[test]
fn a_fleet_statement_with_a_lower_number_changes_nothing() {
    let machine = Machine::new(&Default::default());
    machine.enrol(2);
    let mut gateway = machine.start();
    serve_calls(&gateway, &["one"]);
    assert!(gateway.stop().success(), "{}", gateway.process.said());
    machine.enrol(1);
    let gateway = machine.start();
    serve_calls(&gateway, &["two"]);
    let verdict = expect_verified(&machine, &gateway.export());
    assert_eq!(
        verdict.report["subject"]["fleet"],
        json!("tests (statement 2)")
    );
}

#[test]
fn a_gateway_that_a_newer_fleet_statement_leaves_out_does_not_start() {
    let machine = Machine::enrolled();
    let other = Machine::new(&Default::default());
    // The same governance key lists another gateway only.
    copy(
        &machine.site().path().join("keys"),
        &other.site().path().join("keys"),
    );
    other.enrol(2);
    fs::copy(
        other.path().join("fleet.cose"),
        machine.state().join("fleet.cose"),
    )
    .unwrap();
    expect_no_start(&machine, "does not name this gateway");
}

/// Enrols by any key file of the site.
fn enrol_by(machine: &Machine, key: &str, number: u64) {
    let (request, fleet) = (
        machine.path().join("own.cbor"),
        machine.path().join("own.cose"),
    );
    let mut ask = machine.command(&["enrol", "request"]);
    ask.arg("--site")
        .arg(machine.site().path())
        .arg("--state")
        .arg(machine.state());
    run(ask.arg("--out").arg(&request));
    let mut sign = machine.command(&[
        "enrol",
        "sign",
        "--fleet",
        "own",
        "--number",
        &number.to_string(),
    ]);
    sign.arg("--request")
        .arg(&request)
        .arg("--key")
        .arg(machine.site().key_file(key));
    run(sign.arg("--out").arg(&fleet));
    let mut install = machine.command(&["enrol", "install"]);
    run(install.arg("--state").arg(machine.state()).arg(&fleet));
}
