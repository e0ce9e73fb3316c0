//! What witnesses see: a disk and a chip that were put back together, a second history, a cut end; and what happens without them.

use super::*;
use countersign_record::body::{Effect, EventKind};
use countersign_record::entry::Body;
use countersign_tests::auditor::Log;
use countersign_tests::witness::Witness;

/// Calls of the agent of the south leave only once witnesses have cosigned their intent.
const WITNESSED: &str = r#"
@id("seen-first")
@obligation("witnessed")
permit (principal in Tenant::"south", action == Action::"effects.append", resource);
"#;

/// A machine whose log these witnesses know, with the sections of its settings that name them.
fn machine(witnesses: &mut [(&mut Witness, &str, bool)], rule: &str) -> Machine {
    let machine = Machine::enrolled();
    let mut gateway = machine.start();
    let identity = gateway.identity();
    assert!(gateway.stop().success(), "{}", gateway.process.said());
    for (witness, organisation, own) in witnesses {
        witness.know(&identity);
        machine
            .site()
            .append_settings(&witness.settings(organisation, *own));
    }
    machine.site().append_settings(rule);
    let policies = std::fs::read_to_string(machine.site().file("policies/tests.cedar")).unwrap();
    machine
        .site()
        .write("policies/tests.cedar", &format!("{policies}{WITNESSED}"));
    machine.site().edit("\nversion = 1\n", "\nversion = 2\n");
    machine.site().build();
    machine
}

/// A call that has to be witnessed.
#[track_caller]
fn seen(gateway: &Gateway, line: &str) -> Answer {
    gateway
        .beta()
        .call("effects.append", json!({ "line": line }))
        .unwrap()
}

#[track_caller]
fn serve_seen(gateway: &Gateway, line: &str) {
    let answer = seen(gateway, line);
    assert!(answer.is_ok(), "{answer:?}\n{}", gateway.process.said());
}

#[test]
fn a_call_leaves_only_once_two_organisations_have_cosigned_its_intent() {
    let (mut one, mut two) = (Witness::start("one.test/w"), Witness::start("two.test/w"));
    let mut list = [(&mut one, "One", false), (&mut two, "Two", false)];
    let machine = machine(&mut list, "[witness_rule]\nquorum = 2\n");
    let gateway = machine.start();
    serve_seen(&gateway, "seen by two");
    serve_calls(&gateway, &["seen by none"]);
    let export = gateway.export();
    let log = Log::read(&export);
    let said: Vec<bool> = log.decisions().map(|(_, d)| d.witnessed).collect();
    assert_eq!(said, [true, false]);
    let trust = one.trusted("One", false) + &two.trusted("Two", false);
    let trust = trust + "[log]\nmin_witnesses = 2\n";
    let verdict = known(&machine, &trust).verify(&export);
    expect_verdict(&verdict, 0, "VERIFIED", "");
    assert_eq!(
        verdict.report["axes"]["witnessed"],
        "WITNESSED 2 of 2 by One, Two"
    );
    for check in [
        "witnesses",
        "witnessed-calls",
        "cosignatures",
        "outside-time",
    ] {
        assert_eq!(
            verdict.state(check),
            "pass",
            "{check}: {}",
            verdict.reason(check)
        );
    }
    let health = gateway.stranger().get("/healthz").unwrap().json();
    assert_eq!(health["witnesses"][0]["organisation"], "One");
    assert!(health["witnesses"][1]["cosigned"].as_u64().unwrap() > 0);
}

/// An auditor who also knows the settings that this test's first start had.
fn known(machine: &Machine, trust: &str) -> countersign_tests::auditor::Auditor {
    let text = std::fs::read_to_string(machine.site().settings()).unwrap();
    let first = text.split("\n[[witnesses]]").next().unwrap();
    let first = first.replace("\nversion = 2\n", "\nversion = 1\n");
    machine
        .auditor()
        .knowing_settings(first.as_bytes())
        .trusting(trust)
}

#[test]
fn without_its_witness_a_call_that_needs_one_does_not_leave_and_others_do() {
    let mut witness = Witness::start("one.test/w");
    let machine = machine(
        &mut [(&mut witness, "One", false)],
        "[witness_rule]\nquorum = 1\nwait_seconds = 1\n",
    );
    witness.stop();
    let mut gateway = machine.start();
    let refused = seen(&gateway, "unseen");
    assert_eq!(
        (refused.is_ok(), refused.code()),
        (false, "not_witnessed"),
        "{refused:?}"
    );
    serve_calls(&gateway, &["plain"]);
    witness.restart();
    // A witness that failed rests for a second at most while a call waits for it.
    let answer = (0..20)
        .map(|_| seen(&gateway, "seen again"))
        .find(Answer::is_ok);
    assert!(answer.is_some(), "{}", gateway.process.said());
    assert_eq!(machine.effects(), ["plain", "seen again"]);
    assert!(gateway.stop().success(), "{}", gateway.process.said());
    let gateway = machine.start();
    let log = Log::read(&gateway.export());
    let (_, decision) = log.decisions().next().unwrap();
    assert_eq!(
        (
            decision.effect,
            decision.code.as_deref(),
            decision.witnessed
        ),
        (Effect::None, Some("not_witnessed"), false)
    );
    let counted = log.0.iter().any(|e| {
        matches!(&e.payload.body, Body::Event(event) if event.kind == EventKind::Witness && event.count > 0)
    });
    assert!(counted, "no entry says that a witness was not there");
    let trust = witness.trusted("One", false);
    expect_verdict(
        &known(&machine, &trust).verify(&gateway.export()),
        0,
        "VERIFIED",
        "",
    );
}

