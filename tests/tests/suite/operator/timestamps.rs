//! What outside clocks say of a log, over a wire that the operator owns, and beside a disk that is the operator's too.

use super::clock::{Clocks, S};
use super::parts::Parts;
use super::*;
use countersign_record::body::EventKind;
use countersign_record::entry::Body;
use countersign_tests::auditor::{Auditor, Log};
use countersign_tests::process::run;
use countersign_tests::site::SiteOptions;
use countersign_tests::timestamping::{Authority, Fault, Wire};
use std::process::Command;

/// Outside clocks have to have seen the log within the hour.
const WITHIN_AN_HOUR: &str = "[log]\nmax_unseen_seconds = 3600\n";
/// Outside clocks have to have seen each entry at once, which nothing but a log of one moment fulfils.
const AT_ONCE: &str = "[log]\nmax_unseen_seconds = 0\n";

fn machine(settings: &str) -> Machine {
    let machine = Machine::enrolled();
    machine.site().append_settings(settings);
    machine
}

fn auditor(machine: &Machine, authority: &Authority, log: &str) -> Auditor {
    machine.auditor().trusting(&(authority.trusted() + log))
}

/// Stops the gateway in good order; the next start has the whole epoch in its export.
fn restart(machine: &Machine, mut gateway: Gateway) -> Gateway {
    assert!(gateway.stop().success(), "{}", gateway.process.said());
    machine.start()
}

/// How many entries outside clocks have seen, and how many there are.
fn seen(verdict: &Verdict) -> (u64, u64) {
    let entries = verdict.report["subject"]["seen_by"][0]["entries"].as_u64();
    (entries.unwrap_or(0), verdict.count("entries"))
}

/// What the last entry claims, in milliseconds since 1970.
fn last_claim(export: &Path) -> u64 {
    Log::read(export).0.last().unwrap().payload.place.at.0
}

#[track_caller]
fn expect_seen(verdict: &Verdict) {
    expect_verdict(verdict, 0, "VERIFIED", "");
    let (state, reason) = (
        verdict.state("outside-time"),
        verdict.reason("outside-time"),
    );
    assert_eq!(state, "pass", "{reason}");
    assert!(reason.contains("says Example Time"), "{reason}");
}

#[test]
fn an_outside_clock_sees_each_renewal_and_the_end_and_bounds_the_times_of_the_log() {
    let authority = Authority::start("Example Time");
    let machine = machine(&authority.settings());
    let gateway = machine.start();
    let early = gateway.wait_stamped();
    serve_calls(&gateway, &["one", "two"]);
    let gateway = restart(&machine, gateway);
    let export = gateway.export();
    let verdict = auditor(&machine, &authority, WITHIN_AN_HOUR).verify(&export);
    expect_seen(&verdict);
    // The first checkpoint, and that of the close, have a token each; nothing was stamped in between.
    let log = Log::read(&export);
    let close = log
        .0
        .iter()
        .position(|e| matches!(e.payload.body, Body::Close(_)));
    let sizes: Vec<u64> = Parts::read(&export)
        .timestamps
        .iter()
        .map(|(_, t)| t.size)
        .collect();
    let closed = u64::try_from(close.unwrap()).unwrap() + 1;
    assert_eq!(sizes[..2], [early, closed]);
    assert!(seen(&verdict).0 > early);
    let failed = |e: &countersign_tests::auditor::Logged| matches!(&e.payload.body, Body::Event(event) if event.kind == EventKind::Timestamp);
    assert!(!log.0.iter().any(failed), "nothing failed");
}

