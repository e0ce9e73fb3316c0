//! The drill: a machine and its TPM are gone, another continues its work from a copy of the disk.
//!
//! Two software TPMs, the real programs, and everybody's commands. What an auditor sees of it is
//! judged by the verifier; what the operator may try instead stands in `operator/adoption.rs`.

use super::operator::snapshot_of_running;
use countersign_record::commitment::Field;
use countersign_record::digest::UnixMillis;
use countersign_record::entry::Body;
use countersign_tests::auditor::{Auditor, Log, Verdict};
use countersign_tests::client::Answer;
use countersign_tests::machine::{Gateway, Machine};
use countersign_tests::site::ALPHA;
use countersign_verify::codes::Code;
use countersign_verify::handover::link;
use countersign_verify::ledger::State;
use countersign_verify::report::Report;
use countersign_verify::trust::{Reference, Trust};
use countersign_verify::{Options, verify};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};

fn append(gateway: &Gateway, line: &str) -> Answer {
    let call = json!({ "capability": "effects.append", "arguments": { "line": line }, "idempotency_key": line });
    gateway.alpha().call_with(call).unwrap()
}

/// A machine that was lost, its successor, and the exports of both.
struct Drill {
    first: String,
    second: String,
    auditor: Auditor,
    before: PathBuf,
    after: PathBuf,
    /// Receipts of what the copy has, and of what it has not.
    kept: Vec<String>,
    lost: Vec<String>,
    effects: Vec<String>,
    /// Their directories go with them.
    _machines: [Machine; 2],
}

fn receipts(answers: &[Answer]) -> Vec<String> {
    answers
        .iter()
        .map(|a| a.receipt().unwrap().to_owned())
        .collect()
}

fn drill() -> Drill {
    let mut old = Machine::enrolled();
    let mut first = old.start();
    let kept = ["one", "two"].map(|line| append(&first, line));
    let backup = snapshot_of_running(&old, &first);
    let lost = ["three", "four"].map(|line| append(&first, line));
    first.kill();
    old.destroy();
    let new = old.replacement();
    new.adopt(backup.path(), &old.path().join("fleet.cose"));
    let second = new.start();
    // What the copy knows is not done twice; what it does not know is.
    assert_eq!(append(&second, "two").code(), "idempotency_outcome_unknown");
    assert!(append(&second, "five").is_ok());
    Drill {
        before: second.export_of(&["--of", &first.id]),
        after: second.export(),
        auditor: new.auditor().knowing(&old.auditor()),
        first: first.id.clone(),
        second: second.id.clone(),
        kept: receipts(&kept),
        lost: receipts(&lost),
        effects: old.effects(),
        _machines: [old, new],
    }
}

impl Drill {
    fn report(&self, export: &Path) -> Report {
        let (trust, reference) = self.auditor.files();
        let trust = Trust::parse(&fs::read(trust).unwrap()).unwrap();
        let options = Options {
            reference: Some(Reference::parse(&fs::read(reference).unwrap()).unwrap()),
            threads: 1,
            ..Options::default()
        };
        let now = self.auditor.verify(export).report["now"].as_u64().unwrap();
        verify(
            fs::File::open(export).unwrap(),
            &trust,
            &options,
            UnixMillis(now),
        )
    }
}

fn handovers(verdict: &Verdict) -> String {
    verdict.report["subject"]["handovers"].to_string()
}

fn state(report: &Report, code: Code) -> State {
    let name = code.info().name;
    report.checks.iter().find(|c| c.code == name).unwrap().state
}

#[test]
fn a_machine_that_is_gone_is_continued_and_its_records_open_on_another_tpm() {
    let drill = drill();
    assert_ne!(drill.first, drill.second);
    assert_eq!(drill.effects, ["one", "two", "three", "four", "five"]);
    // The old log, from the new machine: whole, genuine, and its values open.
    let verdict = drill.auditor.verify_with(&drill.before, &drill.kept);
    verdict.assert_verified();
    assert_eq!(verdict.report["subject"]["gateway"], json!(drill.first));
    assert_eq!(verdict.state("adoption"), "pass");
    assert_eq!(verdict.state("handed-over"), "pass");
    assert_eq!(verdict.state("receipt-missing"), "pass");
    let said = format!("were handed over to gateway {}", drill.second);
    assert!(handovers(&verdict).contains(&said), "{}", verdict.text);
    let log = Log::read(&drill.before);
    let lines: Vec<_> = log.intents().filter_map(|(e, _)| e.line()).collect();
    assert_eq!(lines, ["one", "two"]);
    let released = log
        .decisions()
        .filter(|(e, _)| e.disclosed(Field::Released).is_some());
    assert_eq!(released.count(), 2);
    // The lost tail is in no export, and whoever has a receipt of it finds that out.
    let convicted = drill.auditor.verify_with(&drill.before, &drill.lost);
    assert_eq!(convicted.exit_code, 1, "{}", convicted.text);
    assert_eq!(convicted.state("receipt-missing"), "fail");
    // The new log, by itself: genuine, and the hand-over stands in it.
    let verdict = drill.auditor.verify(&drill.after);
    verdict.assert_verified();
    assert_eq!(verdict.state("adoption"), "not-checked");
    let said = format!("continues gateway {}'s log", drill.first);
    assert!(handovers(&verdict).contains(&said), "{}", verdict.text);
    assert!(handovers(&verdict).contains("lost tail: whatever that gateway recorded after"));
    // Both: the log that was handed over is the one that is continued.
    let mut reports = [drill.report(&drill.after), drill.report(&drill.before)];
    link(&mut reports);
    let [after, before] = &reports;
    assert_eq!((after.exit_code, before.exit_code), (0, 0));
    assert_eq!(state(after, Code::Adoption), State::Pass);
    assert_eq!(state(after, Code::HandedOver), State::Pass);
    // No key of the old gateway signs anything in the new log.
    let keys = |log: &Log| log.bindings().into_iter().map(|b| b.identity_key);
    let old: Vec<_> = keys(&log).collect();
    assert!(keys(&Log::read(&drill.after)).all(|key| !old.contains(&key)));
}

