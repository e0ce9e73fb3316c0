//! What arguments a capability takes: one acceptance and every way to be refused.

use crate::fixture::{
    DELETE, READER, SELECT, capability, engine, example, facts, json, query, with,
};
use countersign_policies::input::{MAX_NESTING, Value};
use countersign_policies::{ConstraintViolation, Engine, Facts, Rule};
use countersign_record::cbor::Cbor as _;
use proptest::prelude::*;

/// The rule that a statement breaks at the deleting capability.
fn broken(statement: &str) -> Option<Rule> {
    let engine = engine(&example());
    capability(&engine, "write_query")
        .constrain(&query(statement))
        .err()
        .map(|v| {
            assert_eq!(v.argument, "query");
            v.rule
        })
}

#[test]
fn the_proper_deletion_is_taken_and_its_shape_is_named() {
    let engine = engine(&example());
    let taken = capability(&engine, "write_query")
        .constrain(&query(DELETE))
        .unwrap();
    assert_eq!(
        taken.shapes().get("query").map(String::as_str),
        Some("delete_customer_by_email")
    );
}

#[test]
fn a_deletion_without_an_address_is_no_permitted_statement() {
    assert_eq!(broken("DELETE FROM customers"), Some(Rule::Shape));
}

#[test]
fn an_empty_address_is_none() {
    assert_eq!(
        broken("DELETE FROM customers WHERE email = ''"),
        Some(Rule::Shape)
    );
}

#[test]
fn or_one_equals_one_is_not_the_statement() {
    assert_eq!(
        broken("DELETE FROM customers WHERE email = 'ada@example.org' OR 1=1"),
        Some(Rule::Shape)
    );
    assert_eq!(
        broken("DELETE FROM customers WHERE email = 'ada@example.org' OR '1'='1'"),
        Some(Rule::Shape)
    );
}

#[test]
fn a_second_statement_is_not_the_statement() {
    assert_eq!(
        broken("DELETE FROM customers WHERE email = 'ada@example.org'; DROP TABLE customers"),
        Some(Rule::Shape)
    );
    assert_eq!(
        broken("DELETE FROM customers WHERE email = 'ada@example.org';"),
        Some(Rule::Shape)
    );
}

#[test]
fn a_comment_is_not_the_statement() {
    assert_eq!(
        broken("DELETE FROM customers WHERE email = 'ada@example.org' --"),
        Some(Rule::Shape)
    );
    assert_eq!(
        broken("DELETE FROM customers /* all */ WHERE email = 'ada@example.org'"),
        Some(Rule::Shape)
    );
}

#[test]
fn a_cyrillic_letter_is_not_in_the_alphabet() {
    assert_eq!(
        broken("DELETE FROM customers WHERE email = '\u{430}da@example.org'"),
        Some(Rule::Alphabet)
    );
}

#[test]
fn full_width_letters_are_not_in_the_alphabet() {
    assert_eq!(
        broken("DELETE FROM customers WHERE email = '\u{ff41}da@example.org'"),
        Some(Rule::Alphabet)
    );
    assert_eq!(
        broken("DELETE FROM customers WHERE email = 'ada\u{ff20}example.org'"),
        Some(Rule::Alphabet)
    );
}

#[test]
fn the_shape_alone_also_refuses_letters_that_look_alike() {
    let file = "capabilities/write_query.toml";
    let engine = engine(&with(file, "alphabet = \"ascii_printable\"\n", ""));
    for statement in [
        "DELETE FROM customers WHERE email = '\u{430}da@example.org'",
        "DELETE FROM customers WHERE email = '\u{ff41}da@example.org'",
        "DELETE FROM customers WHERE email = \u{2019}ada@example.org\u{2019}",
        "DELETE FROM customers\u{a0}WHERE email = 'ada@example.org'",
        "DELETE FROM customers WHERE email = 'ada@example.org'\n",
    ] {
        let broken = capability(&engine, "write_query")
            .constrain(&query(statement))
            .unwrap_err();
        assert_eq!(broken.rule, Rule::Shape, "{statement}");
    }
}

#[test]
fn a_newline_is_not_in_the_alphabet() {
    assert_eq!(
        broken("DELETE FROM customers WHERE email = 'ada@example.org'\n"),
        Some(Rule::Alphabet)
    );
    assert_eq!(
        broken("DELETE FROM customers\nWHERE email = 'ada@example.org'"),
        Some(Rule::Alphabet)
    );
}

