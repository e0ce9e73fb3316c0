//! Stage 4: budgets and idempotency keys.

use super::world::{DEMO, ERASURE, EVE, READER, SELECT, World, answered, body, engine, site};
use crate::approval::Clearance;
use crate::decision::settle_unknown;
use crate::execute::{NoAnswer, NotSent, Report};
use crate::refusal::{Code, Retry};
use crate::seal::IntentReceipt;
use countersign_record::body::{Effect, Verdict};
use countersign_record::digest::UnixMillis;
use countersign_record::entry::Body;

fn keyed(key: &str) -> String {
    body("keyed", SELECT, &format!(r#","idempotency_key":"{key}""#))
}

#[test]
fn a_tool_that_needs_a_key_refuses_a_call_without_one() {
    let mut world = World::new();
    let done = world.go(READER, &body("keyed", SELECT, ""), answered("{}"));
    assert_eq!(done.code(), Some(Code::IdempotencyKeyRequired));
}

#[test]
fn the_same_key_and_request_get_the_first_outcome() {
    let mut world = World::new();
    let first = world.go(READER, &keyed("k"), answered(r#"{"n":1}"#));
    let second = world.go(READER, &keyed("k"), answered(r#"{"n":2}"#));
    assert_eq!(second.result(), r#"{"n":1}"#);
    assert_eq!(
        (second.decision.effect, second.decision.intent),
        (Effect::None, None)
    );
    assert_eq!(second.decision.parent, Some(first.decision.call));
}

#[test]
fn the_same_key_gets_the_first_outcome_after_a_restart() {
    let mut world = World::new();
    let _ = world.go(READER, &keyed("k"), answered(r#"{"n":1}"#));
    world.restart();
    let second = world.go(READER, &keyed("k"), answered(r#"{"n":2}"#));
    assert_eq!(second.result(), r#"{"n":1}"#);
}

#[test]
fn a_key_that_was_used_at_an_adopted_gateway_is_never_carried_out_again() {
    let mut world = World::new();
    let _ = world.go(READER, &keyed("k"), answered(r#"{"n":1}"#));
    world.replace_gateway();
    let again = world.go(READER, &keyed("k"), answered(r#"{"n":2}"#));
    assert_eq!(again.code(), Some(Code::IdempotencyOutcomeUnknown));
    let fresh = world.go(READER, &keyed("k2"), answered(r#"{"n":2}"#));
    assert_eq!(fresh.result(), r#"{"n":2}"#);
}

#[test]
fn a_key_whose_call_an_adopted_gateway_left_open_is_never_carried_out_again() {
    let mut world = World::new();
    let one = world.identified(READER, &keyed("k"));
    let Ok(Clearance::Approved(approved)) = world.clear(one) else {
        panic!("not approved");
    };
    let _ = world.commit(*approved);
    world.replace_gateway();
    let again = world.go(READER, &keyed("k"), answered("{}"));
    assert_eq!(again.code(), Some(Code::IdempotencyOutcomeUnknown));
}

#[test]
fn a_key_whose_call_never_left_an_adopted_gateway_is_free() {
    let mut world = World::new();
    let away = Report::NotSent {
        cause: NotSent::Unavailable,
    };
    let _ = world.go(READER, &keyed("k"), away);
    world.replace_gateway();
    let again = world.go(READER, &keyed("k"), answered(r#"{"n":2}"#));
    assert_eq!(again.result(), r#"{"n":2}"#);
}

#[test]
fn calls_of_an_adopted_gateway_count_in_the_budget() {
    let mut world = World::new();
    let call = body("few", SELECT, "");
    for _ in 0..2 {
        let _ = world.go(READER, &call, answered("{}"));
    }
    world.replace_gateway();
    let third = world.go(READER, &call, answered("{}"));
    assert_eq!(third.code(), Some(Code::RateExceeded));
}

#[test]
fn the_same_key_for_another_request_is_a_conflict() {
    let mut world = World::new();
    let _ = world.go(READER, &keyed("k"), answered("{}"));
    let other = keyed("k").replace(
        "COUNT(*) AS customers FROM customers",
        "* FROM customers WHERE email = 'a@b.org'",
    );
    assert_eq!(
        world.go(READER, &other, answered("{}")).code(),
        Some(Code::IdempotencyConflict)
    );
}

#[test]
fn the_key_of_another_agent_or_tenant_is_another_key() {
    let mut world = World::new();
    let _ = world.go(READER, &keyed("k"), answered(r#"{"secret":1}"#));
    for token in [ERASURE, EVE] {
        let done = world.go(token, &keyed("k"), answered(r#"{"own":1}"#));
        assert_eq!(done.result(), r#"{"own":1}"#);
    }
}

#[test]
fn a_key_whose_call_runs_is_not_used_again() {
    let mut world = World::new();
    let one = world.identified(READER, &keyed("k"));
    let Ok(Clearance::Approved(approved)) = world.clear(one) else {
        panic!("not approved");
    };
    let early = world.go(READER, &keyed("k"), answered("{}"));
    assert_eq!(early.code(), Some(Code::IdempotencyInProgress));
    let committed = world.commit(*approved);
    let late = world.go(READER, &keyed("k"), answered("{}"));
    assert_eq!(late.code(), Some(Code::IdempotencyInProgress));
    let _ = world.settle(committed, answered(r#"{"n":1}"#));
    assert_eq!(
        world.go(READER, &keyed("k"), answered("{}")).result(),
        r#"{"n":1}"#
    );
}

#[test]
fn a_key_whose_call_was_refused_is_free() {
    let mut world = World::new();
    let denied = body("faulty", SELECT, r#","idempotency_key":"k""#);
    assert_eq!(
        world.go(READER, &denied, answered("{}")).code(),
        Some(Code::PolicyError)
    );
    assert_eq!(
        world.go(READER, &denied, answered("{}")).code(),
        Some(Code::PolicyError)
    );
}

#[test]
fn a_key_whose_call_never_left_is_free() {
    let mut world = World::new();
    let away = Report::NotSent {
        cause: NotSent::Unavailable,
    };
    assert_eq!(
        world.go(READER, &keyed("k"), away).code(),
        Some(Code::UpstreamUnavailable)
    );
    assert_eq!(
        world
            .go(READER, &keyed("k"), answered(r#"{"n":2}"#))
            .result(),
        r#"{"n":2}"#
    );
}

#[test]
fn a_key_whose_call_has_an_unknown_outcome_is_never_carried_out_again() {
    let mut world = World::new();
    let lost = Report::NoAnswer {
        cause: NoAnswer::Timeout,
        transcript: Vec::new(),
    };
    assert_eq!(
        world.go(READER, &keyed("k"), lost).code(),
        Some(Code::OutcomeUnknown)
    );
    let again = world.go(READER, &keyed("k"), answered("{}"));
    assert_eq!(again.code(), Some(Code::IdempotencyOutcomeUnknown));
}

#[test]
fn a_key_whose_answer_was_withheld_says_so_again() {
    let mut world = World::new();
    let call = body("restricted", SELECT, r#","idempotency_key":"k""#);
    for _ in 0..2 {
        let done = world.go(READER, &call, answered("{}"));
        assert_eq!(done.code(), Some(Code::RestrictedResult));
    }
    assert_eq!(world.log.len(), 3);
}

#[test]
fn a_key_whose_call_a_crash_left_open_has_an_unknown_outcome() {
    let mut world = World::new();
    let one = world.identified(READER, &keyed("k"));
    let Ok(Clearance::Approved(approved)) = world.clear(one) else {
        panic!("not approved");
    };
    let (sealed, intent, disclosures) = world.seal(*approved);
    let entry = world.write(Body::Intent(intent.clone()), Some(DEMO), disclosures);
    drop(sealed);
    world.restart();
    assert_eq!(
        world.go(READER, &keyed("k"), answered("{}")).code(),
        Some(Code::IdempotencyInProgress)
    );
    let decision = settle_unknown(
        &intent,
        entry.clone(),
        UnixMillis(world.now),
        world.in_force(),
        world.moment(),
    );
    assert_eq!(
        (decision.effect, decision.verdict),
        (Effect::Unknown, Verdict::Allow)
    );
    assert_eq!(
        (decision.intent.clone(), decision.call),
        (Some(entry), intent.call)
    );
    world.write(Body::Decision(decision), Some(DEMO), Vec::new());
    assert_eq!(
        world.go(READER, &keyed("k"), answered("{}")).code(),
        Some(Code::IdempotencyOutcomeUnknown)
    );
}

#[test]
fn a_repeated_outcome_passes_todays_policy_first() {
    let mut world = World::new();
    let _ = world.go(READER, &keyed("k"), answered(r#"{"n":1}"#));
    let mut files = site();
    let policy = files.0.get_mut("policies/more.cedar").unwrap();
    policy.push_str(
        "@id(\"no\")\nforbid (principal, action == Action::\"customers.keyed\", resource);",
    );
    world.engine = engine(&files).0;
    assert_eq!(
        world.go(READER, &keyed("k"), answered("{}")).code(),
        Some(Code::PolicyDenied)
    );
}

#[test]
fn a_repeated_outcome_is_redacted_by_todays_rules() {
    let mut world = World::new();
    let _ = world.go(READER, &keyed("k"), answered(r#"{"m":"ada@example.org"}"#));
    let mut files = site();
    let capability = files.0.get_mut("capabilities/keyed.toml").unwrap();
    *capability = capability.replacen(
        "destinations",
        "redactions = [{ name = \"mail\", pattern = '[a-z]+@[a-z.]+', replacement = \"[mail]\", apply = \"always\" }]\ndestinations",
        1,
    );
    world.engine = engine(&files).0;
    let done = world.go(READER, &keyed("k"), answered("{}"));
    assert_eq!(done.result(), r#"{"m":"[mail]"}"#);
    assert_eq!(
        (done.decision.verdict, done.decision.redactions),
        (Verdict::Modify, vec!["mail".to_owned()])
    );
}

#[test]
fn a_first_outcome_that_is_gone_is_not_made_up() {
    let mut world = World::new();
    let _ = world.go(READER, &keyed("k"), answered("{}"));
    let again = world.identified(READER, &keyed("k"));
    let Ok(Clearance::Repeated(repeated)) = world.clear(again) else {
        panic!("not repeated");
    };
    let done = world.finish(Err(repeated.lost()), answered("{}"));
    assert_eq!(done.code(), Some(Code::IdempotencyOutcomeUnknown));
}

#[test]
fn a_budget_is_used_up_and_comes_back_with_time() {
    let mut world = World::new();
    let call = body("few", SELECT, "");
    for _ in 0..2 {
        assert_eq!(world.go(READER, &call, answered("{}")).code(), None);
        world.now += 10_000;
    }
    let done = world.go(READER, &call, answered("{}"));
    assert_eq!(done.code(), Some(Code::RateExceeded));
    let crate::decision::Answer::Refused(refusal) = done.answer else {
        panic!("answered");
    };
    let Retry::After(seconds) = *refusal.retry() else {
        panic!("{refusal:?}");
    };
    assert!((40..=42).contains(&seconds), "{seconds}");
    world.now += seconds * 1000;
    assert_eq!(world.go(READER, &call, answered("{}")).code(), None);
}

#[test]
fn a_budget_is_one_tenants() {
    let mut world = World::new();
    let call = body("few", SELECT, "");
    for _ in 0..2 {
        let _ = world.go(READER, &call, answered("{}"));
    }
    assert_eq!(
        world.go(READER, &call, answered("{}")).code(),
        Some(Code::RateExceeded)
    );
    assert_eq!(world.go(EVE, &call, answered("{}")).code(), None);
}

#[test]
fn calls_under_way_count_in_a_budget() {
    let mut world = World::new();
    let call = body("few", SELECT, "");
    let (one, two, three) = (
        world.identified(READER, &call),
        world.identified(READER, &call),
        world.identified(READER, &call),
    );
    assert!(world.clear(one).is_ok() && world.clear(two).is_ok());
    let refused = world.clear(three).unwrap_err();
    assert_eq!(refused.refusal().code(), Code::RateExceeded);
}

#[test]
fn a_refused_call_uses_up_no_budget() {
    let mut world = World::new();
    for _ in 0..3 {
        let mode = body("few", SELECT, r#","mode":"destructive""#);
        assert_eq!(
            world.go(READER, &mode, answered("{}")).code(),
            Some(Code::ModeTooHigh)
        );
    }
    assert_eq!(
        world
            .go(READER, &body("few", SELECT, ""), answered("{}"))
            .code(),
        None
    );
    assert_eq!(world.state.running(), 0);
}

#[test]
fn a_repetition_uses_up_no_budget_and_needs_none() {
    let mut world = World::new();
    let call = body("few", SELECT, r#","idempotency_key":"k""#);
    for _ in 0..5 {
        assert_eq!(world.go(READER, &call, answered("{}")).code(), None);
    }
    assert_eq!(
        world
            .go(READER, &body("few", SELECT, ""), answered("{}"))
            .code(),
        None
    );
    assert_eq!(
        world
            .go(READER, &body("few", SELECT, ""), answered("{}"))
            .code(),
        Some(Code::RateExceeded)
    );
    assert_eq!(world.go(READER, &call, answered("{}")).code(), None);
}

#[test]
fn a_budget_survives_a_restart() {
    let mut world = World::new();
    let call = body("few", SELECT, "");
    for _ in 0..2 {
        let _ = world.go(READER, &call, answered("{}"));
    }
    world.restart();
    assert_eq!(
        world.go(READER, &call, answered("{}")).code(),
        Some(Code::RateExceeded)
    );
}

#[test]
fn a_receipt_for_another_call_gives_no_right_to_execute() {
    let mut world = World::new();
    let one = world.identified(READER, &body("read_query", SELECT, ""));
    let Ok(Clearance::Approved(approved)) = world.clear(one) else {
        panic!("not approved");
    };
    let (sealed, _, _) = world.seal(*approved);
    let wrong = IntentReceipt {
        call: countersign_record::digest::CallId([9; 16]),
        entry: world.in_force(),
    };
    let call = sealed.call();
    let error = sealed.commit(wrong).unwrap_err();
    assert_eq!(error.sealed, call);
}
