//! Every text of a document, one after the other, without building anything.
//!
//! *In:* a document that was found strict. *Out:* strings and names of members with their escapes undone, and numbers as
//! they are written, to whoever looks for something. Texts without escapes are shown where they stand.

use crate::Document;

/// Whether `is_it` says so of any text of the document: a string, a member's name, or a number.
///
/// A text that cannot be undone counts as one; a strict document has none.
pub fn any_text(document: &Document<'_>, mut is_it: impl FnMut(&str) -> bool) -> bool {
    find(document.root().text, |_, text| match text {
        Text::Plain(text) => is_it(text),
        Text::Raw(_) => true,
    })
}

/// Every string and number of a text that is one JSON value, strict or not. Names of members are left out; what cannot be
/// undone (half a surrogate pair) is shown as it stands, so that nothing hides beside it. Of a text that is none, some parts are shown.
pub fn each_value(json: &str, mut with: impl FnMut(&str)) {
    find(json, |place, text| {
        let (Text::Plain(text) | Text::Raw(text)) = text;
        if place == Place::Value {
            with(text);
        }
        false
    });
}

/// A text, and whether its escapes are undone.
enum Text<'t> {
    /// They are, or there are none.
    Plain(&'t str),
    /// They cannot be.
    Raw(&'t str),
}

/// Where a text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// It is a member's name.
    Name,
    /// It is a value.
    Value,
}

/// Whether `is_it` says so of any.
fn find(json: &str, mut is_it: impl FnMut(Place, Text<'_>) -> bool) -> bool {
    let mut rest = json;
    while let Some(at) = rest
        .bytes()
        .position(|b| matches!(b, b'"' | b'-' | b'0'..=b'9'))
    {
        let from = rest.get(at..).unwrap_or_default();
        let found = match from.strip_prefix('"') {
            Some(inside) => {
                let (length, escapes) = string(inside);
                rest = inside.get(length.saturating_add(1)..).unwrap_or_default();
                let text = inside.get(..length).unwrap_or_default();
                match escapes {
                    Escapes::None => is_it(place(rest), Text::Plain(text)),
                    Escapes::Some => {
                        let quoted = from.get(..length.saturating_add(2)).unwrap_or_default();
                        match serde_json::from_str::<String>(quoted) {
                            Ok(undone) => is_it(place(rest), Text::Plain(&undone)),
                            Err(_) => is_it(place(rest), Text::Raw(text)),
                        }
                    }
                }
            }
            None => {
                let length = from
                    .bytes()
                    .position(|b| !matches!(b, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9'));
                let length = length.unwrap_or(from.len());
                rest = from.get(length..).unwrap_or_default();
                let number = from.get(..length).unwrap_or_default();
                is_it(Place::Value, Text::Plain(number))
            }
        };
        if found {
            return true;
        }
    }
    false
}

/// What a string is that `rest` comes after.
fn place(rest: &str) -> Place {
    let next = rest
        .bytes()
        .find(|b| !matches!(b, b' ' | b'\t' | b'\n' | b'\r'));
    if next == Some(b':') {
        Place::Name
    } else {
        Place::Value
    }
}

enum Escapes {
    None,
    Some,
}

/// Length of a string up to its closing quote, and whether it has escapes.
fn string(inside: &str) -> (usize, Escapes) {
    let (mut length, mut escapes) = (0usize, Escapes::None);
    loop {
        let rest = inside.get(length..).unwrap_or_default();
        match rest.bytes().position(|b| matches!(b, b'"' | b'\\')) {
            Some(at) => {
                length = length.saturating_add(at);
                if inside.as_bytes().get(length) == Some(&b'"') {
                    return (length, escapes);
                }
                // What is escaped is one byte at least, and no quote begins after less than that.
                length = length.saturating_add(2);
                escapes = Escapes::Some;
            }
            None => return (inside.len(), escapes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, scan};
    use proptest::prelude::*;
    use serde_json::Value;

    fn texts(text: &str) -> Vec<String> {
        let mut out = Vec::new();
        let document = scan(text.as_bytes(), &Limits::of_bytes(text.len())).unwrap();
        any_text(&document, |text| {
            out.push(text.to_owned());
            false
        });
        out
    }

    /// The same, by way of a tree.
    fn by_tree(value: &Value, out: &mut Vec<String>) {
        match value {
            Value::String(text) => out.push(text.clone()),
            Value::Number(number) => out.push(number.as_str().to_owned()),
            Value::Array(items) => items.iter().for_each(|item| by_tree(item, out)),
            Value::Object(members) => {
                for (name, member) in members {
                    out.push(name.clone());
                    by_tree(member, out);
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }

    #[test]
    fn strings_names_and_numbers_are_shown_with_their_escapes_undone() {
        assert_eq!(
            texts(r#" {"a\u0041" : ["x\"y\\", -1.50e+3,true ,null], "":{"b":7}} "#),
            ["aA", "x\"y\\", "-1.50e+3", "", "b", "7"]
        );
        assert_eq!(texts("12"), ["12"]);
        assert_eq!(texts("\"\""), [""]);
        assert_eq!(texts("false"), [""; 0]);
    }

    #[test]
    fn values_are_shown_without_names() {
        let mut out = Vec::new();
        let text = r#" {"a" : ["x:",-1.5e3, "\u0041:"], "b":{"c":"d"}, "a":"twice"} "#;
        each_value(text, |text| out.push(text.to_owned()));
        assert_eq!(out, ["x:", "-1.5e3", "A:", "d", "twice"]);
    }

    #[test]
    fn what_cannot_be_undone_is_shown_as_it_stands() {
        let mut out = Vec::new();
        each_value(r#"{"a":"\ud800 maria@example.com"}"#, |text| {
            out.push(text.to_owned())
        });
        assert_eq!(out, [r"\ud800 maria@example.com"]);
    }

    #[test]
    fn nothing_is_shown_after_what_was_looked_for() {
        let text = r#"["a","b","c"]"#;
        let document = scan(text.as_bytes(), &Limits::of_bytes(text.len())).unwrap();
        let mut seen = 0;
        assert!(any_text(&document, |text| {
            seen += 1;
            text == "b"
        }));
        assert_eq!(seen, 2);
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..4)
                    .prop_map(|members| Value::from(serde_json::Map::from_iter(members))),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text: String) {
            each_value(&text, |_| {});
        }

        #[test]
        fn every_text_of_the_tree_is_shown_and_no_other(value in value()) {
            let mut expected = Vec::new();
            by_tree(&value, &mut expected);
            let mut found = texts(&value.to_string());
            found.sort();
            expected.sort();
            prop_assert_eq!(found, expected);
        }
    }
}