#[test]
fn a_stop_in_good_order_hands_over_all_and_calls_that_were_open_are_counted() {
    let mut old = Machine::enrolled();
    let mut first = old.start();
    let mut call = json!({ "capability": "effects.kill", "idempotency_key": "once" });
    call["arguments"] = json!({ "line": "deed", "when": "after" });
    // The tool kills the gateway before the answer is recorded.
    assert!(first.alpha().call_with(call.clone()).is_err());
    first.kill();
    let disk = old.snapshot_state();
    old.destroy();
    let new = old.replacement();
    new.adopt(disk.path(), &old.path().join("fleet.cose"));
    let second = new.start();
    let again = second.alpha().call_with(call).unwrap();
    assert_eq!(again.code(), "idempotency_outcome_unknown");
    assert_eq!(old.effects(), ["deed"]);
    let log = Log::read(&second.export());
    let restored = |body: &Body| {
        if let Body::Event(event) = body
            && event.kind == countersign_record::body::EventKind::Restored
        {
            Some(event.count)
        } else {
            None
        }
    };
    let counts: Vec<_> = log
        .0
        .iter()
        .filter_map(|e| restored(&e.payload.body))
        .collect();
    assert_eq!(counts, [1]);
    let auditor = new.auditor().knowing(&old.auditor());
    for profile in ["everything", "auditor-soc2"] {
        let limits = ["--of", &first.id, "--profile", profile];
        auditor.verify(&second.export_of(&limits)).assert_verified();
    }
}

#[test]
fn what_was_stopped_at_a_gateway_that_is_gone_stays_stopped_at_its_successor() {
    let mut old = Machine::enrolled();
    let mut first = old.start();
    let stop = |gateway: &Gateway, more: &[&str]| {
        let named = ["stop", "--agent", ALPHA, "--id", "wild", "--reason", "wild"];
        gateway.order(&[&named[..], more].concat())
    };
    stop(&first, &[]).unwrap();
    assert!(first.stop().success());
    let disk = old.snapshot_state();
    old.destroy();
    let new = old.replacement();
    new.adopt(disk.path(), &old.path().join("fleet.cose"));
    let mut second = new.start();
    assert_eq!(append(&second, "one").code(), "stopped");
    // Nor does a restart forget it.
    second.kill();
    let second = new.start();
    assert_eq!(append(&second, "one").code(), "stopped");
    let listed = second.order(&["stops"]).unwrap();
    assert!(
        listed.contains("taken over from another gateway"),
        "{listed}"
    );
    let resume = || second.order(&["resume", "--id", "wild", "--reason", "mended"]);
    let said = resume().unwrap_err();
    assert!(said.contains("order it here"), "{said}");
    let said = stop(&second, &["--capability", "effects.append"]).unwrap_err();
    assert!(said.contains("covers something else"), "{said}");
    stop(&second, &[]).unwrap();
    resume().unwrap();
    assert!(append(&second, "one").is_ok());
    let verdict = new
        .auditor()
        .knowing(&old.auditor())
        .verify(&second.export());
    verdict.assert_verified();
    assert_eq!(verdict.state("stops"), "pass", "{}", verdict.text);
}

#[test]
fn the_export_of_a_log_that_was_not_adopted_is_not_there() {
    let machine = Machine::enrolled();
    let gateway = machine.start();
    let said = gateway
        .try_export_of(&["--of", &"ab".repeat(32)])
        .1
        .unwrap_err();
    assert!(said.contains("404"), "{said}");
}

#[test]
fn a_log_whose_values_are_lost_is_exported_without_them() {
    let mut old = Machine::enrolled();
    let mut first = old.start();
    assert!(append(&first, "one").is_ok());
    assert!(first.stop().success());
    let disk = old.snapshot_state();
    old.destroy();
    let new = old.replacement();
    let run = countersign_tests::process::run;
    run(&mut new.ask_to_adopt(disk.path()));
    run(&mut new.sign_fleet(&old.path().join("fleet.cose"), 2));
    run(&mut new.install_fleet());
    run(new
        .sign_adoption("governance.key")
        .args(["--values", "lost"]));
    let mut install = new.command(&["adopt", "install", "--state"]);
    run(install.arg(new.state()).arg(new.handed("adopt.cose")));
    let second = new.start();
    let export = second.export_of(&["--of", &first.id]);
    let verdict = new.auditor().knowing(&old.auditor()).verify(&export);
    assert_ne!(verdict.exit_code, 1, "{}", verdict.complaints());
    assert!(
        Log::read(&export)
            .0
            .iter()
            .all(|e| e.disclosures.is_empty())
    );
    let own = new.auditor().verify(&second.export());
    assert!(
        handovers(&own).contains("its values are LOST"),
        "{}",
        own.text
    );
}
