//! A machine is gone, and another continues its work: what the operator may bring, and what not.
//!
//! The same short life each time: one gateway serves two calls under idempotency keys and is gone;
//! what is left is a copy of its disk. The new machine has another TPM, and the same site.

use super::*;
use countersign_tests::machine::Snapshot;
use countersign_tests::process::{outcome, run};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

/// A machine that is gone, and what is left of it.
pub(super) struct Gone {
    pub(super) old: Machine,
    pub(super) id: String,
    pub(super) kept: Snapshot,
}

impl Gone {
    /// Where the copy of its disk is.
    pub(super) fn disk(&self) -> PathBuf {
        self.kept.path().to_owned()
    }

    /// The fleet statement that lists it.
    pub(super) fn fleet(&self) -> PathBuf {
        self.old.path().join("fleet.cose")
    }

    /// The new machine, after the whole ceremony.
    pub(super) fn adopted(&self) -> Machine {
        let new = self.old.replacement();
        new.adopt(&self.disk(), &self.fleet());
        new
    }

    /// The directory in which the new machine keeps the old log.
    fn place(&self, new: &Machine) -> PathBuf {
        new.state().join("adopted").join(&self.id)
    }
}

/// A call that must not be carried out twice.
pub(super) fn keyed(gateway: &Gateway, line: &str) -> Answer {
    let call = json!({ "capability": "effects.append", "arguments": { "line": line }, "idempotency_key": line });
    gateway.alpha().call_with(call).unwrap()
}

/// Two calls under keys, a stop in good order, and the end.
pub(super) fn gone() -> Gone {
    let mut old = Machine::enrolled();
    let mut gateway = old.start();
    for line in ["one", "two"] {
        assert!(keyed(&gateway, line).is_ok());
    }
    assert!(gateway.stop().success(), "{}", gateway.process.said());
    let kept = old.snapshot_state();
    old.destroy();
    Gone {
        old,
        id: gateway.id.clone(),
        kept,
    }
}

/// A command that must fail, with these words.
#[track_caller]
fn expect_refused(command: &mut Command, words: &str) {
    let (status, out, err) = outcome(command);
    assert_eq!(status.code(), Some(1), "{out}{err}");
    assert!(err.contains(words), "{words:?} was not said, but:\n{err}");
}