#[test]
fn each_part_of_a_log_brings_the_tokens_that_bound_its_times() {
    let authority = Authority::start("Example Time");
    let machine = machine(&authority.settings());
    let gateway = machine.start();
    let _early = gateway.wait_stamped();
    serve_calls(&gateway, &["of the north"]);
    let answer = gateway
        .beta()
        .call("effects.append", json!({ "line": "of the south" }))
        .unwrap();
    assert!(answer.is_ok(), "{answer:?}");
    let gateway = restart(&machine, gateway);
    let whole = gateway.export();
    let log = Log::read(&whole);
    let run = log
        .decisions()
        .find_map(|(e, _)| e.payload.place.run.clone());
    let run = run.unwrap().run.to_string();
    let from = log
        .decisions()
        .next()
        .unwrap()
        .0
        .payload
        .place
        .at
        .0
        .to_string();
    let tokens = Parts::read(&whole).timestamps.len();
    let auditor = auditor(&machine, &authority, WITHIN_AN_HOUR);
    for part in [
        vec!["--tenant", "south"],
        vec!["--run", &run],
        vec!["--from", &from],
        vec!["--tenant", "north", "--from", &from],
    ] {
        let export = gateway.export_of(&part);
        assert!(Parts::read(&export).timestamps.len() >= tokens, "{part:?}");
        let verdict = auditor.verify(&export);
        expect_seen(&verdict);
    }
}

#[test]
fn a_token_of_an_export_is_one_for_other_tools_too() {
    let authority = Authority::start("Example Time");
    let machine = machine(&authority.settings());
    let gateway = machine.start();
    let _early = gateway.wait_stamped();
    let parts = Parts::read(&gateway.export());
    let (place, timestamp) = &parts.timestamps[0];
    let note = String::from_utf8(parts.checkpoints[*place].clone()).unwrap();
    let text = note.split_inclusive('\n').take(3).collect::<String>();
    let (data, token) = (machine.path().join("note"), machine.path().join("token"));
    std::fs::write(&data, text).unwrap();
    std::fs::write(&token, &timestamp.token.0).unwrap();
    let mut verify = Command::new("openssl");
    verify
        .args(["ts", "-verify", "-token_in", "-data"])
        .arg(data);
    verify
        .arg("-in")
        .arg(token)
        .arg("-CAfile")
        .arg(authority.root());
    assert!(run(&mut verify).contains("Verification: OK"));
}

#[test]
fn a_token_that_was_kept_is_there_after_a_kill() {
    let mut authority = Authority::start("Example Time");
    let machine = machine(&authority.settings());
    let mut gateway = machine.start();
    let early = gateway.wait_stamped();
    gateway.kill();
    authority.stop();
    let verdict = auditor(&machine, &authority, "").verify(&machine.start().export());
    expect_seen(&verdict);
    assert_eq!(seen(&verdict).0, early);
}

/// The wire does this to every question. Nothing is kept, calls go on, the log counts it, and no verdict is a success of outside clocks.
#[track_caller]
fn nothing_comes_of(fault: Fault, words: &str) {
    let authority = Authority::start("Example Time");
    let wire = Wire::to(&authority);
    wire.set(fault);
    let machine = machine(&authority.settings_by(wire.address()));
    let gateway = machine.start();
    expect_nothing(&machine, &authority, gateway, words);
}

#[track_caller]
fn expect_nothing(machine: &Machine, authority: &Authority, gateway: Gateway, words: &str) {
    // Not one of these waits for the authority.
    serve_calls(&gateway, &["one", "two"]);
    let said = format!("timestamping authority Example Time {words}");
    gateway.process.wait_said(&said);
    let health = gateway.stranger().get("/healthz").unwrap().json();
    assert_eq!(health["timestamping"][0]["stamped"], json!(null));
    assert!(health["timestamping"][0]["failures"].as_u64() > Some(0));
    let gateway = restart(machine, gateway);
    serve_calls(&gateway, &["three"]);
    let export = gateway.export();
    assert!(Parts::read(&export).timestamps.is_empty());
    let counted = |e: &countersign_tests::auditor::Logged| matches!(&e.payload.body, Body::Event(event) if event.kind == EventKind::Timestamp && event.count > 0);
    assert!(Log::read(&export).0.iter().any(counted), "no entry says so");
    let verdict = auditor(machine, authority, "").verify(&export);
    expect_verdict(&verdict, 0, "VERIFIED", "");
    assert_eq!(verdict.state("outside-time"), "not-checked");
    let reason = verdict.reason("outside-time");
    assert!(
        reason.contains("no outside clock stands behind the times"),
        "{reason}"
    );
    let strict = auditor(machine, authority, AT_ONCE).verify(&export);
    expect_against_policy(
        &strict,
        "outside-time",
        "no outside clock saw the log from here to its end",
    );
}

