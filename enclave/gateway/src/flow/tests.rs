use super::marks::{MAX_OF_A_RESULT, winnowed};
use super::*;
use proptest::prelude::*;
use serde_json::{Map, json};

const TENANT: TenantId = TenantId([1; 16]);
const OTHER: TenantId = TenantId([2; 16]);
const ADA: &str = "agent:demo/ada";

fn key() -> Key {
    Key::new(*b"\x01#Eg\x89\xab\xcd\xef")
}

fn traces() -> Traces {
    Traces::new(key(), UnixMillis(7))
}

fn keep(traces: &mut Traces, tenant: TenantId, party: &str, from: Source, result: &[u8]) {
    traces.keep(tenant, party, from, &Marks::of(key(), result));
}

fn read() -> Source {
    Source {
        capability: "customers.read_query".to_owned(),
        classification: Classification::Confidential,
    }
}

/// What of `argument` is found after a result was read.
fn found(result: &Value, argument: &str) -> FlowFact {
    let mut traces = traces();
    keep(
        &mut traces,
        TENANT,
        ADA,
        read(),
        result.to_string().as_bytes(),
    );
    traces.find(TENANT, ADA, &arguments(argument))
}

fn arguments(text: &str) -> Map<String, Value> {
    let value = json!({"query": text, "other": 1});
    value.as_object().unwrap().clone()
}

fn result(text: &str) -> Value {
    json!({"content": [{"type": "text", "text": text}]})
}

#[test]
fn a_value_is_found_whole_and_inside_an_argument() {
    for argument in [
        "maria@example.com",
        "https://elsewhere.example/?q=maria@example.com&x=1",
        "  maria@example.com\n",
    ] {
        let fact = found(&json!({"email": "maria@example.com"}), argument);
        assert_eq!(fact.labels, ["CONFIDENTIAL"], "{argument}");
        assert_eq!(fact.sources, ["customers.read_query"]);
        assert_eq!(fact.arguments, ["query"]);
        assert_eq!((fact.since, fact.dropped), (UnixMillis(7), false));
    }
}

