//! What agents are told, word by word.

use super::world::{DELETE, ERASURE, READER, SELECT, World, answered, body, engine, site};
use crate::decision::Answer;
use crate::refusal::{Besides, Code, Refusal, Retry, Told};
use crate::state::{MatchKey, REPEAT_MILLIS};
use proptest::prelude::*;
use std::fmt::Write as _;

/// What is told by a site that names somebody to ask.
fn told(code: Code, retry: Retry, repeats: u32) -> Told {
    let besides = Besides {
        contact: Some("desk@example.org"),
        ..Besides::STRANGER
    };
    let refusal = Refusal::new(code, retry);
    Told::new(&refusal, repeats, Some("0123".into()), besides)
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "golden files are rewritten on demand"
)]
fn the_texts_of_refusals_are_the_golden_ones() {
    let mut text = String::new();
    for code in Code::ALL {
        let told = told(*code, Retry::Never, 0);
        writeln!(text, "{}", line(&told)).unwrap();
    }
    for (retry, repeats) in [
        (Retry::AfterApproval, 0),
        (Retry::After(30), 1),
        (Retry::WithChanges("query".into()), 2),
    ] {
        let told = told(Code::InvalidArguments, retry, repeats);
        writeln!(text, "{}", line(&told)).unwrap();
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/refusals.txt");
    if std::env::var("UPDATE_GOLDEN").is_ok_and(|v| v == "1") {
        std::fs::write(path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap();
    assert_eq!(
        text, golden,
        "set UPDATE_GOLDEN=1 to rewrite, and review the difference"
    );
}

/// One line of the golden file; the order of members is no part of the shape.
fn line(told: &Told) -> String {
    let json = told.to_json();
    ["message", "code", "retry", "record", "contact"]
        .map(|key| format!("{key}: {}", json[key]))
        .join(" · ")
}

#[test]
fn a_refusal_has_one_shape() {
    let json = told(Code::PolicyDenied, Retry::Never, 0).to_json();
    let mut keys: Vec<&String> = json.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(keys, ["code", "contact", "message", "record", "retry"]);
}

#[test]
fn the_third_repeat_tells_the_model_to_stop_and_ask() {
    let stops = |repeats| {
        told(Code::PolicyDenied, Retry::Never, repeats)
            .message
            .contains("stop, and ask a person")
    };
    assert_eq!(
        [stops(0), stops(1), stops(2), stops(9)],
        [false, false, true, true]
    );
}

#[test]
fn from_the_third_repeat_on_the_sentence_says_whom_to_ask() {
    let message = |repeats| told(Code::PolicyDenied, Retry::Never, repeats).message;
    let asks = |repeats| message(repeats).ends_with(" Whom to ask: desk@example.org");
    assert_eq!([asks(0), asks(1), asks(2)], [false, false, true]);
    let refusal = Refusal::never(Code::PolicyDenied);
    let nobody = Told::new(&refusal, 2, None, Besides::STRANGER).message;
    assert!(nobody.ends_with(" stop, and ask a person."), "{nobody}");
}

#[test]
fn a_known_caller_is_told_to_ask_whom_the_capability_names_or_else_the_site() {
    let mut files = site();
    let few = files.0.get_mut("capabilities/few.toml").unwrap();
    *few = format!("contact = \"few@example.org\"\n{few}");
    let contact = |files: &countersign_policies::SiteFiles, capability| {
        let (engine, _) = engine(files);
        let refusal = Refusal::never(Code::PolicyDenied);
        let besides = Besides::of(engine.content(), capability);
        Told::new(&refusal, 0, None, besides).contact
    };
    let few = Some("customers.few");
    let typed = Some("customers.typed");
    assert_eq!(contact(&files, few).as_deref(), Some("few@example.org"));
    assert_eq!(contact(&files, typed), None);
    assert_eq!(contact(&files, None), None);
    let text = "contact = \"desk@example.org\"";
    files.0.insert("refusals.toml".into(), text.into());
    assert_eq!(contact(&files, few).as_deref(), Some("few@example.org"));
    for capability in [typed, None, Some("customers.nothing")] {
        let found = contact(&files, capability);
        assert_eq!(found.as_deref(), Some("desk@example.org"));
    }
}

#[test]
fn a_stranger_is_told_of_nobody() {
    let refusal = Refusal::never(Code::Unauthenticated);
    let json = Told::new(&refusal, 0, None, Besides::STRANGER).to_json();
    assert!(json["contact"].is_null(), "{json}");
}

/// The refusals of one site's calls that fail in many ways, with what is told of them.
fn told_of_all(tell: bool) -> Vec<(Code, Told)> {
    let mut files = site();
    if tell {
        for (path, text) in &mut files.0 {
            if path.starts_with("capabilities/") {
                *text = format!("tell_rules = true\n{text}");
            }
        }
    }
    let mut world = World::of(&files);
    let calls = [
        body("read_query", "{}", ""),
        body("write_query", DELETE, ""),
        body("deferred", SELECT, ""),
        body("two", SELECT, ""),
        body("faulty", SELECT, ""),
        body("nothing", SELECT, ""),
    ];
    let mut out = Vec::new();
    for call in calls {
        let done = world.go(READER, &call, answered("{}"));
        let Answer::Refused(refusal) = &done.answer else {
            panic!("answered: {call}");
        };
        let capability = done.decision.capability.as_ref().map(|c| c.id.as_str());
        let besides = Besides::of(world.engine.content(), capability);
        out.push((refusal.code(), Told::new(refusal, 0, None, besides)));
    }
    out
}

#[test]
fn rules_are_told_where_the_bundle_says_so() {
    let found: Vec<(Code, Option<String>)> = told_of_all(true)
        .into_iter()
        .map(|(code, told)| {
            let json = told.to_json();
            (code, json.get("rules").map(ToString::to_string))
        })
        .collect();
    let expected = [
        (Code::InvalidArguments, Some("[\"constraint:required\"]")),
        (Code::PolicyDenied, Some("[\"builtin:default-deny\"]")),
        (Code::Deferred, Some("[\"later\"]")),
        (Code::ApprovalRequired, Some("[\"both\"]")),
        (Code::PolicyError, Some("[\"builtin:evaluation-error\"]")),
        // What does not exist has no file that could say so.
        (Code::UnknownCapability, None),
    ];
    assert_eq!(
        found,
        expected.map(|(code, rules)| (code, rules.map(str::to_owned)))
    );
}

#[test]
fn no_rule_is_told_where_the_bundle_says_nothing() {
    for (code, told) in told_of_all(false) {
        let json = told.to_json();
        let mut keys: Vec<&String> = json.as_object().unwrap().keys().collect();
        keys.sort();
        let shape = ["code", "contact", "message", "record", "retry"];
        assert_eq!(keys, shape, "{code:?}");
        for id in ["constraint:", "builtin:", "\"later\"", "\"both\""] {
            assert!(!json.to_string().contains(id), "{json}");
        }
    }
}

#[test]
fn a_refusal_that_no_rule_led_to_tells_none_and_the_order_of_a_person_is_none() {
    let besides = Besides {
        contact: None,
        rules: true,
    };
    let rules = |refusal: Refusal| {
        let json = Told::new(&refusal, 0, None, besides).to_json();
        json["rules"].to_string()
    };
    assert_eq!(rules(Refusal::never(Code::UpstreamUnavailable)), "[]");
    let stopped = Refusal::never(Code::Stopped).by_order("stop:ada".into());
    assert_eq!(stopped.rule(), Some("stop:ada"));
    assert_eq!(rules(stopped), "[]");
}

#[test]
fn repeats_are_counted_by_request_and_code_and_end_with_silence() {
    let mut world = World::new();
    let key = |tool| MatchKey::new(super::world::DEMO, "a", tool, b"");
    let _ = world.go(READER, &body("faulty", SELECT, ""), answered("{}"));
    let count = |world: &mut World, tool, code| world.state.repeat(key(tool), code);
    assert_eq!(count(&mut world, "t", Code::PolicyDenied), 0);
    assert_eq!(count(&mut world, "t", Code::PolicyDenied), 1);
    assert_eq!(count(&mut world, "u", Code::PolicyDenied), 0);
    assert_eq!(count(&mut world, "t", Code::RateExceeded), 0);
    world.now += REPEAT_MILLIS + 1;
    let _ = world.go(READER, &body("faulty", SELECT, ""), answered("{}"));
    assert_eq!(count(&mut world, "t", Code::PolicyDenied), 0);
}

#[test]
fn every_name_leads_back_to_its_code() {
    for code in Code::ALL {
        assert_eq!(Code::from_name(code.name()), Some(*code));
    }
    assert_eq!(Code::from_name("nothing"), None);
}

fn text_of(world: &mut World, token: &str, call: &str) -> Option<String> {
    let done = world.go(token, call, answered("{}"));
    match &done.answer {
        Answer::Result(_) => None,
        Answer::Refused(refusal) => {
            let besides = Besides {
                contact: None,
                rules: true,
            };
            let told = Told::new(refusal, 5, None, besides);
            Some(format!("{} {refusal:?}", told.to_json()))
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_value_of_an_argument_is_in_a_refusal(secret in "[a-zA-Z0-9]{12,40}", n in 100_000_000i64..) {
        let mut world = World::new();
        let select = format!(r#"{{"query":"{secret}"}}"#);
        let unknown = format!(r#"{{"query":"x","{secret}":"{secret}"}}"#);
        let typed = format!(r#"{{"query":{n}}}"#);
        let nested = format!(r#"{{"query":"x","o":{{"{secret}":{n}}}}}"#);
        let delete = DELETE.replace("ada", &secret);
        for (token, tool, arguments) in [
            (READER, "read_query", &select),
            (READER, "read_query", &unknown),
            (READER, "read_query", &typed),
            (READER, "typed", &nested),
            (READER, "write_query", &delete),
            (ERASURE, "write_query", &delete),
            (READER, "faulty", &select),
        ] {
            let text = text_of(&mut world, token, &body(tool, arguments, ""));
            let text = text.expect("refused");
            prop_assert!(!text.contains(&secret), "{text}");
            prop_assert!(!text.contains(&n.to_string()), "{text}");
        }
    }
}