/// Changes one byte of a file.
fn damage(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_call_of_a_gateway_that_is_gone_is_not_carried_out_again_by_its_successor() {
    let gone = gone();
    let new = gone.adopted();
    let mut gateway = new.start();
    gateway
        .process
        .wait_said(&format!("continues gateway {}", gone.id));
    let again = keyed(&gateway, "one");
    assert_eq!(again.code(), "idempotency_outcome_unknown", "{again:?}");
    assert!(keyed(&gateway, "three").is_ok());
    assert!(gateway.stop().success(), "{}", gateway.process.said());
    // The same after a restart, without another entry about it.
    let gateway = new.start();
    assert!(!gateway.process.said().contains("continues gateway"));
    assert_eq!(keyed(&gateway, "two").code(), "idempotency_outcome_unknown");
    assert_eq!(new.effects(), Vec::<String>::new());
    assert_eq!(gone.old.effects(), ["one", "two", "three"]);
}

#[test]
fn without_governances_word_a_log_is_not_continued() {
    let gone = gone();
    let new = gone.old.replacement();
    run(&mut new.ask_to_adopt(&gone.disk()));
    run(&mut new.sign_fleet(&gone.fleet(), 2));
    run(&mut new.install_fleet());
    expect_no_start(&new, "the governance key's word is missing (adopt.cose)");
}

#[test]
fn another_keys_word_continues_no_log() {
    let gone = gone();
    let new = gone.old.replacement();
    run(&mut new.ask_to_adopt(&gone.disk()));
    run(&mut new.sign_adoption("bundle.key"));
    let signer = new.site().public_key("bundle.key").id();
    let words = format!("adopt statement: statement is signed by key {signer}, expected");
    expect_refused(
        &mut new.hand_storage(&gone.disk().join("storage.recovery")),
        &words,
    );
    fs::write(new.handed("adopt.storage"), b"anything").unwrap();
    run(&mut new.install_adoption());
    expect_no_start(&new, &words);
}

#[test]
fn the_log_of_another_gateway_in_its_place_is_not_continued() {
    let gone = gone();
    let new = gone.adopted();
    let other = Machine::enrolled();
    let log = gone.place(&new).join("log/log.sqlite");
    let mut foreign = other.start();
    serve_calls(&foreign, &["other"]);
    assert!(foreign.stop().success());
    fs::set_permissions(&log, fs::Permissions::from_mode(0o600)).unwrap();
    fs::copy(other.state().join("log/log.sqlite"), &log).unwrap();
    // What was written last may still stand beside the database.
    let beside = other.state().join("log/log.sqlite-wal");
    if beside.exists() {
        fs::copy(beside, log.with_extension("sqlite-wal")).unwrap();
    }
    expect_no_start(&new, &format!("log is of gateway {}", foreign.id));
}

#[test]
fn a_log_that_is_shorter_than_governance_signed_for_is_not_continued() {
    let old = Machine::enrolled();
    let mut gateway = old.start();
    serve_calls(&gateway, &["one"]);
    let early = super::snapshots::snapshot_of_running(&old, &gateway);
    serve_calls(&gateway, &["two"]);
    assert!(gateway.stop().success());
    let late = old.snapshot_state();
    let fleet = old.path().join("fleet.cose");
    let new = old.replacement();
    new.adopt(late.path(), &fleet);
    let other = old.replacement();
    run(&mut other.ask_to_adopt(early.path()));
    let log = |m: &Machine| {
        m.state()
            .join("adopted")
            .join(&gateway.id)
            .join("log/log.sqlite")
    };
    fs::remove_file(log(&new)).unwrap();
    fs::copy(log(&other), log(&new)).unwrap();
    expect_no_start(&new, "entries with root");
    expect_no_start(&new, "the adopt statement is about");
}

#[test]
fn an_altered_entry_of_an_adopted_log_is_named() {
    let gone = gone();
    let new = gone.adopted();
    let log = gone.place(&new).join("log/log.sqlite");
    fs::set_permissions(&log, fs::Permissions::from_mode(0o600)).unwrap();
    let store = rusqlite::Connection::open(&log).unwrap();
    let swap = "UPDATE entry SET bytes = (SELECT bytes FROM entry WHERE idx = 4) WHERE idx = 5";
    assert_eq!(store.execute(swap, []).unwrap(), 1);
    drop(store);
    expect_no_start(&new, "row 5 holds entry 4");
}

#[test]
fn values_of_an_adopted_log_that_are_gone_keep_the_gateway_from_starting() {
    let gone = gone();
    let new = gone.adopted();
    let log = gone.place(&new).join("log/log.sqlite");
    fs::set_permissions(&log, fs::Permissions::from_mode(0o600)).unwrap();
    let store = rusqlite::Connection::open(&log).unwrap();
    assert!(store.execute("DELETE FROM side", []).unwrap() > 0);
    drop(store);
    expect_no_start(&new, "are missing from the store");
}

#[test]
fn an_adopted_log_that_is_taken_away_later_is_missed() {
    let gone = gone();
    let new = gone.adopted();
    let mut gateway = new.start();
    assert!(gateway.stop().success(), "{}", gateway.process.said());
    fs::remove_dir_all(gone.place(&new)).unwrap();
    let words = format!(
        "adopted the log of gateway {0}, and adopted/{0} is missing",
        gone.id
    );
    expect_no_start(&new, &words);
}

#[test]
fn a_second_statement_about_an_adopted_log_does_not_replace_the_first() {
    let gone = gone();
    let new = gone.adopted();
    let mut gateway = new.start();
    assert!(gateway.stop().success(), "{}", gateway.process.said());
    // Governance might be brought to sign again, that the values are lost.
    let mut lost = new.sign_adoption("governance.key");
    run(lost.args(["--values", "lost"]));
    let mut install = new.command(&["adopt", "install"]);
    install.arg("--state").arg(new.state());
    let words = "is adopted already, by another statement";
    expect_refused(install.arg(new.handed("adopt.cose")), words);
    fs::copy(
        new.handed("adopt.cose"),
        gone.place(&new).join("adopt.cose"),
    )
    .unwrap();
    expect_no_start(&new, "by another statement than adopt.cose");
}

#[test]
fn a_storage_key_that_was_handed_to_another_gateway_does_not_open_here() {
    let gone = gone();
    let (new, other) = (gone.old.replacement(), gone.old.replacement());
    for machine in [&new, &other] {
        run(&mut machine.ask_to_adopt(&gone.disk()));
        run(&mut machine.sign_adoption("governance.key"));
        run(&mut machine.hand_storage(&gone.disk().join("storage.recovery")));
    }
    fs::copy(other.handed("adopt.storage"), new.handed("adopt.storage")).unwrap();
    run(&mut new.install_adoption());
    expect_no_start(&new, "adopt.storage hands gateway");
}

#[test]
fn an_altered_wrap_opens_neither_for_the_recovery_key_nor_for_the_gateway() {
    let gone = gone();
    let new = gone.adopted();
    let wrap = gone.disk().join("storage.recovery");
    let last = fs::metadata(new.handed("adopt.storage")).unwrap().len() - 1;
    damage(
        &gone.place(&new).join("adopt.storage"),
        usize::try_from(last).unwrap(),
    );
    expect_no_start(&new, "adopt.storage: recovery wrap was altered");
    damage(&wrap, 100);
    expect_refused(&mut new.hand_storage(&wrap), "recovery wrap was altered");
}

#[test]
fn another_recovery_key_is_refused_by_name() {
    let gone = gone();
    let new = gone.old.replacement();
    run(&mut new.ask_to_adopt(&gone.disk()));
    run(&mut new.sign_adoption("governance.key"));
    let other = new.path().join("other-recovery.key");
    run(new.command(&["recovery-key", "new", "--out"]).arg(&other));
    fs::rename(&other, new.site().key_file("recovery.key")).unwrap();
    let wrap = gone.disk().join("storage.recovery");
    let words = "recovery wrap is for another recovery key than the one given";
    expect_refused(&mut new.hand_storage(&wrap), words);
    let mut check = new.command(&["recovery-key", "check", "--wrap"]);
    check.arg(&wrap).arg("--key");
    expect_refused(check.arg(new.site().key_file("recovery.key")), words);
}

/// The transport key stands in the request; whoever exchanges it would have the storage key wrapped for himself.
#[test]
fn a_request_with_the_operators_own_transport_key_is_refused() {
    let gone = gone();
    let new = gone.old.replacement();
    run(&mut new.ask_to_adopt(&gone.disk()));
    run(&mut new.sign_adoption("governance.key"));
    let mut bytes = fs::read(new.handed("request.cbor")).unwrap();
    // Key 8 of the request, a byte string of 32: 08 58 20.
    let at = bytes
        .windows(3)
        .rposition(|w| w == [0x08, 0x58, 0x20])
        .unwrap();
    bytes[at + 3..at + 35].copy_from_slice(&[9; 32]);
    fs::write(new.handed("request.cbor"), bytes).unwrap();
    let wrap = gone.disk().join("storage.recovery");
    let words = "the request to adopt is not signed by the gateway that asks";
    expect_refused(&mut new.hand_storage(&wrap), words);
    expect_refused(&mut new.sign_adoption("governance.key"), words);
}

#[test]
fn a_gateway_does_not_adopt_itself() {
    let machine = Machine::enrolled();
    let mut gateway = machine.start();
    assert!(gateway.stop().success(), "{}", gateway.process.said());
    expect_refused(
        &mut machine.ask_to_adopt(&machine.state()),
        "is this gateway's own state",
    );
}

#[test]
fn the_state_of_a_gateway_that_still_runs_is_not_copied() {
    let old = Machine::enrolled();
    let _running = old.start();
    let new = old.replacement();
    expect_refused(
        &mut new.ask_to_adopt(&old.state()),
        "is in use by another process",
    );
}

#[test]
fn what_is_no_state_of_a_gateway_is_not_adopted() {
    let new = Machine::new(&Default::default());
    let nothing = new.path().join("nothing");
    fs::create_dir(&nothing).unwrap();
    expect_refused(&mut new.ask_to_adopt(&nothing), "cannot be copied");
}

#[test]
fn governance_does_not_end_a_gateway_twice() {
    let gone = gone();
    let new = gone.adopted();
    let second = gone.old.replacement();
    run(&mut second.ask_to_adopt(&gone.disk()));
    expect_refused(
        &mut second.sign_fleet(&new.handed("fleet.cose"), 3),
        "has left the fleet already",
    );
}

#[test]
fn a_gateway_that_the_fleet_statement_still_lists_is_not_continued() {
    let gone = gone();
    let new = gone.adopted();
    let mut sign = new.command(&["enrol", "sign", "--fleet", "tests", "--number", "3"]);
    // A plain request, as if nothing was to be continued, beside the statement in which the other still serves.
    let mut ask = new.command(&["enrol", "request", "--site"]);
    ask.arg(new.site().path()).arg("--state").arg(new.state());
    run(ask.arg("--out").arg(new.handed("plain.cbor")));
    sign.arg("--request").arg(new.handed("plain.cbor"));
    sign.arg("--key").arg(new.site().key_file("governance.key"));
    sign.arg("--previous").arg(gone.fleet());
    run(sign.arg("--out").arg(new.handed("fleet.cose")));
    run(&mut new.install_fleet());
    expect_no_start(&new, "does not say that gateway");
}

#[test]
fn values_that_nobody_can_recover_are_lost_only_by_governances_word() {
    let gone = gone();
    let new = gone.old.replacement();
    run(&mut new.ask_to_adopt(&gone.disk()));
    run(&mut new.sign_fleet(&gone.fleet(), 2));
    run(&mut new.install_fleet());
    run(&mut new.sign_adoption("governance.key"));
    let mut bare = new.command(&["adopt", "install", "--state"]);
    bare.arg(new.state()).arg(new.handed("adopt.cose"));
    expect_refused(&mut bare, "the values were recovered; give --storage");
    run(new
        .sign_adoption("governance.key")
        .args(["--values", "lost"]));
    let mut bare = new.command(&["adopt", "install", "--state"]);
    run(bare.arg(new.state()).arg(new.handed("adopt.cose")));
    let gateway = new.start();
    // Then nobody knows which calls were made.
    assert!(keyed(&gateway, "one").is_ok());
}

#[test]
fn a_dry_run_writes_nothing() {
    let gone = gone();
    let new = gone.old.replacement();
    run(&mut new.ask_to_adopt(&gone.disk()));
    let said = run(new.sign_adoption("governance.key").arg("--dry-run"));
    assert!(said.contains("dry run: nothing was written"), "{said}");
    assert!(!new.handed("adopt.cose").exists());
    run(&mut new.sign_adoption("governance.key"));
    let wrap = gone.disk().join("storage.recovery");
    run(new.hand_storage(&wrap).arg("--dry-run"));
    assert!(!new.handed("adopt.storage").exists());
    run(&mut new.hand_storage(&wrap));
    run(new.install_adoption().arg("--dry-run"));
    assert!(!gone.place(&new).join("adopt.cose").exists());
}
