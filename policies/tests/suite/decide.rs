//! Verdicts.

use crate::fixture::{
    DELETE, ERASURE, READER, SELECT, bundle, engine, example, facts, json, plus, public, query,
    with,
};
use countersign_policies::decision::{Modes, PolicyFault};
use countersign_policies::{Engine, Outcome, PolicyDecision, StepUp};
use countersign_record::body::Mode;
use countersign_record::digest::ArtifactDigest;

fn read(engine: &Engine) -> PolicyDecision {
    engine.decide(&facts(engine, READER, "read_query", &query(SELECT)))
}

fn delete(engine: &Engine) -> PolicyDecision {
    engine.decide(&facts(engine, ERASURE, "write_query", &query(DELETE)))
}

fn with_policy(text: &str) -> Engine {
    engine(&plus("policies/more.cedar", text))
}

fn denied_by(decision: &PolicyDecision, rule: &str) {
    assert_eq!(decision.outcome, Outcome::Deny);
    assert_eq!(decision.policies, [rule]);
}

#[test]
fn a_permitted_read_is_allowed_and_names_its_policy() {
    let decision = read(&engine(&example()));
    assert_eq!(decision.outcome, Outcome::Allow);
    assert_eq!(decision.policies, ["demo-may-read"]);
    assert_eq!(decision.modes.effective, Mode::ReadOnly);
}

#[test]
fn what_no_policy_permits_is_denied() {
    let engine = engine(&example());
    denied_by(
        &engine.decide(&facts(&engine, READER, "write_query", &query(DELETE))),
        "builtin:default-deny",
    );
}

#[test]
fn a_deletion_halts_for_one_privacy_officer() {
    let engine = engine(&example());
    let decision = delete(&engine);
    let step_up = StepUp {
        quorum: 1,
        approvers: vec!["privacy".into()],
    };
    assert_eq!(decision.outcome, Outcome::StepUp(step_up.clone()));
    assert_eq!(
        decision.policies,
        [
            "builtin:destructive-needs-approval",
            "erasure-may-delete-one"
        ]
    );
    assert_eq!(decision.obligations.words(), ["step_up:1:privacy"]);
    let eligible = engine.eligible_approvers("demo", "customers.write_query", &step_up);
    assert_eq!(
        eligible.iter().map(|a| a.id.as_str()).collect::<Vec<_>>(),
        ["privacy-officer"]
    );
}

#[test]
fn a_destructive_capability_halts_even_if_the_policy_does_not_say_so() {
    let file = "policies/customers.cedar";
    let obligation = "@obligation(\"step_up\")\n@quorum(\"1\")\n@approvers(\"privacy\")\n";
    let decision = delete(&engine(&with(file, obligation, "")));
    assert_eq!(
        decision.outcome,
        Outcome::StepUp(StepUp {
            quorum: 1,
            approvers: vec!["privacy".into()]
        })
    );
    assert!(
        decision
            .policies
            .contains(&"builtin:destructive-needs-approval".to_owned())
    );
}

#[test]
fn a_destructive_capability_halts_also_under_a_lower_mode() {
    let engine = engine(&example());
    let mut facts = facts(&engine, ERASURE, "write_query", &query(DELETE));
    facts.requested = Mode::ReadOnly;
    let decision = engine.decide(&facts);
    assert!(matches!(decision.outcome, Outcome::StepUp(_)));
    let modes = Modes {
        requested: Mode::ReadOnly,
        effective: Mode::ReadOnly,
        highest: Mode::Destructive,
    };
    assert_eq!(decision.modes, modes);
}

#[test]
fn a_mode_above_the_declared_one_is_denied() {
    let engine = engine(&example());
    let mut facts = facts(&engine, READER, "read_query", &query(SELECT));
    facts.requested = Mode::LocalWrite;
    denied_by(&engine.decide(&facts), "builtin:mode-above-declared");
}