#[test]
fn a_token_over_another_checkpoint_is_not_kept() {
    let words = "gives an answer that is none: the token is over other bytes than were asked for";
    nothing_comes_of(Fault::OtherImprint, words);
}

#[test]
fn a_token_for_another_question_is_not_kept() {
    let words = "gives an answer that is none: the token does not carry the nonce of the question";
    nothing_comes_of(Fault::OtherNonce, words);
}

#[test]
fn an_answer_that_is_too_long_is_not_read() {
    nothing_comes_of(Fault::TooLong, "gives an answer that is none");
}

#[test]
fn an_answer_that_never_ends_is_not_waited_for() {
    nothing_comes_of(Fault::Drip, "does not answer in time");
}

#[test]
fn a_servers_failure_is_no_answer_whatever_is_in_it() {
    nothing_comes_of(Fault::Failure, "refuses with status 500");
}

#[test]
fn an_address_elsewhere_is_not_followed() {
    nothing_comes_of(Fault::Redirect, "refuses with status 307");
}

#[test]
fn an_authority_that_refuses_has_stamped_nothing() {
    let words = "gives an answer that is none: the authority refused, with status 2";
    nothing_comes_of(Fault::Refusal, words);
}

#[test]
fn a_token_of_another_authority_than_the_settings_name_is_not_kept() {
    let (authority, other) = (Authority::start("Example Time"), Authority::start("Other"));
    let machine = machine(&authority.settings_by(other.address()));
    let gateway = machine.start();
    let words =
        "gives a token that does not hold: the token is of no authority that is trusted here";
    expect_nothing(&machine, &authority, gateway, words);
}

#[test]
fn an_old_token_given_again_stands_for_what_it_was_given_for_and_nothing_newer() {
    let authority = Authority::start("Example Time");
    let wire = Wire::to(&authority);
    let machine = machine(&authority.settings_by(wire.address()));
    let gateway = machine.start();
    let early = gateway.wait_stamped();
    wire.set(Fault::Replay);
    serve_calls(&gateway, &["one"]);
    let gateway = restart(&machine, gateway);
    let words = "gives an answer that is none: the token is over other bytes than were asked for";
    gateway.process.wait_said(words);
    let export = gateway.export();
    assert_eq!(Parts::read(&export).timestamps.len(), 1);
    let verdict = auditor(&machine, &authority, "").verify(&export);
    expect_seen(&verdict);
    let (seen, entries) = seen(&verdict);
    assert!(seen == early && early < entries, "{seen} of {entries}");
}

#[test]
fn an_authority_that_failed_is_asked_again_at_the_next_renewal() {
    let authority = Authority::start("Example Time");
    let wire = Wire::to(&authority);
    wire.set(Fault::Failure);
    let machine = Machine::enrolled_with(&SiteOptions {
        renewal_seconds: 5,
        ..SiteOptions::default()
    });
    let settings = authority.settings_by(wire.address());
    machine.site().append_settings(&settings);
    let gateway = machine.start();
    gateway.process.wait_said("refuses with status 500");
    wire.set(Fault::None);
    serve_calls(&gateway, &["before the next renewal"]);
    let size = gateway.wait_stamped();
    let export = gateway.export();
    let log = Log::read(&export);
    let renewals = log.0.iter().take(usize::try_from(size).unwrap());
    let renewals = renewals.filter(|e| matches!(e.payload.body, Body::Renewal(_)));
    assert!(renewals.count() > 1);
    expect_seen(&auditor(&machine, &authority, "").verify(&export));
}

#[test]
fn a_clock_that_was_wrong_from_the_start_is_named_by_the_clock_that_saw_its_entries() {
    let authority = Authority::start("Example Time");
    let machine = machine(&authority.settings());
    let clocks = Clocks::of(&machine);
    clocks.set(3600 * S, 0);
    let gateway = clocks.boot(&machine);
    let _early = gateway.wait_stamped();
    serve_calls(&gateway, &["an hour ahead"]);
    let export = clocks.export(&gateway);
    // Somebody who looks at it two hours later sees no entry from the future any more.
    let auditor = auditor(&machine, &authority, "").judging_at(last_claim(&export) + 3_600_000);
    let verdict = auditor.verify(&export);
    expect_against_policy(&verdict, "outside-time", "and Example Time saw it before");
}

