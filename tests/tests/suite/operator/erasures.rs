//! Values that were erased, and an operator who has copies of the disk from before.

use super::*;
use rustix::process::Signal;
use std::process::Stdio;

/// The call of an answer.
fn call_of(answer: &Answer) -> String {
    answer.opened_receipt().call.to_string()
}

/// Whether a file or directory has these bytes anywhere in it.
fn holds(path: &Path, needle: &[u8]) -> bool {
    if path.is_dir() {
        let entries = std::fs::read_dir(path).unwrap();
        return entries
            .into_iter()
            .any(|e| holds(&e.unwrap().path(), needle));
    }
    let bytes = std::fs::read(path).unwrap();
    bytes.windows(needle.len()).any(|w| w == needle)
}

#[test]
fn an_erased_value_is_in_no_export_and_every_proof_stands() {
    let machine = Machine::enrolled();
    let mut gateway = machine.start();
    let answers = serve_calls(&gateway, &["forget me", "keep me"]);
    let call = call_of(&answers[0]);
    let said = gateway
        .order(&["erase", "--call", &call, "--basis", "gdpr-17"])
        .unwrap();
    assert!(said.contains("storage key version 2"), "{said}");
    let receipts: Vec<String> = answers
        .iter()
        .filter_map(|a| a.receipt().map(str::to_owned))
        .collect();
    // Before and after a restart, which folds a log whose values are partly gone.
    for _ in 0..2 {
        serve_calls(&gateway, &["after"]);
        let export = gateway.export();
        assert!(!holds(&export, b"forget me"));
        assert!(holds(&export, b"keep me"));
        let verdict = machine.auditor().verify_with(&export, &receipts);
        expect_verdict(&verdict, 0, "VERIFIED", "");
        assert_eq!(verdict.state("erasures"), "pass", "{}", verdict.text);
        assert_eq!(verdict.count("values_missing"), 0);
        assert!(verdict.count("values_erased") > 0);
        assert!(gateway.stop().success(), "{}", gateway.process.said());
        gateway = machine.start();
    }
    assert!(!holds(&machine.state(), b"forget me"));
}

/// Whoever reads an export slowly does not get one that lacks what was erased meanwhile, and does not say so.
#[test]
fn an_export_that_an_erasure_overtakes_breaks_off() {
    let machine = Machine::enrolled();
    let mut gateway = machine.start();
    let long = "x".repeat(190_000);
    let answers: Vec<Answer> = (0..60).map(|_| append(&gateway, &long)).collect();
    let call = call_of(answers.last().unwrap());
    let mut slow = gateway.officer();
    slow.send("GET", "/v1/export", &[], b"").unwrap();
    // The first bytes are on their way once the export was planned; far more follow than sockets hold.
    slow.wait_for_bytes().unwrap();
    gateway
        .order(&["erase", "--call", &call, "--basis", "gdpr-17"])
        .unwrap();
    assert!(slow.receive().is_err());
    gateway
        .process
        .wait_said("values were erased while the export was written");
    let verdict = machine.auditor().verify(&gateway.export());
    expect_verdict(&verdict, 0, "VERIFIED", "");
    assert_eq!(verdict.count("values_missing"), 0);
    assert!(gateway.stop().success());
}

#[test]
fn a_disk_from_before_an_erasure_does_not_open_what_was_erased() {
    let machine = Machine::enrolled();
    let mut gateway = machine.start();
    let call = call_of(&serve_calls(&gateway, &["forget me"])[0]);
    assert!(gateway.stop().success());
    let before = machine.snapshot_state();
    let mut gateway = machine.start();
    gateway
        .order(&["erase", "--call", &call, "--basis", "gdpr-17"])
        .unwrap();
    assert!(gateway.stop().success());
    before.restore();
    expect_no_start(&machine, "storage key 1 is not in the ring");
}

