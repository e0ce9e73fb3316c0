//! A disk that is put back to what it was, while the TPM goes on; and one whose TPM is put back with it.
//!
//! The same short life each time: a first epoch with two calls, closed; a second one with two calls, closed.
//! A fresh TPM's counter stands at 1 when the gateway is made, so the epochs open at 2 and 5.

use super::bus::{Bus, NV_INCREMENT};
use super::*;
use countersign_tests::client::Answer;
use countersign_tests::machine::{Gateway, Snapshot, copy};
use rustix::process::Signal;
use std::path::PathBuf;
use std::sync::mpsc::channel;

/// What the TPM shows at the end of the second epoch.
const END: u64 = 7;

/// When the operator took a copy of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Enrolled, not booted.
    BeforeTheFirstEpoch,
    /// The first opening is announced; the counter has not moved.
    Announced,
    /// The first base is written; the first renewal is announced.
    Based,
    /// Two calls of the first epoch are recorded.
    Served,
    /// The first epoch is closed.
    Closed,
}

impl Step {
    /// What the log explains then, and how many entries it has.
    fn found(self) -> (u64, usize) {
        match self {
            Self::BeforeTheFirstEpoch | Self::Announced => (1, 0),
            // base, enrolment, bundle
            Self::Based => (2, 3),
            // renewal, two calls of two entries
            Self::Served => (3, 8),
            // close of the run, close of the epoch
            Self::Closed => (4, 10),
        }
    }
}

struct Life {
    machine: Machine,
    kept: Snapshot,
    /// Receipts of the second epoch.
    lost: Vec<String>,
}

fn receipts(answers: &[Answer]) -> Vec<String> {
    answers
        .iter()
        .filter_map(|a| a.receipt().map(str::to_owned))
        .collect()
}

/// A copy of the disk of a process that stands still.
pub(in crate::suite) fn snapshot_of_running(machine: &Machine, gateway: &Gateway) -> Snapshot {
    gateway.process.signal(Signal::STOP);
    let kept = machine.snapshot_state();
    gateway.process.signal(Signal::CONT);
    kept
}

/// Boots, and takes the copy when the gateway moves the counter for the `number`th time.
fn boot_with_snapshot(machine: &Machine, bus: &Bus, number: usize) -> (Gateway, Snapshot) {
    let (state, copied) = (machine.state(), machine.path().join("copied"));
    let (say, hear) = channel();
    bus.at(NV_INCREMENT, number, move || {
        copy(&state, &copied);
        let _heard = say.send(copied);
    });
    let gateway = machine.start();
    let copied: PathBuf = hear.try_recv().expect("the counter was moved");
    (gateway, Snapshot::kept_at(&machine.state(), &copied))
}

fn live(step: Step) -> Life {
    let machine = Machine::enrolled();
    let bus = Bus::tap(&machine);
    let mut kept = machine.snapshot_state();
    let mut first = match step {
        Step::Announced | Step::Based => {
            let number = if step == Step::Announced { 1 } else { 2 };
            let (gateway, taken) = boot_with_snapshot(&machine, &bus, number);
            kept = taken;
            gateway
        }
        Step::BeforeTheFirstEpoch | Step::Served | Step::Closed => machine.start(),
    };
    serve_calls(&first, &["one", "two"]);
    if step == Step::Served {
        kept = snapshot_of_running(&machine, &first);
    }
    assert!(first.stop().success(), "{}", first.process.said());
    if step == Step::Closed {
        kept = machine.snapshot_state();
    }
    let mut second = machine.start();
    let lost = receipts(&serve_calls(&second, &["three", "four"]));
    assert!(second.stop().success(), "{}", second.process.said());
    Life {
        machine,
        kept,
        lost,
    }
}

