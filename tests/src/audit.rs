//! What must hold of every export, whatever happened to the gateway.
//!
//! In: a verified export, the effects that tools had, the answers that clients received.
//! The verifier has judged the log by itself; here it is held against the world outside.

use crate::auditor::Log;
use crate::client::Answer;
use countersign_record::body::Effect;
use countersign_record::digest::CallId;
use std::collections::{BTreeMap, BTreeSet};

/// Holds a log against what tools did and clients saw.
///
/// 1. every intent has exactly one settlement, and names the intent;
/// 2. no effect lacks an intent, and none happened twice;
/// 3. every answer stands in the log with the digest, index and verdict that it named, once;
/// 4. a result that was released comes from a call that is recorded as sent.
///
/// # Panics
/// If one of them does not hold.
#[track_caller]
pub fn hold_against_world(log: &Log, effects: &[String], answers: &[Answer]) {
    every_intent_is_settled_once(log);
    no_effect_lacks_an_intent(log, effects);
    every_answer_is_in_the_log(log, answers);
}

#[track_caller]
fn every_intent_is_settled_once(log: &Log) {
    let mut settled: BTreeMap<CallId, usize> = BTreeMap::new();
    for (entry, decision) in log.decisions() {
        if let Some(intent) = &decision.intent {
            *settled.entry(decision.call).or_default() += 1;
            let index = usize::try_from(intent.index).expect("small");
            let named = &log.0[index];
            assert_eq!(
                named.digest, intent.digest,
                "the settlement names another entry"
            );
            let sealed = named.intent().expect("the settlement names an intent");
            assert_eq!(
                sealed.call, decision.call,
                "the settlement names another call"
            );
            assert!(
                intent.index < entry.payload.place.index,
                "settled before it was sealed"
            );
        }
    }
    let mut calls = BTreeSet::new();
    for (_, intent) in log.intents() {
        assert!(
            calls.insert(intent.call),
            "call {} was sealed twice",
            intent.call
        );
        let count = settled.get(&intent.call).copied().unwrap_or(0);
        assert_eq!(count, 1, "settlements of call {}", intent.call);
    }
}

#[track_caller]
fn no_effect_lacks_an_intent(log: &Log, effects: &[String]) {
    let sealed: BTreeSet<String> = log
        .intents()
        .filter_map(|(entry, _)| entry.line())
        .collect();
    let mut seen = BTreeSet::new();
    for line in effects {
        assert!(sealed.contains(line), "effect {line} has no intent");
        assert!(seen.insert(line), "effect {line} happened twice");
    }
}

#[track_caller]
fn every_answer_is_in_the_log(log: &Log, answers: &[Answer]) {
    let mut seen = BTreeSet::new();
    for answer in answers {
        let Some(digest) = answer.digest() else {
            assert!(
                !answer.is_ok(),
                "a result was released without a record: {answer:?}"
            );
            continue;
        };
        let index = usize::try_from(answer.index().expect("an index")).expect("small");
        let entry = log
            .0
            .get(index)
            .unwrap_or_else(|| panic!("entry {index} is missing"));
        assert_eq!(
            entry.digest.to_string(),
            digest,
            "entry {index} is another one"
        );
        assert!(seen.insert(index), "two answers name entry {index}");
        let decision = entry.decision().expect("an answer names a Decision Record");
        assert_eq!(
            decision.verdict.name(),
            answer.body["audit"]["verdict"],
            "entry {index}"
        );
        if answer.is_ok() && decision.intent.is_some() {
            let sent = matches!(decision.effect, Effect::Dispatched | Effect::Confirmed);
            assert!(sent, "entry {index} says {}", decision.effect.name());
        }
    }
}