#[test]
fn an_erasure_that_is_killed_anywhere_is_whole_or_not_there_after_the_next_start() {
    let machine = Machine::enrolled();
    let mut gateway = machine.start();
    let answers = serve_calls(&gateway, &["forget me", "keep me"]);
    let call = call_of(&answers[0]);
    let order = ["erase", "--call", &call, "--basis", "gdpr-17"];
    let mut erasing = gateway
        .ordering(countersign_tests::site::OFFICER_KEY, &order)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Somewhere between the first step and the last.
    while !machine.state().join("storage-before.recovery").exists()
        && erasing.try_wait().unwrap().is_none()
    {
        std::thread::yield_now();
    }
    gateway.process.signal(Signal::KILL);
    erasing.wait().unwrap();
    gateway.kill();
    let mut gateway = machine.start();
    assert!(!machine.state().join("storage-before.recovery").exists());
    // Ordered again, it is done now or was done already.
    let again = gateway.order(&order);
    let done = again.is_ok()
        || again
            .as_ref()
            .is_err_and(|e| e.contains("none of these entries"));
    assert!(done, "{again:?}");
    let export = gateway.export();
    assert!(!holds(&export, b"forget me") && holds(&export, b"keep me"));
    machine.auditor().verify(&export).assert_verified();
    assert!(gateway.stop().success());
}

#[test]
fn a_hold_keeps_what_it_covers_and_is_named_before_anything_is_destroyed() {
    let machine = Machine::enrolled();
    let mut gateway = machine.start();
    serve_calls(&gateway, &["keep me"]);
    let subject = [
        "--tenant",
        "north",
        "--subject",
        countersign_tests::site::ALPHA,
    ];
    let place = [
        &["hold", "place", "--id", "2026-17", "--reason", "a dispute"],
        &subject[..],
    ]
    .concat();
    gateway.order(&place).unwrap();
    let erase = [&["erase", "--basis", "gdpr-17"], &subject[..]].concat();
    let refused = gateway.order(&erase).unwrap_err();
    assert!(
        refused.contains("nothing was erased: hold 2026-17 covers some of these entries"),
        "{refused}"
    );
    assert!(holds(&gateway.export(), b"keep me"));
    // A restart folds the hold from the log.
    assert!(gateway.stop().success());
    let mut gateway = machine.start();
    let refused = gateway.order(&erase).unwrap_err();
    assert!(refused.contains("hold 2026-17"), "{refused}");
    gateway
        .order(&["hold", "lift", "--id", "2026-17", "--reason", "settled"])
        .unwrap();
    gateway.order(&erase).unwrap();
    let export = gateway.export();
    let verdict = machine.auditor().verify(&export);
    expect_verdict(&verdict, 0, "VERIFIED", "");
    assert_eq!(verdict.state("holds"), "pass", "{}", verdict.text);
    assert!(!holds(&export, b"keep me"));
    assert!(gateway.stop().success());
}

#[test]
fn a_subject_has_another_pseudonym_once_its_key_is_destroyed() {
    let machine = Machine::enrolled();
    let mut gateway = machine.start();
    serve_calls(&gateway, &["one"]);
    let subject = [
        "--tenant",
        "north",
        "--subject",
        countersign_tests::site::ALPHA,
    ];
    gateway
        .order(&[&["erase", "--basis", "gdpr-17"], &subject[..]].concat())
        .unwrap();
    serve_calls(&gateway, &["two"]);
    let export = gateway.export();
    let log = countersign_tests::auditor::Log::read(&export);
    let subjects: BTreeSet<_> = log
        .intents()
        .map(|(_, i)| i.caller.subject.unwrap())
        .collect();
    assert_eq!(subjects.len(), 2);
    machine.auditor().verify(&export).assert_verified();
    assert!(gateway.stop().success());
}

#[test]
fn whoever_is_not_of_the_group_erases_and_holds_nothing() {
    let machine = Machine::enrolled();
    let mut gateway = machine.start();
    serve_calls(&gateway, &["keep me"]);
    for what in [
        &["erase", "--entries", "0..9", "--basis", "cleanup"][..],
        &["hold", "place", "--id", "1", "--reason", "none"][..],
    ] {
        let refused = gateway.order_as("governance.key", what).unwrap_err();
        assert!(refused.contains("the key is not enrolled"), "{refused}");
    }
    assert!(holds(&gateway.export(), b"keep me"));
    assert!(gateway.stop().success());
}
