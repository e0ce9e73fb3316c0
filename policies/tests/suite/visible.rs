//! The list of tools that an agent sees.

use crate::fixture::{DELETE, ERASURE, READER, SELECT, engine, example, facts, json, plus, query};
use countersign_policies::decision::BudgetFact;
use countersign_policies::{Engine, Outcome, Viewer};
use countersign_record::digest::UnixMillis;
use proptest::prelude::*;

fn listed(engine: &Engine, agent: &str, assurance: u8) -> Vec<String> {
    let viewer = Viewer {
        tenant: "demo",
        agent,
        assurance,
    };
    engine
        .visible(&viewer)
        .into_iter()
        .map(|c| c.id.clone())
        .collect()
}

#[test]
fn an_agent_sees_what_it_could_be_permitted() {
    let engine = engine(&example());
    assert_eq!(
        listed(&engine, READER, 0),
        [
            "customers.describe_table",
            "customers.list_tables",
            "customers.read_query"
        ]
    );
    assert_eq!(
        listed(&engine, ERASURE, 3),
        [
            "customers.describe_table",
            "customers.list_tables",
            "customers.read_query",
            "customers.write_query"
        ]
    );
}

#[test]
fn an_agent_that_is_not_registered_sees_nothing() {
    assert_eq!(
        listed(&engine(&example()), "agent:demo/nobody@1", 3),
        Vec::<String>::new()
    );
}

#[test]
fn another_tenant_sees_nothing() {
    let engine = engine(&example());
    assert!(
        engine
            .visible(&Viewer {
                tenant: "other",
                agent: READER,
                assurance: 3
            })
            .is_empty()
    );
}

#[test]
fn what_is_surely_forbidden_is_not_listed() {
    let forbid = "@id(\"no\")\nforbid (principal == Agent::\"agent:demo/reader@1\", action == Action::\"customers.read_query\", resource);";
    assert_eq!(
        listed(&engine(&plus("policies/more.cedar", forbid)), READER, 3),
        ["customers.describe_table", "customers.list_tables"]
    );
}

#[test]
fn what_needs_more_assurance_is_listed_with_it_only() {
    let forbid = "@id(\"no\")\nforbid (principal, action == Action::\"customers.read_query\", resource) unless { principal.assurance >= 3 };";
    let engine = engine(&plus("policies/more.cedar", forbid));
    assert!(!listed(&engine, READER, 2).contains(&"customers.read_query".to_owned()));
    assert!(listed(&engine, READER, 3).contains(&"customers.read_query".to_owned()));
}

/// A policy over everything that a policy can look at.
fn policy(id: usize) -> impl Strategy<Value = String> {
    let effect = prop_oneof!["permit", "forbid"];
    let principal = prop_oneof![
        Just("principal".to_owned()),
        Just("principal == Agent::\"agent:demo/reader@1\"".to_owned()),
        Just("principal in Group::\"erasure-desk\"".to_owned()),
        Just("principal in Tenant::\"demo\"".to_owned()),
    ];
    let action = prop_oneof![
        Just("action".to_owned()),
        Just("action == Action::\"customers.read_query\"".to_owned()),
        Just("action in Action::\"adapter:customers\"".to_owned()),
        Just(
            "action in [Action::\"customers.write_query\", Action::\"customers.list_tables\"]"
                .to_owned()
        ),
    ];
    let condition = prop_oneof![
        Just(String::new()),
        Just("when { principal.assurance >= 2 }".to_owned()),
        Just("when { context.mode == \"read_only\" }".to_owned()),
        Just("unless { context has user && context.user == \"eve\" }".to_owned()),
        Just("when { context.time_ms > 500 && resource.mode == \"read_only\" }".to_owned()),
        Just("when { context.budget.calls < 3 }".to_owned()),
        Just("unless { context.approvers.contains(\"privacy-officer\") }".to_owned()),
    ];
    (effect, principal, action, condition).prop_map(
        move |(effect, principal, action, condition)| {
            format!("@id(\"r{id}\")\n{effect} ({principal}, {action}, resource) {condition};\n")
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn what_is_not_listed_is_denied_whatever_the_call(
        policies in (policy(0), policy(1), policy(2)),
        calls in prop::collection::vec((0u8..5, prop::option::of("eve|adam"), 0u64..1000, 0u64..6, any::<bool>()), 8),
    ) {
        let mut files = example();
        files.0.insert("policies/customers.cedar".into(), format!("{}{}{}", policies.0, policies.1, policies.2));
        let engine = engine(&files);
        for (assurance, user, time, used, approved) in calls {
            for agent in [READER, ERASURE] {
                let listed = listed(&engine, agent, assurance);
                let tools = [
                    ("read_query", query(SELECT)),
                    ("write_query", query(DELETE)),
                    ("list_tables", json("{}")),
                    ("describe_table", json(r#"{"table_name":"customers"}"#)),
                ];
                for (tool, arguments) in tools {
                    let mut facts = facts(&engine, agent, tool, &arguments);
                    facts.assurance = assurance;
                    facts.user = user.clone();
                    facts.time = UnixMillis(time);
                    facts.budget = BudgetFact { calls: used, limit: None };
                    facts.approvers = if approved { vec!["privacy-officer".into()] } else { Vec::new() };
                    let outcome = engine.decide(&facts).outcome;
                    if !listed.contains(&facts.capability) {
                        prop_assert_eq!(outcome, Outcome::Deny, "{} of {}", tool, agent);
                    }
                }
            }
        }
    }
}