/// Held by name; let go on by governance; judged by the gap; convicted by a receipt.
#[track_caller]
fn put_back(step: Step) {
    let Life {
        machine,
        kept,
        lost,
    } = live(step);
    kept.restore();
    let (explained, entries) = step.found();
    let mut held = machine.boot();
    expect_held(&held, explained, END, entries);
    held.stop();
    machine.recover("the disk was put back");
    let gateway = machine.start();
    serve_calls(&gateway, &["after the gap"]);
    let export = gateway.export();
    let (steps, auditor) = (END - explained, machine.auditor());
    let verdict = auditor.verify(&export);
    expect_against_policy(
        &verdict,
        "gaps",
        &format!("{steps} unexplained steps of the counter, your trust file allows 0"),
    );
    let said = &verdict.report["subject"]["gaps"][0];
    assert!(
        said.as_str().unwrap().ends_with(": the disk was put back"),
        "{said}"
    );
    let lenient = auditor.trusting(&format!(
        "[log]\nmax_gap = {steps}\nmax_unquoted_tail_seconds = 3600"
    ));
    expect_verdict(&lenient.verify(&export), 0, "VERIFIED", "");
    let convicted = lenient.verify_with(&export, &lost[..1]);
    expect_altered(
        &convicted,
        "receipt-missing",
        "is of an epoch that is not in the export",
    );
}

#[test]
fn a_disk_put_back_to_before_the_first_epoch_is_held() {
    put_back(Step::BeforeTheFirstEpoch);
}

#[test]
fn a_disk_put_back_to_an_announced_opening_is_held_once_calls_were_served() {
    put_back(Step::Announced);
}

#[test]
fn a_disk_put_back_to_the_base_is_held() {
    put_back(Step::Based);
}

#[test]
fn a_disk_put_back_to_the_midst_of_an_epoch_is_held() {
    put_back(Step::Served);
}

#[test]
fn a_disk_put_back_to_a_closed_epoch_is_held() {
    put_back(Step::Closed);
}

/// The hole that the first renewal closes: a crash in the opening would explain one step.
#[test]
fn a_disk_put_back_to_an_opening_is_held_although_no_renewal_followed_the_first() {
    let machine = Machine::enrolled();
    let bus = Bus::tap(&machine);
    let (mut gateway, kept) = boot_with_snapshot(&machine, &bus, 1);
    serve_calls(&gateway, &["one"]);
    gateway.kill();
    kept.restore();
    expect_held(&machine.boot(), 1, 3, 0);
}

#[test]
fn announcements_kept_from_a_longer_log_do_not_let_a_shorter_one_go_on() {
    let machine = Machine::enrolled();
    let bus = Bus::tap(&machine);
    let empty = machine.snapshot_state();
    let (state, kept) = (machine.state(), machine.path().join("kept"));
    let mut number = 0;
    let into = kept.clone();
    bus.set(move |code| {
        if code == NV_INCREMENT {
            number += 1;
            copy(&state, &into.join(number.to_string()));
        }
        super::bus::Pass::Through
    });
    let mut gateway = machine.start();
    serve_calls(&gateway, &["one"]);
    assert!(gateway.stop().success(), "{}", gateway.process.said());
    empty.restore();
    // The log as it was at the first announcement: no entry, and that announcement.
    copy(&kept.join("1/log"), &machine.state().join("log"));
    let log = rusqlite::Connection::open(machine.state().join("log/log.sqlite")).unwrap();
    for number in 2..=3 {
        let from = machine.path().join(format!("kept/{number}/log/log.sqlite"));
        log.execute("ATTACH ?1 AS kept", [from.to_str().unwrap()])
            .unwrap();
        let rows = "INSERT INTO main.pending(kind, sealed) SELECT kind, sealed FROM kept.pending";
        assert_eq!(log.execute(rows, []).unwrap(), 1, "announcement {number}");
        log.execute("DETACH kept", []).unwrap();
    }
    drop(log);
    expect_held(&machine.boot(), 1, 4, 0);
}

