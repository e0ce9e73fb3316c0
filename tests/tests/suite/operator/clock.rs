//! The operator's hand on the clocks: set forward and back, across a restart, and a process that stands still.

use super::bus::{Bus, NV_INCREMENT, Pass};
use super::*;
use countersign_record::body::EventKind;
use countersign_record::entry::Body;
use countersign_tests::auditor::Log;
use countersign_tests::fixture;
use countersign_tests::process::run;
use countersign_tests::site::SiteOptions;
use rustix::process::Signal;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Clocks of one machine's gateway, and of whoever shares them.
pub(super) struct Clocks {
    offsets: File,
    library: PathBuf,
    path: PathBuf,
}

/// Second, in milliseconds.
pub(super) const S: i64 = 1000;

impl Clocks {
    pub(super) fn of(machine: &Machine) -> Self {
        let (library, path) = (
            machine.path().join("clock.so"),
            machine.path().join("clocks"),
        );
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&library)
            .arg(fixture("clock.c"));
        run(&mut cc);
        let this = Self {
            offsets: File::create(&path).unwrap(),
            library,
            path,
        };
        this.set(0, 0);
        this
    }

    fn shared_by<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.env("LD_PRELOAD", &self.library);
        command.env("COUNTERSIGN_TEST_CLOCKS", &self.path)
    }

    /// Sets both clocks off by so many milliseconds.
    pub(super) fn set(&self, wall: i64, advancing: i64) {
        let bytes = [wall.to_ne_bytes(), advancing.to_ne_bytes()].concat();
        self.offsets.write_all_at(&bytes, 0).unwrap();
    }

    pub(super) fn boot(&self, machine: &Machine) -> Gateway {
        let booted = machine.boot_with(self.shared_by(&mut machine.serve_command()));
        booted.unwrap_or_else(|(status, said)| panic!("the gateway ended with {status}:\n{said}"))
    }

    /// An export that is asked for by somebody with the same clocks.
    pub(super) fn export(&self, gateway: &Gateway) -> PathBuf {
        let (path, mut export) = gateway.export_command();
        run(self.shared_by(&mut export));
        path
    }
}

#[track_caller]
fn expect_state(gateway: &Gateway, state: &str) {
    let ready = gateway.stranger().get("/readyz").unwrap();
    assert_eq!(ready.json()["state"], state);
}

/// Claimed times of all entries never go back.
#[track_caller]
fn times_never_run_back(export: &Path) -> Vec<u64> {
    let times: Vec<u64> = Log::read(export)
        .0
        .iter()
        .map(|e| e.payload.place.at.0)
        .collect();
    assert!(times.is_sorted(), "{times:?}");
    times
}

#[test]
fn a_clock_set_forward_refuses_calls_until_it_is_set_right() {
    let machine = Machine::enrolled();
    let clocks = Clocks::of(&machine);
    let gateway = clocks.boot(&machine);
    serve_calls(&gateway, &["one"]);
    clocks.set(61 * S, 0);
    expect_refusal(&gateway, "clock_drift");
    clocks.set(10 * 365 * 86_400 * S, 0);
    expect_refusal(&gateway, "clock_drift");
    expect_state(&gateway, "clock drifts");
    clocks.set(0, 0);
    serve_calls(&gateway, &["two"]);
    expect_state(&gateway, "serving");
    assert_eq!(machine.effects(), ["one", "two"]);
    let export = gateway.export();
    let times = times_never_run_back(&export);
    assert!(
        times[times.len() - 1] - times[0] < 120_000,
        "an entry from the future: {times:?}"
    );
    expect_verified(&machine, &export);
}

#[test]
fn a_clock_set_back_refuses_calls_until_it_is_set_right() {
    let machine = Machine::enrolled();
    let clocks = Clocks::of(&machine);
    let gateway = clocks.boot(&machine);
    serve_calls(&gateway, &["one"]);
    clocks.set(-61 * S, 0);
    expect_refusal(&gateway, "clock_drift");
    expect_state(&gateway, "clock drifts");
    clocks.set(0, 0);
    serve_calls(&gateway, &["two"]);
    let export = gateway.export();
    times_never_run_back(&export);
    expect_verified(&machine, &export);
}

