//! What an exporter of a part can hide: a tenant's entries, a run's, a period's; and that the honest part is complete.

use super::parts::{Leaf, Parts};
use super::*;
use countersign_record::entry::{Entry, Kind};
use countersign_record::export::Span;
use countersign_record::merkle::leaf_hash;

/// Calls of two tenants in one epoch, which is closed, and another that is open.
fn mixed() -> (Machine, Gateway) {
    let machine = Machine::enrolled();
    let mut gateway = machine.start();
    // Periods are in milliseconds: no two calls may share one.
    let tick = || std::thread::sleep(std::time::Duration::from_millis(3));
    serve_calls(&gateway, &["n1"]);
    tick();
    read(&gateway, "s1");
    tick();
    serve_calls(&gateway, &["n2"]);
    tick();
    read(&gateway, "s2");
    assert!(gateway.stop().success(), "{}", gateway.process.said());
    let gateway = machine.start();
    serve_calls(&gateway, &["n3"]);
    (machine, gateway)
}

/// A call of the other tenant.
#[track_caller]
fn read(gateway: &Gateway, line: &str) {
    let answer = gateway
        .beta()
        .call("effects.read", json!({ "line": line }))
        .unwrap();
    assert!(answer.is_ok(), "{answer:?}");
}

/// A tenant's part of the log after its epoch was closed, and what whoever hands it over made of it.
fn judged(limits: &[&str], change: impl FnOnce(&mut Parts)) -> Verdict {
    let (machine, gateway) = mixed();
    let export = gateway.export_of(limits);
    let mut parts = Parts::read(&export);
    change(&mut parts);
    machine.auditor().verify(&parts.write(&export))
}

fn run_of(export: &Path) -> String {
    let parts = Parts::read(export);
    let intent = parts.all(Kind::Intent)[0];
    let Leaf::Entry(bytes, _) = &parts.leaves[intent] else {
        panic!("it is an entry");
    };
    let entry = Entry::parse(bytes).unwrap();
    entry.place().run.as_ref().unwrap().run.to_string()
}

#[test]
fn a_tenants_part_is_complete_without_the_others_entries() {
    let verdict = judged(&["--tenant", "south"], |parts| {
        assert!(parts.leaves.iter().any(|l| !matches!(l, Leaf::Entry(..))));
    });
    expect_verdict(&verdict, 0, "VERIFIED", "");
    let complete = verdict.report["complete"].as_str().unwrap();
    assert!(
        complete.starts_with("the tenant's entries 0 to ") && complete.ends_with("none missing"),
        "{complete}"
    );
    assert_eq!(verdict.count("carried_out"), 2);
}

#[test]
fn a_hidden_entry_of_the_tenant_is_named() {
    let verdict = judged(&["--tenant", "south"], |parts| {
        let intents = parts.all(Kind::Intent);
        hide(parts, intents[0]);
    });
    assert_eq!(verdict.exit_code, 1, "{}", verdict.complaints());
    assert_eq!(verdict.state("tenant-sequences"), "fail");
}

#[test]
fn the_hidden_newest_entry_of_a_tenant_is_named() {
    let verdict = judged(&["--tenant", "south"], |parts| {
        let newest = parts.all(Kind::Run).into_iter().next_back().unwrap();
        hide(parts, newest);
    });
    expect_altered(&verdict, "tenant-heads", "the tenant's last number was");
}

#[test]
fn a_tenants_part_without_its_proof_is_not_provable() {
    let verdict = judged(&["--tenant", "south"], |parts| parts.proofs.clear());
    assert_eq!(verdict.exit_code, 3, "{}", verdict.complaints());
    assert_eq!(verdict.state("tenant-heads"), "cannot-tell");
    let complete = verdict.report["complete"].as_str().unwrap();
    assert_eq!(complete, "completeness is not shown: see tenant-heads");
}

#[test]
fn a_closed_run_is_complete_and_an_open_one_is_not_provable() {
    let (machine, gateway) = mixed();
    let closed = run_of(&gateway.export_of(&["--tenant", "south"]));
    let verdict = machine
        .auditor()
        .verify(&gateway.export_of(&["--run", &closed]));
    expect_verdict(&verdict, 0, "VERIFIED", "");
    let whole = Parts::read(&gateway.export());
    let last = whole.all(Kind::Intent).into_iter().next_back().unwrap();
    let Leaf::Entry(bytes, _) = &whole.leaves[last] else {
        panic!("it is an entry");
    };
    let entry = Entry::parse(bytes).unwrap();
    let open = entry.place().run.as_ref().unwrap().run.to_string();
    let verdict = machine
        .auditor()
        .verify(&gateway.export_of(&["--run", &open]));
    assert_eq!(verdict.exit_code, 3, "{}", verdict.complaints());
    assert_eq!(verdict.state("run-closes"), "cannot-tell");
}

#[test]
fn a_period_is_complete_between_its_edges() {
    let (machine, gateway) = mixed();
    let whole = Parts::read(&gateway.export());
    let intents = whole.all(Kind::Intent);
    let time = |place: usize| {
        let Leaf::Entry(bytes, _) = &whole.leaves[place] else {
            panic!("it is an entry");
        };
        Entry::parse(bytes).unwrap().place().at.0
    };
    let (from, until) = (time(intents[1]), time(intents[3]));
    let limits = ["--from", &from.to_string(), "--until", &until.to_string()];
    let export = gateway.export_of(&limits);
    let verdict = machine.auditor().verify(&export);
    expect_verdict(&verdict, 0, "VERIFIED", "");
    assert_eq!(verdict.count("carried_out"), 2, "{}", verdict.text);
    // Whoever hands it over leaves an entry of the period out.
    let mut parts = Parts::read(&export);
    let place = parts.all(Kind::Decision)[1];
    hide(&mut parts, place);
    let verdict = machine.auditor().verify(&parts.write(&export));
    assert_eq!(verdict.exit_code, 1, "{}", verdict.complaints());
    assert_eq!(verdict.state("period"), "fail", "{}", verdict.complaints());
}

#[test]
fn a_span_with_a_count_that_lies_is_named() {
    let verdict = judged(&["--tenant", "south"], |parts| {
        let span = parts.leaves.iter_mut().find_map(|l| match l {
            Leaf::Span(span) => Some(span),
            Leaf::Entry(..) | Leaf::Hash(_) => None,
        });
        let Span { count, .. } = span.expect("a stretch is withheld");
        *count = 1 << 63;
    });
    expect_verdict(&verdict, 1, "ALTERED OR UNTRUSTED", "framing");
}

/// Withholds an entry.
fn hide(parts: &mut Parts, place: usize) {
    let Leaf::Entry(bytes, _) = &parts.leaves[place] else {
        panic!("it is an entry");
    };
    parts.leaves[place] = Leaf::Hash(leaf_hash(bytes));
}
