//! What goes wrong around a gateway: disks, upstreams, TPMs, clients.

use countersign_record::body::Effect;
use countersign_tests::audit::hold_against_world;
use countersign_tests::auditor::Log;
use countersign_tests::client::Answer;
use countersign_tests::gate::Gate;
use countersign_tests::machine::{Gateway, Machine};
use countersign_tests::process::{Process, outcome};
use countersign_tests::site::SiteOptions;
use countersign_tests::{PATIENCE, unique};
use serde_json::{Value, json};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::Instant;

/// Asks again until it is so. Reaching the limit is a failure.
fn until(what: &str, mut so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < end, "{what} does not come about");
        // Polling, for what nothing announces; the step only spares the machine.
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

fn append(gateway: &Gateway, line: &str) -> Answer {
    gateway
        .alpha()
        .call("effects.append", json!({ "line": line }))
        .unwrap()
}

fn judge(machine: &Machine, gateway: &Gateway, answers: &[Answer]) -> Log {
    let export = gateway.export();
    let receipts: Vec<_> = answers
        .iter()
        .filter_map(|a| a.receipt().map(str::to_owned))
        .collect();
    machine
        .auditor()
        .verify_with(&export, &receipts)
        .assert_verified();
    let log = Log::read(&export);
    hold_against_world(&log, &machine.effects(), answers);
    log
}

#[test]
fn a_gateway_whose_lines_nobody_takes_serves_and_stops_in_good_order() {
    let machine = Machine::enrolled();
    // Each line fails, as on a full disk, or where whoever read them has gone.
    let mut command = machine.serve_under(&["sh", "-c", "exec \"$@\" 2>/dev/full", "sh"]);
    let mut gateway = machine.boot_with(&mut command).unwrap();
    let answer = append(&gateway, "unheard");
    assert_eq!(answer.status, 200);
    assert!(gateway.stop().success());
    let again = machine.start();
    let said = again.process.said();
    assert!(said.contains("its last epoch was closed"), "{said}");
    assert_eq!(machine.effects(), ["unheard"]);
    drop(again);
    // Nor is anything lost with the line that says where it listens.
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    machine.site().edit("127.0.0.1:0", &address);
    let mut command =
        machine.serve_under(&["sh", "-c", "exec \"$@\" >/dev/full 2>/dev/full", "sh"]);
    let mut process = Process::start(&mut command);
    until("an answer", || is_well(&address));
    assert!(process.stop().success());
}

fn is_well(address: &str) -> bool {
    let Ok(mut gateway) = TcpStream::connect(address) else {
        return false;
    };
    let ask = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let mut answer = String::new();
    gateway.write_all(ask.as_bytes()).is_ok()
        && gateway.read_to_string(&mut answer).is_ok()
        && answer.starts_with("HTTP/1.1 200")
}

/// Calls with large arguments until one is refused, and a few more.
fn fill(gateway: &Gateway) -> Vec<Answer> {
    let mut out = Vec::new();
    let mut refused = 0;
    let mut alpha = gateway.alpha();
    let end = Instant::now() + PATIENCE;
    while refused < 5 {
        assert!(Instant::now() < end, "the disk does not fill");
        let line = unique("large") + &"x".repeat(150_000);
        let answer = alpha
            .call("effects.append", json!({ "line": line }))
            .unwrap();
        if !answer.is_ok() {
            refused += 1;
        }
        out.push(answer);
    }
    out
}

fn a_disk_that_takes_no_more(machine: &Machine, mut gateway: Gateway) {
    let answers = fill(&gateway);
    let done = answers.iter().filter(|a| a.is_ok()).count();
    assert!(done > 0, "{:?}", answers.first());
    for refused in answers.iter().filter(|a| !a.is_ok()) {
        let codes = ["audit_unavailable", "audit_backpressure", "result_withheld"];
        assert!(codes.contains(&refused.code()), "{refused:?}");
    }
    let state = gateway.stranger().get("/readyz").unwrap();
    assert_eq!(state.status, 503, "{}", state.json());
    gateway.kill();
    let gateway = machine.start();
    let mut answers = answers;
    answers.push(append(&gateway, "room again"));
    assert!(answers.last().unwrap().is_ok());
    judge(machine, &gateway, &answers);
}