#[test]
fn the_operators_own_witness_lets_no_call_leave_and_does_not_count() {
    let mut own = Witness::start("own.test/w");
    let machine = machine(&mut [(&mut own, "Operator", true)], "");
    let gateway = machine.start();
    let denied = seen(&gateway, "unseen");
    assert_eq!((denied.is_ok(), denied.code()), (false, "policy_denied"));
    assert_eq!(machine.effects(), Vec::<String>::new());
    let export = gateway.export();
    let trust = own.trusted("Operator", true);
    let verdict = known(&machine, &trust).verify(&export);
    expect_verdict(&verdict, 0, "VERIFIED", "");
    assert_eq!(verdict.report["axes"]["witnessed"], "WITNESSED 0 of 0");
    let log = Log::read(&export);
    let (_, decision) = log.decisions().next().unwrap();
    assert!(
        decision
            .controls
            .contains(&"obligation:witnessed".to_owned())
    );
    assert!(decision.intent.is_none());
}

/// One machine, lived twice from the same disk and chip; the witness saw the first life.
fn put_back(witness: &mut Witness) -> Machine {
    let mut machine = machine(&mut [(witness, "One", false)], "");
    machine.stop_tpm();
    let (state, tpm) = (machine.snapshot_state(), machine.snapshot_tpm());
    machine.start_tpm();
    let mut gateway = machine.start();
    serve_seen(&gateway, "shown to the witness");
    gateway.kill();
    machine.stop_tpm();
    state.restore();
    tpm.restore();
    machine.start_tpm();
    machine
}

#[test]
fn a_disk_and_a_chip_put_back_together_are_held_because_a_witness_knows_better() {
    let mut witness = Witness::start("one.test/w");
    let machine = put_back(&mut witness);
    let gateway = machine.boot();
    assert_eq!(gateway.word, "held", "{}", gateway.process.said());
    let size = witness.size(&gateway.id);
    let health = gateway.stranger().get("/healthz").unwrap().json();
    let entries = health["entries"].as_u64().unwrap();
    let words = format!(
        "held: the log has {entries} entries, witness one.test/w has cosigned {size}; entries are missing"
    );
    assert_eq!(health["held"], json!(words));
    expect_refusal(&gateway, "gateway_held");
}

#[test]
fn governance_can_let_a_gateway_go_on_that_a_witness_contradicts_and_every_verdict_says_so() {
    let mut witness = Witness::start("one.test/w");
    let machine = put_back(&mut witness);
    let mut held = machine.boot();
    let size = witness.size(&held.id);
    held.stop();
    machine.recover("the disk was restored by mistake");
    let mut gateway = machine.start();
    serve_calls(&gateway, &["second life"]);
    assert!(gateway.stop().success(), "{}", gateway.process.said());
    // What was accepted once does not hold it again; the witness stays where it is.
    let gateway = machine.start();
    let export = gateway.export();
    let trust = witness.trusted("One", false) + "[log]\nmax_unquoted_tail_seconds = 3600\n";
    let verdict = known(&machine, &trust).verify(&export);
    expect_against_policy(
        &verdict,
        "gaps",
        &format!("a witness had cosigned {size} entries that the log does not continue"),
    );
    // Whoever asks the witness sees more than that.
    let theirs = witness.checkpoint(&gateway.id, machine.path());
    let convicted = known(&machine, &trust).verify_given(&export, &[], &[theirs]);
    assert_eq!(convicted.exit_code, 1, "{}", convicted.complaints());
    assert!(
        ["root", "leaves"].contains(&convicted.first_failure()),
        "{}",
        convicted.complaints()
    );
}