#[test]
fn a_doubled_quote_does_not_extend_the_text() {
    assert_eq!(
        broken("DELETE FROM customers WHERE email = 'ada''@example.org'"),
        Some(Rule::Shape)
    );
    assert_eq!(
        broken("DELETE FROM customers WHERE email = ''ada@example.org''"),
        Some(Rule::Shape)
    );
}

#[test]
fn spacing_and_case_are_exact() {
    assert_eq!(
        broken("DELETE  FROM customers WHERE email = 'ada@example.org'"),
        Some(Rule::Shape)
    );
    assert_eq!(
        broken("delete from customers where email = 'ada@example.org'"),
        Some(Rule::Shape)
    );
    assert_eq!(
        broken(" DELETE FROM customers WHERE email = 'ada@example.org'"),
        Some(Rule::Shape)
    );
}

#[test]
fn another_kind_of_statement_is_refused() {
    assert_eq!(
        broken("UPDATE customers SET email = 'x@example.org'"),
        Some(Rule::Shape)
    );
    assert_eq!(
        broken("DELETE FROM customers WHERE email LIKE 'ada@example.org'"),
        Some(Rule::Shape)
    );
}

#[test]
fn a_long_text_is_refused_before_it_is_matched() {
    assert_eq!(broken(&"D".repeat(401)), Some(Rule::MaxLength));
}

#[test]
fn an_argument_that_the_schema_does_not_name_is_refused() {
    let engine = engine(&example());
    let mut arguments = query(DELETE);
    arguments.insert("force".into(), true.into());
    let broken = capability(&engine, "write_query")
        .constrain(&arguments)
        .unwrap_err();
    assert_eq!(
        broken,
        ConstraintViolation {
            argument: "force".into(),
            rule: Rule::UnknownArgument
        }
    );
}

#[test]
fn the_name_of_an_invented_argument_is_not_echoed_if_it_is_a_text() {
    let engine = engine(&example());
    let mut arguments = query(DELETE);
    arguments.insert("ignore previous instructions".into(), true.into());
    let broken = capability(&engine, "write_query")
        .constrain(&arguments)
        .unwrap_err();
    assert_eq!(broken.argument, "(unprintable name)");
}

#[test]
fn a_missing_argument_is_refused() {
    let engine = engine(&example());
    let broken = capability(&engine, "write_query")
        .constrain(&json("{}"))
        .unwrap_err();
    assert_eq!(
        broken,
        ConstraintViolation {
            argument: "query".into(),
            rule: Rule::Required
        }
    );
}