/// A machine that an outside clock saw, and was put back, disk and chip, after the wire to the authority was cut.
fn put_back(authority: &mut Authority) -> (Machine, u64) {
    let mut machine = machine(&authority.settings());
    let mut gateway = machine.start();
    let _early = gateway.wait_stamped();
    assert!(gateway.stop().success(), "{}", gateway.process.said());
    machine.stop_tpm();
    let (state, tpm) = (machine.snapshot_state(), machine.snapshot_tpm());
    machine.start_tpm();
    let mut gateway = machine.start();
    let later = gateway.wait_stamped();
    gateway.kill();
    authority.stop();
    machine.stop_tpm();
    state.restore();
    tpm.restore();
    machine.start_tpm();
    (machine, later)
}

#[test]
fn a_disk_put_back_with_its_tokens_shows_nothing_newer_than_they_saw() {
    let mut authority = Authority::start("Example Time");
    let (machine, later) = put_back(&mut authority);
    let mut gateway = machine.start();
    serve_calls(&gateway, &["another history"]);
    assert!(gateway.stop().success(), "{}", gateway.process.said());
    let clocks = Clocks::of(&machine);
    clocks.set(2 * 3600 * S, 0);
    let gateway = clocks.boot(&machine);
    serve_calls(&gateway, &["two hours later"]);
    let export = clocks.export(&gateway);
    let now = last_claim(&export);
    let verdict = auditor(&machine, &authority, "")
        .judging_at(now)
        .verify(&export);
    expect_seen(&verdict);
    let (seen, entries) = seen(&verdict);
    assert!(
        seen < later && later <= entries,
        "{seen}, {later}, {entries}"
    );
    let strict = auditor(&machine, &authority, WITHIN_AN_HOUR)
        .judging_at(now)
        .verify(&export);
    expect_against_policy(
        &strict,
        "outside-time",
        "no outside clock saw the log from here to its end",
    );
}

#[test]
fn a_token_moved_to_a_newer_checkpoint_in_the_database_does_not_hold_there() {
    let mut authority = Authority::start("Example Time");
    let machine = machine(&authority.settings());
    let mut gateway = machine.start();
    let _early = gateway.wait_stamped();
    authority.stop();
    serve_calls(&gateway, &["one"]);
    assert!(gateway.stop().success(), "{}", gateway.process.said());
    let path = machine.state().join("log/log.sqlite");
    let database = rusqlite::Connection::open(path).unwrap();
    let sql = "INSERT INTO stamp SELECT (SELECT max(size) FROM note), authority, token FROM stamp";
    assert_eq!(database.execute(sql, []).unwrap(), 1);
    drop(database);
    let verdict = auditor(&machine, &authority, "").verify(&machine.start().export());
    expect_against_policy(
        &verdict,
        "outside-time",
        "does not hold: token is over other bytes than these",
    );
}

#[test]
fn an_authority_of_the_operators_own_stands_behind_nothing_for_who_does_not_name_it() {
    let (own, named) = (Authority::start("Example Time"), Authority::start("Named"));
    let machine = machine(&own.settings());
    let gateway = machine.start();
    let _early = gateway.wait_stamped();
    let export = gateway.export();
    assert!(!Parts::read(&export).timestamps.is_empty());
    let verdict = auditor(&machine, &named, "").verify(&export);
    expect_verdict(&verdict, 0, "VERIFIED", "");
    assert_eq!(verdict.state("outside-time"), "not-checked");
    let reason = verdict.reason("outside-time");
    assert!(
        reason.contains("is of no authority that your trust file names"),
        "{reason}"
    );
    let strict = auditor(&machine, &named, AT_ONCE).verify(&export);
    expect_against_policy(
        &strict,
        "outside-time",
        "no outside clock saw the log from here to its end",
    );
}