#[test]
fn two_histories_shown_to_two_auditors_are_named_by_the_witnesses_checkpoint() {
    let mut witness = Witness::start("one.test/w");
    let mut machine = machine(&mut [(&mut witness, "One", false)], "");
    machine.stop_tpm();
    let (state, tpm) = (machine.snapshot_state(), machine.snapshot_tpm());
    machine.start_tpm();
    let live = |machine: &mut Machine, calls: &[&str]| {
        let mut gateway = machine.start();
        serve_calls(&gateway, calls);
        let export = gateway.export();
        let id = gateway.id.clone();
        gateway.kill();
        machine.stop_tpm();
        state.restore();
        tpm.restore();
        machine.start_tpm();
        (export, id)
    };
    // The operator cuts the wire to the witness for the second life, which the settings' rule allows.
    witness.stop();
    let (shown_to_one, _) = live(&mut machine, &["a", "b", "c"]);
    witness.restart();
    let mut gateway = machine.start();
    serve_seen(&gateway, "shown to the witness");
    let (shown_to_another, id) = (gateway.export(), gateway.id.clone());
    gateway.kill();
    let trust = witness.trusted("One", false) + "[log]\nmax_unquoted_tail_seconds = 3600\n";
    let auditor = known(&machine, &trust);
    let theirs = [witness.checkpoint(&id, machine.path())];
    // By itself each is genuine.
    expect_verdict(&auditor.verify(&shown_to_one), 0, "VERIFIED", "");
    let kept = auditor.verify_given(&shown_to_another, &[], &theirs);
    expect_verdict(&kept, 0, "VERIFIED", "");
    let convicted = auditor.verify_given(&shown_to_one, &[], &theirs);
    expect_altered(&convicted, "root", "the gateway signed two histories");
}

#[test]
fn an_export_that_leaves_out_the_end_is_convicted_by_the_witnesses_checkpoint() {
    let mut witness = Witness::start("one.test/w");
    let machine = machine(&mut [(&mut witness, "One", false)], "");
    let gateway = machine.start();
    let older = gateway.export();
    serve_seen(&gateway, "left out");
    let theirs = [witness.checkpoint(&gateway.id, machine.path())];
    let trust = witness.trusted("One", false);
    let auditor = known(&machine, &trust);
    expect_verdict(&auditor.verify(&older), 0, "VERIFIED", "");
    let convicted = auditor.verify_given(&older, &[], &theirs);
    expect_altered(
        &convicted,
        "leaves",
        "its end was cut off, or it is older than that checkpoint",
    );
    let whole = auditor.verify_given(&gateway.export(), &[], &theirs);
    expect_verdict(&whole, 0, "VERIFIED", "");
}

#[test]
fn where_the_start_requires_a_witness_no_call_is_taken_before_it_has_cosigned_this_epoch() {
    let mut witness = Witness::start("one.test/w");
    let machine = machine(
        &mut [(&mut witness, "One", false)],
        "[witness_rule]\nquorum = 1\nstart_requires = 1\n",
    );
    witness.stop();
    let gateway = machine.start();
    expect_refusal(&gateway, "not_witnessed");
    let ready = gateway.stranger().get("/readyz").unwrap();
    assert_eq!(
        (ready.status, ready.json()["state"].clone()),
        (503, json!("not witnessed"))
    );
    witness.restart();
    gateway.wait_ready();
    serve_calls(&gateway, &["after the witness"]);
    assert_eq!(machine.effects(), ["after the witness"]);
}

#[test]
fn an_epoch_that_was_closed_was_seen_to_its_last_entry() {
    let mut witness = Witness::start("one.test/w");
    let machine = machine(&mut [(&mut witness, "One", false)], "");
    let mut gateway = machine.start();
    serve_calls(&gateway, &["one"]);
    let id = gateway.id.clone();
    assert!(gateway.stop().success(), "{}", gateway.process.said());
    let size = witness.size(&id);
    let gateway = machine.start();
    let log = Log::read(&gateway.export());
    let close = log
        .0
        .iter()
        .rposition(|e| matches!(e.payload.body, Body::Close(_)));
    assert_eq!(close.unwrap() + 1, usize::try_from(size).unwrap());
    assert!(witness.list().contains(&format!("countersign/{id}: size ")));
    let trust = witness.trusted("One", false) + "[log]\nmin_witnesses = 1\n";
    expect_verdict(
        &known(&machine, &trust).verify(&gateway.export()),
        0,
        "VERIFIED",
        "",
    );
}

#[test]
fn a_part_of_the_log_brings_the_checkpoints_that_show_that_its_calls_were_witnessed() {
    let mut witness = Witness::start("one.test/w");
    let machine = machine(&mut [(&mut witness, "One", false)], "");
    let mut gateway = machine.start();
    serve_calls(&gateway, &["of others"]);
    serve_seen(&gateway, "its own");
    serve_calls(&gateway, &["of others again", "and again"]);
    // The close says how many entries each tenant has.
    assert!(gateway.stop().success(), "{}", gateway.process.said());
    let gateway = machine.start();
    let export = gateway.export_of(&["--tenant", "south"]);
    let trust = witness.trusted("One", false);
    let verdict = known(&machine, &trust).verify(&export);
    expect_verdict(&verdict, 0, "VERIFIED", "");
    assert!(verdict.count("withheld") > 0);
    assert_eq!(
        verdict.state("witnessed-calls"),
        "pass",
        "{}",
        verdict.reason("witnessed-calls")
    );
}