#[test]
fn without_the_governance_keys_word_it_stays_held() {
    let Life { machine, kept, .. } = live(Step::Closed);
    kept.restore();
    for _ in 0..2 {
        let mut held = machine.boot();
        expect_held(&held, 4, END, 10);
        held.stop();
    }
}

#[test]
fn another_keys_word_does_not_let_it_go_on() {
    let Life { machine, kept, .. } = live(Step::Closed);
    kept.restore();
    machine.boot().stop();
    sign_recovery(&machine, "bundle.key");
    let (found, expected) = (
        machine.site().public_key("bundle.key"),
        machine.site().public_key("governance.key"),
    );
    let words = format!(
        "recover statement: statement is signed by key {}, expected {}",
        found.id(),
        expected.id()
    );
    expect_no_start(&machine, &words);
}

#[test]
fn governances_word_about_another_state_does_not_let_it_go_on() {
    let Life { machine, kept, .. } = live(Step::Closed);
    kept.restore();
    machine.boot().stop();
    machine.recover("signed for the state then");
    // The statement is used up by this start; a disk put back after it is another state.
    let signed = std::fs::read(machine.state().join("recover.cose")).unwrap();
    let mut gateway = machine.start();
    assert!(gateway.stop().success(), "{}", gateway.process.said());
    kept.restore();
    std::fs::write(machine.state().join("recover.cose"), signed).unwrap();
    expect_held(&machine.boot(), 4, END + 3, 10);
}

fn sign_recovery(machine: &Machine, key: &str) {
    let out = machine.path().join("recover.cose");
    let mut sign = machine.command(&["recover", "sign", "--reason", "because I say so"]);
    sign.arg("--request")
        .arg(machine.state().join("recover-request.cbor"));
    sign.arg("--key")
        .arg(machine.site().key_file(key))
        .arg("--out")
        .arg(&out);
    countersign_tests::process::run(&mut sign);
    let mut install = machine.command(&["recover", "install"]);
    countersign_tests::process::run(install.arg("--state").arg(machine.state()).arg(&out));
}

/// The limit: what followed the last renewal can be cut by whoever cuts the power. The verdict says how long that is.
#[test]
fn a_cut_within_one_lease_is_not_held_and_the_verdict_says_how_much_may_be_missing() {
    let machine = Machine::enrolled();
    let mut gateway = machine.start();
    let kept = snapshot_of_running(&machine, &gateway);
    let lost = receipts(&serve_calls(&gateway, &["lost"]));
    gateway.kill();
    kept.restore();
    let gateway = machine.start();
    let export = gateway.export();
    let unseen = "the epoch that opened at counter 2 ended without a close: it is complete up to its last renewal; \
                  after that up to 20 min, unknown number of entries";
    let verdict = expect_verified(&machine, &export);
    assert_eq!(
        verdict.report["not_proved"][1],
        json!(format!("what happened between: {unseen}"))
    );
    let strict = machine
        .auditor()
        .trusting("[log]\nmax_unquoted_tail_seconds = 60");
    expect_against_policy(&strict.verify(&export), "epoch-ends", unseen);
    let convicted = machine.auditor().verify_with(&export, &lost);
    expect_altered(
        &convicted,
        "receipt-missing",
        "says allow in entry 5; another entry stands there",
    );
}

/// As above, by the announcement of the first renewal: it explains its step, and counts as a lease.
#[test]
fn a_cut_to_the_announced_first_renewal_counts_as_one_lease() {
    let machine = Machine::enrolled();
    let bus = Bus::tap(&machine);
    let (mut gateway, kept) = boot_with_snapshot(&machine, &bus, 2);
    serve_calls(&gateway, &["lost"]);
    gateway.kill();
    kept.restore();
    let gateway = machine.start();
    let verdict = expect_verified(&machine, &gateway.export());
    let unproved = &verdict.report["not_proved"][1];
    let unseen = "the epoch that opened at counter 2 ended without a close: it is complete up to its last renewal; \
                  after that up to 20 min, unknown number of entries";
    assert_eq!(unproved, &json!(format!("what happened between: {unseen}")));
}