#[test]
fn an_approval_that_nobody_can_give_is_a_denial() {
    // Each of two permits asks for somebody who is there; nobody is of both groups.
    let mut files = plus(
        "policies/more.cedar",
        "@id(\"second\")\n@obligation(\"step_up\")\n@quorum(\"1\")\n@approvers(\"second\")\n\
         permit (principal, action == Action::\"customers.write_query\", resource);",
    );
    let officer = files.0["approvers/privacy.toml"].clone();
    let second = officer
        .replace("privacy-officer", "second")
        .replace("[\"privacy\", \"exporter\"]", "[\"second\"]")
        .replace(&public(8).to_string(), &public(9).to_string());
    files.0.insert("approvers/second.toml".into(), second);
    let toml = files.0.get_mut("capabilities/write_query.toml").unwrap();
    *toml = toml.replace("approvers = \"privacy\"\n", "");
    denied_by(&delete(&engine(&files)), "builtin:quorum-unreachable");
}

#[test]
fn a_forbid_wins_over_every_permit() {
    let engine = with_policy(
        "@id(\"no\")\nforbid (principal == Agent::\"agent:demo/reader@1\", action, resource);",
    );
    denied_by(&read(&engine), "no");
}

#[test]
fn a_forbid_for_another_agent_does_not_bind() {
    let engine = with_policy(
        "@id(\"no\")\nforbid (principal == Agent::\"agent:demo/erasure@1\", action, resource);",
    );
    assert_eq!(read(&engine).outcome, Outcome::Allow);
}

#[test]
fn a_forbid_that_cannot_be_evaluated_denies() {
    // 9223372036854775807 + time overflows; the permit would otherwise stand.
    let engine = with_policy(
        "@id(\"no\")\nforbid (principal, action, resource) when { context.time_ms + 9223372036854775807 < 0 };",
    );
    let decision = read(&engine);
    denied_by(&decision, "builtin:evaluation-error");
    assert_eq!(
        decision.errors,
        [PolicyFault::Evaluation {
            policy: "no".into()
        }]
    );
}

#[test]
fn a_permit_that_cannot_be_evaluated_denies_although_another_permits() {
    let engine = with_policy(
        "@id(\"odd\")\npermit (principal, action, resource) when { context.time_ms + 9223372036854775807 < 0 };",
    );
    denied_by(&read(&engine), "builtin:evaluation-error");
}

#[test]
fn facts_of_other_types_than_the_schema_are_denied() {
    let engine = engine(&example());
    let mut facts = facts(&engine, READER, "read_query", &query(SELECT));
    facts.input.0.clear();
    let decision = engine.decide(&facts);
    denied_by(&decision, "builtin:evaluation-error");
    assert_eq!(decision.errors, [PolicyFault::Facts]);
}

#[test]
fn an_unknown_tenant_is_denied() {
    let engine = engine(&example());
    let mut facts = facts(&engine, READER, "read_query", &query(SELECT));
    facts.tenant = "other".into();
    denied_by(&engine.decide(&facts), "builtin:unknown-tenant");
}

#[test]
fn an_unknown_agent_is_denied() {
    let engine = engine(&example());
    let mut facts = facts(&engine, READER, "read_query", &query(SELECT));
    facts.agent = "agent:demo/nobody@1".into();
    denied_by(&engine.decide(&facts), "builtin:unknown-agent");
}

#[test]
fn a_level_of_assurance_that_does_not_exist_is_denied() {
    let engine = engine(&example());
    let mut facts = facts(&engine, READER, "read_query", &query(SELECT));
    facts.assurance = 5;
    denied_by(&engine.decide(&facts), "builtin:unknown-agent");
}

#[test]
fn an_agent_of_one_tenant_is_unknown_to_the_other() {
    let mut files = with(
        "countersign.toml",
        "[listen]",
        "[[tenants]]\nid = \"00000000000000000000000000000001\"\nname = \"other\"\n\n[listen]",
    );
    let cedar = files.0.get_mut("policies/customers.cedar").unwrap();
    cedar.push_str("\n@id(\"all-read\")\npermit (principal, action == Action::\"customers.read_query\", resource);\n");
    let engine = engine(&files);
    assert_eq!(read(&engine).outcome, Outcome::Allow);
    let mut facts = facts(&engine, READER, "read_query", &query(SELECT));
    facts.tenant = "other".into();
    denied_by(&engine.decide(&facts), "builtin:unknown-agent");
}

#[test]
fn an_unregistered_tool_does_not_exist() {
    let engine = engine(&example());
    assert!(
        engine
            .capability("demo", "customers", "create_table")
            .is_none()
    );
    let mut facts = facts(&engine, READER, "read_query", &query(SELECT));
    facts.capability = "customers.create_table".into();
    denied_by(&engine.decide(&facts), "builtin:unknown-capability");
}