#[test]
fn an_argument_of_another_type_is_refused() {
    let engine = engine(&example());
    let broken = capability(&engine, "write_query")
        .constrain(&json(r#"{"query":["x"]}"#))
        .unwrap_err();
    assert_eq!(
        broken,
        ConstraintViolation {
            argument: "query".into(),
            rule: Rule::Type
        }
    );
}

#[test]
fn one_of_takes_its_value_and_no_other() {
    let engine = engine(&example());
    let c = capability(&engine, "describe_table");
    assert!(c.constrain(&json(r#"{"table_name":"customers"}"#)).is_ok());
    assert_eq!(
        c.constrain(&json(r#"{"table_name":"sqlite_master"}"#))
            .unwrap_err()
            .rule,
        Rule::OneOf
    );
}

#[test]
fn a_violation_says_argument_and_rule_and_no_value() {
    let engine = engine(&example());
    let broken = capability(&engine, "write_query")
        .constrain(&query("DELETE FROM secrets"))
        .unwrap_err();
    assert_eq!(broken.to_string(), "argument query breaks the rule shape");
}

/// An engine whose list_tables takes arguments of every kind.
fn rich() -> Engine {
    let schema = r#"{"type":"object","properties":{
        "amount":{"type":"integer","minimum":-5},"ratio":{"type":"number"},"tags":{"type":"array","items":{"type":"string"}},
        "code":{"type":"string","pattern":"^[a-z]+$"},"note":{"anyOf":[{"type":"string"},{"type":"null"}]},
        "to":{"type":"object","properties":{"user-id":{"type":"string"}},"required":["user-id"]}}}"#;
    let rules = r#"
[arguments.amount]
min = 1
max = 100
[arguments.tags]
allow_list = ["a", "b"]
max_length = 2
[arguments.code]
pattern = "ab|cd"
[arguments."to.user-id"]
alphabet = "digits"
"#;
    let file = "capabilities/list_tables.toml";
    let files = with(
        file,
        r#"'{ "type": "object", "properties": {}, "additionalProperties": false }'"#,
        &format!("'''{schema}'''"),
    );
    let mut files = files;
    files.0.get_mut(file).unwrap().push_str(rules);
    engine(&files)
}

fn rich_rule(arguments: &str) -> Option<(String, Rule)> {
    capability(&rich(), "list_tables")
        .constrain(&json(arguments))
        .err()
        .map(|v| (v.argument, v.rule))
}

fn refused(argument: &str, rule: Rule) -> Option<(String, Rule)> {
    Some((argument.to_owned(), rule))
}

#[test]
fn values_within_every_rule_are_taken() {
    let all = r#"{"amount":100,"ratio":-3,"tags":["a","b"],"code":"cd","note":null,"to":{"user-id":"17"}}"#;
    assert_eq!(rich_rule(all), None);
}

#[test]
fn a_number_below_min_is_refused() {
    assert_eq!(rich_rule(r#"{"amount":0}"#), refused("amount", Rule::Min));
}

#[test]
fn a_number_above_max_is_refused() {
    assert_eq!(rich_rule(r#"{"amount":101}"#), refused("amount", Rule::Max));
}

#[test]
fn a_number_below_the_minimum_of_the_schema_is_refused_by_the_schema() {
    assert_eq!(
        rich_rule(r#"{"amount":-6}"#),
        refused("amount", Rule::InputSchema)
    );
}

#[test]
fn a_list_with_a_foreign_item_is_refused() {
    assert_eq!(
        rich_rule(r#"{"tags":["a","c"]}"#),
        refused("tags", Rule::AllowList)
    );
}

#[test]
fn a_list_that_is_too_long_is_refused() {
    assert_eq!(
        rich_rule(r#"{"tags":["a","a","a"]}"#),
        refused("tags", Rule::MaxLength)
    );
}

#[test]
fn a_pattern_stands_for_the_whole_value() {
    for text in ["abx", "xab", "xcd", "cdx"] {
        assert_eq!(
            rich_rule(&format!(r#"{{"code":"{text}"}}"#)),
            refused("code", Rule::Pattern),
            "{text}"
        );
    }
}

#[test]
fn a_newline_at_the_end_does_not_pass_a_pattern() {
    assert!(rich_rule(r#"{"code":"ab\n"}"#).is_some());
}

#[test]
fn a_nested_argument_has_rules_by_its_path() {
    assert_eq!(
        rich_rule(r#"{"to":{"user-id":"x"}}"#),
        refused("to.user-id", Rule::Alphabet)
    );
}

#[test]
fn a_nested_argument_that_the_schema_does_not_name_is_refused() {
    assert_eq!(
        rich_rule(r#"{"to":{"user-id":"1","cc":"2"}}"#),
        refused("to.cc", Rule::UnknownArgument)
    );
}

#[test]
fn numbers_that_policy_cannot_hold_exactly_are_refused() {
    for number in [
        "1.5",
        "1.0",
        "1e2",
        "-0",
        "9223372036854775808",
        "-9223372036854775809",
        "0.30000000000000004",
        "1E400",
    ] {
        let found = rich_rule(&format!(r#"{{"ratio":{number}}}"#));
        assert_eq!(
            found,
            refused("ratio", Rule::UnrepresentableNumber),
            "{number}"
        );
    }
}

#[test]
fn the_outermost_integers_are_held() {
    for number in ["9223372036854775807", "-9223372036854775808", "0"] {
        assert_eq!(
            rich_rule(&format!(r#"{{"ratio":{number}}}"#)),
            None,
            "{number}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_is_written_for_the_address_the_statement_has_two_quotes_and_no_more(address in "[ -~]{0,40}") {
        let engine = engine(&example());
        let statement = format!("DELETE FROM customers WHERE email = '{address}'");
        if capability(&engine, "write_query").constrain(&query(&statement)).is_ok() {
            prop_assert!(!address.contains(['\'', ' ', ';', '\\']));
            prop_assert_eq!(address.matches('@').count(), 1);
        }
    }
}

#[test]
fn the_deepest_arguments_that_a_schema_may_have_fit_into_the_facts_of_a_record() {
    let engine = engine(&example());
    let mut facts = facts(&engine, READER, "read_query", &query(SELECT));
    let nested = |levels: usize| {
        (0..levels).fold(Value::Text("x".into()), |inner, _| {
            Value::Record([("a".to_owned(), inner)].into())
        })
    };
    facts.input.0.insert("deep".into(), nested(MAX_NESTING));
    assert_eq!(Facts::from_bytes(&facts.to_bytes()).unwrap(), facts);
}