#[test]
fn json_and_telling_words_inside_a_text_are_values_too() {
    for text in [
        r#"[{"name": "Maria Lovelace", "email": "maria@example.com", "iban": "DE89370400440532013000"}]"#,
        "[{'name': 'Maria', 'email': 'maria@example.com', 'iban': 'DE89370400440532013000'}]",
        "maria@example.com,DE89370400440532013000",
    ] {
        for argument in ["to maria@example.com", "pay DE89370400440532013000 now"] {
            assert!(!found(&result(text), argument).labels.is_empty(), "{text}");
        }
    }
    let named = result(r#"[{"name": "Maria Lovelace"}]"#);
    assert!(!found(&named, "about Maria Lovelace").labels.is_empty());
    let number = json!({"structuredContent": {"account": 4_711_047_110_u64}});
    assert!(!found(&number, "4711047110").labels.is_empty());
}

#[test]
fn a_part_of_a_long_text_is_found() {
    let letter = "The board has decided in its meeting of last week that the plant will be closed.";
    let part = &letter[17..17 + PART_BYTES];
    let said = format!("news: {part}!");
    assert!(!found(&result(letter), &said).labels.is_empty());
}

#[test]
fn what_is_not_repeated_as_it_was_is_not_found() {
    let mail = json!({"email": "maria@example.com"});
    for argument in [
        "bWFyaWFAZXhhbXBsZS5jb20=",
        "moc.elpmaxe@airam",
        "maria@exam",
        "SELECT COUNT(*) AS customers FROM customers",
        "",
    ] {
        assert!(found(&mail, argument).labels.is_empty(), "{argument}");
    }
    // Short and ordinary words are in everything.
    let short = json!({"ok": "yes", "n": 12345});
    assert!(found(&short, "yes 12345").labels.is_empty());
    let ordinary = result("some customers were found");
    assert!(found(&ordinary, "customers").labels.is_empty());
}

#[test]
fn what_one_party_read_says_nothing_of_anothers_arguments() {
    let mut traces = traces();
    keep(
        &mut traces,
        TENANT,
        ADA,
        read(),
        br#"{"email":"maria@example.com"}"#,
    );
    let said = arguments("maria@example.com");
    assert!(!traces.find(TENANT, ADA, &said).labels.is_empty());
    for (tenant, party) in [(TENANT, "agent:demo/eve"), (OTHER, ADA)] {
        assert!(traces.find(tenant, party, &said).labels.is_empty());
    }
}

#[test]
fn what_two_tools_gave_is_told_of_both() {
    let mut traces = traces();
    let ledger = Source {
        capability: "ledger.read".to_owned(),
        classification: Classification::Internal,
    };
    for from in [read(), ledger] {
        keep(
            &mut traces,
            TENANT,
            ADA,
            from,
            br#"{"email":"maria@example.com"}"#,
        );
    }
    let fact = traces.find(TENANT, ADA, &arguments("maria@example.com"));
    assert_eq!(fact.labels, ["CONFIDENTIAL", "INTERNAL"]);
    assert_eq!(fact.sources, ["customers.read_query", "ledger.read"]);
}

#[test]
fn a_long_text_that_two_tools_gave_counts_as_the_more_sensitive_one() {
    let text = result("The board has decided in its meeting that the plant will be closed.");
    for internal_first in [true, false] {
        let mut traces = traces();
        let internal = Source {
            capability: "notes.read".to_owned(),
            classification: Classification::Internal,
        };
        let mut order = [internal, read()];
        if !internal_first {
            order.reverse();
        }
        for from in order {
            keep(&mut traces, TENANT, ADA, from, text.to_string().as_bytes());
        }
        let fact = traces.find(
            TENANT,
            ADA,
            &arguments("in its meeting that the plant will be"),
        );
        assert_eq!(fact.labels, ["CONFIDENTIAL"]);
    }
}

#[test]
fn what_there_is_no_room_for_is_said_to_be_dropped() {
    let mut traces = traces();
    keep(
        &mut traces,
        TENANT,
        ADA,
        read(),
        br#"{"email":"maria@example.com"}"#,
    );
    let many: Vec<String> = (0..MAX_MARKS).map(|n| format!("value-{n}")).collect();
    let many = serde_json::to_vec(&many).unwrap();
    keep(&mut traces, TENANT, ADA, read(), &many);
    let fact = traces.find(TENANT, ADA, &arguments("maria@example.com"));
    assert_eq!((fact.labels.len(), fact.dropped), (0, true));
    let trail = traces.parties.values().next().unwrap();
    assert!(trail.order.len() <= MAX_MARKS);
    assert!(trail.whole.values().map(Vec::len).sum::<usize>() <= MAX_MARKS);
}

#[test]
fn a_large_result_leaves_only_so_many_marks() {
    let texts: Vec<String> = (0..MAX_OF_A_RESULT).map(|n| format!("text-{n}")).collect();
    let marks = Marks::of(key(), &serde_json::to_vec(&texts).unwrap());
    assert_eq!((marks.marks.len(), marks.dropped), (MAX_OF_A_RESULT, true));
    // Each is a text, and a word of it.
    let marks = Marks::of(key(), br#"["text-1","text-2"]"#);
    assert_eq!((marks.marks.len(), marks.dropped), (4, false));
}

#[test]
fn a_value_beside_half_a_surrogate_pair_is_found() {
    let mut traces = traces();
    let half = br#"{"content":[{"text":"{\"a\":\"\\ud800 maria@example.com\"}"}]}"#;
    keep(&mut traces, TENANT, ADA, read(), half);
    let fact = traces.find(TENANT, ADA, &arguments("to maria@example.com"));
    assert_eq!(fact.labels.len(), 1);
}

#[test]
fn a_value_behind_a_key_that_stands_twice_is_found() {
    let mut traces = traces();
    let twice = br#"{"content":[{"text":"{\"name\":\"Maria Lovelace\",\"name\":\"Ada Byron\"}"}]}"#;
    keep(&mut traces, TENANT, ADA, read(), twice);
    for name in ["Maria Lovelace", "Ada Byron"] {
        let fact = traces.find(TENANT, ADA, &arguments(&format!("to {name}")));
        assert_eq!(fact.labels.len(), 1, "{name}");
    }
}

#[test]
fn what_is_too_long_to_be_looked_at_is_said_to_be_dropped() {
    let mail = json!({"email": "maria@example.com"});
    let long = "x".repeat(MAX_LOOKED_AT);
    let fact = found(&mail, &format!("{long} maria@example.com"));
    assert_eq!((fact.labels.len(), fact.dropped), (0, true));
    let fact = found(&mail, &format!("maria@example.com {long}"));
    assert_eq!((fact.labels.len(), fact.dropped), (1, true));
    let fact = found(&result(&format!("{long}{long}")), "hello there");
    assert!(fact.dropped);
}

#[test]
fn of_too_many_parties_the_longest_silent_is_forgotten_and_it_shows() {
    let mut traces = traces();
    for n in 0..=MAX_PARTIES {
        let result = br#"{"email":"maria@example.com"}"#;
        keep(&mut traces, TENANT, &n.to_string(), read(), result);
    }
    let said = arguments("maria@example.com");
    let first = traces.find(TENANT, "0", &said);
    assert_eq!((first.labels.len(), first.dropped), (0, true));
    let last = traces.find(TENANT, &MAX_PARTIES.to_string(), &said);
    assert_eq!(last.labels.len(), 1);
    assert_eq!(traces.parties.len(), MAX_PARTIES);
}

#[test]
fn a_tenant_with_many_agents_takes_no_traces_from_one_with_few() {
    let mut traces = traces();
    let result = br#"{"email":"maria@example.com"}"#;
    // Longer silent than anybody.
    keep(&mut traces, OTHER, ADA, read(), result);
    for n in 0..=MAX_PARTIES {
        keep(&mut traces, TENANT, &n.to_string(), read(), result);
    }
    let said = arguments("maria@example.com");
    let kept = traces.find(OTHER, ADA, &said);
    assert_eq!((kept.labels.len(), kept.dropped), (1, false));
    let first = traces.find(TENANT, "0", &said);
    assert_eq!((first.labels.len(), first.dropped), (0, true));
}

proptest! {
    /// Whatever the text, any part that is long enough is found wherever it stands.
    #[test]
    fn any_part_that_is_long_enough_is_found(
        text in "[!-~]{24,300}",
        at in any::<prop::sample::Index>(),
        before in "[ -~]{0,20}",
        after in "[ -~]{0,20}",
    ) {
        let parts: Vec<&[u8]> = text.as_bytes().windows(PART_BYTES).collect();
        let part = std::str::from_utf8(parts[at.index(parts.len())]).unwrap();
        let argument = format!("{before}{part}{after}");
        let labels = found(&json!({"text": text}), &argument).labels;
        prop_assert_eq!(labels.len(), 1);
    }

    /// Any value that is long enough to be traced is found wherever it stands.
    #[test]
    fn any_value_that_is_long_enough_is_found(
        value in "[!-~]{6,40}",
        before in "[ -~]{0,20}",
        after in "[ -~]{0,20}",
    ) {
        let argument = format!("{before}{value}{after}");
        let labels = found(&json!({"v": value}), &argument).labels;
        prop_assert_eq!(labels.len(), 1);
    }

    #[test]
    fn no_bytes_make_it_panic(result: Vec<u8>, argument: String) {
        let mut traces = traces();
        keep(&mut traces, TENANT, ADA, read(), &result);
        traces.find(TENANT, ADA, &arguments(&argument));
    }
}

#[test]
fn winnowing_keeps_the_smallest_of_every_window_once_in_a_row() {
    // Few letters, so that many hashes are the same.
    // Few letters, so that many hashes are the same.
    let texts = (0..400u64).map(|n| {
        let letter = |i: u64| {
            b"ab"[usize::from((hash(Key::new(n.to_be_bytes()), &i.to_be_bytes()) & 7) == 0)]
        };
        (0..n % 97).map(letter).collect::<Vec<u8>>()
    });
    for text in texts {
        let grams = text.windows(GRAM_BYTES);
        let hashes: Vec<u64> = grams.map(|gram| gram_hash(key(), gram)).collect();
        let width = (PART_BYTES - GRAM_BYTES + 1).min(hashes.len().max(1));
        let smallest = hashes
            .windows(width)
            .filter_map(|w| w.iter().min().copied());
        let mut expected: Vec<u64> = smallest.collect();
        expected.dedup();
        let mut told = Vec::new();
        winnowed(&hashes, |hash| told.push(hash));
        assert_eq!(told, expected, "{text:?}");
    }
}
