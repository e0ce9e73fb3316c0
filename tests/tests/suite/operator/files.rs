//! Files of site and state directory: deleted, changed, exchanged.

use super::*;
use countersign::site::ReleaseFile;
use countersign_record::cbor::Cbor as _;
use std::fs;
use std::path::PathBuf;

/// A gateway that has served a call and was closed.
fn closed() -> Machine {
    let machine = Machine::enrolled();
    let mut gateway = machine.start();
    serve_calls(&gateway, &["one"]);
    assert!(gateway.stop().success(), "{}", gateway.process.said());
    machine
}

fn keys(machine: &Machine) -> PathBuf {
    machine.state().join("keys.sealed")
}

fn log(machine: &Machine) -> PathBuf {
    machine.state().join("log")
}

/// Changes one byte of a file.
fn flip(path: &PathBuf, from_end: usize) {
    let mut bytes = fs::read(path).unwrap();
    let at = bytes.len() - from_end;
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_deleted_log_beside_its_keys_is_held() {
    let machine = closed();
    fs::remove_dir_all(log(&machine)).unwrap();
    expect_held(&machine.boot(), 1, 4, 0);
}

#[test]
fn a_deleted_database_beside_its_keys_is_held() {
    let machine = closed();
    fs::remove_file(log(&machine).join("log.sqlite")).unwrap();
    expect_held(&machine.boot(), 1, 4, 0);
}

#[test]
fn deleted_keys_beside_their_log_are_not_made_anew() {
    let machine = closed();
    fs::remove_file(keys(&machine)).unwrap();
    expect_no_start(
        &machine,
        "the state directory has a log but no sealed keys; it is not this gateway's",
    );
}

#[test]
fn the_keys_of_a_gateway_on_another_tpm_stay_sealed() {
    let (machine, other) = (closed(), closed());
    fs::copy(keys(&other), keys(&machine)).unwrap();
    // Another TPM, and another release key; the TPM is named first.
    expect_no_start(
        &machine,
        "the gateway's keys stay sealed: blob was sealed by another tpm",
    );
}

#[test]
fn the_keys_of_another_gateway_on_this_tpm_do_not_open_this_log() {
    let machine = closed();
    let kept = machine.snapshot_state();
    let first = fs::read(keys(&machine)).unwrap();
    fs::remove_dir_all(machine.state()).unwrap();
    machine.enrol(1);
    let other = fs::read(keys(&machine)).unwrap();
    assert_ne!(first, other);
    kept.restore();
    fs::write(keys(&machine), other).unwrap();
    expect_no_start(&machine, "the log cannot be opened");
}

#[test]
fn changed_keys_stay_sealed() {
    let machine = closed();
    flip(&keys(&machine), 8);
    expect_no_start(
        &machine,
        "the gateway's keys stay sealed: blob was altered, or its storage key was replaced: the tpm rejects its integrity value",
    );
}

#[test]
fn a_changed_entry_keeps_the_log_closed() {
    let machine = closed();
    let database = rusqlite::Connection::open(log(&machine).join("log.sqlite")).unwrap();
    // A signature ends in the highest byte of a number below 2^253, which is often 0 and never ff.
    let sql = "UPDATE entry SET bytes = CAST(substr(bytes, 1, length(bytes) - 1) || x'ff' AS BLOB) WHERE idx = 4";
    assert_eq!(database.execute(sql, []).unwrap(), 1);
    drop(database);
    expect_no_start(&machine, "the log cannot be opened");
}

#[test]
fn an_entry_taken_out_keeps_the_log_closed() {
    let machine = closed();
    let database = rusqlite::Connection::open(log(&machine).join("log.sqlite")).unwrap();
    assert_eq!(
        database
            .execute("DELETE FROM entry WHERE idx = 4", [])
            .unwrap(),
        1
    );
    drop(database);
    expect_no_start(&machine, "the log cannot be opened: entry 4 is missing");
}

#[test]
fn a_release_with_other_registers_is_not_signed() {
    let machine = closed();
    change_release(&machine, |release| release.pcrs[0].value = [1; 32]);
    expect_no_start(&machine, "release policy is not signed by the release key");
}

#[test]
fn a_release_with_another_sequence_is_not_signed() {
    let machine = closed();
    // The settings name it as well; both are the operator's files.
    machine.site().edit("sequence = 1", "sequence = 2");
    change_release(&machine, |release| release.sequence = 2);
    expect_no_start(&machine, "release policy is not signed by the release key");
}

#[test]
fn a_release_other_than_the_settings_name_is_refused() {
    let machine = closed();
    machine.site().edit("sequence = 1", "sequence = 2");
    expect_no_start(
        &machine,
        "release policy is of release 1, the settings name release 2",
    );
}

#[test]
fn a_release_with_a_changed_signature_is_refused() {
    let machine = closed();
    change_release(&machine, |release| release.s[31] ^= 1);
    expect_no_start(&machine, "release policy is not signed by the release key");
}

#[test]
fn a_release_by_another_key_is_refused() {
    let machine = closed();
    let other = closed();
    let release = "build/release.cbor";
    fs::copy(other.site().file(release), machine.site().file(release)).unwrap();
    expect_no_start(
        &machine,
        "release policy is signed by another release key than the one in the settings",
    );
}

#[test]
fn keys_stay_sealed_under_the_operators_own_release_key() {
    let machine = closed();
    under_own_release_key(&machine);
    expect_no_start(
        &machine,
        "the gateway's keys stay sealed: blob was sealed for another release key",
    );
}

/// Puts a release key of the operator's own into the site, and signs the release with it.
pub(super) fn under_own_release_key(machine: &Machine) {
    fs::write(
        machine.site().key_file("release.key"),
        format!("{}\n", "5a".repeat(32)),
    )
    .unwrap();
    machine.sign_release();
    let settings = fs::read_to_string(machine.site().settings()).unwrap();
    let (before, rest) = settings.split_once("public_key = \"04").unwrap();
    let (_, after) = rest.split_once('"').unwrap();
    let own = hex::encode(&release(machine).key.0);
    machine.site().write(
        "countersign.toml",
        &format!("{before}public_key = \"{own}\"{after}"),
    );
}

fn release(machine: &Machine) -> ReleaseFile {
    ReleaseFile::from_bytes(&fs::read(machine.site().file("build/release.cbor")).unwrap()).unwrap()
}

fn change_release(machine: &Machine, change: impl FnOnce(&mut ReleaseFile)) {
    let mut file = release(machine);
    change(&mut file);
    fs::write(machine.site().file("build/release.cbor"), file.to_bytes()).unwrap();
}
