//! Stages 8 to 10: what comes back, what of it is seen, and what the record says.

use super::world::{READER, SELECT, World, answered, body};
use crate::approval::Clearance;
use crate::execute::{NoAnswer, NotSent, Report, ToolError};
use crate::refusal::{Besides, Code, Told};
use crate::release::MAX_RESULT_BYTES;
use bytes::Bytes;
use countersign_record::body::{Effect, Verdict};
use countersign_record::commitment::{Disclosure, Field};
use countersign_record::entry::{Body, Entry};
use std::collections::HashSet;

fn read(report: Report) -> super::world::Done {
    World::new().go(READER, &body("read_query", SELECT, ""), report)
}

#[test]
fn what_is_authorized_is_what_leaves() {
    let mut world = World::new();
    let arguments = r#"{ "query" :"SELECT COUNT(*) AS customers FROM customers" }"#;
    let identified = world.identified(READER, &body("read_query", arguments, ""));
    let Ok(Clearance::Approved(approved)) = world.clear(identified) else {
        panic!("not approved");
    };
    let committed = world.commit(*approved);
    let (dispatch, _) = committed.dispatch(world.moment());
    assert_eq!(
        (dispatch.adapter.as_str(), dispatch.tool.as_str()),
        ("customers", "read_query")
    );
    assert_eq!(&dispatch.arguments[..], arguments.as_bytes());
}

