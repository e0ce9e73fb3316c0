//! Attacks, each with its benign twin: the attack is denied, the log says so and by which check, and the same work done
//! properly still goes through. Both numbers are printed: attacks stopped, benign calls hindered.
//!
//! | module | what is played |
//! |---|---|
//! | [`classes`] | the classes of attacks that a gateway between agents and tools is put there against |
//! | [`complaints`] | what people complain about in other gateways |
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "test code: a panic is a failed test"
)]

mod classes;
mod complaints;

use countersign_record::body::{Decision, Verdict};
use countersign_tests::auditor::Log;
use countersign_tests::client::{Answer, Client};
use serde_json::json;

/// An attack, and what became of its scenario.
#[derive(Debug)]
struct Scenario {
    name: String,
    /// The code by which the attack was stopped; absent if it got through.
    stopped: Option<String>,
    /// Whether the benign twin got its result.
    benign: bool,
}

impl Scenario {
    fn of(name: &str, attack: &Answer, benign: &Answer) -> Self {
        Self {
            name: name.to_owned(),
            stopped: (!attack.is_ok()).then(|| attack.code().to_owned()),
            benign: benign.is_ok(),
        }
    }
}

/// Prints both numbers; every attack has to be stopped, and no benign call hindered.
fn report(all: &[Scenario]) {
    for Scenario {
        name,
        stopped,
        benign,
    } in all
    {
        let by = stopped.as_deref().unwrap_or("NOT STOPPED");
        let twin = if *benign { "works" } else { "HINDERED" };
        println!("{name:<44}{by:<40}benign twin {twin}");
    }
    let stopped = all.iter().filter(|s| s.stopped.is_some()).count();
    let hindered = all.iter().filter(|s| !s.benign).count();
    println!(
        "attacks stopped: {stopped} of {0}; benign calls hindered: {hindered} of {0}",
        all.len()
    );
    assert_eq!((stopped, hindered), (all.len(), 0), "{all:?}");
}

#[track_caller]
fn call(client: &mut Client, capability: &str, line: &str) -> Answer {
    client.call(capability, json!({ "line": line })).unwrap()
}

/// The record of an answer.
#[track_caller]
fn recorded<'l>(log: &'l Log, answer: &Answer) -> &'l Decision {
    let index = usize::try_from(answer.index().unwrap()).unwrap();
    log.0[index].decision().unwrap()
}

/// An attack stands in the log as a denial or a halt, by the code that its caller was told.
#[track_caller]
fn expect_denied(log: &Log, attack: &Answer) {
    let decision = recorded(log, attack);
    assert!(
        matches!(decision.verdict, Verdict::Deny | Verdict::StepUp),
        "{attack:?}"
    );
    assert_eq!(decision.code.as_deref(), Some(attack.code()), "{attack:?}");
}