/// Two renewals of the epoch that was cut: the one that stands, and the one that was announced.
#[test]
fn a_cut_to_an_announced_close_lengthens_what_may_be_missing_by_a_lease() {
    let machine = Machine::enrolled();
    let bus = Bus::tap(&machine);
    let mut gateway = machine.start();
    let (state, copied) = (machine.state(), machine.path().join("copied"));
    bus.at(NV_INCREMENT, 1, move || copy(&state, &copied));
    assert!(gateway.stop().success(), "{}", gateway.process.said());
    Snapshot::kept_at(&machine.state(), &machine.path().join("copied")).restore();
    let gateway = machine.start();
    let strict = machine
        .auditor()
        .trusting("[log]\nmax_unquoted_tail_seconds = 2399");
    expect_against_policy(
        &strict.verify(&gateway.export()),
        "epoch-ends",
        "after that up to 40 min",
    );
    let exact = machine
        .auditor()
        .trusting("[log]\nmax_unquoted_tail_seconds = 2400");
    expect_verdict(&exact.verify(&gateway.export()), 0, "VERIFIED", "");
}

/// A software TPM can be put back with the disk. Then both logs are genuine, and no verdict can tell them apart:
/// that takes a chip that cannot be put back, a witness, or a receipt.
#[test]
fn a_disk_and_a_software_tpm_put_back_together_leave_two_genuine_logs() {
    let machine = Machine::enrolled();
    let mut gateway = machine.start();
    serve_calls(&gateway, &["one"]);
    assert!(gateway.stop().success(), "{}", gateway.process.said());
    let auditor = machine
        .auditor()
        .trusting("[log]\nmax_unquoted_tail_seconds = 3600");
    let (mut machine, state, tpm) = {
        let mut machine = machine;
        machine.stop_tpm();
        let (state, tpm) = (machine.snapshot_state(), machine.snapshot_tpm());
        machine.start_tpm();
        (machine, state, tpm)
    };
    let mut live = |line: &str| {
        let mut gateway = machine.start();
        let kept = receipts(&serve_calls(&gateway, &[line]));
        let export = gateway.export();
        gateway.kill();
        machine.stop_tpm();
        state.restore();
        tpm.restore();
        machine.start_tpm();
        (export, kept)
    };
    let (export_a, receipts_a) = live("shown to one auditor");
    let (export_b, receipts_b) = live("shown to another");
    for (export, receipts) in [(&export_a, &receipts_a), (&export_b, &receipts_b)] {
        let verdict = auditor.verify_with(export, receipts);
        expect_verdict(&verdict, 0, "VERIFIED", "");
        let unproved = verdict.report["not_proved"].to_string();
        for limit in [
            "that the gateway ran on hardware that keeps its operator out",
            "that the log is the only one: no independent witness compared copies",
        ] {
            assert!(unproved.contains(limit), "{unproved}");
        }
    }
    // What tells: somebody who was given a receipt in the one, and an export of the other.
    let verdict = auditor.verify_with(&export_b, &receipts_a);
    expect_altered(
        &verdict,
        "receipt-missing",
        "is of an epoch that is not in the export",
    );
}

#[test]
fn the_default_trust_refuses_what_a_software_tpm_says() {
    let machine = Machine::enrolled();
    let mut gateway = machine.start();
    serve_calls(&gateway, &["one"]);
    let export = gateway.export();
    gateway.stop();
    let verdict = super::parts::verify_with_trust(&machine, &export, |text| {
        text.replace("[evidence]\naccept = [\"software\"]\n", "")
    });
    expect_against_policy(
        &verdict,
        "evidence-class",
        "the evidence comes from a software TPM; your trust file does not accept class software",
    );
}
