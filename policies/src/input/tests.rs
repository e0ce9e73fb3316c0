use super::*;
use proptest::prelude::*;
use serde_json::json;

fn fields(schema: &Json) -> BTreeMap<String, Field> {
    InputType::of_schema(schema).unwrap()
}

#[test]
fn types_of_a_schema_become_types_of_cedar() {
    let schema = json!({"type": "object", "required": ["a", "n"], "properties": {
        "a": {"type": "string"}, "b": {"type": "array", "items": {"type": "integer"}},
        "c-d": {"type": "object", "properties": {"e": {"enum": ["x", "y"]}}},
        "n": {"type": ["string", "null"]}, "r": {"$ref": "#/$defs/flag"},
    }, "$defs": {"flag": {"type": "boolean"}}});
    assert_eq!(
        cedar_record(&fields(&schema)),
        r#"{ "a": String, "b"?: Set<Long>, "c-d"?: { "e"?: String }, "n"?: String, "r"?: Bool }"#
    );
}

#[test]
fn texts_of_other_alphabets_are_escaped() {
    assert_eq!(cedar_string("a\"\\\n\u{e9}"), r#""a\"\\\u{a}\u{e9}""#);
}

#[test]
fn a_list_that_may_hold_null_is_refused() {
    let schema = json!({"type": "object", "properties": {"x": {"type": "array", "items": {"type": ["string", "null"]}}}});
    assert!(
        InputType::of_schema(&schema)
            .unwrap_err()
            .contains("may hold null")
    );
}

#[test]
fn several_types_are_refused() {
    let schema = json!({"type": "object", "properties": {"x": {"anyOf": [{"type": "string"}, {"type": "integer"}]}}});
    assert!(
        InputType::of_schema(&schema)
            .unwrap_err()
            .contains("one of several types")
    );
}

#[test]
fn an_enum_of_mixed_kinds_is_refused() {
    let schema = json!({"type": "object", "properties": {"x": {"enum": ["a", 1]}}});
    assert!(InputType::of_schema(&schema).is_err());
}

proptest! {
    #[test]
    fn an_integer_is_held_as_it_is_written(n in any::<i64>()) {
        let number: serde_json::Number = serde_json::from_str(&n.to_string()).unwrap();
        prop_assert_eq!(long(&number), Some(n));
    }

    #[test]
    fn a_number_with_a_fraction_or_an_exponent_is_not_held(text in "-?(0|[1-9][0-9]{0,5})(\\.[0-9]{1,20}|[eE][+-]?[0-9]{1,3})") {
        let number: serde_json::Number = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(long(&number), None);
    }
}
