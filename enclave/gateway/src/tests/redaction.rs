//! Rules for results: that looking for all of them at once says what each by itself would.

use super::world::site;
use crate::release::releasable;
use bytes::Bytes;
use countersign_policies::{Capability, Site};
use proptest::prelude::*;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

/// Anchors, classes, alternatives, other scripts, borders of words, repetition, and a rule that fits what another makes.
const PATTERNS: [&str; 10] = [
    "[a-z]+@[a-z.]+",
    "[0-9]{3,}",
    "^ab",
    "ba$",
    "(?i)key: *[^ ]+",
    "\\\\b[A-Z]{2}[0-9]{2}\\\\b",
    "ä+|ß",
    "\\\\p{Cyrillic}",
    "-1\\\\.5",
    "\\\\[x\\\\]x",
];

/// A capability with the first `n` rules.
fn with_rules(n: usize) -> Arc<Capability> {
    let mut files = site();
    let text = files.0.get_mut("capabilities/read_query.toml").unwrap();
    for (number, pattern) in PATTERNS.iter().take(n).enumerate() {
        text.push_str(&format!(
            "\n[[redactions]]\nname = \"r{number}\"\npattern = \"{pattern}\"\nreplacement = \"[x]\"\napply = \"always\"\n"
        ));
    }
    let site = Site::parse(&files).unwrap_or_else(|e| panic!("{e}"));
    Arc::clone(&site.content.capabilities["customers.read_query"])
}

static ALL: LazyLock<Vec<Arc<Capability>>> =
    LazyLock::new(|| [1, 4, PATTERNS.len()].map(with_rules).to_vec());

/// Whether any rule by itself changes any text of a value.
fn one_by_one(capability: &Capability, value: &Value) -> bool {
    let changes = |text: &str| capability.redactions.iter().any(|r| r.apply(text) != text);
    match value {
        Value::String(text) => changes(text),
        Value::Number(number) => changes(number.as_str()),
        Value::Array(items) => items.iter().any(|item| one_by_one(capability, item)),
        Value::Object(members) => members
            .iter()
            .any(|(name, member)| changes(name) || one_by_one(capability, member)),
        Value::Null | Value::Bool(_) => false,
    }
}

/// Texts in which rules often, and often nearly, find something.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("ab"),
        Just("ba"),
        Just("a@b"),
        Just("12"),
        Just("3"),
        Just("KEY:"),
        Just(" "),
        Just("DE12"),
        Just("ä"),
        Just("ж"),
        Just("x"),
        Just("[x]"),
        Just("\\"),
        Just("\""),
        Just("\u{1}"),
        Just("-1.5"),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        prop_oneof![Just(-1.5), Just(1.25)].prop_map(Value::from),
        (-2_000i64..2_000).prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(text(), inner, 0..3)
                .prop_map(|members| Value::from(serde_json::Map::from_iter(members))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn all_rules_at_once_and_one_by_one_agree_on_what_is_clean(value in value(), which in 0usize..3) {
        let capability = &ALL[which];
        let raw = Bytes::from(value.to_string());
        let names: BTreeSet<String> = capability.redactions.iter().map(|r| r.name.clone()).collect();
        let (released, fired) = releasable(capability, &names, &raw);
        let changes = one_by_one(capability, &value);
        match released {
            Ok(bytes) => {
                prop_assert_eq!(!fired.is_empty(), changes, "{}", value);
                prop_assert_eq!(bytes != raw, changes, "{}", value);
            }
            // Two members that became one.
            Err(_) => prop_assert!(changes, "{}", value),
        }
    }

    #[test]
    fn a_set_of_rules_says_of_a_text_what_each_rule_says(text in text(), which in 0usize..3) {
        let capability = &ALL[which];
        let each = capability.redactions.iter().any(|r| r.apply(&text) != text);
        prop_assert_eq!(capability.is_touched(&text), each, "{}", text);
    }
}