#[test]
fn a_clock_that_steps_by_less_than_a_minute_serves_and_never_runs_back() {
    let machine = Machine::enrolled();
    let clocks = Clocks::of(&machine);
    let gateway = clocks.boot(&machine);
    for (step, line) in [(30, "one"), (-29, "two"), (25, "three"), (-25, "four")] {
        clocks.set(step * S, 0);
        serve_calls(&gateway, &[line]);
    }
    clocks.set(0, 0);
    let export = gateway.export();
    times_never_run_back(&export);
    expect_verified(&machine, &export);
}

#[test]
fn a_restart_with_a_clock_a_little_behind_the_log_goes_on_in_order() {
    let machine = Machine::enrolled();
    let clocks = Clocks::of(&machine);
    let mut gateway = clocks.boot(&machine);
    serve_calls(&gateway, &["one"]);
    assert!(gateway.stop().success(), "{}", gateway.process.said());
    clocks.set(-50 * S, 0);
    let gateway = clocks.boot(&machine);
    serve_calls(&gateway, &["two"]);
    let export = gateway.export();
    times_never_run_back(&export);
    expect_verified(&machine, &export);
}

#[test]
fn a_restart_with_a_clock_an_hour_behind_the_log_serves_nobody() {
    let machine = Machine::enrolled();
    let clocks = Clocks::of(&machine);
    let mut gateway = clocks.boot(&machine);
    serve_calls(&gateway, &["one"]);
    assert!(gateway.stop().success(), "{}", gateway.process.said());
    clocks.set(-3600 * S, 0);
    let gateway = clocks.boot(&machine);
    expect_refusal(&gateway, "clock_drift");
    let export = gateway.export();
    times_never_run_back(&export);
    expect_verified(&machine, &export);
}

/// A disk or a machine that stands still for longer than the lease: what wakes up knows that its word has run out.
#[test]
fn a_process_that_stood_still_beyond_its_lease_takes_no_call() {
    let machine = Machine::enrolled();
    let clocks = Clocks::of(&machine);
    let gateway = clocks.boot(&machine);
    serve_calls(&gateway, &["one"]);
    gateway.process.signal(Signal::STOP);
    clocks.set(1199 * S, 1199 * S);
    gateway.process.signal(Signal::CONT);
    serve_calls(&gateway, &["in time"]);
    gateway.process.signal(Signal::STOP);
    clocks.set(1201 * S, 1201 * S);
    gateway.process.signal(Signal::CONT);
    expect_refusal(&gateway, "lease_expired");
    expect_state(&gateway, "lease expired");
    assert_eq!(machine.effects(), ["one", "in time"]);
}

/// A TPM that the operator cuts off, before or after it moved the counter, until the lease runs out; then lets answer.
#[track_caller]
fn renewals_dropped(pass: Pass) {
    let machine = Machine::enrolled_with(&SiteOptions {
        renewal_seconds: 5,
        ..SiteOptions::default()
    });
    let (bus, clocks) = (Bus::tap(&machine), Clocks::of(&machine));
    let gateway = clocks.boot(&machine);
    serve_calls(&gateway, &["one"]);
    let moved = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&moved);
    bus.set(move |code| match code {
        NV_INCREMENT if seen.fetch_add(1, Ordering::SeqCst) == 0 => pass,
        _ => Pass::Through,
    });
    gateway
        .process
        .wait_said("renewal failed: the epoch counter does not move");
    clocks.set(11 * S, 11 * S);
    expect_refusal(&gateway, "lease_expired");
    // The next renewal comes by itself; readiness is all that can be asked for from outside.
    let mut stranger = gateway.stranger();
    while stranger.get("/readyz").unwrap().status != 200 {
        assert!(
            moved.load(Ordering::SeqCst) < 3,
            "it does not become ready again"
        );
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    serve_calls(&gateway, &["two"]);
    clocks.set(0, 11 * S);
    let export = gateway.export();
    let failed = |e: &&countersign_tests::auditor::Logged| matches!(&e.payload.body, Body::Event(event) if event.kind == EventKind::RenewalFailed && event.count == 1);
    let told = usize::from(pass == Pass::CutAnswer);
    assert_eq!(Log::read(&export).0.iter().filter(failed).count(), told);
    expect_verified(&machine, &export);
}

#[test]
fn a_dropped_renewal_ends_the_lease_and_the_next_one_begins_it_again() {
    renewals_dropped(Pass::Cut);
}

#[test]
fn a_renewal_whose_answer_is_dropped_is_told_in_the_log() {
    renewals_dropped(Pass::CutAnswer);
}