#[test]
fn a_file_that_may_grow_no_more_stops_calls_and_loses_none() {
    let machine = Machine::enrolled();
    machine.start().kill();
    // The signal is ignored, so that writes fail instead. 20 MiB, in blocks of 512 bytes.
    let limit = [
        "sh",
        "-c",
        "trap '' XFSZ; ulimit -f 40960; exec \"$@\"",
        "sh",
    ];
    let gateway = machine
        .boot_with(&mut machine.serve_under(&limit))
        .unwrap_or_else(|(_, said)| panic!("{said}"));
    a_disk_that_takes_no_more(&machine, gateway);
}

/// A command that runs `script` in a mount namespace of its own, then what follows.
fn in_namespace(script: &str) -> Vec<String> {
    let own: &[&str] = if rustix::process::geteuid().is_root() {
        &["unshare", "--mount"]
    } else {
        &["unshare", "--map-root-user", "--mount"]
    };
    let mut out: Vec<String> = own.iter().map(|s| (*s).to_owned()).collect();
    out.extend([
        "sh".to_owned(),
        "-c".to_owned(),
        format!("{script} && exec \"$@\""),
        "sh".to_owned(),
    ]);
    out
}

#[test]
fn a_full_disk_stops_calls_and_loses_none() {
    let machine = Machine::enrolled();
    machine.start().kill();
    let state = machine.state().display().to_string();
    let kept = machine.path().join("kept").display().to_string();
    // A small file system that holds the state; what is on it is copied out before the namespace goes.
    let script = format!(
        "mkdir -p {kept} && cp -a {state}/. {kept}/ && size=$(($(du -sk {kept} | cut -f1) + 24576)) && mount -t tmpfs -o size=${{size}}k,mode=700 small {state} && cp -a {kept}/. {state}/"
    );
    let wrapper = in_namespace(&script);
    let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    let mut gateway = machine
        .boot_with(&mut machine.serve_under(&wrapper))
        .unwrap_or_else(|(_, said)| panic!("{said}"));
    let answers = fill(&gateway);
    assert!(answers.iter().any(Answer::is_ok));
    let inside = format!("/proc/{}/root{state}", gateway.process.id());
    gateway.process.signal(rustix::process::Signal::STOP);
    countersign_tests::process::run(Command::new("cp").args([
        "-a",
        &format!("{inside}/."),
        &format!("{kept}/"),
    ]));
    gateway.kill();
    fs::remove_dir_all(&state).unwrap();
    countersign_tests::machine::copy(kept.as_ref(), state.as_ref());
    let gateway = machine.start();
    let log = judge(&machine, &gateway, &answers);
    assert!(log.intents().count() >= answers.iter().filter(|a| a.is_ok()).count());
}

#[test]
fn a_state_that_cannot_be_written_keeps_the_gateway_from_starting_and_harms_nothing() {
    let machine = Machine::enrolled();
    let mut gateway = machine.start();
    let answers = vec![append(&gateway, "one")];
    gateway.kill();
    let state = machine.state().display().to_string();
    let wrapper = in_namespace(&format!(
        "mount --bind {state} {state} && mount -o remount,ro,bind {state}"
    ));
    let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    let Err((status, said)) = machine.boot_with(&mut machine.serve_under(&wrapper)) else {
        panic!("it started on a state that cannot be written");
    };
    assert!(!status.success());
    assert!(
        said.contains("read-only")
            || said.contains("Read-only")
            || said.contains("cannot be written"),
        "{said}"
    );
    judge(&machine, &machine.start(), &answers);
}