#[test]
fn a_result_is_released_as_it_came() {
    let done = read(answered(r#"{ "a" : 1.0 }"#));
    assert_eq!(done.result(), r#"{ "a" : 1.0 }"#);
    assert_eq!(
        (done.decision.verdict, done.decision.effect),
        (Verdict::Allow, Effect::Dispatched)
    );
    assert_eq!(
        done.decision.times.dispatched.map(|t| t.0),
        Some(super::world::START)
    );
}

#[test]
fn every_ending_without_an_answer_has_its_code_and_effect() {
    for (report, code, effect) in [
        (
            Report::NotSent {
                cause: NotSent::Unavailable,
            },
            Code::UpstreamUnavailable,
            Effect::None,
        ),
        (
            Report::NotSent {
                cause: NotSent::Cancelled,
            },
            Code::Cancelled,
            Effect::None,
        ),
        (
            Report::NoAnswer {
                cause: NoAnswer::Timeout,
                transcript: Vec::new(),
            },
            Code::OutcomeUnknown,
            Effect::Unknown,
        ),
        (
            Report::NoAnswer {
                cause: NoAnswer::Crashed,
                transcript: Vec::new(),
            },
            Code::OutcomeUnknown,
            Effect::Unknown,
        ),
        (
            Report::NoAnswer {
                cause: NoAnswer::Restarted,
                transcript: Vec::new(),
            },
            Code::OutcomeUnknown,
            Effect::Unknown,
        ),
        (
            Report::NoAnswer {
                cause: NoAnswer::Malformed,
                transcript: Vec::new(),
            },
            Code::UpstreamMalformed,
            Effect::Unknown,
        ),
        (
            Report::NoAnswer {
                cause: NoAnswer::TooLarge,
                transcript: Vec::new(),
            },
            Code::ResultTooLarge,
            Effect::Unknown,
        ),
        (
            Report::NoAnswer {
                cause: NoAnswer::Cancelled,
                transcript: Vec::new(),
            },
            Code::Cancelled,
            Effect::Unknown,
        ),
    ] {
        let done = read(report);
        assert_eq!((done.code(), done.decision.effect), (Some(code), effect));
        assert_eq!(done.decision.code.as_deref(), Some(code.name()));
        assert!(done.decision.intent.is_some() && done.decision.released.is_none());
    }
}

#[test]
fn redaction_changes_the_verdict_and_names_the_rules() {
    let mut world = World::new();
    let result =
        r#"{"content":[{"text":"ada@example.org, 123456"}],"n":123456,"bob@example.org":true}"#;
    let done = world.go(READER, &body("redacted", SELECT, ""), answered(result));
    let value: serde_json::Value = serde_json::from_str(done.result()).unwrap();
    assert_eq!(
        value,
        serde_json::json!({
            "content": [{ "text": "[mail], [digits]" }],
            "n": "[digits]",
            "[mail]": true,
        })
    );
    assert_eq!(done.decision.verdict, Verdict::Modify);
    assert_eq!(done.decision.redactions, ["digits", "mail"]);
    assert!(
        done.decision.raw_result.is_some() && done.decision.raw_result != done.decision.released
    );
}

#[test]
fn a_result_that_no_rule_touches_keeps_its_bytes() {
    let mut world = World::new();
    let done = world.go(
        READER,
        &body("redacted", SELECT, ""),
        answered(r#"{ "a" : 1 }"#),
    );
    assert_eq!(done.result(), r#"{ "a" : 1 }"#);
    assert_eq!(done.decision.redactions, Vec::<String>::new());
}

#[test]
fn a_result_that_cannot_be_redacted_is_withheld() {
    for result in [
        "no json",
        r#"{"a":"x@y.z","a":"ok"}"#,
        r#"{"x@y.z":1,"v@w.z":2}"#,
    ] {
        let mut world = World::new();
        let done = world.go(READER, &body("redacted", SELECT, ""), answered(result));
        assert_eq!(done.code(), Some(Code::RedactionFailed), "{result}");
        assert_eq!(done.decision.effect, Effect::Dispatched);
        assert!(done.decision.released.is_none() && done.decision.raw_result.is_some());
    }
}

#[test]
fn a_restricted_result_is_withheld_even_if_it_is_an_error() {
    let mut world = World::new();
    let report = Report::Answered {
        result: Bytes::from_static(br#"{"isError":true}"#),
        tool_error: ToolError::Yes,
        transcript: Vec::new(),
    };
    let done = world.go(READER, &body("restricted", SELECT, ""), report);
    assert_eq!(done.code(), Some(Code::RestrictedResult));
    assert!(done.decision.released.is_none());
}

#[test]
fn a_result_above_the_limit_is_withheld() {
    let large = format!("\"{}\"", "x".repeat(MAX_RESULT_BYTES));
    assert_eq!(read(answered(&large)).code(), Some(Code::ResultTooLarge));
}

#[test]
fn interim_messages_are_committed_to() {
    let report = Report::Answered {
        result: Bytes::from_static(b"{}"),
        tool_error: ToolError::No,
        transcript: vec![Bytes::from_static(b"{\"progress\":1}")],
    };
    assert!(read(report).decision.transcript.is_some());
}

/// Every commitment of an entry that the gateway writes is opened by a disclosure, here or in its intent, and every
/// disclosure opens one.
#[test]
fn every_disclosure_opens_a_commitment_of_its_entry() {
    let mut world = World::new();
    let rest = r#","idempotency_key":"k","session":"s""#;
    let _ = world.go(
        READER,
        &body("redacted", SELECT, rest),
        answered(r#"{"m":"a@b.c"}"#),
    );
    let _ = world.go(READER, &body("redacted", SELECT, rest), answered("{}"));
    let two = body("two", SELECT, rest);
    let action = world
        .go(READER, &two, answered("{}"))
        .decision
        .action
        .unwrap();
    let _ = world.go(READER, &two, answered("{}"));
    world.approve(action, super::world::PRIVACY);
    world.approve(action, super::world::DEPUTY);
    assert_eq!(world.go(READER, &two, answered("{}")).code(), None);
    let _ = world.go(READER, &body("faulty", SELECT, ""), answered("{}"));
    for (bytes, disclosures) in &world.log {
        let entry = Entry::parse(bytes).unwrap();
        let mut seen = HashSet::new();
        for disclosure in disclosures {
            let commitment = disclosure.commitment();
            assert!(
                bytes.windows(32).any(|w| w == commitment.0),
                "{:?} of {:?} opens nothing",
                disclosure.field,
                entry.body().kind()
            );
            assert!(
                seen.insert(commitment),
                "{:?} is there twice",
                disclosure.field
            );
        }
        if let Body::Decision(decision) = entry.body()
            && decision.intent.is_none()
        {
            let opens = |field: Field| disclosures.iter().any(|d: &Disclosure| d.field == field);
            assert!(opens(Field::Agent) && opens(Field::Received));
        }
    }
}

#[test]
fn a_denied_call_records_which_rule_fired_and_tells_the_agent_nothing_of_it() {
    let mut world = World::new();
    let done = world.go(READER, &body("read_query", "{}", ""), answered("{}"));
    assert!(
        done.decision
            .controls
            .contains(&"constraint:required".to_owned())
    );
    let crate::decision::Answer::Refused(refusal) = &done.answer else {
        panic!("answered");
    };
    let besides = Besides::of(world.engine.content(), Some("customers.read_query"));
    let told = Told::new(refusal, 0, Some("r".into()), besides).to_json();
    assert!(!told.to_string().contains("constraint"), "{told}");
    assert!(told.get("rules").is_none(), "{told}");
}
