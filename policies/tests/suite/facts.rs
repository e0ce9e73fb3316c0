//! Facts can be kept and used again.

use crate::fixture::{DELETE, ERASURE, READER, SELECT, engine, example, facts, plus, query};
use countersign_policies::decision::{
    BudgetFact, FACTS_VERSION, FlowFact, Outcome, PolicyFault, ShapeFact,
};
use countersign_policies::input::{Input, Value};
use countersign_policies::{Facts, SiteFiles};
use countersign_record::body::Mode;
use countersign_record::cbor::Cbor;
use countersign_record::digest::{ArtifactDigest, UnixMillis};
use proptest::prelude::*;

#[test]
fn the_same_facts_give_the_same_verdict_again() {
    let files = example();
    let first = engine(&files);
    let facts = facts(&first, ERASURE, "write_query", &query(DELETE));
    let verdict = first.decide(&facts);
    let again = Facts::from_bytes(&facts.to_bytes()).unwrap();
    assert_eq!(engine(&files).decide(&again), verdict);
}

#[test]
fn facts_of_another_version_are_refused() {
    let engine = engine(&example());
    let mut facts = facts(&engine, ERASURE, "write_query", &query(DELETE));
    facts.version = FACTS_VERSION + 1;
    assert_eq!(engine.decide(&facts).policies, ["builtin:facts-version"]);
}

#[test]
fn properties_out_of_order_are_not_read() {
    // {"b": true, "a": true} as pairs: [["b", [0, true]], ["a", [0, true]]]
    let bytes = [
        0x82, 0x82, 0x61, b'b', 0x82, 0x00, 0xf5, 0x82, 0x61, b'a', 0x82, 0x00, 0xf5,
    ];
    assert!(Input::from_bytes(&bytes).is_err());
}

/// The example, with results of its queries traced, and a rule about them.
fn traced() -> SiteFiles {
    let mut files = example();
    let read = files.0.get_mut("capabilities/read_query.toml").unwrap();
    *read = read.replacen("retention", "trace_results = true\nretention", 1);
    let rule = r#"
@id("nothing-confidential-leaves")
forbid (principal, action, resource) when { context.flow.labels.contains("CONFIDENTIAL") };
"#;
    let with_rule = plus("policies/flow.cedar", rule);
    files.0.extend(
        with_rule
            .0
            .into_iter()
            .filter(|(path, _)| path == "policies/flow.cedar"),
    );
    files
}

#[test]
fn policy_sees_what_arguments_repeat_and_a_call_that_nobody_looked_at_is_denied() {
    let engine = engine(&traced());
    let mut facts = facts(&engine, READER, "read_query", &query(SELECT));
    let flow = |labels: &[&str]| {
        Some(FlowFact {
            labels: labels.iter().map(ToString::to_string).collect(),
            sources: vec![],
            arguments: vec![],
            since: UnixMillis(1),
            dropped: false,
        })
    };
    facts.flow = flow(&["INTERNAL"]);
    assert_eq!(engine.decide(&facts).outcome, Outcome::Allow);
    facts.flow = flow(&["CONFIDENTIAL", "INTERNAL"]);
    let decision = engine.decide(&facts);
    assert_eq!(decision.outcome, Outcome::Deny);
    assert_eq!(decision.policies, ["nothing-confidential-leaves"]);
    facts.flow = None;
    let decision = engine.decide(&facts);
    assert_eq!(decision.outcome, Outcome::Deny);
    assert_eq!(decision.errors, [PolicyFault::Facts]);
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Long),
        ".{0,12}".prop_map(Value::Text),
    ];
    leaf.prop_recursive(2, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Set),
            prop::collection::btree_map("[a-z-]{0,6}", inner, 0..4).prop_map(Value::Record),
        ]
    })
}

proptest! {
    #[test]
    fn facts_come_back_as_they_were(
        input in prop::collection::btree_map("[a-z_]{1,8}", value(), 0..4),
        user in prop::option::of(".{0,10}"),
        approvers in prop::collection::vec("[a-z]{1,6}", 0..3),
        limit in prop::option::of(any::<u64>()),
        assurance in any::<u8>(),
        dropped in prop::option::of(any::<bool>()),
    ) {
        let facts = Facts {
            version: FACTS_VERSION,
            tenant: "demo".into(),
            agent: ERASURE.into(),
            assurance,
            user,
            capability: "customers.write_query".into(),
            descriptor: ArtifactDigest([9; 32]),
            requested: Mode::Network,
            input: Input(input),
            shapes: vec![ShapeFact { argument: "query".into(), shape: "s".into() }],
            approvers,
            budget: BudgetFact { calls: 3, limit },
            time: UnixMillis(12),
            token: None,
            flow: dropped.map(|dropped| FlowFact {
                labels: vec!["CONFIDENTIAL".into()],
                sources: vec!["customers.read_query".into()],
                arguments: vec!["query".into()],
                since: UnixMillis(11),
                dropped,
            }),
        };
        let bytes = facts.to_bytes();
        prop_assert_eq!(Facts::from_bytes(&bytes).unwrap(), facts);
    }

    #[test]
    fn bytes_that_are_read_are_written_the_same(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(input) = Input::from_bytes(&bytes) {
            prop_assert_eq!(input.to_bytes(), bytes);
        }
    }
}