#[test]
fn a_log_that_is_deleted_under_a_running_gateway_stops_calls_and_the_next_start_is_held() {
    let machine = Machine::enrolled();
    let mut gateway = machine.start();
    assert!(append(&gateway, "one").is_ok());
    fs::remove_dir_all(machine.state().join("log")).unwrap();
    let refused = append(&gateway, "two");
    assert!(!refused.is_ok(), "{refused:?}");
    let again = append(&gateway, "three");
    assert_eq!(again.code(), "audit_unavailable", "{again:?}");
    // At most the call that found it out was carried out, and its result was withheld.
    assert!(machine.effects().len() <= 2, "{:?}", machine.effects());
    gateway.kill();
    let held = machine.boot();
    assert_eq!(held.word, "held", "{}", held.process.said());
    let answer = append(&held, "four");
    assert_eq!(answer.code(), "gateway_held", "{answer:?}");
}

#[test]
fn a_log_that_is_replaced_by_an_older_copy_under_a_running_gateway_stops_calls() {
    let machine = Machine::enrolled();
    let mut gateway = machine.start();
    assert!(append(&gateway, "one").is_ok());
    gateway.kill();
    let older = machine.snapshot_state();
    let mut gateway = machine.start();
    assert!(append(&gateway, "two").is_ok());
    older.restore();
    assert!(!append(&gateway, "three").is_ok());
    assert!(!append(&gateway, "four").is_ok());
    gateway.kill();
    let held = machine.boot();
    assert_eq!(held.word, "held", "{}", held.process.said());
}

#[test]
fn a_second_gateway_on_the_same_state_is_refused_and_disturbs_nothing() {
    let machine = Machine::enrolled();
    let gateway = machine.start();
    let mut answers = vec![append(&gateway, "one")];
    let (status, out, err) = outcome(&mut machine.serve_command());
    assert!(!status.success(), "{out}{err}");
    assert!(err.contains("in use by another process"), "{err}");
    answers.push(append(&gateway, "two"));
    assert!(answers.iter().all(Answer::is_ok));
    judge(&machine, &gateway, &answers);
}

#[test]
fn an_upstream_that_is_down_at_start_refuses_its_calls_and_nothing_else() {
    let options = SiteOptions {
        upstream: Some("/nonexistent/server".to_owned()),
        ..SiteOptions::default()
    };
    let machine = Machine::enrolled_with(&options);
    let gateway = machine.start();
    let answer = append(&gateway, "x");
    assert_eq!(answer.code(), "upstream_unavailable", "{answer:?}");
    judge(&machine, &gateway, &[answer]);
}

fn crash(line: &str, when: &str) -> Value {
    json!({ "capability": "effects.crash", "arguments": { "line": line, "when": when }, "idempotency_key": line })
}

fn an_upstream_that_ends(when: &str, effects: usize) {
    let machine = Machine::enrolled();
    let gateway = machine.start();
    let mut alpha = gateway.alpha();
    let answer = alpha.call_with(crash("deed", when)).unwrap();
    assert_eq!(answer.code(), "outcome_unknown", "{answer:?}");
    let again = alpha.call_with(crash("deed", when)).unwrap();
    assert_eq!(again.code(), "idempotency_outcome_unknown", "{again:?}");
    assert_eq!(machine.effects().len(), effects);
    let mut answers = vec![answer, again];
    until("a call after a crash of its upstream", || {
        answers.push(append(&gateway, &unique("next")));
        let last = answers.last().unwrap();
        assert!(
            last.is_ok() || last.code() == "upstream_unavailable",
            "{last:?}"
        );
        last.is_ok()
    });
    assert_eq!(machine.effects().len(), effects + 1);
    let log = judge(&machine, &gateway, &answers);
    let unknown = log.decisions().filter(|(_, d)| d.effect == Effect::Unknown);
    assert_eq!(unknown.count(), 1);
}

#[test]
fn an_upstream_that_ends_before_its_effect_leaves_an_unknown_outcome_and_is_started_again() {
    an_upstream_that_ends("before", 0);
}

#[test]
fn an_upstream_that_ends_after_its_effect_leaves_an_unknown_outcome_and_is_started_again() {
    an_upstream_that_ends("after", 1);
}