#[test]
fn a_changed_descriptor_is_denied() {
    let engine = engine(&example());
    let mut facts = facts(&engine, READER, "read_query", &query(SELECT));
    facts.descriptor = ArtifactDigest([0; 32]);
    denied_by(&engine.decide(&facts), "builtin:descriptor-not-pinned");
}

#[test]
fn a_spent_budget_is_denied() {
    let engine = engine(&example());
    let mut facts = facts(&engine, READER, "read_query", &query(SELECT));
    facts.budget.calls = 600;
    denied_by(&engine.decide(&facts), "builtin:budget-spent");
    facts.budget.calls = 599;
    assert_eq!(engine.decide(&facts).outcome, Outcome::Allow);
}

#[test]
fn the_strongest_obligations_of_all_permits_count() {
    let mut files = plus(
        "policies/more.cedar",
        "@id(\"two\")\n@obligation(\"step_up, witnessed\")\n@quorum(\"2\")\n\
         permit (principal, action == Action::\"customers.write_query\", resource);",
    );
    let second = files.0["approvers/privacy.toml"]
        .replace("privacy-officer", "deputy")
        .replace(
            &crate::fixture::public(8).to_string(),
            &crate::fixture::public(9).to_string(),
        );
    files.0.insert("approvers/deputy.toml".into(), second);
    let decision = delete(&engine(&files));
    assert_eq!(
        decision.outcome,
        Outcome::StepUp(StepUp {
            quorum: 2,
            approvers: vec!["privacy".into()]
        })
    );
    assert!(decision.obligations.witnessed);
}

#[test]
fn a_permit_that_does_not_determine_obliges_to_nothing() {
    let engine = with_policy(
        "@id(\"later\")\n@obligation(\"defer\")\npermit (principal, action == Action::\"customers.read_query\", \
         resource) when { principal.assurance > 3 };",
    );
    assert_eq!(read(&engine).outcome, Outcome::Allow);
}

#[test]
fn a_call_that_is_put_off_is_deferred() {
    let engine = with_policy(
        "@id(\"later\")\n@obligation(\"defer\")\n\
         permit (principal, action == Action::\"customers.read_query\", resource);",
    );
    let decision = read(&engine);
    assert_eq!(decision.outcome, Outcome::Defer);
    assert_eq!(decision.policies, ["demo-may-read", "later"]);
}

const REDACTION: &str = "destinations = [\"sqlite:customers\"]\nredactions = [{ name = \"mail\", \
                         pattern = '[a-z0-9.]+@[a-z0-9.]+', replacement = \"$0[mail]\", apply = \"WHEN\" }]";

#[test]
fn a_redaction_that_always_applies_modifies_every_result() {
    let file = "capabilities/read_query.toml";
    let toml = REDACTION.replace("WHEN", "always");
    let engine = engine(&with(file, "destinations = [\"sqlite:customers\"]", &toml));
    assert_eq!(
        read(&engine).outcome,
        Outcome::Modify {
            redactions: vec!["mail".into()]
        }
    );
    let rule = crate::fixture::capability(&engine, "read_query")
        .redaction("mail")
        .unwrap();
    assert_eq!(rule.apply("to ada@example.org."), "to $0[mail]");
    assert_eq!(rule.apply("nobody"), "nobody");
}

#[test]
fn a_redaction_applies_where_a_policy_obliges_to_it() {
    let file = "capabilities/read_query.toml";
    let toml = REDACTION.replace("WHEN", "when_obliged");
    let mut files = with(file, "destinations = [\"sqlite:customers\"]", &toml);
    assert_eq!(read(&engine(&files)).outcome, Outcome::Allow);
    let cedar = files.0.get_mut("policies/customers.cedar").unwrap();
    *cedar = cedar.replace(
        "@id(\"demo-may-read\")",
        "@id(\"demo-may-read\")\n@obligation(\"redact:mail\")",
    );
    assert_eq!(
        read(&engine(&files)).outcome,
        Outcome::Modify {
            redactions: vec!["mail".into()]
        }
    );
}

