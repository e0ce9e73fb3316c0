//! Two agents of two tenants at once: nothing crosses over, and each sees its own only.

use countersign_record::commitment::Field;
use countersign_record::digest::TenantId;
use countersign_tests::audit::hold_against_world;
use countersign_tests::auditor::Log;
use countersign_tests::client::{Answer, Client};
use countersign_tests::machine::Machine;
use countersign_tests::site::{ALPHA, BETA};
use countersign_tests::unique;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// Clients of each agent; every one has a session and run of its own.
const CLIENTS: usize = 6;
/// Calls of each client.
const CALLS: usize = 15;

struct Told {
    agent: &'static str,
    run: String,
    line: String,
    answer: Answer,
}

fn converse(mut client: Client, agent: &'static str) -> Vec<Told> {
    let run = unique("run");
    (0..CALLS)
        .map(|n| {
            let line = unique(agent.rsplit('/').next().unwrap());
            let capability = ["effects.append", "effects.read"][n % 2];
            let call = json!({
                "capability": capability,
                "arguments": { "line": line },
                "run": run,
                "session": run,
                "idempotency_key": format!("key-{n}-{run}"),
            });
            let answer = client.call_with(call).unwrap();
            Told {
                agent,
                run: run.clone(),
                line,
                answer,
            }
        })
        .collect()
}

#[test]
fn interleaved_calls_of_two_tenants_never_cross_over() {
    let machine = Machine::enrolled();
    let gateway = machine.start();
    let threads: Vec<_> = (0..CLIENTS)
        .flat_map(|_| [(gateway.alpha(), ALPHA), (gateway.beta(), BETA)])
        .map(|(client, agent)| std::thread::spawn(move || converse(client, agent)))
        .collect();
    let told: Vec<Told> = threads
        .into_iter()
        .flat_map(|t| t.join().unwrap())
        .collect();
    for one in &told {
        assert!(one.answer.is_ok(), "{:?}", one.answer);
        assert_eq!(one.answer.text(), one.line, "an answer is its caller's own");
    }
    let export = gateway.export();
    let receipts: Vec<_> = told
        .iter()
        .map(|t| t.answer.receipt().unwrap().to_owned())
        .collect();
    machine
        .auditor()
        .verify_with(&export, &receipts)
        .assert_verified();
    let log = Log::read(&export);
    let answers: Vec<_> = told.iter().map(|t| t.answer.clone()).collect();
    hold_against_world(&log, &machine.effects(), &answers);
    records_name_their_own(&log, &told);
}

fn records_name_their_own(log: &Log, told: &[Told]) {
    let mut tenants: BTreeMap<&str, BTreeSet<TenantId>> = BTreeMap::new();
    let mut runs: BTreeMap<&str, BTreeSet<_>> = BTreeMap::new();
    for one in told {
        let entry = &log.0[usize::try_from(one.answer.index().unwrap()).unwrap()];
        let tenant = entry.payload.place.tenant.as_ref().unwrap().tenant;
        let run = entry.payload.place.run.as_ref().unwrap().run;
        tenants.entry(one.agent).or_default().insert(tenant);
        runs.entry(&one.run).or_default().insert(run);
        let disclosed = entry.disclosed(Field::Agent);
        assert!(disclosed.is_none_or(|agent| agent == one.agent));
        if let Some(released) = entry.disclosed(Field::Released) {
            assert!(
                released.contains(&one.line),
                "a record holds its own result"
            );
        }
    }
    let all: BTreeSet<_> = tenants.values().flatten().collect();
    assert!(
        tenants.values().all(|t| t.len() == 1) && all.len() == 2,
        "{tenants:?}"
    );
    let ids: BTreeSet<_> = runs.values().flatten().collect();
    assert!(
        runs.values().all(|r| r.len() == 1) && ids.len() == 2 * CLIENTS,
        "{runs:?}"
    );
}

#[test]
fn a_record_is_given_with_a_proof_to_its_own_tenant_only() {
    let machine = Machine::enrolled();
    let gateway = machine.start();
    let (mut alpha, mut beta) = (gateway.alpha(), gateway.beta());
    let answer = alpha
        .call("effects.read", json!({ "line": "mine" }))
        .unwrap();
    let path = format!("/v1/records/{}", answer.digest().unwrap());
    let own = alpha.get(&path).unwrap();
    assert_eq!(own.status, 200);
    assert_eq!(own.json()["index"], answer.index().unwrap());
    assert!(
        own.json()["checkpoint"]
            .as_str()
            .unwrap()
            .contains(&gateway.id)
    );
    assert_eq!(beta.get(&path).unwrap().status, 404);
    assert_eq!(gateway.stranger().get(&path).unwrap().status, 401);
    let nothing = format!("/v1/records/{}", "00".repeat(32));
    assert_eq!(alpha.get(&nothing).unwrap().status, 404);
}

#[test]
fn the_same_idempotency_key_of_two_tenants_is_two_keys() {
    let machine = Machine::enrolled();
    let gateway = machine.start();
    let call = |line: &str| json!({ "capability": "effects.append", "arguments": { "line": line }, "idempotency_key": "k" });
    let a = gateway.alpha().call_with(call("a")).unwrap();
    let b = gateway.beta().call_with(call("b")).unwrap();
    assert_eq!((a.text(), b.text()), ("a", "b"));
    let other = gateway.alpha().call_with(call("c")).unwrap();
    assert_eq!(other.code(), "idempotency_conflict");
    assert_eq!(machine.effects(), ["a", "b"]);
}

#[test]
fn the_budget_of_one_tenant_is_not_spent_by_the_other() {
    let machine = Machine::enrolled();
    let gateway = machine.start();
    let (mut alpha, mut beta) = (gateway.alpha(), gateway.beta());
    let scarce = |client: &mut Client| {
        let line = json!({ "line": unique("scarce") });
        client.call("effects.scarce", line).unwrap()
    };
    for _ in 0..countersign_tests::site::SCARCE_CALLS {
        assert!(scarce(&mut alpha).is_ok());
    }
    let refused = scarce(&mut alpha);
    assert_eq!(refused.code(), "rate_exceeded");
    assert!(
        refused.body["refusal"]["retry"]
            .as_str()
            .unwrap()
            .starts_with("after:")
    );
    assert!(scarce(&mut beta).is_ok());
}

#[test]
fn a_refused_approval_is_told_and_nothing_is_done() {
    let machine = Machine::enrolled();
    let gateway = machine.start();
    let erase = || {
        gateway
            .alpha()
            .call("effects.erase", json!({ "line": "x" }))
            .unwrap()
    };
    assert_eq!(erase().code(), "approval_required");
    let list = gateway.approve(&["list"]);
    let _shown = gateway.approve(&["no", list.split_whitespace().next().unwrap()]);
    assert_eq!(erase().code(), "approval_refused");
    assert!(machine.effects().is_empty());
    machine
        .auditor()
        .verify(&gateway.export())
        .assert_verified();
}