#[test]
fn a_call_whose_client_went_away_is_carried_through_and_settled() {
    let machine = Machine::enrolled();
    let gate = Gate::at(&machine.tools());
    let gateway = machine.start();
    let mut alpha = gateway.alpha();
    let body =
        json!({ "capability": "effects.slow", "arguments": { "line": "left alone" } }).to_string();
    alpha
        .send("POST", "/v1/calls", &[], body.as_bytes())
        .unwrap();
    let held = gate.next();
    alpha.hang_up();
    held.release();
    let mut stranger = gateway.stranger();
    until("the settlement", || {
        stranger.get("/healthz").unwrap().json()["open_calls"] == 0
    });
    assert_eq!(machine.effects(), ["left alone"]);
    let log = judge(&machine, &gateway, &[]);
    let (_, decision) = log.decisions().next().unwrap();
    assert_eq!(decision.effect, Effect::Dispatched);
}

#[test]
fn a_stop_waits_for_the_calls_that_are_under_way() {
    let machine = Machine::enrolled();
    let gate = Gate::at(&machine.tools());
    let mut gateway = machine.start();
    let mut alpha = gateway.alpha();
    let body =
        json!({ "capability": "effects.slow", "arguments": { "line": "under way" } }).to_string();
    alpha
        .send("POST", "/v1/calls", &[], body.as_bytes())
        .unwrap();
    let held = gate.next();
    gateway.process.signal(rustix::process::Signal::TERM);
    gateway.process.wait_said("stopping");
    held.release();
    assert_eq!(alpha.receive().unwrap().json()["status"], "ok");
    assert!(
        gateway.process.end().success(),
        "{}",
        gateway.process.said()
    );
    gateway.process.wait_said("epoch closed");
}

#[test]
fn a_stop_waits_for_a_call_whose_client_went_away() {
    let machine = Machine::enrolled();
    let gate = Gate::at(&machine.tools());
    let mut gateway = machine.start();
    let mut alpha = gateway.alpha();
    let body =
        json!({ "capability": "effects.slow", "arguments": { "line": "orphan" } }).to_string();
    alpha
        .send("POST", "/v1/calls", &[], body.as_bytes())
        .unwrap();
    let held = gate.next();
    alpha.hang_up();
    gateway.process.signal(rustix::process::Signal::TERM);
    gateway.process.wait_said("stopping");
    held.release();
    assert!(
        gateway.process.end().success(),
        "{}",
        gateway.process.said()
    );
    let log = judge(&machine, &machine.start(), &[]);
    let (_, decision) = log.decisions().next().unwrap();
    assert_eq!(decision.effect, Effect::Dispatched);
}

#[test]
fn a_gateway_whose_tpm_is_gone_takes_no_calls_once_its_lease_is_over() {
    let options = SiteOptions {
        renewal_seconds: 5,
        ..SiteOptions::default()
    };
    let mut machine = Machine::enrolled_with(&options);
    let mut gateway = machine.start();
    let mut answers = vec![append(&gateway, "within the lease")];
    assert!(answers[0].is_ok());
    machine.stop_tpm();
    let mut stranger = gateway.stranger();
    until("the end of the lease", || {
        stranger.get("/readyz").unwrap().json()["state"] == "lease expired"
    });
    answers.push(append(&gateway, "after the lease"));
    assert_eq!(answers[1].code(), "lease_expired");
    assert!(
        gateway.process.said().contains("renewal failed"),
        "{}",
        gateway.process.said()
    );
    assert_eq!(machine.effects(), ["within the lease"]);
    gateway.kill();
    machine.start_tpm();
    judge(&machine, &machine.start(), &answers);
}

#[test]
fn a_gateway_on_a_short_lease_renews_and_goes_on() {
    let options = SiteOptions {
        renewal_seconds: 5,
        ..SiteOptions::default()
    };
    let machine = Machine::enrolled_with(&options);
    let gateway = machine.start();
    let mut stranger = gateway.stranger();
    let mut entries = || {
        let health = stranger.get("/healthz").unwrap().json();
        health["entries"].as_u64().unwrap()
    };
    let before = entries();
    until("a renewal", || entries() > before);
    let answer = append(&gateway, "renewed");
    assert!(answer.is_ok());
    let export = gateway.export();
    let verdict = machine.auditor().verify(&export);
    verdict.assert_verified();
    assert_eq!(verdict.state("renewals"), "pass");
    assert_eq!(verdict.state("leases"), "pass");
}