#[test]
fn policy_sees_assurance_user_mode_time_and_approvers() {
    let engine = with_policy(
        "@id(\"sees\")\nforbid (principal, action == Action::\"customers.read_query\", resource) when {\n\
         principal.assurance == 3 && principal.urn == \"agent:demo/reader@1\" && context has user &&\n\
         context.user == \"eve\" && context.mode == \"read_only\" && context.time_ms == 1700000000000 &&\n\
         context.approvers.contains(\"privacy-officer\") && context.budget has limit && context.budget.limit == 600 &&\n\
         resource.classification == \"CONFIDENTIAL\" && context.input.query like \"SELECT*\" };",
    );
    let mut facts = facts(&engine, READER, "read_query", &query(SELECT));
    assert_eq!(engine.decide(&facts).outcome, Outcome::Allow);
    facts.user = Some("eve".into());
    facts.approvers = vec!["privacy-officer".into()];
    denied_by(&engine.decide(&facts), "sees");
}

#[test]
fn a_policy_for_one_agent_by_name_permits_that_agent_only() {
    let mut files = example();
    let cedar = files.0.get_mut("policies/customers.cedar").unwrap();
    *cedar = cedar.replace(
        "principal in Tenant::\"demo\", action == ",
        "principal == Agent::\"agent:demo/erasure@1\", action == ",
    );
    let engine = engine(&files);
    denied_by(&read(&engine), "builtin:default-deny");
    assert_eq!(
        engine
            .decide(&facts(&engine, ERASURE, "read_query", &query(SELECT)))
            .outcome,
        Outcome::Allow
    );
}

#[test]
fn policies_for_other_agents_and_tools_change_no_verdict() {
    let many: String = (0..500)
        .map(|i| {
            let (agent, effect) = if i % 2 == 0 { ("erasure", "forbid") } else { ("reader", "permit") };
            let action = if i % 2 == 0 { "customers.read_query" } else { "customers.list_tables" };
            format!("@id(\"p{i}\")\n{effect} (principal == Agent::\"agent:demo/{agent}@1\", action == Action::\"{action}\", resource);\n")
        })
        .collect();
    let engine = with_policy(&many);
    assert_eq!(read(&engine), read(&crate::fixture::engine(&example())));
    let listing = engine.decide(&facts(&engine, READER, "list_tables", &json("{}")));
    assert_eq!(listing.policies.len(), 251);
}

#[test]
fn names_that_cedar_has_no_identifiers_for_are_decided() {
    let files = with(
        "capabilities/list_tables.toml",
        "'{ \"type\": \"object\", \"properties\": {}, \"additionalProperties\": false }'",
        "'{ \"type\": \"object\", \"properties\": { \"user-id\": { \"type\": \"string\" } } }'",
    );
    let mut files = files;
    let toml = files.0.get_mut("capabilities/list_tables.toml").unwrap();
    *toml = toml
        .replace("customers.list_tables", "customers.list-tables/2.0")
        .replace("\"list_tables\"", "\"list-tables/2.0\"");
    let cedar = files.0.get_mut("policies/customers.cedar").unwrap();
    *cedar = cedar.replace("customers.list_tables", "customers.list-tables/2.0");
    cedar.push_str("\n@id(\"id\")\nforbid (principal, action == Action::\"customers.list-tables/2.0\", resource)\nwhen { context.input has \"user-id\" && context.input[\"user-id\"] == \"0\" };\n");
    let engine = engine(&files);
    let decide = |arguments: &str| {
        engine.decide(&facts(&engine, READER, "list-tables/2.0", &json(arguments)))
    };
    assert_eq!(decide("{}").outcome, Outcome::Allow);
    denied_by(&decide(r#"{"user-id":"0"}"#), "id");
}

#[test]
fn two_engines_of_one_bundle_agree() {
    let bundle = bundle(&example());
    let (a, b) = (
        Engine::compile(&bundle).unwrap(),
        Engine::compile(&bundle).unwrap(),
    );
    assert_eq!(delete(&a), delete(&b));
}

#[test]
fn a_group_forbids_its_members_only() {
    let engine = with_policy(
        "@id(\"no\")\nforbid (principal in Group::\"erasure-desk\", action, resource);",
    );
    assert_eq!(read(&engine).outcome, Outcome::Allow);
    denied_by(&delete(&engine), "no");
}
